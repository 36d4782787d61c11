"""``People`` to messages. What is not known is set to the messages' documented "unset"."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Quaternion, TransformStamped, Vector3
from human_recon_msgs.msg import Keypoint, MeshArray, MeshTopology, PersonArray, PersonMesh
from human_recon_msgs.msg import Person as PersonMessage
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, RegionOfInterest
from shape_msgs.msg import Plane as PlaneMessage
from std_msgs.msg import Header

from human_recon.body.identity import body_hash
from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane
from human_recon.people import Life, People, Person

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel


@dataclass(frozen=True)
class BodyInfo:
    """What messages say about the body model."""

    name: str
    sha256: str  # of the arrays, so that one model read from two files has one hash
    joint_names: tuple[str, ...]
    parents: np.ndarray  # [24] int, -1 for the root
    faces: np.ndarray  # [F, 3] int
    template: np.ndarray  # [V, 3] metres, rest pose
    vertex_parts: np.ndarray  # [V] uint8, joint each vertex follows most

    @classmethod
    def of(cls, body: BodyModel) -> BodyInfo:
        """Describe ``body``."""
        return cls(
            body.name,
            body_hash(body),
            tuple(str(name) for name in body.joint_names),
            np.asarray(body.parents),
            np.asarray(body.faces),
            np.asarray(body.v_template),
            np.asarray(body.weights).argmax(axis=1).astype(np.uint8),
        )


STATES: dict[Life, int] = {
    "unknown": PersonMessage.STATE_UNKNOWN,
    "tentative": PersonMessage.STATE_TENTATIVE,
    "confirmed": PersonMessage.STATE_CONFIRMED,
    "occluded": PersonMessage.STATE_OCCLUDED,
    "lost": PersonMessage.STATE_LOST,
}


def duration_message(seconds: float) -> Duration:
    """Seconds, not negative, to builtin_interfaces/Duration."""
    nanoseconds = round(max(0.0, seconds) * 1e9)
    return Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def header_of(frame: Frame) -> Header:
    """The header of the sensor message the frame came from."""
    return Header(stamp=time_message(frame.stamp_ns), frame_id=frame.frame_id)


def fill(kind: str, values: np.ndarray) -> array:
    """An array.array from numpy values: anything else assigned to a message field is copied number by number."""
    filled = array(kind)
    filled.frombytes(np.ascontiguousarray(values, kind).tobytes())
    return filled


def person_array(people: People, body: BodyInfo) -> PersonArray:
    """The people with their parameters, joints and uncertainty."""
    message = PersonArray(header=header_of(people.frame), floor=plane_message(people.floor))
    message.people = [_person_message(person, body) for person in people.people]
    return message


def plane_message(plane: Plane | None) -> PlaneMessage:
    """shape_msgs/Plane; all 0 when there is none."""
    message = PlaneMessage()
    if plane is not None:
        message.coef = np.array([*plane.normal, plane.offset], np.float64)
    return message


def _person_message(person: Person, body: BodyInfo) -> PersonMessage:
    message = PersonMessage()
    message.id = person.id
    message.state = STATES[person.life]
    message.age = duration_message(person.age)
    message.confidence = float(person.confidence)
    message.body_model = body.name
    message.body_model_hash = body.sha256
    message.betas = fill("d", person.state.betas)
    message.shape_locked = bool(person.shape_locked)
    message.pose = np.asarray(person.state.pose, np.float64).reshape(72)
    message.trans = np.asarray(person.state.trans, np.float64)
    covariances = _joint_covariances(person)
    places = person.joints.tolist()  # at once: turning numpy numbers into Python's one by one takes ten times as long

    pose = message.root.pose
    pose.position = Point(x=places[0][0], y=places[0][1], z=places[0][2])
    pose.orientation = _quaternion(Rotation.from_rotvec(person.state.pose[0]))
    if person.root_covariance is None:
        root_covariance = np.full((6, 6), np.nan)
        root_covariance[:3, :3] = covariances[0].reshape(3, 3)
    else:
        root_covariance = np.asarray(person.root_covariance, np.float64)
    message.root.covariance = root_covariance.reshape(36)

    x, y, z, turn_x, turn_y, turn_z = _numbers(person.velocity, 6).tolist()
    twist = message.velocity.twist
    twist.linear = Vector3(x=x, y=y, z=z)
    twist.angular = Vector3(x=turn_x, y=turn_y, z=turn_z)
    message.velocity.covariance = _numbers(person.velocity_covariance, 36)

    message.height = float(person.height)
    message.residual = float(person.residual)
    message.visibility = float(person.visibility)
    x_offset, y_offset, width, height = (max(0, int(value)) for value in person.roi)
    message.roi = RegionOfInterest(x_offset=x_offset, y_offset=y_offset, width=width, height=height)
    confidences = _numbers(person.joint_confidence, len(places)).tolist()
    message.keypoints = [
        _keypoint(*values)
        for values in zip(
            body.joint_names, places, covariances, confidences, person.joint_visible.tolist(), strict=True
        )
    ]
    return message


def _keypoint(name: str, place: Sequence[float], covariance: np.ndarray, confidence: float, visible: bool) -> Keypoint:
    message = Keypoint(
        name=name,
        covariance=covariance,
        confidence=confidence,
        visibility=Keypoint.VISIBILITY_VISIBLE if visible else Keypoint.VISIBILITY_NOT_VISIBLE,
    )
    position = message.position  # it has one already: another would take as long to make as all the rest
    position.x, position.y, position.z = place
    return message


def _joint_covariances(person: Person) -> np.ndarray:
    """[24, 9] float64, row-major, square metres."""
    if person.joint_covariance is not None:
        return np.ascontiguousarray(person.joint_covariance, np.float64).reshape(-1, 9)
    return np.square(person.joint_sigma.astype(np.float64))[:, None] * np.eye(3).reshape(9)


def _numbers(values: np.ndarray | None, count: int) -> np.ndarray:
    """[count] float64; NaN, which means unset, where nothing is known."""
    if values is None:
        return np.full(count, np.nan)
    return np.ascontiguousarray(values, np.float64).reshape(count)


def mesh_topology(body: BodyInfo) -> MeshTopology:
    """Faces and joints of the body model."""
    return MeshTopology(
        body_model=body.name,
        body_model_hash=body.sha256,
        vertex_count=len(body.template),
        triangles=fill("I", body.faces.astype(np.uint32)),
        joint_names=list(body.joint_names),
        joint_parents=fill("i", body.parents.astype(np.int32)),
        vertex_parts=fill("B", body.vertex_parts),
    )


def mesh_array(people: People, body: BodyInfo) -> MeshArray:
    """The posed surfaces."""
    meshes = [PersonMesh(id=person.id, vertices=fill("f", person.vertices)) for person in people.people]
    return MeshArray(header=header_of(people.frame), body_model=body.name, body_model_hash=body.sha256, meshes=meshes)


def label_image(people: People) -> Image:
    """Person.id per pixel of the depth image, 0 = nobody; mono16."""
    return _image(people.frame, people.labels.astype("<u2"), "mono16")


def correspondence_image(people: People) -> Image | None:
    """1 + the body model's vertex that each pixel shows, 0 = nobody; mono16. None: found without correspondences."""
    if people.vertices is None:
        return None
    return _image(people.frame, (people.vertices.astype(np.int32) + 1).astype("<u2"), "mono16")


