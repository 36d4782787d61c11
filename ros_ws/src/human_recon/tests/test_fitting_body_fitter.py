"""The fit of one person: what it recovers, what it survives, and how well it knows itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.model import default_body_model
from human_recon.body.skeleton import joint_index
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import Expectation
from human_recon.fitting.body_fitter import BodyFitConfig, BodyFitter
from human_recon.fitting.kinematics import PARAMETERS
from human_recon.fitting.residuals import Residuals
from human_recon.geometry.rotations import rotvec_to_matrix
from tests.fitting_support import (
    empty_scene,
    evidence_of_body,
    guess_of,
    no_evidence,
    perturbed,
    problem_of,
    some_state,
)

MODEL = default_body_model()
SCENE = empty_scene()
LEFT_ARM = [joint_index(name) for name in ("l_elbow", "l_wrist", "l_hand")]


@pytest.fixture(scope="module")
def fitter() -> BodyFitter:
    return BodyFitter(MODEL)


def mean_joint_error(joints: np.ndarray, state: BodyState) -> float:
    return float(np.linalg.norm(joints - pose_body(MODEL, state).joints, axis=1).mean())


def expectation(state: BodyState, sigma: float = 0.05, locked: bool = False) -> Expectation:
    return Expectation(state, np.full(24, sigma), sigma, 100.0 * np.eye(10), locked)


def test_recovers_a_body_from_its_surface(rng):
    """Given the time to converge, from 6 cm and more away."""
    fitter = BodyFitter(MODEL, BodyFitConfig(iterations=5))
    before, after = [], []
    for _ in range(4):
        true = some_state(rng)
        start = perturbed(true, rng)
        evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness, noise=0.005)
        fit = fitter.fit(problem_of(guess_of(MODEL, start), evidence), SCENE)
        before.append(mean_joint_error(pose_body(MODEL, start).joints, true))
        after.append(mean_joint_error(fit.joints, true))
        np.testing.assert_allclose(fit.joints, pose_body(MODEL, fit.state).joints, atol=1e-5)
        assert fit.residual < 0.015 and fit.explained > 0.9
    assert np.mean(before) > 0.06
    assert np.mean(after) < 0.035


def test_exact_evidence_and_a_doubtful_network_give_the_exact_body(rng):
    exact = BodyFitter(
        MODEL, BodyFitConfig(iterations=25, samples=3000, measurements=1e5, surface=0.0, shape=1e-3, limits=0.0)
    )
    true = some_state(rng)
    vertices = pose_body(MODEL, true).vertices
    evidence = evidence_of_body(MODEL, true, rng, 600, thickness=exact.thickness, similarity=1.0)
    guess = guess_of(MODEL, perturbed(true, rng), 5.0)
    fit = exact.fit(problem_of(guess, evidence), SCENE)
    there = pose_body(MODEL, fit.state).vertices[evidence.vertices]
    # The skin's normals are turned with the bones instead of computed from the posed surface.
    assert np.median(np.linalg.norm(there - vertices[evidence.vertices], axis=1)) < 0.004


def test_a_quarter_of_wild_correspondences_changes_little(fitter, rng):
    true = some_state(rng)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    problem = problem_of(guess_of(MODEL, perturbed(true, rng, 0.1)), evidence)
    clean = mean_joint_error(fitter.fit(problem, SCENE).joints, true)
    wild = rng.random(len(evidence.points)) < 0.25
    vertices = np.where(wild, rng.permutation(evidence.vertices), evidence.vertices).astype(np.int32)
    similarity = np.where(wild, 0.5, 0.9).astype(np.float32)  # the network is less sure of those, not very
    confused = replace(evidence, vertices=vertices, similarity=similarity)
    assert mean_joint_error(fitter.fit(replace(problem, evidence=confused), SCENE).joints, true) < clean + 0.02


def test_points_of_something_else_change_little(fitter, rng):
    true = some_state(rng)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    problem = problem_of(guess_of(MODEL, perturbed(true, rng, 0.1)), evidence)
    clean = mean_joint_error(fitter.fit(problem, SCENE).joints, true)
    points = evidence.points.copy()
    other = rng.random(len(points)) < 0.15
    points[other, 2] += 0.6  # a wall
    fit = fitter.fit(replace(problem, evidence=replace(evidence, points=points)), SCENE)
    assert mean_joint_error(fit.joints, true) < clean + 0.02
    assert 0.75 < fit.explained < 0.92


def check_sane(fit) -> None:
    for array in (fit.state.betas, fit.state.pose, fit.state.trans):
        assert np.isfinite(array).all()
    assert np.isfinite(fit.information).all() and np.isfinite(fit.energy)
    assert np.linalg.eigvalsh(fit.joint_covariance).min() > 0
    assert np.linalg.eigvalsh(fit.root_covariance).min() > 0
    assert ((fit.joint_seen >= 0) & (fit.joint_seen <= 1)).all() and 0 <= fit.explained <= 1


def test_without_evidence_the_network_is_believed_but_not_much(fitter, rng):
    state = some_state(rng, 0.1)
    fit = fitter.fit(problem_of(guess_of(MODEL, state), no_evidence()), SCENE)
    check_sane(fit)
    assert mean_joint_error(fit.joints, state) < 0.03
    assert np.isnan(fit.residual) and fit.explained == 0.0 and (fit.joint_seen == 0).all()
    sigma = np.sqrt(np.einsum("jaa->ja", fit.joint_covariance))
    assert sigma.min() > 0.05


def test_garbage_is_left_out(fitter, rng):
    true = some_state(rng)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    problem = problem_of(guess_of(MODEL, perturbed(true, rng, 0.1)), evidence)
    wanted = fitter.fit(problem, SCENE)

    def with_rows(points, normal, similarity):
        count = len(points)
        return replace(
            evidence,
            points=np.concatenate([evidence.points, points]),
            normals=np.concatenate([evidence.normals, np.full((count, 3), normal)]),
            vertices=np.concatenate([evidence.vertices, np.zeros(count, np.int32)]),
            parts=np.concatenate([evidence.parts, np.zeros(count, np.uint8)]),
            similarity=np.concatenate([evidence.similarity, np.full(count, similarity, np.float32)]),
            likelihood=np.concatenate([evidence.likelihood, np.ones(count, np.float32)]),
        )

    for points, normal in (
        (np.full((30, 3), np.nan), 0.0),
        (np.full((30, 3), np.inf), 0.0),
        (np.zeros((30, 3)), 0.0),
        (np.array([[0.0, 0.0, -1.0]]), 0.0),
        (np.ones((5, 3)), np.nan),
    ):
        fit = fitter.fit(replace(problem, evidence=with_rows(points, normal, 0.9)), SCENE)
        np.testing.assert_allclose(fit.joints, wanted.joints, atol=1e-9)
    check_sane(fitter.fit(replace(problem, evidence=with_rows(np.ones((5, 3)), 0.0, np.nan)), SCENE))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), spread=st.floats(0.0, 5.0))
def test_anything_gives_a_sane_body(fitter, seed, count, spread):
    rng = np.random.default_rng(seed)
    state = some_state(rng, 0.8)
    evidence = replace(
        evidence_of_body(MODEL, state, rng, count),
        points=rng.normal(0, spread, (count, 3)) + [0, 0, 3],
        vertices=rng.integers(0, MODEL.vertex_count, count).astype(np.int32),
        normals=rng.normal(0, 1, (count, 3)),
    )
    guess = guess_of(MODEL, some_state(rng, 0.8), 10.0 ** rng.uniform(-4, 1))
    check_sane(fitter.fit(problem_of(guess, evidence), SCENE))


def test_refuses_what_cannot_be_fitted(fitter, rng):
    state = some_state(rng)
    guess, evidence = guess_of(MODEL, state), evidence_of_body(MODEL, state, rng, 50)
    broken = replace(guess, state=BodyState(state.betas, state.pose, np.full(3, np.nan)))
    with pytest.raises(ValueError, match="guess of person 0 is not finite"):
        fitter.fit(problem_of(broken, evidence), SCENE)
    foreign = replace(evidence, vertices=np.full(50, 99999, np.int32))
    with pytest.raises(ValueError, match="vertices 99999 to 99999"):
        fitter.fit(problem_of(guess, foreign), SCENE)


def test_what_nobody_sees_is_uncertain(fitter, rng):
    true = some_state(rng, 0.1)
    evidence = evidence_of_body(MODEL, true, rng, 900, thickness=fitter.thickness)
    hidden = ~np.isin(evidence.parts, [*LEFT_ARM, joint_index("l_shoulder")])
    partly = replace(evidence, **{name: getattr(evidence, name)[hidden] for name in vars(evidence)})
    sigma = np.full(24, 0.05)
    sigma[LEFT_ARM] = 0.3
    problem = problem_of(guess_of(MODEL, perturbed(true, rng, 0.1), sigma), evidence)
    seen, unseen = (fitter.fit(replace(problem, evidence=e), SCENE) for e in (evidence, partly))

    def spread(fit):
        return np.sqrt(np.trace(fit.joint_covariance, axis1=1, axis2=2) / 3)

    assert (spread(unseen)[LEFT_ARM] > 2.5 * spread(seen)[LEFT_ARM]).all()
    assert (spread(unseen)[LEFT_ARM] > 0.08).all()
    right = [joint_index(name) for name in ("r_elbow", "r_wrist", "r_hand")]
    assert (spread(unseen)[right] < 0.06).all()
    assert (unseen.joint_seen[LEFT_ARM] < 0.1).all() and (seen.joint_seen[LEFT_ARM] > 0.3).any()


def test_covariance_holds_the_truth(fitter):
    """Bodies of the simulation's spread, networks that are as wrong as they say, noise as in a depth image."""
    inside, count = np.zeros(3), 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = some_state(rng)
        evidence = evidence_of_body(MODEL, true, rng, 350, fitter.thickness, noise=0.015, similarity=0.75)
        fit = fitter.fit(problem_of(guess_of(MODEL, perturbed(true, rng)), evidence), SCENE)
        error = np.abs(fit.joints - pose_body(MODEL, true).joints) / np.sqrt(np.einsum("jaa->ja", fit.joint_covariance))
        inside += [(error < k).sum() for k in (1, 2, 3)]
        count += error.size
    shares = inside / count
    # Cleaner evidence than that of the simulation, which the inflation is for: rather too careful than too sure.
    assert (shares > [0.6, 0.9, 0.97]).all()


