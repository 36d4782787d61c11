"""Rates of correct joints.

All take the errors of N people's joints, [N, J] metres; a row of NaN is a person that was not found. The convention
"all" counts a person not found as wrong joints, "matched" leaves that person out (Mehta et al., "Single-shot
multi-person 3D pose estimation from monocular RGB", 3DV 2018; seed 002, table 20).
"""

from __future__ import annotations

import numpy as np

from human_recon.body.skeleton import JOINT_NAMES

PCK_THRESHOLD = 0.15  # metres
AUC_THRESHOLDS = np.linspace(0.0, PCK_THRESHOLD, 31)  # metres: steps of 5 mm, as in MPI-INF-3DHP's evaluation
ITOP_THRESHOLD = 0.10  # metres

# The 15 joints of ITOP by their nearest of SMPL's: hands and feet are the joints beyond wrists and ankles.
ITOP_JOINTS: tuple[str, ...] = (
    "head", "neck", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_hand", "r_hand", "spine2", "l_hip", "r_hip",
    "l_knee", "r_knee", "l_foot", "r_foot",
)  # fmt: skip
_ITOP = tuple(JOINT_NAMES.index(name) for name in ITOP_JOINTS)


def matched_only(errors: np.ndarray) -> np.ndarray:
    """The rows of people who were found: [M, J] of [N, J]."""
    return errors[np.isfinite(errors).all(axis=1)]


def pck(errors: np.ndarray, threshold: float = PCK_THRESHOLD) -> float:
    """3DPCK: part of all joints at most ``threshold`` metres away, in [0, 1]; NaN without joints.

    Mehta et al., "Monocular 3D human pose estimation in the wild using improved CNN supervision", 3DV 2017: 150 mm,
    about half a head. There on joints relative to the pelvis, which is then not one of them.
    """
    return float((errors <= threshold).mean()) if errors.size else float("nan")


def pck_curve(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """:func:`pck` at each of ``thresholds`` [T] metres, [T]."""
    finite = np.sort(errors[np.isfinite(errors)])
    return np.searchsorted(finite, thresholds, side="right") / errors.size if errors.size else thresholds * np.nan


def pck_auc(errors: np.ndarray) -> float:
    """Area under the curve of 3DPCK over 0 to 150 mm: its mean over 31 thresholds, in [0, 1] (Mehta et al. 2017)."""
    return float(pck_curve(errors, AUC_THRESHOLDS).mean())


def itop_precision(errors: np.ndarray, threshold: float = ITOP_THRESHOLD) -> np.ndarray:
    """Part of people whose joint is at most ``threshold`` metres away, for each of :data:`ITOP_JOINTS`, [15].

    ``errors`` [N, 24] of absolute positions in SMPL's order.
    """
    if not len(errors):
        return np.full(len(_ITOP), np.nan)
    return (errors[:, _ITOP] <= threshold).mean(axis=0)


def itop_map(errors: np.ndarray, threshold: float = ITOP_THRESHOLD) -> float:
    """ITOP's "mAP": mean of :func:`itop_precision` over the joints, in [0, 1].

    Haque et al., "Towards viewpoint invariant 3D human pose estimation", ECCV 2016, section 5.2: the 10 cm rule. It is
    a rate of correct joints, not a mean over detection thresholds.
    """
    return float(itop_precision(errors, threshold).mean())
