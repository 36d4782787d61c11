"""Decimate a mesh by half-edge collapses that keep its border on its border.

A half-edge collapse moves a vertex onto a neighbour (quadric error metric of Garland and Heckbert, SIGGRAPH 1997, with
subset placement), so the vertices that remain are vertices of the source, and everything defined on them - blend
shapes, skinning weights - is carried over exactly, without interpolation.

The bodies are mirrored at their border after decimation, which asks for two things that library decimators do not
promise: border vertices only slide along the border, and no inner edge joins two border vertices (it would belong to
four faces of the whole body). The number of faces left is exact.
"""

from __future__ import annotations

import heapq

import numpy as np

LENGTH_WEIGHT = 2e-3  # share of (edge length)^4 added to the quadric error: short edges on flat skin go first
MIN_NORMAL_COSINE = 0.3  # a face may not turn by more than this in one collapse
MIN_SHAPE = 0.08  # lowest 4*sqrt(3)*area / sum of squared edges of a new face (1 = equilateral), unless it was worse


def border_vertices(faces: np.ndarray) -> np.ndarray:
    """Sorted indices of the vertices on edges with a single face."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def decimate(
    vertices: np.ndarray,
    faces: np.ndarray,
    target_faces: int,
    importance: np.ndarray | None = None,
    target_border: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decimate a triangle mesh with border to exactly ``target_faces`` faces.

    Args:
        vertices: positions [V, 3], metres.
        faces: vertex indices [F, 3] of a connected manifold mesh.
        target_faces: faces to leave.
        importance: factor [V] on the cost of removing a vertex; where it is below 0.1 faces may also fold over, for
            surface that nobody can see. Default 1.
        target_border: vertices to leave on the border, which are thinned out first; None lets the error decide.

    Returns:
        kept: indices [K] of the vertices kept, ascending.
        kept_faces: faces [target_faces, 3] in terms of the kept vertices.

    Raises:
        ValueError: the mesh cannot be reduced that far without breaking it.
    """
    mesh = _Mesh(vertices, faces, np.ones(len(vertices)) if importance is None else importance)
    if target_border is not None:
        mesh.thin_border(target_border)
    return mesh.decimate(target_faces, keep_border=target_border is not None)


