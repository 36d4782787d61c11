"""How likely something is near where it is said to be."""

from __future__ import annotations

import numpy as np
from scipy.special import erf


def probability_within(covariance: np.ndarray, distance: float) -> np.ndarray:
    """[...] float32: probability that a point with Gaussian error is within ``distance`` metres of its mean.

    The Maxwell distribution of the mean variance over the axes: exact where ``covariance`` [..., 3, 3] (square metres)
    is the same in all directions, too low (by less than 0.2) where it is not. NaN where the covariance is.
    """
    variance = np.trace(covariance, axis1=-2, axis2=-1) / 3.0
    ratio = distance / np.sqrt(np.maximum(variance, 1e-12))
    inside = erf(ratio / np.sqrt(2.0)) - np.sqrt(2.0 / np.pi) * ratio * np.exp(-0.5 * np.square(ratio))
    return inside.astype(np.float32)
