"""What the people of a sequence do: where each of them is and in which pose, 30 times a second.

World frame: y up, the floor is y = 0; see :mod:`human_recon.simulation.trajectories` for places and headings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.measure import leg_length
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import JOINT_COUNT, joint_index
from human_recon.body.state import BodyState
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.gait import ARM_JOINTS, GaitCycle, gait_cycles
from human_recon.simulation.motion import FPS, CoupleDance, MotionLibrary
from human_recon.simulation.poses import DrawnPose, PoseLibrary
from human_recon.simulation.trajectories import Track, clearance, first_heading, joined, stay, turn, walk

SCENARIOS = ("walk", "cross", "dance", "sit", "mixed")
APART = 0.45  # metres between the middles of two people who walk, at least
APART_SEATED = 0.85  # from somebody on a chair: the chair needs room as well
_SWAY = 0.04  # metres that a walker's middle is beside the path, at most
_SEAT_TRIES = 5
_SQUEEZE = 0.15  # metres that a seat may be nearer to passers-by than they would walk to it
_BEFORE_MEETING = 75  # frames from the beginning until those who cross meet
LANE = 0.62  # metres between the lanes of people who cross each other's way
_REFERENCE_LEG = 0.81  # metres, of the body that motion was recorded for, when there is none
_LIMB_RATE = 2.5  # radians per second, of the joint that turns most when a gesture begins or ends
_UPPER = np.array([j for j in range(JOINT_COUNT) if j not in (0, 1, 2, 4, 5, 7, 8, 10, 11)])  # above the pelvis
_SEATED_GESTURES = ("phone_in_front", "phone_at_ear", "explaining", "waving", "pointing", "drinking")
_LIVELY = ("waving", "explaining", "clapping", "stop_sign")


@dataclass(frozen=True)
class Stage:
    """The part of the floor that a camera sees and people use; metres. The camera looks along +z from x = 0."""

    camera_z: float
    near: float  # distance of the nearest people from the camera
    far: float
    view: float  # tangent of half the horizontal view angle
    widest: float = 4.2  # half width of the floor at most

    def half_width(self, z: float) -> float:
        """Half the width of the view at ``z``."""
        return min(self.view * (z - self.camera_z), self.widest)

    def outside(self, z: float) -> float:
        """x from which somebody at ``z`` is out of the image; a wide view may end at the widest place."""
        return self.half_width(z) + 0.7

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A place [2] in the view."""
        z = self.camera_z + rng.uniform(self.near, self.far)
        return np.array([rng.uniform(-0.8, 0.8) * self.half_width(z), z])


@dataclass(frozen=True, eq=False)
class Moves:
    """What people can do."""

    poses: PoseLibrary
    cycles: tuple[GaitCycle, ...]
    dances: tuple[CoupleDance, ...]
    reference_leg: float  # metres, of the body that lengths in ``cycles`` and ``dances`` belong to

    @staticmethod
    def load(assets: Assets, split: Split) -> Moves:
        """With motion capture when ``assets`` has it. Raises MotionFileError when the file is none."""
        poses = PoseLibrary.load(assets, split)
        if assets.motion is None:
            return Moves(poses, gait_cycles(None), (), _REFERENCE_LEG)
        motion = MotionLibrary.load(assets.motion, split)
        hip, knee, ankle = (motion.rest_joints[joint_index(name)] for name in ("l_hip", "l_knee", "l_ankle"))
        leg = float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))
        dances = tuple(dance for dance in motion.couple_dances(shortest=150) if _together(dance))
        return Moves(poses, gait_cycles(motion), dances, leg)


def _together(dance: CoupleDance) -> bool:
    """Whether two people dance, and do not wait for the music a few steps apart."""
    gap = (dance.leader.trans - dance.follower.trans)[:, [0, 2]]
    return float(np.median(np.linalg.norm(gap, axis=1))) < 1.0


@dataclass(frozen=True, eq=False)
class Performance:
    """What one person does in all K frames."""

    id: int  # >= 1
    betas: np.ndarray  # [10]
    poses: np.ndarray  # [K, 24, 3] float64, axis-angle, world frame
    pelvis: np.ndarray  # [K, 2] metres, x and z of the pelvis joint
    activity: tuple[str, ...]  # [K]
    supports: str = "floor"  # "floor" | "seat"
    side: str = "none"  # "front": a table stands there


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """One person in one frame, world frame."""

    id: int
    betas: np.ndarray  # [10]
    pose: np.ndarray  # [24, 3]
    trans: np.ndarray  # [3] SMPL's translation; the lowest point of the body is on the floor
    activity: str


