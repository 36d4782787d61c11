"""Poses that a search starts from; SMPL's axis-angle, radians."""

from __future__ import annotations

from typing import Literal

import numpy as np

from human_recon.body.skeleton import MIRROR_JOINTS

Limb = Literal["legs", "left arm", "right arm"]
LIMBS: tuple[Limb, ...] = ("legs", "left arm", "right arm")

_LEFT_ARM = [13, 16, 18, 20]  # collar, shoulder, elbow, wrist
_RIGHT_ARM = [14, 17, 19, 21]
_LEGS = [1, 2, 4, 5, 7, 8, 10, 11]  # left and right hip, knee, ankle, foot
_MIRRORED = np.array([1.0, -1.0, -1.0])  # of a rotation vector at the sagittal plane


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


def limb_poses(pose: np.ndarray, limb: Limb) -> list[np.ndarray]:
    """The whole-body pose [24, 3] with one limb, or both legs, put into each of the places it is commonly in."""
    if limb == "legs":
        return _leg_poses(pose)
    joints, mirror = (_LEFT_ARM, np.ones(3)) if limb == "left arm" else (_RIGHT_ARM, _MIRRORED)
    return [_with(pose, joints, arm * mirror) for arm in _arm_poses()]


def _leg_poses(pose: np.ndarray) -> list[np.ndarray]:
    """Left and right exchanged; standing; a stride with the left or with the right leg in front."""
    swapped = (pose[MIRROR_JOINTS] * _MIRRORED)[_LEGS]
    stride = np.zeros((8, 3))
    stride[[0, 1], 0] = -0.5, 0.35  # hips
    stride[[2, 3], 0] = 0.2, 0.4  # knees
    other = stride[[1, 0, 3, 2, 5, 4, 7, 6]]
    return [_with(pose, _LEGS, legs) for legs in (swapped, np.zeros((8, 3)), stride, other)]


def _arm_poses() -> list[np.ndarray]:
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


def _with(pose: np.ndarray, joints: list[int], rotations: np.ndarray) -> np.ndarray:
    changed = pose.copy()
    changed[joints] = rotations
    return changed
