"""Things in people's hands and on their backs, in the person's own frame (facing +z, feet on y = 0)."""

from __future__ import annotations

import math

import numpy as np

from human_recon.simulation.catalogue import Catalogue
from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts, Solid
from human_recon.simulation.people_source import UnplacedPerson
from human_recon.simulation.placement import deepest
from human_recon.simulation.props import CARRIED, CARRIED_IN_BOTH, backpack, carried_thing
from human_recon.simulation.seating import Fixture

_HANDS = {"left": 22, "right": 23}
_HEAD = 15


def held_by(dice: Dice, person: UnplacedPerson, part_start: np.ndarray, catalogue: Catalogue) -> Fixture:
    """What the pose of the person says that they hold; nothing when it would go through them."""
    if person.holds == "none":
        return []
    centres = {side: _middle(person.balls, part_start, joint) for side, joint in _HANDS.items()}
    if person.pose_name == "carry_bags":
        return [("bag", bag) for hand in centres.values() for bag in _hung(dice, "bag", hand, person)]
    if person.holds == "both":
        return _in_both(dice, person, part_start, centres, catalogue)
    hand = centres[person.holds]
    head = _middle(person.balls, part_start, _HEAD)
    if person.pose_name in ("carry_bag",) or (person.activity == "carrying" and hand[1] < 1.0):
        kind = dice.pick(("bag", "bag", "umbrella", "ball"))
        return [(kind, bag) for bag in _hung(dice, kind, hand, person)]
    if "phone" in person.pose_name or "photo" in person.pose_name:
        return _phone(dice, person, hand, head)
    if "writing" in person.pose_name:
        return []
    kind = dice.pick(("mug", "mug", "bottle"))
    towards = (head - hand) * (1.0, 0.0, 1.0)
    solid = carried_thing(dice, kind)
    for away in (0.03, 0.045, 0.06):  # fingers close around it, but it does not go through the palm
        placed = solid.moved(0.0, hand + away * towards / max(math.hypot(*towards), 1e-6))
        if deepest(person.balls, placed.boxes) < 0.03:
            return [(kind, placed)]
    return []


def luggage_of(dice: Dice, person: UnplacedPerson, part_start: np.ndarray) -> Fixture:
    """A backpack on the back or something in a hand that hangs down."""
    if person.holds == "none" and dice.chance(0.5):
        joint = dice.pick((22, 23))
        hand = _middle(person.balls, part_start, joint)
        if 0.5 < hand[1] < 0.95:
            kind = CARRIED[dice.weighted((0, 0.1, 0.15, 0.4, 0.1, 0.1, 0.1, 0.05))]
            solid = carried_thing(dice, kind)
            solid = solid.moved(dice.between(-0.4, 0.4), hand + (0.0, 0.0, 0.02))
            free = solid.vertices[:, 1].min() > 0.0 and deepest(person.balls, solid.boxes) < 0.03
            return [(kind, solid)] if free else []
    up = person.joints[9].astype(np.float64) - person.joints[3]
    lean = math.atan2(-float(up[2]), float(up[1]))
    if abs(lean) > 0.5:
        return []
    trunk = slice(part_start[3], part_start[4])
    upper = [trunk, slice(part_start[6], part_start[7]), slice(part_start[9], part_start[10])]
    balls = np.concatenate([person.balls[s] for s in upper])
    sine, cosine = math.sin(lean), math.cos(lean)
    across = balls[:, 2] * cosine + balls[:, 1] * sine - balls[:, 3]
    middle = (person.joints[3].astype(np.float64) + person.joints[9]) / 2
    pack = backpack(dice, 0.36)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
    height = middle[1] * cosine - middle[2] * sine
    origin = np.array([middle[0], 0.0, 0.0]) + axes[:, 1] * height + axes[:, 2] * float(across.min())
    solid = _oriented(pack, axes, origin)
    return [("backpack", solid)] if deepest(person.balls, solid.boxes) < 0.03 else []


