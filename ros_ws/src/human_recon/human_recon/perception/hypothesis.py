"""What perception hands to the fit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from human_recon.body.state import BodyState
from human_recon.geometry.plane import Plane
from human_recon.perception.evidence import Evidence
from human_recon.perception.surface import Surface


@dataclass(frozen=True)
class BodyGuess:
    """A body that was seen rather than fitted."""

    state: BodyState
    joints: np.ndarray  # [24, 3] float32, of that state, metres
    joint_sigma: np.ndarray  # [24] float32, one standard deviation per axis, metres


@dataclass(frozen=True)
class PersonHypothesis:
    """The pixels believed to be one person."""

    mask: np.ndarray  # [H, W] bool, this person's visible pixels
    confidence: float  # in [0, 1]
    head: np.ndarray  # [3] metres, camera frame: top of the head or highest point seen
    guess: BodyGuess | None = None
    evidence: Evidence | None = None  # of learned perception


@dataclass(frozen=True)
class Found:
    """The people of one frame, nearest first."""

    hypotheses: tuple[PersonHypothesis, ...]
    surface: Surface | None  # None: nobody asked for it
    parts: np.ndarray | None = None  # [H, W] uint8, body part of each pixel of a mask, 255 elsewhere
    vertices: np.ndarray | None = None  # [H, W] int16, body vertex of each pixel of a mask, -1 elsewhere
    floor: Plane | None = None
    timings: dict[str, float] = field(default_factory=dict)  # stage -> seconds
