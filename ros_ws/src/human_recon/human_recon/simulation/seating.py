"""Furniture that fits its user: the seat under the thighs, the back rest at the back, the table under the forearms.

Everything here is in the user's own frame: facing +z, feet on y = 0, as people come from
:class:`human_recon.simulation.people_source.PeopleSource`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np

from human_recon.simulation.dice import Dice
from human_recon.simulation.furniture import (
    SeatShape,
    build_bed,
    build_counter,
    build_cupboard,
    build_seat,
    build_table,
)
from human_recon.simulation.meshing import Parts, Solid
from human_recon.simulation.outfit import Material
from human_recon.simulation.people_source import UnplacedPerson
from human_recon.simulation.placement import deepest
from human_recon.simulation.props import laptop, monitor, small_thing

HARD = 0.012  # metres a body may reach into hard furniture
SOFT = 0.02  # metres into cushions
COARSE = 0.015  # metres by which balls may stick out of bent hips
_SOFT_KINDS = ("sofa", "armchair", "bed", "office_chair")
_TRIES = 5

Fixture = list[tuple[str, Solid]]  # kind and mesh of what was put around somebody


@dataclass(frozen=True)
class Sitting:
    """Where a sitter needs what; metres, the sitter's frame."""

    seat: float  # height of the underside of the buttocks and thighs
    front: float  # z up to which a seat may reach
    middle: float  # x of the hips
    hips: float  # width of the hips
    shoulders: float  # height of the shoulders above the seat
    lean: float  # of the back, radians backwards
    back: float  # z where the leaning back line meets the seat's height


@dataclass(frozen=True, eq=False)
class Spare:
    """Where others may sit beside a sitter, in the sitter's frame; metres."""

    places: tuple[float, ...]  # x of free places
    height: float  # of the seat
    back: float  # z where the back rest meets it


def sitting_of(person: UnplacedPerson, part: np.ndarray) -> Sitting:
    """Measure a sitter whose balls belong to the parts ``part`` [K]; the back is that of the clothes."""
    joints = person.joints
    lean = math.atan2(float(joints[0, 2] - joints[9, 2]), float(joints[9, 1] - joints[0, 1]))
    lean = min(max(lean, 0.03), 0.75)
    seat, front, left, right, back = _sitting(
        person.balls, part, person.surface, person.outfit.part, person.outfit.material, lean
    )
    shoulders = float(max(joints[16, 1], joints[17, 1])) - seat
    return Sitting(seat, front, (left + right) / 2, right - left, shoulders, lean, back)


def seat_for(dice: Dice, person: UnplacedPerson, part: np.ndarray) -> tuple[Fixture, Spare | None] | None:
    """A seat that the person sits on, and where others have room on it; None when none fits."""
    fit = sitting_of(person, part)
    if person.sat_on is None or fit.seat < 0.12 or fit.front - fit.back < 0.15:
        return None
    # Where the seat carries, the balls are too coarse: there the skin itself must not be cut, nor what is well inside.
    body = np.zeros((len(person.balls) + len(person.sat_on), 4))
    body[: len(person.balls)] = person.balls
    body[: len(person.balls), 3] -= np.where(part > 2, 0.0, COARSE)
    body[len(person.balls) :, :3] = person.sat_on
    best: tuple[float, Fixture, Spare | None] | None = None
    for attempt in range(_TRIES):
        kind = _seat_kind(dice, fit, attempt)
        soft = kind in _SOFT_KINDS
        shape = _seat_shape(dice, person, part, fit, kind, attempt)
        height = _underside(
            person.sat_on, fit.middle, shape.width / 2, fit.back, fit.back + shape.depth, kind != "stool"
        )
        if math.isfinite(height):
            shape = replace(shape, height=height)
        sink = dice.between(0.003, 0.015) if soft else dice.between(0.0, 0.008)
        gap = 0.0 if dice.chance(0.6) or kind in ("sofa", "armchair") else dice.between(0.0, 0.12)
        raised = replace(shape, height=shape.height + sink)
        solid = build_seat(dice, kind, raised, legs=attempt < 2 or dice.chance(0.5))
        aside = dice.between(-0.5, 0.5) * max(shape.width - fit.hips - 0.15, 0.0) if kind in ("sofa", "bench") else 0.0
        # A cushion is pressed in where the back is: at most by the same few millimetres as the seat.
        solid = solid.moved(0.0, (fit.middle + aside, 0.0, fit.back + (0.008 if soft else 0.0) - gap))
        depth = deepest(body, solid.boxes)
        if best is None or depth < best[0]:
            spare = None
            if kind in ("sofa", "bench"):
                low, high = fit.middle + aside - shape.width / 2, fit.middle + aside + shape.width / 2
                spots = [x for x in (low + 0.25, high - 0.25) if abs(x - fit.middle) > 0.4]
                spare = Spare(tuple(spots), raised.height, fit.back + (0.008 if soft else 0.0) - gap)
            best = (depth, [(kind, solid)], spare)
        if depth < (SOFT if soft else HARD):
            return best[1:]
    assert best is not None
    return best[1:] if best[0] < 0.02 else None


