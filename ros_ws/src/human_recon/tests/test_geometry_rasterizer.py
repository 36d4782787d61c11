"""The z-buffer against ray casting, and its promises at edges, borders and the near plane."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import (
    NEAR,
    barycentric,
    rasterize,
    rasterize_reference,
    visible_vertices,
)

CAMERA = CameraIntrinsics(width=48, height=36, fx=40.0, fy=42.0, cx=23.3, cy=17.8)


def icosphere(subdivisions: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A closed unit sphere with outward faces: vertices [V, 3], faces [F, 3]."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    return np.asarray(sphere.vertices, np.float32), np.asarray(sphere.faces, np.int32)


def triangle_soup(seed: int, people: int, faces: int, z_low: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-2, -2, z_low], [2, 2, 4], (people, 3 * faces, 3)).astype(np.float32)
    return vertices, np.arange(3 * faces, dtype=np.int32).reshape(faces, 3)


def assert_agree(vertices, faces, camera, cull):
    fast = rasterize(vertices, faces, camera, cull=cull)
    slow = rasterize_reference(vertices, faces, camera, cull=cull)
    same = (fast.person == slow.person) & (fast.face == slow.face)
    # a pixel may differ only where rounding decides: on a silhouette, or two surfaces at one depth
    assert (~same).sum() <= 2, f"{(~same).sum()} pixels differ"
    np.testing.assert_allclose(fast.depth[same], slow.depth[same], rtol=2e-5, atol=1e-6)  # edge-on triangles are steep
    return fast


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), people=st.integers(1, 3), faces=st.integers(1, 12), cull=st.booleans())
def test_agrees_with_ray_casting_on_random_triangles(seed, people, faces, cull):
    assert_agree(*triangle_soup(seed, people, faces, z_low=0.5), CAMERA, cull)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cull=st.booleans())
def test_agrees_with_ray_casting_across_the_near_plane(seed, cull):
    fast = assert_agree(*triangle_soup(seed, 2, 8, z_low=-3.0), CAMERA, cull)
    hit = fast.depth > 0
    assert (fast.depth[hit] >= NEAR * (1 - 1e-6)).all()


def test_near_plane_clipping_is_exercised():
    """A floor that runs under the camera: without clipping it would vanish or wrap around."""
    vertices = np.array([[[-50, 1, -5], [50, 1, -5], [50, 1, 60], [-50, 1, 60]]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    raster = rasterize(vertices, faces, CAMERA, cull=False)
    rows = np.arange(CAMERA.height)
    below = rows > CAMERA.cy + 2
    expected = CAMERA.fy * 1.0 / (rows[below] - CAMERA.cy)
    np.testing.assert_allclose(raster.depth[below], np.repeat(expected[:, None], CAMERA.width, 1), rtol=1e-5)
    assert (raster.depth[rows < CAMERA.cy] == 0).all()


def test_closed_surface_is_watertight_and_culling_changes_nothing():
    sphere, faces = icosphere(3)
    vertices = (sphere * 0.8 + [0.1, -0.1, 3.0])[None].astype(np.float32)
    culled = rasterize(vertices, faces, CAMERA)
    both = rasterize(vertices, faces, CAMERA, cull=False)
    np.testing.assert_array_equal(culled.depth, both.depth)
    np.testing.assert_array_equal(culled.face, both.face)
    # every row of a convex silhouette is one run of pixels
    for row in culled.depth > 0:
        assert np.abs(np.diff(row.astype(int))).sum() <= 2
    # and the sphere's depth is the analytic one within the facets' sag
    v, u = np.nonzero(culled.depth)
    z = culled.depth[v, u]
    points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], -1)
    radius = np.linalg.norm(points - [0.1, -0.1, 3.0], axis=1)
    assert radius.max() <= 0.8 + 1e-5 and radius.min() >= 0.8 * 0.985


def test_inside_out_surface_shows_its_far_side():
    sphere, faces = icosphere(2)
    vertices = (sphere * 0.8 + [0, 0, 3.0])[None].astype(np.float32)
    raster = rasterize(vertices, faces[:, ::-1], CAMERA)
    assert raster.depth[18, 23] == pytest.approx(3.8, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 18)), min_size=4, max_size=4, unique=True),
    inner=st.tuples(st.integers(0, 24), st.integers(0, 18)),
)
def test_triangles_sharing_edges_cover_each_pixel_once(corners, inner):
    """Edges through pixel centres are the hard case: half-pixel lattice corners, a fan round an inner point."""
    centre = np.array(inner) / 2
    ring = np.array(corners) / 2 + 3.0
    angle = np.arctan2(*(ring - centre).T[::-1])
    ring = ring[np.argsort(angle)]
    if len(set(np.round(angle, 9))) < 4 or np.ptp(angle) < np.pi:
        return
    gaps = np.diff(np.append(np.sort(angle), np.sort(angle)[0] + 2 * np.pi))
    if gaps.max() >= np.pi - 1e-6:
        return  # the inner point is not inside: the fan would fold over itself
    camera = CameraIntrinsics(width=24, height=20, fx=16.0, fy=16.0, cx=0.0, cy=0.0)
    points = np.vstack([centre, ring])
    vertices = np.column_stack([points / 16.0, np.ones(5)])[None].astype(np.float32)
    fan = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    hits = sum((rasterize(vertices, fan[i : i + 1], camera, cull=False).face >= 0).astype(int) for i in range(4))
    assert hits.max(initial=0) <= 1
    slow = rasterize_reference(vertices, fan, camera, cull=False)
    v, u = np.nonzero((hits == 0) & (slow.face >= 0))  # uncovered but inside: only right and bottom borders may be
    outer = np.array([[ring[i], ring[(i + 1) % 4]] for i in range(4)])
    for x, y in zip(u, v, strict=True):
        a, b = outer[:, 0], outer[:, 1]
        cross = (b - a)[:, 0] * (y - a[:, 1]) - (b - a)[:, 1] * (x - a[:, 0])
        assert np.isclose(cross, 0, atol=1e-9).any()


def test_person_order_and_ties():
    sphere, faces = icosphere(1)
    near, far = sphere * 0.5 + [0, 0, 2], sphere * 0.5 + [0.3, 0, 3]
    raster = rasterize(np.stack([far, near]).astype(np.float32), faces, CAMERA)
    assert raster.person[18, 23] == 1
    assert set(np.unique(raster.person)) == {-1, 0, 1}
    twice = rasterize(np.stack([near, near]).astype(np.float32), faces, CAMERA)
    assert set(np.unique(twice.person)) == {-1, 0}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), z_low=st.sampled_from([0.5, -2.0]))
def test_barycentric_weights_give_back_the_point_on_the_ray(seed, z_low):
    vertices, faces = triangle_soup(seed, 2, 8, z_low)
    raster = rasterize(vertices, faces, CAMERA, cull=False)
    weights = barycentric(raster, vertices, faces, CAMERA)
    hit = raster.face >= 0
    assert (weights[~hit] == 0).all() and (weights >= 0).all()
    corners = vertices[raster.person[hit][:, None], faces[raster.face[hit]]]
    points = (weights[hit][:, :, None] * corners).sum(1)
    v, u = np.nonzero(hit)
    slack = 2e-3  # pixels; weights are float32 and corners metres away
    np.testing.assert_allclose(points[:, 2], raster.depth[hit], rtol=1e-3, atol=1e-4)
    x, y, z = points.T
    far = z > 0.2
    np.testing.assert_allclose((CAMERA.fx * x / z + CAMERA.cx)[far], u[far], atol=slack)
    np.testing.assert_allclose((CAMERA.fy * y / z + CAMERA.cy)[far], v[far], atol=slack)


def test_visible_vertices_of_two_spheres():
    sphere, faces = icosphere(3)
    front, back = (sphere * 0.4 + [0, 0, 2]).astype(np.float32), (sphere * 0.4 + [0.25, 0, 4]).astype(np.float32)
    camera = CameraIntrinsics(width=192, height=144, fx=160.0, fy=160.0, cx=95.5, cy=71.5)
    depth = rasterize(np.stack([front, back]), faces, camera).depth
    seen = visible_vertices(front, faces, camera, depth, tolerance=0.05)
    # from the eye at distance D a sphere of radius r shows the cap with n . towards_eye > r / D
    cosine = sphere @ np.array([0, 0, -1.0])
    assert seen[cosine > 0.2 + 0.12].all() and not seen[cosine < 0.2 - 0.12].any()
    seen = visible_vertices(back, faces, camera, depth, tolerance=0.05)
    pixel = back[:, :2] / back[:, 2:]
    hidden = np.linalg.norm(pixel, axis=1) < 0.16  # well inside the front sphere's disc of radius 0.204
    assert hidden.any() and not seen[hidden].any()
    assert seen[(np.linalg.norm(pixel, axis=1) > 0.24) & (cosine > 0.35)].all()


def test_vertices_out_of_the_image_are_not_visible():
    sphere, faces = icosphere(1)
    empty = np.zeros((CAMERA.height, CAMERA.width), np.float32)
    assert not visible_vertices((sphere * 0.3 + [9, 0, 3]).astype(np.float32), faces, CAMERA, empty).any()
    assert not visible_vertices((sphere * 0.3 - [0, 0, 3]).astype(np.float32), faces, CAMERA, empty).any()


def test_nobody_and_nothing_finite():
    _, faces = icosphere(1)
    empty = rasterize(np.zeros((0, 42, 3), np.float32), faces, CAMERA)
    assert (empty.depth == 0).all() and (empty.person == -1).all() and (empty.face == -1).all()
    broken = rasterize(np.full((1, 42, 3), np.nan, np.float32), faces, CAMERA)
    assert (broken.depth == 0).all()


@pytest.mark.parametrize(
    "vertices, faces",
    [
        (np.zeros((5, 3)), np.zeros((1, 3), int)),
        (np.zeros((1, 5, 2)), np.zeros((1, 3), int)),
        (np.zeros((1, 5, 3)), np.zeros((1, 4), int)),
        (np.zeros((1, 5, 3)), np.array([[0, 1, 5]])),
        (np.zeros((1, 5, 3)), np.array([[0, 1, -1]])),
    ],
)
def test_wrong_shapes_are_refused(vertices, faces):
    with pytest.raises(ValueError):
        rasterize(vertices, faces, CAMERA)


def test_five_bodies_at_vga_take_milliseconds():
    """Spheres of about a body's vertex count and image size; the bound is loose for busy test machines."""
    sphere, faces = icosphere(5)  # 10,242 vertices, 20,480 faces
    camera = CameraIntrinsics(width=640, height=480, fx=525.0, fy=525.0, cx=319.5, cy=239.5)
    people = np.stack([sphere * [0.25, 0.85, 0.2] + [x, 0, 3 + 0.2 * x] for x in (-1.4, -0.7, 0, 0.7, 1.4)])
    people = people.astype(np.float32)
    rasterize(people, faces, camera)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        rasterize(people, faces, camera)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
