"""What is measured over several frames: lag, people seen well, shape after two seconds."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.model import BodyModel, default_body_model
from human_recon.evaluation.evaluate import EvaluationOptions, evaluate
from human_recon.evaluation.metrics.lag import WINDOW, best_shift, shifted_squares
from human_recon.evaluation.records import FrameMeasures
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
