"""Small things: what lies on tables and floors, what people carry, and what a detector might take for a person.

Frames: y up. Things that stand have their origin on the ground in the middle of their footprint; carried things where
the hand holds them.
"""

from __future__ import annotations

import math

import numpy as np

from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts, Solid, turned

CARRIED = ("phone", "mug", "bottle", "bag", "book", "umbrella", "broom", "ball")
CARRIED_IN_BOTH = ("box", "tray", "big_ball", "laptop")


def clutter(parts: Parts, dice: Dice, width: float, depth: float, height: float, office: bool) -> None:
    """Things on a surface of ``width`` by ``depth`` centred at the origin at ``height``."""
    if office:
        for k in range(dice.weighted((0.2, 0.6, 0.2))):
            x = dice.between(-0.15, 0.15) * width + (k - 0.5 if k else 0.0) * 0.5
            if dice.chance(0.7):
                monitor(parts, dice, x, height, -depth * 0.25, dice.between(-0.3, 0.3))
            else:
                laptop(parts, dice, x, height, 0.0, dice.between(-0.3, 0.3))
        if dice.chance(0.6):
            size = (dice.between(0.3, 0.45), 0.025, 0.14)
            parts.box((dice.between(-0.1, 0.1) * width, height + 0.0125, depth * 0.22), size)
    for _ in range(dice.below(6)):
        x, z = dice.between(-0.45, 0.45) * width, dice.between(-0.42, 0.42) * depth
        small_thing(parts, dice, x, height, z)


def small_thing(parts: Parts, dice: Dice, x: float, y: float, z: float) -> None:
    """A mug, a book, a bottle, a box, a pot, a lamp or a bowl standing at a point."""
    kind = dice.below(7)
    if kind == 0:
        parts.cylinder((x, y + 0.045, z), (0.08, 0.09, 0.08))
    elif kind == 1:
        h = dice.between(0.01, 0.08)
        size = (dice.between(0.14, 0.3), h, dice.between(0.1, 0.22))
        parts.box((x, y + h / 2, z), size, turned(yaw=dice.between(-1.5, 1.5)))
    elif kind == 2:
        h, r = dice.between(0.18, 0.33), dice.between(0.03, 0.045)
        parts.lathe((x, y, z), np.array([[r, 0.0], [r, 0.6 * h], [0.4 * r, 0.75 * h], [0.35 * r, h]]), sides=8)
    elif kind == 3:
        h = dice.between(0.08, 0.3)
        size = (dice.between(0.1, 0.35), h, dice.between(0.1, 0.3))
        parts.box((x, y + h / 2, z), size, turned(yaw=dice.between(-1.5, 1.5)))
    elif kind == 4:
        parts.cylinder((x, y + 0.06, z), (0.13, 0.12, 0.13), taper=0.3)
        parts.ball((x, y + 0.22, z), (dice.between(0.15, 0.3), 0.25, dice.between(0.15, 0.3)))
    elif kind == 5:
        h = dice.between(0.3, 0.5)
        parts.cylinder((x, y + 0.01, z), (0.16, 0.02, 0.16))
        parts.rod((x, y, z), (x, y + h, z), 0.01)
        parts.cylinder((x, y + h, z), (0.26, 0.16, 0.26), taper=-0.4)
    else:
        r = dice.between(0.08, 0.15)
        parts.lathe((x, y, z), np.array([[0.4 * r, 0.0], [r, 0.5 * r], [0.95 * r, 0.5 * r], [0.3 * r, 0.1 * r]]), 10)


def laptop(parts: Parts, dice: Dice, x: float, y: float, z: float, yaw: float) -> None:
    """An open laptop; its user would be at +z."""
    width, depth, tilt = dice.between(0.29, 0.37), dice.between(0.2, 0.25), dice.between(0.1, 0.6)
    axes = turned(yaw=yaw)
    parts.box((x, y + 0.009, z), (width, 0.018, depth), axes)
    lid = turned(yaw=yaw, pitch=-tilt)
    hinge = np.array([x, y + 0.018, z]) - axes[:, 2] * depth / 2
    parts.box(hinge + lid[:, 1] * depth / 2, (width, depth, 0.008), lid)


