"""Composes scenes: people in company, at their furniture, in furnished rooms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.simulation.catalogue import Catalogue, Item
from human_recon.simulation.dice import Dice
from human_recon.simulation.holding import held_by, luggage_of
from human_recon.simulation.meshing import Parts, Solid
from human_recon.simulation.people_source import PeopleSource, UnplacedPerson
from human_recon.simulation.placement import Floor, deepest, distance, plan_of, turn_balls, turn_boxes
from human_recon.simulation.rooms import Room, make_room
from human_recon.simulation.scene import Actor, Scene, Thing
from human_recon.simulation.seating import (
    SOFT,
    Fixture,
    Spare,
    bed_for,
    counter_for,
    lies_flat,
    seat_for,
    sitting_of,
    table_for,
    wall_for,
)

MAX_PEOPLE = 8

_NO_BALLS, _NO_BOXES = np.zeros((0, 4)), np.zeros((0, 12))
_PLACE_TRIES = 5
_SEAT_TRIES = 4
_CARRYING = ("standing", "walking", "gesturing", "running", "leaning")  # activities with a bag or a backpack
_WALL_GAP = 0.02  # metres people and furniture keep from walls


@dataclass(frozen=True)
class SceneConfig:
    """What scenes are made of. Every ingredient can be turned off, to measure what it is good for."""

    people: tuple[float, ...] = (0.06, 0.24, 0.2, 0.16, 0.12, 0.09, 0.06, 0.04, 0.03)
    """Relative frequency of 0, 1, 2, ... people, at most 8."""
    seated: float = 0.34
    """Share of people who sit on something."""
    company: float = 0.6
    """Share of people (after the first) who join somebody: facing, beside, behind them, in a circle, in a queue."""
    touching: float = 0.5
    """Share of those who come so close that they touch; the others keep up to 1 m."""
    supports: bool = True
    """Sitters get fitted seats and often tables, leaners walls and counters, lying people often beds. Without, nobody
    who needs support is drawn."""
    held: bool = True
    """Phones, mugs, bags, boxes in hands, backpacks on backs."""
    nudging: float = 0.35
    """Share of standing people who have a piece of furniture pushed against them."""
    rooms: bool = True
    """Walls, ceilings, doors, windows, columns; without, there is a bare floor."""
    furniture: float = 5.0
    """Mean number of pieces of furniture besides those that people use."""
    clutter: float = 2.5
    """Mean number of loose things on the floor."""
    humanlike: float = 0.7
    """Mean number of things that may be taken for a person: coats on a stand, busts, poles, sacks, swivel chairs."""
    close_views: float = 0.2
    """Share of views in which something or somebody is less than a metre from the camera."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.people) <= MAX_PEOPLE + 1 or min(self.people) < 0.0 or sum(self.people) <= 0.0:
            raise ValueError(f"people must be 1 to {MAX_PEOPLE + 1} frequencies >= 0, not all 0; got {self.people}")
        for name in ("seated", "company", "touching", "nudging", "close_views"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        for name in ("furniture", "clutter", "humanlike"):
            if not 0.0 <= getattr(self, name) <= 20.0:
                raise ValueError(f"{name} is a mean number from 0 to 20, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class _Ensemble:
    """A person and what belongs to them, in the person's own frame."""

    person: UnplacedPerson
    lift: float  # metres that a bed raises them
    balls: np.ndarray  # [K, 4], lifted
    solids: Fixture
    boxes: np.ndarray  # [B, 12] of the solids
    spare: Spare | None = None  # room for others on the seat


@dataclass(frozen=True, eq=False)
class _Placed:
    """Where somebody ended up."""

    x: float
    z: float
    yaw: float
    standing: bool
    spare: Spare | None = None


class SceneSampler:
    """Draws scenes; one per thread, as it keeps its working memory."""

    def __init__(self, config: SceneConfig, people: PeopleSource) -> None:
        self.config = config
        self._people = people
        self._floor = Floor(people.spheres)
        self._part = people.spheres.part()
        self._part_start = people.spheres.part_start
        self._catalogue = Catalogue(people.split)
        bare = Parts()
        bare.box((0.0, -0.1, 0.0), (30.0, 0.2, 30.0))
        self._bare = make_room(9.0, 9.0, (False, False, False, False), [("floor", bare.build())])

    def draw(self, rng: np.random.Generator) -> Scene:
        """A scene, a function of the generator's state alone."""
        dice, config = Dice(rng), self.config
        self._floor.clear()
        room = self._draw_room(dice)
        actors: list[Actor] = []
        placed: list[_Placed] = []
        solids: Fixture = list(room.solids)
        for _ in range(dice.weighted(config.people)):
            seated = dice.chance(config.seated) and config.supports
            partner = dice.pick(placed) if placed and dice.chance(config.company) else None
            found = None
            sofas = [other for other in placed if other.spare is not None] if seated else []
            if sofas and dice.chance(config.company):
                found = self._join(rng, dice, dice.pick(sofas))
            if found is None:
                ensemble = self._draw_ensemble(rng, dice, seated)
                where = None if ensemble is None else self._find_place(dice, room, ensemble, partner)
                if ensemble is None or where is None:
                    continue
            else:
                ensemble, where = found
            placed.append(where)
            shift = (where.x, 0.0, where.z)
            self._floor.add_person(turn_balls(ensemble.balls, where.yaw, *shift))
            self._floor.add_boxes(turn_boxes(ensemble.boxes, where.yaw, *shift))
            solids += [(kind, solid.moved(where.yaw, shift)) for kind, solid in ensemble.solids]
            actors.append(place(ensemble.person, where.yaw, (where.x, ensemble.lift, where.z)))
        for where in placed:
            if where.standing and dice.chance(config.nudging):
                self._nudge(dice, room, where, solids)
        self._furnish(dice, room, solids)
        return Scene(tuple(actors), tuple(Thing(kind, solid.vertices, solid.faces) for kind, solid in solids))

    def _draw_room(self, dice: Dice) -> Room:
        if not self.config.rooms:
            return self._bare
        room = dice.pick(self._catalogue.rooms).stretched(dice.between(0.85, 1.2), dice.between(0.85, 1.2))
        self._floor.add_boxes(room.inner.boxes)
        return room

    # --- people -------------------------------------------------------------------------------------------------------

    def _draw_ensemble(self, rng: np.random.Generator, dice: Dice, seated: bool) -> _Ensemble | None:
        """Somebody with the seat, wall or bed that their pose needs; None when none was found."""
        for _ in range(_SEAT_TRIES):
            person = self._people.draw_person(rng, seated=seated)
            if not self.config.supports and person.supports not in ("floor", "lying"):
                continue
            found = self._support(dice, person)
            if found is None:
                continue
            fixture, lift, spare = found
            if self.config.held:
                fixture = fixture + held_by(dice, person, self._part_start, self._catalogue)
                if person.activity in _CARRYING and dice.chance(0.2):
                    fixture += luggage_of(dice, person, self._part_start)
            balls = person.balls
            if lift:
                balls = balls.copy()
                balls[:, 1] += lift
            boxes = np.concatenate([solid.boxes for _, solid in fixture]) if fixture else _NO_BOXES
            return _Ensemble(person, lift, balls, fixture, boxes, spare)
        return None

    def _join(self, rng: np.random.Generator, dice: Dice, partner: _Placed) -> tuple[_Ensemble, _Placed] | None:
        """Somebody who sits down beside the partner on the same seat; None when nobody drawn fits there."""
        spare = partner.spare
        assert spare is not None
        for _ in range(3 if spare.places else 0):
            place_x = dice.pick(spare.places)
            person = self._people.draw_person(rng, seated=True)
            fit = sitting_of(person, self._part)
            lift = spare.height - fit.seat
            if not -0.01 <= lift <= 0.07:  # the feet stay on or near the floor
                continue
            held = held_by(dice, person, self._part_start, self._catalogue) if self.config.held else []
            balls = person.balls.copy()
            balls[:, 1] += max(lift, 0.0)
            cosine, sine = math.cos(partner.yaw), math.sin(partner.yaw)
            for forward in (0.0, 0.02, 0.04, 0.07):
                x, z = place_x - fit.middle, spare.back - fit.back + forward
                x, z = partner.x + cosine * x + sine * z, partner.z + cosine * z - sine * x
                there = turn_balls(balls, partner.yaw, x, 0.0, z)
                apart = min(distance(there, others) for others in self._floor.balls)
                if apart > 0.005 and deepest(there, self._floor.boxes) < SOFT:
                    boxes = np.concatenate([solid.boxes for _, solid in held]) if held else _NO_BOXES
                    ensemble = _Ensemble(person, max(lift, 0.0), balls, held, boxes)
                    return ensemble, _Placed(x, z, partner.yaw, standing=False)
        return None

    def _support(self, dice: Dice, person: UnplacedPerson) -> tuple[Fixture, float, Spare | None] | None:
        if person.supports == "seat":
            found = seat_for(dice, person, self._part)
            if found is None:
                return None
            seat, spare = found
            table = None
            if person.side == "front" or dice.chance(0.35):
                table = table_for(dice, person, self._part)
            if person.side == "front" and table is None and dice.chance(0.7):
                return None  # hands that lie on nothing are worth another try
            return seat + (table or []), 0.0, spare
        if person.supports == "wall":
            return wall_for(dice, person, person.side), 0.0, None
        if person.supports == "table":
            counter = counter_for(dice, person, self._part)
            return None if counter is None else (counter, 0.0, None)
        if person.supports == "lying":
            if not lies_flat(person.balls, self._part):
                return None
            if self.config.supports and dice.chance(0.6):
                return *bed_for(dice, person), None
        return [], 0.0, None

    def _find_place(self, dice: Dice, room: Room, ensemble: _Ensemble, partner: _Placed | None) -> _Placed | None:
        person = ensemble.person
        for attempt in range(_PLACE_TRIES):
            if partner is not None and attempt < _PLACE_TRIES - 1:
                x, z = partner.x, partner.z
                way, yaw = _formation(dice, partner, person)
                gap, start = self._distance(dice)
            else:
                x = dice.between(-0.5, 0.5) * max(room.width - 0.8, 0.2)
                z = dice.between(-0.5, 0.5) * max(room.depth - 0.8, 0.2)
                way, yaw = dice.between(-math.pi, math.pi), dice.between(-math.pi, math.pi)
                if (person.supports in ("wall", "lying") or ensemble.boxes.size) and dice.chance(0.5):
                    yaw = math.pi / 2 * dice.below(4)  # furniture stands along the walls
                gap, start = 0.01, 0.0
            direction = (math.sin(way), math.cos(way))
            balls = turn_balls(ensemble.balls, yaw, x, 0.0, z)
            boxes = turn_boxes(ensemble.boxes, yaw, x, 0.0, z)
            t = self._floor.slide(balls, boxes, direction, start, 3.0, gap)
            if math.isinf(t):
                continue
            x, z = x + t * direction[0], z + t * direction[1]
            plan = plan_of(balls, boxes)
            plan += np.array([direction[0], direction[0], direction[1], direction[1]]) * t
            if _inside(room, plan.tolist()):
                return _Placed(x, z, yaw, person.supports == "floor", ensemble.spare)
        return None

    def _distance(self, dice: Dice) -> tuple[float, float]:
        """Metres between the surfaces of companions, and between where they stand at least."""
        if dice.chance(self.config.touching):
            return dice.between(0.003, 0.015), 0.05
        if dice.chance(0.5):
            return dice.between(0.01, 0.12), 0.05
        return 0.05, dice.between(0.4, 1.6)

    # --- furniture ----------------------------------------------------------------------------------------------------

    def _nudge(self, dice: Dice, room: Room, where: _Placed, solids: Fixture) -> None:
        """Push furniture against somebody who stands: a table before them, a chair behind, a counter beside."""
        kind = dice.pick(
            ("table", "table", "desk", "counter", "chair", "chair", "office_chair", "sofa", "shelf", "cupboard", "box",
             "cart", "suitcase", "bin", "coat_stand", "plant", "wheelchair")
        )  # fmt: skip
        item = self._catalogue.of_kind(dice, kind)
        way = where.yaw + dice.between(-math.pi, math.pi)
        direction = (math.sin(way), math.cos(way))
        yaw = way + math.pi / 2 * dice.below(4) + dice.between(-0.3, 0.3)
        self._put(dice, room, item, (where.x, where.z), yaw, direction, 0.1, 1.4, solids)

    def _furnish(self, dice: Dice, room: Room, solids: Fixture) -> None:
        config = self.config
        area = min(room.width * room.depth / 20.0, 2.0)
        sides = [side for side in range(4) if room.walls[side]]
        for _ in range(_count(dice, config.furniture * (0.4 + 0.6 * area))):
            if sides and dice.chance(0.65):
                side = dice.pick(sides)
                item = self._catalogue.at_wall(dice)
                yaw = (0.0, -math.pi / 2, math.pi, math.pi / 2)[side] + dice.between(-0.03, 0.03)
                along = room.width if side % 2 == 0 else room.depth
                away = (room.depth if side % 2 == 0 else room.width) / 2 - item.half[1] - dice.between(0.03, 0.12)
                s = dice.between(-0.5, 0.5) * max(along - 2 * item.half[0], 0.0)
                start = ((s, -away), (away, s), (s, away), (-away, s))[side]
                sign = dice.sign()
                direction = (sign, 0.0) if side % 2 == 0 else (0.0, sign)
                self._put(dice, room, item, start, yaw, direction, 0.0, 2.0, solids)
            else:
                self._put_anywhere(dice, room, self._catalogue.free(dice), solids)
        for _ in range(_count(dice, config.clutter)):
            self._put_anywhere(dice, room, self._catalogue.clutter(dice), solids)
        for _ in range(_count(dice, config.humanlike)):
            self._put_anywhere(dice, room, self._catalogue.humanlike(dice), solids)

    def _put_anywhere(self, dice: Dice, room: Room, item: Item, solids: Fixture) -> None:
        start = (dice.between(-0.5, 0.5) * room.width, dice.between(-0.5, 0.5) * room.depth)
        yaw = math.pi / 2 * dice.below(4) if dice.chance(0.3) else dice.between(-math.pi, math.pi)
        way = dice.between(-math.pi, math.pi)
        self._put(dice, room, item, start, yaw, (math.sin(way), math.cos(way)), 0.0, 1.0, solids)

    def _put(
        self, dice: Dice, room: Room, item: Item, start: tuple[float, float], yaw: float,
        direction: tuple[float, float], first: float, limit: float, solids: Fixture,
    ) -> None:  # fmt: skip
        """Slide an item to the first free place, if there is one inside the room."""
        scale = (dice.between(0.9, 1.12), dice.between(0.93, 1.08), dice.between(0.9, 1.12))
        solid: Solid = item.solid.moved(yaw, (start[0], 0.0, start[1]), scale)
        t = self._floor.slide_boxes(solid.boxes, direction, first, limit)
        if math.isinf(t):
            return
        x, z = t * direction[0], t * direction[1]
        plan = plan_of(_NO_BALLS, solid.boxes).tolist()
        if not _inside(room, [plan[0] + x, plan[1] + x, plan[2] + z, plan[3] + z]):
            return
        moved = solid if t == 0.0 else solid.moved(0.0, (x, 0.0, z))
        self._floor.add_boxes(moved.boxes)
        solids.append((item.kind, moved))


def _count(dice: Dice, mean: float) -> int:
    """A number between 0 and twice the mean."""
    return int(2.0 * mean * dice.unit() + dice.unit()) if mean > 0.0 else 0


def _formation(dice: Dice, partner: _Placed, person: UnplacedPerson) -> tuple[float, float]:
    """The direction from the partner in which somebody comes to stand, and where they look; yaw 0 looks along +z."""
    close = person.pose_name in ("hug", "handshake")
    kind = 0 if close else dice.weighted((0.28, 0.3, 0.16, 0.12, 0.14))
    if kind == 0:  # face to face
        way = partner.yaw + dice.between(-0.4, 0.4)
        return way, way + math.pi + dice.between(-0.35, 0.35)
    if kind == 1:  # side by side
        way = partner.yaw + dice.sign() * (math.pi / 2 + dice.between(-0.35, 0.35))
        return way, partner.yaw + dice.between(-0.5, 0.5)
    if kind == 2:  # in a queue
        way = partner.yaw + math.pi * dice.below(2) + dice.between(-0.3, 0.3)
        return way, partner.yaw + dice.between(-0.4, 0.4)
    if kind == 3:  # in a circle
        way = partner.yaw + dice.sign() * dice.between(0.6, 1.3)
        return way, way + math.pi + dice.between(-0.7, 0.7)
    return dice.between(-math.pi, math.pi), dice.between(-math.pi, math.pi)


def _inside(room: Room, plan: list[float]) -> bool:
    """Whether a plan (x from, to, z from, to) keeps to the room's side of its walls, and near where there is none."""
    half_x, half_z = room.width / 2, room.depth / 2
    north, east, south, west = ((-_WALL_GAP if wall else 1.5) for wall in room.walls)
    return (
        plan[0] > -half_x - west and plan[1] < half_x + east and plan[2] > -half_z - north and plan[3] < half_z + south
    )


def place(person: UnplacedPerson, yaw: float, shift: tuple[float, float, float]) -> Actor:
    """The person turned about the vertical through the origin, then shifted, with parameters that say the same."""
    pose, trans, surface, joints = _place(
        person.pose, person.pelvis, person.trans, person.surface, person.joints, yaw, *shift
    )
    return Actor(person.betas, pose, trans, person.outfit, surface, joints, person.activity)


@numba.njit(cache=True, nogil=True)
def _place(pose, pelvis, trans, surface, joints, yaw, x, y, z):
    cosine, sine = math.cos(yaw), math.sin(yaw)
    # The root's quaternion after that of the yaw, (cos, 0, sin, 0) of half the angle.
    angle = math.sqrt(pose[0, 0] ** 2 + pose[0, 1] ** 2 + pose[0, 2] ** 2)
    share = math.sin(0.5 * angle) / angle if angle > 1e-9 else 0.5
    a, b, c, d = math.cos(0.5 * angle), share * pose[0, 0], share * pose[0, 1], share * pose[0, 2]
    p, q = math.cos(0.5 * yaw), math.sin(0.5 * yaw)
    w, i, j, k = p * a - q * c, p * b + q * d, p * c + q * a, p * d - q * b
    if w < 0.0:
        w, i, j, k = -w, -i, -j, -k
    length = math.sqrt(i * i + j * j + k * k)
    factor = 2.0 * math.atan2(length, w) / length if length > 1e-9 else 2.0
    turned = pose.copy()
    turned[0, 0], turned[0, 1], turned[0, 2] = factor * i, factor * j, factor * k
    # SMPL turns a body about its pelvis J: R x + ... = Y (R0 (x - J) + J + trans) + shift
    u, v, h = pelvis[0] + trans[0], pelvis[2] + trans[2], trans[1] + y
    moved = np.array([cosine * u + sine * v + x - pelvis[0], h, cosine * v - sine * u + z - pelvis[2]])
    new_surface, new_joints = np.empty_like(surface), np.empty_like(joints)
    for n in range(len(surface)):
        u, v = surface[n, 0], surface[n, 2]
        new_surface[n, 0], new_surface[n, 1] = cosine * u + sine * v + x, surface[n, 1] + y
        new_surface[n, 2] = cosine * v - sine * u + z
    for n in range(len(joints)):
        u, v = joints[n, 0], joints[n, 2]
        new_joints[n, 0], new_joints[n, 1] = cosine * u + sine * v + x, joints[n, 1] + y
        new_joints[n, 2] = cosine * v - sine * u + z
    return turned, moved, new_surface, new_joints
