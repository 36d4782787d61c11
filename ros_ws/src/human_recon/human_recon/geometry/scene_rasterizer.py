"""Many scenes of people and things, rendered and labelled: depth, object, triangle, and what each pixel shows of it.

The algorithm and its conventions are those of :mod:`human_recon.geometry.rasterizer`; here one call takes scenes of any
number of different meshes. ``scene_rasterizer_cuda`` does the same on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import NEAR, rasterize_reference
from human_recon.geometry.rasterizer_kernels import (
    fill_scenes,
    fill_scenes_parallel,
    label_scenes,
    label_scenes_parallel,
)

NO_PART = 255


@dataclass(frozen=True, eq=False)
class MeshBatch:
    """S scenes, each in the frame of its own camera (optical: x right, y down, z forward), metres.

    Scene s owns faces face_start[s] .. face_start[s + 1] - 1. Within a scene, equally near surfaces are decided for the
    lower face. Vertices of one scene should lie together: the range that its faces span is projected.
    """

    vertices: np.ndarray  # [V, 3] float32, of all scenes
    faces: np.ndarray  # [F, 3] int32 into all vertices, counter-clockwise seen from outside
    face_start: np.ndarray  # [S + 1] int64, rising from 0 to F
    face_object: np.ndarray  # [F] int32, within the scene: people 0, 1, ...; things from 1000
    cameras: np.ndarray  # [S, 4] float64: fx, fy, cx, cy in pixels
    size: tuple[int, int]  # height, width of every image
    body_vertex: np.ndarray | None = None  # [V] int32, -1 for things
    part: np.ndarray | None = None  # [V] uint8, 255 for things
    canonical: np.ndarray | None = None  # [V, 3] float32, place on the body's template, metres


@dataclass(frozen=True, eq=False)
class SceneRaster:
    """The nearest surface in every pixel of S images."""

    depth: np.ndarray  # [S, H, W] float32, metres along z, 0 = nothing there
    object: np.ndarray  # [S, H, W] int32, MeshBatch.face_object of the face seen, -1 = nothing there
    face: np.ndarray  # [S, H, W] int32, index into MeshBatch.faces, -1 = nothing there


@dataclass(frozen=True, eq=False)
class SurfaceLabels:
    """What every pixel of S images shows of its triangle; zeros (vertex -1, part 255) where there is nothing.

    Things (vertex -1) have no canonical position either: 0.
    """

    barycentric: np.ndarray  # [S, H, W, 3] float32, weights of the face's corners in space: >= 0, sum 1
    vertex: np.ndarray  # [S, H, W] int32, body_vertex of the corner of largest weight (the first of equals)
    part: np.ndarray  # [S, H, W] uint8, part of the same corner
    canonical: np.ndarray  # [S, H, W, 3] float32, the corners' canonical positions interpolated, metres
    normal: np.ndarray  # [S, H, W, 3] float32, unit normal of the triangle, towards the camera, camera frame


def rasterize_scenes(batch: MeshBatch, cull: bool = True, near: float = NEAR, parallel: bool = False) -> SceneRaster:
    """Render every scene of a batch; without the GIL.

    ``cull`` drops faces seen from behind. Triangles with a vertex that is not finite are dropped; those that cross the
    plane z = ``near`` [m] are cut there. ``parallel`` spreads the scenes over numba's threads, with the same result:
    for one calling thread at a time, as numba's threading layers demand.

    Raises:
        ValueError: for arrays of other shapes, indices out of range, or a ``near`` that is not positive.
    """
    check_batch(batch)
    if not near > 0:
        raise ValueError(f"near must be positive, got {near}")
    shape = (len(batch.cameras), *batch.size)
    depth, object_, face = np.empty(shape, np.float32), np.empty(shape, np.int32), np.empty(shape, np.int32)
    kernel = fill_scenes_parallel if parallel else fill_scenes
    kernel(*_geometry(batch), float(near), bool(cull), depth, object_, face)
    return SceneRaster(depth=depth, object=object_, face=face)


def rasterize_scenes_reference(batch: MeshBatch, cull: bool = True, near: float = NEAR) -> SceneRaster:
    """The same by casting the ray of every pixel against every triangle: for small images and tests only."""
    check_batch(batch)
    height, width = batch.size
    depth, object_, face = [], [], []
    for camera, begin, end in zip(batch.cameras, batch.face_start[:-1], batch.face_start[1:], strict=True):
        fx, fy, cx, cy = (float(x) for x in camera)
        intrinsics = CameraIntrinsics(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)
        raster = rasterize_reference(batch.vertices[None], batch.faces[begin:end], intrinsics, cull, near)
        hit = raster.face >= 0
        depth.append(raster.depth)
        face.append(np.where(hit, raster.face + begin, -1).astype(np.int32))
        object_.append(np.where(hit, np.append(batch.face_object, -1)[face[-1]], -1).astype(np.int32))
    shape = (len(batch.cameras), height, width)
    return SceneRaster(
        depth=np.reshape(depth, shape).astype(np.float32),
        object=np.reshape(object_, shape).astype(np.int32),
        face=np.reshape(face, shape).astype(np.int32),
    )


def surface_labels(raster: SceneRaster, batch: MeshBatch, parallel: bool = False) -> SurfaceLabels:
    """Label every pixel of a raster of this batch; attributes that the batch lacks are -1, 255 and 0 everywhere.

    Raises:
        ValueError: for arrays of other shapes, or a raster of another batch.
    """
    check_batch(batch)
    shape = (len(batch.cameras), *batch.size)
    if raster.face.shape != shape:
        raise ValueError(f"the raster is {raster.face.shape}, the batch {shape}")
    if raster.face.size and raster.face.max() >= len(batch.faces):
        raise ValueError(f"the raster shows face {raster.face.max()}, the batch has {len(batch.faces)}")
    vertices, faces, _, _, cameras = _geometry(batch)
    barycentric = np.empty((*shape, 3), np.float32)
    vertex, part = np.empty(shape, np.int32), np.empty(shape, np.uint8)
    canonical, normal = np.empty((*shape, 3), np.float32), np.empty((*shape, 3), np.float32)
    kernel = label_scenes_parallel if parallel else label_scenes
    attributes = _attributes(batch)
    kernel(raster.face, vertices, faces, cameras, *attributes, barycentric, vertex, part, canonical, normal)
    return SurfaceLabels(barycentric=barycentric, vertex=vertex, part=part, canonical=canonical, normal=normal)


def surface_labels_reference(raster: SceneRaster, batch: MeshBatch) -> SurfaceLabels:
    """The same, written to be read: the ray of a pixel meets a A + b B + c C, so [A B C] (a, b, c) is along the ray."""
    check_batch(batch)
    body_vertex, part, canonical = _attributes(batch)
    shape = raster.face.shape
    labels = SurfaceLabels(
        barycentric=np.zeros((*shape, 3), np.float32),
        vertex=np.full(shape, -1, np.int32),
        part=np.full(shape, NO_PART, np.uint8),
        canonical=np.zeros((*shape, 3), np.float32),
        normal=np.zeros((*shape, 3), np.float32),
    )
    for s, v, u in zip(*np.nonzero(raster.face >= 0), strict=True):
        fx, fy, cx, cy = batch.cameras[s]
        corner = batch.faces[raster.face[s, v, u]]
        points = batch.vertices[corner].astype(np.float64)
        ray = np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        length = np.linalg.norm(normal)
        try:
            weights = np.linalg.solve(points.T, ray)
        except np.linalg.LinAlgError:  # the plane of the triangle goes through the eye
            weights = np.array([1.0, 0.0, 0.0])
        weights = np.maximum(weights / weights.sum(), 0)
        weights /= weights.sum()
        labels.barycentric[s, v, u] = weights
        labels.vertex[s, v, u] = body_vertex[corner[np.argmax(weights)]]
        labels.part[s, v, u] = part[corner[np.argmax(weights)]]
        if labels.vertex[s, v, u] >= 0:
            labels.canonical[s, v, u] = weights @ canonical[corner]
        if length > 0:
            labels.normal[s, v, u] = normal / length * (-1 if normal @ points[0] > 0 else 1)
    return labels


def check_batch(batch: MeshBatch) -> None:
    """Refuse what the kernels would read or write out of bounds for.

    Raises:
        ValueError: naming the field.
    """
    check_shapes(batch)
    count, face_count = len(batch.vertices), len(batch.faces)
    if batch.faces.size and (batch.faces.min() < 0 or batch.faces.max() >= count):
        raise ValueError(f"faces index {batch.faces.min()}..{batch.faces.max()}, but there are {count} vertices")
    start = batch.face_start
    if start[0] != 0 or start[-1] != face_count or (np.diff(start) < 0).any():
        raise ValueError(f"face_start must rise from 0 to the {face_count} faces, got {start}")


def check_shapes(batch: MeshBatch) -> None:
    """Refuse arrays of other shapes than MeshBatch says; arrays of any library.

    Raises:
        ValueError: naming the field.
    """
    count, face_count, scenes = len(batch.vertices), len(batch.faces), len(batch.cameras)
    expected = {
        "vertices": (count, 3),
        "faces": (face_count, 3),
        "face_start": (scenes + 1,),
        "face_object": (face_count,),
        "cameras": (scenes, 4),
    }
    expected |= {"body_vertex": (count,), "part": (count,), "canonical": (count, 3)}
    for name, shape in expected.items():
        value = getattr(batch, name)
        if value is not None and tuple(value.shape) != shape:
            raise ValueError(f"{name} must be {list(shape)}, got {list(value.shape)}")
    if min(batch.size) < 1:
        raise ValueError(f"size must be at least 1 by 1, got {batch.size}")


def _geometry(batch: MeshBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, faces, face_start, face_object, cameras: contiguous, in the kernels' types."""
    return (
        np.ascontiguousarray(batch.vertices, np.float32),
        np.ascontiguousarray(batch.faces, np.int32),
        np.ascontiguousarray(batch.face_start, np.int64),
        np.ascontiguousarray(batch.face_object, np.int32),
        np.ascontiguousarray(batch.cameras, np.float64),
    )


def _attributes(batch: MeshBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """body_vertex, part, canonical: as given, or what stands for nothing."""
    count = len(batch.vertices)
    body_vertex = np.full(count, -1, np.int32) if batch.body_vertex is None else batch.body_vertex
    part = np.full(count, NO_PART, np.uint8) if batch.part is None else batch.part
    canonical = np.zeros((count, 3), np.float32) if batch.canonical is None else batch.canonical
    return (
        np.ascontiguousarray(body_vertex, np.int32),
        np.ascontiguousarray(part, np.uint8),
        np.ascontiguousarray(canonical, np.float32),
    )
