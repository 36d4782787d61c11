"""Human joint limits, and poses of SMPL's 24 joints drawn within them."""

from __future__ import annotations

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, JOINT_NAMES, MIRROR_JOINTS
from human_recon.geometry.rotations import rotvec_to_matrix

# Lowest and highest rotation of the left and middle joints from the T pose, degrees, about the body's x (left), y (up)
# and z (forward); composed as R = Rz Ry Rx. Rounded from the ranges of motion in the AAOS tables (American Academy of
# Orthopaedic Surgeons, "Joint Motion", 1965), shifted to the T pose: an arm hanging down is -80 about z.
LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "spine1": ((-12, 35), (-15, 15), (-15, 15)),
    "spine2": ((-12, 30), (-18, 18), (-15, 15)),
    "spine3": ((-10, 20), (-15, 15), (-10, 10)),
    "neck": ((-25, 30), (-35, 35), (-20, 20)),
    "head": ((-25, 25), (-35, 35), (-15, 15)),
    "l_hip": ((-115, 25), (-35, 35), (-20, 40)),
    "l_knee": ((0, 140), (-12, 12), (-3, 3)),
    "l_ankle": ((-25, 45), (-15, 15), (-18, 18)),
    "l_foot": ((-35, 15), (0, 0), (0, 0)),
    "l_collar": ((0, 0), (-18, 12), (-8, 28)),
    "l_shoulder": ((-70, 70), (-110, 35), (-85, 75)),
    "l_elbow": ((-75, 75), (-140, 3), (-4, 4)),
    "l_wrist": ((-45, 45), (-25, 20), (-65, 65)),
    "l_hand": ((0, 0), (0, 0), (-50, 15)),
}


def mirrored_pose(rotations: np.ndarray) -> np.ndarray:
    """Rotations [..., 24, 3, 3] of the mirrored person."""
    flip = np.array([-1.0, 1.0, 1.0])
    return rotations[..., MIRROR_JOINTS, :, :] * flip[:, None] * flip


def within_limits(count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotations [count, 24, 3, 3] within the joint limits; the pelvis stays upright.

    Each joint is at rest with probability 0.25, else uniform between its limits: correlations between joints are left
    to motion capture.
    """
    rotations = np.tile(np.eye(3), (count, JOINT_COUNT, 1, 1))
    for name, ranges in LIMITS.items():
        joint = JOINT_NAMES.index(name)
        for j in {joint, int(MIRROR_JOINTS[joint])}:
            low, high = np.radians(np.array(ranges, dtype=np.float64)).T
            angles = rng.uniform(low, high, size=(count, 3)) * (rng.random((count, 1)) > 0.25)
            if j != joint:
                angles = angles * [1.0, -1.0, -1.0]
            x, y, z = (rotvec_to_matrix(angles[:, [axis]] * np.eye(3)[axis]) for axis in range(3))
            rotations[:, j] = z @ y @ x
    return rotations
