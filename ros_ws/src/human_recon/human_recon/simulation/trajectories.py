"""Where people go: smooth paths on the floor at human speeds, apart from each other and from what stands there.

Floor coordinates are [x, z] of the world frame in metres; a heading is an angle about y in radians, 0 along +z and
pi / 2 along +x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline

from human_recon.simulation.motion import FPS

TURN_RATE = 2.2  # radians per second, the most
ACCELERATION = 1.2  # metres per second squared, when starting and stopping


@dataclass(frozen=True, eq=False)
class Track:
    """T frames of somebody's place."""

    position: np.ndarray  # [T, 2] metres
    heading: np.ndarray  # [T] radians, unwrapped
    speed: np.ndarray  # [T] metres per second

    def __len__(self) -> int:
        return len(self.heading)

    def cut(self, count: int) -> Track:
        """The first ``count`` frames."""
        return Track(self.position[:count], self.heading[:count], self.speed[:count])

    def after(self, count: int) -> Track:
        """Without the first ``count`` frames."""
        return Track(self.position[count:], self.heading[count:], self.speed[count:])


def stay(position: np.ndarray, heading: float, count: int) -> Track:
    """Standing still for ``count`` frames."""
    return Track(np.tile(position, (count, 1)), np.full(count, heading), np.zeros(count))


def turn(position: np.ndarray, start: float, end: float) -> Track:
    """Turning on the spot from heading ``start`` to ``end`` the short way, starting and stopping gently."""
    angle = (end - start + math.pi) % (2.0 * math.pi) - math.pi
    count = math.ceil(1.5 * abs(angle) / TURN_RATE * FPS)  # the middle of the easing is 1.5 times as fast as its mean
    share = _ease(np.arange(1, count + 1) / max(count, 1))
    return Track(np.tile(position, (count, 1)), start + angle * share, np.zeros(count))


def walk(points: Sequence[np.ndarray], speed: float) -> Track:
    """Along a smooth curve through ``points`` (two or more), from rest to rest, at most at ``speed`` m/s.

    Where the curve is tight the walker is slow enough to turn at TURN_RATE. Raises ValueError where the points go back
    the way they came: a walker would have to stop and :func:`turn`.
    """
    curve = np.array(points, np.float64)
    along = np.diff(curve, axis=0)
    for before, after in pairwise(along):
        if before @ after < -0.98 * float(np.linalg.norm(before) * np.linalg.norm(after)):
            raise ValueError(f"the way {curve.round(2).tolist()} doubles back on itself; walk, turn and walk again")
    chords = np.maximum(np.linalg.norm(np.diff(curve, axis=0), axis=1), 1e-6)
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(chords))])  # centripetal: no loops where points are near
    spline = CubicSpline(knots, curve, bc_type="natural")
    fine = np.linspace(0.0, knots[-1], 60 * len(curve))
    place, tangent = spline(fine), spline(fine, 1)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(place, axis=0), axis=1))])
    heading = np.unwrap(np.arctan2(tangent[:, 0], tangent[:, 1]))
    curvature = np.abs(np.gradient(heading, along + 1e-9 * np.arange(len(along))))
    bound = np.minimum(speed, 0.8 * TURN_RATE / np.maximum(curvature, 1e-3))
    # Backwards and forwards: never faster than one can have sped up from the start, or can still stop before the end.
    squared = bound**2
    squared[0] = squared[-1] = _SLOWEST**2
    for k in range(1, len(squared)):
        squared[k] = min(squared[k], squared[k - 1] + 2.0 * ACCELERATION * (along[k] - along[k - 1]))
    for k in range(len(squared) - 2, -1, -1):
        squared[k] = min(squared[k], squared[k + 1] + 2.0 * ACCELERATION * (along[k + 1] - along[k]))
    velocity = np.sqrt(squared)
    steps = np.diff(along) * 2.0 / (velocity[1:] + velocity[:-1])
    time = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(1, math.ceil(time[-1] * FPS))
    when = np.minimum(np.arange(1, count + 1) / FPS, time[-1])
    segment = np.clip(np.searchsorted(time, when, side="right") - 1, 0, len(steps) - 1)
    since = when - time[segment]
    pull = (velocity[segment + 1] - velocity[segment]) / np.maximum(steps[segment], 1e-9)
    at = along[segment] + velocity[segment] * since + 0.5 * pull * since**2
    position = np.stack([np.interp(at, along, place[:, c]) for c in range(2)], axis=1)
    moved = np.linalg.norm(np.diff(position, axis=0, prepend=curve[:1]), axis=1) * FPS
    return Track(position, np.interp(at, along, heading), moved)


def joined(tracks: Sequence[Track]) -> Track:
    """One after the other; headings continue without a jump of whole turns."""
    headings: list[np.ndarray] = []
    for track in tracks:
        if not len(track):
            continue
        shift = 0.0
        if headings:
            shift = 2.0 * math.pi * round((headings[-1][-1] - track.heading[0]) / (2.0 * math.pi))
        headings.append(track.heading + shift)
    return Track(
        np.concatenate([track.position for track in tracks]),
        np.concatenate(headings),
        np.concatenate([track.speed for track in tracks]),
    )


def first_heading(points: Sequence[np.ndarray]) -> float:
    """Heading at the start of :func:`walk` along ``points``."""
    track = walk(points, 1.0)
    return float(track.heading[0])


def clearance(track: Track, others: Sequence[Track], radii: Sequence[float], obstacles: np.ndarray) -> float:
    """How much farther apart than they must be people and things are, at worst; metres, negative when too near.

    Args:
        track: whose.
        others: of equally many frames or more.
        radii: least distance to each of ``others``.
        obstacles: [N, 5] x, z, half sizes and yaw of boxes on the floor, to keep OBSTACLE_GAP from.
    """
    worst = math.inf
    count = len(track)
    for other, radius in zip(others, radii, strict=True):
        apart = np.linalg.norm(track.position - other.position[:count], axis=1)
        worst = min(worst, float(apart.min()) - radius)
    for x, z, half_x, half_z, yaw in obstacles:
        cosine, sine = math.cos(yaw), math.sin(yaw)
        dx, dz = track.position[:, 0] - x, track.position[:, 1] - z
        across = np.abs(cosine * dx - sine * dz) - half_x
        along = np.abs(sine * dx + cosine * dz) - half_z
        outside = np.hypot(np.maximum(across, 0.0), np.maximum(along, 0.0)) + np.minimum(np.maximum(across, along), 0.0)
        worst = min(worst, float(outside.min()) - OBSTACLE_GAP)
    return worst


OBSTACLE_GAP = 0.45  # metres between the middle of a walker and furniture
_SLOWEST = 0.05  # metres per second, at the ends of a walk


def _ease(share: np.ndarray) -> np.ndarray:
    return share * share * (3.0 - 2.0 * share)
