"""Gauss-Newton's normal equations of an articulated body, gathered by rigid part.

A point x of the skin is the mean of where its joints' rigid motions would carry it, so to first order

    dx = sum_s u_s ( v_s + omega_s x y_s ) + B dbeta

with u_s the skinning weight of joint s, y_s where that joint alone would put the point, (v_s, omega_s) the twist of
joint s about the camera's origin and B the slope by shape. Only two joints on average carry a point, so what a point
adds to the normal matrix is small when it is written by the twists of joints; the turns of the chain above are brought
in once, for all points together:

    twist of s = sum over the ancestors a of s, itself included, of S_a w_a,    S_a = [ p_a x G_a ; G_a ]

(p_a the joint's place, G_a its world rotation, w_a the turn in its own frame: `human_recon.fitting.kinematics`), plus
the translation of everybody. Summing over subtrees twice, by rows and by columns, turns the one matrix into the other.
This is the composite-rigid-body algorithm (Featherstone, Rigid Body Dynamics Algorithms, 2008, section 6.2) with
measurements in the place of masses.

Pose correctives follow the pose from one iteration to the next; their own derivative, some per cent of the skin's
motion, is left out of the slope and not out of the points.
"""

from __future__ import annotations

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.fitting.kinematics import PARAMETERS, _forward

JOINTS = 24
SHAPES = 10
TWISTS = 6 * JOINTS


class BodyArrays:
    """One body model, laid out for the kernels."""

    def __init__(self, model: BodyModel) -> None:
        posedirs = np.ascontiguousarray(model.posedirs, np.float32)
        active = np.abs(posedirs).reshape(len(posedirs), 3, JOINTS - 1, 9).max(axis=(1, 3)) > 0.0
        self.template = np.ascontiguousarray(model.v_template, np.float64)
        self.shapedirs = np.ascontiguousarray(model.shapedirs, np.float32)
        self.posedirs = np.ascontiguousarray(
            np.moveaxis(posedirs.reshape(len(posedirs), 3, JOINTS - 1, 9), 1, 3)
        )  # [V, 23, 9, 3]
        self.posedirs_active = np.ascontiguousarray(active)
        self.skin_indices = np.ascontiguousarray(model.skin_indices, np.int32)
        self.skin_weights = np.ascontiguousarray(model.skin_weights, np.float64)
        self.j_template = np.ascontiguousarray(model.j_template, np.float64)
        self.j_shapedirs = np.ascontiguousarray(model.j_shapedirs, np.float64)
        self.parents = np.ascontiguousarray(model.parents, np.int32)

    @property
    def skin(self) -> tuple[np.ndarray, ...]:
        """What `pose_vertices` and `add_points` need of the surface."""
        return (
            self.template,
            self.shapedirs,
            self.posedirs,
            self.posedirs_active,
            self.skin_indices,
            self.skin_weights,
            self.j_shapedirs,
        )


