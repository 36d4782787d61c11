"""Normals of depth images and meshes, and planes found with them, on surfaces known in closed form."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.geometry.normals import depth_normals, vertex_normals
from human_recon.geometry.plane import Plane, fit_plane, plane_axes, ransac_plane

FOCAL, WIDTH, HEIGHT = 100.0, 60, 50


def points_of(depth: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(u - 30) / FOCAL * depth, (v - 25) / FOCAL * depth, depth], -1)


def plane_depth(normal: np.ndarray, distance: float) -> np.ndarray:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - 30) / FOCAL, (v - 25) / FOCAL, np.ones(u.shape)], -1)
    return -distance / (rays @ normal)


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_normals_of_a_plane_are_the_planes(tilt, pan):
    normal = np.array([pan, tilt, -1.0]) / np.sqrt(1 + tilt**2 + pan**2)
    found = depth_normals(points_of(plane_depth(normal, 2.0)), 2, 0.2)
    np.testing.assert_allclose(found[3:-3, 3:-3], np.broadcast_to(normal, found[3:-3, 3:-3].shape), atol=1e-9)


def test_normals_do_not_see_across_a_depth_edge_or_a_hole():
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[:, 30:] = 3.0
    depth[20:25, 10:15] = 0.0
    found = depth_normals(points_of(depth), 3, 0.05)
    seen = depth > 0
    np.testing.assert_allclose(found[seen], np.broadcast_to([0.0, 0.0, -1.0], found[seen].shape), atol=1e-12)
    assert not found[~seen].any()


def test_a_lonely_reading_has_no_normal():
    depth = np.zeros((HEIGHT, WIDTH))
    depth[10, 10] = 1.0
    assert not depth_normals(points_of(depth), 2, 0.05).any()


def test_normals_of_a_sphere_point_outward():
    sphere = trimesh.creation.icosphere(3)
    normals = vertex_normals(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    assert ((normals * sphere.vertices).sum(axis=1) > 0.999).all()


def test_normals_agree_with_the_obvious_sum():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(2, 30, 3)).astype(np.float32)
    faces = rng.integers(0, 30, (50, 3))
    expected = np.zeros((2, 30, 3))
    for p in range(2):
        for a, b, c in faces:
            n = np.cross(vertices[p, b] - vertices[p, a], vertices[p, c] - vertices[p, a])
            for i in (a, b, c):
                expected[p, i] += n
    length = np.linalg.norm(expected, axis=2, keepdims=True)
    expected = np.divide(expected, length, out=np.zeros_like(expected), where=length > 0)
    np.testing.assert_allclose(vertex_normals(vertices, faces), expected, atol=1e-4)
    np.testing.assert_allclose(vertex_normals(vertices[1], faces), expected[1], atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-1, 1)] * 3), st.floats(-3, 3))
def test_fitted_plane_contains_the_points_it_was_drawn_through(direction, offset):
    direction = np.array(direction)
    if np.linalg.norm(direction) < 0.1:
        return
    normal = direction / np.linalg.norm(direction)
    axes = plane_axes(normal)
    np.testing.assert_allclose(axes @ normal, 0, atol=1e-12)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    points = np.random.default_rng(0).normal(size=(20, 2)) @ axes - offset * normal
    plane = fit_plane(points)
    assert abs(abs(plane.normal @ normal) - 1) < 1e-9
    np.testing.assert_allclose(plane.height(points), 0, atol=1e-9)
    np.testing.assert_allclose(Plane(normal, offset).height(points), 0, atol=1e-9)


def test_ransac_finds_a_plane_among_outliers_and_its_inliers():
    rng = np.random.default_rng(2)
    floor = np.column_stack([rng.uniform(-2, 2, 300), rng.normal(1.0, 0.005, 300), rng.uniform(1, 5, 300)])
    clutter = rng.uniform(-2, 2, (500, 3))
    points = np.concatenate([floor, clutter])
    normals = rng.normal(size=(800, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:300] = [0.0, -1.0, 0.0]
    found = ransac_plane(points, normals, threshold=0.03, max_angle=0.3, rng=rng)
    assert found is not None
    plane, inliers = found
    np.testing.assert_allclose(plane.normal, [0, -1, 0], atol=0.01)
    assert plane.offset == pytest.approx(1.0, abs=0.01)
    assert inliers[:300].all()
    assert inliers[300:].mean() < 0.05


def test_ransac_looks_only_where_it_is_told():
    wall = np.column_stack([np.zeros(50), np.linspace(-1, 1, 50), np.linspace(1, 2, 50)])
    normals = np.tile([1.0, 0.0, 0.0], (50, 1))
    options = {"threshold": 0.02, "max_angle": 0.2, "rng": np.random.default_rng(0)}
    assert ransac_plane(wall, normals, direction=np.array([0.0, -1.0, 0.0]), max_tilt=0.5, **options) is None
    assert ransac_plane(wall[:2], normals[:2], **options) is None
