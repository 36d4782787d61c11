"""The energy of embedded deformation against its definition, and what its steps must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.model import default_body_model
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.template.deformation import (
    NodeMotion,
    Pull,
    Stiffness,
    block_structure,
    deform,
    linear_system,
    step,
)
from human_recon.template.graph import DeformationGraph, build_graph


@pytest.fixture(scope="module")
def graph() -> DeformationGraph:
    return build_graph(default_body_model(), 40)


def energy(
    motion: NodeMotion,
    nodes: np.ndarray,
    vertices: np.ndarray,
    graph: DeformationGraph,
    pull: Pull,
    stiffness: Stiffness,
) -> float:
    """As the module's documentation writes it."""
    total = 0.0
    moved = deform_reference(motion, nodes, vertices[pull.vertices], graph, pull.vertices)
    gap = moved - pull.points
    total += 0.5 * float((pull.plane * (gap * pull.normals).sum(1) ** 2 + pull.point * (gap**2).sum(1)).sum())
    for i, j in graph.edges:
        stretch = (
            motion.rotations[i] @ (nodes[j] - nodes[i]) + nodes[i] + motion.shifts[i] - nodes[j] - motion.shifts[j]
        )
        total += 0.5 * stiffness.edge * float(stretch @ stretch)
    total += 0.5 * stiffness.shift * float((motion.shifts**2).sum())
    total += 0.5 * stiffness.turn * float(((motion.rotations - np.eye(3)) ** 2).sum())
    return total


def deform_reference(
    motion: NodeMotion, nodes: np.ndarray, points: np.ndarray, graph: DeformationGraph, ids: np.ndarray
) -> np.ndarray:
    result = np.zeros_like(points)
    for k in range(graph.indices.shape[1]):
        n = graph.indices[ids, k]
        moved = np.einsum("mij,mj->mi", motion.rotations[n], points - nodes[n]) + nodes[n] + motion.shifts[n]
        result += graph.weights[ids, k, None].astype(np.float64) * moved
    return result


def moved_by(motion: NodeMotion, delta: np.ndarray) -> NodeMotion:
    return NodeMotion(rotvec_to_matrix(delta[:, :3]) @ motion.rotations, motion.shifts + delta[:, 3:])


