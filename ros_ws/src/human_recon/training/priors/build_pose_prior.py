"""Estimate the mixture-of-Gaussians pose prior that the geometric fit uses.

    python -m training.priors.build_pose_prior --mocap PATH/mocap_30hz.npz

The prior is the one of SMPLify (Bogo et al., ECCV 2016, eq. 7): a mixture of Gaussians over the axis-angle of the 23
joints below the pelvis, used through its largest component. Deviations: eight components instead of the paper's, a
variance floor on joints that the recordings never move, and seated poses, which the recordings lack, made by bending
hips and knees of recorded standing frames.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import sklearn
from sklearn.mixture import GaussianMixture

# Share of samples drawn from each kind of motion. Half of the recorded frames are salsa; a robot sees people walk.
MOTION_SHARES = {
    r"walking|long_walk|deepmimic/walk": 0.40,
    r"basketball|soccer": 0.22,
    r"salsa|indian|dance": 0.14,
    r"martial|punch|kick": 0.06,
    r"jumping|running|deepmimic/run|deepmimic/jump": 0.05,
    r"stealthy|zombie": 0.03,
}
SEATED_SHARE = 0.10

LEFT_RIGHT = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]

# Standard deviation added to every joint, radians: the recordings hold feet, collars and hands still, people do not.
VARIANCE_FLOOR = np.full((24, 3), 0.08)
VARIANCE_FLOOR[[10, 11]] = 0.12
VARIANCE_FLOOR[[13, 14]] = 0.12
VARIANCE_FLOOR[[20, 21]] = 0.20
VARIANCE_FLOOR[[22, 23]] = 0.10


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """Mirror poses [N, 24, 3] (axis-angle) at the sagittal plane x = 0."""
    return pose[:, LEFT_RIGHT] * np.array([1.0, -1.0, -1.0])


def seat(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bend hips and knees of standing poses [N, 24, 3] as on a chair: thighs level, shins down, some spread."""
    seated = pose.copy()
    count = len(pose)
    for hip, knee, side in ((1, 4, 1.0), (2, 5, -1.0)):
        flexion = rng.normal(1.4, 0.15, count)
        seated[:, hip, 0] = -flexion
        seated[:, hip, 1] = rng.normal(0.0, 0.12, count)
        seated[:, hip, 2] = side * rng.normal(0.12, 0.12, count)
        seated[:, knee, 0] = flexion + rng.normal(0.05, 0.25, count)
        seated[:, knee, 1:] = 0.0
        seated[:, knee + 3] = rng.normal(0.0, 0.1, (count, 3))
    return seated


def sample_poses(mocap: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw about ``count`` balanced, mirrored poses [N, 24, 3] from the motion capture file."""
    with np.load(mocap, allow_pickle=False) as data:
        poses, starts, names = data["poses"].astype(np.float64), data["clip_start"], data["clip_name"]
    clip = np.searchsorted(starts, np.arange(len(poses)), side="right") - 1
    drawn = []
    for pattern, share in MOTION_SHARES.items():
        members = np.flatnonzero([re.search(pattern, names[c]) is not None for c in clip])
        drawn.append(poses[rng.choice(members, int(share * count))])
    drawn.append(seat(drawn[1][rng.permutation(len(drawn[1]))[: int(SEATED_SHARE * count)]], rng))
    pose = np.concatenate(drawn)
    flip = rng.random(len(pose)) < 0.5
    pose[flip] = mirror_pose(pose[flip])
    return pose


def fit_mixture(pose: np.ndarray, components: int, seed: int) -> dict[str, np.ndarray]:
    """Fit the mixture; returns means [K, 69], whitening matrices [K, 69, 69] and energy constants [K].

    The energy of component k at x is ``0.5 |whitening[k] (x - mean[k])|^2 + constant[k]``, shifted so that the
    smallest constant is zero.
    """
    x = pose[:, 1:].reshape(len(pose), 69)
    mixture = GaussianMixture(components, covariance_type="full", reg_covar=1e-3, random_state=seed, max_iter=60).fit(x)
    covariances = mixture.covariances_ + np.diag(VARIANCE_FLOOR[1:].reshape(69) ** 2)
    whitening = np.linalg.inv(np.linalg.cholesky(covariances))
    log_det = np.linalg.slogdet(covariances)[1]
    constant = 0.5 * log_det - np.log(mixture.weights_)
    return {
        "means": mixture.means_.astype(np.float32),
        "whitening": whitening.astype(np.float32),
        "constants": (constant - constant.min()).astype(np.float32),
    }


def mixture_energy(mixture: dict[str, np.ndarray], pose: np.ndarray) -> np.ndarray:
    """Energy of the largest component for poses [N, 24, 3]: [N]."""
    x = pose[:, 1:].reshape(len(pose), 1, 69) - mixture["means"]
    white = np.einsum("kij,nkj->nki", mixture["whitening"], x)
    return (0.5 * (white**2).sum(-1) + mixture["constants"]).min(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True, help="mocap_30hz.npz")
    parser.add_argument("--output", type=Path, default=Path("models/prior/pose_mixture.npz"))
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    began = time.monotonic()
    rng = np.random.default_rng(args.seed)
    pose = sample_poses(args.mocap, args.samples, rng)
    held_out = rng.permutation(len(pose))[: len(pose) // 10]
    train = np.setdiff1d(np.arange(len(pose)), held_out)
    mixture = fit_mixture(pose[train], args.components, args.seed)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.output, **mixture)
    shuffled = pose[held_out].copy()  # joints of different people mixed: plausible one by one, implausible together
    for joint in range(24):
        shuffled[:, joint] = shuffled[rng.permutation(len(shuffled)), joint]
    card = {
        "name": args.output.stem,
        "what": "mixture of Gaussians over 23 joint rotations (axis-angle), used by the geometric fit",
        "data": "CMU motion capture (mocap.cs.cmu.edu, NSF EIA-0196217) and DeepMimic motions, resampled to SMPL's "
        "joints; seated poses are synthetic",
        "command": "python -m training.priors.build_pose_prior --mocap mocap_30hz.npz "
        f"--components {args.components} --samples {args.samples} --seed {args.seed}",
        "device": "CPU",
        "date": date.today().isoformat(),
        "wall_time_s": round(time.monotonic() - began, 1),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "metrics": {
            "mean_energy_held_out_frames_of_same_clips": round(
                float(mixture_energy(mixture, pose[held_out]).mean()), 2
            ),
            "mean_energy_train": round(float(mixture_energy(mixture, pose[train]).mean()), 2),
            "mean_energy_shuffled_joints": round(float(mixture_energy(mixture, shuffled).mean()), 2),
        },
        "sha256": hashlib.sha256(args.output.read_bytes()).hexdigest(),
    }
    args.output.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
