"""Bodies do not enter each other or themselves.

A body is a few hundred balls inside its skin (`human_recon.body.spheres`). Two balls that overlap are pushed apart
along the line between their centres: seed 002, section 5.3.3, with the distance field of a body replaced by that of
its balls, which needs no grid and whose derivative is that of the skin where the balls touch it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from human_recon.body.spheres import fit_spheres
from human_recon.body.state import BodyState
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.residuals import Residuals


@dataclass(frozen=True)
class ContactConfig:
    """Lengths, metres."""

    margin: float = 0.003  # metres between the balls of two bodies that count as touching already
    sigma: float = 0.005  # of the depth of two bodies in each other
    self_tolerance: float = 0.04  # flesh gives way; of simulated people 9 in 10 are in themselves by less
    self_sigma: float = 0.02
    most_pairs: int = 60  # the deepest overlaps are looked at


class BallBody:
    """The balls of one body model, from the vertices of its posed bodies."""

    def __init__(self, kinematics: BodyKinematics) -> None:
        """Fit the balls; about half a second."""
        spheres = fit_spheres(kinematics.model)
        self.kinematics = kinematics
        self.first, self.second = spheres.first_vertex, spheres.second_vertex
        template = kinematics.model.v_template.astype(np.float64)
        across = template[self.second] - template[self.first]
        length = np.linalg.norm(across, axis=1)
        radius = spheres.share * -(across * spheres.normal).sum(1)
        self.lean = np.clip(radius / length, 0.0, 1.0)  # [K] centre = first + lean (second - first)
        self.part_start = spheres.part_start
        self.parts = spheres.part()

    def balls(self, vertices: np.ndarray) -> np.ndarray:
        """[K, 4] float64 centres and radii, sorted by body part, of a body with ``vertices`` [V, 3]."""
        return _balls(np.asarray(vertices, np.float32), self.first, self.second, self.lean)

    def centre_jacobian(self, state: BodyState, which: np.ndarray) -> np.ndarray:
        """[M, 3, 85] derivative of the centres of balls ``which`` [M] by a step."""
        ids = np.concatenate([self.first[which], self.second[which]])
        jacobian = self.kinematics.surface(state, ids).jacobian
        lean = self.lean[which, None, None]
        return (1.0 - lean) * jacobian[: len(which)] + lean * jacobian[len(which) :]


class Contact:
    """Keeps one body out of another that does not move."""

    def __init__(self, body: BallBody, obstacle: np.ndarray, config: ContactConfig, weight: float = 1.0) -> None:
        """``obstacle`` [K, 4]: the other body's balls."""
        self._body, self._obstacle, self._config, self._weight = body, obstacle, config, weight

    def residuals(self, state: BodyState, vertices: np.ndarray) -> Residuals:
        """See `human_recon.fitting.terms.Term`."""
        config, starts = self._config, self._body.part_start
        balls = self._body.balls(vertices)
        first, second, depth = overlaps(balls, self._obstacle, starts, config.margin, config.most_pairs)
        if len(first) == 0:
            return Residuals.nothing()
        away = away_from(balls[first], self._obstacle[second])
        scale = np.sqrt(self._weight) / config.sigma
        rows = -scale * np.einsum("ma,map->mp", away, self._body.centre_jacobian(state, first))
        return Residuals.quadratic(rows, scale * depth)


class SelfContact:
    """Keeps the parts of one body out of each other; those that are neighbours or touch in the T pose may do so."""

    def __init__(self, body: BallBody, config: ContactConfig, weight: float = 1.0) -> None:
        self._body, self._config, self._weight = body, config, weight
        model = body.kinematics.model
        rest = body.balls(model.v_template)
        gap = np.linalg.norm(rest[:, None, :3] - rest[None, :, :3], axis=-1) - rest[:, None, 3] - rest[None, :, 3]
        apart = _tree_distance(model.parents)[body.parts[:, None], body.parts[None, :]] >= 3
        self.allowed = (gap > 0.03) & apart  # [K, K] bool, pairs of balls that must not overlap

    def residuals(self, state: BodyState, vertices: np.ndarray) -> Residuals:
        """See `human_recon.fitting.terms.Term`."""
        config, starts = self._config, self._body.part_start
        balls = self._body.balls(vertices)
        first, second, depth = self_overlaps(balls, starts, self.allowed, -config.self_tolerance, config.most_pairs)
        if len(first) == 0:
            return Residuals.nothing()
        away = away_from(balls[first], balls[second])
        both = self._body.centre_jacobian(state, np.concatenate([first, second]))
        scale = np.sqrt(self._weight) / config.self_sigma
        rows = -scale * np.einsum("ma,map->mp", away, both[: len(first)] - both[len(first) :])
        return Residuals.quadratic(rows, scale * depth)


