"""Why somebody was not measured: hidden, gone out of the image, not there, or overlooked."""

from __future__ import annotations

from typing import Literal

import numpy as np

from human_recon.body.skeleton import BONES
from human_recon.camera.frame import Frame

Presence = Literal["hidden", "outside", "absent", "overlooked", "unknown"]

_THICKNESS = 0.15  # metres by which a body's surface may lie before its bones
_MOST = 0.6  # share of the places that decides
_FROM, _TO = (np.array(ends) for ends in zip(*BONES, strict=True))


def presence(frame: Frame, joints: np.ndarray, sigma: np.ndarray) -> Presence:
    """What the depth image says about a body that is believed to be at ``joints`` [24, 3], known to ``sigma`` [24].

    Looks along the bones. Depth before the body hides it; depth behind it, where the body should be, denies it. Both
    by more than two standard deviations; places without a reading say nothing.
    """
    points = np.concatenate([joints, 0.5 * (joints[_FROM] + joints[_TO])])
    slack = 2.0 * np.concatenate([sigma, np.maximum(sigma[_FROM], sigma[_TO])])
    camera, z = frame.intrinsics, points[:, 2]
    ahead = z > 0.05
    depth = np.where(ahead, z, 1.0)
    column = np.rint(camera.fx * points[:, 0] / depth + camera.cx)
    row = np.rint(camera.fy * points[:, 1] / depth + camera.cy)
    inside = ahead & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    if inside.mean() < 1.0 - _MOST:
        return "outside"
    measured = frame.depth[row[inside].astype(int), column[inside].astype(int)]
    z, slack = z[inside], slack[inside]
    read = measured > 0.0
    if read.mean() < 1.0 - _MOST:
        return "unknown"
    before = read & (measured < z - _THICKNESS - slack)
    behind = read & (measured > z + slack)
    if before.sum() >= _MOST * read.sum():
        return "hidden"
    if behind.sum() >= _MOST * read.sum():
        return "absent"
    # Partly behind something, and nothing of the rest is there either: whoever hides a body hides most of it.
    if before.sum() > 0 and before.sum() + behind.sum() >= _MOST * read.sum():
        return "hidden" if before.sum() >= behind.sum() else "absent"
    return "overlooked"