class _Mesh:
    def __init__(self, vertices: np.ndarray, faces: np.ndarray, importance: np.ndarray) -> None:
        self.vertices = np.asarray(vertices, dtype=np.float64)
        self.faces: dict[int, tuple[int, int, int]] = {i: tuple(map(int, face)) for i, face in enumerate(faces)}
        self.importance = importance
        self.border = np.zeros(len(vertices), dtype=bool)
        self.border[border_vertices(faces)] = True
        self.faces_of: list[set[int]] = [set() for _ in range(len(vertices))]
        for i, face in self.faces.items():
            for vertex in face:
                self.faces_of[vertex].add(i)
        self.quadrics = self._initial_quadrics(faces)
        self.version = np.zeros(len(vertices), dtype=np.int64)

    def _initial_quadrics(self, faces: np.ndarray) -> np.ndarray:
        """Area-weighted plane quadrics [V, 4, 4]; border edges add a plane across the border to keep its outline."""
        quadrics = np.zeros((len(self.vertices), 4, 4))
        a, b, c = (self.vertices[faces[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        normal = normal / np.maximum(length, 1e-300)
        plane = np.concatenate([normal, -np.sum(normal * a, axis=1, keepdims=True)], axis=1)
        outer = 0.5 * length[:, :, None] * plane[:, :, None] * plane[:, None, :]
        for k in range(3):
            np.add.at(quadrics, faces[:, k], outer / 3.0)
        for i, face in enumerate(faces):
            for u, v in ((face[0], face[1]), (face[1], face[2]), (face[2], face[0])):
                if self.border[u] and self.border[v] and len(self.faces_of[u] & self.faces_of[v]) == 1:
                    edge = self.vertices[v] - self.vertices[u]
                    across = np.cross(edge, normal[i])
                    across /= max(np.linalg.norm(across), 1e-300)
                    border_plane = np.append(across, -across @ self.vertices[u])
                    weight = 0.5 * edge @ edge
                    quadrics[u] += weight * np.outer(border_plane, border_plane)
                    quadrics[v] += weight * np.outer(border_plane, border_plane)
        return quadrics

    def neighbours(self, vertex: int) -> set[int]:
        around = {other for face in self.faces_of[vertex] for other in self.faces[face]}
        around.discard(vertex)
        return around

    def cost(self, removed: int, kept: int) -> float:
        point = np.append(self.vertices[kept], 1.0)
        edge = self.vertices[kept] - self.vertices[removed]
        error = max(float(point @ self.quadrics[removed] @ point), 0.0)
        return float(self.importance[removed]) * (error + LENGTH_WEIGHT * float(edge @ edge) ** 2)

    def allowed(self, removed: int, kept: int) -> bool:
        shared = self.faces_of[removed] & self.faces_of[kept]
        along_border = len(shared) == 1
        if self.border[removed] and not (along_border and self.border[kept]):
            return False
        around_removed, around_kept = self.neighbours(removed), self.neighbours(kept)
        if len(around_removed & around_kept) != len(shared):  # the link condition: the surface stays a manifold
            return False
        if self.border[kept]:
            for other in around_removed:
                if other != kept and self.border[other] and other not in around_kept and not self.border[removed]:
                    return False  # would make an inner edge between two border vertices
            if self.border[removed]:
                for other in around_removed - around_kept - {kept}:
                    if self.border[other] and len(self.faces_of[removed] & self.faces_of[other]) != 1:
                        return False
        if len(around_removed | around_kept) - 2 < 3:
            return False
        hidden = self.importance[removed] < 0.1
        for index in self.faces_of[removed] - shared:
            face = self.faces[index]
            moved = tuple(kept if vertex == removed else vertex for vertex in face)
            if self.border[list(moved)].all():
                return False
            if not hidden and not self._keeps_shape(face, moved):
                return False
        return True

    def _keeps_shape(self, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        normal_before, shape_before = self._normal_and_shape(before)
        normal_after, shape_after = self._normal_and_shape(after)
        if float(normal_before @ normal_after) < MIN_NORMAL_COSINE:
            return False
        return shape_after >= min(MIN_SHAPE, shape_before)

    def _normal_and_shape(self, face: tuple[int, ...]) -> tuple[np.ndarray, float]:
        a, b, c = self.vertices[list(face)]
        u, v, w = b - a, c - b, a - c
        normal = np.array([u[1] * -w[2] + u[2] * w[1], u[2] * -w[0] + u[0] * w[2], u[0] * -w[1] + u[1] * w[0]])
        length = float(np.sqrt(normal @ normal))
        squares = float(u @ u + v @ v + w @ w)
        return normal / max(length, 1e-300), 2.0 * np.sqrt(3.0) * length / max(squares, 1e-300)

    def thin_border(self, target: int) -> None:
        """Collapse border edges, cheapest first, until ``target`` border vertices are left."""
        while len(border := [v for v in np.flatnonzero(self.border) if self.faces_of[v]]) > target:
            options = sorted(
                (self.cost(removed, kept), int(removed), int(kept))
                for removed in border
                for kept in self.neighbours(removed)
                if self.border[kept] and len(self.faces_of[removed] & self.faces_of[kept]) == 1
            )
            _, removed, kept = next(option for option in options if self.allowed(option[1], option[2]))
            self._collapse(removed, kept)

    def decimate(self, target_faces: int, keep_border: bool) -> tuple[np.ndarray, np.ndarray]:
        heap: list[tuple[float, int, int, int, int]] = []

        def push(vertex: int) -> None:
            for other in self.neighbours(vertex):
                for removed, kept in ((vertex, other), (other, vertex)):
                    stamp = (int(self.version[removed]), int(self.version[kept]))
                    heapq.heappush(heap, (self.cost(removed, kept), removed, kept, *stamp))

        for vertex in range(len(self.vertices)):
            push(vertex)
        while len(self.faces) > target_faces:
            if not heap:
                raise ValueError(f"decimation stopped at {len(self.faces)} faces, {target_faces} were asked for")
            _, removed, kept, removed_version, kept_version = heapq.heappop(heap)
            if self.version[removed] != removed_version or self.version[kept] != kept_version:
                continue
            gone = len(self.faces_of[removed] & self.faces_of[kept])
            if len(self.faces) - gone < target_faces:
                continue  # an inner collapse takes two faces; only a border collapse can take the last one
            if (keep_border and self.border[removed]) or not self.allowed(removed, kept):
                continue
            around = self.neighbours(removed)
            self._collapse(removed, kept)
            for vertex in around:
                self.version[vertex] += 1
            self.version[removed] = -1
            for vertex in around:
                push(vertex)
        kept_vertices = np.array(sorted({vertex for face in self.faces.values() for vertex in face}), dtype=np.int64)
        new_index = np.full(len(self.vertices), -1, dtype=np.int64)
        new_index[kept_vertices] = np.arange(len(kept_vertices))
        return kept_vertices, new_index[np.array([self.faces[i] for i in sorted(self.faces)])]

    def _collapse(self, removed: int, kept: int) -> None:
        for index in list(self.faces_of[removed]):
            face = self.faces[index]
            if kept in face:
                for vertex in face:
                    self.faces_of[vertex].discard(index)
                del self.faces[index]
            else:
                self.faces[index] = tuple(kept if vertex == removed else vertex for vertex in face)  # type: ignore[assignment]
                self.faces_of[kept].add(index)
        self.faces_of[removed].clear()
        self.quadrics[kept] += self.quadrics[removed]
