"""A body as a few hundred balls inside its skin: fast enough to ask of every pair of people how far they may approach.

Every ball touches the skin and is as large as fits inside (the shrinking ball of Ma, Bae and Choi, "3D medial axis
point approximation using nearest neighbors and the normal field", Visual Computer 2012); a greedy cover picks those
whose union comes within :data:`COVER` of the whole skin. They move with the skin where they touch and across from
there, and grow with the distance between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rotations import rotvec_to_matrix_single
from human_recon.geometry.signed_distance import winding_number

COVER = 0.009  # metres the skin may stand out of the union of balls
LARGEST = 0.08  # metres, radius; centres deep inside do not follow the skin well
LEAST_CORRECTIVE = 0.002  # metres per unit of (R - I); smaller pose correctives are left out
_CANDIDATES = 1500  # balls the cover picks from
_WITNESSES = 2300  # vertices it must cover


@dataclass(frozen=True, eq=False)
class BodySpheres:
    """K balls in the T pose, sorted by body part."""

    first_vertex: np.ndarray  # [K] int64, where the ball touches the skin
    second_vertex: np.ndarray  # [K] int64, the skin across from there
    first: np.ndarray  # [K, 3] of the mean shape
    first_dirs: np.ndarray  # [K, 3, 10]
    second: np.ndarray  # [K, 3]
    second_dirs: np.ndarray  # [K, 3, 10]
    normal: np.ndarray  # [K, 3] outward, at the first
    share: np.ndarray  # [K] radius over the thickness from first to second along the normal
    skin_indices: np.ndarray  # [2, K, 4] int64, joints of the first and of the second
    skin_weights: np.ndarray  # [2, K, 4]
    part_start: np.ndarray  # [25] int64; part j owns balls part_start[j] : part_start[j+1]
    corrective_start: np.ndarray  # [24] int64; joint j (1 ... 23) moves entries start[j-1] : start[j]
    corrective_balls: np.ndarray  # [E] int64
    correctives: np.ndarray  # [E, 6, 9] metres first and second place move per unit of (R - I)
    parents: np.ndarray  # [24] int64
    j_template: np.ndarray  # [24, 3] float64
    j_shapedirs: np.ndarray  # [24, 3, 10] float64

    @property
    def count(self) -> int:
        """K."""
        return len(self.first)

    def part(self) -> np.ndarray:
        """[K] int64, the joint whose part each ball belongs to."""
        return np.repeat(np.arange(24), np.diff(self.part_start))

    def pose(self, betas: np.ndarray, pose: np.ndarray, trans: np.ndarray) -> np.ndarray:
        """[K, 4] float64 centres and radii for ``betas`` [10], ``pose`` [24, 3] axis-angle and ``trans`` [3]."""
        return _pose(
            self.first, self.first_dirs, self.second, self.second_dirs, self.normal, self.share, self.skin_indices,
            self.skin_weights, self.corrective_start, self.corrective_balls, self.correctives, self.parents,
            self.j_template, self.j_shapedirs, np.asarray(betas, np.float64), np.asarray(pose, np.float64),
            np.asarray(trans, np.float64),
        )  # fmt: skip


def fit_spheres(body: BodyModel) -> BodySpheres:
    """Balls of ``body``; about half a second."""
    vertices = body.v_template.astype(np.float64)
    normals = vertex_normals(body.v_template[None], body.faces)[0].astype(np.float64)
    candidates = np.unique(np.linspace(0, len(vertices) - 1, _CANDIDATES).astype(np.int64))
    radius, opposite = _inscribed(vertices, normals, candidates)
    centres = vertices[candidates] - radius[:, None] * normals[candidates]
    # Where the skin is folded, as at lips and ears, a ball may begin on its outer side.
    inside = winding_number(centres, vertices, body.faces) > 0
    candidates, radius, opposite, centres = (a[inside] for a in (candidates, radius, opposite, centres))
    witnesses = np.unique(np.linspace(0, len(vertices) - 1, _WITNESSES).astype(np.int64))
    chosen = _cover(centres, radius, vertices[witnesses])
    part = body.weights[candidates[chosen]].argmax(axis=1)
    chosen = chosen[np.argsort(part, kind="stable")]
    first, second = candidates[chosen], opposite[chosen]
    part = body.weights[first].argmax(axis=1)
    both = body.weights[np.stack([first, second])]
    order = np.argsort(-both, axis=2, kind="stable")[:, :, :4]
    weights = np.take_along_axis(both, order, axis=2).astype(np.float64)
    starts, balls, correctives = _correctives(body, first, second)
    return BodySpheres(
        first_vertex=first.astype(np.int64),
        second_vertex=second.astype(np.int64),
        first=vertices[first],
        first_dirs=body.shapedirs[first].astype(np.float64),
        second=vertices[second],
        second_dirs=body.shapedirs[second].astype(np.float64),
        normal=normals[first],
        share=radius[chosen] / ((vertices[first] - vertices[second]) * normals[first]).sum(axis=1),
        skin_indices=order.astype(np.int64),
        skin_weights=weights / weights.sum(2, keepdims=True),
        part_start=np.searchsorted(part, np.arange(25)).astype(np.int64),
        corrective_start=starts,
        corrective_balls=balls,
        correctives=correctives,
        parents=body.parents.astype(np.int64),
        j_template=body.j_template.astype(np.float64),
        j_shapedirs=body.j_shapedirs.astype(np.float64),
    )


def _correctives(body: BodyModel, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pose correctives that matter at the places where the balls touch."""
    starts, balls, blocks = [0], [], []
    for j in range(1, 24):
        block = np.concatenate([body.posedirs[where, :, 9 * (j - 1) : 9 * j] for where in (first, second)], axis=1)
        moved = np.flatnonzero(np.abs(block).max(axis=(1, 2)) > LEAST_CORRECTIVE)
        starts.append(starts[-1] + len(moved))
        balls.append(moved)
        blocks.append(block[moved])
    return np.array(starts), np.concatenate(balls), np.concatenate(blocks).astype(np.float64)


