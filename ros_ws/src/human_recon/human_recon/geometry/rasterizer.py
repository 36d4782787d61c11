"""Z-buffer rasteriser: which body, which triangle, and how far, in every pixel of a pinhole camera.

Conventions: camera optical frame (x right, y down, z forward), the centre of pixel (row v, column u) is the image point
(u, v), faces are counter-clockwise seen from outside. Lens distortion is ignored: undistort the frame first.

Inverse depth is affine in the image, so it is what is interpolated and compared: depth is perspective-correct without
a division per fragment. Edges follow the top-left rule with edge functions evaluated from a fixed end point order, so
that two triangles sharing an edge cover each pixel along it exactly once: no gaps, no double hits. Triangles that
cross the near plane are clipped against it (at most four corners remain), never dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics

NEAR = 0.05  # metres; no depth camera reads closer


@dataclass(frozen=True)
class Raster:
    """The nearest surface in every pixel."""

    depth: np.ndarray  # [H, W] float32, metres along z, 0 = nothing there
    person: np.ndarray  # [H, W] int32, index into the first axis of the vertices, -1 = nothing there
    face: np.ndarray  # [H, W] int32, index into the faces, -1 = nothing there


def rasterize(
    vertices: np.ndarray,  # [P, V, 3] metres, camera frame
    faces: np.ndarray,  # [F, 3] integer, shared by all P meshes
    intrinsics: CameraIntrinsics,
    cull: bool = True,
    near: float = NEAR,
) -> Raster:
    """Render P meshes of one topology; single-threaded and without the GIL.

    ``cull`` drops faces seen from behind. Triangles with a vertex that is not finite are dropped. Where two surfaces
    are equally near, the lower person index wins, then the lower face index.

    Raises:
        ValueError: for arrays of another shape, or face indices out of range.
    """
    vertices, faces = _checked(vertices, faces)
    height, width = intrinsics.height, intrinsics.width
    inverse_depth = np.zeros((height, width), np.float32)
    person = np.full((height, width), -1, np.int32)
    face = np.full((height, width), -1, np.int32)
    camera = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
    _rasterize(vertices, faces, *camera, float(near), bool(cull), inverse_depth, person, face)
    return Raster(depth=_invert_in_place(inverse_depth), person=person, face=face)


def rasterize_reference(
    vertices: np.ndarray,  # [P, V, 3] metres, camera frame
    faces: np.ndarray,  # [F, 3] integer
    intrinsics: CameraIntrinsics,
    cull: bool = True,
    near: float = NEAR,
) -> Raster:
    """The obvious renderer: cast the ray of every pixel against every triangle. For small images and tests only.

    Pixel (u, v) looks along d = ((u - cx) / fx, (v - cy) / fy, 1); the plane of triangle (a, b, c) is met at depth
    z = a . n / d . n, inside the triangle where the three triple products det(d, p, q) over its edges have one sign.
    Borders count as inside, so only pixels exactly on a silhouette may differ from :func:`rasterize`.
    """
    vertices, faces = _checked(vertices, faces)
    height, width = intrinsics.height, intrinsics.width
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack(
        [(u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, np.ones((height, width))], axis=-1
    )
    depth = np.full((height, width), np.inf)
    person = np.full((height, width), -1, np.int32)
    face = np.full((height, width), -1, np.int32)
    for p in range(len(vertices)):
        for f, corners in enumerate(vertices[p][faces].astype(np.float64)):
            a, b, c = corners
            if not np.isfinite(corners).all():
                continue
            normal = np.cross(b - a, c - a)
            facing = a @ normal  # negative: seen from outside
            if facing == 0 or (cull and facing > 0):
                continue
            inside = [rays @ np.cross(s, t) * np.sign(facing) >= 0 for s, t in ((a, b), (b, c), (c, a))]
            with np.errstate(divide="ignore", invalid="ignore"):
                z = facing / (rays @ normal)
            hit = inside[0] & inside[1] & inside[2] & (z > near) & (z < depth)
            depth[hit], person[hit], face[hit] = z[hit], p, f
    return Raster(depth=np.where(np.isinf(depth), 0, depth).astype(np.float32), person=person, face=face)


def barycentric(raster: Raster, vertices: np.ndarray, faces: np.ndarray, intrinsics: CameraIntrinsics) -> np.ndarray:
    """Where in its triangle each pixel's ray meets the surface.

    Returns [H, W, 3] float32 weights of the three corners (>= 0, sum 1; all 0 where the raster is empty): weights on
    the triangle in space, so any per-vertex quantity may be interpolated with them.
    """
    vertices, faces = _checked(vertices, faces)
    weights = np.zeros((*raster.depth.shape, 3), np.float32)
    camera = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
    _barycentric(raster.person, raster.face, vertices, faces, *camera, weights)
    return weights


def visible_vertices(
    vertices: np.ndarray,  # [V, 3] metres, camera frame
    faces: np.ndarray,  # [F, 3] integer
    intrinsics: CameraIntrinsics,
    depth: np.ndarray,  # [H, W] metres, 0 = nothing: what is in front, usually a Raster's depth of all people
    tolerance: float = 0.01,  # metres
) -> np.ndarray:
    """Which vertices the camera sees: [V] bool.

    A vertex is seen when it projects into the image, at least one of its faces looks towards the camera, and no
    surface in ``depth`` is nearer than it by more than ``tolerance`` in the nearest pixel.
    """
    points, faces = _checked(vertices[None], faces)
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(f"depth is {depth.shape}, the camera {(intrinsics.height, intrinsics.width)}")
    camera = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
    return _visible_vertices(points[0], faces, *camera, np.asarray(depth, np.float32), float(tolerance), NEAR)


def _checked(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays contiguous in the kernels' types; an index out of range would write into foreign memory there."""
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"vertices must be [P, V, 3], got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces must be [F, 3], got {faces.shape}")
    if faces.size and (faces.min() < 0 or faces.max() >= vertices.shape[1]):
        raise ValueError(f"faces index {faces.min()}..{faces.max()}, but there are {vertices.shape[1]} vertices")
    return np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)


