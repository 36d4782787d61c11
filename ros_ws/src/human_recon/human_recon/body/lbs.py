"""Linear blend skinning in numba: one body at a time, or a batch in parallel.

Same equations as :mod:`human_recon.body.lbs_reference`. What makes it fast: skinning weights and pose correctives are
used in sparse form (a vertex of the open body has two weights on average, and a joint's correctives move only the
surface around it), joints come from regressed shape directions instead of vertices, and arithmetic is float32 except
along the kinematic chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.geometry.rotations import rotvec_to_matrix_single

LEAST_IN_PARALLEL = 4  # bodies; for fewer, waking threads costs more than it saves


@dataclass(frozen=True)
class PosedBody:
    """A body in the frame its state is given in."""

    vertices: np.ndarray  # [V, 3] float32, metres
    joints: np.ndarray  # [J, 3] float32, metres
    rotations: np.ndarray  # [J, 3, 3] float32, of each joint from the body's rest frame to that frame


def pose_body(model: BodyModel, state: BodyState) -> PosedBody:
    """Pose one body; single-threaded and without the GIL. Raises ValueError for arrays of another shape."""
    joints = model.joint_count
    betas = _checked("betas", state.betas, (10,))
    pose = _checked("pose", state.pose, (joints, 3))
    trans = _checked("trans", state.trans, (3,))
    vertices = np.empty((model.vertex_count, 3), np.float32)
    posed_joints = np.empty((joints, 3), np.float32)
    rotations = np.empty((joints, 3, 3), np.float32)
    _pose_one(*_kernel_arrays(model), betas, pose, trans, vertices, posed_joints, rotations)
    return PosedBody(vertices, posed_joints, rotations)


def pose_bodies(
    model: BodyModel,
    betas: np.ndarray,  # [N, 10]
    pose: np.ndarray,  # [N, J, 3] axis-angle, radians
    trans: np.ndarray,  # [N, 3] metres
    parallel: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [N, V, 3] and joints [N, J, 3], float32, of N bodies.

    With ``parallel`` four or more bodies are shared among numba's threads. Set it to False in forked worker processes,
    where numba's OpenMP threads must not be used, and where several Python threads pose bodies at once.

    Raises ValueError for arrays of another shape.
    """
    count, joints = len(betas), model.joint_count
    betas = _checked("betas", betas, (count, 10))
    pose = _checked("pose", pose, (count, joints, 3))
    trans = _checked("trans", trans, (count, 3))
    vertices = np.empty((count, model.vertex_count, 3), np.float32)
    posed_joints = np.empty((count, joints, 3), np.float32)
    rotations = np.empty((count, joints, 3, 3), np.float32)
    pose_all = _pose_in_parallel if parallel and count >= LEAST_IN_PARALLEL else _pose_in_turn
    pose_all(*_kernel_arrays(model), betas, pose, trans, vertices, posed_joints, rotations)
    return vertices, posed_joints


