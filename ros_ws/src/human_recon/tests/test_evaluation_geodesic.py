"""Distances along surfaces, against a slow reference and where they are known."""

from __future__ import annotations

import types
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import ConvexHull

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph
from human_recon.evaluation import rest_surface
from human_recon.evaluation.metrics.geodesic import Corners, geodesics_from
from human_recon.evaluation.rest_surface import UNIT, RestSurface, compute_distances, load_distances, table_path


def distances(vertices: np.ndarray, faces: np.ndarray, sources: list[int]) -> np.ndarray:
    return geodesics_from(Corners.of(vertices, faces), np.array(sources))


def reference(vertices: np.ndarray, faces: np.ndarray, sources: list[int], points: int = 5) -> np.ndarray:
    """Shortest ways over a graph in which each triangle's corners, and ``points`` on each of its edges, are all joined:
    never too short, and the less too long the more points there are (Lanthier et al., "Approximating shortest paths on
    weighted polyhedral surfaces", Algorithmica 2001)."""
    corners = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, of_face = np.unique(corners, axis=0, return_inverse=True)
    steps = np.arange(1, points + 1) / (points + 1)
    ends = vertices[edges]
    places = np.concatenate([vertices, *(ends[:, 0] * (1 - t) + ends[:, 1] * t for t in steps)])
    on_edges = [len(vertices) + k * len(edges) + of_face.reshape(-1, 3) for k in range(points)]
    nodes = np.concatenate([faces, *on_edges], axis=1)
    pairs = np.concatenate([nodes[:, pair] for pair in combinations(range(nodes.shape[1]), 2)])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    length = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    graph = csr_matrix((length, (pairs[:, 0], pairs[:, 1])), shape=(len(places), len(places)))
    return dijkstra(graph, directed=False, indices=sources)[:, : len(vertices)]


def ball(count: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of points on a spiral."""
    k = np.arange(count) + 0.5
    height, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    points = np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
    return points, ConvexHull(points).simplices.astype(np.int32)


def wavy_sheet(size: int, height: float) -> tuple[np.ndarray, np.ndarray]:
    """A square sheet 1 m wide, its diagonals in turn, bent into waves."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    inner = (x > 0) & (x < 1) & (y > 0) & (y < 1)
    x = x + inner * rng.uniform(-0.3, 0.3, x.shape) / size
    y = y + inner * rng.uniform(-0.3, 0.3, y.shape) / size
    points = np.stack([x, y, height * np.sin(7 * x) * np.cos(5 * y)], axis=-1).reshape(-1, 3)
    faces = []
    for i in range(size - 1):
        for j in range(size - 1):
            a, b, c, d = i * size + j, i * size + j + 1, (i + 1) * size + j, (i + 1) * size + j + 1
            faces += [(a, b, d), (a, d, c)] if (i + j) % 2 else [(a, b, c), (b, d, c)]
    return points, np.array(faces, np.int32)


def test_on_a_flat_sheet_distances_are_straight():
    vertices, faces = wavy_sheet(21, 0.0)
    found = distances(vertices, faces, [0, 200, 440])
    straight = np.linalg.norm(vertices[[0, 200, 440]][:, None] - vertices, axis=-1)
    np.testing.assert_allclose(found, straight, atol=1e-6)
    by_edges = dijkstra(edge_graph(vertices, faces), directed=False, indices=0)
    assert (by_edges / np.maximum(straight[0], 1e-9)).max() > 1.05  # what going along edges would give


def test_on_a_ball_distances_are_arcs():
    vertices, faces = ball()
    found = distances(vertices, faces, [0, 400])
    arcs = np.arccos(np.clip(vertices[[0, 400]] @ vertices.T, -1, 1))
    far = arcs > 0.2
    # The way to the other side is a little too short: there fronts close in, and circles about a point spread.
    np.testing.assert_allclose(found[far], arcs[far], rtol=0.03)
    assert np.abs(found / np.maximum(arcs, 1e-9) - 1)[far & (arcs < 2.0)].mean() < 0.005


def test_on_waves_as_the_reference_says():
    vertices, faces = wavy_sheet(25, 0.12)
    sources = [0, 312, 610]
    found, expected = distances(vertices, faces, sources), reference(vertices, faces, sources, 9)
    far = expected > 0.1
    assert np.abs(found / np.maximum(expected, 1e-9) - 1)[far].mean() < 0.005
    np.testing.assert_allclose(found[far], expected[far], rtol=0.03)


def test_on_the_body_within_one_per_cent_of_the_reference(body: BodyModel):
    sources = [0, 6000]
    vertices = body.v_template.astype(np.float64)
    found, expected = distances(vertices, body.faces, sources), reference(vertices, body.faces, sources, 4)
    far = expected > 0.05
    error = found[far] / expected[far] - 1
    assert np.abs(error).mean() < 0.01 and np.abs(np.median(error)) < 0.004
    straight = np.linalg.norm(vertices[sources][:, None] - vertices, axis=-1)
    assert (found >= 0.999 * straight).all()
    by_edges = dijkstra(edge_graph(vertices, body.faces), directed=False, indices=sources)
    assert (found <= by_edges + 1e-6).all()  # ways along edges are ways


def test_what_no_way_leads_to_is_infinitely_far():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0]], float)
    found = distances(vertices, np.array([[0, 1, 2], [3, 4, 5]]), [0])
    np.testing.assert_allclose(found[0], [0, 1, 1, np.inf, np.inf, np.inf])


