"""The scene rasteriser against Embree, Intel's ray caster, on posed bodies among boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from human_recon.geometry.rasterizer import NEAR
from human_recon.geometry.scene_rasterizer import MeshBatch, rasterize_scenes, surface_labels
from tests.scene_batches import crowd

pytest.importorskip("embreex", reason="embreex is not installed: no wheel for this platform?")

SIZE = (240, 320)


def cast(batch: MeshBatch, s: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth [H, W] (0 = nothing), index into batch.faces (-1) and weights [H, W, 3] of scene s, by Embree.

    Rays start on the plane z = NEAR and their directions have z = 1, so their parameter is the depth beyond it.
    """
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    begin, end = batch.face_start[s : s + 2]
    scene = EmbreeScene()
    TriangleMesh(scene, batch.vertices, np.ascontiguousarray(batch.faces[begin:end]))
    height, width = batch.size
    v, u = np.mgrid[:height, :width]
    fx, fy, cx, cy = batch.cameras[s]
    directions = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(u.shape)], -1).reshape(-1, 3).astype(np.float32)
    answer = scene.run(directions * np.float32(NEAR), directions, output=True)
    hit = answer["primID"] >= 0
    depth = np.where(hit, answer["tfar"] + NEAR, 0).reshape(batch.size)
    face = np.where(hit, answer["primID"] + begin, -1).reshape(batch.size)
    second, third = answer["u"], answer["v"]
    weights = np.where(hit[:, None], np.stack([1 - second - third, second, third], -1), 0)
    return depth, face, weights.reshape(*batch.size, 3)


@pytest.mark.parametrize("room", [True, False], ids=["room", "open"])
def test_mask_depth_and_faces(body, room):
    batch = crowd(body, scenes=4, people=3, size=SIZE, seed=3)
    if not room:
        kept = batch.face_object != 1999
        start = np.concatenate([[0], np.cumsum(kept)])[batch.face_start]
        batch = replace(batch, faces=batch.faces[kept], face_object=batch.face_object[kept], face_start=start)
    raster = rasterize_scenes(batch, cull=False)  # Embree sees both sides
    labels = surface_labels(raster, batch)
    pixels = SIZE[0] * SIZE[1]
    for s in range(4):
        depth, face, weights = cast(batch, s)
        seen = raster.face[s] >= 0
        assert seen.mean() == 1 if room else 0.2 < seen.mean() < 0.9
        # both round, so a ray along an edge may be given to either side of it: a few pixels in a million
        assert (seen != (face >= 0)).sum() <= 2e-5 * pixels
        same = (raster.face[s] == face) & seen
        assert (seen & ~same).sum() <= 5e-5 * pixels
        objects = np.append(batch.face_object, -1)
        assert (objects[face] != raster.object[s]).sum() <= 2e-5 * pixels
        np.testing.assert_allclose(raster.depth[s][same], depth[same], rtol=5e-5)
        # weights on a triangle some pixels small, metres away: Embree's are of single precision
        assert np.quantile(np.abs(labels.barycentric[s] - weights)[same], 0.99) < 1e-4


def test_culling_changes_nothing_on_closed_surfaces_seen_from_outside(body):
    batch = crowd(body, scenes=2, people=4, size=SIZE, seed=5)
    people = batch.face_object < 1000
    start = np.concatenate([[0], np.cumsum(people)])[batch.face_start]
    only = replace(batch, faces=batch.faces[people], face_object=batch.face_object[people], face_start=start)
    raster = rasterize_scenes(only, cull=True)
    for s in range(2):
        depth, face, _ = cast(only, s)
        assert (face >= 0).mean() > 0.05
        assert (raster.face[s] != face).mean() <= 5e-5
        same = raster.face[s] == face
        np.testing.assert_allclose(raster.depth[s][same], depth[same], rtol=5e-5)