def monitor(parts: Parts, dice: Dice, x: float, y: float, z: float, yaw: float) -> None:
    """A screen on its foot, looking along +z."""
    width, axes = dice.between(0.45, 0.7), turned(yaw=yaw)
    height = width * dice.between(0.56, 0.65)
    lift, thick = dice.between(0.08, 0.18), dice.between(0.025, 0.07)
    parts.box((x, y + lift + height / 2, z), (width, height, thick), axes)
    parts.box((x, y + (lift + 0.1) / 2, z - 0.03), (0.05, lift + 0.1, 0.03), axes)
    parts.box((x, y + 0.008, z - 0.02), (0.22, 0.016, 0.18), axes)


def floor_thing(dice: Dice, kind: str) -> Solid:
    """Something that stands on the floor, of one of :data:`FLOOR_KINDS`."""
    parts = Parts()
    _FLOOR[kind](parts, dice)
    return parts.build()


def carried_thing(dice: Dice, kind: str) -> Solid:
    """Something for a hand at the origin (both hands: between them), y up; of :data:`CARRIED` (_IN_BOTH)."""
    parts = Parts()
    if kind == "phone":
        parts.block((0, 0.0, 0), (0.072, 0.15, 0.011))
    elif kind == "mug":
        parts.cylinder((0, 0, 0), (0.085, 0.1, 0.085))
    elif kind == "bottle":
        h, r = dice.between(0.2, 0.3), dice.between(0.03, 0.042)
        parts.lathe((0, -0.4 * h, 0), np.array([[r, 0], [r, 0.6 * h], [0.4 * r, 0.75 * h], [0.35 * r, h]]), sides=8)
    elif kind == "book":
        parts.box((0, 0.05, 0), (dice.between(0.13, 0.22), dice.between(0.18, 0.3), dice.between(0.01, 0.04)))
    elif kind == "bag":
        w, h, d = dice.between(0.22, 0.42), dice.between(0.22, 0.4), dice.between(0.08, 0.18)
        drop = dice.between(0.06, 0.18)
        parts.cushion((0, -drop - h / 2, 0), (d, h, w)) if dice.chance(0.5) else parts.box(
            (0, -drop - h / 2, 0), (d, h, w), taper=dice.between(-0.1, 0.15)
        )
        parts.tube(np.array([[0, -drop, -w / 4], [0, -0.01, -0.03], [0, -0.01, 0.03], [0, -drop, w / 4]]), 0.008, 5)
    elif kind == "umbrella":
        parts.rod((0, -dice.between(0.55, 0.8), 0.02), (0, 0.12, 0), 0.02, -0.3)
    elif kind == "broom":
        below = dice.between(0.7, 1.0)
        parts.rod((0, -below, 0), (0, dice.between(0.3, 0.6), 0), 0.013)
        parts.box((0, -below - 0.05, 0), (dice.between(0.25, 0.45), 0.12, 0.07))
    elif kind == "ball":
        r = dice.between(0.06, 0.24)
        parts.ball((0, -r / 2, 0), (r, r, r))
    elif kind == "box":
        parts.box((0, 0, 0), (dice.between(0.2, 0.5), dice.between(0.15, 0.4), dice.between(0.2, 0.4)))
    elif kind == "tray":
        parts.box((0, 0, 0), (dice.between(0.35, 0.5), 0.02, dice.between(0.25, 0.35)))
        for _ in range(1 + dice.below(3)):
            h = dice.between(0.08, 0.25)
            parts.cylinder((dice.between(-0.15, 0.15), 0.01 + h / 2, dice.between(-0.09, 0.09)), (0.08, h, 0.08))
    elif kind == "big_ball":
        r = dice.between(0.2, 0.4)
        parts.ball((0, 0, 0), (r, r, r))
    elif kind == "laptop":
        parts.box((0, 0, 0), (0.33, 0.02, 0.23))
        tilt = turned(pitch=-dice.between(0.0, 0.5))
        parts.box(np.array([0.0, 0.01, 0.115]) + tilt[:, 1] * 0.11, (0.33, 0.22, 0.008), tilt)
    else:
        raise ValueError(f"nobody carries {kind!r}; kinds: {', '.join(CARRIED + CARRIED_IN_BOTH)}")
    return parts.build()


