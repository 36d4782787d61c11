"""No surface in front of what was measured behind it.

A vertex that projects onto a measurement which lies well behind it contradicts the empty space before that measurement.
Either it is farther away, hidden by what was measured, or it belongs beside, where the person's own pixels are: it is
drawn to whichever is nearer. Where nothing was measured, nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import Scene
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.observation import nearest_pixel
from human_recon.fitting.residuals import Residuals


@dataclass(frozen=True)
class FreeSpaceConfig:
    """Lengths, metres."""

    points: int = 500  # of the surface, evenly spread
    margin: float = 0.06  # a surface may be in front of a measurement by this much, at 1 m ...
    margin_growth: float = 0.004  # ... growing with the square of the depth: metres per metre squared
    own_margin: float = 0.03  # the same where the measurement is the person's own
    sigma: float = 0.05
    robust: float = 0.08  # Geman-McClure scale; where more is wrong, the nearest own pixel is not the right one
    width: int = 160  # pixels of the image in which the nearest own pixel is looked up


class FreeSpace:
    """Makes the term for one body model."""

    def __init__(self, kinematics: BodyKinematics, config: FreeSpaceConfig, weight: float = 1.0) -> None:
        self.kinematics, self.config, self.weight = kinematics, config, weight
        self.sample = spread(kinematics.model.v_template.astype(np.float64), config.points)

    def of(self, person: int, scene: Scene) -> _InFront:
        """The term for one person of one frame."""
        return _InFront(self, person, scene)


class _InFront:
    def __init__(self, shared: FreeSpace, person: int, scene: Scene) -> None:
        self._shared, self._scene, self._person = shared, scene, person
        camera = scene.frame.intrinsics
        self._stride = max(1, -(-camera.width // shared.config.width))
        self._nearest: np.ndarray | None = None

    def residuals(self, state: BodyState, vertices: np.ndarray) -> Residuals:
        """See `human_recon.fitting.terms.Term`."""
        shared, config = self._shared, self._shared.config
        camera, stride = self._scene.frame.intrinsics, self._stride
        if self._nearest is None:
            own = self._scene.owner[::stride, ::stride] == self._person
            self._nearest = nearest_pixel(own)
        picked, offset, across = _violations(
            np.asarray(vertices, np.float32),
            shared.sample,
            self._scene.frame.depth,
            self._scene.owner,
            self._person,
            self._nearest,
            stride,
            camera.fx,
            camera.fy,
            camera.cx,
            camera.cy,
            config.margin,
            config.margin_growth,
            config.own_margin,
        )
        if len(picked) == 0:
            return Residuals.nothing()
        squared = np.square(offset).sum(1)
        relax = 1.0 / (1.0 + squared / config.robust**2)
        scale = np.sqrt(shared.weight) * relax / config.sigma
        jacobian = shared.kinematics.surface(state, picked).jacobian
        lateral = np.flatnonzero(across)
        deeper = np.flatnonzero(~across)
        rows = np.concatenate(
            [
                (scale[lateral, None, None] * jacobian[lateral, :2]).reshape(-1, jacobian.shape[2]),
                scale[deeper, None] * jacobian[deeper, 2],
            ]
        )
        values = np.concatenate(
            [(scale[lateral, None] * offset[lateral, :2]).ravel(), scale[deeper] * offset[deeper, 2]]
        )
        energy = 0.5 * shared.weight * float((squared * relax).sum()) / config.sigma**2
        return Residuals(rows, values, energy)


def spread(points: np.ndarray, count: int) -> np.ndarray:
    """[count] int64 indices of ``points`` [N, 3] that are far from each other: farthest-point sampling."""
    count = min(count, len(points))
    chosen = np.empty(count, np.int64)
    chosen[0] = points[:, 1].argmax()
    nearest = np.full(len(points), np.inf)
    for k in range(1, count):
        nearest = np.minimum(nearest, np.square(points - points[chosen[k - 1]]).sum(1))
        chosen[k] = nearest.argmax()
    return chosen


@njit(cache=True, nogil=True)
def _violations(
    vertices, sample, depth, owner, person, nearest, stride, fx, fy, cx, cy, margin, growth, own_margin
):  # fmt: skip
    """Vertices of the sample in front of measurements: ids [M], offset from where they belong [M, 3], sideways [M]."""
    height, width = depth.shape
    picked = np.empty(len(sample), np.int64)
    offset = np.zeros((len(sample), 3))
    across = np.zeros(len(sample), np.bool_)
    count = 0
    for s in range(len(sample)):
        i = sample[s]
        x, y, z = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
        if not z > 0.05:
            continue
        u, v = np.int64(np.floor(fx * x / z + cx + 0.5)), np.int64(np.floor(fy * y / z + cy + 0.5))
        if u < 0 or v < 0 or u >= width or v >= height:
            continue
        measured = np.float64(depth[v, u])
        own = owner[v, u] == person
        allowed = (own_margin if own else margin) + growth * z * z
        excess = measured - z - allowed
        if measured <= 0.0 or excess <= 0.0:
            continue
        sideways = False
        dx, dy = 0.0, 0.0
        if not own:
            flat = nearest[min(v // stride, nearest.shape[0] - 1), min(u // stride, nearest.shape[1] - 1)]
            if flat >= 0:
                row, column = flat // nearest.shape[1] * stride, flat % nearest.shape[1] * stride
                dx, dy = x - (column - cx) / fx * z, y - (row - cy) / fy * z
                length = np.sqrt(dx * dx + dy * dy)
                # Outlines are known to a cell of the coarse image.
                slack = stride * z / fx
                if length <= slack:
                    continue
                dx, dy = dx * (1.0 - slack / length), dy * (1.0 - slack / length)
                sideways = length - slack < excess
        picked[count] = i
        across[count] = sideways
        if sideways:
            offset[count, 0], offset[count, 1] = dx, dy
        else:
            offset[count, 2] = -excess
        count += 1
    return picked[:count], offset[:count], across[:count]
