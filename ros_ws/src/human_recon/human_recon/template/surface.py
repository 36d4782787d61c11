"""A template: the surface of one person in the rest pose, skinned to the body's skeleton."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from human_recon.body.lbs import forward_kinematics
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState


@dataclass(frozen=True, eq=False)
class Template:
    """A mesh of any topology in the rest pose (T pose, body frame: y up, face +z), metres; arrays are read-only.

    V vertices, F faces. The pose correctives of the body model, where the template has any, are not part of it: clothes
    do not follow them.
    """

    name: str
    vertices: np.ndarray  # [V, 3] float32
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    betas: np.ndarray  # [10] float64, the body inside, whose skeleton moves the template
    skin_indices: np.ndarray  # [V, K] int32, joints that move each vertex
    skin_weights: np.ndarray  # [V, K] float32, rows add up to 1
    canonical: np.ndarray  # [V, 3] float32, the place on the mean body's rest surface that each vertex lies over
    confidence: np.ndarray  # [V] float32 in [0, 1], how well the surface is known there
    body_vertices: np.ndarray | None = None  # [V] int32: vertex i is the body model's vertex body_vertices[i]

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @cached_property
    def skin_count(self) -> np.ndarray:
        """[V] int32, number of non-zero weights, which come first in each row."""
        return (self.skin_weights != 0.0).sum(axis=1).astype(np.int32)


def body_template(model: BodyModel, betas: np.ndarray, offsets: np.ndarray | None = None) -> Template:
    """The body model's own surface of a shape, moved by ``offsets`` [V, 3] in the rest pose (SMPL+D)."""
    vertices = model.v_template + model.shapedirs @ np.asarray(betas, np.float32)
    if offsets is not None:
        vertices = vertices + np.asarray(offsets, np.float32)
    return Template(
        name=model.name,
        vertices=np.ascontiguousarray(vertices, np.float32),
        faces=model.faces,
        betas=np.array(betas, np.float64),
        skin_indices=np.ascontiguousarray(model.skin_indices),
        skin_weights=np.ascontiguousarray(model.skin_weights),
        canonical=model.v_template,
        confidence=np.zeros(model.vertex_count, np.float32),
        body_vertices=np.arange(model.vertex_count, dtype=np.int32),
    )


def joint_transforms(model: BodyModel, betas: np.ndarray, pose: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """What moves each joint's part from the rest pose: rows of [rotation | translation], [J, 12] float32."""
    return forward_kinematics(
        model.parents,
        model.j_template,
        model.j_shapedirs,
        np.ascontiguousarray(betas, np.float64),
        np.ascontiguousarray(pose, np.float64),
        np.ascontiguousarray(trans, np.float64),
    )[3]


def pose_template(model: BodyModel, template: Template, state: BodyState) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning of a template with the pose of ``state``, its pelvis where that body has it.

    Returns vertices [V, 3] float32 and the blended transforms [V, 12] float32 (see :func:`joint_transforms`).
    """
    # Another shape has another pelvis: SMPL turns about it, and trans is not where it is.
    pelvis = model.j_shapedirs[0].astype(np.float64) @ (state.betas - template.betas)
    transforms = joint_transforms(model, template.betas, state.pose, state.trans + pelvis)
    vertices = np.empty((len(template.vertices), 3), np.float32)
    blended = np.empty((len(template.vertices), 12), np.float32)
    _skin(template.vertices, template.skin_indices, template.skin_weights, template.skin_count, transforms,
          vertices, blended)  # fmt: skip
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
