"""Divisions of the body's surface: geodesics, random segmentations, evenly spread vertices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra

pytest.importorskip("torch")

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph
from training.body_net.segmentations import (
    PATCHES,
    RANDOM_CENTRES,
    UNIT,
    draw_segmentations,
    geodesic_distances,
    spread_vertices,
)


def sphere(rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit octahedron, divided ``rounds`` times and blown up: vertices [V, 3], faces [F, 3]."""
    vertices = [np.array(v, float) for v in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))]
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    for _ in range(rounds):
        middle: dict[tuple[int, int], int] = {}
        finer = []
        for a, b, c in faces:
            corners = []
            for edge in ((a, b), (b, c), (c, a)):
                key = (min(edge), max(edge))
                if key not in middle:
                    point = vertices[key[0]] + vertices[key[1]]
                    middle[key] = len(vertices)
                    vertices.append(point / np.linalg.norm(point))
                corners.append(middle[key])
            ab, bc, ca = corners
            finer += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = finer
    return np.array(vertices), np.array(faces)


@pytest.fixture(scope="module")
def ball() -> SimpleNamespace:
    """A sphere of radius 1 m as a body: 1,026 vertices."""
    vertices, faces = sphere(4)
    return SimpleNamespace(v_template=vertices.astype(np.float32), faces=faces, vertex_count=len(vertices))


@pytest.fixture(scope="module")
def distances(ball: SimpleNamespace) -> np.ndarray:
    """Along its edges."""
    return geodesic_distances(ball)


def test_distances_along_edges_are_a_little_longer_than_great_circles(
    ball: SimpleNamespace, distances: np.ndarray
) -> None:
    points = ball.v_template.astype(np.float64)
    true = np.arccos(np.clip(points @ points.T, -1.0, 1.0))
    ratio = distances * UNIT / np.where(true > 0, true, np.inf)
    far = true > 0.3
    # The chords of short edges are a little shorter than their arcs.
    assert ratio[far].min() > 0.995 and ratio[far].max() < 1.4
    assert 1.0 < ratio[far].mean() < 1.2
    assert (np.diag(distances) == 0).all() and (distances == distances.T).all()


def test_distances_keep_the_triangle_inequality(distances: np.ndarray, rng: np.random.Generator) -> None:
    a, b, c = rng.integers(len(distances), size=(3, 20000))
    longest = distances[a, c].astype(int)
    assert (longest <= distances[a, b].astype(int) + distances[b, c] + 2).all()  # rounding


def test_segmentations_are_farthest_points_and_their_cells(distances: np.ndarray) -> None:
    drawn = draw_segmentations(distances, 2, seed=9)
    assert drawn.labels.shape == (2, len(distances)) and drawn.centres.shape == (2, PATCHES)
    for labels, centres in zip(drawn.labels, drawn.centres, strict=True):
        assert len(set(centres.tolist())) == PATCHES
        to_centres = distances[centres].astype(np.float64)
        own = to_centres[labels, np.arange(len(distances))]
        assert (own == to_centres.min(axis=0)).all()  # nobody's centre is nearer than their own
        assert (labels[centres] == np.arange(PATCHES)).all()
        for k in (RANDOM_CENTRES, RANDOM_CENTRES + 1, 57, PATCHES - 1):
            nearest = to_centres[:k].min(axis=0)
            assert nearest[centres[k]] == nearest.max()


def test_the_first_centres_are_random_and_the_seed_decides_them(distances: np.ndarray) -> None:
    one, again, other = (draw_segmentations(distances, 3, seed) for seed in (4, 4, 5))
    assert (one.centres == again.centres).all() and (one.labels == again.labels).all()
    first = one.centres[:, :RANDOM_CENTRES]
    assert (first != other.centres[:, :RANDOM_CENTRES]).any()
    assert (first[0] != first[1]).any()


def test_near_points_share_more_patches_than_far_ones() -> None:
    # A flat torus of 48 x 48 points, 1 cm apart: 500 patches of it are 2.1 cm wide.
    place = np.stack(np.meshgrid(np.arange(48), np.arange(48)), axis=-1).reshape(-1, 2)
    apart = np.abs(place[:, None] - place[None])
    metres = 0.01 * np.linalg.norm(np.minimum(apart, 48 - apart), axis=-1)
    drawn = draw_segmentations(np.rint(metres / UNIT).astype(np.uint16), 30, seed=1)
    some, metres = drawn.labels[:, :200], metres[:200]
    share = (some[:, :, None] == drawn.labels[:, None]).mean(axis=0)
    at = {away: share[np.isclose(metres, 0.01 * away)] for away in (1, 2, 3)}
    assert at[1].mean() > 0.3 and at[1].mean() > 1.5 * at[2].mean() > 3 * at[3].mean()
    assert at[1].min() > 0.0  # no border lies between neighbours in all segmentations
    assert share[metres > 0.08].max() == 0.0


def test_spread_vertices_are_symmetric_even_and_know_their_distances(body: BodyModel) -> None:
    vertices, distances = spread_vertices(body, 200)
    assert body.mirror_vertices is not None
    assert 199 <= len(vertices) <= 200 and len(set(vertices.tolist())) == len(vertices)
    assert set(body.mirror_vertices[vertices].tolist()) == set(vertices.tolist())
    assert distances.shape == (len(vertices), body.vertex_count)
    graph = edge_graph(body.v_template, body.faces)
    some = [0, 1, 17, len(vertices) - 1]
    np.testing.assert_allclose(distances[some], dijkstra(graph, directed=False, indices=vertices[some]), atol=2e-3)
    # Farthest-point sampling covers with balls of a radius below the distance between the nearest two centres.
    between = distances[:, vertices] + np.where(np.eye(len(vertices), dtype=bool), np.inf, 0.0)
    pairs = body.mirror_vertices[vertices[:, None]] == vertices[None]  # mirror images may be near each other
    assert distances.min(axis=0).max() <= np.where(pairs, np.inf, between).min() + 2e-3


@pytest.mark.parametrize("count", [1, 6891])
def test_spread_vertices_says_what_is_possible(body: BodyModel, count: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to 6890, got {count}"):
        spread_vertices(body, count)
