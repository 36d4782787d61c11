"""`human-recon demo`: a small scene, rendered here, through the running perception node, and what came out of it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.errors import CommandError
from human_recon.cli.output import result_directory
from human_recon.cli.progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from human_recon.body.model import BodyModel
    from human_recon.camera.frame import Frame
    from human_recon.cli.demo_scene import DemoFrame
    from human_recon.people import People
    from human_recon.pipeline import Pipeline

_RESULT_NAMES = ("people.json", "overlay.png", "recording")
_RATE = 10.0  # frames per second of the recording
_LONGEST_PLAY = 30.0  # seconds: a slow machine skips frames instead, as a node does
_NODE_START = 60.0  # seconds to wait for the node
_MATCH = 0.5  # metres between true and found pelvis to count as found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory for the results")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the scene (default: 3)")
    parser.add_argument("--no-ros", action="store_true", help="call the pipeline directly even where rclpy is there")


def run(args: argparse.Namespace) -> int:
    if not 0.1 <= args.seconds <= 60:
        raise CommandError(f"--seconds {args.seconds:g}: give 0.1 to 60")
    ros = not args.no_ros and _has_ros()
    if ros:
        _prepare_middleware()
    start = time.monotonic()
    with result_directory(args.out, _RESULT_NAMES) as folder:
        from human_recon.body.model import default_body_model
        from human_recon.cli.demo_scene import render_demo
        from human_recon.pipeline import Pipeline, PipelineConfig

        body = default_body_model()
        count = max(1, round(args.seconds * _RATE))
        _say(f"rendering {count} RGB-D frames of three people in a room (open body model, simulated sensor)")
        scene = list(render_demo(body, count, _RATE))
        recording = folder / "recording"
        _record(recording, scene)

        _say("warming up the pipeline (the first run on a machine compiles for about a minute)")
        pipeline = Pipeline(PipelineConfig(), body)
        frame_time = _warm_up(pipeline, scene)
        if ros:
            with tempfile.TemporaryDirectory(prefix="human_recon_demo_") as logs:
                results = _through_the_node(recording, scene, frame_time, Path(logs))
        else:
            why = "as asked" if args.no_ros else "rclpy or human_recon_msgs is not importable here"
            _say(f"calling the pipeline directly, without ROS 2 ({why}); {frame_time:.2f} s a frame")
            results = _directly(pipeline, scene, frame_time)
        _write(folder, results, body)
    for line in _report(results, scene, body):
        print(line)
    print(f"picture:   {args.out / 'overlay.png'}")
    print(f"people:    {args.out / 'people.json'}")
    print(f"recording: {args.out / 'recording'} (rosbag2, mcap)")
    print(f"{time.monotonic() - start:.0f} s in all")
    return 0


def _say(text: str) -> None:
    print(f"[demo] {text}", file=sys.stderr, flush=True)


def _has_ros() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("rclpy", "human_recon_msgs"))


def _prepare_middleware() -> None:
    """A domain of our own on this machine, so that the demo neither hears nor disturbs a robot's graph.

    Must come before rclpy is loaded; child processes inherit it.
    """
    from human_recon.nodes.middleware import use_fastdds_profile
    from human_recon.resources import config_path

    os.environ["ROS_DOMAIN_ID"] = str(random.randrange(1, 102))  # above 101 the ports are those given to any program
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    use_fastdds_profile(config_path("fastdds.xml"))


def _record(path: Path, scene: list[DemoFrame]) -> None:
    from human_recon.io.bag_writer import BagWriter

    with BagWriter(path) as bag:
        for item in scene:
            bag.write(item.frame)


def _warm_up(pipeline: Pipeline, scene: list[DemoFrame]) -> float:
    """Seconds per frame of the compiled pipeline; the compiled code is cached for the node's process, too."""
    pipeline.process(scene[0].frame)
    start = time.monotonic()
    again = scene[1:3] or scene[:1]
    for item in again:
        pipeline.process(item.frame)
    pipeline.reset()
    return (time.monotonic() - start) / len(again)


def _directly(pipeline: Pipeline, scene: list[DemoFrame], frame_time: float) -> list[People]:
    """Like a node that is played the recording: always the newest frame, others are dropped."""
    period = _slowdown(scene, frame_time) / _RATE
    progress = Progress("frames", len(scene))
    results: list[People] = []
    start = time.monotonic()
    index = 0
    try:
        while index < len(scene):
            results.append(pipeline.process(scene[index].frame))
            progress.step(index + 1)
            newest = int((time.monotonic() - start) / period)
            index = len(scene) if index == len(scene) - 1 else min(max(index + 1, newest), len(scene) - 1)
    finally:
        progress.close()
    _say(f"{len(results)} of {len(scene)} frames processed")
    return results


def _slowdown(scene: list[DemoFrame], frame_time: float) -> float:
    """How much slower than real time to play, so that the pipeline keeps up; but not for longer than bearable."""
    length = len(scene) / _RATE
    return min(max(1.0, 1.5 * frame_time * _RATE), max(1.0, _LONGEST_PLAY / length))


