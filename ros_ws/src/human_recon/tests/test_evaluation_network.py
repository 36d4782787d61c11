"""What is measured of a network's own word, of confidences and deviations, of clear people, empty scenes, failures."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.evaluation import figures
from human_recon.evaluation.aggregate import metrics_of
from human_recon.evaluation.evaluate import EvaluationOptions, evaluate, evaluate_independent, evaluate_sequences
from human_recon.evaluation.measuring import MeasuringConfig, SequenceMeasurer, seen_from
from human_recon.evaluation.metrics import calibration
from human_recon.evaluation.metrics.correspondence import front_back_sides, left_right_sides
from human_recon.evaluation.records import FrameMeasures
from human_recon.evaluation.report import render_report
from human_recon.evaluation.rest_surface import UNIT, RestSurface
from human_recon.evaluation.tables import FrameTable, PeopleTable
from human_recon.geometry.rasterizer import rasterize
from human_recon.ground_truth import TrueFrame
from human_recon.people import People
from tests.evaluation_support import FakePipeline, OddFailsPipeline, found, hidden, true_frame
from tests.synthetic_scene import CAMERA, standing

COLD = EvaluationOptions(warm_up=False)


def with_vertices(body: BodyModel, frame: TrueFrame) -> TrueFrame:
    """The frame, knowing a vertex of the triangle that each pixel shows."""
    vertices = np.full(frame.frame.depth.shape, -1, np.int32)
    assert frame.labels is not None
    raster = rasterize(np.stack([p.vertices for p in frame.people]), body.faces, CAMERA)
    on = frame.labels > 0
    vertices[on] = body.faces[raster.face[on], 0]
    return dataclasses.replace(frame, vertices=vertices)


@pytest.fixture(scope="module")
def two(body: BodyModel) -> TrueFrame:
    return with_vertices(body, true_frame(body, (1, 2)))


class Network(FakePipeline):
    """Finds some people, and says of each pixel what ``word`` makes of the true parts and vertices."""

    def __init__(self, body: BodyModel, frames, change, word) -> None:
        super().__init__(body, frames, change)
        self._word = word

    def process(self, frame: Frame) -> People:
        people = super().process(frame)
        true = self._truth[id(frame)][1]
        parts, vertices = self._word(true, true.parts.copy(), np.array(true.vertices, np.int16))
        return dataclasses.replace(people, parts=parts, vertices=vertices)


def everybody(body: BodyModel):
    return lambda _, true: [found(body, p) for p in true.people]


def only_first(body: BodyModel):
    return lambda _, true: [found(body, true.people[0])]


def metrics(evaluation) -> dict[str, float]:
    return {name: entry["value"] for name, entry in evaluation.summary["metrics"].items()}


# ---------------------------------------------------------------- a network's own word


def test_the_truth_said_by_a_network_has_no_error(body, two):
    records: list[FrameMeasures] = []
    pipeline = Network(body, [two], everybody(body), lambda _, parts, vertices: (parts, vertices))
    values = metrics(evaluate([two], pipeline, COLD, records.append))
    assert values["network_part_accuracy"] == values["network_part_accuracy_mean"] == 100.0
    assert values["network_part_accuracy_all"] == values["network_placed"] == 100.0
    assert values["network_correspondence"] == values["network_correspondence_worst"] == 0.0
    assert values["network_left_right_confusion"] == values["network_front_back_confusion"] == 0.0
    assert "network_correspondence_geodesic" not in values  # no table was asked for
    for person in records[0].people:
        pixels = int(((two.labels == person.id) & (two.frame.depth > 0)).sum())
        assert person.parts["network_all"] == person.parts["fitted_all"] == pixels
        assert person.network["points"] == 500


def test_left_for_right_is_measured_straight_and_along_the_surface(body, two):
    mirror = np.asarray(body.mirror_vertices)
    numbers = np.arange(body.vertex_count, dtype=np.uint16)
    table = 3 * numbers[:, None] + 5 * (numbers % 101)  # true, predicted
    rest = RestSurface.of(body, table)

    only = dataclasses.replace(two, people=two.people[:1], labels=np.where(two.labels == 1, two.labels, 0))
    on = (only.labels == 1) & (only.frame.depth > 0)
    pixels = np.flatnonzero(on)
    pixels = pixels[np.linspace(0, len(pixels) - 1, 100).astype(int)]
    true = only.vertices.ravel()[pixels]
    people = People(
        only.frame, (found(body, only.people[0]),), only.labels,
        vertices=np.where(only.vertices >= 0, mirror[np.maximum(only.vertices, 0)], -1).astype(np.int16),
    )  # fmt: skip
    record = SequenceMeasurer(body, MeasuringConfig(points=100), 0, rest).measure(only, people, 0.1)
    network = record.people[0].network
    x, y, z = body.v_template[true].T.astype(float)
    straight = np.linalg.norm(np.stack([2 * x, 0 * y, 0 * z]), axis=0)
    assert network["correspondence"] == pytest.approx(straight.mean(), abs=1e-5)
    assert network["geodesic"] == pytest.approx(UNIT * table[true, mirror[true]].mean())
    sides = left_right_sides(body)
    assert network["left_right_sided"] == network["left_right_confused"] == (sides[true] != 0).sum() > 50
    assert network["front_back_sided"] == (front_back_sides(body)[true] != 0).sum()
    assert network["front_back_confused"] == 0
    assert sum(record.histograms["network"]) == sum(record.histograms["network_geodesic"]) == 100
    bins = np.minimum((straight / 0.01).astype(int), 50)
    np.testing.assert_array_equal(record.histograms["network"], np.bincount(bins, minlength=51))


def test_wrong_parts_and_pixels_without_a_place_are_counted(body, two):
    def word(true, parts, vertices):
        mine = np.flatnonzero(true.labels.ravel() == 1)
        parts.ravel()[mine[::4]] = 255  # a quarter of person 1
        parts.ravel()[mine[1::4]] = (parts.ravel()[mine[1::4]] + 1) % 24  # and another
        vertices[true.labels == 2] = -1
        return parts, vertices

    result = evaluate([two], Network(body, [two], everybody(body), word), COLD)
    values = metrics(result)
    count = {i: ((two.labels == i) & (two.frame.depth > 0)).sum() for i in (1, 2)}
    expected = 100 * (0.5 * count[1] + count[2]) / (count[1] + count[2])
    assert values["network_part_accuracy"] == pytest.approx(expected, abs=0.1)
    assert values["network_placed"] == pytest.approx(50.0)  # 500 points of either
    assert result.summary["metrics"]["network_correspondence"]["count"] == 1
    curve = result.summary["curves"]["network_correspondence"]
    assert curve["points"][0] == 100.0 and curve["all"][-1] == pytest.approx(50.0)


def test_of_missed_people_it_counts_in_all_only(body, two):
    def word(true, parts, vertices):
        return np.where(true.labels == 1, parts, 255).astype(np.uint8), np.where(true.labels == 1, vertices, 0)

    result = evaluate([two], Network(body, [two], only_first(body), word), COLD)
    values = metrics(result)
    count = {i: ((two.labels == i) & (two.frame.depth > 0)).sum() for i in (1, 2)}
    assert values["network_part_accuracy"] == 100.0
    assert values["network_part_accuracy_all"] == pytest.approx(100 * count[1] / (count[1] + count[2]), abs=1e-3)
    assert values["network_correspondence"] == 0.0
    assert result.summary["curves"]["network_correspondence"]["all"][-1] == pytest.approx(50.0)


def test_fitted_bodies_are_measured_as_without_a_network(body, two):
    shifted = lambda _, true: [found(body, p, (0.1, 0, 0)) for p in true.people]  # noqa: E731
    alone = metrics(evaluate([two], FakePipeline(body, [two], shifted), COLD))
    beside = metrics(evaluate([two], Network(body, [two], shifted, lambda _, p, v: (p, v)), COLD))
    assert {name: value for name, value in beside.items() if not name.startswith(("network", "latency"))} == {
        name: value for name, value in alone.items() if not name.startswith("latency")
    }
    assert alone["correspondence"] > 20 and alone["part_accuracy"] < 95
    assert not any(name.startswith("network") for name in alone)


def test_without_recorded_vertices_the_nearest_of_the_true_body_stands_in(body, two):
    pipeline = Network(body, [two], everybody(body), lambda _, parts, vertices: (parts, vertices))
    bare = dataclasses.replace(two, vertices=None)
    pipeline._truth[id(bare.frame)] = (0, two)  # the network knows, the truth does not
    assert 0 < metrics(evaluate([bare], pipeline, COLD))["network_correspondence"] < 30


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"parts": np.zeros((3, 4), np.uint8)}, r"People.parts is \[3, 4\], labels are \[240, 320\]"),
        (
            {"vertices": np.full((240, 320), 7000, np.int16)},
            "People.vertices is from 7000 to 7000, not from -1 to 6889",
        ),
        ({"vertices": np.full((240, 320), -2, np.int16)}, "not from -1"),
    ],
)
def test_images_that_cannot_be_are_refused(body, two, change, complaint):
    people = dataclasses.replace(People(two.frame, (), np.zeros((240, 320), np.uint16)), **change)
    with pytest.raises(ValueError, match=complaint):
        SequenceMeasurer(body, MeasuringConfig(), 0).measure(two, people, 0.1)


# ---------------------------------------------------------------- confidence, deviations, clear people, empty scenes


def test_people_seen_clearly_are_counted_apart(body, two):
    dim = dataclasses.replace(two, people=(two.people[0], hidden(two.people[1], 0.39)))
    ghost = lambda _, t: [found(body, t.people[0]), found(body, t.people[0], (0, 0, 1.5), 9)]  # noqa: E731
    values = metrics(evaluate([dim], FakePipeline(body, [dim], ghost), COLD))
    assert (values["recall"], values["recall_clear"]) == (50.0, 100.0)
    assert values["precision"] == values["precision_clear"] == 50.0
    assert values["f1"] == 50.0 and values["f1_clear"] == pytest.approx(66.6667)
    clear = dataclasses.replace(two, people=(two.people[0], hidden(two.people[1], 0.4)))
    assert metrics(evaluate([clear], FakePipeline(body, [clear], ghost), COLD))["recall_clear"] == 50.0
    # A dim person who is found is neither right nor wrong.
    both = metrics(evaluate([dim], FakePipeline(body, [dim], everybody(body)), COLD))
    assert both["f1_clear"] == 100.0
    of_nobody = evaluate([dim], FakePipeline(body, [dim], everybody(body)), COLD).summary["metrics"]["f1_clear"]
    assert of_nobody["count"] == 1


def test_false_people_are_counted_per_hundred_empty_scenes(body):
    empty, one, all_hidden = (
        true_frame(body, ()), true_frame(body, (1,)),
        dataclasses.replace(f := true_frame(body, (1,)), people=(hidden(f.people[0], 0.0),)),
    )  # fmt: skip
    somebody = one.people[0]

    def ghosts(number: int, _: TrueFrame):
        return [found(body, somebody, (0, 0, 1.0 + k), 5 + k) for k in range((3, 0, 1, 2)[number])]

    frames = [empty, dataclasses.replace(empty, frame=dataclasses.replace(empty.frame)), one, all_hidden]
    result = evaluate_sequences([[f] for f in frames], FakePipeline(body, frames, ghosts), COLD)
    entry = result.summary["metrics"]["false_per_100_empty"]
    assert entry == {"value": 150.0, "unit": "per 100 frames", "count": 2}
    assert metrics(result)["false_per_frame"] == pytest.approx(6 / 4)
    filled = evaluate([one], FakePipeline(body, [one], everybody(body)), COLD)
    assert "false_per_100_empty" not in metrics(filled)


def test_confidences_of_right_and_of_wrong_predictions(body, two):
    def change(_, true):
        right = dataclasses.replace(found(body, true.people[0]), confidence=0.8)
        wrong = dataclasses.replace(found(body, true.people[0], (0, 0, 1.5), 9), confidence=0.4)
        return [right, wrong]

    result = evaluate([two], FakePipeline(body, [two], change), COLD)
    section = result.summary["calibration"]
    assert section["confidence"]["counts"] == [0, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert section["confidence"]["right"][4] == 0.0 and section["confidence"]["right"][8] == 1.0
    assert metrics(result)["confidence_ece"] == pytest.approx(30.0)  # (0.4 + 0.2) / 2
    assert metrics(result)["confidence_brier"] == pytest.approx((0.16 + 0.04) / 2)
    threshold = section["threshold"]
    at = dict(zip(threshold["threshold"], zip(threshold["precision"], threshold["recall"], strict=True), strict=True))
    assert at[0.2] == (50.0, 50.0) and at[0.5] == (100.0, 50.0) and at[0.9] == (None, 0.0)


def test_reliability_by_hand():
    found_ = calibration.reliability(np.array([0.05, 0.95, 1.0, 0.91]), np.array([False, True, True, False]))
    assert found_.count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found_.right[9] == pytest.approx(2 / 3) and math.isnan(found_.right[4])
    assert found_.expected_error == pytest.approx((0.05 + 3 * abs(2.86 / 3 - 2 / 3)) / 4)
    assert math.isnan(calibration.reliability(np.zeros(0), np.zeros(0)).expected_error)
    assert math.isnan(calibration.brier_score(np.zeros(0), np.zeros(0)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30))
def test_calibrated_confidences_have_a_small_error_and_overconfident_ones_their_bias(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0, 0.8, 20_000)
    right = rng.random(20_000) < confidence
    assert calibration.reliability(confidence, right).expected_error < 0.03
    assert calibration.reliability(confidence + 0.2, right).expected_error == pytest.approx(0.2, abs=0.03)


def test_coordinates_within_sigmas():
    true = np.zeros((2, 3))
    predicted = np.array([[0.05, 0.15, 0.25], [0.0, 0.35, 0.1]])
    assert calibration.within_sigmas(predicted, true, np.array([0.1, 0.1])) == [3, 4, 5]
    assert calibration.within_sigmas(predicted, true, np.array([0.1, 0.2])) == [3, 5, 6]
    rng = np.random.default_rng(0)
    shares = np.array(calibration.within_sigmas(rng.normal(0, 0.03, (50_000, 3)), 0.0, np.full(50_000, 0.03))) / 150_000
    np.testing.assert_allclose(shares, calibration.NORMAL_SHARES, atol=0.005)


def test_right_sigmas_lie_on_the_diagonal():
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.01, 0.1, 30_000)
    errors = np.linalg.norm(rng.normal(size=(30_000, 3)) * sigma[:, None], axis=1)
    bins = calibration.sigma_reliability(np.append(errors, np.nan), np.append(sigma, 0.1))
    np.testing.assert_allclose(bins.measured, bins.predicted, rtol=0.05)
    assert bins.count.sum() == 30_000 and (np.diff(bins.predicted) > 0).all()
    assert not len(calibration.sigma_reliability(np.full(3, np.nan), np.ones(3)).count)


def test_shares_within_sigmas_in_an_evaluation(body, two):
    # All coordinates of x are 1.5 sigma off, of y 0.5 sigma, of z 2.5 sigma; sigma is 5 cm.
    shift = (0.075, 0.025, 0.125)
    values = metrics(evaluate([two], FakePipeline(body, [two], lambda _, t: [
        found(body, p, shift) for p in t.people]), COLD))  # fmt: skip
    shares = [values[f"within_{k}_sigma"] for k in (1, 2, 3)]
    assert shares == pytest.approx([100 / 3, 200 / 3, 100.0], abs=1e-3)


# ---------------------------------------------------------------- the side from which somebody is seen


@pytest.mark.parametrize("yaw", [0.0, 30.0, 90.0, 150.0, -60.0, -120.0, 179.0])
def test_the_side_seen_of_somebody_who_stands(body, yaw):
    frame = true_frame(body, (1,), places={1: (0.0, 3.0)})
    state = standing(body, 0.0, 3.0, math.radians(yaw))
    person = dataclasses.replace(frame.people[0], state=state, joints=pose_body(body, state).joints)
    # Seen from further left on the body's own circle when it turns to its right.
    direction = pose_body(body, state)
    left = direction.joints[1] - direction.joints[2]  # from the right hip to the left one
    expected = math.degrees(math.atan2(-left[2], 1e-9 + math.copysign(abs(left[0]), math.cos(math.radians(yaw)))))
    assert seen_from(person) == pytest.approx(expected, abs=6.0)


def test_turning_the_camera_does_not_change_the_side(body):
    person = true_frame(body, (1,)).people[0]
    rng = np.random.default_rng(4)
    before = seen_from(person)
    for _ in range(5):
        turn = cv2.Rodrigues(rng.normal(0, 1, 3))[0]
        pose = person.state.pose.copy()
        pose[0] = cv2.Rodrigues(turn @ cv2.Rodrigues(pose[0])[0])[0].ravel()
        turned = dataclasses.replace(
            person, state=dataclasses.replace(person.state, pose=pose), joints=person.joints @ turn.T
        )
        assert seen_from(turned) == pytest.approx(before, abs=1e-3)


# ---------------------------------------------------------------- against


def test_bins_hold_who_they_say_and_who_is_not_there(body):
    frame = true_frame(body, (1, 2, 3))  # 2.9, 3.6 and 4.3 m away
    ghost = lambda _, t: [*(found(body, p) for p in t.people[:2]), found(body, t.people[0], (0, 0, 1.5), 9)]  # noqa: E731
    by = evaluate([frame], FakePipeline(body, [frame], ghost), COLD).summary["against"]
    distance = {row["bin"]: (row["people"], row["metrics"]) for row in by["distance"]}
    assert {name: people for name, (people, _) in distance.items()} == {"2.5-3": 1, "3.5-4": 1, "4-5": 1}
    assert [distance[name][1]["recall"]["value"] for name in distance] == [100.0, 100.0, 0.0]
    assert distance["2.5-3"][1]["precision"]["value"] == 100.0
    assert distance["4-5"][1]["precision"]["value"] == 0.0  # the ghost
    assert "foreground_iou" not in distance["4-5"][1]
    people = {row["bin"]: row for row in by["people"]}
    assert set(people) == {"3"} and people["3"]["metrics"]["foreground_iou"]["value"] is not None
    assert people["3"]["metrics"]["precision"]["value"] == pytest.approx(66.6667)
    assert [row["bin"] for row in by["visibility"]] == ["90-100"]
    assert "precision" not in by["visibility"][0]["metrics"]
    assert sum(row["people"] for row in by["yaw"]) == 3


def test_the_back_is_one_bin(body):
    frames = [
        dataclasses.replace(f, people=(dataclasses.replace(f.people[0], state=s, joints=pose_body(body, s).joints),))
        for yaw in (175, -175, 0)
        for f, s in [(true_frame(body, (1,)), standing(body, 0.0, 3.0, math.radians(yaw)))]
    ]
    change = lambda _, t: [found(body, t.people[0])]  # noqa: E731
    rows = evaluate_sequences([[f] for f in frames], FakePipeline(body, frames, change), COLD).summary["against"]["yaw"]
    assert {row["bin"]: row["people"] for row in rows} == {"back": 2, "front": 1}


def test_metrics_of_some_are_those_of_an_evaluation_of_them_alone(body):
    frames = [true_frame(body, (1, 2), stamp_ns=t) for t in range(12)]
    offsets = np.random.default_rng(3).uniform(0, 0.6, (12, 2))  # beyond the gate: missed

    def change(number: int, true: TrueFrame):
        return [found(body, p, (0, 0, offsets[number, p.id - 1])) for p in true.people]

    records: list[FrameMeasures] = []
    evaluate_sequences([[f] for f in frames], FakePipeline(body, frames, change), COLD, records.append)
    both, near, table = PeopleTable(), PeopleTable(), FrameTable()
    for record in records:
        table.add(record, (record.sequence, 0))
        for person in record.people:
            both.add(person, 2, table.blocks - 1)
            if person.id == 1:
                near.add(person, 2, table.blocks - 1)
    columns = both.columns()
    some = metrics_of(columns, table.columns(), columns["distance"] < 3.2, None)
    assert some == metrics_of(near.columns(), table.columns(), None, None)
    errors = 1000 * offsets[offsets[:, 0] < 0.5, 0]
    assert some["mpjpe"]["value"] == pytest.approx(errors.mean(), abs=0.01)
    assert some["mpjpe"]["ci95"][0] < errors.mean() < some["mpjpe"]["ci95"][1] or len(errors) < 10


# ---------------------------------------------------------------- failures


class Fails(FakePipeline):
    """Raises on some stamps."""

    stamps: tuple[int, ...] = ()

    def process(self, frame: Frame) -> People:
        if frame.stamp_ns in self.stamps:
            raise ValueError(f"frame {frame.stamp_ns}\nis odd")
        return super().process(frame)


def test_a_frame_on_which_the_pipeline_raises_is_one_in_which_nobody_was_found(body):
    frames = [true_frame(body, (1,), stamp_ns=t) for t in range(4)]
    pipeline = Fails(body, frames, everybody(body))
    pipeline.stamps = (0, 2)
    records: list[FrameMeasures] = []
    result = evaluate(frames, pipeline, EvaluationOptions(), records.append)  # also while warming up
    assert result.summary["failures"] == {
        "frames": 2,
        "first": [
            {"sequence": 0, "frame": 0, "error": "ValueError: frame 0 is odd"},
            {"sequence": 0, "frame": 2, "error": "ValueError: frame 2 is odd"},
        ],
    }
    values = metrics(result)
    assert values["recall"] == 50.0 and values["precision"] == 100.0 and values["failed_frames"] == 2
    assert result.summary["metrics"]["latency_median"]["count"] == 2
    assert [record.failure for record in records][1::2] == [None, None]
    assert values["foreground_iou"] == pytest.approx(50.0)


def test_ctrl_c_is_no_failure(body):
    frame = true_frame(body, (1,))
    pipeline = FakePipeline(body, [frame], everybody(body))
    pipeline.process = lambda _: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        evaluate([frame], pipeline, COLD)


def test_failures_in_workers_are_counted_too(body):
    frame = true_frame(body, (1, 2))
    frames = [dataclasses.replace(frame, frame=dataclasses.replace(frame.frame, stamp_ns=t)) for t in range(3)]
    result = evaluate_independent(iter(frames), OddFailsPipeline, 1, EvaluationOptions(worst=0))
    assert result.summary["failures"]["first"] == [{"sequence": 1, "frame": 0, "error": "RuntimeError: odd"}]
    assert metrics(result)["recall"] == pytest.approx(100 * 4 / 6, abs=1e-3)


# ---------------------------------------------------------------- figures


@pytest.fixture(scope="module")
def results(body, two):
    frames = [dataclasses.replace(two, frame=dataclasses.replace(two.frame, stamp_ns=t)) for t in range(12)]
    shifts = np.random.default_rng(5).uniform(0, 0.3, 12)

    def change(number: int, true: TrueFrame):
        return [found(body, p, (shifts[number], 0, 0)) for p in true.people[: 1 + number % 2]]

    pipeline = Network(body, frames, change, lambda _, parts, vertices: (parts, vertices))
    return evaluate_sequences([[f] for f in frames], pipeline, COLD).summary


def test_every_figure_is_drawn_once_for_one_and_for_two(results, tmp_path):
    names = {f"against_{name}" for name in ("distance", "visibility", "people", "yaw")}
    drawn = {name for name, *_ in figures.figures([("one", results)])}
    assert drawn == names | {"calibration", "correspondence", "parts"}
    few = {**results, "against": {"yaw": results["against"]["yaw"]}, "parts": {}, "network_parts": {}}
    pictures = figures.draw_figures([("one", few), ("other", few)])
    assert set(pictures) == {"against_yaw", "calibration", "correspondence"}
    figures.write_figures(tmp_path / "new", pictures)
    for name in pictures:
        image = cv2.imread(str(tmp_path / "new" / f"{name}.png"))
        assert image.shape[1] > 1000 and image.std() > 10


def test_results_of_older_versions_draw_what_they_have(results):
    old = {key: value for key, value in results.items() if key not in ("against", "calibration", "network_parts")}
    old["curves"] = {"pck": results["curves"]["pck"]}
    assert [name for name, *_ in figures.figures([("old", old)])] == ["parts"]
    assert {name for name, *_ in figures.figures([("old", old), ("new", results)])} >= {"against_yaw", "calibration"}


def test_the_report_shows_figures_and_failures(results, tmp_path):
    content = {
        "source": {"name": "x"}, "pipeline": {}, "environment": {}, "seconds": 1.0, "workers": 1,
        "options": {"matching.gate": 0.5, "matching.least_visibility": 0.1},
        "results": {**results, "people": 0, "joints": {}, "metrics": {}},
    }  # fmt: skip
    content["results"]["failures"] = {"frames": 1, "first": [{"sequence": 0, "frame": 3, "error": "<b>"}]}
    html = render_report(content, tmp_path, (), np.zeros((0, 3), np.int32), {"calibration": b"PNG"})
    assert "data:image/png;base64,UE5H" in html and "Calibration</h2>" in html
    assert "failed on 1 of 12 frames" in html and "frame 3: &lt;b&gt;" in html