@numba.njit(cache=True, nogil=True)
def pose_skeleton(rotations, betas, trans, j_template, j_shapedirs, parents):
    """Rest joints, world rotations, posed joints and their slope by shape; of joint-local rotations [24, 3, 3]."""
    rest, world, joints, by_shape = _forward(rotations, betas, j_template, j_shapedirs, parents)
    for j in range(24):
        for c in range(3):
            joints[j, c] += trans[c]
    return rest, world, joints, by_shape


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def pose_vertices(
    ids, rotations, betas, rest, world, joints,
    template, shapedirs, posedirs, posedirs_active, skin_indices, skin_weights, j_shapedirs, local, points,
):  # fmt: skip
    """Posed places of vertices ``ids`` [M] into ``points`` [M, 3]; before skinning, into ``local`` [M, 3]."""
    for m in range(len(ids)):
        i = ids[m]
        x, y, z = template[i, 0], template[i, 1], template[i, 2]
        for k in range(len(betas)):
            x += shapedirs[i, 0, k] * betas[k]
            y += shapedirs[i, 1, k] * betas[k]
            z += shapedirs[i, 2, k] * betas[k]
        for j in range(23):
            if posedirs_active[i, j]:
                for f in range(9):
                    feature = rotations[j + 1, f // 3, f % 3] - (1.0 if f % 4 == 0 else 0.0)
                    x += posedirs[i, j, f, 0] * feature
                    y += posedirs[i, j, f, 1] * feature
                    z += posedirs[i, j, f, 2] * feature
        local[m, 0], local[m, 1], local[m, 2] = x, y, z
        px, py, pz = 0.0, 0.0, 0.0
        for s in range(skin_indices.shape[1]):
            u = skin_weights[i, s]
            if u == 0.0:
                break
            j = skin_indices[i, s]
            x0, x1, x2 = x - rest[j, 0], y - rest[j, 1], z - rest[j, 2]
            px += u * (world[j, 0, 0] * x0 + world[j, 0, 1] * x1 + world[j, 0, 2] * x2 + joints[j, 0])
            py += u * (world[j, 1, 0] * x0 + world[j, 1, 1] * x1 + world[j, 1, 2] * x2 + joints[j, 1])
            pz += u * (world[j, 2, 0] * x0 + world[j, 2, 1] * x1 + world[j, 2, 2] * x2 + joints[j, 2])
        points[m, 0], points[m, 1], points[m, 2] = px, py, pz


@numba.njit(cache=True, nogil=True)
def turn_normals(ids, rest_normals, world, skin_indices, skin_weights, normals):
    """Unit normals [M, 3] of vertices ``ids`` from those of the rest pose [V, 3], turned as the skin is."""
    for m in range(len(ids)):
        i = ids[m]
        a, b, c = rest_normals[i, 0], rest_normals[i, 1], rest_normals[i, 2]
        x, y, z = 0.0, 0.0, 0.0
        for s in range(skin_indices.shape[1]):
            u = skin_weights[i, s]
            if u == 0.0:
                break
            j = skin_indices[i, s]
            x += u * (world[j, 0, 0] * a + world[j, 0, 1] * b + world[j, 0, 2] * c)
            y += u * (world[j, 1, 0] * a + world[j, 1, 1] * b + world[j, 1, 2] * c)
            z += u * (world[j, 2, 0] * a + world[j, 2, 1] * b + world[j, 2, 2] * c)
        length = max(np.sqrt(x * x + y * y + z * z), 1e-12)
        normals[m, 0], normals[m, 1], normals[m, 2] = x / length, y / length, z / length


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def add_points(
    ids, local, errors, directions, along, around, rest, world, joints, by_shape,
    skin_indices, skin_weights, shapedirs, j_shapedirs, by_twist, twist_shape, by_shapes, twist_gradient,
    shape_gradient,
):  # fmt: skip
    """Add measured points of the skin to the normal equations by twists.

    The metric of point m is ``along[m] * n n^T + around[m] * I`` with n = ``directions[m]``: half the square of
    ``errors[m]`` [3] (model minus measurement) under it is what the point adds to the energy.

    Args:
        local: [M, 3] the points before skinning.
        by_twist: [24, 24, 6, 6] accumulates; only blocks [s, t] with s >= t are written.
        twist_shape: [24, 6, 10] accumulates.
        by_shapes: [10, 10] accumulates, lower triangle.
        twist_gradient: [24, 6] accumulates.
        shape_gradient: [10] accumulates.
    """
    shapes = by_shape.shape[2]
    # Slope by shape that a joint's motion gives to everything on it: joints_by_shape - world @ j_shapedirs.
    drift = np.empty((24, 3, shapes))
    for j in range(24):
        for a in range(3):
            for k in range(shapes):
                drift[j, a, k] = by_shape[j, a, k] - (
                    world[j, a, 0] * j_shapedirs[j, 0, k]
                    + world[j, a, 1] * j_shapedirs[j, 1, k]
                    + world[j, a, 2] * j_shapedirs[j, 2, k]
                )
    most = skin_indices.shape[1]
    root = np.empty((3, 3))
    parts = np.empty((most, 3, 6))  # slope of the point by each joint's twist, times the metric's root
    part_ids = np.empty(most, np.int64)
    slope = np.empty((3, shapes))
    raw = np.empty((3, shapes))
    blend = np.empty((3, 3))
    error = np.empty(3)
    for m in range(len(ids)):
        if along[m] <= 0.0 and around[m] <= 0.0:
            continue
        i = ids[m]
        # The metric's root is a I + b n n^T; along the normal alone one row of it is enough.
        rows = 3 if around[m] > 0.0 else 1
        if rows == 3:
            a0 = np.sqrt(around[m])
            b0 = np.sqrt(around[m] + along[m]) - a0
            for a in range(3):
                for b in range(3):
                    root[a, b] = b0 * directions[m, a] * directions[m, b] + (a0 if a == b else 0.0)
        else:
            a0 = np.sqrt(along[m])
            for b in range(3):
                root[0, b] = a0 * directions[m, b]
        for a in range(rows):
            error[a] = root[a, 0] * errors[m, 0] + root[a, 1] * errors[m, 1] + root[a, 2] * errors[m, 2]
        blend[:] = 0.0
        raw[:] = 0.0
        count = 0
        for s in range(most):
            u = skin_weights[i, s]
            if u == 0.0:
                break
            j = skin_indices[i, s]
            x0, x1, x2 = local[m, 0] - rest[j, 0], local[m, 1] - rest[j, 1], local[m, 2] - rest[j, 2]
            y0 = world[j, 0, 0] * x0 + world[j, 0, 1] * x1 + world[j, 0, 2] * x2 + joints[j, 0]
            y1 = world[j, 1, 0] * x0 + world[j, 1, 1] * x1 + world[j, 1, 2] * x2 + joints[j, 1]
            y2 = world[j, 2, 0] * x0 + world[j, 2, 1] * x1 + world[j, 2, 2] * x2 + joints[j, 2]
            for a in range(3):
                for b in range(3):
                    blend[a, b] += u * world[j, a, b]
                for k in range(shapes):
                    raw[a, k] += u * drift[j, a, k]
            # d(omega x y) by omega is -[y]x.
            for a in range(rows):
                r0, r1, r2 = u * root[a, 0], u * root[a, 1], u * root[a, 2]
                parts[count, a, 0], parts[count, a, 1], parts[count, a, 2] = r0, r1, r2
                parts[count, a, 3] = r2 * y1 - r1 * y2
                parts[count, a, 4] = r0 * y2 - r2 * y0
                parts[count, a, 5] = r1 * y0 - r0 * y1
            part_ids[count] = j
            count += 1
        for a in range(3):
            for k in range(shapes):
                for c in range(3):
                    raw[a, k] += blend[a, c] * shapedirs[i, c, k]
        for a in range(rows):
            for k in range(shapes):
                slope[a, k] = root[a, 0] * raw[0, k] + root[a, 1] * raw[1, k] + root[a, 2] * raw[2, k]

        for s in range(count):
            j = part_ids[s]
            for a in range(rows):
                for p in range(6):
                    value = parts[s, a, p]
                    twist_gradient[j, p] += value * error[a]
                    for k in range(shapes):
                        twist_shape[j, p, k] += value * slope[a, k]
            for t in range(count):
                i2 = part_ids[t]
                if i2 > j:
                    continue
                for a in range(rows):
                    for p in range(6):
                        for q in range(6):
                            by_twist[j, i2, p, q] += parts[s, a, p] * parts[t, a, q]
        for a in range(rows):
            for k in range(shapes):
                shape_gradient[k] += slope[a, k] * error[a]
                for q in range(k + 1):
                    by_shapes[k, q] += slope[a, k] * slope[a, q]


@numba.njit(cache=True, nogil=True)
def add_joints(
    targets, precision, joints, by_shape, parents, by_twist, twist_shape, by_shapes, twist_gradient, shape_gradient
):  # fmt: skip
    """Add measured places of joints, ``targets`` [24, 3], with ``precision`` [24] per axis, 1 / square metres."""
    shapes = by_shape.shape[2]
    slope = np.zeros((3, 6))
    for j in range(24):
        w = precision[j]
        if w <= 0.0:
            continue
        s = max(parents[j], 0)  # what moves a joint is its parent
        x, y, z = joints[j, 0], joints[j, 1], joints[j, 2]
        slope[:] = 0.0
        slope[0, 0] = slope[1, 1] = slope[2, 2] = 1.0
        slope[0, 4], slope[0, 5] = z, -y
        slope[1, 3], slope[1, 5] = -z, x
        slope[2, 3], slope[2, 4] = y, -x
        for a in range(3):
            error = w * (joints[j, a] - targets[j, a])
            for p in range(6):
                twist_gradient[s, p] += slope[a, p] * error
                for q in range(6):
                    by_twist[s, s, p, q] += w * slope[a, p] * slope[a, q]
                for k in range(shapes):
                    twist_shape[s, p, k] += w * slope[a, p] * by_shape[j, a, k]
            for k in range(shapes):
                shape_gradient[k] += by_shape[j, a, k] * error
                for q in range(k + 1):
                    by_shapes[k, q] += w * by_shape[j, a, k] * by_shape[j, a, q]


@numba.njit(cache=True, nogil=True)
def to_parameters(
    by_twist, twist_shape, by_shapes, twist_gradient, shape_gradient, world, joints, parents, matrix, gradient
):  # fmt: skip
    """Add the equations by twists to those by the 85 parameters: ``matrix`` [85, 85], ``gradient`` [85].

    The arrays by twists are used up.
    """
    shapes = by_shapes.shape[0]
    first_shape, first_shift = 72, 72 + shapes
    # The lower half was written; with the whole in place the sums over subtrees are plain.
    for s in range(24):
        for t in range(s):
            for p in range(6):
                for q in range(6):
                    by_twist[t, s, q, p] = by_twist[s, t, p, q]
    for s in range(23, 0, -1):
        a = parents[s]
        for p in range(6):
            twist_gradient[a, p] += twist_gradient[s, p]
            for k in range(shapes):
                twist_shape[a, p, k] += twist_shape[s, p, k]
        for t in range(24):
            for p in range(6):
                for q in range(6):
                    by_twist[a, t, p, q] += by_twist[s, t, p, q]
    for t in range(23, 0, -1):
        a = parents[t]
        for s in range(24):
            for p in range(6):
                for q in range(6):
                    by_twist[s, a, p, q] += by_twist[s, t, p, q]

    screw = np.empty((24, 6, 3))
    for j in range(24):
        x, y, z = joints[j, 0], joints[j, 1], joints[j, 2]
        for c in range(3):
            g0, g1, g2 = world[j, 0, c], world[j, 1, c], world[j, 2, c]
            screw[j, 0, c] = y * g2 - z * g1
            screw[j, 1, c] = z * g0 - x * g2
            screw[j, 2, c] = x * g1 - y * g0
            screw[j, 3, c], screw[j, 4, c], screw[j, 5, c] = g0, g1, g2
    half = np.empty((6, 3))
    for s in range(24):
        for c in range(3):
            total = 0.0
            for p in range(6):
                total += screw[s, p, c] * twist_gradient[s, p]
            gradient[3 * s + c] += total
            for k in range(shapes):
                total = 0.0
                for p in range(6):
                    total += screw[s, p, c] * twist_shape[s, p, k]
                matrix[3 * s + c, first_shape + k] += total
                matrix[first_shape + k, 3 * s + c] += total
            for a in range(3):  # translation moves the root as twist (e_a, 0)
                total = 0.0
                for p in range(6):
                    total += screw[s, p, c] * by_twist[s, 0, p, a]
                matrix[3 * s + c, first_shift + a] += total
                matrix[first_shift + a, 3 * s + c] += total
        for t in range(s + 1):
            for p in range(6):
                for c in range(3):
                    total = 0.0
                    for q in range(6):
                        total += by_twist[s, t, p, q] * screw[t, q, c]
                    half[p, c] = total
            for b in range(3):
                for c in range(3):
                    total = 0.0
                    for p in range(6):
                        total += screw[s, p, b] * half[p, c]
                    matrix[3 * s + b, 3 * t + c] += total
                    if t < s:
                        matrix[3 * t + c, 3 * s + b] += total
    for k in range(shapes):
        gradient[first_shape + k] += shape_gradient[k]
        for q in range(k + 1):
            matrix[first_shape + k, first_shape + q] += by_shapes[k, q]
            if q < k:
                matrix[first_shape + q, first_shape + k] += by_shapes[k, q]
        for a in range(3):
            matrix[first_shape + k, first_shift + a] += twist_shape[0, a, k]
            matrix[first_shift + a, first_shape + k] += twist_shape[0, a, k]
    for a in range(3):
        gradient[first_shift + a] += twist_gradient[0, a]
        for b in range(3):
            matrix[first_shift + a, first_shift + b] += by_twist[0, 0, a, b]


def empty_equations() -> tuple[np.ndarray, ...]:
    """Zeros to accumulate in, in the order the kernels take them."""
    return (
        np.zeros((JOINTS, JOINTS, 6, 6)),
        np.zeros((JOINTS, 6, SHAPES)),
        np.zeros((SHAPES, SHAPES)),
        np.zeros((JOINTS, 6)),
        np.zeros(SHAPES),
    )


assert 72 + SHAPES + 3 == PARAMETERS
