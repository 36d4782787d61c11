"""The pipeline's result: the people of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane

# How sure the tracker is of somebody. Unknown: nobody tracks. Tentative: seen too few times to be believed. Confirmed:
# tracked. Occluded: tracked, not measured. Lost: given up, the id does not come back.
Life = Literal["unknown", "tentative", "confirmed", "occluded", "lost"]


@dataclass(frozen=True)
class Person:
    """One reconstructed person, in the camera optical frame, metres."""

    id: int  # >= 1, stable over time as long as the person is tracked
    confidence: float  # in [0, 1]
    state: BodyState
    vertices: np.ndarray  # [V, 3] float32
    joints: np.ndarray  # [24, 3] float32
    joint_sigma: np.ndarray  # [24] float32, one standard deviation in metres, isotropic
    joint_visible: np.ndarray  # [24] bool, the surface around the joint is seen by the camera
    height: float  # stature of the body in its rest pose, metres
    roi: tuple[int, int, int, int]  # x, y, width, height in pixels of the visible mask
    residual: float  # median |measured - model depth| over the visible surface, metres; NaN when nothing is seen
    life: Life = "unknown"
    measured: bool = True  # in this frame; else predicted, with an empty roi and no pixels
    age: float = 0.0  # seconds since first seen, sensor time
    shape_locked: bool = False
    visibility: float = float("nan")  # share of the body that the camera sees, were nothing and no border in the way
    joint_covariance: np.ndarray | None = None  # [24, 3, 3] square metres
    joint_confidence: np.ndarray | None = None  # [24] float32 in [0, 1], that the joint is within 10 cm of its place
    root_covariance: np.ndarray | None = None  # [6, 6] of the pelvis: position, rotation vector; m^2, m rad, rad^2
    velocity: np.ndarray | None = None  # [6] of the pelvis, camera frame: m/s, rad/s
    velocity_covariance: np.ndarray | None = None  # [6, 6]


@dataclass(frozen=True, eq=False)
class TemplateMesh:
    """One person's own surface, deformed to a frame."""

    id: int  # Person.id
    vertices: np.ndarray  # [V, 3] float32, camera frame, metres
    faces: np.ndarray  # [F, 3] int32, the same array as long as the template is the same
    confidence: np.ndarray | None = None  # [V] float32 in [0, 1], how well the surface is known there


@dataclass(frozen=True)
class People:
    """Everybody in one frame."""

    frame: Frame
    people: tuple[Person, ...]
    labels: np.ndarray  # [H, W] uint16, 0 = nobody, else Person.id
    floor: Plane | None = None
    timings: dict[str, float] = field(default_factory=dict)  # stage name -> seconds
    # What a network says of each pixel by itself, before any body is fitted; None when the perception says nothing.
    parts: np.ndarray | None = None  # [H, W] uint8, joint of the body part, 255 = nobody
    vertices: np.ndarray | None = None  # [H, W] int16, vertex of the body model, -1 = nobody
    templates: tuple[TemplateMesh, ...] = ()  # of those who have one
