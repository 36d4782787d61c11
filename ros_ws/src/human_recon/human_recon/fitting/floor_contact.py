"""Nobody sinks into the floor, and who stands, stands on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.state import BodyState
from human_recon.fitting.free_space import spread
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.residuals import Residuals
from human_recon.geometry.plane import Plane

_SOLES = (7, 8, 10, 11)  # ankles and feet
_SOLE = 14  # vertices of each foot that are looked at ...
_ELSEWHERE = 120  # and of the rest of the body


@dataclass(frozen=True)
class FloorConfig:
    """Lengths, metres."""

    shoes: float = 0.02  # the floor lies under the soles by this much
    sigma: float = 0.02
    fade: float = 0.06  # from this height the pull towards the floor fades: stools, steps and jumps exist


class FloorContact:
    """Makes the term for one body model."""

    def __init__(self, kinematics: BodyKinematics, config: FloorConfig, weight: float = 1.0) -> None:
        self.kinematics, self.config, self.weight = kinematics, config, weight
        part = kinematics.model.weights.argmax(axis=1)
        foot, left = np.isin(part, _SOLES), kinematics.model.v_template[:, 0] > 0.0
        template = kinematics.model.v_template.astype(np.float64)
        feet = (np.flatnonzero(foot & left), np.flatnonzero(foot & ~left))
        self.feet = tuple(_sole(template, which) for which in feet)
        rest = np.flatnonzero(~foot)
        self.rest = rest[np.linspace(0, len(rest) - 1, _ELSEWHERE).astype(int)]

    def of(self, floor: Plane) -> _OnFloor:
        """The term for one floor."""
        return _OnFloor(self, floor)


def _sole(template: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """Vertices spread over the lower side of a foot of a body that stands upright."""
    lower = foot[template[foot, 1] < template[foot, 1].min() + 0.02]
    return lower[spread(template[lower], _SOLE)]


class _OnFloor:
    def __init__(self, parts: FloorContact, floor: Plane) -> None:
        self._parts, self._floor = parts, floor

    def residuals(self, state: BodyState, vertices: np.ndarray) -> Residuals:
        """See `human_recon.fitting.terms.Term`."""
        parts, config, floor = self._parts, self._parts.config, self._floor
        heights = [floor.height(vertices[foot]) - config.shoes for foot in parts.feet]
        lower = int(np.argmin([height.min() for height in heights]))
        chosen, values = [], []
        for i, (foot, height) in enumerate(zip(parts.feet, heights, strict=True)):
            # All of a sole that is in the floor; of the foot that somebody stands on at least its lowest point.
            touching = height < 0.0
            if i == lower:
                touching[height.argmin()] = True
            chosen.append(foot[touching])
            values.append(height[touching])
        height = floor.height(vertices[parts.rest])
        sunk = np.flatnonzero(height < 0.0)
        ids = np.concatenate([*chosen, parts.rest[sunk]])
        value = np.concatenate([*values, height[sunk]])
        # Geman-McClure above the floor, its weight by iteratively reweighted least squares; a plain square below it.
        relax = np.where(value > 0.0, 1.0 / (1.0 + np.square(value / config.fade)), 1.0)
        scale = np.sqrt(parts.weight) / config.sigma
        rows = np.einsum("a,map->mp", floor.normal, parts.kinematics.surface(state, ids).jacobian)
        energy = 0.5 * float((np.square(scale * value) * relax).sum())
        return Residuals((scale * relax)[:, None] * rows, scale * relax * value, energy)
