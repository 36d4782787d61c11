"""Joint regressors: each joint as an affine combination of surface vertices near it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

SUM_WEIGHT = 30.0  # weight of "the weights add up to one" against metres of error
RIDGES = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)  # square metres of mean squared error per squared weight


def fit_joint(
    vertices: np.ndarray,
    joints: np.ndarray,
    candidates: np.ndarray,
    axes: tuple[int, ...] = (0, 1, 2),
    goal: float = 2.3e-3,
) -> np.ndarray:
    """Weights, adding up to one, that give a joint from vertices.

    They are non-negative if that reaches ``goal``, the mean error in metres on the last quarter of the samples, which
    is not fitted to. Else they are signed, with the strongest ridge penalty that reaches it: Anny's spine and knee
    joints move against the surface around them as shape changes, which no convex combination can follow.

    Args:
        vertices: samples [S, V, 3], metres.
        joints: the joint in every sample [S, 3].
        candidates: indices of the vertices that may be used.
        axes: coordinates to fit; (1, 2) for a joint on the mirror plane, whose weights are symmetrised afterwards.
        goal: metres.

    Returns:
        weights [V].
    """
    fitted = 3 * len(vertices) // 4
    offsets = [vertices[:, candidates, axis] - joints[:, [axis]] for axis in axes]  # a good weighting maps them to 0
    system = np.concatenate([offset[:fitted] for offset in offsets])
    tested = np.stack([offset[fitted:] for offset in offsets], axis=-1)

    def mean_error(solution: np.ndarray) -> float:
        return float(np.linalg.norm(np.einsum("v,svc->sc", solution, tested), axis=1).mean())

    best = _convex(system)
    if mean_error(best) > goal:
        gram = system.T @ system / fitted
        for ridge in RIDGES:
            best = np.linalg.solve(gram + ridge * np.eye(len(gram)), np.ones(len(gram)))
            best /= best.sum()
            if mean_error(best) <= goal:
                break
    weights = np.zeros(vertices.shape[1])
    weights[candidates] = best
    return weights


def _convex(system: np.ndarray) -> np.ndarray:
    """Non-negative weights that add up to one and bring ``system @ weights`` close to zero."""
    scale = SUM_WEIGHT * np.sqrt(len(system))
    stacked = np.vstack([np.column_stack([system, np.zeros(len(system))]), np.full((1, system.shape[1] + 1), scale)])
    factor = np.linalg.qr(stacked, mode="r")  # the same least-squares solutions with far fewer rows
    solution, _ = nnls(factor[:, :-1], factor[:, -1])
    return solution / solution.sum()


def nearby(vertices: np.ndarray, joint: np.ndarray, count: int, stride: int) -> np.ndarray:
    """Every ``stride``-th of the ``count`` vertices [V, 3] nearest to ``joint`` [3]."""
    return np.sort(np.argsort(np.linalg.norm(vertices - joint, axis=1))[:count][::stride])
