"""Distances between a reconstruction and a scan, whose vertices do not correspond (seed 001, table 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from human_recon.geometry.signed_distance import closest_points


def vertex_to_vertex(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """V2V: distance [N] from each of ``source`` [N, 3] to the nearest vertex of ``target`` [M, 3], metres."""
    return cKDTree(np.asarray(target, np.float64)).query(np.asarray(source, np.float64))[0]


def vertex_to_surface(source: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """V2S: distance [N] from each of ``source`` [N, 3] to the nearest point of a mesh's surface, metres."""
    nearest, _ = closest_points(source, vertices, faces)
    return np.linalg.norm(np.asarray(source, np.float64) - nearest, axis=1)


@dataclass(frozen=True)
class SurfaceErrors:
    """Means over the vertices, metres; the four rows of seed 001, table 2. NaN where the scan has no faces."""

    reconstruction_to_scan_v2v: float
    reconstruction_to_scan_v2s: float
    scan_to_reconstruction_v2v: float
    scan_to_reconstruction_v2s: float


def surface_errors(
    vertices: np.ndarray,  # [V, 3] of the reconstruction
    faces: np.ndarray,  # [F, 3]
    scan: np.ndarray,  # [S, 3] of the scan: vertices, or bare points
    scan_faces: np.ndarray | None = None,  # [G, 3]; None for a point cloud
) -> SurfaceErrors:
    """Both distances in both directions. A point cloud has no surface to measure to."""
    return SurfaceErrors(
        reconstruction_to_scan_v2v=float(vertex_to_vertex(vertices, scan).mean()),
        reconstruction_to_scan_v2s=(
            float("nan") if scan_faces is None else float(vertex_to_surface(vertices, scan, scan_faces).mean())
        ),
        scan_to_reconstruction_v2v=float(vertex_to_vertex(scan, vertices).mean()),
        scan_to_reconstruction_v2s=float(vertex_to_surface(scan, vertices, faces).mean()),
    )
