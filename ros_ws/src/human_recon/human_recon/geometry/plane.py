"""Planes, and the floor under the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """Points x with normal . x + offset = 0; normal is a unit vector, up for a floor."""

    normal: np.ndarray  # [3]
    offset: float  # metres: distance of the origin (camera) above the plane

    def height(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of ``points`` [..., 3] from the plane, metres, positive on the side of the normal: [...]."""
        return points @ self.normal + self.offset


def plane_axes(normal: np.ndarray) -> np.ndarray:
    """Two unit vectors [2, 3] that span the plane with unit ``normal`` [3]; the first is as near to x as possible."""
    seed = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.9 else np.array([0.0, 0.0, 1.0])
    first = seed - (seed @ normal) * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def fit_plane(points: np.ndarray) -> Plane:
    """Total least squares plane through ``points`` [N >= 3, 3]; the sign of the normal is arbitrary."""
    centroid = points.mean(0)
    normal = np.linalg.svd(points - centroid, full_matrices=False)[2][2]
    return Plane(normal, float(-normal @ centroid))


def ransac_plane(
    points: np.ndarray,
    normals: np.ndarray,
    *,
    threshold: float,
    max_angle: float,
    rng: np.random.Generator,
    direction: np.ndarray | None = None,
    max_tilt: float = np.pi,
    weights: np.ndarray | None = None,
    trials: int = 200,
) -> tuple[Plane, np.ndarray] | None:
    """Find the plane with most support among oriented points; RANSAC with one-point hypotheses, then refits.

    Args:
        points: [N, 3] metres.
        normals: [N, 3] unit surface normals; a hypothesis is one point with its normal.
        threshold: inliers lie within this distance, metres.
        max_angle: inliers' normals lie within this angle of the plane's, radians.
        rng: source of the hypotheses.
        direction: [3] if given, only planes whose normal is within ``max_tilt`` of it are considered.
        max_tilt: radians.
        weights: [N] support of each point, for example the area it covers; all ones when absent.
        trials: number of hypotheses.

    Returns:
        The plane and its inliers [N] bool, or None when no hypothesis has three inliers.
    """
    if len(points) < 3:
        return None
    candidates = np.arange(len(points))
    if direction is not None:
        candidates = np.flatnonzero(normals @ direction > np.cos(max_tilt))
    if len(candidates) == 0:
        return None
    weights = np.ones(len(points)) if weights is None else weights

    def supporters(plane: Plane) -> np.ndarray:
        return (np.abs(plane.height(points)) < threshold) & (normals @ plane.normal > np.cos(max_angle))

    def through(seed: int) -> Plane:
        return Plane(normals[seed], float(-normals[seed] @ points[seed]))

    inliers = max(
        (supporters(through(seed)) for seed in rng.choice(candidates, trials)), key=lambda found: weights[found].sum()
    )
    for _ in range(3):
        if inliers.sum() < 3:
            return None
        plane = fit_plane(points[inliers])
        if plane.normal @ normals[inliers].mean(0) < 0:
            plane = Plane(-plane.normal, -plane.offset)
        inliers = supporters(plane)
    return (plane, inliers) if inliers.sum() >= 3 else None