def _checked(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.ascontiguousarray(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(array.shape)}")
    return array


def _kernel_arrays(model: BodyModel) -> tuple[np.ndarray, ...]:
    """The model's arrays in the order and layout of the kernels; made once per model."""
    cached = model.__dict__.get("_lbs_kernel_arrays")
    if cached is None:
        correctives = model.pose_correctives
        cached = (
            model.parents,
            np.ascontiguousarray(model.v_template).reshape(-1),
            np.ascontiguousarray(np.moveaxis(model.shapedirs, 2, 0).reshape(model.shapedirs.shape[2], -1)),
            model.j_template,
            model.j_shapedirs,
            correctives.start,
            correctives.vertices,
            correctives.directions,
            np.ascontiguousarray(model.skin_indices),
            np.ascontiguousarray(model.skin_weights),
            model.skin_count,
        )
        model.__dict__["_lbs_kernel_arrays"] = cached  # as functools.cached_property does on a frozen dataclass
    return cached


# No fastmath: what benchmarks are made of goes through here and must regenerate bit for bit.
@numba.njit(cache=True, nogil=True)
def forward_kinematics(parents, j_template, j_shapedirs, betas, pose, trans):
    """Where the joints of a shape are in a pose.

    Returns local rotations [J, 3, 3], world rotations [J, 3, 3], positions [J, 3] (all float64) and, float32, the rows
    of [rotation | translation] that move each joint's part from the rest pose [J, 12].
    """
    joint_count = len(parents)
    rest_joints = np.empty((joint_count, 3))
    for j in range(joint_count):
        for c in range(3):
            value = np.float64(j_template[j, c])
            for k in range(len(betas)):
                value += j_shapedirs[j, c, k] * betas[k]
            rest_joints[j, c] = value

    world = np.empty((joint_count, 3, 3))
    position = np.empty((joint_count, 3))
    transforms = np.empty((joint_count, 12), np.float32)  # rows of [rotation | translation] from the rest pose
    local = np.empty((joint_count, 3, 3))
    for j in range(joint_count):
        rotvec_to_matrix_single(pose[j, 0], pose[j, 1], pose[j, 2], local[j])
        parent = parents[j]
        if parent < 0:
            for a in range(3):
                position[j, a] = rest_joints[j, a] + trans[a]
                for b in range(3):
                    world[j, a, b] = local[j, a, b]
        else:
            for a in range(3):
                moved = position[parent, a]
                for b in range(3):
                    moved += world[parent, a, b] * (rest_joints[j, b] - rest_joints[parent, b])
                    turned = 0.0
                    for c in range(3):
                        turned += world[parent, a, c] * local[j, c, b]
                    world[j, a, b] = turned
                position[j, a] = moved
        for a in range(3):
            offset = position[j, a]
            for b in range(3):
                transforms[j, 4 * a + b] = world[j, a, b]
                offset -= world[j, a, b] * rest_joints[j, b]
            transforms[j, 4 * a + 3] = offset
    return local, world, position, transforms


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _pose_one(
    parents,
    template,  # [3 V]
    shapedirs,  # [10, 3 V]
    j_template,
    j_shapedirs,
    corrective_start,
    corrective_vertices,
    corrective_directions,  # [9, 3 E]
    skin_indices,
    skin_weights,
    skin_count,
    betas,
    pose,
    trans,
    vertices,
    joints,
    rotations,
):
    joint_count = len(parents)
    vertex_count = len(skin_count)

    rest = template.copy()
    for k in range(len(betas)):
        beta = np.float32(betas[k])
        if beta != 0.0:
            direction = shapedirs[k]
            for i in range(3 * vertex_count):
                rest[i] += beta * direction[i]

    local, world, position, transforms = forward_kinematics(parents, j_template, j_shapedirs, betas, pose, trans)
    for j in range(joint_count):
        if parents[j] >= 0:
            _add_correctives(j, local[j], corrective_start, corrective_vertices, corrective_directions, rest)
        for a in range(3):
            joints[j, a] = position[j, a]
            for b in range(3):
                rotations[j, a, b] = world[j, a, b]

    for v in range(vertex_count):
        x, y, z = rest[3 * v], rest[3 * v + 1], rest[3 * v + 2]
        px = py = pz = np.float32(0.0)
        for k in range(skin_count[v]):
            weight = skin_weights[v, k]
            t = transforms[skin_indices[v, k]]
            px += weight * (t[0] * x + t[1] * y + t[2] * z + t[3])
            py += weight * (t[4] * x + t[5] * y + t[6] * z + t[7])
            pz += weight * (t[8] * x + t[9] * y + t[10] * z + t[11])
        vertices[v, 0] = px
        vertices[v, 1] = py
        vertices[v, 2] = pz


@numba.njit(cache=True, nogil=True, inline="never", fastmath={"contract", "reassoc", "nsz"})
def _add_correctives(joint, local, start, moved_vertices, directions, rest):
    """Add the offsets of one joint's rotation ``local`` [3, 3] to the rest vertices [3 V]."""
    first, last = start[joint - 1], start[joint]
    if first == last:
        return
    f0, f1, f2 = np.float32(local[0, 0] - 1.0), np.float32(local[0, 1]), np.float32(local[0, 2])
    f3, f4, f5 = np.float32(local[1, 0]), np.float32(local[1, 1] - 1.0), np.float32(local[1, 2])
    f6, f7, f8 = np.float32(local[2, 0]), np.float32(local[2, 1]), np.float32(local[2, 2] - 1.0)
    if f1 == 0.0 and f2 == 0.0 and f5 == 0.0 and f0 == 0.0 and f4 == 0.0:
        return  # not turned
    count = 3 * (last - first)
    block = directions[:, 3 * first : 3 * last]
    d0, d1, d2, d3, d4 = block[0], block[1], block[2], block[3], block[4]
    d5, d6, d7, d8 = block[5], block[6], block[7], block[8]
    offsets = np.empty(count, np.float32)
    for i in range(count):
        offsets[i] = (
            f0 * d0[i]
            + f1 * d1[i]
            + f2 * d2[i]
            + f3 * d3[i]
            + f4 * d4[i]
            + f5 * d5[i]
            + f6 * d6[i]
            + f7 * d7[i]
            + f8 * d8[i]
        )
    for e in range(last - first):
        v = 3 * moved_vertices[first + e]
        rest[v] += offsets[3 * e]
        rest[v + 1] += offsets[3 * e + 1]
        rest[v + 2] += offsets[3 * e + 2]


# Two functions, not two compilations of one: numba's cache on disk does not tell those apart.
@numba.njit(cache=True, nogil=True)
def _pose_in_turn(
    parents, template, shapedirs, j_template, j_shapedirs, corrective_start, corrective_vertices, corrective_directions,
    skin_indices, skin_weights, skin_count, betas, pose, trans, vertices, joints, rotations,
):  # fmt: skip
    for n in range(len(betas)):
        _pose_one(
            parents, template, shapedirs, j_template, j_shapedirs, corrective_start, corrective_vertices,
            corrective_directions, skin_indices, skin_weights, skin_count, betas[n], pose[n], trans[n], vertices[n],
            joints[n], rotations[n],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, parallel=True)
def _pose_in_parallel(
    parents, template, shapedirs, j_template, j_shapedirs, corrective_start, corrective_vertices, corrective_directions,
    skin_indices, skin_weights, skin_count, betas, pose, trans, vertices, joints, rotations,
):  # fmt: skip
    for n in numba.prange(len(betas)):
        _pose_one(
            parents, template, shapedirs, j_template, j_shapedirs, corrective_start, corrective_vertices,
            corrective_directions, skin_indices, skin_weights, skin_count, betas[n], pose[n], trans[n], vertices[n],
            joints[n], rotations[n],
        )  # fmt: skip
