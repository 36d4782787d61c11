"""Bodies made of one half and its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class HalfBody:
    """The left half of a mesh (x >= 0) cut along its vertices on the plane x = 0.

    The whole body lists the half's vertices first and then the mirror images of those that are not on the plane.
    """

    border: np.ndarray  # [K] bool, vertex lies on the mirror plane
    faces: np.ndarray  # [F, 3] of the half

    @property
    def inner(self) -> np.ndarray:
        """Indices into the half of the vertices that have a mirror image of their own."""
        return np.flatnonzero(~self.border)

    @property
    def mirror_vertices(self) -> np.ndarray:
        """[V] index of the mirror image of every vertex of the whole body."""
        half, inner = len(self.border), self.inner
        mirror = np.arange(half + len(inner))
        mirror[inner] = half + np.arange(len(inner))
        mirror[half:] = inner
        return mirror

    @property
    def whole_faces(self) -> np.ndarray:
        """[2 F, 3] faces of the whole body; those of the right half are turned to keep pointing outwards."""
        return np.concatenate([self.faces, self.mirror_vertices[self.faces][:, ::-1]])

    def whole_vectors(self, half: np.ndarray) -> np.ndarray:
        """Mirror vectors [..., K, 3] of the half to the whole body [..., V, 3]; exact zeros at x on the plane."""
        half = half.copy()
        half[..., self.border, 0] = 0.0
        return np.concatenate([half, half[..., self.inner, :] * MIRROR], axis=-2)

    def whole_weights(self, half: np.ndarray, mirror_columns: np.ndarray) -> np.ndarray:
        """Mirror weights [K, J] of the half to [V, J]; ``mirror_columns`` [J] swaps left and right columns."""
        half = half.copy()
        half[self.border] = 0.5 * (half[self.border] + half[self.border][:, mirror_columns])
        return np.concatenate([half, half[self.inner][:, mirror_columns]])


def left_half(template: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, HalfBody]:
    """Cut a mirror-symmetric mesh with vertices exactly on x = 0.

    Returns:
        vertices: indices [K] of the half's vertices in ``template`` [V, 3].
        half: the half they make.

    Raises:
        ValueError: a face crosses the plane, or the cut is not a single closed line of vertices on the plane.
    """
    side = np.sign(template[:, 0])[faces]
    if ((side.min(axis=1) < 0) & (side.max(axis=1) > 0)).any():
        raise ValueError("a face crosses the mirror plane")
    faces = faces[side.max(axis=1) > 0]
    vertices = np.unique(faces)
    new_index = np.full(len(template), -1, dtype=np.int64)
    new_index[vertices] = np.arange(len(vertices))
    border = template[vertices, 0] == 0.0
    return vertices, HalfBody(border, new_index[faces])
