"""From a point of the body's template to the body's nearest vertex, for every pixel of an image.

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

    def label(self, canonical: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertex [H, W] int32 and part [H, W] uint8 of every pixel of a person; -1 and 255 elsewhere.

        Args:
            canonical: [H, W, 3] float32, points of the template, metres.
            person: [H, W] bool.
        """
        vertex = np.full(person.shape, -1, np.int32)
        part = np.full(person.shape, NO_PART, np.uint8)
        _label(canonical, person, self.origin, self.cells, self.parts, vertex, part)
        return vertex, part


@numba.njit(cache=True, nogil=True)
def _label(canonical, person, origin, cells, parts, vertex, part):
    per_metre = np.float32(1.0 / _CELL)
    for v in range(person.shape[0]):
        for u in range(person.shape[1]):
            if not person[v, u]:
                continue
            i = int((canonical[v, u, 0] - origin[0]) * per_metre)
            j = int((canonical[v, u, 1] - origin[1]) * per_metre)
            k = int((canonical[v, u, 2] - origin[2]) * per_metre)
            # Chords of coarse triangles dip below the surface, but not out of the grid.
            i = min(max(i, 0), cells.shape[0] - 1)
            j = min(max(j, 0), cells.shape[1] - 1)
            k = min(max(k, 0), cells.shape[2] - 1)
            found = _nearest_filled(cells, i, j, k)
            vertex[v, u] = found
            part[v, u] = parts[found]


@numba.njit(cache=True, nogil=True)
def _nearest_filled(cells, i, j, k):
    """The vertex of the cell, or of the first filled cell in growing cubes around it."""
    if cells[i, j, k] >= 0:
        return cells[i, j, k]
    for radius in range(1, max(cells.shape)):
        for x in range(max(i - radius, 0), min(i + radius + 1, cells.shape[0])):
            for y in range(max(j - radius, 0), min(j + radius + 1, cells.shape[1])):
                for z in range(max(k - radius, 0), min(k + radius + 1, cells.shape[2])):
                    if cells[x, y, z] >= 0:
                        return cells[x, y, z]
    return np.int16(0)
