"""Motion and shape filtered over time."""

from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.measure import stature
from human_recon.body.state import BodyState
from human_recon.fitting.body_fitter import BodyFitConfig
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix, rotvecs_to_matrices, turned
from human_recon.tracking import kernels
from human_recon.tracking.motion_filter import DOF, PELVIS, MotionConfig, MotionFilter, inverse, solved
from human_recon.tracking.shape_filter import ShapeConfig, ShapeFilter
from human_recon.tracking.tracked_body import BodyGeometry, TrackedBody, told_information
from human_recon.tracking.tracker import Tracker, TrackerConfig
from tests.tracking_support import Errors, fitted, standing, step

SECOND = 1_000_000_000
STILL = np.tile(np.eye(3), (24, 1, 1))


def filtered(information: float = 1e4, **settings) -> MotionFilter:
    return MotionFilter(MotionConfig(**settings), np.zeros(3), STILL, information * np.eye(DOF))


def test_time_in_one_step_or_in_many_is_the_same():
    once, often = filtered(), filtered()
    for one in (once, often):
        one.velocity = np.linspace(-1.0, 1.0, DOF)
    once.predict(0.5)
    for _ in range(50):
        often.predict(0.01)
    for name in ("variance", "cross", "velocity_variance", "velocity", "pelvis"):
        np.testing.assert_allclose(getattr(once, name), getattr(often, name), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(once.rotations, often.rotations, atol=1e-9)


def test_predictions_are_those_of_simulated_random_motion(rng):
    """Many paths of the stochastic differential equation, by small steps, scatter as the filter says."""
    config = MotionConfig()
    one = filtered(1e12)
    one.predict(0.4)
    tau, speed = config.pelvis_persistence, config.pelvis_speed
    x, v, dt = np.zeros(20000), rng.normal(0.0, speed, 20000), 0.002
    for _ in range(200):
        x += v * dt
        v += -v / tau * dt + rng.normal(0.0, speed * np.sqrt(2 * dt / tau), len(v))
    assert x.var() == pytest.approx(one.variance[72], rel=0.05)
    assert np.mean(x * v) == pytest.approx(one.cross[72], rel=0.05)
    assert v.var() == pytest.approx(one.velocity_variance[72], rel=0.05)


def test_updates_are_those_of_the_textbook():
    """One degree of freedom against the Kalman filter of position and velocity in two by two matrices."""
    config = MotionConfig(told=1.0, outlier=1e9)
    information = 400.0 * np.eye(DOF)
    one = MotionFilter(config, np.zeros(3), STILL, information)
    mean, covariance = np.zeros(2), np.diag([1.0 / (400.0 + 1.0), config.pelvis_speed**2])
    tau, power, dt = config.pelvis_persistence, 2 * config.pelvis_speed**2 / config.pelvis_persistence, 0.1
    keep = np.exp(-dt / tau)
    flow = np.array([[1.0, tau * (1 - keep)], [0.0, keep]])
    for measured in (0.1, 0.25, 0.3, 0.5):
        one.predict(dt)
        times = (np.arange(4000) + 0.5) * dt / 4000  # the noise's covariance by quadrature
        reach = np.stack([tau * (1 - np.exp(-times / tau)), np.exp(-times / tau)])
        covariance = flow @ covariance @ flow.T + power * reach @ reach.T * dt / 4000
        mean = flow @ mean
        gain = covariance[:, 0] / (covariance[0, 0] + 1.0 / 400.0)
        mean = mean + gain * (measured - mean[0])
        covariance = covariance - np.outer(gain, covariance[0])
        # The fit is the update: it finds the weighted mean of prediction and measurement.
        share = one.variance[72] / (one.variance[72] + 1.0 / 400.0)
        one.update(one.pelvis + share * (measured - one.pelvis), STILL, information)
        assert one.pelvis[0] == pytest.approx(mean[0], rel=1e-6)
        assert one.velocity[72] == pytest.approx(mean[1], rel=1e-6)
        assert [one.variance[72], one.cross[72], one.velocity_variance[72]] == pytest.approx(
            [covariance[0, 0], covariance[0, 1], covariance[1, 1]], rel=1e-6
        )


def test_steady_motion_is_followed_without_lag(body, rng):
    tracker = Tracker(body, TrackerConfig(trust=1.0))
    spin = np.zeros((24, 3))
    for k in range(60):
        spin[18, 1] = 0.02 * k
        (track,) = step(
            tracker, body, k * SECOND // 30, [standing(-1.0 + 1.2 * k / 30, pose=spin)], rng, Errors(0.02, 0.01)
        )
    assert track.velocity[0] == pytest.approx(1.2, abs=0.2)
    assert np.abs(track.velocity[1:3]).max() < 0.2
    late = (0.2 + 1.2 * 29 / 30 - track.state.trans[0]) / (1.2 / 30)  # frames
    assert abs(late) < 0.5


def test_a_turning_person_has_the_angular_velocity_of_the_turn(body, rng):
    tracker = Tracker(body, TrackerConfig(trust=1.0))
    upright = rotvec_to_matrix(np.array([np.pi, 0.0, 0.0]))
    for k in range(60):
        state = standing()
        state.pose[0] = matrix_to_rotvec(rotvec_to_matrix(np.array([0.0, -k / 30, 0.0])) @ upright)
        (track,) = step(tracker, body, k * SECOND // 30, [state], rng, Errors(0.01, 0.005))
    np.testing.assert_allclose(track.velocity[3:], [0.0, -1.0, 0.0], atol=0.25)


def test_tracks_are_steadier_than_fits_and_nearer_to_the_truth(body, rng):
    def joints(tracked: bool):
        tracker = Tracker(body, TrackerConfig(trust=1.0))
        draws, errors, moves = np.random.default_rng(3), [], []
        for k in range(60):
            pose = np.zeros((24, 3))
            pose[[16, 17], 2] = 0.6 * np.sin(2 * np.pi * k / 45)
            pose[[4, 5], 0] = 0.4 + 0.4 * np.sin(2 * np.pi * k / 36)
            true = standing(0.5 * k / 30, pose=pose)
            here = fitted(body, true, Errors(1e-9, 1e-9, 1e-9), draws).joints
            if tracked:
                (track,) = step(tracker, body, k * SECOND // 30, [true], draws)
                there = track.joints
            else:
                there = fitted(body, true, Errors(), draws).joints
            errors.append(np.linalg.norm(there - here, axis=1).mean())
            moves.append(there - here)
        acceleration = np.linalg.norm(np.diff(moves[10:], 2, axis=0), axis=-1).mean()
        return np.mean(errors[10:]), acceleration

    error, acceleration = joints(True)
    raw_error, raw_acceleration = joints(False)
    assert error < raw_error
    assert acceleration < 0.5 * raw_acceleration


def test_statures_settle_within_two_seconds(body, rng):
    errors, geometry = Errors(betas=0.5), BodyGeometry(body)
    for draw in range(4):
        betas = rng.normal(size=10)
        person = None
        for _ in range(60):
            true = standing(betas=betas)
            if person is None:
                person = TrackedBody(geometry, MotionConfig(), ShapeConfig(), 1.0, fitted(body, true, errors, rng))
                continue
            person.predict(1 / 30)
            expected = person.expectation()
            person.update(fitted(body, true, errors, rng, expected), expected, 1 / 30)
        error = stature(body, person.state.betas) - stature(body, betas)
        assert abs(error) < 0.03, draw
        assert abs(geometry.stature(betas) - stature(body, betas)) < 0.01


def test_shapes_are_weighted_means_of_what_frames_say():
    one = ShapeFilter(ShapeConfig(correlation=1.0), np.ones(10))
    strong, weak = 100.0 * np.eye(10), 1.0 * np.eye(10)
    one.update(weak, weak @ np.full(10, -1.0), 1.0)
    one.update(strong, strong @ np.full(10, 2.0), 1.0)
    # Begins at the mean of prior (0) and first frame (-1): -0.5, with information 1 + 1; then 100 more at 2.
    np.testing.assert_allclose(one.betas, (2 * -0.5 + 100 * 2) / 102)
    np.testing.assert_allclose(one.information, 102.0 * np.eye(10))


def test_many_frames_of_one_moment_count_as_one():
    slow, fast = (ShapeFilter(ShapeConfig(correlation=0.5), np.ones(10)) for _ in range(2))
    frame = 10.0 * np.eye(10)
    for k in range(11):
        slow.update(frame, frame @ np.ones(10), 0.1 if k else 0.0)
    for k in range(101):
        fast.update(frame, frame @ np.ones(10), 0.01 if k else 0.0)
    np.testing.assert_allclose(slow.information, fast.information, rtol=1e-9)


def test_shapes_lock_when_sure_and_not_before():
    config = ShapeConfig(lock_after=1.0, lock_sigma=0.02)
    one = ShapeFilter(config, 0.03 * np.ones(10))
    frame = 50.0 * np.eye(10)
    locked = []
    for k in range(300):
        one.update(frame, frame @ np.ones(10), 1 / 30 if k else 0.0)
        locked.append(one.locked)
    assert not any(locked[:29]) and locked[-1]
    assert one.stature_sigma <= 0.02
    one.lock(False)
    one.update(frame, frame @ np.ones(10), 1 / 30)
    assert not one.locked


def test_what_a_frame_cannot_say_is_not_believed():
    one = ShapeFilter(ShapeConfig(), np.ones(10))
    information = np.diag([-5.0, 100.0, *np.zeros(8)])
    one.update(information, information @ np.ones(10), 0.0)
    assert one.betas[1] > 0.9
    np.testing.assert_allclose(np.delete(one.betas, 1), 0.0, atol=1e-12)
    one.update(np.full((10, 10), np.nan), np.zeros(10), 0.1)
    assert np.isfinite(one.betas).all()


def test_a_fit_is_rid_of_what_it_was_told(body, rng):
    geometry = BodyGeometry(body)
    person = TrackedBody(geometry, MotionConfig(), ShapeConfig(), 1.0, fitted(body, standing(), Errors(), rng))
    expected = person.expectation()
    alone = fitted(body, standing(), Errors(), rng)
    told = fitted(body, standing(), Errors(), rng, expected)
    np.testing.assert_allclose(told.information - told_information(geometry, expected), alone.information, atol=1e-6)
    assert not told_information(geometry, None).any()


def test_the_trust_is_that_of_the_fit():
    assert TrackerConfig().trust == pytest.approx(BodyFitConfig().covariance.inflation_at(1.0) ** 2, rel=0.05)


def test_compiled_kinematics_are_those_of_the_fit(body, rng):
    """Against `fitting.kinematics`, and the turns against scipy's rotations."""
    geometry, kinematics = BodyGeometry(body), BodyKinematics(body)
    state = BodyState(rng.normal(size=10), rng.normal(0.0, 0.8, (24, 3)), rng.normal(size=3))
    rotations = rotvecs_to_matrices(state.pose)
    np.testing.assert_allclose(rotations, rotvec_to_matrix(state.pose), atol=1e-12)
    np.testing.assert_allclose(kernels.vectors(rotations), matrix_to_rotvec(rotations), atol=1e-9)
    joints, slope = kernels.joints_and_slope(
        rotations, state.trans + geometry.rest_pelvis(state.betas), geometry.rest_joints(state.betas), geometry.parents
    )
    linear = kinematics.joints(state)
    np.testing.assert_allclose(joints, linear.points, atol=1e-6)
    np.testing.assert_allclose(slope, linear.jacobian[:, :, np.r_[0:72, 82:85]], atol=1e-6)
    variance = rng.uniform(0.1, 1.0, 75)
    np.testing.assert_allclose(kernels.spread(slope, variance), np.einsum("jap,p,jbp->jab", slope, variance, slope))
    step = rng.normal(0.0, 0.5, 72)
    there = turned(rotations, step)
    np.testing.assert_allclose(there, rotations @ rotvec_to_matrix(step.reshape(24, 3)), atol=1e-12)
    np.testing.assert_allclose(kernels.turns_between(rotations, there), step, atol=1e-9)


def test_a_shape_moves_the_pose_as_little_as_the_fit_allows(body, rng):
    """Another stature than the fit's leaves the joints where they were seen: hips bend rather than feet sink."""
    geometry = BodyGeometry(body)
    fit = fitted(body, standing(betas=np.array([1.0, *np.zeros(9)])), Errors(1e-9, 1e-9, 1e-9), rng)
    linear = BodyKinematics(body).joints(fit.state)
    rows = linear.jacobian.reshape(72, 85) / 0.01
    information = rows.T @ rows + np.diag(np.r_[np.full(72, 10.0), np.full(13, 1e-2)])
    person = TrackedBody(geometry, MotionConfig(), ShapeConfig(), 1.0, replace(fit, information=information))
    person.shape.betas = np.zeros(10)
    pelvis, _, _ = person._pose(replace(fit, information=information), information)
    plain = fit.state.trans + geometry.rest_pelvis(fit.state.betas)
    # A smaller body whose head and feet were seen stands lower: y points down, and half of the difference is shared.
    smaller = geometry.stature(fit.state.betas) - geometry.stature(np.zeros(10))
    assert abs(pelvis[1] - plain[1]) < 0.5 * abs(smaller)


def test_matrices_that_are_no_covariances_are_refused():
    for function in (inverse, lambda m: solved(m, np.ones((3, 1)))):
        with pytest.raises(np.linalg.LinAlgError):
            function(np.diag([1.0, -1.0, 1.0]))
    one = filtered()
    one.predict(0.1)
    one.update(np.zeros(3), STILL, np.diag(np.r_[-1e6, np.ones(DOF - 1)]))
    assert (one.variance > 0).all() and np.isfinite(one.velocity).all()


@pytest.mark.parametrize("settings", [{"told": 0.0}, {"joint_speed": (1.0,)}, {"pelvis_persistence": -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError):
        MotionConfig(**settings)


def test_the_pelvis_is_the_last_three():
    assert np.arange(DOF)[PELVIS].tolist() == [72, 73, 74]
