"""Embedded as-rigid-as-possible deformation: the energy and its Gauss-Newton steps.

A node n at p_n has a rotation R_n and a shift t_n, the identity at first. Vertices move by

    v' = sum_n w_n (R_n (v - p_n) + p_n + t_n)

(Sumner et al. 2007, equation 1, with rotations instead of affine maps). The energy is half the sum of

    a (n . (v' - x))^2 + b |v' - x|^2                 for each measured point x that shows v, with weights a, b
    k |R_i (p_j - p_i) + p_i + t_i - p_j - t_j|^2     for neighbours i, j (Sorkine and Alexa 2007, equation 3)
    s |t_n|^2 + r |R_n - 1|^2                         for each node: what nothing is seen of stays where it was

Parameters of a step are [rotation vector, shift] of each node, R_n <- exp([w]x) R_n. The normal matrix has a block of
6 x 6 for every two nodes that meet in an edge or a vertex. It is solved by conjugate gradients with an additive
preconditioner of two levels: the inverse diagonal blocks, and rigid motions of groups of nodes, solved exactly (limbs
move as one, which single nodes take dozens of iterations to find out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from human_recon.template.graph import DeformationGraph


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the B blocks of the normal matrix are: the diagonal and what is above it."""

    first: np.ndarray  # [B] int32, row
    second: np.ndarray  # [B] int32, column >= row; block n < N is the diagonal one of node n
    number: np.ndarray  # [N, N] int32, number of the block in row i, column j >= i; -1 = always zero


@dataclass(frozen=True, eq=False)
class Pull:
    """What M measured points want."""

    vertices: np.ndarray  # [M] int32, vertex of the template that each one shows
    points: np.ndarray  # [M, 3] metres
    normals: np.ndarray  # [M, 3] unit normals of the surface there; 0 = unknown
    plane: np.ndarray  # [M] weight a, 1 / m^2
    point: np.ndarray  # [M] weight b, 1 / m^2


@dataclass(frozen=True)
class Stiffness:
    """Weights k, s and r of the energy."""

    edge: float  # 1 / m^2
    shift: float  # 1 / m^2
    turn: float  # 1 / rad^2


@dataclass(frozen=True, eq=False)
class NodeMotion:
    """How the N nodes move."""

    rotations: np.ndarray  # [N, 3, 3]
    shifts: np.ndarray  # [N, 3] metres

    @staticmethod
    def none(count: int) -> NodeMotion:
        """Everything stays."""
        return NodeMotion(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)))


def block_structure(graph: DeformationGraph, indices: np.ndarray) -> Blocks:
    """For a template whose vertices are moved by the nodes ``indices`` [V, K]."""
    count = len(graph.nodes)
    meet = np.zeros((count, count), bool)
    meet[graph.edges[:, 0], graph.edges[:, 1]] = True
    for k in range(indices.shape[1]):
        for other in range(k):
            meet[indices[:, k], indices[:, other]] = True
    meet |= meet.T
    np.fill_diagonal(meet, False)
    upper = np.argwhere(np.triu(meet))
    own = np.arange(count)
    first = np.concatenate([own, upper[:, 0]]).astype(np.int32)
    second = np.concatenate([own, upper[:, 1]]).astype(np.int32)
    number = np.full((count, count), -1, np.int32)
    number[first, second] = np.arange(len(first))
    return Blocks(first, second, number)


def deform(
    vertices: np.ndarray,  # [V, 3] float32 metres
    indices: np.ndarray,  # [V, K] int32
    weights: np.ndarray,  # [V, K] float32
    nodes: np.ndarray,  # [N, 3] metres, p_n
    motion: NodeMotion,
) -> np.ndarray:
    """v' of all vertices, [V, 3] float32."""
    result = np.empty_like(vertices)
    # R (v - p) + p + t = R v + (p + t - R p)
    offset = nodes + motion.shifts - np.einsum("nij,nj->ni", motion.rotations, nodes)
    rows = np.concatenate([motion.rotations, offset[:, :, None]], axis=2).reshape(-1, 12).astype(np.float32)
    _deform(vertices, indices, weights, rows, result)
    return result