@numba.njit(cache=True, nogil=True)
def _inscribed(vertices, normals, candidates):
    """Largest ball tangent at each candidate that holds no vertex: radius, and the vertex straight across the body."""
    radius = np.full(len(candidates), LARGEST)
    opposite = np.empty(len(candidates), np.int64)
    for i in range(len(candidates)):
        p, n = vertices[candidates[i]], normals[candidates[i]]
        for q in range(len(vertices)):
            dx, dy, dz = p[0] - vertices[q, 0], p[1] - vertices[q, 1], p[2] - vertices[q, 2]
            along = dx * n[0] + dy * n[1] + dz * n[2]
            # A neighbour on a slightly bumpy surface must not shrink the ball to nothing.
            square = dx * dx + dy * dy + dz * dz
            if along > 0.35 * math.sqrt(square) and square < 2.0 * radius[i] * along:
                radius[i] = square / (2.0 * along)
        best = math.inf
        for q in range(len(vertices)):
            dx, dy, dz = p[0] - vertices[q, 0], p[1] - vertices[q, 1], p[2] - vertices[q, 2]
            along = dx * n[0] + dy * n[1] + dz * n[2]
            if along > 1.5 * radius[i]:  # near the line, and the first skin that it meets
                aside = math.sqrt(max(dx * dx + dy * dy + dz * dz - along * along, 0.0))
                if along + 5.0 * aside < best:
                    best = along + 5.0 * aside
                    opposite[i] = q
    return radius, opposite


