"""What may happen to a node in the field: each time it must go on by itself, and not talk about it for ever.

A real node process with the fake pipeline of ros_support, and real players that are killed.
"""

from __future__ import annotations

import itertools
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from human_recon_msgs.msg import MeshArray, PersonArray
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import (
    FRAME_ID,
    HEIGHT,
    WIDTH,
    Camera,
    Diagnosis,
    Domain,
    SharedNode,
    depth_message,
    filled,
    info_message,
    set_stamp,
    values_of,
)

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.bag_writer import write_bag

pytestmark = pytest.mark.ros

SECOND = 1_000_000_000
MS = 1_000_000
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
MOST_LINES = 30  # of output for hundreds of bad frames


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedNode]:
    domain = Domain()
    with domain.fake_node() as process:
        yield SharedNode(domain, process)
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 10.0, "a clean end is a quick one"
    # Garbage may look like the distance that breaks the fake pipeline; that story is told in full, once.
    output = process.output
    assert output.count("Traceback") == output.count("frame lost: Traceback") <= 1, output
    domain.close()


def stamp_of(message: object) -> int:
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


def resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def test_a_killed_player_is_followed_by_the_next(tmp_path: Path) -> None:
    depth = np.full((HEIGHT, WIDTH), 2.5, np.float32)
    camera = CameraIntrinsics(WIDTH, HEIGHT, 30.0, 30.0, 15.5, 11.5)
    frames = [Frame(100 * SECOND + index * 50 * MS, FRAME_ID, depth, camera) for index in range(20)]
    write_bag(tmp_path / "bag", frames)
    command = ("-m", "human_recon.cli.main", "play", str(tmp_path / "bag"), "--loop", "--wait-for-subscribers", "2")
    remap = ["-r", "depth/image:=/camera/depth/image_raw", "-r", "depth/camera_info:=/camera/depth/camera_info"]
    domain = Domain()
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    options = ["--ros-args", *remap, "-p", "input_timeout:=0.5", "-p", "diagnostics_period:=0.1"]
    with domain.process(str(Path(__file__).with_name("ros_support.py")), *options) as node:
        with domain.process(*command) as player:
            domain.wait(lambda: len(people) > 5, what="for people")
            diagnosis.wait(OK, "running")
            player.signal(signal.SIGKILL)
            player.wait(10.0)
        diagnosis.wait(WARN, "no input for 0.5 s")
        seen = len(people)
        with domain.process(*command):
            domain.wait(lambda: len(people) > seen + 25, what="for the bag to start over")
        assert node.stop() == 0
    ids = [message.people[0].id for message in people]
    # One reset for the second player's first frame, unless the first one was killed near the bag's begin, and one for
    # each time that the bag starts over.
    assert ids[0] == 2 and ids == sorted(ids) and len(set(ids)) >= 2, ids
    assert "Traceback" not in node.output and len(node.lines) < MOST_LINES, node.output
    domain.close()


def garbage(count: int) -> Iterator[tuple[Image, CameraInfo]]:
    """Depth images and camera infos with one thing or several wrong."""
    rng = np.random.default_rng(1)
    for number in range(count):
        stamp = (10 + number) * SECOND
        image, info = depth_message(stamp, 2.5), info_message(stamp)
        for fault in rng.choice(8, size=rng.integers(1, 4), replace=False):
            if fault == 0:
                image.data = filled(rng.integers(0, 256, rng.integers(0, 4000)).astype(np.uint8))
            elif fault == 1:
                image.encoding = str(rng.choice(["", "rgb8", "16uc1", "32FC3", "mono16", "☃", "x" * 1000]))
            elif fault == 2:
                image.width, image.height = (int(value) for value in rng.choice([0, 1, 31, 4_000_000_000], 2))
            elif fault == 3:
                image.step = int(rng.choice([0, 1, 63, 65, 4_000_000_000]))
            elif fault == 4:
                info.k = rng.choice([0.0, -1.0, math.nan, math.inf, 1e300, 30.0], 9)
            elif fault == 5:
                info.distortion_model = str(rng.choice(["", "fisheye", "equidistant", "plumb_bob"]))
                info.d = rng.choice([0.0, math.nan, 1e9], rng.integers(0, 20)).tolist()
            elif fault == 6:
                info.width, info.height = (int(value) for value in rng.choice([0, 1, 640, 4_000_000_000], 2))
            else:
                info.roi.width, info.roi.height = (int(value) for value in rng.choice([1, 4_000_000_000], 2))
                info.binning_x = int(rng.choice([0, 3, 4_000_000_000]))
        yield image, info


