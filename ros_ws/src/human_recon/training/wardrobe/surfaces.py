"""Geometry of garments on a body: binding to the skin below, rays, borders, decimation, hulls."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import trimesh
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import edge_graph, face_parts
from human_recon.body.skeleton import PARENTS
from human_recon.geometry.signed_distance import winding_number

NEAREST_FACES = 24  # candidates that are looked at exactly


@dataclass(frozen=True, eq=False)
class Binding:
    """Points of a body's surface by their face's corners."""

    corners: np.ndarray  # [N, 3] int64, body vertices
    weights: np.ndarray  # [N, 3] float64, rows add up to 1


def bind(
    points: np.ndarray,  # [N, 3] in the T pose of the mean shape
    normals: np.ndarray,  # [N, 3] unit
    joints: np.ndarray,  # [N] which each point moves with most
    body: BodyModel,
    normal_weight: float,  # metres that a normal at right angles to the skin's counts as, over the square root of two
) -> Binding:
    """The skin under each point: the nearest point of the body whose part can be under it and that faces like it.

    A part can be under a point that moves with it, its parent or its child: a sleeve lies on its arm, however near the
    trunk may be. Distance and normals are weighed as in ICP with normals: |p - q|^2 + w^2 |n_p - n_q|^2.
    """
    template = body.v_template.astype(np.float64)
    triangles = template[body.faces]
    centres = triangles.mean(axis=1)
    across = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    facing = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    parts = face_parts(body)
    corners, weights = np.zeros((len(points), 3), np.int64), np.zeros((len(points), 3))
    for joint in np.unique(joints):
        related = [joint, *(k for k, parent in enumerate(PARENTS) if parent == joint)]
        if PARENTS[joint] >= 0:
            related.append(PARENTS[joint])
        faces = np.flatnonzero(np.isin(parts, related))
        who = np.flatnonzero(joints == joint)
        tree = cKDTree(np.concatenate([centres[faces], normal_weight * facing[faces]], axis=1))
        _, near = tree.query(
            np.concatenate([points[who], normal_weight * normals[who]], axis=1), k=min(NEAREST_FACES, len(faces))
        )
        candidates = faces[near.reshape(len(who), -1)]  # [n, K]
        count = candidates.shape[1]
        closest = trimesh.triangles.closest_point(
            triangles[candidates].reshape(-1, 3, 3), np.repeat(points[who], count, axis=0)
        ).reshape(len(who), count, 3)
        cost = ((closest - points[who, None]) ** 2).sum(-1)
        cost += normal_weight**2 * ((facing[candidates] - normals[who, None]) ** 2).sum(-1)
        best = cost.argmin(axis=1)
        row = np.arange(len(who))
        chosen = candidates[row, best]
        corners[who] = body.faces[chosen]
        weights[who] = barycentric(closest[row, best], triangles[chosen])
    return Binding(corners, weights)


def barycentric(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Weights [N, 3] >= 0 of points [N, 3] on triangles [N, 3, 3]."""
    weights = np.clip(np.nan_to_num(trimesh.triangles.points_to_barycentric(triangles, points, "cross")), 0.0, None)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0.0, weights / np.maximum(total, 1e-12), [1.0, 0.0, 0.0])


def border_edges(faces: np.ndarray) -> np.ndarray:
    """Edges [E, 2] with a single face."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return unique[count == 1]


def distance_to(vertices: np.ndarray, faces: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """[V] metres along the mesh's edges to the nearest vertex of ``sources``; infinite where none is connected."""
    if len(sources) == 0:
        return np.full(len(vertices), np.inf)
    return dijkstra(edge_graph(vertices, faces), directed=False, indices=sources, min_only=True)


