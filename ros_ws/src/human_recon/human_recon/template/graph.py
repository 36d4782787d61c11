"""The nodes of embedded deformation (Sumner et al., Embedded Deformation for Shape Manipulation, SIGGRAPH 2007).

Nodes are spread evenly over the body's rest surface by farthest-point sampling of geodesic distances, so that an arm
beside the trunk is no neighbour of it. Templates of any topology hang on the nodes of the body inside them: their own
holes, seams and loose pieces do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import dijkstra

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph

NODES = 250
INFLUENCES = 4  # nodes that move a vertex
GROUPS = 24  # of nodes, for the solver
_NEIGHBOURS = 6  # nodes that a node is tied to, at least


@dataclass(frozen=True, eq=False)
class DeformationGraph:
    """N nodes on a body model's surface of V vertices."""

    nodes: np.ndarray  # [N] int32, the body vertex at each node
    edges: np.ndarray  # [E, 2] int32, neighbours, each pair both ways
    indices: np.ndarray  # [V, 4] int32, nodes that move each body vertex
    weights: np.ndarray  # [V, 4] float32, rows add up to 1
    groups: np.ndarray  # [N] int32, group of each node: connected patches that mostly move as one


def build_graph(model: BodyModel, count: int = NODES) -> DeformationGraph:
    """Spread ``count`` nodes over the mean body's rest surface; the same on every call.

    Raises:
        ValueError: ``count`` is out of range.
    """
    size = model.vertex_count
    if not INFLUENCES < count <= size // 4:
        raise ValueError(f"count must be from {INFLUENCES + 1} to {size // 4}, got {count}")
    lengths = edge_graph(model.v_template, model.faces)
    nodes = [int(model.v_template[:, 1].argmax())]
    nearest = np.full(size, np.inf)
    while True:
        away = dijkstra(lengths, directed=False, indices=nodes[-1], limit=float(nearest.max()))
        nearest = np.minimum(nearest, away)
        if len(nodes) == count:
            break
        nodes.append(int(nearest.argmax()))
    reach = 6.0 * float(nearest.max())
    distance = dijkstra(lengths, directed=False, indices=nodes, limit=reach)  # [N, V]
    # A piece of the surface that no node can reach, such as an eyeball, goes with what is next to it.
    lost = np.sort(distance, axis=0)[INFLUENCES] == np.inf
    if lost.any():
        gap = model.v_template[lost][None] - model.v_template[nodes][:, None]
        distance[:, lost] = np.linalg.norm(gap, axis=-1)
    indices, weights = _influences(distance)
    # The first nodes of farthest-point sampling are themselves spread evenly.
    coarse = dijkstra(lengths, directed=False, indices=nodes[: min(GROUPS, count)])[:, nodes]
    between = distance[:, nodes]
    np.fill_diagonal(between, np.inf)
    order = np.argsort(between, axis=1, kind="stable")[:, :_NEIGHBOURS]
    tied = np.zeros((count, count), bool)
    tied[np.repeat(np.arange(count), _NEIGHBOURS), order.ravel()] = True
    edges = np.argwhere(tied | tied.T).astype(np.int32)
    return DeformationGraph(np.array(nodes, np.int32), edges, indices, weights, coarse.argmin(axis=0).astype(np.int32))


def _influences(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest nodes of each vertex and their weights, from ``distance`` [N, V]: equation 4 of the paper."""
    order = np.argsort(distance, axis=0, kind="stable")[: INFLUENCES + 1]
    sorted_distance = np.take_along_axis(distance, order, axis=0)
    share = np.square(1.0 - sorted_distance[:INFLUENCES] / sorted_distance[INFLUENCES])
    share = np.maximum(share, 1e-9)
    weights = share / share.sum(axis=0)
    return order[:INFLUENCES].T.astype(np.int32), weights.T.astype(np.float32)
