"""Postures in the terms of anatomy, degrees, turned into axis-angle of SMPL's joints.

Everything is measured from the anatomical position with the palms at the thighs (standing, arms hanging, thumbs
forwards), in the clinical directions (flexion, abduction, rotation). Trunk and hip angles are Cardan angles in the
order of Grood and Suntay ("A joint coordinate system for the clinical description of three-dimensional motions", 1983);
the upper arm is given by plane of elevation, elevation and axial rotation (Wu et al., "ISB recommendation on
definitions of joint coordinate systems ... Part II", J. Biomechanics 2005), with the rotation counted from the arm
swung straight up in its plane. The shoulder blade follows the arm (Inman's scapulohumeral rhythm).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, joint_index
from human_recon.geometry.rotations import matrix_to_rotvec


@dataclass(frozen=True)
class Arm:
    """One arm, degrees; positive as the comment says, the same for both sides."""

    plane: float = 20.0  # direction the upper arm is raised in: 0 sideways, 90 forwards, 130 across, -60 backwards
    elevation: float = 8.0  # of the upper arm: 0 hanging, 90 level, 180 straight up
    rotation: float = 0.0  # of the upper arm: inwards
    elbow: float = 15.0  # flexion
    pronation: float = 0.0  # of the forearm: thumb inwards
    wrist: float = 0.0  # flexion, towards the palm
    deviation: float = 0.0  # of the hand towards the thumb
    grip: float = 12.0  # curl of the fingers
    shrug: float = 0.0  # of the shoulder, besides what follows from the elevation


@dataclass(frozen=True)
class Leg:
    """One leg, degrees."""

    flexion: float = 0.0  # of the thigh, forwards from the vertical: it stays where it is when the pelvis tilts
    abduction: float = 0.0  # of the thigh, outwards
    rotation: float = 5.0  # of the thigh, outwards
    knee: float = 3.0  # flexion
    ankle: float = float("nan")  # plantar flexion; NaN: whatever keeps the sole level
    toes: float = 0.0  # extension, upwards


@dataclass(frozen=True)
class Trunk:
    """Pelvis, back and head, degrees."""

    pitch: float = 0.0  # of the pelvis: forwards
    roll: float = 0.0  # of the pelvis: to the left
    flexion: float = 3.0  # of the spine: forwards
    bend: float = 0.0  # of the spine: to the left
    twist: float = 0.0  # of the spine: chest to the left
    nod: float = 3.0  # of neck and head: down
    tilt: float = 0.0  # of neck and head: to the left
    turn: float = 0.0  # of neck and head: face to the left


@dataclass(frozen=True)
class Posture:
    """A whole body."""

    trunk: Trunk = Trunk()
    left_arm: Arm = Arm()
    right_arm: Arm = Arm()
    left_leg: Leg = Leg()
    right_leg: Leg = Leg()


# Ranges in these terms, degrees: AAOS ("Joint Motion", 1965), the whole spine and neck together.
ARM_RANGE = np.array([(-70, 140), (0, 172), (-90, 95), (0, 145), (-85, 85), (-70, 80), (-25, 20), (-5, 80), (-8, 20)])
LEG_RANGE = np.array([(-120, 180), (-25, 50), (-45, 60), (0, 150), (-25, 50), (-20, 60)])
TRUNK_RANGE = np.array([(-110, 110), (-100, 100), (-30, 85), (-35, 35), (-45, 45), (-50, 55), (-40, 40), (-75, 75)])
_HIP_FLEXION = (-25.0, 125.0)  # of the thigh in the pelvis

_PARTS = (Trunk, Arm, Arm, Leg, Leg)
_SIZES = tuple(len(fields(part)) for part in _PARTS)
_STARTS = tuple(int(start) for start in np.cumsum((0, *_SIZES)))
ANGLE_COUNT = _STARTS[-1]
ANGLE_RANGE = np.concatenate([TRUNK_RANGE, ARM_RANGE, ARM_RANGE, LEG_RANGE, LEG_RANGE]).astype(np.float64)  # [38, 2]


def angles_of(posture: Posture) -> np.ndarray:
    """[38] degrees in the order trunk, left arm, right arm, left leg, right leg; fields in their order."""
    parts = (posture.trunk, posture.left_arm, posture.right_arm, posture.left_leg, posture.right_leg)
    return np.array([getattr(part, field.name) for part in parts for field in fields(part)], np.float64)


def part_slice(part: int) -> slice:
    """Where the angles of part 0 ... 4 (trunk, left arm, right arm, left leg, right leg) are."""
    return slice(_STARTS[part], _STARTS[part + 1])


def poses_of(angles: np.ndarray) -> np.ndarray:
    """Axis-angle [N, 24, 3] of ``angles`` [N, 38], which are brought within their ranges first."""
    angles = np.clip(angles, ANGLE_RANGE[:, 0], ANGLE_RANGE[:, 1])
    rotations = np.tile(np.eye(3), (len(angles), JOINT_COUNT, 1, 1))
    trunk, left_arm, right_arm, left_leg, right_leg = (angles[:, part_slice(part)].T for part in range(5))
    _set_trunk(rotations, trunk)
    for arm, leg, side in ((left_arm, left_leg, "l_"), (right_arm, right_leg, "r_")):
        for name, local in {**_arm(arm), **_leg(leg, pitch=trunk[0])}.items():
            if side == "r_":
                local = local * _MIRROR
            rotations[:, joint_index(side + name)] = local
    return matrix_to_rotvec(rotations)


_MIRROR = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])  # F R F with F = diag(-1, 1, 1)
_SPINE_SHARES = {"spine1": (0.35, 0.35, 0.25), "spine2": (0.35, 0.35, 0.35), "spine3": (0.30, 0.30, 0.40)}
_NECK_SHARES = {"neck": 0.45, "head": 0.55}


def _set_trunk(rotations: np.ndarray, trunk: np.ndarray) -> None:
    pitch, roll, flexion, bend, twist, nod, tilt, turn = trunk
    rotations[:, 0] = _x(pitch) @ _z(-roll)
    for name, (a, b, c) in _SPINE_SHARES.items():
        rotations[:, joint_index(name)] = _x(a * flexion) @ _z(-b * bend) @ _y(c * twist)
    for name, share in _NECK_SHARES.items():  # the face turns about the neck first, then looks down its own way
        rotations[:, joint_index(name)] = _y(share * turn) @ _z(-share * tilt) @ _x(share * nod)


def _arm(arm: np.ndarray) -> dict[str, np.ndarray]:
    """Local rotations [N, 3, 3] of the left arm's joints."""
    plane, elevation, rotation, elbow, pronation, wrist, deviation, grip, shrug = arm
    forwards = np.sin(np.radians(plane))
    lift = np.clip(0.22 * (elevation - 30.0), 0.0, 24.0) + shrug
    protraction = np.clip(0.13 * elevation * forwards, -10.0, 16.0)
    collar = _y(-protraction) @ _z(lift)
    # Hanging arm: T pose turned down. Raising in plane p: about the level axis at right angles to it.
    swing = _y(-plane) @ _z(elevation) @ _y(plane)
    shoulder = np.swapaxes(collar, 1, 2) @ swing @ _y(-rotation) @ _z(np.full_like(plane, -90.0))
    return {
        "collar": collar,
        "shoulder": shoulder,
        "elbow": _y(-elbow) @ _x(0.5 * pronation),
        "wrist": _x(0.5 * pronation) @ _y(-deviation) @ _z(-wrist),
        "hand": _z(-grip),
    }


