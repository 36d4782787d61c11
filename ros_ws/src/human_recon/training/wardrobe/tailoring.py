"""From a garment fitted to sampled people to a skinned piece of the wardrobe, in two levels of detail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.geometry.normals import vertex_normals
from human_recon.simulation.outfit import Material
from human_recon.simulation.pieces import Piece
from training.wardrobe import surfaces
from training.wardrobe.mhclo import Garment

if TYPE_CHECKING:
    from training.wardrobe.people import People  # which needs anny

MATERIALS = {"suit": Material.CLOTH, "shoes": Material.SHOES, "hat": Material.HAT, "hair": Material.HAIR}
VERTICES = {  # at most, per level of detail
    "full": {"suit": 8000, "shoes": 1000, "hat": 600, "hair": 1500},
    "light": {"suit": 1500, "shoes": 360, "hat": 120, "hair": 340},
}
CLEARANCE = {"full": 0.003, "light": 0.005}  # metres between skin and cloth at a vertex; faces cut the corners
MAX_PUSH = 0.02
RAY_PEOPLE = 8  # of those people, how many the faces are checked on with rays
ON_SKIN, FREE = 0.015, 0.05  # metres between skin and cloth that moves like it, and cloth that does not
MOST_WEIGHTS, LEAST_WEIGHT = 4, 0.02
NORMAL_WEIGHT = {"suit": 0.03, "shoes": 0.01, "hat": 0.01, "hair": 0.0}  # metres, see surfaces.bind
LOOSENESS = {"suit": 0.6, "shoes": 0.0, "hat": 0.0, "hair": 0.4}
CUFF_WIDTH = 0.05  # metres from a border over which cloth comes loose
LOWER_BODY = (0, 1, 2, 3, 4, 5, 7, 8)


@dataclass(frozen=True, eq=False)
class Cut:
    """A garment as a linear function of the open body's betas, in the T pose."""

    name: str
    kind: str  # "suit", "shoes", "hat", "hair"
    vertices: np.ndarray  # [N, 3]
    shapedirs: np.ndarray  # [N, 3, 10]
    faces: np.ndarray  # [F, 3]
    skin: np.ndarray  # [N, 24]
    hidden: np.ndarray  # [D] base vertices under it
    residual: np.ndarray  # [S, N] metres that the linear function leaves


def cut(garment: Garment, kind: str, people: People) -> Cut:
    """Regress the garment's T-posed vertices on the betas of the people that it was fitted to."""
    worn = people.t_posed(garment)
    system = np.concatenate([np.ones((len(worn), 1)), people.betas], axis=1)
    solution = np.linalg.lstsq(system, worn.reshape(len(worn), -1), rcond=None)[0]
    left = np.linalg.norm((system @ solution).reshape(worn.shape) - worn, axis=-1)
    return Cut(
        garment.name, kind, solution[0].reshape(-1, 3), np.moveaxis(solution[1:].reshape(10, -1, 3), 0, -1),
        garment.faces, people.skin(garment), garment.hidden, left,
    )  # fmt: skip


