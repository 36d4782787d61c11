"""Walking as a cycle that repeats: recorded strides closed into loops, or a procedural one.

A cycle is driven by the distance walked, not by time, so the standing foot stays where it is whatever the speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from human_recon.body.skeleton import joint_index
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.anatomy import Arm, Leg, Posture, Trunk, angles_of, poses_of
from human_recon.simulation.motion import FPS, Clip, MotionLibrary
from human_recon.simulation.poses import yaw_axis_angle
from human_recon.simulation.skeletons import posed_joints

_SHORTEST, _LONGEST = 24, 44  # frames of a stride
_SPEEDS = (0.7, 2.0)  # metres per second
_BEST_GAP = 0.05  # metres, mean over the joints, between the two ends of a stride
_MOST_TURN = 0.2  # radians, during a stride
_MOST_STEP = 0.4  # radians between two samples, of any joint: recorded ankles flick sometimes
_MOST_CYCLES = 40


@dataclass(frozen=True, eq=False)
class GaitCycle:
    """One stride (two steps) in N samples, walking along +z; sample i is at phase i / N, and sample N would be 0 again.

    Lengths are those of the reference body: multiply by the ratio of the leg lengths.
    """

    poses: np.ndarray  # [N, 24, 3] float64, axis-angle; pose[0] relative to the direction of walking
    offset: np.ndarray  # [N, 2] float64, metres: pelvis to the left of the path, and ahead of steady progress
    length: float  # metres walked per stride
    speed: float  # metres per second at which it was recorded

    @cached_property
    def _rotations(self) -> tuple[np.ndarray, np.ndarray]:
        matrices = rotvec_to_matrix(self.poses)
        following = np.roll(matrices, -1, axis=0)
        return matrices, matrix_to_rotvec(np.swapaxes(matrices, -1, -2) @ following)

    @property
    def largest_step(self) -> float:
        """Radians that any joint turns from one sample to the next, at most."""
        return float(np.linalg.norm(self._rotations[1], axis=-1).max())

    def at(self, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotations [T, 24, 3, 3] and offsets [T, 2] at ``phase`` [T] (1 is a whole stride; wraps)."""
        matrices, steps = self._rotations
        count = len(matrices)
        place = (phase % 1.0) * count
        index = np.minimum(place.astype(np.int64), count - 1)
        share = place - index
        rotations = matrices[index] @ rotvec_to_matrix(steps[index] * share[:, None, None])
        after = self.offset[(index + 1) % count]
        return rotations, self.offset[index] + share[:, None] * (after - self.offset[index])


def gait_cycles(motion: MotionLibrary | None) -> tuple[GaitCycle, ...]:
    """The best stride of each recorded walk; a procedural one where there is none."""
    found = []
    if motion is not None:
        for clip in motion.of_kind("walking"):
            cycle = _best_stride(clip, motion.rest_joints)
            if cycle is not None:
                found.append(cycle)
    found.sort(key=lambda pair: pair[0])
    return tuple(cycle for _, cycle in found[:_MOST_CYCLES]) or (procedural_cycle(),)


def _best_stride(clip: Clip, rest_joints: np.ndarray) -> tuple[float, GaitCycle] | None:
    """The stride of ``clip`` whose ends fit best, and how well they do; None when there is none to speak of."""
    poses, trans = clip.poses, clip.trans
    turn = yaw_axis_angle(poses[:, 0])
    level = poses.copy()
    level[:, 0] = matrix_to_rotvec(np.swapaxes(rotvec_to_matrix(turn), -1, -2) @ rotvec_to_matrix(poses[:, 0]))
    joints = posed_joints(level, rest_joints)[0]
    motion = np.gradient(joints, axis=0) * 3.0  # 0.1 s ahead
    features = np.concatenate([joints, motion], axis=1)
    yaw = np.unwrap(turn[:, 1])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(trans[:, [0, 2]], axis=0), axis=1))])
    best: tuple[float, int, int] | None = None
    for size in range(_SHORTEST, min(_LONGEST, len(poses) - 1) + 1):
        start = np.arange(0, len(poses) - size, 2)
        gap = np.linalg.norm(features[start + size] - features[start], axis=2).mean(axis=1)
        chord = np.linalg.norm(trans[start + size][:, [0, 2]] - trans[start][:, [0, 2]], axis=1)
        speed = chord * FPS / size
        usable = (np.abs(yaw[start + size] - yaw[start]) < _MOST_TURN) & (speed > _SPEEDS[0]) & (speed < _SPEEDS[1])
        usable &= walked[start + size] - walked[start] < 1.08 * chord
        gap = np.where(usable, gap, np.inf)
        k = int(gap.argmin())
        if best is None or gap[k] < best[0]:
            best = (float(gap[k]), int(start[k]), size)
    if best is None or best[0] > _BEST_GAP:
        return None
    stride = slice(best[1], best[1] + best[2] + 1)
    cycle = _closed(poses[stride], trans[stride])
    return (best[0], cycle) if cycle.largest_step < _MOST_STEP else None


