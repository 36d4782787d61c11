"""A dressed person as one skinned mesh on the joints of a body model: visible skin, garments, shoes, hair.

Every vertex knows its place on the body, so that what a camera sees of a sleeve is labelled with the arm inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.geometry.rotations import rotvec_to_matrix


class Material(IntEnum):
    """What a vertex is made of: decides its colour and how the sensors see it."""

    SKIN = 0
    HAIR = 1
    CLOTH = 2
    SHOES = 3
    HAT = 4


@dataclass(frozen=True, eq=False)
class Outfit:
    """V vertices in the T pose of the mean shape; body frame (y up, face +z), metres."""

    name: str
    vertices: np.ndarray  # [V, 3] float32
    shapedirs: np.ndarray  # [V, 3, 10] float32, metres per unit of beta
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    skin_indices: np.ndarray  # [V, K] int32, joints
    skin_weights: np.ndarray  # [V, K] float32, rows add up to 1
    canonical: np.ndarray  # [V, 3] float32, the point of the body's template (T pose, mean shape) under the vertex
    body_vertex: np.ndarray  # [V] int32, the body's vertex nearest to that point
    part: np.ndarray  # [V] uint8, joint of the body part
    material: np.ndarray  # [V] uint8, Material
    looseness: np.ndarray  # [V] float32 in [0, 1], how freely the vertex may stand off: 0 skin, 1 wide cloth


def bare_outfit(body: BodyModel) -> Outfit:
    """The body's own surface; its whole skin counts as cloth as far as looseness goes, but face, hands and feet."""
    parts = vertex_parts(body)
    covered = ~np.isin(parts, (12, 15, 20, 21, 22, 23, 10, 11))  # neck, head, wrists, hands, toes
    return Outfit(
        name="bare",
        vertices=body.v_template,
        shapedirs=body.shapedirs,
        faces=body.faces,
        skin_indices=body.skin_indices,
        skin_weights=body.skin_weights,
        canonical=body.v_template,
        body_vertex=np.arange(body.vertex_count, dtype=np.int32),
        part=parts,
        material=np.where(covered, Material.CLOTH, Material.SKIN).astype(np.uint8),
        looseness=covered.astype(np.float32),
    )


def pose_outfit_reference(
    outfit: Outfit,
    body: BodyModel,
    betas: np.ndarray,  # [10]
    pose: np.ndarray,  # [24, 3] axis-angle
    trans: np.ndarray,  # [3] metres
) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning of an outfit, written to be read: surface [V, 3] and joints [24, 3], float64."""
    rest_joints = body.j_template.astype(np.float64) + body.j_shapedirs @ betas
    world = np.empty((24, 3, 3))
    joints = np.empty((24, 3))
    for j, rotation in enumerate(rotvec_to_matrix(np.asarray(pose, np.float64))):
        parent = body.parents[j]
        world[j] = rotation if parent < 0 else world[parent] @ rotation
        joints[j] = (
            rest_joints[j] if parent < 0 else joints[parent] + world[parent] @ (rest_joints[j] - rest_joints[parent])
        )
    rest = outfit.vertices + outfit.shapedirs @ betas
    posed = np.zeros_like(rest, dtype=np.float64)
    for k in range(outfit.skin_indices.shape[1]):
        j = outfit.skin_indices[:, k]
        moved = np.einsum("vab,vb->va", world[j], rest - rest_joints[j]) + joints[j]
        posed += outfit.skin_weights[:, k, None] * moved
    return posed + trans, joints + trans