def backpack(dice: Dice, width: float) -> Solid:
    """A backpack to be worn: its back, at z = 0, faces +z; the origin is the middle of that side."""
    parts = Parts()
    w, h, d = width * dice.between(0.75, 1.0), dice.between(0.36, 0.55), dice.between(0.12, 0.25)
    parts.cushion((0, 0, -d / 2), (w, h, d))
    if dice.chance(0.6):
        parts.cushion((0, -0.2 * h, -d - 0.02), (0.8 * w, 0.5 * h, 0.1))
    return parts.build()


def jacket(parts: Parts, dice: Dice, x: float, top: float, z: float, width: float) -> None:
    """A jacket over the top edge of a back rest of ``width`` whose middle is at the point."""
    drop, thick = dice.between(0.3, 0.6), dice.between(0.05, 0.1)
    bottom = max(top - drop, 0.03)
    y = np.linspace(bottom, top + 0.03, 6)
    spread = np.linspace(dice.between(0.85, 1.15), 0.9, 6) * width / 2
    deep = np.array([1.2, 1.2, 1.1, 1.0, 1.0, 0.6]) * thick
    rings = np.stack([np.full(6, x), y, np.full(6, z), spread, deep], axis=1)
    parts.draped(rings, folds=5, depth=0.12, phase=dice.between(0, 6))
    for side in (-1, 1):
        if dice.chance(0.6):
            a = (x + side * width * 0.48, top - 0.02, z)
            b = (x + side * width * dice.between(0.48, 0.6), max(top - dice.between(0.4, 0.6), 0.05), z - 0.02)
            parts.tube(np.array([a, b]), np.array([0.06, 0.05]), 7)


def _coat(parts: Parts, dice: Dice, x: float, top: float, z: float, yaw: float) -> None:
    """A coat on a hook: shoulders, hanging body, sleeves, sometimes a hood."""
    part = Parts()
    length, shoulder = dice.between(0.6, 1.2), dice.between(0.16, 0.24)
    length = min(length, top - 0.1)
    y = np.linspace(-length, -0.04, 6)
    wide = np.array([1.0, 0.95, 0.9, 0.95, 1.0, 0.35]) * shoulder * dice.between(0.8, 1.1)
    deep = np.array([0.13, 0.12, 0.11, 0.1, 0.09, 0.05]) * dice.between(0.7, 1.2)
    rings = np.stack([np.zeros(6), y, np.zeros(6), wide, deep], axis=1)
    part.draped(rings, folds=6, depth=0.15, phase=dice.between(0, 6))
    for side in (-1, 1):
        path = np.array([[side * shoulder * 0.85, -0.12, 0], [side * shoulder * 1.15, -0.4, 0.02],
                         [side * shoulder * 1.1, -dice.between(0.6, 0.75), 0.05]])  # fmt: skip
        part.tube(path, np.array([0.065, 0.06, 0.05]), 7)
    if dice.chance(0.5):
        part.ball((0, 0.0, 0.02), (0.2, 0.22, 0.2))
    parts.solid(part.build().moved(yaw, (x, top, z)))


