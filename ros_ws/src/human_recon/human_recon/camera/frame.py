"""One sensor reading: what every stage of the pipeline starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics


@dataclass(frozen=True)
class Frame:
    """A depth image with its camera, already undistorted or carrying its distortion in the intrinsics."""

    stamp_ns: int  # sensor time, nanoseconds
    frame_id: str  # name of the camera optical frame
    depth: np.ndarray  # [H, W] float32, metres along z; 0 = no reading (never NaN or inf)
    intrinsics: CameraIntrinsics
    color: np.ndarray | None = None  # [H, W, 3] uint8 RGB registered to the depth image
    up: np.ndarray | None = None  # [3] unit vector against gravity in the camera frame, if known (from TF)
