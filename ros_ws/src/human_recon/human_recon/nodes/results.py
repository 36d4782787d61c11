"""``People`` to messages. Values this version does not know are set to the messages' documented "unset"."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
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
from human_recon.people import People, Person

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


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def header_of(frame: Frame) -> Header:
    """The header of the sensor message the frame came from."""
    return Header(stamp=time_message(frame.stamp_ns), frame_id=frame.frame_id)


def _fill(kind: str, values: np.ndarray) -> array:
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
    message.state = PersonMessage.STATE_UNKNOWN
    message.confidence = float(person.confidence)
    message.body_model = body.name
    message.body_model_hash = body.sha256
    message.betas = _fill("d", person.state.betas)
    message.pose = np.asarray(person.state.pose, np.float64).reshape(72)
    message.trans = np.asarray(person.state.trans, np.float64)
    variance = np.asarray(person.joint_sigma, np.float64) ** 2

    message.root.pose.position = _point(person.joints[0])
    message.root.pose.orientation = _quaternion(Rotation.from_rotvec(person.state.pose[0]))
    covariance = np.full((6, 6), np.nan)
    covariance[:3, :3] = np.eye(3) * variance[0]
    message.root.covariance = covariance.reshape(36)

    unknown = Vector3(x=np.nan, y=np.nan, z=np.nan)
    message.velocity.twist.linear = unknown
    message.velocity.twist.angular = unknown
    message.velocity.covariance = np.full(36, np.nan)

    message.height = float(person.height)
    message.residual = float(person.residual)
    message.visibility = math.nan
    x, y, width, height = (max(0, int(value)) for value in person.roi)
    message.roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
    message.keypoints = [
        Keypoint(
            name=name,
            position=_point(person.joints[index]),
            covariance=(np.eye(3) * variance[index]).reshape(9),
            confidence=np.nan,
            visibility=Keypoint.VISIBILITY_VISIBLE if person.joint_visible[index] else Keypoint.VISIBILITY_NOT_VISIBLE,
        )
        for index, name in enumerate(body.joint_names)
    ]
    return message


def mesh_topology(body: BodyInfo) -> MeshTopology:
    """Faces and joints of the body model."""
    return MeshTopology(
        body_model=body.name,
        body_model_hash=body.sha256,
        vertex_count=len(body.template),
        triangles=_fill("I", body.faces.astype(np.uint32)),
        joint_names=list(body.joint_names),
        joint_parents=_fill("i", body.parents.astype(np.int32)),
        vertex_parts=_fill("B", body.vertex_parts),
    )


def mesh_array(people: People, body: BodyInfo) -> MeshArray:
    """The posed surfaces."""
    meshes = [PersonMesh(id=person.id, vertices=_fill("f", person.vertices)) for person in people.people]
    return MeshArray(header=header_of(people.frame), body_model=body.name, body_model_hash=body.sha256, meshes=meshes)


def label_image(people: People) -> Image:
    """Person.id per pixel of the depth image, 0 = nobody; mono16."""
    return _image(people.frame, people.labels.astype("<u2"), "mono16")


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
        local = Rotation.from_rotvec(np.asarray(person.state.pose, np.float64).reshape(-1, 3))
        matrices, quaternions = local.as_matrix(), local.as_quat()
        world = np.empty_like(matrices)
        for index, name in enumerate(names):
            parent = int(body.parents[index])
            stamped = TransformStamped(child_frame_id=name)
            stamped.header.stamp = header.stamp
            if parent < 0:
                world[index] = matrices[index]
                stamped.header.frame_id = header.frame_id
                offset = person.joints[index].astype(np.float64)
            else:  # parents come before their children in SMPL's order
                world[index] = world[parent] @ matrices[index]
                stamped.header.frame_id = names[parent]
                offset = world[parent].T @ (person.joints[index].astype(np.float64) - person.joints[parent])
            stamped.transform.translation = Vector3(x=float(offset[0]), y=float(offset[1]), z=float(offset[2]))
            x, y, z, w = (float(value) for value in quaternions[index])
            stamped.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
            result.append(stamped)
    return result


def _point(position: np.ndarray) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))


def _quaternion(rotation: Rotation) -> Quaternion:
    x, y, z, w = (float(value) for value in rotation.as_quat())
    return Quaternion(x=x, y=y, z=z, w=w)
