"""Body meshes as PLY or GLB files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.io.atomic import write_bytes


@dataclass(frozen=True)
class NamedMesh:
    """One mesh of a file with several."""

    name: str
    vertices: np.ndarray  # [V, 3] metres, camera optical frame
    faces: np.ndarray  # [F, 3] vertex indices, counter-clockwise seen from outside
    colors: np.ndarray | None = None  # [V, 3] uint8 RGB, or [3] for all vertices


def write_mesh(path: str | Path, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None = None) -> None:
    """Write one mesh; see ``write_meshes``."""
    write_meshes(path, [NamedMesh("body", vertices, faces, colors)])


def write_meshes(path: str | Path, meshes: Sequence[NamedMesh]) -> None:
    """Write meshes to ``path`` (.ply or .glb), atomically; vertices keep their order.

    A PLY holds all meshes as one, in the camera optical frame (x right, y down, z forward). A GLB has one named node
    per mesh, and since glTF is y up and viewers look at -z, points are stored as (x, -y, -z): upright on the screen,
    as the camera saw them.

    Raises ValueError for another suffix, no meshes, or arrays that are not a finite mesh.
    """
    # Loaded here because trimesh takes longer to import than the rest of the package together and only this needs it.
    import trimesh

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".ply", ".glb"):
        raise ValueError(f"{path}: meshes are written as .ply or .glb")
    if not meshes:
        raise ValueError(f"{path}: there is no mesh to write")
    for mesh in meshes:
        _check(path, mesh)
    if suffix == ".ply":
        data = trimesh.util.concatenate([_trimesh(mesh, np.ones(3)) for mesh in meshes]).export(file_type="ply")
    else:
        scene = trimesh.Scene()
        for mesh in meshes:
            scene.add_geometry(_trimesh(mesh, np.array([1.0, -1.0, -1.0])), node_name=mesh.name, geom_name=mesh.name)
        data = scene.export(file_type="glb")
    write_bytes(path, data)


def _trimesh(mesh: NamedMesh, flip: np.ndarray) -> Any:
    import trimesh

    colors = None
    if mesh.colors is not None:
        colors = np.broadcast_to(mesh.colors, (len(mesh.vertices), 3))
    return trimesh.Trimesh(mesh.vertices * flip, mesh.faces, vertex_colors=colors, process=False)


def _check(path: Path, mesh: NamedMesh) -> None:
    vertices, faces, colors = mesh.vertices, mesh.faces, mesh.colors
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
        raise ValueError(f"{path}: mesh {mesh.name!r} needs finite vertices [V, 3], got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or faces.size == 0:
        raise ValueError(f"{path}: mesh {mesh.name!r} needs integer faces [F, 3], got {faces.dtype} {faces.shape}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"{path}: mesh {mesh.name!r} has faces outside its {len(vertices)} vertices")
    if colors is not None and (colors.dtype != np.uint8 or colors.shape not in ((3,), (len(vertices), 3))):
        raise ValueError(f"{path}: mesh {mesh.name!r} has colours {colors.dtype} {colors.shape}, not uint8 [V, 3]")
