"""How well a fitted body is known: covariances from the normal matrix, corrected by what simulation shows.

The inverse of the normal matrix is the covariance of the parameters if every term knows its own errors and errors are
independent. They are not: a coat is off everywhere at once, and the network's joints and rotations come from one look.
So the measured part of the normal matrix counts less than it says, all the less the less the network recognises of the
body: where descriptors resemble nothing, fronts are taken for backs. The numbers come from frames of the simulation
(`CovarianceConfig`); `tools/calibrate_fit.py` says how well they hold. Errors have heavier tails than a Gaussian's:
where the sigmas are right for two thirds of the coordinates, some per cent are beyond three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from human_recon.body.state import BodyState
from human_recon.fitting.kinematics import BETAS, PARAMETERS, BodyKinematics


@dataclass(frozen=True)
class CovarianceConfig:
    """How far the normal matrix is to be believed."""

    inflation: float = 1.65  # of the measured part's standard deviations, where the body is recognised well,
    doubt: float = 2.3  # growing by exp(doubt * d) where the mean similarity of the evidence is d below
    recognised: float = 0.75  # this one
    floor: float = 0.01  # metres per axis, of every joint however well it is measured

    def inflation_at(self, similarity: float) -> float:
        """Factor of the measured part's standard deviations at a mean similarity of the evidence."""
        return self.inflation * float(np.exp(self.doubt * np.clip(self.recognised - similarity, 0.0, 1.0)))


def body_covariances(
    kinematics: BodyKinematics,
    state: BodyState,
    world_pelvis: np.ndarray,
    measured: np.ndarray,
    told: np.ndarray,
    held: bool,
    similarity: float,
    config: CovarianceConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is known of a body.

    Args:
        kinematics: the body model's.
        state: the fitted body.
        world_pelvis: [3, 3] rotation of the pelvis.
        measured: [85, 85] normal matrix of what was measured in this frame.
        told: [85, 85] of what was known before; it is believed as it is.
        held: the betas are known.
        similarity: mean of the evidence.
        config: the corrections.

    Returns:
        information [85, 85], the normal matrix after the first correction; joints [24, 3]; their covariance
        [24, 3, 3]; the covariance [6, 6] of the pelvis' place and of its turn in the camera frame.
    """
    information = measured / config.inflation_at(similarity) ** 2 + told
    certain = information + 1e-6 * np.eye(PARAMETERS)
    if held:
        certain[BETAS, BETAS] += 1e9 * np.eye(10)
    factor, failed = dpotrf(certain, lower=1)
    if failed:
        raise ValueError("the normal matrix of a fit is not positive definite")
    covariance = dpotri(factor, lower=1)[0]
    covariance = np.tril(covariance) + np.tril(covariance, -1).T
    linear = kinematics.joints(state)
    slope = linear.jacobian  # [24, 3, 85]
    joint_covariance = np.einsum("jap,jpb->jab", slope @ covariance, np.swapaxes(slope, 1, 2))
    joint_covariance += config.floor**2 * np.eye(3)
    rows = np.zeros((6, PARAMETERS))
    rows[:3] = slope[0]
    rows[3:, :3] = world_pelvis
    root_covariance = rows @ covariance @ rows.T
    root_covariance[:3, :3] += config.floor**2 * np.eye(3)
    return information, linear.points, joint_covariance, root_covariance