def _in_both(
    dice: Dice,
    person: UnplacedPerson,
    part_start: np.ndarray,
    centres: dict[str, np.ndarray],
    catalogue: Catalogue,
) -> Fixture:
    left, right = centres["left"], centres["right"]
    middle, head = (left + right) / 2, _middle(person.balls, part_start, _HEAD)
    if person.pose_name == "push_cart":
        item = catalogue.of_kind(dice, dice.pick(("cart", "pram")))
        handle = item.solid.boxes[item.solid.boxes[:, 2].argmin()]  # nothing reaches farther back
        tall = float(middle[1] / handle[1])
        if not 0.7 < tall < 1.5:
            return []
        solid = item.solid.moved(0.0, (middle[0], 0.0, middle[2] - handle[2]), (1.0, tall, 1.0))
        return [(item.kind, solid)] if deepest(person.balls, solid.boxes) < 0.03 else []
    if "phone" in person.pose_name or "photo" in person.pose_name:
        return _phone(dice, person, middle, head)
    gap = float(np.linalg.norm(left - right))
    if gap < 0.2:
        return [("mug", carried_thing(dice, "mug").moved(0.0, middle))]
    along = (left - right) / gap
    torso = [slice(part_start[joint], part_start[joint + 1]) for joint in (0, 3, 6)]
    front = max(float((person.balls[s, 2] + person.balls[s, 3]).max()) for s in torso)
    kind = dice.pick(("box", "box", *CARRIED_IN_BOTH))
    yaw = math.atan2(-along[2], along[0])
    solid = carried_thing(dice, kind)
    if kind in ("box", "tray", "laptop"):
        width = gap - 0.05 if kind == "box" else min(gap, 0.5)
        low, high = solid.vertices.min(0), solid.vertices.max(0)
        deep = float(high[2] - low[2])
        z = max(float(middle[2]), front + 0.01 + deep / 2)
        lift = dice.between(0.0, 0.08) if kind == "box" else -0.02
        solid = solid.moved(yaw, (middle[0], middle[1] + lift, z), (width / float(high[0] - low[0]), 1.0, 1.0))
    else:
        size = (gap - 0.06) / float(np.ptp(solid.vertices[:, 0]))
        z = max(float(middle[2]), front + 0.01 + (gap - 0.06) / 2)
        solid = solid.moved(yaw, (middle[0], middle[1], z), (size, size, size))
    trunk = person.balls[: part_start[16]]
    return [(kind, solid)] if deepest(trunk, solid.boxes) < 0.02 else []


def _middle(balls: np.ndarray, part_start: np.ndarray, joint: int) -> np.ndarray:
    return balls[part_start[joint] : part_start[joint + 1], :3].mean(axis=0)


def _hung(dice: Dice, kind: str, hand: np.ndarray, person: UnplacedPerson) -> list[Solid]:
    """Something that hangs from a hand, kept above the floor; nothing where it would hang in the leg."""
    solid = carried_thing(dice, kind)
    low = float(solid.vertices[:, 1].min())
    scale = min(1.0, (float(hand[1]) - 0.02) / -low)
    outward = math.copysign(0.03, float(hand[0] - person.joints[0, 0]))
    solid = solid.moved(dice.between(-0.3, 0.3), hand + (outward, 0.0, 0.0), (1.0, scale, 1.0))
    return [solid] if deepest(person.balls, solid.boxes) < 0.03 else []


def _phone(dice: Dice, person: UnplacedPerson, hand: np.ndarray, head: np.ndarray) -> Fixture:
    """A phone in the hand, its face to the head, as far from the palm as hurts least."""
    phone = carried_thing(dice, "phone")
    tried = [_towards(phone, hand, head, lift) for lift in (0.01, 0.02, 0.03, 0.045)]
    depths = [deepest(person.balls, solid.boxes) for solid in tried]
    best = int(np.argmin(depths))
    return [("phone", tried[best])] if depths[best] < 0.03 else []


def _towards(solid: Solid, hand: np.ndarray, head: np.ndarray, lift: float) -> Solid:
    """A flat thing at ``hand`` whose face looks at ``head``, ``lift`` metres before the middle of the hand."""
    ahead = head - hand
    ahead /= max(float(np.linalg.norm(ahead)), 1e-6)
    up = np.array([0.0, 1.0, 0.0]) - ahead[1] * ahead
    if float(up @ up) < 1e-4:
        up = np.array([0.0, 0.0, 1.0]) - ahead[2] * ahead
    up /= float(np.linalg.norm(up))
    return _oriented(solid, np.stack([np.cross(up, ahead), up, ahead], axis=1), hand + lift * ahead)


def _oriented(solid: Solid, axes: np.ndarray, origin: np.ndarray) -> Solid:
    """``solid`` turned by ``axes`` [3, 3], its origin moved to ``origin``."""
    parts = Parts()
    boxes = solid.boxes.copy()
    boxes[:, :3] = solid.boxes[:, :3] @ axes.T + origin
    boxes[:, 6:9] = solid.boxes[:, 6:9] @ axes.T
    boxes[:, 9:] = solid.boxes[:, 9:] @ axes.T
    parts.solid(Solid((solid.vertices @ axes.T + origin).astype(np.float32), solid.faces, boxes))
    return parts.build()
