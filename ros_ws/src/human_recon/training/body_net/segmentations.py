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