def surface_of(whole: Cut, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [N, 3] and faces [F, 3] of what is to be seen of a garment: itself, or the volume that hair fills."""
    return (
        surfaces.hair_hull(whole.vertices, whole.faces, body) if whole.kind == "hair" else (whole.vertices, whole.faces)
    )


def tailored(
    whole: Cut,
    surface: tuple[np.ndarray, np.ndarray],
    detail: str,
    body: BodyModel,
    betas: np.ndarray,
    under: np.ndarray,
) -> Piece:
    """One level of detail of a garment.

    Args:
        whole: the garment.
        surface: what :func:`surface_of` made of it.
        detail: "full" or "light".
        body: the open body.
        betas: [S, 10] of people on whom it must not lie below the skin.
        under: [V] bool, vertices of the body that it hides.
    """
    vertices, faces = surfaces.decimated(*surface, VERTICES[detail][whole.kind])
    corners, weights = surfaces.onto(vertices, whole.vertices, whole.faces)
    shapedirs = np.einsum("nk,nkcb->ncb", weights, whole.shapedirs[corners])
    skin = pruned(np.einsum("nk,nkj->nj", weights, whole.skin[corners]))
    normals = vertex_normals(vertices, faces)
    binding = surfaces.bind(vertices, normals, skin.argmax(axis=1), body, NORMAL_WEIGHT[whole.kind])
    if whole.kind != "hair":
        skin = pruned(like_skin(skin, vertices, body, binding))
    outward = outward_directions(normals, body, binding, faces)
    if whole.kind != "hair":
        vertices = vertices + pushed_out(vertices, shapedirs, outward, body, binding, betas, CLEARANCE[detail])
        for _ in range(3):
            vertices = vertices + faces_pushed_out(
                vertices, shapedirs, faces, outward, body, betas[:RAY_PEOPLE], np.flatnonzero(under), CLEARANCE[detail]
            )
    order = np.argsort(-skin, axis=1, kind="stable")[:, :MOST_WEIGHTS]
    return Piece(
        vertices=vertices.astype(np.float32),
        shapedirs=shapedirs.astype(np.float32),
        faces=faces.astype(np.int32),
        skin_indices=order.astype(np.int32),
        skin_weights=np.take_along_axis(skin, order, axis=1).astype(np.float32),
        corners=binding.corners.astype(np.int32),
        weights=binding.weights.astype(np.float32),
        material=np.full(len(vertices), MATERIALS[whole.kind], np.uint8),
        looseness=looseness(whole.kind, vertices, faces, skin).astype(np.float32),
        outward=outward.astype(np.float32),
    )


def pruned(skin: np.ndarray) -> np.ndarray:
    """Weights [N, 24] with the largest few of each row, which add up to 1."""
    kept = np.sort(skin, axis=1)[:, -MOST_WEIGHTS][:, None]
    skin = np.where((skin >= kept) & (skin >= LEAST_WEIGHT), skin, 0.0)
    order = np.argsort(-skin, axis=1, kind="stable")
    np.put_along_axis(skin, order[:, MOST_WEIGHTS:], 0.0, axis=1)  # ties
    return skin / skin.sum(axis=1, keepdims=True)


def like_skin(skin: np.ndarray, vertices: np.ndarray, body: BodyModel, binding: surfaces.Binding) -> np.ndarray:
    """Weights [N, 24] that follow the skin below where cloth lies on it, and the garment's own where it hangs free.

    Both come from Anny, but the binding of a garment reaches around elbows and knees by other vertices than the nearest
    ones, and the body would come through in every bend.
    """
    point = np.einsum("nk,nkc->nc", binding.weights, body.v_template[binding.corners])
    away = np.linalg.norm(vertices - point, axis=1)
    share = np.clip((FREE - away) / (FREE - ON_SKIN), 0.0, 1.0)[:, None]
    below = np.einsum("nk,nkj->nj", binding.weights, body.weights[binding.corners])
    return share * below + (1.0 - share) * skin


def outward_directions(
    normals: np.ndarray, body: BodyModel, binding: surfaces.Binding, faces: np.ndarray
) -> np.ndarray:
    """Unit vectors [N, 3] away from the skin: between the normals of cloth and skin; linings follow the skin's."""
    skin = vertex_normals(body.v_template, body.faces)
    below = np.einsum("nk,nkc->nc", binding.weights, skin[binding.corners])
    below /= np.maximum(np.linalg.norm(below, axis=1, keepdims=True), 1e-9)
    turned = np.where((normals * below).sum(axis=1, keepdims=True) < 0.0, below, normals)
    mean = surfaces.smoothed(turned + below, faces, 2)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)