@numba.njit(cache=True, nogil=True)
def _invert_in_place(inverse_depth: np.ndarray) -> np.ndarray:
    for v in range(inverse_depth.shape[0]):
        for u in range(inverse_depth.shape[1]):
            if inverse_depth[v, u] > 0:
                inverse_depth[v, u] = np.float32(1.0) / inverse_depth[v, u]
    return inverse_depth


@numba.njit(cache=True, nogil=True)
def _edge(ax: float, ay: float, bx: float, by: float) -> tuple[float, float, float]:
    """Coefficients (A, B, C) of A x + B y + C = (b - a) x (p - a).

    Evaluated from the lexicographically lower end, so that the edge b-a gives exactly the negated numbers of a-b.
    """
    if ax < bx or (ax == bx and ay < by):
        return ay - by, bx - ax, ax * by - bx * ay
    return -(by - ay), -(ax - bx), -(bx * ay - ax * by)


@numba.njit(cache=True, nogil=True)
def _owns_border(a: float, b: float) -> bool:
    """Top-left rule for edge functions positive inside (y down): left and top edges own the pixels on them."""
    return a > 0.0 or (a == 0.0 and b > 0.0)


@numba.njit(cache=True, nogil=True)
def _fill(
    x0: float,
    y0: float,
    w0: float,
    x1: float,
    y1: float,
    w1: float,
    x2: float,
    y2: float,
    w2: float,
    p: int,
    f: int,
    inverse_depth: np.ndarray,
    person: np.ndarray,
    face: np.ndarray,
) -> None:
    """Fill one projected triangle, either winding; w = inverse depth at the corners."""
    height, width = inverse_depth.shape
    u_low = max(0.0, math.ceil(min(x0, x1, x2)))
    u_high = min(width - 1.0, math.floor(max(x0, x1, x2)))
    v_low = max(0.0, math.ceil(min(y0, y1, y2)))
    v_high = min(height - 1.0, math.floor(max(y0, y1, y2)))
    if u_low > u_high or v_low > v_high:
        return
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0.0:
        return
    if area < 0.0:  # make the edge functions positive inside
        x1, y1, w1, x2, y2, w2 = x2, y2, w2, x1, y1, w1
        area = -area
    a0, b0, c0 = _edge(x1, y1, x2, y2)
    a1, b1, c1 = _edge(x2, y2, x0, y0)
    a2, b2, c2 = _edge(x0, y0, x1, y1)
    own0, own1, own2 = _owns_border(a0, b0), _owns_border(a1, b1), _owns_border(a2, b2)
    w_low, w_high = min(w0, w1, w2), max(w0, w1, w2)
    # inverse depth as a plane over the image, relative to corner 0
    wx = (a1 * (w1 - w0) + a2 * (w2 - w0)) / area
    wy = (b1 * (w1 - w0) + b2 * (w2 - w0)) / area
    for v in range(int(v_low), int(v_high) + 1):
        r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
        for u in range(int(u_low), int(u_high) + 1):
            e0, e1, e2 = a0 * u + r0, a1 * u + r1, a2 * u + r2
            if e0 < 0.0 or e1 < 0.0 or e2 < 0.0:
                continue
            if (e0 == 0.0 and not own0) or (e1 == 0.0 and not own1) or (e2 == 0.0 and not own2):
                continue
            w = np.float32(min(max(w0 + wx * (u - x0) + wy * (v - y0), w_low), w_high))  # slivers must not overshoot
            if w > inverse_depth[v, u]:
                inverse_depth[v, u] = w
                person[v, u] = p
                face[v, u] = f


