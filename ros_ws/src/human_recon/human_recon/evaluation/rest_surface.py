"""The body at rest as the ruler of correspondences: sides, parts, and distances between its vertices."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import face_parts
from human_recon.evaluation.metrics.correspondence import front_back_sides, left_right_sides
from human_recon.evaluation.metrics.geodesic import Corners, geodesics_from
from human_recon.io.atomic import atomic_file

UNIT = 1e-4  # metres, of the table of distances; its largest number stands for all that is farther
_VERSION = 1  # of how distances are computed
_ROWS = 128  # sources computed between two reports of progress


@dataclass(frozen=True, eq=False)
class RestSurface:
    """A body model in its T pose and mean shape, V vertices."""

    vertices: np.ndarray  # [V, 3] float64, metres
    face_parts: np.ndarray  # [F] uint8
    left_right: np.ndarray  # [V] int8, see metrics.correspondence
    front_back: np.ndarray  # [V] int8
    distances: np.ndarray | None = None  # [V, V] uint16, geodesic, in UNITs; None when not asked for

    @staticmethod
    def of(body: BodyModel, distances: np.ndarray | None = None) -> RestSurface:
        """``distances`` from :func:`load_distances`."""
        return RestSurface(
            body.v_template.astype(np.float64),
            face_parts(body),
            left_right_sides(body),
            front_back_sides(body),
            distances,
        )

    def geodesic(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray | None:
        """Distance [N] along the surface between vertices [N], metres; None without a table."""
        return None if self.distances is None else UNIT * self.distances[true, predicted].astype(np.float64)


def table_path(body: BodyModel, folder: Path) -> Path:
    """Where :func:`load_distances` keeps the table of this body."""
    return folder / f"geodesics_{_fingerprint(body)}.npy"


def load_distances(body: BodyModel, folder: Path, on_progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Geodesic distances between all vertices, [V, V] uint16 in UNITs, computed once and kept in ``folder``.

    Computing takes some ten seconds on two cores, the file 95 MB, for SMPL's 6,890 vertices; ``on_progress`` is told
    the rows done and their number. What lies in the folder is read as it is needed. A file that is damaged is made
    again. Without permission to write there, the table stays in memory.
    """
    path = table_path(body, folder)
    table = _read(path, len(body.v_template))
    if table is not None:
        return table
    table = compute_distances(body, on_progress)
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, table, allow_pickle=False)
    except OSError:
        return table
    kept = _read(path, len(table))
    return table if kept is None else kept


def compute_distances(body: BodyModel, on_progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """The table itself, symmetric: the mean of both directions, which differ by a millimetre."""
    size = len(body.v_template)
    corners = Corners.of(body.v_template, body.faces)
    table = np.empty((size, size), np.uint16)
    wanted = np.arange(size)
    mirror = _exact_mirror(body)
    if mirror is not None:
        wanted = np.flatnonzero(wanted <= mirror)  # what the other half has is the same, mirrored

    def fill(rows: np.ndarray) -> int:
        table[rows] = np.minimum(np.rint(geodesics_from(corners, rows) / UNIT), np.iinfo(np.uint16).max)
        if mirror is not None:
            table[mirror[rows]] = table[rows][:, mirror]
        return len(rows)

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(fill, np.array_split(wanted, max(1, len(wanted) // _ROWS))):
            done += count
            if on_progress is not None:
                on_progress(done, len(wanted))
    blocks = [slice(first, first + 512) for first in range(0, size, 512)]  # a second table would be as large
    for k, rows in enumerate(blocks):
        for columns in blocks[k:]:
            one, other = table[rows, columns], table[columns, rows]
            mean = ((one.astype(np.uint32) + other.T) // 2).astype(np.uint16)
            one[:] = mean
            other[:] = mean.T
    return table


def _exact_mirror(body: BodyModel) -> np.ndarray | None:
    """[V] int, the vertex that each one's mirror image is, when places and triangles agree; else None."""
    mirror = body.mirror_vertices
    if mirror is None:
        return None
    mirror = np.asarray(mirror, np.int64)
    same_place = np.abs(body.v_template[mirror] * [-1, 1, 1] - body.v_template).max() < 1e-5
    ours, theirs = (np.unique(np.sort(faces, axis=1), axis=0) for faces in (body.faces, mirror[body.faces]))
    return mirror if same_place and np.array_equal(ours, theirs) else None


def _read(path: Path, size: int) -> np.ndarray | None:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.shape == (size, size) and table.dtype == np.uint16 else None


def _fingerprint(body: BodyModel) -> str:
    digest = hashlib.sha256(f"{_VERSION} {UNIT}".encode())
    digest.update(np.ascontiguousarray(body.v_template, np.float32).tobytes())
    digest.update(np.ascontiguousarray(body.faces, np.int32).tobytes())
    return digest.hexdigest()[:16]
