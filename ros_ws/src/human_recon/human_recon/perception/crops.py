"""Metric person crops: a virtual camera turned to a person, and a window of fixed size in metres around them.

A network that looks through this camera sees everybody at one scale and in the middle of the picture, whatever the real
camera, distance and position in the image: that invariance need not be learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics

WINDOW = 2.2  # metres: a tall person with an arm up, or lying
SIZE = 128  # pixels


@dataclass(frozen=True, eq=False)
class CropCamera:
    """A pinhole camera at the place of the real one, its optical axis through ``centre``, without roll.

    Crop frame: axes of this camera, origin at ``centre``: x_crop = rotation @ (x_camera - centre), metres.
    """

    centre: np.ndarray  # [3] float64, metres, camera frame
    rotation: np.ndarray  # [3, 3] float64, real camera's axes -> crop's axes
    focal: float  # pixels
    size: int  # pixels, square image, principal point in its middle

    def __post_init__(self) -> None:
        if np.shape(self.centre) != (3,) or np.shape(self.rotation) != (3, 3):
            raise ValueError(f"centre is {np.shape(self.centre)}, rotation {np.shape(self.rotation)}; not (3,), (3, 3)")

    @staticmethod
    def towards(centre: np.ndarray, window: float = WINDOW, size: int = SIZE) -> CropCamera:
        """The camera whose image spans ``window`` metres at the distance of ``centre`` [3].

        Its x axis stays in the real camera's x-z plane, so upright people stay as upright as the real camera sees them.

        Raises:
            ValueError: ``centre`` is not in front of the camera.
        """
        centre = np.asarray(centre, np.float64)
        distance = float(np.linalg.norm(centre))
        if not (np.isfinite(distance) and centre[2] > 0.0):
            raise ValueError(f"crop centre {centre.tolist()} is not in front of the camera")
        a, b, c = centre / distance
        level = math.hypot(a, c)
        # Rows: right, in the x-z plane; down = ahead x right; ahead.
        rotation = np.array([[c / level, 0.0, -a / level], [-a * b / level, level, -b * c / level], [a, b, c]])
        return CropCamera(centre, rotation, size * distance / window, size)

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The virtual camera's own."""
        middle = (self.size - 1) / 2
        return CameraIntrinsics(self.size, self.size, self.focal, self.focal, middle, middle)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the camera frame in the crop frame."""
        return (points - self.centre) @ self.rotation.T

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] of the crop frame in the camera frame."""
        return points @ self.rotation + self.centre


def crop_lookup(camera: CropCamera, intrinsics: CameraIntrinsics) -> np.ndarray:
    """[size, size] int32: flat index of the nearest image pixel on each crop pixel's ray, -1 outside the image.

    The image must be undistorted.
    """
    lookup = np.empty((camera.size, camera.size), np.int32)
    _crop_lookup(
        camera.rotation,
        camera.focal,
        (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy),
        intrinsics.width,
        intrinsics.height,
        lookup,
    )
    return lookup


def crop_points(
    depth: np.ndarray,  # [H, W] float32, metres, 0 = no reading
    lookup: np.ndarray,  # [size, size] int32, of `crop_lookup`
    camera: CropCamera,
    intrinsics: CameraIntrinsics,
    window: float = WINDOW,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """What was measured in the window: [4, size, size] float32, channels X, Y, Z in the crop frame (metres) and valid.

    Each point lies on the ray of the image pixel it came from, not of the crop pixel: resampling moves no point. Points
    more than ``window`` / 2 before or ``window`` behind the centre, and missing readings, are 0 in all channels.
    Written to ``out`` if given.
    """
    points = np.empty((4, camera.size, camera.size), np.float32) if out is None else out
    _crop_points(
        depth,
        lookup,
        camera.rotation,
        camera.centre,
        (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy),
        -0.5 * window,
        window,
        points,
    )
    return points


def crop_reference(
    depth: np.ndarray, camera: CropCamera, intrinsics: CameraIntrinsics, window: float = WINDOW
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`crop_lookup` and :func:`crop_points`, written to be read."""
    middle = (camera.size - 1) / 2
    v, u = np.mgrid[0 : camera.size, 0 : camera.size]
    rays = np.stack([(u - middle) / camera.focal, (v - middle) / camera.focal, np.ones(u.shape)], axis=-1)
    rays = rays @ camera.rotation  # into the real camera's axes
    ahead = rays[..., 2] > 1e-6
    depth_of_ray = np.where(ahead, rays[..., 2], 1.0)
    column = np.floor(intrinsics.fx * rays[..., 0] / depth_of_ray + intrinsics.cx + 0.5)
    row = np.floor(intrinsics.fy * rays[..., 1] / depth_of_ray + intrinsics.cy + 0.5)
    inside = ahead & (column >= 0) & (column < intrinsics.width) & (row >= 0) & (row < intrinsics.height)
    column, row = np.where(inside, column, 0).astype(int), np.where(inside, row, 0).astype(int)
    lookup = np.where(inside, row * intrinsics.width + column, -1).astype(np.int32)

    z = np.where(inside, depth[row, column], 0.0)
    measured = np.stack(
        [(column - intrinsics.cx) / intrinsics.fx * z, (row - intrinsics.cy) / intrinsics.fy * z, z], axis=-1
    )
    cropped = camera.to_crop(measured)
    valid = (z > 0) & (cropped[..., 2] >= -0.5 * window) & (cropped[..., 2] <= window)
    points = np.concatenate([cropped, np.ones((*z.shape, 1))], axis=-1) * valid[..., None]
    return lookup, np.moveaxis(points, -1, 0).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _crop_lookup(rotation, focal, intrinsics, width, height, lookup):
    fx, fy, cx, cy = intrinsics
    size = lookup.shape[0]
    middle = 0.5 * (size - 1)
    for v in range(size):
        y = (v - middle) / focal
        for u in range(size):
            x = (u - middle) / focal
            a = rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0]
            b = rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1]
            c = rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2]
            lookup[v, u] = -1
            if c <= 1e-6:
                continue
            column = math.floor(fx * a / c + cx + 0.5)
            row = math.floor(fy * b / c + cy + 0.5)
            if 0 <= column < width and 0 <= row < height:
                lookup[v, u] = int(row) * width + int(column)


@numba.njit(cache=True, nogil=True)
def _crop_points(depth, lookup, rotation, centre, intrinsics, nearest, farthest, points):
    fx, fy, cx, cy = intrinsics
    across, down = 1.0 / fx, 1.0 / fy
    width = np.uint32(depth.shape[1])  # unsigned and short: quicker to divide by
    for v in range(lookup.shape[0]):
        for u in range(lookup.shape[1]):
            index = lookup[v, u]
            for c in range(4):
                points[c, v, u] = 0.0
            if index < 0:
                continue
            row = np.uint32(index) // width
            column = np.uint32(index) - row * width
            z = float(depth[row, column])
            if z <= 0.0:
                continue
            x = (column - cx) * across * z - centre[0]
            y = (row - cy) * down * z - centre[1]
            z -= centre[2]
            ahead = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
            if ahead < nearest or ahead > farthest:
                continue
            points[0, v, u] = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            points[1, v, u] = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
            points[2, v, u] = ahead
            points[3, v, u] = 1.0
