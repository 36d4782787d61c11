"""What BodyNet is told about a person: where to look and whom to look for."""

from __future__ import annotations

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
    area: float  # square metres, seen from the front, whose votes agree
    spread: float  # metres, mean distance per axis of the votes from the joints
    scale: float  # metres, what the network thinks this is


def proposals(gatherings: Gatherings) -> list[Proposal]:
    """One proposal for each person that votes speak of."""
    result = []
    for k in range(len(gatherings)):
        pelvis, chest = gatherings.pelvis[k], gatherings.chest[k]
        result.append(
            Proposal(
                crop=CropCamera.towards(0.5 * (pelvis + chest)),
                prompt=enlarged(gatherings.share[k]),
                pelvis=pelvis,
                chest=chest,
                area=float(gatherings.area[k]),
                spread=float(gatherings.spread[k]),
                scale=float(gatherings.scale[k]),
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
