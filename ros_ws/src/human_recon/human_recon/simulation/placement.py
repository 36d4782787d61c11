"""Who may stand where: people as balls, furniture as boxes, moved along the floor until nothing overlaps.

One person's balls against another's are exact; a ball against a box, and a box against a box, is taken a little too
large, so furniture keeps a centimetre or two where it meets a corner. A person slides from where they would like to
be until the first free place, so neighbours who want to be close end up touching.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from human_recon.body.spheres import BodySpheres

_MAX_PEOPLE = 16
_MAX_BOXES = 4000
_NOBODY = np.zeros((0, 4))


class Floor:
    """Everything placed so far."""

    def __init__(self, spheres: BodySpheres) -> None:
        self._part_start = spheres.part_start
        self._balls = np.empty((_MAX_PEOPLE, spheres.count, 4))
        self._bounds = np.empty((_MAX_PEOPLE, len(spheres.part_start), 4))  # of each part and of all, see _bounds
        self._boxes = np.empty((_MAX_BOXES, 12))
        self.clear()

    def clear(self) -> None:
        """Empty again; keeps the memory."""
        self.people = 0
        self.box_count = 0

    @property
    def balls(self) -> np.ndarray:
        """[P, K, 4] centres and radii of the people."""
        return self._balls[: self.people]

    @property
    def boxes(self) -> np.ndarray:
        """[B, 12] boxes of the furniture."""
        return self._boxes[: self.box_count]

    def slide(
        self,
        balls: np.ndarray,  # [K, 4] of the newcomer at the start
        boxes: np.ndarray,  # [b, 12] of what comes along, at the start
        direction: tuple[float, float],  # unit vector along the floor: x, z
        start: float,
        limit: float,
        gap: float,  # metres to keep from other people, may be negative
    ) -> float:
        """The smallest way >= ``start`` along ``direction`` after which nothing overlaps; inf beyond ``limit``."""
        return _slide(
            balls, boxes, self.balls, self._bounds[: self.people], self.boxes, self._part_start,
            direction[0], direction[1], start, limit, gap,
        )  # fmt: skip

    def slide_boxes(self, boxes: np.ndarray, direction: tuple[float, float], start: float, limit: float) -> float:
        """:meth:`slide` for furniture alone."""
        return _slide(
            _NOBODY, boxes, self.balls, self._bounds[: self.people], self.boxes, self._part_start,
            direction[0], direction[1], start, limit, 0.0,
        )  # fmt: skip

    def add_person(self, balls: np.ndarray) -> None:
        """Place a person for good."""
        self._balls[self.people] = balls
        self._bounds[self.people] = _bounds(balls, self._part_start)
        self.people += 1

    def add_boxes(self, boxes: np.ndarray) -> None:
        """Place furniture for good."""
        count = min(len(boxes), _MAX_BOXES - self.box_count)
        self._boxes[self.box_count : self.box_count + count] = boxes[:count]
        self.box_count += count

    def people_in(self, boxes: np.ndarray) -> float:
        """Metres by which the deepest ball of anybody lies in ``boxes``; negative = free, by at least that much."""
        return max((deepest(balls, boxes) for balls in self.balls), default=-math.inf)


@numba.njit(cache=True, nogil=True)
def turn_balls(balls, yaw, x, y, z):
    """Balls turned about the vertical through the origin, then shifted."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    turned = np.empty_like(balls)
    for i in range(len(balls)):
        a, c = balls[i, 0], balls[i, 2]
        turned[i, 0] = cosine * a + sine * c + x
        turned[i, 1] = balls[i, 1] + y
        turned[i, 2] = cosine * c - sine * a + z
        turned[i, 3] = balls[i, 3]
    return turned


