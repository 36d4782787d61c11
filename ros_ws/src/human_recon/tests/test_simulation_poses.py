"""Poses for the simulation: recorded motion and its split, key postures, and what is drawn from them."""

from __future__ import annotations

import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.lbs_reference import pose_body_reference
from human_recon.body.parts import vertex_parts
from human_recon.body.skeleton import JOINT_NAMES, MIRROR_JOINTS, PARENTS
from human_recon.body.state import BodyState
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.geometry.signed_distance import penetration
from human_recon.simulation import motion as motion_module
from human_recon.simulation.anatomy import Arm, Leg, Posture, Trunk, angles_of, poses_of
from human_recon.simulation.assets import MOTION_FILE, Assets
from human_recon.simulation.joint_limits import mirrored_pose, within_limits
from human_recon.simulation.key_poses import VARIATIONS, key_pose_bank, key_poses
from human_recon.simulation.motion import KINDS, MotionFileError, MotionLibrary, kind_of, take_of
from human_recon.simulation.poses import PoseLibrary, farthest_points, without_yaw, yaw_axis_angle
from human_recon.simulation.skeletons import posed_joints


@pytest.fixture(scope="module")
def motion_path(data_dir):
    path = data_dir / MOTION_FILE
    if not path.is_file():
        pytest.skip("no motion capture in the data folder")
    return path


@pytest.fixture(scope="module")
def splits(motion_path):
    return {split: MotionLibrary.load(motion_path, split) for split in ("train", "test")}


@pytest.fixture(scope="module")
def recorded(motion_path):
    return PoseLibrary.load(Assets(motion=motion_path), "train")


@pytest.fixture(scope="module")
def fallback():
    return PoseLibrary.load(Assets(), "train")


def write_motion(path, frames=(40, 30), **changes):
    """A small motion file; ``changes`` replace arrays, None removes one."""
    rng = np.random.default_rng(5)
    total = sum(frames)
    arrays = {
        "poses": rng.normal(0.0, 0.3, (total, 24, 3)).astype(np.float32),
        "trans": rng.normal(0.0, 1.0, (total, 3)).astype(np.float32),
        "clip_start": np.cumsum([0, *frames]).astype(np.int32),
        "clip_name": np.array([f"some/walking_{k}" for k in range(len(frames))]),
        "clip_offset": np.zeros(len(frames), np.int32),
        "fps": np.float32(30.0),
        "rest_joints": rng.normal(size=(24, 3)).astype(np.float32),
        "parents": np.array(PARENTS, np.int32),
    }
    arrays.update(changes)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


# --- recorded motion --------------------------------------------------------------------------------------------------


def test_no_take_is_on_both_sides_of_the_split(splits):
    """Checked on names, without the functions under test: pieces, partners and excerpts stay together."""

    def apart(clip):
        return re.sub(r"\.\d+$|_t$", "", clip.name)

    train, test = ({apart(clip) for clip in splits[split].clips} for split in ("train", "test"))
    assert train and test and not train & test
    couples = []
    for names in (train, test):
        numbers = {int(name[-2:]) for name in names if "salsa" in name}
        couples.append({number - 15 if number > 15 else number for number in numbers})
    assert couples[0] and couples[1] and not couples[0] & couples[1]
    for word in ("stealthy", "zombie"):
        assert any(word in name for name in train) != any(word in name for name in test)


def test_no_moment_of_training_is_tested(splits):
    """No tested frame has a twin in training; neighbouring frames of one walk are 10 times as near as this bound."""
    from scipy.spatial import cKDTree

    def features(library):
        poses = np.concatenate([clip.poses for clip in library.clips])[:, 1:]
        return rotvec_to_matrix(poses[:, [0, 1, 2, 3, 4, 5, 11, 15, 16, 17, 18]])[..., :2].reshape(len(poses), -1)

    distance, _ = cKDTree(features(splits["train"])).query(features(splits["test"])[::9])
    assert distance.min() > 0.05