def example(graph: DeformationGraph, seed: int) -> tuple[NodeMotion, np.ndarray, np.ndarray, Pull, Stiffness]:
    rng = np.random.default_rng(seed)
    vertices = default_body_model().v_template.astype(np.float64)
    nodes = vertices[graph.nodes]
    count = len(nodes)
    motion = moved_by(NodeMotion.none(count), rng.normal(0.0, 0.2, (count, 6)))
    ids = rng.integers(0, len(vertices), 60).astype(np.int32)
    normals = rng.normal(size=(60, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:5] = 0.0
    pull = Pull(
        ids, vertices[ids] + rng.normal(0.0, 0.05, (60, 3)), normals, rng.uniform(0, 2, 60), rng.uniform(0, 2, 60)
    )
    return motion, nodes, vertices, pull, Stiffness(3.0, 0.7, 0.4)


def dense(blocks_matrix: np.ndarray, first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    full = np.zeros((count, 6, count, 6))
    for block, i, j in zip(blocks_matrix, first, second, strict=True):
        full[i, :, j] += block
        if i != j:
            full[j, :, i] += block.T
    return full.reshape(6 * count, 6 * count)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_is_the_slope_of_the_energy(graph: DeformationGraph, seed: int) -> None:
    motion, nodes, vertices, pull, stiffness = example(graph, seed)
    blocks = block_structure(graph, graph.indices)
    _, gradient = linear_system(motion, nodes, vertices, graph.indices, graph.weights, graph, blocks, pull, stiffness)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        direction = rng.normal(size=gradient.shape)
        h = 1e-5
        slope = (
            energy(moved_by(motion, h * direction), nodes, vertices, graph, pull, stiffness)
            - energy(moved_by(motion, -h * direction), nodes, vertices, graph, pull, stiffness)
        ) / (2 * h)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-5)


def test_normal_matrix_is_that_of_the_residuals_numerical_jacobian(graph: DeformationGraph) -> None:
    motion, nodes, vertices, pull, stiffness = example(graph, 3)
    motion = NodeMotion(np.tile(np.eye(3), (len(nodes), 1, 1)), motion.shifts)  # where the turn's curvature is exact
    blocks = block_structure(graph, graph.indices)
    matrix, _ = linear_system(motion, nodes, vertices, graph.indices, graph.weights, graph, blocks, pull, stiffness)

    def residuals(delta: np.ndarray) -> np.ndarray:
        moved = moved_by(motion, delta.reshape(-1, 6))
        gap = deform_reference(moved, nodes, vertices[pull.vertices], graph, pull.vertices) - pull.points
        i, j = graph.edges.T
        edge = np.einsum("eij,ej->ei", moved.rotations[i], nodes[j] - nodes[i])
        edge += nodes[i] + moved.shifts[i] - nodes[j] - moved.shifts[j]
        return np.concatenate(
            [
                np.sqrt(pull.plane) * (gap * pull.normals).sum(1),
                (np.sqrt(pull.point)[:, None] * gap).ravel(),
                np.sqrt(stiffness.edge) * edge.ravel(),
                np.sqrt(stiffness.shift) * moved.shifts.ravel(),
                np.sqrt(stiffness.turn) * (moved.rotations - np.eye(3)).ravel(),
            ]
        )

    size = 6 * len(nodes)
    h = 1e-5
    jacobian = np.stack(
        [(residuals(h * np.eye(size)[k]) - residuals(-h * np.eye(size)[k])) / (2 * h) for k in range(size)], axis=1
    )
    full = dense(matrix, blocks.first, blocks.second, len(nodes))
    np.testing.assert_allclose(full, jacobian.T @ jacobian, atol=1e-5)


def test_a_step_solves_the_linear_system(graph: DeformationGraph) -> None:
    motion, nodes, vertices, pull, stiffness = example(graph, 4)
    blocks = block_structure(graph, graph.indices)
    arrays = (nodes, vertices, graph.indices, graph.weights, graph, blocks, pull, stiffness)
    matrix, gradient = linear_system(motion, *arrays)
    exact = np.linalg.solve(dense(matrix, blocks.first, blocks.second, len(nodes)), -gradient.ravel()).reshape(-1, 6)
    after = step(motion, *arrays, solver_iterations=600, tolerance=1e-10)
    expected = moved_by(motion, exact)
    np.testing.assert_allclose(after.shifts, expected.shifts, atol=1e-6)
    np.testing.assert_allclose(after.rotations, expected.rotations, atol=1e-6)


def test_deform_is_its_definition(graph: DeformationGraph) -> None:
    motion, nodes, vertices, _, _ = example(graph, 5)
    moved = deform(vertices.astype(np.float32), graph.indices, graph.weights, nodes, motion)
    expected = deform_reference(motion, nodes, vertices, graph, np.arange(len(vertices)))
    np.testing.assert_allclose(moved, expected, atol=2e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_rigid_motions_stretch_nothing_and_are_exact(seed: int) -> None:
    graph = _SMALL
    rng = np.random.default_rng(seed)
    vertices = default_body_model().v_template
    nodes = vertices[graph.nodes].astype(np.float64)
    turn = rotvec_to_matrix(rng.normal(0.0, 1.5, 3))
    shift = rng.normal(0.0, 2.0, 3)
    motion = NodeMotion(np.tile(turn, (len(nodes), 1, 1)), nodes @ turn.T + shift - nodes)
    moved = deform(vertices, graph.indices, graph.weights, nodes, motion)
    np.testing.assert_allclose(moved, vertices.astype(np.float64) @ turn.T + shift, atol=5e-6)
    nothing = Pull(np.zeros(0, np.int32), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    blocks = block_structure(graph, graph.indices)
    _, gradient = linear_system(
        motion, nodes, vertices, graph.indices, graph.weights, graph, blocks, nothing, Stiffness(1.0, 0.0, 0.0)
    )
    assert np.abs(gradient).max() < 1e-12


_SMALL = build_graph(default_body_model(), 40)


def test_points_moved_rigidly_are_followed_rigidly(graph: DeformationGraph) -> None:
    """All of the surface is pulled to a turned copy of itself: Gauss-Newton must find the turn exactly."""
    vertices = default_body_model().v_template.astype(np.float64)
    nodes = vertices[graph.nodes]
    turn, shift = rotvec_to_matrix(np.array([0.1, 0.4, -0.2])), np.array([0.05, -0.1, 0.2])
    ids = np.arange(0, len(vertices), 10, dtype=np.int32)
    ones = np.ones(len(ids))
    pull = Pull(ids, vertices[ids] @ turn.T + shift, np.zeros((len(ids), 3)), 0.0 * ones, ones)
    blocks = block_structure(graph, graph.indices)
    motion = NodeMotion.none(len(nodes))
    for _ in range(12):
        motion = step(
            motion, nodes, vertices, graph.indices, graph.weights, graph, blocks, pull, Stiffness(1.0, 0.0, 0.0),
            solver_iterations=500, tolerance=1e-9,
        )  # fmt: skip
    moved = deform(vertices.astype(np.float32), graph.indices, graph.weights, nodes, motion)
    np.testing.assert_allclose(moved, vertices @ turn.T + shift, atol=2e-5)


def test_nodes_are_spread_along_the_surface() -> None:
    model = default_body_model()
    graph = build_graph(model, 250)
    assert len(np.unique(graph.nodes)) == 250
    np.testing.assert_allclose(graph.weights.sum(axis=1), 1.0, atol=1e-6)
    assert (graph.weights >= 0).all()
    # Every vertex has a node nearby, and no vertex of one leg is moved by a node of the other.
    rest = model.v_template
    strongest = graph.nodes[graph.indices[np.arange(len(rest)), graph.weights.argmax(axis=1)]]
    assert np.linalg.norm(rest - rest[strongest], axis=1).max() < 0.12
    shin = (model.weights[:, 4] > 0.9, model.weights[:, 5] > 0.9)
    assert not np.intersect1d(graph.indices[shin[0]], graph.indices[shin[1]]).size
    # The ties between nodes connect everything and go both ways.
    reached = {0}
    fresh = [0]
    pairs = {(int(i), int(j)) for i, j in graph.edges}
    assert all((j, i) in pairs for i, j in pairs)
    while fresh:
        fresh = [j for i, j in pairs if i in reached and j not in reached]
        reached.update(fresh)
    assert len(reached) == 250


def test_a_graph_of_impossible_size_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be from"):
        build_graph(default_body_model(), 3)
