"""From BodyNet's cells to the pixels of the frame, along the edges of the depth image.

Joint bilateral upsampling (Kopf et al., SIGGRAPH 2007) with the depth as guide: a pixel takes the answer of the cells
near it whose surface it is on, so a mask ends where the surface ends and not somewhere within a cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from human_recon.camera.frame import Frame
from human_recon.perception.body_net import CELLS, NO_PART, STRIDE, BodyReading
from human_recon.perception.crops import CropCamera

_ACTIVE = 0.05  # a pixel none of whose cells is this likely the person's is not
_LEAST_ALIKE = 0.05  # cells less like a pixel are of another surface
_SURE = 0.9  # probability of a person's cell well inside them
_SAME = 0.25  # cells as like a pixel are of the same surface
_SAME_OFF = 1.0  # difference of depths, over that at which surfaces count as different, where likeness is _SAME
_FAR_OFF = 1.87  # beyond it likeness is below _LEAST_ALIKE
_LITTLE = 0.02  # weight added to the bilinear ones
_NOWHERE = 1e6  # metres: where a cell without a reading is
_BLOCK = 8  # pixels across that are looked at together
_ROUNDING = 1e-6  # cells


@dataclass(frozen=True)
class UpsamplingConfig:
    """How pixels take over what cells say."""

    surface: float = 0.06  # metres of depth across which surfaces count as different, close to the camera ...
    noise: float = 0.004  # ... growing with the square of the distance as sensors' noise does: metres per metre squared
    least_likely: float = 0.5  # probability above which a pixel is somebody's

    def surface_at(self, crop: CropCamera) -> float:
        """Metres of depth across which surfaces count as different, where the crop is."""
        return self.surface + self.noise * float(crop.centre @ crop.centre)


@dataclass(frozen=True, eq=False)
class Places:
    """What each pixel of the frame shows."""

    parts: np.ndarray  # [H, W] uint8, NO_PART of nobody
    vertices: np.ndarray  # [H, W] int16, -1 of nobody
    similarity: np.ndarray  # [H, W] float32, 0 of nobody


@dataclass(frozen=True, eq=False)
class Claims:
    """Whose each pixel of the frame is, and, worked out when it is first asked for, what it shows."""

    owner: np.ndarray  # [H, W] int16, index of the person, -1 = nobody
    likelihood: np.ndarray  # [H, W] float32, the owner's probability, 0 of nobody
    window: tuple[int, int, int, int]  # first row, last + 1, first column, last + 1 of all that is somebody's
    locate: Callable[[], Places]  # may say more than the owners have: pixels of those who were given up since

    @cached_property
    def places(self) -> Places:
        """Of the pixels that are somebody's."""
        places, nobody = self.locate(), self.owner < 0
        places.parts[nobody], places.vertices[nobody], places.similarity[nobody] = NO_PART, -1, 0.0
        return places

    @property
    def parts(self) -> np.ndarray:
        """[H, W] uint8, NO_PART of nobody."""
        return self.places.parts

    @property
    def vertices(self) -> np.ndarray:
        """[H, W] int16, -1 of nobody."""
        return self.places.vertices

    @property
    def similarity(self) -> np.ndarray:
        """[H, W] float32, 0 of nobody."""
        return self.places.similarity


def upsample(frame: Frame, reading: BodyReading, owners: Sequence[Sequence[int]], config: UpsamplingConfig) -> Claims:
    """Let people claim the frame's pixels; a pixel that several claim goes to the likeliest.

    ``owners`` are the people, each a few proposals by index that claim for them. The frame must be undistorted.
    """
    owner, likelihood = _unclaimed(frame)
    nothing = Places(np.empty((0, 0), np.uint8), np.empty((0, 0), np.int16), np.empty((0, 0), np.float32))
    window = _claim_all(frame, reading, owners, config, owner, likelihood, nothing, False)

    def locate() -> Places:
        shape = frame.depth.shape
        places = Places(np.full(shape, NO_PART, np.uint8), np.full(shape, -1, np.int16), np.zeros(shape, np.float32))
        _claim_all(frame, reading, owners, config, *_unclaimed(frame), places, True)
        return places

    return Claims(owner, likelihood, window, locate)


