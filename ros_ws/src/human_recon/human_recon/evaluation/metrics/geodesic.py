"""Distances along a surface: exact where it is flat, within about one per cent on bodies.

Fast marching over the vertices (Kimmel and Sethian, "Computing geodesic paths on manifolds", PNAS 1998) with the
update of Novotni and Klein ("Computing geodesic distances on triangular meshes", WSCG 2002): the wave that reached two
corners of a triangle goes on to the third as the circle about a point source, not as a straight front. Vertices are
looked at again when a shorter way appears, so obtuse triangles need no splitting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

_LEAST_GAIN = 1e-7  # metres by which a way must be shorter to be followed


@dataclass(frozen=True, eq=False)
class Corners:
    """The triangles around each vertex of a mesh with V vertices and F faces."""

    vertices: np.ndarray  # [V, 3] float64, metres
    start: np.ndarray  # [V + 1] int64, where each vertex' triangles begin
    others: np.ndarray  # [3 F, 2] int32, the two other corners

    @staticmethod
    def of(vertices: np.ndarray, faces: np.ndarray) -> Corners:
        """``vertices`` [V, 3] metres, ``faces`` [F, 3]."""
        faces = np.asarray(faces, np.int32)
        own = faces.T.ravel()
        others = np.concatenate([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]])
        order = np.argsort(own, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=len(vertices)))])
        return Corners(np.asarray(vertices, np.float64), start.astype(np.int64), np.ascontiguousarray(others[order]))


def geodesics_from(corners: Corners, sources: np.ndarray) -> np.ndarray:
    """Distances [N, V] float64 metres from the vertices ``sources`` [N] to all; inf where no way leads."""
    distances = np.full((len(sources), len(corners.vertices)), np.inf)
    _march_all(corners.vertices, corners.start, corners.others, np.asarray(sources, np.int64), distances)
    return distances


@numba.njit(cache=True, nogil=True)
def _march_all(vertices, start, others, sources, distances):
    heap = np.empty(len(vertices), np.int32)  # vertices to go on from, the nearest first
    place = np.full(len(vertices), -1, np.int32)  # of each vertex in the heap
    for n in range(len(sources)):
        _march(vertices, start, others, sources[n], distances[n], heap, place)


@numba.njit(cache=True, nogil=True)
def _march(vertices, start, others, source, distance, heap, place):
    distance[source] = 0.0
    heap[0], place[source] = source, 0
    count = 1
    while count:
        v = heap[0]
        place[v] = -1
        count -= 1
        if count:
            _sink(heap, place, distance, count, heap[count])
        for f in range(start[v], start[v + 1]):
            for side in range(2):
                a, b = others[f, side], others[f, 1 - side]
                reached = distance[v] + _length(vertices, v, a)
                if distance[b] < np.inf:
                    reached = min(reached, _through(vertices, v, b, a, distance[v], distance[b]))
                if reached < distance[a] - _LEAST_GAIN:
                    distance[a] = reached
                    if place[a] < 0:
                        place[a] = count
                        count += 1
                    _rise(heap, place, distance, place[a], a)


@numba.njit(cache=True, nogil=True)
def _length(vertices, i, j):
    x, y, z = vertices[i, 0] - vertices[j, 0], vertices[i, 1] - vertices[j, 1], vertices[i, 2] - vertices[j, 2]
    return np.sqrt(x * x + y * y + z * z)


@numba.njit(cache=True, nogil=True)
def _through(vertices, a, b, c, from_a, from_b):
    """Distance of corner c by a straight way through the edge a-b, whose ends are ``from_a`` and ``from_b`` away.

    In the plane of the triangle, a at the origin and b on the x axis, c lies above and the source below it.
    """
    base, to_a, to_b = _length(vertices, a, b), _length(vertices, a, c), _length(vertices, b, c)
    if base <= 0.0:
        return np.inf
    x = (to_a * to_a - to_b * to_b + base * base) / (2.0 * base)
    y = np.sqrt(max(to_a * to_a - x * x, 0.0))
    source_x = (from_a * from_a - from_b * from_b + base * base) / (2.0 * base)
    below = from_a * from_a - source_x * source_x
    if below < 0.0:
        return np.inf
    source_y = np.sqrt(below)
    if source_y + y <= 0.0:
        return np.inf
    crossing = source_x + (x - source_x) * source_y / (source_y + y)
    if crossing < 0.0 or crossing > base:
        return np.inf
    return np.sqrt((x - source_x) ** 2 + (y + source_y) ** 2)


@numba.njit(cache=True, nogil=True)
def _rise(heap, place, key, i, item):
    """Move ``item`` from place i of a binary heap towards the top."""
    while i > 0:
        parent = (i - 1) // 2
        if key[heap[parent]] <= key[item]:
            break
        heap[i] = heap[parent]
        place[heap[i]] = i
        i = parent
    heap[i] = item
    place[item] = i


@numba.njit(cache=True, nogil=True)
def _sink(heap, place, key, count, item):
    """Put ``item`` at the top of a binary heap of ``count`` items and move it down."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        if child + 1 < count and key[heap[child + 1]] < key[heap[child]]:
            child += 1
        if key[item] <= key[heap[child]]:
            break
        heap[i] = heap[child]
        place[heap[i]] = i
        i = child
    heap[i] = item
    place[item] = i
