"""One person, one proposal: proposals whose masks are the same pixels are merged."""

from __future__ import annotations

import math

import numba
import numpy as np

from human_recon.perception.body_net import STRIDE, BodyReading
from human_recon.perception.crops import CropCamera

_SAME_SURFACE = 0.1  # metres between a cell and the cell of another crop that shows the same place


def without_duplicates(reading: BodyReading, confidence: np.ndarray, share: float) -> list[int]:
    """Indices of the proposals that are left, most confident first.

    A proposal goes when ``share`` of its mask or more is also in the mask of one that stays.
    """
    kept: list[int] = []
    for n in np.argsort(-confidence, kind="stable"):
        if all(overlap(reading, int(n), other) < share for other in kept):
            kept.append(int(n))
    return kept


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
