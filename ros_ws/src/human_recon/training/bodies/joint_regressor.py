"""Joint regressors: each joint as a convex combination of surface vertices near it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

SUM_WEIGHT = 30.0  # weight of "the weights add up to one" against metres of error


def fit_joint(
    vertices: np.ndarray, joints: np.ndarray, candidates: np.ndarray, axes: tuple[int, ...] = (0, 1, 2)
) -> np.ndarray:
    """Non-negative weights, adding up to one, that give a joint from vertices.

    Args:
        vertices: samples [S, V, 3], metres.
        joints: the joint in every sample [S, 3].
        candidates: indices of the vertices that may be used.
        axes: coordinates to fit; (1, 2) for a joint on the mirror plane, whose weights are symmetrised afterwards.

    Returns:
        weights [V].
    """
    system = np.concatenate([vertices[:, candidates, axis] for axis in axes])
    wanted = np.concatenate([joints[:, axis] for axis in axes])
    scale = SUM_WEIGHT * np.sqrt(len(system))
    system = np.vstack([system, np.full((1, len(candidates)), scale)])
    wanted = np.append(wanted, scale)
    # the R factor has the same least-squares solutions and far fewer rows
    factor = np.linalg.qr(np.column_stack([system, wanted]), mode="r")
    solution, _ = nnls(factor[:, :-1], factor[:, -1])
    weights = np.zeros(vertices.shape[1])
    weights[candidates] = solution / solution.sum()
    return weights


def nearby(vertices: np.ndarray, joint: np.ndarray, count: int, stride: int) -> np.ndarray:
    """Every ``stride``-th of the ``count`` vertices [V, 3] nearest to ``joint`` [3]."""
    return np.sort(np.argsort(np.linalg.norm(vertices - joint, axis=1))[:count][::stride])
