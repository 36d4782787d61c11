"""What furnishes rooms: a stock of rooms and furniture, meshed once, of which scenes take turned and stretched copies.

Training and test have stocks of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.simulation.assets import Split
from human_recon.simulation.dice import Dice
from human_recon.simulation.furniture import (
    build_bed,
    build_counter,
    build_cupboard,
    build_desk,
    build_seat,
    build_shelf,
    build_table,
    draw_seat_shape,
)
from human_recon.simulation.meshing import Parts, Solid, turned
from human_recon.simulation.props import FLOOR_KINDS, HUMANLIKE, clutter, floor_thing, jacket
from human_recon.simulation.randomness import generator
from human_recon.simulation.rooms import Room, draw_room

ROOM_COUNT = 160
OF_EACH = 24  # variants of each kind of furniture

_AT_WALL = ("desk", "counter", "bed", "shelf", "cupboard", "sofa", "bench")
_FREE = ("table", "desk", "coffee_table", "chair", "office_chair", "stool", "armchair", "sofa", "wheelchair")
_CLUTTER = tuple(kind for kind in FLOOR_KINDS if kind not in HUMANLIKE)


@dataclass(frozen=True, eq=False)
class Item:
    """A piece of furniture: its footprint's middle at the origin, its front towards +z."""

    kind: str
    solid: Solid
    half: tuple[float, float]  # half width (x) and half depth (z) of the footprint, metres


class Catalogue:
    """The stock of one split."""

    def __init__(self, split: Split) -> None:
        first = 0 if split == "train" else 1
        dice = Dice(generator(first, 0, "rooms"))
        self.rooms: tuple[Room, ...] = tuple(draw_room(dice) for _ in range(ROOM_COUNT))
        dice = Dice(generator(first, 0, "furniture"))
        kinds = sorted({*_AT_WALL, *_FREE, *_CLUTTER, *HUMANLIKE, "jacket_on_chair"})
        self._items = {kind: tuple(_item(kind, _build(dice, kind)) for _ in range(OF_EACH)) for kind in kinds}

    def at_wall(self, dice: Dice) -> Item:
        """Something whose back stands at a wall."""
        return dice.pick(self._items[dice.pick(_AT_WALL)])

    def free(self, dice: Dice) -> Item:
        """Furniture that stands in the room."""
        return dice.pick(self._items[dice.pick(_FREE)])

    def clutter(self, dice: Dice) -> Item:
        """A thing on the floor."""
        return dice.pick(self._items[dice.pick(_CLUTTER)])

    def humanlike(self, dice: Dice) -> Item:
        """Something that a detector might take for a person."""
        kind = ("jacket_on_chair", "office_chair", "plant", *HUMANLIKE)[dice.below(3 + len(HUMANLIKE))]
        return dice.pick(self._items[kind])

    def of_kind(self, dice: Dice, kind: str) -> Item:
        """One of a kind."""
        return dice.pick(self._items[kind])


def _item(kind: str, solid: Solid) -> Item:
    low, high = solid.vertices.min(0), solid.vertices.max(0)
    middle = (low + high) / 2
    if low[1] < 0.0:  # the lowest edge of a tilted leg
        middle[1] = low[1]
    else:
        middle[1] = 0.0
    half = (high - low) / 2
    return Item(kind, solid.moved(0.0, -middle), (float(half[0]), float(half[2])))


def _build(dice: Dice, kind: str) -> Solid:
    if kind in FLOOR_KINDS:
        return floor_thing(dice, kind)
    if kind == "desk":
        # Desks are built for a user at +z; at a wall that is the room.
        return build_desk(dice)
    if kind == "counter":
        parts = Parts()
        width, depth, height = dice.between(0.8, 2.4), dice.between(0.4, 0.7), dice.between(0.85, 1.1)
        parts.solid(build_counter(dice, width, depth, height))
        clutter(parts, dice, width, depth, height, office=False)
        return parts.build()
    if kind == "bed":
        return build_bed(dice, dice.between(0.8, 1.8), dice.between(1.9, 2.1), dice.between(0.35, 0.65))
    if kind == "shelf":
        return build_shelf(dice)
    if kind == "cupboard":
        return build_cupboard(dice)
    if kind in ("table", "coffee_table"):
        parts = Parts()
        low = kind == "coffee_table"
        width = dice.between(0.5, 1.1) if low else dice.between(0.6, 2.2)
        depth = dice.between(0.4, 0.8) if low else dice.between(0.6, 1.0)
        height = dice.between(0.32, 0.5) if low else dice.between(0.68, 0.78)
        parts.solid(build_table(dice, width, depth, height))
        clutter(parts, dice, width * 0.9, depth * 0.9, height, office=False)
        return parts.build()
    if kind == "jacket_on_chair":
        parts = Parts()
        seat = "chair" if dice.chance(0.5) else "office_chair"
        shape = draw_seat_shape(dice, seat)
        parts.solid(build_seat(dice, seat, shape))
        top = turned(pitch=-shape.lean)[:, 1] * shape.back
        jacket(parts, dice, 0.0, shape.height + float(top[1]), float(top[2]) * 0.7 - 0.03, shape.width)
        return parts.build()
    solid = build_seat(dice, kind, draw_seat_shape(dice, kind))
    if dice.chance(0.15) and kind == "sofa":
        parts = Parts()
        parts.solid(solid)
        size = np.array([0.4, 0.35, 0.15])
        parts.cushion((dice.between(-0.4, 0.4), 0.62, 0.12), size, turned(pitch=-0.5))
        return parts.build()
    return solid
