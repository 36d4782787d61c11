"""The scene from the side and from above: does each body stand on the floor, at the right distance, upright?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points
from human_recon.people import People
from human_recon.visualization.canvas import draw_tag, draw_text
from human_recon.visualization.palette import CARD, FAINT_INK, FLOOR, GRID, INK, person_color
from human_recon.visualization.shading import shade_meshes

_EYE = 2000.0  # metres: a pinhole this far away is an orthographic view (0.1 % change of scale over 2 m)
_MARGIN = 0.35  # metres shown around bodies and camera


@dataclass(frozen=True)
class _View:
    """An orthographic view along a level axis or straight down."""

    right: np.ndarray  # [3] unit vector of the camera frame that points right in the picture
    down: np.ndarray  # [3] ... down in the picture
    away: np.ndarray  # [3] ... into the picture
    left: float  # metres along ``right`` at the picture's left border
    top: float  # metres along ``down`` at the picture's upper border
    scale: float  # pixels per metre
    width: int  # pixels
    height: int  # pixels

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """[N, 3] camera frame -> [N, 2] pixel coordinates."""
        return np.column_stack(
            [(points @ self.right - self.left) * self.scale, (points @ self.down - self.top) * self.scale]
        )

    def shade(self, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bodies in this view: colour [H, W, 3] premultiplied with the coverage [H, W]."""
        axes = np.stack([self.right, self.down, self.away], axis=1)
        seen = vertices.astype(np.float64) @ axes
        finite = np.isfinite(seen[..., 2])
        middle = float(np.median(seen[..., 2][finite])) if finite.any() else 0.0
        seen -= [self.left, self.top, middle - _EYE]
        camera = CameraIntrinsics(self.width, self.height, self.scale * _EYE, self.scale * _EYE, 0.0, 0.0)
        shaded = shade_meshes(seen.astype(np.float32), faces, camera, colors, supersample=2)
        return shaded.color, shaded.coverage


def draw_side_view(
    people: People,
    faces: np.ndarray,  # [F, 3]
    width: int = 640,
    height: int = 400,
    tags: bool = True,
) -> np.ndarray:
    """Seen from the camera's right: distance to the right, up is up; measured points grey, bodies shaded.

    "Up" is the floor's normal when the floor is known, else the frame's, else the camera's. A known floor is drawn as
    a line. Returns [height, width, 3] uint8 RGB; one scale on both axes, grid lines every metre.
    """
    forward, up, right = level_axes(people)
    points = _measured_points(people)
    solid, anchor = _solid_points(people, points)
    floor = -people.floor.offset if people.floor is not None else None  # height relative to the camera
    distance, elevation = solid @ forward, solid @ up
    low = min(float(elevation.min()), floor if floor is not None else math.inf)
    extent = (-0.2, float(distance.max()), -float(elevation.max()), -low)
    view = _framed(forward, -up, -right, extent, width, height)
    keep = np.abs((points - anchor) @ right) < _half_width(solid, anchor, right)
    picture = _ground(view, points[keep])
    _draw_grid(picture, view, label_x=True, label_y=False)
    if floor is not None:
        y = (-floor - view.top) * view.scale
        cv2.line(picture, (0, round(y)), (width, round(y)), FLOOR, 2, cv2.LINE_AA)
        draw_text(picture, "floor", width - 10, y + 13, 9, FLOOR, align="right")
    _draw_bodies(picture, view, people, faces, tags)
    _draw_camera(picture, view, people, forward, up)
    return picture


def draw_top_view(
    people: People,
    faces: np.ndarray,  # [F, 3]
    width: int = 640,
    height: int = 400,
    tags: bool = True,
) -> np.ndarray:
    """Seen from above: the camera below, distance upward; measured points grey, bodies shaded.

    Points at floor and ceiling height are left out, so walls and furniture show as outlines. Returns
    [height, width, 3] uint8 RGB; one scale on both axes, grid lines every metre.
    """
    forward, up, right = level_axes(people)
    points = _measured_points(people)
    solid, anchor = _solid_points(people, points)
    across, distance = solid @ right, solid @ forward
    extent = (min(float(across.min()), -0.3), max(float(across.max()), 0.3), -float(distance.max()), 0.15)
    view = _framed(right, -forward, -up, extent, width, height)
    if people.floor is not None:
        height_above = people.floor.height(points)
        keep = (height_above > 0.08) & (height_above < 2.2)
    else:
        keep = np.abs((points - anchor) @ up) < 1.2
    picture = _ground(view, points[keep])
    _draw_grid(picture, view, label_x=False, label_y=True)
    _draw_frustum(picture, view, people, forward)
    _draw_bodies(picture, view, people, faces, tags)
    _draw_camera(picture, view, people, forward, right)
    return picture


