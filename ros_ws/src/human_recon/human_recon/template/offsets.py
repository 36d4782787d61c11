"""What somebody wears: the distance of the measured surface from the body's skin, learned over time (SMPL+D).

One signed distance per vertex, along the normal of the body's rest surface. Every frame measures it where the camera
sees the surface; the mean over all frames is kept with how much it rests on, and what has not been seen is
interpolated over the surface. Fingers, toes and faces are finer than what a depth camera tells from pose errors: their
offsets are limited by part, as are those of others by what is worn there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph
from human_recon.body.skeleton import joint_index
from human_recon.camera.frame import Frame
from human_recon.geometry.normals import vertex_normals


@dataclass(frozen=True)
class OffsetConfig:
    """Lengths in metres, memory in frames."""

    thinnest: float = -0.01
    thickest: float = 0.06  # of clothes
    hair: float = 0.08
    face: float = 0.01
    shoes: float = 0.02
    hands: float = 0.0
    reach: float = 0.06  # a measurement farther from the deformed surface than this is of something else
    least_cosine: float = 0.35  # between the normal and the direction to the camera
    memory: float = 90.0  # observations, of a surface seen from the front, that the mean is over
    smoothness: float = 4.0  # observations that the mean of a vertex' neighbours counts as


class OffsetSurface:
    """What all people's offsets have in common: directions, limits and neighbourhoods of the rest surface."""

    def __init__(self, model: BodyModel, config: OffsetConfig) -> None:
        self.limits = _limits(model, config)  # [V] float32, metres
        self.normals = vertex_normals(model.v_template, model.faces).astype(np.float32)  # [V, 3]
        graph = edge_graph(model.v_template, model.faces)
        self.start = graph.indptr.astype(np.int32)  # [V + 1]
        self.neighbours = graph.indices.astype(np.int32)


class Offsets:
    """The offsets of one person."""

    def __init__(self, surface: OffsetSurface, config: OffsetConfig) -> None:
        self._surface, self._config = surface, config
        count = len(surface.normals)
        self._mean = np.zeros(count, np.float32)
        self._seen = np.zeros(count, np.float32)  # observations
        self.values = np.zeros(count, np.float32)  # [V] metres outwards, everywhere

    @property
    def confidence(self) -> np.ndarray:
        """[V] float32 in [0, 1): a half after five frames of a surface seen from the front."""
        return self._seen / (self._seen + np.float32(5.0))

    def observe(
        self,
        frame: Frame,
        labels: np.ndarray,
        person: int,
        skin: np.ndarray,
        deformed: np.ndarray,
        normals: np.ndarray,
    ) -> int:
        """Learn from a frame.

        Args:
            frame: undistorted.
            labels: [H, W] uint16, Person.id of each pixel.
            person: whose offsets these are.
            skin: [V, 3] float32 metres, the posed body.
            deformed: [V, 3] float32 metres, the surface registered to the frame.
            normals: [V, 3] float32, rest normals in the pose.

        Returns:
            How many vertices were seen.
        """
        config, camera = self._config, frame.intrinsics
        return _observe(
            frame.depth, labels, person, camera.fx, camera.fy, camera.cx, camera.cy, skin, deformed, normals,
            config.thinnest, self._surface.limits, config.reach, config.least_cosine, config.memory,
            self._mean, self._seen,
        )  # fmt: skip

    def spread(self) -> None:
        """Carry what is known to what is not: one sweep, which converges over frames."""
        _spread(
            self._surface.start, self._surface.neighbours, self._mean, self._seen,
            np.float32(self._config.smoothness), np.float32(self._config.thinnest), self._surface.limits, self.values,
        )  # fmt: skip


def _limits(model: BodyModel, config: OffsetConfig) -> np.ndarray:
    """[V] float32, the largest offset of each vertex, blended between parts like the skinning."""
    by_joint = np.full(model.joint_count, config.thickest)
    by_joint[[joint_index(name) for name in ("l_wrist", "r_wrist", "l_hand", "r_hand")]] = config.hands
    by_joint[[joint_index(name) for name in ("l_ankle", "r_ankle", "l_foot", "r_foot")]] = config.shoes
    head = joint_index("head")
    by_joint[head] = config.hair
    limits = model.weights.astype(np.float64) @ by_joint
    # Hair grows on the upper and rear half of the head.
    on_head = model.weights[:, head] > 0.5
    offset = model.v_template[on_head] - model.v_template[on_head].mean(axis=0)
    is_face = offset[:, 1] - 0.7 * offset[:, 2] < 0.0
    limits[np.flatnonzero(on_head)[is_face]] = config.face
    return limits.astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _observe(
    depth, labels, person, fx, fy, cx, cy, skin, deformed, normals, thinnest, limits, reach, least_cosine, memory,
    mean, seen,
):  # fmt: skip
    height, width = depth.shape
    count = 0
    for v in range(skin.shape[0]):
        x, y, z = deformed[v, 0], deformed[v, 1], deformed[v, 2]
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        if not z > 0.05:
            continue
        cosine = -(nx * x + ny * y + nz * z) / np.sqrt(x * x + y * y + z * z)
        if not cosine > least_cosine:
            continue
        column, row = int(np.rint(fx * x / z + cx)), int(np.rint(fy * y / z + cy))
        # Pixels at the outline are mixed from two surfaces.
        if row < 1 or column < 1 or row >= height - 1 or column >= width - 1:
            continue
        if (
            labels[row, column] != person
            or labels[row - 1, column] != person
            or labels[row + 1, column] != person
            or labels[row, column - 1] != person
            or labels[row, column + 1] != person
        ):
            continue
        measured = depth[row, column]
        if not measured > 0.0:
            continue
        dx, dy, dz = (column - cx) / fx * measured - x, (row - cy) / fy * measured - y, measured - z
        if dx * dx + dy * dy + dz * dz > reach * reach:
            continue
        offset = nx * (dx + x - skin[v, 0]) + ny * (dy + y - skin[v, 1]) + nz * (dz + z - skin[v, 2])
        if offset < 2.0 * thinnest or offset > 2.0 * limits[v]:
            continue  # of something else; what is only somewhat beyond the limit counts as at the limit
        offset = min(max(offset, max(thinnest, -limits[v])), limits[v])
        weight = cosine * cosine
        mean[v] += (offset - mean[v]) * weight / (seen[v] + weight)
        seen[v] = min(seen[v] + weight, memory)
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _spread(start, neighbours, mean, seen, smoothness, thinnest, limits, values):
    """One Gauss-Seidel sweep of: least seen (d - mean)^2 + smoothness |d - mean of the neighbours|^2."""
    for v in range(values.shape[0]):
        degree = start[v + 1] - start[v]
        around = np.float32(0.0)
        for e in range(start[v], start[v + 1]):
            around += values[neighbours[e]]
        pull = smoothness if degree else np.float32(0.0)
        total = seen[v] + pull
        if total > 0.0:
            value = (seen[v] * mean[v] + pull * around / np.float32(max(degree, 1))) / total
            values[v] = min(max(value, max(thinnest, -limits[v])), limits[v])
