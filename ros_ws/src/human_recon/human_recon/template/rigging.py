"""A user's own mesh becomes a template: the body is registered to it, and lends it skeleton and skin weights.

The body is fitted to the whole surface by iterated closest points both ways (seed 000's objective without +D), from
several starts because closest points cannot leave a wrong pose. Every vertex of the mesh is then tied to the point of
the body under it, by place and direction of the normal, so that a sleeve beside the trunk belongs to the arm; skinning
weights are smoothed over the mesh, and the inverse of the skinning takes the mesh to the rest pose. Posed as it came,
the template is the mesh again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph
from human_recon.body.state import BodyState
from human_recon.fitting.kinematics import ROTATIONS, TRANSLATION, BodyKinematics, retract
from human_recon.fitting.observation import features
from human_recon.fitting.priors import PoseMixture, joint_limit_residuals, shape_residuals
from human_recon.geometry.normals import vertex_normals
from human_recon.template.surface import Template, pose_template

_LEAST_STRETCH = 0.5  # of blended rotations
_SHARPENINGS = 5  # of skinning weights
_JUMP = 0.1  # metres on the body, across an edge of the mesh
_ISLAND_SWEEPS = 4


@dataclass(frozen=True)
class RiggingConfig:
    """Lengths in metres."""

    points: int = 2500  # of each surface that closest points are sought for
    iterations: int = 30
    coarse_iterations: int = 12  # of each start
    clothing: float = 0.008  # how far the mesh lies outside the skin
    sigma: float = 0.01
    robust_start: float = 0.25  # scale of the robust weights at first ...
    robust_end: float = 0.03  # ... and at last
    measurements: float = 400.0  # independent ones that all closest points count as
    pose_weight: float = 0.3
    shape_weight: float = 0.5
    smoothing: int = 15  # sweeps over skinning weights
    influences: int = 6  # joints that move a vertex, at most
    worst: float = 0.03  # a mesh whose median distance from the body is more is no person's


@dataclass(frozen=True, eq=False)
class RiggedMesh:
    """What became of a mesh."""

    template: Template
    state: BodyState  # the body inside the mesh, in the mesh' frame
    distance: float  # median distance of the mesh from the skin, metres


class RiggingError(ValueError):
    """A mesh that no body fits into; the message is one line with the mend."""


def rig(
    vertices: np.ndarray,
    faces: np.ndarray,
    model: BodyModel,
    prior: PoseMixture,
    starts: Iterable[BodyState],
    name: str,
    config: RiggingConfig | None = None,
) -> RiggedMesh:
    """Make a template of a mesh.

    Args:
        vertices: [V, 3] metres.
        faces: [F, 3], counter-clockwise seen from outside.
        model: the body.
        prior: of poses.
        starts: bodies in the mesh' frame, of which one should be roughly in its pose.
        name: of the template.

    Raises:
        RiggingError: no body comes near the mesh.
    """
    config = config or RiggingConfig()
    vertices = np.ascontiguousarray(vertices, np.float64)
    fitter = _MeshFitter(vertices, faces, BodyKinematics(model), prior, config)
    coarse = [fitter.fit(start, config.coarse_iterations, config.robust_start, 0.1) for start in starts]
    if not coarse:
        raise RiggingError("nobody was recognised in the mesh: give --up and --scale, or a pose nearer to standing")
    best = min(coarse, key=fitter.misfit)
    state = fitter.fit(best, config.iterations, 0.1, config.robust_end)
    distance = fitter.misfit(state)
    if not distance < config.worst:
        raise RiggingError(
            f"no body fits the mesh (median distance {100 * distance:.1f} cm): it must be one whole person in metres; "
            "give --up and --scale"
        )
    return RiggedMesh(_transfer(vertices, faces, model, state, name, config), state, distance)


class _MeshFitter:
    """Registers a body to a complete surface."""

    def __init__(
        self,
        vertices: np.ndarray,
        faces: np.ndarray,
        kinematics: BodyKinematics,
        prior: PoseMixture,
        config: RiggingConfig,
    ) -> None:
        self._kinematics, self._prior, self._config = kinematics, prior, config
        self._model = kinematics.model
        self._points, self._normals = _evenly(vertices, faces, config.points)
        self._tree = cKDTree(features(self._points, self._normals))
        rest, faces_of_body = self._model.v_template.astype(np.float64), self._model.faces
        self._ids = _evenly_spread_ids(rest, faces_of_body, config.points)

    def misfit(self, state: BodyState) -> float:
        """The median of all distances both ways, metres."""
        skin = pose_body(self._model, state).vertices
        to_body = cKDTree(skin).query(self._points)[0]
        to_mesh = cKDTree(self._points).query(skin[self._ids])[0]
        return float(np.median(np.concatenate([to_body, to_mesh])))

    def fit(self, state: BodyState, iterations: int, robust_start: float, robust_end: float) -> BodyState:
        """Gauss-Newton from a state, the robust scale shrinking from ``robust_start`` to ``robust_end``."""
        for i in range(iterations):
            robust = robust_start * (robust_end / robust_start) ** (i / max(iterations - 1, 1))
            state = self._step(state, robust)
        return state

    def _step(self, state: BodyState, robust: float) -> BodyState:
        config = self._config
        skin = pose_body(self._model, state).vertices.astype(np.float64)
        normals = vertex_normals(skin, self._model.faces)
        ids = self._ids
        explained_by = ids[cKDTree(features(skin[ids], normals[ids])).query(features(self._points, self._normals))[1]]
        match = self._tree.query(features(skin[ids], normals[ids]))[1]
        moved = np.concatenate([explained_by, ids])
        targets = np.concatenate([self._points, self._points[match]])
        target_normals = np.concatenate([self._normals, self._normals[match]])
        targets = targets - config.clothing * target_normals
        linear = self._kinematics.surface(state, moved)
        gap = linear.points - targets
        along = (gap * target_normals).sum(axis=1)
        # Mostly across the surface: 10 % of the weight keeps it from sliding.
        squared = 0.9 * along**2 + 0.1 * (gap**2).sum(axis=1)
        weight = np.square(1.0 / (1.0 + squared / robust**2)) / config.sigma**2
        weight *= config.measurements / len(moved)
        rows = [np.sqrt(0.9 * weight)[:, None] * np.einsum("ma,map->mp", target_normals, linear.jacobian)]
        values = [np.sqrt(0.9 * weight) * along]
        for axis in range(3):
            rows.append(np.sqrt(0.1 * weight)[:, None] * linear.jacobian[:, axis])
            values.append(np.sqrt(0.1 * weight) * gap[:, axis])
        for term in (
            self._prior.residuals(state, config.pose_weight),
            shape_residuals(state, config.shape_weight),
            joint_limit_residuals(state),
        ):
            rows.append(term.rows)
            values.append(term.values)
        jacobian, residuals = np.concatenate(rows), np.concatenate(values)
        normal = jacobian.T @ jacobian
        normal += 0.5 * np.diag(1.0 + 1e-2 * np.diag(normal))
        step = -scipy.linalg.solve(normal, jacobian.T @ residuals, assume_a="pos")
        turn = float(np.linalg.norm(step[ROTATIONS].reshape(-1, 3), axis=1).max())
        shift = float(np.linalg.norm(step[TRANSLATION]))
        state = retract(state, step * min(1.0, 0.35 / max(turn, 1e-9), 0.2 / max(shift, 1e-9)))
        return replace(state, betas=np.clip(state.betas, -4.0, 4.0))


def _transfer(
    vertices: np.ndarray, faces: np.ndarray, model: BodyModel, state: BodyState, name: str, config: RiggingConfig
) -> Template:
    """Skin weights and correspondence from the body in ``state``, and the way back to the rest pose."""
    skin = pose_body(model, state).vertices.astype(np.float64)
    normals = _outward_normals(vertices, faces, skin)
    corners, shares = _under(vertices, normals, skin, model.faces)
    _join_islands(corners, shares, vertices, normals, skin, faces, model)
    weights = np.einsum("vk,vkj->vj", shares, model.weights[corners].astype(np.float64))
    lengths = edge_graph(vertices, np.asarray(faces, np.int64))
    weights = _smoothed(weights, lengths, config.smoothing)
    order = np.argsort(-weights, axis=1, kind="stable")[:, : config.influences]
    kept = np.take_along_axis(weights, order, axis=1)
    kept[kept < 0.01] = 0.0
    kept /= kept.sum(axis=1, keepdims=True)
    template = Template(
        name=name,
        vertices=np.zeros((len(vertices), 3), np.float32),
        faces=np.ascontiguousarray(faces, np.int32),
        betas=np.array(state.betas, np.float64),
        skin_indices=np.ascontiguousarray(order, np.int32),
        skin_weights=np.ascontiguousarray(kept, np.float32),
        corners=corners,
        shares=shares.astype(np.float32),
        confidence=np.ones(len(vertices), np.float32),
    )
    # A blend of rotations far apart flattens what it moves, and its inverse would blow it up: there the strongest
    # joint gets more of the weight, in the end all of it.
    for attempt in range(_SHARPENINGS + 1):
        # Vertices at the origin of the rest pose: what is left is the blended translation and the correctives.
        posed = pose_template(model, template, state)
        blended = posed.transforms.astype(np.float64).reshape(-1, 3, 4)[:, :, :3]
        flat = np.linalg.svd(blended, compute_uv=False)[:, 2] < _LEAST_STRETCH
        if attempt == _SHARPENINGS or not flat.any():
            break
        weights = template.skin_weights.copy()
        if attempt < _SHARPENINGS - 1:
            weights[flat] = np.square(weights[flat])
            weights[weights < 1e-3] = 0.0
        else:
            weights[flat] = np.eye(1, weights.shape[1])
        template = replace(template, skin_weights=weights / weights.sum(axis=1, keepdims=True))
    rest = np.linalg.solve(blended, (vertices - posed.vertices)[:, :, None])[:, :, 0]
    return replace(template, vertices=rest.astype(np.float32))


def _outward_normals(vertices: np.ndarray, faces: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Vertex normals [V, 3]; of cloth whose faces are there twice, once for each side, the side away from the body."""
    _, first, inverse = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_inverse=True)
    normals = vertex_normals(vertices, faces[np.sort(first)])
    doubled = np.bincount(inverse.ravel())[inverse.ravel()] > 1
    if doubled.any():
        cloth = np.unique(faces[doubled])
        away = vertices[cloth] - skin[cKDTree(skin).query(vertices[cloth])[1]]
        inward = (away * normals[cloth]).sum(axis=1) < 0.0
        normals[cloth[inward]] *= -1.0
    return normals


