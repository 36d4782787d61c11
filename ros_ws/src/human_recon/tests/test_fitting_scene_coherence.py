"""People of one frame made to fit together, and what is said about how much of them is seen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.fitting.body_fit import BodyFit, Scene
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics
from human_recon.fitting.scene_coherence import SceneCoherence, SceneCoherenceConfig
from human_recon.fitting.silhouettes import CoarseScene, SilhouetteDrawer, agreement, depth_order_conflicts
from human_recon.geometry.rasterizer import rasterize, rasterize_reference
from human_recon.geometry.signed_distance import penetration
from human_recon.simulation.assets import Assets
from human_recon.simulation.staging import SceneConfig
from human_recon.simulation.world import World, WorldConfig
from tests.synthetic_scene import render, standing


@pytest.fixture(scope="module")
def kinematics(body: BodyModel) -> BodyKinematics:
    return BodyKinematics(body)


@pytest.fixture(scope="module")
def coherence(kinematics: BodyKinematics) -> SceneCoherence:
    return SceneCoherence(kinematics)


def fit_of(body: BodyModel, state: BodyState, joints: float = 100.0, place: float = 1e4) -> BodyFit:
    """A fit that is sure of its joints' turns by 1 / sqrt(joints) radians, of its place by 1 / sqrt(place) metres."""
    information = np.diag(
        np.where(np.arange(PARAMETERS) < 72, joints, np.where(np.arange(PARAMETERS) < 82, 1e3, place))
    )
    return BodyFit(
        state=state,
        information=information,
        energy=0.0,
        residual=0.01,
        explained=1.0,
        joints=pose_body(body, state).joints.astype(np.float64),
        joint_covariance=np.tile(1e-4 * np.eye(3), (24, 1, 1)),
        root_covariance=1e-4 * np.eye(6),
        joint_seen=np.ones(24, np.float32),
    )


def shifted(state: BodyState, x: float = 0.0, z: float = 0.0) -> BodyState:
    return replace(state, trans=state.trans + np.array([x, 0.0, z]))


def scene_of(body: BodyModel, states: list[BodyState], rng: np.random.Generator) -> Scene:
    made = render(body, states, rng)
    return Scene(made.frame, made.person.astype(np.int16), None, None)


def exact_depth(body: BodyModel, first: BodyState, second: BodyState) -> float:
    a, b = (pose_body(body, s).vertices.astype(np.float64) for s in (first, second))
    both = np.concatenate([penetration(a[::2], b, body.faces)[1], penetration(b[::2], a, body.faces)[1], [0.0]])
    return float(both.max())


def moved(body: BodyModel, first: BodyState, second: BodyState) -> float:
    return float(np.linalg.norm(pose_body(body, first).vertices - pose_body(body, second).vertices, axis=1).mean())


# -- who is in whose way -----------------------------------------------------------------------------------------------


def test_nobody_and_people_apart_are_left_alone(
    body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator
) -> None:
    states = [standing(body, x, 3.0, 0.3 * x) for x in (-0.9, 0.0, 0.9)]
    scene = scene_of(body, states, rng)
    fits = [fit_of(body, state) for state in states]
    found = coherence.keep([0, 1, 2], fits, scene)
    assert all(after is before for after, before in zip(found.fits, fits, strict=True))
    assert found.collisions == found.order_conflicts == found.remaining_collisions == ()
    nothing = coherence.keep([], [], scene)
    assert nothing.fits == () and nothing.visibility.shape == (0,) and nothing.joint_seen.shape == (0, 24)


def test_people_in_each_other_are_moved_apart(
    body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator
) -> None:
    truth = [standing(body, -0.34, 3.0, 0.0), standing(body, 0.34, 3.0, 0.2), standing(body, 1.4, 3.0, 0.0)]
    scene = scene_of(body, truth, rng)
    wrong = [shifted(truth[0], x=0.06), shifted(truth[1], x=-0.06), truth[2]]
    assert exact_depth(body, *truth[:2]) < 0.01 < exact_depth(body, *wrong[:2])
    found = coherence.keep([0, 1, 2], [fit_of(body, s) for s in wrong], scene)
    assert found.collisions == ((0, 1),) and found.remaining_collisions == ()
    assert exact_depth(body, found.fits[0].state, found.fits[1].state) < 0.01
    assert found.fits[2].state is wrong[2]
    for k in range(2):
        assert 0.0 < moved(body, found.fits[k].state, wrong[k]) < 0.05
        np.testing.assert_allclose(found.fits[k].joints, pose_body(body, found.fits[k].state).joints, atol=1e-6)


