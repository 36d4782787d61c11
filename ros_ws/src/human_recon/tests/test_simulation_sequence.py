"""Sequences: smooth paths, real steps, people who keep apart, frames that can be made again."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.lbs_reference import pose_body_reference
from human_recon.body.measure import leg_length
from human_recon.body.state import BodyState
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.assets import MOTION_FILE, Assets
from human_recon.simulation.choreography import APART, SCENARIOS, Moves, Stage, choreograph
from human_recon.simulation.gait import gait_cycles, procedural_cycle
from human_recon.simulation.motion import FPS, MotionLibrary
from human_recon.simulation.sensors import SensorSwitches
from human_recon.simulation.sequence import Sequence, SequenceConfig, SequenceSource
from human_recon.simulation.trajectories import TURN_RATE, clearance, joined, stay, turn, walk

STAGE = Stage(camera_z=-3.5, near=1.8, far=5.5, view=0.61)
FRAMES = 240


@pytest.fixture(scope="module")
def recorded(data_dir):
    path = data_dir / MOTION_FILE
    if not path.is_file():
        pytest.skip("no motion capture in the data folder")
    return Moves.load(Assets(motion=path), "train")


@pytest.fixture(scope="module")
def fallback():
    return Moves.load(Assets(), "train")


@pytest.fixture(scope="module")
def source():
    """Without motion capture or wardrobe, so that it works everywhere."""
    return SequenceSource.load(Assets(), "train", "light")


def people(count, seed):
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(0.0, 0.8, 10), -2.0, 2.0) for _ in range(count)]


# --- paths ------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=5),
    st.floats(0.5, 1.5),
)
@settings(max_examples=40, deadline=None)
def test_walks_are_smooth_and_as_fast_as_said(points, speed):
    points = [np.array(point) for point in points]
    if min(np.linalg.norm(b - a) for a, b in pairwise(points)) < 0.4:
        return
    steps = [(b - a) / np.linalg.norm(b - a) for a, b in pairwise(points)]
    if min((a @ b for a, b in pairwise(steps)), default=1.0) < -0.9:
        return  # a hairpin: nobody walks it as a curve
    track = walk(points, speed)
    step = np.linalg.norm(np.diff(track.position, axis=0, prepend=points[0][None]), axis=1) * FPS
    assert step.max() < speed + 1e-6
    assert np.abs(np.diff(step)).max(initial=0.0) * FPS < 4.0  # metres per second squared; 1.2 is aimed at
    assert np.abs(np.diff(track.heading)).max(initial=0.0) * FPS < TURN_RATE * 1.1
    assert np.allclose(track.position[-1], points[-1], atol=1e-6) and track.speed[-1] < 0.3
    forward = np.diff(track.position, axis=0)
    moving = np.linalg.norm(forward, axis=1) > 0.2 / FPS
    course = np.arctan2(forward[:, 0], forward[:, 1])[moving]
    off = (track.heading[1:][moving] - course + math.pi) % (2 * math.pi) - math.pi
    assert np.abs(off).max(initial=0.0) < 0.12  # heads where it goes


def test_a_way_that_doubles_back_is_refused():
    with pytest.raises(ValueError, match="doubles back"):
        walk([np.array([0.0, 0.0]), np.array([0.0, 1.0]), np.array([0.0, 0.0])], 1.0)


def test_turns_go_the_short_way_at_a_human_rate():
    track = turn(np.zeros(2), 3.0, -3.0)
    assert track.heading[-1] == pytest.approx(2 * math.pi - 3.0)
    assert np.diff(track.heading, prepend=3.0).max() * FPS <= TURN_RATE * 1.01
    assert len(turn(np.zeros(2), 1.0, 1.0)) == 0
    both = joined([track, stay(np.zeros(2), -3.0, 5)])
    assert np.abs(np.diff(both.heading)).max() < 0.1  # no whole turns between


def test_clearance_on_a_hand_computed_case():
    still = stay(np.array([0.0, 0.0]), 0.0, 10)
    moving = stay(np.array([1.0, 0.0]), 0.0, 10)
    moving.position[:, 0] = np.linspace(1.0, 0.5, 10)
    assert clearance(moving, [still], [0.45], np.zeros((0, 5))) == pytest.approx(0.05)
    box = np.array([[0.0, 2.0, 0.5, 1.0, 0.0]])  # z from 1 to 3
    assert clearance(still, [], [], box) == pytest.approx(1.0 - 0.45)
    assert clearance(still, [], [], np.array([[0.0, 0.0, 0.5, 1.0, 0.0]])) == pytest.approx(-0.5 - 0.45)
    turned = np.array([[0.0, 2.0, 0.5, 1.0, math.pi / 2]])  # z from 1.5 to 2.5
    assert clearance(still, [], [], turned) == pytest.approx(1.5 - 0.45)


# --- gait -------------------------------------------------------------------------------------------------------------


def foot_slide(cycle, body, speed):
    """Horizontal speeds of the standing foot's toes, m/s, of a walk straight ahead."""
    frames = 75
    walked = np.arange(frames) * speed / FPS
    scale = leg_length(body, np.zeros(10)) / 0.81
    rotations, offset = cycle.at(walked / (cycle.length * scale))
    poses = matrix_to_rotvec(rotations)
    toes = []
    for k in range(frames):
        posed = pose_body(body, BodyState(np.zeros(10), poses[k], np.zeros(3)))
        place = np.array([offset[k, 0] * scale, 0.0, walked[k] + offset[k, 1] * scale]) - posed.joints[0] * [1, 0, 1]
        place[1] = -posed.vertices[:, 1].min()
        toes.append(posed.joints[[10, 11]] + place)
    toes = np.array(toes)
    velocity = np.linalg.norm(np.diff(toes[:, :, [0, 2]], axis=0), axis=2) * FPS
    height = toes[1:, :, 1]
    standing = (height < height.min() + 0.025) & (height < height.min(axis=1, keepdims=True) + 0.005)
    return velocity[standing]


