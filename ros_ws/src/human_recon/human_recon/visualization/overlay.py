"""The reconstructed bodies drawn over what the camera saw."""

from __future__ import annotations

import cv2
import numpy as np

from human_recon.people import People, Person
from human_recon.visualization.canvas import draw_tag
from human_recon.visualization.depth import depth_to_gray
from human_recon.visualization.palette import person_color
from human_recon.visualization.shading import shade_meshes

# Parents of the 24 SMPL joints, the same in every model of this layout.
_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_BEHIND = 0.10  # metres: a body this far behind the measured surface is hidden by something


def draw_overlay(
    people: People,
    faces: np.ndarray,  # [F, 3]
    background: np.ndarray | None = None,  # [H, W, 3] uint8 RGB; default: the colour image, else the depth in grey
    skeleton: bool = False,
    tags: bool = True,
    supersample: int = 1,
    opacity: float = 0.72,
) -> np.ndarray:
    """Shaded bodies over the image, one colour per person, with their ids.

    Parts of a body that the measured depth shows to be behind something else are drawn faintly, so the picture tells
    depth order, not only outline. Returns [H, W, 3] uint8 RGB at the frame's resolution.
    """
    picture = (_ground(people) if background is None else background).copy()
    if not people.people:
        return picture
    vertices = np.stack([person.vertices for person in people.people])
    colors = np.array([person_color(person.id) for person in people.people], np.float32)
    shaded = shade_meshes(vertices, faces, people.frame.intrinsics, colors, supersample)
    measured = people.frame.depth
    hidden = (measured > 0) & (shaded.raster.depth > 0) & (measured < shaded.raster.depth - _BEHIND)
    weight = np.where(hidden, 0.28, opacity).astype(np.float32)[:, :, None]
    picture = picture * (1 - weight * shaded.coverage[:, :, None]) + shaded.color * weight
    picture = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    _draw_outlines(picture, shaded.raster.person, colors)
    if skeleton:
        for person in people.people:
            draw_skeleton(picture, people, person)
    if tags:
        _draw_tags(picture, people)
    return picture


def draw_skeleton(picture: np.ndarray, people: People, person: Person) -> None:
    """Draw one person's joints and bones into ``picture``; joints the camera does not see are hollow."""
    joints = person.joints
    camera = people.frame.intrinsics
    usable = np.isfinite(joints).all(axis=1) & (joints[:, 2] > 0.05)
    pixel = camera.pinhole.project(np.where(usable[:, None], joints, [0, 0, 1]).astype(np.float64))
    usable &= (np.abs(pixel) < 20000).all(axis=1)  # OpenCV's fixed-point drawing overflows beyond
    points = np.round(np.where(usable[:, None], pixel, 0) * 8).astype(int)  # 3 fractional bits
    width = max(1, round(picture.shape[0] / 300))
    for child, parent in enumerate(_PARENTS):
        if parent >= 0 and usable[child] and usable[parent]:
            cv2.line(picture, points[parent].tolist(), points[child].tolist(), (250, 250, 250), width, cv2.LINE_AA, 3)
    for joint in np.flatnonzero(usable):
        seen = bool(person.joint_visible[joint])
        cv2.circle(picture, points[joint].tolist(), (width + 1) * 8, (250, 250, 250), -1 if seen else 1, cv2.LINE_AA, 3)


def _ground(people: People) -> np.ndarray:
    """The colour image pulled a little towards grey, so that the people's colours lead; else the depth in grey."""
    if people.frame.color is None:
        return depth_to_gray(people.frame.depth)
    color = people.frame.color.astype(np.float32)
    gray = color @ np.array([0.299, 0.587, 0.114], np.float32)
    return (0.45 * color + 0.45 * gray[:, :, None]).astype(np.uint8)


def _draw_outlines(picture: np.ndarray, person: np.ndarray, colors: np.ndarray) -> None:
    """A thin line in a light tint of the person's colour where one body ends: neighbours who touch stay apart."""
    body = person >= 0
    eroded = np.ones_like(body)
    for axis in (0, 1):
        for step in (-1, 1):
            shifted = np.roll(person, step, axis)
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            shifted[tuple(edge)] = person[tuple(edge)]
            eroded &= shifted == person
    rim = body & ~eroded
    tint = 0.55 * colors[person[rim]] + 0.45 * 255
    picture[rim] = (0.35 * picture[rim] + 0.65 * tint).astype(np.uint8)


def _draw_tags(picture: np.ndarray, people: People) -> None:
    """Each person's id above the head, far people first so that near ones stay on top."""
    camera = people.frame.intrinsics
    size = min(max(picture.shape[0] / 45, 7), 16)
    for person in sorted(people.people, key=lambda p: -float(p.joints[0, 2])):
        seen = person.vertices[person.vertices[:, 2] > 0.05]
        if not len(seen):
            continue
        x = camera.fx * seen[:, 0] / seen[:, 2] + camera.cx
        y = camera.fy * seen[:, 1] / seen[:, 2] + camera.cy
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
        if inside.any():
            x, y = x[inside], y[inside]
            top = int(y.argmin())
            draw_tag(picture, str(person.id), float(x[top]), float(y[top]) - 1.6 * size, person_color(person.id), size)
