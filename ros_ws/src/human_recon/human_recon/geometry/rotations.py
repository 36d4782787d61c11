"""Rotations: axis-angle vectors and matrices, for arrays (numpy) and one at a time (numba).

Axis-angle ("rotation vector") is direction = axis, length = angle in radians, as SMPL stores its pose. Matrices rotate
column vectors, ``R @ x``. Formulas: Rodrigues' rotation formula; the derivative is equation 9 of Gallego and Yezzi, "A
compact formula for the derivative of a 3-D rotation in exponential coordinates", JMIV 2015, written through the left
Jacobian of SO(3).
"""

from __future__ import annotations

import math

import numba
import numpy as np
from scipy.spatial.transform import Rotation

SMALL_ANGLE = 1e-4  # radians; below it the Taylor series is more exact than the quotient in double precision


def skew(vectors: np.ndarray) -> np.ndarray:
    """Cross-product matrices [..., 3, 3] of ``vectors`` [..., 3]: ``skew(a) @ b == cross(a, b)``."""
    x, y, z = np.moveaxis(np.asarray(vectors), -1, 0)
    zero = np.zeros_like(x)
    return np.stack(
        [np.stack([zero, -z, y], axis=-1), np.stack([z, zero, -x], axis=-1), np.stack([-y, x, zero], axis=-1)], axis=-2
    )


def rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of axis-angle vectors ``rotvec`` [..., 3] (radians), in float64."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    if rotvec.shape[-1:] != (3,):
        raise ValueError(f"rotvec must have shape [..., 3], got {list(rotvec.shape)}")
    squared = np.sum(rotvec * rotvec, axis=-1)
    angle = np.sqrt(squared)
    small = angle < SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1.0 - squared / 6.0, np.sin(safe) / safe)
    b = np.where(small, 0.5 - squared / 24.0, 2.0 * (np.sin(0.5 * safe) / safe) ** 2)
    cross = skew(rotvec)
    return np.eye(3) + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


def rotvecs_to_matrices(vectors: np.ndarray) -> np.ndarray:
    """`rotvec_to_matrix` of ``vectors`` [N, 3] in a tenth of the time; equal but for rounding.

    Both stay: benchmarks, which must regenerate bit for bit, are made through the other one.
    """
    return _rotvecs_to_matrices(np.ascontiguousarray(vectors, np.float64))


