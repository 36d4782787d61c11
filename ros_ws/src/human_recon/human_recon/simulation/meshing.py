"""Furniture out of simple solids: boxes, cushions, cylinders, ellipsoids, tubes and cloth, all closed, outward meshes.

A shape is described in Python as a list of parts and meshed in one compiled pass. Every part also leaves the box
around itself, which is what collisions are tested against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

Vector = Sequence[float] | np.ndarray  # [3]
Axes = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]  # rows of [3, 3]

_SIDES = 10  # of a cylinder


@dataclass(frozen=True, eq=False)
class Solid:
    """A mesh and the boxes around its parts, in the frame of whoever made it; metres."""

    vertices: np.ndarray  # [V, 3] float32
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    boxes: np.ndarray  # [B, 12] float64: centre, half size, and the local x and z axes

    def moved(self, yaw: float, shift: Vector, scale: Vector = (1.0, 1.0, 1.0)) -> Solid:
        """Scaled along its own axes, turned about the vertical, then shifted."""
        vertices, boxes = _move(
            self.vertices, self.boxes, math.cos(yaw), math.sin(yaw), float(shift[0]), float(shift[1]), float(shift[2]),
            float(scale[0]), float(scale[1]), float(scale[2]),
        )  # fmt: skip
        return Solid(vertices, self.faces, boxes)


class Parts:
    """Collects the parts of one solid."""

    def __init__(self) -> None:
        self._templates: list[int] = []
        self._rows: list[tuple[float, ...]] = []  # 3 x 4 affine row by row, taper
        self._meshes: list[tuple[np.ndarray, np.ndarray]] = []
        self._mesh_boxes: list[tuple[float, ...]] = []

    def _add(self, template: int, centre: Vector, size: Vector, axes: np.ndarray | Axes | None, taper: float) -> None:
        self._templates.append(template)
        x, y, z = centre
        w, h, d = size
        if axes is None:
            self._rows.append((w, 0.0, 0.0, x, 0.0, h, 0.0, y, 0.0, 0.0, d, z, taper))
            return
        a = axes.tolist() if isinstance(axes, np.ndarray) else axes
        self._rows.append(
            (
                a[0][0] * w, a[0][1] * h, a[0][2] * d, x,
                a[1][0] * w, a[1][1] * h, a[1][2] * d, y,
                a[2][0] * w, a[2][1] * h, a[2][2] * d, z,
                taper,
            )
        )  # fmt: skip

    def box(self, centre: Vector, size: Vector, axes: np.ndarray | None = None, taper: float = 0.0) -> None:
        """A box of ``size`` (width x, height y, depth z); ``taper`` widens (> 0) or narrows its top."""
        self._add(0, centre, size, axes, taper)

    def block(self, centre: Vector, size: Vector, axes: np.ndarray | None = None, taper: float = 0.0) -> None:
        """A box with bevelled edges."""
        self._add(1, centre, size, axes, taper)

    def cushion(self, centre: Vector, size: Vector, axes: np.ndarray | None = None) -> None:
        """A box that bulges, with round edges."""
        self._add(2, centre, size, axes, 0.0)

    def ball(self, centre: Vector, size: Vector, axes: np.ndarray | None = None, taper: float = 0.0) -> None:
        """An ellipsoid of the full ``size``."""
        self._add(3, centre, size, axes, taper)

    def cylinder(self, centre: Vector, size: Vector, axes: np.ndarray | None = None, taper: float = 0.0) -> None:
        """An upright cylinder of ``size`` (diameter x, height y, diameter z)."""
        self._add(4, centre, size, axes, taper)

    def rod(self, start: Vector, end: Vector, radius: float, taper: float = 0.0, square: bool = False) -> None:
        """A round or square bar from ``start`` to ``end``."""
        x, y, z = end[0] - start[0], end[1] - start[1], end[2] - start[2]
        length = math.sqrt(x * x + y * y + z * z)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        self._add(0 if square else 5, middle, (2 * radius, length, 2 * radius), _axes_along(x, y, z, length), taper)

    def tube(self, path: np.ndarray, radius: float | np.ndarray, sides: int = 6) -> None:
        """A round bar bent along ``path`` [N, 3] with a ``radius`` for all or each of its points."""
        path = np.asarray(path, np.float64)
        radii = np.broadcast_to(np.asarray(radius, np.float64), (len(path),))
        along = np.gradient(path, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        across = np.cross(along, (0.31, 0.17, 0.93) if abs(along[0, 1]) > 0.5 else (0.11, 1.0, 0.07))
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        other = np.cross(along, across)
        turn = 2 * np.pi * np.arange(sides) / sides
        ring = np.cos(turn)[None, :, None] * across[:, None] + np.sin(turn)[None, :, None] * other[:, None]
        vertices = np.concatenate([(path[:, None] + radii[:, None, None] * ring).reshape(-1, 3), path[[0, -1]]])
        self.mesh(vertices, _tube_faces(len(path), sides))

    def sheet(self, front: np.ndarray, thickness: float, outward: Vector) -> None:
        """Cloth: the grid ``front`` [M, N, 3] and a copy of it ``thickness`` behind, sewn along the border.

        ``outward`` points from the copy to the front; rows run down and columns run to the right seen from the front.
        """
        rows, columns = front.shape[:2]
        shift = -thickness * np.asarray(outward, np.float64)
        vertices = np.concatenate([front.reshape(-1, 3), front.reshape(-1, 3) + shift])
        self.mesh(vertices, _sheet_faces(rows, columns))

    def lathe(self, centre: Vector, profile: np.ndarray, sides: int = 12) -> None:
        """A solid of revolution about the vertical: ``profile`` [N, 2] of radius and height, from bottom to top."""
        turn = 2 * np.pi * np.arange(sides) / sides
        ring = np.stack([np.cos(turn), np.zeros(sides), -np.sin(turn)], axis=1)
        points = profile[:, None, :1] * ring[None] + np.array([0.0, 1.0, 0.0]) * profile[:, None, 1:]
        ends = np.array([[0.0, profile[0, 1], 0.0], [0.0, profile[-1, 1], 0.0]])
        vertices = np.concatenate([points.reshape(-1, 3), ends]) + np.asarray(centre, np.float64)
        self.mesh(vertices, _tube_faces(len(profile), sides))

    def draped(
        self, rings: np.ndarray, folds: int = 0, depth: float = 0.0, phase: float = 0.0, sides: int = 14
    ) -> None:
        """A closed skin over upright ellipses: coats, covers, curtains.

        ``rings`` [N, 5], from bottom to top: centre x, height, centre z, half width, half depth. ``folds`` waves round
        the skin, ``depth`` (a share of the size) at the bottom and none at the top.
        """
        turn = 2 * np.pi * np.arange(sides) / sides
        hang = np.linspace(1.0, 0.0, len(rings))[:, None]
        wave = 1.0 + depth * hang * np.cos(folds * turn + phase)
        points = np.stack(
            [
                rings[:, :1] + rings[:, 3:4] * wave * np.cos(turn),
                np.broadcast_to(rings[:, 1:2], wave.shape),
                rings[:, 2:3] - rings[:, 4:5] * wave * np.sin(turn),
            ],
            axis=-1,
        )
        vertices = np.concatenate([points.reshape(-1, 3), rings[[0, -1], :3]])
        self.mesh(vertices, _tube_faces(len(rings), sides))

    def mesh(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        """Any closed mesh."""
        low, high = vertices.min(0), vertices.max(0)
        centre, half = (low + high) / 2, (high - low) / 2
        self._meshes.append((np.asarray(vertices, np.float32), np.asarray(faces, np.int32)))
        self._mesh_boxes.append((*centre, *half, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))

    def solid(self, other: Solid) -> None:
        """Everything of another solid."""
        self._meshes.append((other.vertices, other.faces))
        self._mesh_boxes.extend(map(tuple, other.boxes.tolist()))

    def build(self) -> Solid:
        """The mesh of all parts."""
        if self._rows:
            rows = np.array(self._rows)
            vertices, faces, boxes = _assemble(np.array(self._templates), rows, *_templates())
        else:
            vertices, faces, boxes = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 12))
        if not self._meshes:
            return Solid(vertices, faces, boxes)
        all_vertices, all_faces, first = [vertices], [faces], len(vertices)
        for mesh_vertices, mesh_faces in self._meshes:
            all_vertices.append(mesh_vertices)
            all_faces.append(mesh_faces + np.int32(first))
            first += len(mesh_vertices)
        if self._mesh_boxes:
            boxes = np.concatenate([boxes, np.array(self._mesh_boxes)])
        return Solid(np.concatenate(all_vertices), np.concatenate(all_faces), boxes)


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """[3, 3] turn about z by roll, then about x by pitch (> 0: the top comes forward), then about y by yaw."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp],
            [cp * sr, cp * cr, -sp],
            [cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp],
        ]
    )


