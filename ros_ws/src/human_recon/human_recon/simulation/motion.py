"""Recorded human motion: clips at 30 Hz on the body's 24 joints, sorted by kind and split for training and testing.

**The split.** Clips that could share a moment with each other form one take and stay on one side:

- the pieces ``.0 .1 ...`` of a clip that was cut,
- the two partners of one couple dance (``salsa_NN`` and ``salsa_NN+15``),
- excerpts and the recordings they were cut from (``stealthy_walk*``, ``*zombie*``: found by comparing all frames),
- clips of one number, whatever their suffix (``walking_13`` and ``walking_13_t``).

Within each kind of motion the takes are sorted by name, and every fourth, beginning with the second, is for testing: so
each kind with two takes or more is on both sides, and takes of one action (``walking_3``, ``walking_5``) may be on
different sides. The few performers cannot be told apart in the file; they are on both sides.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, PARENTS
from human_recon.simulation.assets import Split

FPS = 30.0

# First matching pattern of the clip's name without its source, in this order.
_KINDS: tuple[tuple[str, str], ...] = (
    (r"stealthy|zombie", "sneaking"),
    (r"^(walking|walk|long_walk)", "walking"),
    (r"^run", "running"),
    (r"_signal_", "signals"),
    (r"^(basketball|soccer)", "sports"),
    (r"^jump", "jumping"),
    (r"^salsa", "couple_dance"),
    (r"^(indian|dance)", "dance"),
    (r"^(martial|kick|punch)", "karate"),
    (r"^(crawl|roll|getup)", "floor"),
    (r"^(backflip|sideflip|spin)", "acrobatics"),
)
KINDS: tuple[str, ...] = (*(kind for _, kind in _KINDS), "other")

_PARTNERS_APART = 15  # salsa_NN dances with salsa_NN+15


class MotionFileError(ValueError):
    """A motion file that is not what it should be: one line that names the file and the mend."""


@dataclass(frozen=True, eq=False)
class Clip:
    """F frames of one person. World frame: y up, floor y = 0, metres; as recorded, for the file's reference body."""

    name: str  # "cmu_bvh/salsa_09.1"
    kind: str  # of KINDS
    take: str  # clips of one take may share moments: never on both sides of the split
    poses: np.ndarray  # [F, 24, 3] float64, axis-angle
    trans: np.ndarray  # [F, 3] float64, position of the pelvis joint
    offset: int  # frame of the source at which the clip begins: aligns partners


@dataclass(frozen=True, eq=False)
class CoupleDance:
    """Two people at the same time in the same world; the arrays of both have equally many frames."""

    leader: Clip
    follower: Clip


@dataclass(frozen=True, eq=False)
class MotionLibrary:
    """The clips of one split."""

    split: Split
    clips: tuple[Clip, ...]
    rest_joints: np.ndarray  # [24, 3] float64, joints of the reference body in its zero pose, pelvis at the origin

    @staticmethod
    def load(path: Path, split: Split) -> MotionLibrary:
        """Read ``path`` (npz, nothing pickled: see ``data/README.md`` of the data set) and keep one side of the split.

        Raises:
            MotionFileError: the file cannot be read, or is not such a file.
        """
        clips, rest_joints = _read(Path(path))
        chosen = test_takes(tuple(clip.name for clip in clips))
        return MotionLibrary(
            split=split,
            clips=tuple(clip for clip in clips if (clip.take in chosen) == (split == "test")),
            rest_joints=rest_joints,
        )

    def of_kind(self, *kinds: str) -> tuple[Clip, ...]:
        """The clips of these kinds, in the order of the file."""
        return tuple(clip for clip in self.clips if clip.kind in kinds)

    def couple_dances(self, shortest: int = 90) -> tuple[CoupleDance, ...]:
        """Stretches of at least ``shortest`` frames during which both partners of a dance were recorded."""
        dances = []
        clips = [(clip, *_pair_number(clip)) for clip in self.of_kind("couple_dance")]
        for leader, pair, is_leader in clips:
            for follower, other_pair, other_leads in clips:
                if not is_leader or other_leads or pair != other_pair:
                    continue
                start = max(leader.offset, follower.offset)
                end = min(leader.offset + len(leader.poses), follower.offset + len(follower.poses))
                if end - start >= shortest:
                    dances.append(CoupleDance(_cut(leader, start, end), _cut(follower, start, end)))
        return tuple(dances)


def kind_of(name: str) -> str:
    """The kind of motion of the clip called ``name``: one of KINDS."""
    short = name.rsplit("/", 1)[-1]
    return next((kind for pattern, kind in _KINDS if re.search(pattern, short)), "other")


