"""Thirty-three landmarks of the skin, the sparse key points of seed 004 (figure 4), found on any body in SMPL's layout.

The seed's were annotated by hand on clothed models and its figure names only a few; these follow the same idea: points
that an anatomist could touch. A landmark is the vertex that is farthest in some direction near a joint.
"""

from __future__ import annotations

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.skeleton import joint_index

# name -> joint nearby, direction in the rest pose (x = the person's left, y up, z forwards), radius in metres around
# the joint within which the landmark is, parts that it may lie on
_MIDDLE: dict[str, tuple[str, tuple[float, float, float], float, tuple[str, ...]]] = {
    "crown": ("head", (0.0, 1.0, 0.0), 0.3, ("head",)),
    "nose": ("head", (0.0, 0.0, 1.0), 0.3, ("head",)),
    "chin": ("head", (0.0, -0.8, 0.6), 0.3, ("head",)),
    "occiput": ("head", (0.0, 0.0, -1.0), 0.3, ("head",)),
    "throat": ("neck", (0.0, 0.0, 1.0), 0.1, ("neck", "spine3", "l_collar", "r_collar")),
    "nape": ("neck", (0.0, 0.0, -1.0), 0.1, ("neck", "spine3", "l_collar", "r_collar")),
    "sternum": ("spine3", (0.0, 0.0, 1.0), 0.2, ("spine3",)),
    "navel": ("spine1", (0.0, 0.0, 1.0), 0.2, ("spine1", "spine2", "pelvis")),
    "sacrum": ("pelvis", (0.0, 0.0, -1.0), 0.2, ("pelvis",)),
}
_LEFT: dict[str, tuple[str, tuple[float, float, float], float, tuple[str, ...]]] = {
    "ear": ("head", (1.0, 0.0, 0.0), 0.3, ("head",)),
    "acromion": ("l_shoulder", (0.0, 1.0, 0.0), 0.12, ("l_shoulder",)),
    "elbow": ("l_elbow", (0.0, 0.0, -1.0), 0.08, ("l_elbow", "l_shoulder")),
    "elbow_crease": ("l_elbow", (0.0, 0.0, 1.0), 0.08, ("l_elbow", "l_shoulder")),
    "wrist_back": ("l_wrist", (0.0, 1.0, 0.0), 0.08, ("l_wrist", "l_elbow")),
    "fingertip": ("l_hand", (1.0, 0.0, 0.0), 0.3, ("l_hand",)),
    "hip": ("l_hip", (1.0, 0.0, 0.0), 0.2, ("l_hip", "pelvis")),
    "kneecap": ("l_knee", (0.0, 0.0, 1.0), 0.1, ("l_knee", "l_hip")),
    "knee_crease": ("l_knee", (0.0, 0.0, -1.0), 0.1, ("l_knee", "l_hip")),
    "ankle": ("l_ankle", (1.0, 0.0, 0.0), 0.08, ("l_ankle", "l_knee")),
    "heel": ("l_ankle", (0.0, -0.5, -1.0), 0.2, ("l_ankle",)),
    "toe": ("l_foot", (0.0, 0.0, 1.0), 0.2, ("l_foot",)),
}
LANDMARK_NAMES: tuple[str, ...] = (
    *_MIDDLE,
    *(f"{side}_{name}" for name in _LEFT for side in ("l", "r")),
)
MIRROR_LANDMARKS: np.ndarray = np.array(
    [LANDMARK_NAMES.index({"l_": "r_", "r_": "l_"}.get(n[:2], n[:2]) + n[2:]) for n in LANDMARK_NAMES], dtype=np.int32
)
MIRROR_LANDMARKS.setflags(write=False)


def landmark_vertices(model: BodyModel) -> np.ndarray:
    """[33] int32, the vertex of each landmark; those of the right side mirror the left where the model is symmetric."""
    found = {name: _farthest(model, *place, middle=True) for name, place in _MIDDLE.items()}
    for name, (joint, direction, radius, parts) in _LEFT.items():
        left = _farthest(model, joint, direction, radius, parts)
        found[f"l_{name}"] = left
        if model.mirror_vertices is not None:
            found[f"r_{name}"] = int(model.mirror_vertices[left])
        else:
            x, y, z = direction
            right = tuple(part.replace("l_", "r_", 1) if part.startswith("l_") else part for part in parts)
            joint = joint.replace("l_", "r_", 1) if joint.startswith("l_") else joint
            found[f"r_{name}"] = _farthest(model, joint, (-x, y, z), radius, right)
    return np.array([found[name] for name in LANDMARK_NAMES], dtype=np.int32)


def _farthest(
    model: BodyModel,
    joint: str,
    direction: tuple[float, float, float],
    radius: float,
    parts: tuple[str, ...],
    middle: bool = False,
) -> int:
    """The vertex farthest in ``direction`` among those near a joint; ``middle``: within 5 mm of x = 0."""
    offset = model.v_template - model.j_template[joint_index(joint)]
    allowed = np.isin(vertex_parts(model), [joint_index(part) for part in parts])
    allowed &= np.linalg.norm(offset, axis=1) < radius
    if middle:
        allowed &= np.abs(model.v_template[:, 0]) < 0.005
    if not allowed.any():
        raise ValueError(f"model '{model.name}' has no vertex of {', '.join(parts)} within {radius} m of its {joint}")
    return int(np.where(allowed, offset @ np.array(direction), -np.inf).argmax())
