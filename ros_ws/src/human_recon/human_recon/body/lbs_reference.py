"""Linear blend skinning written out plainly: the reference of the fast kernels. Slow; for tests.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015, equations 2-10.
"""

from __future__ import annotations

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.geometry.rotations import rotvec_to_matrix


def pose_body_reference(
    model: BodyModel, betas: np.ndarray, pose: np.ndarray, trans: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and joints [J, 3] in float64 for ``betas`` [10], ``pose`` [J, 3] (axis-angle), ``trans`` [3]."""
    rotations = rotvec_to_matrix(pose)
    shaped = model.v_template.astype(np.float64) + model.shapedirs.astype(np.float64) @ betas
    rest_joints = model.j_regressor.astype(np.float64) @ shaped
    feature = (rotations[1:] - np.eye(3)).reshape(-1)
    rest = shaped + model.posedirs.astype(np.float64) @ feature

    transforms: list[np.ndarray] = []  # [4, 4] of each joint, from its own frame to the world
    for j, parent in enumerate(model.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = rest_joints[j] - (rest_joints[parent] if parent >= 0 else 0.0)
        transforms.append(local if parent < 0 else transforms[parent] @ local)

    vertices = np.zeros_like(rest)
    for j, transform in enumerate(transforms):
        moved = (rest - rest_joints[j]) @ transform[:3, :3].T + transform[:3, 3]
        vertices += model.weights[:, j : j + 1].astype(np.float64) * moved
    joints = np.array([transform[:3, 3] for transform in transforms])
    return vertices + trans, joints + trans