@pytest.mark.parametrize("sure", [0, 1])
def test_who_is_known_worse_gives_way(
    body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator, sure: int
) -> None:
    wrong = [standing(body, -0.31, 3.0, 0.0), standing(body, 0.31, 3.0, 0.2)]
    assert exact_depth(body, *wrong) > 0.01
    fits = [fit_of(body, s, *((1e4, 1e6) if k == sure else (100.0, 3e3))) for k, s in enumerate(wrong)]
    found = coherence.keep([0, 1], fits, scene_of(body, wrong, rng))
    by = [moved(body, fit.state, state) for fit, state in zip(found.fits, wrong, strict=True)]
    assert found.remaining_collisions == ()
    assert by[1 - sure] > 5.0 * by[sure]


def test_an_improbable_move_is_not_made(body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator) -> None:
    """Somebody is seen twice: no push mends that, and the fits are sure."""
    state = standing(body, 0.0, 3.0, 0.0)
    fits = [fit_of(body, s, 1e5, 1e7) for s in (state, shifted(state, x=0.08))]
    found = coherence.keep([0, 1], fits, scene_of(body, [state], rng))
    assert found.remaining_collisions == found.collisions == ((0, 1),)
    assert all(after.state is before.state for after, before in zip(found.fits, fits, strict=True))


def test_it_can_be_switched_off(body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator) -> None:
    states = [standing(body, -0.2, 3.0, 0.0), standing(body, 0.2, 3.0, 0.2)]
    off = SceneCoherence(kinematics, config=SceneCoherenceConfig(enabled=False))
    found = off.keep([0, 1], [fit_of(body, s) for s in states], scene_of(body, states, rng))
    assert found.collisions == found.remaining_collisions == ((0, 1),)
    assert all(fit.state is state for fit, state in zip(found.fits, states, strict=True))


def test_the_order_in_depth_follows_the_image(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator
) -> None:
    """The fits have the hidden person in front of the one who hides them; contact is left aside."""
    truth = [standing(body, 0.0, 2.9, 0.0), standing(body, 0.3, 3.35, 0.0)]
    scene = scene_of(body, truth, rng)
    wrong = [truth[0], shifted(truth[1], z=-0.62)]
    fits = [fit_of(body, s, 1e4, p) for s, p in zip(wrong, (1e5, 100.0), strict=True)]
    config = SceneCoherenceConfig(margin=-9.0, order_robust=1.0)
    found = SceneCoherence(kinematics, config=config).keep([0, 1], fits, scene)
    assert found.order_conflicts == ((0, 1),)
    assert found.remaining_order_conflicts == ()
    assert found.fits[1].state.trans[2] > wrong[1].trans[2] + 0.1
    assert moved(body, found.fits[0].state, truth[0]) < 0.02


def test_the_right_order_is_left_alone(body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator) -> None:
    truth = [standing(body, 0.0, 2.9, 0.0), standing(body, 0.3, 3.35, 0.0)]
    good = coherence.keep([0, 1], [fit_of(body, s) for s in truth], scene_of(body, truth, rng))
    assert good.order_conflicts == () and good.fits[0].state is truth[0]


# -- silhouettes -------------------------------------------------------------------------------------------------------


def test_a_silhouette_is_a_rendering_that_ignores_borders(body: BodyModel, rng: np.random.Generator) -> None:
    camera = CameraIntrinsics(width=80, height=60, fx=57.0, fy=57.0, cx=39.5, cy=29.5)
    vertices = pose_body(body, standing(body, 1.1, 2.0, 0.4, rng)).vertices  # half outside
    drawn = SilhouetteDrawer(body).draw(vertices, camera)
    wide = CameraIntrinsics(width=240, height=180, fx=57.0, fy=57.0, cx=39.5 + 80, cy=29.5 + 60)
    expected = rasterize(vertices[None], body.faces, wide)
    rows, columns = np.nonzero(drawn.depth)
    assert len(rows) == (expected.depth > 0).sum() > 200
    at = (rows + drawn.top + 60, columns + drawn.left + 80)
    np.testing.assert_allclose(drawn.depth[rows, columns], expected.depth[at], rtol=1e-5)
    assert (drawn.face[rows, columns] == expected.face[at]).mean() > 0.99
    behind = SilhouetteDrawer(body).draw(vertices - np.array([0.0, 0.0, 9.0], np.float32), camera)
    assert not behind.depth.any()


def test_conflicts_are_pixels_of_the_hidden(body: BodyModel, rng: np.random.Generator) -> None:
    truth = [standing(body, 0.0, 2.6, 0.0), standing(body, 0.3, 3.4, 0.0)]
    coarse = CoarseScene.of(scene_of(body, truth, rng), 160)
    drawer = SilhouetteDrawer(body)
    states = [shifted(truth[0], z=1.5), truth[1]]
    found = depth_order_conflicts(
        [drawer.draw(pose_body(body, s).vertices, coarse.intrinsics) for s in states], [0, 1], coarse, 0.05
    )
    depths = [
        rasterize(pose_body(body, s).vertices[None], body.faces, coarse.intrinsics).depth for s in states
    ]  # the slow way: each body in the whole image
    expected = (coarse.owner == 0) & (depths[1] > 0) & (depths[0] > depths[1] + 0.05)
    assert [(c.seen, c.drawn) for c in found] == [(0, 1)]
    assert np.array_equal(np.argwhere(expected), np.stack([found[0].row, found[0].column], axis=1))
    assert expected.sum() > 20


