"""Signed distance against boxes and spheres, whose distances are known in closed form."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.geometry.signed_distance import closest_points, penetration, winding_number

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
    assert winding_number(point[None], BOX.vertices, BOX.faces)[0] == pytest.approx(float(inside), abs=1e-6)


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
