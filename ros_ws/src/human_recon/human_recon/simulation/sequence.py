"""Sequences: people who move through a furnished room for a while, seen by one camera 30 times a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.parts import vertex_parts
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.presets import PRESETS
from human_recon.geometry.plane import Plane
from human_recon.ground_truth import TrueFrame
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.catalogue import Catalogue
from human_recon.simulation.choreography import (
    LANE,
    SCENARIOS,
    Choreography,
    Moves,
    Performance,
    PosedPerson,
    Stage,
    choreograph,
)
from human_recon.simulation.coloring import shade
from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts
from human_recon.simulation.motion import FPS
from human_recon.simulation.outfit import Detail, Looseness, Material, Outfit, pose_outfit
from human_recon.simulation.people_source import PeopleSource, UnplacedPerson
from human_recon.simulation.placement import plan_of
from human_recon.simulation.poses import without_yaw, yaw_axis_angle
from human_recon.simulation.randomness import generator
from human_recon.simulation.rendering import FIRST_THING, render, true_frame
from human_recon.simulation.robot_camera import fitted_intrinsics, look_at
from human_recon.simulation.rooms import Room, make_room
from human_recon.simulation.scene import Actor, Scene, Thing, View
from human_recon.simulation.seating import Fixture, seat_for, table_for
from human_recon.simulation.sensors import SensorSwitches, sensor_for
from human_recon.simulation.staging import MAX_PEOPLE
from human_recon.simulation.world import measure

FRAME_ID = "camera_depth_optical_frame"
_NO_BALLS = np.zeros((0, 4))
_BEHIND = 0.3  # metres from the camera to the wall behind it
_BACKSTAGE = 1.0  # metres behind the people, where furniture stands
_MOST_STRETCH = 1.7  # of a room of the stock; smaller rooms become larger, doors and windows with them
_SEAT_TRIES = 12


@dataclass(frozen=True)
class SequenceConfig:
    """What a sequence shows."""

    people: int = 3
    """1 to 8."""
    duration: float = 10.0
    """Seconds."""
    scenario: str = "mixed"
    """One of choreography.SCENARIOS."""
    preset: str = "kinect_v1"
    """Camera, of camera.presets."""
    size: tuple[int, int] | None = None
    """Width and height of the image; None: the camera's own."""
    moving: bool = False
    """Whether the camera drives and turns slowly; otherwise it stands still."""
    split: Split = "train"
    """Whose people, motion, clothes and furniture."""
    detail: Detail = "full"
    """Of the meshes of people."""
    sensor: SensorSwitches = field(default_factory=SensorSwitches)
    """Which of the sensor's errors there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.people <= MAX_PEOPLE:
            raise ValueError(f"people must be 1 to {MAX_PEOPLE}, got {self.people}")
        if not 1.0 / FPS <= self.duration <= 3600.0:
            raise ValueError(f"duration must be up to 3600 seconds and a frame at least, got {self.duration:g}")
        if self.scenario not in SCENARIOS:
            raise ValueError(f"scenario {self.scenario!r} is unknown; use one of {', '.join(SCENARIOS)}")
        if self.preset not in PRESETS:
            raise ValueError(f"camera {self.preset!r} is unknown; use one of {', '.join(sorted(PRESETS))}")
        if self.size is not None and min(self.size) < 8:
            raise ValueError(f"size {self.size[0]} x {self.size[1]} is too small to show anything")

    @property
    def frames(self) -> int:
        """How many there are."""
        return max(1, round(self.duration * FPS))


@dataclass(frozen=True, eq=False)
class SequenceSource:
    """What sequences of one split are made of; loaded once for many."""

    people: PeopleSource
    moves: Moves
    catalogue: Catalogue

    @staticmethod
    def load(assets: Assets, split: Split, detail: Detail = "full", body: BodyModel | None = None) -> SequenceSource:
        """With all that ``assets`` has; works without any."""
        people = PeopleSource.load(assets, split, detail, body if body is not None else default_body_model())
        return SequenceSource(people, Moves.load(assets, split), Catalogue(split))


@dataclass(frozen=True, eq=False)
class _Dressed:
    outfit: Outfit
    looseness: Looseness
    stands_on: np.ndarray  # [V] bool, vertices that carry the person: skin and shoes, not the hem of a coat

    def thickness_below(self, surface: np.ndarray) -> float:
        """How far the ``surface`` [V, 3] of somebody whose bare body is on the floor reaches below it: the soles."""
        return max(0.0, -float(surface[self.stands_on, 1].min()))


class Sequence:
    """One sequence: a function of the configuration, the assets, the seed and the index alone.

    Frames may be asked for in any order; each is rendered anew.
    """

    def __init__(self, config: SequenceConfig, source: SequenceSource, seed: int, index: int = 0) -> None:
        if source.people.split != config.split:
            raise ValueError(f"the source is of the split {source.people.split}, the sequence of {config.split}")
        self.config = config
        self._seed, self._index = seed, index
        self._source = source
        self.body = source.people.body
        rng = generator(seed, index, f"sequence {config.split}")
        dice = Dice(rng)
        intrinsics, self._stride = fitted_intrinsics(PRESETS[config.preset].intrinsics, config.size)
        self._intrinsics = intrinsics
        self._key = int(rng.integers(1 << 62))
        self._sensor = sensor_for(config.preset).draw_unit(rng)
        view = 0.5 * intrinsics.width / intrinsics.fx
        near = 1.0 + 0.8 / max(view, 0.4) + dice.between(-0.2, 0.4)
        far = near + max(dice.between(2.6, 3.6), LANE * (config.people - 1) + 0.1)
        room, stage = self._draw_room(dice, view, near, far)
        self._room, self.stage = room, stage
        self._camera = _CameraPath.draw(dice, stage, config.moving)
        betas, self._dressed = self._draw_people(rng)
        solids = self._furnish(dice)
        inside = self._obstruct(dice)
        boxes = [solid.boxes for _, solid in inside] + [room.inner.boxes]
        obstacles = _footprints(boxes)
        self._seats: dict[int, Fixture] = {}  # by the sitter's id
        self.choreography: Choreography = choreograph(
            source.moves, self.body, betas, config.scenario, config.frames, stage, rng, obstacles, self._seat(dice)
        )
        for seat in self._seats.values():
            solids += seat
        solids = [*room.solids, *solids, *inside]
        self._things = tuple(Thing(kind, solid.vertices, solid.faces) for kind, solid in solids)

    def __len__(self) -> int:
        return self.config.frames

    def scene(self, frame: int) -> Scene:
        """The people where they are in this frame, and all things."""
        return Scene(tuple(self._actor(person) for person in self.choreography.at(frame)), self._things)

    def view(self, frame: int) -> View:
        """The camera in this frame."""
        return View(self._camera.at(frame), self._intrinsics, self._stride, self.config.preset)

    def floor(self, frame: int) -> Plane:
        """The floor in the camera frame."""
        matrix = self._camera.at(frame)
        up = matrix[:, 1]
        return Plane(up, float(-up @ matrix[:, 3]))

    def true_frame(self, frame: int, start_ns: int = 0, color: bool = True) -> TrueFrame:
        """What the sensor delivers in this frame, and the truth about it; stamps begin at ``start_ns``."""
        view = self.view(frame)
        rendering = render(self.scene(frame), view, self.body)
        key = int(generator(self._seed, self._index, f"sensor {frame}").integers(1 << 62))
        depth = measure(self._sensor, rendering, view, key, self.config.sensor)
        picture = None
        if color:
            picture = shade(
                rendering.depth, rendering.object, rendering.material, rendering.normal, rendering.canonical,
                view.intrinsics, view.world_to_camera, self._key, frame, FIRST_THING,
            )  # fmt: skip
        stamp = start_ns + round(frame * 1_000_000_000 / FPS)
        reading = Frame(stamp, FRAME_ID, depth, view.intrinsics, picture)
        return true_frame(rendering, self.body, reading, [p.id for p in self.choreography.performances])

    def true_frames(self, start_ns: int = 0, color: bool = True) -> Iterator[TrueFrame]:
        """All frames in their order."""
        for frame in range(len(self)):
            yield self.true_frame(frame, start_ns, color)

    # --- people -------------------------------------------------------------------------------------------------------

    def _draw_people(self, rng: np.random.Generator) -> tuple[list[np.ndarray], list[_Dressed]]:
        people = self._source.people
        betas, dressed = [], []
        for _ in range(self.config.people):
            shape = people.shapes.draw(rng, people.split)
            outfit = people.wardrobe.draw(rng, people.split, shape.sex)
            stands_on = np.isin(outfit.material, (Material.SKIN, Material.SHOES))
            if not stands_on.any():
                stands_on[:] = True  # clothed from head to toe
            betas.append(shape.betas)
            dressed.append(_Dressed(outfit, Looseness.draw(rng), stands_on))
        return betas, dressed

    def _actor(self, person: PosedPerson) -> Actor:
        """Dressed, standing on the soles of the shoes; cloth below the floor lies on it."""
        own = self._dressed[person.id - 1]
        surface, joints = pose_outfit(own.outfit, self.body, person.betas, person.pose, person.trans, own.looseness)
        lift = own.thickness_below(surface)
        surface[:, 1] = np.maximum(surface[:, 1] + np.float32(lift), np.float32(0.0))
        joints[:, 1] += np.float32(lift)
        trans = person.trans + [0.0, lift, 0.0]
        return Actor(person.betas, person.pose, trans, own.outfit, surface, joints, person.activity)

    # --- things -------------------------------------------------------------------------------------------------------

    def _draw_room(self, dice: Dice, view: float, near: float, far: float) -> tuple[Room, Stage]:
        """A room of the stock, made large enough, with nothing fixed where people walk; an open floor otherwise."""
        stage = Stage(0.0, near, far, view)
        width, depth = 2.0 * (stage.outside(far) + 0.4), _BEHIND + far + _BACKSTAGE
        for _ in range(40):
            room = dice.pick(self._source.catalogue.rooms)
            x, z = max(1.0, width / room.width), max(1.0, depth / room.depth)
            if max(x, z) > _MOST_STRETCH:
                continue
            room = room.stretched(x, z)
            stage = Stage(_BEHIND - room.depth / 2, near, far, view)
            if not any(self._on_stage(stage, plan_of(_NO_BALLS, box[None])) for box in room.inner.boxes):
                return room, stage
        floor = Parts()
        floor.box((0.0, -0.1, 0.0), (30.0, 0.2, 30.0))
        room = make_room(width, depth, (False,) * 4, [("floor", floor.build())])
        return room, Stage(_BEHIND - depth / 2, near, far, view)

    @staticmethod
    def _on_stage(stage: Stage, plan: np.ndarray, margin: float = 0.5) -> bool:
        """Whether something over ``plan`` (low x, high x, low z, high z) is in people's way, or before the camera."""
        last = stage.camera_z + stage.far + margin
        if plan[2] > last:
            return False
        z = min(plan[3], last)
        reach = stage.outside(max(z, stage.camera_z)) + margin
        return bool(plan[0] < reach and plan[1] > -reach)

    def _furnish(self, dice: Dice) -> Fixture:
        """Furniture at the wall behind the people."""
        room, solids = self._room, []
        taken: list[np.ndarray] = []
        for _ in range(dice.below(4) + 2):
            item = self._source.catalogue.at_wall(dice) if dice.chance(0.7) else self._source.catalogue.humanlike(dice)
            z = room.depth / 2 - item.half[1] - dice.between(0.04, 0.15)
            x = dice.between(-0.5, 0.5) * max(room.width - 2 * item.half[0], 0.0)
            solid = item.solid.moved(math.pi + dice.between(-0.05, 0.05), (x, 0.0, z))
            plan = plan_of(_NO_BALLS, solid.boxes)
            if self._on_stage(self.stage, plan, 0.3) or any(_overlap(plan, other) for other in taken):
                continue
            taken.append(plan)
            solids.append((item.kind, solid))
        return solids

    def _obstruct(self, dice: Dice) -> Fixture:
        """Furniture among the people, which they walk around; nothing in the lanes of people who cross."""
        if self.config.scenario in ("cross", "mixed"):
            return []
        solids: Fixture = []
        for _ in range(dice.below(3)):
            item = self._source.catalogue.free(dice)
            z = self.stage.camera_z + dice.between(self.stage.near, self.stage.far)
            x = dice.between(-0.9, 0.9) * self.stage.half_width(z)
            solid = item.solid.moved(dice.between(-math.pi, math.pi), (x, 0.0, z))
            plan = plan_of(_NO_BALLS, solid.boxes)
            clear = all(not _overlap(plan, plan_of(_NO_BALLS, other.boxes)) for _, other in solids)
            if clear and max(plan[1] - plan[0], plan[3] - plan[2]) < 1.6:
                solids.append((item.kind, solid))
        return solids

    def _seat(self, dice: Dice) -> Callable[[Performance], np.ndarray]:
        """What puts a seat under a sitter and returns its footprint."""

        def furnish(performance: Performance) -> np.ndarray:
            fixture = self._draw_seat(dice, performance)
            self._seats[performance.id] = fixture
            return _footprints([solid.boxes for _, solid in fixture])

        return furnish

    def _draw_seat(self, dice: Dice, performance: Performance) -> Fixture:
        """Something to sit on, and a table where the arms want one."""
        people, own = self._source.people, self._dressed[performance.id - 1]
        pose = performance.poses[0].copy()
        yaw = float(yaw_axis_angle(pose[0])[1])
        pose[0] = without_yaw(pose[0])
        bare = pose_body(self.body, BodyState(performance.betas, pose, np.zeros(3)))
        trans = np.array([0.0, -float(bare.vertices[:, 1].min()), 0.0])
        surface, joints = pose_outfit(own.outfit, self.body, performance.betas, pose, trans, own.looseness)
        lift = own.thickness_below(surface)
        trans[1] += lift
        pelvis = bare.joints[0]
        up = np.float32(lift) * _UP
        sitter = UnplacedPerson(
            betas=performance.betas,
            pose=pose,
            trans=trans,
            pelvis=pelvis.astype(np.float64),
            outfit=own.outfit,
            surface=surface + up,
            joints=joints + up,
            balls=people.spheres.pose(performance.betas, pose, trans),
            activity="sitting",
            supports="seat",
            holds="none",
            side=performance.side,
            pose_name="",
            sat_on=bare.vertices[vertex_parts(self.body) <= 2] + trans.astype(np.float32),  # pelvis and thighs
        )
        part = people.spheres.part()
        fixture: Fixture = []
        for _ in range(_SEAT_TRIES):
            found = seat_for(dice, sitter, part)
            if found is not None:
                fixture = found[0]
                break
        if performance.side == "front":
            fixture = fixture + (table_for(dice, sitter, part) or [])
        # The sitter above turns about the origin, the performer about the pelvis.
        cosine, sine = math.cos(yaw), math.sin(yaw)
        x = float(performance.pelvis[0, 0]) - (cosine * float(pelvis[0]) + sine * float(pelvis[2]))
        z = float(performance.pelvis[0, 1]) - (cosine * float(pelvis[2]) - sine * float(pelvis[0]))
        return [(kind, solid.moved(yaw, (x, 0.0, z))) for kind, solid in fixture]


