"""Depth and label images as pictures."""

from __future__ import annotations

import cv2
import numpy as np

from human_recon.visualization.palette import NO_READING, person_color


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """The 2nd and 98th percentile of the readings in ``depth`` [H, W] (0 = none), metres; (0.5, 5) when empty."""
    readings = depth[depth > 0]
    if readings.size == 0:
        return 0.5, 5.0
    near, far = (float(x) for x in np.percentile(readings[:: max(1, readings.size // 20000)], (2, 98)))
    return near, max(far, near + 0.1)


def depth_to_color(depth: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Colour-map a depth image: near is warm, far is cold, no reading is dark.

    ``depth`` [H, W] metres with 0 = no reading, ``limits`` nearest and farthest metres of the scale (taken from the
    image when not given). Equal steps of colour are equal steps of inverse depth, which spends the scale where depth
    cameras are accurate. Returns [H, W, 3] uint8 RGB.
    """
    scale = _nearness(depth, limits)
    picture = cv2.cvtColor(cv2.applyColorMap(scale, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    picture[depth <= 0] = NO_READING
    return picture


def depth_to_gray(depth: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """The same in grey, near is bright: a quiet ground to draw coloured bodies on. Returns [H, W, 3] uint8 RGB."""
    gray = (40 + _nearness(depth, limits) * (175.0 / 255.0)).astype(np.uint8)
    picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    picture[depth <= 0] = NO_READING
    return picture


def labels_to_color(labels: np.ndarray) -> np.ndarray:
    """Person ids [H, W] (0 = nobody) in the people's colours on black. Returns [H, W, 3] uint8 RGB."""
    picture = np.zeros((*labels.shape, 3), np.uint8)
    for person_id in np.unique(labels):
        if person_id > 0:
            picture[labels == person_id] = person_color(int(person_id))
    return picture


def _nearness(depth: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
    """[H, W] uint8: 255 at the near limit, 0 at the far one, affine in inverse depth."""
    near, far = limits if limits is not None else depth_range(depth)
    near = max(near, 1e-3)
    far = max(far, near * 1.001)
    inverse = 1.0 / np.where(depth > 0, depth, far).astype(np.float32)
    return np.clip((inverse - 1 / far) * (255.0 / (1 / near - 1 / far)), 0, 255).astype(np.uint8)
