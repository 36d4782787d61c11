"""Simulated against real noise of a Kinect for Xbox 360:

    .venv/bin/python tools/compare_sensor_noise.py FIVE_PEOPLE.pcd OFFICE.pcd -o benchmarks/sensor_noise.json -p OUT_DIR

For each real frame a scene of the same make is rendered (the people found in it by our own fit, unclothed and
inflated, floor, walls, a few boxes) and measured by the simulated sensor; then the same statistics are taken of both:
nothing below knows which is which, and none needs ground truth. The scenes are alike, not equal: walls of the frames
are cluttered, ours are flat. The pictures are for judging what numbers miss.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import default_body_model  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.camera.points import depth_to_points  # noqa: E402
from human_recon.camera.presets import PRESETS  # noqa: E402
from human_recon.io import read_frames  # noqa: E402
from human_recon.pipeline import Pipeline, PipelineConfig  # noqa: E402
from human_recon.simulation.outfit import Looseness, bare_outfit, pose_outfit  # noqa: E402
from human_recon.simulation.rendering import FIRST_THING, Rendering, render  # noqa: E402
from human_recon.simulation.scene import Actor, Scene, Thing, View  # noqa: E402
from human_recon.simulation.sensors import sensor_for, surface_codes  # noqa: E402
from human_recon.simulation.sensors.surfaces import PLAIN  # noqa: E402

PRESET = "kinect_v1"
SENSOR = sensor_for(PRESET)
DISPARITY = PRESETS[PRESET].intrinsics.fx * SENSOR.parameters.focal_ratio * SENSOR.parameters.baseline  # pixel metres
STEP = SENSOR.parameters.step
PATCH = 24  # pixels, side of the squares that residuals are taken over
DISTANCES = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)  # metres, bins
JUMPS = (2.0, 3.5, 5.0, 7.0, 9.0, 12.0, 16.0)  # pixels, bins of the disparity jump at a border
ANGLES = (0, 20, 40, 60, 70, 80)  # degrees, bins of the angle of incidence


def statistics(depth: np.ndarray, focal: float) -> dict:
    """Everything that is compared, of a depth image [H, W] in metres, 0 = no reading."""
    return {
        "residual": residuals(depth),
        "quantisation": quantisation(depth),
        "holes": holes(depth),
        "border_gaps": border_gaps(depth, focal),
        "silhouette": silhouette(depth),
        "near_holes_by_angle": near_holes_by_angle(depth, focal),
    }


def residuals(depth: np.ndarray) -> dict:
    """Deviation from a quadratic in disparity over squares without holes; its size over distance, its correlation.

    A plane is linear in disparity; the quadratic takes up what bodies curve.
    """
    disparity = np.divide(DISPARITY, depth, out=np.zeros_like(depth), where=depth > 0).astype(np.float64)
    y, x = np.mgrid[0:PATCH, 0:PATCH] - (PATCH - 1) / 2
    terms = np.stack([x, y, np.ones_like(x), x * x, x * y, y * y], -1).reshape(-1, 6)
    remove = np.eye(PATCH**2) - terms @ np.linalg.pinv(terms)
    rows = []
    lags = range(1, 7)
    for v in range(0, depth.shape[0] - PATCH, PATCH // 3):
        for u in range(0, depth.shape[1] - PATCH, PATCH // 3):
            patch = disparity[v : v + PATCH, u : u + PATCH]
            if (patch <= 0).any():
                continue
            rest = (remove @ patch.ravel()).reshape(PATCH, PATCH)
            if np.abs(rest).max() > 6 * STEP:  # more than noise: an edge
                continue
            variance = (rest**2).mean()
            if variance == 0:
                continue
            across = [(rest[:, :-lag] * rest[:, lag:]).mean() / variance for lag in lags]
            down = [(rest[:-lag] * rest[lag:]).mean() / variance for lag in lags]
            rows.append([DISPARITY / patch.mean(), np.sqrt(variance), *across, *down])
    table = np.array(rows)
    by_distance = {}
    for low, high in itertools.pairwise(DISTANCES):
        some = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        if len(some) >= 20:
            z = some[:, 0].mean()
            quartiles = np.percentile(some[:, 1], [25, 50, 75])
            by_distance[f"{low}-{high} m"] = {
                "squares": len(some),
                "sigma_pixels_quartiles": [round(float(q), 4) for q in quartiles],
                "sigma_mm_median": round(float(1000 * quartiles[1] * z * z / DISPARITY), 2),
                "khoshelham_elberink_mm": round(1.425 * z * z, 2),
            }
    half = len(lags)
    return {
        "by_distance": by_distance,
        "correlation_across_1_to_6": [round(float(c), 3) for c in np.median(table[:, 2 : 2 + half], axis=0)],
        "correlation_down_1_to_6": [round(float(c), 3) for c in np.median(table[:, 2 + half :], axis=0)],
    }


def quantisation(depth: np.ndarray) -> dict:
    """Distance between neighbouring depths that occur, and what a step of 1/8 pixel makes."""
    values = np.unique(depth[depth > 0]).astype(np.float64)
    found = {}
    for z in (1.9, 2.25, 2.75, 3.5, 4.5, 5.2):
        near = values[np.abs(values - z) < 0.04 * z]
        if len(near) >= 4:
            middle = near.mean()
            found[f"{z} m"] = {
                "step_mm": round(1000 * float(np.median(np.diff(near))), 2),
                "z2_step_over_fb_mm": round(1000 * STEP * middle**2 / DISPARITY, 2),
            }
    return found


def holes(depth: np.ndarray) -> dict:
    """The rectangle with readings, and the holes in it that do not touch its border."""
    valid = depth > 0
    rows, columns = np.flatnonzero(valid.mean(1) > 0.1), np.flatnonzero(valid.mean(0) > 0.1)
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    inside = ~valid[top + 3 : bottom - 2, left + 3 : right - 2]
    _, _, found, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    areas = found[1:, cv2.CC_STAT_AREA]
    sizes = (1, 4, 16, 64, 256, 1024, 1 << 30)
    return {
        "first_and_last_column_and_row": [int(left), int(right), int(top), int(bottom)],
        "share_of_the_rectangle": round(float(inside.mean()), 4),
        "share_in_holes_below_256_pixels": round(float(areas[areas < 256].sum() / inside.size), 4),
        "number_by_area": {
            f"{low}-{high - 1}" if high < 1 << 30 else f"{low} and more": int(((areas >= low) & (areas < high)).sum())
            for low, high in itertools.pairwise(sizes)
        },
    }


def border_gaps(depth: np.ndarray, focal: float) -> dict:
    """Pixels without a reading between a near and a far surface in a row, by side and size of the jump.

    The jump is in pixels of the delivered image: f b (1 / z_near - 1 / z_far), the width of the whole shadow.
    """
    gaps: dict[str, list[tuple[float, int]]] = {"left": [], "right": []}
    for row in depth:
        columns = np.flatnonzero(row > 0)
        before, after = columns[:-1], columns[1:]
        jump = focal * SENSOR.parameters.baseline * (1 / row[after] - 1 / row[before])
        for width, size in zip(after - before - 1, jump, strict=True):
            if abs(size) > JUMPS[0] and width < 30:
                gaps["left" if size > 0 else "right"].append((abs(float(size)), int(width)))
    result: dict[str, dict] = {}
    for side, entries in gaps.items():
        table = np.array(entries).reshape(-1, 2)
        result[f"{side}_of_the_nearer"] = {}
        for low, high in itertools.pairwise(JUMPS):
            some = table[(table[:, 0] >= low) & (table[:, 0] < high), 1]
            if len(some) >= 20:
                quartiles = np.percentile(some, [25, 50, 75])
                result[f"{side}_of_the_nearer"][f"jump {low}-{high} px"] = {
                    "borders": len(some),
                    "gap_pixels_quartiles": [float(q) for q in quartiles],
                    "mean": round(float(some.mean()), 2),
                }
    return result


def silhouette(depth: np.ndarray, near: float = 3.2) -> dict:
    """How outlines of what is nearer than ``near`` go from row to row: share of each step, and how ragged.

    Raggedness is the mean |second difference| of the outline's column, which a slanting straight outline keeps low.
    """
    close = (depth > 0) & (depth < near)
    result = {}
    for side, shift in (("left", 1), ("right", -1)):
        border = close & ~np.roll(close, shift, axis=1)
        steps, bends = [], []
        for v in range(1, depth.shape[0] - 1):
            above, here, below = (np.flatnonzero(border[v + k]) for k in (-1, 0, 1))
            if not (len(above) and len(here) and len(below)):
                continue
            for u in here:
                up, down = above[np.abs(above - u).argmin()] - u, below[np.abs(below - u).argmin()] - u
                if abs(up) <= 8 and abs(down) <= 8:
                    steps.append(abs(int(down)))
                    bends.append(abs(int(up + down)))
        if len(steps) > 100:
            array = np.array(steps)
            result[side] = {
                "pixels": len(steps),
                "share_of_steps_0_1_2_3_more": [
                    round(float(s), 3) for s in (*((array == k).mean() for k in range(4)), (array > 3).mean())
                ],
                "raggedness_pixels": round(float(np.mean(bends)), 3),
            }
    return result


def near_holes_by_angle(depth: np.ndarray, focal: float) -> dict:
    """Share of readings with a hole within two pixels, by angle of incidence (from the surface fitted around them)."""
    disparity = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0).astype(np.float64)
    valid = (depth > 0).astype(np.float64)
    height, width = depth.shape
    size = (9, 9)
    weight = cv2.blur(valid, size)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal

    def mean(array: np.ndarray) -> np.ndarray:
        return cv2.blur(array * valid, size) / np.maximum(weight, 1e-9)

    # Inverse depth is linear over a plane: 1/z = a x + b y + c, with normal (a, b, c).
    mx, my, mw = mean(x), mean(y), mean(disparity)
    xx, yy, xy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    xw, yw = mean(x * disparity) - mx * mw, mean(y * disparity) - my * mw
    determinant = np.maximum(xx * yy - xy * xy, 1e-18)
    a, b = (yy * xw - xy * yw) / determinant, (xx * yw - xy * xw) / determinant
    spread = np.sqrt(np.maximum(mean(disparity**2) - mw**2 - a * xw - b * yw, 0)) * DISPARITY
    length = np.sqrt(a * a + b * b + (mw - a * mx - b * my) ** 2) * np.sqrt(x * x + y * y + 1)
    cosine = disparity / np.maximum(length, 1e-9)
    usable = (depth > 0) & (weight > 0.6) & (spread < 3 * STEP)
    usable[:40], usable[-20:], usable[:, :40], usable[:, -50:] = False, False, False, False
    close = cv2.dilate((depth <= 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    angle = np.degrees(np.arccos(np.clip(cosine, 0, 1)))
    result = {}
    for low, high in itertools.pairwise(ANGLES):
        some = usable & (angle >= low) & (angle < high)
        if some.sum() > 500:
            result[f"{low}-{high} deg"] = {"pixels": int(some.sum()), "share": round(float(close[some].mean()), 4)}
    return result


def box(centre: tuple[float, float, float], size: tuple[float, float, float], axes: np.ndarray, kind: str) -> Thing:
    """A box around ``centre`` (camera frame), its sides along the rows of ``axes`` [3, 3]."""
    corner = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    vertices = np.asarray(centre) + (corner * size) @ axes
    if np.linalg.det(axes) < 0:
        triangles = triangles[:, ::-1]
    return Thing(kind, vertices.astype(np.float32), triangles.astype(np.int32))


def scene_like(frame: Frame) -> Scene:
    """People where the frame has some, in a room of about the frame's size; in the camera's frame."""
    body = default_body_model()
    people = Pipeline(PipelineConfig(), body).process(frame)
    outfit = bare_outfit(body)
    rng = np.random.default_rng(3)
    actors = []
    for person in people.people:
        state = person.state
        dressed = pose_outfit(outfit, body, state.betas, state.pose, state.trans, Looseness.draw(rng))
        actors.append(Actor(state.betas, state.pose, state.trans, outfit, *dressed, "standing"))

    points = depth_to_points(frame.depth, frame.intrinsics)
    points = points[points[..., 2] > 0]
    up, height = np.array([0.0, -1.0, 0.0]), 1.3
    if people.floor is not None:
        up, height = people.floor.normal, people.floor.offset
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    forward /= np.linalg.norm(forward)
    axes = np.stack([np.cross(forward, up), up, forward])
    local = points @ axes.T
    left, right = np.percentile(local[:, 0], [2, 98])
    back = np.percentile(local[:, 2], 97)

    def place(x: float, y: float, z: float) -> tuple[float, float, float]:
        at = x * axes[0] + (y - height) * axes[1] + z * axes[2]
        return float(at[0]), float(at[1]), float(at[2])

    things = [
        box(place(0, -0.05, 6), (20, 0.1, 14), axes, "floor"),
        box(place(0, 2, back + 0.1), (20, 6, 0.2), axes, "wall"),
        box(place(left - 0.1, 2, 6), (0.2, 6, 14), axes, "wall"),
        box(place(right + 0.1, 2, 6), (0.2, 6, 14), axes, "wall"),
        box(place(0.1 * left + 0.2, 1.0, back), (0.9, 2.0, 0.1), axes, "door"),
        box(place(right - 0.3, 0.4, 0.55 * back), (0.5, 0.8, 0.5), axes, "box"),
        box(place(left + 0.35, 0.35, 0.6 * back), (0.6, 0.7, 0.8), axes, "box"),
    ]
    if not actors:  # a seat back in front of the wall
        things.append(box(place(0.5 * left, 0.75, 0.5 * back), (0.45, 0.5, 0.1), axes, "seat"))
    return Scene(tuple(actors), tuple(things))


def simulate(scene: Scene, frame: Frame, unit: int) -> tuple[np.ndarray, Rendering]:
    """The scene as unit ``unit`` of the simulated camera measures it."""
    view = View(np.eye(3, 4), frame.intrinsics, 1.0, PRESET)
    rendering = render(scene, view, default_body_model())
    rng = np.random.default_rng(unit)
    sensor = SENSOR.draw_unit(rng) if unit else SENSOR
    codes = surface_codes(rendering.material, rendering.object)
    codes[rendering.object >= FIRST_THING] = PLAIN  # matt walls and floor, as in the frames
    depth = sensor.measure(rendering.depth, rendering.normal, codes, frame.intrinsics, 1.0, unit)
    return depth, rendering


def picture(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Depth in colours, no reading black: [H, W, 3] uint8, BGR."""
    scaled = np.clip((depth - low) / (high - low), 0, 1)
    image = cv2.applyColorMap((255 * (1 - scaled)).astype(np.uint8), cv2.COLORMAP_TURBO)
    image[depth <= 0] = 0
    return image


