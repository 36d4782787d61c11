"""Free space, contact with others and with oneself, and the floor: what they say of a body and where they draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import FitProblem, Scene
from human_recon.fitting.contact import BallBody, Contact, ContactConfig, SelfContact, overlaps
from human_recon.fitting.floor_contact import FloorConfig, FloorContact
from human_recon.fitting.free_space import FreeSpace, FreeSpaceConfig, spread
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics, retract
from human_recon.fitting.residuals import Residuals
from human_recon.fitting.scene_terms import SceneTerms, SceneTermsConfig
from human_recon.geometry.plane import Plane
from human_recon.geometry.signed_distance import closest_points, penetration, winding_number
from human_recon.perception.evidence import Evidence
from human_recon.perception.hypothesis import BodyGuess
from tests.synthetic_scene import CAMERA_HEIGHT, render, standing

FLOOR = Plane(np.array([0.0, -1.0, 0.0]), CAMERA_HEIGHT)  # of the test scene: y down


@pytest.fixture(scope="module")
def kinematics(body: BodyModel) -> BodyKinematics:
    return BodyKinematics(body)


@pytest.fixture(scope="module")
def balls(kinematics: BodyKinematics) -> BallBody:
    return BallBody(kinematics)


def vertices(body: BodyModel, state: BodyState) -> np.ndarray:
    return pose_body(body, state).vertices


def shifted(state: BodyState, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> BodyState:
    return replace(state, trans=state.trans + np.array([x, y, z]))


def slope(energy: Callable[[BodyState], float], state: BodyState, step: float = 1e-5) -> np.ndarray:
    """[85] central differences."""
    result = np.zeros(PARAMETERS)
    for p in range(PARAMETERS):
        by = np.zeros(PARAMETERS)
        by[p] = step
        result[p] = (energy(retract(state, by)) - energy(retract(state, -by))) / (2.0 * step)
    return result


def settle(
    state: BodyState, term: Callable[[BodyState], Residuals], stiffness: float, steps: int = 12, longest: float = 0.3
) -> BodyState:
    """Gauss-Newton on a term with a spring to where the body was; its place is held 30 times as hard as its joints."""
    spring = np.diag(np.where(np.arange(PARAMETERS) < 82, stiffness, 30.0 * stiffness))
    moved = np.zeros(PARAMETERS)
    for _ in range(steps):
        found = term(state)
        matrix, gradient = found.rows.T @ found.rows + spring, found.rows.T @ found.values + spring @ moved
        step = -np.linalg.solve(matrix, gradient)
        step *= min(1.0, longest / np.abs(step).max())
        moved += step
        state = retract(state, step)
    return state


def exact_depth(body: BodyModel, first: BodyState, second: BodyState) -> float:
    """Largest distance of a vertex (of every third) inside the other body from that body's surface, metres."""
    a, b = (vertices(body, s).astype(np.float64) for s in (first, second))
    both = np.concatenate([penetration(a[::3], b, body.faces)[1], penetration(b[::3], a, body.faces)[1], [0.0]])
    return float(both.max())


# -- balls -----------------------------------------------------------------------------------------------------------


def test_balls_fill_a_posed_body_and_stay_inside_it(body: BodyModel, balls: BallBody, rng: np.random.Generator) -> None:
    state = standing(body, 0.0, 3.0, 0.4, rng)
    posed = vertices(body, state).astype(np.float64)
    found = balls.balls(posed)
    centres, radii = found[:, :3], found[:, 3]
    assert (winding_number(centres, posed, body.faces) > 0).mean() > 0.99
    to_skin = np.linalg.norm(closest_points(centres, posed, body.faces)[0] - centres, axis=1)
    assert np.percentile(radii - to_skin, 90) < 0.012
    outside = np.linalg.norm(posed[::7, None] - centres[None], axis=-1) - radii
    assert np.percentile(outside.min(1), 95) < 0.015  # the union comes close to the whole skin


