"""A posed template deformed to what one frame measures of a person.

Seed 004, section 5: the template is deformed from its rest pose to each frame by itself, with the correspondences of
that frame, so that nothing can drift. Rest pose to tracked pose is skinning; the rest is embedded deformation
(`human_recon.template.deformation`), as in Li et al., Robust Single-View Geometry and Motion Reconstruction, 2009.

The network's correspondences are too coarse to be targets by themselves (their error is several times the noise of
the depth), and closest points slide. So each measured point is matched to the template's vertex that is best in all
three respects, place, direction of the normal and place on the body, and weighs less the less they agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.geometry.normals import vertex_normals
from human_recon.perception.evidence import Evidence
from human_recon.template.deformation import Blocks, NodeMotion, Pull, Stiffness, block_structure, deform, step
from human_recon.template.graph import INFLUENCES, DeformationGraph
from human_recon.template.surface import Template

_SPACING = 0.025  # metres between the vertices that measurements are matched to


@dataclass(frozen=True)
class RegistrationConfig:
    """Lengths of the registration, metres and radians."""

    sigma: float = 0.006  # of a measured point across the surface
    sigma_along: float = 0.02  # and along it
    reach: tuple[float, ...] = (0.2, 0.1, 0.07)  # scale of the robust weights, one Gauss-Newton step each
    match_place: float = 0.03  # a vertex this far off matches as badly as one ...
    match_normal: float = 0.5  # ... whose normal differs by this much (chord of the unit sphere) ...
    match_body: float = 0.1  # ... or that is this far from where the network sees the point on the body
    believed: float = 0.3  # farther from there than this a match is not believed
    correspondence: float = 0.25  # of the network's correspondences by themselves; 0 = not used
    edge: float = 0.01  # how much neighbouring nodes stretch
    shift: float = 0.08  # how far a node is from its place in the tracked pose
    turn: float = 0.6  # and how much it is turned


@dataclass(frozen=True, eq=False)
class Binding:
    """How a template of V vertices hangs on a graph; made once per topology."""

    graph: DeformationGraph
    blocks: Blocks
    indices: np.ndarray  # [V, K] int32, nodes that move each vertex
    weights: np.ndarray  # [V, K] float32
    normals: np.ndarray  # [V, 3] float32, of the rest surface
    candidates: np.ndarray  # [C] int32, vertices that measurements are matched to
    shown_by: np.ndarray  # [body's V] int32, the candidate's vertex nearest to each vertex of the body
    canonical: np.ndarray  # [C, 3] float32, of the candidates


def bind(model: BodyModel, graph: DeformationGraph, template: Template) -> Binding:
    """Hang a template on the graph of the body inside it."""
    indices, weights = _influences(graph, template)
    candidates = _spread(template.vertices, _SPACING)
    canonical = template.on_body(model.v_template)[candidates]
    shown_by = candidates[cKDTree(canonical).query(model.v_template)[1]]
    return Binding(
        graph=graph,
        blocks=block_structure(graph, indices),
        indices=indices,
        weights=weights,
        normals=vertex_normals(template.vertices, template.faces).astype(np.float32),
        candidates=candidates,
        shown_by=shown_by.astype(np.int32),
        canonical=canonical,
    )


def _influences(graph: DeformationGraph, template: Template) -> tuple[np.ndarray, np.ndarray]:
    """Nodes [V, 4] and weights [V, 4] of a template's vertices, blended from those of the body around their points."""
    size, (count, corners) = len(graph.nodes), template.corners.shape
    blended = coo_matrix(
        (
            (template.shares[:, :, None] * graph.weights[template.corners]).ravel(),
            (
                np.repeat(np.arange(count), corners * INFLUENCES),
                graph.indices[template.corners].ravel(),
            ),
        ),
        shape=(count, size),
    ).tocsr()  # adds up what is there twice
    indices = np.zeros((count, INFLUENCES), np.int32)
    weights = np.zeros((count, INFLUENCES), np.float32)
    for v in range(count):
        row = slice(blended.indptr[v], blended.indptr[v + 1])
        order = np.argsort(-blended.data[row], kind="stable")[:INFLUENCES]
        indices[v, : len(order)] = blended.indices[row][order]
        weights[v, : len(order)] = blended.data[row][order]
    return indices, weights / weights.sum(axis=1, keepdims=True)