@numba.njit(cache=True, nogil=True)
def turn_boxes(boxes, yaw, x, y, z):
    """Boxes turned about the vertical through the origin, then shifted."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    turned = boxes.copy()
    for i in range(len(boxes)):
        for first in (0, 6, 9):
            a, c = boxes[i, first], boxes[i, first + 2]
            turned[i, first], turned[i, first + 2] = cosine * a + sine * c, cosine * c - sine * a
        turned[i, 0] += x
        turned[i, 1] += y
        turned[i, 2] += z
    return turned


@numba.njit(cache=True, nogil=True)
def plan_of(balls, boxes):
    """Smallest and largest x, smallest and largest z of balls and boxes."""
    plan = np.array([np.inf, -np.inf, np.inf, -np.inf])
    for i in range(len(balls)):
        plan[0] = min(plan[0], balls[i, 0] - balls[i, 3])
        plan[1] = max(plan[1], balls[i, 0] + balls[i, 3])
        plan[2] = min(plan[2], balls[i, 2] - balls[i, 3])
        plan[3] = max(plan[3], balls[i, 2] + balls[i, 3])
    for i in range(len(boxes)):
        along, across, _ = _extents(boxes[i], 1.0, 0.0)
        plan[0] = min(plan[0], boxes[i, 0] - along)
        plan[1] = max(plan[1], boxes[i, 0] + along)
        plan[2] = min(plan[2], boxes[i, 2] - across)
        plan[3] = max(plan[3], boxes[i, 2] + across)
    return plan


@numba.njit(cache=True, nogil=True)
def distance(balls, others):
    """Smallest distance between two sets of balls; negative when they overlap."""
    best = math.inf
    for i in range(len(balls)):
        for k in range(len(others)):
            dx, dy, dz = balls[i, 0] - others[k, 0], balls[i, 1] - others[k, 1], balls[i, 2] - others[k, 2]
            best = min(best, math.sqrt(dx * dx + dy * dy + dz * dz) - balls[i, 3] - others[k, 3])
    return best


@numba.njit(cache=True, nogil=True)
def deepest(balls, boxes):
    """Metres by which the deepest ball lies in a box: radius less distance to the box, more inside of it."""
    worst = -math.inf
    for b in range(len(boxes)):
        xa, xb, xc = boxes[b, 6], boxes[b, 7], boxes[b, 8]
        za, zb, zc = boxes[b, 9], boxes[b, 10], boxes[b, 11]
        ya, yb, yc = zb * xc - zc * xb, zc * xa - za * xc, za * xb - zb * xa
        reach = math.sqrt(boxes[b, 3] ** 2 + boxes[b, 4] ** 2 + boxes[b, 5] ** 2)
        for i in range(len(balls)):
            x, y, z = balls[i, 0] - boxes[b, 0], balls[i, 1] - boxes[b, 1], balls[i, 2] - boxes[b, 2]
            far = reach + balls[i, 3] - worst
            if x * x + y * y + z * z > far * far:
                continue
            u = abs(x * xa + y * xb + z * xc) - boxes[b, 3]
            v = abs(x * ya + y * yb + z * yc) - boxes[b, 4]
            w = abs(x * za + y * zb + z * zc) - boxes[b, 5]
            outside = math.sqrt(max(u, 0.0) ** 2 + max(v, 0.0) ** 2 + max(w, 0.0) ** 2)
            worst = max(worst, balls[i, 3] - outside - min(max(u, v, w), 0.0))
    return worst


@numba.njit(cache=True, nogil=True)
def inside_boxes(x, y, z, boxes, margin):
    """Whether a point is in, or closer than ``margin`` to, any box."""
    for b in range(len(boxes)):
        dx, dy, dz = x - boxes[b, 0], y - boxes[b, 1], z - boxes[b, 2]
        xa, xb, xc = boxes[b, 6], boxes[b, 7], boxes[b, 8]
        za, zb, zc = boxes[b, 9], boxes[b, 10], boxes[b, 11]
        ya, yb, yc = zb * xc - zc * xb, zc * xa - za * xc, za * xb - zb * xa
        if (
            abs(dx * xa + dy * xb + dz * xc) < boxes[b, 3] + margin
            and abs(dx * ya + dy * yb + dz * yc) < boxes[b, 4] + margin
            and abs(dx * za + dy * zb + dz * zc) < boxes[b, 5] + margin
        ):
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _bounds(balls, part_start):
    """[25, 4]: a ball around the balls of each part, and around all of them."""
    parts = len(part_start) - 1
    bounds = np.zeros((parts + 1, 4))
    bounds[:, 3] = -math.inf
    for p in range(parts + 1):
        first = part_start[p] if p < parts else 0
        last = min(part_start[p + 1], len(balls)) if p < parts else len(balls)
        if first >= last:
            continue
        bounds[p, 3] = 0.0
        for c in range(3):
            bounds[p, c] = balls[first:last, c].mean()
        for i in range(first, last):
            dx, dy, dz = balls[i, 0] - bounds[p, 0], balls[i, 1] - bounds[p, 1], balls[i, 2] - bounds[p, 2]
            bounds[p, 3] = max(bounds[p, 3], math.sqrt(dx * dx + dy * dy + dz * dz) + balls[i, 3])
    return bounds


@numba.njit(cache=True, nogil=True)
def _meeting(a, b, dx, dz, gap):
    """While ball ``a`` moves t along (dx, 0, dz), ball ``b`` is in its way for t in the returned interval."""
    x, y, z = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    along = x * dx + z * dz
    reach = a[3] + b[3] + gap
    square = reach * reach - (x * x + y * y + z * z - along * along)
    if reach <= 0.0 or square <= 0.0:
        return math.inf, -math.inf
    half = math.sqrt(square)
    return -along - half, -along + half


@numba.njit(cache=True, nogil=True)
def _ball_box(ball, box, dx, dz, gap):
    """As :func:`_meeting` for a box grown by the ball's radius: a slab test."""
    x, y, z = ball[0] - box[0], ball[1] - box[1], ball[2] - box[2]
    xa, xb, xc, za, zb, zc = box[6], box[7], box[8], box[9], box[10], box[11]
    ya, yb, yc = zb * xc - zc * xb, zc * xa - za * xc, za * xb - zb * xa
    first, last = -math.inf, math.inf
    for axis in range(3):
        if axis == 0:
            offset, speed = x * xa + y * xb + z * xc, dx * xa + dz * xc
        elif axis == 1:
            offset, speed = x * ya + y * yb + z * yc, dx * ya + dz * yc
        else:
            offset, speed = x * za + y * zb + z * zc, dx * za + dz * zc
        half = box[3 + axis] + ball[3] + gap
        if abs(speed) < 1e-9:
            if abs(offset) >= half:
                return math.inf, -math.inf
            continue
        a, b = (-half - offset) / speed, (half - offset) / speed
        first, last = max(first, min(a, b)), min(last, max(a, b))
    return first, last