def smoothed(values: np.ndarray, faces: np.ndarray, times: int) -> np.ndarray:
    """Values [V, ...] averaged over neighbours ``times`` times."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    size = len(values)
    ones = np.ones(len(edges) * 2)
    graph = coo_matrix((ones, (edges[:, [0, 1]].ravel(), edges[:, [1, 0]].ravel())), shape=(size, size)).tocsr()
    graph.data[:] = 1.0
    count = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)
    flat = values.reshape(size, -1)
    for _ in range(times):
        flat = 0.5 * flat + 0.5 * (graph @ flat) / count[:, None]
    return flat.reshape(values.shape)


def decimated(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """About ``vertex_count`` vertices and their faces, by quadric errors (Garland and Heckbert, SIGGRAPH 1997)."""
    import fast_simplification  # here, so that the rest can be used and tested without the training set-up

    if len(vertices) <= vertex_count:
        return vertices, faces
    low, high = 8, len(faces)
    best = (vertices, faces)
    for _ in range(12):  # borders keep more vertices than faces suggest: search for the number of faces
        target = (low + high) // 2
        small, small_faces = fast_simplification.simplify(
            vertices.astype(np.float32), faces.astype(np.int32), target_count=target
        )
        used = np.unique(small_faces)
        if len(used) <= vertex_count:
            place = np.zeros(len(small), np.int64)
            place[used] = np.arange(len(used))
            best, low = (small[used].astype(np.float64), place[small_faces]), target
        else:
            high = target
        if high - low < 8:
            break
    kept, kept_faces = best
    good = (kept_faces != np.roll(kept_faces, 1, axis=1)).all(axis=1)
    return kept, kept_faces[good]


def onto(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners [N, 3] and weights [N, 3] of the points of a mesh nearest to ``points`` [N, 3]."""
    triangles = vertices[faces]
    _, near = cKDTree(triangles.mean(axis=1)).query(points, k=min(NEAREST_FACES, len(faces)))
    near = near.reshape(len(points), -1)
    count = near.shape[1]
    closest = trimesh.triangles.closest_point(
        triangles[near].reshape(-1, 3, 3), np.repeat(points, count, axis=0)
    ).reshape(len(points), count, 3)
    best = ((closest - points[:, None]) ** 2).sum(-1).argmin(axis=1)
    row = np.arange(len(points))
    chosen = near[row, best]
    return faces[chosen], barycentric(closest[row, best], triangles[chosen])


@numba.njit(cache=True, nogil=True)
def ray_distances(origins, directions, vertices, faces, nearest, reach):
    """First triangle between ``nearest`` and ``reach`` metres along each ray.

    Returns:
        distances [N], infinite without a hit, and the triangles [N], -1 without.

    Moeller and Trumbore, "Fast, minimum storage ray-triangle intersection", 1997.
    """
    found = np.full(len(origins), np.inf)
    which = np.full(len(origins), -1)
    for n in range(len(origins)):
        ox, oy, oz = origins[n, 0], origins[n, 1], origins[n, 2]
        dx, dy, dz = directions[n, 0], directions[n, 1], directions[n, 2]
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            tx, ty, tz = ox - vertices[a, 0], oy - vertices[a, 1], oz - vertices[a, 2]
            if tx * tx + ty * ty + tz * tz > (reach + 0.15) * (reach + 0.15):
                continue
            ux, uy, uz = (
                vertices[b, 0] - vertices[a, 0],
                vertices[b, 1] - vertices[a, 1],
                vertices[b, 2] - vertices[a, 2],
            )
            vx, vy, vz = (
                vertices[c, 0] - vertices[a, 0],
                vertices[c, 1] - vertices[a, 1],
                vertices[c, 2] - vertices[a, 2],
            )
            px, py, pz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
            determinant = ux * px + uy * py + uz * pz
            if abs(determinant) < 1e-14:
                continue
            s = (tx * px + ty * py + tz * pz) / determinant
            if s < 0.0 or s > 1.0:
                continue
            qx, qy, qz = ty * uz - tz * uy, tz * ux - tx * uz, tx * uy - ty * ux
            t = (dx * qx + dy * qy + dz * qz) / determinant
            if t < 0.0 or s + t > 1.0:
                continue
            distance = (vx * qx + vy * qy + vz * qz) / determinant
            if nearest <= distance <= reach and distance < found[n]:
                found[n] = distance
                which[n] = f
    return found, which