def _closed(poses: np.ndarray, trans: np.ndarray) -> GaitCycle:
    """A loop out of a stride [N + 1]: what is left between its ends is spread evenly over it."""
    count = len(poses) - 1
    share = np.arange(count) / count
    chord = trans[-1] - trans[0]
    length = float(math.hypot(chord[0], chord[2]))
    along = np.array([chord[0], chord[2]]) / length
    heading = math.atan2(along[0], along[1])
    rotations = rotvec_to_matrix(poses)
    # The walker may turn a little during the stride: the turn is taken out evenly, and so is all other drift.
    rotations[:, 0] = rotvec_to_matrix(np.array([0.0, -heading, 0.0])) @ rotations[:, 0]
    drift = matrix_to_rotvec(np.swapaxes(rotations[count], -1, -2) @ rotations[0])
    looped = rotations[:count] @ rotvec_to_matrix(share[:, None, None] * drift)
    plan = (trans[:count] - trans[0])[:, [0, 2]]
    ahead = plan @ along - share * length
    left = plan @ np.array([along[1], -along[0]])  # the person's left of +z is +x
    offset = np.stack([left - left.mean(), ahead - ahead.mean()], axis=1)
    return GaitCycle(matrix_to_rotvec(looped), offset, length, length * FPS / count)


def procedural_cycle(samples: int = 32) -> GaitCycle:
    """A plain walk: hips swing, knees bend while a leg comes forwards, arms swing against the legs.

    Amplitudes are rounded from gait analysis (Perry, "Gait Analysis", 1992: hip 30 degrees forwards to 10 back, knee 60
    degrees in the swing and 15 in loading, ankle 15 each way).
    """
    phase = np.arange(samples) / samples
    angles = np.empty((samples, len(angles_of(Posture()))))
    for k, at in enumerate(phase):
        legs, arms = [], []
        for own in (at, (at + 0.5) % 1.0):  # 0 is this leg's heel strike
            hip = 10.0 + 20.0 * math.cos(2 * math.pi * own)
            knee = 5.0 + 12.0 * _bump(own, 0.12, 0.10) + 55.0 * _bump(own, 0.74, 0.13)
            ankle = -6.0 * math.sin(2 * math.pi * own) + 12.0 * _bump(own, 0.62, 0.08)
            legs.append(Leg(flexion=hip, abduction=-2.0, knee=knee, ankle=ankle))
            swing = -20.0 * math.cos(2 * math.pi * own)
            arms.append(Arm(plane=90.0 if swing > 0 else -70.0, elevation=abs(swing), elbow=22.0 + 0.5 * swing))
        trunk = Trunk(pitch=3.0, flexion=2.0, twist=5.0 * math.cos(2 * math.pi * at))
        angles[k] = angles_of(Posture(trunk, arms[0], arms[1], legs[0], legs[1]))
    return GaitCycle(poses_of(angles), np.zeros((samples, 2)), length=1.25, speed=1.2)


def _bump(phase: float, centre: float, width: float) -> float:
    away = abs((phase - centre + 0.5) % 1.0 - 0.5)
    return math.exp(-0.5 * (away / width) ** 2)


ARM_JOINTS = {
    side: np.array([joint_index(f"{side}_{name}") for name in ("collar", "shoulder", "elbow", "wrist", "hand")])
    for side in ("l", "r")
}
