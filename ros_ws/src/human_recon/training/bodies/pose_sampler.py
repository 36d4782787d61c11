"""Random poses of SMPL's 24 joints: human joint limits, and motion capture frames when there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.simulation.joint_limits import mirrored_pose, within_limits


def from_motion_capture(path: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotations [count, 24, 3, 3] of frames drawn evenly over the clips of ``path``; the pelvis is set upright.

    The file holds ``poses`` [F, 24, 3] axis-angle and ``clip_start`` [C + 1].
    """
    with np.load(path, allow_pickle=False) as data:
        poses, starts = data["poses"], data["clip_start"]
    clips = rng.integers(0, len(starts) - 1, count)
    frames = starts[clips] + (rng.random(count) * (starts[clips + 1] - starts[clips])).astype(np.int64)
    rotations = rotvec_to_matrix(poses[frames])
    rotations[:, 0] = np.eye(3)
    return rotations


def sample_poses(count: int, rng: np.random.Generator, motion_capture: Path | None = None) -> np.ndarray:
    """Rotations [count, 24, 3, 3]: half from motion capture if there is any, the rest within joint limits; half of all
    are mirrored."""
    captured = 0 if motion_capture is None else count // 2
    rotations = within_limits(count - captured, rng)
    if motion_capture is not None:
        rotations = np.concatenate([from_motion_capture(motion_capture, captured, rng), rotations])
    flip = rng.random(count) < 0.5
    rotations[flip] = mirrored_pose(rotations[flip])
    return rotations
