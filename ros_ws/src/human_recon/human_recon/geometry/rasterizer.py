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
from human_recon.geometry.rasterizer_kernels import fill_people, weigh_people

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
    depth = np.zeros((height, width), np.float32)  # inverse depth until the kernel is done
    person = np.full((height, width), -1, np.int32)
    face = np.full((height, width), -1, np.int32)
    camera = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
    fill_people(vertices, faces, *camera, float(near), bool(cull), depth, person, face)
    return Raster(depth=depth, person=person, face=face)


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
    weigh_people(raster.person, raster.face, vertices, faces, *camera, weights)
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
