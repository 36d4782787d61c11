"""The fast normal equations against dense Jacobians, and those against central differences."""

from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import default_body_model
from human_recon.body.state import BodyState
from human_recon.fitting.body_priors import (
    JOINT_LIMITS,
    add_joint_limits,
    add_local_rotations,
    add_world_rotations,
    rotation_vectors,
)
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics, retract
from human_recon.fitting.normal_equations import (
    BodyArrays,
    add_joints,
    add_points,
    empty_equations,
    pose_skeleton,
    pose_vertices,
    to_parameters,
    turn_normals,
)
from human_recon.fitting.priors import joint_limit_residuals
from human_recon.fitting.surface_match import SurfaceSamples, match
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix, turned
from tests.fitting_support import some_state

MODEL = default_body_model()
ARRAYS = BodyArrays(MODEL)


class Posed:
    """A body by the kernels."""

    def __init__(self, state: BodyState, ids: np.ndarray) -> None:
        self.rotations = rotvec_to_matrix(state.pose)
        self.rest, self.world, self.joints, self.by_shape = pose_skeleton(
            self.rotations, state.betas, state.trans, ARRAYS.j_template, ARRAYS.j_shapedirs, ARRAYS.parents
        )
        self.local, self.points = np.empty((len(ids), 3)), np.empty((len(ids), 3))
        pose_vertices(
            ids, self.rotations, state.betas, self.rest, self.world, self.joints, *ARRAYS.skin, self.local, self.points
        )

    def by_parameters(self, equations: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        matrix, gradient = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
        to_parameters(*equations, self.world, self.joints, ARRAYS.parents, matrix, gradient)
        return matrix, gradient


def without_correctives(state: BodyState, ids: np.ndarray) -> np.ndarray:
    """[M, 3, 85] the dense Jacobian of a body whose correctives are frozen as they are at ``state``."""
    bare = replace(MODEL, posedirs=np.zeros_like(MODEL.posedirs))
    kinematics = BodyKinematics(MODEL)
    offset = Posed(state, ids).local - (MODEL.v_template[ids] + MODEL.shapedirs[ids] @ state.betas)
    template = np.array(MODEL.v_template)
    template[ids] += offset.astype(np.float32)
    frozen = BodyKinematics(replace(bare, v_template=template))
    frozen._joint_arrays = kinematics._joint_arrays
    return frozen.surface(state, ids).jacobian


def test_vertices_are_those_of_the_posed_body(rng):
    ids = rng.choice(MODEL.vertex_count, 300, replace=False)
    for _ in range(3):
        state = some_state(rng)
        posed = pose_body(MODEL, state)
        mine = Posed(state, ids)
        np.testing.assert_allclose(mine.points, posed.vertices[ids], atol=3e-6)
        np.testing.assert_allclose(mine.joints, posed.joints, atol=3e-6)


def test_turned_normals_are_about_those_of_the_posed_surface(rng):
    ids = rng.choice(MODEL.vertex_count, 500, replace=False)
    state = some_state(rng)
    normals = np.empty((500, 3))
    turn_normals(
        ids, SurfaceSamples(MODEL, 10).rest_normals, Posed(state, ids).world, ARRAYS.skin_indices, ARRAYS.skin_weights,
        normals,
    )  # fmt: skip
    true = vertex_normals(pose_body(MODEL, state).vertices, MODEL.faces)[ids]
    assert np.median((normals * true).sum(axis=1)) > 0.98


def test_points_add_what_dense_jacobians_add(rng):
    ids = rng.choice(MODEL.vertex_count, 200)  # some twice
    for _ in range(3):
        state = some_state(rng, 0.4)
        posed, jacobian = Posed(state, ids), without_correctives(state, ids)
        errors = rng.normal(0, 0.05, (200, 3))
        normals = rng.normal(size=(200, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        along, around = rng.uniform(0, 3, 200), rng.uniform(0, 1, 200)
        along[:20], around[10:30] = 0.0, 0.0
        equations = empty_equations()
        add_points(
            ids, posed.local, errors, normals, along, around, posed.rest, posed.world, posed.joints, posed.by_shape,
            ARRAYS.skin_indices, ARRAYS.skin_weights, ARRAYS.shapedirs, ARRAYS.j_shapedirs, *equations,
        )  # fmt: skip
        matrix, gradient = posed.by_parameters(equations)
        metric = along[:, None, None] * normals[:, :, None] * normals[:, None] + around[:, None, None] * np.eye(3)
        wanted = np.einsum("map,mab,mbq->pq", jacobian, metric, jacobian)
        np.testing.assert_allclose(matrix, wanted, atol=1e-5 * np.abs(wanted).max())
        wanted = np.einsum("map,mab,mb->p", jacobian, metric, errors)
        np.testing.assert_allclose(gradient, wanted, atol=1e-5 * np.abs(wanted).max())


def test_correctives_left_out_of_the_slope_are_small(rng):
    ids = rng.choice(MODEL.vertex_count, 200, replace=False)
    state = some_state(rng)
    whole = BodyKinematics(MODEL).surface(state, ids).jacobian
    assert np.linalg.norm(whole - without_correctives(state, ids)) < 0.05 * np.linalg.norm(whole)


def test_joints_add_what_dense_jacobians_add(rng):
    state = some_state(rng)
    posed, linear = Posed(state, np.zeros(1, np.int64)), BodyKinematics(MODEL).joints(state)
    targets, precision = linear.points + rng.normal(0, 0.1, (24, 3)), rng.uniform(0, 2, 24)
    equations = empty_equations()
    add_joints(targets, precision, posed.joints, posed.by_shape, ARRAYS.parents, *equations)
    matrix, gradient = posed.by_parameters(equations)
    j = linear.jacobian
    np.testing.assert_allclose(matrix, np.einsum("jap,j,jaq->pq", j, precision, j), atol=1e-6)
    np.testing.assert_allclose(gradient, np.einsum("jap,j,ja->p", j, precision, linear.points - targets), atol=1e-6)


def numerical_gradient(energy, state: BodyState, step: float = 1e-6) -> np.ndarray:
    result = np.zeros(PARAMETERS)
    for k in range(72):
        delta = np.zeros(PARAMETERS)
        delta[k] = step
        result[k] = (energy(retract(state, delta)) - energy(retract(state, -delta))) / (2 * step)
    return result


def world_rotations(state: BodyState) -> np.ndarray:
    world = rotvec_to_matrix(state.pose)
    for j in range(1, 24):
        world[j] = world[MODEL.parents[j]] @ world[j]
    return world


def test_rotation_priors_are_derivatives_of_their_energies(rng):
    state, goal = some_state(rng, 0.4), some_state(rng, 0.4)
    precision, plain = rng.uniform(0.5, 2.0, 24), np.full(24, 1e6)
    posed = Posed(state, np.zeros(1, np.int64))

    def far(a: np.ndarray, b: np.ndarray) -> float:
        return float(0.5 * (precision * np.square(matrix_to_rotvec(np.swapaxes(a, 1, 2) @ b)).sum(axis=1)).sum())

    equations = empty_equations()
    energy = add_world_rotations(world_rotations(goal), precision, plain, posed.world, equations[0], equations[3])
    assert energy == pytest.approx(far(world_rotations(goal), world_rotations(state)), rel=1e-6)
    _, gradient = posed.by_parameters(equations)
    numerical = numerical_gradient(lambda s: far(world_rotations(goal), world_rotations(s)), state)
    np.testing.assert_allclose(gradient, numerical, atol=1e-4)

    local = rotvec_to_matrix(goal.pose)
    matrix, gradient = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
    energy = add_local_rotations(local, precision, posed.rotations, matrix, gradient)
    assert energy == pytest.approx(far(local, posed.rotations), rel=1e-6)
    numerical = numerical_gradient(lambda s: far(local, rotvec_to_matrix(s.pose)), state)
    np.testing.assert_allclose(gradient, numerical, atol=1e-4)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_turning_and_reading_rotations(rng):
    state, step = some_state(rng, 0.8), rng.normal(0, 0.4, 72)
    rotations = rotvec_to_matrix(state.pose)
    after = turned(rotations, step)
    np.testing.assert_allclose(after, rotations @ rotvec_to_matrix(step.reshape(24, 3)), atol=1e-12)
    np.testing.assert_allclose(rotvec_to_matrix(rotation_vectors(after)), after, atol=1e-12)
    special = rotvec_to_matrix(np.array([[0, 0, 0], [np.pi, 0, 0], [0, np.pi - 1e-9, 0], [0, 0, 1e-9], [2.2, 2.2, 0]]))
    np.testing.assert_allclose(rotvec_to_matrix(rotation_vectors(special)), special, atol=1e-8)
    assert np.linalg.norm(rotation_vectors(special), axis=1).max() <= np.pi + 1e-9


def test_a_doubtful_rotation_draws_less(rng):
    state = some_state(rng)
    turned = retract(state, np.r_[[2.5, 0, 0], np.zeros(82)])
    posed = Posed(turned, np.zeros(1, np.int64))
    pulls = []
    for scale in (1e6, 0.5):
        equations = empty_equations()
        add_world_rotations(
            world_rotations(state), np.ones(24), np.full(24, scale), posed.world, equations[0], equations[3]
        )
        pulls.append(np.linalg.norm(equations[3]))
    assert pulls[1] < 0.05 * pulls[0]


def test_joint_limits_are_those_of_the_priors(rng):
    for _ in range(5):
        state = some_state(rng, 1.0)
        wanted = joint_limit_residuals(state)
        assert len(wanted.values) > 3
        matrix, gradient = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
        energy = add_joint_limits(1.0, rotvec_to_matrix(state.pose), *JOINT_LIMITS, matrix, gradient)
        np.testing.assert_allclose(matrix, wanted.rows.T @ wanted.rows, atol=1e-6 * np.abs(matrix).max())
        np.testing.assert_allclose(gradient, wanted.rows.T @ wanted.values, atol=1e-6 * np.abs(gradient).max())
        assert energy == pytest.approx(wanted.energy)


def matched_slowly(points, normals, places, candidates, candidate_normals, rest, thickness, placing, facing, most):
    """`match`, one sum at a time."""
    front = (candidates * candidate_normals).sum(axis=1) < 0
    outside = candidates + thickness[:, None] * candidate_normals
    result = []
    for n in range(len(points)):
        cost = np.square(outside - points[n]).sum(axis=1)
        cost += np.square(0.5 * facing * (candidate_normals - normals[n])).sum(axis=1)
        cost += np.minimum(placing[n] ** 2 * np.square(rest - places[n]).sum(axis=1), most**2)
        result.append(int(np.where(front, cost, np.inf).argmin()))
    return np.array(result)


def test_matching_finds_the_least_cost(rng):
    def some(count, spread=1.0):
        return rng.normal(0, spread, (count, 3)).astype(np.float32)

    candidates, candidate_normals, rest = some(150, 0.4) + np.float32([0, 0, 3]), some(150), some(150, 0.5)
    candidate_normals /= np.linalg.norm(candidate_normals, axis=1, keepdims=True)
    points, normals, places = some(80, 0.4) + np.float32([0, 0, 3]), some(80), some(80, 0.5)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:10] = 0.0
    thickness, placing = rng.uniform(0, 0.03, 150).astype(np.float32), rng.uniform(0, 0.4, 80).astype(np.float32)
    found = np.empty(80, np.int64)
    arguments = (points, normals, places, candidates, candidate_normals, rest, thickness, placing, 0.2, 0.1)
    match(*arguments, found)
    np.testing.assert_array_equal(found, matched_slowly(*arguments))


def test_nothing_is_matched_with_a_body_that_faces_away():
    point = np.float32([[0, 0, 3]])
    away = np.float32([[0, 0, 1]])
    found = np.empty(1, np.int64)
    match(point, away, point, point, away, point, np.zeros(1, np.float32), np.zeros(1, np.float32), 0.2, 0.1, found)
    assert found[0] == -1


def test_samples_are_spread_over_the_whole_surface():
    samples = SurfaceSamples(MODEL, 400)
    assert len(set(samples.ids.tolist())) == 400
    gaps = np.linalg.norm(MODEL.v_template[:, None] - MODEL.v_template[samples.ids], axis=-1).min(axis=1)
    assert gaps.max() < 0.09  # 1.9 square metres of skin over 400