def _leg(leg: np.ndarray, pitch: np.ndarray) -> dict[str, np.ndarray]:
    """Local rotations [N, 3, 3] of the left leg's joints below a pelvis with this ``pitch``."""
    flexion, abduction, rotation, knee, ankle, toes = leg
    in_pelvis = np.clip(flexion + pitch, *_HIP_FLEXION)
    level = np.clip(in_pelvis - pitch - knee, *LEG_RANGE[4])
    ankle = np.where(np.isnan(ankle), level, ankle)
    return {
        "hip": _x(-in_pelvis) @ _z(abduction) @ _y(rotation),
        "knee": _x(knee),
        "ankle": _x(ankle),
        "foot": _x(-toes),
    }


def _x(degrees: np.ndarray) -> np.ndarray:
    return _turn(degrees, 1, 2)


def _y(degrees: np.ndarray) -> np.ndarray:
    return _turn(degrees, 2, 0)


def _z(degrees: np.ndarray) -> np.ndarray:
    return _turn(degrees, 0, 1)


def _turn(degrees: np.ndarray, a: int, b: int) -> np.ndarray:
    """Rotations [N, 3, 3] by ``degrees`` [N] that turn axis ``a`` towards axis ``b``."""
    angle = np.radians(degrees)
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
    matrix[:, a, b] = -np.sin(angle)
    matrix[:, b, a] = np.sin(angle)
    return matrix
