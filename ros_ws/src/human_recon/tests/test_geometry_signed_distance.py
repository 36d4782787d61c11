"""Signed distance against boxes and spheres, whose distances are known in closed form."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_body
from human_recon.body.model import default_body_model
from human_recon.body.state import BodyState
from human_recon.geometry.signed_distance import (
    closest_points,
    penetration,
    winding_number,
    winding_number_reference,
)

BOX = trimesh.creation.box(extents=(2.0, 1.0, 0.5))
HALF = np.array([1.0, 0.5, 0.25])
coordinate = st.floats(-2.0, 2.0, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.tuples(coordinate, coordinate, coordinate))
def test_closest_point_of_a_box_seen_from_outside_is_the_clamped_point(point):
    point = np.array(point)
    if (np.abs(point) < HALF).all():
        return
    nearest, _ = closest_points(point[None], BOX.vertices, BOX.faces)
    np.testing.assert_allclose(nearest[0], np.clip(point, -HALF, HALF), atol=1e-7)


@settings(max_examples=200, deadline=None)
@given(st.tuples(coordinate, coordinate, coordinate))
def test_winding_number_tells_inside_from_outside(point):
    point = np.array(point)
    if np.abs(np.abs(point) - HALF).min() < 1e-6:
        return
    inside = bool((np.abs(point) < HALF).all())
    assert winding_number(point[None], BOX.vertices, BOX.faces)[0] == inside
    assert winding_number_reference(point[None], BOX.vertices, BOX.faces)[0] == pytest.approx(float(inside), abs=1e-6)


def test_crossings_agree_with_solid_angles_on_a_posed_body():
    """A body with its forearm through its belly, so that some points are inside twice."""
    model = default_body_model()
    pose = np.zeros((24, 3))
    pose[16, 2], pose[16, 1], pose[18, 1] = -1.0, -0.6, -2.0
    vertices = pose_body(model, BodyState(np.zeros(10), pose, np.zeros(3))).vertices.astype(np.float64)
    rng = np.random.default_rng(0)
    points = vertices[rng.choice(len(vertices), 150)] + rng.normal(0, 0.04, (150, 3))
    expected = winding_number_reference(points, vertices, model.faces)
    clear = np.abs(expected - np.rint(expected)) < 1e-3
    assert clear.mean() > 0.95
    assert set(np.rint(expected[clear])) >= {0.0, 1.0}
    np.testing.assert_array_equal(winding_number(points, vertices, model.faces)[clear], np.rint(expected[clear]))


def test_overlapping_shells_count_twice_where_they_overlap():
    vertices = np.concatenate([BOX.vertices, BOX.vertices + [0.5, 0.0, 0.0]])
    faces = np.concatenate([BOX.faces, BOX.faces + len(BOX.vertices)])
    number = winding_number(np.array([[0.2, 0.0, 0.0], [-0.8, 0.0, 0.0], [3.0, 0.0, 0.0]]), vertices, faces)
    np.testing.assert_allclose(number, [2.0, 1.0, 0.0], atol=1e-6)


def test_penetration_depth_of_points_in_a_box_is_the_distance_to_its_nearest_side():
    rng = np.random.default_rng(1)
    points = rng.uniform(-1.2, 1.2, (500, 3))
    inside = (np.abs(points) < HALF).all(-1)
    indices, depth, exits = penetration(points, BOX.vertices, BOX.faces)
    np.testing.assert_array_equal(indices, np.flatnonzero(inside))
    np.testing.assert_allclose(depth, (HALF - np.abs(points[inside])).min(-1), atol=1e-12)
    assert (np.abs(np.abs(exits) - HALF).min(-1) < 1e-12).all()


def test_penetration_of_nothing_is_empty():
    indices, depth, exits = penetration(np.array([[9.0, 9.0, 9.0]]), BOX.vertices, BOX.faces)
    assert len(indices) == len(depth) == len(exits) == 0
