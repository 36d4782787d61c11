"""Signed distance from points to a closed triangle mesh.

Inside or outside is decided by the generalised winding number (Jacobson et al., SIGGRAPH 2013), which stays right where
a posed body intersects itself at armpits and thighs and where the normal of the nearest face would lie.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


def winding_number(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Winding number [N] of a mesh (``vertices`` [V, 3], counter-clockwise ``faces`` [F, 3]) about ``points`` [N, 3].

    1 inside, 0 outside, 2 where the mesh overlaps itself.
    """
    return _winding_number(_f64(points), _f64(vertices), np.ascontiguousarray(faces, np.int64))


def closest_points(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point [N, 3] of the surface to each point [N, 3], and the face [N] it lies on."""
    return _closest_points(_f64(points), _f64(vertices), np.ascontiguousarray(faces, np.int64))


def penetration(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of ``points`` [N, 3] are inside a mesh, how deep, and where they would leave it.

    Returns:
        indices [K] of the points inside, their depth [K] in metres, and the nearest surface points [K, 3].
    """
    low, high = vertices.min(0), vertices.max(0)
    near = np.flatnonzero(((points > low) & (points < high)).all(-1))
    if len(near) == 0:
        return near, np.zeros(0), np.zeros((0, 3))
    inside = near[winding_number(points[near], vertices, faces) > 0.5]
    exits, _ = closest_points(points[inside], vertices, faces)
    return inside, np.linalg.norm(points[inside] - exits, axis=-1), exits


def _f64(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float64)


@njit(cache=True, parallel=True)
def _winding_number(points, vertices, faces):
    """Sum of signed solid angles of all faces over 4 pi (van Oosterom and Strackee, 1983)."""
    result = np.empty(points.shape[0])
    for n in prange(points.shape[0]):
        total = 0.0
        for f in range(faces.shape[0]):
            a0 = vertices[faces[f, 0], 0] - points[n, 0]
            a1 = vertices[faces[f, 0], 1] - points[n, 1]
            a2 = vertices[faces[f, 0], 2] - points[n, 2]
            b0 = vertices[faces[f, 1], 0] - points[n, 0]
            b1 = vertices[faces[f, 1], 1] - points[n, 1]
            b2 = vertices[faces[f, 1], 2] - points[n, 2]
            c0 = vertices[faces[f, 2], 0] - points[n, 0]
            c1 = vertices[faces[f, 2], 1] - points[n, 1]
            c2 = vertices[faces[f, 2], 2] - points[n, 2]
            la = np.sqrt(a0 * a0 + a1 * a1 + a2 * a2)
            lb = np.sqrt(b0 * b0 + b1 * b1 + b2 * b2)
            lc = np.sqrt(c0 * c0 + c1 * c1 + c2 * c2)
            triple = a0 * (b1 * c2 - b2 * c1) + a1 * (b2 * c0 - b0 * c2) + a2 * (b0 * c1 - b1 * c0)
            scale = (
                la * lb * lc
                + (a0 * b0 + a1 * b1 + a2 * b2) * lc
                + (b0 * c0 + b1 * c1 + b2 * c2) * la
                + (c0 * a0 + c1 * a1 + c2 * a2) * lb
            )
            total += 2.0 * np.arctan2(triple, scale)
        result[n] = total / (4.0 * np.pi)
    return result


@njit(cache=True, nogil=True)
def _closest_on_triangle(p, a, b, c):
    """Nearest point of triangle abc to p (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = ab @ ap, ac @ ap
    if d1 <= 0.0 and d2 <= 0.0:
        return a
    bp = p - b
    d3, d4 = ab @ bp, ac @ bp
    if d3 >= 0.0 and d4 <= d3:
        return b
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        return a + ab * (d1 / (d1 - d3))
    cp = p - c
    d5, d6 = ab @ cp, ac @ cp
    if d6 >= 0.0 and d5 <= d6:
        return c
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        return a + ac * (d2 / (d2 - d6))
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 >= d3 and d5 >= d6:
        return b + (c - b) * ((d4 - d3) / ((d4 - d3) + (d5 - d6)))
    scale = 1.0 / (va + vb + vc)
    return a + ab * (vb * scale) + ac * (vc * scale)


@njit(cache=True, parallel=True)
def _closest_points(points, vertices, faces):
    # A face is farther than its centre's distance less its radius: most are skipped after one subtraction.
    centres = np.empty((faces.shape[0], 3))
    radii = np.empty(faces.shape[0])
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        centre = (a + b + c) / 3.0
        centres[f] = centre
        radii[f] = np.sqrt(max(((a - centre) ** 2).sum(), ((b - centre) ** 2).sum(), ((c - centre) ** 2).sum()))
    nearest = np.empty((points.shape[0], 3))
    index = np.empty(points.shape[0], np.int64)
    for n in prange(points.shape[0]):
        best = np.inf
        for f in range(faces.shape[0]):
            d0 = centres[f, 0] - points[n, 0]
            d1 = centres[f, 1] - points[n, 1]
            d2 = centres[f, 2] - points[n, 2]
            reach = np.sqrt(best) + radii[f]
            if d0 * d0 + d1 * d1 + d2 * d2 >= reach * reach:
                continue
            q = _closest_on_triangle(
                points[n], vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
            )
            distance = ((points[n] - q) ** 2).sum()
            if distance < best:
                best = distance
                nearest[n] = q
                index[n] = f
    return nearest, index