def test_both_sides_have_every_kind_of_motion(splits, motion_path):
    with np.load(motion_path) as data:
        names = [str(name) for name in data["clip_name"]]
    assert len(splits["train"].clips) + len(splits["test"].clips) == len(names)
    found = {kind_of(name) for name in names}
    assert found == set(KINDS) - {"other"}
    for split in ("train", "test"):
        assert {clip.kind for clip in splits[split].clips} == found
    frames = {split: sum(len(clip.poses) for clip in splits[split].clips) for split in splits}
    assert 0.15 < frames["test"] / sum(frames.values()) < 0.4


def test_takes_keep_neighbours_together():
    same = [("a/salsa_09.0", "a/salsa_24.1"), ("b/walking_13", "b/walking_13_t"), ("c/zombie_walk", "c/long_zombie")]
    for first, second in same:
        assert take_of(first) == take_of(second)
    for first, second in [("b/walking_3", "b/walking_5"), ("a/salsa_09", "a/salsa_10"), ("a/walk", "b/walk")]:
        assert take_of(first) != take_of(second)


def test_couples_dance_at_the_same_time_and_place(splits):
    for split in ("train", "test"):
        dances = splits[split].couple_dances()
        assert dances
        apart = []
        for dance in dances:
            assert len(dance.leader.poses) == len(dance.follower.poses) >= 90
            assert dance.leader.offset == dance.follower.offset
            gap = (dance.leader.trans - dance.follower.trans)[:, [0, 2]]
            apart.append(float(np.median(np.linalg.norm(gap, axis=1))))
            if len(gap) > 400:  # in shorter pieces they may be waiting for the music
                assert 0.3 < apart[-1] < 1.0  # farther apart if misaligned by a piece
        assert 0.4 < np.median(apart) < 1.0


def test_a_small_motion_file_is_read(tmp_path):
    path = write_motion(tmp_path / "mocap.npz", clip_offset=np.array([0, 7], np.int32))
    train, test = (MotionLibrary.load(path, split).clips for split in ("train", "test"))
    assert [len(clip.poses) for clip in train] == [40] and [len(clip.poses) for clip in test] == [30]
    assert test[0].offset == 7 and not test[0].poses.flags.writeable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"poses": None}, "no array poses"),
        ({"poses": np.zeros((70, 22, 3), np.float32)}, r"not float \[F, 24, 3\]"),
        ({"trans": np.zeros((69, 3), np.float32)}, r"not float \[70, 3\]"),
        ({"trans": np.full((70, 3), np.nan, np.float32)}, "not finite"),
        ({"clip_start": np.array([0, 80, 70])}, "does not divide the 70 frames"),
        ({"clip_start": np.array([0.0, 40.0, 70.0])}, "not a list of frame numbers"),
        ({"clip_name": np.array(["one"])}, "do not fit 2 clips"),
        ({"clip_name": np.array([None, None])}, "not a motion capture file"),  # would need pickle
        ({"fps": np.float32(60.0)}, "60 frames per second"),
        ({"parents": np.zeros(24, np.int32)}, "not the 24 of SMPL"),
        ({"rest_joints": np.zeros((22, 3))}, "rest_joints"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, changes, words):
    path = write_motion(tmp_path / "mocap.npz", **changes)
    with pytest.raises(MotionFileError, match=words) as raised:
        MotionLibrary.load(path, "train")
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_damaged_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "mocap.npz"
    path.write_bytes(content)
    with pytest.raises(MotionFileError, match=r"mocap\.npz"):
        MotionLibrary.load(path, "train")
    with pytest.raises(MotionFileError, match="cannot be read"):
        MotionLibrary.load(tmp_path / "missing.npz", "train")
    np.save(tmp_path / "one.npz", np.zeros(3))
    with pytest.raises(MotionFileError):
        MotionLibrary.load(tmp_path / "one.npz.npy", "train")


# --- skeletons and anatomy --------------------------------------------------------------------------------------------


def test_joints_are_those_of_the_body(body, rng):
    poses = rng.normal(0.0, 0.5, (6, 24, 3))
    joints, heads = posed_joints(poses, body.j_template)
    for pose, own, head in zip(poses, joints, heads, strict=True):
        _, true = pose_body_reference(body, np.zeros(10), pose, np.zeros(3))
        assert np.abs(own - (true - true[0])).max() < 1e-6
        chain = np.eye(3)
        for j in (0, 3, 6, 9, 12, 15):
            chain = chain @ rotvec_to_matrix(pose[j])
        assert np.abs(head - chain).max() < 1e-9


