"""Dressed people: posing against the written-out reference and against the body itself, looseness, cutting, merging."""

import dataclasses

import numpy as np
import pytest
import trimesh

from human_recon.body.lbs import pose_body
from human_recon.body.model import load_body_model
from human_recon.body.state import BodyState
from human_recon.geometry.signed_distance import closest_points
from human_recon.resources import model_path
from human_recon.simulation.outfit import (
    MAX_HAIR,
    MAX_THICKNESS,
    Looseness,
    Material,
    bare_outfit,
    carried_correctives,
    merged,
    pose_outfit,
    pose_outfit_reference,
    with_faces,
)


def random_state(rng, turn=0.5):
    return rng.normal(size=10), rng.normal(scale=turn, size=(24, 3)), rng.normal(size=3)


@pytest.mark.parametrize("detail", ["full", "light"])
@pytest.mark.parametrize("loose", [False, True])
def test_kernel_equals_reference(body, detail, loose, rng):
    outfit = bare_outfit(body, detail)
    for _ in range(5):
        looseness = Looseness.draw(rng) if loose else None
        state = random_state(rng)
        surface, joints = pose_outfit(outfit, body, *state, looseness)
        expected, expected_joints = pose_outfit_reference(outfit, body, *state, looseness)
        assert surface.dtype == joints.dtype == np.float32
        assert np.abs(surface - expected).max() < 1e-5 and np.abs(joints - expected_joints).max() < 1e-6


@pytest.mark.parametrize("detail", ["full", "light"])
def test_bare_outfit_is_the_body(body, detail, rng):
    outfit = bare_outfit(body, detail)
    for _ in range(5):
        betas, pose, trans = random_state(rng)
        surface, joints = pose_outfit(outfit, body, betas, pose, trans)
        truth = pose_body(body, BodyState(betas, pose, trans))
        # the light body leaves out correctives below a millimetre
        assert np.abs(surface - truth.vertices[outfit.body_vertex]).max() < (1e-5 if detail == "full" else 4e-3)
        assert np.abs(joints - truth.joints).max() < 1e-5