def _coat_stand(parts: Parts, dice: Dice) -> None:
    height = dice.between(1.55, 1.9)
    parts.rod((0, 0, 0), (0, height, 0), 0.025)
    parts.cylinder((0, 0.02, 0), (0.4, 0.04, 0.4))
    turn = dice.between(0, 6.3)
    for k in range(4):
        a = turn + k * math.pi / 2
        parts.rod((0, height - 0.1, 0), (0.15 * math.cos(a), height - 0.02, 0.15 * math.sin(a)), 0.01)
    for k in range(dice.below(4)):
        a = turn + k * math.pi / 2
        _coat(parts, dice, 0.13 * math.cos(a), height - 0.05, 0.13 * math.sin(a), math.pi / 2 - a)
    if dice.chance(0.4):
        parts.ball((0, height + 0.02, 0), (0.28, 0.12, 0.28))  # a hat


def _mannequin(parts: Parts, dice: Dice) -> None:
    """A tailor's bust, or shapes stacked to the proportions of a person."""
    height, scale = dice.between(1.3, 1.8), dice.between(0.85, 1.1)
    if dice.chance(0.5):
        y = height - np.array([0.75, 0.62, 0.5, 0.38, 0.25, 0.12, 0.04, 0.0])
        wide = np.array([0.16, 0.18, 0.13, 0.15, 0.18, 0.2, 0.06, 0.05]) * scale
        deep = np.array([0.12, 0.13, 0.1, 0.12, 0.13, 0.1, 0.06, 0.05]) * scale
        parts.draped(np.stack([np.zeros(8), y, np.zeros(8), wide, deep], axis=1))
        parts.rod((0, 0, 0), (0, height - 0.7, 0), 0.02)
        parts.cylinder((0, 0.015, 0), (0.36, 0.03, 0.36))
    else:
        legs, trunk = height * dice.between(0.35, 0.5), height * dice.between(0.3, 0.4)
        solid = dice.pick((parts.box, parts.cylinder, parts.cushion))
        solid((0, legs / 2, 0), (0.3 * scale, legs, 0.28 * scale))
        solid((0, legs + trunk / 2, 0), (0.42 * scale, trunk, 0.26 * scale))
        parts.ball((0, height - 0.12, 0), (0.2, 0.26, 0.22))


def _covered(parts: Parts, dice: Dice) -> None:
    """Something under a cloth, or a full sack."""
    h, w, d = dice.between(0.35, 1.3), dice.between(0.2, 0.5), dice.between(0.2, 0.45)
    y = h * np.array([0.0, 0.15, 0.45, 0.75, 0.93, 1.0])
    size = np.array([1.1, 1.0, 0.95, dice.between(0.6, 0.95), dice.between(0.35, 0.8), 0.15])
    drift = np.cumsum([0.0] + [dice.between(-0.05, 0.05) for _ in range(5)])
    rings = np.stack([drift, y, np.zeros(6), w * size, d * size], axis=1)
    parts.draped(rings, folds=4 + dice.below(5), depth=dice.between(0.05, 0.2), phase=dice.between(0, 6), sides=18)


def _box(parts: Parts, dice: Dice) -> None:
    y = 0.0
    for _ in range(dice.weighted((0, 0.55, 0.3, 0.15))):
        w, h, d = dice.between(0.2, 0.7), dice.between(0.15, 0.55), dice.between(0.2, 0.6)
        parts.box((dice.between(-0.06, 0.06), y + h / 2, 0), (w, h, d), turned(yaw=dice.between(-0.4, 0.4)))
        y += h


def _bin(parts: Parts, dice: Dice) -> None:
    w, h = dice.between(0.22, 0.5), dice.between(0.28, 0.9)
    if dice.chance(0.6):
        parts.cylinder((0, h / 2, 0), (w, h, w), taper=dice.between(0.0, 0.35))
    else:
        parts.box((0, h / 2, 0), (w, h, w), taper=dice.between(0.0, 0.2))
        parts.block((0, h + 0.03, 0), (w * 1.15, 0.06, w * 1.15))


