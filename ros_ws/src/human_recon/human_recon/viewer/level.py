"""From the camera's frame to a level one: z up, x where the camera looks (REP-103)."""

from __future__ import annotations

import numpy as np

_OPTICAL_FORWARD = np.array([0.0, 0.0, 1.0])
_OPTICAL_UP = np.array([0.0, -1.0, 0.0])
NO_UP = 1e-6  # length below which a vector tells no direction


def level_rotation(up: np.ndarray | None) -> np.ndarray:
    """[3, 3]: directions in the camera optical frame to the level frame below the same point.

    ``up`` [3] points against gravity, in the camera optical frame; without it the camera is taken to be level. x is
    the direction of view along the ground, or for a camera that looks straight up or down what is up in its image.
    """
    z = _OPTICAL_UP if up is None else np.asarray(up, np.float64) / np.linalg.norm(up)
    forward = _OPTICAL_FORWARD if abs(z @ _OPTICAL_FORWARD) < 0.99 else _OPTICAL_UP
    x = forward - (forward @ z) * z
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])
