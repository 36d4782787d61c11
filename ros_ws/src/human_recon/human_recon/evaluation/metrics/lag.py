"""How far a reconstruction lags behind: the shift in time at which it agrees best with the truth."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicSpline

MOST = 3  # frames: shifts that are tried, to both sides
SHIFTS = np.linspace(-MOST, MOST, 8 * MOST + 1)  # frames; positive: the prediction is late
WINDOW = 30  # successive frames that are compared at a time, of which the inner ones for all shifts


def shifted_squares(predicted: np.ndarray, true: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Sum of squares [K] between ``predicted`` and the truth :data:`SHIFTS` frames earlier, joints [T, J, 3], metres.

    ``times`` [T] seconds, increasing; a frame is their median step. The truth between frames is a cubic spline. The
    mean difference of each coordinate is taken out: somebody reconstructed ten centimetres too far away does not lag.
    Only times at which all shifts fall into the window count, so that all are compared over the same frames.
    """
    count = len(times)
    step = float(np.median(np.diff(times)))
    inner = (times - MOST * step >= times[0] - 1e-9) & (times + MOST * step <= times[-1] + 1e-9)
    if not inner.any():
        return np.zeros(len(SHIFTS))
    truth = CubicSpline(times, np.asarray(true, np.float64).reshape(count, -1))
    said = np.asarray(predicted, np.float64).reshape(count, -1)[inner]
    squares = []
    for shift in SHIFTS:
        rest = said - truth(times[inner] - shift * step)
        squares.append(float(np.square(rest - rest.mean(axis=0)).sum()))
    return np.array(squares)


def best_shift(squares: np.ndarray) -> float:
    """The lag in frames at which a sum of :func:`shifted_squares` [K] is least, between shifts by a parabola.

    At most :data:`MOST`; NaN when no shift is better than another, as of people who stand still.
    """
    squares = np.asarray(squares, np.float64)
    if not np.isfinite(squares).all() or np.ptp(squares) <= 1e-12:
        return math.nan
    k = int(np.argmin(squares))
    if k in (0, len(squares) - 1):
        return float(SHIFTS[k])
    before, here, after = squares[k - 1 : k + 2]
    return float(SHIFTS[k] + 0.5 * (before - after) / (before - 2.0 * here + after) * (SHIFTS[1] - SHIFTS[0]))