def test_the_past_holds_what_is_not_seen(fitter, rng):
    true = some_state(rng, 0.1)
    wrong = perturbed(true, rng, 0.3, 0.1)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    keep = evidence.points[:, 1] < np.median(evidence.points[:, 1])  # the upper half of the body
    evidence = replace(evidence, **{name: getattr(evidence, name)[keep] for name in vars(evidence)})
    guess = guess_of(MODEL, wrong, 0.2)
    new = fitter.fit(problem_of(guess, evidence), SCENE)
    known = fitter.fit(problem_of(guess, evidence, expectation(true)), SCENE)
    assert mean_joint_error(known.joints, true) < 0.5 * mean_joint_error(new.joints, true)
    legs = [joint_index(name) for name in ("l_ankle", "r_ankle")]
    assert np.trace(known.joint_covariance[legs].sum(0)) < np.trace(new.joint_covariance[legs].sum(0))
    ignored = BodyFitter(MODEL, BodyFitConfig(track=0.0)).fit(problem_of(guess, evidence, expectation(true)), SCENE)
    assert mean_joint_error(ignored.joints, true) > 1.5 * mean_joint_error(known.joints, true)


def test_information_holds_what_was_told(fitter, rng):
    """A track takes back out what it put in, so that must be there as it was."""
    state = some_state(rng, 0.1)
    expected = expectation(state, 0.02)
    problem = problem_of(guess_of(MODEL, state), no_evidence(), expected)
    with_it = fitter.fit(problem, SCENE, start=state).information
    without = fitter.fit(replace(problem, expected=None), SCENE, start=state).information
    told = np.diag(with_it - without)
    np.testing.assert_allclose(told[:72], 1 / 0.02**2, rtol=0.02)
    np.testing.assert_allclose(told[82:], 1 / 0.02**2, rtol=0.02)
    assert (told[72:82] >= 100.0 - 1.0 - 1e-6).all()


