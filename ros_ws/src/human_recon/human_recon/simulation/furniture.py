"""Seats, tables, beds and storage, in the sizes furniture has.

Frames: y up from the floor, the front looks along +z. Seats have their origin on the floor below the line where back
rest and seat meet; everything else in the middle of its footprint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts, Solid, turned
from human_recon.simulation.props import clutter


@dataclass(frozen=True)
class SeatShape:
    """What of a seat has to fit its sitter; metres and radians."""

    height: float  # of the seat's surface above the floor
    width: float
    depth: float  # from the back rest to the front edge
    lean: float = 0.15  # of the back rest from the vertical, backwards
    back: float = 0.45  # length of the back rest above the seat; 0: none
    arms: float = 0.0  # height of the arm rests above the seat; 0: none
    arm_gap: float = 0.0  # inner distance between the arm rests; 0: the seat's width


CHAIR_KINDS = ("chair", "office_chair", "stool", "armchair", "sofa", "bench", "wheelchair")


def draw_seat_shape(dice: Dice, kind: str) -> SeatShape:
    """A seat for nobody in particular."""
    if kind in ("sofa", "armchair"):
        width = dice.between(1.2, 2.4) if kind == "sofa" else dice.between(0.5, 0.7)
        return SeatShape(
            dice.between(0.36, 0.47), width, dice.between(0.5, 0.65), dice.between(0.15, 0.35),
            dice.between(0.35, 0.6), dice.between(0.12, 0.25),
        )  # fmt: skip
    if kind == "bench":
        back = dice.between(0.3, 0.5) if dice.chance(0.5) else 0.0
        return SeatShape(dice.between(0.4, 0.5), dice.between(1.0, 2.0), dice.between(0.3, 0.45), 0.2, back)
    if kind == "stool":
        side = dice.between(0.28, 0.42)
        return SeatShape(dice.between(0.4, 0.8), side, side, 0.0, 0.0)
    arms = dice.between(0.18, 0.26) if kind == "wheelchair" or dice.chance(0.4) else 0.0
    return SeatShape(
        dice.between(0.4, 0.52), dice.between(0.4, 0.52), dice.between(0.38, 0.48), dice.between(0.05, 0.3),
        dice.between(0.35, 0.7), arms,
    )  # fmt: skip


def build_seat(dice: Dice, kind: str, shape: SeatShape, legs: bool = True) -> Solid:
    """A seat of one of :data:`CHAIR_KINDS`; without ``legs`` on a foot in the back, out of its sitter's way."""
    parts = Parts()
    if kind in ("sofa", "armchair"):
        _sofa(parts, dice, shape)
    elif kind == "office_chair":
        _office_chair(parts, dice, shape)
    elif kind == "wheelchair":
        _wheelchair(parts, dice, shape)
    else:
        _chair(parts, dice, shape, legs)
    return parts.build()


def _back(parts: Parts, dice: Dice, shape: SeatShape, thick: float, soft: bool) -> None:
    """A back rest whose front begins at the origin's height over the seat and leans backwards."""
    axes = turned(pitch=-shape.lean)
    up, ahead = axes[:, 1], axes[:, 2]
    low = dice.between(0.0, 0.35) if shape.back > 0.4 and not soft else 0.0
    style = dice.below(4)
    width = min(shape.width, 0.55) * dice.between(0.85, 1.0) if shape.width < 0.9 else shape.width
    middle = np.array([0.0, shape.height, 0.0]) - ahead * thick / 2
    if soft:
        parts.cushion(middle + up * shape.back / 2, (width, shape.back, thick), axes)
        return
    if style <= 1 or shape.width >= 0.9:  # a board, whole or its upper part
        length = shape.back * (1.0 - low)
        board = parts.block if style else parts.box
        board(middle + up * (shape.back - length / 2), (width, length, thick), axes)
    elif style == 2:  # rungs
        for k in range(dice.below(3) + 2):
            parts.box(middle + up * shape.back * (0.3 + 0.65 * k / 3), (width, 0.05, thick), axes)
    else:  # bars
        parts.box(middle + up * (shape.back - 0.03), (width, 0.06, thick), axes)
        for k in range(5):
            at = middle + axes[:, 0] * width * (k / 4 - 0.5) * 0.9 + up * shape.back / 2
            parts.box(at, (0.02, shape.back, 0.02), axes)
    if style >= 2 or low > 0.1 or shape.width >= 0.9:  # posts
        for side in (-1, 1):
            at = middle + axes[:, 0] * side * (width / 2 - 0.015) + up * shape.back / 2
            parts.box(at, (0.03, shape.back, thick), axes)


