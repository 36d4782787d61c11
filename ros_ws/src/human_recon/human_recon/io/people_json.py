"""``people.json``: the people of a recording as text.

    {"format": "human_recon people", "version": 1,
     "body_model": name,
     "camera": {"frame_id", "width", "height", "fx", "fy", "cx", "cy", "distortion_model", "distortion": [...]} | null,
     "frames": [{"stamp": seconds, "stamp_ns": integer nanoseconds,
                 "camera": {...},                      only when it is not the camera above
                 "people": [{"id", "confidence", "betas": [10], "pose": [72], "trans": [3],
                             "keypoints": {joint: [x, y, z]}, "keypoint_sigma": {joint: metres},
                             "height", "roi": [x, y, width, height], "residual"}]}]}

Metres, radians, pixels; camera optical frame; pose is 24 axis-angle rotations in SMPL's order; joints are named as in
``human_recon.body.skeleton``. An unknown value is null, never NaN. ``camera`` is null when there is no frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.body.skeleton import JOINT_NAMES
from human_recon.body.state import BodyState
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.atomic import write_bytes
from human_recon.io.errors import file_error
from human_recon.people import People, Person

_FORMAT = "human_recon people"
_VERSION = 1
_DECIMALS = 6  # a micrometre; more digits of a float32 joint are noise


@dataclass(frozen=True)
class PersonRecord:
    """One person as stored."""

    id: int
    confidence: float  # in [0, 1]
    state: BodyState
    joints: np.ndarray  # [24, 3] float64, metres; NaN = unknown
    joint_sigma: np.ndarray  # [24] float64, metres; NaN = unknown
    height: float  # metres; NaN = unknown
    roi: tuple[int, int, int, int]  # x, y, width, height in pixels
    residual: float  # metres; NaN = unknown


@dataclass(frozen=True)
class FrameRecord:
    """The people of one frame as stored."""

    stamp_ns: int
    frame_id: str
    camera: CameraIntrinsics
    people: tuple[PersonRecord, ...]


@dataclass(frozen=True)
class PeopleFile:
    """A whole ``people.json``."""

    body_model: str
    frames: tuple[FrameRecord, ...]


def write_people_json(path: str | Path, frames: Iterable[People], body_model: str) -> None:
    """Write results to ``path``, atomically. Only poses, joints and cameras are used, not images or vertices."""
    camera: dict[str, Any] | None = None
    entries = []
    for people in frames:
        own_camera = _camera_entry(people)
        camera = camera or own_camera
        stamp_ns = int(people.frame.stamp_ns)
        entry: dict[str, Any] = {"stamp": stamp_ns / 1e9, "stamp_ns": stamp_ns}
        if own_camera != camera:
            entry["camera"] = own_camera
        entry["people"] = [_person_entry(person) for person in people.people]
        entries.append(entry)
    content = {"format": _FORMAT, "version": _VERSION, "body_model": body_model, "camera": camera, "frames": entries}
    write_bytes(path, (json.dumps(content, allow_nan=False, indent=1) + "\n").encode())


def _camera_entry(people: People) -> dict[str, Any]:
    camera = people.frame.intrinsics
    return {
        "frame_id": people.frame.frame_id,
        "width": camera.width,
        "height": camera.height,
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "distortion_model": camera.distortion_model,
        "distortion": camera.distortion.tolist(),
    }


def _person_entry(person: Person) -> dict[str, Any]:
    state = person.state
    return {
        "id": int(person.id),
        "confidence": _value(person.confidence),
        "betas": _values(state.betas, None),
        "pose": _values(np.asarray(state.pose).reshape(72), None),
        "trans": _values(state.trans, None),
        "keypoints": {name: _values(joint) for name, joint in zip(JOINT_NAMES, person.joints, strict=True)},
        "keypoint_sigma": {name: _value(sigma) for name, sigma in zip(JOINT_NAMES, person.joint_sigma, strict=True)},
        "height": _value(person.height),
        "roi": [int(side) for side in person.roi],
        "residual": _value(person.residual),
    }


def _value(number: Any, decimals: int | None = _DECIMALS) -> float | None:
    value = float(number)
    if not math.isfinite(value):
        return None
    return value if decimals is None else round(value, decimals)


def _values(numbers: Iterable[Any], decimals: int | None = _DECIMALS) -> list[float | None]:
    return [_value(number, decimals) for number in numbers]


class _Bad(Exception):
    """What is wrong with the content, without the file's name."""