def _join_islands(
    corners: np.ndarray,
    shares: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    skin: np.ndarray,
    faces: np.ndarray,
    model: BodyModel,
) -> None:
    """Tie islands to the part of the body that the mesh around them is tied to; in place.

    A hand held to the belly draws the cloth beside it to itself. What is drawn wrongly is an island: all edges around
    it jump on the body. The hand itself is none, since the arm leads there.
    """
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    for _ in range(_ISLAND_SWEEPS):
        place = np.einsum("vk,vkc->vc", shares, model.v_template[corners])
        jump = np.linalg.norm(place[edges[:, 0]] - place[edges[:, 1]], axis=1) > _JUMP + 3.0 * length
        if not jump.any():
            return
        whole = edges[~jump]
        ties = coo_matrix((np.ones(len(whole)), (whole[:, 0], whole[:, 1])), shape=(len(vertices),) * 2)
        piece = connected_components(ties, directed=False)[1]
        size = np.bincount(piece)
        around: dict[int, list[int]] = {}
        for a, b in edges[jump]:
            if size[piece[a]] != size[piece[b]]:
                inner, outer = (a, b) if size[piece[a]] < size[piece[b]] else (b, a)
                around.setdefault(int(piece[inner]), []).append(int(outer))
        for island, shore in around.items():
            own = np.flatnonzero(piece == island)
            reach = _JUMP + float(np.linalg.norm(np.ptp(vertices[own], axis=0)))
            near = cKDTree(place[shore]).query(model.v_template, distance_upper_bound=reach)[0] < np.inf
            corners[own], shares[own] = _under(vertices[own], normals[own], skin, model.faces, near)