# ---------------------------------------------------------------- the table


def mirrored_sheet(mirror: bool) -> types.SimpleNamespace:
    """A bent sheet that is its own mirror image in x, as a body is; it stands in for one."""
    vertices, faces = wavy_sheet(13, 0.1)
    vertices = vertices.reshape(13, 13, 3).copy()
    half = vertices[:, :7].copy()
    half[..., 0] -= half[:, 6:, 0]
    half[:, 6, 0] = 0.0
    vertices = np.concatenate([half, (half * [-1, 1, 1])[:, 5::-1]], axis=1).reshape(-1, 3)
    swap = np.arange(169).reshape(13, 13)[:, ::-1].ravel()
    left = faces[(faces % 13).max(axis=1) <= 6]
    faces = np.concatenate([left, swap[left][:, ::-1]]).astype(np.int32)
    return types.SimpleNamespace(
        v_template=vertices.astype(np.float32), faces=faces, mirror_vertices=swap if mirror else None
    )


def test_mirroring_half_of_the_table_changes_nothing():
    whole, half = compute_distances(mirrored_sheet(False)), compute_distances(mirrored_sheet(True))
    assert rest_surface._exact_mirror(mirrored_sheet(True)) is not None
    assert np.abs(whole.astype(int) - half).max() <= 20  # 2 mm
    assert (whole == whole.T).all() and (np.diag(whole) == 0).all() and whole.max() > 5000


def test_a_mirror_map_that_does_not_fit_the_triangles_is_not_used():
    sheet = mirrored_sheet(True)
    sheet.faces = sheet.faces[:-1]
    assert rest_surface._exact_mirror(sheet) is None


def test_the_table_is_computed_once_and_again_when_it_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sheet = mirrored_sheet(True)
    told: list[tuple[int, int]] = []
    first = np.array(load_distances(sheet, tmp_path / "cache", lambda done, rows: told.append((done, rows))))
    assert told and told[-1][0] == told[-1][1]
    np.testing.assert_array_equal(first, compute_distances(sheet))

    def never(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(rest_surface, "compute_distances", never)
        np.testing.assert_array_equal(load_distances(sheet, tmp_path / "cache"), first)
        other = mirrored_sheet(True)
        other.v_template = other.v_template * 2
        with pytest.raises(AssertionError, match="again"):
            load_distances(other, tmp_path / "cache")
    path = table_path(sheet, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(load_distances(sheet, tmp_path / "cache"), first)


def test_a_folder_that_cannot_be_written_to_is_done_without(tmp_path: Path):
    (tmp_path / "file").write_text("")
    sheet = mirrored_sheet(True)
    np.testing.assert_array_equal(load_distances(sheet, tmp_path / "file"), compute_distances(sheet))


def test_the_ruler_reads_the_table_in_metres(body: BodyModel):
    table = np.zeros((body.vertex_count, body.vertex_count), np.uint16)
    table[7, 5] = 1234  # true 7, predicted 5
    rest = RestSurface.of(body, table)
    np.testing.assert_allclose(rest.geodesic(np.array([5, 6]), np.array([7, 7])), [1234 * UNIT, 0.0])
    assert RestSurface.of(body).geodesic(np.array([5]), np.array([7])) is None
