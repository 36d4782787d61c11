"""The body model: template, shape space, skeleton and skinning of SMPL's file layout.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015, equations 2-10:
vertices = W(T + B_s(betas) + B_p(pose), J(betas), pose, weights). The same class holds the open body, an official SMPL
model and, with 16 joints, a hand in MANO's layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from human_recon.body import skeleton
from human_recon.body.loading import ModelFileError, read_model_file
from human_recon.resources import model_path

__all__ = [
    "BodyModel",
    "ModelFileError",
    "PoseCorrectives",
    "default_body_model",
    "load_body_model",
    "load_hand_model",
]

BETA_COUNT = 10

HAND_JOINT_NAMES: tuple[str, ...] = (
    "wrist", *(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3))
)  # fmt: skip


@dataclass(frozen=True)
class PoseCorrectives:
    """``posedirs`` without its zeros: joint by joint, only the vertices that the joint's rotation moves."""

    start: np.ndarray  # [J] int64; joint j (1 ... J-1) owns entries start[j-1] : start[j]
    vertices: np.ndarray  # [E] int32, vertex of each entry
    directions: np.ndarray  # [9, 3 E] float32: offset of each entry per unit of (R - I), row-major


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A body in SMPL's layout; V vertices, F faces, J joints (24, or 16 for a hand).

    Body frame: y up, face +z, x = the person's left; metres. Arrays are read-only.
    """

    name: str
    v_template: np.ndarray  # [V, 3] float32, T pose, mean shape
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    shapedirs: np.ndarray  # [V, 3, 10] float32, metres per unit of beta
    posedirs: np.ndarray  # [V, 3, 9 (J-1)] float32, metres per unit of (R - I) of joints 1 ... J-1, row-major
    j_regressor: np.ndarray  # [J, V] float32, rows add up to 1
    weights: np.ndarray  # [V, J] float32, rows add up to 1
    parents: np.ndarray  # [J] int32, -1 for the root, parents before children
    joint_names: tuple[str, ...]
    mirror_vertices: np.ndarray | None = None  # [V] int32, the vertex that each becomes when x is negated
    extra_vertices: dict[str, int] = field(default_factory=dict)  # named surface points: nose, l_eye, l_heel ...

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.v_template)

    @property
    def joint_count(self) -> int:
        """J."""
        return len(self.parents)

    @cached_property
    def j_template(self) -> np.ndarray:
        """[J, 3] float32, joints of the mean shape in the T pose."""
        return (self.j_regressor.astype(np.float64) @ self.v_template.astype(np.float64)).astype(np.float32)

    @cached_property
    def j_shapedirs(self) -> np.ndarray:
        """[J, 3, 10] float32, metres the joints move per unit of beta."""
        directions = self.shapedirs.reshape(self.vertex_count, -1).astype(np.float64)
        joints = self.j_regressor.astype(np.float64) @ directions
        return joints.reshape(self.joint_count, 3, -1).astype(np.float32)

    @cached_property
    def _skin(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = (self.weights != 0.0).sum(axis=1).astype(np.int32)
        order = np.argsort(-np.abs(self.weights), axis=1, kind="stable")[:, : int(count.max())]
        return order.astype(np.int32), np.take_along_axis(self.weights, order, axis=1), count

    @property
    def skin_indices(self) -> np.ndarray:
        """[V, K] int32, joints of the non-zero weights, largest first; K is the largest number a vertex has."""
        return self._skin[0]

    @property
    def skin_weights(self) -> np.ndarray:
        """[V, K] float32, the weights of ``skin_indices``; zero where a vertex has fewer than K."""
        return self._skin[1]

    @property
    def skin_count(self) -> np.ndarray:
        """[V] int32, number of non-zero weights."""
        return self._skin[2]

    @cached_property
    def pose_correctives(self) -> PoseCorrectives:
        """The non-zero part of ``posedirs``, laid out for fast evaluation."""
        start, vertices, directions = [0], [], []
        for j in range(1, self.joint_count):
            block = self.posedirs[:, :, 9 * (j - 1) : 9 * j]
            moved = np.flatnonzero(np.abs(block).max(axis=(1, 2)) > 0.0)
            start.append(start[-1] + len(moved))
            vertices.append(moved)
            directions.append(block[moved].reshape(-1, 9).T)
        return PoseCorrectives(
            start=np.array(start, dtype=np.int64),
            vertices=np.concatenate(vertices).astype(np.int32),
            directions=np.ascontiguousarray(np.concatenate(directions, axis=1), dtype=np.float32),
        )


def load_body_model(path: str | Path) -> BodyModel:
    """Load a body of 24 joints: the open body's .npz, or an official SMPL .npz or .pkl.

    Nothing in the file is executed. Raises ModelFileError, one line that names the file and the mend.
    """
    return _load(Path(path), skeleton.PARENTS, skeleton.JOINT_NAMES)


def load_hand_model(path: str | Path) -> BodyModel:
    """Load a hand of 16 joints in MANO's layout; like :func:`load_body_model`."""
    parents = tuple(-1 if j == 0 else 0 if j % 3 == 1 else j - 1 for j in range(len(HAND_JOINT_NAMES)))
    return _load(Path(path), parents, HAND_JOINT_NAMES)


@lru_cache(maxsize=1)
def default_body_model() -> BodyModel:
    """The open adult body that ships with the package; loaded once."""
    return load_body_model(model_path("body/open_body_adult.npz"))


def _load(path: Path, parents: tuple[int, ...], joint_names: tuple[str, ...]) -> BodyModel:
    data = read_model_file(path)
    joints = len(parents)
    v_template = data.array("v_template", (None, 3))
    size = len(v_template)
    faces = data.indices("f", (None, 3), below=size)
    shapedirs = data.array("shapedirs", (size, 3, None))
    if shapedirs.shape[2] < BETA_COUNT:
        data.fail(f"'shapedirs' has {shapedirs.shape[2]} components, at least {BETA_COUNT} are needed")
    weights = data.array("weights", (size, joints))
    regressor = data.array("J_regressor", (joints, size))
    for key, rows in (("weights", weights), ("J_regressor", regressor)):
        if np.abs(rows.sum(axis=1) - 1.0).max() > 1e-2:
            data.fail(f"the rows of '{key}' do not add up to 1")
    tree = data.array("kintree_table", (2, joints))
    if tuple(int(p) for p in tree[0, 1:]) != parents[1:]:
        data.fail(f"'kintree_table' is not the {joints}-joint tree of this layout")
    mirror = data.indices("mirror_vertices", (size,), below=size) if "mirror_vertices" in data else None
    extra: dict[str, int] = {}
    if "extra_vertex_names" in data and "extra_vertex_ids" in data:
        names = data.strings("extra_vertex_names")
        ids = data.indices("extra_vertex_ids", (len(names),), below=size)
        extra = {name: int(i) for name, i in zip(names, ids, strict=True)}
    return BodyModel(
        name=path.stem,
        v_template=v_template.astype(np.float32),
        faces=faces,
        shapedirs=np.ascontiguousarray(shapedirs[:, :, :BETA_COUNT], dtype=np.float32),
        posedirs=data.array("posedirs", (size, 3, 9 * (joints - 1))).astype(np.float32),
        j_regressor=regressor.astype(np.float32),
        weights=weights.astype(np.float32),
        parents=np.array(parents, dtype=np.int32),
        joint_names=joint_names,
        mirror_vertices=mirror,
        extra_vertices=extra,
    )