def overlaps(
    balls: np.ndarray, others: np.ndarray, part_start: np.ndarray, margin: float, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of balls ([K, 4] of two bodies) that overlap by more than ``-margin``, the ``most`` deepest.

    Returns:
        indices into ``balls`` [M], indices into ``others`` [M], and depth + margin [M], metres, > 0.
    """
    first, second, depth = _overlaps(balls, others, part_start, margin)
    return _deepest(first, second, depth, most)


def self_overlaps(
    balls: np.ndarray, part_start: np.ndarray, allowed: np.ndarray, margin: float, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `overlaps` within one body; ``allowed`` [K, K] bool says which pairs count."""
    first, second, depth = _overlaps(balls, balls, part_start, margin)
    keep = allowed[first, second] & (first < second)
    return _deepest(first[keep], second[keep], depth[keep], most)


def _deepest(
    first: np.ndarray, second: np.ndarray, depth: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if len(first) > most:
        keep = np.argpartition(-depth, most)[:most]
        first, second, depth = first[keep], second[keep], depth[keep]
    return first, second, depth


def away_from(balls: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[M, 3] unit vectors from the centres of ``others`` to those of ``balls``."""
    line = balls[:, :3] - others[:, :3]
    return line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-9)


def _tree_distance(parents: np.ndarray) -> np.ndarray:
    """[J, J] number of bones between joints."""
    count = len(parents)
    distance = np.full((count, count), count)
    np.fill_diagonal(distance, 0)
    for joint in range(1, count):
        distance[joint, :joint] = distance[:joint, joint] = distance[parents[joint], :joint] + 1
    return distance


@njit(cache=True, nogil=True)
def _balls(vertices, first, second, lean):
    result = np.empty((len(first), 4))
    for k in range(len(first)):
        length = 0.0
        for c in range(3):
            p, q = np.float64(vertices[first[k], c]), np.float64(vertices[second[k], c])
            result[k, c] = p + lean[k] * (q - p)
            length += (q - p) ** 2
        result[k, 3] = lean[k] * np.sqrt(length)
    return result


@njit(cache=True, nogil=True)
def _bounds(balls, part_start):
    """A ball around each part's balls: [24, 4]; radius < 0 for a part that has none."""
    parts = len(part_start) - 1
    result = np.zeros((parts, 4))
    for j in range(parts):
        count = part_start[j + 1] - part_start[j]
        result[j, 3] = -1.0
        if count == 0:
            continue
        for k in range(part_start[j], part_start[j + 1]):
            for c in range(3):
                result[j, c] += balls[k, c] / count
        for k in range(part_start[j], part_start[j + 1]):
            square = 0.0
            for c in range(3):
                square += (balls[k, c] - result[j, c]) ** 2
            result[j, 3] = max(result[j, 3], np.sqrt(square) + balls[k, 3])
    return result


@njit(cache=True, nogil=True)
def _overlaps(balls, others, part_start, margin):
    mine, theirs = _bounds(balls, part_start), _bounds(others, part_start)
    first, second, depth = [np.int64(0) for _ in range(0)], [np.int64(0) for _ in range(0)], [0.0 for _ in range(0)]
    for a in range(len(mine)):
        for b in range(len(theirs)):
            reach = mine[a, 3] + theirs[b, 3] + margin
            square = 0.0
            for c in range(3):
                square += (mine[a, c] - theirs[b, c]) ** 2
            if mine[a, 3] < 0.0 or theirs[b, 3] < 0.0 or reach <= 0.0 or square >= reach * reach:
                continue
            for i in range(part_start[a], part_start[a + 1]):
                for j in range(part_start[b], part_start[b + 1]):
                    reach = balls[i, 3] + others[j, 3] + margin
                    square = 0.0
                    for c in range(3):
                        square += (balls[i, c] - others[j, c]) ** 2
                    if reach > 0.0 and square < reach * reach:
                        first.append(np.int64(i))
                        second.append(np.int64(j))
                        depth.append(reach - np.sqrt(square))
    return np.array(first, np.int64), np.array(second, np.int64), np.array(depth, np.float64)