def _through_the_node(recording: Path, scene: list[DemoFrame], frame_time: float, logs: Path) -> list[People]:
    """Start the perception node and the player as processes of their own, and listen; ``logs`` is a scratch folder."""
    from human_recon.cli.demo_scene import TOPICS
    from human_recon.nodes.collector import ResultCollector

    slowdown = _slowdown(scene, frame_time)
    remaps = [word for name, topic in TOPICS.items() for word in ("-r", f"{name}:={topic}")]
    _say("starting the perception node")
    node_command = [sys.executable, "-m", "human_recon.nodes.perception"]
    node_command += ["--ros-args", *remaps, "-p", "use_color:=true"]
    frames: dict[int, Frame] = {item.frame.stamp_ns: item.frame for item in scene}
    with ResultCollector() as collector, _process(node_command, logs / "node.log") as node:
        deadline = time.monotonic() + _NODE_START
        while collector.wait_for_topology(0.5) is None:
            if node.poll() is not None:
                raise _failed(f"the perception node ended at once with status {node.returncode}", logs / "node.log")
            if time.monotonic() > deadline:
                raise _failed(f"the perception node was not active within {_NODE_START:.0f} s", logs / "node.log")
        speed = f"at {1 / slowdown:.2f} of real time, the pipeline takes {frame_time:.2f} s a frame here"
        _say(f"playing the recording to it {'in real time' if slowdown == 1 else speed}")
        player_command = [sys.executable, "-m", "human_recon.cli.main", "play", str(recording)]
        player_command += ["--rate", f"{1 / slowdown:.6f}", "--wait-for-subscribers", str(len(TOPICS))]
        progress = Progress("frames through the node", len(scene))
        deadline = time.monotonic() + _NODE_START + 3 * slowdown * len(scene) / _RATE
        with _process(player_command, logs / "player.log") as player:
            try:
                while player.poll() is None:
                    if time.monotonic() > deadline:
                        raise _failed("the player did not come to the end of the recording", logs / "player.log")
                    time.sleep(0.1)
                    progress.step(len(collector.stamps))
            finally:
                progress.close()
        if player.returncode != 0:
            raise _failed(f"the player ended with status {player.returncode}", logs / "player.log")
        if not collector.wait_for(max(frames), 10 * frame_time + 5.0):
            _say("the last frame did not come back")
        stamps = [stamp for stamp in collector.stamps if stamp in frames]
        if not stamps:
            raise _failed("no result came back from the perception node", logs / "node.log")
        _say(f"{len(stamps)} of {len(scene)} frames came back; the node takes the newest and drops the others")
        return [collector.people(frames[stamp]) for stamp in stamps]


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that writes to ``log`` and is gone when the block is left."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches us alone, and we stop the child.
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield child
    finally:
        for number, patience in ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
            if child.poll() is not None:
                break
            child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience)


def _failed(what: str, log: Path) -> CommandError:
    """The error, after the end of the log on stderr: the folder it lies in is about to go."""
    for line in log.read_text(errors="replace").splitlines()[-25:]:
        print(f"    {line}", file=sys.stderr)
    return CommandError(f"{what}; the end of its output is above")


def _write(folder: Path, results: list[People], body: BodyModel) -> None:
    from human_recon.cli.reconstruct import write_picture
    from human_recon.io import write_people_json
    from human_recon.visualization import draw_summary

    best = max(results, key=lambda people: len(people.people))  # the first with the most people
    write_picture(folder / "overlay.png", draw_summary(best, body.faces, "demo: a synthetic scene"))
    write_people_json(folder / "people.json", results, body.name)


@dataclass(frozen=True)
class PersonErrors:
    """How one true person was reconstructed."""

    title: str
    frames: int  # in which the person was rendered and processed
    found: int
    pelvis: np.ndarray  # [found] metres
    surface: np.ndarray  # [found] metres, mean vertex to vertex distance
    stature: np.ndarray  # [found] metres, found minus true


def compare(results: list[People], scene: list[DemoFrame], body: BodyModel) -> list[PersonErrors]:
    """Found against true people, matched frame by frame by the distance of their pelvises (at most 0.5 m)."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    from human_recon.body.lbs import pose_body
    from human_recon.body.measure import stature
    from human_recon.cli.demo_scene import PEOPLE

    truths = {item.frame.stamp_ns: item.truth for item in scene}
    pelvis: list[list[float]] = [[] for _ in PEOPLE]
    surface: list[list[float]] = [[] for _ in PEOPLE]
    heights: list[list[float]] = [[] for _ in PEOPLE]
    for people in results:
        states = truths[people.frame.stamp_ns]
        posed = [pose_body(body, state) for state in states]
        if not people.people:
            continue
        distance = np.array(
            [[float(np.linalg.norm(p.joints[0] - found.joints[0])) for found in people.people] for p in posed]
        )
        for i, j in zip(*linear_sum_assignment(np.minimum(distance, 10 * _MATCH)), strict=True):
            if distance[i, j] <= _MATCH:
                found = people.people[j]
                pelvis[i].append(float(distance[i, j]))
                surface[i].append(float(np.linalg.norm(posed[i].vertices - found.vertices, axis=1).mean()))
                heights[i].append(found.height - float(stature(body, states[i].betas)))
    return [
        PersonErrors(
            person.motion, len(results), len(pelvis[i]), np.array(pelvis[i]), np.array(surface[i]), np.array(heights[i])
        )
        for i, person in enumerate(PEOPLE)
    ]


def _report(results: list[People], scene: list[DemoFrame], body: BodyModel) -> Iterator[str]:
    """Errors against the truth, medians over the frames."""
    import numpy as np

    errors = compare(results, scene, body)
    found = sum(error.found for error in errors)
    extra = sum(len(people.people) for people in results) - found
    yield f"against the truth of the scene ({len(results)} frames, medians):"
    for error in errors:
        if error.found == 0:
            yield f"  {error.title:<9} not found"
            continue
        yield (
            f"  {error.title:<9} found in {error.found}/{error.frames} frames, "
            f"pelvis {1000 * np.median(error.pelvis):.0f} mm off, surface {1000 * np.median(error.surface):.0f} mm, "
            f"stature {100 * np.median(error.stature):+.1f} cm"
        )
    yield f"  {extra} found that are not there"