@numba.njit(cache=True, nogil=True)
def _near_crossing(vertices: np.ndarray, p: int, i: int, j: int, near: float) -> tuple[float, float]:
    """Where edge i-j meets the near plane: x, y (z is ``near``). The same point from both sides of the edge."""
    if i > j:
        i, j = j, i
    t = (near - vertices[p, i, 2]) / (float(vertices[p, j, 2]) - float(vertices[p, i, 2]))
    x = vertices[p, i, 0] + t * (float(vertices[p, j, 0]) - float(vertices[p, i, 0]))
    y = vertices[p, i, 1] + t * (float(vertices[p, j, 1]) - float(vertices[p, i, 1]))
    return x, y


@numba.njit(cache=True, nogil=True)
def _rasterize(
    vertices: np.ndarray,
    faces: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    near: float,
    cull: bool,
    inverse_depth: np.ndarray,
    person: np.ndarray,
    face: np.ndarray,
) -> None:
    number = vertices.shape[1]
    image = np.empty((number, 3))  # u, v, inverse depth (0: not in front of the near plane, negative: not finite)
    polygon = np.empty((4, 3))
    for p in range(vertices.shape[0]):
        for i in range(number):
            x, y, z = vertices[p, i, 0], vertices[p, i, 1], float(vertices[p, i, 2])
            if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
                image[i, 2] = -1.0
            elif z <= near:
                image[i, 2] = 0.0
            else:
                image[i, 0], image[i, 1], image[i, 2] = fx * (x / z) + cx, fy * (y / z) + cy, 1.0 / z
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            wi, wj, wk = image[i, 2], image[j, 2], image[k, 2]
            if wi > 0.0 and wj > 0.0 and wk > 0.0:
                xi, yi, xj, yj, xk, yk = image[i, 0], image[i, 1], image[j, 0], image[j, 1], image[k, 0], image[k, 1]
                if cull and (xj - xi) * (yk - yi) - (yj - yi) * (xk - xi) >= 0.0:
                    continue  # clockwise to the eye (y points down)
                _fill(xi, yi, wi, xj, yj, wj, xk, yk, wk, p, f, inverse_depth, person, face)
                continue
            if wi < 0.0 or wj < 0.0 or wk < 0.0 or (wi == 0.0 and wj == 0.0 and wk == 0.0):
                continue
            count = 0  # clip: walk round the triangle, keep corners in front, add a corner where an edge crosses
            for corner in range(3):
                s, t = faces[f, corner], faces[f, (corner + 1) % 3]
                if image[s, 2] > 0.0:
                    polygon[count] = image[s]
                    count += 1
                if (image[s, 2] > 0.0) != (image[t, 2] > 0.0):
                    x, y = _near_crossing(vertices, p, s, t, near)
                    polygon[count, 0], polygon[count, 1] = fx * x / near + cx, fy * y / near + cy
                    polygon[count, 2] = 1.0 / near
                    count += 1
            a, b = polygon[0], polygon[1]
            for corner in range(2, count):
                b, c = polygon[corner - 1], polygon[corner]
                if cull and (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) >= 0.0:
                    continue
                _fill(a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2], p, f, inverse_depth, person, face)


