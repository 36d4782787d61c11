"""Cost and accuracy of the distance fields that the interpenetration loss can be computed with:

    python -m training.body_net.measure_distance_fields -o benchmarks/distance_fields.json

On people of the stream's images, each moved at random by some centimetres so that bodies collide. What is right is the
distance to the nearest of all triangles (`human_recon.geometry.signed_distance.penetration`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from human_recon.body.lbs_torch import rotvec_to_matrix
from human_recon.body.model import default_body_model
from human_recon.evaluation.environment import describe_environment
from human_recon.geometry.signed_distance import penetration
from human_recon.simulation.assets import Assets
from training.body_net.coherence import Coherence
from training.body_net.descriptors import crop_batches
from training.body_net.distance_fields import DistanceField, ExactField, GridField, bounds
from training.body_net.network import STRIDE
from training.body_net.rotations import global_rotations

SEED = 13  # of the stream
SHIFT = 0.05  # metres, one standard deviation per axis

Pair = tuple[np.ndarray, np.ndarray]  # the body that the field is of, the body whose vertices ask


def colliding_pairs(coherence: Coherence, batches: int, assets: Assets) -> tuple[list[Pair], int]:
    """Pairs of bodies [V, 3] of one image whose boxes overlap, and the number of crops they come from."""
    generator = torch.Generator().manual_seed(SEED)
    pairs: list[Pair] = []
    crops = 0
    for batch in crop_batches("train", SEED, batches, assets):
        names = ("betas", "pose", "trans", "joints", "present", "view", "centre", "rotation")
        tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(batch, name))) for name in names}
        tensors["mask"] = torch.from_numpy(np.ascontiguousarray(batch.mask[:, ::STRIDE, ::STRIDE]))
        turned = global_rotations(rotvec_to_matrix(tensors["pose"]))
        columns = torch.cat([turned[..., 0], turned[..., 1]], dim=-1)
        root = tensors["joints"][:, 0] + SHIFT * torch.randn(len(columns), 3, generator=generator)
        crowd = coherence.crowd(columns, tensors["betas"], root, tensors)
        bodies = crowd.vertices.double().numpy()
        low, high = bounds(bodies)
        crops += len(batch.view)
        for i in range(len(bodies)):
            for j in range(len(bodies)):
                same = i != j and crowd.view[i] == crowd.view[j]
                if same and (low[i] < high[j]).all() and (low[j] < high[i]).all():
                    pairs.append((bodies[i], bodies[j]))
    return pairs, crops


def measured(build: Callable[[np.ndarray], DistanceField], pairs: list[Pair], share: np.ndarray, faces: np.ndarray):
    """Figures of one kind of field."""
    build(pairs[0][0])(torch.from_numpy(pairs[0][1]))  # compile
    building, asking = 0.0, 0.0
    errors, missed, angles, relative = [], [], [], []
    for body, other in pairs:
        began = time.thread_time()
        field = build(body)
        built = time.thread_time()
        points = torch.from_numpy(other).requires_grad_()
        depth = field(points)
        (gradient,) = torch.autograd.grad(depth.sum(), points)
        building, asking = building + built - began, asking + time.thread_time() - built
        inside, true, exits = penetration(other, body, faces)
        right = np.zeros(len(other))
        right[inside] = true
        found = depth.detach().numpy()
        either = (found > 0) | (right > 0)
        if not len(inside):
            continue
        errors.append(np.abs(found - right)[either])
        missed.append(found[inside] == 0)
        deep = inside[true > 2e-3]
        away = other[deep] - exits[true > 2e-3]
        cosine = (gradient.numpy()[deep] * away).sum(1) / (np.linalg.norm(away, axis=1) + 1e-12)
        angles.append(
            np.degrees(np.arccos(np.clip(cosine / (np.linalg.norm(gradient.numpy()[deep], axis=1) + 1e-12), -1, 1)))
        )
        relative.append(abs(share @ found / (share @ right) - 1.0))
    return {
        "build_ms": round(1e3 * building / len(pairs), 3),
        "ask_ms": round(1e3 * asking / len(pairs), 3),
        "depth_error_mm": round(1e3 * float(np.concatenate(errors).mean()), 4),
        "vertices_missed": round(float(np.concatenate(missed).mean()), 4),
        "gradient_angle_degrees": round(float(np.concatenate(angles).mean()), 3),
        "penalty_error_median": round(float(np.median(relative)), 4),
    }


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.body_net.measure_distance_fields",
        description="Measure distance fields of bodies: exact, and grids of several sizes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON to write")
    parser.add_argument("--batches", type=int, default=3, help="of 48 crops")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    assets = Assets.locate(options.data)
    coherence = Coherence(default_body_model())
    share = coherence.share.double().numpy()
    pairs, crops = colliding_pairs(coherence, options.batches, assets)
    kinds: dict[str, Callable[[np.ndarray], DistanceField]] = {"exact": lambda body: ExactField(body, coherence.faces)}
    for nodes in (16, 32, 64):
        kinds[f"grid {nodes}"] = lambda body, nodes=nodes: GridField(body, coherence.faces, nodes)  # type: ignore[misc]
    fields: dict[str, Any] = {}
    for name, build in kinds.items():
        fields[name] = measured(build, pairs, share, coherence.faces)
        print(name, fields[name], flush=True)
    result = {
        "command": f"python -m training.body_net.measure_distance_fields -o OUTPUT --batches {options.batches}",
        "pairs": len(pairs),
        "crops": crops,
        "shift_m": SHIFT,
        "vertices": len(share),
        "data": assets.digest,
        "fields": fields,
        "machine": describe_environment(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
