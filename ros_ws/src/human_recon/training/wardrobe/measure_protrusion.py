"""How much of the true, unclothed body sticks out of its clothes, over captured poses and sampled people.

    python -m training.wardrobe.measure_protrusion --motion-capture mocap_30hz.npz

A vertex of the body is looked at when the outfit hides the skin around it. It is inside when the ray along its normal
meets cloth, and protrudes when it does not but the ray inwards does within 5 cm; that distance is the depth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.geometry.normals import vertex_normals
from human_recon.simulation.assets import Assets
from human_recon.simulation.outfit import Looseness, Material, Outfit, pose_outfit
from human_recon.simulation.shapes import Shapes
from human_recon.simulation.wardrobe import Wardrobe
from training.wardrobe.surfaces import ray_distances

DEEPEST = 0.05  # metres inwards that cloth is looked for


def protruding(
    body: BodyModel, outfit: Outfit, state: BodyState, looseness: Looseness | None
) -> tuple[np.ndarray, np.ndarray]:
    """Body vertices that cloth should cover [K], and how far each protrudes [K], metres; 0 inside."""
    skin = pose_body(body, state).vertices.astype(np.float64)
    worn, _ = pose_outfit(outfit, body, state.betas, state.pose, state.trans, looseness)
    cloth = np.isin(outfit.material, (Material.CLOTH, Material.SHOES))[outfit.faces].all(axis=1)
    shown = np.zeros(body.vertex_count, bool)
    shown[outfit.body_vertex[outfit.material == Material.SKIN]] = True
    for _ in range(4):  # the light body leaves out vertices: none next to visible skin counts as covered
        shown[body.faces[shown[body.faces].any(axis=1)]] = True
    covered = np.flatnonzero(~shown)
    normals = vertex_normals(skin, body.faces)[covered]
    mesh = worn.astype(np.float64), outfit.faces[cloth].astype(np.int64)
    outwards, _ = ray_distances(skin[covered], normals, *mesh, 0.0, 0.3)
    inwards, _ = ray_distances(skin[covered], -normals, *mesh, 0.0, DEEPEST)
    depth = np.where(np.isfinite(inwards) & ~np.isfinite(outwards), inwards, 0.0)
    return covered, depth


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.wardrobe.measure_protrusion", description="How far bodies stick out of their clothes."
    )
    parser.add_argument("--motion-capture", type=Path, required=True, help=".npz with poses [F, 24, 3]")
    parser.add_argument("--detail", choices=("full", "light"), default="light")
    parser.add_argument("--poses", type=int, default=100)
    parser.add_argument("--loose", action="store_true", help="with random looseness")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    body = default_body_model()
    wardrobe, shapes = Wardrobe.load(Assets.locate(), body, options.detail), Shapes.load(body)
    if not wardrobe.garments:
        parser.error("there is no baked wardrobe: python -m training.wardrobe.bake")
    with np.load(options.motion_capture, allow_pickle=False) as data:
        poses = data["poses"]
    rng = np.random.default_rng(options.seed)
    depths: dict[str, list[np.ndarray]] = {"skirts and coats": [], "suits": []}
    for _ in range(options.poses):
        shape = shapes.draw(rng, "train")
        outfit = wardrobe.draw(rng, "train", shape.sex)
        pose = poses[rng.integers(len(poses))].astype(np.float64)
        pose[0] = 0.0
        looseness = Looseness.draw(rng) if options.loose else None
        kind = "skirts and coats" if "skirt" in outfit.name or "coat" in outfit.name else "suits"
        depths[kind].append(protruding(body, outfit, BodyState(shape.betas, pose, np.zeros(3)), looseness)[1])
    report = {}
    for kind, parts in depths.items():
        depth = np.concatenate([*parts, np.zeros(0)])
        out = depth[depth > 0.001]
        report[kind] = {
            "poses": len(parts),
            "share_protruding_over_1_mm": round(len(out) / max(len(depth), 1), 5),
            "mean_mm_of_those": round(1e3 * float(out.mean()), 2) if len(out) else 0.0,
            "p95_mm_of_those": round(1e3 * float(np.percentile(out, 95)), 2) if len(out) else 0.0,
            "share_over_10_mm": round(float((depth > 0.01).mean()), 5) if len(depth) else 0.0,
        }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
