"""What is measured of fits and tracks: lag, settled shape, velocity, covariances, visibility, predicted people."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.model import BodyModel, default_body_model
from human_recon.evaluation.catalogue import BY_NAME
from human_recon.evaluation.evaluate import EvaluationOptions, evaluate
from human_recon.evaluation.matching import MatchingConfig, match_people
from human_recon.evaluation.measuring import MeasuringConfig
from human_recon.evaluation.metrics import calibration, coherence
from human_recon.evaluation.metrics.lag import WINDOW, best_shift, shifted_squares
from human_recon.evaluation.records import FrameMeasures
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.ground_truth import TrueFrame
from tests.evaluation_support import FakePipeline, found, hidden, true_frame

COLD = EvaluationOptions(warm_up=False)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


def value(result, name: str):
    return result.summary["metrics"][name]["value"]


def swinging(times: np.ndarray) -> np.ndarray:
    """[T, 24, 3] joints that swing, each at its own rate of at most 1.4 Hz and to its own side."""
    rng = np.random.default_rng(0)
    rate, phase, reach = rng.uniform(2, 9, 24), rng.uniform(0, 6, 24), rng.uniform(0.05, 0.3, (24, 3))
    return np.sin(rate * times[:, None] + phase)[..., None] * reach


# ---------------------------------------------------------------- lag


@settings(max_examples=20, deadline=None)
@given(delay=st.floats(-2.5, 2.5), rate=st.sampled_from([10.0, 30.0]), seed=st.integers(0, 10))
def test_a_delay_is_found_under_noise_and_a_constant_error(delay, rate, seed):
    rng = np.random.default_rng(seed)
    times = np.arange(3 * WINDOW) / rate
    squares = sum(
        shifted_squares(
            swinging(times[part] - delay / rate) + 0.3 + rng.normal(0, 0.005, (WINDOW, 24, 3)),
            swinging(times[part]),
            times[part],
        )
        for part in (slice(0, WINDOW), slice(WINDOW, 2 * WINDOW), slice(2 * WINDOW, None))
    )
    assert best_shift(squares) == pytest.approx(delay, abs=0.06)


def test_a_low_pass_filter_lags_as_long_as_its_theory_says():
    """A first-order filter with gain a delays slow motion by (1 - a) / a frames."""
    times = np.arange(4 * WINDOW) / 30
    truth = swinging(times / 4)
    smooth = truth.copy()
    for t in range(1, len(times)):
        smooth[t] = smooth[t - 1] + 0.5 * (truth[t] - smooth[t - 1])
    settled = slice(WINDOW, None)
    assert best_shift(shifted_squares(smooth[settled], truth[settled], times[settled])) == pytest.approx(1.0, abs=0.05)


def test_nobody_who_stands_still_lags_and_short_windows_say_nothing():
    times = np.arange(WINDOW) / 30
    still = np.zeros((WINDOW, 24, 3))
    assert math.isnan(best_shift(shifted_squares(still + 0.1, still, times)))
    assert not shifted_squares(swinging(times[:5]), swinging(times[:5]), times[:5]).any()


def test_frames_that_come_irregularly_are_compared_at_their_times():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.05, 2 * WINDOW))
    step = np.median(np.diff(times))
    squares = shifted_squares(swinging(times - 0.8 * step), swinging(times), times)
    assert best_shift(squares) == pytest.approx(0.8, abs=0.03)


# ---------------------------------------------------------------- in an evaluation


def swaying(body: BodyModel, count: int, rate: float = 30.0) -> list[TrueFrame]:
    """One person who moves from side to side."""
    base = true_frame(body, (1,))
    nobody = np.zeros_like(base.labels)  # pixels are not what is measured here
    frames = []
    for k in range(count):
        move = np.array([0.3 * math.sin(3.0 * k / rate), 0.0, 0.0], np.float32)
        one = base.people[0]
        person = dataclasses.replace(one, joints=one.joints + move, vertices=one.vertices + move)
        frame = dataclasses.replace(base.frame, stamp_ns=round(k * 1e9 / rate))
        frames.append(dataclasses.replace(base, frame=frame, people=(person,), labels=nobody, parts=None))
    return frames


def test_an_answer_two_frames_old_lags_two_frames_and_a_gap_starts_anew(body):
    frames = swaying(body, 2 * WINDOW + 20)
    records: list[FrameMeasures] = []

    def late(number: int, true: TrueFrame):
        if number == 10:
            return []
        return [found(body, frames[max(number - 2, 0)].people[0])]

    result = evaluate(frames, FakePipeline(body, frames, late), COLD, records.append)
    assert value(result, "lag") == pytest.approx(2.0, abs=0.05)
    ends = [k for k, record in enumerate(records) if record.people[0].lag]
    assert ends[0] == 10 + WINDOW and ends[1] == ends[0] + WINDOW - 6
    on_time = evaluate(frames, FakePipeline(body, frames, lambda _, true: [found(body, true.people[0])]), COLD)
    assert value(on_time, "lag") == pytest.approx(0.0, abs=0.02)


def test_stature_counts_from_two_seconds_after_a_track_began(body):
    frames = swaying(body, 8, rate=2.0)  # every half a second

    def tall_at_first(number: int, true: TrueFrame):
        person = found(body, true.people[0], new_id=3 if number < 6 else 4)
        return [dataclasses.replace(person, height=person.height + (0.01 if number >= 4 else 0.2))]

    result = evaluate(frames, FakePipeline(body, frames, tall_at_first), COLD)
    entry = result.summary["metrics"]["stature_2s"]
    assert entry["count"] == 2, "frames 4 and 5; the second track is one second old at the end"
    assert entry["value"] == pytest.approx(10.0, rel=1e-3)
    worst = result.summary["metrics"]["stature_2s_worst"]
    assert worst["count"] == 1 and worst["value"] == pytest.approx(10.0, rel=1e-3)
    young = evaluate(frames[:4], FakePipeline(body, frames, tall_at_first), COLD)
    assert "stature_2s" not in young.summary["metrics"]


def test_people_seen_well_are_measured_apart(body):
    true = true_frame(body, (1, 2))
    people = (hidden(true.people[0], 0.59), hidden(true.people[1], 0.61))
    frames = [dataclasses.replace(true, people=people)]

    def shifted(_: int, frame: TrueFrame):
        return [found(body, p, (0.1 if p.id == 1 else 0.02, 0, 0)) for p in frame.people]

    result = evaluate(frames, FakePipeline(body, frames, shifted), COLD)
    assert value(result, "mpjpe") == pytest.approx(60.0, rel=1e-3)
    for name in ("mpjpe_60", "pve_60", "pelvis_60"):
        assert value(result, name) == pytest.approx(20.0, rel=1e-3)
        assert result.summary["metrics"][name]["count"] == 1
    for name in ("root_mpjpe_60", "pa_mpjpe_60", "root_pve_60"):
        assert value(result, name) == pytest.approx(0.0, abs=1e-3)
    missed = evaluate(frames, FakePipeline(body, frames, lambda _, frame: [found(body, frame.people[0])]), COLD)
    assert value(missed, "recall_60") == 0.0 and value(missed, "recall") == 50.0


# ---------------------------------------------------------------- velocity


def test_velocities_are_compared_with_central_differences(body):
    frames = swaying(body, 6, rate=30.0)

    def moving(number: int, true: TrueFrame):
        # The truth's own derivative, and 0.2 m/s and 0.5 rad/s that are not there.
        speed = 0.9 * math.cos(3.0 * number / 30.0)
        person = found(body, true.people[0])
        return [dataclasses.replace(person, velocity=np.array([speed, 0.2, 0.0, 0.0, 0.5, 0.0]))]

    result = evaluate(frames, FakePipeline(body, frames, moving), COLD)
    metrics = result.summary["metrics"]
    assert metrics["velocity_error"]["count"] == 4
    assert metrics["velocity_error"]["value"] == pytest.approx(200.0, rel=0.01)
    assert metrics["velocity_true"]["value"] == pytest.approx(900.0, rel=0.1)
    assert metrics["turn_error"]["value"] == pytest.approx(math.degrees(0.5), rel=1e-3)
    assert metrics["turn_true"]["value"] == pytest.approx(0.0, abs=1e-6)
    silent = evaluate(frames, FakePipeline(body, frames, lambda _, true: [found(body, true.people[0])]), COLD)
    assert "velocity_error" not in silent.summary["metrics"]


def test_a_turn_is_measured_in_the_camera_frame(body):
    """Somebody who turns about the camera's own vertical axis at 1 rad/s, whatever side they show."""
    base = true_frame(body, (1,))
    frames = []
    for k in range(4):
        one = base.people[0]
        turned = rotvec_to_matrix(np.array([0.0, 0.1 * k, 0.0])) @ rotvec_to_matrix(one.state.pose[0])
        position = np.array(one.state.pose, np.float64)
        position[0] = matrix_to_rotvec(turned)
        person = dataclasses.replace(one, state=dataclasses.replace(one.state, pose=position))
        frame = dataclasses.replace(base.frame, stamp_ns=k * 100_000_000)
        frames.append(dataclasses.replace(base, frame=frame, people=(person,)))

    def said(_: int, true: TrueFrame):
        return [dataclasses.replace(found(body, true.people[0]), velocity=np.array([0, 0, 0, 0, 1.0, 0]))]

    metrics = evaluate(frames, FakePipeline(body, frames, said), COLD).summary["metrics"]
    assert metrics["turn_error"]["value"] == pytest.approx(0.0, abs=1e-3)
    assert metrics["turn_true"]["value"] == pytest.approx(math.degrees(1.0), rel=1e-4)


