"""Identities, lives and predictions of people over time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.model import default_body_model
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.tracking.presence import presence
from human_recon.tracking.tracker import LifeConfig, Measured, Tracker, TrackerConfig
from tests.tracking_support import SECOND, Errors, fitted, hypothesis, standing, step

CONFIG = TrackerConfig(trust=1.0)
FRAME = SECOND // 30
CAMERA = CameraIntrinsics(320, 240, 270.0, 270.0, 160.0, 120.0)


@pytest.fixture
def tracker(body) -> Tracker:
    return Tracker(body, CONFIG)


def picture(stamp_ns: int, depth: float) -> Frame:
    return Frame(stamp_ns, "camera", np.full((240, 320), depth, np.float32), CAMERA)


def run(tracker, body, rng, people, first: int, count: int, gap: int = FRAME, **more):
    """Tracks of the last of ``count`` frames; ``people(seconds)`` says where everybody is."""
    tracks = ()
    for k in range(first, first + count):
        tracks = step(tracker, body, k * gap, people(k * gap / SECOND), rng, **more)
    return tracks


def test_a_first_frame_shows_people_who_are_not_yet_believed(tracker, body, rng):
    tracks = step(tracker, body, 0, [standing(0), standing(1)], rng)
    assert [t.id for t in tracks] == [1, 2]
    assert [t.life for t in tracks] == ["tentative"] * 2
    assert [t.measured for t in tracks] == [0, 1]
    assert [t.age for t in tracks] == [0.0, 0.0]


@pytest.mark.parametrize("rate", [5, 10, 30, 60])
def test_belief_takes_the_same_time_at_every_frame_rate(tracker, body, rng, rate):
    gap, life = SECOND // rate, LifeConfig()
    for k in range(2 * rate):
        (track,) = step(tracker, body, k * gap, [standing()], rng)
        if track.life == "confirmed":
            break
    assert life.confirm_after <= track.age + 1e-6 <= life.confirm_after + 2 / rate


def test_somebody_seen_once_is_gone_with_the_next_frames(tracker, body, rng):
    step(tracker, body, 0, [standing()], rng)
    for k in range(1, 8):
        assert tracker.update(k * FRAME, []) == ()
    assert [t.id for t in run(tracker, body, rng, lambda s: [standing()], 30, 1)] == [2]


def test_people_keep_their_ids_when_listed_in_another_order(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing(-0.5), standing(0.5)], 0, 5)
    tracks = step(tracker, body, 5 * FRAME, [standing(0.5), standing(-0.5)], rng)
    assert [(t.id, t.measured) for t in tracks] == [(1, 1), (2, 0)]


@pytest.mark.parametrize("rate", [6, 15, 30])
def test_people_who_cross_keep_their_ids(tracker, body, rng, rate):
    def people(seconds):
        way = 1.2 * (seconds - 1.5)
        return [standing(way, 2.6), standing(-way, 3.2)]

    gap = SECOND // rate
    tracks = run(tracker, body, rng, people, 0, 3 * rate, gap)
    assert [t.id for t in tracks] == [1, 2]
    assert tracks[0].state.trans[0] > 1.0 > -1.0 > tracks[1].state.trans[0]


def test_the_hidden_are_predicted_along_their_way_and_recognised(tracker, body, rng):
    walk = lambda s: standing(-1.0 + 0.8 * s, 4.0)  # noqa: E731
    run(tracker, body, rng, lambda s: [walk(s)], 0, 30)
    for k in range(30, 75):  # 1.5 s behind something 2 m away
        stamp = k * FRAME
        assert tracker.expect(stamp, [], picture(stamp, 2.0)) == []
        (track,) = tracker.update(stamp, [])
        assert (track.id, track.life, track.measured) == (1, "occluded", None)
    assert np.abs(track.state.trans - walk(74 / 30).trans).max() < 0.35
    (track,) = step(tracker, body, 75 * FRAME, [walk(2.5)], rng)
    assert (track.id, track.life) == (1, "confirmed")


def test_uncertainty_grows_while_nobody_looks(tracker, body, rng):
    (seen,) = run(tracker, body, rng, lambda s: [standing()], 0, 30)
    growing = [np.trace(seen.joint_covariance[20])]
    for k in range(30, 40):
        tracker.expect(k * FRAME, [], picture(k * FRAME, 1.0))
        (track,) = tracker.update(k * FRAME, [])
        growing.append(np.trace(track.joint_covariance[20]))
        for covariance in (*track.joint_covariance, track.root_covariance, track.velocity_covariance):
            np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
            assert np.linalg.eigvalsh(covariance).min() > 0
    assert (np.diff(growing) > 0).all()
    assert track.confidence < seen.confidence


@pytest.mark.parametrize(("depth", "longest"), [(9.0, 0.3), (3.0, 0.8), (0.0, 0.8)])
def test_who_is_not_there_is_soon_given_up(tracker, body, rng, depth, longest):
    run(tracker, body, rng, lambda s: [standing(0, 3.0)], 0, 60)
    last = 60
    for k in range(60, 120):
        tracker.expect(k * FRAME, [], picture(k * FRAME, depth))
        if tracker.update(k * FRAME, []):
            last = k
    assert 0.05 < (last - 60) / 30 < longest


def test_who_walks_out_of_the_image_is_not_predicted_beyond_it(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing(1.0 + s, 3.0)], 0, 30)
    beyond = []
    for k in range(30, 60):
        tracker.expect(k * FRAME, [], picture(k * FRAME, 9.0))
        beyond += [t.joints[0, 0] for t in tracker.update(k * FRAME, [])]
    assert len(beyond) < 10


def test_somebody_who_comes_back_soon_has_the_id_of_before(tracker, body, rng):
    tall = np.array([2.0, *np.zeros(9)])
    run(tracker, body, rng, lambda s: [standing(0.5, 3.0, tall)], 0, 60)
    run(tracker, body, rng, lambda s: [], 60, 60)
    tracks = run(tracker, body, rng, lambda s: [standing(0.8, 3.2, tall)], 120, 2)
    assert [t.id for t in tracks] == [1]


def test_somebody_else_has_another_id(tracker, body, rng):
    shape = np.array([2.0, 1.0, *np.zeros(8)])
    run(tracker, body, rng, lambda s: [standing(0.5, 3.0, shape)], 0, 60)
    run(tracker, body, rng, lambda s: [], 60, 60)
    tracks = run(tracker, body, rng, lambda s: [standing(0.8, 3.2, -shape)], 120, 2)
    assert [t.id for t in tracks] == [2]


def test_after_a_long_time_nobody_is_remembered(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing()], 0, 60)
    tracks = step(tracker, body, 40 * SECOND, [standing()], rng)
    assert [t.id for t in tracks] == [2]


def test_a_dropout_of_the_sensor_changes_nobody(tracker, body, rng):
    walk = lambda s: [standing(-1 + 0.7 * s), standing(1 - 0.3 * s, 4.0)]  # noqa: E731
    run(tracker, body, rng, walk, 0, 60)
    tracks = run(tracker, body, rng, walk, 60 + 20, 10)
    assert [(t.id, t.life) for t in tracks] == [(1, "confirmed"), (2, "confirmed")]


def test_reset_forgets_people_but_not_the_numbers_given_out(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing(0), standing(1)], 0, 5)
    tracker.reset()
    assert [t.id for t in step(tracker, body, 6 * FRAME, [standing(0)], rng)] == [3]


def test_a_recording_that_starts_again_starts_with_new_people(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing()], 300, 30)
    (track,) = step(tracker, body, 0, [standing()], rng)
    assert (track.id, track.age, track.life) == (2, 0.0, "tentative")


def test_stamps_a_little_out_of_order_change_nobody(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing()], 0, 30)
    for stamp in (29, 28, 29, 30, 30, 31):
        (track,) = step(tracker, body, stamp * FRAME, [standing()], rng)
        assert (track.id, track.life) == (1, "confirmed")
        assert np.abs(track.velocity[:3]).max() < 0.5


def test_measurements_that_are_no_numbers_are_left_out(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing()], 0, 10)
    stamp = 10 * FRAME
    (expected,) = tracker.expect(stamp, [hypothesis(body, standing())])
    fit = fitted(body, standing(), Errors(), rng, expected.expectation)
    bad = replace(fit, state=replace(fit.state, trans=np.full(3, np.nan)))
    (track,) = tracker.update(stamp, [Measured(expected.id, bad, 0.9), Measured(None, bad, 0.9)])
    assert (track.id, track.life) == (1, "occluded")
    assert np.isfinite(track.joints).all()


def test_two_bodies_in_one_place_become_one_person(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing(0)], 0, 10)
    tracks = run(tracker, body, rng, lambda s: [standing(0), standing(0.02)], 10, 2)
    assert [(t.id, t.life) for t in tracks] == [(1, "confirmed")]


def test_people_side_by_side_stay_two(tracker, body, rng):
    tracks = run(tracker, body, rng, lambda s: [standing(0), standing(0.45)], 0, 20)
    assert [t.id for t in tracks] == [1, 2]


def test_places_are_those_of_people_believed(tracker, body, rng):
    step(tracker, body, 0, [standing(0)], rng)
    assert tracker.places(FRAME).shape == (0, 6)
    run(tracker, body, rng, lambda s: [standing(0.3 + s)], 1, 30)
    (place,) = tracker.places(40 * FRAME)
    assert place[0] == pytest.approx(0.3 + 40 / 30 + body.j_template[0, 0], abs=0.15)


def test_geometric_perception_is_followed_by_the_head(tracker, body, rng):
    for k in range(30):
        true = [standing(-1 + k / 30), standing(1 - k / 30, 4.0)][:: (-1) ** k]
        seen = [replace(hypothesis(body, one), guess=None) for one in true]
        expected = tracker.expect(k * FRAME, seen)
        fits = [fitted(body, one, Errors(), rng) for one in true]
        tracks = tracker.update(
            k * FRAME, [Measured(e.id if e else None, f, 0.9) for e, f in zip(expected, fits, strict=True)]
        )
        assert [t.id for t in tracks] == [1, 2]
        assert [t.state.trans[2] for t in tracks] == pytest.approx([3.0, 4.0], abs=0.1)


def test_locked_shapes_stay_until_unlocked(tracker, body, rng):
    run(tracker, body, rng, lambda s: [standing()], 0, 10)
    assert tracker.lock_shape(1, True)
    assert not tracker.lock_shape(7, True)
    other = np.array([3.0, *np.zeros(9)])
    (before,) = run(tracker, body, rng, lambda s: [standing(betas=other)], 10, 1)
    (locked,) = run(tracker, body, rng, lambda s: [standing(betas=other)], 11, 30)
    assert locked.shape_locked
    np.testing.assert_array_equal(locked.state.betas, before.state.betas)
    assert tracker.lock_shape(0, False)
    (free,) = run(tracker, body, rng, lambda s: [standing(betas=other)], 41, 150)
    assert not free.shape_locked
    assert free.state.betas[0] > before.state.betas[0] + 1.0


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_whatever_comes_ids_are_unique_and_numbers_are_numbers(data):
    body = default_body_model()
    tracker, rng = Tracker(body, CONFIG), np.random.default_rng(0)
    stamp, given_out, gone = 10 * SECOND, set(), set()
    for _ in range(data.draw(st.integers(2, 12))):
        stamp += data.draw(st.sampled_from([0, FRAME, SECOND // 5, 2 * SECOND, 20 * SECOND, -FRAME, -5 * SECOND]))
        places = data.draw(st.lists(st.integers(-4, 4), max_size=4))
        if data.draw(st.booleans()):
            tracks = step(tracker, body, stamp, [standing(0.4 * x) for x in places], rng)
        else:
            tracker.reset()
            gone |= given_out
            tracks = tracker.update(stamp, [])
        ids = [t.id for t in tracks]
        assert ids == sorted(set(ids)) and all(i >= 1 for i in ids)
        assert not gone & set(ids)
        measured = [t.measured for t in tracks if t.measured is not None]
        assert len(set(measured)) == len(measured) and all(0 <= m < len(places) for m in measured)
        for t in tracks:
            assert t.life in ("tentative", "confirmed", "occluded")
            assert (t.life == "occluded") == (t.measured is None)
            assert t.age >= 0 and 0 <= t.confidence <= 1
            for values in (
                t.state.pose,
                t.state.trans,
                t.joints,
                t.joint_covariance,
                t.velocity,
                t.velocity_covariance,
            ):
                assert np.isfinite(values).all()
        given_out |= set(ids)


@pytest.mark.parametrize(
    ("x", "depth", "expected"),
    [
        (0.0, 1.0, "hidden"),
        (0.0, 2.9, "overlooked"),
        (0.0, 6.0, "absent"),
        (9.0, 2.9, "outside"),
        (0.0, 0.0, "unknown"),
    ],
)
def test_depth_says_why_somebody_is_not_seen(body, rng, x, depth, expected):
    joints = fitted(body, standing(x, 3.0), Errors(1e-9, 1e-9, 1e-9), rng).joints
    assert presence(picture(0, depth), joints, np.full(24, 0.05)) == expected


def test_the_uncertain_are_denied_only_by_what_is_far_behind(body, rng):
    joints = fitted(body, standing(0, 3.0), Errors(1e-9, 1e-9, 1e-9), rng).joints
    assert presence(picture(0, 3.4), joints, np.full(24, 0.05)) == "absent"
    assert presence(picture(0, 3.4), joints, np.full(24, 0.3)) == "overlooked"
