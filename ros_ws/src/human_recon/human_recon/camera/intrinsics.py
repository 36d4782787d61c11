"""Pinhole intrinsics with ROS distortion models."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CameraIntrinsics:
    """One camera's intrinsics, in the convention of ``sensor_msgs/CameraInfo``.

    The camera frame is REP-103 optical: x right, y down, z forward; the centre of the top-left pixel is (0, 0).
    """

    width: int  # pixels
    height: int  # pixels
    fx: float  # pixels
    fy: float  # pixels
    cx: float  # pixels
    cy: float  # pixels
    distortion_model: str = "none"  # none | plumb_bob | rational_polynomial | equidistant
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K] in the order of CameraInfo.d
