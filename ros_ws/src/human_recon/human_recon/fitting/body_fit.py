"""What goes into the fit of one person and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane
from human_recon.perception.evidence import Evidence
from human_recon.perception.hypothesis import BodyGuess


@dataclass(frozen=True, eq=False)
class Expectation:
    """What is known of a person before a frame is looked at: a track's prediction, camera frame."""

    state: BodyState
    pose_sigma: np.ndarray  # [24] radians, one standard deviation per axis of each joint's rotation, the root's first
    root_sigma: float  # metres per axis, of the pelvis
    betas_information: np.ndarray  # [10, 10] inverse covariance of state.betas, from all that was seen before
    shape_locked: bool  # state.betas must not change


@dataclass(frozen=True, eq=False)
class Scene:
    """The frame around the people who are fitted."""

    frame: Frame
    owner: np.ndarray  # [H, W] int16, index of the person of each pixel, -1 = nobody
    floor: Plane | None
    up: np.ndarray | None  # [3] unit vector against gravity, camera frame


@dataclass(frozen=True, eq=False)
class FitProblem:
    """One person to be fitted."""

    person: int  # index in Scene.owner
    evidence: Evidence
    guess: BodyGuess  # the network's
    expected: Expectation | None = None  # None: somebody new


@dataclass(frozen=True, eq=False)
class BodyFit:
    """One person's body in one frame, camera frame, metres."""

    state: BodyState
    information: np.ndarray  # [85, 85] inverse covariance in the parameters of `human_recon.fitting.kinematics`
    energy: float
    residual: float  # median distance of the evidence from the surface; NaN without evidence
    explained: float  # share of the evidence that lies on the surface
    joints: np.ndarray  # [24, 3] float64
    joint_covariance: np.ndarray  # [24, 3, 3]
    root_covariance: np.ndarray  # [6, 6] pelvis position, rotation vector of its turn in the camera frame
    joint_seen: np.ndarray  # [24] float32, share of the surface around each joint that was measured
    visibility: float = float("nan")  # share of the silhouette that is seen, were nothing and no border in the way