def _seat_kind(dice: Dice, fit: Sitting, attempt: int) -> str:
    if attempt >= 3:
        return "stool"
    if fit.seat > 0.58:
        return "stool"
    if fit.seat < 0.36 or fit.lean > 0.4:
        return dice.pick(("sofa", "armchair"))
    weights = (0.3, 0.28, 0.07, 0.08, 0.12, 0.08, 0.07)
    return ("chair", "office_chair", "stool", "armchair", "sofa", "bench", "wheelchair")[dice.weighted(weights)]


def _seat_shape(
    dice: Dice, person: UnplacedPerson, part: np.ndarray, fit: Sitting, kind: str, attempt: int
) -> SeatShape:
    width = max(fit.hips + dice.between(-0.04, 0.06), 0.38)
    if kind == "sofa":
        width = fit.hips + dice.between(0.5, 1.6)
    elif kind == "bench":
        width = fit.hips + dice.between(0.2, 1.2)
    elif kind == "armchair":
        width = fit.hips + dice.between(0.04, 0.2)
    elif kind == "stool":
        width = dice.between(0.28, 0.42)
    reach = fit.front - fit.back
    depth = min(dice.between(0.36, 0.6), reach) if kind != "stool" else min(width, reach)
    back, lean = dice.between(0.3, max(fit.shoulders + 0.1, 0.35)), fit.lean
    if dice.chance(0.12):
        back = fit.shoulders + dice.between(0.15, 0.35)  # up to the head
    if kind == "stool" or (kind == "bench" and dice.chance(0.5)):
        back = 0.0
    arms = arm_gap = 0.0
    if kind in ("sofa", "armchair", "wheelchair") or (kind in ("chair", "office_chair") and dice.chance(0.45)):
        under, inner = _forearms(person.balls, part, fit.seat, fit.front + 0.15, fit.middle)
        arms = min(under - 0.004, dice.between(0.18, 0.27)) if under > 0.1 else 0.0
        if kind in ("sofa", "armchair"):
            arms = arms if arms > 0.0 else dice.between(0.1, 0.2)
            arm_gap = max(width, 2 * inner + 0.02) if arms > under else width
            width = max(width, arm_gap)
        else:
            arm_gap = max(width, fit.hips + 0.02)
        if attempt >= 1 and kind not in ("sofa", "armchair"):
            arms = 0.0
        elif attempt >= 1:
            width += 0.3
            arm_gap = width
    return SeatShape(fit.seat, width, depth, lean, back, arms, arm_gap)


def table_for(dice: Dice, person: UnplacedPerson, part: np.ndarray) -> Fixture | None:
    """A table or desk with things on it right before a sitter; None when their limbs leave no room for one."""
    for _ in range(3):
        edge, top, reach, below = _table(person.balls, part, dice.between(0.0, 0.1), dice.between(0.64, 0.8))
        if top < 0.45 or top > 1.15:
            continue
        width, depth = dice.between(0.7, 2.0), max(dice.between(0.45, 0.9), reach - edge + 0.05)
        aside = dice.between(-0.5, 0.5) * max(width - 0.9, 0.0)
        table = build_table(
            dice, width, depth, top, dice.pick((0, 0, 2)), dice.chance(0.3), thickest=min(top - below, 0.06) - 0.01,
            apron=top - below > 0.16,
        )  # fmt: skip
        table = table.moved(math.pi, (aside, 0.0, edge + depth / 2))
        if deepest(person.balls, table.boxes) > HARD:
            continue
        fixture: Fixture = [("table", table)]
        things = Parts()
        kind = dice.weighted((0.45, 0.2, 0.35))
        if kind == 0:
            laptop(things, dice, 0.0, 0.0, 0.0, math.pi + dice.between(-0.2, 0.2))
        elif kind == 1:
            monitor(things, dice, dice.between(-0.2, 0.2), 0.0, 0.0, math.pi + dice.between(-0.2, 0.2))
        thing = things.build()
        if len(thing.faces):
            for far in (0.14, 0.2, 0.3, 0.42, 0.55):
                z = edge + far
                placed = thing.moved(0.0, (0.0, top, z))
                if z < edge + depth - 0.1 and deepest(person.balls, placed.boxes) < HARD:
                    fixture.append(("laptop" if kind == 0 else "monitor", placed))
                    break
        rest = Parts()
        for _ in range(dice.below(5)):
            x, z = aside + dice.between(-0.45, 0.45) * width, edge + dice.between(0.12, 0.95) * depth
            small_thing(rest, dice, x, top, z)
        small = rest.build()
        if len(small.faces) and deepest(person.balls, small.boxes) < HARD:
            fixture.append(("clutter", small))
        return fixture
    return None


