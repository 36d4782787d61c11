"""What every pixel of a rendering shows: normals, materials, and of people the place on the body.

People are drawn with coarser meshes than the body model's, and clothes with other ones; what all of them carry is the
point of the template under each pixel. The vertex nearest to it is the finest label that a body model can give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.geometry.rasterizer_kernels import corner_weights, point, unit_normal
from human_recon.geometry.scene_rasterizer import MeshBatch, SceneRaster

NO_PART = 255
_CELL = 0.008  # metres, edge of a cell: half of the distance between neighbouring vertices
_REACH = 3  # cells around each vertex that know about it; triangles' middles are nearer


@dataclass(frozen=True, eq=False)
class SurfaceLookup:
    """A grid over the template whose cells hold the nearest vertex; -1 far from the surface."""

    origin: np.ndarray  # [3] float32, metres, low corner
    cells: np.ndarray  # [X, Y, Z] int16, vertex
    parts: np.ndarray  # [V] uint8, joint of the body part

    @staticmethod
    def build(body: BodyModel) -> SurfaceLookup:
        """For a body of at most 32,767 vertices; takes a second."""
        if body.vertex_count > np.iinfo(np.int16).max:
            raise ValueError(f"body '{body.name}' has {body.vertex_count} vertices; labels are 16 bit")
        template = body.v_template.astype(np.float64)
        origin = template.min(axis=0) - (_REACH + 1) * _CELL
        home = np.floor((template - origin) / _CELL).astype(np.int64)
        cells = np.full(home.max(axis=0) + _REACH + 2, -1, np.int16)
        steps = np.arange(-_REACH, _REACH + 1)
        around = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        near = np.unique((home[:, None] + around).reshape(-1, 3), axis=0)
        _, vertex = cKDTree(template).query(origin + (near + 0.5) * _CELL)
        cells[tuple(near.T)] = vertex
        return SurfaceLookup(origin.astype(np.float32), cells, vertex_parts(body))

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """[N] int32, the vertex nearest to each of N points of the template [N, 3], within a cell's size."""
        vertices = np.empty(len(points), np.int32)
        _nearest(np.ascontiguousarray(points, np.float32), self.origin, self.cells, vertices)
        return vertices


@dataclass(frozen=True, eq=False)
class PixelLabels:
    """What the pixels of one image show."""

    vertex: np.ndarray  # [H, W] int32, body's vertex, -1 = no person
    part: np.ndarray  # [H, W] uint8, joint of the body part, NO_PART = no person
    canonical: np.ndarray  # [H, W, 3] float32, point of the template, metres; 0 = no person
    normal: np.ndarray  # [H, W, 3] float32, unit normal towards the camera; 0 = nothing
    material: np.ndarray  # [H, W] uint8, ``face_material`` of the face seen, its last entry = nothing


def label_pixels(
    raster: SceneRaster, batch: MeshBatch, face_material: np.ndarray, lookup: SurfaceLookup
) -> PixelLabels:
    """Label the first scene of a batch.

    Normals and canonical positions are those of :func:`~human_recon.geometry.scene_rasterizer.surface_labels`, in one
    pass that computes where in its triangle a pixel lies for people only.

    Args:
        raster, batch: of one scene; the batch has ``body_vertex`` and ``canonical``.
        face_material: [F + 1] uint8.
        lookup: of the body that the canonical positions are on.
    """
    height, width = batch.size
    labels = PixelLabels(
        vertex=np.empty((height, width), np.int32),
        part=np.empty((height, width), np.uint8),
        canonical=np.empty((height, width, 3), np.float32),
        normal=np.empty((height, width, 3), np.float32),
        material=np.empty((height, width), np.uint8),
    )
    _label(
        raster.face[0], batch.vertices, batch.faces, batch.cameras[0], batch.body_vertex, batch.canonical,
        face_material, lookup.origin, lookup.cells, lookup.parts,
        labels.vertex, labels.part, labels.canonical, labels.normal, labels.material,
    )  # fmt: skip
    return labels


