"""For benchmark_node.py and soak.py: the perception node in a process of its own, a camera for it, and its results.

The camera publishes prerendered messages as bytes from a thread; results are received as bytes and only their stamps
are read while it runs, so that measuring takes as little as possible of the processor that is measured.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ros_ws/src/human_recon"
sys.path.insert(0, str(PACKAGE))

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from human_recon_msgs.msg import MeshArray, PersonArray  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.qos import QoSProfile, qos_profile_sensor_data  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.nodes.middleware import use_fastdds_profile  # noqa: E402

OUTPUTS = {
    "people": PersonArray,
    "meshes": MeshArray,
    "labels": Image,
    "overlay": Image,
    "markers": MarkerArray,
    "tf": TFMessage,
}
_STAMPED = ("people", "meshes", "labels", "overlay")  # their serialised form begins with a header
_STAMP_AT = 4  # bytes of encapsulation before the header's stamp
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NodeFailed(Exception):
    """The node does not do what it was started for; the message ends with what it said last."""


def private_domain() -> dict[str, str]:
    """Put this process, and those it starts with the result as environment, into a ROS domain of their own."""
    # Above, the ports are those handed to any program.
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 102))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    use_fastdds_profile(PACKAGE / "config/fastdds.xml")
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


# ---------------------------------------------------------------- the node


@dataclass(frozen=True)
class Usage:
    """What a process has taken so far."""

    at: float  # time.monotonic()
    cpu_seconds: float  # of all its threads, user and system
    rss_mb: float  # resident memory now, 10^6 bytes
    threads: int

    @staticmethod
    def of(pid: int) -> Usage:
        """Read from /proc. Raises OSError when there is no such process."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # from the third field on
        ticks, threads, pages = int(fields[11]) + int(fields[12]), int(fields[17]), int(fields[21])
        return Usage(time.monotonic(), ticks / _TICKS, pages * _PAGE / 1e6, threads)

    def cores_since(self, before: Usage) -> float:
        """Mean number of cores busy between two readings."""
        return (self.cpu_seconds - before.cpu_seconds) / max(self.at - before.at, 1e-9)


class NodeProcess:
    """The perception node as a child; what it prints is kept (the last lines) and counted."""

    def __init__(self, environment: dict[str, str], parameters: Iterable[str], command: Sequence[str] = ()) -> None:
        """``parameters`` are name:=value; ``command`` stands in for the node's own, to which they are given."""
        command = command or (sys.executable, "-m", "human_recon.nodes.perception")
        options = [word for parameter in parameters for word in ("-p", parameter)]
        self._process = subprocess.Popen(
            [*command, "--ros-args", *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._last: deque[str] = deque(maxlen=40)
        self.lines = 0
        self.warnings: list[str] = []  # the first thousand lines of level WARN and above
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines += 1
            self._last.append(line.rstrip())
            if any(level in line for level in ("[WARN]", "[ERROR]", "[FATAL]")) and len(self.warnings) < 1000:
                self.warnings.append(line.rstrip())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        return "\n".join(self._last)

    def check(self) -> None:
        """Raise NodeFailed if it has ended."""
        if self._process.poll() is not None:
            self._reader.join(2.0)
            raise NodeFailed(f"the node ended with code {self._process.returncode}:\n{self.last_words}")

    def usage(self) -> Usage:
        self.check()
        return Usage.of(self.pid)

    def stop(self, patience: float = 20.0) -> tuple[int, float]:
        """Interrupt it as Ctrl-C does; its exit code and how many seconds it took. Killed when it does not stop."""
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5.0)
        self._reader.join(2.0)
        return self._process.returncode, time.monotonic() - began


# ---------------------------------------------------------------- the camera


@dataclass
class Footage:
    """Frames as serialised messages; their stamps are set when they are sent."""

    images: list[bytearray]
    info: bytearray

    @staticmethod
    def of(frames: Sequence[Frame]) -> Footage:
        """16UC1 images in millimetres and the camera of the first frame."""
        camera, frame_id = frames[0].intrinsics, frames[0].frame_id
        info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob", d=[0.0] * 5)
        info.header.frame_id = frame_id
        info.k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], np.float64)
        info.r = np.eye(3).ravel()
        info.p = np.array([camera.fx, 0, camera.cx, 0, 0, camera.fy, camera.cy, 0, 0, 0, 1, 0], np.float64)
        images = []
        for frame in frames:
            pixels = np.rint(frame.depth * 1000.0).astype("<u2")
            image = Image(height=camera.height, width=camera.width, encoding="16UC1", step=2 * camera.width)
            image.header.frame_id = frame_id
            image.data.frombytes(pixels.tobytes())
            images.append(bytearray(serialize_message(image)))
        return Footage(images, bytearray(serialize_message(info)))


def set_stamp(message: bytearray, stamp_ns: int) -> bytes:
    """A serialised message whose first field is a header, with that stamp."""
    struct.pack_into("<iI", message, _STAMP_AT, stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000)
    return bytes(message)


