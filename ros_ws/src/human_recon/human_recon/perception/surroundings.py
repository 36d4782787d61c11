"""What in a depth frame is not a person: the floor and large flat surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.geometry.plane import Plane, ransac_plane

CAMERA_UP = np.array([0.0, -1.0, 0.0])  # of a level camera


@dataclass(frozen=True)
class SurroundingsConfig:
    """How the floor and the walls are recognised."""

    max_camera_tilt: float = np.radians(50.0)  # of a camera whose attitude is unknown, radians
    gravity_accuracy: float = np.radians(8.0)  # of a known up direction, radians
    floor_threshold: float = 0.035  # distance of floor points from the plane, metres, at 1 m ...
    noise_growth: float = 0.003  # ... growing with the square of the depth: metres per metre squared
    floor_min_area: float = 0.15  # square metres seen
    max_below_floor: float = 0.04  # share of the points that may lie below a floor
    wall_threshold: float = 0.03  # metres, at 1 m
    wall_max_angle: float = np.radians(14.0)  # of normals on a wall, radians
    normal_noise: float = np.radians(2.0)  # how much more normals far away may be off: radians per metre squared
    wall_min_area: float = 0.9  # square metres seen with the plane's normal; a back measures about 0.3
    max_walls: int = 6
    max_points: int = 12_000  # points used by the searches


@dataclass(frozen=True)
class Surroundings:
    """The floor, if any, and the pixels on it or on other large planes."""

    floor: Plane | None
    up: np.ndarray  # [3] unit vector against gravity: given, the floor's normal, or the camera's own up
    background: np.ndarray  # [H, W] bool: floor and walls
    on_wall: np.ndarray  # [H, W] bool: within twice the threshold of a wall's infinite plane, whatever the normal


def find_surroundings(
    points: np.ndarray, normals: np.ndarray, focal: float, up: np.ndarray | None, config: SurroundingsConfig
) -> Surroundings:
    """Find the floor and the walls of one frame.

    Args:
        points: [H, W, 3] metres, camera frame, z = 0 where there is no reading.
        normals: [H, W, 3] unit normals, zero where unknown.
        focal: focal length, pixels.
        up: [3] known direction against gravity, or None.
        config: thresholds.
    """
    rng = np.random.default_rng(0)  # the same frame always gives the same answer
    usable = np.flatnonzero((points[..., 2] > 0).ravel() & (np.abs(normals).sum(-1) > 0).ravel())
    if len(usable) > config.max_points:
        usable = usable[:: len(usable) // config.max_points + 1]
    sample_points = points.reshape(-1, 3)[usable]
    sample_normals = normals.reshape(-1, 3)[usable]
    cosine = np.maximum(np.abs(_dot_ray(sample_points, sample_normals)), 0.2)
    pixel_area = points[..., 2].astype(bool).sum() / max(len(usable), 1) * sample_points[:, 2] ** 2 / focal**2 / cosine

    floor = _find_floor(sample_points, sample_normals, pixel_area, up, config, rng)
    if floor is not None:
        up = floor.normal
    elif up is None:
        up = CAMERA_UP
    noise = config.noise_growth * points[..., 2] ** 2
    angle = 2.5 * config.wall_max_angle + config.normal_noise * points[..., 2] ** 2
    least_cosine = np.cos(np.minimum(angle, np.pi / 2))
    background = np.zeros(points.shape[:2], bool)
    on_wall = np.zeros(points.shape[:2], bool)
    remaining = np.ones(len(sample_points), bool)
    if floor is not None:
        background |= floor.height(points) < config.floor_threshold + noise
        remaining &= (
            floor.height(sample_points) > config.floor_threshold + config.noise_growth * sample_points[:, 2] ** 2
        )
    for wall in _find_walls(sample_points[remaining], sample_normals[remaining], pixel_area[remaining], config, rng):
        distance = np.abs(wall.height(points)) / (config.wall_threshold + noise)
        background |= (distance < 1.0) & (np.abs(normals @ wall.normal) > least_cosine)
        on_wall |= distance < 2.0
    seen = points[..., 2] > 0
    return Surroundings(floor, up, background & seen, on_wall & seen)


def _dot_ray(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Cosine [N] between normals [N, 3] and the rays to points [N, 3]."""
    return (points * normals).sum(-1) / np.maximum(np.linalg.norm(points, axis=-1), 1e-9)


def _find_floor(
    points: np.ndarray,
    normals: np.ndarray,
    areas: np.ndarray,
    up: np.ndarray | None,
    config: SurroundingsConfig,
    rng: np.random.Generator,
) -> Plane | None:
    """The lowest large horizontal plane: a table top is given up as soon as points lie below it."""
    direction = CAMERA_UP if up is None else up
    max_tilt = config.max_camera_tilt if up is None else config.gravity_accuracy
    total = len(points)
    while True:
        found = ransac_plane(
            points,
            normals,
            threshold=config.floor_threshold,
            max_angle=np.radians(18.0),
            rng=rng,
            direction=direction,
            max_tilt=max_tilt,
            weights=areas,
        )
        if found is None:
            return None
        plane, inliers = found
        if areas[inliers].sum() < config.floor_min_area or plane.normal @ direction < np.cos(max_tilt):
            return None
        below = plane.height(points) < -0.12
        if below.sum() <= config.max_below_floor * total:
            # Floors are below cameras; a ceiling is never mistaken for one because its normal points down.
            return plane if plane.offset > 0.0 else None
        points, normals, areas = points[below], normals[below], areas[below]


def _find_walls(
    points: np.ndarray, normals: np.ndarray, areas: np.ndarray, config: SurroundingsConfig, rng: np.random.Generator
) -> list[Plane]:
    walls: list[Plane] = []
    for _ in range(config.max_walls):
        found = ransac_plane(
            points,
            normals,
            threshold=config.wall_threshold,
            max_angle=config.wall_max_angle,
            rng=rng,
            weights=areas,
        )
        if found is None:
            break
        plane, inliers = found
        if areas[inliers].sum() < config.wall_min_area:
            break
        walls.append(plane)
        points, normals, areas = points[~inliers], normals[~inliers], areas[~inliers]
    return walls