def join(solids: Sequence[Solid]) -> Solid:
    """Several solids as one."""
    parts = Parts()
    for solid in solids:
        parts.solid(solid)
    return parts.build()


def _axes_along(x: float, y: float, z: float, length: float) -> Axes:
    """A frame whose y axis points along (x, y, z)."""
    x, y, z = x / max(length, 1e-9), y / max(length, 1e-9), z / max(length, 1e-9)
    a, b, c = (y, -x, 0.0) if abs(z) < 0.9 else (0.0, z, -y)
    norm = math.sqrt(a * a + b * b + c * c)
    a, b, c = a / norm, b / norm, c / norm
    return ((a, x, b * z - c * y), (b, y, c * x - a * z), (c, z, a * y - b * x))


@lru_cache(maxsize=64)
def _tube_faces(rings: int, sides: int) -> np.ndarray:
    i, s = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + s, i * sides + (s + 1) % sides
    wall = np.concatenate([np.stack([a, b, b + sides], -1), np.stack([a, b + sides, a + sides], -1)]).reshape(-1, 3)
    k = np.arange(sides)
    first, last, top = rings * sides, rings * sides + 1, (rings - 1) * sides
    caps = [
        np.stack([np.full(sides, first), (k + 1) % sides, k], -1),
        np.stack([np.full(sides, last), top + k, top + (k + 1) % sides], -1),
    ]
    return np.concatenate([wall, *caps]).astype(np.int32)