# ---------------------------------------------------------------- people who were only predicted


def test_people_who_were_only_predicted_are_neither_found_nor_false(body):
    frames = [true_frame(body, (1, 2), stamp_ns=k * 100_000_000) for k in range(3)]
    frames[1] = dataclasses.replace(
        frames[1], people=(frames[1].people[0], dataclasses.replace(frames[1].people[1], visibility=0.05))
    )

    def guessed(number: int, true: TrueFrame):
        one, two = (found(body, p, (0.1, 0, 0)) for p in true.people)
        if number == 0:  # measured both
            return [one, two]
        if number == 1:  # 2 hidden, predicted
            return [one, dataclasses.replace(two, measured=False)]
        ghost = found(body, true.people[0], (0, 0, 2.0), new_id=8)  # 1 missed, predicted; a third where nobody is
        return [dataclasses.replace(one, measured=False), two, dataclasses.replace(ghost, measured=False)]

    records: list[FrameMeasures] = []
    result = evaluate(frames, FakePipeline(body, frames, guessed), COLD, records.append)
    metrics = result.summary["metrics"]
    assert metrics["precision"]["value"] == 100.0 and metrics["false_per_frame"]["value"] == 0.0
    assert metrics["recall"]["value"] == pytest.approx(80.0) and metrics["recall"]["count"] == 5
    assert metrics["recall_expected"]["value"] == 100.0
    assert (
        metrics["expected_right"]["value"] == pytest.approx(100 * 2 / 3, abs=1e-3)
        and metrics["expected_right"]["count"] == 3
    )
    assert metrics["expected_mpjpe"]["value"] == pytest.approx(100.0, rel=1e-3)
    assert metrics["mpjpe"]["count"] == 4, "errors are of measured people"
    assert records[2].people[0].expected == 1 and records[2].people[0].predicted is None
    # Identities: 2 + 1 (of the hidden one nobody asks) + 2 people; 2 + 1 + 3 tracks, of which the ghost is wrong.
    assert metrics["idf1"]["value"] == pytest.approx(100 * 2 * 5 / (5 + 6), abs=1e-3)
    assert metrics["id_switches"]["value"] == 0.0


