"""Pictures of matched scans, as in seed 004, figure 5: the target's colours carried to the source, and the errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import points_to_depth
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.simulation.scans import Scan
from human_recon.visualization.canvas import draw_text
from human_recon.visualization.palette import CARD, FAINT_INK, INK, PAPER

if TYPE_CHECKING:
    from training.body_net.match_scans import DescribedScan, Matching

WIDTH, HEIGHT = 230, 330  # pixels of one figure
TALL = 2.15  # metres that the height spans
SPREAD = 2  # pixels around each point that it covers
NEIGHBOUR = 0.025  # metres
WORST = 0.2  # metres, the end of the colours of errors
_TITLES = {
    "full_to_full": "complete to complete",
    "full_to_partial": "complete to single view",
    "partial_to_full": "single view to complete",
    "partial_to_partial": "single view to single view",
}


def draw_matches(
    path: Path,
    scans: Sequence[DescribedScan],
    matched: Mapping[str, Sequence[tuple[int, int, Matching]]],
    body: BodyModel,
) -> None:
    """One row per kind: the pair with the median error and the worst one, each as target, source, truth, error."""
    colors = place_colors(body)
    rows = []
    for name, pairs in matched.items():
        order = sorted(pairs, key=lambda one: float(one[2].euclidean.mean()))
        chosen = (("median pair", order[len(order) // 2]), ("worst pair", order[-1]))
        rows.append(np.hstack([_pair(f"{_TITLES[name]}, {title}", scans, one, colors) for title, one in chosen]))
    picture = np.vstack([*rows, _legend(rows[0].shape[1])])
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 88] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options):
        raise OSError(f"cannot write {path}")


def place_colors(body: BodyModel) -> np.ndarray:
    """[V, 3] uint8 RGB: a colour for each place on the body that changes from left to right, up, and front to back."""
    low, high = np.quantile(body.v_template, 0.02, axis=0), np.quantile(body.v_template, 0.98, axis=0)
    place = np.clip((body.v_template - low) / (high - low), 0.0, 1.0)
    place = 0.5 + 0.5 * np.sin(math.pi * (place - 0.5))  # steeper in the middle, where the trunk is
    # A ripple along height and width, or all of a limb would look alike.
    ripple = 0.85 + 0.15 * np.cos(2 * math.pi * body.v_template[:, :2] / 0.16).mean(axis=1, keepdims=True)
    return np.rint(255 * (0.05 + 0.95 * place) * ripple).astype(np.uint8)


def draw_cloud(
    scan: Scan,
    colors: np.ndarray,  # [N, 3] RGB of the chosen points
    points: np.ndarray,  # [N] rows of the scan
) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] uint8: a complete scan from ahead of the person, a single view from where it was taken.

    Points that were not chosen take after a neighbour that was, within ``NEIGHBOUR``, or are grey.
    """
    eye, camera = _seen(scan)
    away, nearest = cKDTree(scan.points[points]).query(scan.points)
    every = np.where(away[:, None] < NEIGHBOUR, colors[nearest], np.uint8(75)).astype(np.uint8)
    depth, index = points_to_depth(eye, camera, radius=SPREAD, return_index=True)
    shown = index >= 0
    picture = np.full((HEIGHT, WIDTH, 3), CARD, np.uint8)
    picture[shown] = np.clip(every[index[shown]] * _light(depth)[shown][:, None], 0, 255).astype(np.uint8)
    return picture


def error_colors(errors: np.ndarray) -> np.ndarray:
    """[N, 3] uint8 RGB: dark blue for 0, yellow for ``WORST`` metres and more."""
    level = np.rint(255 * np.clip(errors / WORST, 0.0, 1.0)).astype(np.uint8)
    return cv2.applyColorMap(level[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]


def _pair(
    title: str, scans: Sequence[DescribedScan], pair: tuple[int, int, Matching], colors: np.ndarray
) -> np.ndarray:
    source, target, matching = scans[pair[0]].scan, scans[pair[1]].scan, pair[2]
    figures = (
        ("target", draw_cloud(target, colors[target.labels], np.arange(len(target.points)))),
        ("source, as matched", draw_cloud(source, colors[target.labels[matching.partners]], matching.points)),
        ("source, truth", draw_cloud(source, colors[source.labels[matching.points]], matching.points)),
        ("error", draw_cloud(source, error_colors(matching.euclidean), matching.points)),
    )
    card = np.full((HEIGHT + 52, 4 * WIDTH + 10, 3), PAPER, np.uint8)
    draw_text(card, f"{title}: {100 * matching.euclidean.mean():.1f} cm", 8, 14, 11, INK, bold=True)
    for k, (name, figure) in enumerate(figures):
        card[46 : 46 + HEIGHT, k * WIDTH + 2 : (k + 1) * WIDTH - 2] = figure[:, 2:-2]
        draw_text(card, name, k * WIDTH + 8, 35, 9, FAINT_INK)
    return card


def _seen(scan: Scan) -> tuple[np.ndarray, CameraIntrinsics]:
    """The points [N, 3] in the frame of a camera in front of the scan, and that camera."""
    if scan.complete:
        ahead = rotvec_to_matrix(np.asarray(scan.state.pose[0], np.float64)) @ [0.0, 0.0, 1.0]
        yaw = math.atan2(ahead[0], ahead[2]) + 0.35
        away = np.array([math.sin(yaw), 0.0, math.cos(yaw)])
        rotation = np.stack([[away[2], 0.0, -away[0]], [0.0, -1.0, 0.0], -away])
        eye = scan.points @ rotation.T
    else:
        eye = scan.points.astype(np.float64)
    low, high = np.quantile(eye, 0.01, axis=0), np.quantile(eye, 0.99, axis=0)
    distance = 40.0  # almost orthographic
    eye = eye - 0.5 * (low + high) + [0.0, 0.0, distance]
    focal = HEIGHT / TALL * distance
    return eye, CameraIntrinsics(WIDTH, HEIGHT, focal, focal, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)


def _light(depth: np.ndarray) -> np.ndarray:
    """[H, W] brightness about 1 from the slope of a depth image; edges are darker."""
    smooth = cv2.GaussianBlur(np.where(depth > 0, depth, depth.max()), (0, 0), 1.5)
    per_metre = HEIGHT / TALL
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *d, ksize=3) / 8 * per_metre for d in ((1, 0), (0, 1)))
    normal = np.stack([across, down, -np.ones_like(across)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.clip(0.35 + 0.75 * (normal @ np.array([-0.35, -0.5, -0.79])), 0.3, 1.15)


def _legend(width: int) -> np.ndarray:
    card = np.full((34, width, 3), PAPER, np.uint8)
    card[10:24, 110:410] = error_colors(np.linspace(0.0, WORST, 300))[None]
    draw_text(card, "error      0", 100, 17, 9, FAINT_INK, align="right")
    draw_text(card, f"{100 * WORST:.0f} cm and more;   grey: no counterpart in the target", 420, 17, 9, FAINT_INK)
    return card
