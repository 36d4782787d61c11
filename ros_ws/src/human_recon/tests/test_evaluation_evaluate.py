"""Matching and the evaluation as a whole, on a pipeline whose errors are known by hand."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from human_recon.body.model import BodyModel
from human_recon.evaluation.evaluate import EvaluationOptions, evaluate, evaluate_independent, evaluate_sequences
from human_recon.evaluation.matching import MatchingConfig, match_people
from human_recon.evaluation.measuring import MeasuringConfig, SequenceMeasurer, is_cut
from human_recon.evaluation.metrics.surface import surface_errors
from human_recon.evaluation.records import FrameMeasures, to_line
from human_recon.ground_truth import TrueFrame
from human_recon.people import People
from tests.evaluation_support import FakePipeline, PerfectPipeline, found, hidden, true_frame

COLD = EvaluationOptions(warm_up=False)


@pytest.fixture(scope="module")
def two(body: BodyModel) -> TrueFrame:
    return true_frame(body, (1, 2))


def value(evaluation, name: str) -> float:
    return evaluation.summary["metrics"][name]["value"]


# ---------------------------------------------------------------- matching


def test_people_are_matched_one_to_one_within_the_gate(body, two):
    one, other = two.people
    near, far = found(body, one, (0.1, 0, 0)), found(body, other, (0, 0, 0.6))
    matches = match_people(two.people, [far, near], MatchingConfig(gate=0.5))
    assert matches.pairs == ((0, 1),)
    assert matches.missed == (1,)
    assert matches.false == (0,)
    assert matches.distance[0, 1] == pytest.approx(0.1, abs=1e-6)
    assert match_people(two.people, [far, near], MatchingConfig(gate=0.7)).pairs == ((0, 1), (1, 0))


def test_the_second_prediction_of_a_person_is_false(body, two):
    both = [found(body, two.people[0], (0.05, 0, 0)), found(body, two.people[0], (0.02, 0, 0))]
    matches = match_people(two.people[:1], both, MatchingConfig())
    assert matches.pairs == ((0, 1),)
    assert matches.false == (0,)


def test_hidden_people_need_not_be_found_and_may_be(body, two):
    people = (two.people[0], hidden(two.people[1], 0.05))
    nothing = match_people(people, [], MatchingConfig())
    assert (nothing.required, nothing.missed) == ((0,), (0,))
    matches = match_people(people, [found(body, people[1]), found(body, people[1], (0.1, 0, 0))], MatchingConfig())
    assert matches.ignored == (0,) and matches.false == (1,)  # the second one is too much
    strict = MatchingConfig(least_visibility=0.0)
    assert match_people(people, [], strict).missed == (0, 1)


def test_a_prediction_goes_to_who_must_be_found_before_who_is_hidden(body):
    frame = true_frame(body, (1, 2), places={2: (-0.5, 2.8)})  # 0.3 m beside person 1
    people = (frame.people[0], hidden(frame.people[1], 0.0))
    matches = match_people(people, [found(body, people[1])], MatchingConfig())
    assert matches.pairs == ((0, 0),)


def test_a_prediction_without_a_place_matches_nobody(body, two):
    broken = dataclasses.replace(found(body, two.people[0]), joints=np.full((24, 3), np.nan, np.float32))
    assert match_people(two.people, [broken], MatchingConfig()).false == (0,)


@pytest.mark.parametrize("wrong", [{"gate": 0.0}, {"least_visibility": 1.5}, {"distance": "feet"}])
def test_matching_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MatchingConfig(**wrong)


# ---------------------------------------------------------------- one sequence


def test_the_truth_itself_has_no_error(body, two):
    pipeline = FakePipeline(body, [two], lambda _, true: [found(body, p) for p in true.people])
    result = evaluate([two], pipeline, COLD)
    for name in ("mpjpe", "root_mpjpe", "n_mpjpe", "pa_mpjpe", "pve", "pa_pve", "pelvis", "stature", "correspondence"):
        assert value(result, name) == pytest.approx(0.0, abs=0.01), name
    for name in (
        "precision",
        "recall",
        "f1",
        "pck_all",
        "pck_auc_all",
        "itop_map_all",
        "depth_order",
        "foreground_iou",
    ):
        assert value(result, name) == 100.0, name
    assert value(result, "mask_iou_all") == 100.0
    assert value(result, "part_accuracy") == pytest.approx(100.0)
    assert value(result, "left_right_confusion") == value(result, "front_back_confusion") == 0.0
    assert value(result, "sigma_coverage") == 100.0
    assert value(result, "collisions") == 0.0
    assert "hota" not in result.summary["metrics"]  # one frame has no identity over time
    assert "acceleration_error" not in result.summary["metrics"]
    assert "penetration_mean" not in result.summary["metrics"]
    assert "reconstruction_to_scan_v2v" not in result.summary["metrics"]


def test_a_shift_is_measured_in_millimetres(body, two):
    shifts = {1: (0.03, 0.0, 0.04), 2: (0.0, 0.0, -0.13)}  # 50 mm and 130 mm
    pipeline = FakePipeline(body, [two], lambda _, true: [found(body, p, shifts[p.id]) for p in true.people])
    result = evaluate([two], pipeline, COLD)
    assert value(result, "mpjpe") == pytest.approx(90.0, abs=0.01)
    assert value(result, "mpjpe_median") == pytest.approx(90.0, abs=0.01)
    assert value(result, "pve") == pytest.approx(90.0, abs=0.01)
    assert value(result, "root_mpjpe") == pytest.approx(0.0, abs=0.01)
    assert value(result, "pck_all") == 100.0  # relative to the root
    assert value(result, "itop_map_all") == pytest.approx(50.0)  # 10 cm, absolute
    assert value(result, "sigma_coverage") == pytest.approx(50.0)  # 50 mm is within 2.5 x 50 mm, 130 mm is not
    assert result.summary["joints"]["l_knee"]["mean_mm"] == pytest.approx(90.0, abs=0.01)


def test_hidden_joints_are_told_from_those_in_view(body, two):
    visible = np.arange(24) < 6
    only = dataclasses.replace(two, people=(dataclasses.replace(two.people[0], joint_visible=visible),))
    joints = only.people[0].joints + np.where(visible[:, None], [0.01, 0, 0], [0, 0, 0.04]).astype(np.float32)
    person = dataclasses.replace(found(body, only.people[0]), joints=joints)
    result = evaluate([only], FakePipeline(body, [only], lambda *_: [person]), COLD)
    assert value(result, "mpjpe_visible") == pytest.approx(10.0, abs=0.01)
    assert value(result, "mpjpe_hidden") == pytest.approx(40.0, abs=0.01)
    assert value(result, "mpjpe") == pytest.approx((6 * 10 + 18 * 40) / 24, abs=0.01)


def test_missed_people_count_in_all_and_not_in_matched(body, two):
    pipeline = FakePipeline(body, [two], lambda _, true: [found(body, true.people[0])])
    result = evaluate([two], pipeline, COLD)
    assert value(result, "recall") == 50.0 and value(result, "precision") == 100.0
    assert value(result, "pck_all") == 50.0 and value(result, "pck_matched") == 100.0
    assert value(result, "itop_map_all") == 50.0 and value(result, "itop_map_matched") == 100.0
    assert value(result, "mask_iou_all") == 50.0 and value(result, "mask_iou_matched") == 100.0
    assert value(result, "depth_order_all") == 0.0
    assert result.summary["metrics"]["depth_order"] == {"value": None, "unit": "%", "count": 0}  # no pair was found
    assert result.summary["metrics"]["mpjpe"]["count"] == 1


def test_predictions_of_hidden_people_count_nowhere(body, two):
    frame = dataclasses.replace(two, people=(two.people[0], hidden(two.people[1], 0.02)))
    pipeline = FakePipeline(body, [frame], lambda _, true: [found(body, p) for p in true.people])
    result = evaluate([frame], pipeline, COLD)
    assert result.summary["people"] == 1 and result.summary["predictions_of_hidden_people"] == 1
    assert value(result, "precision") == value(result, "recall") == value(result, "foreground_iou") == 100.0


def test_nobody_there_and_nobody_found(body):
    empty = true_frame(body, ())
    result = evaluate([empty], FakePipeline(body, [empty], lambda *_: []), COLD)
    assert result.summary["people"] == 0
    assert value(result, "recall") is None and value(result, "precision") is None
    assert value(result, "false_per_frame") == 0.0
    assert "mpjpe" not in result.summary["metrics"]
    assert json.loads(json.dumps(result.summary, allow_nan=False)) == result.summary


def test_no_frame_at_all(body):
    result = evaluate([], FakePipeline(body, [], lambda *_: []), COLD)
    assert result.summary["frames"] == result.summary["sequences"] == 0


def test_wrong_depth_order_and_collisions(body):
    frame = true_frame(body, (1, 2), places={2: (0.9, 3.0)})  # 0.2 m farther than person 1
    swapped = FakePipeline(
        body, [frame], lambda _, t: [found(body, t.people[0], (0, 0, 0.3)), found(body, t.people[1])]
    )
    assert value(evaluate([frame], swapped, COLD), "depth_order") == 0.0

    def pushed(_: int, true: TrueFrame):  # person 2 into person 1, less than the gate away from its place
        return [found(body, true.people[0]), found(body, true.people[0], (0.2, 0, 0), new_id=2)]

    result = evaluate([frame], FakePipeline(body, [frame], pushed), COLD)
    assert value(result, "collisions") == 100.0  # one pair in one frame
    assert 20 < value(result, "penetration_max") < 200


def test_surface_distances_are_measured_when_asked(body, two):
    only = dataclasses.replace(two, people=two.people[:1])
    pipeline = FakePipeline(body, [only], lambda _, t: [found(body, t.people[0], (0, 0, 0.05))])
    options = EvaluationOptions(MeasuringConfig(surface=True), warm_up=False)
    result = evaluate([only], pipeline, options)
    vertices = only.people[0].vertices
    expected = surface_errors(vertices + np.array([0, 0, 0.05], np.float32), body.faces, vertices, body.faces)
    for name, metres in dataclasses.asdict(expected).items():
        assert value(result, name) == pytest.approx(1000 * metres, abs=0.01)
        assert value(result, name) < 50.0


def test_a_person_turned_round_confuses_front_and_back(body, two):
    from human_recon.body.lbs import pose_body
    from tests.synthetic_scene import standing

    only = dataclasses.replace(two, people=two.people[:1])
    true = only.people[0]
    turned = pose_body(body, standing(body, -0.8, 2.8, yaw=0.3 + math.pi))
    person = dataclasses.replace(found(body, true), vertices=turned.vertices, joints=turned.joints)
    result = evaluate([only], FakePipeline(body, [only], lambda *_: [person]), COLD)
    assert value(result, "front_back_confusion") > 60
    assert value(result, "left_right_confusion") > 60
    assert value(result, "correspondence") > 150
    assert value(result, "part_accuracy") < 60
    assert value(result, "pelvis") < 60


# ---------------------------------------------------------------- over time


def walk(body: BodyModel, count: int = 6) -> list[TrueFrame]:
    """Two people, one of whom accelerates sideways at 1 m/s^2, at 10 Hz."""
    return [
        true_frame(body, (1, 2), stamp_ns=round(t * 1e8), places={1: (-0.8 + 0.5 * (0.1 * t) ** 2, 2.8)})
        for t in range(count)
    ]


def test_tracks_and_motion_over_a_sequence(body):
    frames = walk(body)

    def swap_late(number: int, true: TrueFrame):
        names = {1: 7, 2: 9} if number < 3 else {1: 9, 2: 7}
        return [found(body, p, (0.01, 0, 0), names[p.id]) for p in true.people]

    records: list[FrameMeasures] = []
    result = evaluate(frames, FakePipeline(body, frames, swap_late), COLD, records.append)
    assert value(result, "id_switches") == 2
    assert value(result, "mota") == pytest.approx(100 * (1 - 2 / 12))
    assert value(result, "idf1") == pytest.approx(50.0)
    # Similarity 0.99 at every threshold: each pair agrees in 3 frames of 6 + 6 - 3.
    assert value(result, "hota") == pytest.approx(100 * math.sqrt(1 / 3), abs=1e-3)
    # Accelerations over three successive frames, whatever the ids: frames 0-2, 1-3, 2-4 and 3-5, of two people.
    entry = result.summary["metrics"]["acceleration_error"]
    assert entry["count"] == 8 and entry["value"] == pytest.approx(0.0, abs=0.1)
    assert value(result, "jitter_true") == pytest.approx(500.0, rel=1e-2)  # 1 m/s^2 and 0
    assert value(result, "id_switches_per_minute") == pytest.approx(2 / (6 * 0.1 / 60))
    assert [person.predicted for person in records[0].people] == [1, 2]  # numbered by appearance
    assert [person.predicted for person in records[5].people] == [2, 1]


def test_trembling_is_an_acceleration_error(body):
    frames = [true_frame(body, (1,), stamp_ns=round(t * 1e8)) for t in range(3)]
    tremble = FakePipeline(body, frames, lambda n, true: [found(body, true.people[0], (0.001 * (n == 1), 0, 0))])
    result = evaluate(frames, tremble, COLD)
    assert value(result, "acceleration_error") == pytest.approx(200.0, rel=1e-3)  # 2 x 1 mm / (0.1 s)^2
    assert value(result, "acceleration_error_frame") == pytest.approx(2.0, rel=1e-3)
    assert value(result, "jitter") == pytest.approx(200.0, rel=1e-3) and value(result, "jitter_true") == 0.0


def test_the_pipeline_is_reset_between_sequences_and_warmed_up_once(body):
    frames = [true_frame(body, (1,), stamp_ns=t) for t in range(3)]
    pipeline = FakePipeline(body, frames, lambda _, true: [found(body, true.people[0])])
    evaluate_sequences([frames[:2], frames[2:]], pipeline)
    assert pipeline.calls == ["reset", "0", "reset", "0", "1", "reset", "2"]


def test_identity_in_one_sequence_says_nothing_about_another(body):
    a, b = walk(body, 3), walk(body, 3)

    def names(number: int, true: TrueFrame):  # the tracker goes on counting
        return [found(body, p, new_id=p.id + 10 * (number // 3)) for p in true.people]

    result = evaluate_sequences([a, b], FakePipeline(body, [*a, *b], names), COLD)
    assert value(result, "idf1") == 100.0 and value(result, "id_switches") == 0
    assert result.summary["sequences"] == 2


# ---------------------------------------------------------------- breakdowns, uncertainty, records


def test_breakdowns_add_up(body, two):
    single = true_frame(body, (1,))
    frames = [single, dataclasses.replace(two, people=(two.people[0], hidden(two.people[1], 0.4)))]

    def change(number: int, true: TrueFrame):
        ghost = [found(body, true.people[0], (1.5, 0, 0), new_id=99)] if number == 0 else []
        return [found(body, true.people[0], (0.1 * (number + 1), 0, 0)), *ghost]

    by = evaluate_sequences([[f] for f in frames], FakePipeline(body, frames, change), COLD).summary["breakdowns"]
    seen = {row["bin"]: row for row in by["visibility"]}
    assert {label: row["people"] for label, row in seen.items()} == {"30-50 %": 1, "80-100 %": 2}
    assert seen["30-50 %"]["metrics"]["recall"]["value"] == 0.0
    assert seen["80-100 %"]["metrics"]["mpjpe"]["value"] == pytest.approx(150.0, abs=0.01)
    crowd = {row["bin"]: row for row in by["number of people"]}
    assert crowd["1"]["metrics"]["precision"]["value"] == 50.0
    assert crowd["2"]["metrics"]["precision"]["value"] == 100.0 and crowd["2"]["frames"] == 1
    distances = {row["bin"]: row["people"] for row in by["distance"]}
    assert distances == {"2.5-3.5 m": 2, "3.5-5 m": 1}  # straight distances, 2.9 m and 3.6 m
    assert {row["bin"]: row["people"] for row in by["image border"]} == {"whole": 3}


def test_people_cut_by_the_border_are_told_apart(body):
    frame = true_frame(body, (1, 2), places={2: (2.4, 3.5)})  # half out of the image
    assert [is_cut(frame, person) for person in frame.people] == [False, True]


def test_uncertainty_shrinks_with_the_number_of_frames_and_holds_the_mean(body):
    frames = [true_frame(body, (1,), stamp_ns=t) for t in range(40)]
    offsets = np.random.default_rng(1).uniform(0.0, 0.2, 40)
    pipeline = FakePipeline(body, frames, lambda n, true: [found(body, true.people[0], (offsets[n], 0, 0))])
    entry = evaluate_sequences([[f] for f in frames], pipeline, COLD).summary["metrics"]["mpjpe"]
    low, high = entry["ci95"]
    assert low < entry["value"] < high
    # Of the mean of 40 values: 2 x 1.96 x s / sqrt(40).
    assert high - low == pytest.approx(2 * 1.96 * 1000 * offsets.std() / math.sqrt(40), rel=0.3)
    few = evaluate_sequences([[f] for f in frames[:5]], FakePipeline(body, frames, lambda *_: []), COLD)
    assert "ci95" not in few.summary["metrics"]["recall"]


def test_records_are_lines_of_plain_json(body, two):
    pipeline = FakePipeline(body, [two], lambda _, true: [found(body, true.people[0])])
    records: list[FrameMeasures] = []
    evaluate([two], pipeline, COLD, records.append)
    line = to_line(records[0])
    entry = json.loads(line)
    assert "\n" not in line and "NaN" not in line
    assert [p["predicted"] for p in entry["people"]] == [1, None]
    assert entry["distances"][0][0] == 0.0 and entry["true_ids"] == [1, 2]


def test_the_worst_frames_are_kept_in_order(body):
    frames = [true_frame(body, (1,), stamp_ns=t) for t in range(6)]
    offsets = [0.1, 0.4, 0.2, 0.0, 0.3, 0.9]  # the last one is not matched: a miss and a false person

    pipeline = FakePipeline(body, frames, lambda n, true: [found(body, true.people[0], (offsets[n], 0, 0))])
    options = dataclasses.replace(COLD, worst=3)
    worst = evaluate_sequences([[f] for f in frames], pipeline, options).worst
    assert [(case.kind, case.true.frame.stamp_ns) for case in worst] == [
        ("error", 1), ("error", 4), ("error", 2), ("count", 5)
    ]  # fmt: skip


def test_truth_without_labels_gives_no_pixel_metrics(body, two):
    bare = dataclasses.replace(two, labels=None, parts=None)
    pipeline = FakePipeline(body, [two], lambda _, true: [found(body, p) for p in true.people])
    summary = evaluate([bare], pipeline, COLD).summary
    assert not {"foreground_iou", "mask_iou_all", "part_accuracy", "correspondence"} & set(summary["metrics"])
    assert summary["metrics"]["mpjpe"]["count"] == 2


def test_a_body_of_another_topology_has_joints_only(body, two):
    only = dataclasses.replace(two, people=two.people[:1])
    person = dataclasses.replace(found(body, only.people[0]), vertices=only.people[0].vertices[:100])
    measurer = SequenceMeasurer(body, MeasuringConfig(), 0)
    record = measurer.measure(only, People(only.frame, (person,), np.zeros(only.frame.depth.shape, np.uint16)), 0.1)
    assert "pve" not in record.people[0].errors and record.people[0].errors["mpjpe"] == 0.0


# ---------------------------------------------------------------- worker processes


def test_workers_give_the_same_result_in_the_same_order(body):
    frames = [dataclasses.replace(f, frame=dataclasses.replace(f.frame, stamp_ns=t)) for t, f in
              enumerate([true_frame(body, (1, 2))] * 5)]  # fmt: skip
    alone: list[FrameMeasures] = []
    shared: list[FrameMeasures] = []
    one = evaluate_sequences([[f] for f in frames], PerfectPipeline(), None, alone.append)
    many = evaluate_independent(iter(frames), PerfectPipeline, 2, None, shared.append)

    def without_time(records: list[FrameMeasures]) -> list[FrameMeasures]:
        return [dataclasses.replace(record, seconds=0.0) for record in records]

    assert list(map(to_line, without_time(alone))) == list(map(to_line, without_time(shared)))
    assert [record.stamp_ns for record in shared] == [0, 1, 2, 3, 4]
    assert value(one, "mpjpe") == value(many, "mpjpe") == pytest.approx(3.0, abs=1e-3)
    assert len(many.worst) == len(one.worst) == 5