def test_overlaps_are_those_of_all_pairs(body: BodyModel, balls: BallBody, rng: np.random.Generator) -> None:
    mine = balls.balls(vertices(body, standing(body, 0.0, 3.0, 0.0, rng)))
    theirs = balls.balls(vertices(body, standing(body, 0.3, 3.1, 1.0, rng)))
    first, second, depth = overlaps(mine, theirs, balls.part_start, 0.01, 10**6)
    gaps = np.linalg.norm(mine[:, None, :3] - theirs[None, :, :3], axis=-1) - mine[:, None, 3] - theirs[None, :, 3]
    expected = 0.01 - gaps
    assert len(first) == (expected > 0.0).sum() > 20
    np.testing.assert_allclose(depth, expected[first, second], atol=1e-12)
    fewer = overlaps(mine, theirs, balls.part_start, 0.01, 10)[2]
    np.testing.assert_allclose(np.sort(fewer), np.sort(expected[expected > 0.0])[-10:], atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(angle=st.floats(0.0, 6.28), distance=st.floats(0.15, 0.6), yaw=st.floats(0.0, 6.28), seed=st.integers(0, 99))
def test_depth_of_balls_is_that_of_bodies(
    body: BodyModel, balls: BallBody, angle: float, distance: float, yaw: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    first = standing(body, 0.0, 3.0, 0.0, rng)
    second = standing(body, distance * np.cos(angle), 3.0 + distance * np.sin(angle), yaw, rng)
    exact = exact_depth(body, first, second)
    mine, theirs = (balls.balls(vertices(body, s)) for s in (first, second))
    depth = overlaps(mine, theirs, balls.part_start, 0.0, 1)[2]
    guess = float(depth.max()) if len(depth) else 0.0
    if exact == 0.0:
        assert guess < 0.015
    elif exact < 0.08:  # beyond, limbs are all the way through
        assert abs(guess - exact) < 0.03


# -- contact ---------------------------------------------------------------------------------------------------------


def test_contact_is_the_slope_of_its_energy(body: BodyModel, balls: BallBody, rng: np.random.Generator) -> None:
    state = standing(body, 0.0, 3.0, 0.0, rng)
    obstacle = balls.balls(vertices(body, standing(body, 0.36, 3.05, 0.6, rng)))
    # The radii follow the shape and, a little, the pose: what is differentiated is the motion of the centres.
    fixed = balls.balls(vertices(body, state))[:, 3]
    term = Contact(balls, obstacle, ContactConfig(most_pairs=10**6))
    found = term.residuals(state, vertices(body, state))
    first, second, _ = overlaps(balls.balls(vertices(body, state)), obstacle, balls.part_start, 0.003, 10**6)
    assert len(found.values) == len(first) > 5

    def energy(at: BodyState) -> float:
        ids = np.concatenate([balls.first, balls.second])
        points = balls.kinematics.surface(at, ids).points  # float64
        p, q = points[: len(fixed)], points[len(fixed) :]
        centres = p + balls.lean[:, None] * (q - p)
        gap = np.linalg.norm(centres[first] - obstacle[second, :3], axis=1)
        return 0.5 * float(np.square((0.003 + fixed[first] + obstacle[second, 3] - gap) / 0.005).sum())

    assert found.energy == pytest.approx(energy(state), rel=1e-3)
    expected = slope(energy, state)
    np.testing.assert_allclose(found.rows.T @ found.values, expected, atol=2e-3 * np.abs(expected).max())


def test_contact_leads_out_of_another_body(body: BodyModel, balls: BallBody, rng: np.random.Generator) -> None:
    state, other = standing(body, 0.0, 3.0, 0.0, rng), standing(body, 0.46, 3.0, 0.3, rng)
    assert exact_depth(body, state, other) > 0.02
    term = Contact(balls, balls.balls(vertices(body, other)), ContactConfig())
    apart = settle(state, lambda s: term.residuals(s, vertices(body, s)), 100.0, 40, 0.03)
    assert exact_depth(body, apart, other) < 0.012
    assert np.linalg.norm(vertices(body, apart) - vertices(body, state), axis=1).mean() < 0.15


def test_bodies_apart_do_not_feel_each_other(body: BodyModel, balls: BallBody) -> None:
    far = balls.balls(vertices(body, standing(body, 2.0, 3.0, 0.0)))
    state = standing(body, 0.0, 3.0, 0.0)
    found = Contact(balls, far, ContactConfig()).residuals(state, vertices(body, state))
    assert found.rows.shape == (0, PARAMETERS) and found.energy == 0.0


def test_an_arm_leaves_its_own_body(body: BodyModel, balls: BallBody) -> None:
    state = standing(body, 0.0, 3.0, 0.0)
    term = SelfContact(balls, ContactConfig())
    assert len(term.residuals(state, vertices(body, state)).values) == 0  # standing upright is no conflict
    pose = state.pose.copy()
    pose[16], pose[18] = (0.0, 0.6, -1.7), (0.0, -0.4, 0.0)  # the left arm in the belly
    wrong = replace(state, pose=pose)
    before = term.residuals(wrong, vertices(body, wrong))
    after = settle(wrong, lambda s: term.residuals(s, vertices(body, s)), 0.3, 40, 0.03)
    assert before.energy > 1.0
    assert term.residuals(after, vertices(body, after)).energy < 0.2 * before.energy


def test_self_contact_is_the_slope_of_its_energy(body: BodyModel, balls: BallBody) -> None:
    state = standing(body, 0.0, 3.0, 0.0)
    pose = state.pose.copy()
    pose[16], pose[18] = (0.0, 0.6, -1.7), (0.0, -0.4, 0.0)
    state = replace(state, pose=pose)
    term = SelfContact(balls, ContactConfig(most_pairs=10**6))
    found = term.residuals(state, vertices(body, state))
    ids = np.concatenate([balls.first, balls.second])
    count = len(balls.first)
    fixed = balls.balls(vertices(body, state))
    gaps = np.linalg.norm(fixed[:, None, :3] - fixed[None, :, :3], axis=-1) - fixed[:, None, 3] - fixed[None, :, 3]
    first, second = np.nonzero(np.triu(term.allowed & (gaps < -0.04)))
    assert len(found.values) == len(first) > 5

    def energy(at: BodyState) -> float:
        points = balls.kinematics.surface(at, ids).points
        centres = points[:count] + balls.lean[:, None] * (points[count:] - points[:count])
        gap = np.linalg.norm(centres[first] - centres[second], axis=1) - fixed[first, 3] - fixed[second, 3]
        return 0.5 * float(np.square((-0.04 - gap) / 0.02).sum())

    assert found.energy == pytest.approx(energy(state), rel=1e-3)
    expected = slope(energy, state)
    np.testing.assert_allclose(found.rows.T @ found.values, expected, atol=2e-3 * np.abs(expected).max())


# -- free space ------------------------------------------------------------------------------------------------------


def scene_of(body: BodyModel, states: list[BodyState], rng: np.random.Generator) -> Scene:
    made = render(body, states, rng)
    return Scene(made.frame, made.person.astype(np.int16), FLOOR, None)


def free_space(
    kinematics: BodyKinematics, scene: Scene, person: int = 0, **lengths: float
) -> Callable[[BodyState], Residuals]:
    term = FreeSpace(kinematics, FreeSpaceConfig(**lengths)).of(person, scene)
    return lambda state: term.residuals(state, pose_body(kinematics.model, state).vertices)


def test_truth_is_not_in_free_space(body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator) -> None:
    state = standing(body, 0.0, 3.0, 0.5, rng)
    found = free_space(kinematics, scene_of(body, [state], rng))(state)
    assert found.energy < 1.0 and np.abs(found.values).max(initial=0.0) < 0.5  # sigmas: grazing pixels at the outline


def test_a_raised_arm_before_the_wall_comes_down(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator
) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    term = free_space(kinematics, scene_of(body, [truth], rng), robust=0.5)
    pose = truth.pose.copy()
    pose[16, 2] += 0.45
    raised = replace(truth, pose=pose)
    wrong = term(raised)
    assert len(wrong.values) > 20
    mended = settle(raised, term, 30.0)

    def error(state: BodyState) -> float:
        return float(np.linalg.norm(vertices(body, state) - vertices(body, truth), axis=1).max())

    assert error(mended) < 0.5 * error(raised)


def test_a_body_too_near_goes_back(body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    term = free_space(kinematics, scene_of(body, [truth], rng))
    near = shifted(truth, z=-0.15)
    step = -np.linalg.lstsq(term(near).rows, term(near).values, rcond=None)[0]
    assert step[PARAMETERS - 1] > 0.0
    back = settle(near, term, 0.1)
    assert pose_body(body, back).joints[0, 2] > pose_body(body, near).joints[0, 2] + 0.05


def test_nothing_is_known_without_readings_behind_things_and_outside(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator
) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [truth], rng)
    beside = shifted(truth, x=0.8)
    assert len(free_space(kinematics, scene)(beside).values) > 100
    for depth in (np.zeros_like(scene.frame.depth), np.full_like(scene.frame.depth, 1.5)):  # dark, or behind a board
        blind = replace(scene, frame=replace(scene.frame, depth=depth))
        assert len(free_space(kinematics, blind)(beside).values) == 0
    assert len(free_space(kinematics, scene)(shifted(truth, x=9.0)).values) == 0
    assert len(free_space(kinematics, scene)(shifted(truth, z=-6.0)).values) == 0  # behind the camera


def test_rows_are_slopes_of_values(body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [truth], rng)
    flat = np.full_like(scene.frame.depth, 3.2)  # so that a step into another pixel changes nothing
    scene = replace(scene, frame=replace(scene.frame, depth=flat), owner=np.full_like(scene.owner, -1))
    term = free_space(kinematics, scene, robust=1e3)  # all weights alike
    near = shifted(truth, z=-0.3)
    found = term(near)
    step = 3e-3 * rng.normal(size=PARAMETERS)
    ahead, behind = term(retract(near, step)), term(retract(near, -step))
    assert len(ahead.values) == len(found.values) == len(behind.values) == 500
    # The margin that is allowed grows with the square of the depth, which the rows leave out: 2.2 % of them here.
    np.testing.assert_allclose((ahead.values - behind.values) / 2.0, found.rows @ step, rtol=0.04, atol=2e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_senseless_vertices_say_nothing(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator, value: float
) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    term = FreeSpace(kinematics, FreeSpaceConfig()).of(0, scene_of(body, [truth], rng))
    senseless = np.full((body.vertex_count, 3), value, np.float32)
    assert len(term.residuals(truth, senseless).values) == 0


def test_nobody_owns_a_pixel(body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator) -> None:
    """A person without pixels in the coarse image is pushed back, not aside."""
    truth = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [truth], rng)
    found = free_space(kinematics, replace(scene, owner=np.full_like(scene.owner, -1)))(shifted(truth, z=-0.3))
    assert len(found.values) > 50 and np.isfinite(found.rows).all()


def test_spread_points_are_far_apart(rng: np.random.Generator) -> None:
    points = rng.uniform(size=(2000, 3))
    chosen = spread(points, 50)
    assert len(np.unique(chosen)) == 50
    gaps = np.linalg.norm(points[chosen][:, None] - points[chosen][None], axis=-1) + np.eye(50)
    cover = np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(1)
    assert gaps.min() >= cover.max() - 1e-12  # what defines farthest-point sampling


# -- floor -----------------------------------------------------------------------------------------------------------


def floor_term(kinematics: BodyKinematics) -> Callable[[BodyState], Residuals]:
    term = FloorContact(kinematics, FloorConfig()).of(FLOOR)
    return lambda state: term.residuals(state, pose_body(kinematics.model, state).vertices)


def lowest(body: BodyModel, state: BodyState) -> float:
    return float(FLOOR.height(vertices(body, state)).min())


def test_the_floor_carries_who_sinks_and_draws_who_hovers(body: BodyModel, kinematics: BodyKinematics) -> None:
    term = floor_term(kinematics)
    state = standing(body, 0.0, 3.0, 0.0)
    for offset in (0.10, -0.05):  # y down: into the floor, above it
        settled = settle(shifted(state, y=offset), term, 3.0, 40, 0.03)
        assert lowest(body, settled) == pytest.approx(FloorConfig().shoes, abs=0.012)
    high = shifted(state, y=-0.6)
    assert lowest(body, settle(high, term, 5.0)) > 0.5  # on a table: left alone


def test_the_floor_is_the_slope_of_its_energy(body: BodyModel, kinematics: BodyKinematics) -> None:
    state = shifted(standing(body, 0.0, 3.0, 0.2), y=0.05)
    term = floor_term(kinematics)
    found = term(state)
    foot = kinematics.surface(state, np.arange(body.vertex_count)).points
    assert FLOOR.height(foot).min() < 0.0
    expected = slope(lambda s: term(s).energy, state, 1e-3)[-3:]  # float32 vertices: translation is exact enough
    np.testing.assert_allclose((found.rows.T @ found.values)[-3:], expected, rtol=0.05, atol=1.0)


# -- together --------------------------------------------------------------------------------------------------------


def problem_of(state: BodyState, body: BodyModel) -> FitProblem:
    nothing = np.zeros((0, 3))
    empty = Evidence(
        nothing, nothing, np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.float32), np.zeros(0, np.float32)
    )
    return FitProblem(0, empty, BodyGuess(state, pose_body(body, state).joints, np.full(24, 0.05, np.float32)))


def test_terms_add_up_and_can_be_switched_off(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator
) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [truth], rng)
    wrong = shifted(truth, x=0.2, y=0.1)
    obstacles = [vertices(body, standing(body, 0.4, 3.0, 0.0))]
    terms = SceneTerms(kinematics, SceneTermsConfig(free_space=FreeSpaceConfig(robust=0.5)))
    assert len(terms.terms(0, scene, obstacles)) == 4
    parts = [term.residuals(wrong, vertices(body, wrong)) for term in terms.terms(0, scene, obstacles)]
    whole = terms.of(problem_of(truth, body), scene, obstacles)(wrong)
    assert whole.energy == pytest.approx(sum(part.energy for part in parts))
    assert whole.rows.shape == (len(whole.values), PARAMETERS)
    assert len(whole.values) == sum(len(part.values) for part in parts) > 0

    none = SceneTermsConfig(free_space_weight=0.0, contact_weight=0.0, self_contact_weight=0.0, floor_weight=0.0)
    nothing = SceneTerms(kinematics, none).of(problem_of(truth, body), scene, obstacles)(wrong)
    assert nothing.energy == 0.0 and len(nothing.values) == 0
    assert len(terms.terms(0, replace(scene, floor=None), ())) == 2


