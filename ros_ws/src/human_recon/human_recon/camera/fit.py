"""Guess a camera from the points it saw."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from human_recon.camera.intrinsics import CameraIntrinsics

_MIN_POINTS = 50
_MAX_FIT_POINTS = 40_000  # two unknowns an axis: more points only cost time (31 ms for a whole 640 x 480 cloud)
_MAX_MEDIAN_ERROR = 0.75  # pixels: files store colour-registered and rounded points, a different camera is far above
_MAX_VIRTUAL_SIDE = 1280  # pixels
_MIN_VIRTUAL_SIDE = 48  # pixels
_PIXELS_PER_SPACING = 1.5
_MAX_TANGENT = 2.0  # half the field of view of a virtual camera: 63 degrees


class CameraFitError(ValueError):
    """The points do not determine a camera; the message says why."""


def fit_intrinsics(points: np.ndarray) -> CameraIntrinsics:
    """Undistorted pinhole of an organised cloud [H, W, 3] (metres, camera frame, NaN or 0 = no reading).

    u = fx * x/z + cx and v = fy * y/z + cy are linear in the unknowns: least squares, repeated on the points within
    three robust standard deviations until these stay the same, so that wild points do not matter. Raises
    CameraFitError when the points are too few or lie on a line, or when the median point misses its own pixel by
    0.75 px (not a pinhole image: a turning laser scanner, a transformed or a distorted cloud).
    """
    height, width = points.shape[:2]
    valid = np.isfinite(points).all(axis=-1) & (points[..., 2] > 0)
    rows, columns = np.nonzero(valid)
    if rows.size < _MIN_POINTS:
        raise CameraFitError(f"{rows.size} points with a depth are too few to find the camera they were seen with")
    step = max(1, rows.size // _MAX_FIT_POINTS)
    rows, columns = rows[::step], columns[::step]
    seen = points[rows, columns].astype(np.float64)
    fx, cx, error_x = _line(seen[:, 0] / seen[:, 2], columns.astype(np.float64))
    fy, cy, error_y = _line(seen[:, 1] / seen[:, 2], rows.astype(np.float64))
    error = max(error_x, error_y)
    if not (fx > 0 and fy > 0 and error <= _MAX_MEDIAN_ERROR):
        raise CameraFitError(
            f"the organised cloud is not the image of a pinhole camera looking along z (best f = {fx:.1f}, {fy:.1f} "
            f"px, median error {error:.2f} px)"
        )
    return CameraIntrinsics(width, height, fx, fy, cx, cy)


def _line(slope_axis: np.ndarray, pixels: np.ndarray) -> tuple[float, float, float]:
    """Robust straight line pixels = f * slope_axis + c: f, c and the median absolute error."""
    keep = np.ones(slope_axis.size, bool)
    f = c = 0.0
    error = np.zeros(slope_axis.size)
    for _ in range(20):
        chosen, target = slope_axis[keep], pixels[keep]
        mean = chosen.mean()
        spread = float(((chosen - mean) ** 2).sum())
        if not spread > 1e-12 * max(1.0, mean * mean) * chosen.size:
            raise CameraFitError("the points lie on one line, which does not determine the camera")
        f = float(((chosen - mean) * (target - target.mean())).sum() / spread)
        c = float(target.mean() - f * mean)
        error = np.abs(f * slope_axis + c - pixels)
        previous, keep = keep, error <= max(1e-3, 3 * 1.4826 * float(np.median(error)))
        if (keep == previous).all():
            break
    return f, c, float(np.median(error))


def virtual_camera(points: np.ndarray) -> CameraIntrinsics:
    """A pinhole at the origin looking along z that covers an unorganised cloud [N, 3] (metres, camera frame).

    The field of view holds the central 99.8 % of the directions (at most 63 degrees from the axis). The pixel is 1.5
    times the usual spacing between directions, so that surfaces have few holes (about a tenth of the pixels if points
    lie at random, none if on a grid); the longer side has 48 to 1280 pixels. Raises CameraFitError when no point lies
    in front of the camera.
    """
    valid = np.isfinite(points).all(axis=-1) & (points[..., 2] > 1e-3)
    seen = points[valid].astype(np.float64)
    if seen.shape[0] == 0:
        raise CameraFitError(
            "no point lies in front of the camera (points must be in the optical frame: x right, y down, z forward)"
        )
    directions = np.clip(seen[:, :2] / seen[:, 2:], -_MAX_TANGENT, _MAX_TANGENT)
    low, high = np.quantile(directions, [0.001, 0.999], axis=0)
    extent = np.maximum(high - low, 0.02)
    pixel = _PIXELS_PER_SPACING * _spacing(directions)
    longest = float(extent.max())
    focal = 1.0 / min(max(pixel, longest / _MAX_VIRTUAL_SIDE), longest / _MIN_VIRTUAL_SIDE)
    width, height = (int(value) for value in np.ceil(extent * focal) + 2)
    cx, cy = -low * focal + 1.0
    return CameraIntrinsics(width, height, focal, focal, float(cx), float(cy))


def _spacing(directions: np.ndarray) -> float:
    """Median over the points [N, 2] of the spacing of a square grid as dense as the neighbourhood of the point."""
    neighbours = min(8, directions.shape[0] - 1)
    if neighbours == 0:
        return 0.0
    sample = directions[:: max(1, directions.shape[0] // 2000)]
    distances, _ = cKDTree(directions).query(sample, k=[neighbours + 1])  # the first neighbour is the point itself
    # A disc to the n-th neighbour holds n points.
    return float(np.median(distances)) * math.sqrt(math.pi / neighbours)
