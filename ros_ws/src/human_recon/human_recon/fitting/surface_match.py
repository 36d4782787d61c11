"""The place on a body's surface that each measured point is closest to, among those that look like it.

Closest means: near in space, facing the same way, and not far on the body from where the network puts the point
(compare seed 004, which trusts descriptors alone, with iterated closest points, which trust the distance alone).
"""

from __future__ import annotations

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.geometry.normals import vertex_normals


class SurfaceSamples:
    """Vertices spread evenly over the rest surface."""

    def __init__(self, model: BodyModel, count: int) -> None:
        vertices = np.asarray(model.v_template, np.float64)
        # In order, so that what belongs to them is read from memory in order.
        self.ids = np.sort(_farthest_points(vertices, min(count, len(vertices))))  # [C] int64
        self.rest = np.ascontiguousarray(vertices[self.ids], np.float32)  # [C, 3]
        self.rest_normals = np.ascontiguousarray(vertex_normals(vertices, model.faces))  # [V, 3], of all vertices


@numba.njit(cache=True, nogil=True)
def _farthest_points(vertices, count):
    """Eldar et al., "The farthest point strategy for progressive image sampling", IEEE TIP 1997."""
    chosen = np.empty(count, np.int64)
    gap = np.full(len(vertices), np.inf)
    last = 0
    for n in range(count):
        chosen[n] = last
        following = 0
        for i in range(len(vertices)):
            d = (
                (vertices[i, 0] - vertices[last, 0]) ** 2
                + (vertices[i, 1] - vertices[last, 1]) ** 2
                + (vertices[i, 2] - vertices[last, 2]) ** 2
            )
            gap[i] = min(gap[i], d)
            if gap[i] > gap[following]:
                following = i
        last = following
    return chosen


@numba.njit(cache=True, nogil=True, fastmath=True)
def match(
    points, normals, places, candidates, candidate_normals, candidate_rest, thickness, placing, facing, most_place,
    result,
):  # fmt: skip
    """The best candidate of each point: index into the candidates [K], -1 when none faces the camera.

    Args:
        points: [K, 3] float32 measured.
        normals: [K, 3] float32 theirs, 0 when unknown.
        places: [K, 3] float32, where on the rest body the network puts them.
        candidates: [C, 3] float32 of the posed body.
        candidate_normals: [C, 3] float32.
        candidate_rest: [C, 3] float32, the candidates in the rest pose.
        thickness: [C] float32, how far outside of the skin it is measured.
        placing: [K] metres that a metre on the rest body is worth as a distance.
        facing: metres that opposite normals are worth.
        most_place: metres that any place on the rest body is worth at most.
    """
    count = len(candidates)
    seen = np.empty(count, np.int64)
    x = np.empty((9, count), np.float32)
    visible = 0
    half = np.float32(0.5 * facing)
    limit = np.float32(most_place * most_place)
    for c in range(count):
        n0, n1, n2 = candidate_normals[c, 0], candidate_normals[c, 1], candidate_normals[c, 2]
        p0, p1, p2 = candidates[c, 0], candidates[c, 1], candidates[c, 2]
        if n0 * p0 + n1 * p1 + n2 * p2 < 0.0:
            seen[visible] = c
            x[0, visible] = p0 + thickness[c] * n0
            x[1, visible] = p1 + thickness[c] * n1
            x[2, visible] = p2 + thickness[c] * n2
            x[3, visible] = half * n0
            x[4, visible] = half * n1
            x[5, visible] = half * n2
            x[6, visible] = candidate_rest[c, 0]
            x[7, visible] = candidate_rest[c, 1]
            x[8, visible] = candidate_rest[c, 2]
            visible += 1
    cost = np.empty(visible, np.float32)
    for i in range(len(points)):
        a0, a1, a2 = points[i, 0], points[i, 1], points[i, 2]
        b0, b1, b2 = half * normals[i, 0], half * normals[i, 1], half * normals[i, 2]
        c0, c1, c2 = places[i, 0], places[i, 1], places[i, 2]
        scale = placing[i] * placing[i]
        for c in range(visible):
            cost[c] = (
                (x[0, c] - a0) ** 2
                + (x[1, c] - a1) ** 2
                + (x[2, c] - a2) ** 2
                + (x[3, c] - b0) ** 2
                + (x[4, c] - b1) ** 2
                + (x[5, c] - b2) ** 2
                + min(scale * ((x[6, c] - c0) ** 2 + (x[7, c] - c1) ** 2 + (x[8, c] - c2) ** 2), limit)
            )
        best = np.float32(np.inf)
        result[i] = -1
        for c in range(visible):
            if cost[c] < best:
                best = cost[c]
                result[i] = seen[c]