def counter_for(dice: Dice, person: UnplacedPerson, part: np.ndarray) -> Fixture | None:
    """A counter or high table under the hands of somebody who leans on it."""
    edge, top, reach, _ = _table(person.balls, part, dice.between(-0.01, 0.03), 0.95)
    if not 0.6 < top < 1.4:
        return None
    width, depth = dice.between(0.8, 2.2), max(dice.between(0.4, 0.7), reach - edge + 0.05)
    aside = dice.between(-0.25, 0.25) * width
    for style in (0, 1) if dice.chance(0.6) else (1,):
        if style == 0:
            solid = build_counter(dice, width, depth, top)
        else:
            solid = build_table(dice, width, depth, top, style=2)
        solid = solid.moved(math.pi, (aside, 0.0, edge + depth / 2 + (0.04 if style == 0 else 0.0)))
        if deepest(person.balls, solid.boxes) < HARD:
            return [("counter", solid)]
    return None


def wall_for(dice: Dice, person: UnplacedPerson, side: str) -> Fixture:
    """What somebody leans on: a piece of wall, a column, a cupboard, at their ``side``."""
    x, z = {"back": (0.0, -1.0), "front": (0.0, 1.0), "left": (1.0, 0.0), "right": (-1.0, 0.0)}[side]
    away = float((person.balls[:, 0] * x + person.balls[:, 2] * z + person.balls[:, 3]).max()) - 0.004
    yaw = math.atan2(-x, -z)  # the wall's front looks at the person
    kind = dice.weighted((0.5, 0.2, 0.3))
    width, height = dice.between(1.0, 4.0), dice.between(2.2, 3.0)
    if kind == 2:
        solid = build_cupboard(dice)
        low, high = solid.vertices.min(0), solid.vertices.max(0)
        tall = max(2.0 / float(high[1]), 1.0)
        wide = max(1.0 / float(high[0] - low[0]), 1.0)
        front = float(high[2])
        return [("cupboard", solid.moved(yaw, (x * (away + front), 0.0, z * (away + front)), (wide, tall, 1.0)))]
    parts = Parts()
    if kind == 1:
        width = dice.between(0.35, 0.9)
    deep = 0.12 if kind == 0 else width
    parts.box((0, height / 2, -deep / 2), (width, height, deep))
    return [("wall" if kind == 0 else "column", parts.build().moved(yaw, (x * away, 0.0, z * away)))]


def bed_for(dice: Dice, person: UnplacedPerson) -> tuple[Fixture, float]:
    """A bed, a sofa or a mat under somebody who lies along some direction, and how far they are lifted onto it."""
    low, high = _plan(person.balls)
    length, width = high[1] - low[1] + dice.between(0.05, 0.3), high[0] - low[0] + dice.between(0.05, 0.7)
    middle = ((low[0] + high[0]) / 2, 0.0, (low[1] + high[1]) / 2)
    across = width > length
    if across:
        width, length = length, width
    length, width = max(length, 1.85), max(width, 0.8)
    height = dice.between(0.05, 0.15) if dice.chance(0.25) else dice.between(0.38, 0.6)
    if height < 0.2:
        parts = Parts()
        parts.block((0, height / 2, 0), (width, height, length))
        solid, kind = parts.build(), "mat"
    else:
        solid, kind = build_bed(dice, width, length, height, bedding=False), "bed"
    head = person.joints[15] - person.joints[0]
    turn = (math.pi / 2 if across else 0.0) + (math.pi if (head[0] if across else head[2]) > 0.0 else 0.0)
    return [(kind, solid.moved(turn, middle))], height - dice.between(0.0, 0.012)


