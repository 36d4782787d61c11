"""Poses of single people: recorded ones, and key postures of what the recordings lack.

Of the recorded poses half are drawn uniformly from everyday motion (walking, standing, gesturing) and half from the set
that farthest-point sampling (Eldar et al., "The farthest point strategy for progressive image sampling", IEEE TIP 1997)
picks among all clips by where the joints are: rare poses then come as often as common ones. Without motion capture key
postures and poses within joint limits take their place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, MIRROR_JOINTS
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.joint_limits import within_limits
from human_recon.simulation.key_poses import HELD_BY_OTHER_HAND, OTHER_SIDE, KeyPoseBank, key_pose_bank
from human_recon.simulation.motion import MotionLibrary
from human_recon.simulation.randomness import generator
from human_recon.simulation.skeletons import posed_joints

DIVERSE_COUNT = 1500  # of the frames considered for the diverse half
_DIVERSE_STEP = 4  # every fourth frame is considered: 0.13 s apart
_LIMIT_COUNT = 1500  # poses within joint limits that stand in for recorded ones
NOISE_DEGREES = 2.0  # standard deviation added to each axis of each joint below the pelvis

SITTING_SHARE = 1.0 / 3.0
KEY_SHARE = 0.25  # of the others: key postures that do not sit

# What a recorded clip shows, by its kind.
_ACTIVITIES = {
    "walking": "walking", "sneaking": "walking", "running": "running", "signals": "gesturing", "sports": "sports",
    "jumping": "jumping", "couple_dance": "dancing", "dance": "dancing", "karate": "sports", "floor": "crawling",
    "acrobatics": "jumping",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class DrawnPose:
    """A pose facing +z in a frame with y up."""

    pose: np.ndarray  # [24, 3] float64, axis-angle; pose[0] is the tilt of the pelvis alone, without yaw
    activity: str  # of PoseLibrary.activities
    supports: str  # what the pose needs: "floor" | "seat" | "wall" | "table" | "lying"
    holds: str  # hand that carries something: "none" | "left" | "right" | "both"
    side: str = "none"  # side of the body where wall or table is: "front" | "back" | "left" | "right" | "none"
    name: str = ""  # of the key posture, or of the clip's kind


@dataclass(frozen=True, eq=False)
class _Bank:
    """N poses with what they need."""

    poses: np.ndarray  # [N, 24, 3] float64
    label: np.ndarray  # [N] int, index into labels
    labels: tuple[DrawnPose, ...]  # their pose is not used


class PoseLibrary:
    """Draws poses; made once per process, safe to share among threads."""

    def __init__(self, everyday: _Bank, diverse: _Bank, key: KeyPoseBank) -> None:
        self._everyday, self._diverse, self._key = everyday, diverse, _from_key_poses(key)
        labels = self._key.labels
        seated = np.array([label.activity == "sitting" for label in labels])
        weights = np.array(key.weights, np.float64)
        self._seated = _cumulative(weights * seated)
        self._others = _cumulative(weights * ~seated)
        self._starts = np.searchsorted(self._key.label, np.arange(len(labels) + 1))
        self._by_activity = self._index_activities()

    @staticmethod
    def load(assets: Assets, split: Split) -> PoseLibrary:
        """Read the motion capture of one split and prepare; a second or two.

        Raises MotionFileError when the file is not a motion capture file.
        """
        key = key_pose_bank(split)
        if assets.motion is None:
            bank = _within_limits(split)
            return PoseLibrary(bank, bank, key)
        motion = MotionLibrary.load(assets.motion, split)
        return PoseLibrary(_everyday(motion), _diverse(motion), key)

    @property
    def activities(self) -> tuple[str, ...]:
        """What :meth:`draw` may be asked for."""
        return tuple(self._by_activity)

    def draw(self, rng: np.random.Generator, activity: str | None = None) -> DrawnPose:
        """One pose, mirrored half of the time, with a little noise on every joint.

        Args:
            activity: one of :attr:`activities`; None: a third sits, the rest is as the module's docstring says.

        Raises ValueError for an unknown activity.
        """
        u = rng.random(4)
        if activity is None:
            bank, index = self._choose(u[0], u[1], u[2])
        else:
            bank, index = self._choose_activity(activity, u[0], u[1])
        label = bank.labels[bank.label[index]]
        pose = bank.poses[index]
        if u[3] < 0.5:
            pose = pose[MIRROR_JOINTS] * _MIRROR_SIGNS
            label = _mirrored(label)
        noise = rng.standard_normal((JOINT_COUNT, 3))
        noise *= _NOISE_SCALE
        noise += pose
        return DrawnPose(noise, label.activity, label.supports, label.holds, label.side, label.name)

    def _choose(self, kind: float, which: float, where: float) -> tuple[_Bank, int]:
        if kind < SITTING_SHARE:
            return self._key, self._key_index(self._seated, which, where)
        kind = (kind - SITTING_SHARE) / (1.0 - SITTING_SHARE)
        if kind < KEY_SHARE:
            return self._key, self._key_index(self._others, which, where)
        bank = self._everyday if kind < 0.5 * (1.0 + KEY_SHARE) else self._diverse
        return bank, int(which * len(bank.poses))

    def _key_index(self, cumulative: np.ndarray, which: float, where: float) -> int:
        label = int(np.searchsorted(cumulative, which, side="right"))
        start, end = self._starts[label], self._starts[label + 1]
        return int(start + int(where * (end - start)))

    def _choose_activity(self, activity: str, which: float, where: float) -> tuple[_Bank, int]:
        try:
            sources = self._by_activity[activity]
        except KeyError:
            raise ValueError(f"no pose shows {activity!r}; activities: {', '.join(self.activities)}") from None
        bank, indices = sources[int(which * len(sources))]
        return bank, int(indices[int(where * len(indices))])

    def _index_activities(self) -> dict[str, list[tuple[_Bank, np.ndarray]]]:
        found: dict[str, list[tuple[_Bank, np.ndarray]]] = {}
        banks = [self._key, self._everyday]
        if self._diverse is not self._everyday:
            banks.append(self._diverse)
        for bank in banks:
            of_label = np.array([label.activity for label in bank.labels])[bank.label]
            for activity in sorted(set(of_label.tolist())):
                found.setdefault(activity, []).append((bank, np.flatnonzero(of_label == activity)))
        return dict(sorted(found.items()))


_MIRROR_SIGNS = np.array([1.0, -1.0, -1.0])
_NOISE_SCALE = np.full((JOINT_COUNT, 3), np.radians(NOISE_DEGREES))
_NOISE_SCALE[0, 1] = 0.0  # no yaw


def _mirrored(label: DrawnPose) -> DrawnPose:
    holds = HELD_BY_OTHER_HAND.get(label.holds, label.holds)
    side = OTHER_SIDE.get(label.side, label.side)
    if holds == label.holds and side == label.side:
        return label
    return DrawnPose(label.pose, label.activity, label.supports, holds, side, label.name)


def _cumulative(weights: np.ndarray) -> np.ndarray:
    total = np.cumsum(weights) / weights.sum()
    total[np.flatnonzero(weights)[-1] :] = 1.0  # rounding must not lead beyond the last one
    return total


def _from_key_poses(key: KeyPoseBank) -> _Bank:
    labels = tuple(
        DrawnPose(np.zeros((JOINT_COUNT, 3)), pose.activity, pose.supports, pose.holds, pose.side, pose.name)
        for pose in key.key_poses
    )
    poses = key.poses.copy()
    poses[:, 0] = without_yaw(poses[:, 0])
    return _Bank(poses, key.label, labels)


def without_yaw(rotvec: np.ndarray) -> np.ndarray:
    """Root rotations [..., 3] (axis-angle) without their turn about y: what remains has its axis level.

    The turn is the twist of Dobrowolski's swing-twist decomposition ("Swing-twist decomposition in Clifford algebra",
    2015); a root that is upside down has none and stays as it is.
    """
    rotations = rotvec_to_matrix(rotvec)
    return matrix_to_rotvec(np.swapaxes(rotvec_to_matrix(yaw_axis_angle(rotvec)), -1, -2) @ rotations)


def yaw_axis_angle(rotvec: np.ndarray) -> np.ndarray:
    """The turns [..., 3] about y (axis-angle) contained in the rotations ``rotvec`` [..., 3]."""
    angle = np.linalg.norm(rotvec, axis=-1)
    half = 0.5 * angle
    safe = np.where(angle > 1e-9, angle, 1.0)
    along_y = rotvec[..., 1] / safe * np.sin(half)
    turn = np.zeros_like(rotvec, dtype=np.float64)
    yaw = 2.0 * np.arctan2(along_y, np.cos(half))
    turn[..., 1] = np.where(np.hypot(along_y, np.cos(half)) > 1e-6, (yaw + np.pi) % (2.0 * np.pi) - np.pi, 0.0)
    return turn


def _labels() -> tuple[tuple[DrawnPose, ...], dict[str, int]]:
    zero = np.zeros((JOINT_COUNT, 3))
    labels = tuple(DrawnPose(zero, activity, "floor", "none", name=kind) for kind, activity in _ACTIVITIES.items())
    labels += (DrawnPose(zero, "standing", "floor", "none", name="other"),)
    return labels, {label.name: index for index, label in enumerate(labels)}


def _everyday(motion: MotionLibrary) -> _Bank:
    labels, index = _labels()
    # Standing people who gesture count four times: there is little of them.
    clips = (motion.of_kind("walking") + 4 * motion.of_kind("signals")) or motion.clips
    poses = np.concatenate([clip.poses for clip in clips])
    poses[:, 0] = without_yaw(poses[:, 0])
    label = np.concatenate([np.full(len(clip.poses), index[clip.kind]) for clip in clips])
    return _Bank(poses, label, labels)


def _diverse(motion: MotionLibrary) -> _Bank:
    """Farthest points of each kind; how many grows with the root of what there is, as half of the frames are salsa."""
    labels, index = _labels()
    poses = np.concatenate([clip.poses[::_DIVERSE_STEP] for clip in motion.clips])
    label = np.concatenate([np.full(len(clip.poses[::_DIVERSE_STEP]), index[clip.kind]) for clip in motion.clips])
    poses[:, 0] = without_yaw(poses[:, 0])
    joints = posed_joints(poses, motion.rest_joints)[0][:, 1:].reshape(len(poses), -1).astype(np.float32)
    kinds, sizes = np.unique(label, return_counts=True)
    shares = np.sqrt(sizes) / np.sqrt(sizes).sum()
    chosen = []
    for kind, size, share in zip(kinds, sizes, shares, strict=True):
        members = np.flatnonzero(label == kind)
        count = min(int(size), max(1, round(DIVERSE_COUNT * share)))
        chosen.append(members[farthest_points(joints[members], np.zeros(1, np.int64), count)])
    picked = np.concatenate(chosen)
    return _Bank(poses[picked], label[picked], labels)


def _within_limits(split: Split) -> _Bank:
    poses = matrix_to_rotvec(within_limits(_LIMIT_COUNT, generator(0, ("train", "test").index(split), "joint limits")))
    label = DrawnPose(np.zeros((JOINT_COUNT, 3)), "standing", "floor", "none", name="joint_limits")
    return _Bank(poses, np.zeros(len(poses), np.int64), (label,))


def farthest_points(points: np.ndarray, seeds: np.ndarray, count: int) -> np.ndarray:
    """Indices [count] of ``points`` [N, D] float32: ``seeds``, then always the one farthest from those before."""
    return _farthest_points(points, seeds.astype(np.int64), count)


@numba.njit(cache=True, nogil=True)
def _farthest_points(points, seeds, count):
    size, dimensions = points.shape
    nearest = np.full(size, np.inf, np.float32)
    chosen = np.empty(count, np.int64)
    for k in range(count):
        if k < len(seeds):
            pick = seeds[k]
        else:
            pick = 0
            for n in range(size):
                if nearest[n] > nearest[pick]:
                    pick = n
        chosen[k] = pick
        for n in range(size):
            total = np.float32(0.0)
            for d in range(dimensions):
                difference = points[n, d] - points[pick, d]
                total += difference * difference
                if total >= nearest[n]:
                    break
            if total < nearest[n]:
                nearest[n] = total
    return chosen
