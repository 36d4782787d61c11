"""The floor of one depth frame, fast enough to be looked for in every frame: the camera may move.

Random sample consensus over one-point hypotheses (a point with its normal), scored by the area of what lies on the
plane, refined by least squares. A floor is the lowest large level plane: a table top is given up as soon as enough of
the scene lies below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane

_CAMERA_UP = np.array([0.0, -1.0, 0.0])  # of a level camera
_STEP = 3  # coarse pixels: half the width that normals are measured over
_JUMP = 0.06  # of the depth over that width: beyond it two pixels are of different surfaces


@dataclass(frozen=True)
class FloorFinderConfig:
    """What is taken for a floor; metres, radians."""

    width: int = 160  # columns of the thinned image
    max_camera_tilt: float = np.radians(60.0)  # of a camera whose attitude is unknown
    gravity_accuracy: float = np.radians(8.0)  # of a known up direction
    threshold: float = 0.03  # distance of floor points from the plane at 1 m ...
    growth: float = 0.004  # ... growing with the square of the depth: metres per metre squared
    max_angle: float = np.radians(20.0)  # of normals on the floor
    least_area: float = 0.3  # square metres seen
    far_below: float = 0.15  # what is lower than this, and noise, is below a plane
    most_below: float = 0.03  # share of the readings that may be below a floor
    highest_camera: float = 4.0
    trials: int = 96
    scored: int = 800  # points that hypotheses are compared on


def find_floor(frame: Frame, config: FloorFinderConfig | None = None, previous: Plane | None = None) -> Plane | None:
    """The floor, or None where none can be made out.

    Args:
        frame: undistorted; its ``up``, if known, says what level is.
        config: thresholds.
        previous: the floor of a frame shortly before, which is tried first.
    """
    config = config or FloorFinderConfig()
    up = _CAMERA_UP if frame.up is None else np.asarray(frame.up, np.float64)
    least_cosine = np.cos(config.max_camera_tilt if frame.up is None else config.gravity_accuracy)
    points, normals, areas, readings = _level_points(frame, up, least_cosine, config)
    rng = np.random.default_rng(0)  # the same frame always gives the same answer
    while len(points) >= 30:
        found = _best_plane(points, normals, areas, up, least_cosine, config, rng, previous)
        if found is None:
            return None
        plane, area = found
        if area < config.least_area:
            return None
        noise = config.growth * readings[:, 2] ** 2
        below = plane.height(readings) < -config.far_below - 2.0 * noise
        if below.mean() <= config.most_below:
            return plane if 0.0 < plane.offset < config.highest_camera else None
        lower = plane.height(points) < -config.far_below - 2.0 * config.growth * points[:, 2] ** 2
        points, normals, areas, previous = points[lower], normals[lower], areas[lower], None
    return None


def _level_points(
    frame: Frame, up: np.ndarray, least_cosine: float, config: FloorFinderConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points [N, 3] of level surfaces with normals [N, 3] and areas [N] m^2, and all readings [M, 3], thinned."""
    camera = frame.intrinsics
    stride = max(1, -(-camera.width // config.width))
    depth = np.ascontiguousarray(frame.depth[::stride, ::stride])
    fx, fy, cx, cy = camera.fx / stride, camera.fy / stride, camera.cx / stride, camera.cy / stride
    return _level(depth, fx, fy, cx, cy, up, least_cosine * 0.97, _STEP, _JUMP)


def _best_plane(
    points: np.ndarray,
    normals: np.ndarray,
    areas: np.ndarray,
    up: np.ndarray,
    least_cosine: float,
    config: FloorFinderConfig,
    rng: np.random.Generator,
    previous: Plane | None,
) -> tuple[Plane, float] | None:
    """The plane with most area on it, and that area."""
    trial = rng.choice(len(points), config.trials)
    hypotheses = np.empty((config.trials + (previous is not None), 4))
    hypotheses[: config.trials, :3] = normals[trial]
    hypotheses[: config.trials, 3] = -(normals[trial] * points[trial]).sum(1)
    if previous is not None:
        hypotheses[-1] = *previous.normal, previous.offset
    scored = np.linspace(0, len(points) - 1, min(config.scored, len(points))).astype(np.int64)
    tolerance = config.threshold + config.growth * points[:, 2] ** 2
    cosine = np.cos(config.max_angle)
    scores = _scores(hypotheses, points[scored], normals[scored], areas[scored], tolerance[scored], cosine)
    # Of a floor and a wall the one nearer to level is the floor, unless it is much smaller.
    scores *= np.maximum(hypotheses[:, :3] @ up, 0.0)
    best = hypotheses[int(scores.argmax())]
    plane = Plane(best[:3], float(best[3]))
    area = 0.0
    for _ in range(4):
        on = (np.abs(plane.height(points)) < tolerance) & (normals @ plane.normal > cosine)
        area = float(areas[on].sum())
        if on.sum() < 10:
            return None
        # Near measurements are better by the square of the depth, and there are more of them: areas make up for that.
        weight = areas[on] / tolerance[on] ** 2
        weight /= weight.sum()
        centre = weight @ points[on]
        offset = points[on] - centre
        normal = np.linalg.eigh((offset * weight[:, None]).T @ offset)[1][:, 0]
        normal *= np.sign(normal @ up) or 1.0
        plane = Plane(normal, float(-normal @ centre))
    return (plane, area) if plane.normal @ up > least_cosine else None


@njit(cache=True, nogil=True)
def _level(depth, fx, fy, cx, cy, up, least_cosine, step, jump):
    height, width = depth.shape
    points, normals = np.empty((height * width, 3)), np.empty((height * width, 3))
    areas, readings = np.empty(height * width), np.empty((height * width, 3))
    count, seen = 0, 0
    for v in range(height):
        for u in range(width):
            z = np.float64(depth[v, u])
            if z <= 0.0:
                continue
            x, y = (u - cx) / fx * z, (v - cy) / fy * z
            readings[seen] = x, y, z
            seen += 1
            if u < step or v < step or u >= width - step or v >= height - step:
                continue
            left, right = np.float64(depth[v, u - step]), np.float64(depth[v, u + step])
            top, bottom = np.float64(depth[v - step, u]), np.float64(depth[v + step, u])
            # A level surface far away changes much from row to row: its neighbours there lie on a hyperbola in depth.
            if min(left, right, top, bottom) <= 0.0 or abs(left + right - 2.0 * z) > jump * z:
                continue
            if abs(1.0 / top + 1.0 / bottom - 2.0 / z) * z > jump:
                continue
            ax = (u + step - cx) / fx * right - (u - step - cx) / fx * left
            ay, az = (v - cy) / fy * (right - left), right - left
            bx = (u - cx) / fx * (bottom - top)
            by, bz = (v + step - cy) / fy * bottom - (v - step - cy) / fy * top, bottom - top
            nx, ny, nz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if length <= 0.0:
                continue
            nx, ny, nz = nx / length, ny / length, nz / length
            toward = -(nx * x + ny * y + nz * z) / np.sqrt(x * x + y * y + z * z)
            if toward < 0.0:
                nx, ny, nz, toward = -nx, -ny, -nz, -toward
            if nx * up[0] + ny * up[1] + nz * up[2] < least_cosine:
                continue
            points[count] = x, y, z
            normals[count] = nx, ny, nz
            areas[count] = z * z / (fx * fy) / max(toward, 0.1)
            count += 1
    return points[:count].copy(), normals[:count].copy(), areas[:count].copy(), readings[:seen].copy()


@njit(cache=True, nogil=True)
def _scores(hypotheses, points, normals, areas, tolerance, cosine):
    result = np.zeros(len(hypotheses))
    for h in range(len(hypotheses)):
        a, b, c, d = hypotheses[h]
        for n in range(len(points)):
            distance = a * points[n, 0] + b * points[n, 1] + c * points[n, 2] + d
            if abs(distance) < tolerance[n] and a * normals[n, 0] + b * normals[n, 1] + c * normals[n, 2] > cosine:
                result[h] += areas[n]
    return result