def stamp_of(message: bytes) -> int:
    """Nanoseconds; of a serialised message whose first field is a header."""
    seconds, nanoseconds = struct.unpack_from("<iI", message, _STAMP_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


@dataclass
class Arrival:
    """When the results of one frame came, time.monotonic() by topic."""

    sent: float
    came: dict[str, float] = field(default_factory=dict)


class Bench:
    """Camera and listener in one node; use as a context manager."""

    def __init__(self, outputs: Sequence[str] = ("people", "meshes"), keep_people: int = 10) -> None:
        """``outputs`` are those to subscribe to; every ``keep_people``-th people message is kept for `people`."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("bench", context=self.context)
        self._depth = self.node.create_publisher(Image, "depth/image", qos_profile_sensor_data)
        self._info = self.node.create_publisher(CameraInfo, "depth/camera_info", qos_profile_sensor_data)
        self.arrivals: dict[int, Arrival] = {}  # by stamp
        self.diagnostics: dict[str, str] = {}  # values of the newest
        self._lock = threading.Lock()
        self._keep, self._counted = keep_people, 0
        self._kept: list[bytes] = []
        queue = QoSProfile(depth=10)
        for name in outputs:
            topic = "/tf" if name == "tf" else f"/perception/{name}"
            self.node.create_subscription(
                OUTPUTS[name], topic, lambda data, name=name: self._on_result(name, data), queue, raw=True
            )
        self.outputs = tuple(name for name in outputs if name in _STAMPED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(5.0)
        self.node.destroy_node()
        self.context.try_shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_result(self, name: str, data: bytes) -> None:
        now = time.monotonic()
        if name not in _STAMPED:
            return
        with self._lock:
            arrival = self.arrivals.get(stamp_of(data))
            if arrival is not None:
                arrival.came.setdefault(name, now)
            if name == "people":
                self._counted += 1
                if self._counted % self._keep == 0:
                    self._kept.append(data)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.diagnostics = {"message": status.message, **{entry.key: entry.value for entry in status.values}}

    def wait_for_node(self, node: NodeProcess, timeout: float = 180.0) -> None:
        """Until the node listens to the camera. Raises NodeFailed."""
        end = time.monotonic() + timeout
        while not (self._depth.get_subscription_count() and self._info.get_subscription_count()):
            node.check()
            if (said := self.diagnostics.get("message", "")).startswith("cannot be configured"):
                raise NodeFailed(said)
            if time.monotonic() > end:
                raise NodeFailed(f"the node does not listen after {timeout:.0f} s:\n{node.last_words}")
            time.sleep(0.05)

    def send(self, footage: Footage, index: int, stamp_ns: int) -> None:
        """One frame."""
        image = set_stamp(footage.images[index], stamp_ns)
        info = set_stamp(footage.info, stamp_ns)
        with self._lock:
            self.arrivals[stamp_ns] = Arrival(time.monotonic())
        self._info.publish(info)
        self._depth.publish(image)

    def warm_up(self, node: NodeProcess, footage: Footage, frames: int = 10, timeout: float = 300.0) -> float:
        """Send frames, each when the one before is answered, until ``frames`` are; seconds to the first answer.

        The first frame on a machine compiles. Raises NodeFailed.
        """
        began, first, answered = time.monotonic(), 0.0, 0
        for index in range(100_000):
            stamp = time.time_ns()
            self.send(footage, index % len(footage.images), stamp)
            wait_until = time.monotonic() + 5.0
            while time.monotonic() < wait_until and not self._complete(stamp):
                time.sleep(0.002)
            if self._complete(stamp):
                answered += 1
                first = first or time.monotonic() - began
                if answered >= frames:
                    return first
            node.check()
            if time.monotonic() - began > timeout:
                raise NodeFailed(f"{answered} answers within {timeout:.0f} s:\n{node.last_words}")
        raise AssertionError("not reached")

    def _complete(self, stamp: int) -> bool:
        with self._lock:
            return all(name in self.arrivals[stamp].came for name in self.outputs)

    def stream(
        self,
        footage: Footage,
        rate: float,
        seconds: float,
        every_second: Callable[[], None] = lambda: None,
        settle: float = 1.0,
    ) -> dict[int, Arrival]:
        """Play the footage forth and back at ``rate`` for ``seconds``; what came by stamp, ``settle`` seconds later."""
        count, order = round(rate * seconds), forth_and_back(len(footage.images))
        with self._lock:
            self.arrivals.clear()
        began, stamp_0 = time.monotonic(), time.time_ns()
        told = began
        for k in range(count):
            due = began + k / rate
            while (left := due - time.monotonic()) > 0:
                time.sleep(left)
            self.send(footage, order[k % len(order)], stamp_0 + round(k * 1e9 / rate))
            if time.monotonic() - told >= 1.0:
                told += 1.0
                every_second()
        time.sleep(settle)
        with self._lock:
            return dict(self.arrivals)

    def people(self) -> list[int]:
        """Numbers of people in the kept messages, which are forgotten."""
        with self._lock:
            kept, self._kept = self._kept, []
        return [len(deserialize_message(data, PersonArray).people) for data in kept]


def forth_and_back(count: int) -> list[int]:
    """0 ... count - 1 ... 1: the order in which frames of a movement are played for ever without a jump."""
    return [*range(count), *range(count - 2, 0, -1)]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and largest in milliseconds."""
    if not len(seconds):
        return {}
    p50, p95, most = 1e3 * np.quantile(np.asarray(seconds, np.float64), [0.5, 0.95, 1.0])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "max": round(float(most), 2)}