def test_light_body_is_closed_small_and_close_to_the_body(body):
    light = bare_outfit(body, "light")
    mesh = trimesh.Trimesh(light.vertices, light.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert 1500 <= len(light.vertices) <= 1900
    full = trimesh.Trimesh(body.v_template, body.faces, process=False)
    assert mesh.volume == pytest.approx(full.volume, rel=0.02)
    samples = full.vertices[::7]
    away = np.linalg.norm(closest_points(samples, light.vertices, light.faces)[0] - samples, axis=1)
    assert away.mean() < 1.5e-3 and away.max() < 0.01


def test_other_bodies_keep_their_vertices():
    other = load_body_model(model_path("body/open_body_all.npz"))
    assert len(bare_outfit(other, "light").vertices) == other.vertex_count


def test_looseness_moves_clothes_outwards_only_and_within_limits(body, rng):
    outfit = bare_outfit(body)
    seen = []
    for _ in range(40):
        looseness = Looseness.draw(rng)
        assert looseness.waves[:, 4].sum() <= 1.0
        offset = looseness.offsets(outfit)
        assert offset.min() >= 0.0 and (offset[outfit.looseness == 0.0] == 0.0).all()
        hair = outfit.material == Material.HAIR
        assert offset[hair].max() <= 2.0 * MAX_HAIR and offset[~hair].max() <= 2.0 * MAX_THICKNESS
        assert (looseness.thickness[[16, 18, 1, 4]] == looseness.thickness[[17, 19, 2, 5]]).all()
        edges = np.linalg.norm(body.v_template[body.faces[:, 0]] - body.v_template[body.faces[:, 1]], axis=1)
        inside = (outfit.looseness[body.faces] == 1.0).all(axis=1)
        slope = np.abs(offset[body.faces[:, 0]] - offset[body.faces[:, 1]])[inside] / np.maximum(edges[inside], 0.01)
        assert slope.max() < 8.0  # smooth: no cliffs inside a garment
        seen.append(offset[~hair].max())
    assert min(seen) < 0.006 and max(seen) > 0.03


def test_looseness_follows_the_generator(body):
    a, b, c = (Looseness.draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (a.waves == b.waves).all() and (a.thickness == b.thickness).all() and a.hair == b.hair
    assert (a.waves != c.waves).any()


def test_hand_computed_offset():
    """One vertex a quarter period along a wave: t = 0.25 - 0.5, wave = t (8 - 16 |t|) = -1."""
    from human_recon.body.model import PoseCorrectives
    from human_recon.simulation.outfit import Outfit

    one = np.zeros((1, 3), np.float32)
    outfit = Outfit(
        "vertex", one, np.zeros((1, 3, 10), np.float32), np.zeros((0, 3), np.int32),
        np.array([[1, 4]], np.int32), np.array([[0.75, 0.25]], np.float32), np.array([[0.1, 0, 0]], np.float32),
        np.zeros(1, np.int32), np.ones(1, np.uint8), np.array([Material.CLOTH], np.uint8), np.array([0.5], np.float32),
        np.array([[0, 0, 1]], np.float32),
        PoseCorrectives(np.zeros(24, np.int64), np.zeros(0, np.int32), np.zeros((9, 0), np.float32)),
    )  # fmt: skip
    thickness = np.zeros(24, np.float32)
    thickness[1], thickness[4] = 0.02, 0.04
    looseness = Looseness(thickness, 0.5, np.array([[2.0, 0, 0, 0.05, 0.4]], np.float32))
    # 0.5 * (0.75 * 0.02 + 0.25 * 0.04) * (1 - 0.4)
    assert looseness.offsets(outfit)[0] == pytest.approx(0.0075, rel=1e-5)


def test_scalp_is_the_top_and_back_of_the_head(body):
    outfit = bare_outfit(body)
    scalp = outfit.material == Material.HAIR
    assert (outfit.part[scalp] == 15).all()
    area = trimesh.Trimesh(outfit.vertices, outfit.faces, process=False).area_faces
    on_scalp, on_head = scalp[outfit.faces].all(axis=1), (outfit.part == 15)[outfit.faces].all(axis=1)
    assert 0.35 < area[on_scalp].sum() / area[on_head].sum() < 0.65
    top = body.v_template[:, 1].argmax()
    assert outfit.looseness[top] == 1.0
    assert not scalp[[body.extra_vertices[name] for name in ("nose", "leye", "reye")]].any()


def test_halves_merge_to_the_whole(body, rng):
    """Cutting an outfit in two and merging the pieces changes nothing but the order of the vertices."""
    outfit = bare_outfit(body)
    upper = outfit.vertices[outfit.faces].mean(axis=1)[:, 1] > 0.0
    pieces = (with_faces(outfit, upper), with_faces(outfit, ~upper))
    whole = merged("both", pieces)
    assert len(whole.faces) == len(outfit.faces) and len(whole.vertices) > len(outfit.vertices)
    state = random_state(rng)
    looseness = Looseness.draw(rng)
    surface, _ = pose_outfit(whole, body, *state, looseness)
    expected, _ = pose_outfit(outfit, body, *state, looseness)
    assert np.abs(surface - expected[whole.body_vertex]).max() < 1e-6
    order = np.concatenate([np.flatnonzero(upper), np.flatnonzero(~upper)])
    assert (whole.body_vertex[whole.faces] == outfit.faces[order]).all()


def test_carried_correctives_interpolate_the_body(body, rng):
    """At the corners of a face they are those of the vertices, in between their mean, in any pose."""
    corners = body.faces[rng.choice(len(body.faces), 300)]
    weights = rng.dirichlet((1, 1, 1), 300)
    carried = carried_correctives(body, corners, weights, least=0.0)
    base = bare_outfit(body)
    between = np.einsum("vk,vkc->vc", weights, body.v_template[corners]).astype(np.float32)
    rigid = {"skin_indices": np.zeros((300, 1), np.int32), "skin_weights": np.ones((300, 1), np.float32)}
    outfit = dataclasses.replace(
        with_faces(base, np.arange(len(base.faces)) < 100), vertices=between, shapedirs=np.zeros((300, 3, 10)),
        canonical=between, looseness=np.zeros(300, np.float32), outward=np.zeros((300, 3), np.float32),
        material=np.zeros(300, np.uint8), correctives=carried, **rigid,
    )  # fmt: skip
    _, pose, _ = random_state(rng, 0.8)
    pose[0] = 0.0
    surface, _ = pose_outfit(outfit, body, np.zeros(10), pose, np.zeros(3))
    from human_recon.geometry.rotations import rotvec_to_matrix

    feature = (rotvec_to_matrix(pose[1:]) - np.eye(3)).reshape(-1)
    expected = between + np.einsum("vk,vkc->vc", weights, (body.posedirs @ feature)[corners])
    assert np.abs(surface - expected).max() < 1e-5


@pytest.mark.parametrize("bad", [(9, (24, 3), 3), (10, (23, 3), 3), (10, (24, 3), 4)])
def test_wrong_shapes_are_refused(body, bad):
    betas, pose, trans = (np.zeros(shape) for shape in bad)
    with pytest.raises(ValueError, match="must have shape"):
        pose_outfit(bare_outfit(body, "light"), body, betas, pose, trans)