def test_garbage_is_counted_and_survived(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    lines = len(shared.process.lines)
    sent = 300
    memory = resident_megabytes(shared.process.pid)
    for image, info in garbage(sent):
        camera.send(image, info)
        time.sleep(0.005)
    camera.send(depth_message(1000 * SECOND, 2.5))
    domain.wait(lambda: people and stamp_of(people[-1]) == 1000 * SECOND, what="for the good frame")
    status = diagnosis.wait(OK, "running")
    values = {
        name: int(values_of(status)[f"frames {name}"]) for name in ("received", "processed", "dropped", "rejected")
    }
    assert values["received"] == values["processed"] + values["dropped"] + values["rejected"]
    assert values["rejected"] > sent / 4, "most of it cannot be used"
    assert len(people) == values["processed"], "nothing is published of what was not processed"
    assert len(shared.process.lines) - lines < MOST_LINES, "\n".join(shared.process.lines[lines:])
    assert resident_megabytes(shared.process.pid) - memory < 30


def test_stamps_that_jump_about_are_survived(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    lines = len(shared.process.lines)
    stamps = np.random.default_rng(2).integers(0, 2_000_000_000, 200).tolist()  # seconds: the whole range of sec
    for stamp in stamps:
        camera.send(depth_message(stamp * SECOND, 2.5))
        time.sleep(0.005)
    # Stamps that stand still are no jump. The first of these may still meet what was sent before.
    for _ in range(10):
        camera.send(depth_message(2_100_000_000 * SECOND, 2.5))
        time.sleep(0.02)
    domain.wait(lambda: people and stamp_of(people[-1]) == 2_100_000_000 * SECOND)
    status = diagnosis.wait(OK, "running")
    back = sum(later < earlier for earlier, later in itertools.pairwise(stamps))
    assert 0 < int(values_of(status)["time jumps"]) <= 2 * back, "images and camera infos are looked at alike"
    ids = [message.people[0].id for message in people]
    assert ids == sorted(ids), "ids are never used again"
    assert len(shared.process.lines) - lines < MOST_LINES, "\n".join(shared.process.lines[lines:])


def test_a_repeated_stamp_is_not_sent_to_tf_again(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    transforms = domain.listen("/tf", TFMessage, 100)
    camera = Camera(domain)
    camera.wait_for_node()
    for count, stamp in enumerate((5, 5, 6), start=1):
        camera.send(depth_message(stamp * SECOND, 2.5))
        domain.wait(lambda count=count: len(people) == count)
    domain.wait(lambda: transforms and transforms[-1].transforms[0].header.stamp.sec == 6)
    assert [message.transforms[0].header.stamp.sec for message in transforms] == [5, 6]


def test_any_frame_rate_will_do(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    stamp = 0
    for rate, count in ((60, 60), (5, 8), (200, 100), (1, 2), (30, 30)):
        for _ in range(count):
            stamp += SECOND // rate
            camera.send(depth_message(stamp, 2.5))
            time.sleep(1 / rate)
        domain.wait(lambda stamp=stamp: people and stamp_of(people[-1]) == stamp, what=f"at {rate} Hz")
    stamps = [stamp_of(message) for message in people]
    assert stamps == sorted(set(stamps)) and {message.people[0].id for message in people} == {2}
    assert values_of(diagnosis.wait(OK, "running"))["time jumps"] == "0"


def test_subscribers_come_and_go(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    topics = {
        "/perception/people": PersonArray,
        "/perception/meshes": MeshArray,
        "/perception/markers": MarkerArray,
        "/perception/labels": Image,
        "/perception/overlay": Image,
        "/perception/correspondences": Image,
    }
    stamp = 0
    for topic, kind in topics.items():
        heard: list = []
        subscription = domain.node.create_subscription(kind, topic, heard.append, 10)
        for _ in range(2000):  # until it is connected and served
            stamp += 10 * MS
            camera.send(depth_message(stamp, 2.5, 8.5))
            time.sleep(0.01)
            if len(heard) > 2:
                break
        assert len(heard) > 2, topic
        domain.node.destroy_subscription(subscription)  # in the middle of the stream
    for _ in range(2000):
        before = int(values_of(diagnosis.history[-1])["frames nobody wanted"]) if diagnosis.history else 0
        stamp += 10 * MS
        camera.send(depth_message(stamp, 2.5))
        time.sleep(0.01)
        if before > 0:
            break
    assert before > 0, "nobody is left, and nothing is computed"
    assert diagnosis.history[-1].level == OK, diagnosis.history[-1].message


def test_many_people_are_told_in_full(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    meshes = domain.listen("/perception/meshes", MeshArray)
    markers = domain.listen("/perception/markers", MarkerArray)
    transforms = domain.listen("/tf", TFMessage, 100)
    camera = Camera(domain)
    camera.wait_for_node()
    metres = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 10.5, 11.5]  # 9 m breaks the fake pipeline
    camera.send(depth_message(SECOND, *metres))
    domain.wait(lambda: people and meshes and markers and transforms)
    numbers = [int(metre) for metre in metres]
    assert [person.id for person in people[0].people] == numbers
    assert [mesh.id for mesh in meshes[0].meshes] == numbers
    assert {marker.id for marker in markers[0].markers} == set(numbers)
    assert len(transforms[0].transforms) == 24 * len(numbers)
    header = people[0].header
    expected = Image()
    set_stamp(expected.header, SECOND)
    assert header == expected.header