def matrix_to_rotvec(matrix: np.ndarray) -> np.ndarray:
    """Axis-angle vectors [..., 3] (radians, length <= pi) of rotation matrices ``matrix`` [..., 3, 3], in float64.

    Matrices that are not quite orthonormal are projected onto the nearest rotation first.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"matrix must have shape [..., 3, 3], got {list(matrix.shape)}")
    flat = matrix.reshape(-1, 3, 3)
    if len(flat) == 0:
        return np.zeros((*matrix.shape[:-2], 3))
    return Rotation.from_matrix(flat).as_rotvec().reshape(*matrix.shape[:-2], 3)


def inverse_right_jacobian(rotvec: np.ndarray) -> np.ndarray:
    """Derivatives [..., 3, 3] of ``log(R exp([w]x))`` by ``w`` at 0, R the rotation of ``rotvec`` [..., 3].

    How an axis-angle changes when a small turn is applied before it, in its own frame. Chirikjian, Stochastic Models,
    Information Theory, and Lie Groups, vol. 2 (2012), eq. 10.86; valid below one full turn.
    """
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)
    small = angle < SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    factor = np.where(small, 1.0 / 12.0, 1.0 / safe**2 - (1.0 + np.cos(safe)) / (2.0 * safe * np.sin(safe)))
    cross = skew(rotvec)
    return np.eye(3) + 0.5 * cross + factor[..., None, None] * (cross @ cross)


def rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Smallest rotations [..., 3, 3] that turn directions ``source`` [..., 3] into ``target`` [..., 3].

    Opposite directions have no unique smallest rotation and raise ValueError.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    source = source / np.linalg.norm(source, axis=-1, keepdims=True)
    target = target / np.linalg.norm(target, axis=-1, keepdims=True)
    cosine = np.sum(source * target, axis=-1)
    if np.any(cosine < -1.0 + 1e-9):
        raise ValueError("rotation_between: source and target point in opposite directions")
    cross = skew(np.cross(source, target))
    return np.eye(3) + cross + cross @ cross / (1.0 + cosine)[..., None, None]


@numba.njit(cache=True, inline="always")
def rotvec_to_matrix_single(x: float, y: float, z: float, out: np.ndarray) -> None:
    """Write the rotation of the axis-angle (x, y, z) into ``out`` [3, 3]; for use inside numba kernels."""
    squared = x * x + y * y + z * z
    if squared < SMALL_ANGLE * SMALL_ANGLE:
        a = 1.0 - squared / 6.0
        b = 0.5 - squared / 24.0
    else:
        angle = math.sqrt(squared)
        a = math.sin(angle) / angle
        half = math.sin(0.5 * angle) / angle
        b = 2.0 * half * half
    out[0, 0] = 1.0 - b * (y * y + z * z)
    out[0, 1] = b * x * y - a * z
    out[0, 2] = b * x * z + a * y
    out[1, 0] = b * x * y + a * z
    out[1, 1] = 1.0 - b * (x * x + z * z)
    out[1, 2] = b * y * z - a * x
    out[2, 0] = b * x * z - a * y
    out[2, 1] = b * y * z + a * x
    out[2, 2] = 1.0 - b * (x * x + y * y)


@numba.njit(cache=True, nogil=True)
def _rotvecs_to_matrices(vectors):
    matrices = np.empty((len(vectors), 3, 3))
    for n in range(len(vectors)):
        rotvec_to_matrix_single(vectors[n, 0], vectors[n, 1], vectors[n, 2], matrices[n])
    return matrices


@numba.njit(cache=True, nogil=True)
def turned(rotations: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``rotations`` [J, 3, 3], each turned in its own frame by ``steps`` [3 J], radians: R exp([w]x)."""
    result = np.empty_like(rotations)
    turn = np.empty((3, 3))
    for j in range(len(rotations)):
        rotvec_to_matrix_single(steps[3 * j], steps[3 * j + 1], steps[3 * j + 2], turn)
        for a in range(3):
            for b in range(3):
                result[j, a, b] = (
                    rotations[j, a, 0] * turn[0, b] + rotations[j, a, 1] * turn[1, b] + rotations[j, a, 2] * turn[2, b]
                )
    return result


@numba.njit(cache=True, nogil=True)
def matrix_to_rotvec_single(matrix: np.ndarray, out: np.ndarray) -> None:
    """Write the axis-angle (length <= pi) of the rotation ``matrix`` [3, 3] into ``out`` [3]; for numba kernels.

    Through the quaternion whose largest element is computed first: Shepperd, "Quaternion from rotation matrix", Journal
    of Guidance and Control 1978. The matrix must be orthonormal.
    """
    trace = matrix[0, 0] + matrix[1, 1] + matrix[2, 2]
    largest, choice = trace, 3
    for k in range(3):
        if matrix[k, k] > largest:
            largest, choice = matrix[k, k], k
    if choice == 3:
        w = 1.0 + trace
        x, y, z = matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]
    elif choice == 0:
        w, x = matrix[2, 1] - matrix[1, 2], 1.0 - trace + 2.0 * matrix[0, 0]
        y, z = matrix[1, 0] + matrix[0, 1], matrix[2, 0] + matrix[0, 2]
    elif choice == 1:
        w, y = matrix[0, 2] - matrix[2, 0], 1.0 - trace + 2.0 * matrix[1, 1]
        x, z = matrix[1, 0] + matrix[0, 1], matrix[2, 1] + matrix[1, 2]
    else:
        w, z = matrix[1, 0] - matrix[0, 1], 1.0 - trace + 2.0 * matrix[2, 2]
        x, y = matrix[2, 0] + matrix[0, 2], matrix[2, 1] + matrix[1, 2]
    length = math.sqrt(x * x + y * y + z * z)
    if w < 0.0:
        w, x, y, z = -w, -x, -y, -z
    # sin(angle / 2) and cos(angle / 2) are length and w over one factor.
    scale = 2.0 / w if length < 1e-8 * w else 2.0 * math.atan2(length, w) / length
    out[0], out[1], out[2] = scale * x, scale * y, scale * z
