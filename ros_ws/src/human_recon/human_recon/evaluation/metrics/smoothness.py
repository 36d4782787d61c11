"""How smoothly joints move, at the frame rate of the recording."""

from __future__ import annotations

import numpy as np


def acceleration(positions: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Acceleration [J, 3] in m/s^2 from the joints [3, J, 3] (metres) at three ``times`` [3] (seconds).

    Second divided difference; with equal steps (x0 - 2 x1 + x2) / dt^2.
    """
    positions, times = np.asarray(positions, np.float64), np.asarray(times, np.float64)
    before = (positions[1] - positions[0]) / (times[1] - times[0])
    after = (positions[2] - positions[1]) / (times[2] - times[1])
    return 2.0 * (after - before) / (times[2] - times[0])


def acceleration_error(predicted: np.ndarray, true: np.ndarray, times: np.ndarray) -> float:
    """Mean over the joints of |predicted - true acceleration| from [3, J, 3] at ``times`` [3], m/s^2.

    Kanazawa et al., "Learning 3D human dynamics from video", CVPR 2019, section 5.1 (there per squared frame).
    """
    return float(np.linalg.norm(acceleration(predicted, times) - acceleration(true, times), axis=-1).mean())


def jitter(positions: np.ndarray, times: np.ndarray) -> float:
    """Mean over the joints of |acceleration| of [3, J, 3] at ``times`` [3], m/s^2.

    To be read beside the same figure of the truth: what exceeds it is trembling, what falls short is smoothing.
    """
    return float(np.linalg.norm(acceleration(positions, times), axis=-1).mean())
