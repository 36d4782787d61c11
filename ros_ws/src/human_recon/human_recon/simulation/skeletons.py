"""Joints of many poses at once, without a surface."""

from __future__ import annotations

import numba
import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, PARENTS
from human_recon.geometry.rotations import rotvec_to_matrix_single


def posed_joints(poses: np.ndarray, rest_joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A skeleton with ``rest_joints`` [24, 3] in ``poses`` [N, 24, 3] (axis-angle).

    Returns the joints [N, 24, 3] float64 relative to the pelvis, and the rotation of the head [N, 3, 3].
    """
    return _posed_joints(
        np.ascontiguousarray(poses, np.float64).reshape(-1, JOINT_COUNT, 3),
        np.ascontiguousarray(rest_joints, np.float64),
        np.array(PARENTS),
    )


@numba.njit(cache=True, nogil=True)
def _posed_joints(poses, rest_joints, parents):
    count = poses.shape[0]
    world = np.empty((24, 3, 3))
    local = np.empty((3, 3))
    joints = np.zeros((count, 24, 3))
    heads = np.empty((count, 3, 3))
    for n in range(count):
        for j in range(24):
            rotvec_to_matrix_single(poses[n, j, 0], poses[n, j, 1], poses[n, j, 2], local)
            if j == 0:
                world[0] = local
                continue
            p = parents[j]
            for a in range(3):
                value = joints[n, p, a]
                for b in range(3):
                    value += world[p, a, b] * (rest_joints[j, b] - rest_joints[p, b])
                    world[j, a, b] = 0.0
                    for c in range(3):
                        world[j, a, b] += world[p, a, c] * local[c, b]
                joints[n, j, a] = value
        heads[n] = world[15]
    return joints, heads