def test_recorded_strides_are_loops_with_little_foot_slide(data_dir, body):
    path = data_dir / MOTION_FILE
    if not path.is_file():
        pytest.skip("no motion capture in the data folder")
    for split in ("train", "test"):
        cycles = gait_cycles(MotionLibrary.load(path, split))
        assert len(cycles) >= 10
        medians = []
        for cycle in cycles[:6]:
            assert 0.9 < cycle.length < 2.0 and cycle.largest_step < 0.4
            ends, _ = cycle.at(np.array([0.0, 1.0 - 1e-9]))
            gap = matrix_to_rotvec(np.swapaxes(ends[0], -1, -2) @ ends[1])
            assert np.linalg.norm(gap, axis=-1).max() < 1e-6
            medians.append(np.median(foot_slide(cycle, body, cycle.speed)))
        assert np.median(medians) < 0.16  # m/s at about 1.2 m/s: a seventh; 0.1 measured


def test_the_procedural_walk_steps_as_far_as_it_says(body):
    cycle = procedural_cycle()
    slides = {}
    for factor in (0.8, 1.0, 1.25):
        slides[factor] = np.median(foot_slide(replace(cycle, length=factor * cycle.length), body, 1.2))
    assert slides[1.0] < 0.3 and slides[1.0] < slides[0.8]


# --- choreography -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("library", ["recorded", "fallback"])
def test_motion_is_continuous_and_people_keep_apart(scenario, library, body, request):
    moves = request.getfixturevalue(library)
    count = 5
    done = choreograph(moves, body, people(count, 1), scenario, FRAMES, STAGE, np.random.default_rng(4))
    assert done.frames == FRAMES and [p.id for p in done.performances] == [1, 2, 3, 4, 5]
    joints = np.empty((FRAMES, count, 24, 3))
    lowest = np.empty((FRAMES, count))
    for k in range(FRAMES):
        for p, person in enumerate(done.at(k)):
            posed = pose_body(body, BodyState(person.betas, person.pose, person.trans))
            joints[k, p], lowest[k, p] = posed.joints, posed.vertices[:, 1].min()
    assert np.abs(lowest).max() < 1e-5  # soles on the floor
    step = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert step.max() < 0.25  # metres in a frame: no jumps; a running hand does 0.2
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * FPS**2
    assert np.quantile(acceleration, 0.99) < 45 and acceleration.max() < 200  # recorded dances: 35 and 120
    for performance in done.performances:
        rotations = rotvec_to_matrix(performance.poses)
        turned = matrix_to_rotvec(np.swapaxes(rotations[:-1], -1, -2) @ rotations[1:])
        assert np.linalg.norm(turned, axis=-1).max() < (1.2 if "dancing" in performance.activity else 0.5)
    pelvis = np.stack([performance.pelvis for performance in done.performances])
    apart = np.linalg.norm(pelvis[:, None] - pelvis[None], axis=-1).min(axis=2)
    dancing = [set(performance.activity) == {"dancing"} for performance in done.performances]
    for a in range(count):
        for b in range(a):
            if not (dancing[a] and dancing[b]):
                assert apart[a, b] > APART - 0.02, (a, b, apart[a, b])