def _plant(parts: Parts, dice: Dice) -> None:
    pot, height = dice.between(0.2, 0.45), dice.between(0.5, 2.0)
    parts.cylinder((0, pot / 2, 0), (pot * 0.75, pot, pot * 0.75), taper=0.35)
    stem = np.array([0.0, pot, 0.0])
    tip = np.array([dice.between(-0.1, 0.1), height, dice.between(-0.1, 0.1)])
    parts.rod(stem, tip, dice.between(0.008, 0.03), -0.4)
    if dice.chance(0.4):
        for k in range(2 + dice.below(3)):
            size = dice.between(0.25, 0.6) * min(1.0, height)
            at = stem + (tip - stem) * (0.5 + 0.5 * k / 3)
            parts.ball(at + (dice.between(-0.1, 0.1), 0, dice.between(-0.1, 0.1)), (size, size * 0.8, size))
        return
    for _ in range(10 + dice.below(14)):
        at = stem + (tip - stem) * dice.between(0.3, 1.0)
        axes = turned(dice.between(-math.pi, math.pi), dice.between(-0.2, 1.0))
        long = dice.between(0.2, 0.5)
        parts.block(at + axes[:, 2] * long / 2, (long * dice.between(0.15, 0.5), 0.008, long), axes)


def _lamp(parts: Parts, dice: Dice) -> None:
    h = dice.between(1.2, 1.9)
    parts.cylinder((0, 0.015, 0), (0.28, 0.03, 0.28))
    parts.rod((0, 0, 0), (0, h, 0), 0.013)
    shade = dice.between(0.25, 0.5)
    parts.cylinder((0, h, 0), (shade, dice.between(0.18, 0.35), shade), taper=dice.between(-0.5, 0.0))


def _suitcase(parts: Parts, dice: Dice) -> None:
    w, h, d = dice.between(0.34, 0.5), dice.between(0.5, 0.75), dice.between(0.2, 0.32)
    parts.block((0, h / 2 + 0.03, 0), (w, h, d))
    if dice.chance(0.6):
        top = h + dice.between(0.15, 0.45)
        for side in (-1, 1):
            parts.rod((side * 0.1, h, -d / 2 + 0.03), (side * 0.1, top, -d / 2 + 0.03), 0.008)
        parts.rod((-0.11, top, -d / 2 + 0.03), (0.11, top, -d / 2 + 0.03), 0.013)


def _bag(parts: Parts, dice: Dice) -> None:
    w, h, d = dice.between(0.25, 0.6), dice.between(0.2, 0.5), dice.between(0.15, 0.3)
    parts.cushion((0, h / 2, 0), (w, h, d))
    handle = [[-w / 4, h * 0.9, 0], [-w / 6, h + 0.1, 0], [w / 6, h + 0.1, 0], [w / 4, h * 0.9, 0]]
    parts.tube(np.array(handle), 0.012, 5)


def _pole(parts: Parts, dice: Dice) -> None:
    d, h = dice.between(0.03, 0.3), dice.between(1.2, 2.6)
    parts.cylinder((0, h / 2, 0), (d, h, d))
    if dice.chance(0.4):
        parts.cylinder((0, 0.02, 0), (d + 0.25, 0.04, d + 0.25))
    if dice.chance(0.3):
        parts.box((0, h * 0.85, d / 2 + 0.02), (dice.between(0.3, 0.6), dice.between(0.2, 0.6), 0.02))


def _easel(parts: Parts, dice: Dice) -> None:
    """Three legs and a board or a lamp head: an easel, a tripod, a flip chart."""
    h = dice.between(1.1, 1.8)
    for a in (0.0, 2.1, 4.2):
        parts.rod((0.4 * math.sin(a), 0, 0.4 * math.cos(a)), (0, h, 0), 0.014)
    if dice.chance(0.6):
        parts.box((0, h * 0.75, 0.12), (dice.between(0.4, 0.8), dice.between(0.5, 1.0), 0.02), turned(pitch=-0.15))
    else:
        parts.box((0, h + 0.05, 0), (0.14, 0.1, 0.1))


