"""`human-recon evaluate`: what it writes, what it refuses, and how it compares."""

from __future__ import annotations

import copy
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

import human_recon.io
from human_recon.body.model import BodyModel
from human_recon.cli import evaluate as command
from human_recon.cli.errors import CommandError
from human_recon.cli.main import main
from human_recon.cli.settings import flat, with_settings
from human_recon.evaluation import figures
from human_recon.evaluation.compare import compare, differences, format_table
from human_recon.evaluation.environment import describe_environment
from human_recon.evaluation.files import read_metrics
from human_recon.ground_truth import TrueFrame
from human_recon.io.errors import InputError
from human_recon.pipeline import PipelineConfig
from tests.evaluation_support import FakePipeline, found, no_distances, true_frame

PICTURE = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def distances(body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    no_distances(body, folder)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, distances: Path) -> None:
    """No half a minute for geodesic distances, no seconds for figures: other tests have these."""
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(distances))
    monkeypatch.setattr(figures, "draw_figures", lambda named: {f"of_{len(named)}": PICTURE})


@pytest.fixture(scope="module")
def frames(body: BodyModel) -> list[TrueFrame]:
    return [true_frame(body, (1, 2), round(t * 1e8)) for t in range(4)]


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: BodyModel, frames: list[TrueFrame]) -> Path:
    """A "bag" of four frames, and a pipeline that finds person 1 of them 50 mm off; real bags are in another test."""
    path = tmp_path / "walk"
    path.mkdir()
    reader = types.ModuleType("human_recon.io.ground_truth")
    reader.read_true_frames = lambda source, *_, **__: iter(frames) if Path(source) == path else iter(())
    monkeypatch.setitem(sys.modules, "human_recon.io.ground_truth", reader)
    monkeypatch.setattr(human_recon.io, "ground_truth", reader, raising=False)
    pipeline = FakePipeline(body, frames, lambda _, true: [found(body, true.people[0], (0.03, 0.04, 0))])
    monkeypatch.setattr(command, "make_pipeline", lambda config, path: pipeline)
    monkeypatch.setattr(command, "_fake", pipeline, raising=False)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    """Run the command; it must end with one line on stderr, which is returned."""
    assert main(["evaluate", *words]) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("human-recon: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_bag_gives_metrics_records_and_a_report(bag, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", str(bag), "-o", str(out), "--set", "track=false", "--worst", "1"]) == 0
    assert {path.name for path in out.iterdir()} == {"metrics.json", "records.jsonl", "report.html"}
    content = read_metrics(out)
    assert content["source"] == {"name": "walk", "kind": "recording"}
    assert content["results"]["frames"] == 4 and content["results"]["sequences"] == 1
    assert content["results"]["metrics"]["mpjpe"]["value"] == pytest.approx(50.0, abs=0.01)
    assert content["results"]["metrics"]["recall"]["value"] == 50.0
    assert content["pipeline"]["settings"]["track"] is False
    assert content["options"]["matching.gate"] == 0.5
    assert {"cpu", "cores", "load_1min", "versions", "date"} <= set(content["environment"])
    assert len((out / "records.jsonl").read_text().splitlines()) == 4
    assert "MPJPE" in capsys.readouterr().out
    # A second run replaces the first.
    assert main(["evaluate", str(bag), "-o", str(out), "--limit", "2", "--no-report"]) == 0
    assert {path.name for path in out.iterdir()} == {"metrics.json", "records.jsonl"}
    content = read_metrics(out)
    assert content["results"]["frames"] == 2 and content["source"]["limit"] == 2


def test_independent_frames_are_forgotten_between(bag, tmp_path):
    assert main(["evaluate", str(bag), "-o", str(tmp_path / "o"), "--independent", "--no-report"]) == 0
    assert command._fake.calls.count("reset") == 4 + 1  # one after warming up
    content = read_metrics(tmp_path / "o")
    assert content["results"]["sequences"] == 4 and "hota" not in content["results"]["metrics"]


