"""tools/benchmark_node.py and tools/soak.py on the node with the fake pipeline, which takes as long as it is told."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here")

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics

CAMERA = CameraIntrinsics(32, 24, 30.0, 30.0, 15.5, 11.5)
FAKE_NODE = (sys.executable, str(Path(__file__).with_name("ros_support.py")))


def tool(repository: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    return import_module(name)


def frames(*metres: float) -> list[Frame]:
    """Each with one person, of the number of its whole metres; none at 0."""
    return [Frame(0, "camera", np.full((24, 32), value, np.float32), CAMERA) for value in metres]


def environment(monkeypatch: pytest.MonkeyPatch, support: ModuleType) -> dict[str, str]:
    # Set by the tools for good; put back after the test.
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return support.private_domain()


def test_a_slow_node_loses_frames_but_is_not_late(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support, benchmark = tool(repository, "node_process", monkeypatch), tool(repository, "benchmark_node", monkeypatch)
    surroundings = environment(monkeypatch, support)
    footage = support.Footage.of(frames(2.0, 2.0, 2.0))
    result = benchmark.measure(
        surroundings | {"FAKE_SECONDS": "0.15"},
        footage,
        rate=20.0,
        seconds=4.0,
        parameters=("diagnostics_period:=0.2",),
        command=FAKE_NODE,
    )
    assert result["frames_sent"] == 80 and 0 < result["frames_answered"] < 40
    assert result["dropped"] == pytest.approx(1 - result["frames_answered"] / 80, abs=1e-3)
    # A frame takes 0.15 s, and waits for at most one before it.
    assert result["latency_ms"]["p50"] > 140 and result["rate_hz"] < 7
    assert result["latency_ms_last_quarter"]["p50"] < 3 * result["latency_ms_first_quarter"]["p50"]
    assert result["people_found"] == 1 and result["exit_code"] == 0
    assert 0.01 < result["cores_node"] < 2 and result["rss_mb"]["end"] > 20
    assert "lifecycle" in result["diagnostics"]
    assert len(benchmark.line({"people": 1} | result).split()) == len(benchmark.HEADER.replace("RSS MB", "RSS").split())


def test_a_node_that_ends_is_told_with_its_last_words(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support, benchmark = tool(repository, "node_process", monkeypatch), tool(repository, "benchmark_node", monkeypatch)
    command = (sys.executable, "-c", "print('I had enough'); raise SystemExit(3)")
    with pytest.raises(support.NodeFailed, match="code 3:\nI had enough"):
        benchmark.measure(
            environment(monkeypatch, support), support.Footage.of(frames(2.0)), rate=10.0, seconds=1.0, command=command
        )


def test_a_short_soak_with_everything_that_happens_to_robots(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support, soak = tool(repository, "node_process", monkeypatch), tool(repository, "soak", monkeypatch)
    result = soak.soak(
        environment(monkeypatch, support),
        support.Footage.of(frames(2.0, 3.0, 2.0) * 4),
        support.Footage.of(frames(0.0, 0.0)),
        rate=20.0,
        seconds=24.0,
        period=1.0,
        disturb=True,
        disturb_every=1.0,
        parameters=("diagnostics_period:=0.2",),
        command=FAKE_NODE,
    )
    assert {entry["what"] for entry in result["disturbances"]} == {
        "the camera stopped for 6 s",
        "stamps from an hour ago",
        "stamps from an hour ahead",
        "garbage for images",
        "nobody in view",
    }
    assert all(entry["first_answer_seconds"] < 5 for entry in result["disturbances"])
    assert result["frames"]["answered"] > 0.5 * result["frames"]["sent"] > 40
    assert int(result["diagnostics"]["frames rejected"]) >= 5  # the garbage
    assert int(result["diagnostics"]["time jumps"]) >= 2
    assert soak.complaints(result, allowed_growth=1e9) == []


def test_growth_is_the_slope_and_knows_how_sure_it_is(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = tool(repository, "soak", monkeypatch)
    seconds = np.arange(0.0, 1800.0, 10.0)
    noise = np.random.default_rng(0).normal(0.0, 2.0, len(seconds))
    slope, error = soak.growth(seconds, 300.0 + 36.0 * seconds / 1800.0 + noise)
    assert abs(slope - 36.0) < 3 * error and 0.1 < error < 1.0
    assert soak.growth(seconds[:2], noise[:2]) == (0.0, float("inf"))
    good = {
        "growth_mb_per_half_hour": 1.0,
        "growth_standard_error": 0.5,
        "exit_code": 0,
        "threads": {"first": 20, "last": 20},
        "warnings": 3,
        "minutes": 30.0,
        "disturbances": [],
    }
    assert soak.complaints(good, 10.0) == []
    for change, complaint in (
        ({"growth_mb_per_half_hour": 20.0}, "memory grows"),
        ({"exit_code": -9}, "ended with code -9"),
        ({"threads": {"first": 20, "last": 40}}, "threads grew"),
        ({"warnings": 500}, "500 warnings"),
    ):
        assert [complaint in text for text in soak.complaints(good | change, 10.0)] == [True]