def _unclaimed(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Owner and likelihood while nobody claims anything."""
    return np.full(frame.depth.shape, -1, np.int16), np.zeros(frame.depth.shape, np.float32)


def _claim_all(
    frame: Frame,
    reading: BodyReading,
    owners: Sequence[Sequence[int]],
    config: UpsamplingConfig,
    owner: np.ndarray,
    likelihood: np.ndarray,
    places: Places,
    locating: bool,
) -> tuple[int, int, int, int]:
    """Fill ``owner`` and ``likelihood``, and ``places`` as well when ``locating``; the window that was looked at."""
    camera = frame.intrinsics
    windows = []
    for person, n in ((person, n) for person, indices in enumerate(owners) for n in indices):
        crop = reading.crops[n]
        window = _claim(
            frame.depth,
            (camera.fx, camera.fy, camera.cx, camera.cy),
            crop.rotation,
            (crop.focal, 0.5 * (crop.size - 1), float(np.linalg.norm(crop.centre))),
            reading.valid[n],
            reading.mask[n],
            reading.ahead[n],
            reading.part[n],
            reading.part_scores[n],
            reading.vertex[n],
            reading.similarity[n],
            person,
            config.surface_at(crop),
            config.least_likely,
            owner,
            likelihood,
            locating,
            places.parts,
            places.vertices,
            places.similarity,
        )
        windows.append(window)
    if not windows:
        return 0, 0, 0, 0
    top, bottom, left, right = zip(*windows, strict=True)
    return min(top), max(bottom), min(left), max(right)


def mask_of(owner: np.ndarray, person: int, box: np.ndarray) -> np.ndarray:
    """[H, W] bool: the pixels of one ``person``, all of which are in ``box``, as `Claims.window`."""
    mask = np.zeros(owner.shape, bool)
    top, bottom, left, right = box
    np.equal(owner[top:bottom, left:right], person, out=mask[top:bottom, left:right])
    return mask


@numba.njit(cache=True, nogil=True)
def extents(depth, owner, window, count):
    """Of ``count`` people the sum of squared depths [count] and the box [count, 4], as `Claims.window`; 0 without any
    pixel."""
    squares, box = np.zeros(count), np.zeros((count, 4), np.int64)
    top, bottom, left, right = window
    for v in range(top, bottom):
        for u in range(left, right):
            k = owner[v, u]
            if k < 0:
                continue
            if squares[k] == 0.0:
                box[k, 0], box[k, 2], box[k, 3] = v, u, u + 1
            squares[k] += np.float64(depth[v, u]) ** 2
            box[k, 1] = v + 1
            box[k, 2], box[k, 3] = min(box[k, 2], u), max(box[k, 3], u + 1)
    return squares, box


@numba.njit(cache=True, nogil=True)
def _active(mask):
    """[65, 65] bool: whether a pixel whose upper left cell is (i - 1, j - 1) has a likely cell among the 16 nearest."""
    cells = mask.shape[0]
    result = np.zeros((cells + 1, cells + 1), np.bool_)
    for i in range(cells):
        for j in range(cells):
            if mask[i, j] > _ACTIVE:
                for a in range(max(i - 1, 0), min(i + 3, cells + 1)):
                    for b in range(max(j - 1, 0), min(j + 3, cells + 1)):
                        result[a, b] = True
    return result


@numba.njit(cache=True, nogil=True)
def _depth_range(active, valid, ahead):
    """Nearest and farthest of the 16 cells around a pixel whose upper left cell is (i - 1, j - 1): twice [65, 65].

    Where the pixel is not active the nearest is beyond the farthest, so that no depth lies between.
    """
    cells = valid.shape[0]
    low = np.full((cells + 1, cells + 1), np.float32(_NOWHERE))
    high = np.full((cells + 1, cells + 1), np.float32(-_NOWHERE))
    row_low, row_high = np.empty((cells, cells + 1), np.float32), np.empty((cells, cells + 1), np.float32)
    for i in range(cells):
        for b in range(cells + 1):
            near, far = np.float32(_NOWHERE), np.float32(-_NOWHERE)
            for j in range(max(b - 2, 0), min(b + 2, cells)):
                if valid[i, j]:
                    near, far = min(near, ahead[i, j]), max(far, ahead[i, j])
            row_low[i, b], row_high[i, b] = near, far
    for a in range(cells + 1):
        for b in range(cells + 1):
            if active[a, b]:
                for i in range(max(a - 2, 0), min(a + 2, cells)):
                    low[a, b], high[a, b] = min(low[a, b], row_low[i, b]), max(high[a, b], row_high[i, b])
    return low, high


@numba.njit(cache=True, nogil=True)
def _sums(active):
    """[66, 66] int32: how many are active above and left of (a, b), for counting in rectangles."""
    size = active.shape[0]
    result = np.zeros((size + 1, size + 1), np.int32)
    for a in range(size):
        row = 0
        for b in range(size):
            row += active[a, b]
            result[a + 1, b + 1] = result[a, b + 1] + row
    return result


@numba.njit(cache=True, nogil=True)
def _image_window(active, rotation, crop, camera, height, width):
    """First row, last row + 1, first column, last column + 1 that hold all active pixels; empty without any."""
    fx, fy, cx, cy = camera
    focal, middle = crop[0], crop[1]
    size = active.shape[0]
    first_row, last_row, first_column, last_column = size, -1, size, -1
    for a in range(size):
        for b in range(size):
            if active[a, b]:
                first_row, last_row = min(first_row, a), max(last_row, a)
                first_column, last_column = min(first_column, b), max(last_column, b)
    if last_row < 0:
        return 0, 0, 0, 0
    top, bottom, left, right = np.inf, -np.inf, np.inf, -np.inf
    # A pixel is at most one cell right of and below its upper left cell.
    for i in (first_row - 1.0, float(last_row)):
        for j in (first_column - 1.0, float(last_column)):
            a, b = (STRIDE * j - middle) / focal, (STRIDE * i - middle) / focal
            ahead = rotation[0, 2] * a + rotation[1, 2] * b + rotation[2, 2]
            if ahead < 1e-3:  # a corner behind the camera: its projection says nothing
                return 0, height, 0, width
            x = fx * (rotation[0, 0] * a + rotation[1, 0] * b + rotation[2, 0]) / ahead + cx
            y = fy * (rotation[0, 1] * a + rotation[1, 1] * b + rotation[2, 1]) / ahead + cy
            top, bottom, left, right = min(top, y), max(bottom, y), min(left, x), max(right, x)
    return (
        int(min(max(math.floor(top), 0), height)),
        int(min(max(math.ceil(bottom) + 1, 0), height)),
        int(min(max(math.floor(left), 0), width)),
        int(min(max(math.ceil(right) + 1, 0), width)),
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _likeness(ahead, cell, inverse):
    """How surely two depths are of one surface: 1 for equal ones, 1/4 at 1 / ``inverse`` apart."""
    off = (ahead - cell) * inverse
    value = np.float32(1.0) / (np.float32(1.0) + off * off)
    return value * value


@numba.njit(cache=True, nogil=True)
def _claim(
    depth, camera, rotation, crop, valid, mask, cell_ahead, part, scores, vertex, similarity, person, surface, least,
    owner, likelihood, locating, parts, vertices, similarities,
):  # fmt: skip
    fx, fy, cx, cy = camera
    focal, middle, distance = crop
    active = _active(mask)
    top, bottom, left, right = _image_window(active, rotation, crop, camera, depth.shape[0], depth.shape[1])
    low, high = _depth_range(active, valid, cell_ahead)
    sums = _sums(active)
    nearest, farthest = low.min(), high.max()
    cells = mask.shape[0]
    # Two rings of cells without a reading around the others, so that no pixel needs to ask where the border is.
    z = np.full((cells + 4, cells + 4), np.float32(_NOWHERE), np.float32)
    m = np.zeros((cells + 4, cells + 4), np.float32)
    for i in range(cells):
        for j in range(cells):
            if valid[i, j]:
                z[i + 2, j + 2] = cell_ahead[i, j]
                m[i + 2, j + 2] = mask[i, j]
    # Whether all four cells from here on are surely the person's, and of one part.
    inside = np.zeros((cells + 4, cells + 4), np.bool_)
    for i in range(2, cells + 1):
        for j in range(2, cells + 1):
            if min(min(m[i, j], m[i, j + 1]), min(m[i + 1, j], m[i + 1, j + 1])) > _SURE:
                same = part[i - 2, j - 2]
                inside[i, j] = part[i - 2, j - 1] == same and part[i - 1, j - 2] == same and part[i - 1, j - 1] == same
    inverse = np.float32(1.0 / surface)
    reach = np.float32(_FAR_OFF * surface)
    nearest, farthest = nearest - reach, farthest + reach
    least_alike, little = np.float32(_LEAST_ALIKE), np.float32(_LITTLE)
    half = np.float32(1.0 / STRIDE)
    across, down, ahead_step = rotation[0, 0] / fx, rotation[1, 0] / fx, rotation[2, 0] / fx
    # In blocks, so that those that none of the person's cells is near to are left out at once.
    for block_v in range(top, bottom, _BLOCK):
        end_v = min(block_v + _BLOCK, bottom)
        for block_u in range(left, right, _BLOCK):
            end_u = min(block_u + _BLOCK, right)
            # Where the block's corners are among the cells; lines stay lines, so the block lies between them.
            x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
            in_front = True
            for v in (block_v, end_v - 1):
                ray_y = (v - cy) / fy
                for u in (block_u, end_u - 1):
                    ray_x = (u - cx) / fx
                    ahead = rotation[2, 0] * ray_x + rotation[2, 1] * ray_y + rotation[2, 2]
                    if ahead < 1e-6:
                        in_front = False
                        break
                    scale = focal / ahead
                    x = half * (scale * (rotation[0, 0] * ray_x + rotation[0, 1] * ray_y + rotation[0, 2]) + middle)
                    y = half * (scale * (rotation[1, 0] * ray_x + rotation[1, 1] * ray_y + rotation[1, 2]) + middle)
                    x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
            if in_front:
                first = max(math.floor(x0 + 1.0 - _ROUNDING), 0)
                last = min(math.floor(x1 + 1.0 + _ROUNDING), cells) + 1
                upper = max(math.floor(y0 + 1.0 - _ROUNDING), 0)
                lower = min(math.floor(y1 + 1.0 + _ROUNDING), cells) + 1
                if first >= last or upper >= lower:
                    continue
                if sums[lower, last] - sums[upper, last] - sums[lower, first] + sums[upper, first] == 0:
                    continue
            for v in range(block_v, end_v):
                ray_y = (v - cy) / fy
                # The ray through pixel u in the crop's axes is start + u * step: the cameras share their place.
                ax = rotation[0, 1] * ray_y + rotation[0, 2] - across * cx
                ay = rotation[1, 1] * ray_y + rotation[1, 2] - down * cx
                az = rotation[2, 1] * ray_y + rotation[2, 2] - ahead_step * cx
                for u in range(block_u, end_u):
                    ahead = az + ahead_step * u
                    at = np.float32(depth[v, u] * ahead - distance)  # in the crop frame
                    if depth[v, u] <= 0.0 or at < nearest or at > farthest or ahead < 1e-6:
                        continue
                    scale = focal / ahead
                    x = (scale * (ax + across * u) + middle) * half
                    y = (scale * (ay + down * u) + middle) * half
                    if not (-1.0 <= x < cells and -1.0 <= y < cells):
                        continue
                    j, i = int(x + 1.0), int(y + 1.0)  # of the upper left cell, in the enlarged arrays one less
                    if at < low[i, j] - reach or at > high[i, j] + reach:
                        continue
                    s, t = np.float32(x + 1.0 - j), np.float32(y + 1.0 - i)
                    i += 1
                    j += 1
                    if inside[i, j]:
                        # Well inside a person, the nearest cell answers alone if it is of this surface.
                        row, column = i + int(t + half), j + int(s + half)
                        off = (at - z[row, column]) * inverse
                        if abs(off) <= _SAME_OFF:
                            probability = m[row, column]
                            if probability > likelihood[v, u]:
                                owner[v, u] = person
                                likelihood[v, u] = probability
                                if locating:
                                    parts[v, u] = part[row - 2, column - 2]
                                    vertices[v, u] = vertex[row - 2, column - 2]
                                    similarities[v, u] = similarity[row - 2, column - 2]
                            continue
                    r, q = np.float32(1.0) - s, np.float32(1.0) - t
                    a, b = _likeness(at, z[i, j], inverse), _likeness(at, z[i, j + 1], inverse)
                    c, d = _likeness(at, z[i + 1, j], inverse), _likeness(at, z[i + 1, j + 1], inverse)
                    if max(max(a, b), max(c, d)) >= least_alike:
                        # A little weight even to the far cell: it may be the only one on this surface.
                        a *= q * r + little
                        b *= q * s + little
                        c *= t * r + little
                        d *= t * s + little
                        total = a + b + c + d
                        a *= m[i, j]
                        b *= m[i, j + 1]
                        c *= m[i + 1, j]
                        d *= m[i + 1, j + 1]
                        probability = (a + b + c + d) / total
                        if probability <= least or probability <= likelihood[v, u]:
                            continue
                        row, column = (i, j) if a >= b else (i, j + 1)
                        below, beside = (i + 1, j) if c >= d else (i + 1, j + 1)
                        if max(c, d) > max(a, b):
                            row, column = below, beside
                        blended = True
                    else:
                        # None of the four is of this surface: a thin limb between cells. The nearest in depth of 16.
                        best = least_alike
                        row, column = -1, -1
                        for k in range(i - 1, i + 3):
                            for n in range(j - 1, j + 3):
                                like = _likeness(at, z[k, n], inverse)
                                if like > best:
                                    best = like
                                    row, column = k, n
                        if row < 0:
                            continue
                        probability = m[row, column]
                        blended = False
                    row -= 2
                    column -= 2
                    if probability <= least or probability <= likelihood[v, u] or vertex[row, column] < 0:
                        continue
                    owner[v, u] = person
                    likelihood[v, u] = probability
                    if locating:
                        chosen = part[row, column]
                        if blended:
                            chosen = _blended_part(chosen, part, scores, i - 2, j - 2, a, b, c, d)
                        parts[v, u] = chosen
                        vertices[v, u] = vertex[row, column]
                        similarities[v, u] = similarity[row, column]
    return top, bottom, left, right


@numba.njit(cache=True, nogil=True)
def _blended_part(chosen, part, scores, i, j, a, b, c, d):
    """The part whose score, blended with weights as the mask is, is highest: borders between parts run within cells.

    The weights are those of the cells (i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1); a cell without a part has none.
    """
    cells = part.shape[0]
    highest = np.float32(-np.inf)
    for k in range(4):
        y0, x0 = i + k // 2, j + k % 2
        if not (0 <= y0 < cells and 0 <= x0 < cells) or part[y0, x0] >= scores.shape[0]:
            continue
        p = part[y0, x0]
        if p == chosen and highest > -np.inf:
            continue
        score = np.float32(0.0)
        if a > 0 and part[i, j] != NO_PART:
            score += a * scores[p, i, j]
        if b > 0 and part[i, j + 1] != NO_PART:
            score += b * scores[p, i, j + 1]
        if c > 0 and part[i + 1, j] != NO_PART:
            score += c * scores[p, i + 1, j]
        if d > 0 and part[i + 1, j + 1] != NO_PART:
            score += d * scores[p, i + 1, j + 1]
        if score > highest:
            highest = score
            chosen = p
    return chosen


def upsample_reference(
    frame: Frame, reading: BodyReading, owners: Sequence[Sequence[int]], config: UpsamplingConfig
) -> Claims:
    """:func:`upsample`, written to be read: one pixel and one person at a time."""
    shape = frame.depth.shape
    owner, likelihood = np.full(shape, -1, np.int16), np.zeros(shape, np.float32)
    parts, vertices = np.full(shape, NO_PART, np.uint8), np.full(shape, -1, np.int16)
    similarity = np.zeros(shape, np.float32)
    rays = frame.intrinsics.pinhole.rays().astype(np.float64)

    def likeness(a: float, b: float, surface: float) -> float:
        return (1.0 + ((a - b) / surface) ** 2) ** -2

    for v, u in zip(*np.nonzero(frame.depth > 0), strict=True):
        for person, n in ((person, n) for person, indices in enumerate(owners) for n in indices):
            crop = reading.crops[n]
            direction = crop.rotation @ rays[v, u]
            if direction[2] < 1e-6:
                continue
            pixel = crop.focal * direction[:2] / direction[2] + 0.5 * (crop.size - 1)
            x, y = pixel / STRIDE
            if not (-1 <= x < CELLS and -1 <= y < CELLS):
                continue
            at = float(crop.to_crop(rays[v, u] * frame.depth[v, u])[2])
            j, i = int(np.floor(x)), int(np.floor(y))

            def around(reach: int, i: int = i, j: int = j, n: int = n) -> list[tuple[int, int]]:
                sides = range(1 - reach, 1 + reach)
                cells = [(i + a, j + b) for a in sides for b in sides]
                return [(a, b) for a, b in cells if 0 <= a < CELLS and 0 <= b < CELLS and reading.valid[n, a, b]]

            if not any(reading.mask[n, a, b] > _ACTIVE for a, b in around(2)):
                continue
            like = {cell: likeness(at, float(reading.ahead[n][cell]), config.surface_at(crop)) for cell in around(2)}
            near = {(a, b): (1 - abs(y - a)) * (1 - abs(x - b)) + _LITTLE for a, b in around(1)}
            nearest = (int(np.floor(y + 0.5)), int(np.floor(x + 0.5)))
            inside = len(near) == 4 and all(reading.mask[n][cell] > _SURE for cell in near)
            inside = inside and len({int(reading.part[n][cell]) for cell in near}) == 1
            weight: dict[tuple[int, int], float] = {}
            if inside and like[nearest] >= _SAME:
                cell, probability = nearest, float(reading.mask[n][nearest])
            elif max((like[cell] for cell in near), default=0.0) >= _LEAST_ALIKE:
                weight = {cell: near[cell] * like[cell] for cell in near}
                probability = sum(w * float(reading.mask[n][c]) for c, w in weight.items()) / sum(weight.values())
                cell = max(weight, key=lambda cell: weight[cell] * reading.mask[n][cell])
            else:
                cell = max(like, key=lambda cell: like[cell])
                if like[cell] <= _LEAST_ALIKE:
                    continue
                probability = float(reading.mask[n][cell])
            if probability > max(config.least_likely, likelihood[v, u]) and reading.vertex[n][cell] >= 0:
                owner[v, u], likelihood[v, u] = person, probability
                known = {c: w for c, w in weight.items() if reading.part[n][c] != NO_PART}
                scores = np.moveaxis(reading.part_scores[n], 0, -1)
                blended = sum((w * reading.mask[n][c] * scores[c] for c, w in known.items()), np.zeros(24))
                candidates = [int(reading.part[n][c]) for c in known]
                parts[v, u] = max(candidates, key=lambda p: blended[p], default=reading.part[n][cell])
                vertices[v, u] = reading.vertex[n][cell]
                similarity[v, u] = reading.similarity[n][cell]
    return Claims(owner, likelihood, (0, shape[0], 0, shape[1]), lambda: Places(parts, vertices, similarity))
