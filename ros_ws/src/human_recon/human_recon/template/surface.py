"""A template: the surface of one person in the rest pose, skinned to the body's skeleton."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from human_recon.body.lbs import forward_kinematics, pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState


@dataclass(frozen=True, eq=False)
class Template:
    """A mesh of any topology in the rest pose (T pose, body frame: y up, face +z), metres; arrays are read-only.

    V vertices, F faces. Every vertex knows the point of the body's surface that it lies over, which gives it
    correspondences, pose correctives and its place among the nodes of the deformation.
    """

    name: str
    vertices: np.ndarray  # [V, 3] float32
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    betas: np.ndarray  # [10] float64, the body inside, whose skeleton moves the template
    skin_indices: np.ndarray  # [V, K] int32, joints that move each vertex
    skin_weights: np.ndarray  # [V, K] float32, rows add up to 1, zeros last
    corners: np.ndarray  # [V, 3] int32, vertices of the body model around the point under each vertex
    shares: np.ndarray  # [V, 3] float32, barycentric weights of those
    confidence: np.ndarray  # [V] float32 in [0, 1], how well the surface is known there

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @cached_property
    def skin_count(self) -> np.ndarray:
        """[V] int32, number of non-zero weights."""
        return (self.skin_weights != 0.0).sum(axis=1).astype(np.int32)

    def on_body(self, values: np.ndarray) -> np.ndarray:
        """What a field over the body model's vertices [body's V, D] is under each vertex of the template, [V, D]."""
        return np.einsum("vk,vkd->vd", self.shares, values[self.corners])


def body_template(
    model: BodyModel, betas: np.ndarray, vertices: np.ndarray | None = None, confidence: np.ndarray | None = None
) -> Template:
    """The body model's own surface of a shape, or ``vertices`` [V, 3] of the same topology (SMPL+D)."""
    count = model.vertex_count
    if vertices is None:
        vertices = model.v_template + model.shapedirs @ np.asarray(betas, np.float32)
    shares = np.zeros((count, 3), np.float32)
    shares[:, 0] = 1.0
    return Template(
        name=model.name,
        vertices=np.array(vertices, np.float32),
        faces=model.faces,
        betas=np.array(betas, np.float64),
        skin_indices=np.ascontiguousarray(model.skin_indices),
        skin_weights=np.ascontiguousarray(model.skin_weights),
        corners=np.repeat(np.arange(count, dtype=np.int32)[:, None], 3, axis=1),
        shares=shares,
        confidence=np.zeros(count, np.float32) if confidence is None else np.array(confidence, np.float32),
    )


@dataclass(frozen=True, eq=False)
class PosedTemplate:
    """A template skinned to a pose."""

    vertices: np.ndarray  # [V, 3] float32, metres
    transforms: np.ndarray  # [V, 12] float32, rows of [rotation | translation] that moved each vertex, not orthogonal
    body: np.ndarray  # [body's V, 3] float32, the body inside


def pose_template(model: BodyModel, template: Template, state: BodyState) -> PosedTemplate:
    """Skin a template with the pose of ``state``; its pelvis comes to be where that body's is."""
    # Another shape has its pelvis elsewhere in the rest pose, and that is what SMPL turns about and counts trans from.
    pelvis = model.j_shapedirs[0].astype(np.float64) @ (state.betas - template.betas)
    inside = BodyState(template.betas, state.pose, state.trans + pelvis)
    transforms = joint_transforms(model, inside)
    vertices, blended = skin(template, transforms)
    body = pose_body(model, inside).vertices
    plain, _ = _skinned(
        model.v_template + model.shapedirs @ template.betas.astype(np.float32),
        model.skin_indices,
        model.skin_weights,
        model.skin_count,
        transforms,
    )
    return PosedTemplate(vertices + template.on_body(body - plain), blended, body)


def joint_transforms(model: BodyModel, state: BodyState) -> np.ndarray:
    """What moves each joint's part from the rest pose: rows of [rotation | translation], [J, 12] float32."""
    return forward_kinematics(
        model.parents,
        model.j_template,
        model.j_shapedirs,
        np.ascontiguousarray(state.betas, np.float64),
        np.ascontiguousarray(state.pose, np.float64),
        np.ascontiguousarray(state.trans, np.float64),
    )[3]


def skin(template: Template, transforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning without correctives: vertices [V, 3] and the blended transforms [V, 12], float32."""
    return _skinned(template.vertices, template.skin_indices, template.skin_weights, template.skin_count, transforms)


def _skinned(
    rest: np.ndarray, indices: np.ndarray, weights: np.ndarray, count: np.ndarray, transforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.empty((len(rest), 3), np.float32)
    blended = np.empty((len(rest), 12), np.float32)
    _skin(
        np.ascontiguousarray(rest, np.float32),
        np.ascontiguousarray(indices),
        np.ascontiguousarray(weights),
        count,
        transforms,
        vertices,
        blended,
    )
    return vertices, blended


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _skin(rest, indices, weights, count, transforms, vertices, blended):
    for v in range(rest.shape[0]):
        for c in range(12):
            total = np.float32(0.0)
            for k in range(count[v]):
                total += weights[v, k] * transforms[indices[v, k], c]
            blended[v, c] = total
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        t = blended[v]
        vertices[v, 0] = t[0] * x + t[1] * y + t[2] * z + t[3]
        vertices[v, 1] = t[4] * x + t[5] * y + t[6] * z + t[7]
        vertices[v, 2] = t[8] * x + t[9] * y + t[10] * z + t[11]
