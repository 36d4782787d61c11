"""Reading MakeHuman clothes: `.mhclo` (how a garment is bound to the base mesh) with its `.obj` (its faces).

A garment vertex is bound to three base vertices B_i, B_j, B_k:

    position = w_i B_i + w_j B_j + w_k B_k + (d_x s_x, d_y s_y, d_z s_z)

with s_x = |B_a.x - B_b.x| / L from the line ``x_scale a b L``, and so for y and z; or it lies on one base vertex. Thus
a garment fits every shape of the base mesh, in its units and axes (y up, facing +z). The data's README describes the
format; the reader is written from that description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

BASE_MESH = "hm08"
BASE_VERTICES = 19158  # of hm08, helper vertices included
MAX_BYTES = 64 * 1024**2  # the largest garment of the collection has 1 MB


class GarmentFileError(ValueError):
    """A garment file that is missing or not what it claims; one line with file, line number and problem."""


@dataclass(frozen=True, eq=False)
class Garment:
    """N vertices bound to the base mesh."""

    name: str
    corners: np.ndarray  # [N, 3] int64, base vertices
    weights: np.ndarray  # [N, 3] float64, of the corners
    offsets: np.ndarray  # [N, 3] float64
    scales: tuple[tuple[int, int, float] | None, ...]  # for x, y, z: base vertices a, b and length L; None = 1
    faces: np.ndarray  # [F, 3] int64, counter-clockwise seen from outside
    hidden: np.ndarray  # [D] int64, base vertices that are hidden under it

    def fitted(self, base: np.ndarray) -> np.ndarray:
        """Vertices [S, N, 3] on people whose base mesh has the vertices ``base`` [S, 19158, 3], in their units."""
        factors = np.ones((len(base), 1, 3))
        for axis, scale in enumerate(self.scales):
            if scale is not None:
                a, b, length = scale
                factors[:, 0, axis] = np.abs(base[:, a, axis] - base[:, b, axis]) / length
        return np.einsum("nk,snkc->snc", self.weights, base[:, self.corners]) + self.offsets * factors


class _Lines:
    """The lines of a text file with their numbers, and errors that name them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        try:
            if path.stat().st_size > MAX_BYTES:
                raise GarmentFileError(f"{path}: larger than {MAX_BYTES >> 20} MiB, not a garment")
            self.text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise GarmentFileError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None

    def fail(self, problem: str) -> NoReturn:
        where = f"{self.path}:{self.number}" if self.number else str(self.path)
        raise GarmentFileError(f"{where}: {problem}")

    def words(self) -> Iterator[list[str]]:
        """The words of every line that is neither empty nor a comment."""
        for number, line in enumerate(self.text.splitlines(), 1):
            self.number = number
            found = line.split()
            if found and not found[0].startswith("#"):
                yield found
        self.number = 0

    def converted(self, words: list[str], convert: Callable[[str], float], what: str) -> list:
        try:
            return [convert(word) for word in words]
        except ValueError:
            self.fail(f"'{' '.join(words)[:60]}' should be {what}")

    def base_vertices(self, words: list[str]) -> list[int]:
        indices = self.converted(words, int, "numbers of base vertices")
        if any(not 0 <= index < BASE_VERTICES for index in indices):
            self.fail(f"'{' '.join(words)[:60]}' is not a vertex of {BASE_MESH} (0 ... {BASE_VERTICES - 1})")
        return indices