def step(
    motion: NodeMotion,
    nodes: np.ndarray,  # [N, 3] metres, p_n
    vertices: np.ndarray,  # [V, 3] metres
    indices: np.ndarray,  # [V, K] int32
    weights: np.ndarray,  # [V, K] float32
    graph: DeformationGraph,
    blocks: Blocks,
    pull: Pull,
    stiffness: Stiffness,
    solver_iterations: int = 20,
    tolerance: float = 1e-2,
) -> NodeMotion:
    """One Gauss-Newton step, its linear system solved until the residual has shrunk by ``tolerance``."""
    matrix, gradient = linear_system(motion, nodes, vertices, indices, weights, graph, blocks, pull, stiffness)
    delta = solve(matrix, -gradient, nodes + motion.shifts, graph, blocks, solver_iterations, tolerance)
    rotations = np.empty_like(motion.rotations)
    _turn(motion.rotations, delta, rotations)
    return NodeMotion(rotations, motion.shifts + delta[:, 3:])


def linear_system(
    motion: NodeMotion,
    nodes: np.ndarray,
    vertices: np.ndarray,
    indices: np.ndarray,
    weights: np.ndarray,
    graph: DeformationGraph,
    blocks: Blocks,
    pull: Pull,
    stiffness: Stiffness,
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks [B, 6, 6] of the normal matrix and the gradient [N, 6] of the energy."""
    matrix = np.zeros((len(blocks.first), 6, 6))
    gradient = np.zeros((len(nodes), 6))
    _add_pull(
        motion.rotations, motion.shifts, nodes, vertices, indices, weights, blocks.number,
        pull.vertices, pull.points, pull.normals, pull.plane, pull.point, matrix, gradient,
    )  # fmt: skip
    _add_stiffness(
        motion.rotations, motion.shifts, nodes, graph.edges, blocks.number,
        stiffness.edge, stiffness.shift, stiffness.turn, matrix, gradient,
    )  # fmt: skip
    return matrix, gradient


def solve(
    matrix: np.ndarray,  # [B, 6, 6]
    right: np.ndarray,  # [N, 6]
    places: np.ndarray,  # [N, 3] where the nodes are
    graph: DeformationGraph,
    blocks: Blocks,
    iterations: int,
    tolerance: float,
) -> np.ndarray:
    """The step [N, 6] that the normal matrix and the right side ask for, approximately."""
    count = int(graph.groups.max()) + 1
    size = np.bincount(graph.groups, minlength=count)
    centres = np.stack([np.bincount(graph.groups, places[:, c], count) for c in range(3)], axis=1) / size[:, None]
    levers = places - centres[graph.groups]
    coarse = np.zeros((6 * count, 6 * count))
    _gather(matrix, blocks.first, blocks.second, graph.groups, levers, coarse)
    # A group of one node, or in one line, may turn without effect.
    coarse[np.diag_indices_from(coarse)] += 1e-9 * np.trace(coarse) / len(coarse)
    factor, _ = dpotrf(coarse, lower=1)
    inverse, _ = dpotri(factor, lower=1)  # its lower half
    inverse = np.ascontiguousarray(np.tril(inverse) + np.tril(inverse, -1).T)
    return _solve(matrix, right, blocks.first, blocks.second, graph.groups, levers, inverse, iterations, tolerance)


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _deform(vertices, indices, weights, rows, result):
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        px = py = pz = np.float32(0.0)
        for k in range(indices.shape[1]):
            w = weights[v, k]
            if w == 0.0:
                continue
            t = rows[indices[v, k]]
            px += w * (t[0] * x + t[1] * y + t[2] * z + t[3])
            py += w * (t[4] * x + t[5] * y + t[6] * z + t[7])
            pz += w * (t[8] * x + t[9] * y + t[10] * z + t[11])
        result[v, 0] = px
        result[v, 1] = py
        result[v, 2] = pz


@numba.njit(cache=True, nogil=True)
def _add_pull(
    rotations, shifts, nodes, vertices, indices, weights, number, shown, points, normals, plane, point, matrix, gradient
):
    influences = indices.shape[1]
    lever = np.empty((influences, 3))  # R (v - p) of each node
    gain = np.empty((3, 3))  # a n n^T + b
    force = np.empty(3)
    left = np.empty((influences, 3, 3))  # [lever]x gain: the turn's part of J^T gain
    for m in range(shown.shape[0]):
        a, b = plane[m], point[m]
        if a == 0.0 and b == 0.0:
            continue
        v = shown[m]
        rx, ry, rz = -points[m, 0], -points[m, 1], -points[m, 2]
        for k in range(influences):
            n = indices[v, k]
            w = weights[v, k]
            qx = vertices[v, 0] - nodes[n, 0]
            qy = vertices[v, 1] - nodes[n, 1]
            qz = vertices[v, 2] - nodes[n, 2]
            for c in range(3):
                lever[k, c] = rotations[n, c, 0] * qx + rotations[n, c, 1] * qy + rotations[n, c, 2] * qz
            rx += w * (lever[k, 0] + nodes[n, 0] + shifts[n, 0])
            ry += w * (lever[k, 1] + nodes[n, 1] + shifts[n, 1])
            rz += w * (lever[k, 2] + nodes[n, 2] + shifts[n, 2])
        for c in range(3):
            for d in range(3):
                gain[c, d] = a * normals[m, c] * normals[m, d]
            gain[c, c] += b
            force[c] = gain[c, 0] * rx + gain[c, 1] * ry + gain[c, 2] * rz
        for k in range(influences):
            w = weights[v, k]
            if w == 0.0:
                continue
            n = indices[v, k]
            lx, ly, lz = lever[k, 0], lever[k, 1], lever[k, 2]
            # Column c of the turn's Jacobian is e_c x lever, so its transpose times a vector is lever x vector.
            gradient[n, 0] += w * (ly * force[2] - lz * force[1])
            gradient[n, 1] += w * (lz * force[0] - lx * force[2])
            gradient[n, 2] += w * (lx * force[1] - ly * force[0])
            for c in range(3):
                gradient[n, 3 + c] += w * force[c]
                left[k, 0, c] = ly * gain[2, c] - lz * gain[1, c]
                left[k, 1, c] = lz * gain[0, c] - lx * gain[2, c]
                left[k, 2, c] = lx * gain[1, c] - ly * gain[0, c]
        for k in range(influences):
            for other in range(influences):
                i, j = indices[v, k], indices[v, other]
                # A node listed twice meets itself in both orders.
                if i > j or (weights[v, k] == 0.0) or (weights[v, other] == 0.0):
                    continue
                w = weights[v, k] * weights[v, other]
                block = matrix[number[i, j]]
                qx, qy, qz = lever[other, 0], lever[other, 1], lever[other, 2]
                for c in range(3):
                    # Rows of `left` times [e_x x q, e_y x q, e_z x q], which is -[q]x.
                    block[c, 0] += w * (left[k, c, 2] * qy - left[k, c, 1] * qz)
                    block[c, 1] += w * (left[k, c, 0] * qz - left[k, c, 2] * qx)
                    block[c, 2] += w * (left[k, c, 1] * qx - left[k, c, 0] * qy)
                    block[3 + c, 0] += w * (gain[c, 2] * qy - gain[c, 1] * qz)
                    block[3 + c, 1] += w * (gain[c, 0] * qz - gain[c, 2] * qx)
                    block[3 + c, 2] += w * (gain[c, 1] * qx - gain[c, 0] * qy)
                    for d in range(3):
                        block[c, 3 + d] += w * left[k, c, d]
                        block[3 + c, 3 + d] += w * gain[c, d]


@numba.njit(cache=True, nogil=True)
def _add_stiffness(rotations, shifts, nodes, edges, number, edge, shift, turn, matrix, gradient):
    for e in range(edges.shape[0]):
        i, j = edges[e, 0], edges[e, 1]
        dx, dy, dz = nodes[j, 0] - nodes[i, 0], nodes[j, 1] - nodes[i, 1], nodes[j, 2] - nodes[i, 2]
        r = rotations[i]
        lx = r[0, 0] * dx + r[0, 1] * dy + r[0, 2] * dz
        ly = r[1, 0] * dx + r[1, 1] * dy + r[1, 2] * dz
        lz = r[2, 0] * dx + r[2, 1] * dy + r[2, 2] * dz
        fx = edge * (lx - dx + shifts[i, 0] - shifts[j, 0])
        fy = edge * (ly - dy + shifts[i, 1] - shifts[j, 1])
        fz = edge * (lz - dz + shifts[i, 2] - shifts[j, 2])
        gradient[i, 0] += ly * fz - lz * fy
        gradient[i, 1] += lz * fx - lx * fz
        gradient[i, 2] += lx * fy - ly * fx
        gradient[i, 3] += fx
        gradient[i, 4] += fy
        gradient[i, 5] += fz
        gradient[j, 3] -= fx
        gradient[j, 4] -= fy
        gradient[j, 5] -= fz
        own = matrix[i]
        # [l]x^T [l]x = |l|^2 - l l^T, and the turn's Jacobian -[l]x has the transpose [l]x.
        square = lx * lx + ly * ly + lz * lz
        own[0, 0] += edge * (square - lx * lx)
        own[1, 1] += edge * (square - ly * ly)
        own[2, 2] += edge * (square - lz * lz)
        own[0, 1] -= edge * lx * ly
        own[1, 0] -= edge * lx * ly
        own[0, 2] -= edge * lx * lz
        own[2, 0] -= edge * lx * lz
        own[1, 2] -= edge * ly * lz
        own[2, 1] -= edge * ly * lz
        own[0, 4] -= edge * lz
        own[4, 0] -= edge * lz
        own[0, 5] += edge * ly
        own[5, 0] += edge * ly
        own[1, 3] += edge * lz
        own[3, 1] += edge * lz
        own[1, 5] -= edge * lx
        own[5, 1] -= edge * lx
        own[2, 3] -= edge * ly
        own[3, 2] -= edge * ly
        own[2, 4] += edge * lx
        own[4, 2] += edge * lx
        other = matrix[j]
        for c in range(3):
            own[3 + c, 3 + c] += edge
            other[3 + c, 3 + c] += edge
        # Shift of j against turn and shift of i.
        if i < j:
            block = matrix[number[i, j]]
            block[0, 4] += edge * lz
            block[0, 5] -= edge * ly
            block[1, 3] -= edge * lz
            block[1, 5] += edge * lx
            block[2, 3] += edge * ly
            block[2, 4] -= edge * lx
        else:
            block = matrix[number[j, i]]
            block[4, 0] += edge * lz
            block[5, 0] -= edge * ly
            block[3, 1] -= edge * lz
            block[5, 1] += edge * lx
            block[3, 2] += edge * ly
            block[4, 2] -= edge * lx
        for c in range(3):
            block[3 + c, 3 + c] -= edge
    for n in range(nodes.shape[0]):
        r = rotations[n]
        own = matrix[n]
        # Half of |R - 1|^2 (Frobenius) is 3 - trace R; its gradient for a turn on the left is the vector below, and
        # its curvature is trace R - R to first order, 2 at the identity.
        gradient[n, 0] += turn * (r[2, 1] - r[1, 2])
        gradient[n, 1] += turn * (r[0, 2] - r[2, 0])
        gradient[n, 2] += turn * (r[1, 0] - r[0, 1])
        for c in range(3):
            own[c, c] += 2.0 * turn
            own[3 + c, 3 + c] += shift
            gradient[n, 3 + c] += shift * shifts[n, c]


@numba.njit(cache=True, nogil=True)
def _inverse_blocks(matrix, count):
    inverse = np.empty((count, 6, 6))
    lower = np.zeros((6, 6))
    column = np.empty(6)
    for n in range(count):
        for i in range(6):
            for j in range(i + 1):
                total = matrix[n, i, j]
                for k in range(j):
                    total -= lower[i, k] * lower[j, k]
                if i == j:
                    lower[i, i] = np.sqrt(max(total, 1e-12))
                else:
                    lower[i, j] = total / lower[j, j]
        for c in range(6):
            for i in range(6):
                total = 1.0 if i == c else 0.0
                for k in range(i):
                    total -= lower[i, k] * column[k]
                column[i] = total / lower[i, i]
            for i in range(5, -1, -1):
                total = column[i]
                for k in range(i + 1, 6):
                    total -= lower[k, i] * inverse[n, k, c]
                inverse[n, i, c] = total / lower[i, i]
    return inverse


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _multiply(matrix, first, second, count, x, y):
    y[:] = 0.0
    for b in range(first.shape[0]):
        i, j = first[b], second[b]
        block = matrix[b]
        for r in range(6):
            total = 0.0
            for c in range(6):
                total += block[r, c] * x[j, c]
            y[i, r] += total
        if b >= count:
            for r in range(6):
                value = x[i, r]
                for c in range(6):
                    y[j, c] += block[r, c] * value


@numba.njit(cache=True, nogil=True)
def _gather(matrix, first, second, groups, levers, coarse):
    """The normal matrix of rigid motions of groups.

    A group's [w, s] is its nodes' [w, s + w x lever], or T = [[1, 0], [-[lever]x, 1]].
    """
    count = groups.shape[0]
    turned = np.empty((6, 6))  # block T
    for b in range(first.shape[0]):
        i, j = first[b], second[b]
        block = matrix[b]
        x, y, z = levers[j, 0], levers[j, 1], levers[j, 2]
        for r in range(6):
            sx, sy, sz = block[r, 3], block[r, 4], block[r, 5]
            # Columns of -[lever]x: (0, -z, y), (z, 0, -x), (-y, x, 0)
            turned[r, 0] = block[r, 0] - z * sy + y * sz
            turned[r, 1] = block[r, 1] + z * sx - x * sz
            turned[r, 2] = block[r, 2] - y * sx + x * sy
            turned[r, 3], turned[r, 4], turned[r, 5] = sx, sy, sz
        x, y, z = levers[i, 0], levers[i, 1], levers[i, 2]
        row, column = 6 * groups[i], 6 * groups[j]
        for c in range(6):
            sx, sy, sz = turned[3, c], turned[4, c], turned[5, c]
            turned[0, c] += y * sz - z * sy
            turned[1, c] += z * sx - x * sz
            turned[2, c] += x * sy - y * sx
        for r in range(6):
            for c in range(6):
                coarse[row + r, column + c] += turned[r, c]
                if b >= count:
                    coarse[column + c, row + r] += turned[r, c]


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _precondition(inverse, groups, levers, coarse_inverse, residual, result):
    count, size = groups.shape[0], coarse_inverse.shape[0]
    gathered = np.zeros(size)
    for n in range(count):
        g = 6 * groups[n]
        x, y, z = levers[n, 0], levers[n, 1], levers[n, 2]
        r = residual[n]
        gathered[g] += r[0] + y * r[5] - z * r[4]
        gathered[g + 1] += r[1] + z * r[3] - x * r[5]
        gathered[g + 2] += r[2] + x * r[4] - y * r[3]
        gathered[g + 3] += r[3]
        gathered[g + 4] += r[4]
        gathered[g + 5] += r[5]
    motion = np.zeros(size)
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += coarse_inverse[i, j] * gathered[j]
        motion[i] = total
    for n in range(count):
        m = motion[6 * groups[n] : 6 * groups[n] + 6]
        x, y, z = levers[n, 0], levers[n, 1], levers[n, 2]
        for i in range(6):
            total = 0.0
            for j in range(6):
                total += inverse[n, i, j] * residual[n, j]
            result[n, i] = total + m[i]
        result[n, 3] += m[1] * z - m[2] * y
        result[n, 4] += m[2] * x - m[0] * z
        result[n, 5] += m[0] * y - m[1] * x


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _dot(a, b):
    total = 0.0
    for n in range(a.shape[0]):
        for c in range(6):
            total += a[n, c] * b[n, c]
    return total


@numba.njit(cache=True, nogil=True)
def _solve(matrix, right, first, second, groups, levers, coarse_inverse, iterations, tolerance):
    """Preconditioned conjugate gradients, from zero: [N, 6]."""
    count = right.shape[0]
    inverse = _inverse_blocks(matrix, count)
    x = np.zeros((count, 6))
    residual = right.copy()
    preconditioned = np.empty((count, 6))
    direction = np.zeros((count, 6))
    product = np.empty((count, 6))
    last = 1.0
    target = 0.0
    for iteration in range(iterations):
        _precondition(inverse, groups, levers, coarse_inverse, residual, preconditioned)
        now = _dot(preconditioned, residual)
        if iteration == 0:
            target = now * tolerance * tolerance
        if now <= target or now <= 0.0:
            break
        ratio = now / last if iteration else 0.0
        last = now
        for n in range(count):
            for r in range(6):
                direction[n, r] = preconditioned[n, r] + ratio * direction[n, r]
        _multiply(matrix, first, second, count, direction, product)
        length = now / _dot(direction, product)
        for n in range(count):
            for r in range(6):
                x[n, r] += length * direction[n, r]
                residual[n, r] -= length * product[n, r]
    return x


@numba.njit(cache=True, nogil=True)
def _turn(rotations, delta, result):
    """exp([w]x) R of each node, by the unit quaternion of w, so that rotations stay rotations."""
    for n in range(rotations.shape[0]):
        x, y, z = delta[n, 0], delta[n, 1], delta[n, 2]
        angle = np.sqrt(x * x + y * y + z * z)
        s = 0.5 - angle * angle / 48.0 if angle < 1e-4 else np.sin(0.5 * angle) / angle
        w, x, y, z = np.cos(0.5 * angle), s * x, s * y, s * z
        a00, a01, a02 = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)
        a10, a11, a12 = 2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)
        a20, a21, a22 = 2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)
        for c in range(3):
            p, q, r = rotations[n, 0, c], rotations[n, 1, c], rotations[n, 2, c]
            result[n, 0, c] = a00 * p + a01 * q + a02 * r
            result[n, 1, c] = a10 * p + a11 * q + a12 * r
            result[n, 2, c] = a20 * p + a21 * q + a22 * r