def test_the_pose_and_place_of_a_person_agree(recorded, body):
    done = choreograph(recorded, body, people(2, 3), "walk", 60, STAGE, np.random.default_rng(1))
    for frame in (0, 37):
        for person, performance in zip(done.at(frame), done.performances, strict=True):
            vertices, joints = pose_body_reference(body, person.betas, person.pose, person.trans)
            assert np.allclose(joints[0, [0, 2]], performance.pelvis[frame], atol=1e-5)
            assert vertices[:, 1].min() == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(IndexError, match="frame 60 is not one of 60"):
        done.at(60)


def test_people_who_cross_leave_enter_and_hide_each_other(recorded, body):
    done = choreograph(recorded, body, people(4, 2), "cross", 450, STAGE, np.random.default_rng(0))
    x, z = np.stack([p.pelvis for p in done.performances]).transpose(2, 0, 1)
    edge = STAGE.view * (z - STAGE.camera_z)
    inside = np.abs(x) < edge
    assert inside.any(axis=1).all() and not inside.all(axis=1).any()  # everybody is seen and leaves
    entering = (~inside[:, :-1] & inside[:, 1:]).sum()
    assert entering >= 4
    bearing = x / (z - STAGE.camera_z)
    crossings = 0
    for a in range(4):
        for b in range(a):
            swapped = np.diff(np.sign(bearing[a] - bearing[b])) != 0
            crossings += int((swapped & inside[a, 1:] & inside[b, 1:]).sum())
    assert crossings >= 3  # one behind the other, seen from the camera
    first = inside[:, :150].sum(axis=0)
    assert first.max() == 4  # all in the image at one moment of the first five seconds


def test_people_stop_and_gesture_and_sit_still(recorded, body):
    walkers = choreograph(recorded, body, people(4, 5), "walk", 900, STAGE, np.random.default_rng(2))
    shown = {activity for performance in walkers.performances for activity in performance.activity}
    assert {"walking", "standing", "gesturing"} <= shown
    sitters = choreograph(recorded, body, people(3, 5), "sit", 300, STAGE, np.random.default_rng(2))
    for performance in sitters.performances:
        assert performance.supports == "seat" and np.ptp(performance.pelvis, axis=0).max() == 0.0
        legs = performance.poses[:, [1, 2, 4, 5, 7, 8]]
        assert np.abs(legs - legs[0]).max() < 1e-9  # the chair under them does not move


def test_couples_dance_as_recorded(recorded, body):
    done = choreograph(recorded, body, people(2, 7), "dance", 200, STAGE, np.random.default_rng(3))
    first, second = done.performances
    apart = np.linalg.norm(first.pelvis - second.pelvis, axis=1)
    recordings = [np.linalg.norm((d.leader.trans - d.follower.trans)[:, [0, 2]], axis=1) for d in recorded.dances]
    best = min(
        np.abs(gap[k : k + 200] - apart).max()
        for gap in recordings if len(gap) >= 200
        for k in range(len(gap) - 199)
    )  # fmt: skip
    assert best < 1e-3


def test_long_scenes_of_short_dances_turn_round_gently(recorded, body):
    short = [dance for dance in recorded.dances if len(dance.leader.poses) < 500][:1]
    moves = replace(recorded, dances=tuple(short))
    done = choreograph(moves, body, people(2, 7), "dance", 1200, STAGE, np.random.default_rng(3))
    for performance in done.performances:
        velocity = np.diff(performance.pelvis, axis=0) * FPS
        assert np.linalg.norm(velocity, axis=1).max() < 4.0
        assert np.linalg.norm(np.diff(velocity, axis=0), axis=1).max() * FPS < 60.0


def test_the_same_generator_gives_the_same_choreography(fallback, body):
    def make(seed):
        return choreograph(fallback, body, people(3, 1), "mixed", 90, STAGE, np.random.default_rng(seed))

    first, again, other = make(5), make(5), make(6)
    for a, b, c in zip(first.performances, again.performances, other.performances, strict=True):
        assert np.array_equal(a.poses, b.poses) and np.array_equal(a.pelvis, b.pelvis)
        assert not np.array_equal(a.pelvis, c.pelvis)
    with pytest.raises(ValueError, match="scenario 'fight' is unknown; use one of walk, cross"):
        choreograph(fallback, body, people(1, 1), "fight", 10, STAGE, np.random.default_rng(0))


