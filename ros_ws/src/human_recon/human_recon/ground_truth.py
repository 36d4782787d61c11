"""What is known to be true about a frame: the counterpart of :class:`human_recon.people.People`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame


@dataclass(frozen=True, eq=False)
class TruePerson:
    """One real person, in the camera optical frame, metres."""

    id: int  # >= 1, the same in every frame of a sequence
    state: BodyState
    vertices: np.ndarray  # [V, 3] float32, the body without clothes
    joints: np.ndarray  # [24, 3] float32
    # In [0, 1]: pixels of them with a reading over pixels of their whole silhouette, were nothing in the way. Who is
    # hidden, outside of the image or beyond the sensor's reach has 0 and need not be found.
    visibility: float
    joint_visible: np.ndarray  # [24] bool, some surface of the joint's part has a reading
    roi: tuple[int, int, int, int]  # x, y, width, height in pixels of their readings; all 0 without any


@dataclass(frozen=True, eq=False)
class TrueFrame:
    """A frame, everybody in front of the camera (also the hidden), and whose each pixel is."""

    frame: Frame
    people: tuple[TruePerson, ...]
    labels: np.ndarray | None = None  # [H, W] uint16, id of the person seen, 0 = nobody; None = unknown
    parts: np.ndarray | None = None  # [H, W] uint8, joint of the body part seen, 255 = nobody; None = unknown
    # [H, W] int32, vertex of the body model that the surface seen, cloth too, belongs to; -1 = nobody; None = unknown
    vertices: np.ndarray | None = None