def test_a_limit_of_zero_people_or_frames_is_refused(bag, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", str(bag), "-o", str(tmp_path / "o"), "--limit", "0"])
    assert "0 is not a positive number" in capsys.readouterr().err


def test_what_is_missing_or_wrong_is_said_in_one_line(bag, tmp_path, capsys):
    out = str(tmp_path / "o")
    assert "SOURCE is missing" in refused(capsys)
    assert "-o OUT is missing" in refused(capsys, str(bag))
    assert "gate is -1" in refused(capsys, str(bag), "-o", out, "--gate", "-1")
    assert "least_visibility is 3" in refused(capsys, str(bag), "-o", out, "--min-visibility", "3")
    assert "--workers: each frame of a sequence" in refused(capsys, str(bag), "-o", out, "--workers", "2")
    text = refused(capsys, str(bag), "-o", out, "--set", "max_poeple=3")
    assert "no setting 'max_poeple'" in text and "max_people" in text
    assert not (tmp_path / "o").exists()


def test_a_mistyped_benchmark_lists_those_there_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    benchmarks = types.ModuleType("human_recon.simulation.benchmarks")
    benchmarks.BENCHMARKS = {"single": None, "crowd": None}
    benchmarks.open_benchmark = None
    monkeypatch.setitem(sys.modules, "human_recon.simulation.benchmarks", benchmarks)
    text = refused(capsys, "croud", "-o", str(tmp_path / "o"))
    assert "no such benchmark" in text and "single, crowd" in text


def test_a_benchmark_is_identified_in_the_result(bag, frames, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Open:
        description: ClassVar = {"version": 3, "seed": 7, "assets": "motion:none+wardrobe:none"}

        def __len__(self) -> int:
            return len(frames)

        def sequences(self) -> Iterator[Iterator[TrueFrame]]:
            return (iter([frame]) for frame in frames)

    benchmarks = types.ModuleType("human_recon.simulation.benchmarks")
    benchmarks.BENCHMARKS = {"single": None}
    asked = []
    benchmarks.open_benchmark = lambda name, assets: asked.append((name, assets)) or Open()
    monkeypatch.setitem(sys.modules, "human_recon.simulation.benchmarks", benchmarks)
    assert main(["evaluate", "single", "-o", str(tmp_path / "o"), "--no-report", "--limit", "3"]) == 0
    content = read_metrics(tmp_path / "o")
    assert content["source"] == {"name": "single", "kind": "benchmark", **Open.description, "limit": 3}
    assert content["results"]["frames"] == 3
    assert asked[0][0] == "single"
    assert "no clothes" in capsys.readouterr().err or asked[0][1].wardrobe is not None
    (tmp_path / "single").mkdir()  # a directory of that name has to be asked for as ./single
    assert main(["evaluate", "single", "-o", str(tmp_path / "o"), "--no-report", "--limit", "1"]) == 0
    assert "no frame with truth" in refused(capsys, "./single", "-o", str(tmp_path / "q"))
    text = refused(capsys, "single", "-o", str(tmp_path / "p"), "--data", str(tmp_path / "nowhere"))
    assert "no such directory" in text


def test_a_source_without_truth_is_an_error_and_leaves_nothing(bag, tmp_path, capsys):
    empty = tmp_path / "other"
    empty.mkdir()
    assert "no frame with truth" in refused(capsys, str(empty), "-o", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_figures_go_where_they_are_asked_for(bag, tmp_path, capsys):
    out, plots = tmp_path / "out", tmp_path / "plots"
    plots.mkdir()
    (plots / "mine.txt").write_text("kept")
    assert main(["evaluate", str(bag), "-o", str(out), "--no-report", "--plots", str(plots)]) == 0
    assert {path.name for path in plots.iterdir()} == {"mine.txt", "of_1.png"}
    assert (plots / "of_1.png").read_bytes() == PICTURE
    assert main(["evaluate", "--compare", str(out), str(out), "--plots", str(plots)]) == 0
    assert (plots / "of_2.png").exists()
    text = refused(capsys, str(bag), "-o", str(out), "--plots", str(plots / "mine.txt"))
    assert "is no directory" in text


def test_a_pipeline_that_fails_on_one_frame_loses_that_frame_only(bag, tmp_path, capsys, monkeypatch):
    process = command._fake.process

    def sometimes(frame):
        if frame.stamp_ns == 200_000_000:
            raise RuntimeError("engine\n<went> away")
        return process(frame)

    monkeypatch.setattr(command._fake, "process", sometimes)
    out = tmp_path / "out"
    assert main(["evaluate", str(bag), "-o", str(out)]) == 0
    results = read_metrics(out)["results"]
    assert results["frames"] == 4 and results["metrics"]["failed_frames"]["value"] == 1
    assert results["metrics"]["recall"]["value"] == 37.5  # 3 of 8
    assert results["failures"]["first"] == [{"sequence": 0, "frame": 2, "error": "RuntimeError: engine <went> away"}]
    assert "failed on 1 of 4 frames" in capsys.readouterr().err
    assert "RuntimeError: engine &lt;went&gt; away" in (out / "report.html").read_text()


def test_a_pipeline_that_always_fails_is_an_error(bag, tmp_path, capsys, monkeypatch):
    def never(frame):
        raise RuntimeError("no engine")

    monkeypatch.setattr(command._fake, "process", never)
    text = refused(capsys, str(bag), "-o", str(tmp_path / "out"))
    assert "failed on every frame" in text and "RuntimeError: no engine" in text
    assert not (tmp_path / "out").exists()


def test_a_failure_keeps_the_earlier_result(bag, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert main(["evaluate", str(bag), "-o", str(out), "--no-report"]) == 0
    before = (out / "metrics.json").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command._fake, "process", interrupted)
    assert main(["evaluate", str(bag), "-o", str(out)]) == 130
    assert (out / "metrics.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "walk"]


def test_a_folder_of_the_users_is_not_touched(bag, tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear")
    assert "holds other files" in refused(capsys, str(bag), "-o", str(tmp_path / "notes"))


# ---------------------------------------------------------------- comparing


@pytest.fixture
def results(bag, tmp_path) -> tuple[Path, Path]:
    """Two results on the same frames, the second made better in one and worse in another metric."""
    a, b = tmp_path / "a", tmp_path / "b"
    assert main(["evaluate", str(bag), "-o", str(a), "--no-report"]) == 0
    assert main(["evaluate", str(bag), "-o", str(b), "--no-report"]) == 0
    content = json.loads((b / "metrics.json").read_text())
    metrics = content["results"]["metrics"]
    metrics["mpjpe"]["value"] -= 10.0
    metrics["recall"]["value"] -= 10.0
    del metrics["pa_pve"]
    (b / "metrics.json").write_text(json.dumps(content))
    return a, b


def test_two_results_side_by_side(results, capsys):
    a, b = results
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(a), str(b / "metrics.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:40].split("  ")[0]: line for line in lines}
    assert rows["MPJPE"].split()[1:] == ["50.00", "40.00", "-10.00", "mm", "better"]
    assert rows["Recall"].split()[1:] == ["50.00", "40.00", "-10.00", "%", "worse"]
    assert rows["Precision"].endswith("same")
    assert rows["PA-PVE"].split()[1:4] == ["0.00", "-", "-"]
    assert not any(word in rows["Acceleration, predicted"] for word in ("better", "worse"))


def test_results_on_other_frames_are_refused_unless_forced(results, capsys):
    a, b = results
    content = json.loads((b / "metrics.json").read_text())
    content["source"] |= {"assets": "motion:1+wardrobe:2"}
    content["options"]["matching.gate"] = 0.3
    (b / "metrics.json").write_text(json.dumps(content))
    text = refused(capsys, "--compare", str(a), str(b))
    assert "not comparable" in text and "assets: none against motion:1+wardrobe:2" in text and "--force" in text
    assert "option matching.gate: 0.5 against 0.3" in text
    assert main(["evaluate", "--compare", str(a), str(b), "--force"]) == 0
    captured = capsys.readouterr()
    assert "warning: not the same source assets" in captured.err and "MPJPE" in captured.out


def test_results_that_cannot_be_read_are_refused(results, tmp_path, capsys):
    a, _ = results
    for name, text, complaint in (
        ("broken.json", "{", "not JSON"),
        ("other.json", '{"format": "people"}', "has no"),
        ("old.json", '{"format": "human_recon evaluation", "version": 99}', "version 99 is not 1"),
        ("empty.json", '{"format": "human_recon evaluation", "version": 1}', "has no results"),
    ):
        (tmp_path / name).write_text(text)
        assert complaint in refused(capsys, "--compare", str(a), str(tmp_path / name))
    assert "cannot be read" in refused(capsys, "--compare", str(a), str(tmp_path / "none.json"))
    assert "leave SOURCE" in refused(capsys, "single", "--compare", str(a), str(a))
    with pytest.raises(InputError):
        read_metrics(tmp_path / "none.json")


def test_differences_within_the_spread_are_unclear(results):
    a = read_metrics(results[0])
    b = copy.deepcopy(a)
    for content, value, spread in ((a, 50.0, [45.0, 56.0]), (b, 46.0, [41.0, 51.0])):
        content["results"]["metrics"]["mpjpe"] |= {"value": value, "ci95": spread}
    verdicts = {row.metric.name: row.verdict for row in compare(a, b)}
    assert verdicts["mpjpe"] == "unclear" and verdicts["recall"] == "same" and verdicts["jitter"] == ""
    b["results"]["metrics"]["mpjpe"] |= {"value": 40.0, "ci95": [38.0, 42.0]}
    assert {row.metric.name: row.verdict for row in compare(a, b)}["mpjpe"] == "better"
    assert differences(a, b) == []
    assert format_table([], "a", "b") == ["no metrics"]


# ---------------------------------------------------------------- settings


def test_settings_from_a_file_and_from_the_command_line(bag, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text("max_people: 4\nicp:\n  headings: 12\n  matching: {}\ndetector.max_depth: 6\n")
    out = tmp_path / "o"
    words = ["evaluate", str(bag), "-o", str(out), "--no-report", "--pipeline", str(path)]
    assert main([*words, "--set", "max_people=5", "--set", "icp.sigma=0.02"]) == 0
    settings = read_metrics(out)["pipeline"]["settings"]
    defaults = dict(flat(PipelineConfig()))
    changed = {key: value for key, value in settings.items() if value != json.loads(json.dumps(defaults[key]))}
    assert changed == {"max_people": 5, "icp.headings": 12, "detector.max_depth": 6.0, "icp.sigma": 0.02}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"nonsense": 1}, "no setting 'nonsense'; there are .*max_people"),
        ({"icp.nonsense": 1}, "no setting 'nonsense'; there are .*headings"),
        ({"icp": 3}, "icp is a group of settings; there are icp.headings"),
        ({"max_people.deep": 3}, "max_people is a single setting"),
        ({"max_people": "many"}, "max_people is 'many', it must be a whole number"),
        ({"max_people": 2.5}, "it must be a whole number"),
        ({"track": 1}, "track is 1, it must be true or false"),
        ({"icp_people.max_residual": True}, "it must be a number"),
        ({"icp_people.max_residual": float("nan")}, "it must be a number"),
        ({"detector": {"head_height": 2}}, "must be a list"),
        ({"detector": {"head_height": [1, 2, 3]}}, "has 3 entries, it must have 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, complaint):
    with pytest.raises(CommandError, match=f"^here: .*{complaint}"):
        with_settings(PipelineConfig(), settings, "here")


def test_settings_keep_types_and_everything_else():
    config = with_settings(PipelineConfig(), {"icp_people.max_residual": 1, "detector.head_height": [1, 2]}, "here")
    assert config.icp_people.max_residual == 1.0 and isinstance(config.icp_people.max_residual, float)
    assert config.detector.head_height == (1.0, 2.0)
    defaults = PipelineConfig()
    assert config.icp == defaults.icp
    assert config.icp_people.min_explained == defaults.icp_people.min_explained


def test_settings_files_that_are_none_are_refused(bag, tmp_path, capsys):
    for name, text, complaint in (
        ("list.yaml", "- 1\n", "must hold settings"),
        ("broken.yaml", "a: [", "not a YAML file"),
    ):
        (tmp_path / name).write_text(text)
        text = refused(capsys, str(bag), "-o", str(tmp_path / "o"), "--pipeline", str(tmp_path / name))
        assert complaint in text
    assert "cannot be read" in refused(capsys, str(bag), "-o", str(tmp_path / "o"), "--pipeline", str(tmp_path / "no"))
    for setting in ("novalue", "=3", "a=[1"):
        assert "--set" in refused(capsys, str(bag), "-o", str(tmp_path / "o"), "--set", setting)


def test_the_environment_is_described():
    environment = describe_environment()
    assert environment["cores"] >= 1 and environment["memory_gb"] > 0
    assert environment["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert json.dumps(environment, allow_nan=False)
    if "commit" in environment:
        assert len(environment["commit"]) == 40 and isinstance(environment["changed"], bool)


# ---------------------------------------------------------------- with nothing replaced


def test_a_recorded_bag_through_the_real_pipeline_in_a_worker_process(body, tmp_path):
    from human_recon.io.bag_writer import BagWriter

    frame = true_frame(body, (1,), 1_000_000_000, {1: (0.0, 2.8)})
    bag = tmp_path / "bag"
    with BagWriter(bag) as writer:
        writer.write(frame.frame)
        writer.write_truth(frame, body)
    out = tmp_path / "out"
    # The person is seen from the front.
    quick = ["--set", "perception=geometric", "--set", "icp.headings=2", "--set", "icp.finalists=1"]
    assert main(["evaluate", str(bag), "-o", str(out), "--independent", "--workers", "2", "--worst", "1", *quick]) == 0
    content = read_metrics(out)
    metrics = content["results"]["metrics"]
    assert content["workers"] == 2 and content["results"]["frames"] == 1
    assert metrics["recall"]["value"] == metrics["precision"]["value"] == 100.0
    assert 1.0 < metrics["mpjpe"]["value"] < 60.0
    assert metrics["foreground_iou"]["value"] > 90.0 and metrics["part_accuracy"]["value"] > 80.0
    assert {"detect", "fit"} < set(content["results"]["latency_ms"])
    assert (out / "report.html").stat().st_size > 100_000
    record = json.loads((out / "records.jsonl").read_text())
    assert record["stamp_ns"] == 1_000_000_000 and record["people"][0]["predicted"] == 1