@numba.njit(cache=True, nogil=True)
def _label(
    face, vertices, faces, camera, body_vertex, canonical, face_material, origin, cells, parts,
    pixel_vertex, pixel_part, pixel_canonical, pixel_normal, pixel_material,
):  # fmt: skip
    across, down, cx, cy = 1.0 / camera[0], 1.0 / camera[1], camera[2], camera[3]
    zero = np.float32(0.0)
    previous = -1
    i = j = k = 0
    person = False
    ax = ay = az = bx = by = bz = gx = gy = gz = 0.0
    nx = ny = nz = zero
    for v in range(face.shape[0]):
        dy = (v - cy) * down
        for u in range(face.shape[1]):
            f = face[v, u]
            pixel_material[v, u] = face_material[f]
            if f != previous:  # on walls and furniture most pixels show the triangle of their neighbour
                previous = f
                person = False
                nx = ny = nz = zero
                if f >= 0:
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    ax, ay, az = point(vertices, i)
                    bx, by, bz = point(vertices, j)
                    gx, gy, gz = point(vertices, k)
                    x, y, z = unit_normal(ax, ay, az, bx, by, bz, gx, gy, gz)
                    nx, ny, nz = np.float32(x), np.float32(y), np.float32(z)
                    person = body_vertex[i] >= 0
            pixel_normal[v, u, 0], pixel_normal[v, u, 1], pixel_normal[v, u, 2] = nx, ny, nz
            if not person:
                pixel_vertex[v, u] = -1
                pixel_part[v, u] = NO_PART
                pixel_canonical[v, u, 0], pixel_canonical[v, u, 1], pixel_canonical[v, u, 2] = zero, zero, zero
                continue
            wa, wb, wc = corner_weights((u - cx) * across, dy, ax, ay, az, bx, by, bz, gx, gy, gz)
            px, py, pz = point(canonical, i)
            qx, qy, qz = point(canonical, j)
            rx, ry, rz = point(canonical, k)
            x = np.float32(wa * px + wb * qx + wc * rx)
            y = np.float32(wa * py + wb * qy + wc * ry)
            z = np.float32(wa * pz + wb * qz + wc * rz)
            pixel_canonical[v, u, 0], pixel_canonical[v, u, 1], pixel_canonical[v, u, 2] = x, y, z
            found = _find(x, y, z, origin, cells)
            pixel_vertex[v, u] = found
            pixel_part[v, u] = parts[found]


@numba.njit(cache=True, nogil=True)
def _nearest(points, origin, cells, vertices):
    for n in range(len(points)):
        vertices[n] = _find(points[n, 0], points[n, 1], points[n, 2], origin, cells)


@numba.njit(cache=True, nogil=True)
def _find(x, y, z, origin, cells):
    per_metre = np.float32(1.0 / _CELL)
    # Chords of coarse triangles dip below the surface, but not out of the grid.
    i = min(max(int((x - origin[0]) * per_metre), 0), cells.shape[0] - 1)
    j = min(max(int((y - origin[1]) * per_metre), 0), cells.shape[1] - 1)
    k = min(max(int((z - origin[2]) * per_metre), 0), cells.shape[2] - 1)
    found = cells[i, j, k]
    return found if found >= 0 else _nearest_filled(cells, i, j, k)


@numba.njit(cache=True, nogil=True)
def _nearest_filled(cells, i, j, k):
    """The vertex of the first filled cell in growing cubes around an empty one."""
    for radius in range(1, max(cells.shape)):
        for x in range(max(i - radius, 0), min(i + radius + 1, cells.shape[0])):
            for y in range(max(j - radius, 0), min(j + radius + 1, cells.shape[1])):
                for z in range(max(k - radius, 0), min(k + radius + 1, cells.shape[2])):
                    if cells[x, y, z] >= 0:
                        return cells[x, y, z]
    return np.int16(0)
