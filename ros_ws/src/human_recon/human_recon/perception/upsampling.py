"""From BodyNet's cells to the pixels of the frame, along the edges of the depth image.

Joint bilateral upsampling (Kopf et al., SIGGRAPH 2007) with the depth as guide: a pixel takes the answer of the cells
near it whose surface it is on, so a mask ends where the surface ends and not somewhere within a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.body_net import CELLS, NO_PART, STRIDE, BodyReading
from human_recon.perception.crops import CropCamera

_ACTIVE = 0.05  # a pixel none of whose cells is this likely the person's is not


@dataclass(frozen=True)
class UpsamplingConfig:
    """How pixels take over what cells say."""

    surface: float = 0.05  # metres of depth across which surfaces count as different
    least_likely: float = 0.5  # probability above which a pixel is somebody's


@dataclass(frozen=True, eq=False)
class Claims:
    """Whose each pixel of the frame is."""

    owner: np.ndarray  # [H, W] int16, index of the person, -1 = nobody
    likelihood: np.ndarray  # [H, W] float32, the owner's probability, 0 of nobody
    parts: np.ndarray  # [H, W] uint8, NO_PART of nobody
    vertices: np.ndarray  # [H, W] int16, -1 of nobody
    similarity: np.ndarray  # [H, W] float32, 0 of nobody


def upsample(frame: Frame, reading: BodyReading, chosen: list[int], config: UpsamplingConfig) -> Claims:
    """Let the ``chosen`` proposals claim the frame's pixels; a pixel that several claim goes to the likeliest.

    Owners are indices into ``chosen``. The frame must be undistorted.
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
    for person, n in enumerate(chosen):
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
            reading.vertex[n],
            reading.similarity[n],
            person,
            config.surface,
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
def _likeness(ahead, cell, surface):
    """How surely two depths are of one surface: 1 for equal ones, 1/4 at ``surface`` apart."""
    off = (ahead - cell) / surface
    value = 1.0 / (1.0 + off * off)
    return value * value


@numba.njit(cache=True, nogil=True)
def _claim(
    depth, camera, rotation, crop, window, active, valid, mask, cell_ahead, part, vertex, similarity,
    person, surface, least, owner, likelihood, parts, vertices, similarities,
):  # fmt: skip
    fx, fy, cx, cy = camera
    focal, middle, distance = crop
    top, bottom, left, right = window
    cells = mask.shape[0]
    weights = np.empty(4)
    for v in range(top, bottom):
        ray_y = (v - cy) / fy
        # The ray through pixel u in the crop's axes is start + u * step: the cameras share their place.
        ax = rotation[0, 1] * ray_y + rotation[0, 2] - rotation[0, 0] * cx / fx
        ay = rotation[1, 1] * ray_y + rotation[1, 2] - rotation[1, 0] * cx / fx
        az = rotation[2, 1] * ray_y + rotation[2, 2] - rotation[2, 0] * cx / fx
        for u in range(left, right):
            z = depth[v, u]
            if z <= 0.0:
                continue
            ahead = az + rotation[2, 0] / fx * u
            if ahead < 1e-6:
                continue
            x = (focal * (ax + rotation[0, 0] / fx * u) / ahead + middle) / STRIDE
            y = (focal * (ay + rotation[1, 0] / fx * u) / ahead + middle) / STRIDE
            if not (-1.0 <= x < cells and -1.0 <= y < cells):
                continue
            j, i = int(x + 1.0) - 1, int(y + 1.0) - 1
            if not active[i + 1, j + 1]:
                continue
            at = z * ahead - distance  # in the crop frame
            s, t = x - j, y - i
            total = 0.0
            claim = 0.0
            alike = 0.0
            for k in range(4):
                a, b = i + k // 2, j + k % 2
                weights[k] = 0.0
                if 0 <= a < cells and 0 <= b < cells and valid[a, b]:
                    like = _likeness(at, cell_ahead[a, b], surface)
                    alike = max(alike, like)
                    # A little weight even at the far cell: it may be the only one on this surface.
                    near = (t if k // 2 else 1.0 - t) * (s if k % 2 else 1.0 - s) + 0.02
                    weights[k] = near * like
                    total += weights[k]
                    claim += weights[k] * mask[a, b]
            if alike < 0.05:
                # None of the four is of this surface: a thin limb between cells. The nearest in depth of the next ring.
                best = 0.05
                where = -1
                for k in range(16):
                    a, b = i - 1 + k // 4, j - 1 + k % 4
                    if 0 <= a < cells and 0 <= b < cells and valid[a, b]:
                        like = _likeness(at, cell_ahead[a, b], surface)
                        if like > best:
                            best = like
                            where = a * cells + b
                if where < 0:
                    continue
                a, b = where // cells, where % cells
                probability = 1.0 * mask[a, b]
            else:
                probability = claim / total
                top_weight = -1.0
                a, b = -1, -1
                for k in range(4):
                    if weights[k] > 0.0:
                        value = weights[k] * mask[i + k // 2, j + k % 2]
                        if value > top_weight:
                            top_weight = value
                            a, b = i + k // 2, j + k % 2
            if probability <= least or probability <= likelihood[v, u] or vertex[a, b] < 0:
                continue
            owner[v, u] = person
            likelihood[v, u] = probability
            parts[v, u] = part[a, b]
            vertices[v, u] = vertex[a, b]
            similarities[v, u] = similarity[a, b]


def upsample_reference(frame: Frame, reading: BodyReading, chosen: list[int], config: UpsamplingConfig) -> Claims:
    """:func:`upsample`, written to be read: one pixel and one person at a time."""
    shape = frame.depth.shape
    owner, likelihood = np.full(shape, -1, np.int16), np.zeros(shape, np.float32)
    parts, vertices = np.full(shape, NO_PART, np.uint8), np.full(shape, -1, np.int16)
    similarity = np.zeros(shape, np.float32)
    rays = frame.intrinsics.pinhole.rays().astype(np.float64)

    def likeness(a: float, b: float) -> float:
        return (1.0 + ((a - b) / config.surface) ** 2) ** -2

    for v, u in zip(*np.nonzero(frame.depth > 0), strict=True):
        for person, n in enumerate(chosen):
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
            like = {cell: likeness(at, float(reading.ahead[n][cell])) for cell in around(2)}
            near = {(a, b): (1 - abs(y - a)) * (1 - abs(x - b)) + 0.02 for a, b in around(1)}
            if max((like[cell] for cell in near), default=0.0) >= 0.05:
                weight = {cell: near[cell] * like[cell] for cell in near}
                probability = sum(w * float(reading.mask[n][c]) for c, w in weight.items()) / sum(weight.values())
                cell = max(weight, key=lambda cell: weight[cell] * reading.mask[n][cell])
            else:
                cell = max(like, key=lambda cell: like[cell])
                if like[cell] <= 0.05:
                    continue
                probability = float(reading.mask[n][cell])
            if probability > max(config.least_likely, likelihood[v, u]) and reading.vertex[n][cell] >= 0:
                owner[v, u], likelihood[v, u] = person, probability
                parts[v, u], vertices[v, u] = reading.part[n][cell], reading.vertex[n][cell]
                similarity[v, u] = reading.similarity[n][cell]
    return Claims(owner, likelihood, parts, vertices, similarity)
