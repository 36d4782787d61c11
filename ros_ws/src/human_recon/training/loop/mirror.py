"""Batches of the stream seen in a mirror: as true as the original, and free.

The body's topology and its shape space are symmetric (`BodyModel.mirror_vertices`), so every label has an exact mirror
image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import MIRROR_JOINTS
from human_recon.simulation.stream import CropBatch, FrameBatch
from human_recon.simulation.surface_lookup import NO_PART

_POINT = np.array([-1.0, 1.0, 1.0], np.float32)
_ROTVEC = np.array([1.0, -1.0, -1.0], np.float32)


def mirror_frames(batch: FrameBatch, body: BodyModel) -> FrameBatch:
    """Every frame in the mirror of the camera's y-z plane; the optical axis moves with it."""
    cameras = batch.cameras.copy()
    cameras[:, 2] = batch.depth.shape[2] - 1 - cameras[:, 2]
    return replace(
        batch,
        depth=_flip(batch.depth),
        cameras=cameras,
        person=_flip(batch.person),
        part=_mirror_parts(_flip(batch.part)),
        vertex=_mirror_vertices(_flip(batch.vertex), body),
        canonical=_flip(batch.canonical, axis=2) * _POINT,
        normal=_flip(batch.normal, axis=2) * _POINT,
        pose=batch.pose[:, :, MIRROR_JOINTS] * _ROTVEC,
        trans=batch.trans * _POINT,
        joints=batch.joints[:, :, MIRROR_JOINTS] * _POINT,
    )


def mirror_crops(batch: CropBatch, body: BodyModel) -> CropBatch:
    """Every crop in the mirror of its own y-z plane, and the scene it is part of in that of the camera."""
    points = _flip(batch.points)
    points[:, 0] *= -1.0
    return replace(
        batch,
        points=points,
        prompt=_flip(batch.prompt),
        mask=_flip(batch.mask),
        part=_mirror_parts(_flip(batch.part)),
        vertex=_mirror_vertices(_flip(batch.vertex), body),
        canonical=_flip(batch.canonical, axis=2) * _POINT,
        pose=batch.pose[:, MIRROR_JOINTS] * _ROTVEC,
        trans=batch.trans * _POINT,
        joints=batch.joints[:, MIRROR_JOINTS] * _POINT,
        centre=batch.centre * _POINT,
        rotation=batch.rotation * np.outer(_POINT, _POINT),
    )


def _flip(images: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.ascontiguousarray(np.flip(images, axis))


def _mirror_parts(part: np.ndarray) -> np.ndarray:
    table = np.full(256, NO_PART, np.uint8)
    table[: len(MIRROR_JOINTS)] = MIRROR_JOINTS
    return table[part]


def _mirror_vertices(vertex: np.ndarray, body: BodyModel) -> np.ndarray:
    assert body.mirror_vertices is not None  # of the open body that the stream is made with
    return np.where(vertex >= 0, body.mirror_vertices[np.maximum(vertex, 0)], -1).astype(np.int16)
