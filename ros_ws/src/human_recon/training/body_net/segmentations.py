"""Random segmentations of the body's surface: the ensemble of classification tasks of seed 004, section 3.1.

Two points of the skin lie in one patch of many segmentations when they are near each other and of few or none when they
are far apart, so a descriptor from which all segmentations can be told is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse.csgraph import dijkstra

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph

PATCHES = 500  # seed 004, 4.1
UNIT = 1e-4  # metres, of the distances
RANDOM_CENTRES = 10  # seed 004, 4.1: the others follow by farthest-point sampling
SOFT = 0.05  # metres, standard deviation of soft labels along the surface: about the distance between patches' centres


@dataclass(frozen=True, eq=False)
class Segmentations:
    """M divisions of the surface into patches."""

    labels: np.ndarray  # [M, V] int16, patch of each vertex
    centres: np.ndarray  # [M, PATCHES] int16, vertex in the middle of each patch


def geodesic_distances(model: BodyModel) -> np.ndarray:
    """[V, V] uint16, tenths of a millimetre along the edges of the template. Takes half a minute.

    Ways along edges are some percent longer than the geodesics, everywhere alike.
    """
    graph = edge_graph(model.v_template, model.faces)
    size = model.vertex_count
    distances = np.empty((size, size), np.uint16)
    for first in range(0, size, 256):
        some = np.arange(first, min(first + 256, size))
        distances[some] = np.rint(dijkstra(graph, directed=False, indices=some) / UNIT)
    return distances


def draw_segmentations(distances: np.ndarray, count: int, seed: int) -> Segmentations:
    """``count`` random segmentations of a surface with ``distances`` [V, V] between its vertices."""
    rng = np.random.default_rng(seed)
    size = len(distances)
    labels, centres = np.empty((count, size), np.int16), np.empty((count, PATCHES), np.int16)
    for m in range(count):
        start = rng.choice(size, RANDOM_CENTRES, replace=False).astype(np.int64)
        _farthest_points(distances, start, labels[m], centres[m])
    return Segmentations(labels, centres)


def soft_labels(distances: np.ndarray, width: float) -> np.ndarray:
    """[K, C] float32, rows adding up to 1, that fall with ``distances`` [K, C] over ``width`` (same unit)."""
    closeness = np.exp(-0.5 * (distances.astype(np.float32) / np.float32(width)) ** 2) + np.float32(1e-12)
    return closeness / closeness.sum(axis=1, keepdims=True)


def spread_vertices(model: BodyModel, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` vertices spread evenly over the surface, the same on both sides: farthest-point sampling, in pairs.

    Args:
        model: must have ``mirror_vertices``.
        count: from 2 to the number of vertices.

    Returns:
        vertices: [K] int32. K is ``count``, or one less when the last pair does not fit.
        distances: [K, V] float32, metres along the edges from each of them to every vertex.
    """
    if model.mirror_vertices is None:
        raise ValueError(f"model '{model.name}' has no mirror_vertices; a symmetric set needs them")
    if not 2 <= count <= model.vertex_count:
        raise ValueError(f"count must be from 2 to {model.vertex_count}, got {count}")
    graph = edge_graph(model.v_template, model.faces)
    mirror = model.mirror_vertices
    distances = np.empty((count, model.vertex_count), np.float32)
    vertices: list[int] = []
    nearest = np.full(model.vertex_count, np.inf, np.float32)
    vertex = int(model.v_template[:, 1].argmax())  # top of the head
    while len(vertices) < count:
        pair = (vertex,) if mirror[vertex] == vertex else (vertex, int(mirror[vertex]))
        if len(vertices) + len(pair) > count:
            break
        away = dijkstra(graph, directed=False, indices=vertex).astype(np.float32)
        for one, distance in zip(pair, (away, away[mirror]), strict=False):
            distances[len(vertices)] = distance
            vertices.append(one)
            nearest = np.minimum(nearest, distance)
        vertex = int(nearest.argmax())
    return np.array(vertices, np.int32), distances[: len(vertices)]


@njit(cache=True, nogil=True)
def _farthest_points(distances, start, labels, centres):
    """Add the vertex farthest from all centres until there are enough; every vertex belongs to its nearest centre."""
    size = len(distances)
    nearest = np.full(size, np.inf, np.float32)
    for k in range(len(centres)):
        centre = start[k] if k < len(start) else np.argmax(nearest)
        centres[k] = centre
        for v in range(size):
            away = np.float32(distances[centre, v])
            if away < nearest[v]:
                nearest[v] = away
                labels[v] = k