def read_garment(path: str | Path) -> Garment:
    """Read a `.mhclo` and the `.obj` that it names, which must lie in the same folder.

    Raises GarmentFileError.
    """
    lines = _Lines(Path(path))
    rows: list[tuple[list[int], list[float], list[float]]] = []
    scales: list[tuple[int, int, float] | None] = [None, None, None]
    hidden: list[int] = []
    obj_name = section = None
    for words in lines.words():
        key = words[0]
        if re.fullmatch(r"[+-]?\d.*", key) or key == "-":
            if section == "verts":
                rows.append(_binding(lines, words))
            elif section == "delete_verts":
                hidden.extend(_ranges(lines, words))
            elif section is None:
                lines.fail("numbers before 'verts'")
            continue
        if key in ("verts", "delete_verts"):
            section = key  # other keys may stand between this line and the numbers
        elif key == "obj_file":
            obj_name = " ".join(words[1:])
        elif key == "basemesh" and words[1:] != [BASE_MESH]:
            lines.fail(f"made for another base mesh than {BASE_MESH}")
        elif key in ("x_scale", "y_scale", "z_scale"):
            if len(words) != 4:
                lines.fail(f"{key} needs two base vertices and a length")
            a, b = lines.base_vertices(words[1:3])
            (length,) = lines.converted(words[3:], float, "a length")
            if not length > 0.0:
                lines.fail(f"{key} needs a positive length")
            scales["xyz".index(key[0])] = (a, b, length)
    if not rows:
        lines.fail("binds no vertices: there is no section 'verts'")
    if not obj_name or Path(obj_name).name != obj_name:
        lines.fail("names no obj_file in its own folder")
    corners, weights, offsets = (np.array(column) for column in zip(*rows, strict=True))
    if not (np.isfinite(weights).all() and np.isfinite(offsets).all()):
        lines.fail("holds weights or offsets that are not finite")
    faces = read_faces(lines.path.with_name(obj_name), len(rows))
    return Garment(
        lines.path.stem, corners, weights, offsets, tuple(scales), faces, np.unique(np.array(hidden, np.int64))
    )


def read_faces(path: Path, vertex_count: int) -> np.ndarray:
    """Triangles [F, 3] of a `.obj` that must have ``vertex_count`` vertices; larger polygons are cut into fans.

    Vertex positions are not read: the garment takes them from its binding. Raises GarmentFileError.
    """
    lines = _Lines(path)
    count, faces = 0, []
    for words in lines.words():
        if words[0] == "v":
            count += 1
        elif words[0] == "f":
            corners = lines.converted([word.split("/")[0] for word in words[1:]], int, "numbers of vertices")
            corners = [corner - 1 if corner > 0 else count + corner for corner in corners]
            if len(corners) < 3 or any(not 0 <= corner < vertex_count for corner in corners):
                lines.fail(f"a face needs three of the {vertex_count} vertices that the .mhclo binds")
            faces.extend((corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1))
    if count != vertex_count:
        lines.fail(f"has {count} vertices, its .mhclo binds {vertex_count}")
    if not faces:
        lines.fail("has no faces")
    triangles = np.array(faces, np.int64)
    different = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    return triangles[different]


def _binding(lines: _Lines, words: list[str]) -> tuple[list[int], list[float], list[float]]:
    if len(words) == 1:
        return lines.base_vertices(words) * 3, [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    if len(words) not in (6, 9):
        lines.fail(f"a bound vertex has 1, 6 or 9 numbers, not {len(words)}")
    corners = lines.base_vertices(words[:3])
    numbers = lines.converted(words[3:], float, "weights and offsets")
    return corners, numbers[:3], numbers[3:] or [0.0, 0.0, 0.0]


def _ranges(lines: _Lines, words: list[str]) -> list[int]:
    """Vertices of a line like `12 15 - 18 40`."""
    found: list[int] = []
    position = 0
    while position < len(words):
        if words[position] == "-":
            lines.fail("a range of vertices has no beginning")
        (first,) = lines.base_vertices(words[position : position + 1])
        if words[position + 1 : position + 2] == ["-"]:
            if position + 2 >= len(words):
                lines.fail("a range of vertices has no end")
            (last,) = lines.base_vertices(words[position + 2 : position + 3])
            found.extend(range(first, last + 1))
            position += 3
        else:
            found.append(first)
            position += 1
    return found
