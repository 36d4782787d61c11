"""One body's motion: a Kalman filter on the manifold of poses, without lag at constant velocity.

The state is the pelvis' position and the rotations of all joints, with a velocity for each of their 75 degrees of
freedom. Velocities are Ornstein-Uhlenbeck processes (Bar-Shalom, Li, Kirubarajan, "Estimation with applications to
tracking and navigation", 2001, section 8.2: an exponentially correlated velocity is the Singer idea one order lower):
they persist for a time constant, decay without measurements, and have a stationary deviation that human motion has.

The fit is the filter's update: what the filter predicts, with its uncertainty, is a term of the fit, and the fitted
pose is the most likely one given the frame and the past. What is known well in combination - where the hand is, though
neither shoulder nor elbow - is therefore taken over in combination. The filter adds what the fit does not have:
velocities, which learn from the difference between the fitted and the predicted pose, and how all uncertainties go on.
What is carried from frame to frame is one variance for each degree of freedom, one for its velocity, and their
covariance. Rotations are errors in the joint's own frame, R <- R exp([w]x), as in
:mod:`human_recon.fitting.kinematics` (Sola, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics",
2018, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from human_recon.geometry.rotations import turned
from human_recon.tracking.kernels import turns_between

DOF = 75  # 72 of rotations, in the order of the joints, then 3 of the pelvis' position
PELVIS = slice(72, 75)

# Radians per second: what each joint's rotation changes by, per axis; root mean squares of three sequences of
# `human-recon simulate` (scenarios walk, cross and mixed), both sides of the body alike, at least 0.2, and 0.6 for the
# root, which turns faster than there where people turn round.
_JOINT_SPEED = (
    0.6, 0.9, 0.9, 0.25, 1.3, 1.3, 0.2, 0.95, 0.95, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.25, 0.8, 0.8, 0.5, 0.5, 0.6, 0.6,
    0.2, 0.2,
)  # fmt: skip


@dataclass(frozen=True)
class MotionConfig:
    """How people move, and how much a fit is to be smoothed."""

    joint_speed: tuple[float, ...] = _JOINT_SPEED  # [24] rad/s per axis, stationary standard deviation
    joint_persistence: float = 0.15  # seconds for which a joint keeps its angular velocity
    root_persistence: float = 0.5  # the same for the turn of the whole body
    pelvis_speed: float = 0.8  # m/s per axis
    pelvis_persistence: float = 3.0  # seconds
    # The prediction's standard deviations as the fit is told them, over the filter's own. Below 1 fits follow the past
    # more and the frame less: their errors change from frame to frame by more than their weights in the fit say.
    told: float = 0.6
    outlier: float = 4.0  # standard deviations of a degree of freedom beyond which a step says nothing about velocity

    def __post_init__(self) -> None:
        if len(self.joint_speed) != 24 or min(self.joint_speed) <= 0:
            raise ValueError("joint_speed must be 24 positive numbers")
        persistence = (self.joint_persistence, self.root_persistence, self.pelvis_persistence)
        if min(*persistence, self.pelvis_speed, self.told, self.outlier) <= 0:
            raise ValueError("persistence, speed, told and outlier must be above 0")


class MotionFilter:
    """The motion of one body. Mutable; one caller at a time."""

    def __init__(
        self, config: MotionConfig, pelvis: np.ndarray, rotations: np.ndarray, information: np.ndarray
    ) -> None:
        """Begin with a pose that was fitted without any past; arguments as for :meth:`update`."""
        self.config = config
        speed = np.repeat(np.asarray(config.joint_speed, np.float64), 3)
        self._speed = np.concatenate([speed, np.full(3, config.pelvis_speed)])
        self._persistence = np.full(DOF, config.joint_persistence)
        self._persistence[:3] = config.root_persistence
        self._persistence[PELVIS] = config.pelvis_persistence
        self.pelvis = np.array(pelvis, np.float64)  # [3] metres
        self.rotations = np.array(rotations, np.float64)  # [24, 3, 3] of each joint relative to its parent
        self.velocity = np.zeros(DOF)  # rad/s in each joint's own frame, m/s
        self.variance = self._posterior(information, np.full(DOF, 1.0 / _VAGUE**2))
        self.cross = np.zeros(DOF)  # covariance of each degree of freedom with its own velocity
        self.velocity_variance = np.square(self._speed)

    def predict(self, seconds: float) -> None:
        """Move on by ``seconds`` >= 0."""
        if seconds <= 0.0:
            return
        tau = self._persistence
        keep = np.exp(-seconds / tau)
        reach = tau * (1.0 - keep)
        self._move(reach * self.velocity)
        self.velocity = keep * self.velocity
        power = 2.0 * np.square(self._speed) / tau  # of the white noise that drives the velocity
        self.variance = (
            self.variance
            + 2.0 * reach * self.cross
            + np.square(reach) * self.velocity_variance
            + power * np.square(tau) * (seconds - 2.0 * reach + 0.5 * tau * (1.0 - np.square(keep)))
        )
        self.cross = keep * (self.cross + reach * self.velocity_variance) + 0.5 * power * np.square(reach)
        self.velocity_variance = np.square(keep) * self.velocity_variance + 0.5 * power * tau * (1.0 - np.square(keep))

    def update(self, pelvis: np.ndarray, rotations: np.ndarray, information: np.ndarray) -> None:
        """Take over a pose that was fitted to a frame and to the prediction.

        Args:
            pelvis: [3] metres.
            rotations: [24, 3, 3].
            information: [75, 75] what the frame alone says about the pose, with the weight that it had in the fit.
        """
        step = np.empty(DOF)
        step[:72] = turns_between(self.rotations, rotations)
        step[PELVIS] = pelvis - self.pelvis
        self.pelvis = np.array(pelvis, np.float64)
        self.rotations = np.array(rotations, np.float64)
        left = np.minimum(self._posterior(information, 1.0 / self.variance), self.variance)
        # A velocity learns from its own degree of freedom alone: x moved by step, so v moves by cov(v, x) / var(x).
        slope = self.cross / self.variance
        most = self.config.outlier * np.sqrt(self.variance)
        self.velocity = self.velocity + slope * np.clip(step, -most, most)
        self.velocity_variance = self.velocity_variance - np.square(slope) * (self.variance - left)
        self.cross = slope * left
        self.variance = left

    def _move(self, step: np.ndarray) -> None:
        self.rotations = turned(self.rotations, step[:72])
        self.pelvis = self.pelvis + step[PELVIS]

    def _posterior(self, information: np.ndarray, prior: np.ndarray) -> np.ndarray:
        """Variances [75] after a measurement, from the information [75] before it."""
        try:
            covariance = inverse(self.config.told**2 * information + np.diag(prior))
        except np.linalg.LinAlgError:  # what the fit says of itself is no covariance: believe only what is certain
            return 1.0 / prior
        return np.maximum(np.diag(covariance), _LEAST)


_LEAST = 1e-8  # of a variance, rad^2 and m^2
_VAGUE = 1.0  # radians and metres: nobody is known less


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a positive definite matrix. Raises LinAlgError for another."""
    factor, failed = lapack.dpotrf(matrix, lower=1)
    if failed == 0:
        result, failed = lapack.dpotri(factor, lower=1)
    if failed != 0:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    return np.tril(result) + np.tril(result, -1).T


def solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``matrix``^-1 ``right`` of a positive definite matrix. Raises LinAlgError for another."""
    _, result, failed = lapack.dposv(matrix, right, lower=1)
    if failed != 0:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    return result
