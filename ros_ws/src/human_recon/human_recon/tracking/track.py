"""What is known of one person over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.state import BodyState
from human_recon.people import Life


@dataclass(frozen=True, eq=False)
class Track:
    """One person at the time of a frame, camera optical frame, metres."""

    id: int  # >= 1, never used again
    life: Life
    measured: int | None  # index of this frame's measurement; None: predicted
    age: float  # seconds since first seen
    confidence: float  # in [0, 1]
    state: BodyState
    joints: np.ndarray  # [24, 3] float64
    joint_covariance: np.ndarray  # [24, 3, 3]
    root_covariance: np.ndarray  # [6, 6]
    velocity: np.ndarray  # [6] of the pelvis, m/s and rad/s; NaN when not known
    velocity_covariance: np.ndarray  # [6, 6]
    shape_locked: bool
