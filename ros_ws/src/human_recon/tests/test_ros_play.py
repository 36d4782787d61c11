"""`human-recon play` as a real process: what it publishes, when, and how it fails."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import Domain, Process

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.bag_writer import write_bag

pytestmark = pytest.mark.ros

DEPTH, INFO = "/camera/depth/image_raw", "/camera/depth/camera_info"
CAMERA = CameraIntrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
START = 1_700_000_000_000_000_000  # nanoseconds
PERIOD = 100_000_000  # nanoseconds
COUNT = 8


def frames() -> list[Frame]:
    return [
        Frame(START + index * PERIOD, "optical", np.full((240, 320), 1.0 + index, np.float32), CAMERA)
        for index in range(COUNT)
    ]


@pytest.fixture(scope="module", params=["mcap", "sqlite3"])
def bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / request.param
    write_bag(path, frames(), storage=request.param)
    return path


@pytest.fixture
def domain() -> Iterator[Domain]:
    domain = Domain()
    yield domain
    domain.close()


def play(domain: Domain, *arguments: object):
    return domain.process("-m", "human_recon.cli.main", "play", *map(str, arguments))


def finish(player: Process, timeout: float = 60.0) -> None:
    assert player.wait(timeout) == 0, player.output
    assert "Traceback" not in player.output


def stamps_of(messages: list) -> list[int]:
    return [message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec for message in messages]


def test_plays_every_message_unchanged_and_in_time(domain: Domain, bag: Path) -> None:
    images, arrivals = [], []

    def take(message: Image) -> None:
        with domain.changed:
            arrivals.append(time.monotonic())
            images.append(message)
            domain.changed.notify_all()

    domain.node.create_subscription(Image, DEPTH, take, 50)
    infos = domain.listen(INFO, CameraInfo, 50)
    with play(domain, bag, "--wait-for-subscribers", 2, "--rate", 2) as player:
        domain.wait(lambda: len(images) == COUNT and len(infos) == COUNT)
        finish(player)
    expected = [START + index * PERIOD for index in range(COUNT)]
    assert stamps_of(images) == stamps_of(infos) == expected
    for index, image in enumerate(images):
        assert (image.encoding, image.width, image.height, image.header.frame_id) == ("16UC1", 320, 240, "optical")
        assert set(np.frombuffer(image.data, "<u2")) == {1000 + 1000 * index}
    # 7 periods of 0.1 s at twice the speed. Late is the machine's fault, early would be ours.
    length = arrivals[-1] - arrivals[0]
    assert 0.30 < length < 5.0, f"played in {length:.2f} s instead of 0.35 s"


def test_topics_can_be_chosen_and_renamed(domain: Domain, bag: Path) -> None:
    renamed = domain.listen("/front/depth", Image, 50)
    infos = domain.listen(INFO, CameraInfo, 50)
    options = ["--topics", DEPTH, "--remap", f"{DEPTH}:=/front/depth", "--start-offset", 0.45, "-r", 20]
    with play(domain, bag, "--wait-for-subscribers", 1, *options) as player:
        domain.wait(lambda: len(renamed) == COUNT - 5)
        finish(player)
    assert stamps_of(renamed) == [START + index * PERIOD for index in range(5, COUNT)]
    assert infos == []


def test_publishes_the_clock_of_the_bag(domain: Domain, bag: Path) -> None:
    clocks = domain.listen("/clock", Clock, 1000)
    images = domain.listen(DEPTH, Image, 50)
    with play(domain, bag, "--wait-for-subscribers", "--clock", 100) as player:
        domain.wait(lambda: len(images) == COUNT)
        finish(player)
    times = np.array([message.clock.sec * 1_000_000_000 + message.clock.nanosec for message in clocks])
    assert (np.diff(times) >= 0).all()
    assert times[0] == pytest.approx(START, abs=PERIOD) and times[-1] == START + (COUNT - 1) * PERIOD
    assert len(times) > 20, "more often than messages come"


def test_loops_until_interrupted(domain: Domain, bag: Path) -> None:
    images = domain.listen(DEPTH, Image, 50)
    with play(domain, bag, "--wait-for-subscribers", "--loop", "--rate", 10) as player:
        domain.wait(lambda: len(images) > 3 * COUNT)
        player.signal(signal.SIGINT)
        assert player.wait(10.0) == 130, player.output  # as shells report an interrupted program
    assert "Traceback" not in player.output
    # A subscriber that cannot keep up at ten times the speed may miss some, so only: it starts over, in order.
    steps = np.diff(stamps_of(images))
    assert (steps < 0).sum() >= 2 and (steps != 0).all()


def test_types_without_support_are_skipped_and_named(domain: Domain, tmp_path: Path) -> None:
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg("int32 number", "nowhere_msgs/msg/Odd"))
    path = tmp_path / "odd"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        odd = writer.add_connection("/odd", "nowhere_msgs/msg/Odd", typestore=types)
        clock = writer.add_connection("/clock", "rosgraph_msgs/msg/Clock", typestore=types)
        time_type = types.types["builtin_interfaces/msg/Time"]
        message = types.types["nowhere_msgs/msg/Odd"](number=1)
        writer.write(odd, 1, types.serialize_cdr(message, "nowhere_msgs/msg/Odd"))
        tick = types.types["rosgraph_msgs/msg/Clock"](clock=time_type(sec=7, nanosec=0))
        writer.write(clock, 2, types.serialize_cdr(tick, "rosgraph_msgs/msg/Clock"))
    clocks = domain.listen("/clock", Clock)
    with play(domain, path, "--wait-for-subscribers") as player:
        domain.wait(lambda: clocks)
        finish(player)
    assert clocks[0].clock.sec == 7
    assert "/odd is not played: the message type nowhere_msgs/msg/Odd is not installed" in player.output
    with play(domain, path, "--topics", "/odd") as player:
        assert player.wait(30.0) == 2
    assert "nothing to play" in player.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing"], "there is no such bag"),
        (["BAG", "--topics", "/nothing"], "no topic /nothing"),
        (["BAG", "--rate", "0"], "must be more than 0"),
        (["BAG", "--rate", "nan"], "not a number"),
        (["BAG", "--remap", "a=b"], "is not OLD:=NEW"),
        (["BAG", "--start-offset", "1000"], "start earlier"),
        (["EMPTY"], "has no metadata.yaml"),
        (["CUT"], "the bag is damaged"),
        (["TEXT"], "the bag is damaged or of an unknown kind"),
    ],
)
def test_what_cannot_be_played_gets_one_clear_line(
    domain: Domain, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    bag = tmp_path / "good"
    write_bag(bag, frames()[:2])
    (tmp_path / "empty").mkdir()
    (file,) = bag.glob("*.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    text = tmp_path / "text.mcap"
    text.write_text("no bag")
    names = {"BAG": bag, "EMPTY": tmp_path / "empty", "CUT": cut, "TEXT": text}
    with play(domain, *(names.get(word, word) for word in arguments)) as player:
        assert player.wait(30.0) == 2, player.output
    assert reason in player.output.splitlines()[-1], player.output
    assert "Traceback" not in player.output
