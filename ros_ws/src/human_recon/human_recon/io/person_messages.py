"""``human_recon_msgs`` in bags, without ROS: the types from their .msg files, and true people to messages and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scipy.spatial.transform import Rotation

from human_recon.body.identity import body_hash
from human_recon.body.lbs import pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.geometry.plane import Plane
from human_recon.ground_truth import TruePerson
from human_recon.io.errors import InputError

PERSON_ARRAY = "human_recon_msgs/msg/PersonArray"
_DEFINITIONS = Path(__file__).with_name("msg")  # human_recon_msgs/msg
_PACKAGE = "human_recon_msgs/msg"
_STATE_CONFIRMED, _STATE_OCCLUDED = 2, 3
_VISIBLE, _NOT_VISIBLE = 1, 2


@lru_cache(maxsize=1)
def message_types() -> Typestore:
    """The types of ROS 2 Jazzy and of human_recon_msgs.

    The standard messages used here have the same definition in every ROS 2 release.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    custom: dict[str, Any] = {}
    for path in sorted(_DEFINITIONS.glob("*.msg")):
        custom.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{_PACKAGE}/{path.stem}"))
    if PERSON_ARRAY not in custom:
        raise FileNotFoundError(f"{_DEFINITIONS} holds no message definitions: the installation is incomplete")
    store.register(custom)
    return store


def true_person_array(header: Any, people: Sequence[TruePerson], body: BodyModel, floor: Plane | None) -> Any:
    """A PersonArray of what is true; confidences are 1, and what is exact has a covariance of 0."""
    types = message_types().types
    coefficients = np.zeros(4) if floor is None else np.array([*floor.normal, floor.offset], np.float64)
    return types[PERSON_ARRAY](
        header=header,
        people=[_person_message(types, person, body) for person in sorted(people, key=lambda person: person.id)],
        floor=types["shape_msgs/msg/Plane"](coef=coefficients),
    )


def _person_message(types: Any, person: TruePerson, body: BodyModel) -> Any:
    point, vector = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Vector3"]
    x, y, z, w = (float(value) for value in Rotation.from_rotvec(person.state.pose[0]).as_quat())
    keypoints = [
        types[f"{_PACKAGE}/Keypoint"](
            name=name,
            position=point(*(float(value) for value in person.joints[index])),
            covariance=np.zeros(9),
            confidence=1.0,
            visibility=_VISIBLE if person.joint_visible[index] else _NOT_VISIBLE,
        )
        for index, name in enumerate(body.joint_names)
    ]
    x_offset, y_offset, width, height = (int(value) for value in person.roi)
    unknown = vector(math.nan, math.nan, math.nan)
    return types[f"{_PACKAGE}/Person"](
        id=person.id,
        state=_STATE_CONFIRMED if person.visibility > 0 else _STATE_OCCLUDED,
        age=types["builtin_interfaces/msg/Duration"](0, 0),
        confidence=1.0,
        body_model=body.name,
        body_model_hash=body_hash(body),
        betas=np.asarray(person.state.betas, np.float64),
        shape_locked=True,
        pose=np.asarray(person.state.pose, np.float64).reshape(72),
        trans=np.asarray(person.state.trans, np.float64),
        root=types["geometry_msgs/msg/PoseWithCovariance"](
            pose=types["geometry_msgs/msg/Pose"](
                position=point(*(float(value) for value in person.joints[0])),
                orientation=types["geometry_msgs/msg/Quaternion"](x, y, z, w),
            ),
            covariance=np.zeros(36),
        ),
        velocity=types["geometry_msgs/msg/TwistWithCovariance"](
            twist=types["geometry_msgs/msg/Twist"](unknown, unknown), covariance=np.full(36, np.nan)
        ),
        height=float(stature(body, person.state.betas)),
        residual=math.nan,
        visibility=float(person.visibility),
        roi=types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=x_offset, y_offset=y_offset, width=width, height=height, do_rectify=False
        ),
        keypoints=keypoints,
    )


def true_people(message: Any, body: BodyModel) -> tuple[TruePerson, ...]:
    """The people of a PersonArray written by :func:`true_person_array`, posed.

    Raises InputError when a person is no SMPL body of ``body`` or misses what is true about people.
    """
    return tuple(_true_person(person, body) for person in message.people)


def _true_person(message: Any, body: BodyModel) -> TruePerson:
    if message.body_model_hash != body_hash(body):
        raise InputError(
            f"person {message.id} has the parameters of the body model {message.body_model!r}, not of {body.name!r} as "
            "it is here; give the body model that the bag was made with"
        )
    if len(message.betas) != 10 or len(message.keypoints) != len(body.joint_names):
        raise InputError(
            f"person {message.id} has {len(message.betas)} betas and {len(message.keypoints)} keypoints, "
            f"not 10 and {len(body.joint_names)}"
        )
    numbers = np.concatenate([message.betas, message.pose, message.trans, [message.visibility]])
    if message.id < 1 or not np.isfinite(numbers).all():
        raise InputError(f"person {message.id} has no id, pose or visibility; this is no ground truth")
    state = BodyState(
        betas=np.array(message.betas, np.float64),
        pose=np.array(message.pose, np.float64).reshape(24, 3),
        trans=np.array(message.trans, np.float64),
    )
    posed = pose_body(body, state)
    return TruePerson(
        id=int(message.id),
        state=state,
        vertices=posed.vertices,
        joints=posed.joints,
        visibility=float(message.visibility),
        joint_visible=np.array([keypoint.visibility == _VISIBLE for keypoint in message.keypoints]),
        roi=(message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height),
    )
