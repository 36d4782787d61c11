"""How deep a point is inside a body: the field of seed 002, equation 5.1, phi = -min(SDF, 0), in metres.

The field belongs to a body that stands still: gradients flow to the points that are asked about, not to that body.

- :class:`GridField` is the seed's: a grid of N^3 nodes in a tight box about the body, read by trilinear interpolation.
- :class:`ExactField` measures each point that is inside against the triangles. In a scene only few points of one body
  are within another, so on a CPU this costs less than filling a grid, and it has no cells in which a hand gets lost
  (``python -m training.body_net.measure_distance_fields``).
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from human_recon.geometry.signed_distance import closest_points, winding_number


class DistanceField(Protocol):
    """Of one body."""

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Depth [K] >= 0 of ``points`` [K, 3] below the surface, 0 outside; differentiable."""
        ...


class ExactField:
    """The distance to the nearest triangle."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        """A closed mesh: ``vertices`` [V, 3] metres, ``faces`` [F, 3] counter-clockwise seen from outside."""
        self._vertices = np.ascontiguousarray(vertices, np.float64)
        self._faces = np.ascontiguousarray(faces, np.int64)
        self._low, self._high = bounds(self._vertices)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        places = points.detach().cpu().double().numpy()
        near = np.flatnonzero(((places > self._low) & (places < self._high)).all(-1))
        inside = near
        if len(near):
            inside = near[winding_number(places[near], self._vertices, self._faces) > 0]
        if not len(inside):
            return points.sum(-1) * 0.0
        index = torch.from_numpy(inside).to(points.device)
        away = points[index] - torch.from_numpy(self._exits(places[inside])).to(points)
        return torch.zeros_like(points[:, 0]).index_put((index,), away.norm(dim=-1))

    @cached_property
    def _face_boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner [F, 3] of the boxes about the triangles; most fields are never asked for them."""
        first, second, third = (self._vertices[self._faces[:, k]] for k in range(3))
        low = np.minimum(np.minimum(first, second), third)
        return low, np.maximum(np.maximum(first, second), third)

    def _exits(self, points: np.ndarray) -> np.ndarray:
        """The nearest point [K, 3] of the surface to each of ``points`` [K, 3].

        No triangle is nearest that is farther than some vertex, so only those in a box about the points are looked at.
        """
        some = self._vertices[::8]
        squared = ((points**2).sum(1)[:, None] - 2.0 * points @ some.T + (some**2).sum(1)).min(1)
        reach = np.sqrt(np.maximum(squared.max(), 0.0)) + 1e-6
        low, high = bounds(points)
        face_low, face_high = self._face_boxes
        near = ((face_low < high + reach) & (face_high > low - reach)).all(1)
        return closest_points(points, self._vertices, self._faces[near])[0]


class GridField:
    """Trilinear interpolation of distances at the nodes of a grid (seed 002, 5.3.3)."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, nodes: int = 32, margin: float = 0.01) -> None:
        """A closed mesh as for :class:`ExactField`; ``nodes`` along each axis; ``margin`` of the box, metres."""
        vertices = np.asarray(vertices, np.float64)
        low, high = bounds(vertices)
        self.low, self.high = low - margin, high + margin
        axes = [np.linspace(low, high, nodes) for low, high in zip(self.low, self.high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        depth = np.zeros(len(grid))
        inside = winding_number(grid, vertices, faces) > 0
        exits, _ = closest_points(grid[inside], vertices, faces)
        depth[inside] = np.linalg.norm(grid[inside] - exits, axis=1)
        self._depth = torch.from_numpy(depth.reshape(nodes, nodes, nodes))

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        low, high = torch.from_numpy(self.low).to(points), torch.from_numpy(self.high).to(points)
        place = (2.0 * (points - low) / (high - low) - 1.0).flip(-1)  # grid_sample wants the last axis first
        depth = self._depth.to(points)[None, None]
        sampled = functional.grid_sample(depth, place[None, :, None, None], align_corners=True, padding_mode="zeros")
        return sampled[0, 0, :, 0, 0]


def bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest [..., 3] of ``points`` [..., N, 3]; numpy is slow along an axis that is not the last."""
    coordinates = np.ascontiguousarray(np.swapaxes(points, -1, -2))
    return coordinates.min(-1), coordinates.max(-1)
