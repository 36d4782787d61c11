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
_CHUNK = 512  # faces looked at in one go: their lists stay in the first-level cache
_NARROW = 10  # pixels: in a wider bounding box the ends of each row are computed instead of found
_NO_CELL = (1 << 62) - 1  # of vertices without a place in the image


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cell(x, limit):
    """The first pixel centre at or after ``x``, clamped to 0..limit.

    A triangle owns no pixel on its rightmost and lowest border points, by the top-left rule. So the columns that it can
    own are exactly those from the lowest of its corners' cells to one before the highest; none where all are equal.
    """
    return np.int32(np.ceil(min(max(x, 0.0), limit)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def project_vertices(vertices, begin, end, fx, fy, cx, cy, near, width, height, image, cells):
    """Project vertices begin..end-1 of [V, 3] float32.

    Fills ``image`` [end - begin, 3] float64 with pixel (u, v) and inverse depth: 0 for a vertex that is not in front of
    the near plane, -1 for one that is not finite; u and v mean nothing then. Fills ``cells`` [end - begin] int64 with
    column cell + row cell * 2^32.
    """
    columns, rows = float(width), float(height)
    for i in range(begin, end):  # no branches, so that the compiler takes several vertices at once
        x, y, z = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
        finite = x * 0.0 + y * 0.0 + z * 0.0 == 0.0
        front = finite & (z > near)
        w = 1.0 / (z if front else 1.0)
        image[0, i - begin] = fx * (x * w) + cx if front else 0.0
        image[1, i - begin] = fy * (y * w) + cy if front else 0.0
        image[2, i - begin] = w if front else (0.0 if finite else -1.0)
    for n in range(end - begin):
        cell = np.int64(_cell(image[0, n], columns)) + (np.int64(_cell(image[1, n], rows)) << 32)
        cells[n] = cell if image[2, n] > 0.0 else _NO_CELL


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _edges(x0, y0, x1, y1, x2, y2):
    """Edge functions (A, B, C, threshold) * 3 of a triangle of either winding, and twice its area (>= 0).

    Edge n lies opposite corner n. A pixel belongs to the triangle where A u + (B v + C) >= threshold on all three: the
    thresholds are the top-left rule (y points down; left and top edges own the pixels on them).
    """
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    s = 1.0 if area > 0.0 else -1.0  # makes the edge functions positive inside
    a0, b0, c0 = s * (y1 - y2), s * (x2 - x1), s * (x1 * y2 - x2 * y1)
    a1, b1, c1 = s * (y2 - y0), s * (x0 - x2), s * (x2 * y0 - x0 * y2)
    a2, b2, c2 = s * (y0 - y1), s * (x1 - x0), s * (x0 * y1 - x1 * y0)
    t0 = 0.0 if (a0 > 0.0) | ((a0 == 0.0) & (b0 > 0.0)) else _POSITIVE
    t1 = 0.0 if (a1 > 0.0) | ((a1 == 0.0) & (b1 > 0.0)) else _POSITIVE
    t2 = 0.0 if (a2 > 0.0) | ((a2 == 0.0) & (b2 > 0.0)) else _POSITIVE
    return a0, b0, c0, t0, a1, b1, c1, t1, a2, b2, c2, t2, s * area


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _draw(u, v, w, object_index, face_index, inverse_depth, object_, face):
    """The depth test: the nearest surface wins, the lower face index where two are equally near."""
    if w > inverse_depth[v, u] or (w == inverse_depth[v, u] and face_index < face[v, u]):
        inverse_depth[v, u] = w
        object_[v, u] = object_index
        face[v, u] = face_index


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _fill_row(
    begin, end, row_w, wx, x0, w_low, w_high, object_index, face_index, inverse_depth, object_, face
):  # fmt: skip
    """:func:`_draw` for pixels begin..end-1 of one row, without branches: rows are where large surfaces take time."""
    object_index, face_index = np.int32(object_index), np.int32(face_index)
    for u in range(np.uint32(begin), np.uint32(end)):
        w = np.float32(min(max(row_w + wx * (u - x0), w_low), w_high))
        wins = (w > inverse_depth[u]) | ((w == inverse_depth[u]) & (face_index < face[u]))
        inverse_depth[u] = w if wins else inverse_depth[u]
        object_[u] = object_index if wins else object_[u]
        face[u] = face_index if wins else face[u]


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _row_end(a, r, reciprocal, threshold, low, high):
    """The first u in low..high at which a u + r >= threshold turns true (a > 0) or false (a < 0); high if none does.

    Rounding keeps a u + r monotonic in u, so there is exactly one such place; ``reciprocal`` = 1 / a only guesses it.
    """
    rising = a > 0.0
    u = int(min(max(-r * reciprocal, float(low)), float(high)))
    while u > low and (a * (u - 1) + r >= threshold) == rising:
        u -= 1
    while u < high and (a * u + r >= threshold) != rising:
        u += 1
    return u


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _fill(
    x0, y0, w0, x1, y1, w1, x2, y2, w2, left, right, top, bottom, object_index, face_index, inverse_depth, object_, face
):  # fmt: skip
    """Fill one projected triangle within columns left..right-1 and rows top..bottom-1, which hold all it owns.

    w = inverse depth at the corners.
    """
    a0, b0, c0, t0, a1, b1, c1, t1, a2, b2, c2, t2, area = _edges(x0, y0, x1, y1, x2, y2)
    if area == 0.0:
        return
    # inverse depth as a plane over the image, relative to corner 0
    scale = 1.0 / area
    wx = (a1 * (w1 - w0) + a2 * (w2 - w0)) * scale
    wy = (b1 * (w1 - w0) + b2 * (w2 - w0)) * scale
    w_low, w_high = min(w0, w1, w2), max(w0, w1, w2)  # slivers must not overshoot
    wide = right - left > _NARROW
    reciprocal0, reciprocal1, reciprocal2 = 1.0 / a0, 1.0 / a1, 1.0 / a2
    for v in range(top, bottom):
        r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
        row_w = w0 + wy * (v - y0)
        if wide:
            begin, end = left, right
            for a, r, reciprocal, t in (
                (a0, r0, reciprocal0, t0),
                (a1, r1, reciprocal1, t1),
                (a2, r2, reciprocal2, t2),
            ):
                if a > 0.0:
                    begin = max(begin, _row_end(a, r, reciprocal, t, left, right))
                elif a < 0.0:
                    end = min(end, _row_end(a, r, reciprocal, t, left, right))
                elif r < t:
                    end = begin
            _fill_row(
                begin, end, row_w, wx, x0, w_low, w_high, object_index, face_index,
                inverse_depth[v], object_[v], face[v],
            )  # fmt: skip
        else:
            for u in range(left, right):
                if (a0 * u + r0 >= t0) & (a1 * u + r1 >= t1) & (a2 * u + r2 >= t2):
                    w = np.float32(min(max(row_w + wx * (u - x0), w_low), w_high))
                    _draw(u, v, w, object_index, face_index, inverse_depth, object_, face)


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _pixel(x0, y0, w0, x1, y1, w1, x2, y2, w2, u, v):
    """What :func:`_fill` would write into one pixel: inverse depth, or 0 where the triangle does not own it."""
    a0, b0, c0, t0, a1, b1, c1, t1, a2, b2, c2, t2, area = _edges(x0, y0, x1, y1, x2, y2)
    scale = 1.0 / area
    wx = (a1 * (w1 - w0) + a2 * (w2 - w0)) * scale
    wy = (b1 * (w1 - w0) + b2 * (w2 - w0)) * scale
    w = min(max((w0 + wy * (v - y0)) + wx * (u - x0), min(w0, w1, w2)), max(w0, w1, w2))
    r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
    inside = (a0 * u + r0 >= t0) & (a1 * u + r1 >= t1) & (a2 * u + r2 >= t2) & (area > 0.0)
    return np.float32(w if inside else 0.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _near_crossing(vertices, i, j, near):
    """Where edge i-j meets the near plane: x, y (z is ``near``). The same point from both sides of the edge."""
    if i > j:
        i, j = j, i
    xi, yi, zi = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
    t = (near - zi) / (np.float64(vertices[j, 2]) - zi)
    return xi + t * (np.float64(vertices[j, 0]) - xi), yi + t * (np.float64(vertices[j, 1]) - yi)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fill_clipped(
    vertices, first, i, j, k, fx, fy, cx, cy, near, cull, image, polygon, object_index, face_index, inverse_depth,
    object_, face,
):  # fmt: skip
    """Fill the triangle of vertices first + (i, j, k), which crosses the near plane.

    ``polygon`` [4, 3] float64 is room to work in.
    """
    count = 0  # walk round the triangle, keep corners in front, add a corner where an edge crosses
    for corner in range(3):
        s, t = (i, j) if corner == 0 else ((j, k) if corner == 1 else (k, i))
        if image[2, s] > 0.0:
            polygon[count, 0], polygon[count, 1], polygon[count, 2] = image[0, s], image[1, s], image[2, s]
            count += 1
        if (image[2, s] > 0.0) != (image[2, t] > 0.0):
            x, y = _near_crossing(vertices, first + s, first + t, near)
            w = 1.0 / near
            polygon[count, 0], polygon[count, 1], polygon[count, 2] = fx * (x * w) + cx, fy * (y * w) + cy, w
            count += 1
    height, width = inverse_depth.shape
    x0, y0, w0 = polygon[0, 0], polygon[0, 1], polygon[0, 2]
    for corner in range(2, count):
        x1, y1, w1 = polygon[corner - 1, 0], polygon[corner - 1, 1], polygon[corner - 1, 2]
        x2, y2, w2 = polygon[corner, 0], polygon[corner, 1], polygon[corner, 2]
        if cull and (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) >= 0.0:
            continue
        left, right = _cell(min(x0, x1, x2), float(width)), _cell(max(x0, x1, x2), float(width))
        top, bottom = _cell(min(y0, y1, y2), float(height)), _cell(max(y0, y1, y2), float(height))
        _fill(
            x0, y0, w0, x1, y1, w1, x2, y2, w2, left, right, top, bottom,
            object_index, face_index, inverse_depth, object_, face,
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _corners(faces, f, first):
    """Rows of a face's corners, as unsigned numbers: numba would wrap signed ones round the ends of an array."""
    f = np.uintp(f)
    return np.uintp(faces[f, 0] - first), np.uintp(faces[f, 1] - first), np.uintp(faces[f, 2] - first)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_faces(
    vertices,  # [V, 3] float32, camera frame
    image,  # [N, 3] float64, vertices first..first+N-1 projected (project_vertices)
    cells,  # [N] int64, of the same
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
    """Draw triangles into buffers that others may have been drawn into: the nearest wins, then the lower face index.

    Most faces of a person a few metres away hold no pixel centre in their bounding box or show their back, and most of
    the others have one to four pixels to test, in no order that a processor could predict. So they pass through lists,
    cheapest test first, in loops without branches; only faces with a larger bounding box are filled row by row.
    """
    boxed, large = np.empty(_CHUNK, np.int64), np.empty(_CHUNK, np.int64)
    tested_face, tested_cell = np.empty(4 * _CHUNK, np.int64), np.empty(4 * _CHUNK, np.int64)
    tested_w = np.empty(4 * _CHUNK, np.float32)
    polygon = np.empty((4, 3))
    column = np.int64(0xFFFFFFFF)
    for chunk in range(begin, end, _CHUNK):
        boxes = 0
        for f in range(chunk, min(chunk + _CHUNK, end)):
            i, j, k = _corners(faces, f, first)
            differ = (cells[i] ^ cells[j]) | (cells[i] ^ cells[k])
            boxed[boxes] = f
            boxes += ((differ & column) != 0) & ((differ >> 32) != 0)
        fronts = 0
        for n in range(boxes):
            f = boxed[n]
            i, j, k = _corners(faces, f, first)
            x0, y0 = image[0, i], image[1, i]
            # a face seen from outside turns counter-clockwise, which is a negative area because y points down
            area = (image[0, j] - x0) * (image[1, k] - y0) - (image[1, j] - y0) * (image[0, k] - x0)
            farthest = min(image[2, i], image[2, j], image[2, k])
            boxed[fronts] = f
            fronts += ((farthest > 0.0) & ((area < 0.0) | (not cull))) | (farthest == 0.0)
        tests, larges = 0, 0
        for n in range(fronts):
            f = boxed[n]
            i, j, k = _corners(faces, f, first)
            p, q, r = cells[i], cells[j], cells[k]
            top, bottom = min(p >> 32, q >> 32, r >> 32), max(p >> 32, q >> 32, r >> 32)
            p, q, r = p & column, q & column, r & column
            left, right = min(p, q, r), max(p, q, r)
            columns, pixels = right - left, (right - left) * (bottom - top)
            small = pixels <= 4
            large[larges] = f
            larges += not small
            # four places are written whatever is needed of them; the next face overwrites what is not
            for place in range(4):
                row = (place >= columns) + 0
                if columns == 1:
                    row = place
                tested_face[tests + place] = f
                tested_cell[tests + place] = (left + place - row * columns) + ((top + row) << 32)
            tests += pixels if small else 0
        for n in range(tests):
            f = tested_face[n]
            i, j, k = _corners(faces, f, first)
            tested_w[n] = _pixel(
                image[0, i], image[1, i], image[2, i],
                image[0, j], image[1, j], image[2, j],
                image[0, k], image[1, k], image[2, k],
                float(tested_cell[n] & column), float(tested_cell[n] >> 32),
            )  # fmt: skip
        for n in range(tests):
            if tested_w[n] > 0.0:
                f = tested_face[n]
                _draw(
                    tested_cell[n] & column, tested_cell[n] >> 32, tested_w[n],
                    face_object[f * object_stride], f + face_offset, inverse_depth, object_, face,
                )  # fmt: skip
        for n in range(larges):
            f = large[n]
            i, j, k = _corners(faces, f, first)
            object_index = face_object[f * object_stride]
            if image[2, i] > 0.0 and image[2, j] > 0.0 and image[2, k] > 0.0:
                p, q, r = cells[i] & column, cells[j] & column, cells[k] & column
                left, right = min(p, q, r), max(p, q, r)
                p, q, r = cells[i] >> 32, cells[j] >> 32, cells[k] >> 32
                top, bottom = min(p, q, r), max(p, q, r)
                _fill(
                    image[0, i], image[1, i], image[2, i],
                    image[0, j], image[1, j], image[2, j],
                    image[0, k], image[1, k], image[2, k],
                    left, right, top, bottom, object_index, f + face_offset, inverse_depth, object_, face,
                )  # fmt: skip
            else:
                _fill_clipped(
                    vertices, first, np.int64(i), np.int64(j), np.int64(k), fx, fy, cx, cy, near, cull, image, polygon,
                    object_index, f + face_offset, inverse_depth, object_, face,
                )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
    height, width = inverse_depth.shape
    image, cells = np.empty((3, vertices.shape[0])), np.empty(vertices.shape[0], np.int64)
    owner = np.full(1, first_object, np.int32)
    project_vertices(vertices, 0, vertices.shape[0], fx, fy, cx, cy, near, width, height, image, cells)
    fill_faces(
        vertices, image, cells, 0, faces, 0, faces.shape[0], owner, 0, fx, fy, cx, cy, near, cull,
        inverse_depth, object_, face, face_offset,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy")
def invert_depth(inverse_depth):
    """Turn [H, W] inverse depth into depth where it lies; 0 stays 0."""
    for v in range(inverse_depth.shape[0]):
        for u in range(inverse_depth.shape[1]):
            w = inverse_depth[v, u]
            inverse_depth[v, u] = np.float32(1.0) / w if w > 0 else np.float32(0.0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_people(vertices, faces, fx, fy, cx, cy, near, cull, inverse_depth, person, face):
    """``vertices`` [P, V, 3]: P meshes of one topology, object = index of the mesh."""
    count = faces.shape[0]
    for p in range(vertices.shape[0]):
        fill_mesh(vertices[p], faces, p, fx, fy, cx, cy, near, cull, inverse_depth, person, face, p * count)
    for v in range(face.shape[0]):
        for u in range(face.shape[1]):
            face[v, u] -= max(person[v, u], 0) * count
    invert_depth(inverse_depth)


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
        height, width = depth.shape
        image, cells = np.empty((3, high + 1 - low)), np.empty(high + 1 - low, np.int64)
        project_vertices(vertices, low, high + 1, fx, fy, cx, cy, near, width, height, image, cells)
        fill_faces(
            vertices, image, cells, low, faces, begin, end, face_object, 1, fx, fy, cx, cy, near, cull,
            depth, object_, face, 0,
        )  # fmt: skip
    invert_depth(depth)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill_scenes(vertices, faces, face_start, face_object, cameras, near, cull, depth, object_, face):
    """Render S scenes one after another."""
    for s in range(cameras.shape[0]):
        fill_scene(
            vertices, faces, face_start[s], face_start[s + 1], face_object, cameras[s], near, cull,
            depth[s], object_[s], face[s],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
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


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def point(vertices, i):
    """x, y, z of one vertex, float64."""
    return np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def weigh_people(person, face, vertices, faces, fx, fy, cx, cy, weights):
    """Corner weights of every pixel of a raster of [P, V, 3] vertices."""
    for v in range(face.shape[0]):
        for u in range(face.shape[1]):
            f, p = face[v, u], person[v, u]
            if f < 0:
                continue
            i, j, k = _corners(faces, f, 0)
            ax, ay, az = point(vertices[p], i)
            bx, by, bz = point(vertices[p], j)
            gx, gy, gz = point(vertices[p], k)
            weights[v, u, 0], weights[v, u, 1], weights[v, u, 2] = corner_weights(
                (u - cx) / fx, (v - cy) / fy, ax, ay, az, bx, by, bz, gx, gy, gz
            )


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def unit_normal(ax, ay, az, bx, by, bz, cx, cy, cz):
    """Unit normal of a triangle on the side of the eye (the origin); 0 for a triangle without area."""
    bx, by, bz, cx, cy, cz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    towards = -1.0 if nx * ax + ny * ay + nz * az > 0.0 else 1.0
    scale = towards / length if length > 0.0 else 0.0
    return nx * scale, ny * scale, nz * scale


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
    across, down, cx, cy = 1.0 / camera[0], 1.0 / camera[1], camera[2], camera[3]
    zero = np.float32(0.0)
    previous = -1
    i = j = k = np.uintp(0)
    ax = ay = az = bx = by = bz = gx = gy = gz = nx = ny = nz = 0.0
    for v in range(face.shape[0]):
        dy = (v - cy) * down
        for u in range(face.shape[1]):
            f = face[v, u]
            if f < 0:
                barycentric[v, u, 0], barycentric[v, u, 1], barycentric[v, u, 2] = zero, zero, zero
                pixel_canonical[v, u, 0], pixel_canonical[v, u, 1], pixel_canonical[v, u, 2] = zero, zero, zero
                normal[v, u, 0], normal[v, u, 1], normal[v, u, 2] = zero, zero, zero
                vertex[v, u] = -1
                pixel_part[v, u] = 255
                continue
            if f != previous:  # on walls and furniture most pixels show the triangle of their neighbour
                previous = f
                i, j, k = _corners(faces, f, 0)
                ax, ay, az = point(vertices, i)
                bx, by, bz = point(vertices, j)
                gx, gy, gz = point(vertices, k)
                nx, ny, nz = unit_normal(ax, ay, az, bx, by, bz, gx, gy, gz)
            wa, wb, wc = corner_weights((u - cx) * across, dy, ax, ay, az, bx, by, bz, gx, gy, gz)
            barycentric[v, u, 0], barycentric[v, u, 1], barycentric[v, u, 2] = wa, wb, wc
            normal[v, u, 0], normal[v, u, 1], normal[v, u, 2] = nx, ny, nz
            nearest = i if (wa >= wb) & (wa >= wc) else (j if wb >= wc else k)
            body = body_vertex[nearest]
            vertex[v, u] = body
            pixel_part[v, u] = part[nearest]
            if body < 0:
                pixel_canonical[v, u, 0], pixel_canonical[v, u, 1], pixel_canonical[v, u, 2] = zero, zero, zero
            else:
                px, py, pz = point(canonical, i)
                qx, qy, qz = point(canonical, j)
                rx, ry, rz = point(canonical, k)
                pixel_canonical[v, u, 0] = wa * px + wb * qx + wc * rx
                pixel_canonical[v, u, 1] = wa * py + wb * qy + wc * ry
                pixel_canonical[v, u, 2] = wa * pz + wb * qz + wc * rz


@numba.njit(cache=True, nogil=True, error_model="numpy")
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


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def fill_scenes_parallel(vertices, faces, face_start, face_object, cameras, near, cull, depth, object_, face):
    """:func:`fill_scenes` spread over numba's threads; to be called from one Python thread at a time."""
    for s in numba.prange(cameras.shape[0]):
        fill_scene(
            vertices, faces, face_start[s], face_start[s + 1], face_object, cameras[s], near, cull,
            depth[s], object_[s], face[s],
        )  # fmt: skip


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def label_scenes_parallel(
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
    """:func:`label_scenes` spread over numba's threads; to be called from one Python thread at a time."""
    for s in numba.prange(cameras.shape[0]):
        label_scene(
            face[s], vertices, faces, cameras[s], body_vertex, part, canonical,
            barycentric[s], vertex[s], pixel_part[s], pixel_canonical[s], normal[s],
        )  # fmt: skip
