"""The fit's analytic derivatives against central differences, and its points against the posed body."""

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics, retract
from human_recon.fitting.priors import (
    PoseMixture,
    joint_limit_residuals,
    load_pose_mixture,
    shape_residuals,
)
from human_recon.geometry.rotations import inverse_right_jacobian, rotvec_to_matrix


@pytest.fixture(scope="module")
def kinematics() -> BodyKinematics:
    return BodyKinematics(default_body_model())


def random_state(rng: np.random.Generator) -> BodyState:
    return BodyState(rng.normal(0, 1, 10), rng.normal(0, 0.4, (24, 3)), rng.normal(0, 1, 3))


def numerical_jacobian(function, state: BodyState, step: float = 1e-5) -> np.ndarray:
    columns = []
    for k in range(PARAMETERS):
        delta = np.zeros(PARAMETERS)
        delta[k] = step
        columns.append((function(retract(state, delta)) - function(retract(state, -delta))) / (2 * step))
    return np.stack(columns, -1)


def test_points_are_those_of_the_posed_body(kinematics):
    rng = np.random.default_rng(0)
    ids = rng.choice(len(kinematics.model.v_template), 200, replace=False)
    for _ in range(5):
        state = random_state(rng)
        posed = pose_body(kinematics.model, state)
        np.testing.assert_allclose(kinematics.surface(state, ids).points, posed.vertices[ids], atol=2e-6)
        np.testing.assert_allclose(kinematics.joints(state).points, posed.joints, atol=2e-6)


def test_surface_and_joint_derivatives_match_central_differences(kinematics):
    rng = np.random.default_rng(1)
    ids = rng.choice(len(kinematics.model.v_template), 60, replace=False)
    for _ in range(3):
        state = random_state(rng)
        numerical = numerical_jacobian(lambda s: kinematics.surface(s, ids).points, state)
        np.testing.assert_allclose(kinematics.surface(state, ids).jacobian, numerical, atol=1e-7)
        numerical = numerical_jacobian(lambda s: kinematics.joints(s).points, state)
        np.testing.assert_allclose(kinematics.joints(state).jacobian, numerical, atol=1e-7)


def test_pose_correctives_contribute_to_the_derivative():
    """With correctives that are not zero the same check must hold: the shipped ones could be too small to notice."""
    rng = np.random.default_rng(2)
    model = default_body_model()
    posedirs = rng.normal(0, 0.02, model.posedirs.shape).astype(np.float32)
    fields = {f: getattr(model, f) for f in BodyModel.__dataclass_fields__}
    kinematics = BodyKinematics(BodyModel(**{**fields, "posedirs": posedirs}))
    ids = rng.choice(len(model.v_template), 30, replace=False)
    state = random_state(rng)
    numerical = numerical_jacobian(lambda s: kinematics.surface(s, ids).points, state)
    np.testing.assert_allclose(kinematics.surface(state, ids).jacobian, numerical, atol=1e-7)
    posed = pose_body(kinematics.model, state)
    np.testing.assert_allclose(kinematics.surface(state, ids).points, posed.vertices[ids], atol=1e-5)


def test_a_step_turns_joints_in_their_own_frame():
    rng = np.random.default_rng(3)
    state, delta = random_state(rng), np.zeros(PARAMETERS)
    delta[3 * 18 : 3 * 18 + 3] = [0.0, 0.0, 0.3]
    moved = retract(state, delta)
    expected = rotvec_to_matrix(state.pose[18]) @ rotvec_to_matrix(np.array([0.0, 0.0, 0.3]))
    np.testing.assert_allclose(rotvec_to_matrix(moved.pose[18]), expected, atol=1e-12)
    np.testing.assert_allclose(np.delete(moved.pose, 18, 0), np.delete(state.pose, 18, 0), atol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3, 0.5, 2.5])
def test_rotation_vector_derivative_matches_central_differences(scale):
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(4)
    rotvec = rng.normal(size=(6, 3))
    rotvec *= scale / np.linalg.norm(rotvec, axis=1, keepdims=True)
    analytic = inverse_right_jacobian(rotvec)
    step = 1e-6
    for axis in range(3):
        turn = Rotation.from_rotvec(step * np.eye(3)[axis])
        base = Rotation.from_rotvec(rotvec)
        numerical = ((base * turn).as_rotvec() - (base * turn.inv()).as_rotvec()) / (2 * step)
        np.testing.assert_allclose(analytic[:, :, axis], numerical, atol=1e-7)


@pytest.mark.parametrize("which", ["pose", "limits", "shape"])
def test_prior_rows_are_the_derivative_of_their_values(which):
    prior = load_pose_mixture()
    rng = np.random.default_rng(5)
    pose = rng.normal(0, 0.3, (24, 3))
    pose[4, 0], pose[18, 1], pose[12, 1], pose[15, 2] = -0.6, 0.8, 1.4, -0.9  # overextended knee, elbow; twisted neck
    state = BodyState(rng.normal(size=10), pose, np.zeros(3))
    terms = {
        "pose": lambda s: prior.residuals(s, 0.7),
        "limits": joint_limit_residuals,
        "shape": lambda s: shape_residuals(s, 2.0),
    }
    term = terms[which](state)
    assert len(term.values) > 0
    numerical = numerical_jacobian(lambda s: terms[which](s).values, state, 1e-6)
    np.testing.assert_allclose(term.rows, numerical, atol=1e-5 * max(1.0, np.abs(numerical).max()))


def test_limits_cost_nothing_within_range():
    assert len(joint_limit_residuals(BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))).values) == 0


def test_mixture_takes_the_cheapest_component():
    eye = np.eye(69)
    mixture = PoseMixture(np.stack([np.zeros(69), np.full(69, 0.2)]), np.stack([eye, 2 * eye]), np.array([0.0, 1.0]))
    at_second = BodyState(np.zeros(10), np.full((24, 3), 0.2), np.zeros(3))
    # 0.5 * 69 * 0.04 = 1.38 from the first mean, 1.0 from the second.
    assert mixture.component(at_second)[0] == 1
    assert mixture.energy(at_second) == pytest.approx(1.0)
    assert mixture.energy(BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))) == pytest.approx(0.0)


def test_committed_mixture_prefers_people_over_contortions():
    prior = load_pose_mixture()
    standing = np.zeros((24, 3))
    standing[16, 2], standing[17, 2] = -1.1, 1.1
    backwards = standing.copy()
    backwards[4, 0] = backwards[5, 0] = -1.5
    state = lambda pose: BodyState(np.zeros(10), pose, np.zeros(3))  # noqa: E731
    assert prior.energy(state(standing)) + 20 < prior.energy(state(backwards))
