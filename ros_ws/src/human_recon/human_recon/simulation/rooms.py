"""Rooms: floor, walls with doorways and windows, ceiling, columns, stairs, what hangs on walls; or no room at all.

World frame: the floor is y = 0 and its middle the origin; walls are parallel to x and z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts, Solid, join, turned
from human_recon.simulation.placement import plan_of

_THICK = 0.12  # metres, walls
_NO_BALLS = np.zeros((0, 4))
_APRON = 4.0  # metres of floor beyond the walls: seen through doorways

Openings = list[tuple[float, float, float, float]]  # left, right along the wall; bottom, top


@dataclass(frozen=True, eq=False)
class Room:
    """A rectangle of floor and what stands around it."""

    width: float  # metres along x
    depth: float  # metres along z
    walls: tuple[bool, bool, bool, bool]  # whether there is one at -z, +x, +z, -x
    solids: tuple[tuple[str, Solid], ...]  # kind and mesh; no furniture
    inner: Solid  # without vertices: the boxes of columns, open doors, radiators and the like inside the rectangle

    def stretched(self, x: float, z: float) -> Room:
        """The room with its plan scaled by ``x`` and ``z``."""
        scale = (x, 1.0, z)
        return Room(
            self.width * x,
            self.depth * z,
            self.walls,
            tuple((kind, solid.moved(0.0, (0.0, 0.0, 0.0), scale)) for kind, solid in self.solids),
            self.inner.moved(0.0, (0.0, 0.0, 0.0), scale),
        )


def make_room(
    width: float, depth: float, walls: tuple[bool, bool, bool, bool], solids: list[tuple[str, Solid]]
) -> Room:
    """A room of these solids."""
    inner = []
    for kind, solid in solids:
        if kind in ("floor", "ceiling"):
            continue
        for box in solid.boxes:
            plan = plan_of(_NO_BALLS, box[None])
            margin = -0.1 if kind == "fence" else 0.015  # walls touch the rectangle
            if (
                plan[0] < width / 2 - margin
                and plan[1] > margin - width / 2
                and plan[2] < depth / 2 - margin
                and plan[3] > margin - depth / 2
            ):
                inner.append(box)
    boxes = np.array(inner).reshape(-1, 12)
    nothing = Solid(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), boxes)
    return Room(width, depth, walls, tuple(solids), nothing)


def draw_room(dice: Dice) -> Room:
    """An office, a living room, a corridor, a hall or an open place."""
    style = dice.weighted((0.32, 0.28, 0.12, 0.16, 0.12))
    if style == 4:
        return _open_place(dice)
    sizes = (((2.4, 5.5), (2.8, 6.0)), ((3.2, 6.5), (3.5, 7.5)), ((1.5, 2.6), (5.0, 12.0)), ((7.0, 14.0), (7.0, 16.0)))
    width, depth = dice.between(*sizes[style][0]), dice.between(*sizes[style][1])
    height = dice.between(2.8, 5.0) if style == 3 else dice.between(2.3, 3.2)
    if dice.chance(0.5):
        width, depth = depth, width
    walls = (dice.chance(0.8), dice.chance(0.8), dice.chance(0.8), dice.chance(0.8))
    solids: list[tuple[str, Solid]] = [("floor", _floor(width, depth))]
    for side, present in enumerate(walls):
        length = width if side % 2 == 0 else depth
        away = (depth if side % 2 == 0 else width) / 2
        if present:
            # A wall's own frame looks into the room along +z with the wall's face at z = 0.
            yaw = (0.0, -math.pi / 2, math.pi, math.pi / 2)[side]
            shift = ((0, 0, -away), (away, 0, 0), (0, 0, away), (-away, 0, 0))[side]
            solids += [(kind, solid.moved(yaw, shift)) for kind, solid in _wall(dice, length, height)]
    if dice.chance(0.7):
        solids.append(("ceiling", _ceiling(dice, width, depth, height)))
    if (style == 3 and dice.chance(0.6)) or dice.chance(0.08):
        solids.append(("column", _columns(dice, width, depth, height)))
    if style == 3 and dice.chance(0.3):
        solids.append(("stairs", _stairs(dice, width, depth)))
    return make_room(width, depth, walls, solids)


def _floor(width: float, depth: float) -> Solid:
    parts = Parts()
    parts.box((0.0, -0.1, 0.0), (width + 2 * _APRON, 0.2, depth + 2 * _APRON))
    return parts.build()


def _wall(dice: Dice, length: float, height: float) -> list[tuple[str, Solid]]:
    """A wall along x in z <= 0, with openings, and what belongs to it, in z > 0."""
    walls, doors, hung = Parts(), Parts(), Parts()
    openings: Openings = []
    free = [(-length / 2 + 0.15, length / 2 - 0.15)]
    for _ in range(dice.below(3)):
        left, right = free[-1]
        room = right - left
        if dice.chance(0.5) and room > 1.2:
            width = dice.between(0.75, 1.1)
            at = left + dice.unit() * (room - width)
            openings.append((at, at + width, 0.0, dice.between(1.95, 2.15)))
            _door(dice, doors, openings[-1])
        elif room > 1.2:
            width = min(dice.between(0.7, 2.4), room - 0.2)
            at = left + dice.unit() * (room - width)
            openings.append((at, at + width, dice.between(0.3, 1.1), min(dice.between(1.9, 2.3), height - 0.15)))
            _window(dice, hung, openings[-1])
        else:
            break
        free[-1:] = [(left, openings[-1][0] - 0.1), (openings[-1][1] + 0.1, right)]
    at = -length / 2 - _THICK
    for left, right, bottom, top in sorted(openings):
        walls.box(((at + left) / 2, height / 2, -_THICK / 2), (left - at, height, _THICK))
        walls.box(((left + right) / 2, (height + top) / 2, -_THICK / 2), (right - left, height - top, _THICK))
        if bottom > 0.0:
            walls.box(((left + right) / 2, bottom / 2, -_THICK / 2), (right - left, bottom, _THICK))
        at = right
    walls.box(((at + length / 2 + _THICK) / 2, height / 2, -_THICK / 2), (length / 2 + _THICK - at, height, _THICK))
    if openings and dice.chance(0.6):  # what is seen through the openings
        walls.box((0, height / 2, -dice.between(1.2, 3.5)), (length + 3.0, height, 0.1))
    if dice.chance(0.15):  # a pier or a chimney
        wide, deep = dice.between(0.3, 1.0), dice.between(0.1, 0.45)
        left, right = max(free, key=lambda span: span[1] - span[0])
        if right - left > wide:
            walls.box(((left + right) / 2, height / 2, deep / 2 - 0.01), (wide, height, deep + 0.02))
    elif dice.chance(0.6):
        _pictures(dice, hung, free)
    solids = [("wall", walls.build())]
    for kind, parts in (("door", doors), ("picture", hung)):
        solid = parts.build()
        if len(solid.faces):
            solids.append((kind, solid))
    return solids


def _door(dice: Dice, parts: Parts, opening: tuple[float, float, float, float]) -> None:
    """A frame, and a door that is shut, ajar, open or missing."""
    left, right, _, top = opening
    for x in (left + 0.02, right - 0.02):
        parts.box((x, top / 2, -_THICK / 2), (0.06, top, _THICK + 0.06))
    parts.box(((left + right) / 2, top - 0.02, -_THICK / 2), (right - left, 0.06, _THICK + 0.06))
    if dice.chance(0.2):
        return
    angle = 0.0 if dice.chance(0.4) else dice.between(0.1, 1.9) * dice.sign()
    hinge_left = dice.chance(0.5)
    width = right - left - 0.09
    axes = turned(yaw=angle)
    hinge = np.array([left + 0.045 if hinge_left else right - 0.045, top / 2, -_THICK / 2])
    inward = axes[:, 0] * (width / 2) * (1.0 if hinge_left else -1.0)
    parts.box(hinge + inward, (width, top - 0.06, 0.04), axes)
    handle = hinge + inward * 1.85
    parts.rod(handle - axes[:, 2] * 0.07 - (0, 0.05, 0), handle + axes[:, 2] * 0.07 - (0, 0.05, 0), 0.012)


def _window(dice: Dice, parts: Parts, opening: tuple[float, float, float, float]) -> None:
    """A frame, and sometimes curtains, a radiator, a blind."""
    left, right, bottom, top = opening
    panes = 1 + dice.below(3)
    for k in range(panes + 1):
        parts.box((left + (right - left) * k / panes, (bottom + top) / 2, -0.06), (0.05, top - bottom, 0.06))
    for y in (bottom, top):
        parts.box(((left + right) / 2, y, -0.06), (right - left, 0.05, 0.06))
    if dice.chance(0.4):
        parts.box(((left + right) / 2, bottom - 0.015, 0.06), (right - left + 0.1, 0.03, 0.2))
    if bottom > 0.6 and dice.chance(0.5):
        width, tall = (right - left) * dice.between(0.6, 1.0), bottom - 0.22
        count = max(3, int(width / 0.12))
        for k in range(count):
            x = (left + right) / 2 + width * ((k + 0.5) / count - 0.5)
            parts.block((x, 0.12 + tall / 2, 0.07), (width / count * 0.75, tall, 0.1))
    if dice.chance(0.4):
        low = 0.05 if dice.chance(0.6) else max(bottom - 0.15, 0.05)
        for side, edge in ((-1, left), (1, right)):
            wide = dice.between(0.2, 0.55)
            _curtain(dice, parts, edge + side * wide * 0.2, wide, low, top + 0.15)
    elif dice.chance(0.2):
        parts.box(((left + right) / 2, top - (top - bottom) * 0.25, 0.0), (right - left, (top - bottom) * 0.5, 0.01))


def _curtain(dice: Dice, parts: Parts, x: float, width: float, low: float, high: float) -> None:
    columns, rows = 13, 4
    s, y = np.linspace(-0.5, 0.5, columns), np.linspace(high, low, rows)
    wave = 0.035 * np.sin(2 * np.pi * (3 + dice.below(3)) * s + dice.between(0, 6))
    front = np.empty((rows, columns, 3))
    front[..., 0] = x + width * s * np.linspace(0.9, 1.1, rows)[:, None]
    front[..., 1] = y[:, None]
    front[..., 2] = 0.14 + wave * np.linspace(0.6, 1.2, rows)[:, None]
    parts.sheet(front, 0.01, (0, 0, 1))


def _pictures(dice: Dice, parts: Parts, free: list[tuple[float, float]]) -> None:
    """Pictures, boards, screens, coats on hooks, wall shelves."""
    left, right = max(free, key=lambda span: span[1] - span[0])
    for _ in range(1 + dice.below(3)):
        width = dice.between(0.25, 1.6)
        if right - left < width:
            return
        height, deep = dice.between(0.25, 0.9), dice.between(0.015, 0.06)
        if dice.chance(0.2):
            deep = dice.between(0.15, 0.35)  # a wall cupboard or shelf
        parts.box((left + width / 2, dice.between(1.2, 1.8), deep / 2), (width, height, deep))
        left += width + dice.between(0.1, 0.6)


def _ceiling(dice: Dice, width: float, depth: float, height: float) -> Solid:
    parts = Parts()
    parts.box((0, height + 0.1, 0), (width + 0.2, 0.2, depth + 0.2))
    for _ in range(dice.below(5)):
        x, z = dice.between(-0.4, 0.4) * width, dice.between(-0.4, 0.4) * depth
        if dice.chance(0.6):
            size = (dice.between(0.15, 0.4), 0.08, dice.between(0.6, 1.5))
            parts.box((x, height - dice.between(0.04, 0.3), z), size)
        else:
            drop = dice.between(0.2, 0.7)
            parts.rod((x, height, z), (x, height - drop, z), 0.008)
            parts.cylinder((x, height - drop, z), (0.35, 0.2, 0.35), taper=-0.5)
    return parts.build()


def _columns(dice: Dice, width: float, depth: float, height: float) -> Solid:
    parts, thick = Parts(), dice.between(0.2, 0.6)
    solid = parts.cylinder if dice.chance(0.6) else parts.box
    for _ in range(1 + dice.below(4)):
        x, z = dice.between(-0.45, 0.45) * width, dice.between(-0.45, 0.45) * depth
        solid((x, height / 2, z), (thick, height, thick))
    return parts.build()


def _stairs(dice: Dice, width: float, depth: float) -> Solid:
    parts, wide, steps = Parts(), dice.between(1.0, 1.8), 4 + dice.below(8)
    x, z = dice.sign() * (width / 2 - wide / 2), -depth * 0.45
    for k in range(steps):
        tall = 0.17 * (steps - k)
        parts.box((x, tall / 2, z + 0.29 * k), (wide, tall, 0.29))
    for side in (-1, 1):
        at = x + side * wide / 2
        parts.rod((at, 0.17 * steps + 0.9, z), (at, 0.9, z + 0.29 * steps), 0.02)
        parts.rod((at, 0, z + 0.29 * steps), (at, 0.9, z + 0.29 * steps), 0.02)
    return parts.build()


def _open_place(dice: Dice) -> Room:
    """No walls: a terrace, a street, a yard; sometimes a house front, posts, a fence."""
    width, depth = dice.between(5.0, 14.0), dice.between(5.0, 14.0)
    solids = [("floor", _floor(width + 10.0, depth + 10.0))]
    wall = False
    if dice.chance(0.4):
        wall = True
        solids.append(("wall", join([s for _, s in _wall(dice, width, 3.5)]).moved(0.0, (0, 0, -depth / 2))))
    elif dice.chance(0.4):
        fence = Parts()
        high = dice.between(0.8, 1.6)
        for k in range(int(width / 0.25)):
            fence.box((k * 0.25 - width / 2, high / 2, -depth / 2), (0.08, high, 0.03))
        fence.box((0, high * 0.8, -depth / 2), (width, 0.06, 0.03))
        solids.append(("fence", fence.build()))
    if dice.chance(0.5):
        solids.append(("column", _columns(dice, width, depth, dice.between(2.5, 5.0))))
    return make_room(width, depth, (wall, False, False, False), solids)
