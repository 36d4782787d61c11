"""Joint and surface errors of one reconstructed person against the true one.

All take corresponding points in the camera frame, metres, and return metres. Joints are the 24 of SMPL, all with
the same weight; the root is the pelvis.
"""

from __future__ import annotations

import numpy as np

from human_recon.evaluation.metrics.alignment import procrustes_align, scale_align

ROOT = 0  # pelvis


def point_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distance [N] of each point of ``predicted`` [N, 3] from its counterpart in ``true`` [N, 3], metres."""
    if predicted.shape != true.shape or true.ndim != 2 or true.shape[1] != 3:
        raise ValueError(f"predicted {list(predicted.shape)} and true {list(true.shape)} are not both [N, 3]")
    return np.linalg.norm(predicted.astype(np.float64) - true.astype(np.float64), axis=1)


def root_relative(points: np.ndarray, root: np.ndarray) -> np.ndarray:
    """``points`` [N, 3] seen from ``root`` [3], float64."""
    return np.asarray(points, np.float64) - np.asarray(root, np.float64)


def mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """Mean per-joint position error, absolute: mean distance of the joints [J, 3] in the camera frame, metres.

    Ionescu et al., "Human3.6M", TPAMI 2014, equation 8, without alignment: with a depth camera the place counts.
    """
    return float(point_errors(predicted, true).mean())


def root_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """MPJPE with both pelvises in one place, metres; the mean includes the pelvis itself, whose error is then 0.

    This is what papers on single images call MPJPE (for example seed 002, table 19; 24 joints as in 3DPW).
    """
    return float(root_joint_errors(predicted, true).mean())


def root_joint_errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Errors [J] of the joints relative to their own pelvis, metres."""
    return point_errors(root_relative(predicted, predicted[ROOT]), root_relative(true, true[ROOT]))


def pa_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """MPJPE after the best rotation, translation and scale (Procrustes), metres: errors of pose alone.

    Also called reconstruction error (Bogo et al., "Keep it SMPL", ECCV 2016, section 4). What is least is the sum of
    squares, so that with a few joints far off the mean can exceed the root-relative one.
    """
    return mpjpe(procrustes_align(predicted, true), np.asarray(true, np.float64))


def n_mpjpe(predicted: np.ndarray, true: np.ndarray) -> float:
    """MPJPE with both pelvises in one place after the best scale, without rotation, metres.

    Rhodin et al., "Unsupervised geometry-aware representation for 3D human pose estimation", ECCV 2018 (N-MPJPE).
    """
    relative = root_relative(true, true[ROOT])
    return mpjpe(scale_align(root_relative(predicted, predicted[ROOT]), relative), relative)


def pve(predicted: np.ndarray, true: np.ndarray) -> float:
    """Per-vertex error, absolute: mean distance of corresponding vertices [V, 3] in the camera frame, metres.

    The "vertex" error of seed 001, table 2 (there in cm), in the same topology.
    """
    return float(point_errors(predicted, true).mean())


def root_pve(predicted: np.ndarray, true: np.ndarray, predicted_root: np.ndarray, true_root: np.ndarray) -> float:
    """PVE with both pelvis joints [3] in one place, metres: MPVPE of papers on single images."""
    return pve(root_relative(predicted, predicted_root), root_relative(true, true_root))


def pa_pve(predicted: np.ndarray, true: np.ndarray) -> float:
    """PVE after the best rotation, translation and scale over the vertices (Procrustes), metres."""
    return pve(procrustes_align(predicted, true), np.asarray(true, np.float64))
