"""From BodyNet's cells to the pixels of the frame, along the edges of the depth image.

Joint bilateral upsampling (Kopf et al., SIGGRAPH 2007) with the depth as guide: a pixel takes the answer of the cells
near it whose surface it is on, so a mask ends where the surface ends and not somewhere within a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.body_net import CELLS, NO_PART, STRIDE, BodyReading
from human_recon.perception.crops import CropCamera

_ACTIVE = 0.05  # a pixel none of whose cells is this likely the person's is not
_LEAST_ALIKE = 0.05  # cells less like a pixel are of another surface
_SURE = 0.9  # probability of a person's cell well inside them
_SAME = 0.25  # cells as like a pixel are of the same surface
_LITTLE = 0.02  # weight added to the bilinear ones
_NOWHERE = 1e6  # metres: where a cell without a reading is


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
class Claims:
    """Whose each pixel of the frame is."""

    owner: np.ndarray  # [H, W] int16, index of the person, -1 = nobody
    likelihood: np.ndarray  # [H, W] float32, the owner's probability, 0 of nobody
    parts: np.ndarray  # [H, W] uint8, NO_PART of nobody
    vertices: np.ndarray  # [H, W] int16, -1 of nobody
    similarity: np.ndarray  # [H, W] float32, 0 of nobody


def upsample(frame: Frame, reading: BodyReading, owners: Sequence[Sequence[int]], config: UpsamplingConfig) -> Claims:
    """Let people claim the frame's pixels; a pixel that several claim goes to the likeliest.

    ``owners`` are the people, each a few proposals by index that claim for them. The frame must be undistorted.
    """
    shape = frame.depth.shape
    claims = Claims(
        owner=np.full(shape, -1, np.int16),
        likelihood=np.zeros(shape, np.float32),
        parts=np.full(shape, NO_PART, np.uint8),
        vertices=np.full(shape, -1, np.int16),
        similarity=np.zeros(shape, np.float32),
    )
    camera = frame.intrinsics
    for person, n in ((person, n) for person, indices in enumerate(owners) for n in indices):
        crop = reading.crops[n]
        active = _active(reading.mask[n])
        window = _image_window(active, crop, camera)
        if window is None:
            continue
        _claim(
            frame.depth,
            (camera.fx, camera.fy, camera.cx, camera.cy),
            crop.rotation,
            (crop.focal, 0.5 * (crop.size - 1), float(np.linalg.norm(crop.centre))),
            window,
            active,
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
            claims.owner,
            claims.likelihood,
            claims.parts,
            claims.vertices,
            claims.similarity,
        )
    return claims


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


def _image_window(active: np.ndarray, crop: CropCamera, camera: CameraIntrinsics) -> tuple[int, int, int, int] | None:
    """First row, last row + 1, first column, last column + 1 that hold all active pixels; None without any."""
    rows, columns = np.flatnonzero(active.any(1)), np.flatnonzero(active.any(0))
    if len(rows) == 0:
        return None
    # A pixel is at most one cell right of and below its upper left cell.
    v = STRIDE * (np.array([rows[0], rows[0], rows[-1] + 1, rows[-1] + 1]) - 1.0)
    u = STRIDE * (np.array([columns[0], columns[-1] + 1, columns[0], columns[-1] + 1]) - 1.0)
    middle = 0.5 * (crop.size - 1)
    rays = np.stack([(u - middle) / crop.focal, (v - middle) / crop.focal, np.ones(4)], axis=-1) @ crop.rotation
    if (rays[:, 2] < 1e-3).any():  # a corner behind the camera: its projection says nothing
        return 0, camera.height, 0, camera.width
    x, y = camera.fx * rays[:, 0] / rays[:, 2] + camera.cx, camera.fy * rays[:, 1] / rays[:, 2] + camera.cy
    top, bottom = np.clip([np.floor(y.min()), np.ceil(y.max()) + 1], 0, camera.height)
    left, right = np.clip([np.floor(x.min()), np.ceil(x.max()) + 1], 0, camera.width)
    return int(top), int(bottom), int(left), int(right)


@numba.njit(cache=True, nogil=True, inline="always")
def _likeness(ahead, cell, inverse):
    """How surely two depths are of one surface: 1 for equal ones, 1/4 at 1 / ``inverse`` apart."""
    off = (ahead - cell) * inverse
    value = np.float32(1.0) / (np.float32(1.0) + off * off)
    return value * value


@numba.njit(cache=True, nogil=True)
def _claim(
    depth, camera, rotation, crop, window, active, valid, mask, cell_ahead, part, scores, vertex, similarity,
    person, surface, least, owner, likelihood, parts, vertices, similarities,
):  # fmt: skip
    fx, fy, cx, cy = camera
    focal, middle, distance = crop
    top, bottom, left, right = window
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
    for i in range(cells + 3):
        for j in range(cells + 3):
            if min(min(m[i, j], m[i, j + 1]), min(m[i + 1, j], m[i + 1, j + 1])) > _SURE:
                same = part[i - 2, j - 2]
                inside[i, j] = part[i - 2, j - 1] == same and part[i - 1, j - 2] == same and part[i - 1, j - 1] == same
    inverse = np.float32(1.0 / surface)
    least_alike, little = np.float32(_LEAST_ALIKE), np.float32(_LITTLE)
    half = np.float32(1.0 / STRIDE)
    across, down, ahead_step = rotation[0, 0] / fx, rotation[1, 0] / fx, rotation[2, 0] / fx
    for v in range(top, bottom):
        ray_y = (v - cy) / fy
        # The ray through pixel u in the crop's axes is start + u * step: the cameras share their place.
        ax = rotation[0, 1] * ray_y + rotation[0, 2] - across * cx
        ay = rotation[1, 1] * ray_y + rotation[1, 2] - down * cx
        az = rotation[2, 1] * ray_y + rotation[2, 2] - ahead_step * cx
        for u in range(left, right):
            if depth[v, u] <= 0.0:
                continue
            ahead = az + ahead_step * u
            if ahead < 1e-6:
                continue
            scale = focal / ahead
            x = (scale * (ax + across * u) + middle) * half
            y = (scale * (ay + down * u) + middle) * half
            if not (-1.0 <= x < cells and -1.0 <= y < cells):
                continue
            j, i = int(x + 1.0), int(y + 1.0)  # of the upper left cell, in the enlarged arrays one less than there
            if not active[i, j]:
                continue
            at = np.float32(depth[v, u] * ahead - distance)  # in the crop frame
            s, t = np.float32(x + 1.0 - j), np.float32(y + 1.0 - i)
            r, q = np.float32(1.0) - s, np.float32(1.0) - t
            i += 1
            j += 1
            # Well inside a person, the nearest cell answers alone if it is of this surface.
            row, column = i + int(t + half), j + int(s + half)
            if inside[i, j] and _likeness(at, z[row, column], inverse) >= _SAME:
                probability = m[row, column]
                if probability > likelihood[v, u]:
                    owner[v, u] = person
                    likelihood[v, u] = probability
                    parts[v, u] = part[row - 2, column - 2]
                    vertices[v, u] = vertex[row - 2, column - 2]
                    similarities[v, u] = similarity[row - 2, column - 2]
                continue
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
                row, column = (i, j) if a >= b else (i, j + 1)
                below, beside = (i + 1, j) if c >= d else (i + 1, j + 1)
                if max(c, d) > max(a, b):
                    row, column = below, beside
                blended = True
            else:
                # None of the four is of this surface: a thin limb between cells. The one nearest in depth of the 16.
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
            chosen = part[row, column]
            if blended:
                # The part whose score, blended as the mask is, is highest: borders between parts run within cells.
                highest = np.float32(-np.inf)
                for k in range(4):
                    y0, x0 = i - 2 + k // 2, j - 2 + k % 2
                    if not (0 <= y0 < cells and 0 <= x0 < cells) or part[y0, x0] >= scores.shape[2]:
                        continue
                    p = part[y0, x0]
                    if p == chosen and highest > -np.inf:
                        continue
                    score = np.float32(0.0)
                    if a > 0:
                        score += a * scores[i - 2, j - 2, p]
                    if b > 0:
                        score += b * scores[i - 2, j - 1, p]
                    if c > 0:
                        score += c * scores[i - 1, j - 2, p]
                    if d > 0:
                        score += d * scores[i - 1, j - 1, p]
                    if score > highest:
                        highest = score
                        chosen = p
            owner[v, u] = person
            likelihood[v, u] = probability
            parts[v, u] = chosen
            vertices[v, u] = vertex[row, column]
            similarities[v, u] = similarity[row, column]


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
                blended = sum(
                    (w * reading.mask[n][c] * reading.part_scores[n][c] for c, w in weight.items()), np.zeros(24)
                )
                candidates = [int(reading.part[n][c]) for c in weight if reading.part[n][c] < 24]
                parts[v, u] = max(candidates, key=lambda p: blended[p], default=reading.part[n][cell])
                vertices[v, u] = reading.vertex[n][cell]
                similarity[v, u] = reading.similarity[n][cell]
    return Claims(owner, likelihood, parts, vertices, similarity)
