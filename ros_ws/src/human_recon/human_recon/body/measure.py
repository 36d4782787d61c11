"""Measurements of a body in its rest pose."""

from __future__ import annotations

import numpy as np

from human_recon.body.model import BodyModel


def rest_vertices(model: BodyModel, betas: np.ndarray) -> np.ndarray:
    """Vertices [V, 3] float32 of the shape ``betas`` [10] in the T pose, metres."""
    return model.v_template + model.shapedirs @ np.asarray(betas, dtype=np.float32)


def rest_joints(model: BodyModel, betas: np.ndarray) -> np.ndarray:
    """Joints [J, 3] float32 of the shape ``betas`` [10] in the T pose, metres."""
    return model.j_template + model.j_shapedirs @ np.asarray(betas, dtype=np.float32)


def stature(model: BodyModel, betas: np.ndarray) -> float:
    """Height in metres of the shape ``betas`` [10] standing in the T pose: highest minus lowest vertex."""
    height = model.v_template[:, 1] + model.shapedirs[:, 1] @ np.asarray(betas, dtype=np.float32)
    return float(height.max() - height.min())


def leg_length(model: BodyModel, betas: np.ndarray) -> float:
    """Metres from hip joint to ankle joint along the leg, mean of both legs: the scale of a walk."""
    joints = rest_joints(model, betas).astype(np.float64)
    chains = ((1, 4, 7), (2, 5, 8))
    lengths = [np.linalg.norm(np.diff(joints[list(chain)], axis=0), axis=1).sum() for chain in chains]
    return float(np.mean(lengths))


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume in cubic metres inside a closed mesh of ``vertices`` [V, 3] and outward ``faces`` [F, 3]."""
    a, b, c = (np.asarray(vertices, dtype=np.float64)[faces[:, k]] for k in range(3))
    return float(np.sum(a * np.cross(b, c)) / 6.0)