@dataclass(frozen=True, eq=False)
class Choreography:
    """All performances of a sequence of ``frames`` frames."""

    body: BodyModel
    frames: int
    performances: tuple[Performance, ...]

    def at(self, frame: int) -> tuple[PosedPerson, ...]:
        """Everybody in one frame."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} is not one of {self.frames}")
        return tuple(self._person(performance, frame) for performance in self.performances)

    def _person(self, performance: Performance, frame: int) -> PosedPerson:
        pose, betas = performance.poses[frame], performance.betas
        posed = pose_body(self.body, BodyState(betas, pose, np.zeros(3)))
        x, z = performance.pelvis[frame]
        trans = np.array([x - posed.joints[0, 0], -posed.vertices[:, 1].min(), z - posed.joints[0, 2]], np.float64)
        return PosedPerson(performance.id, betas, pose, trans, performance.activity[frame])


def choreograph(
    moves: Moves,
    body: BodyModel,
    betas: Sequence[np.ndarray],  # [10] of each person
    scenario: str,
    frames: int,
    stage: Stage,
    rng: np.random.Generator,
    obstacles: np.ndarray | None = None,  # [N, 5], see trajectories.clearance
    furnish: Callable[[Performance], np.ndarray] | None = None,
) -> Choreography:
    """Let ``len(betas)`` people act out a scenario:

    walk: everybody walks about, stops, gestures, leaves the image and comes back;
    cross: people walk across the image in lanes, in both directions, and hide each other where they meet;
    dance: recorded couple dances (without motion capture: people who gesture), the others walk;
    sit: everybody but every fourth person sits and moves their arms now and then;
    mixed: some of everything.

    ``furnish`` puts a seat under somebody who sits and returns its footprint [M, 5] for the others to keep away from;
    it is called again for another seat when the first is in somebody's way.

    The same arguments and state of ``rng`` give the same result. Raises ValueError for an unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario {scenario!r} is unknown; use one of {', '.join(SCENARIOS)}")
    boxes = obstacles if obstacles is not None else np.zeros((0, 5))
    planner = _Planner(moves, body, betas, frames, stage, rng, boxes, furnish)
    planner.plan(_roles(scenario, len(betas), bool(moves.dances), rng))
    return Choreography(body, frames, tuple(sorted(planner.performances, key=lambda done: done.id)))


def _roles(scenario: str, people: int, can_dance: bool, rng: np.random.Generator) -> list[str]:
    """What each person is: "walk", "cross", "dance" (in pairs), "sit" or "stand"."""
    if scenario == "dance":
        dancers = min(people - people % 2, 4)
        return (["dance"] if can_dance else ["stand"]) * dancers + ["walk"] * (people - dancers)
    if scenario == "sit":
        return ["walk" if k % 4 == 3 else "sit" for k in range(people)]
    if scenario == "mixed":
        pattern = ["cross", "sit", "cross", "walk", "sit", "stand", "walk", "sit"]
        roles = [pattern[k % len(pattern)] for k in range(people)]
        return [str(role) for role in rng.permutation(roles)]
    return [scenario] * people