_UP = np.array([0.0, 1.0, 0.0], np.float32)


@dataclass(frozen=True)
class _CameraPath:
    """Where the camera is, frame by frame."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    roll: float
    drive: tuple[float, float]  # metres it goes to the sides and ahead
    turn: float  # radians it turns to the sides
    period: tuple[float, float]  # seconds
    phase: float

    @staticmethod
    def draw(dice: Dice, stage: Stage, moving: bool) -> _CameraPath:
        middle = stage.camera_z + 0.5 * (stage.near + stage.far)
        height = dice.between(0.5, 1.7)
        return _CameraPath(
            eye=(0.0, height, stage.camera_z),
            target=(0.0, dice.between(0.75, 1.0), middle),
            roll=dice.between(-0.015, 0.015),
            drive=(0.25, 0.12) if moving else (0.0, 0.0),
            turn=dice.between(0.08, 0.16) if moving else 0.0,
            period=(dice.between(9.0, 14.0), dice.between(7.0, 12.0)),
            phase=dice.between(0.0, 2.0 * math.pi),
        )

    def at(self, frame: int) -> np.ndarray:
        """World to camera [3, 4]."""
        time = frame / FPS
        side = math.sin(2.0 * math.pi * time / self.period[0] + self.phase)
        ahead = 0.5 - 0.5 * math.cos(2.0 * math.pi * time / self.period[1])
        x, y, z = self.eye
        eye = (x + self.drive[0] * side, y, z + self.drive[1] * ahead)
        turn = self.turn * math.sin(2.0 * math.pi * time / self.period[1] + 1.3 * self.phase)
        return look_at(eye, self.target, turn, 0.0, self.roll)


def _footprints(groups: Iterable[np.ndarray]) -> np.ndarray:
    """The rectangles [N, 5] (x, z, half sizes, yaw 0) around the boxes of all ``groups`` [M, 12]."""
    plans = [plan_of(_NO_BALLS, box[None]) for group in groups for box in group]
    rectangles = [((a + b) / 2, (c + d) / 2, (b - a) / 2, (d - c) / 2, 0.0) for a, b, c, d in plans]
    return np.array(rectangles, np.float64).reshape(-1, 5)


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3])
