"""A subscriber that turns the perception node's messages back into ``People``."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from human_recon_msgs.msg import Keypoint, MeshArray, MeshTopology, PersonArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane
from human_recon.nodes.frames import stamp_ns
from human_recon.nodes.results import STATES
from human_recon.people import People, Person

_LIVES = {state: life for life, state in STATES.items()}


class ResultCollector:
    """Collects people and meshes of a running perception node in a thread; use as a context manager."""

    def __init__(self, node_name: str = "perception") -> None:
        self._context = Context()
        # Ctrl-C stays with the program that collects.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("human_recon_collector", context=self._context)
        self._news = threading.Condition()
        self._topology: MeshTopology | None = None
        self._people: dict[int, PersonArray] = {}
        self._meshes: dict[int, MeshArray] = {}
        keep_all = QoSProfile(depth=100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(PersonArray, f"{node_name}/people", self._on_people, keep_all)
        self._node.create_subscription(MeshArray, f"{node_name}/meshes", self._on_meshes, keep_all)
        self._node.create_subscription(MeshTopology, f"{node_name}/mesh_topology", self._on_topology, latched)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="collector", daemon=True)

    def __enter__(self) -> ResultCollector:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def wait_for_topology(self, timeout: float) -> np.ndarray | None:
        """The faces [F, 3] int32 as soon as the node has sent them; None after ``timeout`` seconds."""
        with self._news:
            self._news.wait_for(lambda: self._topology is not None, timeout)
            if self._topology is None:
                return None
            return np.array(self._topology.triangles, np.int32).reshape(-1, 3)

    def wait_for(self, stamp: int, timeout: float) -> bool:
        """Wait until the result of the frame stamped ``stamp`` ns is complete; False after ``timeout`` seconds."""
        with self._news:
            return self._news.wait_for(lambda: stamp in self._people and stamp in self._meshes, timeout)

    @property
    def stamps(self) -> list[int]:
        """Stamps of the complete results so far, ns, ascending."""
        with self._news:
            return sorted(self._people.keys() & self._meshes.keys())

    def people(self, frame: Frame) -> People:
        """The result for ``frame``, whose stamp must be among ``stamps``. Raises KeyError when it is not."""
        with self._news:
            return people_from_messages(frame, self._people[frame.stamp_ns], self._meshes[frame.stamp_ns])

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_people(self, message: Any) -> None:
        with self._news:
            self._people[stamp_ns(message.header)] = message
            self._news.notify_all()

    def _on_meshes(self, message: Any) -> None:
        with self._news:
            self._meshes[stamp_ns(message.header)] = message
            self._news.notify_all()

    def _on_topology(self, message: Any) -> None:
        with self._news:
            self._topology = message
            self._news.notify_all()


def people_from_messages(frame: Frame, people: PersonArray, meshes: MeshArray) -> People:
    """``People`` as the node had it, but for the label image, which is another topic (all 0 here).

    Raises ValueError when the two messages are not of one image, or a person has no mesh.
    """
    if people.header != meshes.header:
        raise ValueError("people and meshes are not of one image")
    surfaces = {mesh.id: np.array(mesh.vertices, np.float32).reshape(-1, 3) for mesh in meshes.meshes}
    if set(surfaces) != {person.id for person in people.people}:
        raise ValueError(f"meshes are of {sorted(surfaces)}, people {[person.id for person in people.people]}")
    coefficients = np.array(people.floor.coef, np.float64)
    floor = Plane(coefficients[:3], float(coefficients[3])) if coefficients.any() else None
    persons = tuple(_person(person, surfaces[person.id]) for person in people.people)
    return People(frame, persons, np.zeros(frame.depth.shape, np.uint16), floor)


def _person(message: Any, vertices: np.ndarray) -> Person:
    joints = np.array([[k.position.x, k.position.y, k.position.z] for k in message.keypoints], np.float32)
    covariances = np.array([k.covariance for k in message.keypoints], np.float64).reshape(-1, 3, 3)
    confidences = np.array([k.confidence for k in message.keypoints], np.float32)
    linear, angular = message.velocity.twist.linear, message.velocity.twist.angular
    velocity = np.array([linear.x, linear.y, linear.z, angular.x, angular.y, angular.z])
    roi = message.roi
    return Person(
        id=message.id,
        confidence=message.confidence,
        state=BodyState(
            np.array(message.betas, np.float64),
            np.array(message.pose, np.float64).reshape(24, 3),
            np.array(message.trans, np.float64),
        ),
        vertices=vertices,
        joints=joints,
        joint_sigma=np.sqrt(np.trace(covariances, axis1=1, axis2=2) / 3).astype(np.float32),
        joint_visible=np.array([k.visibility == Keypoint.VISIBILITY_VISIBLE for k in message.keypoints]),
        height=message.height,
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        residual=message.residual,
        life=_LIVES[message.state],
        measured=roi.width > 0,
        age=message.age.sec + message.age.nanosec / 1e9,
        shape_locked=message.shape_locked,
        visibility=message.visibility,
        joint_covariance=covariances,
        joint_confidence=_known(confidences),
        root_covariance=_known(np.array(message.root.covariance, np.float64).reshape(6, 6)),
        velocity=_known(velocity),
        velocity_covariance=_known(np.array(message.velocity.covariance, np.float64).reshape(6, 6)),
    )


def _known(values: np.ndarray) -> np.ndarray | None:
    """None where nothing is known: all NaN."""
    return None if np.isnan(values).all() else values
