"""From points of the template to vertices of the body."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.simulation.surface_lookup import NO_PART, SurfaceLookup


def test_points_of_the_surface_find_a_nearest_vertex(body: BodyModel, rng: np.random.Generator) -> None:
    """Against a k-d tree: the vertex found is at most a cell's diagonal further away than the nearest."""
    faces = body.faces[rng.integers(0, len(body.faces), 40 * 50)]
    weights = rng.dirichlet([1, 1, 1], len(faces))
    points = np.einsum("nk,nkc->nc", weights, body.v_template[faces]).astype(np.float32).reshape(40, 50, 3)
    vertex, part = SurfaceLookup.build(body).label(points, np.ones((40, 50), bool))
    nearest, index = cKDTree(body.v_template).query(points)
    found = np.linalg.norm(points - body.v_template[vertex], axis=-1)
    assert (found - nearest).max() < 0.008 * np.sqrt(3)
    assert (vertex == index).mean() > 0.6
    assert (part == vertex_parts(body)[vertex]).all()
    left_right = body.v_template[vertex][..., 0] * points[..., 0]
    assert (left_right < -1e-4).mean() < 0.002  # not the other leg


def test_only_people_are_labelled_and_points_off_the_surface_find_something(body: BodyModel) -> None:
    points = np.zeros((2, 3, 3), np.float32)
    points[0, 0] = body.v_template[100]
    points[0, 1] = [9.0, -9.0, 0.5]
    person = np.zeros((2, 3), bool)
    person[0, :2] = True
    vertex, part = SurfaceLookup.build(body).label(points, person)
    assert np.linalg.norm(body.v_template[vertex[0, 0]] - body.v_template[100]) < 0.014
    assert 0 <= vertex[0, 1] < body.vertex_count
    assert (vertex[~person] == -1).all()
    assert (part[~person] == NO_PART).all()
