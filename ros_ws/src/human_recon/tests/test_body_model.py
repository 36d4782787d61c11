"""The open bodies and hands that ship with the package."""

import hashlib
import itertools
import json

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body import measure, skeleton
from human_recon.body.lbs import pose_body
from human_recon.body.mirror import mirror_points, mirror_state
from human_recon.body.model import default_body_model, load_body_model, load_hand_model
from human_recon.body.state import BodyState
from human_recon.resources import model_path

BODIES = ("open_body_adult", "open_body_all")
HANDS = ("open_hand_right", "open_hand_left")


@pytest.fixture(scope="module", params=BODIES)
def model(request):
    return load_body_model(model_path(f"body/{request.param}.npz"))


def joint(model, name):
    return model.j_template[skeleton.joint_index(name)]


def test_counts_are_smpls(model):
    assert model.v_template.shape == (6890, 3) and model.faces.shape == (13776, 3)
    assert model.shapedirs.shape == (6890, 3, 10) and model.posedirs.shape == (6890, 3, 207)
    assert model.joint_names == skeleton.JOINT_NAMES and tuple(model.parents) == skeleton.PARENTS
    assert tuple(model.parents) == (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def test_surface_is_closed_and_faces_outwards(model):
    for beta in (-2.0, 0.0, 2.0):
        vertices = measure.rest_vertices(model, np.full(10, beta) * [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
        mesh = trimesh.Trimesh(vertices, model.faces, process=False)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
        assert mesh.volume > 0.0
        assert measure.volume(vertices, model.faces) == pytest.approx(mesh.volume, rel=1e-4)


def test_adult_has_human_measures():
    model = default_body_model()
    assert 1.64 < measure.stature(model, np.zeros(10)) < 1.76
    assert 0.055 < measure.volume(model.v_template, model.faces) < 0.085  # cubic metres: about as many tonnes
    assert 0.75 < measure.leg_length(model, np.zeros(10)) < 0.90
    tall, small = (measure.stature(model, [b] + [0] * 9) for b in (2.0, -2.0))
    assert 1.80 < tall < 2.05 and 1.35 < small < 1.58


def test_all_ages_reach_from_child_to_adult():
    model = load_body_model(model_path("body/open_body_all.npz"))
    heights = [measure.stature(model, [b] + [0] * 9) for b in (-3.0, 1.0)]
    assert heights[0] < 1.1 and heights[1] > 1.6


def test_rest_pose_is_smpls_t_pose(model):
    assert np.abs(joint(model, "pelvis")).max() < 2e-3
    for side, sign in (("l", 1.0), ("r", -1.0)):
        for inner, outer in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand")):
            bone = joint(model, f"{side}_{outer}") - joint(model, f"{side}_{inner}")
            assert sign * bone[0] / np.linalg.norm(bone) > 0.999
        for upper, lower in (("hip", "knee"), ("knee", "ankle")):
            bone = joint(model, f"{side}_{lower}") - joint(model, f"{side}_{upper}")
            assert -bone[1] / np.linalg.norm(bone) > 0.999
        toes = joint(model, f"{side}_foot") - joint(model, f"{side}_ankle")
        assert toes[2] > 0.05
    assert joint(model, "head")[1] > joint(model, "neck")[1] > joint(model, "spine3")[1]


def test_palms_face_down(model):
    """Thumbs point forwards, and the hand is flatter in height than in depth."""
    points = {name: model.v_template[index] for name, index in model.extra_vertices.items()}
    for side in "lr":
        assert points[f"{side}thumb"][2] > points[f"{side}index"][2] > points[f"{side}pinky"][2]
        knuckles = model.v_template[model.weights[:, skeleton.joint_index(f"{side}_wrist")] > 0.9]
        assert np.ptp(knuckles[:, 1]) < np.ptp(knuckles[:, 2])


def test_named_points_lie_where_their_names_say(model):
    points = {name: model.v_template[index] for name, index in model.extra_vertices.items()}
    assert set(points) == {
        "nose", "leye", "reye", "lear", "rear", "LHeel", "RHeel", "LBigToe", "RBigToe", "LSmallToe", "RSmallToe",
        "lthumb", "lindex", "lmiddle", "lring", "lpinky", "rthumb", "rindex", "rmiddle", "rring", "rpinky",
    }  # fmt: skip
    head = joint(model, "head")
    assert points["nose"][0] == 0.0 and points["nose"][2] > points["leye"][2] > points["lear"][2]
    assert points["lear"][0] > points["leye"][0] > 0.0 and points["leye"][1] > points["nose"][1] > head[1] - 0.05
    assert points["LHeel"][2] < joint(model, "l_ankle")[2] < points["LBigToe"][2]
    assert points["LHeel"][1] < joint(model, "l_ankle")[1] and points["LSmallToe"][0] > points["LBigToe"][0] > 0.0
    middle = points["lmiddle"][0]
    assert middle == max(point[0] for point in points.values()) and middle > model.v_template[:, 0].max() - 0.003
    for name, index in model.extra_vertices.items():
        other = {"l": "r", "r": "l", "L": "R", "R": "L", "n": "n"}[name[0]] + name[1:]
        assert model.mirror_vertices[index] == model.extra_vertices[other]


def test_mirror_map_is_exact(model):
    mirror, flip = model.mirror_vertices, np.array([-1.0, 1.0, 1.0], np.float32)
    assert (mirror[mirror] == np.arange(6890)).all()
    assert (model.v_template[mirror] * flip == model.v_template).all()
    assert ((mirror == np.arange(6890)) == (model.v_template[:, 0] == 0.0)).all()
    assert (model.shapedirs[mirror] * flip[:, None] == model.shapedirs).all()
    assert (model.weights[mirror][:, skeleton.MIRROR_JOINTS] == model.weights).all()
    assert (model.j_regressor[skeleton.MIRROR_JOINTS][:, mirror] == model.j_regressor).all()
    faces = {tuple(np.roll(face, -face.argmin())) for face in model.faces}
    turned = mirror[model.faces][:, ::-1]
    assert {tuple(np.roll(face, -face.argmin())) for face in turned} == faces


def test_mirroring_the_state_mirrors_the_vertices(model):
    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def check(seed):
        rng = np.random.default_rng(seed)
        state = BodyState(rng.normal(size=10), rng.normal(size=(24, 3)), rng.normal(size=3))
        posed, mirrored = pose_body(model, state), pose_body(model, mirror_state(state))
        assert np.abs(mirror_points(posed.vertices, model.mirror_vertices) - mirrored.vertices).max() < 5e-6
        assert np.abs(mirror_points(posed.joints, skeleton.MIRROR_JOINTS) - mirrored.joints).max() < 5e-6

    check()


def test_mirroring_twice_gives_the_state_back(rng):
    state = BodyState(rng.normal(size=10), rng.normal(size=(24, 3)), rng.normal(size=3))
    again = mirror_state(mirror_state(state))
    assert all((getattr(again, name) == getattr(state, name)).all() for name in ("betas", "pose", "trans"))
    assert (mirror_state(state).pose[1] != state.pose[1]).any()


def test_sparse_weights_are_exact(model):
    dense = np.zeros_like(model.weights)
    np.add.at(dense, (np.arange(6890)[:, None], model.skin_indices), model.skin_weights)
    assert (dense == model.weights).all()
    assert model.skin_indices.shape[1] == model.skin_count.max()
    assert np.abs(model.weights.sum(axis=1) - 1.0).max() < 1e-6 and model.weights.min() >= 0.0


def test_weights_do_not_leak(model):
    """A joint moves only surface near its own bone: fingers do not pull the thigh, nor one leg the other."""
    for j, name in enumerate(model.joint_names):
        reach = 0.40 if name in ("spine1", "spine2", "spine3", "pelvis") else 0.30
        moved = model.v_template[model.weights[:, j] > 0.0]
        tip = [model.j_template[j]] + [model.j_template[k] for k in range(24) if model.parents[k] == j]
        distance = np.min([np.linalg.norm(moved - point, axis=1) for point in tip], axis=0)
        assert distance.max() < reach, name
        if name[:2] in ("l_", "r_"):
            assert (moved[:, 0] * (1 if name[0] == "l" else -1)).min() > -0.06, name


def test_models_are_read_only(model):
    with pytest.raises(ValueError, match="read-only"):
        model.v_template[0] = 0.0


@pytest.mark.parametrize("name", BODIES + HANDS)
def test_card_belongs_to_the_file(name):
    path = model_path(f"body/{name}.npz")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["file"] == path.name
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and card["bytes"] == path.stat().st_size
    assert path.stat().st_size < 20e6
    for key in ("source", "licence", "seed", "command", "counts", "held_out", "date", "wall_time_s", "versions"):
        assert card[key] is not None
    errors = card["held_out"]["joint_regressor_error"]
    assert max(error["mean_mm"] for error in errors.values()) <= 3.0
    if name in BODIES:
        assert set(errors) == set(skeleton.JOINT_NAMES)
        for figures in card["held_out"]["pose_error_against_fine_rig"].values():
            assert figures["after"]["mean_mm"] < 0.4 * figures["before"]["mean_mm"]


@pytest.mark.parametrize("name", HANDS)
def test_hand_has_manos_layout(name):
    hand = load_hand_model(model_path(f"body/{name}.npz"))
    assert hand.v_template.shape == (778, 3) and hand.faces.shape == (1538, 3)
    assert hand.joint_count == 16 and hand.posedirs.shape == (778, 3, 135)
    mesh = trimesh.Trimesh(hand.v_template, hand.faces, process=False)
    border = trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)
    assert mesh.is_winding_consistent and mesh.body_count == 1 and len(border) == 16  # open at the wrist only
    side = 1.0 if name.endswith("left") else -1.0
    tips = hand.j_template[[3, 6, 9, 12]]
    assert (side * tips[:, 0] > 0.08).all() and tips[0, 2] > tips[2, 2]  # fingers outwards, index in front of pinky
    curl = np.zeros((16, 3))
    curl[1:13, 2] = -side * 1.0
    made = pose_body(hand, BodyState(np.zeros(10), curl, np.zeros(3))).joints
    assert (made[[3, 6, 9, 12], 1] < tips[:, 1] - 0.01).all()  # fingers bend down, towards the palm


def test_left_hand_is_the_mirror_image_of_the_right():
    right, left = (load_hand_model(model_path(f"body/{name}.npz")) for name in HANDS)
    assert (left.v_template == right.v_template * np.float32([-1, 1, 1])).all()
    assert measure.volume(left.v_template, left.faces) == pytest.approx(measure.volume(right.v_template, right.faces))


def test_skeleton_tables_agree():
    assert len(skeleton.BONES) == 23 and all(skeleton.PARENTS[child] == parent for parent, child in skeleton.BONES)
    assert (skeleton.MIRROR_JOINTS[skeleton.MIRROR_JOINTS] == np.arange(24)).all()
    for j, name in enumerate(skeleton.JOINT_NAMES):
        other = skeleton.JOINT_NAMES[skeleton.MIRROR_JOINTS[j]]
        assert other[1:] == name[1:] and (other != name) == (name[:2] in ("l_", "r_"))
    for limb in skeleton.LIMBS.values():
        assert all(skeleton.PARENTS[b] == a for a, b in itertools.pairwise(limb))
    assert skeleton.is_descendant(22, 13) and not skeleton.is_descendant(23, 13)
    with pytest.raises(ValueError, match="no joint is called 'tail'"):
        skeleton.joint_index("tail")
