"""What perception hands to the fit: one candidate person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PersonHypothesis:
    """The pixels believed to be one person."""

    mask: np.ndarray  # [H, W] bool, this person's visible pixels
    confidence: float  # in [0, 1]
    head: np.ndarray  # [3] metres, camera frame: top of the head or highest point seen