def _chair(parts: Parts, dice: Dice, shape: SeatShape, legs: bool) -> None:
    thick = dice.between(0.02, 0.07)
    round_seat = shape.back == 0.0 and shape.width < 0.6 and dice.chance(0.6)
    solid = parts.cylinder if round_seat else parts.block if dice.chance(0.6) else parts.box
    solid((0.0, shape.height - thick / 2, shape.depth / 2), (shape.width, thick, shape.depth))
    if shape.back > 0.0:
        _back(parts, dice, shape, dice.between(0.02, 0.06), soft=False)
    bottom = shape.height - thick
    if legs:
        _legs(parts, dice, shape, bottom)
    else:
        deep = min(0.5 * shape.depth, 0.2)
        parts.box((0, bottom / 2, 0.05 + deep / 2), (0.5 * shape.width, bottom, deep))
    if shape.arms > 0.0:
        _arms(parts, dice, shape, dice.between(0.03, 0.06), bottom)


def _legs(parts: Parts, dice: Dice, shape: SeatShape, bottom: float) -> None:
    w, spread = shape.width / 2 - 0.03, dice.between(0.0, 0.06)
    style = dice.weighted((0.5, 0.15, 0.15, 0.2))
    radius = dice.between(0.011, 0.022)
    if style == 1 and shape.width < 0.8:  # a pedestal
        parts.cylinder((0, bottom / 2, shape.depth / 2), (0.06, bottom, 0.06))
        parts.cylinder((0, 0.015, shape.depth / 2), (0.42, 0.03, 0.42))
    elif style == 2:  # skids
        for side in (-1, 1):
            parts.rod((side * w, 0.012, 0.02), (side * w, 0.012, shape.depth), 0.012)
            parts.rod((side * w, 0.012, shape.depth - 0.02), (side * w, bottom, shape.depth - 0.04), 0.012)
            parts.rod((side * w, 0.012, 0.03), (side * w, bottom, 0.05), 0.012)
    elif style == 3 and shape.width > 0.8:  # panels
        for side in (-1, 1):
            parts.box((side * w, bottom / 2, shape.depth / 2), (0.05, bottom, shape.depth * 0.9))
    else:
        for side in (-1, 1):
            for z, out in ((0.03, -1), (shape.depth - 0.03, 1)):
                foot = (side * (w + spread), 0.0, z + out * spread)
                parts.rod(foot, (side * w, bottom, z), radius, square=style == 3)
        if dice.chance(0.4):
            y = bottom * dice.between(0.25, 0.5)
            for side in (-1, 1):
                parts.rod((side * w, y, 0.03), (side * w, y, shape.depth - 0.03), 0.01)


def _arms(parts: Parts, dice: Dice, shape: SeatShape, thick: float, bottom: float) -> None:
    top = shape.height + shape.arms
    inner = shape.arm_gap if shape.arm_gap > 0.0 else shape.width
    width, length = dice.between(0.03, 0.07), shape.depth * dice.between(0.55, 0.85)
    for side in (-1, 1):
        x = side * (inner / 2 + width / 2)
        parts.block((x, top - thick / 2, length / 2), (width, thick, length))
        parts.box((x, (top + bottom) / 2, length * 0.8), (0.025, top - thick - bottom, 0.03))
        if dice.chance(0.6):
            parts.box((x, (top + bottom) / 2, 0.03), (0.025, top - thick - bottom, 0.03))
        parts.box((side * (inner / 2 + width) / 2, bottom + 0.01, length * 0.5), (inner / 2 + width, 0.02, 0.04))


