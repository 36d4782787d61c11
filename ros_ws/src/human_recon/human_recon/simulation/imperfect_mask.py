"""A person's mask as a detector might give it: coarse, soft, shifted, with pieces missing or a neighbour's included.

The network that looks at one person is told whom to look at by such a mask; trained with perfect masks it would trust
them blindly.
"""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 160  # pixels, width of the detector's image


def imperfect_mask(
    mask: np.ndarray,  # [H, W] bool, this person
    others: np.ndarray,  # [H, W] bool, everybody else
    rng: np.random.Generator,
) -> np.ndarray:
    """[H, W] float32 in [0, 1].

    In the coarse image: shifted by up to a pixel, with probability 0.3 grown or shrunk by a pixel, 0.3 with up to half
    of the person missing on one side, 0.25 with a share of the neighbours, 0.02 empty; then blurred, and its contrast
    reduced at random.
    """
    height, width = mask.shape
    size = (min(WIDTH, width), max(1, round(height * min(WIDTH, width) / width)))
    chance = rng.random(4)
    shift, gain, blur = rng.integers(-1, 2, 2), rng.uniform(0.6, 1.0), rng.uniform(0.4, 1.2)
    coarse = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    coarse = np.roll(coarse, shift, axis=(0, 1))
    if chance[0] < 0.3:
        kernel = np.ones((3, 3), np.uint8)
        coarse = cv2.dilate(coarse, kernel) if chance[0] < 0.15 else cv2.erode(coarse, kernel)
    if chance[1] < 0.3 and coarse.any():
        rows, columns = np.nonzero(coarse)
        across = rng.normal(size=2)
        position = rows * across[0] + columns * across[1]
        cut = np.quantile(position, rng.uniform(0.0, 0.5))
        coarse[rows[position < cut], columns[position < cut]] = 0.0
    if chance[2] < 0.25:
        leak = cv2.resize(others.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        coarse = np.maximum(coarse, rng.uniform(0.2, 1.0) * leak)
    if chance[3] < 0.02:
        coarse[:] = 0.0
    coarse = gain * cv2.GaussianBlur(coarse, (0, 0), blur)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), 0.0, 1.0)
