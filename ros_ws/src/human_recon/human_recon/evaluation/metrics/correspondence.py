"""Errors of dense correspondences: where on the body's surface a point was said to be, and where it is.

FAUST style (Bogo et al., "FAUST", CVPR 2014, section 5; seed 004, table 2 and figure 8): the error of a correspondence
is a distance on one common surface. Here that surface is the body model in its rest pose (T pose, mean shape), so
errors of different people and poses are in the same metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import dijkstra

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph
from human_recon.geometry.normals import vertex_normals


def euclidean_error(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Straight distance [N] between rest-surface points ``predicted`` and ``true`` [N, 3], metres.

    FAUST's own measure. It underrates jumps between surfaces that are near each other; the T pose keeps limbs apart.
    """
    return np.linalg.norm(np.asarray(predicted, np.float64) - np.asarray(true, np.float64), axis=-1)


def geodesic_error(predicted: np.ndarray, true: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance [N] along the edges of the rest surface between vertices ``predicted`` and ``true`` [N], metres.

    Shortest path over the mesh's edges, which is a little longer than the geodesic (about 5 % on even meshes).
    """
    predicted, true = np.asarray(predicted), np.asarray(true)
    sources, back = np.unique(true, return_inverse=True)
    graph = edge_graph(vertices, faces)
    errors = np.empty(len(true))
    for start in range(0, len(sources), 256):  # distances to all vertices from 256 of them: 14 MB
        block = dijkstra(graph, directed=False, indices=sources[start : start + 256])
        mine = (back >= start) & (back < start + 256)
        errors[mine] = block[back[mine] - start, predicted[mine]]
    return errors


@dataclass(frozen=True)
class CorrespondenceSummary:
    """Metres."""

    average: float  # mean over shapes of the mean error of each: "AE" of seed 004
    worst: float  # mean error of the worst shape: "WE"
    largest: float  # of all single errors


def summarize(errors: Sequence[np.ndarray]) -> CorrespondenceSummary:
    """Average and worst error over shapes (scans, or pairs of scans), each with its own errors [N_i] metres."""
    means = [float(np.mean(e)) for e in errors if len(e)]
    if not means:
        return CorrespondenceSummary(float("nan"), float("nan"), float("nan"))
    return CorrespondenceSummary(float(np.mean(means)), max(means), float(max(np.max(e) for e in errors if len(e))))


def cumulative_curve(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Part of ``errors`` [N] that is at most each of ``thresholds`` [T], [T] in [0, 1]; seed 004, figure 8, top."""
    if not len(errors):
        return np.full(len(thresholds), np.nan)
    return np.searchsorted(np.sort(errors), thresholds, side="right") / len(errors)


def left_right_sides(model: BodyModel, margin: float = 0.02) -> np.ndarray:
    """[V] int8: 1 on the person's left, -1 on the right, 0 within ``margin`` metres of the middle."""
    x = model.v_template[:, 0]
    return np.where(x > margin, 1, np.where(x < -margin, -1, 0)).astype(np.int8)


def front_back_sides(model: BodyModel, margin: float = 0.3) -> np.ndarray:
    """[V] int8: 1 where the rest surface faces ahead, -1 where it faces back, 0 between (|normal z| <= ``margin``)."""
    z = vertex_normals(model.v_template, model.faces)[:, 2]
    return np.where(z > margin, 1, np.where(z < -margin, -1, 0)).astype(np.int8)


def confusion(sides: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> float:
    """Part of the points with a side whose predicted vertex lies on the other, in [0, 1]; NaN when none has one.

    ``sides`` [V] from :func:`left_right_sides` or :func:`front_back_sides`, ``predicted`` and ``true`` [N] vertices.
    """
    true_side = sides[true]
    counted = true_side != 0
    return float((sides[predicted] == -true_side)[counted].mean()) if counted.any() else float("nan")
