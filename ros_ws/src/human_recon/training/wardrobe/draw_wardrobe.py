"""Draw every garment, or outfits of both splits, on thin, heavy and tall people in several poses, for the eye to judge.

python -m training.wardrobe.draw_wardrobe --output wardrobe.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from human_recon.body.model import default_body_model
from human_recon.body.skeleton import JOINT_NAMES
from human_recon.simulation.assets import Assets
from human_recon.simulation.outfit import Looseness, Outfit, pose_outfit
from human_recon.simulation.shapes import Shapes
from human_recon.simulation.wardrobe import Recipe, Wardrobe
from human_recon.visualization.canvas import draw_text
from training.bodies.draw_open_body import POSES, render

COLORS = np.array([(214, 176, 150), (96, 62, 40), (92, 128, 178), (60, 60, 66), (120, 100, 60)])  # by Material
WALKING = {
    "l_hip": (-0.55, 0, 0), "r_hip": (0.35, 0, 0), "l_knee": (0.2, 0, 0), "r_knee": (0.6, 0, 0),
    "l_shoulder": (0, 0.5, -1.2), "r_shoulder": (0, 0.5, 1.2), "l_elbow": (0, -0.4, 0), "r_elbow": (0, 0.5, 0),
}  # fmt: skip
COLUMNS = {"T pose": {}, "walking": WALKING, **{name: POSES[name] for name in ("arms up", "sitting", "running")}}


def people(shapes: Shapes) -> dict[str, np.ndarray]:
    """Betas of a thin, a heavy, a tall and a short person of the bank: the extremes of stature and of build."""
    betas = shapes.betas["train"]
    return {
        "tall": betas[betas[:, 0].argmax()],
        "short": betas[betas[:, 0].argmin()],
        "build +": betas[betas[:, 1].argmax()],
        "build -": betas[betas[:, 1].argmin()],
    }


def draw_row(
    label: str,
    outfit: Outfit,
    who: np.ndarray,
    looseness: Looseness | None,
    width: int = 190,
    yaws: tuple[float, ...] = (0.5, 2.6),
) -> np.ndarray:
    """One outfit on one person in all poses, seen from the front and from behind."""
    body = default_body_model()
    pictures = []
    for name, joints in COLUMNS.items():
        pose = np.zeros((24, 3))
        for joint, rotation in joints.items():
            pose[JOINT_NAMES.index(joint)] = rotation
        surface, _ = pose_outfit(outfit, body, who, pose, np.zeros(3), looseness)
        # Corners apart from each other: linings share vertices with the outside, which smooth shading cannot bear.
        corners = surface[outfit.faces].reshape(-1, 3)
        apart = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
        colors = COLORS[outfit.material[outfit.faces[:, 0]]]
        for yaw in yaws:
            wide = int(width * 1.25) if name == "T pose" else width
            metres = 1.6 if name == "sitting" else 2.3
            pictures.append(render(corners, apart, wide, metres, yaw=yaw, pitch=0.12, face_colors=colors))
    row = np.hstack(pictures)
    draw_text(row, label, 8, 16, color=(40, 40, 40))
    return row


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.wardrobe.draw_wardrobe", description="Draw the baked wardrobe into one picture."
    )
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    parser.add_argument("--detail", choices=("full", "light"), default="light")
    parser.add_argument("--what", choices=("garments", "outfits"), default="garments")
    parser.add_argument("--rows", type=int, default=16, help="outfits to draw")
    parser.add_argument("--loose", action="store_true", help="with random looseness")
    options = parser.parse_args(arguments)
    body = default_body_model()
    wardrobe = Wardrobe.load(Assets.locate(), body, options.detail)
    shapes = Shapes.load(body)
    characters = list(people(shapes).items())
    rng = np.random.default_rng(1)
    rows = []
    if options.what == "garments":
        for k, garment in enumerate(g for g in wardrobe.garments.values() if g.kind in ("suit", "shoes", "hat")):
            name, betas = characters[k % len(characters)]
            recipe = Recipe(**{garment.kind: garment.name})
            rows.append(draw_row(f"{garment.name}, {name}", wardrobe.sewn(recipe), betas, None))
    else:
        for k in range(options.rows):
            name, betas = characters[k % len(characters)]
            outfit = wardrobe.draw(rng, "test" if k % 4 == 3 else "train")
            looseness = Looseness.draw(rng) if options.loose else None
            rows.append(draw_row(f"{outfit.name}, {name}", outfit, betas, looseness))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.output), np.vstack(rows)):
        parser.error(f"{options.output} cannot be written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
