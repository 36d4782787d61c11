"""Closest points between a body and one depth view of a person, both ways, with visibility taken into account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.fitting.observation import Observation, features, nearest_pixel
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rasterizer import rasterize, visible_vertices


@dataclass(frozen=True)
class MatchConfig:
    """What lies between skin and measurement, metres."""

    measurements: float = 800.0  # independent measurements that all correspondences together count as
    clothing: float = 0.008  # the measured surface lies outside the skin by this much ...
    hair: float = 0.03  # and by this much on the scalp
    hair_trust: float = 0.2  # weight of the outline above the scalp: hair may stand far off it
    free_space_margin: float = 0.08  # in front of the background by more than this is free space violated
    sole_height: float = 0.08  # below this height above the floor a foot and the floor look the same


@dataclass(frozen=True)
class Matches:
    """What the body is drawn to in one iteration."""

    vertex_ids: np.ndarray  # [M]
    targets: np.ndarray  # [M, 3]
    normals: np.ndarray  # [M, 3]
    weights: np.ndarray  # [M] measurements each one counts as
    outside_ids: np.ndarray  # [S] vertices that belong elsewhere in the image: in free space, or short of the outline
    outside_targets: np.ndarray  # [S, 3]
    outside_weights: np.ndarray  # [S]


class Matcher:
    """Finds what each visible part of one body model is drawn to."""

    def __init__(self, model: BodyModel, config: MatchConfig) -> None:
        self.config = config
        self._faces = np.ascontiguousarray(model.faces, np.int32)
        self._is_scalp = _scalp(model)  # [V]
        self._thickness = np.where(self._is_scalp, config.hair, config.clothing)  # [V]

    def match(self, vertices: np.ndarray, observation: Observation, count: int) -> Matches:
        """Closest points both ways between the measured surface and the visible part of the body."""
        config = self.config
        camera = observation.intrinsics
        normals = vertex_normals(vertices, self._faces)
        raster = rasterize(vertices[None], self._faces, camera)
        visible = np.flatnonzero(visible_vertices(vertices, self._faces, camera, raster.depth, 0.03))
        if len(visible) < 10 or len(observation.points) < 10:
            ids, points, weights = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0)
            return Matches(ids, points, points, weights, ids, points, weights)

        half = 0.5 * config.measurements

        # Scan to mesh: every measurement is explained by something seen.
        scan = np.linspace(0, len(observation.points) - 1, min(count, len(observation.points))).astype(int)
        scan_points, scan_normals = observation.points[scan], observation.normals[scan]
        tree = cKDTree(features(vertices[visible], normals[visible]))
        explained_by = visible[tree.query(features(scan_points, scan_normals))[1]]

        # Mesh to scan: everything seen is measured, or hidden, or contradicts the free space.
        seen = visible[np.linspace(0, len(visible) - 1, min(count, len(visible))).astype(int)]
        pixel = vertices[seen, :2] / vertices[seen, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        column = np.clip(np.rint(pixel[:, 0]).astype(int), 0, camera.width - 1)
        row = np.clip(np.rint(pixel[:, 1]).astype(int), 0, camera.height - 1)
        measured = observation.depth[row, column]
        own = observation.mask[row, column]
        in_free_space = ~own & (measured > vertices[seen, 2] + config.free_space_margin)
        # Just outside the outline, in front of the floor or a wall that touches the person, is outside as well.
        beside = ~own & ~in_free_space & (measured > vertices[seen, 2] - 0.05) & ~observation.others[row, column]
        misplaced = in_free_space | beside
        if observation.floor is not None:
            # The lowest centimetres of feet are cut off with the floor: nothing says that soles are misplaced.
            misplaced &= observation.floor.height(vertices[seen]) > config.sole_height
        outside, outside_row, outside_column = seen[misplaced], row[misplaced], column[misplaced]
        target = observation.nearest_own[outside_row, outside_column]
        # Both outlines are only known to a pixel.
        slack = vertices[outside, 2] / camera.fx
        outside_targets = _relax(_at_depth(target, vertices[outside, 2], camera), vertices[outside], slack)
        outside_weights = np.full(len(outside), half / len(seen))

        # What is measured but not covered by the body, beyond what clothes and hair add, draws its outline outwards.
        covered = raster.depth > 0
        bare = np.flatnonzero(observation.mask & ~covered)
        bare = bare[np.linspace(0, len(bare) - 1, min(count // 2, len(bare))).astype(int)]
        edge = nearest_pixel(covered).ravel()[bare]
        edge_vertices = self._faces[raster.face.ravel()[edge], 0]
        edge_targets = _at_depth(bare, vertices[edge_vertices, 2], camera)
        edge_targets = _relax(edge_targets, vertices[edge_vertices], self._thickness[edge_vertices])
        share = half * (observation.mask & ~covered).sum() / max(observation.mask.sum(), 1)
        outside = np.concatenate([outside, edge_vertices])
        outside_targets = np.concatenate([outside_targets, edge_targets])
        trust = np.where(self._is_scalp[edge_vertices], config.hair_trust, 1.0)
        outside_weights = np.concatenate([outside_weights, trust * share / max(len(bare), 1)])
        inside = seen[own]
        match = observation.tree.query(features(vertices[inside], normals[inside]))[1]

        ids = np.concatenate([explained_by, inside])
        targets = np.concatenate([scan_points, observation.points[match]])
        target_normals = np.concatenate([scan_normals, observation.normals[match]])
        targets = targets - self._thickness[ids, None] * target_normals
        mean_normals = target_normals + normals[ids]
        length = np.linalg.norm(mean_normals, axis=-1, keepdims=True)
        mean_normals = np.where(length > 0.5, mean_normals / np.maximum(length, 1e-9), target_normals)
        weights = np.concatenate([np.full(len(scan), half / len(scan)), np.full(len(inside), half / len(seen))])
        return Matches(ids, targets, mean_normals, weights, outside, outside_targets, outside_weights)


def _scalp(model: BodyModel) -> np.ndarray:
    """Where hair grows: the upper and rear half of the head, [V] bool."""
    head = np.argmax(model.weights, axis=1) == 15
    offset = model.v_template - model.v_template[head].mean(0)
    return head & (offset[:, 1] - 0.7 * offset[:, 2] > 0.0)


def _at_depth(pixels: np.ndarray, depth: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """Points [N, 3] at ``depth`` [N] on the rays of flat pixel indices [N]."""
    row, column = np.divmod(pixels, camera.width)
    return np.stack([(column - camera.cx) / camera.fx * depth, (row - camera.cy) / camera.fy * depth, depth], axis=-1)


def _relax(targets: np.ndarray, points: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Targets [N, 3] moved towards ``points`` [N, 3] by ``slack`` [N]: nearer than that there is nothing to gain."""
    gap = points - targets
    distance = np.linalg.norm(gap, axis=-1)
    return targets + gap * np.minimum(1.0, slack / np.maximum(distance, 1e-9))[:, None]
