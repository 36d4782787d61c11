"""What PeopleNet sees: a coarse frame as geometry, so that the camera's intrinsics need not be guessed.

The channels are X, Y, Z of each pixel's point (in quarters of a metre^-1, so about -1 to 2), valid, and the slopes of
the surface along rows and columns: change of depth per metre across, which tells a leg from a wall at any distance and
focal length, and which survives the few bits of fast number formats that X, Y, Z lose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics

WIDTH, HEIGHT = 160, 120  # pixels
CHANNELS = 6
SCALE = 0.25  # per metre


@dataclass(frozen=True, eq=False)
class CoarseView:
    """Which pixels of a camera make up the coarse image, and the camera that sees it."""

    intrinsics: CameraIntrinsics  # of the coarse image, undistorted
    rows: np.ndarray  # [HEIGHT] int32, row of the camera's image, -1 above or below it
    columns: np.ndarray  # [WIDTH] int32

    @staticmethod
    def of(camera: CameraIntrinsics) -> CoarseView:
        """The whole image of ``camera``, as large as fits, in the middle."""
        step = max(camera.width / WIDTH, camera.height / HEIGHT)
        left, top = (camera.width - step * WIDTH) / 2, (camera.height - step * HEIGHT) / 2
        columns = np.floor(left + step * (np.arange(WIDTH) + 0.5)).astype(np.int32)
        rows = np.floor(top + step * (np.arange(HEIGHT) + 0.5)).astype(np.int32)
        columns[(columns < 0) | (columns >= camera.width)] = -1
        rows[(rows < 0) | (rows >= camera.height)] = -1
        # Pixel u of the camera is pixel (u + 0.5 - left) / step - 0.5 of the coarse image.
        intrinsics = CameraIntrinsics(
            WIDTH,
            HEIGHT,
            camera.fx / step,
            camera.fy / step,
            (camera.cx + 0.5 - left) / step - 0.5,
            (camera.cy + 0.5 - top) / step - 0.5,
        )
        return CoarseView(intrinsics, rows, columns)

    def sample(self, depth: np.ndarray) -> np.ndarray:
        """The coarse depth [HEIGHT, WIDTH] float32: one reading per pixel, never a mean across an edge; 0 = none."""
        coarse = np.empty((HEIGHT, WIDTH), np.float32)
        _sample(depth, self.rows, self.columns, coarse)
        return coarse


def people_input(depth: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Depth [H, W] (metres, 0 = no reading) of an undistorted image as [6, H, W] float32; 0 without a reading."""
    result = np.empty((CHANNELS, *depth.shape), np.float32)
    encode(depth, (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy), result)
    return result


def people_input_reference(depth: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """:func:`people_input`, written to be read."""
    height, width = depth.shape
    z = depth.astype(np.float64)
    v, u = np.mgrid[0:height, 0:width]
    x, y = (u - intrinsics.cx) / intrinsics.fx * z, (v - intrinsics.cy) / intrinsics.fy * z
    valid = z > 0
    result = np.stack([SCALE * x, SCALE * y, SCALE * z, valid, np.zeros_like(z), np.zeros_like(z)])
    for channel, axis, focal in ((4, 1, intrinsics.fx), (5, 0, intrinsics.fy)):
        after, before = np.roll(z, -1, axis), np.roll(z, 1, axis)
        last, first = [slice(None)] * 2, [slice(None)] * 2
        last[axis], first[axis] = slice(-1, None), slice(0, 1)
        after[tuple(last)] = 0.0
        before[tuple(first)] = 0.0
        steps = (after > 0).astype(float) + (before > 0)
        rise = np.where(after > 0, after, z) - np.where(before > 0, before, z)
        slope = rise / np.maximum(steps, 1) / np.where(valid, z / focal, 1.0)
        result[channel] = slope / np.sqrt(1.0 + slope**2)
    return (result * valid).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _sample(depth, rows, columns, coarse):
    """Fill ``coarse`` with the chosen pixels, 0 where a row or column is -1."""
    for i in range(len(rows)):
        for j in range(len(columns)):
            inside = rows[i] >= 0 and columns[j] >= 0
            coarse[i, j] = depth[rows[i], columns[j]] if inside else 0.0


@numba.njit(cache=True, nogil=True)
def encode(depth, intrinsics, result):
    """Fill ``result`` [6, H, W] for one image; ``intrinsics`` = fx, fy, cx, cy."""
    fx, fy, cx, cy = intrinsics
    height, width = depth.shape
    for v in range(height):
        for u in range(width):
            z = np.float64(depth[v, u])
            if z <= 0.0:
                for c in range(6):
                    result[c, v, u] = 0.0
                continue
            result[0, v, u] = SCALE * (u - cx) / fx * z
            result[1, v, u] = SCALE * (v - cy) / fy * z
            result[2, v, u] = SCALE * z
            result[3, v, u] = 1.0
            after = np.float64(depth[v, u + 1]) if u + 1 < width else 0.0
            before = np.float64(depth[v, u - 1]) if u > 0 else 0.0
            result[4, v, u] = _sine_of_slope(after, before, z, z / fx)
            after = np.float64(depth[v + 1, u]) if v + 1 < height else 0.0
            before = np.float64(depth[v - 1, u]) if v > 0 else 0.0
            result[5, v, u] = _sine_of_slope(after, before, z, z / fy)


@numba.njit(cache=True, nogil=True)
def _sine_of_slope(after, before, z, pixel):
    """Sine of the angle of the surface along one axis; from one side only where the other has no reading."""
    steps = 0
    rise = 0.0
    if after > 0.0:
        rise += after - z
        steps += 1
    if before > 0.0:
        rise += z - before
        steps += 1
    if steps == 0:
        return 0.0
    slope = rise / steps / pixel
    return slope / math.sqrt(1.0 + slope * slope)