# --- whole sequences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_sequence_renders_with_its_truth(scenario, source, body):
    config = SequenceConfig(
        people=4, duration=3.0, scenario=scenario, size=(160, 120), detail="light", sensor=SensorSwitches.only()
    )
    sequence = Sequence(config, source, seed=11)
    assert len(sequence) == 90
    seen: set[int] = set()
    for frame in range(0, 90, 22):
        truth = sequence.true_frame(frame, start_ns=5)
        assert truth.frame.stamp_ns == 5 + round(frame * 1e9 / 30)
        assert [person.id for person in truth.people] == [1, 2, 3, 4]
        assert truth.frame.color.shape == (120, 160, 3) and truth.frame.depth.shape == (120, 160)
        floor = sequence.floor(frame)
        for person in truth.people:
            assert set(np.unique(truth.labels)) <= {0, 1, 2, 3, 4}
            if person.visibility > 0:
                seen.add(person.id)
                assert (truth.labels == person.id).sum() > 0
            # Bare soles are up to a thick sole above the floor, never in it.
            assert -0.01 < floor.height(person.vertices).min() < 0.06
            v, u = np.nonzero(truth.labels == person.id)
            if len(v) > 60 and person.visibility > 0.5:
                depth = truth.frame.depth[v, u]
                assert abs(np.median(depth) - person.joints[0, 2]) < 0.5
    assert len(seen) >= 3


def test_sitters_have_something_to_sit_on(source):
    config = SequenceConfig(people=3, duration=0.1, scenario="sit", size=(160, 120), detail="light")
    found = 0
    for seed in range(3):
        scene = Sequence(config, source, seed).scene(0)
        for actor in scene.actors:
            pelvis = actor.joints[0]
            near = [
                thing.kind for thing in scene.things
                if thing.kind not in ("floor", "wall", "ceiling")
                and np.abs(thing.vertices[:, [0, 2]] - pelvis[[0, 2]]).max(axis=1).min() < 0.45
                and thing.vertices[:, 1].max() > 0.2
            ]  # fmt: skip
            found += bool(near)
    assert found >= 8  # of 9: once in a while no seat fits


def test_nobody_walks_through_furniture(source):
    nearest = []
    for seed, scenario in ((1, "walk"), (2, "sit"), (3, "mixed"), (4, "sit")):
        config = SequenceConfig(people=4, duration=6.0, scenario=scenario, size=(160, 120), detail="light")
        sequence = Sequence(config, source, seed)
        things = [thing for thing in sequence.scene(0).things if thing.kind not in ("floor", "wall", "ceiling")]
        points = np.concatenate([thing.vertices[thing.vertices[:, 1] < 1.2] for thing in things])[:, [0, 2]]
        for performance in sequence.choreography.performances:
            if performance.supports != "seat":
                for place in performance.pelvis[::10]:
                    nearest.append(np.linalg.norm(points - place, axis=1).min())
    assert min(nearest) > 0.25  # metres from the middle of the pelvis; 0.45 to most


def test_frames_are_the_same_in_any_order_and_process(source):
    config = SequenceConfig(people=2, duration=1.0, scenario="walk", size=(80, 60), detail="light", moving=True)
    first, second = Sequence(config, source, 3), Sequence(config, SequenceSource.load(Assets(), "train", "light"), 3)
    for frame in (20, 0, 7):
        a, b = first.true_frame(frame), second.true_frame(frame)
        assert np.array_equal(a.frame.depth, b.frame.depth) and np.array_equal(a.frame.color, b.frame.color)
        assert np.array_equal(a.labels, b.labels)
        for one, other in zip(a.people, b.people, strict=True):
            assert np.array_equal(one.state.pose, other.state.pose)
            assert np.array_equal(one.state.trans, other.state.trans)
    other = Sequence(config, source, 4).true_frame(0)
    assert not np.array_equal(other.frame.depth, first.true_frame(0).frame.depth)


def test_a_driving_camera_moves_smoothly_and_a_still_one_not(source):
    config = SequenceConfig(people=1, duration=4.0, scenario="sit", size=(80, 60), detail="light")
    still = Sequence(config, source, 1)
    assert np.array_equal(still.view(0).world_to_camera, still.view(100).world_to_camera)
    driving = Sequence(replace(config, moving=True), source, 1)
    views = np.stack([driving.view(k).world_to_camera for k in range(120)])
    eyes = -np.einsum("kba,kb->ka", views[:, :, :3], views[:, :, 3])
    assert 0.05 < np.ptp(eyes, axis=0).max() < 1.0
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() < 0.02


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"people": 0}, "people must be 1 to 8"),
        ({"people": 9}, "people must be 1 to 8"),
        ({"duration": 0.0}, "duration"),
        ({"scenario": "fight"}, "use one of walk, cross, dance, sit, mixed"),
        ({"preset": "polaroid"}, "use one of azure_kinect_nfov"),
        ({"size": (4, 4)}, "too small"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        SequenceConfig(**change)