def test_a_locked_shape_does_not_change(fitter, rng):
    true = some_state(rng)
    other = BodyState(true.betas + 1.0, true.pose, true.trans)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    problem = problem_of(guess_of(MODEL, other), evidence, expectation(true, 0.3, locked=True))
    fit = fitter.fit(problem, SCENE)
    np.testing.assert_array_equal(fit.state.betas, true.betas)
    assert mean_joint_error(fit.joints, true) < 0.03
    check_sane(fit)
    free = fitter.fit(replace(problem, expected=None), SCENE)
    assert np.trace(fit.joint_covariance.sum(0)) < np.trace(free.joint_covariance.sum(0))


def test_starts_where_it_is_better(rng):
    """Of a network that takes front for back and a track that knows better, the track."""
    fitter = BodyFitter(MODEL, BodyFitConfig(rotations=0.1, joints=0.1))
    true = some_state(rng, 0.1)
    back = np.array(true.pose)
    back[0] = [0.0, 0.0, np.pi]
    flipped = BodyState(true.betas, back, true.trans)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    fit = fitter.fit(problem_of(guess_of(MODEL, flipped, 0.1), evidence, expectation(true, 0.1)), SCENE)
    turn = rotvec_to_matrix(fit.state.pose[0]).T @ rotvec_to_matrix(true.pose[0])
    assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 20


