"""The compiled loops of the rasterisers: projection, near clipping, filling, and what a pixel sees of its triangle.

The algorithm, its conventions and its promises are those of :mod:`human_recon.geometry.rasterizer`;
``scene_rasterizer.cu`` is the same arithmetic for the GPU, operation by operation, so that both give the same bits.

Edge functions are e(u, v) = A u + (B v + C) with A = ay - by, B = bx - ax, C = ax by - bx ay. Each of these operations
changes only its sign when a and b change places, in floating point as on paper, so two triangles sharing an edge get
exactly opposite numbers along it: no gaps, no double hits. The rule needs the order of operations as written, without
fused multiply-add: never compile this with fastmath.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# An edge function that may not be zero is asked to be at least this: the smallest normal number, because a process may
# flush smaller ones to zero. No product of pixel coordinates comes near it.
_POSITIVE = 2.2250738585072014e-308
_CHUNK = 512  # faces looked at in one go: their list stays in the first-level cache
_SMALL = 12  # pixels: a bounding box at most this wide is tested pixel by pixel, a wider one row by row


@numba.njit(cache=True, nogil=True)
def project_vertices(vertices, begin, end, fx, fy, cx, cy, near, image):
    """Pixel (u, v) and inverse depth of vertices begin..end-1 of [V, 3] float32, in ``image`` [end - begin, 3] float64.

    The third number is 0 for a vertex that is not in front of the near plane, -1 for one that is not finite; u and v
    mean nothing then.
    """
    for i in range(begin, end):
        x, y, z = float(vertices[i, 0]), float(vertices[i, 1]), float(vertices[i, 2])
        front = z > near
        w = 1.0 / (z if front else 1.0)
        image[i - begin, 0] = fx * (x * w) + cx
        image[i - begin, 1] = fy * (y * w) + cy
        finite = x * 0.0 + y * 0.0 + z * 0.0 == 0.0
        image[i - begin, 2] = (w if front else 0.0) if finite else -1.0


@numba.njit(cache=True, nogil=True)
def _fill(x0, y0, w0, x1, y1, w1, x2, y2, w2, object_index, face_index, inverse_depth, object_, face):
    """Fill one projected triangle, either winding; w = inverse depth at the corners."""
    height, width = inverse_depth.shape
    left, right = np.ceil(max(0.0, min(x0, x1, x2))), np.floor(min(width - 1.0, max(x0, x1, x2)))
    top, bottom = np.ceil(max(0.0, min(y0, y1, y2))), np.floor(min(height - 1.0, max(y0, y1, y2)))
    if left > right or top > bottom:
        return
    u_low, u_high, v_low, v_high = int(left), int(right), int(top), int(bottom)
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0.0:
        return
    s = 1.0 if area > 0.0 else -1.0  # makes the edge functions positive inside
    a0, b0, c0 = s * (y1 - y2), s * (x2 - x1), s * (x1 * y2 - x2 * y1)
    a1, b1, c1 = s * (y2 - y0), s * (x0 - x2), s * (x2 * y0 - x0 * y2)
    a2, b2, c2 = s * (y0 - y1), s * (x1 - x0), s * (x0 * y1 - x1 * y0)
    # top-left rule (y down): left and top edges own the pixels on them
    t0 = 0.0 if (a0 > 0.0) | ((a0 == 0.0) & (b0 > 0.0)) else _POSITIVE
    t1 = 0.0 if (a1 > 0.0) | ((a1 == 0.0) & (b1 > 0.0)) else _POSITIVE
    t2 = 0.0 if (a2 > 0.0) | ((a2 == 0.0) & (b2 > 0.0)) else _POSITIVE
    w_low, w_high = min(w0, w1, w2), max(w0, w1, w2)  # slivers must not overshoot
    # inverse depth as a plane over the image, relative to corner 0
    scale = 1.0 / (s * area)
    wx = (a1 * (w1 - w0) + a2 * (w2 - w0)) * scale
    wy = (b1 * (w1 - w0) + b2 * (w2 - w0)) * scale
    for v in range(v_low, v_high + 1):
        r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
        row_w = w0 + wy * (v - y0)
        for u in range(u_low, u_high + 1):
            if (a0 * u + r0 >= t0) & (a1 * u + r1 >= t1) & (a2 * u + r2 >= t2):
                w = np.float32(min(max(row_w + wx * (u - x0), w_low), w_high))
                if w > inverse_depth[v, u]:
                    inverse_depth[v, u] = w
                    object_[v, u] = object_index
                    face[v, u] = face_index


@numba.njit(cache=True, nogil=True)
def _near_crossing(vertices, i, j, near):
    """Where edge i-j meets the near plane: x, y (z is ``near``). The same point from both sides of the edge."""
    if i > j:
        i, j = j, i
    xi, yi, zi = float(vertices[i, 0]), float(vertices[i, 1]), float(vertices[i, 2])
    t = (near - zi) / (float(vertices[j, 2]) - zi)
    return xi + t * (float(vertices[j, 0]) - xi), yi + t * (float(vertices[j, 1]) - yi)


@numba.njit(cache=True, nogil=True)
def _fill_clipped(
    vertices, first, i, j, k, fx, fy, cx, cy, near, cull, image, polygon, object_index, face_index, inverse_depth,
    object_, face,
):  # fmt: skip
    """Fill triangle (i, j, k), which crosses the near plane; ``polygon`` [4, 3] float64 is room to work in."""
    count = 0  # walk round the triangle, keep corners in front, add a corner where an edge crosses
    for corner in range(3):
        s, t = (i, j) if corner == 0 else ((j, k) if corner == 1 else (k, i))
        a, b = s - first, t - first
        if image[a, 2] > 0.0:
            polygon[count, 0], polygon[count, 1], polygon[count, 2] = image[a, 0], image[a, 1], image[a, 2]
            count += 1
        if (image[a, 2] > 0.0) != (image[b, 2] > 0.0):
            x, y = _near_crossing(vertices, s, t, near)
            w = 1.0 / near
            polygon[count, 0], polygon[count, 1], polygon[count, 2] = fx * (x * w) + cx, fy * (y * w) + cy, w
            count += 1
    x0, y0, w0 = polygon[0, 0], polygon[0, 1], polygon[0, 2]
    for corner in range(2, count):
        x1, y1, w1 = polygon[corner - 1, 0], polygon[corner - 1, 1], polygon[corner - 1, 2]
        x2, y2, w2 = polygon[corner, 0], polygon[corner, 1], polygon[corner, 2]
        if cull and (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) >= 0.0:
            continue
        _fill(x0, y0, w0, x1, y1, w1, x2, y2, w2, object_index, face_index, inverse_depth, object_, face)


@numba.njit(cache=True, nogil=True)
def fill_faces(
    vertices,  # [V, 3] float32, camera frame
    image,  # [N, 3] float64, vertices first..first+N-1 projected (project_vertices)
    first,
    faces,  # [F, 3] int32, all within first..first+N-1
    begin,  # faces begin..end-1 are filled
    end,
    face_object,  # [F] int32
    object_stride,  # face f belongs to object face_object[f * object_stride]: 1, or 0 for all the same
    fx,
    fy,
    cx,
    cy,
    near,
    cull,
    inverse_depth,  # [H, W] float32, 0 = nothing there
    object_,  # [H, W] int32
    face,  # [H, W] int32
    face_offset,  # added to the indices written into ``face``
):
    """Draw triangles into buffers that other triangles may have been drawn into: the nearest wins, then the earliest.

    Faces that show their back, hold no pixel centre in their bounding box or lie outside the image are dropped in a
    first pass without branches: most faces of a person a few metres away are one of these, in no order a processor
    could predict.
    """
    height, width = inverse_depth.shape
    right, bottom = width - 1.0, height - 1.0
    keep = np.empty(_CHUNK, np.int32)
    polygon = np.empty((4, 3))
    for chunk in range(begin, end, _CHUNK):
        kept = 0
        for f in range(chunk, min(chunk + _CHUNK, end)):
            i, j, k = faces[f, 0] - first, faces[f, 1] - first, faces[f, 2] - first
            x0, y0, w0 = image[i, 0], image[i, 1], image[i, 2]
            x1, y1, w1 = image[j, 0], image[j, 1], image[j, 2]
            x2, y2, w2 = image[k, 0], image[k, 1], image[k, 2]
            nearest, farthest = max(w0, w1, w2), min(w0, w1, w2)
            u_low, u_high = np.ceil(max(0.0, min(x0, x1, x2))), np.floor(min(right, max(x0, x1, x2)))
            v_low, v_high = np.ceil(max(0.0, min(y0, y1, y2))), np.floor(min(bottom, max(y0, y1, y2)))
            area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
            # a face seen from outside turns counter-clockwise, which is a negative area because y points down
            drawn = (farthest > 0.0) & (u_low <= u_high) & (v_low <= v_high) & ((area < 0.0) | (not cull))
            keep[kept] = f
            kept += drawn | ((farthest == 0.0) & (nearest > 0.0))
        for n in range(kept):
            f = keep[n]
            i, j, k = faces[f, 0] - first, faces[f, 1] - first, faces[f, 2] - first
            object_index = face_object[f * object_stride]
            if image[i, 2] > 0.0 and image[j, 2] > 0.0 and image[k, 2] > 0.0:
                _fill(
                    image[i, 0], image[i, 1], image[i, 2],
                    image[j, 0], image[j, 1], image[j, 2],
                    image[k, 0], image[k, 1], image[k, 2],
                    object_index, f + face_offset, inverse_depth, object_, face,
                )  # fmt: skip
            else:
                _fill_clipped(
                    vertices, first, i + first, j + first, k + first, fx, fy, cx, cy, near, cull, image, polygon,
                    object_index, f + face_offset, inverse_depth, object_, face,
                )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def fill_mesh(
    vertices,  # [V, 3] float32, camera frame
    faces,  # [F, 3] int32, all within 0..V-1: not checked here
    first_object,  # written into ``object_`` where a face of this mesh is nearest
    fx,
    fy,
    cx,
    cy,
    near,  # metres, > 0
    cull,
    inverse_depth,  # [H, W] float32, 1/m; 0 = nothing there
    object_,  # [H, W] int32
    face,  # [H, W] int32
    face_offset,  # added to the face indices written into ``face``
):
    """Draw one mesh, one object, into buffers that others may have been drawn into already; see :func:`fill_faces`."""
    image = np.empty((vertices.shape[0], 3))
    owner = np.full(1, first_object, np.int32)
    project_vertices(vertices, 0, vertices.shape[0], fx, fy, cx, cy, near, image)
    fill_faces(
        vertices, image, 0, faces, 0, faces.shape[0], owner, 0, fx, fy, cx, cy, near, cull,
        inverse_depth, object_, face, face_offset,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def invert_depth(inverse_depth):
    """Turn [H, W] inverse depth into depth where it lies; 0 stays 0."""
    for v in range(inverse_depth.shape[0]):
        for u in range(inverse_depth.shape[1]):
            w = inverse_depth[v, u]
            inverse_depth[v, u] = np.float32(1.0) / w if w > 0 else np.float32(0.0)


@numba.njit(cache=True, nogil=True)
def fill_people(vertices, faces, fx, fy, cx, cy, near, cull, inverse_depth, person, face):
    """``vertices`` [P, V, 3]: P meshes of one topology, object = index of the mesh."""
    for p in range(vertices.shape[0]):
        fill_mesh(vertices[p], faces, p, fx, fy, cx, cy, near, cull, inverse_depth, person, face, 0)
    invert_depth(inverse_depth)


@numba.njit(cache=True, nogil=True)
def fill_scene(
    vertices,  # [V, 3] float32
    faces,  # [F, 3] int32 into all vertices
    begin,  # this scene's faces are begin..end-1
    end,
    face_object,  # [F] int32
    camera,  # [4] float64
    near,
    cull,
    depth,  # [H, W] float32, overwritten
    object_,  # [H, W] int32, overwritten
    face,  # [H, W] int32, overwritten; indices into all faces
):
    """Render one scene of a batch."""
    depth[:] = np.float32(0.0)
    object_[:] = -1
    face[:] = -1
    if end > begin:
        low, high = faces[begin, 0], faces[begin, 0]
        for f in range(begin, end):
            low = min(low, faces[f, 0], faces[f, 1], faces[f, 2])
            high = max(high, faces[f, 0], faces[f, 1], faces[f, 2])
        fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
        image = np.empty((high + 1 - low, 3))
        project_vertices(vertices, low, high + 1, fx, fy, cx, cy, near, image)
        fill_faces(
            vertices, image, low, faces, begin, end, face_object, 1, fx, fy, cx, cy, near, cull,
            depth, object_, face, 0,
        )  # fmt: skip
    invert_depth(depth)


@numba.njit(cache=True, nogil=True)
def fill_scenes(vertices, faces, face_start, face_object, cameras, near, cull, depth, object_, face):
    """Render S scenes one after another."""
    for s in range(cameras.shape[0]):
        fill_scene(
            vertices, faces, face_start[s], face_start[s + 1], face_object, cameras[s], near, cull,
            depth[s], object_[s], face[s],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def corner_weights(dx, dy, ax, ay, az, bx, by, bz, cx, cy, cz):
    """Weights of the corners a, b, c of a triangle where the ray (dx, dy, 1) meets it: >= 0, sum 1, float64.

    They are proportional to det(d, b, c), det(d, c, a), det(d, a, b): weights on the triangle in space. The
    determinants are taken after moving each corner along the ray into the plane z = 0, where what is left is small,
    and so is the rounding. (1, 0, 0) where the triangle is seen exactly edge-on.
    """
    ax, ay = ax - dx * az, ay - dy * az
    bx, by = bx - dx * bz, by - dy * bz
    cx, cy = cx - dx * cz, cy - dy * cz
    wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    sign = -1.0 if wa + wb + wc < 0.0 else 1.0
    wa, wb, wc = max(sign * wa, 0.0), max(sign * wb, 0.0), max(sign * wc, 0.0)  # rounding along borders
    total = wa + wb + wc
    if total <= 0.0:
        return 1.0, 0.0, 0.0
    scale = 1.0 / total
    return wa * scale, wb * scale, wc * scale


@numba.njit(cache=True, nogil=True)
def weigh_people(person, face, vertices, faces, fx, fy, cx, cy, weights):
    """Corner weights of every pixel of a raster of [P, V, 3] vertices."""
    for v in range(face.shape[0]):
        for u in range(face.shape[1]):
            f, p = face[v, u], person[v, u]
            if f < 0:
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            weights[v, u, 0], weights[v, u, 1], weights[v, u, 2] = corner_weights(
                (u - cx) / fx,
                (v - cy) / fy,
                float(vertices[p, i, 0]),
                float(vertices[p, i, 1]),
                float(vertices[p, i, 2]),
                float(vertices[p, j, 0]),
                float(vertices[p, j, 1]),
                float(vertices[p, j, 2]),
                float(vertices[p, k, 0]),
                float(vertices[p, k, 1]),
                float(vertices[p, k, 2]),
            )


@numba.njit(cache=True, nogil=True)
def label_scene(
    face,  # [H, W] int32, -1 = nothing there
    vertices,  # [V, 3] float32
    faces,  # [F, 3] int32
    camera,  # [4] float64
    body_vertex,  # [V] int32
    part,  # [V] uint8
    canonical,  # [V, 3] float32
    barycentric,  # [H, W, 3] float32; this and all below are overwritten
    vertex,  # [H, W] int32
    pixel_part,  # [H, W] uint8
    pixel_canonical,  # [H, W, 3] float32
    normal,  # [H, W, 3] float32
):
    """What every pixel of one scene shows of its triangle; the fields of scene_rasterizer.SurfaceLabels."""
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    zero = np.float32(0.0)
    for v in range(face.shape[0]):
        dy = (v - cy) / fy
        for u in range(face.shape[1]):
            f = face[v, u]
            if f < 0:
                for axis in range(3):
                    barycentric[v, u, axis] = zero
                    pixel_canonical[v, u, axis] = zero
                    normal[v, u, axis] = zero
                vertex[v, u] = -1
                pixel_part[v, u] = 255
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = float(vertices[i, 0]), float(vertices[i, 1]), float(vertices[i, 2])
            bx, by, bz = float(vertices[j, 0]), float(vertices[j, 1]), float(vertices[j, 2])
            gx, gy, gz = float(vertices[k, 0]), float(vertices[k, 1]), float(vertices[k, 2])
            wa, wb, wc = corner_weights((u - cx) / fx, dy, ax, ay, az, bx, by, bz, gx, gy, gz)
            barycentric[v, u, 0], barycentric[v, u, 1], barycentric[v, u, 2] = wa, wb, wc
            nearest = i if wa >= wb and wa >= wc else (j if wb >= wc else k)
            vertex[v, u] = body_vertex[nearest]
            pixel_part[v, u] = part[nearest]
            for axis in range(3):
                pixel_canonical[v, u, axis] = (
                    wa * canonical[i, axis] + wb * canonical[j, axis] + wc * canonical[k, axis]
                )
            bx, by, bz, gx, gy, gz = bx - ax, by - ay, bz - az, gx - ax, gy - ay, gz - az
            nx, ny, nz = by * gz - bz * gy, bz * gx - bx * gz, bx * gy - by * gx
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            towards = -1.0 if nx * ax + ny * ay + nz * az > 0.0 else 1.0  # -1: seen from its back
            scale = towards / length if length > 0.0 else 0.0
            normal[v, u, 0], normal[v, u, 1], normal[v, u, 2] = nx * scale, ny * scale, nz * scale


@numba.njit(cache=True, nogil=True)
def label_scenes(
    face,
    vertices,
    faces,
    cameras,
    body_vertex,
    part,
    canonical,
    barycentric,
    vertex,
    pixel_part,
    pixel_canonical,
    normal,
):
    """Label S scenes one after another; arguments as :func:`label_scene`, pixel arrays with S in front."""
    for s in range(cameras.shape[0]):
        label_scene(
            face[s], vertices, faces, cameras[s], body_vertex, part, canonical,
            barycentric[s], vertex[s], pixel_part[s], pixel_canonical[s], normal[s],
        )  # fmt: skip
