"""People who move as told, and fits of them with errors as told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.fitting.kinematics import PARAMETERS, retract
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.perception.hypothesis import BodyGuess, PersonHypothesis
from human_recon.tracking.track import Track
from human_recon.tracking.tracker import Measured, Tracker

SECOND = 1_000_000_000
UPRIGHT = np.array([np.pi, 0.0, 0.0])  # standing, facing the camera


@dataclass(frozen=True)
class Errors:
    """Standard deviations of a fit's parameters."""

    turn: float = 0.03
    place: float = 0.01
    betas: float = 0.3

    @property
    def sigma(self) -> np.ndarray:
        """[85]."""
        return np.concatenate([np.full(72, self.turn), np.full(10, self.betas), np.full(3, self.place)])


def standing(x: float = 0.0, z: float = 3.0, betas: np.ndarray | None = None, pose: np.ndarray | None = None):
    """A state in the camera frame."""
    whole = np.zeros((24, 3)) if pose is None else pose.copy()
    whole[0] = UPRIGHT
    return BodyState(np.zeros(10) if betas is None else betas, whole, np.array([x, 0.0, z]))


def fitted(model: BodyModel, true: BodyState, errors: Errors, rng, expected: Expectation | None = None) -> BodyFit:
    """The most likely body given one noisy look at ``true`` and an expectation, as a fit would find it.

    All weights are diagonal, so that the optimum is a weighted mean for each parameter; the tracker that takes it in
    must have ``trust`` 1.
    """
    seen = retract(true, errors.sigma * rng.normal(size=PARAMETERS))
    weight = 1.0 / np.square(errors.sigma)
    information = np.diag(weight)
    state = seen
    if expected is not None:
        told = np.zeros(PARAMETERS)
        told[:72] = np.repeat(1.0 / np.square(expected.pose_sigma), 3)
        betas_information = weight[72:82] * np.eye(10) + expected.betas_information
        betas = np.linalg.solve(
            betas_information, weight[72:82] * seen.betas + expected.betas_information @ expected.state.betas
        )
        if expected.shape_locked:
            betas = expected.state.betas
        rest = lambda b: model.j_template[0] + model.j_shapedirs[0] @ b  # noqa: E731
        place, drawn = seen.trans + rest(seen.betas), expected.state.trans + rest(expected.state.betas)
        share = weight[82] / (weight[82] + 1.0 / expected.root_sigma**2)
        trans = share * place + (1.0 - share) * drawn - rest(betas)
        turns = rotvec_to_matrix(seen.pose)
        away = matrix_to_rotvec(np.swapaxes(turns, 1, 2) @ rotvec_to_matrix(expected.state.pose))
        part = (told[:72] / (told[:72] + weight[:72])).reshape(24, 3)
        pose = matrix_to_rotvec(turns @ rotvec_to_matrix(part * away))
        state = BodyState(betas, pose, trans)
        slope = np.concatenate([np.asarray(model.j_shapedirs[0], float), np.eye(3)], axis=1)
        information = information + np.diag(told)
        information[72:, 72:] += slope.T @ slope / expected.root_sigma**2
        information[72:82, 72:82] += expected.betas_information
    joints = pose_body(model, state).joints.astype(np.float64)
    return BodyFit(
        state=state,
        information=information,
        energy=0.0,
        residual=0.01,
        explained=1.0,
        joints=joints,
        joint_covariance=np.tile(4e-4 * np.eye(3), (24, 1, 1)),
        root_covariance=4e-4 * np.eye(6),
        joint_seen=np.ones(24, np.float32),
    )


def hypothesis(model: BodyModel, true: BodyState, sigma: float = 0.08, shift=0.0, confidence=0.9) -> PersonHypothesis:
    """What perception says of somebody; ``shift`` [3] metres beside."""
    state = replace(true, trans=true.trans + shift)
    joints = pose_body(model, state).joints
    guess = BodyGuess(state, joints, np.full(24, sigma, np.float32))
    return PersonHypothesis(np.zeros((1, 1), bool), confidence, joints[15].astype(np.float64), guess)


def step(
    tracker: Tracker, model: BodyModel, stamp_ns: int, people: list[BodyState], rng, errors=None, frame=None, **seen
) -> tuple[Track, ...]:
    """One frame in which all ``people`` are found and fitted, in this order."""
    errors = errors or Errors()
    hypotheses = [hypothesis(model, true, **seen) for true in people]
    expected = tracker.expect(stamp_ns, hypotheses, frame)
    measured = [
        Measured(e.id if e else None, fitted(model, true, errors, rng, e.expectation if e else None), h.confidence)
        for true, h, e in zip(people, hypotheses, expected, strict=True)
    ]
    return tracker.update(stamp_ns, measured)