def test_extra_terms_are_obeyed_and_switched_off(fitter, rng):
    true = some_state(rng, 0.1)
    evidence = evidence_of_body(MODEL, true, rng, thickness=fitter.thickness)
    problem = problem_of(guess_of(MODEL, true), evidence)
    goal = true.trans + [0.1, 0.0, 0.0]

    def pull(state: BodyState) -> Residuals:
        rows = np.zeros((3, PARAMETERS))
        rows[:, 82:] = np.eye(3) / 0.002
        return Residuals.quadratic(rows, (state.trans - goal) / 0.002)

    pulled = fitter.fit(problem, SCENE, extra=[pull])
    assert np.linalg.norm(pulled.state.trans - goal) < 0.03
    plain = fitter.fit(problem, SCENE)
    off = BodyFitter(MODEL, BodyFitConfig(extra=0.0)).fit(problem, SCENE, extra=[pull])
    np.testing.assert_allclose(off.joints, plain.joints, atol=1e-9)


@pytest.mark.parametrize("term", ["correspondence", "surface", "joints", "rotations", "limits", "shape"])
def test_every_term_can_be_switched_off(term, rng):
    true = some_state(rng, 0.3)
    start = perturbed(true, rng, 0.3)
    bent = np.array(start.pose)
    bent[4, 0] = -0.6  # a knee the wrong way, so that limits matter
    start = BodyState(start.betas, bent, start.trans)
    problem = problem_of(guess_of(MODEL, start), evidence_of_body(MODEL, true, rng, 200))
    with_it = BodyFitter(MODEL).fit(problem, SCENE)
    without = BodyFitter(MODEL, BodyFitConfig(**{term: 0.0})).fit(problem, SCENE)
    check_sane(without)
    assert not np.allclose(with_it.joints, without.joints, atol=1e-5)
    assert np.isfinite(without.residual)


def test_threads_may_share_a_fitter(fitter):
    from concurrent.futures import ThreadPoolExecutor

    problems = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        state = some_state(rng)
        problems.append(problem_of(guess_of(MODEL, perturbed(state, rng)), evidence_of_body(MODEL, state, rng)))
    alone = [fitter.fit(problem, SCENE) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda problem: fitter.fit(problem, SCENE), problems))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.joints, b.joints)