def joints_of(body, **parts):
    pose = poses_of(angles_of(Posture(**parts))[None])
    return posed_joints(pose, body.j_template)[0][0]


def test_anatomical_angles_mean_what_they_say(body):
    """Directions of limbs in the body frame: x left, y up, z forwards."""

    def direction(first, second, **parts):
        joints = joints_of(body, **parts)
        along = joints[JOINT_NAMES.index(second)] - joints[JOINT_NAMES.index(first)]
        return along / np.linalg.norm(along)

    straight = {"elbow": 0.0}
    upper = ("l_shoulder", "l_elbow")
    assert direction(*upper, left_arm=Arm(plane=0, elevation=0, **straight))[1] < -0.98
    assert direction(*upper, left_arm=Arm(plane=0, elevation=90, **straight))[0] > 0.98
    assert direction(*upper, left_arm=Arm(plane=90, elevation=90, **straight))[2] > 0.98
    assert direction(*upper, left_arm=Arm(plane=90, elevation=170, **straight))[1] > 0.95
    assert direction("r_shoulder", "r_elbow", right_arm=Arm(plane=0, elevation=90, **straight))[0] < -0.98
    fore = ("l_elbow", "l_wrist")
    assert direction(*fore, left_arm=Arm(plane=0, elevation=0, elbow=90))[2] > 0.95
    assert direction(*fore, left_arm=Arm(plane=0, elevation=0, elbow=90, rotation=80))[0] < -0.9
    shin = ("l_knee", "l_ankle")
    assert direction("l_hip", "l_knee", left_leg=Leg(flexion=90))[2] > 0.98
    assert direction("l_hip", "l_knee", left_leg=Leg(abduction=40))[0] > 0.6
    assert direction(*shin, left_leg=Leg(flexion=90, knee=90))[1] < -0.98
    assert direction(*shin, left_leg=Leg(flexion=90, knee=90, rotation=40))[0] < -0.5
    assert direction("l_hip", "l_knee", left_leg=Leg(), trunk=Trunk(pitch=40))[1] < -0.98  # legs stay where they are
    assert direction("pelvis", "neck", trunk=Trunk(flexion=60))[2] > 0.4
    assert direction("pelvis", "neck", trunk=Trunk(bend=30))[0] > 0.2


@given(st.floats(0, 110), st.floats(0, 130), st.floats(-20, 40))
@settings(max_examples=30, deadline=None)
def test_soles_stay_level_unless_told_otherwise(flexion, knee, pitch):
    if not -20 < flexion - knee < 45 or not -20 < flexion + pitch < 120:
        return  # beyond what an ankle or a hip can do
    pose = poses_of(angles_of(Posture(Trunk(pitch=pitch), left_leg=Leg(flexion, 0, 0, knee)))[None])[0]
    chain = np.eye(3)
    for j in (0, 1, 4, 7):
        chain = chain @ rotvec_to_matrix(pose[j])
    assert chain[1, 1] > 1 - 1e-6


def test_sides_are_mirror_images():
    arm, leg = Arm(50, 70, 20, 60, 30, 10, 5, 20, 2), Leg(30, 10, 15, 40, 5, 10)
    left = poses_of(angles_of(Posture(left_arm=arm, left_leg=leg))[None])[0]
    right = poses_of(angles_of(Posture(right_arm=arm, right_leg=leg))[None])[0]
    assert np.abs(mirrored_pose(rotvec_to_matrix(left)) - rotvec_to_matrix(right)).max() < 1e-9


# --- key postures -----------------------------------------------------------------------------------------------------