def color_message(frame: Frame, picture: np.ndarray) -> Image:
    """[H, W, 3] uint8 RGB as an rgb8 image with the frame's header."""
    return _image(frame, picture, "rgb8")


def _image(frame: Frame, pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).tobytes())
    step = len(data) // height
    return Image(
        header=header_of(frame), height=height, width=width, encoding=encoding, is_bigendian=0, step=step, data=data
    )


def transforms(people: People, body: BodyInfo) -> list[TransformStamped]:
    """``body_<id>`` (the pelvis) below the camera frame; ``body_<id>/<joint>`` below the joint's parent."""
    header = header_of(people.frame)
    result = []
    for person in people.people:
        root = f"body_{person.id}"
        names = [root, *(f"{root}/{name}" for name in body.joint_names[1:])]
        quaternions = Rotation.from_rotvec(np.asarray(person.state.pose, np.float64).reshape(-1, 3)).as_quat()
        turns = global_rotations(person, body.parents)
        joints = person.joints.astype(np.float64)
        parents = body.parents[1:]
        offsets = np.concatenate(
            [
                joints[:1],
                np.einsum("jba,jb->ja", turns[parents], joints[1:] - joints[parents]),
            ]  # in the parents' frames
        )
        above = [header.frame_id, *(names[parent] for parent in parents)]
        result += [
            transform_message(header.stamp, frame, name, offset, quaternion)
            for frame, name, offset, quaternion in zip(
                above, names, offsets.tolist(), quaternions.tolist(), strict=True
            )
        ]
    return result


def transform_message(
    stamp: Time, frame: str, child: str, offset: Sequence[float], quaternion: Sequence[float]
) -> TransformStamped:
    """``offset`` [3] metres, ``quaternion`` [4] x, y, z, w: where ``child`` is in ``frame``."""
    message = TransformStamped(child_frame_id=child)
    message.header.stamp = stamp
    message.header.frame_id = frame
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = offset
    rotation.x, rotation.y, rotation.z, rotation.w = quaternion
    return message


def global_rotations(person: Person, parents: np.ndarray) -> np.ndarray:
    """[24, 3, 3]: directions in each joint's frame, which is the body frame's in the rest pose, to the camera frame."""
    turns = Rotation.from_rotvec(np.asarray(person.state.pose, np.float64).reshape(-1, 3)).as_matrix()
    for joint, parent in enumerate(parents.tolist()):
        if parent >= 0:  # parents come before their children in SMPL's order
            turns[joint] = turns[parent] @ turns[joint]
    return turns


def _quaternion(rotation: Rotation) -> Quaternion:
    x, y, z, w = rotation.as_quat().tolist()
    return Quaternion(x=x, y=y, z=z, w=w)