@numba.njit(cache=True, nogil=True)
def _triple(dx: float, dy: float, a: np.ndarray, b: np.ndarray) -> float:
    """det(d, a, b) for d = (dx, dy, 1), in double precision."""
    ax, ay, az, bx, by, bz = float(a[0]), float(a[1]), float(a[2]), float(b[0]), float(b[1]), float(b[2])
    return dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + (ax * by - ay * bx)


@numba.njit(cache=True, nogil=True)
def _barycentric(
    person: np.ndarray,
    face: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    weights: np.ndarray,
) -> None:
    for v in range(face.shape[0]):
        for u in range(face.shape[1]):
            if face[v, u] < 0:
                continue
            dx, dy = (u - cx) / fx, (v - cy) / fy
            corner = faces[face[v, u]]
            a, b, c = (
                vertices[person[v, u], corner[0]],
                vertices[person[v, u], corner[1]],
                vertices[person[v, u], corner[2]],
            )
            wa, wb, wc = _triple(dx, dy, b, c), _triple(dx, dy, c, a), _triple(dx, dy, a, b)
            if wa + wb + wc < 0.0:
                wa, wb, wc = -wa, -wb, -wc
            wa, wb, wc = max(wa, 0.0), max(wb, 0.0), max(wc, 0.0)  # rounding along borders
            total = wa + wb + wc
            if total <= 0.0:  # the triangle is seen exactly edge-on
                wa, total = 1.0, 1.0
            weights[v, u, 0], weights[v, u, 1], weights[v, u, 2] = wa / total, wb / total, wc / total


@numba.njit(cache=True, nogil=True)
def _visible_vertices(
    vertices: np.ndarray,
    faces: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    depth: np.ndarray,
    tolerance: float,
    near: float,
) -> np.ndarray:
    facing = np.zeros(vertices.shape[0], np.bool_)
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        # a . ((b - a) x (c - a)) = det(a, b, c): negative when the camera is on the outer side
        determinant = (
            float(a[0]) * (float(b[1]) * c[2] - float(b[2]) * c[1])
            + float(a[1]) * (float(b[2]) * c[0] - float(b[0]) * c[2])
            + float(a[2]) * (float(b[0]) * c[1] - float(b[1]) * c[0])
        )
        if determinant < 0.0:
            facing[faces[f, 0]] = facing[faces[f, 1]] = facing[faces[f, 2]] = True
    height, width = depth.shape
    visible = np.zeros(vertices.shape[0], np.bool_)
    for i in range(vertices.shape[0]):
        z = vertices[i, 2]
        if not facing[i] or not z > near:
            continue
        x, y = fx * (vertices[i, 0] / z) + cx, fy * (vertices[i, 1] / z) + cy
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            continue
        u, v = math.floor(x + 0.5), math.floor(y + 0.5)
        visible[i] = depth[v, u] <= 0.0 or depth[v, u] >= z - tolerance
    return visible
