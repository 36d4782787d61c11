"""The people of one frame made to fit together: nobody inside anybody, nobody's body before somebody else's pixels.

Fits are made one by one. Each is, near its optimum, a quadratic function of a step: half the squared length of the step
under the fit's information (inverse covariance). So those who are in each other's way are not fitted again but moved
together: the sum of their quadratic functions plus the terms between them (seed 002, sections 5.3.3 and 5.3.4, with
balls for the distance field and measured depth for the ordinal one) is minimised by Gauss-Newton over all their
parameters at once. Whatever is known worst gives way most. Where that would take a move that the fits call very
improbable, one of them is wrong altogether, which no push mends: everybody stays and the conflict is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, Scene
from human_recon.fitting.contact import BallBody, away_from, overlaps
from human_recon.fitting.kinematics import PARAMETERS, ROTATIONS, BodyKinematics, retract
from human_recon.fitting.silhouettes import (
    Agreement,
    CoarseScene,
    Conflict,
    Silhouette,
    SilhouetteDrawer,
    agreement,
    depth_order_conflicts,
)


@dataclass(frozen=True)
class SceneCoherenceConfig:
    """When and how people are moved to fit together; metres."""

    enabled: bool = True  # move them; without, conflicts are only counted
    width: int = 160  # columns of the coarse image
    margin: float = 0.003  # metres between the balls of two bodies that count as touching already
    touch: float = 0.004  # overlap of balls, margin included, of two bodies in each other that needs no repair
    contact_sigma: float = 0.003
    most_pairs: int = 60  # deepest overlaps of two people that are looked at
    order_tolerance: float = 0.05  # a body must be nearer by this much to be in front
    order_pixels: int = 6  # of the coarse image; fewer in the wrong order are no conflict
    order_sigma: float = 0.04
    most_order_pixels: int = 60  # of two people that are looked at
    seen_tolerance: float = 0.15  # nobody's pixels nearer than this to a body show it
    order_robust: float = 0.1  # Geman-McClure scale: a body far from its pixels is not mended by a push
    iterations: int = 10
    stalled: float = 0.8  # of what was against the depth order one iteration before: with more left, it is given up
    most_surprise: float = 30.0  # squared Mahalanobis length of somebody's move; who needs a longer one stays
    damping: float = 4.0  # of a step, times the fits' information: overlaps are linear over short ways only
    longest_turn: float = 0.2  # radians, of one joint in one iteration
    longest_shift: float = 0.1


@dataclass(frozen=True, eq=False)
class Coherent:
    """The people of one frame, fitting together as well as they can. Indices are those of the fits."""

    fits: tuple[BodyFit, ...]
    visibility: np.ndarray  # [P] float32 in [0, 1], share of each silhouette that is seen
    joint_visible: np.ndarray  # [P, 24] bool, the camera sees some of the surface of the part around each joint
    joint_seen: np.ndarray  # [P, 24] float32 in [0, 1], the share of it that is seen
    joint_outside: np.ndarray  # [P, 24] bool, the joint is outside the image or behind the camera
    collisions: tuple[tuple[int, int], ...]  # pairs that were in each other ...
    order_conflicts: tuple[tuple[int, int], ...]  # and that were in the wrong order: (seen, drawn in front of them)
    remaining_collisions: tuple[tuple[int, int], ...]  # the same afterwards
    remaining_order_conflicts: tuple[tuple[int, int], ...]


class SceneCoherence:
    """Makes people fit together. Threads may share it."""

    def __init__(
        self,
        kinematics: BodyKinematics,
        balls: BallBody | None = None,
        config: SceneCoherenceConfig | None = None,
    ) -> None:
        """``balls`` of the same body model may be shared with the fit's terms; they take half a second to make."""
        self.config = config or SceneCoherenceConfig()
        self._kinematics = kinematics
        self._model: BodyModel = kinematics.model
        self._balls = balls or BallBody(kinematics)
        self._drawer = SilhouetteDrawer(kinematics.model)
        self._faces = kinematics.model.faces

    def keep(self, people: Sequence[int], fits: Sequence[BodyFit], scene: Scene) -> Coherent:
        """Find who is in whose way, move them, and say how much of everybody is seen.

        Args:
            people: index in ``scene.owner`` of each fit's person.
            fits: one per person.
            scene: the frame and everybody's pixels.
        """
        config = self.config
        coarse = CoarseScene.of(scene, config.width)
        bodies = [self._look(fit.state, coarse) for fit in fits]
        collisions, conflicts = self._collisions(bodies), self._conflicts(bodies, people, coarse)
        first_collisions, first_conflicts = collisions, conflicts
        if config.enabled and (collisions or conflicts):
            states = [fit.state for fit in fits]
            for group in _groups(len(fits), [*collisions, *((c.seen, c.drawn) for c in conflicts)]):
                disordered = any(conflict.seen in group for conflict in conflicts)
                if not disordered or not self._move(group, fits, states, bodies, people, coarse):
                    self._move(group, fits, states, bodies, people, None)
            for i, (fit, state) in enumerate(zip(fits, states, strict=True)):
                if state is not fit.state:
                    bodies[i] = self._look(state, coarse)
            fits = [
                fit if state is fit.state else self._moved(fit, state) for fit, state in zip(fits, states, strict=True)
            ]
            collisions, conflicts = self._collisions(bodies), self._conflicts(bodies, people, coarse)
        agreements = [
            agreement(body.drawn, person, coarse, self._drawer.face_part, config.seen_tolerance)
            for body, person in zip(bodies, people, strict=True)
        ]
        return Coherent(
            fits=tuple(fits),
            visibility=np.array([_visibility(a) for a in agreements], np.float32),
            joint_visible=np.array([a.part_seen > 0 for a in agreements], bool).reshape(-1, 24),
            joint_seen=np.array(
                [self._joint_seen(a, body, coarse) for a, body in zip(agreements, bodies, strict=True)], np.float32
            ).reshape(-1, 24),
            joint_outside=np.array([_outside(body.joints, coarse) for body in bodies], bool).reshape(-1, 24),
            collisions=tuple(first_collisions),
            order_conflicts=tuple((c.seen, c.drawn) for c in first_conflicts),
            remaining_collisions=tuple(collisions),
            remaining_order_conflicts=tuple((c.seen, c.drawn) for c in conflicts),
        )

    # -- what is wrong -----------------------------------------------------------------------------------------------

    def _look(self, state: BodyState, coarse: CoarseScene | None) -> _Body:
        """Pose a body; without a scene it is not drawn."""
        posed = pose_body(self._model, state)
        balls = self._balls.balls(posed.vertices)
        silhouette = self._drawer.draw(posed.vertices, coarse.intrinsics) if coarse is not None else None
        return _Body(posed.vertices, posed.joints, balls, silhouette)

    def _overlaps(self, first: _Body, second: _Body) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config = self.config
        return overlaps(first.balls, second.balls, self._balls.part_start, config.margin, config.most_pairs)

    def _collisions(self, bodies: Sequence[_Body]) -> list[tuple[int, int]]:
        found = []
        for i in range(len(bodies)):
            for j in range(i):
                if not _apart(bodies[i].balls, bodies[j].balls):
                    depth = self._overlaps(bodies[i], bodies[j])[2]
                    if len(depth) and depth.max() > self.config.touch:
                        found.append((j, i))
        return found

    def _conflicts(self, bodies: Sequence[_Body], people: Sequence[int], coarse: CoarseScene) -> list[Conflict]:
        config = self.config
        silhouettes = [body.drawn for body in bodies]
        found = depth_order_conflicts(silhouettes, people, coarse, config.order_tolerance)
        return [conflict for conflict in found if len(conflict.row) >= config.order_pixels]

    # -- mending it --------------------------------------------------------------------------------------------------

    def _move(
        self,
        group: list[int],
        fits: Sequence[BodyFit],
        states: list[BodyState],
        bodies: list[_Body],
        people: Sequence[int],
        coarse: CoarseScene | None,
    ) -> bool:
        """Gauss-Newton over the parameters of a group at once; ``states`` and ``bodies`` are replaced.

        Without a scene only contact counts. Returns False, and everybody stays, where somebody would have to make an
        improbable move, or where depth order cannot be had without bodies in each other.
        """
        config = self.config
        size = PARAMETERS * len(group)
        anchor = np.zeros((size, size))
        for n, i in enumerate(group):
            block = slice(PARAMETERS * n, PARAMETERS * (n + 1))
            anchor[block, block] = fits[i].information + 1e-6 * np.eye(PARAMETERS)
        moved, lengths = np.zeros(size), np.zeros(len(group))
        before, pressure = {i: bodies[i] for i in group}, np.inf
        for _ in range(config.iterations):
            rows, values = self._between(group, states, bodies, people, coarse)
            last, pressure = pressure, float(values @ values)
            if len(values) == 0 or (coarse is not None and pressure > config.stalled * last):
                break
            matrix = (1.0 + config.damping) * anchor + rows.T @ rows
            step = -scipy.linalg.solve(matrix, anchor @ moved + rows.T @ values, assume_a="pos")
            if not np.isfinite(step).all():
                break
            turns = np.linalg.norm(step.reshape(-1, PARAMETERS)[:, ROTATIONS].reshape(-1, 3), axis=1).max()
            shift = np.linalg.norm(step.reshape(-1, PARAMETERS)[:, -3:], axis=1).max()
            step *= min(1.0, config.longest_turn / max(turns, 1e-9), config.longest_shift / max(shift, 1e-9))
            moved += step
            for n, i in enumerate(group):
                part = step[PARAMETERS * n : PARAMETERS * (n + 1)]
                states[i] = retract(states[i], part)
                bodies[i] = self._look(states[i], coarse)
            lengths = (moved * (anchor @ moved)).reshape(-1, PARAMETERS).sum(axis=1)
            if (turns < 3e-3 and shift < 1e-3) or (lengths > 2.0 * config.most_surprise).any():
                break
        kept = bool((lengths < config.most_surprise).all())
        if kept and coarse is not None:
            kept = not self._collisions([bodies[i] for i in group])
        if not kept:
            for i in group:
                states[i], bodies[i] = fits[i].state, before[i]
        return kept

    def _between(
        self,
        group: list[int],
        states: Sequence[BodyState],
        bodies: Sequence[_Body],
        people: Sequence[int],
        coarse: CoarseScene | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows [R, 85 n] and values [R] of what stands between the n people of a group."""
        blocks, values = [], []
        size = PARAMETERS * len(group)
        for n, i in enumerate(group):
            for m in range(n):
                first, second, depth = self._overlaps(bodies[i], bodies[group[m]])
                if len(first) == 0:
                    continue
                away = away_from(bodies[i].balls[first], bodies[group[m]].balls[second])
                rows = np.zeros((len(first), size))
                for place, which, index, sign in ((n, first, i, -1.0), (m, second, group[m], 1.0)):
                    jacobian = self._balls.centre_jacobian(states[index], which)
                    rows[:, PARAMETERS * place : PARAMETERS * (place + 1)] = sign * np.einsum(
                        "ma,map->mp", away, jacobian
                    )
                blocks.append(rows / self.config.contact_sigma)
                values.append(depth / self.config.contact_sigma)
        if coarse is not None:
            chosen = [bodies[i] for i in group]
            for conflict in self._conflicts(chosen, [people[i] for i in group], coarse):
                rows, errors = self._order_rows(conflict, chosen, [states[i] for i in group], coarse)
                blocks.append(rows)
                values.append(errors)
        if not blocks:
            return np.zeros((0, size)), np.zeros(0)
        return np.concatenate(blocks), np.concatenate(values)

    def _order_rows(
        self, conflict: Conflict, bodies: Sequence[_Body], states: Sequence[BodyState], coarse: CoarseScene
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whoever is drawn in front of what was measured goes behind it; whom the image shows comes to it."""
        config = self.config
        keep = np.linspace(0, len(conflict.row) - 1, min(len(conflict.row), config.most_order_pixels)).astype(int)
        row, column = conflict.row[keep], conflict.column[keep]
        measured = coarse.depth[row, column].astype(np.float64)
        blocks, values = [], []
        for index in (conflict.drawn, conflict.seen):
            silhouette = bodies[index].drawn
            place = (row - silhouette.top, column - silhouette.left)
            error = silhouette.depth[place] - measured
            chosen = (measured > 0.0) & (error < 0.0 if index == conflict.drawn else np.abs(error) > 0.0)
            ids = self._faces[silhouette.face[place][chosen], 0].astype(np.int64)
            jacobian = self._kinematics.surface(states[index], ids).jacobian[:, 2]
            relax = 1.0 / (1.0 + np.square(error[chosen] / config.order_robust))
            rows = np.zeros((len(ids), PARAMETERS * len(bodies)))
            rows[:, PARAMETERS * index : PARAMETERS * (index + 1)] = relax[:, None] * jacobian
            blocks.append(rows / config.order_sigma)
            values.append(relax * error[chosen] / config.order_sigma)
        return np.concatenate(blocks), np.concatenate(values)

    def _moved(self, fit: BodyFit, state: BodyState) -> BodyFit:
        return replace(fit, state=state, joints=pose_body(self._model, state).joints.astype(np.float64))

    # -- what is seen ------------------------------------------------------------------------------------------------

    def _joint_seen(self, found: Agreement, body: _Body, coarse: CoarseScene) -> np.ndarray:
        expected = self._drawer.expected(body.vertices, coarse.intrinsics)
        return np.minimum(found.part_seen / np.maximum(expected, 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class _Body:
    vertices: np.ndarray  # [V, 3]
    joints: np.ndarray  # [24, 3]
    balls: np.ndarray  # [K, 4]
    silhouette: Silhouette | None

    @property
    def drawn(self) -> Silhouette:
        assert self.silhouette is not None
        return self.silhouette


def _visibility(found: Agreement) -> float:
    return min(1.0, found.seen / max(found.whole, 1))


def _outside(joints: np.ndarray, coarse: CoarseScene) -> np.ndarray:
    camera = coarse.intrinsics
    depth = np.maximum(joints[:, 2], 1e-6)
    column = joints[:, 0] / depth * camera.fx + camera.cx
    row = joints[:, 1] / depth * camera.fy + camera.cy
    inside = (column >= -0.5) & (column < camera.width - 0.5) & (row >= -0.5) & (row < camera.height - 0.5)
    return ~inside | (joints[:, 2] <= 0.0)


def _apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether boxes around balls [K, 4] do not meet."""
    low = np.maximum((first[:, :3] - first[:, 3:]).min(0), (second[:, :3] - second[:, 3:]).min(0))
    high = np.minimum((first[:, :3] + first[:, 3:]).max(0), (second[:, :3] + second[:, 3:]).max(0))
    return bool((low > high).any())


def _groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Connected sets of two or more."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    for a, b in pairs:
        leader[find(a)] = find(b)
    sets: dict[int, list[int]] = {}
    for i in range(count):
        sets.setdefault(find(i), []).append(i)
    return [group for group in sets.values() if len(group) > 1]