def test_who_is_measured_finds_somebody_before_who_is_predicted(body):
    true = true_frame(body, (1,))
    near, far = found(body, true.people[0], (0.02, 0, 0)), found(body, true.people[0], (0.3, 0, 0), new_id=2)
    matches = match_people(true.people, [dataclasses.replace(near, measured=False), far], MatchingConfig())
    assert matches.pairs == ((0, 1),) and matches.expected == () and matches.elsewhere == (0,) and matches.false == ()


# ---------------------------------------------------------------- covariances and visibility


def test_errors_along_the_axes_of_right_covariances_are_standard_normal():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(20000, 3, 3)) * [0.05, 0.01, 0.002]
    covariance = factors @ factors.transpose(0, 2, 1)
    errors = np.einsum("nij,nj->ni", factors, rng.normal(size=(20000, 3)))
    along = calibration.along_axes(errors, covariance)
    for k, share in zip(calibration.SIGMAS, calibration.NORMAL_SHARES, strict=True):
        assert (np.abs(along) <= k).mean() == pytest.approx(share, abs=0.006)
    distance = np.linalg.norm(along, axis=1)
    for k, share in zip(calibration.SIGMAS, calibration.ELLIPSOID_SHARES, strict=True):
        assert (distance <= k).mean() == pytest.approx(share, abs=0.01)
    assert np.median(distance) == pytest.approx(calibration.MEDIAN_DISTANCE, rel=0.02)
    # The distance by its definition
    direct = np.sqrt(np.einsum("ni,nij,nj->n", errors[:50], np.linalg.inv(covariance[:50]), errors[:50]))
    np.testing.assert_allclose(distance[:50], direct, rtol=1e-4)


