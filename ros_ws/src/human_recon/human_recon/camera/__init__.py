"""Camera intrinsics, projection, distortion, depth images and points."""

from human_recon.camera.fit import CameraFitError, fit_intrinsics, virtual_camera
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points, points_to_depth, undistort_frame

__all__ = [
    "CameraFitError",
    "CameraIntrinsics",
    "Frame",
    "depth_to_points",
    "fit_intrinsics",
    "points_to_depth",
    "undistort_frame",
    "virtual_camera",
]
