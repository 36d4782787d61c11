"""Random samples of the synthetic world as one picture: what the sensor measures, and the labels.

    .venv/bin/python tools/contact_sheet.py -o OUT.png [--data DATA] [--seed 0] [--beside FIVE_PEOPLE.pcd]

Each sample is a pair: measured depth (near red, far blue, black no reading), and body parts with the outline of each
person. With --beside the real frame comes first, under the same colours.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.parts import part_colors  # noqa: E402
from human_recon.io import read_frames  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.rendering import FIRST_THING  # noqa: E402
from human_recon.simulation.surface_lookup import NO_PART  # noqa: E402
from human_recon.simulation.world import Sample, World, WorldConfig  # noqa: E402
from human_recon.visualization import depth_to_color  # noqa: E402

CELL = (320, 240)  # width, height of one picture
LIMITS = (0.5, 6.0)  # metres, of the colours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with mocap/ (default: $HUMAN_RECON_DATA)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--columns", type=int, default=4, help="pairs beside each other")
    parser.add_argument("--native", action="store_true", help="at the cameras' own resolution, not 160x120")
    parser.add_argument("--width", type=int, help="of the picture, pixels")
    parser.add_argument("--beside", type=Path, help="a real frame to show first")
    args = parser.parse_args()

    config = WorldConfig(size=None, detail="full") if args.native else WorldConfig()
    world = World(config, Assets.locate(args.data))
    cells = []
    if args.beside is not None:
        real = next(iter(read_frames(args.beside))).depth
        if not args.native:
            real = np.ascontiguousarray(real[::4, ::4])
        cells.append(np.hstack([_fit(depth_to_color(real, LIMITS)), np.full((CELL[1], CELL[0], 3), 40, np.uint8)]))
    cells += [_draw(world.sample(args.seed, index)) for index in range(args.samples)]
    while len(cells) % args.columns:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[k : k + args.columns]) for k in range(0, len(cells), args.columns)]
    sheet = np.vstack(rows)
    if args.width is not None:
        scale = args.width / sheet.shape[1]
        sheet = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"cannot write {args.output}")


def _draw(sample: Sample) -> np.ndarray:
    rendering = sample.rendering
    measured = depth_to_color(sample.depth, LIMITS)
    colors = np.concatenate([part_colors(), np.full((NO_PART + 1 - 24, 3), 40, np.uint8)])
    parts = colors[rendering.part]
    lit = (0.5 + 0.5 * np.abs(rendering.normal[..., 2]))[..., None]
    parts = (parts * np.where(rendering.normal.any(axis=-1)[..., None], lit, 0.3)).astype(np.uint8)
    person = np.where(rendering.object < FIRST_THING, rendering.object, -1)
    border = np.zeros(person.shape, bool)
    border[:, 1:] |= (person[:, 1:] != person[:, :-1]) & (np.maximum(person[:, 1:], person[:, :-1]) >= 0)
    border[1:] |= (person[1:] != person[:-1]) & (np.maximum(person[1:], person[:-1]) >= 0)
    parts[border] = 255
    pair = np.hstack([_fit(measured), _fit(parts)])
    people = " ".join(
        f"{actor.activity} {v:.2f}," for actor, v in zip(sample.scene.actors, sample.visibility, strict=True)
    )
    for thickness, color in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.putText(pair, f"{sample.view.preset}: {people}"[:110], (4, CELL[1] - 6), 0, 0.33, color, thickness)
    return pair


def _fit(picture: np.ndarray) -> np.ndarray:
    """Into a cell, undistorted, with black bars."""
    scale = min(CELL[0] / picture.shape[1], CELL[1] / picture.shape[0])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    cell = np.zeros((CELL[1], CELL[0], 3), np.uint8)
    top, left = (CELL[1] - size[1]) // 2, (CELL[0] - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    return cell


if __name__ == "__main__":
    main()