@lru_cache(maxsize=64)
def _sheet_faces(rows: int, columns: int) -> np.ndarray:
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a, back = i * columns + j, rows * columns
    front = np.concatenate(
        [np.stack([a, a + columns, a + columns + 1], -1), np.stack([a, a + columns + 1, a + 1], -1)]
    ).reshape(-1, 3)
    border = np.concatenate(
        [
            np.arange(columns),
            np.arange(1, rows) * columns + columns - 1,
            (rows - 1) * columns + np.arange(columns - 2, -1, -1),
            np.arange(rows - 2, 0, -1) * columns,
        ]
    )  # clockwise seen from the front
    after = np.roll(border, -1)
    rim = [np.stack([border, after, after + back], -1), np.stack([border, after + back, border + back], -1)]
    return np.concatenate([front, front[:, ::-1] + back, *rim]).astype(np.int32)


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices and faces of the unit solids, one after another, and where each begins."""
    shapes = [_unit_box(), _unit_block(), _superellipsoid(7, 12, 0.28), _superellipsoid(8, 12, 1.0)]
    shapes += [_unit_cylinder(_SIDES), _unit_cylinder(7)]
    vertices = np.concatenate([v for v, _ in shapes])
    faces = np.concatenate([f for _, f in shapes]).astype(np.int64)
    vertex_start = np.cumsum([0, *(len(v) for v, _ in shapes)])
    face_start = np.cumsum([0, *(len(f) for _, f in shapes)])
    return vertices, faces, vertex_start, face_start


def _unit_box() -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def _unit_block() -> tuple[np.ndarray, np.ndarray]:
    """A cube whose edges and corners are cut off by 12 %: the convex hull of the cut corners."""
    inner = 0.5 - 0.12
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points: list[np.ndarray] = []
    index: dict[tuple[int, ...], int] = {}
    for sign in signs:
        for axis in range(3):
            point = sign * inner
            point[axis] = sign[axis] * 0.5
            index[(*map(int, sign), axis)] = len(points)
            points.append(point)
    vertices = np.array(points)
    faces: list[tuple[int, ...]] = []

    def polygon(ids: list[int]) -> None:
        """Of a convex solid about the origin: turned outward, cut into triangles."""
        a, b, c = vertices[ids[:3]]
        if np.cross(b - a, c - a) @ vertices[ids].mean(0) < 0:
            ids = ids[::-1]
        faces.extend((ids[0], ids[k], ids[k + 1]) for k in range(1, len(ids) - 1))

    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for side in (-1, 1):
            square = []
            for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                sign = [0, 0, 0]
                sign[axis], sign[others[0]], sign[others[1]] = side, s, t
                square.append(index[(*sign, axis)])
            polygon(square)
        for s in (-1, 1):
            for t in (-1, 1):
                strip = []
                for side, which in ((-1, 0), (1, 0), (1, 1), (-1, 1)):
                    sign = [0, 0, 0]
                    sign[axis], sign[others[0]], sign[others[1]] = side, s, t
                    strip.append(index[(*sign, others[which])])
                polygon(strip)
    for sign in signs:
        polygon([index[(*map(int, sign), axis)] for axis in range(3)])
    return vertices, np.array(faces)


def _superellipsoid(rings: int, sides: int, power: float) -> tuple[np.ndarray, np.ndarray]:
    """Barr, "Superquadrics and angle-preserving transformations", 1981; power 1 is a ball, towards 0 a cube."""

    def raised(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.abs(np.where(np.abs(x) < 1e-12, 0.0, x)) ** power

    tilt = (np.arange(1, rings) / rings - 0.5) * np.pi
    turn = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    x = raised(np.cos(tilt))[:, None] * raised(np.cos(turn))
    z = -raised(np.cos(tilt))[:, None] * raised(np.sin(turn))
    y = np.broadcast_to(raised(np.sin(tilt))[:, None], x.shape)
    vertices = np.concatenate([np.stack([x, y, z], -1).reshape(-1, 3), [[0, -1, 0], [0, 1, 0]]]) / 2
    return vertices, _tube_faces(rings - 1, sides)


def _unit_cylinder(sides: int) -> tuple[np.ndarray, np.ndarray]:
    turn = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(turn) / 2, np.full(sides, -0.5), -np.sin(turn) / 2], -1)
    vertices = np.concatenate([ring, ring + (0, 1, 0), [[0, -0.5, 0], [0, 0.5, 0]]])
    return vertices, _tube_faces(2, sides)


@numba.njit(cache=True, nogil=True)
def _assemble(templates, rows, unit_vertices, unit_faces, vertex_start, face_start):
    vertex_count = face_count = 0
    for t in templates:
        vertex_count += vertex_start[t + 1] - vertex_start[t]
        face_count += face_start[t + 1] - face_start[t]
    vertices = np.empty((vertex_count, 3), np.float32)
    faces = np.empty((face_count, 3), np.int32)
    boxes = np.empty((len(templates), 12))
    v = f = 0
    for i in range(len(templates)):
        t = templates[i]
        row = rows[i]
        for k in range(face_start[t], face_start[t + 1]):
            for c in range(3):
                faces[f, c] = unit_faces[k, c] + v
            f += 1
        for k in range(vertex_start[t], vertex_start[t + 1]):
            y = unit_vertices[k, 1]
            wider = 1.0 + row[12] * (y + 0.5)
            x, z = unit_vertices[k, 0] * wider, unit_vertices[k, 2] * wider
            for c in range(3):
                vertices[v, c] = row[4 * c] * x + row[4 * c + 1] * y + row[4 * c + 2] * z + row[4 * c + 3]
            v += 1
        wider = 0.5 * max(1.0, 1.0 + row[12])
        x = np.sqrt(row[0] ** 2 + row[4] ** 2 + row[8] ** 2)
        y = np.sqrt(row[1] ** 2 + row[5] ** 2 + row[9] ** 2)
        z = np.sqrt(row[2] ** 2 + row[6] ** 2 + row[10] ** 2)
        boxes[i, 3], boxes[i, 4], boxes[i, 5] = wider * x, 0.5 * y, wider * z
        for c in range(3):
            boxes[i, c] = row[4 * c + 3]
            boxes[i, 6 + c] = row[4 * c] / max(x, 1e-9)
            boxes[i, 9 + c] = row[4 * c + 2] / max(z, 1e-9)
    return vertices, faces, boxes


@numba.njit(cache=True, nogil=True)
def _move(vertices, boxes, cosine, sine, x, y, z, width, height, depth):
    moved = np.empty_like(vertices)
    for i in range(len(vertices)):
        a, b, c = vertices[i, 0] * width, vertices[i, 1] * height, vertices[i, 2] * depth
        moved[i, 0], moved[i, 1], moved[i, 2] = cosine * a + sine * c + x, b + y, cosine * c - sine * a + z
    turned_boxes = np.empty_like(boxes)
    for i in range(len(boxes)):
        a, b, c = boxes[i, 0] * width, boxes[i, 1] * height, boxes[i, 2] * depth
        turned_boxes[i, 0] = cosine * a + sine * c + x
        turned_boxes[i, 1] = b + y
        turned_boxes[i, 2] = cosine * c - sine * a + z
        for first in (6, 9):
            a, b, c = boxes[i, first], boxes[i, first + 1], boxes[i, first + 2]
            turned_boxes[i, first] = cosine * a + sine * c
            turned_boxes[i, first + 1] = b
            turned_boxes[i, first + 2] = cosine * c - sine * a
            # Scaling a tilted box would shear it: its own sides grow by how far they point along each axis.
        xa, xb, xc = boxes[i, 6], boxes[i, 7], boxes[i, 8]
        za, zb, zc = boxes[i, 9], boxes[i, 10], boxes[i, 11]
        ya, yb, yc = zb * xc - zc * xb, zc * xa - za * xc, za * xb - zb * xa
        turned_boxes[i, 3] = boxes[i, 3] * np.sqrt((xa * width) ** 2 + (xb * height) ** 2 + (xc * depth) ** 2)
        turned_boxes[i, 4] = boxes[i, 4] * np.sqrt((ya * width) ** 2 + (yb * height) ** 2 + (yc * depth) ** 2)
        turned_boxes[i, 5] = boxes[i, 5] * np.sqrt((za * width) ** 2 + (zb * height) ** 2 + (zc * depth) ** 2)
    return moved, turned_boxes
