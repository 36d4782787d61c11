"""Poses that a search starts from; SMPL's axis-angle, radians."""

from __future__ import annotations

import numpy as np

LEFT_ARM = (13, 16, 18, 20)  # collar, shoulder, elbow, wrist
RIGHT_ARM = (14, 17, 19, 21)


def arm_poses() -> list[np.ndarray]:
    """Poses of the left arm [4, 3]: hanging, bent, half raised to the front, to the front, to the side, up."""
    poses = []
    for shoulder, elbow in (
        ((0.0, 0.0, -1.2), -0.2),
        ((0.0, 0.0, -1.2), -1.6),
        ((-0.5, -0.5, -0.9), -0.2),
        ((0.0, -1.3, 0.0), -0.2),
        ((0.0, 0.0, 0.0), -0.2),
        ((0.0, 0.0, 1.1), -0.2),
    ):
        pose = np.zeros((4, 3))
        pose[1], pose[2, 1] = shoulder, elbow
        poses.append(pose)
    return poses


def standing_pose() -> np.ndarray:
    """Arms hanging, elbows slightly bent: [24, 3]."""
    pose = np.zeros((24, 3))
    pose[16, 2], pose[17, 2] = -1.15, 1.15
    pose[18, 1], pose[19, 1] = -0.3, 0.3
    return pose


def seated_pose() -> np.ndarray:
    """As on a chair, hands on the thighs: [24, 3]."""
    pose = standing_pose()
    pose[1, 0] = pose[2, 0] = -1.4
    pose[4, 0] = pose[5, 0] = 1.4
    pose[18, 1], pose[19, 1] = -0.9, 0.9
    return pose