def _fan(parts: Parts, dice: Dice) -> None:
    h = dice.between(0.9, 1.4)
    parts.cylinder((0, 0.02, 0), (0.4, 0.04, 0.4))
    parts.rod((0, 0, 0), (0, h, 0), 0.016)
    parts.cylinder((0, h, 0.08), (0.4, 0.12, 0.4), turned(pitch=math.pi / 2 - 0.2))


def _pram(parts: Parts, dice: Dice) -> None:
    for x in (-0.26, 0.26):
        for z in (-0.3, 0.35):
            parts.cylinder((x, 0.12, z), (0.24, 0.04, 0.24), turned(roll=math.pi / 2))
        parts.rod((x, 0.12, -0.3), (x * 0.9, 0.6, 0.2), 0.014)
        parts.rod((x, 0.12, 0.35), (x * 0.9, dice.between(0.95, 1.05), -0.5), 0.014)
    parts.rod((-0.24, 1.0, -0.5), (0.24, 1.0, -0.5), 0.018)
    parts.cushion((0, 0.58, 0.08), (0.42, 0.24, 0.75))
    parts.ball((0, 0.75, 0.25), (0.44, 0.5, 0.45))


def _cart(parts: Parts, dice: Dice) -> None:
    w, d, h = dice.between(0.4, 0.6), dice.between(0.6, 0.95), dice.between(0.75, 1.0)
    for x in (-1, 1):
        for z in (-1, 1):
            parts.rod((x * w / 2, 0.1, z * d / 2), (x * w / 2, h, z * d / 2), 0.014)
            parts.ball((x * w / 2, 0.05, z * d / 2), (0.05, 0.1, 0.1))
    for k in range(2 + dice.below(2)):
        y = 0.2 + (h - 0.22) * k / 2
        parts.box((0, y, 0), (w, 0.025, d))
        for _ in range(dice.below(4)):
            small_thing(parts, dice, dice.between(-0.3, 0.3) * w, y + 0.0125, dice.between(-0.35, 0.35) * d)
    parts.rod((-w / 2, h + 0.08, -d / 2 - 0.05), (w / 2, h + 0.08, -d / 2 - 0.05), 0.014)


def _ladder(parts: Parts, dice: Dice) -> None:
    h, w = dice.between(1.0, 2.0), dice.between(0.35, 0.5)
    for z in (-0.3, 0.3):
        for x in (-w / 2, w / 2):
            parts.rod((x * 1.1, 0, z * h * 0.9), (x, h, 0), 0.02, square=True)
    for k in range(1, round(h / 0.25)):
        t = k * 0.25 / h
        parts.box((0, h * t, 0.27 * h * (1 - t)), (w, 0.025, 0.07))


def _ball(parts: Parts, dice: Dice) -> None:
    d = dice.between(0.12, 0.7)
    parts.ball((0, d / 2, 0), (d, d, d))


def _roll(parts: Parts, dice: Dice) -> None:
    """A rolled carpet or a rolled mat, upright or lying."""
    d, long = dice.between(0.08, 0.25), dice.between(0.7, 1.9)
    if dice.chance(0.6):
        parts.cylinder((0, long / 2, 0), (d, long, d))
    else:
        parts.cylinder((0, d / 2, 0), (d, long, d), turned(roll=math.pi / 2))


FLOOR_KINDS: tuple[str, ...]
_FLOOR = {
    "box": _box, "bin": _bin, "plant": _plant, "lamp": _lamp, "suitcase": _suitcase, "bag": _bag, "easel": _easel,
    "fan": _fan, "pram": _pram, "cart": _cart, "ladder": _ladder, "ball": _ball,
    "coat_stand": _coat_stand, "mannequin": _mannequin, "covered": _covered, "pole": _pole, "roll": _roll,
}  # fmt: skip
FLOOR_KINDS = tuple(_FLOOR)
HUMANLIKE = ("coat_stand", "mannequin", "covered", "pole", "roll")  # what a detector might take for a person
