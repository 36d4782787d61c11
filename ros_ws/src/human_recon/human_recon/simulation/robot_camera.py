"""Where a robot's camera is: 0.2 to 2.2 m high, pitched and a little rolled, people often cut by the border."""

from __future__ import annotations

import math

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.presets import PRESETS
from human_recon.simulation.dice import Dice
from human_recon.simulation.scene import Scene, View
from human_recon.simulation.staging import SceneConfig

HEIGHT = (0.2, 2.2)  # metres
DISTANCE = (0.9, 7.0)  # metres from the joint that the camera is aimed at, along the floor
CLEARANCE = 0.25  # metres between the camera and anything
_TRIES = 40
_PRESET_NAMES = tuple(PRESETS)
_TARGET_JOINTS = (0, 0, 4, 5, 6, 9, 9, 12, 15, 15)
_WALLS = ("wall", "ceiling", "floor", "door")

Point = tuple[float, float, float]


def draw_view(
    rng: np.random.Generator, scene: Scene, config: SceneConfig, size: tuple[int, int] | None = (160, 120)
) -> View:
    """A view of ``scene``; ``size`` is the width and height to render, None the camera's own.

    An image of another shape than the camera's is its largest central part of that shape.
    """
    dice = Dice(rng)
    preset = dice.pick(_PRESET_NAMES)
    intrinsics, stride = fitted_intrinsics(PRESETS[preset].intrinsics, size)
    close = dice.chance(config.close_views)
    for attempt in range(_TRIES):
        target = _draw_target(dice, scene)
        eye = _draw_eye(dice, scene, target, close and attempt < _TRIES // 2)
        half = math.atan(0.5 * intrinsics.width / intrinsics.fx), math.atan(0.5 * intrinsics.height / intrinsics.fy)
        turn, tilt = dice.between(-0.8, 0.8) * half[0], dice.between(-0.6, 0.6) * half[1]
        matrix = look_at(eye, target, turn, tilt, dice.between(-0.06, 0.06))
        strict = attempt < _TRIES - 5 and dice.chance(0.85)  # sometimes something is in the way
        if _free(scene, eye, target, strict):
            return View(matrix, intrinsics, stride, preset)
    # A scene crammed full: from above, where nothing is.
    top = max((float(thing.vertices[:, 1].max()) for thing in scene.things), default=3.0) + 1.0
    return View(look_at((0.0, top, 0.1), (0.0, 0.0, 0.0), 0.0, 0.0, 0.0), intrinsics, stride, preset)


def _draw_target(dice: Dice, scene: Scene) -> Point:
    """A joint of somebody, or a point where somebody might be."""
    if not scene.actors:
        return dice.between(-1.5, 1.5), dice.between(0.2, 1.4), dice.between(-1.5, 1.5)
    joint = dice.pick(scene.actors).joints[dice.pick(_TARGET_JOINTS)]
    return float(joint[0]), float(joint[1]), float(joint[2])


def _draw_eye(dice: Dice, scene: Scene, target: Point, close: bool) -> Point:
    """A place for the camera; ``close`` to the target or to some thing that will stand into the picture."""
    low, high = HEIGHT
    yaw = dice.between(-math.pi, math.pi)
    if close and scene.things and dice.chance(0.5):
        vertices = dice.pick(scene.things).vertices
        corner = vertices[dice.below(len(vertices))]
        away = dice.between(CLEARANCE, 0.7)
        height = min(max(float(corner[1]) + dice.between(-0.3, 0.3), low), high)
        return float(corner[0]) + away * math.cos(yaw), height, float(corner[2]) + away * math.sin(yaw)
    nearest, farthest = (0.45, 1.0) if close else DISTANCE
    away = math.exp(dice.between(math.log(nearest), math.log(farthest)))
    return target[0] + away * math.cos(yaw), dice.between(low, high), target[2] + away * math.sin(yaw)


def fitted_intrinsics(native: CameraIntrinsics, size: tuple[int, int] | None) -> tuple[CameraIntrinsics, float]:
    """The camera of the largest central part with the shape of ``size``, resized to it, and the stride."""
    if size is None:
        return native, 1.0
    stride = min(native.width / size[0], native.height / size[1])
    x, y = (native.width - stride * size[0]) / 2, (native.height - stride * size[1]) / 2
    return (
        CameraIntrinsics(
            size[0], size[1], native.fx / stride, native.fy / stride,
            (native.cx - x + 0.5) / stride - 0.5, (native.cy - y + 0.5) / stride - 0.5,
        ),
        stride,
    )  # fmt: skip


def look_at(eye: Point, target: Point, turn: float, tilt: float, roll: float) -> np.ndarray:
    """[3, 4] world to camera: from ``eye`` towards ``target``, then turned to the side, tilted and rolled; radians."""
    x, y, z = (target[c] - eye[c] for c in range(3))
    yaw = math.atan2(x, z) + turn
    pitch = min(max(math.atan2(y, math.hypot(x, z)) + tilt, -0.95), 0.75)
    forward = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([-math.cos(yaw), 0.0, math.sin(yaw)])
    down = np.array(
        [
            forward[1] * right[2] - forward[2] * right[1],
            forward[2] * right[0] - forward[0] * right[2],
            forward[0] * right[1] - forward[1] * right[0],
        ]
    )
    cosine, sine = math.cos(roll), math.sin(roll)
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
    return np.concatenate([rotation, -(rotation @ np.array(eye))[:, None]], axis=1)


def _free(scene: Scene, eye: Point, target: Point, strict: bool) -> bool:
    """Whether the eye has room around it and sees the target past the walls, ``strict``: past everything.

    Walls must also leave a way along the floor, or the view would be one through a window.
    """
    for actor in scene.actors:
        if _nearest(actor.surface, *eye) < CLEARANCE:
            return False
    step = (target[0], min(0.15, target[1]), target[2])
    for thing in scene.things:
        wall = thing.kind in _WALLS
        if _obstructs(thing.vertices, thing.faces, *eye, *target, CLEARANCE, wall or strict):
            return False
        if wall and _obstructs(thing.vertices, thing.faces, eye[0], 0.15, eye[2], *step, 0.0, True):
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _nearest(points, x, y, z):
    best = math.inf
    for i in range(len(points)):
        dx, dy, dz = points[i, 0] - x, points[i, 1] - y, points[i, 2] - z
        best = min(best, dx * dx + dy * dy + dz * dz)
    return math.sqrt(best)


@numba.njit(cache=True, nogil=True)
def _obstructs(vertices, faces, x, y, z, tx, ty, tz, clearance, blocking):
    """Whether the point is inside or near the mesh, or (``blocking``) the mesh crosses the line to the target."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(len(vertices)):
        for c in range(3):
            low[c] = min(low[c], vertices[i, c])
            high[c] = max(high[c], vertices[i, c])
    if blocking:  # only if the box around the line meets that of the mesh
        blocking = (
            min(x, tx) < high[0] and max(x, tx) > low[0] and min(y, ty) < high[1] and max(y, ty) > low[1]
            and min(z, tz) < high[2] and max(z, tz) > low[2]
        )  # fmt: skip
    around = (
        low[0] - clearance < x < high[0] + clearance
        and low[1] - clearance < y < high[1] + clearance
        and low[2] - clearance < z < high[2] + clearance
    )
    if not around and not blocking:
        return False
    crossings = 0
    for f in range(len(faces)):
        a, b, c = faces[f]
        ax, ay, az = vertices[a, 0] - x, vertices[a, 1] - y, vertices[a, 2] - z
        bx, by, bz = vertices[b, 0] - x, vertices[b, 1] - y, vertices[b, 2] - z
        cx, cy, cz = vertices[c, 0] - x, vertices[c, 1] - y, vertices[c, 2] - z
        if blocking and _line_meets(ax, ay, az, bx, by, bz, cx, cy, cz, tx - x, ty - y, tz - z, 1.0) != 0:
            return True
        if around:
            # No axis-parallel ray: furniture is full of edges that one would run along.
            crossings += _line_meets(ax, ay, az, bx, by, bz, cx, cy, cz, 0.0137, 1.0, 0.0291, math.inf)
            if _distance_to_triangle(ax, ay, az, bx, by, bz, cx, cy, cz) < clearance:
                return True
    return crossings != 0


@numba.njit(cache=True, nogil=True)
def _line_meets(ax, ay, az, bx, by, bz, cx, cy, cz, dx, dy, dz, longest):
    """+1 / -1 where the ray from the origin along d meets triangle abc from inside / outside within ``longest`` d."""
    ux, uy, uz = dy * cz - dz * cy, dz * cx - dx * cz, dx * cy - dy * cx  # d x c
    u = -(ux * bx + uy * by + uz * bz)  # det(d, b, c)
    v = ux * ax + uy * ay + uz * az  # det(d, c, a)
    wx, wy, wz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx  # a x b
    w = dx * wx + dy * wy + dz * wz  # det(d, a, b)
    if not ((u > 0.0 and v > 0.0 and w > 0.0) or (u < 0.0 and v < 0.0 and w < 0.0)):
        return 0
    t = (wx * cx + wy * cy + wz * cz) / (u + v + w)
    if not 0.0 < t < longest:
        return 0
    return 1 if u + v + w > 0.0 else -1


@numba.njit(cache=True, nogil=True)
def _distance_to_triangle(ax, ay, az, bx, by, bz, cx, cy, cz):
    """Distance of the origin from triangle abc (Ericson, Real-Time Collision Detection, 5.1.5)."""
    abx, aby, abz, acx, acy, acz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    d1, d2 = -(abx * ax + aby * ay + abz * az), -(acx * ax + acy * ay + acz * az)
    d3, d4 = -(abx * bx + aby * by + abz * bz), -(acx * bx + acy * by + acz * bz)
    d5, d6 = -(abx * cx + aby * cy + abz * cz), -(acx * cx + acy * cy + acz * cz)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0.0 and d2 <= 0.0:
        s, t = 0.0, 0.0
    elif d3 >= 0.0 and d4 <= d3:
        s, t = 1.0, 0.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        s, t = d1 / max(d1 - d3, 1e-30), 0.0
    elif d6 >= 0.0 and d5 <= d6:
        s, t = 0.0, 1.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        s, t = 0.0, d2 / max(d2 - d6, 1e-30)
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        t = (d4 - d3) / max((d4 - d3) + (d5 - d6), 1e-30)
        s = 1.0 - t
    else:
        total = max(va + vb + vc, 1e-30)
        s, t = vb / total, vc / total
    x, y, z = ax + s * abx + t * acx, ay + s * aby + t * acy, az + s * abz + t * acz
    return math.sqrt(x * x + y * y + z * z)