@pytest.mark.parametrize("weight", ["free_space_weight", "contact_weight", "self_contact_weight", "floor_weight"])
def test_a_weight_scales_its_energy_and_curvature(
    body: BodyModel, kinematics: BodyKinematics, rng: np.random.Generator, weight: str
) -> None:
    truth = standing(body, 0.0, 3.0, 0.0)
    scene = scene_of(body, [truth], rng)
    pose = truth.pose.copy()
    pose[16], pose[18] = (0.0, 0.0, -1.9), (0.0, -0.4, 0.0)  # the left arm through the belly
    wrong = shifted(replace(truth, pose=pose), x=0.2, y=0.1)
    obstacles = [vertices(body, standing(body, 0.4, 3.0, 0.0))]
    off = dict.fromkeys(("free_space_weight", "contact_weight", "self_contact_weight", "floor_weight"), 0.0)
    one, four = (
        SceneTerms(kinematics, SceneTermsConfig(**{**off, weight: value})).of(
            problem_of(truth, body), scene, obstacles
        )(wrong)
        for value in (1.0, 4.0)
    )
    assert one.energy > 0.0
    assert four.energy == pytest.approx(4.0 * one.energy)
    np.testing.assert_allclose(four.rows.T @ four.values, 4.0 * (one.rows.T @ one.values))
    np.testing.assert_allclose(four.rows.T @ four.rows, 4.0 * (one.rows.T @ one.rows))