class _Planner:
    """Adds one person after the other, around those who are there already."""

    def __init__(
        self,
        moves: Moves,
        body: BodyModel,
        betas: Sequence[np.ndarray],
        frames: int,
        stage: Stage,
        rng: np.random.Generator,
        obstacles: np.ndarray,
        furnish: Callable[[Performance], np.ndarray] | None,
    ) -> None:
        self._furnish = furnish
        self._moves, self._body, self._betas = moves, body, betas
        self._frames, self._stage, self._rng, self._obstacles = frames, stage, rng, obstacles
        self._tracks: list[Track] = []
        self._radii: list[float] = []
        self.performances: list[Performance] = []

    def plan(self, roles: Sequence[str]) -> None:
        """Those who cannot give way come first."""
        of = {role: [k for k, own in enumerate(roles) if own == role] for role in set(roles)}
        self._cross(of.get("cross", []))
        dancers = of.get("dance", [])
        for first, second in zip(dancers[::2], dancers[1::2], strict=False):
            self._dance(first, second)
        for k in of.get("sit", []):
            self._sit(k)
        for k in of.get("stand", []):
            self._stand(k)
        for k in of.get("walk", []):
            self._walk(k)

    def _add(self, performance: Performance, track: Track, radius: float) -> None:
        self.performances.append(performance)
        self._tracks.append(track)
        self._radii.append(radius)

    def _clearance(self, track: Track, start: int = 0) -> float:
        count = min(len(track), self._frames - start)
        if count <= 0:
            return math.inf
        window = slice(start, start + count)
        others = [Track(t.position[window], t.heading[window], t.speed[window]) for t in self._tracks]
        return clearance(track.cut(count), others, self._radii, self._obstacles)

    # --- places -------------------------------------------------------------------------------------------------------

    def _free_place(self, margin: float) -> np.ndarray:
        """A place in the view with ``margin`` metres more than needed around it all the time, or the best found."""
        best, where = -math.inf, self._stage.draw(self._rng)
        for _ in range(80):
            place = self._stage.draw(self._rng)
            free = self._clearance(stay(place, 0.0, self._frames))
            if free > best:
                best, where = free, place
            if free > margin:
                break
        return where

    def _towards_camera(self, place: np.ndarray, spread: float) -> float:
        facing = math.atan2(-place[0], self._stage.camera_z - place[1])
        return facing + self._rng.uniform(-spread, spread)

    # --- roles --------------------------------------------------------------------------------------------------------

    def _cross(self, people: Sequence[int]) -> None:
        """Everybody in a lane of their own, from the left and the right, all in the middle at about one moment.

        Every third person keeps in line with another and the camera for a second or two: one of them is hidden.
        """
        if not people:
            return
        stage, rng = self._stage, self._rng
        spacing = min(LANE, (stage.far - stage.near) / max(len(people) - 1, 1))
        first = stage.camera_z + stage.near + 0.5 * max(0.0, stage.far - stage.near - spacing * (len(people) - 1))
        lanes = first + spacing * rng.permutation(len(people))
        plans: list[tuple[np.ndarray, np.ndarray, float, Track, int]] = []
        for order, z in enumerate(lanes):
            away = float(z) - stage.camera_z
            if order % 3 == 2:  # in the line of sight of the one before for a while, nearer or farther
                *_, speed, there, _ = plans[-1]
                side = math.copysign(1.0, there.position[0, 0])
                ratio = away / (float(lanes[order - 1]) - stage.camera_z)
                speed = float(np.clip(speed * ratio * rng.uniform(0.92, 1.08), 0.6, 1.7))
                late = 0
            else:
                side = 1.0 if order % 2 else -1.0
                speed = rng.uniform(0.8, 1.4)
                late = int(rng.integers(-8, 9))
            ends = np.array([[side * stage.outside(z), z], [-side * stage.outside(z), z]])
            bow = np.array([0.0, rng.uniform(-0.5, 0.5) * max(0.0, spacing - APART - 2 * _SWAY)])
            there = walk([ends[0], ends.mean(axis=0) + bow, ends[1]], speed)
            plans.append((ends, bow, speed, there, int(np.abs(there.position[:, 0]).argmin()) + late))
        meeting = max(middle for *_, middle in plans)
        skipped = max(0, meeting - _BEFORE_MEETING)  # whoever has a long way is on it already
        for k, (ends, bow, speed, there, middle) in zip(people, plans, strict=True):
            tracks = [stay(ends[0], float(there.heading[0]), max(0, meeting - middle)), there]
            total, at_end = sum(map(len, tracks)), 1
            while total < skipped + self._frames:
                here, other = ends[at_end], ends[1 - at_end]
                way = [here, ends.mean(axis=0) + bow, other]
                tracks.append(stay(here, float(tracks[-1].heading[-1]), int(rng.integers(10, 60))))
                tracks.append(turn(here, float(tracks[-1].heading[-1]), first_heading(way)))
                tracks.append(walk(way, speed))
                total, at_end = sum(map(len, tracks)), 1 - at_end
            self._perform(k, joined(tracks).cut(skipped + self._frames).after(skipped))

    def _walk(self, k: int) -> None:
        """About the view and out of it, with stops; the plan that keeps most apart of several."""
        best, chosen = -math.inf, None
        for _ in range(12):
            track = self._walkabout()
            free = self._clearance(track)
            if free > best:
                best, chosen = free, track
            if best >= 0.0:
                break
        if best < 0.0:  # no way through: stand where there is most room
            place = self._free_place(0.2)
            still = stay(place, self._towards_camera(place, 1.0), self._frames)
            if self._clearance(still) > best:
                chosen = still
        assert chosen is not None
        self._perform(k, chosen)

    def _walkabout(self) -> Track:
        rng, stage = self._rng, self._stage
        outside = rng.random() < 0.4
        place = self._exit(stage.draw(rng)) if outside else self._free_place(0.0)
        speed = rng.uniform(0.7, 1.4)
        tracks: list[Track] = []
        total, heading = 0, self._towards_camera(place, math.pi)
        while total < self._frames:
            best, chosen, end, leaves = -math.inf, None, place, False
            for _ in range(14):
                leaves = not outside and rng.random() < 0.25
                goal = self._exit(place) if leaves else stage.draw(rng)
                if np.linalg.norm(goal - place) < 1.0:
                    continue
                way = [place, *self._between(place, goal), goal]
                pause = int(rng.integers(20, 50) if leaves else rng.integers(25, 150))
                start = first_heading(way) if not tracks else None
                began = heading if start is None else start
                parts = [turn(place, began, first_heading(way)), walk(way, speed)]
                parts.append(stay(goal, float(parts[-1].heading[-1]), pause))
                chunk = joined(parts)
                free = self._clearance(chunk, total)
                if free > best:
                    best, chosen, end, left = free, chunk, goal, leaves
                if best > 0.0:
                    break
            if chosen is None:
                chosen, left = stay(place, heading, 30), outside
            tracks.append(chosen)
            total += len(chosen)
            heading, place, outside = float(chosen.heading[-1]), end, left
        return joined(tracks).cut(self._frames)

    def _between(self, start: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
        """One or no place on the way that makes it a curve."""
        if self._rng.random() < 0.3:
            return []
        along = end - start
        aside = np.array([along[1], -along[0]]) * self._rng.uniform(-0.3, 0.3)
        return [start + self._rng.uniform(0.35, 0.65) * along + aside]

    def _exit(self, place: np.ndarray) -> np.ndarray:
        """Beside the view, at about the depth of ``place``."""
        stage = self._stage
        z = float(
            np.clip(place[1] + self._rng.uniform(-0.6, 0.6), stage.camera_z + stage.near, stage.camera_z + stage.far)
        )
        return np.array([math.copysign(stage.outside(z), place[0] + self._rng.uniform(-0.5, 0.5)), z])

    def _stand(self, k: int) -> None:
        place = self._free_place(0.25)
        self._perform(k, stay(place, self._towards_camera(place, 1.2), self._frames))

    def _dance(self, first: int, second: int) -> None:
        """A recorded couple dance somewhere in the view; both have the distance they had."""
        rng, moves = self._rng, self._moves
        dance = moves.dances[int(rng.integers(len(moves.dances)))]
        at = _there_and_back(len(dance.leader.poses), self._frames, rng)
        clips = (dance.leader, dance.follower)
        plans = [_between_frames(clip.trans[:, [0, 2]], at) for clip in clips]
        middle = np.concatenate(plans).mean(axis=0)
        yaw = rng.uniform(-math.pi, math.pi)
        cosine, sine = math.cos(yaw), math.sin(yaw)
        rotation = np.array([[cosine, sine], [-sine, cosine]])  # (x, z) turned about y
        shape = [(plan - middle) @ rotation.T for plan in plans]
        reach = float(max(np.linalg.norm(plan, axis=1).max() for plan in shape))
        place = self._free_place(reach)
        for k, clip, plan in zip((first, second), clips, shape, strict=True):
            rotations = _pose_between(clip.poses, at)
            rotations[:, 0] = rotvec_to_matrix(np.array([0.0, yaw, 0.0])) @ rotations[:, 0]
            poses = matrix_to_rotvec(rotations)
            track = Track(plan + place, np.zeros(self._frames), np.zeros(self._frames))
            self._add(
                Performance(k + 1, self._betas[k], poses, track.position, ("dancing",) * self._frames),
                track,
                APART + 0.1,
            )

    def _sit(self, k: int) -> None:
        rng = self._rng
        place = self._free_place(0.35)
        base = self._drawn("sitting", lambda drawn: True)
        heading = self._towards_camera(place, 1.4)
        keys = [(0, base.pose)]
        frame = int(rng.integers(60, 180))
        while frame < self._frames + 90:
            other = self._drawn("sitting", lambda drawn: drawn.name.removeprefix("sit_") in _SEATED_GESTURES)
            gesture = base.pose.copy()
            gesture[_UPPER[3:]] = other.pose[_UPPER[3:]]  # the back stays: hands must not enter the thighs
            keys.append((frame, gesture))
            keys.append((frame + int(rng.integers(75, 200)), base.pose))
            frame = keys[-1][0] + int(rng.integers(60, 240))
        rotations = self._lively(_pose_track(self._frames, keys), [])
        rotations[:, 0] = rotvec_to_matrix(np.array([0.0, heading, 0.0])) @ rotations[:, 0]
        track = stay(place, heading, self._frames)
        performance = Performance(
            k + 1,
            self._betas[k],
            matrix_to_rotvec(rotations),
            track.position,
            ("sitting",) * self._frames,
            "seat",
            base.side,
        )
        if self._furnish is not None:
            for _ in range(_SEAT_TRIES):
                boxes = self._furnish(performance)
                if all(clearance(other, [], [], boxes) > -_SQUEEZE for other in self._tracks):
                    break
            self._obstacles = np.concatenate([self._obstacles, boxes])
        self._add(performance, track, APART_SEATED)

    def _drawn(self, activity: str, accept: Callable[[DrawnPose], bool]) -> DrawnPose:
        drawn = self._moves.poses.draw(self._rng, activity)
        for _ in range(60):
            if accept(drawn):
                break
            drawn = self._moves.poses.draw(self._rng, activity)
        return drawn

    # --- motion -------------------------------------------------------------------------------------------------------

    def _perform(self, k: int, track: Track) -> None:
        """Walk along ``track``; where it stops, stand and gesture."""
        rng = self._rng
        cycle = self._moves.cycles[int(rng.integers(len(self._moves.cycles)))]
        scale = leg_length(self._body, self._betas[k]) / self._moves.reference_leg
        turning = np.abs(np.gradient(track.heading)) * FPS if len(track) > 1 else np.zeros(len(track))
        pace = track.speed + 0.25 * np.where(track.speed < 0.3, turning, 0.0)  # turning on the spot takes small steps
        weight = _smoothed(np.clip(pace / 0.5, 0.0, 1.0), 7)
        phase = rng.random() + np.cumsum(pace) / (FPS * cycle.length * scale)
        walking, offset = cycle.at(phase)
        standing, names = self._standing(weight)
        carried = self._carried()
        if carried is not None:
            walking[:, carried[0]] = standing[:, carried[0]] = rotvec_to_matrix(carried[1])
        rotations = _slerp(standing, walking, weight)
        heading = np.zeros((len(track), 3))
        heading[:, 1] = track.heading
        rotations[:, 0] = rotvec_to_matrix(heading) @ rotations[:, 0]
        sine, cosine = np.sin(track.heading), np.cos(track.heading)
        left, ahead = (weight[:, None] * offset * scale).T
        pelvis = track.position + np.stack([cosine * left + sine * ahead, -sine * left + cosine * ahead], axis=1)
        activity = tuple("walking" if w > 0.5 else name for w, name in zip(weight, names, strict=True))
        self._add(
            Performance(k + 1, self._betas[k], matrix_to_rotvec(rotations), pelvis, activity), track, APART + 2 * _SWAY
        )

    def _carried(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Joints and axis-angles of arms that carry something all the time; None for most people."""
        if self._rng.random() > 0.25:
            return None
        drawn = self._drawn("carrying", lambda drawn: "push" not in drawn.name)
        sides = {"left": ("l",), "right": ("r",), "both": ("l", "r")}.get(drawn.holds, ())
        if not sides:
            return None
        joints = np.concatenate([ARM_JOINTS[side] for side in sides])
        return joints, drawn.pose[joints]

    def _standing(self, weight: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Rotations [K, 24, 3, 3] of somebody who stands where ``weight`` is 0, and what they do."""
        rng, count = self._rng, len(weight)
        rest = self._drawn("standing", lambda drawn: drawn.name in ("stand", "stand_relaxed")).pose
        keys, lively, names = [(0, rest)], [], ["standing"] * count
        for start, end in _runs(weight < 0.02):
            frame = start + int(rng.integers(6, 20))
            while end - frame > 75:
                activity = "gesturing" if rng.random() < 0.6 else "standing"
                drawn = self._drawn(
                    activity, lambda drawn: drawn.supports == "floor" and "looking_back" not in drawn.name
                )
                gesture = rest.copy()
                gesture[_UPPER] = drawn.pose[_UPPER]
                reach = _transition(keys[-1][1], gesture)
                hold = int(rng.integers(20, 110))
                back = _transition(gesture, rest)
                if frame + reach + hold + back > end:
                    break
                keys += [(frame, rest), (frame + reach, gesture), (frame + reach + hold, gesture),
                         (frame + reach + hold + back, rest)]  # fmt: skip
                if drawn.name.startswith(_LIVELY):
                    lively.append((frame + reach, frame + reach + hold))
                names[frame : keys[-1][0]] = [activity] * (keys[-1][0] - frame)
                frame = keys[-1][0] + int(rng.integers(10, 60))
        return self._lively(_pose_track(count, keys), lively), names

    def _lively(self, rotations: np.ndarray, waves: Sequence[tuple[int, int]]) -> np.ndarray:
        """Adds the small motion of people who keep still, and moves forearms during ``waves`` (first, last frame)."""
        rng, count = self._rng, len(rotations)
        time = np.arange(count) / FPS
        sway = np.zeros((count, JOINT_COUNT, 3))
        for j in _SWAYING:
            period, phase = rng.uniform(2.5, 6.0, 3), rng.uniform(0.0, 2.0 * math.pi, 3)
            amplitude = np.radians(rng.uniform(0.3, 1.2, 3))
            sway[:, j] = amplitude * np.sin(2.0 * math.pi * time[:, None] / period + phase)
        for first, last in waves:
            inside = np.clip(np.minimum(np.arange(count) - first, last - np.arange(count)) / 10.0, 0.0, 1.0)
            beat = np.radians(14.0) * inside * np.sin(2.0 * math.pi * rng.uniform(0.9, 1.6) * (time - first / FPS))
            for elbow, sign in ((18, 1.0), (19, -1.0)):
                sway[:, elbow, 1] += sign * beat
        return rotations @ rotvec_to_matrix(sway)


_SWAYING = tuple(joint_index(name) for name in ("spine1", "spine2", "spine3", "neck", "head", "l_shoulder",
                                                "r_shoulder", "l_elbow", "r_elbow"))  # fmt: skip


def _transition(start: np.ndarray, end: np.ndarray) -> int:
    """Frames from one pose to another, so that no joint turns faster than _LIMB_RATE."""
    between = np.swapaxes(rotvec_to_matrix(start), -1, -2) @ rotvec_to_matrix(end)
    angle = float(np.linalg.norm(matrix_to_rotvec(between), axis=-1).max())
    return max(12, math.ceil(1.5 * angle / _LIMB_RATE * FPS))


def _pose_track(count: int, keys: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    """Rotations [count, 24, 3, 3] that hold each pose of ``keys`` (frame, axis-angle [24, 3]) until the next is due."""
    rotations = np.tile(rotvec_to_matrix(keys[0][1]), (count, 1, 1, 1))
    for (_, start), (arrival, end) in pairwise(keys):
        first = max(0, arrival - _transition(start, end))
        if first >= count:
            break
        share = np.clip((np.arange(first, count) - first) / max(arrival - first, 1), 0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        source = np.broadcast_to(rotvec_to_matrix(start), (count - first, JOINT_COUNT, 3, 3))
        target = np.broadcast_to(rotvec_to_matrix(end), (count - first, JOINT_COUNT, 3, 3))
        rotations[first:] = _slerp(source, target, share)
    return rotations


def _slerp(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations [T, 24, 3, 3] between ``start`` (share [T] 0) and ``end`` (1), the short way."""
    between = matrix_to_rotvec(np.swapaxes(start, -1, -2) @ end)
    return start @ rotvec_to_matrix(between * share[:, None, None])


def _there_and_back(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers [count] (not whole) of a clip of ``length``: a stretch of it, or to its end and back, gently."""
    if length > count:
        return int(rng.integers(0, length - count)) + np.arange(count, dtype=np.float64)
    margin, last = 12, length - 1
    time = np.arange(-margin, count + margin)
    triangle = last - np.abs((time % (2 * last)) - last)
    box = np.ones(2 * margin + 1) / (2 * margin + 1)
    return np.convolve(triangle, box, mode="valid")


def _between_frames(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    index = np.minimum(at.astype(np.int64), len(values) - 2)
    return values[index] + (at - index)[:, None] * (values[index + 1] - values[index])


def _pose_between(poses: np.ndarray, at: np.ndarray) -> np.ndarray:
    index = np.minimum(at.astype(np.int64), len(poses) - 2)
    return _slerp(rotvec_to_matrix(poses[index]), rotvec_to_matrix(poses[index + 1]), at - index)


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Twice the mean over ``width`` frames, ends repeated."""
    for _ in range(2):
        values = np.convolve(np.pad(values, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    return values


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