def hair_hull(
    vertices: np.ndarray, faces: np.ndarray, body: BodyModel, voxel: float = 0.005
) -> tuple[np.ndarray, np.ndarray]:
    """The outside of hair made of cards: one surface around the volume that they fill together with the head.

    A depth camera sees hair as a volume, and a closed surface has no backs to cull. Cards are put into voxels and
    thickened by one; gaps towards head and back, and between cards, are closed; the surface is extracted where it is
    hair and left open where it meets skin.
    """
    samples = dense_samples(vertices, faces, 0.4 * voxel)
    low = vertices.min(axis=0) - 6 * voxel
    size = np.ceil((vertices.max(axis=0) + 6 * voxel - low) / voxel).astype(int) + 1
    hair = np.zeros(size, bool)
    hair[tuple(np.rint((samples - low) / voxel).astype(int).T)] = True
    near_hair = ndimage.distance_transform_edt(~hair, sampling=voxel)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    skin = winding_number((low + voxel * grid).reshape(-1, 3), body.v_template, body.faces).reshape(size) > 0
    solid = (near_hair <= 1.1 * voxel) | skin
    ball = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_closing(np.pad(solid, 4), ball, iterations=3)[4:-4, 4:-4, 4:-4]
    solid |= closed & (near_hair < 4 * voxel)  # not across the armpits
    solid = ndimage.binary_fill_holes(solid)
    surface, quads = surface_nets(ndimage.gaussian_filter(solid.astype(np.float64), 0.9) - 0.5)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    points = low + voxel * surface
    away, _ = cKDTree(samples).query(points)
    from_skin = ndimage.map_coordinates(ndimage.distance_transform_edt(~skin, sampling=voxel), surface.T, order=1)
    is_hair = (away < 2.2 * voxel) | (from_skin > 2.0 * voxel)  # the rest is skin that the volume was closed with
    kept = is_hair[triangles].all(axis=1)
    kept &= ~_deep_inside(points, triangles, body)
    triangles = _large_pieces(triangles[kept], least=60)
    used = np.unique(triangles)
    place = np.zeros(len(points), np.int64)
    place[used] = np.arange(len(used))
    return smoothed(points[used], place[triangles], 2), place[triangles]


def _deep_inside(points: np.ndarray, triangles: np.ndarray, body: BodyModel) -> np.ndarray:
    centres = points[triangles].mean(axis=1)
    return winding_number(centres, body.v_template, body.faces) > 0


def _large_pieces(faces: np.ndarray, least: int) -> np.ndarray:
    labels = trimesh.graph.connected_component_labels(trimesh.graph.face_adjacency(faces), node_count=len(faces))
    return faces[np.bincount(labels)[labels] >= least]


def dense_samples(vertices: np.ndarray, faces: np.ndarray, spacing: float) -> np.ndarray:
    """Points [P, 3] on every triangle, at most about ``spacing`` apart."""
    found = [vertices[np.unique(faces)]]
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    steps = np.maximum(np.ceil(longest / spacing).astype(int), 1)
    for count in np.unique(steps):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
        inside = i + j <= count
        u, v = i[inside] / count, j[inside] / count
        weights = np.stack([1.0 - u - v, u, v], axis=1)
        found.append(np.einsum("pk,fkc->fpc", weights, corners[steps == count]).reshape(-1, 3))
    return np.concatenate(found)


def surface_nets(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface where ``field`` [X, Y, Z] is zero, positive inside: points [N, 3] in grid units, quads [Q, 4].

    Gibson, "Constrained elastic surface nets", MICCAI 1998, without the elastic part: one point per cell that the
    surface passes, at the mean of its crossings of the cell's edges; one quad per crossed edge, counter-clockwise from
    outside.
    """
    inside = field > 0.0
    cell_shape = np.array(field.shape) - 1
    total, count = np.zeros((*cell_shape, 3)), np.zeros(cell_shape)
    crossings = []
    for axis in range(3):
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = field[tuple(first)], field[tuple(second)]
        i, j, k = np.nonzero(inside[tuple(first)] != inside[tuple(second)])
        where = np.stack([i, j, k], axis=1).astype(np.float64)
        where[:, axis] += a[i, j, k] / (a[i, j, k] - b[i, j, k])
        index = np.stack([i, j, k], axis=1)
        outwards = inside[tuple(first)][i, j, k]  # the surface faces the axis' positive side
        u, v = [(1, 2), (2, 0), (0, 1)][axis]
        cells = []
        for du, dv in ((0, 0), (-1, 0), (-1, -1), (0, -1)):  # around the edge, counter-clockwise seen from its end
            cell = index.copy()
            cell[:, u] += du
            cell[:, v] += dv
            cells.append(cell)
        around = np.stack(cells, axis=1)
        valid = ((around >= 0) & (around < cell_shape)).all(axis=(1, 2))
        around, where, outwards = around[valid], where[valid], outwards[valid]
        for corner in range(4):
            np.add.at(total, tuple(around[:, corner].T), where)
            np.add.at(count, tuple(around[:, corner].T), 1.0)
        crossings.append((around, outwards))
    number = np.full(cell_shape, -1, np.int64)
    used = count > 0
    number[used] = np.arange(used.sum())
    quads = []
    for around, outwards in crossings:
        quad = number[tuple(np.moveaxis(around, -1, 0))]
        quads.append(np.where(outwards[:, None], quad, quad[:, ::-1]))
    return total[used] / count[used][:, None], np.concatenate(quads)