def level_axes(people: People) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (forward, up, right) of the camera frame: level and vertical as well as the result knows."""
    if people.floor is not None:
        up = people.floor.normal
    elif people.frame.up is not None:
        up = people.frame.up
    else:
        up = np.array([0.0, -1.0, 0.0])
    up = np.asarray(up, np.float64) / np.linalg.norm(up)
    forward = np.array([0.0, 0.0, 1.0])
    if abs(forward @ up) > 0.98:  # looking straight down or up: the picture's upper edge is ahead
        forward = np.array([0.0, -1.0, 0.0])
    forward = forward - (forward @ up) * up
    forward /= np.linalg.norm(forward)
    return forward, up, np.cross(forward, up)


def _measured_points(people: People) -> np.ndarray:
    """All readings as points [N, 3]."""
    depth = people.frame.depth
    return depth_to_points(depth, people.frame.intrinsics)[depth > 0].astype(np.float64)


def _solid_points(people: People, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the view must show, [N, 3] (the bodies, else most of the readings), and its middle [3]."""
    if people.people:
        solid = np.concatenate([person.vertices[::7] for person in people.people]).astype(np.float64)
        solid = solid[np.isfinite(solid).all(axis=1)]
    elif len(points):
        solid = points[:: max(1, len(points) // 5000)]
        low, high = np.percentile(solid, (2, 98), axis=0)
        solid = np.clip(solid, low, high)
    else:
        solid = np.array([[-1.0, -0.5, 3.0], [1.0, 1.0, 3.0]])
    if len(solid) == 0:
        solid = np.array([[-1.0, -0.5, 3.0], [1.0, 1.0, 3.0]])
    return solid, (solid.min(axis=0) + solid.max(axis=0)) / 2


def _half_width(solid: np.ndarray, anchor: np.ndarray, axis: np.ndarray) -> float:
    """How far points may lie to the side of the bodies to be shown with them, metres."""
    return float(np.abs((solid - anchor) @ axis).max()) + 0.25


def _framed(
    right: np.ndarray,
    down: np.ndarray,
    away: np.ndarray,
    extent: tuple[float, float, float, float],  # left, right, top, bottom in metres
    width: int,
    height: int,
) -> _View:
    """The largest scale that shows ``extent`` with a margin, centred."""
    left, right_end, top, bottom = extent
    wide, tall = right_end - left + 2 * _MARGIN, bottom - top + 2 * _MARGIN
    scale = min(width / wide, height / tall)
    return _View(
        right=right,
        down=down,
        away=away,
        left=(left + right_end) / 2 - width / scale / 2,
        top=(top + bottom) / 2 - height / scale / 2,
        scale=scale,
        width=width,
        height=height,
    )


def _ground(view: _View, points: np.ndarray) -> np.ndarray:
    """The measured points as a grey density on the card colour."""
    pixel = view.pixels(points)
    inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < view.width) & (pixel[:, 1] < view.height)
    index = pixel[inside].astype(int)
    count = np.bincount(index[:, 1] * view.width + index[:, 0], minlength=view.width * view.height)
    density = np.log1p(count.reshape(view.height, view.width)).astype(np.float32)
    occupied = density[density > 0]
    if occupied.size:
        density /= max(float(np.percentile(occupied, 97)), 1e-6)
    weight = (np.clip(density, 0, 1) ** 0.7 * 0.75)[:, :, None]
    weight[count.reshape(view.height, view.width) > 0] = np.maximum(
        weight[count.reshape(view.height, view.width) > 0], 0.16
    )
    picture = np.array(CARD, np.float32) * (1 - weight) + np.array((200, 206, 214), np.float32) * weight
    return picture.astype(np.uint8)


def _draw_grid(picture: np.ndarray, view: _View, label_x: bool, label_y: bool) -> None:
    """Lines every metre (every 2 or 5 when they would crowd), labelled along the distance axis."""
    step = next(step for step in (1, 2, 5, 10, 10**9) if step * view.scale >= 36)
    columns = range(math.ceil(view.left / step) * step, int(view.left + view.width / view.scale) + 1, step)
    rows = range(math.ceil(view.top / step) * step, int(view.top + view.height / view.scale) + 1, step)
    under = picture.copy()
    for metre in columns:
        column = round((metre - view.left) * view.scale)
        cv2.line(under, (column, 0), (column, view.height), GRID, 1)
    for metre in rows:
        row = round((metre - view.top) * view.scale)
        cv2.line(under, (0, row), (view.width, row), GRID, 1)
    np.maximum(picture, under, out=picture)
    if label_x:
        for metre in columns:
            x = (metre - view.left) * view.scale
            if metre > 0 and 16 < x < view.width - 16:
                draw_text(picture, f"{metre} m", x, view.height - 11, 8.5, FAINT_INK, align="center")
    if label_y:
        for metre in rows:
            y = (metre - view.top) * view.scale
            if metre < 0 and 10 < y < view.height - 10:
                draw_text(picture, f"{-metre} m", 8, y, 8.5, FAINT_INK)


def _draw_bodies(picture: np.ndarray, view: _View, people: People, faces: np.ndarray, tags: bool) -> None:
    if not people.people:
        return
    colors = np.array([person_color(person.id) for person in people.people], np.float32)
    color, coverage = view.shade(np.stack([person.vertices for person in people.people]), faces, colors)
    weight = 0.80  # measured points shine through
    picture[:] = np.clip(picture * (1 - weight * coverage[:, :, None]) + weight * color + 0.5, 0, 255).astype(np.uint8)
    if not tags:
        return
    size = min(max(view.height / 42, 8), 11)
    placed: list[tuple[float, float]] = []
    for person in people.people:
        head = view.pixels(person.joints[15:16].astype(np.float64))[0]
        if not np.isfinite(head).all():
            continue
        x, y = float(head[0]), float(head[1]) - 2.2 * size
        while any(abs(x - a) < 2.1 * size and abs(y - b) < 2.1 * size for a, b in placed):
            y -= 2.15 * size
        placed.append((x, y))
        draw_tag(picture, str(person.id), x, y, person_color(person.id), size)


def _draw_camera(picture: np.ndarray, view: _View, people: People, forward: np.ndarray, side: np.ndarray) -> None:
    """A small triangle at the camera, open towards where it looks."""
    gaze = np.array([0.0, 0.0, 1.0])
    look = (gaze @ forward) * forward + (gaze @ side) * side
    length = float(np.linalg.norm(look))
    look = look / length if length > 1e-6 else forward
    across = -(look @ side) * forward + (look @ forward) * side
    size = 13 / view.scale
    corners = np.stack([np.zeros(3), look * size + across * size * 0.6, look * size - across * size * 0.6])
    cv2.fillPoly(picture, [np.round(view.pixels(corners) * 8).astype(np.int32)], INK, cv2.LINE_AA, 3)


def _draw_frustum(picture: np.ndarray, view: _View, people: People, forward: np.ndarray) -> None:
    """The borders of the field of view as seen from above."""
    camera = people.frame.intrinsics
    rays = camera.unproject(np.array([[0.0, camera.cy], [camera.width - 1.0, camera.cy]]), np.ones(2))
    reach = 2 * math.hypot(view.width, view.height) / view.scale
    origin = view.pixels(np.zeros((1, 3)))[0]
    for ray in rays:
        end = view.pixels((ray * reach)[None])[0]
        span = np.clip(np.array([origin, end]), -30000, 30000)
        (x0, y0), (x1, y1) = np.round(span).astype(int).tolist()
        cv2.line(picture, (x0, y0), (x1, y1), (92, 100, 114), 1, cv2.LINE_AA)
