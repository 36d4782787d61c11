"""Rooms: floor, walls with doorways and windows, ceiling, niches and columns; or no room at all."""

from __future__ import annotations

from dataclasses import dataclass

from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts, Solid

_THICK = 0.12  # metres, walls


@dataclass(frozen=True, eq=False)
class Room:
    """A rectangle of floor centred at the origin, what stands around it, and which sides are walls."""

    width: float  # metres along x
    depth: float  # metres along z
    walls: tuple[bool, bool, bool, bool]  # at -x, +x, -z, +z
    solids: tuple[tuple[str, Solid], ...]  # kind and mesh


def draw_room(dice: Dice, walled: bool = True) -> Room:
    """A room of random size."""
    width, depth, height = dice.between(3.0, 9.0), dice.between(3.0, 9.0), dice.between(2.3, 3.4)
    floor = Parts()
    floor.box((0.0, -0.05, 0.0), (width + 6.0, 0.1, depth + 6.0))
    solids = [("floor", floor.build())]
    walls = tuple(walled and dice.chance(0.75) for _ in range(4))
    if any(walls):
        wall = Parts()
        for k, (x, z, w, d) in enumerate(
            ((-width / 2, 0, _THICK, depth), (width / 2, 0, _THICK, depth), (0, -depth / 2, width, _THICK),
             (0, depth / 2, width, _THICK))
        ):  # fmt: skip
            if walls[k]:
                shift = _THICK / 2 if k % 2 else -_THICK / 2
                wall.box((x + shift * (w == _THICK), height / 2, z + shift * (d == _THICK)), (w, height, d))
        solids.append(("wall", wall.build()))
    return Room(width, depth, walls, tuple(solids))
