"""How clothes fit the true, unclothed body, over captured poses and sampled people: what sticks out, and holes.

    python -m training.wardrobe.measure_fit --motion-capture mocap_30hz.npz

A vertex of the body is looked at when the outfit hides the skin around it. It is inside when the ray along its normal
meets cloth, and protrudes when it does not but the ray inwards does within 5 cm; that distance is the depth. A hole is
a pixel in which the body can be seen, but the dressed person not, or only more than 6 cm behind: one looks through.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rasterizer import rasterize
from human_recon.simulation.assets import Assets
from human_recon.simulation.outfit import Looseness, Material, Outfit, pose_outfit
from human_recon.simulation.shapes import Shapes
from human_recon.simulation.wardrobe import Wardrobe
from training.wardrobe.surfaces import ray_distances

DEEPEST = 0.05  # metres inwards that cloth is looked for
LOOKED_THROUGH = 0.06


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


def hole_share(
    body: BodyModel, outfit: Outfit, state: BodyState, looseness: Looseness | None, heading: float, height: float
) -> float:
    """Share of the body's pixels that are holes, seen from 3 m away by a camera at ``height`` metres (0 pelvis)."""
    camera = CameraIntrinsics(240, 320, 340.0, 340.0, 119.5, 159.5)
    forward = np.array([np.sin(heading), -height / 3.0, np.cos(heading)])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])  # rows: camera x, y, z in the body frame
    depths = []
    for vertices, faces in (
        (pose_body(body, state).vertices, body.faces),
        (pose_outfit(outfit, body, state.betas, state.pose, state.trans, looseness)[0], outfit.faces),
    ):
        depths.append(rasterize((vertices @ turn.T + [0.0, 0.0, 3.0])[None], faces, camera).depth)
    seen = depths[0] > 0.0
    through = seen & ((depths[1] == 0.0) | (depths[1] > depths[0] + LOOKED_THROUGH))
    return float(through.sum() / max(seen.sum(), 1))


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.wardrobe.measure_fit", description="How clothes fit: protruding skin, and holes."
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
    holes: dict[str, list[float]] = {kind: [] for kind in depths}
    worst = (0.0, "")
    for _ in range(options.poses):
        shape = shapes.draw(rng, "train")
        outfit = wardrobe.draw(rng, "train", shape.sex)
        pose = poses[rng.integers(len(poses))].astype(np.float64)
        pose[0] = 0.0
        looseness = Looseness.draw(rng) if options.loose else None
        kind = "skirts and coats" if "skirt" in outfit.name or "coat" in outfit.name else "suits"
        state = BodyState(shape.betas, pose, np.zeros(3))
        depths[kind].append(protruding(body, outfit, state, looseness)[1])
        holes[kind].append(
            hole_share(body, outfit, state, looseness, rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-0.7, 1.2))
        )
        worst = max(worst, (holes[kind][-1], outfit.name))
    report: dict[str, dict] = {"worst_hole": {"share": round(worst[0], 4), "outfit": worst[1]}}
    for kind, parts in depths.items():
        depth = np.concatenate([*parts, np.zeros(0)])
        out = depth[depth > 0.001]
        report[kind] = {
            "poses": len(parts),
            "share_protruding_over_1_mm": round(len(out) / max(len(depth), 1), 5),
            "mean_mm_of_those": round(1e3 * float(out.mean()), 2) if len(out) else 0.0,
            "p95_mm_of_those": round(1e3 * float(np.percentile(out, 95)), 2) if len(out) else 0.0,
            "share_over_10_mm": round(float((depth > 0.01).mean()), 5) if len(depth) else 0.0,
            "holes_share_of_pixels": round(float(np.mean(holes[kind] or [0.0])), 5),
            "holes_p95": round(float(np.percentile(holes[kind] or [0.0], 95)), 5),
        }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
