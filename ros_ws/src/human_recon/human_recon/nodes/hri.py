"""People as REP-155 (ROS4HRI) has them, for everything that is written against it (libhri, hri_rviz, person managers).

A person with the id 7 is the body ``p7``: parts of ROS names must not begin with a digit. Frames are named as the REP
says, ``body_p7``, ``head_p7``, ...: x forward, y left, z up, all below ``body_p7`` in the middle of the hips.

``hri_msgs`` is no requirement: nothing here is used unless it is importable.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PointStamped, TransformStamped, TwistStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from human_recon.body.landmarks import LANDMARK_NAMES, landmark_vertices
from human_recon.body.skeleton import joint_index
from human_recon.camera.frame import Frame
from human_recon.nodes.results import global_rotations, header_of, transform_message
from human_recon.people import People, Person

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel

try:
    import hri_msgs.msg as hri_msgs
except ImportError:
    hri_msgs = None

NAMESPACE = "/humans/bodies"
# Those who are believed to be there. REP-155 has no word for somebody who may be a ghost.
_SHOWN = ("unknown", "confirmed", "occluded")
# The REP's forward, left and up as columns in the axes of SMPL's body (x left, y up, z forward).
_AXES = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
_SIDED = tuple(f"{side}_{joint}" for side in "lr" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
# Links of the REP's kinematic model -> joints of the body.
_LINKS = {"waist": "spine1", "torso": "spine3", "head": "head", **{name: name for name in _SIDED}}
# Points of hri_msgs/Skeleton2D -> joints, and those of the head -> landmarks of the skin. It has eyes; we have none.
_POINTS = {
    "NECK": "neck",
    **{{"l": "LEFT", "r": "RIGHT"}[name[0]] + name[1:].upper(): name for name in _SIDED},
}
_HEAD_POINTS = {"NOSE": "nose", "LEFT_EAR": "l_ear", "RIGHT_EAR": "r_ear"}
_HIPS = [joint_index("l_hip"), joint_index("r_hip")]


def is_available() -> bool:
    """Whether ``hri_msgs`` is importable."""
    return hri_msgs is not None


def body_id(person: Person) -> str:
    """The person's body identifier."""
    return f"p{person.id}"