def test_covariances_that_are_none_say_nothing():
    broken = np.stack([np.full((3, 3), np.nan), -np.eye(3), np.zeros((3, 3)), np.eye(3)])
    assert np.isfinite(calibration.along_axes(np.ones((4, 3)), broken)).all(axis=1).tolist() == [
        False,
        False,
        False,
        True,
    ]


def test_shares_within_covariances_by_hand(body):
    true = true_frame(body, (1,))
    seen = np.arange(24) < 20
    person = dataclasses.replace(true.people[0], joint_visible=seen)
    frames = [dataclasses.replace(true, people=(person,))]
    covariance = np.tile(np.diag([0.04**2, 0.1**2, 0.1**2]), (24, 1, 1))
    covariance[~seen] *= 16.0  # 0.16 m in x

    def sure(_: int, frame: TrueFrame):
        one = found(body, frame.people[0], (0.1, 0, 0))  # 2.5 sigma in x of those seen, 0.625 of the others
        turned = np.array(one.state.pose)
        turned[0] = matrix_to_rotvec(rotvec_to_matrix([0.0, 0.0, 0.15]) @ rotvec_to_matrix(turned[0]))
        return [
            dataclasses.replace(
                one,
                state=dataclasses.replace(one.state, pose=turned),
                joint_covariance=covariance,
                root_covariance=np.diag([0.04**2] * 3 + [0.1**2] * 3),
                joint_visible=np.arange(24) < 18,
                visibility=0.7,
            )
        ]

    result = evaluate(frames, FakePipeline(body, frames, sure), COLD)
    metrics = result.summary["metrics"]
    for k, share in ((1, (72 - 20) / 72), (2, (72 - 20) / 72), (3, 1.0)):
        assert metrics[f"covariance_within_{k}"]["value"] == pytest.approx(100 * share, abs=1e-3)
        assert metrics[f"covariance_within_{k}"]["count"] == 72
    assert metrics["hidden_covariance_within_1"] == {"value": 100.0, "unit": "%", "count": 12}
    assert metrics["ellipsoid_within_2"]["value"] == pytest.approx(100 * 4 / 24, abs=1e-3)
    assert metrics["root_covariance_within_2"]["value"] == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert metrics["turn_covariance_within_1"]["value"] == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert metrics["turn_covariance_within_2"]["value"] == 100.0
    assert metrics["sigma_factor"]["value"] == pytest.approx(2.5 / 1.5382, rel=1e-3)
    assert metrics["joint_visibility"]["value"] == pytest.approx(100 * 22 / 24, abs=1e-3)
    assert metrics["joint_visibility_seen"]["value"] == pytest.approx(100 * 18 / 20, abs=1e-3)
    assert metrics["joint_visibility_hidden"]["value"] == 100.0
    assert metrics["visibility_error"]["value"] == pytest.approx(30.0, rel=1e-3)
    curve = result.summary["curves"]["sigma"]
    assert curve["sigmas"][9] == pytest.approx(1.0)
    assert curve["joints"][9] == pytest.approx(100 * 52 / 72, abs=1e-3) and curve["joints"][29] == 100.0
    assert set(curve) == {"sigmas", "joints", "root", "turn"}
    assert set(metrics) <= set(BY_NAME), "a metric that the catalogue lacks is in no table"


# ---------------------------------------------------------------- who is in front


def test_overlap_order_by_hand():
    depths = np.array([[[2.0, 2.0, 0.0, 2.0]], [[3.0, 1.0, 1.0, 1.9]]])
    shown = np.array([[0, 0, 1, 1]])  # right; wrong; only one body there; right
    assert coherence.overlap_order(depths, shown) == (2, 3)
    assert coherence.overlap_order(depths, np.full((1, 4), -1)) == (0, 0)
    assert coherence.overlap_order(depths, np.array([[1, 0, 0, 0]]), tolerance=0.2) == (1, 3)


def test_bodies_in_the_wrong_order_are_noticed(body):
    true = true_frame(body, (1, 2), places={1: (0.0, 2.4), 2: (0.15, 3.6)})
    frames = [true]
    right = evaluate(frames, FakePipeline(body, frames, lambda _, t: [found(body, p) for p in t.people]), COLD)
    assert value(right, "overlap_order") == 100.0

    def behind(_: int, frame: TrueFrame):
        return [found(body, frame.people[0], (0, 0, 1.4)), found(body, frame.people[1])]

    wide = EvaluationOptions(MeasuringConfig(MatchingConfig(gate=2.0)), warm_up=False)
    wrong = evaluate(frames, FakePipeline(body, frames, behind), wide)
    assert value(wrong, "depth_order") == 0.0
    assert value(wrong, "overlap_order") < 20.0
