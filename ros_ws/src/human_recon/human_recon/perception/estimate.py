"""What the learned perception knows about a frame: everybody's mask, place on the body of every pixel, first body."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from human_recon.body.state import BodyState
from human_recon.perception.evidence import Evidence
from human_recon.perception.upsampling import Claims


@dataclass(frozen=True, eq=False)
class PersonEstimate:
    """One person, in the camera optical frame, metres."""

    mask: np.ndarray  # [H, W] bool, pixels with a reading on this person; those of different people are disjoint
    confidence: float  # calibrated probability that this is a person
    state: BodyState  # from the SMPL branch alone
    joints: np.ndarray  # [24, 3] float32, of that state
    joint_sigma: np.ndarray  # [24] float32, one standard deviation per axis
    evidence: Evidence  # what the fit is registered to


@dataclass(frozen=True, eq=False)
class Perceived:
    """Everybody in a frame, nearest first."""

    people: tuple[PersonEstimate, ...]
    claims: Claims  # whose each pixel is, people by index
    timings: dict[str, float] = field(default_factory=dict)  # stage -> seconds

    @property
    def parts(self) -> np.ndarray:
        """[H, W] uint8, body part of each pixel of a mask, 255 elsewhere; computed when it is first asked for."""
        return self.claims.parts

    @property
    def vertices(self) -> np.ndarray:
        """[H, W] int16, vertex of the body model that each pixel of a mask shows, -1 elsewhere; likewise."""
        return self.claims.vertices

    @property
    def similarity(self) -> np.ndarray:
        """[H, W] float32, cosine of the pixel's descriptor and its vertex's, 0 elsewhere; likewise."""
        return self.claims.similarity
