"""Publishing a rosbag2 with its own timing: what `ros2 bag play` does, without rosbag2's libraries."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection, Qos, QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from human_recon.io.errors import file_error

_POLL = 0.05  # seconds between looks for subscribers
_DEPTH = 10
_ACK_PATIENCE = 2.0  # seconds for reliable subscribers to get the last messages


@dataclass(frozen=True)
class PlayOptions:
    """How to play a bag."""

    rate: float = 1.0  # times real time, > 0
    loop: bool = False
    topics: Collection[str] = ()  # names in the bag; empty = all
    remap: Mapping[str, str] = field(default_factory=dict)  # name in the bag -> name to publish under
    clock_hz: float = 0.0  # publish /clock this often (per second of real time); 0 = not
    delay: float = 0.0  # seconds before the first message
    start_offset: float = 0.0  # seconds of the bag to skip
    wait_for_subscribers: int = 0  # wait until there are so many, on all topics together


class BagPlayer:
    """One bag on its topics; use as a context manager. Messages are sent as the bytes they were recorded as.

    Raises InputError when the bag cannot be read or nothing in it can be published.
    """

    def __init__(self, path: Path, options: PlayOptions) -> None:
        self._path = path
        self._options = options
        self.skipped: dict[str, str] = {}  # topic -> why it is not played
        if path.is_dir() and not (path / "metadata.yaml").exists():
            raise file_error(path, "the directory is no rosbag2 (it has no metadata.yaml); give a bag")
        if not path.exists():
            raise file_error(path, "there is no such bag; check the path")
        with self._errors():
            self._reader = Reader(path)
            self._reader.open()
        try:
            self._connections = self._choose()
            self.count = sum(connection.msgcount for connection in self._connections)
            # Ctrl-C raises KeyboardInterrupt where we are; rclpy would only end the context.
            self._context = Context()
            rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        except BaseException:
            self._reader.close()
            raise
        self._node = Node("human_recon_player", context=self._context)
        self._publishers: dict[str, Any] = {}
        for connection in self._connections:
            if connection.topic not in self._publishers:
                self._publishers[connection.topic] = self._node.create_publisher(
                    self._types[connection.topic],
                    options.remap.get(connection.topic, connection.topic),
                    publisher_qos(getattr(connection.ext, "offered_qos_profiles", [])),
                )
        self._clock = self._node.create_publisher(Clock, "/clock", 10) if options.clock_hz > 0 else None

    def __enter__(self) -> BagPlayer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """rosbags and the codecs under it raise a dozen kinds of errors on damaged files."""
        try:
            yield
        except Exception as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise file_error(
                self._path, f"the bag is damaged or of an unknown kind ({reason}); record it again"
            ) from None

    def _choose(self) -> list[Connection]:
        """The connections that were asked for and can be published."""
        offered = {connection.topic for connection in self._reader.connections}
        wanted = set(self._options.topics)
        if missing := sorted(wanted - offered):
            raise file_error(self._path, f"no topic {', '.join(missing)} (topics: {', '.join(sorted(offered))})")
        self._types: dict[str, type] = {}
        chosen = []
        for connection in self._reader.connections:
            topic = connection.topic
            if wanted and topic not in wanted:
                continue
            if topic == "/clock" and self._options.clock_hz > 0:
                self.skipped[topic] = "the player publishes its own"
                continue
            try:
                self._types[topic] = message_type(connection.msgtype)
            except (ImportError, AttributeError):
                self.skipped[topic] = f"the message type {connection.msgtype} is not installed"
                continue
            chosen.append(connection)
        if not chosen:
            reasons = "; ".join(f"{topic}: {reason}" for topic, reason in self.skipped.items())
            raise file_error(self._path, f"nothing to play ({reasons or 'the bag has no topics'})")
        return chosen

    def play(self, progress: Callable[[int], None] = lambda count: None) -> None:
        """Play to the end, or for ever when looping; ``progress`` gets the number of messages published so far."""
        options = self._options
        self._wait_for_subscribers()
        self._wait_until(time.monotonic() + options.delay)
        first = self._reader.start_time + round(options.start_offset * 1e9)
        count = 0
        while True:
            began = time.monotonic()
            before = count
            for connection, stamp, data in self._messages(first):
                due = began + (stamp - first) / 1e9 / options.rate
                self._keep_time(began, first, due)
                self._publishers[connection.topic].publish(data)
                count += 1
                progress(count)
            if count == before:
                raise file_error(self._path, f"there is no message after {options.start_offset:g} s; start earlier")
            if not options.loop:
                break
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=_ACK_PATIENCE))

    def _messages(self, first: int) -> Iterator[tuple[Connection, int, bytes]]:
        with self._errors():
            stream = iter(self._reader.messages(self._connections, start=first))
        while True:
            with self._errors():
                item = next(stream, None)
            if item is None:
                return
            yield item

    def _keep_time(self, began: float, first: int, due: float) -> None:
        """Sleep until ``due``, publishing /clock on the way and with the message."""
        if self._clock is None:
            self._wait_until(due)
            return
        period = 1.0 / self._options.clock_hz
        while True:
            now = min(time.monotonic(), due)
            self._publish_clock(first + round((now - began) * self._options.rate * 1e9))
            if now >= due:
                return
            self._wait_until(min(due, now + period))

    def _publish_clock(self, stamp: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(stamp, 1_000_000_000)
        assert self._clock is not None
        self._clock.publish(message)

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))

    def _wait_for_subscribers(self) -> None:
        number = self._options.wait_for_subscribers
        while sum(publisher.get_subscription_count() for publisher in self._publishers.values()) < number:
            time.sleep(_POLL)


def message_type(name: str) -> type:
    """The class of "package/msg/Name". Raises ImportError or AttributeError when it is missing."""
    package, _, message = name.split("/")
    kind: Any = getattr(importlib.import_module(f"{package}.msg"), message)
    kind.__class__.__import_type_support__()
    return kind


def publisher_qos(profiles: list[Qos]) -> QoSProfile:
    """As the topic was recorded: reliable unless all its publishers were best effort, latched if one was."""
    qos = QoSProfile(depth=_DEPTH)
    if profiles:
        qos.depth = max(_DEPTH, *(profile.depth for profile in profiles))
        if all(profile.reliability is QosReliability.BEST_EFFORT for profile in profiles):
            qos.reliability = ReliabilityPolicy.BEST_EFFORT
        if any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in profiles):
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos
