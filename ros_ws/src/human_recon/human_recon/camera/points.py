"""Depth images to points and back."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal, overload

import cv2
import numba
import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics


@numba.njit(cache=True, nogil=True)
def _depth_to_points(depth: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    height, width = depth.shape
    points = np.empty((height, width, 3), np.float32)
    inverse_fx = 1.0 / fx
    inverse_fy = 1.0 / fy
    for v in range(height):
        ray_y = (v - cy) * inverse_fy
        for u in range(width):
            z = depth[v, u]
            points[v, u, 0] = (u - cx) * inverse_fx * z
            points[v, u, 1] = ray_y * z
            points[v, u, 2] = z
    return points


@numba.njit(cache=True, nogil=True)
def _depth_along_rays(depth: np.ndarray, rays: np.ndarray) -> np.ndarray:
    height, width = depth.shape
    points = np.zeros((height, width, 3), np.float32)
    for v in range(height):
        for u in range(width):
            z = depth[v, u]
            if rays[v, u, 0] == rays[v, u, 0]:  # not NaN
                points[v, u, 0] = rays[v, u, 0] * z
                points[v, u, 1] = rays[v, u, 1] * z
                points[v, u, 2] = z
    return points


@numba.njit(cache=True, nogil=True)
def _splat(pixels: np.ndarray, z: np.ndarray, width: int, height: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    depth = np.zeros((height, width), np.float32)
    index = np.full((height, width), -1, np.int64)
    for i in range(z.size):
        # A range check before the conversion: casting NaN or a huge value to an integer is undefined.
        if not (z[i] > 0.0 and z[i] < np.inf):
            continue
        pixel_u, pixel_v = pixels[i, 0], pixels[i, 1]
        if not (-radius - 0.5 <= pixel_u < width + radius - 0.5 and -radius - 0.5 <= pixel_v < height + radius - 0.5):
            continue
        u = int(np.floor(pixel_u + 0.5))
        v = int(np.floor(pixel_v + 0.5))
        for row in range(max(0, v - radius), min(height, v + radius + 1)):
            for column in range(max(0, u - radius), min(width, u + radius + 1)):
                if depth[row, column] == 0.0 or z[i] < depth[row, column]:
                    depth[row, column] = z[i]
                    index[row, column] = i
    return depth, index


def depth_to_points(depth: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Depth image [H, W], metres along z, 0 = no reading -> points [H, W, 3] float32, camera frame.

    A pixel without reading becomes the point (0, 0, 0), as does a pixel outside the lens model's range; NaN and inf do
    not occur as long as the depth has none (see ``Frame``). Raises ValueError when sizes differ.
    """
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(f"depth image has the shape {depth.shape}, its camera {intrinsics.height, intrinsics.width}")
    depth = np.ascontiguousarray(depth, np.float32)
    if intrinsics.distorted:
        return _depth_along_rays(depth, intrinsics.rays())
    return _depth_to_points(depth, intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)


@overload
def points_to_depth(
    points: np.ndarray, intrinsics: CameraIntrinsics, *, radius: int = 0, return_index: Literal[False] = False
) -> np.ndarray: ...


@overload
def points_to_depth(
    points: np.ndarray, intrinsics: CameraIntrinsics, *, radius: int = 0, return_index: Literal[True]
) -> tuple[np.ndarray, np.ndarray]: ...


def points_to_depth(
    points: np.ndarray, intrinsics: CameraIntrinsics, *, radius: int = 0, return_index: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Points [..., 3], metres, camera frame -> depth image [H, W] float32, metres along z, 0 = nothing.

    Each point covers the pixel it falls into, or the square of (2 radius + 1) pixels around it; the nearest point wins.
    Nothing is interpolated: pixels that no point falls into stay 0, so a cloud sparser than the pixels leaves holes,
    through which farther surfaces may show. Points behind the camera, outside the image or not finite are dropped.

    With ``return_index`` also [H, W] int64, the flat index of the winning point (-1 = none; the first of equals).
    """
    points = np.asarray(points).reshape(-1, 3)
    pixels = intrinsics.project(points.astype(np.float64))
    z = np.ascontiguousarray(points[:, 2], np.float32)
    depth, index = _splat(np.ascontiguousarray(pixels), z, intrinsics.width, intrinsics.height, radius)
    return (depth, index) if return_index else depth


def undistort_frame(frame: Frame) -> Frame:
    """The frame as an ideal pinhole with the same K and size would have seen it.

    Depth takes the nearest source pixel (interpolating would invent surface between foreground and background), colour
    is interpolated. Pixels that look outside the source image are 0. A frame without distortion is returned as it is.
    """
    if not frame.intrinsics.distorted:
        return frame
    map_x, map_y = _source_pixels(frame.intrinsics)
    depth = cv2.remap(frame.depth, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    color = frame.color
    if color is not None:
        color = np.asarray(
            cv2.remap(color, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0)),
            np.uint8,
        )
    return replace(frame, depth=np.asarray(depth, np.float32), color=color, intrinsics=frame.intrinsics.pinhole)


@lru_cache(maxsize=4)
def _source_pixels(intrinsics: CameraIntrinsics) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the pinhole image the pixel of the distorted image, as two [H, W] float32 maps."""
    pixels = intrinsics.project(intrinsics.pinhole.rays().astype(np.float64))
    # Where the lens model ends there is no source; -10 lies outside any image.
    pixels = np.where(np.isfinite(pixels), np.clip(pixels, -10.0, 1e6), -10.0).astype(np.float32)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
