"""Several pipelines on the same frames, and the tool that compares variants of one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from human_recon.body.model import BodyModel, default_body_model
from human_recon.cli.settings import flat, with_settings
from human_recon.evaluation.evaluate import EvaluationOptions, evaluate
from human_recon.evaluation.records import plain
from human_recon.evaluation.variants import Variant, evaluate_variants, paired_difference
from human_recon.pipeline import PipelineConfig
from tests.evaluation_support import FakePipeline, found, hidden, true_frame
from tests.test_setup_scripts import load_tool


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


@pytest.fixture(scope="module")
def tool(repository: Path):
    return load_tool(repository, "ablate_fit")


def shifted(body: BodyModel, frames, metres: float) -> FakePipeline:
    return FakePipeline(body, frames, lambda n, true: [found(body, p, (metres, 0, 0)) for p in true.people])


def test_each_is_measured_as_it_would_be_alone(body):
    frames = [true_frame(body, (1, 2), stamp_ns=t) for t in range(2)]
    near, far = (shifted(body, frames, metres) for metres in (0.01, 0.04))
    asked: list[int] = []
    results = evaluate_variants(
        [frames[:1], frames[1:]], {"near": near, "far": far}, None, lambda: asked.append(len(near.calls))
    )
    assert asked == [1, 3], "before the first pipeline sees a frame"
    assert near.calls == far.calls == ["reset", "0", "reset", "1"]
    for name, metres in (("near", 0.01), ("far", 0.04)):
        alone = evaluate(frames[:1], shifted(body, frames, metres), EvaluationOptions(warm_up=False)).summary
        metrics = results[name].summary["metrics"]
        assert metrics["mpjpe"]["value"] == alone["metrics"]["mpjpe"]["value"]
        assert metrics["mpjpe"]["value"] == pytest.approx(1000 * metres, rel=1e-3)
    assert set(results["near"].errors) == {(0, 0, 1), (0, 0, 2), (1, 0, 1), (1, 0, 2)}


def test_differences_are_of_the_same_people(body):
    true = true_frame(body, (1, 2))
    frames = [dataclasses.replace(true, people=(hidden(true.people[0], 0.3), true.people[1]))]

    def one_more(_: int, frame):
        return [found(body, frame.people[0], (0.03, 0, 0)), found(body, frame.people[1], (0.1, 0, 0))]

    results = evaluate_variants(
        [frames],
        {
            "both": FakePipeline(body, frames, one_more),
            "first": FakePipeline(body, frames, lambda _, f: [found(body, f.people[0], (0.05, 0, 0))]),
        },
    )
    difference = paired_difference(results["both"], results["first"], "mpjpe")
    assert difference["count"] == 1 and difference["value"] == pytest.approx(20.0, abs=0.01)
    assert "ci95" not in difference
    nobody = paired_difference(results["both"], results["first"], "mpjpe", least_visibility=0.6)
    assert nobody == {"value": None, "unit": "mm", "count": 0}


def test_the_spread_of_paired_differences_is_that_of_the_frames():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.0, 1.0, 400)  # how hard a frame is says nothing about the difference
    step = rng.normal(0.010, 0.020, 400)
    first = Variant({}, {(k, 0, 1): {"e": hard[k]} for k in range(400)}, {(k, 0, 1): 1.0 for k in range(400)})
    second = dataclasses.replace(first, errors={(k, 0, 1): {"e": hard[k] + step[k]} for k in range(400)})
    found = paired_difference(first, second, "e")
    assert found["value"] == pytest.approx(1000 * step.mean(), abs=1e-3)
    low, high = found["ci95"]
    assert high - low == pytest.approx(2 * 1.96 * 1000 * step.std() / 20, rel=0.15)
    assert low < 10.0 < high


def test_every_variant_is_of_settings_that_there_are_and_changes_one(tool):
    default = dict(flat(PipelineConfig()))
    for part, variants in tool.PARTS.items():
        unchanged = [name for name, settings in variants.items() if not settings]
        assert len(unchanged) == 1, part
        for name, settings in variants.items():
            changed = dict(flat(with_settings(PipelineConfig(), settings, name)))
            different = {key for key in default if default[key] != changed[key]}
            assert different == set(settings), f"{part}, {name}: a setting that is the default already is no variant"


def test_a_question_about_a_frame_is_answered_once(tool):
    class Perception:
        calls = 0

        def detect(self, frame, known=None):
            self.calls += 1
            return self.calls

    perception = Perception()
    shared = tool.SharedPerception(perception)
    assert [shared.detect(None), shared.detect(None, np.zeros((0, 6))), shared.detect(None, np.ones((1, 6)))] == [
        1,
        1,
        2,
    ]
    shared.forget()
    assert shared.detect(None) == 3


def test_a_part_replaces_itself_in_the_file_and_the_table_has_a_line_for_each_variant(body, tool, tmp_path):
    frames = [true_frame(body, (1, 2))]
    results = evaluate_variants([frames], {"a": shifted(body, frames, 0.01), "b": shifted(body, frames, 0.02)})
    content = {"variants": [tool._entry(name, {}, results[name], results["a"]) for name in results]}
    path = tmp_path / "out.json"
    path.write_text('{"other": 1, "track on x": 2}')
    tool.write(path, "track on x", content)
    written = json.loads(path.read_text())
    assert written["other"] == 1
    assert [v["name"] for v in written["track on x"]["variants"]] == ["a", "b"]
    for part in tool.PARTS:
        lines = tool.table(part, written["track on x"]).splitlines()
        assert lines[2].startswith("| a | ") and lines[3].startswith("| b | ") and len(lines) == 4
        assert len({line.count("|") for line in lines}) == 1


def test_figures_show_each_variant_and_both_sides(body, tool, tmp_path):
    frames = [true_frame(body, (1, 2), stamp_ns=t) for t in range(12)]
    results = evaluate_variants(
        [[frame] for frame in frames], {"a": shifted(body, frames, 0.01), "b": shifted(body, frames, 0.02)}
    )
    a, b = (tool._entry(name, {}, results[name], results["a"]) for name in results)
    content = {"variants": [{**a, "name": "all terms"}, {**b, "name": "network alone, no fit"}]}
    files = tool.draw(tmp_path, json.loads(json.dumps(plain(content))))
    assert [file.name for file in files] == ["fit_before_after.png", "fit_ablation.png"]
    for file in files:
        picture = cv2.imread(str(file))
        assert picture is not None and (picture < 128).any()