class HriPublisher:
    """Publishes the list of bodies, and each body's own topics while it is there. Not thread-safe."""

    def __init__(self, node: Any, body: BodyModel) -> None:
        """Make the topic of the list. Call only when ``is_available()``."""
        self._node = node
        self._parents = np.asarray(body.parents)
        self._tracked = self._publisher(hri_msgs.IdsList, f"{NAMESPACE}/tracked")
        self._bodies: dict[str, dict[str, Any]] = {}  # id -> topic -> publisher
        self._header = Header()
        self._head: dict[str, int] = {}
        try:
            vertices = landmark_vertices(body)
            self._head = {point: int(vertices[LANDMARK_NAMES.index(name)]) for point, name in _HEAD_POINTS.items()}
        except ValueError:  # a model without the parts that they are looked for on: the head's points stay unset
            pass

    @property
    def wanted(self) -> bool:
        """Whether somebody subscribes to anything."""
        publishers = [self._tracked, *(entry for topics in self._bodies.values() for entry in topics.values())]
        return any(publisher.get_subscription_count() > 0 for publisher in publishers)

    def publish(self, people: People) -> None:
        """Tell who is there, what is known of each, and let go of the topics of those who are gone."""
        self._header = header_of(people.frame)
        shown = {body_id(person): person for person in people.people if person.life in _SHOWN}
        for gone in self._bodies.keys() - shown.keys():
            self._remove(gone)
        for name in shown.keys() - self._bodies.keys():
            self._bodies[name] = {
                topic: self._publisher(kind, f"{NAMESPACE}/{name}/{topic}")
                for topic, kind in (
                    ("roi", hri_msgs.NormalizedRegionOfInterest2D),
                    ("cropped", Image),
                    ("skeleton2d", hri_msgs.Skeleton2D),
                    ("position", PointStamped),
                    ("velocity", TwistStamped),
                )
            }
        # The list comes after the topics: who hears of a body will find them.
        self._tracked.publish(hri_msgs.IdsList(header=self._header, ids=list(shown)))
        for name, person in shown.items():
            for topic, publisher in self._bodies[name].items():
                if publisher.get_subscription_count() > 0:
                    message = self._message(topic, person, people.frame)
                    if message is not None:
                        publisher.publish(message)

    def clear(self) -> None:
        """Nobody is there any more."""
        for name in list(self._bodies):
            self._remove(name)
        self._tracked.publish(hri_msgs.IdsList(header=self._header, ids=[]))

    def close(self) -> None:
        """Let go of all topics."""
        for name in list(self._bodies):
            self._remove(name)
        self._node.destroy_publisher(self._tracked)

    def _message(self, topic: str, person: Person, frame: Frame) -> Any:
        if topic == "roi":
            return _roi(person, frame, self._header)
        if topic == "cropped":
            return _cropped(person, frame, self._header)
        if topic == "skeleton2d":
            return self._skeleton(person, frame)
        if topic == "position":
            message = PointStamped(header=self._header)
            message.point.x, message.point.y, message.point.z = _middle_of_hips(person).tolist()
            return message
        return _velocity(person, self._header)

    def _skeleton(self, person: Person, frame: Frame) -> Any:
        """Confidence 0 marks the points that are not known, hidden or outside the image."""
        indices = [joint_index(joint) for joint in _POINTS.values()]
        if person.joint_confidence is None:
            sure = np.where(person.joint_visible, person.confidence, 0.0)
        else:
            sure = np.asarray(person.joint_confidence, np.float64)
        places = {name: (person.joints[index], float(sure[index])) for name, index in zip(_POINTS, indices)}
        head = float(sure[joint_index("head")])
        places |= {name: (person.vertices[vertex], head) for name, vertex in self._head.items()}
        message = hri_msgs.Skeleton2D(header=self._header)
        camera = frame.intrinsics
        for name, (place, confidence) in places.items():
            if not place[2] > 0.0:
                continue
            u, v = camera.pinhole.project(place[None].astype(np.float64))[0].tolist()
            x, y = (u + 0.5) / camera.width, (v + 0.5) / camera.height
            inside = 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0
            point = message.skeleton[getattr(hri_msgs.Skeleton2D, name)]
            point.x, point.y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
            point.c = confidence if inside else 0.0
        return message

    def transforms(self, people: People) -> list[TransformStamped]:
        """The bodies' frames; see the head of this module."""
        header = header_of(people.frame)
        result = []
        joints = [joint_index(joint) for joint in _LINKS.values()]
        for person in people.people:
            if person.life not in _SHOWN:
                continue
            name = body_id(person)
            turns = global_rotations(person, self._parents) @ _AXES
            origin, turn = _middle_of_hips(person), turns[0]
            offsets = (person.joints[joints] - origin) @ turn
            offsets = np.concatenate([origin[None], offsets])
            quaternions = Rotation.from_matrix(np.concatenate([turn[None], turn.T @ turns[joints]])).as_quat()
            root = f"body_{name}"
            frames = [(header.frame_id, root), *((root, f"{link}_{name}") for link in _LINKS)]
            result += [
                transform_message(header.stamp, parent, child, offset, quaternion)
                for (parent, child), offset, quaternion in zip(
                    frames, offsets.tolist(), quaternions.tolist(), strict=True
                )
            ]
        return result

    def _publisher(self, kind: Any, topic: str) -> Any:
        # Without event handlers, which the executor's thread looks through while others come and go.
        events = PublisherEventCallbacks(use_default_callbacks=False)
        return self._node.create_publisher(kind, topic, QoSProfile(depth=1), event_callbacks=events)

    def _remove(self, name: str) -> None:
        for publisher in self._bodies.pop(name).values():
            self._node.destroy_publisher(publisher)


def _middle_of_hips(person: Person) -> np.ndarray:
    return person.joints[_HIPS].astype(np.float64).mean(axis=0)


def _roi(person: Person, frame: Frame, header: Header) -> Any:
    """None when nothing of the person is seen."""
    x, y, width, height = person.roi
    if width <= 0 or height <= 0:
        return None
    camera = frame.intrinsics
    return hri_msgs.NormalizedRegionOfInterest2D(
        header=header,
        xmin=max(0.0, x / camera.width),
        ymin=max(0.0, y / camera.height),
        xmax=min(1.0, (x + width) / camera.width),
        ymax=min(1.0, (y + height) / camera.height),
        c=float(person.confidence),
    )


def _cropped(person: Person, frame: Frame, header: Header) -> Image | None:
    """None without a colour image, or when nothing of the person is seen."""
    x, y, width, height = person.roi
    if frame.color is None or width <= 0 or height <= 0:
        return None
    pixels = np.ascontiguousarray(frame.color[y : y + height, x : x + width])
    data = array("B")
    data.frombytes(pixels.tobytes())
    rows, columns = pixels.shape[:2]
    return Image(header=header, height=rows, width=columns, encoding="rgb8", step=3 * columns, data=data)


def _velocity(person: Person, header: Header) -> TwistStamped | None:
    """In the camera frame. None while it is not known."""
    if person.velocity is None or not np.isfinite(person.velocity).all():
        return None
    message = TwistStamped(header=header)
    twist = message.twist
    twist.linear.x, twist.linear.y, twist.linear.z, twist.angular.x, twist.angular.y, twist.angular.z = np.asarray(
        person.velocity, np.float64
    ).tolist()
    return message
