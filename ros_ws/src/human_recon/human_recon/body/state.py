"""The parameters of one posed body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BodyState:
    """SMPL parameters: vertices = LBS(betas, pose) + trans.

    Placed in the camera optical frame, ``pose[0]`` (rotation about the pelvis joint) contains the turn from the body
    frame (y up, face +z, x = the person's left) into the camera frame (y down), as in SMPL.
    """

    betas: np.ndarray  # [10] float64, unit-variance shape coefficients
    pose: np.ndarray  # [24, 3] float64, axis-angle of each joint relative to its parent, radians
    trans: np.ndarray  # [3] float64, metres
