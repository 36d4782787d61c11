"""`human-recon bench`: cases, what is timed, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.cli import bench
from human_recon.cli.bench_scene import MOST_PEOPLE, camera, render_people
from human_recon.cli.main import main
from human_recon.evaluation.benchmarking import Case, run_case
from human_recon.io import write_npz
from human_recon.people import People
from human_recon.perception.geometric import GeometricDetector, GeometricDetectorConfig

CAMERA = CameraIntrinsics(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)


class CountingPipeline:
    """Notes what it is asked; the "fit" takes 10 ms where nobody is known, 1 ms after."""

    engines = ("a stand-in",)

    def __init__(self, config: object = None, body: object = None) -> None:
        self.body = body
        self.calls: list[str] = []
        self._known = False

    def reset(self) -> None:
        self.calls.append("reset")
        self._known = False

    def process(self, frame: Frame, *, pixels: bool = True) -> People:
        self.calls.append(str(frame.stamp_ns))
        seconds = 0.001 if self._known else 0.010
        self._known = True
        return People(frame, (), np.zeros(frame.depth.shape, np.uint16), None, {"fit": seconds})


def frames(count: int) -> list[Frame]:
    return [Frame(t, "camera", np.full((48, 64), 2.0, np.float32), CAMERA) for t in range(count)]


def test_nothing_is_known_when_it_is_reset_before_each_frame():
    pipeline = CountingPipeline()
    steps = []
    result = run_case(pipeline, Case("x", 2, frames(2)), "nothing", 3, lambda: steps.append(1))
    assert pipeline.calls == ["reset", "0", "reset", "1", "reset", "0"]
    assert result["ms"]["fit"] == {"median": 10.0, "p95": 10.0, "max": 10.0}
    assert (result["frames"], result["people"], result["size"], len(steps)) == (3, 2, [64, 48], 3)
    assert 0 <= result["cpu_ms_per_frame"] < 100


def test_tracked_frames_follow_one_that_is_not_timed():
    pipeline = CountingPipeline()
    result = run_case(pipeline, Case("x", 2, frames(3)), "tracked", 3)
    # The sequence begins anew, untimed, when it is used up.
    assert pipeline.calls == ["reset", "0", "1", "2", "reset", "0", "1"]
    assert result["ms"]["fit"]["max"] == 1.0
    assert result["frames"] == 3 and result["known"] == "tracked"


def test_one_frame_is_tracked_from_itself():
    pipeline = CountingPipeline()
    result = run_case(pipeline, Case("x", None, frames(1)), "tracked", 2)
    assert pipeline.calls == ["reset", "0", "0", "0"]
    assert result["ms"]["fit"]["max"] == 1.0


def test_the_scene_shows_as_many_people_as_asked(body: BodyModel):
    detector = GeometricDetector(GeometricDetectorConfig())
    for count in (0, 1, 4, 8):
        frame = render_people(body, count, 320, 240, 1, 10.0)[0]
        assert len(detector.detect(frame).hypotheses) == count
    with pytest.raises(ValueError, match="11 people"):
        render_people(body, 11, 320, 240, 1, 10.0)


def test_the_scene_is_the_same_every_time_and_moves(body: BodyModel):
    first, second = render_people(body, 2, 64, 48, 2, 10.0), render_people(body, 2, 64, 48, 2, 10.0)
    assert all((a.depth == b.depth).all() for a, b in zip(first, second, strict=True))
    assert (first[0].depth != first[1].depth).any() and first[1].stamp_ns - first[0].stamp_ns == 100_000_000
    assert camera(320, 240).fx * 2 == camera(640, 480).fx


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    import human_recon.pipeline

    monkeypatch.setattr(human_recon.pipeline, "Pipeline", CountingPipeline)


def test_the_file_says_what_was_measured_on_what(quick, tmp_path, capsys):
    own = tmp_path / "own.npz"
    write_npz(own, frames(2))
    out = tmp_path / "sub" / "bench.json"
    words = ["--people", "0,1", "--sizes", "64x48", "--tracked", "2", "--cold", "1", "--frame", str(own)]
    assert main(["bench", "-o", str(out), *words, "--set", "max_people=3"]) == 0
    content = json.loads(out.read_text())
    assert (content["format"], content["version"]) == ("human_recon benchmark", 1)
    cases = [(c["input"], c["people"], c["known"], c["frames"]) for c in content["cases"]]
    assert cases == [
        ("own.npz", None, "nothing", 1),
        ("own.npz", None, "tracked", 2),
        ("rendered", 0, "nothing", 1),
        ("rendered", 0, "tracked", 2),
        ("rendered", 1, "nothing", 1),
        ("rendered", 1, "tracked", 2),
    ]
    assert content["pipeline"]["settings"]["max_people"] == 3
    assert (content["pipeline"]["name"], content["pipeline"]["engines"]) == ("learned", ["a stand-in"])
    assert content["memory_mb"]["peak"] >= content["memory_mb"]["before"] > 0
    assert content["first_frame_seconds"] >= 0
    assert {"cpu", "cores", "load_1min", "date", "versions"} <= set(content["environment"])
    assert "end_to_end" in content["cases"][0]["ms"]
    printed = capsys.readouterr().out
    assert "64x48" in printed
    stages = next(line.split() for line in printed.splitlines() if line.startswith("fit"))
    assert stages == ["fit", "1.00", "1.00", "1.00"]


def test_only_a_file_is_measured_when_asked(quick, tmp_path):
    own = tmp_path / "own.npz"
    write_npz(own, frames(1))
    assert main(["bench", "-o", str(tmp_path / "b.json"), "--frame", str(own), "--only-frame", "--cold", "1"]) == 0
    assert {c["input"] for c in json.loads((tmp_path / "b.json").read_text())["cases"]} == {"own.npz"}


def test_what_is_wrong_is_said(quick, tmp_path, capsys):
    out = str(tmp_path / "b.json")
    for words, complaint in (
        (["-o", out, "--only-frame"], "--only-frame needs --frame"),
        (["-o", str(tmp_path)], "is a directory"),
        (["-o", out, "--frame", str(tmp_path / "none.pcd")], "no such file"),
        (["-o", out, "--set", "workers=none"], "workers is 'none'"),
    ):
        assert main(["bench", *words]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert len(error) == 1 and complaint in error[0], error
    for words, complaint in (
        (["--people", "1,11"], f"0 to {MOST_PEOPLE} people"),
        (["--people", "x"], "not a list of numbers"),
        (["--sizes", "640"], "not a list of sizes"),
        (["--sizes", "8x8"], "16 to 4096"),
        (["--cold", "0"], "not a positive number"),
    ):
        with pytest.raises(SystemExit):
            main(["bench", "-o", out, *words])
        assert complaint in capsys.readouterr().err
    assert not Path(out).exists()


def test_committed_benchmarks_are_in_this_format(repository: Path):
    files = sorted((repository / "benchmarks").glob("*.json"))
    contents = [json.loads(path.read_text()) for path in files]
    own = [content for content in contents if content.get("format") == "human_recon benchmark"]
    assert own
    for content in own:
        assert content["version"] == 1 and content["environment"]["versions"]["python"]
        for case in content["cases"]:
            assert (
                case["ms"]["end_to_end"]["median"] <= case["ms"]["end_to_end"]["p95"] <= case["ms"]["end_to_end"]["max"]
            )


def test_the_table_fits_every_case():
    case = run_case(CountingPipeline(), Case("a very long name of a file.pcd", None, frames(1)), "nothing", 1)
    assert len(bench._table([case, case])) == 3
