"""What bodies look like before any measurement: pose mixture, joint limits and shape.

Each prior contributes linearised residuals to the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.state import BodyState
from human_recon.fitting.kinematics import BETAS, PARAMETERS
from human_recon.fitting.residuals import Residuals
from human_recon.geometry.rotations import inverse_right_jacobian
from human_recon.resources import model_path


@dataclass(frozen=True)
class PoseMixture:
    """Mixture of Gaussians over the axis-angle of joints 1..23, used through its largest component.

    SMPLify (Bogo et al., ECCV 2016), eq. 7. Made by `training.priors.build_pose_prior`.
    """

    means: np.ndarray  # [K, 69]
    whitening: np.ndarray  # [K, 69, 69] inverse Cholesky factor of each covariance
    constants: np.ndarray  # [K] energy of each mean

    def component(self, state: BodyState) -> tuple[int, np.ndarray]:
        """The component of least energy at a pose, and the whitened deviation [69] from its mean."""
        deviations = np.einsum("kij,kj->ki", self.whitening, state.pose[1:].ravel() - self.means)
        best = int(np.argmin(0.5 * (deviations**2).sum(-1) + self.constants))
        return best, deviations[best]

    def energy(self, state: BodyState) -> float:
        best, deviation = self.component(state)
        return float(0.5 * deviation @ deviation + self.constants[best])

    def residuals(self, state: BodyState, weight: float) -> Residuals:
        best, deviation = self.component(state)
        rows = np.zeros((69, PARAMETERS))
        by_joint = inverse_right_jacobian(state.pose[1:])
        for j in range(23):
            rows[:, 3 * j + 3 : 3 * j + 6] = self.whitening[best][:, 3 * j : 3 * j + 3] @ by_joint[j]
        scale = np.sqrt(weight)
        return Residuals.quadratic(scale * rows, scale * deviation, weight * float(self.constants[best]))


def load_pose_mixture() -> PoseMixture:
    """Read the committed prior (models/prior/pose_mixture.npz)."""
    with np.load(model_path("prior/pose_mixture.npz"), allow_pickle=False) as data:
        return PoseMixture(*(data[k].astype(np.float64) for k in ("means", "whitening", "constants")))


# Bending a knee or an elbow the wrong way: (joint, axis of its rotation vector, sign of the natural bend).
HINGES = ((4, 0, 1.0), (5, 0, 1.0), (18, 1, -1.0), (19, 1, 1.0))
HINGE_SLACK = 0.1  # radians of overextension that cost nothing
HINGE_SIGMA = 0.05  # radians
# Turns about the other axes of a knee, and of an elbow about its bending axes only: a forearm may twist.
LIMITS = (
    (4, 1, 0.6),
    (4, 2, 0.35),
    (5, 1, 0.6),
    (5, 2, 0.35),
    (18, 2, 0.7),
    (19, 2, 0.7),
    (12, 0, 0.9),
    (12, 1, 0.9),
    (12, 2, 0.6),
    (15, 0, 0.8),
    (15, 1, 0.9),
    (15, 2, 0.6),
    (20, 0, 1.0),
    (20, 1, 0.9),
    (20, 2, 1.2),
    (21, 0, 1.0),
    (21, 1, 0.9),
    (21, 2, 1.2),
)
LIMIT_SIGMA = 0.1  # radians


def joint_limit_residuals(state: BodyState) -> Residuals:
    """One-sided penalties where knees, elbows, neck, head and wrists leave their range.

    SMPLify eq. 6 uses an exponential; a hinge acts only beyond the limit and keeps the problem quadratic.
    """
    by_joint = inverse_right_jacobian(state.pose)
    rows, values = [], []

    def add(joint: int, axis: int, excess: float, sigma: float) -> None:
        row = np.zeros(PARAMETERS)
        row[3 * joint : 3 * joint + 3] = by_joint[joint][axis] / sigma
        rows.append(row)
        values.append(excess / sigma)

    for joint, axis, sign in HINGES:
        angle = sign * state.pose[joint, axis]
        if angle < -HINGE_SLACK:
            add(joint, axis, state.pose[joint, axis] + sign * HINGE_SLACK, HINGE_SIGMA)
    for joint, axis, limit in LIMITS:
        angle = state.pose[joint, axis]
        if abs(angle) > limit:
            add(joint, axis, angle - np.sign(angle) * limit, LIMIT_SIGMA)
    if not rows:
        return Residuals.nothing()
    return Residuals.quadratic(np.array(rows), np.array(values))


def shape_residuals(state: BodyState, weight: float) -> Residuals:
    """Shape coefficients are unit normal over the population: SMPL's shape prior."""
    scale = np.sqrt(weight)
    rows = np.zeros((len(state.betas), PARAMETERS))
    rows[:, BETAS] = scale * np.eye(len(state.betas))
    return Residuals.quadratic(rows, scale * np.asarray(state.betas, np.float64))