def register(
    vertices: np.ndarray,  # [V, 3] float32, the template in the tracked pose, camera frame
    blended: np.ndarray,  # [V, 12] float32, what moved each vertex there from the rest pose
    nodes: np.ndarray,  # [N, 3] float64, the graph's nodes in that pose
    binding: Binding,
    body: BodyModel,
    evidence: Evidence,
    config: RegistrationConfig,
) -> NodeMotion:
    """How the nodes move so that the surface lies on what was measured."""
    motion = NodeMotion.none(len(nodes))
    if len(evidence.points) == 0:
        return motion
    normals = turned_normals(binding.normals[binding.candidates], blended[binding.candidates])
    seen_on = body.v_template[evidence.vertices]
    stiffness = Stiffness(config.edge**-2.0, config.shift**-2.0, config.turn**-2.0)
    for reach in config.reach:
        moved = deform(
            vertices[binding.candidates],
            binding.indices[binding.candidates],
            binding.weights[binding.candidates],
            nodes,
            motion,
        )
        pull = _pull(moved, normals, binding, evidence, seen_on, reach, config)
        motion = step(
            motion, nodes, vertices, binding.indices, binding.weights, binding.graph, binding.blocks, pull, stiffness
        )
    return motion


def _pull(
    moved: np.ndarray,  # [C, 3] the candidates now
    normals: np.ndarray,  # [C, 3]
    binding: Binding,
    evidence: Evidence,
    seen_on: np.ndarray,  # [K, 3] place on the mean body's rest surface
    reach: float,
    config: RegistrationConfig,
) -> Pull:
    facing = np.flatnonzero((normals * moved).sum(axis=1) < 0.0)
    if len(facing) == 0:
        facing = np.arange(len(moved))
    scales = np.repeat([1.0 / config.match_place, 1.0 / config.match_normal, 1.0 / config.match_body], 3)
    middle = np.median(evidence.points, axis=0)  # small numbers: the squares below are of differences
    surface = np.concatenate([moved[facing] - middle, normals[facing], binding.canonical[facing]], axis=1) * scales
    measured = np.concatenate([evidence.points - middle, evidence.normals, seen_on], axis=1) * scales
    surface, measured = surface.astype(np.float32), measured.astype(np.float32)
    cost = 0.5 * (surface * surface).sum(axis=1) - measured @ surface.T
    match = facing[cost.argmin(axis=1)]
    gap = np.linalg.norm(moved[match] - evidence.points, axis=1)
    apart = np.linalg.norm(binding.canonical[match] - seen_on, axis=1)
    agree = (normals[match] * evidence.normals).sum(axis=1)
    has_normal = np.abs(evidence.normals).sum(axis=1) > 0.0
    # Geman-McClure, of the distance in space and of that on the body.
    trust = evidence.likelihood * np.square(1.0 / (1.0 + np.square(gap / reach)))
    trust *= np.square(1.0 / (1.0 + np.square(apart / config.believed)))
    trust *= np.where(has_normal, np.clip(agree, 0.0, 1.0), 0.5)
    plane = np.where(has_normal, config.sigma**-2.0 - config.sigma_along**-2.0, 0.0) * trust
    pull = [binding.candidates[match]], [evidence.points], [evidence.normals], [plane], [config.sigma_along**-2 * trust]
    if config.correspondence > 0.0:
        claimed = binding.shown_by[evidence.vertices]
        place = np.searchsorted(binding.candidates, claimed)
        far = np.linalg.norm(moved[place] - evidence.points, axis=1)
        share = np.square(1.0 / (1.0 + np.square(far / (2.0 * reach))))
        share *= evidence.likelihood * config.correspondence * config.match_body**-2.0
        for column, more in zip(pull, (claimed, evidence.points, evidence.normals, 0.0 * share, share), strict=True):
            column.append(more)
    vertices, points, directions, across, along = (np.concatenate(column) for column in pull)
    return Pull(vertices.astype(np.int32), points, directions, across, along)


def turned_normals(normals: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Unit rest normals [C, 3] turned by blended transforms [C, 12], unit again; float32."""
    result = np.empty((len(normals), 3), np.float32)
    _turn_normals(normals, transforms, result)
    return result


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _turn_normals(normals, transforms, result):
    for v in range(normals.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        t = transforms[v]
        a = t[0] * x + t[1] * y + t[2] * z
        b = t[4] * x + t[5] * y + t[6] * z
        c = t[8] * x + t[9] * y + t[10] * z
        scale = np.float32(1.0) / np.sqrt(max(a * a + b * b + c * c, np.float32(1e-12)))
        result[v, 0] = a * scale
        result[v, 1] = b * scale
        result[v, 2] = c * scale


def _spread(vertices: np.ndarray, spacing: float) -> np.ndarray:
    """One vertex of each cell of a grid, [C] int32, ascending."""
    cells = np.floor(vertices.astype(np.float64) / spacing).astype(np.int64)
    cells -= cells.min(axis=0)
    _, first = np.unique(cells @ np.array([1, 1 << 20, 1 << 40]), return_index=True)
    return np.sort(first).astype(np.int32)
