"""What is believed of a body besides its surface: the network's rotations, the limits of joints, the track's pose."""

from __future__ import annotations

import numba
import numpy as np

from human_recon.fitting import priors

_HINGES = np.array([(j, axis, sign) for j, axis, sign in priors.HINGES])
_LIMITS = np.array([(j, axis, limit) for j, axis, limit in priors.LIMITS])
JOINT_LIMITS = (_HINGES, priors.HINGE_SLACK, priors.HINGE_SIGMA, _LIMITS, priors.LIMIT_SIGMA)


@numba.njit(cache=True, nogil=True)
def log_rotation(r, out):
    """Rotation vector of a matrix [3, 3] into ``out`` [3]; by way of the quaternion's largest component."""
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    if trace >= r[0, 0] and trace >= r[1, 1] and trace >= r[2, 2]:
        w = 1.0 + trace
        x, y, z = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    elif r[0, 0] >= r[1, 1] and r[0, 0] >= r[2, 2]:
        x = 1.0 + r[0, 0] - r[1, 1] - r[2, 2]
        y, z, w = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]
    elif r[1, 1] >= r[2, 2]:
        y = 1.0 - r[0, 0] + r[1, 1] - r[2, 2]
        x, z, w = r[0, 1] + r[1, 0], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]
    else:
        z = 1.0 - r[0, 0] - r[1, 1] + r[2, 2]
        x, y, w = r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[1, 0] - r[0, 1]
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    length = np.sqrt(x * x + y * y + z * z)
    scale = 2.0 * np.arctan2(length, w) / length if length > 1e-12 * w else 2.0 / w
    out[0], out[1], out[2] = scale * x, scale * y, scale * z


@numba.njit(cache=True, nogil=True)
def rotation_vectors(rotations):
    """[24, 3] of [24, 3, 3]."""
    result = np.empty((len(rotations), 3))
    for j in range(len(rotations)):
        log_rotation(rotations[j], result[j])
    return result


@numba.njit(cache=True, nogil=True)
def _inverse_right_jacobian(v, out):
    """As `geometry.rotations.inverse_right_jacobian`, one at a time."""
    squared = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    angle = np.sqrt(squared)
    if angle < 1e-3:
        factor = 1.0 / 12.0
    else:
        factor = 1.0 / squared - 0.5 / (angle * np.tan(0.5 * angle))
    for a in range(3):
        for b in range(3):
            out[a, b] = factor * (v[a] * v[b] - (squared if a == b else 0.0)) + (1.0 if a == b else 0.0)
    out[0, 1] -= 0.5 * v[2]
    out[0, 2] += 0.5 * v[1]
    out[1, 0] += 0.5 * v[2]
    out[1, 2] -= 0.5 * v[0]
    out[2, 0] -= 0.5 * v[1]
    out[2, 1] += 0.5 * v[0]


@numba.njit(cache=True, nogil=True)
def add_world_rotations(targets, precision, robust, world, by_twist, twist_gradient):
    """Draw the world rotations of joints to ``targets`` [24, 3, 3]; returns the energy.

    Args:
        precision: [24] 1 / square radians per axis.
        robust: [24] radians, scale of a Geman-McClure weight: a network that is wrong about an arm is very wrong.
    """
    turn = np.empty((3, 3))
    error = np.empty(3)
    jacobian = np.empty((3, 3))
    slope = np.empty((3, 3))
    energy = 0.0
    for j in range(24):
        if precision[j] <= 0.0:
            continue
        for a in range(3):
            for b in range(3):
                # log(target^T world): a turn in the joint's own frame, so the world's twist comes in through world^T.
                turn[a, b] = (
                    targets[j, 0, a] * world[j, 0, b]
                    + targets[j, 1, a] * world[j, 1, b]
                    + targets[j, 2, a] * world[j, 2, b]
                )
        log_rotation(turn, error)
        _inverse_right_jacobian(error, jacobian)
        squared = error[0] ** 2 + error[1] ** 2 + error[2] ** 2
        relax = 1.0 / (1.0 + squared / (robust[j] * robust[j]))
        weight = precision[j] * relax * relax
        energy += 0.5 * precision[j] * squared * relax
        for a in range(3):
            for p in range(3):  # of the error by omega
                slope[a, p] = (
                    jacobian[a, 0] * world[j, p, 0] + jacobian[a, 1] * world[j, p, 1] + jacobian[a, 2] * world[j, p, 2]
                )
        for p in range(3):
            for a in range(3):
                twist_gradient[j, 3 + p] += weight * slope[a, p] * error[a]
            for q in range(3):
                total = 0.0
                for a in range(3):
                    total += slope[a, p] * slope[a, q]
                by_twist[j, j, 3 + p, 3 + q] += weight * total
    return energy


@numba.njit(cache=True, nogil=True)
def add_local_rotations(targets, precision, rotations, matrix, gradient):
    """Draw each joint's own rotation to ``targets`` [24, 3, 3] with ``precision`` [24]; returns the energy."""
    turn = np.empty((3, 3))
    error = np.empty(3)
    jacobian = np.empty((3, 3))
    energy = 0.0
    for j in range(24):
        if precision[j] <= 0.0:
            continue
        for a in range(3):
            for b in range(3):
                turn[a, b] = (
                    targets[j, 0, a] * rotations[j, 0, b]
                    + targets[j, 1, a] * rotations[j, 1, b]
                    + targets[j, 2, a] * rotations[j, 2, b]
                )
        log_rotation(turn, error)
        _inverse_right_jacobian(error, jacobian)
        energy += 0.5 * precision[j] * (error[0] ** 2 + error[1] ** 2 + error[2] ** 2)
        for p in range(3):
            for a in range(3):
                gradient[3 * j + p] += precision[j] * jacobian[a, p] * error[a]
            for q in range(3):
                for a in range(3):
                    matrix[3 * j + p, 3 * j + q] += precision[j] * jacobian[a, p] * jacobian[a, q]
    return energy


@numba.njit(cache=True, nogil=True)
def add_joint_limits(weight, rotations, hinges, slack, hinge_sigma, limits, limit_sigma, matrix, gradient):
    """`priors.joint_limit_residuals` at joint-local ``rotations`` [24, 3, 3], added in place; returns the energy.

    The limits themselves come in ``JOINT_LIMITS``.
    """
    jacobian = np.empty((3, 3))
    pose = np.empty((24, 3))
    for j in range(24):
        log_rotation(rotations[j], pose[j])
    energy = 0.0
    for n in range(len(hinges) + len(limits)):
        if n < len(hinges):
            j, axis, sign = int(hinges[n, 0]), int(hinges[n, 1]), hinges[n, 2]
            excess = pose[j, axis] + sign * slack if sign * pose[j, axis] < -slack else 0.0
            precision = weight / hinge_sigma**2
        else:
            bound = limits[n - len(hinges)]
            j, axis, limit = int(bound[0]), int(bound[1]), bound[2]
            angle = pose[j, axis]
            excess = angle - np.sign(angle) * limit if abs(angle) > limit else 0.0
            precision = weight / limit_sigma**2
        if excess == 0.0:
            continue
        _inverse_right_jacobian(pose[j], jacobian)
        energy += 0.5 * precision * excess * excess
        for p in range(3):
            gradient[3 * j + p] += precision * excess * jacobian[axis, p]
            for q in range(3):
                matrix[3 * j + p, 3 * j + q] += precision * jacobian[axis, p] * jacobian[axis, q]
    return energy