def test_key_postures_cover_the_day():
    key = key_poses()
    assert len({pose.name for pose in key}) == len(key) > 100
    activities = Counter(pose.activity for pose in key)
    assert {"sitting", "standing", "gesturing", "reaching", "carrying", "leaning", "kneeling", "crouching", "lying",
            "sitting_floor"} <= set(activities)  # fmt: skip
    names = " ".join(pose.name for pose in key)
    for word in ("arms_crossed", "hands_on_hips", "pocket", "behind_back", "phone_at_ear", "phone_in_front", "waving",
                 "pointing", "drinking", "laptop", "sofa", "stool", "knees_crossed", "ankles_crossed", "push_cart",
                 "hug", "handshake", "looking_back", "tie_shoe", "wall", "counter"):  # fmt: skip
        assert word in names, word
    for pose in key:
        assert pose.supports in ("floor", "seat", "wall", "table", "lying")
        assert pose.holds in ("none", "left", "right", "both")
        assert (pose.supports == "seat") == (pose.activity == "sitting")
        assert (pose.side != "none") if pose.supports in ("wall", "table") else True


def without_arm(body, arm):
    """The body's faces without one arm, the hole closed by a fan."""
    faces = body.faces[~np.isin(vertex_parts(body)[body.faces], arm).any(axis=1)]
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    _, inverse, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    border = edges[count[inverse.ravel()] == 1]
    middle = border[0, 0]
    fan = [(middle, b, a) for a, b in border if middle not in (a, b)]
    return np.concatenate([faces, np.array(fan)])


def test_hands_and_forearms_stay_out_of_the_body(body):
    """Every key posture, and a sample of the variations: less than 2 cm, and 4 cm, inside what is not that arm."""
    bank = key_pose_bank("train")
    parts = vertex_parts(body)
    arms = [((18, 20, 22), (13, 16, 18, 20, 22)), ((19, 21, 23), (14, 17, 19, 21, 23))]
    meshes = [(np.flatnonzero(np.isin(parts, lower))[::3], without_arm(body, whole)) for lower, whole in arms]
    poses = bank.poses.reshape(len(bank.key_poses), VARIATIONS, 24, 3)
    varied = []
    for index, key in enumerate(bank.key_poses):
        for number in (0, 1 + index % (VARIATIONS - 1)):
            surface = pose_body(body, BodyState(np.zeros(10), poses[index, number], np.zeros(3))).vertices
            depth = max(float(penetration(surface[v], surface, f)[1].max(initial=0.0)) for v, f in meshes)
            if number == 0:
                assert depth < 0.02, f"{key.name}: {depth:.3f} m"
            varied.append(depth)
    assert max(varied) < 0.05 and np.mean(np.array(varied) > 0.02) < 0.08


def test_sitters_sit_and_people_lie(body):
    bank = key_pose_bank("train")
    for index, key in enumerate(bank.key_poses):
        joints = posed_joints(bank.poses[bank.label == index], body.j_template)[0]
        thigh = joints[:, [4, 5]] - joints[:, [1, 2]]
        level = np.abs(thigh[:, :, 1]) / np.linalg.norm(thigh, axis=2)
        if key.supports == "seat" and "stool" not in key.name:
            assert level.max() < 0.55 and (thigh[:, :, 2] > 0.2).all(), key.name
        if key.supports == "lying":
            assert np.abs(joints[:, 12, 1]).max() < 0.2, key.name  # the neck as low as the pelvis
        if key.activity == "standing":
            assert joints[:, 12, 1].min() > 0.4 and joints[:, [7, 8], 1].max() < -0.6, key.name


def test_variations_differ_between_the_splits():
    train, test = key_pose_bank("train"), key_pose_bank("test")
    first = train.poses.reshape(-1, VARIATIONS, 24, 3)
    second = test.poses.reshape(-1, VARIATIONS, 24, 3)
    assert np.array_equal(first[:, 0], second[:, 0])  # the postures themselves
    assert (np.abs(first[:, 1:] - second[:, 1:]).max(axis=(1, 2, 3)) > 0.01).all()


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["recorded", "fallback"])
def test_draws_are_as_promised(library, request):
    library = request.getfixturevalue(library)
    rng = np.random.default_rng(1)
    drawn = [library.draw(rng) for _ in range(3000)]
    poses = np.stack([one.pose for one in drawn])
    assert poses.shape == (3000, 24, 3) and poses.dtype == np.float64 and np.isfinite(poses).all()
    assert np.abs(yaw_axis_angle(poses[:, 0])).max() < 1e-6  # no yaw
    share = np.mean([one.supports == "seat" for one in drawn])
    assert 0.30 < share < 0.37
    assert {one.activity for one in drawn} <= set(library.activities)
    assert {one.supports for one in drawn} == {"floor", "seat", "wall", "table", "lying"}
    held = Counter(one.holds for one in drawn)
    assert abs(held["left"] - held["right"]) < 0.4 * held["left"]  # mirrored half of the time
    sides = Counter(one.side for one in drawn)
    assert sides["left"] and sides["right"]


