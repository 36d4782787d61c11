"""The skeleton shared by every body in SMPL's layout: joint names, parents, mirror pairs and limbs."""

from __future__ import annotations

import numpy as np

JOINT_NAMES: tuple[str, ...] = (
    "pelvis", "l_hip", "r_hip", "spine1", "l_knee", "r_knee", "spine2", "l_ankle", "r_ankle", "spine3", "l_foot",
    "r_foot", "neck", "l_collar", "r_collar", "head", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist",
    "r_wrist", "l_hand", "r_hand",
)  # fmt: skip

PARENTS: tuple[int, ...] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

JOINT_COUNT = len(JOINT_NAMES)

# (parent joint, joint) of every bone, in the order of the joints
BONES: tuple[tuple[int, int], ...] = tuple((parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0)

# name of the limb -> its joints from the trunk outwards
LIMBS: dict[str, tuple[int, ...]] = {
    "spine": (0, 3, 6, 9, 12, 15),
    "l_arm": (13, 16, 18, 20, 22),
    "r_arm": (14, 17, 19, 21, 23),
    "l_leg": (1, 4, 7, 10),
    "r_leg": (2, 5, 8, 11),
}


def joint_index(name: str) -> int:
    """Index of the joint called ``name``; ValueError lists the names when there is none."""
    try:
        return JOINT_NAMES.index(name)
    except ValueError:
        raise ValueError(f"no joint is called {name!r}; the joints are {', '.join(JOINT_NAMES)}") from None


def _mirrored_name(name: str) -> str:
    return {"l": "r", "r": "l"}[name[0]] + name[1:] if name[:2] in ("l_", "r_") else name


MIRROR_JOINTS: np.ndarray = np.array([JOINT_NAMES.index(_mirrored_name(name)) for name in JOINT_NAMES], dtype=np.int32)
MIRROR_JOINTS.setflags(write=False)


def is_descendant(joint: int, ancestor: int) -> bool:
    """Whether ``joint`` is ``ancestor`` or hangs below it."""
    while joint >= 0:
        if joint == ancestor:
            return True
        joint = PARENTS[joint]
    return False
