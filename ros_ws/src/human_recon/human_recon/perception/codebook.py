"""The descriptor of every place on the body: what a pixel's descriptor is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ROWS = 32  # descriptors looked up at once


@dataclass(frozen=True, eq=False)
class Codebook:
    """Descriptors of K vertices spread over the surface."""

    vertices: np.ndarray  # [K] int32, of the body model
    descriptors: np.ndarray  # [K, 16] float32, length 1

    @staticmethod
    def load(path: Path) -> Codebook:
        """Read `vertices` and `descriptors` from an npz file.

        Raises:
            ValueError: an array is missing or does not have the shape above.
        """
        with np.load(path, allow_pickle=False) as file:
            missing = {"vertices", "descriptors"} - set(file)
            if missing:
                raise ValueError(f"{path} is not a codebook: it lacks {', '.join(sorted(missing))}")
            vertices, descriptors = file["vertices"].astype(np.int32), file["descriptors"].astype(np.float32)
        if vertices.ndim != 1 or descriptors.ndim != 2 or len(vertices) != len(descriptors):
            raise ValueError(f"{path}: vertices {vertices.shape} and descriptors {descriptors.shape} do not match")
        return Codebook(vertices, descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True))

    def nearest(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The most similar vertex [N] int32 of each of ``descriptors`` [N, 16], and the cosine [N] float32."""
        best, product = np.empty(len(descriptors), np.intp), np.empty(len(descriptors), np.float32)
        buffer = np.empty((min(_ROWS, len(descriptors)), len(self.vertices)), np.float32)
        # A few rows at a time: their products never leave the fast caches.
        for start in range(0, len(descriptors), _ROWS):
            rows = slice(start, min(start + _ROWS, len(descriptors)))
            products = np.dot(descriptors[rows], self.descriptors.T, out=buffer[: rows.stop - start])
            best[rows] = products.argmax(axis=1)
            product[rows] = products[np.arange(len(products)), best[rows]]
        length = np.sqrt(np.einsum("nc,nc->n", descriptors, descriptors))
        return self.vertices[best], product / np.maximum(length, np.float32(1e-6))

    def nearest_reference(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`nearest`, written to be read."""
        length = np.linalg.norm(descriptors, axis=1, keepdims=True)
        cosine = (descriptors / np.maximum(length, 1e-6)) @ self.descriptors.T
        best = cosine.argmax(axis=1)
        return self.vertices[best], cosine[np.arange(len(best)), best]
