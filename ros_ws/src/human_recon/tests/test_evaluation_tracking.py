"""Identity over time: MOTA, IDF1 and HOTA on sequences small enough to count on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.evaluation.metrics.tracking import ALPHAS, ClearMot, Hota, TrackingFrame, clear_mot, hota, identity

GATE = 0.5


def frame(true: dict[int, float], predicted: dict[int, float]) -> TrackingFrame:
    """People on a line, id -> place in metres."""
    distance = np.abs(np.subtract.outer(list(true.values()), list(predicted.values())))
    return TrackingFrame(tuple(true), tuple(predicted), distance.reshape(len(true), len(predicted)))


def test_a_perfect_track():
    frames = [frame({1: 0.0, 2: 3.0}, {7: 0.0, 9: 3.0}) for _ in range(4)]
    assert clear_mot(frames, GATE).mota == 1.0
    assert clear_mot(frames, GATE).motp == 0.0
    assert identity(frames, GATE).idf1 == 1.0
    assert hota(frames, 2 * GATE).hota == pytest.approx(1.0)


def test_one_switch_in_the_middle():
    # One person, ten frames; track 1 for the first six, track 2 for the other four, exactly in place.
    frames = [frame({1: 0.0}, {1 if t < 6 else 2: 0.0}) for t in range(10)]
    clear = clear_mot(frames, GATE)
    assert (clear.true, clear.missed, clear.false, clear.switches) == (10, 0, 0, 1)
    assert clear.mota == pytest.approx(0.9)
    # The person is given track 1: 6 of 10 right, 2 x 6 / (10 + 10).
    assert identity(frames, GATE).idf1 == pytest.approx(0.6)
    # A(c) = 6/10 for six detections and 4/10 for four: AssA = 0.52; DetA = 1.
    result = hota(frames, 2 * GATE)
    assert result.ass_a == pytest.approx(np.full(19, 0.52))
    assert result.hota == pytest.approx(math.sqrt(0.52))


def test_misses_and_ghosts():
    # Person 1 is found in 3 of 4 frames, a ghost stands elsewhere in 2.
    frames = [
        frame({1: 0.0}, {1: 0.1}),
        frame({1: 0.0}, {5: 9.0}),
        frame({1: 0.0}, {1: 0.1, 5: 9.0}),
        frame({1: 0.0}, {1: 0.1}),
    ]
    clear = clear_mot(frames, GATE)
    assert (clear.missed, clear.false, clear.switches) == (1, 2, 0)
    assert clear.mota == pytest.approx(1 - 3 / 4)
    assert clear.motp == pytest.approx(0.1)
    counts = identity(frames, GATE)
    assert (counts.right, counts.true, counts.predicted) == (3, 4, 5)
    assert counts.idf1 == pytest.approx(6 / 9)
    # Similarity 0.9 up to alpha 0.90: TP 3, FN 1, FP 2, A(c) = 3/4; nothing beyond.
    result = hota(frames, 2 * GATE)
    assert result.det_a == pytest.approx(np.where(ALPHAS < 0.91, 0.5, 0.0))
    assert result.hota == pytest.approx(18 / 19 * math.sqrt(0.5 * 0.75))


def test_people_who_cross_and_swap_tracks():
    # Two people swap their tracks half-way: two switches, each has the right track half of the time.
    frames = [frame({1: 0.0, 2: 5.0}, {1: 0.0, 2: 5.0} if t < 5 else {1: 5.0, 2: 0.0}) for t in range(10)]
    clear = clear_mot(frames, GATE)
    assert clear.switches == 2
    assert clear.mota == pytest.approx(1 - 2 / 20)
    assert identity(frames, GATE).idf1 == pytest.approx(0.5)
    # Each of the four pairs agrees in 5 frames of 10 + 10 - 5.
    assert hota(frames, 2 * GATE).hota == pytest.approx(math.sqrt(1 / 3))


def test_the_pair_of_the_frame_before_is_kept_even_when_another_is_nearer():
    frames = [frame({1: 0.0, 2: 2.0}, {1: 0.0}), frame({1: 0.3, 2: 0.1}, {1: 0.0})]
    clear = clear_mot(frames, GATE)
    assert (clear.missed, clear.switches) == (2, 0)


def test_a_switch_is_noticed_after_a_gap():
    frames = [frame({1: 0.0}, {4: 0.0}), frame({1: 0.0}, {}), frame({1: 0.0}, {5: 0.0}), frame({1: 0.0}, {5: 0.0})]
    assert clear_mot(frames, GATE).switches == 1


def test_as_many_as_possible_are_found():
    # The nearest pair alone would leave the other two without a partner.
    frames = [frame({1: 0.0, 2: 0.45}, {1: 0.40, 2: 0.90})]
    assert clear_mot(frames, GATE).missed == 0


def test_nobody_and_nothing():
    assert math.isnan(clear_mot([frame({}, {})], GATE).mota)
    assert math.isnan(identity([], GATE).idf1)
    assert math.isnan(hota([frame({}, {})], 1.0).hota)
    assert math.isnan(Hota().hota)
    ghosts = [frame({}, {1: 0.0})]
    assert clear_mot(ghosts, GATE).false == 1
    assert hota(ghosts, 1.0).hota == 0.0
    assert identity(ghosts, GATE).idf1 == 0.0
    missed = [frame({1: 0.0}, {})]
    assert clear_mot(missed, GATE).mota == 0.0
    assert hota(missed, 1.0).hota == 0.0


def test_sequences_add_up_by_their_counts():
    a = [frame({1: 0.0}, {1 if t < 6 else 2: 0.0}) for t in range(10)]
    b = [frame({1: 0.0}, {1: 0.0}) for _ in range(10)]  # the same ids are other people
    total = clear_mot(a, GATE) + clear_mot(b, GATE)
    assert total == ClearMot(true=20, missed=0, false=0, switches=1, distance=0.0)
    assert (identity(a, GATE) + identity(b, GATE)).idf1 == pytest.approx(16 / 20)
    assert (hota(a, 1.0) + hota(b, 1.0)).ass_a == pytest.approx(np.full(19, (5.2 + 10) / 20))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_names_of_tracks_do_not_matter_and_rates_are_in_range(data):
    people = st.dictionaries(st.integers(1, 3), st.floats(0, 2), max_size=3)
    frames = [frame(data.draw(people), data.draw(people)) for _ in range(data.draw(st.integers(1, 5)))]
    renamed = [TrackingFrame(f.true_ids, tuple(100 - i for i in f.predicted_ids), f.distance) for f in frames]
    for score in (lambda f: identity(f, GATE).idf1, lambda f: hota(f, 1.0).hota):
        value = score(frames)
        assert math.isnan(value) or 0.0 <= value <= 1.0
        assert score(renamed) == pytest.approx(value, nan_ok=True)
    clear = clear_mot(frames, GATE)
    assert clear.missed + (clear.true - clear.missed) == clear.true
    assert clear.true == 0 or clear.mota <= 1.0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_idf1_is_the_best_pairing_of_people_and_tracks(data):
    """Against trying all pairings."""
    from itertools import permutations

    people = st.dictionaries(st.integers(1, 3), st.sampled_from([0.0, 1.0, 2.0]), max_size=3)
    frames = [frame(data.draw(people), data.draw(people)) for _ in range(4)]
    best = 0
    for tracks in permutations((1, 2, 3)):
        pairing = dict(zip((1, 2, 3), tracks, strict=True))
        right = sum(
            f.distance[f.true_ids.index(i), f.predicted_ids.index(j)] <= GATE
            for f in frames
            for i, j in pairing.items()
            if i in f.true_ids and j in f.predicted_ids
        )
        best = max(best, int(right))
    assert identity(frames, GATE).right == best
