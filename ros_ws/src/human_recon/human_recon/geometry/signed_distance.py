"""Signed distance from points to a closed triangle mesh.

Inside or outside is decided by the winding number, which stays right where a posed body intersects itself at armpits
and thighs and where the normal of the nearest face would lie.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def winding_number(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Winding number [N] of a closed mesh (``vertices`` [V, 3], counter-clockwise ``faces`` [F, 3]) about ``points``.

    1 inside, 0 outside, 2 where the mesh overlaps itself. Counted as the signed crossings of the ray from each point
    towards +z; the faces are sorted into a grid over x and y, so that only those near the ray are looked at.
    """
    points = np.array(points, np.float64)
    # A ray through a vertex or along an edge would cross twice or never: none passes through these.
    points[:, :2] += 1e-9 * np.array([0.7548776662, 0.5698402910])
    return _signed_crossings(points, _f64(vertices), np.ascontiguousarray(faces, np.int64), 64)


def winding_number_reference(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The definition: the sum of the faces' signed solid angles over 4 pi (van Oosterom and Strackee, 1983), [N]."""
    total = np.zeros(len(points))
    for n, point in enumerate(points):
        a, b, c = (vertices[faces[:, k]] - point for k in range(3))
        la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
        triple = (a * np.cross(b, c)).sum(1)
        scale = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total[n] = 2.0 * np.arctan2(triple, scale).sum() / (4.0 * np.pi)
    return total


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
    inside = near[winding_number(points[near], vertices, faces) > 0]
    exits, _ = closest_points(points[inside], vertices, faces)
    return inside, np.linalg.norm(points[inside] - exits, axis=-1), exits


def _f64(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float64)


@njit(cache=True, nogil=True)
def _signed_crossings(points, vertices, faces, cells):
    x0, y0 = vertices[:, 0].min(), vertices[:, 1].min()
    sx = (vertices[:, 0].max() - x0) / cells + 1e-12
    sy = (vertices[:, 1].max() - y0) / cells + 1e-12
    # Compressed lists of the faces over each cell: count, then fill.
    start = np.zeros(cells * cells + 1, np.int64)
    box = np.empty((faces.shape[0], 4), np.int64)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        box[f, 0] = int((min(vertices[a, 0], vertices[b, 0], vertices[c, 0]) - x0) / sx)
        box[f, 1] = min(int((max(vertices[a, 0], vertices[b, 0], vertices[c, 0]) - x0) / sx), cells - 1)
        box[f, 2] = int((min(vertices[a, 1], vertices[b, 1], vertices[c, 1]) - y0) / sy)
        box[f, 3] = min(int((max(vertices[a, 1], vertices[b, 1], vertices[c, 1]) - y0) / sy), cells - 1)
        for i in range(box[f, 0], box[f, 1] + 1):
            for j in range(box[f, 2], box[f, 3] + 1):
                start[i * cells + j + 1] += 1
    for k in range(cells * cells):
        start[k + 1] += start[k]
    fill = start[:-1].copy()
    members = np.empty(start[-1], np.int64)
    for f in range(faces.shape[0]):
        for i in range(box[f, 0], box[f, 1] + 1):
            for j in range(box[f, 2], box[f, 3] + 1):
                members[fill[i * cells + j]] = f
                fill[i * cells + j] += 1
    result = np.zeros(points.shape[0], np.int64)
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i, j = int(np.floor((x - x0) / sx)), int(np.floor((y - y0) / sy))
        if i < 0 or i >= cells or j < 0 or j >= cells:
            continue
        for k in range(start[i * cells + j], start[i * cells + j + 1]):
            f = members[k]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = vertices[a, 0] - x, vertices[a, 1] - y
            bx, by = vertices[b, 0] - x, vertices[b, 1] - y
            cx, cy = vertices[c, 0] - x, vertices[c, 1] - y
            wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
            if (wa > 0.0 and wb > 0.0 and wc > 0.0) or (wa < 0.0 and wb < 0.0 and wc < 0.0):
                area = wa + wb + wc
                if (wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]) / area > z:
                    # An outward normal towards +z: the ray leaves the body here.
                    result[n] += 1 if area > 0.0 else -1
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


@njit(cache=True, nogil=True)
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
    for n in range(points.shape[0]):
        best = np.inf
        for f in range(faces.shape[0]):
            d0 = centres[f, 0] - points[n, 0]
            d1 = centres[f, 1] - points[n, 1]
            d2 = centres[f, 2] - points[n, 2]
            reach = np.sqrt(best) + radii[f]
            if d0 * d0 + d1 * d1 + d2 * d2 >= reach * reach:
                continue
            q = _closest_on_triangle(points[n], vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]])
            distance = ((points[n] - q) ** 2).sum()
            if distance < best:
                best = distance
                nearest[n] = q
                index[n] = f
    return nearest, index