def test_expected_pixels_of_parts_are_their_areas(body: BodyModel) -> None:
    camera = CameraIntrinsics(width=320, height=320, fx=300.0, fy=300.0, cx=159.5, cy=159.5)
    vertices = pose_body(body, standing(body, 0.0, 2.5, 0.0)).vertices
    drawer = SilhouetteDrawer(body)
    head = np.flatnonzero(drawer.face_part == 15)
    alone = rasterize_reference(vertices[None], body.faces[head], camera)
    assert drawer.expected(vertices, camera)[15] == pytest.approx(
        (alone.depth > 0).sum(), rel=0.25
    )  # folds count twice


def test_what_is_hidden_is_not_seen(body: BodyModel, coherence: SceneCoherence, rng: np.random.Generator) -> None:
    state = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [state], rng)
    fit = fit_of(body, state)
    whole = coherence.keep([0], [fit], scene)
    assert whole.visibility[0] > 0.97 and not whole.joint_outside.any()
    # A board in front of everything below the pelvis.
    pelvis = pose_body(body, state).joints[0]
    camera = scene.frame.intrinsics
    row = round(pelvis[1] / pelvis[2] * camera.fy + camera.cy)
    depth, owner = scene.frame.depth.copy(), scene.owner.copy()
    below = (scene.owner == 0).copy()
    below[:row] = False
    share = 1.0 - below.sum() / (scene.owner == 0).sum()
    depth[row:], owner[row:] = 1.0, -1
    half = coherence.keep([0], [fit], replace(scene, frame=replace(scene.frame, depth=depth), owner=owner))
    assert half.visibility[0] == pytest.approx(share, abs=0.03)
    assert half.joint_visible[0, [12, 15, 16, 17]].all() and not half.joint_visible[0, [4, 5, 7, 8, 10, 11]].any()
    assert (half.joint_seen[0, [7, 8, 10, 11]] == 0.0).all() and half.joint_seen[0, 15] > 0.5
    # The same without readings, and outside of the image.
    dark = coherence.keep([0], [fit], replace(scene, frame=replace(scene.frame, depth=np.where(below, 0.0, depth))))
    assert dark.visibility[0] < 0.75
    away = coherence.keep([0], [fit_of(body, shifted(state, x=9.0))], scene)
    assert away.visibility[0] == 0.0 and away.joint_outside.all() and not away.joint_visible.any()


def test_visibility_is_that_of_the_simulated_world(body: BodyModel, coherence: SceneCoherence) -> None:
    """With the true bodies and the true pixels: clothes, furniture, other people and the border hide the rest."""
    world = World(WorldConfig(split="test", size=(320, 240), scene=SceneConfig(people=(0, 0, 1, 1, 1))), Assets(), body)
    errors, right, order = [], [], []
    for index in range(14):
        true = world.true_frame(world.sample(78, index))
        assert true.labels is not None
        owner = np.full(true.labels.shape, -1, np.int16)
        for k, person in enumerate(true.people):
            owner[true.labels == person.id] = k
        fits = [fit_of(body, person.state) for person in true.people]
        found = coherence.keep(list(range(len(fits))), fits, Scene(true.frame, owner, None, None))
        for k, person in enumerate(true.people):
            errors.append(found.visibility[k] - person.visibility)
            right.append(found.joint_visible[k] == person.joint_visible)
        order.append((list(found.visibility), [person.visibility for person in true.people]))
    assert len(errors) > 20
    assert np.mean(np.abs(errors)) < 0.05 and abs(np.mean(errors)) < 0.03
    assert np.mean(right) > 0.88
    for found_shares, true_shares in order:
        ranks = np.argsort(true_shares)
        for a, b in pairwise(ranks):
            if true_shares[b] - true_shares[a] > 0.3:
                assert found_shares[b] > found_shares[a]


def test_agreement_counts_pixels(body: BodyModel, rng: np.random.Generator) -> None:
    state = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [state], rng)
    coarse = CoarseScene.of(scene, 160)
    drawer = SilhouetteDrawer(body)
    drawn = drawer.draw(pose_body(body, state).vertices, coarse.intrinsics)
    found = agreement(drawn, 0, coarse, drawer.face_part, 0.1)
    assert found.part_seen.sum() == found.seen <= found.whole
    assert found.own == (coarse.owner == 0).sum()
    ahead = drawer.draw(pose_body(body, shifted(state, x=0.6)).vertices, coarse.intrinsics)
    beside = agreement(ahead, 0, coarse, drawer.face_part, 0.1)
    assert beside.free > 0.5 * beside.whole
