"""Batches of scenes against ray casting, against the body rasteriser, and what must hold whatever is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import barycentric, rasterize
from human_recon.geometry.rasterizer_kernels import _near_crossing, fill_mesh
from human_recon.geometry.scene_rasterizer import (
    MeshBatch,
    SceneRaster,
    rasterize_scenes,
    rasterize_scenes_reference,
    surface_labels,
    surface_labels_reference,
)
from tests.scene_batches import BOX_CORNERS, BOX_FACES, camera_row, crowd, joined, soup

SIZE = (36, 48)
SEEDS = st.integers(0, 2**32 - 1)


def fields_equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))


def scene_alone(batch: MeshBatch, s: int) -> MeshBatch:
    begin, end = batch.face_start[s : s + 2]
    return replace(
        batch,
        faces=batch.faces[begin:end],
        face_object=batch.face_object[begin:end],
        face_start=np.array([0, end - begin]),
        cameras=batch.cameras[s : s + 1],
    )


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, cull=st.booleans(), z_low=st.sampled_from([0.5, -3.0]))
def test_agrees_with_ray_casting(seed, cull, z_low):
    batch = soup(seed, scenes=3, faces=12, size=SIZE, z_low=z_low)
    fast, slow = rasterize_scenes(batch, cull=cull), rasterize_scenes_reference(batch, cull=cull)
    same = fast.face == slow.face
    # a pixel may differ only where rounding decides: on a silhouette, or two surfaces at one depth
    assert (~same).sum() <= 3, f"{(~same).sum()} pixels differ"
    np.testing.assert_array_equal(fast.object[same], slow.object[same])
    np.testing.assert_allclose(fast.depth[same], slow.depth[same], rtol=2e-5, atol=1e-6)
    assert fast.depth.dtype == np.float32 and fast.object.dtype == fast.face.dtype == np.int32


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, cull=st.booleans())
def test_labels_agree_with_solving_for_the_weights(seed, cull):
    batch = soup(seed, scenes=2, faces=10, size=SIZE, z_low=-1.0)
    raster = rasterize_scenes(batch, cull=cull)
    fast, slow = surface_labels(raster, batch), surface_labels_reference(raster, batch)
    np.testing.assert_allclose(fast.barycentric, slow.barycentric, atol=2e-4)  # triangles seen nearly edge-on
    np.testing.assert_allclose(fast.normal, slow.normal, atol=1e-5)
    top = np.sort(slow.barycentric, axis=-1)
    clear = (top[..., 2] - top[..., 1] > 1e-3) | (raster.face < 0)
    for name in ("vertex", "part"):
        np.testing.assert_array_equal(getattr(fast, name)[clear], getattr(slow, name)[clear])
    np.testing.assert_allclose(fast.canonical[clear], slow.canonical[clear], atol=2e-3)
    assert [x.dtype for x in vars(fast).values()] == [x.dtype for x in vars(slow).values()]


def test_labels_of_a_known_triangle():
    """A wall z = 2 + x: the pixel on the axis sees its point (0, 0, 2)."""
    points = np.array([[-1.0, -1, 1], [3, -1, 5], [-1, 3, 1]], np.float32)
    batch = MeshBatch(
        vertices=points,
        faces=np.array([[0, 2, 1]], np.int32),
        face_start=np.array([0, 1]),
        face_object=np.array([4], np.int32),
        cameras=np.array([[20.0, 20, 10, 8]]),
        size=(17, 21),
        body_vertex=np.array([10, 11, 12], np.int32),
        part=np.array([1, 2, 3], np.uint8),
        canonical=np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
    )
    raster = rasterize_scenes(batch)
    labels = surface_labels(raster, batch)
    assert raster.depth[0, 8, 10] == 2 and raster.object[0, 8, 10] == 4 and raster.face[0, 8, 10] == 0
    # (0, 0, 2) = 1/2 (-1, -1, 1) + 1/4 (3, -1, 5) + 1/4 (-1, 3, 1); the face names its corners in the order 0, 2, 1
    np.testing.assert_allclose(labels.barycentric[0, 8, 10], [0.5, 0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(labels.canonical[0, 8, 10], [0.5, 0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(labels.normal[0, 8, 10], np.array([1, 0, -1]) / np.sqrt(2), atol=1e-6)
    assert labels.vertex[0, 8, 10] == 10 and labels.part[0, 8, 10] == 1


def test_one_scene_of_bodies_is_what_the_body_rasteriser_draws(body):
    batch = crowd(body, scenes=1, people=3, size=(96, 128))
    count = body.vertex_count
    people = batch.vertices[: 3 * count].reshape(3, count, 3)
    fx, fy, cx, cy = batch.cameras[0]
    camera = CameraIntrinsics(width=128, height=96, fx=fx, fy=fy, cx=cx, cy=cy)
    expected = rasterize(people, body.faces, camera)
    chosen = batch.face_object < 1000
    only = replace(
        batch,
        faces=batch.faces[chosen],
        face_object=batch.face_object[chosen],
        face_start=np.array([0, chosen.sum()]),
    )
    raster = rasterize_scenes(only)
    np.testing.assert_array_equal(raster.depth[0], expected.depth)
    np.testing.assert_array_equal(raster.object[0], expected.person)
    hit = expected.face >= 0
    assert hit.mean() > 0.1
    face = raster.face[0] - expected.person * len(body.faces)
    np.testing.assert_array_equal(face[hit], expected.face[hit])
    weights = barycentric(expected, people, body.faces, camera)
    np.testing.assert_allclose(surface_labels(raster, only).barycentric[0], weights, atol=1e-6)


def test_labels_on_a_crowd_lie_on_the_ray_and_face_the_camera(body):
    batch = crowd(body, scenes=2, people=3, size=(60, 80))
    raster = rasterize_scenes(batch)
    labels = surface_labels(raster, batch)
    s, v, u = np.nonzero(raster.face >= 0)
    corners = batch.faces[raster.face[s, v, u]]
    weights = labels.barycentric[s, v, u]
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    fx, fy, cx, cy = batch.cameras[s].T
    ray = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(len(u))], -1)
    points = (weights[..., None] * batch.vertices[corners]).sum(1)
    np.testing.assert_allclose(points, ray * raster.depth[s, v, u, None], atol=2e-5)
    normal = labels.normal[s, v, u]
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-6)
    assert ((normal * ray).sum(-1) < 1e-6).all()
    best = corners[np.arange(len(u)), weights.argmax(-1)]
    np.testing.assert_array_equal(labels.vertex[s, v, u], batch.body_vertex[best])
    np.testing.assert_array_equal(labels.part[s, v, u], batch.part[best])
    thing = batch.body_vertex[best] < 0
    assert thing.any() and (labels.canonical[s, v, u][thing] == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, cull=st.booleans())
def test_scenes_do_not_know_of_each_other(seed, cull):
    batch = soup(seed, scenes=4, faces=10, size=SIZE, z_low=-2.0)
    raster = rasterize_scenes(batch, cull=cull)
    labels = surface_labels(raster, batch)
    for s in range(4):
        single = scene_alone(batch, s)
        one = rasterize_scenes(single, cull=cull)
        np.testing.assert_array_equal(one.depth[0], raster.depth[s])
        np.testing.assert_array_equal(one.object[0], raster.object[s])
        shifted = np.where(raster.face[s] >= 0, raster.face[s] - batch.face_start[s], -1)
        np.testing.assert_array_equal(one.face[0], shifted)
        for name, value in vars(surface_labels(one, single)).items():
            np.testing.assert_array_equal(value[0], getattr(labels, name)[s])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, cull=st.booleans(), cut=st.floats(0, 1))
def test_drawing_in_two_goes_is_drawing_at_once(seed, cull, cut):
    batch = soup(seed, scenes=1, faces=60, size=SIZE, z_low=-2.0)
    whole = rasterize_scenes(batch, cull=cull)
    middle = round(cut * len(batch.faces))
    inverse_depth = np.zeros(SIZE, np.float32)
    object_, face = np.full(SIZE, -1, np.int32), np.full(SIZE, -1, np.int32)
    camera = [float(x) for x in batch.cameras[0]]
    for begin, end in ((middle, len(batch.faces)), (0, middle)):  # the later faces first: that must not matter
        part = np.ascontiguousarray(batch.faces[begin:end])
        fill_mesh(batch.vertices, part, end, *camera, 0.05, cull, inverse_depth, object_, face, begin)
    np.testing.assert_array_equal(face, whole.face[0])
    np.testing.assert_array_equal(inverse_depth > 0, whole.depth[0] > 0)
    hit = face >= 0
    np.testing.assert_array_equal(1 / inverse_depth[hit], whole.depth[0][hit])
    np.testing.assert_array_equal(object_[hit], np.where(face[hit] < middle, middle, len(batch.faces)))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_order_of_faces_decides_nothing_but_ties(seed):
    batch = soup(seed, scenes=1, faces=700, size=SIZE, z_low=-2.0)  # more than one chunk of the kernel
    order = np.random.default_rng(seed).permutation(len(batch.faces))
    shuffled = replace(batch, faces=batch.faces[order], face_object=batch.face_object[order])
    first, second = rasterize_scenes(batch, cull=False), rasterize_scenes(shuffled, cull=False)
    np.testing.assert_array_equal(first.depth, second.depth)
    faces = np.where(second.face >= 0, np.append(order, 0)[second.face], -1)
    assert (faces != first.face).sum() <= 2  # along shared edges that a second pair of faces meets at the same depth


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, cull=st.booleans())
def test_units_do_not_matter(seed, cull):
    """Everything twice as far and as large: powers of two are exact, so nothing but the depth may change."""
    batch = soup(seed, scenes=2, faces=20, size=SIZE, z_low=-2.0)
    doubled = replace(batch, vertices=batch.vertices * 2)
    first, second = rasterize_scenes(batch, cull, near=0.1), rasterize_scenes(doubled, cull, near=0.2)
    np.testing.assert_array_equal(first.face, second.face)
    np.testing.assert_array_equal(first.depth * 2, second.depth)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, right=st.integers(-6, 6), down=st.integers(-6, 6))
def test_a_larger_image_plane_shows_the_same_and_more(seed, right, down):
    batch = soup(seed, scenes=1, faces=30, size=SIZE, z_low=-2.0)
    small = rasterize_scenes(batch)
    large = rasterize_scenes(replace(batch, size=(SIZE[0] + 9, SIZE[1] + 11)))
    np.testing.assert_array_equal(large.face[:, : SIZE[0], : SIZE[1]], small.face)
    np.testing.assert_array_equal(large.depth[:, : SIZE[0], : SIZE[1]], small.depth)
    # and moving the plane moves the picture; pixel coordinates round differently, so borders may
    moved = rasterize_scenes(replace(batch, cameras=batch.cameras + [0, 0, right, down]))
    rows, columns = np.mgrid[6 : SIZE[0] - 6, 6 : SIZE[1] - 6]
    assert (moved.face[0, rows + down, columns + right] != small.face[0, rows, columns]).sum() <= 2


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(-1.5, 1.5),
    y=st.floats(-1, 1),
    z=st.floats(1.2, 6),
    subdivisions=st.integers(1, 4),
    cull=st.booleans(),
)
def test_a_closed_surface_has_no_gaps(x, y, z, subdivisions, cull):
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    centre = np.array([x, y, z])
    size = (72, 96)
    batch = joined([[(sphere.vertices + centre, sphere.faces, 0)]], size)
    raster = rasterize_scenes(batch, cull=cull)
    triangles = sphere.vertices[sphere.faces]
    inner = np.abs(np.einsum("fa,fa->f", sphere.face_normals, triangles[:, 0])).min()  # of the sphere inside the facets
    fx, fy, cx, cy = camera_row(size)
    v, u = np.mgrid[: size[0], : size[1]]
    ray = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    miss = np.linalg.norm(np.cross(ray, centre), axis=-1)
    assert (raster.depth[0][miss < inner - 1e-4] > 0).all()
    assert (raster.depth[0][miss > 1 + 1e-4] == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    ring=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 90)), min_size=4, max_size=9, unique=True),
    inner=st.tuples(st.integers(0, 120), st.integers(0, 90)),
    grid=st.sampled_from([1.0, 0.5]),
)
def test_faces_sharing_edges_own_each_pixel_once(ring, inner, grid):
    """A fan with corners on pixel centres and edges through others: wide and narrow faces, both windings."""
    centre, ring = np.array(inner) * grid, np.array(ring) * grid
    angle = np.arctan2(*(ring - centre).T[::-1])
    ring, angle = ring[np.argsort(angle)], np.sort(angle)
    gaps = np.diff(np.append(angle, angle[0] + 2 * np.pi))
    if gaps.max() >= np.pi - 1e-6 or gaps.min() < 1e-9 or (ring == centre).all(1).any():
        return  # the centre is not strictly inside: the fan would fold over itself
    count = len(ring)
    points = np.column_stack([np.vstack([centre, ring]) / 64, np.ones(count + 1)]).astype(np.float32)
    fan = np.array([[0, 1 + n, 1 + (n + 1) % count] for n in range(count)], np.int32)
    fan[::2] = fan[::2, ::-1]
    batch = MeshBatch(  # every face a scene of its own
        vertices=points,
        faces=fan,
        face_start=np.arange(count + 1),
        face_object=np.zeros(count, np.int32),
        cameras=np.tile([64.0, 64, 0, 0], (count, 1)),
        size=(96, 128),
    )
    hits = (rasterize_scenes(batch, cull=False).face >= 0).sum(0)
    assert hits.max(initial=0) <= 1
    v, u = np.mgrid[:96, :128]
    a, b = ring, np.roll(ring, -1, axis=0)
    side = (b - a)[:, 0, None, None] * (v - a[:, 1, None, None]) - (b - a)[:, 1, None, None] * (u - a[:, 0, None, None])
    # the inner edges and the centre are what this is about; who owns the outer border is left open
    inside = np.zeros(hits.shape, bool)
    for n in range(count):
        p, q = ring[n] - centre, ring[(n + 1) % count] - centre
        s, t = p[0] * (v - centre[1]) - p[1] * (u - centre[0]), q[0] * (v - centre[1]) - q[1] * (u - centre[0])
        inside |= (s >= 0) & (t <= 0) & (side[n] > 0)
    assert (hits[inside] == 1).all()


def test_ties_go_to_the_lower_face_however_large_the_faces_are():
    """Large faces and those of a pixel or two take different ways through the kernel."""
    large = np.array([[-9.0, -9, 2], [9, -9, 2], [0, 18, 2]])
    speck = np.array([[-0.04, -0.04, 2], [0.04, -0.04, 2], [0, 0.04, 2]])
    faces = np.array([[0, 2, 1]])
    specks = [(speck + [x, y, 0], faces, 1) for x in (-0.5, -0.2, 0.1, 0.4) for y in (-0.3, 0.0, 0.3)]
    first = rasterize_scenes(joined([[(large, faces, 0), *specks]], SIZE))
    assert (first.face == 0).all() and (first.object == 0).all()
    second = rasterize_scenes(joined([[*specks, (large, faces, 0)]], SIZE))
    alone = rasterize_scenes(joined([specks], SIZE))
    hit = alone.face >= 0
    assert len(specks) <= hit.sum() <= 4 * len(specks)
    np.testing.assert_array_equal(second.face[hit], alone.face[hit])
    assert (second.face[~hit] == len(specks)).all()


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_an_edge_meets_the_near_plane_in_one_point_from_both_its_faces(seed):
    points = np.random.default_rng(seed).uniform([-3, -3, -2], [3, 3, 0], (2, 3)).astype(np.float32)
    points[1, 2] += 2.5
    assert _near_crossing(points, 0, 1, 0.05) == _near_crossing(points, 1, 0, 0.05)


def test_parallel_is_serial_to_the_last_bit(body):
    batch = crowd(body, scenes=3, people=2, size=SIZE)
    for cull in (True, False):
        serial, parallel = rasterize_scenes(batch, cull=cull), rasterize_scenes(batch, cull=cull, parallel=True)
        assert fields_equal(serial, parallel)
        assert fields_equal(surface_labels(serial, batch), surface_labels(serial, batch, parallel=True))


def test_things_may_be_cut_by_the_near_plane_and_the_border():
    """From inside a box one sees its far sides, everywhere."""
    batch = joined([[(BOX_CORNERS * 4, BOX_FACES[:, ::-1], 1000)]], SIZE)
    raster = rasterize_scenes(batch)
    assert (raster.object == 1000).all()
    assert raster.depth.max() == 2 and raster.depth.min() > 1
    assert (rasterize_scenes(replace(batch, faces=batch.faces[:, ::-1])).face == -1).all()


def test_nothing_to_see():
    batch = joined([[], [(BOX_CORNERS + [0, 0, -3], BOX_FACES, 0)], [(BOX_CORNERS * np.nan, BOX_FACES, 0)]], SIZE)
    raster = rasterize_scenes(batch)
    assert (raster.depth == 0).all() and (raster.object == -1).all() and (raster.face == -1).all()
    labels = surface_labels(raster, batch)
    assert (labels.vertex == -1).all() and (labels.part == 255).all()
    assert not (labels.barycentric.any() or labels.canonical.any() or labels.normal.any())
    none = joined([], SIZE)
    assert rasterize_scenes(none).depth.shape == (0, *SIZE)
    assert rasterize_scenes_reference(none).face.shape == (0, *SIZE)


def test_faces_with_a_broken_corner_are_left_out():
    boxes = [(BOX_CORNERS + [-0.6, 0, 3], BOX_FACES, 0), (BOX_CORNERS + [0.6, 0, 3], BOX_FACES, 1)]
    batch = joined([boxes], SIZE)
    for value in (np.nan, np.inf, -np.inf):
        broken = batch.vertices.copy()
        broken[3, 1] = value
        fast = rasterize_scenes(replace(batch, vertices=broken))
        slow = rasterize_scenes_reference(replace(batch, vertices=broken))
        np.testing.assert_array_equal(fast.face, slow.face)
        assert (fast.object == 1).any()


def test_attributes_may_be_missing():
    batch = joined([[(BOX_CORNERS + [0, 0, 3], BOX_FACES, 1000)]], SIZE)
    plain = replace(batch, body_vertex=None, part=None, canonical=None)
    raster = rasterize_scenes(plain)
    labels, full = surface_labels(raster, plain), surface_labels(raster, batch)
    assert (labels.vertex == -1).all() and (labels.part == 255).all() and not labels.canonical.any()
    np.testing.assert_array_equal(labels.barycentric, full.barycentric)
    np.testing.assert_array_equal(labels.normal, full.normal)
    assert raster.face.max() >= 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((8, 2), np.float32)}, "vertices must be"),
        ({"faces": np.zeros((12, 4), np.int32)}, "faces must be"),
        ({"faces": np.full((12, 3), 8, np.int32)}, "there are 8 vertices"),
        ({"faces": np.full((12, 3), -1, np.int32)}, "there are 8 vertices"),
        ({"face_start": np.array([0, 5, 12])}, "face_start must be"),
        ({"face_start": np.array([0, 11])}, "face_start must rise"),
        ({"face_object": np.zeros(3, np.int32)}, "face_object must be"),
        ({"cameras": np.ones((1, 3))}, "cameras must be"),
        ({"size": (0, 4)}, "size must be"),
        ({"part": np.zeros(3, np.uint8)}, "part must be"),
        ({"canonical": np.zeros(8, np.float32)}, "canonical must be"),
    ],
)
def test_wrong_batches_are_refused(change, message):
    batch = joined([[(BOX_CORNERS + [0, 0, 3], BOX_FACES, 0)]], SIZE)
    with pytest.raises(ValueError, match=message):
        rasterize_scenes(replace(batch, **change))


def test_wrong_arguments_are_refused():
    batch = joined([[(BOX_CORNERS + [0, 0, 3], BOX_FACES, 0)]], SIZE)
    with pytest.raises(ValueError, match="near must be positive"):
        rasterize_scenes(batch, near=0.0)
    raster = rasterize_scenes(batch)
    with pytest.raises(ValueError, match="the raster is"):
        surface_labels(raster, replace(batch, size=(10, 10)))
    foreign = SceneRaster(depth=raster.depth, object=raster.object, face=np.full((1, *SIZE), 12, np.int32))
    with pytest.raises(ValueError, match="shows face 12"):
        surface_labels(foreign, batch)