def _office_chair(parts: Parts, dice: Dice, shape: SeatShape) -> None:
    thick = dice.between(0.05, 0.1)
    parts.cushion((0, shape.height - thick / 2, shape.depth / 2), (shape.width, thick, shape.depth))
    _back(parts, dice, shape, dice.between(0.05, 0.1), soft=True)
    middle, bottom = shape.depth / 2, shape.height - thick
    parts.rod((0, 0.1, middle), (0, bottom, middle), 0.028)
    parts.box((0, bottom - 0.02, middle - 0.05), (0.08, 0.03, shape.depth * 0.8))
    axes = turned(pitch=-shape.lean)
    post = np.array([0.0, shape.height, 0.0]) - axes[:, 2] * 0.06
    parts.rod((0, bottom - 0.02, 0.02), post + axes[:, 1] * 0.3, 0.02)
    turn, reach = dice.between(0, 2 * math.pi), dice.between(0.26, 0.34)
    for k in range(5):
        a = turn + 2 * math.pi * k / 5
        x, z = reach * math.cos(a), middle + reach * math.sin(a)
        parts.rod((0, 0.11, middle), (x, 0.07, z), 0.02, -0.4, square=True)
        parts.ball((x, 0.03, z), (0.06, 0.06, 0.05))
    if shape.arms > 0.0:
        _arms(parts, dice, shape, 0.03, bottom)


def _sofa(parts: Parts, dice: Dice, shape: SeatShape) -> None:
    arm, thick = dice.between(0.1, 0.22), dice.between(0.15, 0.25)
    seat, bottom = min(dice.between(0.12, 0.2), 0.5 * shape.height), dice.between(0.02, 0.08)
    places = max(1, round(shape.width / 0.65))
    each = shape.width / places
    axes = turned(pitch=-shape.lean)
    up, ahead = axes[:, 1], axes[:, 2]
    soft = parts.cushion if dice.chance(0.7) else parts.block
    for k in range(places):
        x = (k + 0.5) * each - shape.width / 2
        soft((x, shape.height - seat / 2, shape.depth / 2), (each * 0.99, seat, shape.depth))
        middle = np.array([x, shape.height, 0.0]) + up * shape.back / 2 - ahead * thick / 2
        soft(middle, (each, shape.back, thick), axes)
    deep = shape.depth + thick
    parts.block(
        (0, (shape.height - seat + bottom) / 2, shape.depth / 2 - thick / 2),
        (shape.width, shape.height - seat - bottom, deep),
    )
    behind = 0.5 * thick + 0.6 * shape.back * math.sin(shape.lean)  # an upright case for cushions that lean on it
    tall = shape.height + 0.7 * shape.back * math.cos(shape.lean) - bottom
    parts.block((0, bottom + tall / 2, -thick * 0.8 - behind / 2), (shape.width, tall, behind))
    if shape.arms > 0.0:
        top = shape.height + shape.arms
        for side in (-1, 1):
            x = side * ((shape.arm_gap or shape.width) / 2 + arm / 2)
            soft((x, (top + bottom) / 2, shape.depth / 2 - thick / 2), (arm, top - bottom, deep))
    for x in (-0.45, 0.45):
        for z in (-thick, shape.depth - 0.05):
            parts.box((x * shape.width, bottom / 2, z), (0.05, bottom, 0.05))


def _wheelchair(parts: Parts, dice: Dice, shape: SeatShape) -> None:
    parts.box((0, shape.height - 0.02, shape.depth / 2), (shape.width, 0.04, shape.depth))
    _back(parts, dice, SeatShape(shape.height, shape.width, shape.depth, shape.lean, max(shape.back, 0.3)), 0.03, True)
    outer = max(shape.arm_gap, shape.width) / 2
    for side in (-1, 1):
        x = side * (outer + 0.04)
        radius = dice.between(0.28, 0.31)
        turn = np.linspace(0, 2 * np.pi, 17)
        rim = np.stack([np.full(17, x + side * 0.02), radius + radius * np.sin(turn), 0.08 + radius * np.cos(turn)], -1)
        parts.tube(rim, 0.018, sides=5)
        for k in range(0, 16, 2):
            parts.rod((x + side * 0.02, radius, 0.08), rim[k], 0.004)
        parts.rod((x, 0.08, shape.depth + 0.05), (x - side * 0.02, shape.height, shape.depth), 0.012)
        parts.cylinder((x, 0.07, shape.depth + 0.05), (0.14, 0.03, 0.14), turned(roll=math.pi / 2))
        parts.rod((x, shape.height - 0.02, 0.0), (x, shape.height + 0.45, -0.1), 0.012)
        parts.rod((x, shape.height + 0.45, -0.1), (x, shape.height + 0.45, -0.22), 0.014)
        parts.box((x, shape.height + shape.arms - 0.02, shape.depth * 0.45), (0.05, 0.03, shape.depth * 0.7))
        front = shape.depth * 0.75
        parts.rod((x, shape.height - 0.02, front), (x, shape.height + shape.arms, front), 0.01)


