"""Batches of scenes for the tests of the scene rasterisers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.geometry.scene_rasterizer import MeshBatch
from tests.synthetic_scene import standing

BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
    np.int32,
)  # counter-clockwise seen from outside


def camera_row(size: tuple[int, int]) -> list[float]:
    """fx, fy, cx, cy of a camera with a 63 degree wide view whose centre lies on no pixel."""
    height, width = size
    return [0.82 * width, 0.83 * width, width / 2 - 0.37, height / 2 - 0.61]


def joined(scenes: list[list[tuple[np.ndarray, np.ndarray, int]]], size: tuple[int, int]) -> MeshBatch:
    """A batch of scenes that are lists of meshes (vertices, faces, object), with attributes that differ."""
    vertices, faces, objects, start = [np.zeros((0, 3))], [np.zeros((0, 3), int)], [np.zeros(0, int)], [0]
    count = 0
    for scene in scenes:
        for points, triangles, index in scene:
            vertices.append(points)
            faces.append(triangles + count)
            objects.append(np.full(len(triangles), index))
            count += len(points)
        start.append(sum(len(x) for x in faces))
    points = np.concatenate(vertices).astype(np.float32)
    return MeshBatch(
        vertices=points,
        faces=np.concatenate(faces).astype(np.int32),
        face_start=np.array(start, np.int64),
        face_object=np.concatenate(objects).astype(np.int32),
        cameras=np.tile(camera_row(size), (len(scenes), 1)) * np.linspace(1, 1.1, len(scenes))[:, None],
        size=size,
        body_vertex=np.where(np.arange(count) % 5 == 4, -1, np.arange(count)).astype(np.int32),
        part=(np.arange(count) % 24).astype(np.uint8),
        canonical=points[::-1].copy(),
    )


def soup(seed: int, scenes: int, faces: int, size: tuple[int, int], z_low: float) -> MeshBatch:
    """Scenes of up to ``faces`` random triangles that share vertices; with z_low < 0 many cross the near plane."""
    rng = np.random.default_rng(seed)
    meshes = []
    for _ in range(scenes):
        count = int(rng.integers(0, faces + 1))
        points = rng.uniform([-2, -2, z_low], [2, 2, 4], (2 * count + 3, 3))
        triangles = rng.integers(0, len(points), (count, 3))
        # not the same triangle twice: which copy is in front, rounding would decide
        _, first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
        meshes.append([(points, triangles[np.sort(first)], int(rng.integers(0, 2000)))])
    return joined(meshes, size)


def lattice(seed: int, faces: int, size: tuple[int, int]) -> MeshBatch:
    """Triangles of one depth whose corners and many edges run through pixel centres; nothing is rounded."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 2 * max(size), (3 * faces, 2)) / 128
    points = np.column_stack([corners, np.ones(len(corners))])
    batch = joined([[(points, np.arange(3 * faces).reshape(-1, 3), 0)]], size)
    return replace(batch, cameras=np.array([[64.0, 64, 0, 0]]))


def crowd(body: BodyModel, scenes: int, people: int, size: tuple[int, int], seed: int = 0) -> MeshBatch:
    """Posed bodies among boxes in a room seen from inside, some of it behind the camera."""
    rng = np.random.default_rng(seed)
    batch = []
    for _ in range(scenes):
        meshes = []
        for person in range(people):
            state = standing(body, rng.uniform(-1.2, 1.2), rng.uniform(1.5, 4.5), rng.uniform(-3, 3), rng)
            meshes.append((pose_body(body, state).vertices, body.faces, person))
        for box in range(12):
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            turn *= np.sign(np.linalg.det(turn))
            place = rng.uniform([-2, -0.5, 0.3], [2, 1.2, 5])
            meshes.append((BOX_CORNERS * rng.uniform(0.05, 0.9, 3) @ turn.T + place, BOX_FACES, 1000 + box))
        meshes.append((BOX_CORNERS * [6.0, 2.7, 8.0] + [0, -0.15, 1.7], BOX_FACES[:, ::-1], 1999))
        batch.append(meshes)
    return joined(batch, size)