def _under(
    points: np.ndarray, normals: np.ndarray, skin: np.ndarray, faces: np.ndarray, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The point of the body under each point: corners [V, 3] int32 and barycentric shares [V, 3].

    ``allowed`` [body's V] bool: vertices of the body one of which is to be a corner; None: any.
    """
    ids = np.arange(len(skin)) if allowed is None else np.flatnonzero(allowed)
    tree = cKDTree(features(skin[ids], vertex_normals(skin, faces)[ids]))
    nearest = ids[tree.query(features(points, normals))[1]]
    order = np.argsort(faces.ravel(), kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=len(skin)))])
    around = order // 3  # faces around each vertex
    most = int(np.diff(start).max())
    corners = np.zeros((len(points), 3), np.int32)
    shares = np.zeros((len(points), 3))
    best = np.full(len(points), np.inf)
    for k in range(most):
        has = np.flatnonzero(start[nearest] + k < start[nearest + 1])
        face = faces[around[start[nearest[has]] + k]]
        share = _closest_shares(points[has], skin[face])
        distance = np.linalg.norm(np.einsum("vk,vkc->vc", share, skin[face]) - points[has], axis=1)
        nearer = distance < best[has]
        chosen = has[nearer]
        best[chosen], corners[chosen], shares[chosen] = distance[nearer], face[nearer], share[nearer]
    return corners, shares


def _closest_shares(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Barycentric weights [N, 3] of the point of each triangle [N, 3, 3] that is nearest to each point [N, 3]."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-18)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1.0 - v - w, v, w], axis=1)
    result = inside.copy()
    best = np.where((inside >= 0.0).all(axis=1), -1.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, q = triangles[:, i], triangles[:, j]
        t = np.clip(((points - p) * (q - p)).sum(1) / np.maximum(((q - p) ** 2).sum(1), 1e-18), 0.0, 1.0)
        distance = np.linalg.norm(p + t[:, None] * (q - p) - points, axis=1)
        nearer = distance < best
        edge = np.zeros_like(inside)
        edge[:, i], edge[:, j] = 1.0 - t, t
        result[nearer], best[nearer] = edge[nearer], distance[nearer]
    return result


def _smoothed(weights: np.ndarray, lengths: csr_matrix, sweeps: int) -> np.ndarray:
    """Rows averaged with their neighbours' along the edges, ``sweeps`` times by a half."""
    ties = lengths.copy()
    ties.data = np.ones_like(ties.data)
    degree = np.asarray(ties.sum(axis=1)).ravel()
    mean = diags(1.0 / np.maximum(degree, 1.0)) @ ties
    lone = degree == 0.0
    for _ in range(sweeps):
        weights = np.where(lone[:, None], weights, 0.5 * (weights + mean @ weights))
    return weights


def _evenly(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` points [count, 3] and face normals spread over a surface in proportion to its area; no dice."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    total = np.cumsum(area)
    face = np.searchsorted(total, (np.arange(count) + 0.5) / count * total[-1])
    # A low-discrepancy sequence within the triangles (the golden ratio's relatives of two dimensions).
    u, v = (np.arange(1, count + 1)[:, None] * [0.7548776662, 0.5698402910] % 1.0).T
    flip = u + v > 1.0
    u, v = np.where(flip, 1.0 - u, u), np.where(flip, 1.0 - v, v)
    chosen = corners[face]
    points = (1.0 - u - v)[:, None] * chosen[:, 0] + u[:, None] * chosen[:, 1] + v[:, None] * chosen[:, 2]
    return points, cross[face] / np.maximum(area[face], 1e-18)[:, None]


def _evenly_spread_ids(vertices: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """About ``count`` vertices of a mesh, spread over its area."""
    points, _ = _evenly(vertices, faces, count)
    return np.unique(cKDTree(vertices).query(points)[1])