@numba.njit(cache=True, nogil=True)
def _sitting(balls, part, surface, surface_part, material, lean):
    """Seat height, front edge, left and right of the hips, and the back line's z at the seat."""
    pelvis, count = 0.0, 0
    for i in range(len(balls)):
        if part[i] == 0:
            pelvis += balls[i, 2]
            count += 1
    pelvis /= max(count, 1)
    seat, left, right = math.inf, math.inf, -math.inf
    for i in range(len(balls)):
        if part[i] <= 2:
            bottom = balls[i, 1] - balls[i, 3]
            if balls[i, 2] < pelvis + 0.12:
                seat = min(seat, bottom)
                left = min(left, balls[i, 0] - balls[i, 3])
                right = max(right, balls[i, 0] + balls[i, 3])
    front = math.inf
    for i in range(len(balls)):  # shins, and thighs that go down
        if balls[i, 2] > pelvis and balls[i, 1] - balls[i, 3] < seat - 0.008:
            up = balls[i, 1] - seat + 0.004
            if up > -balls[i, 3]:
                front = min(front, balls[i, 2] - math.sqrt(max(balls[i, 3] ** 2 - up * up, 0.0)))
    cosine, sine = math.cos(lean), math.sin(lean)
    back = math.inf
    for i in range(len(balls)):
        if part[i] in (0, 3, 6, 9, 12, 13, 14, 16, 17) and balls[i, 1] > seat:
            along = balls[i, 1] * sine + balls[i, 2] * cosine - balls[i, 3]
            back = min(back, (along - seat * sine) / cosine)
    top = seat + 0.6
    for i in range(len(surface)):  # clothes, less what hangs down behind
        if surface_part[i] in (3, 6, 9, 13, 14) and seat < surface[i, 1] < top and material[i] != Material.HAIR:
            along = surface[i, 1] * sine + surface[i, 2] * cosine
            back = min(back, (along - seat * sine) / cosine)
    return seat, min(front, pelvis + 0.6), left, right, back


@numba.njit(cache=True, nogil=True)
def _underside(skin, middle, half, back, front, corners):
    """Height of the lowest skin over a rectangle, or (not ``corners``) the ellipse in it."""
    lowest = math.inf
    for i in range(len(skin)):
        x, z = abs(skin[i, 0] - middle) / half, abs(skin[i, 2] - 0.5 * (back + front)) / (0.5 * (front - back))
        if (max(x, z) if corners else math.sqrt(x * x + z * z)) < 1.0:
            lowest = min(lowest, skin[i, 1])
    return lowest


@numba.njit(cache=True, nogil=True)
def _forearms(balls, part, seat, front, middle):
    """How high above the seat the lowest forearm or hand at the sides is, and how far inwards the arms reach."""
    under, inner = math.inf, math.inf
    for i in range(len(balls)):
        if part[i] >= 18 and balls[i, 2] < front:
            under = min(under, balls[i, 1] - balls[i, 3] - seat)
        if part[i] >= 16 and balls[i, 2] < front:
            inner = min(inner, abs(balls[i, 0] - middle) + balls[i, 3])
    return under, inner


@numba.njit(cache=True, nogil=True)
def _table(balls, part, gap, wanted):
    """Front edge, height and reach of the hands of a table before somebody, and the height of what is below it.

    The height is -1 when there is no room.
    """
    pelvis, count = 0.0, 0
    for i in range(len(balls)):
        if part[i] == 0:
            pelvis, count = pelvis + balls[i, 2], count + 1
    pelvis /= max(count, 1)
    hands = math.inf
    for i in range(len(balls)):
        if part[i] >= 20 and balls[i, 2] > pelvis + 0.15:
            hands = min(hands, balls[i, 1] - balls[i, 3])
    # Hands near the wished height rest on the table; hands high above it do something else.
    resting = hands < wanted + 0.14
    top = hands + 0.003 if resting else wanted
    edge = -math.inf
    for i in range(len(balls)):  # the trunk, as far as it does not lean over the table, and elbows below its top
        if (part[i] in (0, 3, 6, 9) or part[i] >= 16) and balls[i, 1] - balls[i, 3] < top - 0.004:
            edge = max(edge, balls[i, 2] + balls[i, 3])
    if edge == -math.inf:  # somebody on a high stool
        return 0.0, -1.0, 0.0, 0.0
    edge += 0.01 + gap
    below, reach, others = 0.0, edge, math.inf
    for i in range(len(balls)):
        if balls[i, 2] + balls[i, 3] < edge:
            continue
        if part[i] in (1, 2, 4, 5):
            below = max(below, balls[i, 1] + balls[i, 3])
        elif part[i] >= 16:
            others = min(others, balls[i, 1] - balls[i, 3])
            reach = max(reach, balls[i, 2] + balls[i, 3])
    if not resting:
        top = min(max(top, below + 0.06), others)
    if top < below + 0.03 or (resting and reach < edge + 0.02):
        return edge, -1.0, reach, below
    return edge, top, reach, below


def lies_flat(balls: np.ndarray, part: np.ndarray) -> bool:
    """Whether somebody's trunk or pelvis is near the ground, so that a mattress carries it."""
    trunk = balls[part <= 9]
    return float((trunk[:, 1] - trunk[:, 3]).min()) < 0.06


@numba.njit(cache=True, nogil=True)
def _plan(balls):
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for i in range(len(balls)):
        for c in range(2):
            low[c] = min(low[c], balls[i, 2 * c] - balls[i, 3])
            high[c] = max(high[c], balls[i, 2 * c] + balls[i, 3])
    return low, high
