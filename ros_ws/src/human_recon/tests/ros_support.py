"""For the ROS tests: real node processes, a node of the test's own that listens and sends, and a quick fake pipeline.

`python ros_support.py --ros-args ...` is the perception node with the fake pipeline.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.nodes.perception import Brain, run
from human_recon.nodes.settings import READ_ONLY, Settings, parameter_specs
from human_recon.people import People, Person, TemplateMesh
from human_recon.template.surface import Template

WIDTH, HEIGHT = 32, 24
FRAME_ID = "test_camera_optical_frame"
LATCHED = QoSProfile(
    depth=1, durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL, reliability=rclpy.qos.ReliabilityPolicy.RELIABLE
)

# ---------------------------------------------------------------- a quick pipeline

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
BROKEN_DEPTH = 9.0  # metres: the fake pipeline raises on it


@dataclass(frozen=True)
class TinyBody:
    """A tetrahedron in the layout of a body model."""

    name: str = "tiny"
    v_template: np.ndarray = field(default_factory=lambda: np.vstack([np.zeros(3), np.eye(3)]).astype(np.float32))
    faces: np.ndarray = field(default_factory=lambda: np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32))
    shapedirs: np.ndarray = field(default_factory=lambda: np.zeros((4, 3, 10), np.float32))
    posedirs: np.ndarray = field(default_factory=lambda: np.zeros((4, 3, 207), np.float32))
    j_regressor: np.ndarray = field(default_factory=lambda: np.full((24, 4), 0.25, np.float32))
    weights: np.ndarray = field(default_factory=lambda: np.eye(4, 24, dtype=np.float32))
    parents: np.ndarray = field(default_factory=lambda: np.array(PARENTS, np.int32))
    joint_names: tuple[str, ...] = tuple(f"joint_{index}" for index in range(24))

    @property
    def j_template(self) -> np.ndarray:
        return self.j_regressor @ self.v_template


def fake_person(number: int, depth: float) -> Person:
    """A person whose numbers can be told from each other."""
    pose = np.zeros((24, 3))
    pose[0] = (np.pi, 0.0, 0.0)  # upright in the optical frame
    pose[1] = (0.0, 0.0, 0.1 * number)
    joints = np.array([[0.01 * index, -0.02 * index, depth] for index in range(24)], np.float32)
    return Person(
        id=number,
        confidence=0.5,
        state=BodyState(np.arange(10) * 0.1, pose, np.array([0.1, 0.2, depth])),
        vertices=TinyBody().v_template + np.float32([0, 0, depth]),
        joints=joints,
        joint_sigma=np.full(24, 0.02, np.float32),
        joint_visible=np.arange(24) % 2 == 0,
        height=1.75,
        roi=(1, 2, 3, 4),
        residual=0.01,
    )


def known_person(number: int, depth: float) -> Person:
    """A person of whom everything is known, each number another."""
    return replace(
        fake_person(number, depth),
        life="occluded",
        measured=False,
        age=12.25,
        shape_locked=True,
        visibility=0.375,
        joint_covariance=np.arange(216.0).reshape(24, 3, 3),
        joint_confidence=(np.arange(24) / 100).astype(np.float32),
        root_covariance=np.arange(36.0).reshape(6, 6),
        velocity=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        velocity_covariance=np.arange(36.0).reshape(6, 6) + 100,
    )


KNOWN_DEPTH, TENTATIVE_DEPTH, TEMPLATE_DEPTH = 6.5, 7.5, 8.5  # metres: who stands there is special
PYRAMID = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]], np.int32)


def rest_template() -> Template:
    return Template(
        name="pyramid",
        vertices=np.eye(5, 3, dtype=np.float32),
        faces=PYRAMID.copy(),
        betas=np.arange(10) * 0.1,
        skin_indices=np.zeros((5, 4), np.int32),
        skin_weights=np.eye(1, 4, dtype=np.float32).repeat(5, axis=0),
        corners=np.zeros((5, 3), np.int32),
        shares=np.full((5, 3), 1 / 3, np.float32),
        confidence=np.linspace(0, 1, 5, dtype=np.float32),
    )


class FakePipeline:
    """One person per whole metre at which there is depth, with that id; 100 more after each reset.

    Who is 6 m away is a `known_person`, who is 7 m away tentative, who is 8 m away has a template.

    Takes FAKE_SECONDS (environment) per frame, inside compiled code that cannot be interrupted.
    """

    engines = ("people_net: a stand-in",)

    def __init__(self) -> None:
        self.resets = -1  # the node resets once when it is activated
        self.threads: set[int] = set()
        self.locked: set[int] = set()
        self.there: set[int] = set()

    def _called(self) -> None:
        self.threads.add(threading.get_ident())
        assert len(self.threads) == 1, "the pipeline was called from two threads"

    def lock_shape(self, person: int, lock: bool) -> bool:
        self._called()
        whose = self.there if person == 0 else self.there & {person}
        self.locked = self.locked | whose if lock else self.locked - whose
        return bool(whose)

    def template(self, person: int) -> Template | None:
        self._called()
        return rest_template() if person % 100 == int(TEMPLATE_DEPTH) else None

    def reset(self) -> None:
        self.resets += 1

    def process(self, frame: Frame, *, pixels: bool = True) -> People:
        self._called()
        seconds = float(os.environ.get("FAKE_SECONDS", "0"))
        if seconds:
            print("fake pipeline: busy", flush=True)
            _burn(seconds)
        if (np.abs(frame.depth - BROKEN_DEPTH) < 0.01).any():
            raise RuntimeError("the pipeline broke")
        labels = np.floor(frame.depth).astype(np.uint16)
        people = []
        for metre in np.unique(labels[labels > 0]):
            make = known_person if metre == int(KNOWN_DEPTH) else fake_person
            person = make(int(metre) + 100 * self.resets, float(metre))
            if metre == int(TENTATIVE_DEPTH):
                person = replace(person, life="tentative")
            people.append(replace(person, shape_locked=person.shape_locked or person.id in self.locked))
        self.there = {person.id for person in people}
        if frame.up is not None:
            # Tell the test where up is.
            people = [Person(**{**vars(person), "joints": np.tile(frame.up, (24, 1))}) for person in people]
        templates = tuple(
            TemplateMesh(person.id, np.eye(5, 3, dtype=np.float32), PYRAMID, np.linspace(0, 1, 5, dtype=np.float32))
            for person in people
            if person.id % 100 == int(TEMPLATE_DEPTH)
        )
        vertices = np.where(labels > 0, labels.astype(np.int16), np.int16(-1))  # of the body model
        parts = np.where(labels > 0, np.uint8(0), np.uint8(255))
        return People(frame, tuple(people), labels, None, {"fake": 0.001}, parts, vertices, templates)


def _burn(seconds: float) -> None:
    """Holds the GIL for stretches of 50 ms, as compiled code does."""
    end = time.monotonic() + seconds
    pattern = "(a+)+b"
    import re

    while time.monotonic() < end:
        re.match(pattern, "a" * 20)


def load_fake(settings: Settings) -> Brain:
    """In place of `load_brain`."""
    if settings.body_model and not Path(settings.body_model).is_file():
        raise ValueError(f"{settings.body_model}: there is no such body model; check the parameter body_model")
    return Brain(FakePipeline(), TinyBody())  # type: ignore[arg-type]


# ---------------------------------------------------------------- messages


def filled(values: np.ndarray) -> array:
    """Message data."""
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).tobytes())
    return data


def set_stamp(header: Any, stamp_ns: int) -> None:
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    header.frame_id = FRAME_ID


def depth_message(stamp_ns: int, *metres: float, encoding: str = "16UC1") -> Image:
    """A depth image of vertical stripes at these distances; none: no reading anywhere."""
    depth = np.zeros((HEIGHT, WIDTH))
    for index, value in enumerate(metres):
        depth[:, index * WIDTH // len(metres) : (index + 1) * WIDTH // len(metres)] = value
    pixels = np.rint(depth * 1000).astype("<u2") if encoding == "16UC1" else depth.astype("<f4")
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=WIDTH * pixels.itemsize, data=filled(pixels))
    set_stamp(message.header, stamp_ns)
    return message


def info_message(stamp_ns: int, width: int = WIDTH, height: int = HEIGHT, focal: float = 30.0) -> CameraInfo:
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = np.array([focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1 if focal else 0], np.float64)
    message.p = np.array([focal, 0, (width - 1) / 2, 0, 0, focal, (height - 1) / 2, 0, 0, 0, 1, 0], np.float64)
    set_stamp(message.header, stamp_ns)
    return message


def color_message(stamp_ns: int, width: int, height: int) -> Image:
    """One colour, red 200, green 100, blue 50, in the byte order of most drivers."""
    pixels = np.full((height, width, 3), (50, 100, 200), np.uint8)
    message = Image(height=height, width=width, encoding="bgr8", step=3 * width, data=filled(pixels))
    set_stamp(message.header, stamp_ns)
    return message


def cloud_message(stamp_ns: int, points: np.ndarray, names: str = "xyz") -> PointCloud2:
    """Points [N, 3] or [H, W, 3] as an (organised) cloud."""
    height, width = points.shape[:2] if points.ndim == 3 else (1, points.shape[0])
    message = PointCloud2(height=height, width=width, point_step=12, row_step=12 * width)
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(names)
    ]
    message.data = filled(points.astype("<f4"))
    set_stamp(message.header, stamp_ns)
    return message


# ---------------------------------------------------------------- processes


class Process:
    """A child whose output is read as it comes."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for_line(self, text: str, timeout: float = 30.0, count: int = 1) -> None:
        """Until ``count`` lines with ``text`` have come."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(text in line for line in self.lines) >= count or not self._reader.is_alive(), timeout
            )
        if not found or text not in self.output:
            raise AssertionError(f"no {text!r} in the output within {timeout} s:\n{self.output}")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Exit code."""
        code = self._process.wait(timeout)
        self._reader.join(5.0)
        return code

    def stop(self) -> int:
        """SIGINT and, when that does not help, SIGKILL."""
        if self.running:
            self.signal(signal.SIGINT)
            try:
                self._process.wait(15.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self.wait(5.0)


class Domain:
    """A ROS domain of the test's own, and the test's node in it."""

    def __init__(self) -> None:
        self.id = random.SystemRandom().randrange(1, 102)  # above, the ports are those handed to any program
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONUNBUFFERED": "1",
            "ROS_PYTHON_CHECK_FIELDS": "1",  # as ROS 2 up to Jazzy always does
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        }
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.id)
        self.node = rclpy.create_node("probe", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.changed = threading.Condition()
        self.listened: set[str] = set()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        self.context.try_shutdown()
        self._thread.join(10.0)

    def forget(self) -> None:
        """Destroy what the test's node listens to and sends."""
        for subscription in list(self.node.subscriptions):
            self.node.destroy_subscription(subscription)
        for publisher in list(self.node.publishers):
            if publisher.topic_name not in ("/rosout", "/parameter_events"):
                self.node.destroy_publisher(publisher)
        self.listened.clear()

    @contextmanager
    def process(self, *command: str, **environment: str) -> Iterator[Process]:
        process = Process([sys.executable, *command], {**self.environment, **environment})
        try:
            yield process
        finally:
            process.stop()

    @contextmanager
    def fake_node(self, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
        """The perception node with the fake pipeline; ``arguments`` are parameters name:=value."""
        arguments = ("diagnostics_period:=0.1", *arguments)
        options = [word for argument in arguments for word in ("-p", argument)]
        with self.process(__file__, "--ros-args", *options, **(environment or {})) as process:
            yield process

    def listen(self, topic: str, kind: Any, qos: Any = 10) -> list[Any]:
        """The messages of a topic, as they come."""
        messages: list[Any] = []

        def add(message: Any) -> None:
            with self.changed:
                messages.append(message)
                self.changed.notify_all()

        self.node.create_subscription(kind, topic, add, qos)
        self.listened.add(topic)
        return messages

    def wait(self, condition: Callable[[], Any], timeout: float = 30.0, what: str = "") -> Any:
        """Until ``condition`` is true, looked at whenever a message came."""
        with self.changed:
            result = self.changed.wait_for(condition, timeout)
        assert result, f"waited {timeout} s in vain {what}"
        return result

    def call(self, kind: Any, name: str, request: Any, timeout: float = 30.0) -> Any:
        """A service's answer."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(timeout), f"no service {name}"
        future = client.call_async(request)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(timeout), f"{name} does not answer"
        self.node.destroy_client(client)
        return future.result()


def parameter(name: str, value: object) -> Parameter:
    """The message."""
    if isinstance(value, bool):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value))
    if isinstance(value, int):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value))
    if isinstance(value, float):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))
    return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(value)))


def set_parameters(domain: Domain, **values: object) -> list[str]:
    """The reason of each refusal, empty where accepted."""
    request = SetParameters.Request(parameters=[parameter(name, value) for name, value in values.items()])
    results = domain.call(SetParameters, "/perception/set_parameters", request).results
    return [result.reason if not result.successful else "" for result in results]


def change_state(domain: Domain, transition: int) -> bool:
    """Trigger a transition of the perception node's life cycle."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return domain.call(ChangeState, "/perception/change_state", request).success


class SharedNode:
    """One perception node for many tests: as good as new after each ``restart``."""

    def __init__(self, domain: Domain, process: Process) -> None:
        self.domain = domain
        self.process = process
        self._defaults = {spec.name: spec.default for spec in parameter_specs() if spec.change != READ_ONLY}
        self._defaults["diagnostics_period"] = 0.1

    def restart(self, **values: object) -> None:
        """Through the whole life cycle, with these parameters and defaults for all others."""
        domain = self.domain
        domain.forget()
        change_state(domain, Transition.TRANSITION_DEACTIVATE)
        change_state(domain, Transition.TRANSITION_CLEANUP)
        request = SetParametersAtomically.Request(
            parameters=[parameter(name, value) for name, value in {**self._defaults, **values}.items()]
        )
        result = domain.call(SetParametersAtomically, "/perception/set_parameters_atomically", request).result
        assert result.successful, result.reason
        assert change_state(domain, Transition.TRANSITION_CONFIGURE)
        diagnosis = Diagnosis(domain)
        outputs = ("people", "meshes", "templates", "markers", "labels", "correspondences", "seen", "overlay")

        def alone() -> bool:
            if not diagnosis.history:
                return False
            told = counts(values_of(diagnosis.history[-1])["output subscribers"])
            return not any(told[f"/perception/{name}"] for name in outputs) and not told["/tf"]

        domain.wait(alone, 30.0, "for the last test's subscriptions to be gone")
        assert change_state(domain, Transition.TRANSITION_ACTIVATE)


class Camera:
    """Sends depth and camera info."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._diagnosis = Diagnosis(domain)
        node = domain.node
        self.depth = node.create_publisher(Image, "depth/image", qos_profile_sensor_data)
        self.info = node.create_publisher(CameraInfo, "depth/camera_info", qos_profile_sensor_data)
        self.color = node.create_publisher(Image, "color/image", qos_profile_sensor_data)
        self.cloud = node.create_publisher(PointCloud2, "points", qos_profile_sensor_data)

    def wait_for_node(self, timeout: float = 40.0) -> None:
        """Until the perception node says that it hears this camera and that all the test listens to is connected.

        A best-effort message sent earlier may be lost, and a lazy node would not look at it.
        """

        def connected() -> bool:
            if not self._diagnosis.history:
                return False
            values = values_of(self._diagnosis.history[-1])
            inputs, outputs = counts(values["input publishers"]), counts(values["output subscribers"])
            wanted = {topic for topic in self._domain.listened if topic.startswith(("/perception", "/tf"))}
            return bool(inputs) and all(inputs.values()) and all(outputs.get(topic) for topic in wanted)

        self._domain.wait(connected, timeout, "for the perception node to be connected")

    def send(self, depth: Image, info: CameraInfo | None = None) -> None:
        stamp = depth.header.stamp.sec * 1_000_000_000 + depth.header.stamp.nanosec
        self.info.publish(info or info_message(stamp))
        self.depth.publish(depth)


class Diagnosis:
    """The newest diagnostics of the perception node."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._messages = domain.listen("/diagnostics", DiagnosticArray)

    @property
    def history(self) -> list[DiagnosticStatus]:
        return [status for message in self._messages for status in message.status]

    def wait(
        self, level: bytes | None = None, text: str = "", timeout: float = 30.0, **values: str
    ) -> DiagnosticStatus:
        """Until a status of this level whose line has this text and these values (underscores for spaces) comes."""
        start = len(self._messages)
        wanted = {key.replace("_", " "): value for key, value in values.items()}

        def found() -> DiagnosticStatus | None:
            for message in reversed(self._messages[max(0, start - 1) :]):
                for status in message.status:
                    told = {entry.key: entry.value for entry in status.values}
                    if (
                        (level is None or status.level == level)
                        and text in status.message
                        and all(told.get(key) == value for key, value in wanted.items())
                    ):
                        return status
            return None

        history = "\n".join(f"{status.level!r} {status.message}" for status in self.history[-5:])
        return self._domain.wait(found, timeout, f"for level {level!r} and {text!r} {wanted} in diagnostics: {history}")


def counts(text: str) -> dict[str, int]:
    """ "/a 1, /b 2" as a dict."""
    words = [entry.split() for entry in text.split(", ") if entry]
    return {name: int(number) for name, number in words}


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


if __name__ == "__main__":
    sys.exit(run(load_fake))
