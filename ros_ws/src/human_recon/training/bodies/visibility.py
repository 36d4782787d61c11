"""Which vertices can be seen from outside: the mouth's inside, nostrils and the like cannot."""

from __future__ import annotations

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import rasterize

DISTANCE = 20.0  # metres from the camera to the body's middle: close to parallel rays
PIXELS = 1400


def visible_share(vertices: np.ndarray, faces: np.ndarray, views: int = 80, tolerance: float = 0.004) -> np.ndarray:
    """Share [V] of ``views`` directions, even over the sphere, from which each vertex is the nearest surface.

    Args:
        vertices: [V, 3] metres.
        faces: [F, 3], counter-clockwise from outside.
        views: number of directions.
        tolerance: metres a vertex may lie behind the rendered surface and still count as seen.
    """
    centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    radius = np.linalg.norm(vertices - centre, axis=1).max()
    focal = 0.5 * PIXELS * DISTANCE / (radius * 1.05)
    middle = 0.5 * (PIXELS - 1)
    camera = CameraIntrinsics(PIXELS, PIXELS, focal, focal, middle, middle)
    seen = np.zeros(len(vertices))
    for direction in _sphere(views):
        right = np.cross(direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(direction, right), direction])  # rows: camera x, y, z in the body frame
        points = (vertices - centre) @ rotation.T + [0.0, 0.0, DISTANCE]
        depth = rasterize(points[None].astype(np.float32), faces.astype(np.int32), camera).depth
        pixel = np.rint(points[:, :2] / points[:, 2:] * focal + middle).astype(np.int64)
        seen += points[:, 2] < depth[pixel[:, 1], pixel[:, 0]] + tolerance
    return seen / views


def _sphere(count: int) -> np.ndarray:
    """Directions [count, 3] on a Fibonacci spiral."""
    k = np.arange(count) + 0.5
    y = 1.0 - 2.0 * k / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * k
    ring = np.sqrt(1.0 - y * y)
    return np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], axis=1)
