"""One picture that tells a frame's whole result."""

from __future__ import annotations

import math

import cv2
import numpy as np

from human_recon.people import People, Person
from human_recon.visualization.canvas import draw_tag, draw_text, fit_into, titled
from human_recon.visualization.depth import depth_range, depth_to_color
from human_recon.visualization.overlay import draw_overlay
from human_recon.visualization.palette import CARD, FAINT_INK, GRID, INK, PAPER, person_color
from human_recon.visualization.views import draw_side_view, draw_top_view

_WIDTH, _HEIGHT = 640, 480  # of the two upper pictures
_LOWER = 380  # height of the lower row
_GAP = 14
_ROW = 34


def draw_summary(people: People, faces: np.ndarray, title: str = "") -> np.ndarray:
    """Measured depth, bodies over the image, side view, top view, and a table of the people.

    ``faces`` [F, 3]; ``title`` names the input. Returns [H, 1322, 3] uint8 RGB, H by the number of people.
    """
    frame = people.frame
    limits = depth_range(frame.depth)
    ground = "colour image" if frame.color is not None else "depth image"
    count = len(people.people)
    found = "nobody found" if count == 0 else "1 person" if count == 1 else f"{count} people"
    overlay = draw_overlay(people, faces, supersample=2, tags=False)
    overlay = fit_into(overlay, _WIDTH, _HEIGHT)
    _tag_scaled(overlay, people)
    measured = fit_into(depth_to_color(frame.depth, limits), _WIDTH, _HEIGHT)
    _draw_scale(measured, limits)
    upper = _beside(
        titled(measured, "Measured depth", f"{frame.intrinsics.width} x {frame.intrinsics.height}"),
        titled(overlay, "Reconstructed bodies", f"{found}, over the {ground}"),
    )
    lower = _beside(
        titled(draw_side_view(people, faces, _WIDTH, _LOWER), "Side view", "grey: measured points"),
        titled(draw_top_view(people, faces, _WIDTH, _LOWER), "Top view", "camera at the bottom"),
    )
    table = _table(people, upper.shape[1])
    parts = [upper, lower, table]
    width = upper.shape[1] + 2 * _GAP
    head = np.full((46 if title else _GAP, width, 3), PAPER, np.uint8)
    if title:
        draw_text(head, title, _GAP + 2, 25, 13, INK, bold=True)
        draw_text(head, "human_recon", width - _GAP - 2, 25, 11, FAINT_INK, align="right")
    rows = [head]
    for part in parts:
        side = np.full((part.shape[0], _GAP, 3), PAPER, np.uint8)
        rows += [np.hstack([side, part, side]), np.full((_GAP, width, 3), PAPER, np.uint8)]
    return np.vstack(rows)


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.hstack([left, np.full((left.shape[0], _GAP, 3), PAPER, np.uint8), right])


def _tag_scaled(overlay: np.ndarray, people: People) -> None:
    """Tags drawn after scaling, so that they are equally legible for every sensor resolution."""
    camera = people.frame.intrinsics
    factor = min(_WIDTH / camera.width, _HEIGHT / camera.height)
    shift = np.array([(_WIDTH - camera.width * factor) / 2, (_HEIGHT - camera.height * factor) / 2])
    for person in sorted(people.people, key=lambda p: -float(p.joints[0, 2])):
        front = person.vertices[person.vertices[:, 2] > 0.05]
        if not len(front):
            continue
        pixel = camera.project(front.astype(np.float64))
        inside = ((pixel >= 0) & (pixel < [camera.width, camera.height])).all(axis=1)
        if inside.any():
            pixel = pixel[inside]
            x, y = pixel[pixel[:, 1].argmin()] * factor + shift
            draw_tag(overlay, str(person.id), float(x), float(y) - 17, person_color(person.id), 10.5)


def _draw_scale(picture: np.ndarray, limits: tuple[float, float]) -> None:
    """The colour scale of the depth, in the lower left corner."""
    near, far = limits
    width, height = 180, 10
    inverse = np.linspace(1 / near, 1 / far, width, dtype=np.float32)[None].repeat(height, 0)
    bar = depth_to_color(1 / inverse, limits)
    x, y = 14, picture.shape[0] - 22
    backing = picture[y - 26 : y + height + 10, x - 8 : x + width + 8]
    backing[:] = (backing * 0.25 + np.array(PAPER) * 0.75).astype(np.uint8)
    picture[y : y + height, x : x + width] = bar
    draw_text(picture, f"{near:.1f} m", x, y - 12, 8.5, INK)
    draw_text(picture, f"{far:.1f} m", x + width, y - 12, 8.5, INK, align="right")


_COLUMNS = (  # title, right end as a part of the width
    ("person", 0.07),
    ("distance", 0.22),
    ("stature", 0.36),
    ("depth residual (median)", 0.58),
    ("joints in view", 0.75),
    ("confidence", 0.92),
)


def _table(people: People, width: int) -> np.ndarray:
    """One line per person."""
    rows = max(1, len(people.people))
    table = np.full((_ROW * rows + 40, width, 3), CARD, np.uint8)
    if not people.people:
        draw_text(table, "Nobody found in this frame.", 16, table.shape[0] / 2, 11, FAINT_INK)
        return table
    for name, end in _COLUMNS:
        draw_text(table, name, end * width, 18, 9, FAINT_INK, align="right")
    for row, person in enumerate(people.people):
        y = 34 + _ROW * row + _ROW / 2
        cv2.line(table, (12, int(y - _ROW / 2)), (width - 12, int(y - _ROW / 2)), GRID, 1)
        draw_tag(table, str(person.id), _COLUMNS[0][1] * width - 20, y, person_color(person.id), 10)
        for (_, end), value in zip(_COLUMNS[1:], _values(person), strict=True):
            draw_text(table, value, end * width, y, 11, INK, align="right")
    return table


def _values(person: Person) -> tuple[str, str, str, str, str]:
    return (
        f"{float(np.linalg.norm(person.joints[0])):.2f} m",
        f"{person.height:.2f} m",
        "-" if math.isnan(person.residual) else f"{person.residual * 1000:.0f} mm",
        f"{int(person.joint_visible.sum())} / {len(person.joint_visible)}",
        f"{person.confidence:.2f}",
    )
