"""The pipeline's result: the people of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.geometry.plane import Plane


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
