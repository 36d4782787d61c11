"""What a running perception node sees and finds, for the viewer: its inputs and outputs, joined by stamp."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from human_recon_msgs.msg import (
    MeshArray,
    MeshTopology,
    PersonArray,
    TemplateMeshArray,
    TemplateTopologyArray,
)
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import undistort_frame
from human_recon.io.encodings import DEPTH_ENCODINGS
from human_recon.io.errors import InputError
from human_recon.nodes.collector import people_from_messages
from human_recon.nodes.frames import frame_from_cloud, frame_from_images, stamp_ns
from human_recon.people import People, TemplateMesh

_KEPT = 48  # stamps that wait for the rest of their messages: 1.6 s of a camera, for a node as slow as that
_PATIENCE = 0.5  # seconds a result waits for its depth and labels before it is given without
_LOOK = 1.0  # seconds between looks for what the node listens to
_INPUT_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/PointCloud2": PointCloud2}
_LATENCY = " (ms, mean / p95)"  # how the node's diagnostics call one
_AROUND = ("wait", "convert", "publish")  # stages of the node's own, beside those of the pipeline
_NO_CAMERA = CameraIntrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)  # of a result whose depth did not come


@dataclass
class _Joined:
    """The messages of one stamp."""

    since: float = field(default_factory=time.monotonic)
    people: Any = None
    meshes: Any = None
    labels: Any = None
    templates: Any = None
    depth: Any = None
    color: Any = None
    points: Any = None


class NodeSource:
    """The newest results of a perception node with the depth they were found in; use as a context manager.

    What the node listens to is asked of the ROS graph, so that remapped topics need not be told. Subscribes as the
    node's inputs do (best effort), and holds at most 48 frames, however long nobody asks for one.
    """

    def __init__(self, node_name: str = "/perception") -> None:
        """Connect to the node called ``node_name``; it may come and go at any time."""
        self._name = "/" + node_name.strip("/")
        self._news = threading.Condition()
        self._waiting: OrderedDict[int, _Joined] = OrderedDict()  # by stamp, in order of arrival
        self._info: Any = None
        self._topology: Any = None
        self._faces: np.ndarray | None = None
        self._template_faces: dict[str, np.ndarray] = {}
        self._timings: dict[str, float] = {}
        self._status = ""
        self._problem = ""
        self._inputs: dict[str, Any] = {}
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is the caller's
        self._node = Node("human_recon_view", context=self._context)
        outputs = QoSProfile(depth=2)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

        def listen(kind: Any, topic: str, take: Callable[[Any], None], qos: Any = outputs) -> None:
            self._node.create_subscription(kind, topic, take, qos)

        listen(PersonArray, f"{self._name}/people", lambda message: self._add("people", message))
        listen(MeshArray, f"{self._name}/meshes", lambda message: self._add("meshes", message))
        listen(TemplateMeshArray, f"{self._name}/templates", lambda message: self._add("templates", message))
        listen(Image, f"{self._name}/labels", lambda message: self._add("labels", message))
        listen(MeshTopology, f"{self._name}/mesh_topology", self._on_topology, latched)
        listen(TemplateTopologyArray, f"{self._name}/template_topologies", self._on_templates, latched)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self._node.create_timer(_LOOK, self._find_inputs)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="view source", daemon=True)

    def __enter__(self) -> NodeSource:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @property
    def faces(self) -> np.ndarray | None:
        """The body model's triangles [F, 3] int32, as the node has told them; None before that."""
        with self._news:
            return self._faces

    def latest(self, timeout: float) -> People | None:
        """See ``LiveSource.latest``."""
        end = time.monotonic() + timeout
        while True:
            with self._news:
                joined, topology = self._take(end), self._topology
                if joined is None:
                    return None
                info, timings = self._info, dict(self._timings)
            try:
                people = self._people(joined, info, topology, timings)
            except (ValueError, InputError) as error:  # a message that cannot be used; the next one may be
                with self._news:
                    self._problem = str(error)
                continue
            with self._news:
                self._problem = ""
            return people

    def waiting_for(self) -> str:
        """See ``LiveSource.waiting_for``."""
        with self._news:
            if self._problem:
                return f"what comes cannot be used: {self._problem}"
            if not self._inputs and not self._status:
                return f"waiting for a node {self._name}"
            if self._faces is None:
                return f"waiting for {self._name}/mesh_topology"
            return f"waiting for {self._name}/people and meshes" + (f" ({self._status})" if self._status else "")

    def _take(self, end: float) -> _Joined | None:
        """Wait for a result until ``end`` and forget those before it. The lock is held."""
        while True:
            chosen, soonest = None, end
            now = time.monotonic()
            for stamp, joined in self._waiting.items():
                if self._topology is None or joined.people is None or joined.meshes is None:
                    continue
                whole = joined.labels is not None and (joined.depth is not None or joined.points is not None)
                if whole or now - joined.since >= _PATIENCE:
                    chosen = stamp
                else:
                    soonest = min(soonest, joined.since + _PATIENCE)
            if chosen is not None:
                result = self._waiting[chosen]
                for stamp in list(self._waiting):
                    del self._waiting[stamp]
                    if stamp == chosen:
                        return result
            if now >= end:
                return None
            self._news.wait(max(0.0, soonest - now))

    def _people(self, joined: _Joined, info: Any, topology: Any, timings: dict[str, float]) -> People:
        """Raises ValueError or InputError when the messages cannot be used."""
        if joined.meshes.body_model_hash != topology.body_model_hash:
            raise ValueError("the meshes are of another body model than the topology")
        if any(len(mesh.vertices) != 3 * topology.vertex_count for mesh in joined.meshes.meshes):
            raise ValueError("a mesh has another number of vertices than the topology")
        people = people_from_messages(self._frame(joined, info), joined.people, joined.meshes)
        if joined.labels is not None:
            labels = np.frombuffer(joined.labels.data, np.uint16)
            if labels.size == people.labels.size:
                people = replace(people, labels=labels.reshape(people.labels.shape))
        templates = []
        for mesh in joined.templates.meshes if joined.templates is not None else ():
            faces = self._template_faces.get(mesh.topology)
            vertices = np.array(mesh.vertices, np.float32).reshape(-1, 3)
            if faces is not None and len(faces) and faces.max() < len(vertices):
                confidence = np.array(mesh.confidence, np.float32)
                templates.append(TemplateMesh(mesh.id, vertices, faces, confidence if confidence.size else None))
        return replace(people, templates=tuple(templates), timings=timings)

    def _frame(self, joined: _Joined, info: Any) -> Frame:
        if joined.points is not None:
            return undistort_frame(frame_from_cloud(joined.points, info))
        if joined.depth is not None and info is not None:
            try:
                return undistort_frame(frame_from_images(joined.depth, info, joined.color))
            except InputError:
                if joined.color is None:
                    raise
                return undistort_frame(frame_from_images(joined.depth, info))
        header = joined.people.header
        nothing = np.zeros((_NO_CAMERA.height, _NO_CAMERA.width), np.float32)
        return Frame(stamp_ns(header), header.frame_id, nothing, _NO_CAMERA)

    # ------------------------------------------------------------------ messages, in the executor's thread

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _add(self, kind: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
        with self._news:
            if stamp not in self._waiting:
                self._waiting[stamp] = _Joined()
                while len(self._waiting) > _KEPT:
                    self._waiting.popitem(last=False)
            setattr(self._waiting[stamp], kind, message)
            self._news.notify_all()

    def _on_topology(self, message: Any) -> None:
        faces = np.array(message.triangles, np.int32).reshape(-1, 3)
        if not len(faces) or faces.min() < 0 or faces.max() >= message.vertex_count:
            return
        with self._news:
            self._topology, self._faces = message, faces
            self._news.notify_all()

    def _on_templates(self, message: Any) -> None:
        # The same array as long as the topology is the same, so that it is sent to the page once.
        with self._news:
            self._template_faces = {
                entry.hash: self._template_faces[entry.hash]
                if entry.hash in self._template_faces
                else np.array(entry.triangles, np.int32).reshape(-1, 3)
                for entry in message.topologies
            }

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name != f"{self._name.rpartition('/')[2]}: people":
                continue
            timings = {}
            for entry in status.values:
                if not entry.key.endswith(_LATENCY):
                    continue
                stage = entry.key.removesuffix(_LATENCY)
                inner = stage.removeprefix("pipeline ")
                if inner != stage or stage in _AROUND:
                    with contextlib.suppress(ValueError):
                        timings[inner] = float(entry.value.partition("/")[0]) / 1000.0
            with self._news:
                self._timings, self._status = timings, status.message

    def _on_input(self, message: Any) -> None:
        if isinstance(message, PointCloud2):
            self._add("points", message)
        elif isinstance(message, CameraInfo):
            with self._news:
                self._info = message
        else:
            self._add("depth" if message.encoding in DEPTH_ENCODINGS else "color", message)

    def _find_inputs(self) -> None:
        """Listen to what the node listens to."""
        namespace, _, name = self._name.rpartition("/")
        try:
            found = self._node.get_subscriber_names_and_types_by_node(name, namespace or "/")
        except NodeNameNonExistentError:
            return
        kinds = {**_INPUT_TYPES, "sensor_msgs/msg/CameraInfo": CameraInfo}
        wanted = {topic: kinds[types[0]] for topic, types in found if types and types[0] in kinds}
        for topic in set(self._inputs) - set(wanted):
            self._node.destroy_subscription(self._inputs.pop(topic))
        for topic in set(wanted) - set(self._inputs):
            self._inputs[topic] = self._node.create_subscription(
                wanted[topic], topic, self._on_input, qos_profile_sensor_data
            )
