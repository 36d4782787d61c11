"""Key postures: what people near a robot do all day and motion capture recordings do not show.

Each is a posture in anatomical terms (:mod:`human_recon.simulation.anatomy`), made of a trunk, two arms and two legs,
with what it needs from the scene. From each a bank of variations is made once: every angle is varied within the joints'
ranges, less where a hand touches something. Variations in which an arm would enter the body are drawn back towards the
posture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from human_recon.body.model import default_body_model
from human_recon.body.skeleton import JOINT_COUNT, joint_index
from human_recon.simulation.anatomy import ANGLE_COUNT, Arm, Leg, Posture, Trunk, angles_of, part_slice, poses_of
from human_recon.simulation.assets import Split
from human_recon.simulation.randomness import generator
from human_recon.simulation.skeletons import posed_joints

VARIATIONS = 48  # of each key posture

OTHER_SIDE = {"left": "right", "right": "left"}
HELD_BY_OTHER_HAND = OTHER_SIDE


@dataclass(frozen=True)
class KeyPose:
    """One key posture; mirrored ones are not listed."""

    name: str
    activity: str
    posture: Posture
    supports: str = "floor"  # "floor" | "seat" | "wall" | "table" | "lying"
    holds: str = "none"  # "none" | "left" | "right" | "both"
    side: str = "none"  # side of the body where wall or table is: "front" | "back" | "left" | "right" | "none"
    arm_freedom: tuple[float, float] = (1.0, 1.0)  # of left and right arm, times the usual variation
    leg_freedom: float = 1.0
    trunk_freedom: float = 1.0
    weight: float = 1.0  # how often, among the key postures


@dataclass(frozen=True, eq=False)
class KeyPoseBank:
    """Variations of all key postures."""

    key_poses: tuple[KeyPose, ...]
    poses: np.ndarray  # [N, 24, 3] float64, axis-angle, facing +z
    label: np.ndarray  # [N] int64, sorted index into key_poses

    @property
    def weights(self) -> list[float]:
        """How often each key posture is to be drawn."""
        return [pose.weight for pose in self.key_poses]


# Standard deviation of the variations, degrees, in the order of the fields.
_TRUNK_SPREAD = np.array([3.0, 2.5, 5.0, 3.0, 6.0, 8.0, 4.0, 16.0])
_ARM_SPREAD = np.array([12.0, 6.0, 10.0, 9.0, 12.0, 9.0, 5.0, 9.0, 2.0])
_LEG_SPREAD = np.array([3.5, 3.0, 6.0, 4.0, 3.0, 2.0])


# --- arms -------------------------------------------------------------------------------------------------------------

HANGING = Arm(plane=20, elevation=8, elbow=14)
ON_HIP = Arm(plane=-23, elevation=47, rotation=65, elbow=90, pronation=-34, wrist=-39, deviation=20)
IN_POCKET = Arm(plane=-32, elevation=32, rotation=46, elbow=57, pronation=-46, wrist=-17, deviation=-6)
BEHIND_BACK = Arm(plane=-68, elevation=27, rotation=89, elbow=41, pronation=20, wrist=-10, deviation=4)
BEHIND_BACK_OUTER = Arm(plane=-69, elevation=23, rotation=89, elbow=49, pronation=21, wrist=-19, deviation=6)
CROSSED_INNER = Arm(plane=102, elevation=33, rotation=92, elbow=84, pronation=-28, wrist=3)
CROSSED_OUTER = Arm(plane=104, elevation=44, rotation=80, elbow=84, pronation=-29, wrist=10)
PHONE_AT_EAR = Arm(plane=62, elevation=96, rotation=-15, elbow=144, pronation=-8, wrist=-21, grip=45)
PHONE_IN_FRONT = Arm(plane=41, elevation=11, rotation=31, elbow=101, pronation=-67, wrist=31, deviation=19, grip=35)
DRINKING = Arm(plane=62, elevation=74, rotation=24, elbow=137, pronation=-52, wrist=-45, deviation=-25, grip=45)
HANDSHAKE = Arm(plane=93, elevation=32, rotation=41, elbow=44, pronation=-22, wrist=-22, deviation=13, grip=25)
BOX = Arm(plane=39, elevation=14, rotation=15, elbow=67, pronation=-51, wrist=8, deviation=8, grip=20)
PUSHING = Arm(plane=42, elevation=45, rotation=38, elbow=61, pronation=55, wrist=-50, deviation=-11, grip=60)
CLASPED_LOW = Arm(plane=65, elevation=17, rotation=62, elbow=45, pronation=-5, wrist=13, deviation=-5)
PHOTO = Arm(plane=85, elevation=74, rotation=22, elbow=100, pronation=59, wrist=-14, deviation=-6, grip=35)
AT_HEAD = Arm(plane=24, elevation=131, rotation=-63, elbow=120, pronation=-61, wrist=-25, deviation=5)
WAVING = Arm(plane=8, elevation=69, rotation=-62, elbow=112, pronation=13, wrist=-21, deviation=-8)
STOPPING = Arm(plane=79, elevation=49, rotation=16, elbow=61, pronation=81, wrist=-65, deviation=-12)
CLAPPING = Arm(plane=62, elevation=25, rotation=51, elbow=103, pronation=2, wrist=-48)
CUP = Arm(plane=3, elevation=19, rotation=22, elbow=98, pronation=-14, wrist=-15, deviation=6, grip=50)
TABLET = Arm(plane=9, elevation=14, rotation=21, elbow=101, pronation=-77, wrist=12, deviation=13)
AT_FACE = Arm(plane=81, elevation=71, rotation=37, elbow=134, pronation=-80, wrist=-22, deviation=10)
WAVING_HIGH = Arm(plane=18, elevation=103, rotation=-45, elbow=98, pronation=13, wrist=-23, deviation=-20)
HUG_OVER = Arm(plane=75, elevation=71, rotation=63, elbow=72, pronation=-74, wrist=35, deviation=8)
HUG_UNDER = Arm(plane=86, elevation=49, rotation=63, elbow=50, pronation=-42, wrist=42, deviation=11)
POINTING = Arm(plane=75, elevation=86, rotation=20, elbow=6, pronation=45, grip=60)
BAG = Arm(plane=-5, elevation=11, rotation=5, elbow=8, grip=75)
ON_THIGH = Arm(plane=-5, elevation=23, rotation=33, elbow=84, pronation=65, wrist=-17, deviation=-12)
ON_KNEE = Arm(plane=29, elevation=36, rotation=38, elbow=85, pronation=53, wrist=-27, deviation=-23)
IN_LAP = Arm(plane=17, elevation=22, rotation=56, elbow=88, pronation=64, wrist=-9, deviation=-5)
IN_LAP_UPPER = Arm(plane=39, elevation=17, rotation=59, elbow=90, pronation=66, wrist=-2, deviation=-7)
ON_TABLE = Arm(plane=43, elevation=37, rotation=30, elbow=99, pronation=59, wrist=7, deviation=-11)
TYPING = Arm(plane=55, elevation=26, rotation=29, elbow=104, pronation=75, wrist=19, deviation=-19)
ON_ARMREST = Arm(plane=-15, elevation=29, rotation=-1, elbow=90, pronation=62, wrist=-7)
ELBOW_ON_KNEE = Arm(plane=79, elevation=64, rotation=43, elbow=118, pronation=9, wrist=-29, deviation=-25)
CHIN_IN_HAND = Arm(plane=80, elevation=87, rotation=37, elbow=137, pronation=-61, wrist=-58, deviation=20)
ON_COUNTER = Arm(plane=30, elevation=62, rotation=44, elbow=79, pronation=28, wrist=-45, deviation=-14)
FOREARM_ON_BAR = Arm(plane=65, elevation=72, rotation=30, elbow=97, pronation=48, wrist=12, deviation=17)
WALL_AT_SIDE = Arm(plane=6, elevation=70, rotation=-62, elbow=43, pronation=85, wrist=-65, deviation=-13)
WALL_IN_FRONT = Arm(plane=67, elevation=81, rotation=30, elbow=49, pronation=46, wrist=-65, deviation=-14)
ON_BELLY = Arm(plane=9, elevation=27, rotation=43, elbow=90, pronation=-5, wrist=38, deviation=4)
BEHIND_HEAD = Arm(plane=27, elevation=154, rotation=-90, elbow=128, wrist=44, deviation=-18)
REACHING_UP = Arm(plane=75, elevation=158, rotation=-10, elbow=14, pronation=10, grip=25)
REACHING_FORWARDS = Arm(plane=82, elevation=82, rotation=15, elbow=14, pronation=40, grip=25)
REACHING_DOWN = Arm(plane=85, elevation=75, rotation=20, elbow=10, pronation=20, grip=30)
FREE_IN_BEND = Arm(plane=78, elevation=66, rotation=15, elbow=22)
TYING = Arm(plane=78, elevation=82, rotation=22, elbow=17, pronation=21, grip=45)
SUPPORT_BEHIND = Arm(plane=-68, elevation=43, rotation=-24, elbow=2, pronation=-37, wrist=-45)

# --- legs -------------------------------------------------------------------------------------------------------------

STANDING = {"left_leg": Leg(), "right_leg": Leg()}
RELAXED = {
    "left_leg": Leg(flexion=1, abduction=-3, rotation=6, knee=0),
    "right_leg": Leg(flexion=13, abduction=7, rotation=14, knee=20),
}
WIDE = {"left_leg": Leg(abduction=10, rotation=12), "right_leg": Leg(abduction=10, rotation=12)}
STEP = {"left_leg": Leg(flexion=18, knee=6), "right_leg": Leg(flexion=-12, knee=8)}
CHAIR = {
    "left_leg": Leg(flexion=86, abduction=6, rotation=0, knee=86),
    "right_leg": Leg(flexion=86, abduction=6, rotation=0, knee=86),
}
CHAIR_FORWARD = {
    "left_leg": Leg(flexion=82, abduction=5, rotation=4, knee=55),
    "right_leg": Leg(flexion=82, abduction=5, rotation=4, knee=60),
}
CHAIR_UNDER = {
    "left_leg": Leg(flexion=84, abduction=7, rotation=0, knee=106, ankle=2, toes=15),
    "right_leg": Leg(flexion=84, abduction=7, rotation=0, knee=100, ankle=0, toes=12),
}
CHAIR_WIDE = {
    "left_leg": Leg(flexion=84, abduction=24, rotation=4, knee=88),
    "right_leg": Leg(flexion=84, abduction=24, rotation=4, knee=86),
}
KNEES_CROSSED = {
    "left_leg": Leg(flexion=103, abduction=-16, rotation=6, knee=78, ankle=30),
    "right_leg": Leg(flexion=85, abduction=2, rotation=0, knee=84),
}
ANKLE_ON_KNEE = {
    "left_leg": Leg(flexion=112, abduction=27, rotation=58, knee=116, ankle=5),
    "right_leg": Leg(flexion=85, abduction=8, rotation=0, knee=86),
}
ANKLES_CROSSED = {
    "left_leg": Leg(flexion=80, abduction=6, rotation=30, knee=44, ankle=22),
    "right_leg": Leg(flexion=78, abduction=6, rotation=28, knee=62, ankle=10),
}
STOOL = {
    "left_leg": Leg(flexion=66, abduction=10, rotation=0, knee=72, ankle=4),
    "right_leg": Leg(flexion=60, abduction=10, rotation=0, knee=64, ankle=4),
}
SOFA = {
    "left_leg": Leg(flexion=88, abduction=9, rotation=5, knee=70),
    "right_leg": Leg(flexion=86, abduction=9, rotation=5, knee=74),
}
SOFA_STRETCHED = {
    "left_leg": Leg(flexion=78, abduction=6, rotation=10, knee=20, ankle=15),
    "right_leg": Leg(flexion=78, abduction=6, rotation=10, knee=24, ankle=15),
}
ONE_KNEE = {
    "left_leg": Leg(flexion=82, abduction=4, knee=88),
    "right_leg": Leg(flexion=-2, abduction=2, rotation=0, knee=95, ankle=-10, toes=50),
}
BOTH_KNEES = {
    "left_leg": Leg(flexion=4, abduction=3, rotation=0, knee=94, ankle=42),
    "right_leg": Leg(flexion=4, abduction=3, rotation=0, knee=94, ankle=42),
}
ON_HEELS = {
    "left_leg": Leg(flexion=72, abduction=5, rotation=0, knee=148, ankle=48),
    "right_leg": Leg(flexion=72, abduction=5, rotation=0, knee=148, ankle=48),
}
SQUATTING = {
    "left_leg": Leg(flexion=104, abduction=16, rotation=12, knee=132, ankle=-22),
    "right_leg": Leg(flexion=104, abduction=16, rotation=12, knee=132, ankle=-22),
}
CROUCHING = {
    "left_leg": Leg(flexion=58, abduction=6, knee=86),
    "right_leg": Leg(flexion=46, abduction=6, knee=86),
}
FLOOR_STRAIGHT = {
    "left_leg": Leg(flexion=88, abduction=6, rotation=10, knee=8, ankle=12),
    "right_leg": Leg(flexion=88, abduction=6, rotation=10, knee=8, ankle=12),
}
FLOOR_KNEES_UP = {
    "left_leg": Leg(flexion=132, abduction=5, rotation=0, knee=105, ankle=12),
    "right_leg": Leg(flexion=132, abduction=5, rotation=0, knee=100, ankle=12),
}
FLOOR_CROSSED = {
    "left_leg": Leg(flexion=117, abduction=38, rotation=60, knee=125, ankle=20),
    "right_leg": Leg(flexion=121, abduction=43, rotation=60, knee=139, ankle=20),
}
BENT_KNEES = {"left_leg": Leg(flexion=24, abduction=4, knee=34), "right_leg": Leg(flexion=20, abduction=4, knee=32)}


_TRUNK = Trunk()

Legs = Mapping[str, Leg]

# --- postures ---------------------------------------------------------------------------------------------------------


def _standing() -> Iterator[KeyPose]:
    def pose(
        name: str,
        activity: str,
        trunk: Trunk = _TRUNK,
        legs: Legs = RELAXED,
        left: Arm = HANGING,
        right: Arm = HANGING,
        **more: Any,
    ) -> KeyPose:
        return KeyPose(name, activity, Posture(trunk, left, right, **legs), **more)

    touching = (0.4, 0.4)
    one = (0.4, 1.0)
    yield pose("stand", "standing", legs=STANDING, weight=2)
    yield pose("stand_relaxed", "standing", weight=2)
    yield pose("stand_wide", "standing", legs=WIDE)
    yield pose("hands_on_hips", "standing", left=ON_HIP, right=ON_HIP, legs=WIDE, arm_freedom=touching)
    yield pose("hand_on_hip", "standing", left=ON_HIP, arm_freedom=one)
    yield pose("hands_in_pockets", "standing", left=IN_POCKET, right=IN_POCKET, arm_freedom=touching)
    yield pose("hand_in_pocket", "standing", left=IN_POCKET, right=replace(HANGING, elbow=30), arm_freedom=one)
    yield pose(
        "hands_behind_back",
        "standing",
        left=BEHIND_BACK,
        right=BEHIND_BACK_OUTER,
        legs=STANDING,
        arm_freedom=(0.3, 0.3),
    )
    yield pose("hands_clasped", "standing", left=CLASPED_LOW, right=CLASPED_LOW, arm_freedom=(0.3, 0.3))
    yield pose("arms_crossed", "standing", left=CROSSED_INNER, right=CROSSED_OUTER, arm_freedom=(0.25, 0.25), weight=2)
    yield pose("phone_at_ear", "standing", Trunk(tilt=6), left=PHONE_AT_EAR, arm_freedom=one, holds="left", weight=2)
    yield pose(
        "phone_in_front", "standing", Trunk(nod=26), left=PHONE_IN_FRONT, arm_freedom=(0.6, 1), holds="left", weight=2
    )
    yield pose(
        "phone_in_both_hands",
        "standing",
        Trunk(nod=28, flexion=6),
        left=PHONE_IN_FRONT,
        right=PHONE_IN_FRONT,
        arm_freedom=touching,
        holds="both",
    )
    yield pose("photographing", "gesturing", left=PHOTO, right=PHOTO, arm_freedom=touching, holds="both")
    yield pose("drinking", "standing", Trunk(nod=-6), left=DRINKING, arm_freedom=(0.3, 1), holds="left")
    yield pose("cup_in_hand", "standing", left=CUP, holds="left")
    yield pose("hand_at_head", "standing", left=AT_HEAD, arm_freedom=(0.3, 1))
    yield pose("hands_behind_head", "standing", left=BEHIND_HEAD, right=BEHIND_HEAD, arm_freedom=(0.2, 0.2), weight=0.5)
    yield pose("waving", "gesturing", left=WAVING, weight=1.5)
    yield pose("waving_high", "gesturing", left=WAVING_HIGH, weight=1)
    for plane, elevation in ((80, 86), (25, 88), (115, 84), (70, 62), (60, 112), (-15, 80)):
        yield pose(
            f"pointing_{plane}_{elevation}",
            "gesturing",
            Trunk(turn=40 - 0.5 * plane),
            left=replace(POINTING, plane=plane, elevation=elevation),
            weight=0.5,
        )
    yield pose("stop_sign", "gesturing", left=STOPPING)
    yield pose("clapping", "gesturing", left=CLAPPING, right=CLAPPING, arm_freedom=(0.35, 0.35))
    yield pose(
        "explaining",
        "gesturing",
        left=replace(BOX, plane=30, elevation=22, rotation=0),
        right=replace(BOX, plane=50, elevation=20, elbow=85),
    )
    yield pose("handshake", "gesturing", Trunk(flexion=6), legs=STEP, right=HANDSHAKE, arm_freedom=(1, 0.5))
    yield pose("hug", "gesturing", Trunk(pitch=4, flexion=6), left=HUG_OVER, right=HUG_UNDER, arm_freedom=(0.5, 0.5))
    yield pose(
        "arms_raised",
        "gesturing",
        left=replace(REACHING_UP, plane=25, elevation=140),
        right=replace(REACHING_UP, plane=25, elevation=140),
    )
    yield pose("looking_back", "standing", Trunk(twist=32, turn=55), legs=STANDING)
    yield pose("reach_up", "reaching", Trunk(flexion=-6, nod=-16), left=REACHING_UP, weight=1.5)
    yield pose("reach_up_both", "reaching", Trunk(flexion=-6, nod=-16), left=REACHING_UP, right=REACHING_UP)
    yield pose("reach_forwards", "reaching", Trunk(pitch=8, flexion=10), legs=STEP, left=REACHING_FORWARDS, weight=1.5)
    yield pose(
        "reach_sideways", "reaching", Trunk(bend=10, turn=40), legs=WIDE, left=replace(REACHING_FORWARDS, plane=8)
    )
    yield pose(
        "pick_up",
        "reaching",
        Trunk(pitch=52, flexion=44, nod=-12),
        legs=BENT_KNEES,
        left=REACHING_DOWN,
        right=FREE_IN_BEND,
        weight=1.5,
    )
    yield pose(
        "pick_up_both",
        "reaching",
        Trunk(pitch=48, flexion=40, nod=-10),
        legs=BENT_KNEES,
        left=REACHING_DOWN,
        right=REACHING_DOWN,
    )
    yield pose("bow", "reaching", Trunk(pitch=38, flexion=20, nod=8), legs=STANDING, weight=0.7)
    yield pose(
        "carry_box",
        "carrying",
        Trunk(pitch=-4),
        left=BOX,
        right=BOX,
        arm_freedom=touching,
        holds="both",
        legs=STANDING,
        weight=2,
    )
    yield pose("carry_bag", "carrying", Trunk(bend=-4), legs=STEP, left=BAG, holds="left", weight=1.5)
    yield pose("carry_bags", "carrying", legs=STEP, left=BAG, right=BAG, holds="both")
    yield pose(
        "push_cart",
        "carrying",
        Trunk(pitch=10, flexion=6),
        legs=STEP,
        left=PUSHING,
        right=PUSHING,
        arm_freedom=touching,
        holds="both",
        weight=1.5,
    )


def _leaning() -> Iterator[KeyPose]:
    def pose(
        name: str,
        supports: str,
        side: str,
        trunk: Trunk,
        legs: Legs,
        left: Arm = HANGING,
        right: Arm = HANGING,
        **more: Any,
    ) -> KeyPose:
        return KeyPose(name, "leaning", Posture(trunk, left, right, **legs), supports, side=side, **more)

    back = {"left_leg": Leg(flexion=14, knee=4), "right_leg": Leg(flexion=12, knee=3)}
    foot_up = {"left_leg": Leg(flexion=14, knee=4), "right_leg": Leg(flexion=46, knee=88, ankle=20)}
    lean_back, lean_left = Trunk(pitch=-7), Trunk(roll=7, bend=-4)
    slanted = {"left_leg": Leg(abduction=-9, knee=2), "right_leg": Leg(abduction=8, flexion=8, knee=14)}
    yield pose("back_to_wall", "wall", "back", lean_back, back, IN_POCKET, HANGING, arm_freedom=(0.3, 0.6))
    yield pose(
        "back_to_wall_crossed",
        "wall",
        "back",
        lean_back,
        foot_up,
        CROSSED_INNER,
        CROSSED_OUTER,
        arm_freedom=(0.25, 0.25),
    )
    yield pose(
        "back_to_wall_phone",
        "wall",
        "back",
        replace(lean_back, nod=28),
        back,
        PHONE_IN_FRONT,
        IN_POCKET,
        arm_freedom=(0.5, 0.3),
        holds="left",
    )
    yield pose("hand_on_wall", "wall", "left", lean_left, slanted, WALL_AT_SIDE, arm_freedom=(0.3, 1))
    yield pose(
        "hands_on_wall", "wall", "front", Trunk(pitch=12), STEP, WALL_IN_FRONT, WALL_IN_FRONT, arm_freedom=(0.3, 0.3)
    )
    counter = Trunk(pitch=22, flexion=8, nod=-4)
    yield pose("hands_on_counter", "table", "front", counter, STANDING, ON_COUNTER, ON_COUNTER, arm_freedom=(0.3, 0.3))
    yield pose(
        "hand_on_counter",
        "table",
        "front",
        replace(counter, pitch=14, twist=-10),
        RELAXED,
        ON_COUNTER,
        HANGING,
        arm_freedom=(0.3, 0.7),
    )
    yield pose(
        "forearms_on_bar",
        "table",
        "front",
        Trunk(pitch=24, flexion=16, nod=-16),
        RELAXED,
        FOREARM_ON_BAR,
        FOREARM_ON_BAR,
        arm_freedom=(0.25, 0.25),
    )
    yield pose(
        "working_at_table",
        "table",
        "front",
        Trunk(pitch=14, flexion=14, nod=18),
        STANDING,
        replace(ON_TABLE, elbow=70),
        replace(ON_TABLE, elbow=80),
        arm_freedom=(0.6, 0.6),
    )


def _sitting() -> Iterator[KeyPose]:
    upright, back, forwards = Trunk(pitch=-4), Trunk(pitch=-16, nod=8), Trunk(pitch=14, flexion=14, nod=-4)
    at_table = Trunk(pitch=2, flexion=10, nod=10)
    thigh, lap = (ON_THIGH, ON_THIGH), (IN_LAP, IN_LAP_UPPER)
    crossed = (CROSSED_INNER, CROSSED_OUTER)
    some, little = (0.5, 0.5), (0.3, 0.3)

    def pose(
        name: str, trunk: Trunk, legs: Legs, arms: tuple[Arm, Arm], freedom: tuple[float, float] = some, **more: Any
    ) -> KeyPose:
        return KeyPose(
            f"sit_{name}",
            "sitting",
            Posture(trunk, arms[0], arms[1], **legs),
            "seat",
            arm_freedom=freedom,
            **{"leg_freedom": 0.7, "trunk_freedom": 0.7, **more},
        )

    yield pose("upright_hands_on_thighs", upright, CHAIR, thigh, weight=2)
    yield pose("back_hands_on_thighs", back, CHAIR_FORWARD, thigh)
    yield pose("back_hands_in_lap", back, CHAIR, lap, little, weight=1.5)
    yield pose("back_arms_crossed", back, CHAIR_FORWARD, crossed, little)
    yield pose("ankles_crossed_hands_in_lap", back, ANKLES_CROSSED, lap, little)
    yield pose("ankles_crossed_arms_crossed", back, ANKLES_CROSSED, crossed, little)
    yield pose(
        "knees_crossed_hands_in_lap",
        Trunk(pitch=-10),
        KNEES_CROSSED,
        (replace(ON_BELLY, elevation=22, rotation=45, elbow=93), replace(ON_BELLY, plane=7, elevation=29, rotation=41)),
        little,
        weight=1.5,
    )
    yield pose("knees_crossed_arms_crossed", Trunk(pitch=-10), KNEES_CROSSED, crossed, little)
    yield pose("knees_crossed_phone", replace(back, nod=30), KNEES_CROSSED, (PHONE_IN_FRONT, ON_ARMREST), holds="left")
    yield pose("ankle_on_knee", back, ANKLE_ON_KNEE, (ON_ARMREST, ON_ARMREST))
    yield pose(
        "leaning_forwards",
        Trunk(pitch=22, flexion=34, nod=-26),
        CHAIR_WIDE,
        (ELBOW_ON_KNEE, ELBOW_ON_KNEE),
        (0.2, 0.2),
        weight=1.5,
    )
    yield pose("hands_on_knees", forwards, CHAIR_WIDE, (ON_KNEE, ON_KNEE), little)
    yield pose("feet_under", upright, CHAIR_UNDER, thigh)
    yield pose("armrests", back, CHAIR, (ON_ARMREST, ON_ARMREST))
    yield pose("wide", back, CHAIR_WIDE, (ON_THIGH, ON_ARMREST))
    for legs_name, legs in (("", CHAIR), ("_feet_under", CHAIR_UNDER)):
        yield pose("at_table" + legs_name, at_table, legs, (ON_TABLE, ON_TABLE), little, side="front")
        yield pose(
            "at_laptop" + legs_name, Trunk(flexion=8, nod=14), legs, (TYPING, TYPING), little, side="front", weight=1.5
        )
    yield pose(
        "writing",
        Trunk(pitch=6, flexion=18, nod=24),
        CHAIR,
        (ON_TABLE, replace(TYPING, grip=50)),
        little,
        side="front",
        holds="right",
    )
    yield pose(
        "mouse",
        Trunk(flexion=6),
        CHAIR_FORWARD,
        (TYPING, replace(ON_TABLE, plane=35, rotation=5)),
        little,
        side="front",
    )
    yield pose(
        "chin_in_hand", Trunk(pitch=10, flexion=20, nod=8), CHAIR, (CHIN_IN_HAND, ON_TABLE), (0.15, 0.3), side="front"
    )
    yield pose("drinking", upright, CHAIR, (DRINKING, ON_THIGH), (0.3, 0.5), holds="left")
    yield pose("phone_at_ear", Trunk(pitch=-8, tilt=6), CHAIR, (PHONE_AT_EAR, ON_THIGH), (0.4, 0.5), holds="left")
    yield pose("phone_in_front", replace(upright, nod=28), CHAIR, (PHONE_IN_FRONT, ON_THIGH), holds="left", weight=1.5)
    yield pose(
        "phone_in_both_hands",
        Trunk(flexion=10, nod=28),
        CHAIR_WIDE,
        (PHONE_IN_FRONT, PHONE_IN_FRONT),
        little,
        holds="both",
    )
    yield pose("pointing", upright, CHAIR, (POINTING, ON_THIGH), (1.5, 0.5))
    yield pose("waving", upright, CHAIR, (WAVING, ON_THIGH), (1, 0.5))
    yield pose("explaining", upright, CHAIR, (BOX, replace(BOX, elbow=85, rotation=0)), (1, 1))
    yield pose("looking_back", Trunk(twist=34, turn=55), CHAIR, (ON_ARMREST, ON_THIGH), little)
    yield pose("hands_behind_head", replace(back, flexion=-6), CHAIR_FORWARD, (BEHIND_HEAD, BEHIND_HEAD), little)
    yield pose("tying_shoe", Trunk(pitch=34, flexion=58, nod=0), CHAIR_FORWARD, (TYING, TYING), little)
    sofa = Trunk(pitch=-30, flexion=14, nod=14)
    yield pose("sofa", sofa, SOFA, (ON_BELLY, ON_ARMREST), weight=1.5)
    yield pose("sofa_stretched", replace(sofa, pitch=-38), SOFA_STRETCHED, (ON_BELLY, ON_BELLY))
    yield pose("sofa_phone", replace(sofa, nod=30), SOFA, (PHONE_IN_FRONT, ON_BELLY), holds="left")
    yield pose(
        "sofa_arm_on_back",
        sofa,
        KNEES_CROSSED,
        (replace(HANGING, plane=-10, elevation=78, rotation=-20, elbow=25), ON_BELLY),
    )
    yield pose("stool", Trunk(pitch=2), STOOL, thigh, little)
    yield pose("stool_at_bar", Trunk(pitch=8, flexion=12), STOOL, (ON_TABLE, ON_TABLE), little, side="front")
    yield pose("stool_phone", Trunk(nod=28), STOOL, (PHONE_IN_FRONT, ON_THIGH), holds="left")


def _low() -> Iterator[KeyPose]:
    """On knees, heels or the floor, and lying."""

    def pose(
        name: str, activity: str, trunk: Trunk, legs: Legs, left: Arm = HANGING, right: Arm = HANGING, **more: Any
    ) -> KeyPose:
        return KeyPose(
            name, activity, Posture(trunk, left, right, **legs), **{"leg_freedom": 0.5, "trunk_freedom": 0.7, **more}
        )

    on_crossed = replace(ON_THIGH, plane=-5, elevation=24, rotation=30, elbow=95)
    down = replace(REACHING_DOWN, plane=81, elevation=54)
    to_floor = replace(REACHING_DOWN, plane=75, elevation=73, rotation=18, elbow=12)
    on_knees = replace(FOREARM_ON_BAR, plane=62, elevation=63, rotation=28, elbow=95)
    yield pose("kneel_one", "kneeling", Trunk(pitch=4), ONE_KNEE, ON_KNEE, HANGING, arm_freedom=(0.3, 1))
    yield pose("kneel_one_working", "kneeling", Trunk(pitch=14, flexion=24, nod=14), ONE_KNEE, down, down)
    yield pose(
        "tie_shoe", "kneeling", Trunk(pitch=30, flexion=48, nod=4), ONE_KNEE, TYING, TYING, arm_freedom=(0.4, 0.4)
    )
    yield pose("kneel_both", "kneeling", Trunk(), BOTH_KNEES)
    yield pose("kneel_both_working", "kneeling", Trunk(pitch=24, flexion=22, nod=10), BOTH_KNEES, down, down)
    yield pose("sit_on_heels", "kneeling", Trunk(pitch=6), ON_HEELS, ON_THIGH, ON_THIGH, arm_freedom=(0.3, 0.3))
    yield pose(
        "all_fours",
        "kneeling",
        Trunk(pitch=80, nod=-30),
        {"left_leg": Leg(abduction=2, knee=86, ankle=40), "right_leg": Leg(abduction=2, knee=86, ankle=40)},
        replace(REACHING_DOWN, elevation=84, elbow=4, wrist=-65),
        replace(REACHING_DOWN, elevation=84, elbow=4, wrist=-65),
        arm_freedom=(0.3, 0.3),
    )
    yield pose("squat", "crouching", Trunk(pitch=26, flexion=26, nod=-12), SQUATTING, to_floor, to_floor, weight=1.5)
    yield pose(
        "squat_forearms_on_knees",
        "crouching",
        Trunk(pitch=20, flexion=24, nod=-14),
        SQUATTING,
        on_knees,
        on_knees,
        arm_freedom=(0.4, 0.4),
    )
    yield pose(
        "crouch", "crouching", Trunk(pitch=28, flexion=16, nod=-14), CROUCHING, ON_KNEE, ON_KNEE, arm_freedom=(0.5, 0.5)
    )
    yield pose(
        "crouch_reach",
        "crouching",
        Trunk(pitch=34, flexion=24, nod=-8),
        CROUCHING,
        REACHING_DOWN,
        replace(FREE_IN_BEND, elevation=56),
    )
    floor = {"supports": "floor"}
    yield pose(
        "floor_legs_crossed",
        "sitting_floor",
        Trunk(pitch=-6, flexion=16),
        FLOOR_CROSSED,
        on_crossed,
        on_crossed,
        arm_freedom=(0.4, 0.4),
        **floor,
    )
    yield pose(
        "floor_legs_straight",
        "sitting_floor",
        Trunk(pitch=-18),
        FLOOR_STRAIGHT,
        SUPPORT_BEHIND,
        SUPPORT_BEHIND,
        arm_freedom=(0.3, 0.3),
        **floor,
    )
    yield pose(
        "floor_knees_up",
        "sitting_floor",
        Trunk(pitch=-10, flexion=26),
        FLOOR_KNEES_UP,
        replace(FOREARM_ON_BAR, elevation=70),
        replace(FOREARM_ON_BAR, elevation=70),
        arm_freedom=(0.3, 0.3),
        **floor,
    )
    yield pose(
        "floor_one_knee_up",
        "sitting_floor",
        Trunk(pitch=-12, flexion=12),
        {"left_leg": FLOOR_KNEES_UP["left_leg"], "right_leg": FLOOR_STRAIGHT["right_leg"]},
        replace(FOREARM_ON_BAR, elevation=66),
        SUPPORT_BEHIND,
        arm_freedom=(0.4, 0.4),
        **floor,
    )

    yield from _lying(pose)


def _lying(pose: Callable[..., KeyPose]) -> Iterator[KeyPose]:
    flat = {
        "left_leg": Leg(flexion=90, abduction=4, rotation=16, ankle=30),
        "right_leg": Leg(flexion=90, abduction=4, rotation=16, ankle=30),
    }
    knees_up = {
        "left_leg": Leg(flexion=142, abduction=3, knee=100),
        "right_leg": Leg(flexion=140, abduction=3, knee=96),
    }
    on_back, on_front = Trunk(pitch=-90, flexion=0, nod=8), Trunk(pitch=90, flexion=0, nod=-10, turn=60)
    aside = replace(HANGING, plane=0, elevation=14)
    prone = {
        "left_leg": Leg(flexion=-90, abduction=5, rotation=10, ankle=45),
        "right_leg": Leg(flexion=-90, abduction=5, rotation=10, ankle=45),
    }
    yield pose("lie_on_back", "lying", on_back, flat, aside, aside, supports="lying", weight=1.5)
    yield pose(
        "lie_on_back_hands_on_belly",
        "lying",
        on_back,
        flat,
        ON_BELLY,
        ON_BELLY,
        supports="lying",
        arm_freedom=(0.3, 0.3),
    )
    yield pose(
        "lie_on_back_knees_up", "lying", on_back, knees_up, aside, BEHIND_HEAD, supports="lying", arm_freedom=(1, 0.3)
    )
    yield pose(
        "lie_on_back_phone",
        "lying",
        replace(on_back, nod=25),
        knees_up,
        PHOTO,
        aside,
        supports="lying",
        arm_freedom=(0.3, 1),
        holds="left",
    )
    yield pose(
        "lie_on_front",
        "lying",
        on_front,
        prone,
        replace(HANGING, plane=0, elevation=112, rotation=-85, elbow=80),
        replace(HANGING, plane=0, elevation=105, rotation=-85, elbow=90),
        supports="lying",
        arm_freedom=(0.3, 0.3),
    )
    yield pose(
        "lie_on_front_arms_down",
        "lying",
        on_front,
        prone,
        replace(aside, rotation=40),
        replace(aside, rotation=40),
        supports="lying",
        arm_freedom=(0.3, 0.3),
    )
    curled = {
        "left_leg": Leg(flexion=55, abduction=0, rotation=0, knee=75, ankle=25),
        "right_leg": Leg(flexion=40, abduction=-16, rotation=0, knee=60, ankle=25),
    }
    yield pose(
        "lie_on_side",
        "lying",
        Trunk(roll=88, flexion=16),
        curled,
        replace(REACHING_FORWARDS, plane=70, elevation=100, elbow=90),
        replace(PHONE_IN_FRONT, plane=60, elevation=35, pronation=20, elbow=70, wrist=0),
        supports="lying",
        arm_freedom=(0.3, 0.5),
        weight=1.5,
    )
    yield pose(
        "lie_on_side_straight",
        "lying",
        Trunk(roll=88),
        {"left_leg": Leg(knee=10, ankle=25), "right_leg": Leg(flexion=12, abduction=-13, knee=24, ankle=25)},
        replace(REACHING_UP, plane=60, elevation=150, elbow=60),
        replace(HANGING, elbow=30),
        supports="lying",
        arm_freedom=(0.4, 1),
    )


@lru_cache(maxsize=1)
def key_poses() -> tuple[KeyPose, ...]:
    """All key postures."""
    return (*_standing(), *_leaning(), *_sitting(), *_low())


@lru_cache(maxsize=2)
def key_pose_bank(split: Split) -> KeyPoseBank:
    """Variations of all key postures; those of one split are not those of the other."""
    key = key_poses()
    angles = np.empty((len(key), VARIATIONS, ANGLE_COUNT))
    for index, pose in enumerate(key):
        angles[index] = vary(pose, generator(index, ("train", "test").index(split), "key poses"))
    poses = _without_intrusions(angles).reshape(-1, JOINT_COUNT, 3)
    return KeyPoseBank(key, poses, np.repeat(np.arange(len(key)), VARIATIONS))


def vary(pose: KeyPose, rng: np.random.Generator) -> np.ndarray:
    """Angles [VARIATIONS, 38], degrees: first those of ``pose``, then normal around them within two deviations."""
    spread = np.zeros(ANGLE_COUNT)
    spread[part_slice(0)] = _TRUNK_SPREAD * pose.trunk_freedom
    for part, freedom in ((1, pose.arm_freedom[0]), (2, pose.arm_freedom[1])):
        spread[part_slice(part)] = _ARM_SPREAD * freedom
    for part in (3, 4):
        spread[part_slice(part)] = _LEG_SPREAD * pose.leg_freedom
    steps = np.clip(rng.standard_normal((VARIATIONS, ANGLE_COUNT)), -2.0, 2.0)
    steps[0] = 0.0
    return angles_of(pose.posture) + steps * spread


def _without_intrusions(angles: np.ndarray) -> np.ndarray:
    """Poses [P, N, 24, 3] of ``angles`` [P, N, 38], of which [:, 0] are the postures themselves.

    Variations in which an arm enters the body more than ``_DEEPER`` beyond the posture itself are drawn half way
    towards it, again and again; those that still do become the posture.
    """
    count, size = angles.shape[:2]
    arms = slice(part_slice(1).start, part_slice(2).stop)
    poses = poses_of(angles.reshape(-1, ANGLE_COUNT)).reshape(count, size, JOINT_COUNT, 3)
    bound = intrusions(poses[:, 0]) + _DEEPER
    for step in range(4):
        deep = intrusions(poses.reshape(-1, JOINT_COUNT, 3)).reshape(count, size, -1) > bound[:, None]
        which = np.nonzero(deep.any(axis=2))
        if not len(which[0]):
            break
        angles = angles.copy()
        own, share = angles[which[0], 0], 0.5 if step < 3 else 0.0
        changed = angles[which]
        changed[:, arms] = own[:, arms] + share * (changed[:, arms] - own[:, arms])
        if step >= 2:  # trunk and legs come towards the arm as well
            changed = own + share * (changed - own)
        angles[which] = changed
        poses[which] = poses_of(changed)
    return poses


_DEEPER = 0.005  # metres

# Capsules of a rough body, metres: joint, joint, radius. Only differences between similar poses count.
_BODY_CAPSULES = (
    ("l_hip", "l_shoulder", 0.095),
    ("r_hip", "r_shoulder", 0.095),
    ("pelvis", "neck", 0.115),
    ("l_hip", "l_knee", 0.075),
    ("r_hip", "r_knee", 0.075),
    ("l_knee", "l_ankle", 0.05),
    ("r_knee", "r_ankle", 0.05),
)
_HEAD = (0.09, 0.03, 0.105)  # metres: centre above and before the head joint, radius
_ARM_POINTS = ((0.3, 0.7, 0.0, 0.04), (0.0, 0.6, 0.4, 0.035), (0.0, 0.15, 0.85, 0.03), (0.0, -0.7, 1.7, 0.02))


def intrusions(poses: np.ndarray) -> np.ndarray:
    """How deep points along the arms are in a rough body of capsules, metres, 0 outside: [N, 8] of poses [N, 24, 3]."""
    body = default_body_model()
    joints, head_frame = posed_joints(poses, body.j_template)
    head = joints[:, 15] + head_frame @ np.array([0.0, _HEAD[0], _HEAD[1]])
    depth = np.empty((len(poses), 2 * len(_ARM_POINTS)))
    for side, (shoulder, elbow, wrist) in enumerate(((16, 18, 20), (17, 19, 21))):
        for k, (a, b, c, radius) in enumerate(_ARM_POINTS):
            point = a * joints[:, shoulder] + b * joints[:, elbow] + c * joints[:, wrist]
            deepest = _HEAD[2] - np.linalg.norm(point - head, axis=1)
            for first, second, thickness in _BODY_CAPSULES:
                start, end = joints[:, joint_index(first)], joints[:, joint_index(second)]
                along = end - start
                t = np.clip(((point - start) * along).sum(1) / (along**2).sum(1), 0.0, 1.0)
                deepest = np.maximum(deepest, thickness - np.linalg.norm(point - start - t[:, None] * along, axis=1))
            depth[:, side * len(_ARM_POINTS) + k] = deepest + radius
    return np.maximum(depth, 0.0)
