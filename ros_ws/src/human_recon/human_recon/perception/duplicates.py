"""One person, one proposal: proposals of the same pixels or of the same body are merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.perception.body_net import STRIDE, BodyReading
from human_recon.perception.crops import CropCamera

_SAME_SURFACE = 0.1  # metres between a cell and the cell of another crop that shows the same place


@dataclass(frozen=True)
class DuplicateConfig:
    """When two proposals are of one person."""

    overlap: float = 0.6  # share of a mask inside the other's
    distance: float = 0.25  # metres, mean distance of the joints of both bodies: two people are not that close


@dataclass(frozen=True)
class Group:
    """Proposals of one person, by index."""

    leader: int  # the most confident
    followers: tuple[int, ...]  # of the same body: they add to its mask, as when the legs made a proposal of their own


def merged(reading: BodyReading, confidence: np.ndarray, config: DuplicateConfig) -> list[Group]:
    """Who is left, most confident first.

    A proposal of the same body as a more confident one follows that one; one of the same pixels, but of another body,
    has misread somebody who is found already, and goes.
    """
    leaders: dict[int, list[int]] = {}
    for n in map(int, np.argsort(-confidence, kind="stable")):
        distance = {k: float(np.linalg.norm(reading.joints[n] - reading.joints[k], axis=1).mean()) for k in leaders}
        nearest = min(distance, key=distance.__getitem__, default=None)
        if nearest is not None and distance[nearest] < config.distance:
            leaders[nearest].append(n)
        elif all(overlap(reading, n, k) < config.overlap for k in leaders):
            leaders[n] = []
    return [Group(leader, tuple(followers)) for leader, followers in leaders.items()]


def overlap(reading: BodyReading, n: int, other: int) -> float:
    """Share of the mask of proposal ``n`` that is in the mask of ``other``, by cells."""
    a, b = reading.crops[n], reading.crops[other]
    turn, origin = between(a, b)
    return float(
        _overlap(
            reading.mask[n], reading.ahead[n], reading.mask[other], reading.ahead[other], turn, origin, a.focal, b.focal
        )
    )


def between(a: CropCamera, b: CropCamera) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] from the axes of crop ``a`` to those of ``b``, and distances [2] of their centres."""
    return b.rotation @ a.rotation.T, np.array([np.linalg.norm(a.centre), np.linalg.norm(b.centre)])


@numba.njit(cache=True, nogil=True)
def _overlap(mask, ahead, other_mask, other_ahead, turn, distances, focal, other_focal):
    cells = mask.shape[0]
    middle = 0.5 * (STRIDE * cells - 1)
    count = 0
    common = 0
    for i in range(cells):
        for j in range(cells):
            if mask[i, j] <= 0.5:
                continue
            count += 1
            # Both cameras are where the real one is: only the axes differ.
            z = ahead[i, j] + distances[0]
            x = (STRIDE * j - middle) / focal * z
            y = (STRIDE * i - middle) / focal * z
            there = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z
            if there < 1e-6:
                continue
            right = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
            down = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
            b = math.floor((other_focal * right / there + middle) / STRIDE + 0.5)
            a = math.floor((other_focal * down / there + middle) / STRIDE + 0.5)
            inside = 0 <= a < cells and 0 <= b < cells and other_mask[a, b] > 0.5
            if inside and abs(other_ahead[a, b] + distances[1] - there) < _SAME_SURFACE:
                common += 1
    return common / max(count, 1)
