"""What BodyNet is told about a person: where to look and whom to look for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.perception.crops import CropCamera
from human_recon.perception.people_net import STRIDE
from human_recon.perception.votes import Gatherings


@dataclass(frozen=True, eq=False)
class Proposal:
    """Perhaps a person."""

    crop: CropCamera  # around the middle between pelvis and chest
    prompt: np.ndarray  # [2 h, 2 w] float32, probability that the pixel of the coarse image is this person's
    pelvis: np.ndarray  # [3] float64, metres, camera frame
    chest: np.ndarray  # [3] float64
    vote_features: np.ndarray  # [5] float64, see `perception.confidence`


def proposals(gatherings: Gatherings, vote_features: np.ndarray, chosen: Iterable[int]) -> list[Proposal]:
    """One proposal for each of the ``chosen`` gatherings; ``vote_features`` [K, 5] are those of all."""
    result = []
    for k in chosen:
        pelvis, chest = gatherings.pelvis[k], gatherings.chest[k]
        result.append(
            Proposal(
                crop=CropCamera.towards(0.5 * (pelvis + chest)),
                prompt=enlarged(gatherings.share[k]),
                pelvis=pelvis,
                chest=chest,
                vote_features=vote_features[k],
            )
        )
    return result


@numba.njit(cache=True, nogil=True)
def enlarged(share):
    """[h, w] at even pixels -> [2 h, 2 w], linear in between; the last row and column repeat."""
    height, width = share.shape
    result = np.empty((STRIDE * height, STRIDE * width), np.float32)
    half = np.float32(0.5)
    for i in range(height):
        below = min(i + 1, height - 1)
        for j in range(width):
            right = min(j + 1, width - 1)
            a, b, c, d = share[i, j], share[i, right], share[below, j], share[below, right]
            result[2 * i, 2 * j] = a
            result[2 * i, 2 * j + 1] = half * (a + b)
            result[2 * i + 1, 2 * j] = half * (a + c)
            result[2 * i + 1, 2 * j + 1] = half * half * (a + b + c + d)
    return result
