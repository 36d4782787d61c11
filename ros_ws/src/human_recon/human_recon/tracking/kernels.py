"""The arithmetic of tracked bodies on rotation matrices, compiled: numpy would spend its time on calls."""

from __future__ import annotations

import numba
import numpy as np

from human_recon.geometry.rotations import matrix_to_rotvec_single


@numba.njit(cache=True, nogil=True)
def turns_between(first, second):
    """[72] the steps from rotations ``first`` [24, 3, 3] to ``second``: log(A^T B)."""
    result = np.empty(72)
    between = np.empty((3, 3))
    for j in range(24):
        for a in range(3):
            for b in range(3):
                between[a, b] = (
                    first[j, 0, a] * second[j, 0, b]
                    + first[j, 1, a] * second[j, 1, b]
                    + first[j, 2, a] * second[j, 2, b]
                )
        matrix_to_rotvec_single(between, result[3 * j : 3 * j + 3])
    return result


@numba.njit(cache=True, nogil=True)
def vectors(rotations):
    """[24, 3] axis-angles of ``rotations`` [24, 3, 3]."""
    result = np.empty((24, 3))
    for j in range(24):
        matrix_to_rotvec_single(rotations[j], result[j])
    return result


@numba.njit(cache=True, nogil=True)
def joints_and_slope(rotations, pelvis, rest, parents):
    """Joints [24, 3] of a skeleton and their slope [24, 3, 75] by turns in the joints' own frames and by the pelvis.

    Args:
        rotations: [24, 3, 3] of each joint relative to its parent.
        pelvis: [3] metres.
        rest: [24, 3] metres, joints in the rest pose.
        parents: [24].
    """
    joints = np.empty((24, 3))
    world = np.empty((24, 3, 3))
    slope = np.zeros((24, 3, 75))
    for j in range(24):
        parent = parents[j]
        for a in range(3):
            slope[j, a, 72 + a] = 1.0
            if parent < 0:
                joints[j, a] = pelvis[a]
                world[j, a] = rotations[j, a]
                continue
            joints[j, a] = joints[parent, a]
            for b in range(3):
                joints[j, a] += world[parent, a, b] * (rest[j, b] - rest[parent, b])
                world[j, a, b] = (
                    world[parent, a, 0] * rotations[j, 0, b]
                    + world[parent, a, 1] * rotations[j, 1, b]
                    + world[parent, a, 2] * rotations[j, 2, b]
                )
        ancestor = parent
        while ancestor >= 0:
            x = joints[j, 0] - joints[ancestor, 0]
            y = joints[j, 1] - joints[ancestor, 1]
            z = joints[j, 2] - joints[ancestor, 2]
            for c in range(3):
                slope[j, 0, 3 * ancestor + c] = world[ancestor, 1, c] * z - world[ancestor, 2, c] * y
                slope[j, 1, 3 * ancestor + c] = world[ancestor, 2, c] * x - world[ancestor, 0, c] * z
                slope[j, 2, 3 * ancestor + c] = world[ancestor, 0, c] * y - world[ancestor, 1, c] * x
            ancestor = parents[ancestor]
    return joints, slope


@numba.njit(cache=True, nogil=True)
def spread(slope, variance):
    """[24, 3, 3] covariance of joints with ``slope`` [24, 3, 75] by what has ``variance`` [75]."""
    result = np.zeros((24, 3, 3))
    for j in range(24):
        for a in range(3):
            for b in range(a + 1):
                total = 0.0
                for p in range(75):
                    total += slope[j, a, p] * slope[j, b, p] * variance[p]
                result[j, a, b] = total
                result[j, b, a] = total
    return result
