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
from collections.abc import Callable, Iterator
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
_LONGEST_PLAY = 20.0  # seconds: a slow machine skips frames instead, as a node does
_LONGEST_FRAME = 2.0  # seconds of that for one frame
_NODE_START = 60.0  # seconds to wait for the node
_DISCOVERY = 2.0  # seconds until the node hears a publisher that hears it: with 0.5 s, 1 first frame in 8 was lost
_REPEAT = 10.0  # seconds after which a frame without a result is taken to be lost
_FIRST_FRAME = 300.0  # seconds to wait for a result: the first one may include compiling everything
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

        body = default_body_model()
        count = max(1, round(args.seconds * _RATE))
        _say(f"rendering {count} RGB-D frames of three people in a room (open body model, simulated sensor)")
        scene = list(render_demo(body, count, _RATE))
        recording = folder / "recording"
        _record(recording, scene)

        if ros:
            with tempfile.TemporaryDirectory(prefix="human_recon_demo_") as scratch:
                results = _through_the_node(recording, scene, Path(scratch))
        else:
            from human_recon.pipeline import Pipeline, PipelineConfig

            why = "as asked" if args.no_ros else "rclpy or human_recon_msgs is not importable here"
            _say(f"calling the pipeline directly, without ROS 2 ({why})")
            _say("the first run on a machine compiles for about a minute")
            results = _directly(Pipeline(PipelineConfig(), body), scene)
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


def _directly(pipeline: Pipeline, scene: list[DemoFrame]) -> list[People]:
    """Like a node that is played the recording: always the newest frame, others are dropped."""
    progress = Progress("frames", len(scene))
    results: list[People] = []
    began = time.monotonic()
    index = 0
    try:
        results.append(pipeline.process(scene[0].frame))
        period = _slowdown(time.monotonic() - began, len(scene)) / _RATE
        began = time.monotonic() - period  # when the first frame would have been played
        while index < len(scene) - 1:
            newest = int((time.monotonic() - began) / period)
            index = min(max(index + 1, newest), len(scene) - 1)
            results.append(pipeline.process(scene[index].frame))
            progress.step(index + 1)
    finally:
        progress.close()
    _say(f"{len(results)} of {len(scene)} frames processed")
    return results


def _slowdown(first: float, count: int) -> float:
    """Real time for a pipeline whose ``first`` frame took less than a second; else stretched to what is bearable.

    The first frame, with nothing known and code to load, takes several times longer than those that follow.
    """
    return 1.0 if first < 1.0 else max(1.0, min(_LONGEST_PLAY / count, _LONGEST_FRAME) * _RATE)


def _through_the_node(recording: Path, scene: list[DemoFrame], scratch: Path) -> list[People]:
    """Start the perception node and the player as processes of their own, and listen; ``scratch`` is a folder."""
    from human_recon.cli.demo_scene import TOPICS
    from human_recon.nodes.collector import ResultCollector

    node_log = scratch / "node.log"
    remaps = [word for name, topic in TOPICS.items() for word in ("-r", f"{name}:={topic}")]
    node_command = [sys.executable, "-m", "human_recon.nodes.perception"]
    node_command += ["--ros-args", *remaps, "-p", "use_color:=true"]
    frames: dict[int, Frame] = {item.frame.stamp_ns: item.frame for item in scene}
    _say("starting the perception node")
    with ResultCollector() as collector, _process(node_command, node_log) as node:
        _wait(lambda: collector.wait_for_topology(0.2) is not None, _NODE_START, "become active", node, node_log)

        _say("playing it the first frame (the first run on a machine compiles for about a minute)")
        _record(scratch / "first", scene[:1])
        began = time.monotonic()

        def answered() -> bool:
            # Input is best effort: a single frame may be lost, so it is sent until it comes back. A node that is
            # still busy with it keeps one of the repetitions and drops the rest.
            if collector.wait_for(min(frames), 0.0):
                return True
            _play(scratch / "first", 1.0, scratch, lambda: None)
            return collector.wait_for(min(frames), _REPEAT)

        _wait(answered, _FIRST_FRAME, "answer", node, node_log)
        first = time.monotonic() - began

        if len(scene) > 1:
            slowdown = _slowdown(first, len(scene))
            speed = "real time" if slowdown == 1 else f"{1 / slowdown:.2f} of real time"
            _say(f"that took {first:.1f} s; playing the rest in {speed}")
            order = {stamp: index for index, stamp in enumerate(sorted(frames), start=1)}
            progress = Progress("newest frame back from the node", len(scene))
            try:
                _play(
                    recording,
                    1 / slowdown,
                    scratch,
                    lambda: progress.step(order.get(max(collector.stamps), 0)),
                    "--start-offset",
                    f"{0.5 / _RATE}",
                )
            finally:
                progress.close()
            if not collector.wait_for(max(frames), _REPEAT + first):
                _say("the last frame did not come back")
        stamps = [stamp for stamp in collector.stamps if stamp in frames]
        _say(f"{len(stamps)} of {len(scene)} frames came back; the node takes the newest and drops the others")
        return [collector.people(frames[stamp]) for stamp in stamps]


def _wait(ready: Callable[[], bool], timeout: float, what: str, node: subprocess.Popen[bytes], log: Path) -> None:
    """Until ``ready``, which itself waits a little. Raises CommandError when the node ends or takes too long."""
    deadline = time.monotonic() + timeout
    while not ready():
        if node.poll() is not None:
            raise _failed(f"the perception node ended with status {node.returncode}", log)
        if time.monotonic() > deadline:
            raise _failed(f"the perception node did not {what} within {timeout:.0f} s", log)


def _play(recording: Path, rate: float, scratch: Path, tick: Callable[[], None], *options: str) -> None:
    """Run `human-recon play` to its end; ``tick`` is called meanwhile."""
    from human_recon.cli.demo_scene import TOPICS

    log = scratch / "player.log"
    command = [sys.executable, "-m", "human_recon.cli.main", "play", str(recording), "--rate", f"{rate:.6f}"]
    command += ["--wait-for-subscribers", str(len(TOPICS)), "--delay", f"{_DISCOVERY}", *options]
    timeout = _NODE_START + 3 * _LONGEST_PLAY
    with _process(command, log) as player:
        deadline = time.monotonic() + timeout
        while player.poll() is None:
            if time.monotonic() > deadline:
                raise _failed(f"the player did not come to an end within {timeout:.0f} s", log)
            time.sleep(0.1)
            tick()
    if player.returncode != 0:
        raise _failed(f"the player ended with status {player.returncode}", log)


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

    most = max(len(people.people) for people in results)
    fullest = [people for people in results if len(people.people) == most]
    picture = draw_summary(fullest[len(fullest) // 2], body.faces, "human-recon demo: a synthetic scene")
    write_picture(folder / "overlay.png", picture)
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
            yield f"  {error.title:<10} not found"
            continue
        yield (
            f"  {error.title:<10} found in {error.found}/{error.frames} frames, "
            f"pelvis {1000 * np.median(error.pelvis):.0f} mm off, surface {1000 * np.median(error.surface):.0f} mm, "
            f"stature {100 * np.median(error.stature):+.1f} cm"
        )
    yield f"  {extra} found that are not there"