@numba.njit(cache=True, nogil=True)
def _extents(box, dx, dz):
    """Half sizes of a box along (dx, 0, dz), across it on the floor, and upwards."""
    xa, xb, xc, za, zb, zc = box[6], box[7], box[8], box[9], box[10], box[11]
    ya, yb, yc = zb * xc - zc * xb, zc * xa - za * xc, za * xb - zb * xa
    u, v, w = box[3], box[4], box[5]
    along = u * abs(xa * dx + xc * dz) + v * abs(ya * dx + yc * dz) + w * abs(za * dx + zc * dz)
    across = u * abs(xc * dx - xa * dz) + v * abs(yc * dx - ya * dz) + w * abs(zc * dx - za * dz)
    return along, across, u * abs(xb) + v * abs(yb) + w * abs(zb)


@numba.njit(cache=True, nogil=True)
def _around(box):
    """Radius of the ball around a box."""
    return math.sqrt(box[3] * box[3] + box[4] * box[4] + box[5] * box[5])


@numba.njit(cache=True, nogil=True)
def _slide(balls, boxes, others, bounds, fixed, part_start, dx, dz, start, limit, gap):
    parts = len(part_start) - 1
    own = _bounds(balls, part_start)
    whole = own[parts]
    # Where the mover is and how large, then those that its way comes near: few of many.
    cx, cz, count = 0.0, 0.0, 0
    for b in range(len(boxes)):
        cx, cz, count = cx + boxes[b, 0], cz + boxes[b, 2], count + 1
    if len(balls):
        cx, cz, count = cx + whole[0], cz + whole[2], count + 1
    cx, cz = cx / count, cz / count
    radius = 0.0
    if len(balls):
        radius = math.hypot(whole[0] - cx, whole[2] - cz) + whole[3]
    own_extents = np.empty((len(boxes), 3))
    for b in range(len(boxes)):
        own_extents[b] = _extents(boxes[b], dx, dz)
        radius = max(radius, math.hypot(boxes[b, 0] - cx, boxes[b, 2] - cz) + _around(boxes[b]))
    near_people = np.empty(len(others), np.int64)
    people = 0
    for p in range(len(others)):
        x, z = bounds[p, parts, 0] - cx, bounds[p, parts, 2] - cz
        reach = radius + bounds[p, parts, 3] + abs(gap)
        if abs(z * dx - x * dz) < reach and start - reach < x * dx + z * dz < limit + reach:
            near_people[people] = p
            people += 1
    near = np.empty(len(fixed), np.int64)
    extents = np.empty((len(fixed), 3))
    number = 0
    for f in range(len(fixed)):
        x, z = fixed[f, 0] - cx, fixed[f, 2] - cz
        reach = radius + _around(fixed[f])
        if abs(z * dx - x * dz) < reach and start - reach < x * dx + z * dz < limit + reach:
            near[number] = f
            extents[number] = _extents(fixed[f], dx, dz)
            number += 1

    t = start
    around = np.empty(4)
    while t <= limit:
        before = t
        for n in range(people):
            p = near_people[n]
            first, last = _meeting(whole, bounds[p, parts], dx, dz, gap)
            for i in range(parts if first < t < last else 0):
                for k in range(parts):
                    first, last = _meeting(own[i], bounds[p, k], dx, dz, gap)
                    if not first < t < last:
                        continue
                    for a in range(part_start[i], part_start[i + 1]):
                        for b in range(part_start[k], part_start[k + 1]):
                            first, last = _meeting(balls[a], others[p, b], dx, dz, gap)
                            if first < t < last:
                                t = last
            for b in range(len(boxes)):  # what comes along against those who are there: seen from the box
                around[:3] = boxes[b, :3]
                around[3] = _around(boxes[b])
                first, last = _meeting(around, bounds[p, parts], dx, dz, 0.0)
                if not first < t < last:
                    continue
                for part in range(parts):
                    first, last = _meeting(around, bounds[p, part], dx, dz, 0.0)
                    if not first < t < last:
                        continue
                    for k in range(part_start[part], part_start[part + 1]):
                        first, last = _ball_box(others[p, k], boxes[b], -dx, -dz, 0.0)
                        if first < t < last:
                            t = last
        for n in range(number):
            box = fixed[near[n]]
            along, across, up = extents[n]
            x, y, z = whole[0] - box[0], whole[1] - box[1], whole[2] - box[2]
            if (
                abs(z * dx - x * dz) < across + whole[3]
                and abs(y) < up + whole[3]
                and abs(x * dx + z * dz + t) < along + whole[3]
            ):
                around[:3] = box[:3]
                around[3] = _around(box)
                for part in range(parts):
                    first, last = _meeting(own[part], around, dx, dz, 0.0)
                    if not first < t < last:
                        continue
                    for i in range(part_start[part], part_start[part + 1]):
                        first, last = _ball_box(balls[i], box, dx, dz, 0.0)
                        if first < t < last:
                            t = last
            for b in range(len(boxes)):
                x, y, z = boxes[b, 0] - box[0], boxes[b, 1] - box[1], boxes[b, 2] - box[2]
                reach = along + own_extents[b, 0]
                if (
                    abs(z * dx - x * dz) < across + own_extents[b, 1]
                    and abs(y) < up + own_extents[b, 2]
                    and abs(x * dx + z * dz + t) < reach
                ):
                    t = reach - (x * dx + z * dz)
        if t == before:
            return t
    return math.inf