def pushed_out(
    vertices: np.ndarray,
    shapedirs: np.ndarray,
    outward: np.ndarray,
    body: BodyModel,
    binding: surfaces.Binding,
    betas: np.ndarray,
    clearance: float,
) -> np.ndarray:
    """Offsets [N, 3] after which the vertices clear the skin under them on nearly all people with ``betas`` [S, 10].

    MakeHuman hides the skin under its clothes instead; here the unclothed body is the truth, and cloth must be outside.
    """
    need = np.zeros((len(betas), len(vertices)))
    for person, beta in enumerate(betas):
        skin = body.v_template + body.shapedirs @ beta.astype(np.float32)
        normals = vertex_normals(skin, body.faces)[binding.corners]
        point = np.einsum("nk,nkc->nc", binding.weights, skin[binding.corners])
        normal = np.einsum("nk,nkc->nc", binding.weights, normals)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        gap = vertices + shapedirs @ beta - point
        away = np.linalg.norm(gap, axis=1)
        height = (gap * normal).sum(axis=1)
        rate = np.maximum((outward * normal).sum(axis=1), 0.4)
        # Where the skin is far and not below, the vertex is beside it: a brim, a hem.
        need[person] = np.where((away < 0.06) & (height < clearance), (clearance - height) / rate, 0.0)
    return np.clip(np.percentile(need, 95, axis=0), 0.0, MAX_PUSH)[:, None] * outward


def faces_pushed_out(
    vertices: np.ndarray,
    shapedirs: np.ndarray,
    faces: np.ndarray,
    outward: np.ndarray,
    body: BodyModel,
    betas: np.ndarray,
    under: np.ndarray,
    clearance: float,
) -> np.ndarray:
    """Offsets [N, 3] of the corners of faces through which the body's vertices ``under`` [U] come: between corners that
    clear the skin, a face may cut through a heel or a shoulder blade."""
    need = np.zeros(len(vertices))
    for beta in betas:
        skin = (body.v_template + body.shapedirs @ beta.astype(np.float32)).astype(np.float64)
        normals = vertex_normals(skin, body.faces)[under]
        worn = vertices + shapedirs @ beta
        ahead, _ = surfaces.ray_distances(skin[under], normals, worn, faces, 0.0, 0.2)
        behind, which = surfaces.ray_distances(skin[under], -normals, worn, faces, 0.0, MAX_PUSH)
        through = np.isfinite(behind) & ~np.isfinite(ahead)
        for corner in range(3):
            np.maximum.at(need, faces[which[through], corner], behind[through] + 0.5 * clearance)
    return need[:, None] * outward


def looseness(kind: str, vertices: np.ndarray, faces: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """[N] in [0, 1]: none at collars and cuffs, some at lower hems, most in between; hair least where it grows."""
    border = np.unique(surfaces.border_edges(faces))
    part = skin.argmax(axis=1)
    tight = border[~np.isin(part[border], LOWER_BODY)]
    hems = border[np.isin(part[border], LOWER_BODY)]
    near = np.clip(surfaces.distance_to(vertices, faces, tight) / CUFF_WIDTH, 0.0, 1.0)
    hem = 0.4 + 0.6 * np.clip(surfaces.distance_to(vertices, faces, hems) / CUFF_WIDTH, 0.0, 1.0)
    return LOOSENESS[kind] * np.minimum(near, hem if kind == "suit" else 1.0)


def covered_faces(
    skin_vertices: np.ndarray,  # [V, 3] of the body at this level of detail
    skin_faces: np.ndarray,  # [F, 3]
    base_vertices: np.ndarray,  # [V] of the base mesh
    hidden: np.ndarray,  # [D] base vertices
    piece: Piece,
) -> np.ndarray:
    """[F] bool: faces that the garment hides by its own list, and that do have cloth in front of them."""
    listed = np.isin(base_vertices, hidden)[skin_faces].all(axis=1)
    index = np.flatnonzero(listed)
    normals = vertex_normals(skin_vertices, skin_faces)
    directions = normals[skin_faces[index]].mean(axis=1)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    centres = skin_vertices[skin_faces[index]].mean(axis=1).astype(np.float64)
    ahead, _ = surfaces.ray_distances(
        centres, directions, piece.vertices.astype(np.float64), piece.faces.astype(np.int64), -0.02, 0.2
    )
    covered = np.zeros(len(skin_faces), bool)
    covered[index[np.isfinite(ahead)]] = True
    return covered
