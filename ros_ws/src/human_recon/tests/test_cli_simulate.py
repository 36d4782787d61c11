"""`human-recon simulate` writes bags that the other commands read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from human_recon.cli import main as tool
from human_recon.io import read_frames
from human_recon.io.ground_truth import read_true_frames

SMALL = ("--size", "160x120", "--duration", "0.2", "--people", "2", "--scenario", "sit")


def run(*arguments):
    """The tool in this process; compiled kernels are shared with the other tests."""
    return tool.main(["simulate", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulate") / "bag"
    assert run("-o", path, *SMALL, "--seed", 3) == 0
    return path


def test_the_bag_holds_a_camera_at_30_hertz_and_the_truth(bag):
    with Reader(bag) as reader:
        counts = {connection.topic: (connection.msgtype, connection.msgcount) for connection in reader.connections}
    assert counts == {
        "/camera/depth/image_raw": ("sensor_msgs/msg/Image", 6),
        "/camera/depth/camera_info": ("sensor_msgs/msg/CameraInfo", 6),
        "/camera/color/image_raw": ("sensor_msgs/msg/Image", 6),
        "/ground_truth/people": ("human_recon_msgs/msg/PersonArray", 6),
        "/ground_truth/labels": ("sensor_msgs/msg/Image", 6),
        "/ground_truth/parts": ("sensor_msgs/msg/Image", 6),
    }
    assert [path.suffix for path in sorted(bag.iterdir())] == [".mcap", ".yaml"]
    frames = list(read_true_frames(bag))
    stamps = np.array([frame.frame.stamp_ns for frame in frames])
    assert stamps[0] > 0 and np.allclose(np.diff(stamps), 1e9 / 30, atol=1)
    for truth in frames:
        assert truth.frame.color is not None and (truth.frame.depth > 0).mean() > 0.05
        assert [person.id for person in truth.people] == [1, 2]
        for person in truth.people:
            x, y, width, height = person.roi
            own = (truth.labels == person.id) & (truth.frame.depth > 0)
            assert own.any() == (width > 0) == (person.visibility > 0)
            outside = own.copy()
            outside[y : y + height, x : x + width] = False
            assert not outside.any()
    assert max(person.visibility for person in frames[0].people) > 0.3


def test_depth_agrees_with_the_people_in_it(bag):
    """Pixels of a person lie on the clothed body: within 15 cm of the nearest vertex, nearly all of them."""
    from scipy.spatial import cKDTree

    checked = 0
    for truth in list(read_true_frames(bag))[::5]:
        for person in truth.people:
            v, u = np.nonzero((truth.labels == person.id) & (truth.frame.depth > 0))
            if len(v) < 100:
                continue
            camera = truth.frame.intrinsics
            z = truth.frame.depth[v, u]
            points = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)
            distance, _ = cKDTree(person.vertices).query(points)
            assert np.quantile(distance, 0.8) < 0.15 and np.median(distance) < 0.06
            checked += 1
    assert checked


def test_other_commands_read_the_bag(bag):
    frames = read_frames(bag)
    frame = next(iter(frames))
    assert frame.depth.shape == (120, 160) and frame.color is not None


def test_one_seed_gives_one_bag(bag, tmp_path, capsys):
    assert run("-o", tmp_path / "again", *SMALL, "--seed", "3", "--compress") == 0
    assert "6 frames of 2 people" in capsys.readouterr().out
    assert run("-o", tmp_path / "other", *SMALL, "--seed", "4", "--no-color", "--no-noise") == 0
    first, again, other = (list(read_true_frames(path)) for path in (bag, tmp_path / "again", tmp_path / "other"))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.frame.depth, b.frame.depth) and np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.frame.color, b.frame.color)
    assert not np.array_equal(first[0].frame.depth, other[0].frame.depth) and other[0].frame.color is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--people", "0"), "people must be 1 to 8"),
        (("--people", "9"), "people must be 1 to 8"),
        (("--camera", "polaroid"), "camera 'polaroid' is unknown; use one of azure_kinect_nfov"),
        (("--data", "/nowhere/at/all"), "--data /nowhere/at/all is not a folder"),
        (("--size", "4x4"), "too small"),
        (("--duration", "999999"), "duration"),
    ],
)
def test_what_cannot_be_simulated_is_one_clear_line(tmp_path, capsys, arguments, words):
    assert run("-o", tmp_path / "bag", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("human-recon: error: ") and "Traceback" not in error
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize(
    "arguments", [("--duration", "-1"), ("--seed", "-1"), ("--size", "big"), ("--scenario", "fly")]
)
def test_arguments_of_the_wrong_kind_are_refused(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        run("-o", tmp_path / "bag", *arguments)
    assert stopped.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_a_bag_is_never_overwritten(bag, capsys):
    before = {path: path.read_bytes() for path in bag.iterdir()}
    assert run("-o", bag) == 2
    assert "exists already; remove it or choose another name" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in bag.iterdir()}


def test_damaged_motion_capture_is_refused_by_name(tmp_path, capsys):
    (tmp_path / "mocap").mkdir()
    (tmp_path / "mocap" / "mocap_30hz.npz").write_bytes(b"not an archive")
    assert run("-o", tmp_path / "bag", "--data", tmp_path) == 2
    assert "mocap_30hz.npz: not a motion capture file" in capsys.readouterr().err


def test_nothing_is_left_when_it_is_interrupted(tmp_path, monkeypatch):
    from human_recon.simulation.sequence import Sequence

    real = Sequence.true_frame

    def stop_at_three(self, frame, *more, **options):
        if frame == 3:
            raise KeyboardInterrupt
        return real(self, frame, *more, **options)

    monkeypatch.setattr(Sequence, "true_frame", stop_at_three)
    assert run("-o", tmp_path / "bag", *SMALL) == 130
    assert list(tmp_path.iterdir()) == []


def test_help_is_there_at_once():
    done = subprocess.run(
        [sys.executable, "-m", "human_recon.cli.main", "simulate", "--help"], capture_output=True, text=True, check=True
    )
    for word in ("--people", "--scenario", "walk,cross,dance,sit,mixed", "--camera", "--data"):
        assert word in done.stdout


def test_the_scenarios_offered_are_those_there_are():
    from human_recon.cli import simulate
    from human_recon.simulation.choreography import SCENARIOS

    assert simulate._SCENARIOS == SCENARIOS