@numba.njit(cache=True, nogil=True)
def _cover(centres, radius, witnesses):
    """Greedy set cover: the ball that reaches most witnesses not yet reached, until none is left to reach."""
    balls, points = len(centres), len(witnesses)
    reaches = np.zeros((balls, points), np.bool_)
    gain = np.zeros(balls, np.int64)
    for b in range(balls):
        limit = (radius[b] + COVER) ** 2
        for w in range(points):
            dx, dy, dz = (
                witnesses[w, 0] - centres[b, 0],
                witnesses[w, 1] - centres[b, 1],
                witnesses[w, 2] - centres[b, 2],
            )
            if dx * dx + dy * dy + dz * dz <= limit:
                reaches[b, w] = True
                gain[b] += 1
    covered = np.zeros(points, np.bool_)
    chosen = np.empty(balls, np.int64)
    count = 0
    while True:
        best = gain.argmax()
        if gain[best] == 0:
            return chosen[:count]
        chosen[count] = best
        count += 1
        for w in range(points):
            if reaches[best, w] and not covered[w]:
                covered[w] = True
                for b in range(balls):
                    if reaches[b, w]:
                        gain[b] -= 1


@numba.njit(cache=True, nogil=True)
def _pose(
    first, first_dirs, second, second_dirs, normal, share, skin_indices, skin_weights, corrective_start,
    corrective_balls, correctives, parents, j_template, j_shapedirs, betas, pose, trans,
):  # fmt: skip
    rest = np.empty((24, 3))
    world = np.empty((24, 3, 3))
    position = np.empty((24, 3))
    local = np.empty((3, 3))
    offsets = np.zeros((len(first), 6))
    for j in range(24):
        for c in range(3):
            value = j_template[j, c]
            for k in range(10):
                value += j_shapedirs[j, c, k] * betas[k]
            rest[j, c] = value
        rotvec_to_matrix_single(pose[j, 0], pose[j, 1], pose[j, 2], local)
        parent = parents[j]
        for a in range(3):
            position[j, a] = rest[j, a] + trans[a] if parent < 0 else position[parent, a]
            for b in range(3):
                if parent < 0:
                    world[j, a, b] = local[a, b]
                else:
                    position[j, a] += world[parent, a, b] * (rest[j, b] - rest[parent, b])
                    turned = 0.0
                    for c in range(3):
                        turned += world[parent, a, c] * local[c, b]
                    world[j, a, b] = turned
        if j == 0:
            continue
        for e in range(corrective_start[j - 1], corrective_start[j]):
            i = corrective_balls[e]
            for c in range(6):
                value = 0.0
                for k in range(9):
                    value += correctives[e, c, k] * (local[k // 3, k % 3] - (1.0 if k % 4 == 0 else 0.0))
                offsets[i, c] += value
    balls = np.zeros((len(first), 4))
    places, centre, moved = np.empty((2, 3)), np.empty(3), np.empty((2, 3))
    for i in range(len(first)):
        thickness = 0.0
        for c in range(3):
            p, q = first[i, c] + offsets[i, c], second[i, c] + offsets[i, 3 + c]
            for k in range(10):
                p += first_dirs[i, c, k] * betas[k]
                q += second_dirs[i, c, k] * betas[k]
            places[0, c], places[1, c] = p, q
            thickness += (p - q) * normal[i, c]
        radius = share[i] * max(thickness, 0.0)
        for c in range(3):
            centre[c] = places[0, c] - radius * normal[i, c]
        # The centre moves with the skin of both places, and the ball shrinks to what lies between them then.
        moved[:] = 0.0
        for side in range(2):
            for k in range(4):
                weight = skin_weights[side, i, k]
                if weight == 0.0:
                    continue
                j = skin_indices[side, i, k]
                for a in range(3):
                    at = mid = position[j, a]
                    for b in range(3):
                        at += world[j, a, b] * (places[side, b] - rest[j, b])
                        mid += world[j, a, b] * (centre[b] - rest[j, b])
                    moved[side, a] += weight * at
                    balls[i, a] += 0.5 * weight * mid
        for side in range(2):
            x, y, z = moved[side, 0] - balls[i, 0], moved[side, 1] - balls[i, 1], moved[side, 2] - balls[i, 2]
            radius = min(radius, math.sqrt(x * x + y * y + z * z))
        balls[i, 3] = radius
    return balls
