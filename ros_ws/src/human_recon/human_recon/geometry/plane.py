"""Planes, and the floor under the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plane:
    """Points x with normal . x + offset = 0; normal is a unit vector, up for a floor."""

    normal: np.ndarray  # [3]
    offset: float  # metres: distance of the origin (camera) above the plane

    def height(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of ``points`` [..., 3] from the plane, metres, positive on the side of the normal: [...]."""
        return points @ self.normal + self.offset
