"""One body's motion: a Kalman filter on the manifold of poses, without lag at constant velocity.

The state is the pelvis' position and the rotations of all joints, with a velocity for each of their 75 degrees of
freedom. Velocities are Ornstein-Uhlenbeck processes (Bar-Shalom, Li, Kirubarajan, "Estimation with applications to
tracking and navigation", 2001, section 8.2: an exponentially correlated velocity is the Singer idea one order lower):
they persist for a time constant, decay without measurements, and have a stationary deviation that human motion has.

A measurement is a fitted pose with its whole 75 x 75 information matrix. What is known well in combination - where the
hand is, though neither shoulder nor elbow - is therefore taken over in combination. What is carried from frame to frame
is one variance for each degree of freedom, one for its velocity, and their covariance: the update costs one inverse of
a 75 x 75 matrix. Rotations are errors in the joint's own frame, R <- R exp([w]x), as in
:mod:`human_recon.fitting.kinematics` (Sola, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics",
2018, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

DOF = 75  # 72 of rotations, in the order of the joints, then 3 of the pelvis' position
PELVIS = slice(72, 75)

# Radians per second: what each joint's rotation changes by in everyday motion, per axis. The root's first.
_JOINT_SPEED = (
    0.6, 1.2, 1.2, 0.4, 1.8, 1.8, 0.4, 1.0, 1.0, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 1.2, 1.2, 1.4, 1.4, 1.0, 1.0, 0.6,
    0.6,
)  # fmt: skip


@dataclass(frozen=True)
class MotionConfig:
    """How people move and how far fits are believed."""

    joint_speed: tuple[float, ...] = _JOINT_SPEED  # [24] rad/s per axis, stationary standard deviation
    joint_persistence: float = 0.2  # seconds for which a joint keeps its angular velocity
    pelvis_speed: float = 0.7  # m/s per axis
    pelvis_persistence: float = 0.8  # seconds
    jitter: float = 0.5  # error of a fit that is new in each frame, over its standard deviation
    outlier: float = 4.0  # standard deviations of a joint's innovation from which it is believed less

    def __post_init__(self) -> None:
        if len(self.joint_speed) != 24 or min(self.joint_speed) <= 0:
            raise ValueError("joint_speed must be 24 positive numbers")
        if min(self.joint_persistence, self.pelvis_persistence, self.pelvis_speed, self.jitter, self.outlier) <= 0:
            raise ValueError("persistence, speed, jitter and outlier must be above 0")


@dataclass(frozen=True, eq=False)
class PoseMeasurement:
    """A pose that was measured, with what it is worth."""

    pelvis: np.ndarray  # [3] metres
    rotations: np.ndarray  # [24, 3, 3] of each joint relative to its parent
    information: np.ndarray  # [75, 75] inverse covariance of the degrees of freedom about it
    push: np.ndarray  # [75] the information times a step by which the pose is moved, known only in this form
    told: np.ndarray  # [75] of the information, what was not measured but expected, about what the filter predicts


class MotionFilter:
    """The motion of one body. Mutable; one caller at a time."""

    def __init__(self, config: MotionConfig, measurement: PoseMeasurement) -> None:
        self.config = config
        speed = np.repeat(np.asarray(config.joint_speed, np.float64), 3)
        self._speed = np.concatenate([speed, np.full(3, config.pelvis_speed)])
        self._persistence = np.full(DOF, config.joint_persistence)
        self._persistence[PELVIS] = config.pelvis_persistence
        self.pelvis = np.array(measurement.pelvis, np.float64)
        self.rotations = np.array(measurement.rotations, np.float64)
        self.velocity = np.zeros(DOF)  # rad/s in each joint's own frame, m/s
        known = self._worth(measurement.information) + np.eye(DOF)  # nobody is known less than to a radian or a metre
        self.variance = np.maximum(np.diag(inverse(known)), _LEAST)
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

    def update(self, measurement: PoseMeasurement) -> None:
        """Take in a measurement of this moment."""
        innovation = np.empty(DOF)
        between = np.swapaxes(self.rotations, 1, 2) @ measurement.rotations
        innovation[:72] = matrix_to_rotvec(between).ravel()
        innovation[PELVIS] = measurement.pelvis - self.pelvis
        scale = self._belief(measurement.information, innovation)
        information = self._worth(measurement.information * (scale[:, None] * scale[None]))
        pull = information @ innovation + self._worth(scale * measurement.push)
        posterior = self._posterior(information, self._worth(np.square(scale) * measurement.told))
        step = posterior @ pull
        # A velocity learns from its own degree of freedom alone: x moved by step, so v moves by cov(v, x) / var(x).
        slope = self.cross / self.variance
        left = np.clip(np.diag(posterior), _LEAST, self.variance)
        self.velocity = self.velocity + slope * step
        self.velocity_variance = self.velocity_variance - np.square(slope) * (self.variance - left)
        self.cross = slope * left
        self.variance = left
        self._move(step)

    def _move(self, step: np.ndarray) -> None:
        self.rotations = self.rotations @ rotvec_to_matrix(step[:72].reshape(24, 3))
        self.pelvis = self.pelvis + step[PELVIS]

    def _worth(self, information: np.ndarray) -> np.ndarray:
        """Information on what is new in each frame: smaller errors than those that stay."""
        return information / self.config.jitter**2

    def _posterior(self, information: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Covariance [75, 75] of prediction and measurement, without what the measurement has from the prediction."""
        prior = 1.0 / self.variance
        # What was told is about the prediction, where the innovation is 0: it adds to the information alone, and there
        # it is counted already.
        try:
            return inverse(information + np.diag(np.maximum(prior - told, _LEAST_PRIOR * prior)))
        except np.linalg.LinAlgError:
            return inverse(np.diag(np.diag(information) + prior))

    def _belief(self, information: np.ndarray, innovation: np.ndarray) -> np.ndarray:
        """[75] at most 1: less for joints that are measured where they can hardly be."""
        allowed = self.variance + self.config.jitter**2 / np.maximum(np.diag(information), 1e-9)
        distance = np.sqrt((np.square(innovation) / allowed).reshape(25, 3).mean(axis=1))
        return np.repeat(np.minimum(1.0, self.config.outlier / np.maximum(distance, 1e-9)), 3)


_LEAST = 1e-8  # of a variance, rad^2 and m^2
_LEAST_PRIOR = 1e-3  # share of the prediction's information that is kept whatever the measurement was told


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
