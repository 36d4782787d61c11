"""What the pixels of a rendering show, down to the body's vertex."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.geometry.scene_rasterizer import MeshBatch, rasterize_scenes, surface_labels_reference
from human_recon.simulation.surface_lookup import NO_PART, SurfaceLookup, label_pixels


def test_points_of_the_surface_find_a_nearest_vertex(body: BodyModel, rng: np.random.Generator) -> None:
    """Against a k-d tree: the vertex found is at most a cell's diagonal further away than the nearest."""
    faces = body.faces[rng.integers(0, len(body.faces), 2000)]
    points = np.einsum("nk,nkc->nc", rng.dirichlet([1, 1, 1], len(faces)), body.v_template[faces])
    vertex = SurfaceLookup.build(body).nearest(points)
    nearest, index = cKDTree(body.v_template).query(points)
    found = np.linalg.norm(points - body.v_template[vertex], axis=-1)
    assert (found - nearest).max() < 0.008 * np.sqrt(3)
    assert (vertex == index).mean() > 0.6
    other_side = body.v_template[vertex][..., 0] * points[..., 0] < -1e-4
    assert other_side.mean() < 0.002  # not the other leg


def test_points_off_the_surface_find_something(body: BodyModel) -> None:
    lookup = SurfaceLookup.build(body)
    vertex = lookup.nearest(np.array([body.v_template[100], [9.0, -9.0, 0.5], [0.0, 0.0, 0.0]]))
    assert np.linalg.norm(body.v_template[vertex[0]] - body.v_template[100]) < 0.014
    assert ((vertex >= 0) & (vertex < body.vertex_count)).all()


def test_labels_are_those_of_the_reference(body: BodyModel) -> None:
    """A body in the T pose, upside up before the camera, and a board that hides half of it."""
    turned = body.v_template * [1.0, -1.0, -1.0] + [0.0, 0.3, 2.0]
    board = np.array([[0.0, -1.0, 1.5], [0.0, 1.0, 1.5], [1.0, 1.0, 1.6], [1.0, -1.0, 1.6]])
    vertices = np.concatenate([turned, board]).astype(np.float32)
    last = body.vertex_count
    faces = np.concatenate([body.faces, [[last, last + 1, last + 2], [last, last + 2, last + 3]]]).astype(np.int32)
    batch = MeshBatch(
        vertices=vertices,
        faces=faces,
        face_start=np.array([0, len(faces)]),
        face_object=np.where(np.arange(len(faces)) < len(body.faces), 0, 1000).astype(np.int32),
        cameras=np.array([[70.0, 70.0, 39.5, 29.5]]),
        size=(60, 80),
        body_vertex=np.concatenate([np.arange(last), np.full(4, -1)]).astype(np.int32),
        canonical=np.concatenate([body.v_template, np.zeros((4, 3))]).astype(np.float32),
    )
    raster = rasterize_scenes(batch, cull=False)
    materials = np.concatenate([np.arange(len(faces)) % 5, [77]]).astype(np.uint8)
    labels = label_pixels(raster, batch, materials, SurfaceLookup.build(body))
    expected = surface_labels_reference(raster, batch)
    face, person = raster.face[0], raster.object[0] == 0
    assert person.sum() > 200
    assert (raster.object[0] == 1000).sum() > 200
    np.testing.assert_allclose(labels.canonical, expected.canonical[0], atol=1e-6)
    np.testing.assert_allclose(labels.normal, expected.normal[0], atol=1e-6)
    assert (labels.material == np.where(face >= 0, face % 5, 77)).all()
    assert ((labels.vertex >= 0) == person).all()
    near = np.linalg.norm(body.v_template[labels.vertex[person]] - expected.canonical[0][person], axis=1)
    assert near.max() < 0.035
    assert (labels.part[person] == vertex_parts(body)[labels.vertex[person]]).all()
    assert (labels.part[~person] == NO_PART).all()
