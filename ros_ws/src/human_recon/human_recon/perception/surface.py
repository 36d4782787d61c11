"""The measured surface of a frame: what a fit is registered to."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.points import depth_to_points
from human_recon.geometry.normals import depth_normals
from human_recon.perception.surroundings import Surroundings, SurroundingsConfig, find_surroundings


@dataclass(frozen=True)
class Surface:
    """Points and normals of every pixel, and which of them are floor and walls."""

    points: np.ndarray  # [H, W, 3] metres, z = 0 where there is no reading
    normals: np.ndarray  # [H, W, 3] unit or zero
    surroundings: Surroundings


def measure_surface(frame: Frame, config: SurroundingsConfig) -> Surface:
    """The surface of an undistorted frame."""
    points = depth_to_points(frame.depth, frame.intrinsics).astype(np.float64)
    focal = 0.5 * (frame.intrinsics.fx + frame.intrinsics.fy)
    normals = _smooth_normals(frame, focal)
    return Surface(points, normals, find_surroundings(points, normals, focal, frame.up, config))


def _smooth_normals(frame: Frame, focal: float) -> np.ndarray:
    """Normals [H, W, 3] from depth smoothed within its edges.

    Raw quantisation steps tilt them by 30 degrees at 2.5 m. Triangulating sensors have noise that is uniform in
    inverse depth, so that is what is smoothed, by about what they quantise at any distance.
    """
    radius = max(1, round(focal / 175.0))
    depth = frame.depth.astype(np.float32)
    inverse = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)
    inverse = cv2.bilateralFilter(inverse, 2 * radius + 3, 0.009, radius + 1.0)
    smooth = np.divide(1.0, inverse, out=np.zeros_like(depth), where=depth > 0)
    return depth_normals(depth_to_points(smooth, frame.intrinsics).astype(np.float64), radius, 0.04)