def steps_picture(depth: np.ndarray) -> np.ndarray:
    """Horizontal differences of disparity, where noise and its texture are seen: [H, W, 3] uint8."""
    disparity = np.divide(DISPARITY, depth, out=np.zeros_like(depth), where=depth > 0)
    change = np.zeros_like(depth)
    change[:, 1:-1] = disparity[:, 2:] - disparity[:, :-2]
    image = cv2.cvtColor(np.clip(128 - change * 250, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    image[depth <= 0] = (0, 0, 80)
    return image


def save_pictures(name: str, real: np.ndarray, simulated: np.ndarray, rendering: Rendering, folder: Path) -> None:
    """Whole frames and their texture, real on the left; heads and shoulders enlarged, real above."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = np.percentile(real[real > 0], [1, 97])
    gap = np.full((real.shape[0], 8, 3), 255, np.uint8)
    for title, draw in (("depth", lambda d: picture(d, low, high)), ("texture", steps_picture)):
        cv2.imwrite(str(folder / f"{name}_{title}.png"), np.hstack([draw(real), gap, draw(simulated)]))
    pairs = []
    for joints in rendering.joints[:5]:
        head = joints[15]
        u, v = 525 * head[0] / head[2] + 319.5, 525 * head[1] / head[2] + 239.5
        x, y = int(np.clip(u - 55, 0, 530)), int(np.clip(v - 45, 0, 330))
        crops = [picture(d[y : y + 150, x : x + 110], head[2] - 0.4, head[2] + 2.5) for d in (real, simulated)]
        pairs.append(np.vstack([crops[0], np.full((4, 110, 3), 255, np.uint8), crops[1]]))
    if pairs:
        sheet = np.hstack(pairs)
        big = cv2.resize(sheet, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{name}_heads.png"), big)
        whole = np.hstack([picture(real, low, high), gap, picture(simulated, low, high)])
        whole = cv2.resize(whole, (big.shape[1], whole.shape[0] * big.shape[1] // whole.shape[1]))
        together = np.vstack([whole, np.full((8, big.shape[1], 3), 255, np.uint8), big])
        cv2.imwrite(str(folder / f"{name}_sensor_noise.jpg"), together, [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path, nargs="+", help="organised clouds of a Kinect, .pcd")
    parser.add_argument("-o", "--output", type=Path, help="JSON to write; default: print only")
    parser.add_argument("-p", "--pictures", type=Path, help="folder for pictures")
    parser.add_argument("--unit", type=int, default=0, help="which unit to simulate; 0 = nominal")
    args = parser.parse_args()
    report: dict = {"command": "tools/compare_sensor_noise.py " + " ".join(path.name for path in args.frames)}
    for path in args.frames:
        frame = next(iter(read_frames(path)))
        simulated, rendering = simulate(scene_like(frame), frame, args.unit)
        report[path.name] = {
            "real": statistics(frame.depth, frame.intrinsics.fx),
            "simulated": statistics(simulated, frame.intrinsics.fx),
        }
        if args.pictures:
            save_pictures(path.stem, frame.depth, simulated, rendering, args.pictures)
    text = json.dumps(report, indent=1)
    if args.output:
        args.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