def build_table(
    dice: Dice, width: float, depth: float, height: float, style: int | None = None, closed: bool = False,
    thickest: float = 0.05, apron: bool = True,
) -> Solid:  # fmt: skip
    """A table top on legs (0), a pedestal (1) or panels (2), its middle over the origin.

    ``closed`` gives it a front panel; without ``apron`` nothing but legs is below the top, of ``thickest`` metres.
    """
    parts = Parts()
    thick = min(dice.between(0.018, 0.05), max(thickest, 0.01))
    style = dice.weighted((0.5, 0.2, 0.3)) if style is None else style
    top = parts.cylinder if style == 1 and dice.chance(0.5) else parts.box if dice.chance(0.5) else parts.block
    top((0, height - thick / 2, 0), (width, thick, depth))
    bottom = height - thick
    if style == 0:
        leg = dice.between(0.03, 0.08)
        for x in (-1, 1):
            for z in (-1, 1):
                parts.box((x * (width / 2 - leg), bottom / 2, z * (depth / 2 - leg)), (leg, bottom, leg))
        if apron and dice.chance(0.5):
            parts.box((0, bottom - 0.04, depth / 2 - leg), (width - 2 * leg, 0.08, 0.02))
            parts.box((0, bottom - 0.04, leg - depth / 2), (width - 2 * leg, 0.08, 0.02))
    elif style == 1:
        parts.cylinder((0, bottom / 2, 0), (0.08, bottom, 0.08))
        foot = 0.6 * min(width, depth)
        parts.cylinder((0, 0.015, 0), (foot, 0.03, foot))
    else:
        for x in (-1, 1):
            parts.box((x * (width / 2 - 0.04), bottom / 2, 0), (0.03, bottom, depth * 0.9))
    if closed:
        parts.box((0, bottom * 0.6, -depth / 2 + 0.05), (width * 0.95, bottom * 0.7, 0.02))
    return parts.build()


def build_desk(dice: Dice) -> Solid:
    """An office desk with what lies on it; its user would be at +z."""
    width, depth, height = dice.between(1.1, 1.8), dice.between(0.6, 0.85), dice.between(0.68, 0.78)
    parts = Parts()
    parts.solid(build_table(dice, width, depth, height, style=dice.pick((0, 2)), closed=dice.chance(0.6)))
    if dice.chance(0.6):
        x = dice.sign() * (width / 2 - 0.25)
        parts.box((x, height * 0.42, 0.0), (0.4, height * 0.8, depth * 0.85))
        for k in range(3):
            parts.box((x, height * (0.15 + 0.25 * k), depth * 0.43), (0.12, 0.02, 0.03))
    clutter(parts, dice, width, depth, height, office=True)
    return parts.build()


def build_counter(dice: Dice, width: float, depth: float, height: float) -> Solid:
    """A kitchen or shop counter: a closed body with a top that stands out a little."""
    parts = Parts()
    top = 0.04
    parts.box((0, 0.05, -0.02), (width - 0.04, 0.1, depth - 0.08))
    parts.box((0, (height - top + 0.1) / 2, 0), (width, height - top - 0.1, depth))
    parts.box((0, height - top / 2, 0.01), (width + 0.03, top, depth + 0.03))
    doors = max(1, round(width / 0.5))
    for k in range(doors):
        x = (k + 0.5) * width / doors - width / 2
        parts.box((x, height * 0.52, depth / 2 + 0.008), (width / doors - 0.02, height * 0.75, 0.016))
    return parts.build()


