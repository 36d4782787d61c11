"""Body parts and surface patches: labels of vertices that perception learns and draws."""

from __future__ import annotations

import colorsys

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from human_recon.body.model import BodyModel


def vertex_parts(model: BodyModel) -> np.ndarray:
    """[V] uint8, the joint with the largest skinning weight; on a tie the joint nearer to the root."""
    return model.weights.argmax(axis=1).astype(np.uint8)


def face_parts(model: BodyModel) -> np.ndarray:
    """[F] uint8, the joint with the largest skinning weight summed over the corners of each face."""
    return model.weights[model.faces].sum(axis=1).argmax(axis=1).astype(np.uint8)


def part_colors(count: int = 24) -> np.ndarray:
    """[count, 3] uint8 RGB, neighbours in the list far apart in hue; the same on every call."""
    golden = 0.6180339887
    colors = [
        colorsys.hsv_to_rgb((0.05 + k * golden) % 1.0, (0.45, 0.65, 0.85)[k % 3], (0.95, 0.80)[k // 3 % 2])
        for k in range(count)
    ]
    return np.rint(255.0 * np.array(colors)).astype(np.uint8)


def surface_patches(model: BodyModel, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide the surface into ``count`` patches of similar size, the same on every call and for both sides.

    Centres are chosen by farthest-point sampling along the edges of the template (Eldar et al., "The farthest point
    strategy for progressive image sampling", IEEE TIP 1997), in mirror pairs; every vertex joins the nearest centre.

    Args:
        model: must have ``mirror_vertices``.
        count: number of patches, at least 2.

    Returns:
        labels: [V] int32, patch of each vertex.
        centres: [count] int32, vertex at the centre of each patch.
        mirror: [count] int32, patch on the other side. A vertex off the mirror plane and its mirror image lie in
            mirrored patches.

    Raises:
        ValueError: the model has no mirror map, or ``count`` is out of range.
    """
    if model.mirror_vertices is None:
        raise ValueError(f"model '{model.name}' has no mirror_vertices; surface patches need them")
    if not 2 <= count <= model.vertex_count // 8:
        raise ValueError(f"count must be from 2 to {model.vertex_count // 8}, got {count}")
    graph = edge_graph(model.v_template, model.faces)
    mirror = model.mirror_vertices
    own = mirror == np.arange(len(mirror))  # on the mirror plane
    centres: list[int] = []
    distances: list[np.ndarray] = []  # of all vertices to each centre, infinite beyond what can matter
    nearest = np.full(len(mirror), np.inf)
    vertex = int(np.flatnonzero(own)[model.v_template[own, 1].argmax()])  # top of the head
    while True:
        away = dijkstra(graph, directed=False, indices=vertex, limit=float(nearest.max()))
        for centre, distance in (
            ((vertex, away),) if own[vertex] else ((vertex, away), (int(mirror[vertex]), away[mirror]))
        ):
            centres.append(centre)
            distances.append(distance)
            nearest = np.minimum(nearest, distance)
        if len(centres) == count:
            break
        last_one = len(centres) == count - 1  # a pair does not fit any more
        vertex = int(np.flatnonzero(own)[nearest[own].argmax()] if last_one else nearest.argmax())
    patch_of = {vertex: k for k, vertex in enumerate(centres)}
    mirror_patches = np.array([patch_of[int(mirror[vertex])] for vertex in centres], dtype=np.int32)
    labels = np.argmin(np.stack(distances), axis=0).astype(np.int32)
    right = model.v_template[:, 0] < 0.0
    labels[right] = mirror_patches[labels[mirror[right]]]
    return labels, np.array(centres, dtype=np.int32), mirror_patches


def edge_graph(vertices: np.ndarray, faces: np.ndarray) -> csr_matrix:
    """Symmetric sparse [V, V] matrix of the lengths of a mesh's edges, metres."""
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]].astype(np.float64) - vertices[edges[:, 1]], axis=1)
    size = len(vertices)
    one_way = csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(size, size))
    return one_way + one_way.T
