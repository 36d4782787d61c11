"""Pieces of clothing on a body: what is baked or sewn, how it is shortened, and how it becomes an outfit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.simulation.outfit import Outfit, carried_correctives

KEPT_WEIGHTS = 4


@dataclass(frozen=True, eq=False)
class Piece:
    """N vertices in the T pose of the mean shape, each bound to a point of the body's surface."""

    vertices: np.ndarray  # [N, 3] float32
    shapedirs: np.ndarray  # [N, 3, 10] float32
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    skin_indices: np.ndarray  # [N, K] int32, joints
    skin_weights: np.ndarray  # [N, K] float32, rows add up to 1
    corners: np.ndarray  # [N, 3] int32, body vertices around the point below
    weights: np.ndarray  # [N, 3] float32, of the corners, rows add up to 1
    material: np.ndarray  # [N] uint8
    looseness: np.ndarray  # [N] float32
    outward: np.ndarray  # [N, 3] float32

    def canonical(self, body: BodyModel) -> np.ndarray:
        """[N, 3] float32, the points of the template that the vertices lie on."""
        return np.einsum("nk,nkc->nc", self.weights, body.v_template[self.corners]).astype(np.float32)


def as_outfit(name: str, piece: Piece, body: BodyModel, least_corrective: float) -> Outfit:
    """A piece as an outfit of its own; pose correctives below ``least_corrective`` metres are left out."""
    nearest = np.take_along_axis(piece.corners, piece.weights.argmax(axis=1)[:, None], axis=1)[:, 0]
    return Outfit(
        name=name,
        vertices=piece.vertices,
        shapedirs=piece.shapedirs,
        faces=piece.faces,
        skin_indices=piece.skin_indices,
        skin_weights=piece.skin_weights,
        canonical=piece.canonical(body),
        body_vertex=nearest.astype(np.int32),
        part=vertex_parts(body)[nearest],
        material=piece.material,
        looseness=piece.looseness,
        outward=piece.outward,
        correctives=carried_correctives(body, piece.corners, piece.weights, least_corrective),
    )


def shortened(piece: Piece, beyond: np.ndarray) -> Piece:
    """Cut off where ``beyond`` [N], metres past a cut, is positive; the vertices of the new hem are slid onto the cut.

    A face stays if it has a corner that is not beyond, so the hem is straight without new vertices.
    """
    inside = beyond <= 0.0
    faces = piece.faces[inside[piece.faces].any(axis=1)]
    vertices, shapedirs = piece.vertices.copy(), piece.shapedirs.copy()
    outward, looseness = piece.outward.copy(), piece.looseness.copy()
    indices, weights = piece.skin_indices.copy(), piece.skin_weights.copy()
    corners, bound = piece.corners.copy(), piece.weights.copy()
    edges = faces[:, [0, 1, 1, 2, 2, 0, 1, 0, 2, 1, 0, 2]].reshape(-1, 2)
    crossing = edges[inside[edges[:, 0]] & ~inside[edges[:, 1]]]
    # of the kept neighbours of a vertex to slide, the one that is furthest inside
    crossing = crossing[np.lexsort((crossing[:, 0], beyond[crossing[:, 0]], crossing[:, 1]))]
    slid, first = np.unique(crossing[:, 1], return_index=True)
    anchor = crossing[first, 0]
    share = (-beyond[anchor] / (beyond[slid] - beyond[anchor])).astype(np.float32)  # of the way out to the vertex
    for array in (vertices, shapedirs, outward, looseness):
        part = share.reshape(-1, *(1,) * (array.ndim - 1))
        array[slid] = (1.0 - part) * array[anchor] + part * array[slid]
    dense = np.zeros((len(slid), 24), np.float32)
    rows = np.arange(len(slid))[:, None]
    np.add.at(dense, (rows, piece.skin_indices[anchor]), (1.0 - share)[:, None] * piece.skin_weights[anchor])
    np.add.at(dense, (rows, piece.skin_indices[slid]), share[:, None] * piece.skin_weights[slid])
    order = np.argsort(-dense, axis=1, kind="stable")[:, : indices.shape[1]]
    largest = np.take_along_axis(dense, order, axis=1)
    indices[slid], weights[slid] = order, largest / largest.sum(axis=1, keepdims=True)
    nearer = share < 0.5
    corners[slid[nearer]], bound[slid[nearer]] = piece.corners[anchor[nearer]], piece.weights[anchor[nearer]]
    cut = replace(
        piece, vertices=vertices, shapedirs=shapedirs, faces=faces, skin_indices=indices, skin_weights=weights,
        corners=corners, weights=bound, looseness=looseness, outward=outward,
    )  # fmt: skip
    return compacted(cut)


def compacted(piece: Piece) -> Piece:
    """Without vertices that no face uses."""
    used = np.unique(piece.faces)
    place = np.zeros(len(piece.vertices), np.int32)
    place[used] = np.arange(len(used))
    per_vertex = {
        name: getattr(piece, name)[used]
        for name in (
            "vertices", "shapedirs", "skin_indices", "skin_weights", "corners", "weights", "material", "looseness",
            "outward",
        )
    }  # fmt: skip
    return Piece(faces=place[piece.faces], **per_vertex)


def lined(piece: Piece, rings: int) -> Piece:
    """With the faces within ``rings`` rings of its borders there a second time, turned inside out.

    Faces seen from behind are not drawn; without these one would look through a sleeve or a hem into the background.
    """
    edges = np.sort(piece.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    near = np.zeros(len(piece.vertices), bool)
    near[unique[count == 1]] = True
    for _ in range(rings - 1):
        near[piece.faces[near[piece.faces].any(axis=1)]] = True
    inner = piece.faces[near[piece.faces].any(axis=1)][:, ::-1]
    return replace(piece, faces=np.ascontiguousarray(np.concatenate([piece.faces, inner])))