def read_people_json(path: str | Path) -> PeopleFile:
    """Read and check a ``people.json``. Raises InputError when it is missing, damaged or of another version."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return _file(content)
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    except (_Bad, ValueError, RecursionError) as error:
        raise file_error(path, f"not a usable people.json: {error}; write it again") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _file(content: Any) -> PeopleFile:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _Bad(f'it has no "format": "{_FORMAT}"')
    if content.get("version") != _VERSION:
        raise _Bad(f"version {content.get('version')!r} is not {_VERSION}")
    body_model = _get(content, "body_model", str)
    frames = _get(content, "frames", list)
    return PeopleFile(body_model, tuple(_frame(frame, content.get("camera")) for frame in frames))


def _frame(entry: Any, default_camera: Any) -> FrameRecord:
    camera = entry.get("camera", default_camera) if isinstance(entry, dict) else None
    intrinsics = CameraIntrinsics(
        width=_get(camera, "width", int),
        height=_get(camera, "height", int),
        fx=_number(camera, "fx"),
        fy=_number(camera, "fy"),
        cx=_number(camera, "cx"),
        cy=_number(camera, "cy"),
        distortion_model=_get(camera, "distortion_model", str),
        distortion=_vector(_get(camera, "distortion", list), None, "distortion"),
    )
    people = tuple(_person(person) for person in _get(entry, "people", list))
    return FrameRecord(_get(entry, "stamp_ns", int), _get(camera, "frame_id", str), intrinsics, people)


def _person(entry: Any) -> PersonRecord:
    state = BodyState(
        _vector(_get(entry, "betas", list), 10, "betas"),
        _vector(_get(entry, "pose", list), 72, "pose").reshape(24, 3),
        _vector(_get(entry, "trans", list), 3, "trans"),
    )
    keypoints = _get(entry, "keypoints", dict)
    sigmas = _get(entry, "keypoint_sigma", dict)
    missing = [name for name in JOINT_NAMES if name not in keypoints or name not in sigmas]
    if missing:
        raise _Bad(f"joint {missing[0]} is missing")
    joints = np.stack([_vector(keypoints[name], 3, name, null=True) for name in JOINT_NAMES])
    sigma = _vector([sigmas[name] for name in JOINT_NAMES], 24, "keypoint_sigma", null=True)
    x, y, width, height = (int(side) for side in _vector(_get(entry, "roi", list), 4, "roi"))
    return PersonRecord(
        _get(entry, "id", int),
        _number(entry, "confidence", null=True),
        state,
        joints,
        sigma,
        _number(entry, "height", null=True),
        (x, y, width, height),
        _number(entry, "residual", null=True),
    )


def _get(entry: Any, name: str, kind: type) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise _Bad(f"{name} is missing")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Bad(f"{name} is not of type {kind.__name__}")
    return value


def _number(entry: Any, name: str, *, null: bool = False) -> float:
    if not isinstance(entry, dict) or name not in entry:
        raise _Bad(f"{name} is missing")
    return float(_vector([entry[name]], 1, name, null=null)[0])


def _vector(values: Any, size: int | None, name: str, *, null: bool = False) -> np.ndarray:
    """A list of numbers as float64; null becomes NaN when allowed."""
    if not isinstance(values, list) or (size is not None and len(values) != size):
        raise _Bad(f"{name} is not a list of {size} numbers")
    for value in values:
        if not (null and value is None) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _Bad(f"{name} has the entry {str(value)[:40]}, which is not a number")
    return np.array([math.nan if value is None else float(value) for value in values], np.float64)
