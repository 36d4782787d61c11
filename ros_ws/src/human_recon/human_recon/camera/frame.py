"""One sensor reading: what every stage of the pipeline starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics


@dataclass(frozen=True)
class Frame:
    """A depth image with its camera, already undistorted or carrying its distortion in the intrinsics.

    Raises ValueError when an array has not the shape or type stated here.
    """

    stamp_ns: int  # sensor time, nanoseconds
    frame_id: str  # name of the camera optical frame
    depth: np.ndarray  # [H, W] float32, metres along z; 0 = no reading (never NaN or inf)
    intrinsics: CameraIntrinsics
    color: np.ndarray | None = None  # [H, W, 3] uint8 RGB registered to the depth image
    up: np.ndarray | None = None  # [3] unit vector against gravity in the camera frame, if known (from TF)

    def __post_init__(self) -> None:
        size = (self.intrinsics.height, self.intrinsics.width)
        if self.depth.shape != size or self.depth.dtype != np.float32:
            raise ValueError(
                f"depth is {self.depth.dtype} {list(self.depth.shape)}, its camera needs float32 {list(size)}"
            )
        if self.color is not None and (self.color.shape != (*size, 3) or self.color.dtype != np.uint8):
            raise ValueError(
                f"color is {self.color.dtype} {list(self.color.shape)}, the depth image needs uint8 {[*size, 3]}"
            )
        if self.up is not None and np.shape(self.up) != (3,):
            raise ValueError(f"up has the shape {np.shape(self.up)}, not (3,)")
