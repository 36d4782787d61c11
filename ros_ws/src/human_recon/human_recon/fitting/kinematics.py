"""Analytic derivatives of SMPL's surface and joints by pose, shape and translation.

Parameters of a step, in this order:

    [0:72]   rotation increments w_j of the 24 joints, radians: R_j <- R_j exp([w_j]x), a turn in the joint's own frame
    [72:82]  shape increments
    [82:85]  translation increments, metres

A turn of joint j moves everything below it about the axis G_j w_j through the joint (G_j its world rotation), so with
the joint on the right no derivative of the exponential map is needed. The pose correctives (Loper et al., SMPL, 2015,
eq. 9) depend on R_j itself and contribute their own derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.geometry.rotations import matrix_to_rotvec, rotvecs_to_matrices

ROTATIONS = slice(0, 72)
BETAS = slice(72, 82)
TRANSLATION = slice(82, 85)
PARAMETERS = 85


@dataclass(frozen=True)
class Linearisation:
    """Points of a body and their first-order dependence on the parameters of a step."""

    points: np.ndarray  # [M, 3] metres
    jacobian: np.ndarray  # [M, 3, 85]


class BodyKinematics:
    """The arrays of one body model, laid out for differentiation."""

    def __init__(self, model: BodyModel) -> None:
        self.model = model
        posedirs = np.asarray(model.posedirs, np.float32)
        by_joint = np.abs(posedirs).reshape(len(posedirs), 3, 23, 9).max(axis=(1, 3)) > 0.0
        self._posedirs_active = np.ascontiguousarray(by_joint)  # [V, 23]: most correctives are local to a joint
        self._arrays = (
            np.ascontiguousarray(model.v_template, np.float32),
            np.ascontiguousarray(model.shapedirs, np.float32),
            np.ascontiguousarray(posedirs),
            self._posedirs_active,
            np.ascontiguousarray(model.skin_indices, np.int32),
            np.ascontiguousarray(model.skin_weights, np.float32),
        )
        self._joint_arrays = (
            np.ascontiguousarray(model.j_template, np.float64),
            np.ascontiguousarray(model.j_shapedirs, np.float64),
            np.ascontiguousarray(model.parents, np.int32),
        )

    def surface(self, state: BodyState, vertex_ids: np.ndarray) -> Linearisation:
        """Linearise the vertices ``vertex_ids`` [M] of the posed body."""
        rotations = rotvecs_to_matrices(state.pose)
        points, jacobian = _surface_jacobian(
            rotations,
            np.asarray(state.betas, np.float64),
            np.asarray(state.trans, np.float64),
            np.asarray(vertex_ids, np.int64),
            *self._arrays,
            *self._joint_arrays,
        )
        return Linearisation(points, jacobian)

    def joints(self, state: BodyState) -> Linearisation:
        """Linearise the 24 joints of the posed body."""
        rotations = rotvecs_to_matrices(state.pose)
        points, jacobian = _joint_jacobian(
            rotations, np.asarray(state.betas, np.float64), np.asarray(state.trans, np.float64), *self._joint_arrays
        )
        return Linearisation(points, jacobian)


def retract(state: BodyState, step: np.ndarray) -> BodyState:
    """Apply a step [85] in the parameters described above."""
    rotations = rotvecs_to_matrices(state.pose) @ rotvecs_to_matrices(step[ROTATIONS].reshape(24, 3))
    return BodyState(state.betas + step[BETAS], matrix_to_rotvec(rotations), state.trans + step[TRANSLATION])


@njit(cache=True, nogil=True)
def _forward(rotations, betas, j_template, j_shapedirs, parents):
    """Rest joints [24, 3], world rotations [24, 3, 3], posed joints [24, 3] and their slope by shape [24, 3, 10]."""
    rest = j_template.copy()
    for j in range(24):
        for c in range(3):
            for k in range(betas.shape[0]):
                rest[j, c] += j_shapedirs[j, c, k] * betas[k]
    world = np.empty((24, 3, 3))
    joints = np.empty((24, 3))
    by_shape = np.empty((24, 3, betas.shape[0]))
    world[0] = rotations[0]
    joints[0] = rest[0]
    by_shape[0] = j_shapedirs[0]
    for j in range(1, 24):
        p = parents[j]
        for a in range(3):
            joints[j, a] = joints[p, a]
            for k in range(betas.shape[0]):
                by_shape[j, a, k] = by_shape[p, a, k]
            for c in range(3):
                joints[j, a] += world[p, a, c] * (rest[j, c] - rest[p, c])
                for k in range(betas.shape[0]):
                    by_shape[j, a, k] += world[p, a, c] * (j_shapedirs[j, c, k] - j_shapedirs[p, c, k])
                total = 0.0
                for d in range(3):
                    total += world[p, a, d] * rotations[j, d, c]
                world[j, a, c] = total
    return rest, world, joints, by_shape


@njit(cache=True, nogil=True)
def _surface_jacobian(
    rotations,
    betas,
    trans,
    vertex_ids,
    v_template,
    shapedirs,
    posedirs,
    posedirs_active,
    skin_indices,
    skin_weights,
    j_template,
    j_shapedirs,
    parents,
):
    rest, world, joints, joints_by_shape = _forward(rotations, betas, j_template, j_shapedirs, parents)
    shapes = betas.shape[0]
    count = vertex_ids.shape[0]
    points = np.zeros((count, 3))
    jacobian = np.zeros((count, 3, 75 + shapes))
    # d vec(R_j) / d w_j [23, 9, 3]: column c is vec(R_j [e_c]x).
    turn = np.zeros((23, 9, 3))
    for j in range(23):
        r = rotations[j + 1]
        for a in range(3):
            turn[j, 3 * a + 1, 0] = r[a, 2]
            turn[j, 3 * a + 2, 0] = -r[a, 1]
            turn[j, 3 * a + 0, 1] = -r[a, 2]
            turn[j, 3 * a + 2, 1] = r[a, 0]
            turn[j, 3 * a + 0, 2] = r[a, 1]
            turn[j, 3 * a + 1, 2] = -r[a, 0]
    lever = np.zeros((24, 3))  # sum over the joints below j of weight * (skinned point - joint j)
    touched = np.zeros(24, np.bool_)
    blend = np.zeros((3, 3))
    local = np.zeros(3)
    for m in range(count):
        i = vertex_ids[m]
        for c in range(3):
            local[c] = v_template[i, c]
            for k in range(shapes):
                local[c] += shapedirs[i, c, k] * betas[k]
        for j in range(23):
            if posedirs_active[i, j]:
                for a in range(3):
                    for b in range(3):
                        feature = rotations[j + 1, a, b] - (1.0 if a == b else 0.0)
                        f = 9 * j + 3 * a + b
                        for c in range(3):
                            local[c] += posedirs[i, c, f] * feature
        lever[:] = 0.0
        touched[:] = False
        blend[:] = 0.0
        for s in range(skin_indices.shape[1]):
            w = skin_weights[i, s]
            if w == 0.0:
                continue
            j = skin_indices[i, s]
            x0, x1, x2 = local[0] - rest[j, 0], local[1] - rest[j, 1], local[2] - rest[j, 2]
            y0 = world[j, 0, 0] * x0 + world[j, 0, 1] * x1 + world[j, 0, 2] * x2 + joints[j, 0]
            y1 = world[j, 1, 0] * x0 + world[j, 1, 1] * x1 + world[j, 1, 2] * x2 + joints[j, 1]
            y2 = world[j, 2, 0] * x0 + world[j, 2, 1] * x1 + world[j, 2, 2] * x2 + joints[j, 2]
            points[m, 0] += w * y0
            points[m, 1] += w * y1
            points[m, 2] += w * y2
            for a in range(3):
                for b in range(3):
                    blend[a, b] += w * world[j, a, b]
            ancestor = j
            while ancestor >= 0:
                touched[ancestor] = True
                lever[ancestor, 0] += w * (y0 - joints[ancestor, 0])
                lever[ancestor, 1] += w * (y1 - joints[ancestor, 1])
                lever[ancestor, 2] += w * (y2 - joints[ancestor, 2])
                ancestor = parents[ancestor]
            for a in range(3):
                for k in range(shapes):
                    total = joints_by_shape[j, a, k]
                    for c in range(3):
                        total += world[j, a, c] * (shapedirs[i, c, k] - j_shapedirs[j, c, k])
                    jacobian[m, a, 72 + k] += w * total
        for j in range(24):
            if touched[j]:
                for c in range(3):
                    jacobian[m, 0, 3 * j + c] = world[j, 1, c] * lever[j, 2] - world[j, 2, c] * lever[j, 1]
                    jacobian[m, 1, 3 * j + c] = world[j, 2, c] * lever[j, 0] - world[j, 0, c] * lever[j, 2]
                    jacobian[m, 2, 3 * j + c] = world[j, 0, c] * lever[j, 1] - world[j, 1, c] * lever[j, 0]
        for j in range(23):
            if posedirs_active[i, j]:
                for c in range(3):
                    d0, d1, d2 = 0.0, 0.0, 0.0
                    for f in range(9):
                        d0 += posedirs[i, 0, 9 * j + f] * turn[j, f, c]
                        d1 += posedirs[i, 1, 9 * j + f] * turn[j, f, c]
                        d2 += posedirs[i, 2, 9 * j + f] * turn[j, f, c]
                    for a in range(3):
                        jacobian[m, a, 3 * (j + 1) + c] += blend[a, 0] * d0 + blend[a, 1] * d1 + blend[a, 2] * d2
        for a in range(3):
            points[m, a] += trans[a]
            jacobian[m, a, 72 + shapes + a] = 1.0
    return points, jacobian


@njit(cache=True, nogil=True)
def _joint_jacobian(rotations, betas, trans, j_template, j_shapedirs, parents):
    _, world, joints, by_shape = _forward(rotations, betas, j_template, j_shapedirs, parents)
    shapes = betas.shape[0]
    jacobian = np.zeros((24, 3, 75 + shapes))
    points = np.empty((24, 3))
    for j in range(24):
        for a in range(3):
            points[j, a] = joints[j, a] + trans[a]
            jacobian[j, a, 72 + shapes + a] = 1.0
            for k in range(shapes):
                jacobian[j, a, 72 + k] = by_shape[j, a, k]
        ancestor = parents[j]
        while ancestor >= 0:
            x0, x1, x2 = (
                joints[j, 0] - joints[ancestor, 0],
                joints[j, 1] - joints[ancestor, 1],
                joints[j, 2] - joints[ancestor, 2],
            )
            for c in range(3):
                jacobian[j, 0, 3 * ancestor + c] = world[ancestor, 1, c] * x2 - world[ancestor, 2, c] * x1
                jacobian[j, 1, 3 * ancestor + c] = world[ancestor, 2, c] * x0 - world[ancestor, 0, c] * x2
                jacobian[j, 2, 3 * ancestor + c] = world[ancestor, 0, c] * x1 - world[ancestor, 1, c] * x0
            ancestor = parents[ancestor]
    return points, jacobian