def build_bed(dice: Dice, width: float, length: float, height: float, bedding: bool = True) -> Solid:
    """A bed along z with the head at -z; the mattress's surface is at ``height``."""
    parts = Parts()
    mattress = min(dice.between(0.12, 0.25), height * 0.6)
    parts.cushion((0, height - mattress / 2, 0), (width, mattress, length))
    frame = height - mattress
    parts.box((0, frame * 0.75, 0), (width + 0.06, frame * 0.5, length + 0.06))
    for x in (-0.45, 0.45):
        for z in (-0.45, 0.45):
            parts.box((x * width, frame / 2, z * length), (0.07, frame, 0.07))
    parts.box((0, height * 0.5 + 0.15, -length / 2 - 0.05), (width + 0.06, height + 0.3, 0.05))
    if bedding:
        for x in (-0.25, 0.25) if width > 1.3 else (0.0,):
            size = (0.6, 0.14, 0.4)
            parts.cushion((x * width, height + 0.05, -length / 2 + 0.25), size, turned(yaw=dice.between(-0.3, 0.3)))
        parts.cushion((0, height + 0.03, length * 0.12), (width * 1.02, dice.between(0.06, 0.18), length * 0.72))
    return parts.build()


def build_shelf(dice: Dice) -> Solid:
    """Open shelves with books, boxes and pots."""
    width, depth, height = dice.between(0.5, 1.4), dice.between(0.25, 0.42), dice.between(0.8, 2.2)
    parts, board = Parts(), 0.022
    for side in (-1, 1):
        parts.box((side * (width - board) / 2, height / 2, 0), (board, height, depth))
    if dice.chance(0.7):
        parts.box((0, height / 2, -depth / 2 + 0.005), (width, height, 0.01))
    count = max(2, round(height / dice.between(0.3, 0.45)))
    for k in range(count + 1):
        y = 0.05 + (height - 0.07) * k / count
        parts.box((0, y, 0), (width - 2 * board, board, depth))
        if k == count and dice.chance(0.5):
            break
        room = (height - 0.07) / count - 0.04
        x = -width / 2 + 0.05
        while x < width / 2 - 0.08:
            if dice.chance(0.25):
                x += dice.between(0.05, 0.3)
                continue
            w, h = dice.between(0.02, 0.25), room * dice.between(0.4, 0.95)
            w = min(w, width / 2 - 0.04 - x)
            d = depth * dice.between(0.5, 0.9)
            parts.box((x + w / 2, y + board / 2 + h / 2, -depth / 2 + 0.02 + d / 2), (w, h, d))
            x += w + 0.01
    return parts.build()


def build_cupboard(dice: Dice) -> Solid:
    """A wardrobe, a cabinet, a fridge or a sideboard, sometimes with an open door or boxes on top."""
    tall = dice.chance(0.6)
    width, depth = dice.between(0.5, 1.8), dice.between(0.35, 0.65)
    height = dice.between(1.4, 2.3) if tall else dice.between(0.6, 1.2)
    parts = Parts()
    parts.box((0, height / 2, 0), (width, height, depth))
    doors = max(1, round(width / 0.5))
    each = width / doors
    ajar = dice.below(doors) if dice.chance(0.2) else -1
    for k in range(doors):
        x = (k + 0.5) * each - width / 2
        if k == ajar:
            angle = dice.between(0.6, 1.6)
            axes = turned(yaw=-angle)
            hinge = np.array([x - each / 2, height / 2, depth / 2])
            parts.box(hinge + axes[:, 0] * each / 2, (each - 0.01, height - 0.06, 0.02), axes)
        else:
            parts.box((x, height / 2, depth / 2 + 0.009), (each - 0.012, height - 0.06, 0.018))
            parts.box((x + 0.4 * each, height * 0.5, depth / 2 + 0.03), (0.015, 0.12, 0.03))
    if dice.chance(0.35):
        for _ in range(1 + dice.below(3)):
            w, h, d = dice.between(0.2, 0.45), dice.between(0.12, 0.35), dice.between(0.2, 0.35)
            at = (dice.between(-0.35, 0.35) * width, height + h / 2, 0)
            parts.box(at, (w, h, d), turned(yaw=dice.between(-0.3, 0.3)))
    elif not tall:
        clutter(parts, dice, width, depth, height, office=False)
    return parts.build()
