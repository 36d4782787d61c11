"""The command line: what it writes, what it refuses, and that nothing half-written stays behind."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.cli import demo
from human_recon.cli.main import main
from human_recon.cli.output import result_directory
from human_recon.cli.progress import Progress, progress_text
from human_recon.geometry.plane import Plane
from human_recon.io import read_people_json, write_depth_png, write_npz
from human_recon.people import People, Person

ROOT = Path(__file__).resolve().parents[1]
CAMERA = CameraIntrinsics(width=64, height=48, fx=60.0, fy=60.0, cx=31.5, cy=23.5)
TETRAHEDRON = np.array([[0, 0, 0], [0.4, 0, 0], [0, 1.0, 0], [0, 0, 0.4]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)


def person(person_id: int, z: float) -> Person:
    return Person(
        id=person_id,
        confidence=0.8,
        state=BodyState(np.zeros(10), np.zeros((24, 3)), np.array([0, 0, z])),
        vertices=TETRAHEDRON + np.array([0, -0.5, z], np.float32),
        joints=np.tile(np.array([0, 0, z], np.float32), (24, 1)),
        joint_sigma=np.full(24, 0.03, np.float32),
        joint_visible=np.ones(24, bool),
        height=1.72,
        roi=(1, 2, 3, 4),
        residual=0.0123,
    )


@dataclasses.dataclass(frozen=True)
class StandInBody:
    name: str = "stand-in"
    faces: np.ndarray = dataclasses.field(default_factory=lambda: FACES)


class StandInPipeline:
    """Two people in every frame whose depth is not empty; the second one only from the third frame on."""

    calls = 0
    fail_at: int | None = None

    def __init__(self, config: object, body: object) -> None:
        type(self).calls = 0

    def process(self, frame: Frame) -> People:
        type(self).calls += 1
        if type(self).calls == self.fail_at:
            raise KeyboardInterrupt
        people: tuple[Person, ...] = ()
        if frame.depth.any():
            people = (person(1, 2.0), person(2, 3.0)) if frame.stamp_ns >= 2 else (person(1, 2.0),)
        return People(frame, people, np.zeros(frame.depth.shape, np.uint16), Plane(np.array([0, -1.0, 0]), 1.0))


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> type[StandInPipeline]:
    """The commands with a pipeline that answers at once; the real one has its own tests."""
    import human_recon.body.model
    import human_recon.pipeline

    monkeypatch.setattr(human_recon.pipeline, "Pipeline", StandInPipeline)
    monkeypatch.setattr(human_recon.body.model, "default_body_model", StandInBody)
    monkeypatch.setattr(StandInPipeline, "fail_at", None)
    return StandInPipeline


def frames(count: int, value: float = 2.5) -> list[Frame]:
    depth = np.full((48, 64), value, np.float32)
    return [Frame(i, "camera", depth, CAMERA) for i in range(count)]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    write_depth_png(path, frames(1)[0])
    return path


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    path = tmp_path / "sequence.npz"
    write_npz(path, frames(5))
    return path


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run_cli(*words: str | Path, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(
        [sys.executable, "-m", "human_recon.cli.main", *map(str, words)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Status 2 and exactly one line, which names the trouble."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("human-recon: error: "), result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert result.stdout == ""


# ---------------------------------------------------------------- what is written


def test_one_frame_gives_people_meshes_and_pictures(stand_ins, one, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reconstruct", str(one), "-o", str(out)]) == 0
    assert entries(out) == {"people.json", "overlay.png", "side.png", "top.png", "meshes/000000_person_01.ply"}
    assert cv2.imread(str(out / "overlay.png")).shape[1] == 1322
    record = read_people_json(out / "people.json")
    assert record.body_model == "stand-in"
    assert [p.id for p in record.frames[0].people] == [1]
    text = capsys.readouterr().out
    assert "person 1: distance 2.00 m  stature 1.72 m  depth residual   12 mm" in text
    assert str(out) in text


def test_a_mesh_keeps_vertices_and_faces(stand_ins, one, tmp_path):
    import trimesh

    main(["reconstruct", str(one), "-o", str(tmp_path / "out")])
    mesh = trimesh.load(tmp_path / "out" / "meshes" / "000000_person_01.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, person(1, 2.0).vertices, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_a_sequence_gives_one_overlay_per_frame(stand_ins, sequence, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reconstruct", str(sequence), "-o", str(out), "--every", "2", "--mesh-format", "glb"]) == 0
    wanted = {f"overlays/{i:06d}.png" for i in (0, 2, 4)} | {f"meshes/{i:06d}_person_01.glb" for i in (0, 2, 4)}
    wanted |= {f"meshes/{i:06d}_person_02.glb" for i in (2, 4)}
    assert entries(out) == wanted | {"people.json", "overlay.png", "side.png", "top.png"}
    assert [frame.stamp_ns for frame in read_people_json(out / "people.json").frames] == [0, 2, 4]
    text = capsys.readouterr().out
    assert "in 3/3 frames" in text and "in 2/3 frames" in text


def test_max_frames_and_less_output(stand_ins, sequence, tmp_path):
    out = tmp_path / "out"
    assert (
        main(["reconstruct", str(sequence), "-o", str(out), "--max-frames", "2", "--no-meshes", "--no-pictures"]) == 0
    )
    assert entries(out) == {"people.json"}
    assert stand_ins.calls == 2


def test_nobody_is_a_result(stand_ins, tmp_path, capsys):
    path, out = tmp_path / "empty.npz", tmp_path / "out"
    write_npz(path, frames(1, value=0.0))
    assert main(["reconstruct", str(path), "-o", str(out)]) == 0
    assert "nobody found" in capsys.readouterr().out
    assert read_people_json(out / "people.json").frames[0].people == ()
    assert (out / "overlay.png").exists()


def test_an_earlier_result_is_replaced_and_other_files_stay(stand_ins, one, sequence, tmp_path):
    out = tmp_path / "out"
    main(["reconstruct", str(sequence), "-o", str(out)])
    (out / "notes.txt").write_text("mine")
    assert main(["reconstruct", str(one), "-o", str(out)]) == 0
    assert "overlays/000001.png" not in entries(out) and "notes.txt" in entries(out)
    assert entries(tmp_path) == {f"out/{name}" for name in entries(out)} | {"one.png", "one.yaml", "sequence.npz"}


def test_interruption_leaves_nothing_and_keeps_the_earlier_result(stand_ins, sequence, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    main(["reconstruct", str(sequence), "-o", str(out)])
    before = {name: (out / name).read_bytes() for name in entries(out)}
    monkeypatch.setattr(StandInPipeline, "fail_at", 3)
    assert main(["reconstruct", str(sequence), "-o", str(out)]) == 130
    assert {name: (out / name).read_bytes() for name in entries(out)} == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", "sequence.npz"}
    assert capsys.readouterr().err.rstrip().endswith("human-recon: interrupted")


def test_interruption_inside_compiled_code_is_an_interruption(stand_ins, one, tmp_path, monkeypatch, capsys):
    """numba turns the KeyboardInterrupt of a signal into a SystemError caused by it."""

    def interrupted(self: object, frame: Frame) -> People:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise SystemError("returned a result with an exception set") from interrupt

    monkeypatch.setattr(StandInPipeline, "process", interrupted)
    assert main(["reconstruct", str(one), "-o", str(tmp_path / "out")]) == 130
    assert "human-recon: interrupted" in capsys.readouterr().err


def test_input_that_breaks_off_leaves_nothing(stand_ins, tmp_path, monkeypatch, capsys):
    import human_recon.io

    def broken(*args: object, **options: object) -> human_recon.io.FrameSource:
        def read():  # type: ignore[no-untyped-def]
            yield frames(1)[0]
            raise human_recon.io.InputError("walk.mcap: ends in the middle of a message")

        class Source:
            count = 10

            def __iter__(self):  # type: ignore[no-untyped-def]
                return read()

        return Source()  # type: ignore[return-value]

    monkeypatch.setattr(human_recon.io, "open_frames", broken)
    assert main(["reconstruct", "walk.mcap", "-o", str(tmp_path / "out")]) == 2
    assert "human-recon: error: walk.mcap: ends in the middle" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_defect_keeps_its_traceback(stand_ins, one, tmp_path, monkeypatch):
    def defect(self: object, frame: Frame) -> People:
        raise ValueError("a defect of ours")

    monkeypatch.setattr(StandInPipeline, "process", defect)
    with pytest.raises(ValueError, match="a defect"):
        main(["reconstruct", str(one), "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- what is refused, in real processes


def test_missing_input(tmp_path):
    assert_refused(run_cli("reconstruct", "nothing.pcd", "-o", "out", cwd=tmp_path), "nothing.pcd", "no such file")
    assert list(tmp_path.iterdir()) == []


def test_truncated_cloud(tmp_path):
    header = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 640\nHEIGHT 480\n"
    header += "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 307200\nDATA binary\n"
    (tmp_path / "cut.pcd").write_bytes(header.encode() + b"\0" * 5000)
    assert_refused(run_cli("reconstruct", "cut.pcd", "-o", "out", cwd=tmp_path), "cut.pcd")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.pcd"]


def test_truncated_depth_image(one, tmp_path):
    one.write_bytes(one.read_bytes()[:60])
    assert_refused(run_cli("reconstruct", one, "-o", tmp_path / "out"), "one.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a model at all", b"PK\x03\x04 torn"])
@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_missing_or_corrupt_body_model(one, tmp_path, content, suffix, capsys):
    model = tmp_path / f"body.{suffix}"
    if content is not None:
        model.write_bytes(content)
    assert main(["reconstruct", str(one), "-o", str(tmp_path / "out"), "--body", str(model)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("human-recon: error: ") and f"body.{suffix}" in lines[0]
    assert not (tmp_path / "out").exists()


def test_missing_body_model_in_a_process(one, tmp_path):
    assert_refused(run_cli("reconstruct", one, "-o", tmp_path / "out", "--body", "none.npz"), "none.npz")


@pytest.mark.parametrize("name", ["file", "file/below", "foreign"])
def test_out_that_cannot_be_used(one, tmp_path, name, capsys):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work")
    before = entries(tmp_path)
    assert main(["reconstruct", str(one), "-o", str(tmp_path / name)]) == 2
    assert f"{tmp_path / name}" in capsys.readouterr().err
    assert entries(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_without_permission(one, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    assert main(["reconstruct", str(one), "-o", str(locked / "out")]) == 2
    assert "ermission denied" in capsys.readouterr().err


def test_unknown_camera(one, tmp_path, capsys):
    assert main(["reconstruct", str(one), "-o", str(tmp_path / "out"), "--camera", "polaroid"]) == 2
    assert "polaroid" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [[], ["dance"], ["reconstruct"], ["reconstruct", "a.pcd", "-o", "o", "--every", "0"]])
def test_wrong_usage_exits_with_two(words, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(words)
    assert exit_info.value.code == 2
    assert "usage: human-recon" in capsys.readouterr().err


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, contextlib, io\n"
        "from human_recon.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as text:\n"
        "    try: main(['--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "assert all(word in text.getvalue() for word in ('reconstruct', 'play', 'demo'))\n"
        "heavy = {'numpy', 'numba', 'cv2', 'rclpy', 'torch', 'trimesh', 'rosbags'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", ["reconstruct", "play", "demo"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "usage: human-recon" in capsys.readouterr().out


def test_terminating_a_process_cleans_up(tmp_path):
    """SIGTERM while a frame is being worked on: the partial result goes, the status says interrupted."""
    write_npz(tmp_path / "in.npz", frames(1))
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        "import human_recon.pipeline, human_recon.cli.main as cli\n"
        "class Slow:\n"
        "    def __init__(self, *args): pass\n"
        "    def process(self, frame):\n"
        "        print('working', flush=True)\n"
        "        time.sleep(60)\n"
        "human_recon.pipeline.Pipeline = Slow\n"
        "import human_recon.body.model\n"
        "human_recon.body.model.default_body_model = lambda: None\n"
        "sys.exit(cli.main(['reconstruct', 'in.npz', '-o', 'out']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in errors and b"Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"in.npz", "slow.py"}


# ---------------------------------------------------------------- parts


def test_progress_tells_rate_and_time_left():
    assert progress_text("frames", 0, 10, 1.0) == "frames 0/10"
    assert progress_text("frames", 5, 305, 2.0) == "frames 5/305, 2.5/s, 2:00 left"
    assert progress_text("frames", 2, 4, 20.0) == "frames 2/4, 10.0 s each, 0:20 left"
    assert progress_text("frames", 7, None, 2.0) == "frames 7, 3.5/s"


def test_progress_in_a_log_file_says_the_end_and_not_every_step():
    stream = io.StringIO()
    progress = Progress("frames", 1000, stream)
    for done in range(1, 1001):
        progress.step(done)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 and lines[0].startswith("frames 1000/1000")


def test_result_directory_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "a" / "b"
    with contextlib.suppress(RuntimeError), result_directory(out, ["people.json"]) as folder:
        (folder / "people.json").write_text("{}")
        assert not out.exists()
        raise RuntimeError
    assert entries(tmp_path) == set()
    with result_directory(out, ["people.json"]) as folder:
        (folder / "people.json").write_text("{}")
    assert entries(tmp_path) == {"a/b/people.json"}


# ---------------------------------------------------------------- demo


def test_demo_scene_is_what_its_truth_says():
    """The rendered depth at the true pelvis' pixel is the body's front, and everybody stands on the floor."""
    from human_recon.body.lbs import pose_body
    from human_recon.body.model import default_body_model
    from human_recon.cli import demo_scene

    body = default_body_model()
    first, *_, last = demo_scene.render_demo(body, 4, 2.0)
    again, *_ = demo_scene.render_demo(body, 1, 2.0)
    np.testing.assert_array_equal(first.frame.depth, again.frame.depth)
    assert first.frame.color is not None and (first.frame.depth != last.frame.depth).any()
    up = demo_scene.world_to_camera()[:, 1]
    for item in (first, last):
        depth = item.frame.depth
        assert 0.8 < (depth > 0).mean() < 1.0
        steps = np.unique(depth[depth > 0])
        np.testing.assert_allclose(steps * 1000, np.round(steps * 1000), atol=1e-3)
        covered = 0
        for state in item.truth:
            posed = pose_body(body, state)
            heights = posed.vertices @ up + demo_scene.CAMERA_HEIGHT
            assert -0.001 < heights.min() < 0.01 and 1.5 < heights.max() < 2.0
            u, v = np.round(demo_scene.CAMERA.project(posed.joints[0].astype(np.float64))).astype(int)
            if 0 <= u < 640 and 0 <= v < 480 and depth[v, u] > 0:
                covered += 0.02 < posed.joints[0, 2] - depth[v, u] < 0.25
        assert covered >= 2
    moved = [np.linalg.norm(a.trans - b.trans) for a, b in zip(first.truth, last.truth, strict=True)]
    assert max(moved) > 0.5


def test_demo_errors_are_those_put_in():
    """The comparison on results made from the truth itself: shifted by 3 cm, one person missing, one invented."""
    from human_recon.body.lbs import pose_body
    from human_recon.body.measure import stature
    from human_recon.body.model import default_body_model
    from human_recon.cli import demo_scene

    body = default_body_model()
    scene = list(demo_scene.render_demo(body, 2, 2.0))
    results = []
    for item in scene:
        people = []
        for index, state in enumerate((*item.truth[:2], item.truth[2])):
            shift = np.array([0.03, 0, 0]) if index < 2 else np.array([0, 0, 2.0])
            posed = pose_body(body, dataclasses.replace(state, trans=state.trans + shift))
            height = stature(body, state.betas) + 0.02
            people.append(
                dataclasses.replace(person(index + 1, 1.0), vertices=posed.vertices, joints=posed.joints, height=height)
            )
        results.append(People(item.frame, tuple(people), np.zeros((480, 640), np.uint16)))
    errors = demo.compare(results, scene, body)
    assert [error.found for error in errors] == [2, 2, 0]
    for error in errors[:2]:
        np.testing.assert_allclose(error.pelvis, 0.03, atol=1e-5)
        np.testing.assert_allclose(error.surface, 0.03, atol=1e-5)
        np.testing.assert_allclose(error.stature, 0.02, atol=1e-6)


def _has_ros() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("rclpy", "human_recon_msgs"))


@pytest.mark.slow
@pytest.mark.ros
def test_demo_finds_its_people(tmp_path):
    """The whole demo: through the node and the player as processes where ROS 2 is there, else directly."""
    result = run_cli("demo", "-o", tmp_path / "demo", "--seconds", "0.4", timeout=400)
    assert result.returncode == 0, result.stderr
    assert ("starting the perception node" in result.stderr) == _has_ros()
    assert {"people.json", "overlay.png", "recording"} == {path.name for path in (tmp_path / "demo").iterdir()}
    content = json.loads((tmp_path / "demo" / "people.json").read_text())
    counts = [len(frame["people"]) for frame in content["frames"]]
    assert counts and all(2 <= count <= 4 for count in counts)
    report = result.stdout.splitlines()
    for who in ("gesturing", "standing"):
        line = next(line for line in report if line.strip().startswith(who))
        assert f"found in {len(counts)}/{len(counts)} frames" in line
        assert int(line.split("pelvis ")[1].split(" mm")[0]) < 60
