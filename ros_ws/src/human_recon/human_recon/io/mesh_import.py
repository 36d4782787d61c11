"""Triangle meshes from ``.ply``, ``.glb``, ``.obj`` and ``.stl`` files, through trimesh (MIT)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from human_recon.io.errors import file_error

SUFFIXES = (".ply", ".glb", ".obj", ".stl")
_MAX_BYTES = 1 << 30
_WELD = 1e-6  # of the mesh' size: vertices nearer than this are one


def read_mesh(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read all meshes of a file as one.

    Vertices in the same place (seams of textures, facets of an STL) become one, and faces without area are dropped; of
    a GLB the transforms of its nodes are applied. Textures and materials are not read.

    Returns:
        vertices [V, 3] float64 in the file's frame and unit, and faces [F, 3] int32.

    Raises:
        InputError: the file is missing, damaged, of another kind, or holds no triangles.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise file_error(path, f"not a mesh file ({', '.join(SUFFIXES)}); export it as one of these")
    # Loaded here because trimesh takes longer to import than the rest of the package together.
    import trimesh

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise file_error(path, "larger than 1 GiB; simplify the mesh")
        with path.open("rb") as file:
            mesh = trimesh.load(
                file, file_type=path.suffix.lower()[1:], force="mesh", process=False, skip_materials=True
            )
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    except Exception as error:  # trimesh and what it reads with raise a dozen kinds on damaged input
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise file_error(path, f"not a readable mesh ({str(error)[:150]}); export it again") from None
    if vertices.ndim != 2 or faces.ndim != 2 or len(faces) == 0:
        raise file_error(path, "holds no triangles, only points perhaps; export the surface")
    if not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise file_error(path, "is damaged: vertices that are not finite, or faces without vertices; export it again")
    return _welded(vertices, faces)


def _welded(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One vertex per place, in the order in which they come first; without faces that have two corners in one."""
    size = float(np.ptp(vertices, axis=0).max()) or 1.0
    cells = np.round((vertices - vertices.min(axis=0)) / (_WELD * size)).astype(np.int64)
    _, first, inverse = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    faces = rank[inverse.ravel()[faces]]
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[proper]
    used = np.unique(faces)
    place = np.full(len(first), -1, np.int64)
    place[used] = np.arange(len(used))
    return vertices[first[order]][used], place[faces].astype(np.int32)
