"""Surface normals: of depth images and of meshes."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _same_surface(other, z, limit):
    return other > 0.0 and abs(other - z) < limit


@njit(cache=True, nogil=True)
def depth_normals(points: np.ndarray, radius: int, max_jump: float) -> np.ndarray:
    """Normals of an organised point image by central differences that do not cross depth edges.

    Args:
        points: [H, W, 3] metres, z = 0 where there is no reading.
        radius: half width of the difference, pixels; larger is smoother.
        max_jump: relative depth change across ``radius`` beyond which two pixels are on different surfaces (0.05: 10 cm
            at 2 m).

    Returns:
        [H, W, 3] unit normals facing the camera; zero where no normal can be had.
    """
    height, width = points.shape[:2]
    normals = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            z = points[y, x, 2]
            if z <= 0.0:
                continue
            limit = max_jump * z
            # For each direction the farthest sample on this surface, on either side; the pixel itself as a last resort.
            left, right, top, bottom = x, x, y, y
            for step in range(radius, 0, -1):
                if right == x and x + step < width and _same_surface(points[y, x + step, 2], z, limit):
                    right = x + step
                if left == x and x - step >= 0 and _same_surface(points[y, x - step, 2], z, limit):
                    left = x - step
                if bottom == y and y + step < height and _same_surface(points[y + step, x, 2], z, limit):
                    bottom = y + step
                if top == y and y - step >= 0 and _same_surface(points[y - step, x, 2], z, limit):
                    top = y - step
            if left == right or top == bottom:
                continue
            ax = points[y, right, 0] - points[y, left, 0]
            ay = points[y, right, 1] - points[y, left, 1]
            az = points[y, right, 2] - points[y, left, 2]
            bx = points[bottom, x, 0] - points[top, x, 0]
            by = points[bottom, x, 1] - points[top, x, 1]
            bz = points[bottom, x, 2] - points[top, x, 2]
            nx = by * az - bz * ay
            ny = bz * ax - bx * az
            nz = bx * ay - by * ax
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            if length > 0.0:
                normals[y, x, 0] = nx / length
                normals[y, x, 1] = ny / length
                normals[y, x, 2] = nz / length
    return normals


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals of meshes of one topology, outward for counter-clockwise faces.

    Args:
        vertices: [V, 3], or [P, V, 3] for several meshes.
        faces: [F, 3].

    Returns:
        float64 in the shape of ``vertices``; 0 where undefined.
    """
    meshes = np.ascontiguousarray(vertices, np.float64).reshape(-1, *vertices.shape[-2:])
    return _vertex_normals(meshes, np.ascontiguousarray(faces, np.int32)).reshape(vertices.shape)


@njit(cache=True, nogil=True)
def _vertex_normals(vertices, faces):
    normals = np.zeros(vertices.shape)
    for p in range(vertices.shape[0]):
        for f in range(faces.shape[0]):
            a, b, c = vertices[p, faces[f, 0]], vertices[p, faces[f, 1]], vertices[p, faces[f, 2]]
            ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            for corner in range(3):
                i = faces[f, corner]
                normals[p, i, 0] += nx
                normals[p, i, 1] += ny
                normals[p, i, 2] += nz
        for i in range(vertices.shape[1]):
            length = np.sqrt((normals[p, i] ** 2).sum())
            if length > 0.0:
                normals[p, i] /= length
    return normals