def take_of(name: str) -> str:
    """What the clip called ``name`` is a part of; see the module's docstring."""
    source, _, short = name.rpartition("/")
    if "stealthy" in short:
        short = "stealthy"
    elif "zombie" in short:
        short = "zombie"
    else:
        short = re.sub(r"\.\d+$|_t$", "", short)
        salsa = re.fullmatch(r"salsa_(\d+)", short)
        if salsa:
            number = int(salsa[1])
            short = f"salsa_{number - _PARTNERS_APART if number > _PARTNERS_APART else number:02d}"
    return f"{source}/{short}" if source else short


def test_takes(names: tuple[str, ...]) -> frozenset[str]:
    """The takes that are for testing, of a file with clips of these ``names``."""
    by_kind: dict[str, set[str]] = {}
    for name in names:
        by_kind.setdefault(kind_of(name), set()).add(take_of(name))
    return frozenset(take for takes in by_kind.values() for take in sorted(takes)[1::4])


test_takes.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test where a test module imports it


def _pair_number(clip: Clip) -> tuple[int, bool]:
    """Number of the couple dance, and whether this is its first dancer."""
    found = re.search(r"salsa_(\d+)", clip.name)
    number = int(found[1]) if found else 0
    return (number - _PARTNERS_APART, False) if number > _PARTNERS_APART else (number, True)


def _cut(clip: Clip, start: int, end: int) -> Clip:
    """Frames ``start`` to ``end`` of the source."""
    span = slice(start - clip.offset, end - clip.offset)
    return Clip(clip.name, clip.kind, clip.take, clip.poses[span], clip.trans[span], start)


def _read(path: Path) -> tuple[list[Clip], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            if not isinstance(data, Mapping):
                raise ValueError("it holds one array, not several")
            wanted = ("poses", "trans", "clip_start", "clip_name", "clip_offset", "fps", "rest_joints", "parents")
            missing = [key for key in wanted if key not in data]
            if missing:
                raise ValueError(f"it has no array {missing[0]}")
            arrays = {key: np.asarray(data[key]) for key in wanted}
        return _clips(arrays), _rest_joints(arrays)
    except OSError as error:
        raise MotionFileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise MotionFileError(
            f"{path}: not a motion capture file ({error}); give the mocap_30hz.npz that the data set describes"
        ) from None


def _clips(arrays: Mapping[str, np.ndarray]) -> list[Clip]:
    poses, trans, starts = arrays["poses"], arrays["trans"], arrays["clip_start"]
    names, offsets = arrays["clip_name"], arrays["clip_offset"]
    if poses.ndim != 3 or poses.shape[1:] != (JOINT_COUNT, 3) or poses.dtype.kind != "f":
        raise ValueError(f"poses are {poses.dtype} {list(poses.shape)}, not float [F, {JOINT_COUNT}, 3]")
    if trans.shape != (len(poses), 3) or trans.dtype.kind != "f":
        raise ValueError(f"trans is {trans.dtype} {list(trans.shape)}, not float [{len(poses)}, 3]")
    if not (np.isfinite(poses).all() and np.isfinite(trans).all()):
        raise ValueError("poses or trans hold numbers that are not finite")
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or len(starts) < 2:
        raise ValueError("clip_start is not a list of frame numbers")
    if starts[0] != 0 or starts[-1] != len(poses) or (np.diff(starts.astype(np.int64)) <= 0).any():
        raise ValueError(f"clip_start does not divide the {len(poses)} frames")
    count = len(starts) - 1
    if (
        names.shape != (count,)
        or names.dtype.kind != "U"
        or offsets.shape != (count,)
        or offsets.dtype.kind not in "iu"
    ):
        raise ValueError(f"clip_name or clip_offset do not fit {count} clips")
    if abs(float(arrays["fps"]) - FPS) > 1e-3:
        raise ValueError(f"it has {float(arrays['fps']):g} frames per second, not {FPS:g}")
    poses, trans = poses.astype(np.float64), trans.astype(np.float64)
    poses.setflags(write=False)
    trans.setflags(write=False)
    clips = []
    for c, name in enumerate(str(name) for name in names):
        span = slice(int(starts[c]), int(starts[c + 1]))
        clips.append(Clip(name, kind_of(name), take_of(name), poses[span], trans[span], int(offsets[c])))
    return clips


def _rest_joints(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    joints = arrays["rest_joints"].astype(np.float64)
    if joints.shape != (JOINT_COUNT, 3) or not np.isfinite(joints).all():
        raise ValueError(f"rest_joints are {list(joints.shape)}, not [{JOINT_COUNT}, 3]")
    if tuple(int(parent) for parent in arrays["parents"].ravel()) != PARENTS:
        raise ValueError("its joints are not the 24 of SMPL")
    return joints