def test_recorded_draws_are_half_everyday_half_diverse(recorded):
    rng = np.random.default_rng(2)
    names = Counter(recorded.draw(rng).name for _ in range(6000))
    everyday = names["walking"] + names["signals"]
    others = sum(names[kind] for kind in KINDS if kind not in ("walking", "signals"))
    assert 0.45 < everyday / (everyday + others) < 0.7  # diverse poses are now and then of people who walk
    assert all(names[kind] for kind in set(KINDS) - {"other"})
    assert names["couple_dance"] < 0.5 * others  # though it is more than half of the frames


@pytest.mark.parametrize("library", ["recorded", "fallback"])
def test_an_activity_can_be_asked_for(library, request, rng):
    library = request.getfixturevalue(library)
    for activity in library.activities:
        assert {library.draw(rng, activity).activity for _ in range(5)} == {activity}
    with pytest.raises(ValueError, match="no pose shows 'juggling'; activities: carrying"):
        library.draw(rng, "juggling")


def test_the_same_generator_draws_the_same(recorded):
    first, second = ([recorded.draw(np.random.default_rng(seed)).pose for seed in range(20)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({pose.tobytes() for pose in first}) == 20


def test_drawing_is_cheap(recorded):
    rng = np.random.default_rng(3)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(400):
            recorded.draw(rng)
        best = min(best, (time.perf_counter() - start) / 400)
    assert best < 100e-6  # 6 us on the machine this was written on


@given(st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3), st.floats(-3.1, 3.1))
@settings(max_examples=60, deadline=None)
def test_yaw_is_removed_and_nothing_else(rotvec, yaw):
    rotvec = np.array(rotvec)
    if np.linalg.norm(rotvec) > 3.0 or rotvec_to_matrix(rotvec)[1, 1] < -0.9:
        return  # upside down: no yaw to speak of
    turned = matrix_to_rotvec(rotvec_to_matrix(np.array([0.0, yaw, 0.0])) @ rotvec_to_matrix(rotvec))
    tilt, other = without_yaw(rotvec), without_yaw(turned)
    assert np.abs(rotvec_to_matrix(tilt) - rotvec_to_matrix(other)).max() < 1e-6
    assert abs(tilt[1]) < 1e-6  # the axis is level
    up = rotvec_to_matrix(rotvec)[1]
    assert np.allclose(rotvec_to_matrix(tilt)[1], up, atol=1e-6)  # what is up in the body stays up


def test_farthest_points_are_the_obvious_ones(rng):
    points = rng.normal(size=(60, 5)).astype(np.float32)
    chosen = farthest_points(points, np.array([3, 7]), 20)
    taken = [3, 7]
    while len(taken) < 20:
        distance = np.linalg.norm(points[:, None] - points[taken], axis=2).min(axis=1)
        taken.append(int(distance.argmax()))
    assert chosen.tolist() == taken


def test_limits_hold_for_the_fallback():
    rotations = within_limits(200, np.random.default_rng(0))
    knees = np.degrees(np.arctan2(rotations[:, 4, 2, 1], rotations[:, 4, 1, 1]))
    assert knees.min() > -2 and knees.max() < 142 and (rotations[:, 0] == np.eye(3)).all()
    assert np.array_equal(mirrored_pose(mirrored_pose(rotations)), rotations)
    assert MIRROR_JOINTS[1] == 2


def test_other_takes_are_for_testing_when_the_split_has_only_one(tmp_path):
    names = ("a/walking_1", "a/walking_2", "a/walking_3", "a/crawl")
    assert motion_module.test_takes(names) == {"a/walking_2"}
