"""Depth from disparity: what structured light and stereo have in common, as one compiled pass over the image.

Three steps per row and pixel, all in native pixels (``stride`` of them per rendered pixel):

1. *Seen?* A surface must be lit by the projector and seen by the other camera: each is a pinhole moved along x by o, in
   whose image a pixel at column u and depth z lies at u - f o / z. What lies behind something nearer there is hidden:
   to the left of an object for o > 0, over f o (1 / z_near - 1 / z_far) pixels. The matching window still finds the
   nearer surface in the first pixels beside it: objects grow into their shadow.
2. *Enough signal?* reflectance cos(incidence) (reach / z)^2, times two random fields (a smooth and a ragged one), must
   exceed 1 (hair: cosine squared). Disparity f b / z then gets its error: noise correlated over the matching window,
   noise of single pixels, column bands; the noise grows with the angle of incidence.
3. *Which surface?* Where two meet, the window decides for one of them: every pixel looks a little way aside, by a
   smooth random field, takes over a surface it finds there, and fills what has no reading of its own. Then disparity
   is rounded to its steps and depth to whole millimetres. Outside of the other camera's image there is no reading.

:func:`measure_reference` says the same in plain numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from scipy.special import ndtri

from human_recon.simulation.outfit import Material
from human_recon.simulation.randomness import hash_bits, hash_uniform
from human_recon.simulation.sensors.fields import (
    LATTICE_ROW,
    axis,
    bits_reference,
    brick_bits,
    brick_rows,
    bricks_reference,
    interpolate_reference,
    interpolate_row,
    lattice_reference,
    normal_lattice,
    normal_of_36_bits,
    ray_scales,
    subkey,
)

_NEAREST = 0.2  # metres, what is nearer is not there: it hides nothing either
# Fibres scatter light aside: heads lose their rims first (real frame). Surface codes: see surfaces.py.
_PLAIN, _FIBRES, _HAIR = 255, 128 + 7, int(Material.HAIR)
# Steps of a low-discrepancy sequence in two dimensions: the plastic number's inverse and its square.
_GOLDEN_X, _GOLDEN_Y = 0.7548776662466927, 0.5698402909980532
_SHARE = 1.0 / 32768.0
_NORMAL_QUANTILES = ndtri((np.arange(256) + 0.5) / 256.0)


class Triangulation(NamedTuple):
    """What the pass needs to know; lengths in native pixels of the image, unless said otherwise."""

    projector: float  # f o of the projector, pixel metres; 0 = it stands where the image is taken from
    camera: float  # f o of the other camera
    shadow: bool  # whether surfaces hide others from projector and other camera
    limits: tuple[float, float, float, float]  # first and last column, first and last row of the other camera's image
    limit_camera: bool  # whether the other camera's image ends
    disparity: float  # f b, pixel metres, of the disparity that is measured
    step: float  # pixels, disparity's quantisation; 0 = none
    phase: float  # of the steps, in steps
    rounding: float  # metres, of the depth; 0 = none
    near: float  # metres
    far: float  # metres
    blob: tuple[float, float]  # pixels, width and height of a cell of the correlated noise
    blob_sigma: float  # pixels of disparity
    pixel_sigma: float  # pixels of disparity, uncorrelated
    grazing: float  # noise grows by 1 + grazing (1 / cos(incidence) - 1)
    band: float  # pixels of disparity, height of the column bands' saw-tooth
    band_width: float  # pixels
    fill: float  # pixels of a shadow, beside what throws it, that get its depth
    brick: float  # pixels, side of a piece of a hole
    warp: float  # pixels, cell of the field that says how far pixels look aside
    jitter: float  # pixels, how far they look aside at most
    fatten: bool  # whether they look to the opposite side as well, and prefer the nearer surface
    smooth: float  # pixels, half of the window that flattens; 0 = none
    edge: float  # pixels of disparity that make two surfaces
    reach: float  # metres at which a white wall seen at normal incidence is just measured; inf = always
    drop: bool  # whether what is weaker has no reading
    cloud: float  # pixels, cell of the smooth signal field
    cloud_sigma: float  # of its logarithm
    ragged_sigma: float  # of the logarithm of the ragged field, constant in bricks
    holes: float  # share of bricks without a reading
    outliers: float  # share of weak bricks with a wrong match
    outlier_reach: float  # pixels of disparity, size of the wrong matches' error


def measure(
    depth: np.ndarray,  # [H, W] float32, metres, 0 = nothing
    normal: np.ndarray | None,  # [H, W, 3], camera frame
    codes: np.ndarray | None,  # [H, W] uint8
    camera: tuple[float, float, float, float],  # fx, fy, cx, cy of the rendered image
    stride: float,
    key: int,
    reflectance: np.ndarray,  # [256] of the surface codes
    parameters: Triangulation,
) -> np.ndarray:
    """The measured depth, [H, W] float32 metres, 0 = no reading."""
    height, width = depth.shape
    parameters = _decorrelated(parameters, stride)
    vertical, horizontal = axis(height, stride, parameters.blob[1]), axis(width, stride, parameters.blob[0])
    smooth_vertical, smooth_horizontal = axis(height, stride, parameters.cloud), axis(width, stride, parameters.cloud)
    return _measure(
        depth,
        normal if normal is not None else np.zeros((0, 0, 3), np.float32),
        codes if codes is not None else np.zeros((0, 0), np.uint8),
        *camera,
        float(stride),
        (subkey(key, 1), subkey(key, 2), subkey(key, 3), subkey(key, 4), subkey(key, 5)),
        reflectance,
        ragged_levels(parameters.ragged_sigma),
        vertical,
        horizontal,
        smooth_vertical,
        smooth_horizontal,
        axis(height, stride, parameters.warp),
        axis(width, stride, parameters.warp),
        ray_scales(height, width, *camera),
        parameters,
    )


def _decorrelated(parameters: Triangulation, stride: float) -> Triangulation:
    """Where the pixels are farther apart than a blob is wide its noise is that of single pixels, and cheaper so."""
    if stride < min(parameters.blob) or parameters.blob_sigma == 0.0:
        return parameters
    return parameters._replace(blob_sigma=0.0, pixel_sigma=math.hypot(parameters.blob_sigma, parameters.pixel_sigma))


def ragged_levels(sigma: float) -> np.ndarray:
    """[256] float64: equally likely values of a log-normal of median 1."""
    return np.exp(sigma * _NORMAL_QUANTILES)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _hide(inverse, shift, tolerance, fill, padding, bins, place, visible, origin):
    """Clear ``visible`` where a pinhole that is moved by ``shift`` sees something nearer; one row.

    The ``fill`` pixels of a shadow next to what throws it become its surface, in ``inverse``; ``origin`` is the column
    that each pixel's surface is of.

    ``bins`` is the moved pinhole's row of inverse depths, ``place`` where in it each pixel is. Neighbouring pixels of
    one surface cover all bins between theirs.
    """
    bins[:] = 0.0
    before, before_place = 0.0, 0
    for u in range(inverse.shape[0]):
        here = inverse[u]
        k = int(padding + u - shift * here)  # positive, so this rounds down
        place[u] = k
        bins[k] = max(bins[k], here)
        if abs(k - before_place) > 1 and before > 0.0 and here > 0.0 and abs(here - before) < tolerance:
            for j in range(min(k, before_place + 1), max(k, before_place - 1) + 1):
                bins[j] = max(bins[j], here)
        before, before_place = here, k
    for u in range(inverse.shape[0]):
        if bins[place[u]] > inverse[u] + tolerance:
            visible[u] = False
    if fill <= 0:
        return
    if shift > 0.0:  # shadows lie to the left
        left = fill
        for u in range(inverse.shape[0] - 2, -1, -1):
            if visible[u] or inverse[u] == 0.0:
                left = fill
            elif left > 0 and inverse[u + 1] > inverse[u] + tolerance:
                inverse[u], origin[u] = inverse[u + 1], origin[u + 1]
                visible[u] = True
                left -= 1
    else:
        left = fill
        for u in range(1, inverse.shape[0]):
            if visible[u] or inverse[u] == 0.0:
                left = fill
            elif left > 0 and inverse[u - 1] > inverse[u] + tolerance:
                inverse[u], origin[u] = inverse[u - 1], origin[u - 1]
                visible[u] = True
                left -= 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _brick_columns(shift, stride, brick, columns):
    """Which brick of a row each pixel is in, if the row's bricks are moved by ``shift`` of a brick."""
    for u in range(columns.shape[0]):
        columns[u] = int(((u + 0.5) * stride - 0.5) / brick + 1.0 + shift)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _measure(
    depth,
    normal,
    codes,
    fx,
    fy,
    cx,
    cy,
    stride,
    keys,
    reflectance,
    levels,
    vertical,
    horizontal,
    smooth_vertical,
    smooth_horizontal,
    warp_vertical,
    warp_horizontal,
    ray_scale,
    p,
):
    height, width = depth.shape
    blob_key, cloud_key, brick_key, pixel_key, warp_key = keys
    with_normal, with_codes = normal.shape[0] > 0, codes.shape[0] > 0
    noisy = p.blob_sigma > 0.0 or p.pixel_sigma > 0.0
    limited = p.reach < math.inf
    blob, blob_row = np.zeros((1, 1)), np.empty(width)
    if p.blob_sigma > 0.0:
        blob = normal_lattice(blob_key, vertical.cell[-1] + 2, horizontal.cell[-1] + 2)
    cloud, cloud_row = np.zeros((1, 1)), np.empty(width)
    if limited:
        cloud = normal_lattice(cloud_key, smooth_vertical.cell[-1] + 2, smooth_horizontal.cell[-1] + 2)
        for i in range(cloud.shape[0]):
            for j in range(cloud.shape[1]):
                cloud[i, j] = math.exp(p.cloud_sigma * cloud[i, j])

    # What a brick decides: signal (0 = hole), mismatch.
    rows = int(((height - 0.5) * stride - 0.5) / p.brick + 1.0) + 1
    columns = int(((width - 0.5) * stride - 0.5) / p.brick + 2.0) + 1
    shifts = brick_rows(brick_key, rows)
    ragged = np.empty((rows, columns))
    mismatch = np.zeros((rows, columns))
    hole = p.holes * 65536.0
    for i in range(rows):
        for j in range(columns):
            bits = brick_bits(brick_key, i, j)
            ragged[i, j] = levels[bits & 255] if (bits >> 8) & 65535 >= hole else 0.0
            if p.outliers > 0.0:
                wrong = ((bits >> 24) & 65535) * (1.0 / 65536.0)
                if wrong < p.outliers:
                    mismatch[i, j] = (wrong / p.outliers * 2.0 - 1.0) * p.outlier_reach

    # How far to look aside.
    reach_aside = p.jitter / stride
    aside_x, aside_y = np.zeros((1, 1)), np.zeros((1, 1))
    row_x, row_y = np.empty(width), np.empty(width)
    if p.jitter > 0.0:
        aside_x = np.empty((warp_vertical.cell[-1] + 2, warp_horizontal.cell[-1] + 2))
        aside_y = np.empty(aside_x.shape)
        for i in range(aside_x.shape[0]):
            for j in range(aside_x.shape[1]):
                bits = brick_bits(warp_key, i, j)
                aside_x[i, j] = ((bits & 65535) * _SHARE - 1.0) * reach_aside
                aside_y[i, j] = (((bits >> 16) & 65535) * _SHARE - 1.0) * reach_aside
    margin = math.ceil(reach_aside) + 1
    # Less than a rendered pixel aside: that share of the pixels looks at the neighbour. Full images keep lines whole.
    coarse = stride > 1.5

    tolerance = (0.35 + 0.15 * stride) / p.disparity
    # Three rows are worked on in turn, each as far ahead of the next as that looks: what is in between stays in cache.
    half = math.floor(p.smooth / stride + 0.5)
    rows_inverse, rows_measured = 2 * half + 1, 2 * margin + 1
    inverse = np.zeros((rows_inverse, width))  # row v is in v modulo the number of rows, here and below
    visible = np.empty((rows_inverse, width), np.bool_)
    origin = np.empty((rows_inverse, width), np.int16)
    measured = np.zeros((rows_measured, width + 2 * margin))  # disparity with its error
    slots = np.empty(rows_measured, np.int64)
    result = np.zeros((height, width), np.float32)

    padding = math.ceil(max(abs(p.projector), abs(p.camera)) / stride / _NEAREST) + 1
    bins = np.empty(width + 2 * padding)
    place = np.empty(width, np.int64)
    brick_j = np.empty(width, np.int64)
    brick_i = -1
    ray_x = np.empty(width)
    for u in range(width):
        ray_x[u] = (u - cx) / fx
    cosine, growth = np.ones(width), np.empty(width)
    left, right, top, bottom = p.limits
    fill = p.fill / stride
    edge = p.edge / p.disparity
    nearest, farthest = 1.0 / p.near, 1.0 / p.far
    steps, roundings = 1.0 / p.step, 1.0 / p.rounding
    for ahead in range(height + half + margin):
        v = ahead
        if v < height:  # 1. seen?
            row, seen_row, origin_row = inverse[v % rows_inverse], visible[v % rows_inverse], origin[v % rows_inverse]
            seen_row[:] = True
            for u in range(width):
                z = float(depth[v, u])
                row[u] = 1.0 / z if z > _NEAREST else 0.0
                origin_row[u] = u
            pixels = math.floor(fill + (hash_uniform(brick_key, (1 << 61) + v) if coarse else 0.5))
            if p.shadow and p.projector != 0.0:
                shift = p.projector / stride
                _hide(row, shift, tolerance, pixels, padding, bins, place, seen_row, origin_row)
                pixels = 0  # the pattern's shadow is what the window fills, not the other camera's
            if p.shadow and p.camera != 0.0:
                _hide(row, p.camera / stride, tolerance, pixels, padding, bins, place, seen_row, origin_row)

        v = ahead - half
        if v >= height:
            measured[v % rows_measured] = 0.0
        elif v >= 0:  # 2. enough signal?
            row = inverse[v % rows_inverse]
            seen_row, origin_row = visible[v % rows_inverse], origin[v % rows_inverse]
            above, below = inverse[(v + half + 1) % rows_inverse], inverse[(v + half) % rows_inverse]
            out = measured[v % rows_measured]
            out[:] = 0.0
            native_v = (v + 0.5) * stride - 0.5
            ray_y = (v - cy) / fy
            if brick_i != int(native_v / p.brick + 1.0):
                brick_i = int(native_v / p.brick + 1.0)
                _brick_columns(shifts[brick_i], stride, p.brick, brick_j)
            if p.blob_sigma > 0.0:
                interpolate_row(blob, vertical.cell[v], vertical.weight[v], horizontal, blob_row)
            if limited:
                interpolate_row(cloud, smooth_vertical.cell[v], smooth_vertical.weight[v], smooth_horizontal, cloud_row)
            if with_normal and (noisy or limited):
                for u in range(width):
                    x = ray_x[u]
                    along = float(normal[v, u, 0]) * x + float(normal[v, u, 1]) * ray_y + float(normal[v, u, 2])
                    cosine[u] = min(1.0, abs(along) * ray_scale[v, u])
            if noisy:
                for u in range(width):
                    growth[u] = 1.0 + p.grazing * (1.0 / max(cosine[u], 0.1) - 1.0)
            can_smooth = half > 0 and half <= v < height - half
            for u in range(width):
                here = row[u]
                if here == 0.0 or not seen_row[u] or not farthest <= here <= nearest:
                    continue
                signal = ragged[brick_i, brick_j[u]]
                if signal == 0.0:
                    continue
                wrong = 0.0
                if limited:
                    signal *= cloud_row[u]
                    seen = origin_row[u]
                    code = codes[v, seen] if with_codes else _PLAIN
                    signal *= reflectance[code] * cosine[seen]
                    if code & _FIBRES == _HAIR:
                        signal *= cosine[seen]
                    signal *= (p.reach * here) * (p.reach * here)
                    if p.drop and signal < 1.0:
                        continue
                    if signal < 4.0:
                        wrong = mismatch[brick_i, brick_j[u]]
                if can_smooth and half <= u < width - half:
                    a, b = row[u - half], row[u + half]
                    c, d = above[u], below[u]
                    if abs(a - here) < edge and abs(b - here) < edge and abs(c - here) < edge and abs(d - here) < edge:
                        here = 0.5 * here + 0.125 * (a + b + c + d)
                value = p.disparity * here
                if noisy:
                    error = 0.0
                    if p.blob_sigma > 0.0:
                        error = blob_row[u] * (p.blob_sigma * (vertical.gain[v] * horizontal.gain[u]))
                    if p.pixel_sigma > 0.0:
                        error += p.pixel_sigma * normal_of_36_bits(hash_bits(pixel_key, v * width + u))
                    value += error * growth[u]
                if p.band > 0.0:
                    turn = ((u + 0.5) * stride - 0.5) / p.band_width
                    value += p.band * (turn - math.floor(turn) - 0.5)
                out[u + margin] = max(value + wrong, 1e-6)

        v = ahead - half - margin
        if v < 0:
            continue
        # 3. which surface?
        native_v = (v + 0.5) * stride - 0.5
        if p.limit_camera and (native_v < top or native_v > bottom):
            continue
        if p.jitter > 0.0:
            interpolate_row(aside_x, warp_vertical.cell[v], warp_vertical.weight[v], warp_horizontal, row_x)
            interpolate_row(aside_y, warp_vertical.cell[v], warp_vertical.weight[v], warp_horizontal, row_y)
        for k in range(rows_measured):
            slots[k] = (v - margin + k + rows_measured) % rows_measured
        here_row = measured[slots[margin]]
        first_share = v * _GOLDEN_Y + hash_uniform(warp_key, 1 << 61)
        for u in range(width):
            value = here_row[u + margin]
            if p.jitter > 0.0:
                share = 0.5
                if coarse:
                    share = first_share + u * _GOLDEN_X
                    share -= int(share)
                du, dv = int(row_x[u] + share + 64.0) - 64, int(row_y[u] + share + 64.0) - 64
                there = measured[slots[margin + dv], u + margin + du]
                back = measured[slots[margin - dv], u + margin - du]
                if there == 0.0 or (p.fatten and back > there):
                    there = back
                if there != 0.0 and abs(there - value) > p.edge:
                    value = there
            if p.limit_camera and value > 0.0:
                column = (u + 0.5) * stride - 0.5 - p.camera / p.disparity * value
                if column < left or column > right:
                    continue
            z = 0.0
            if value > 0.0:
                if p.step > 0.0:
                    value = max((int(value * steps + 1.5 - p.phase) - 1.0 + p.phase) * p.step, 1e-6)
                z = p.disparity / value
                if p.rounding > 0.0:
                    z = int(z * roundings + 0.5) * p.rounding
                if not p.near <= z <= p.far:
                    z = 0.0
            result[v, u] = z
    return result


def measure_reference(
    depth: np.ndarray,
    normal: np.ndarray | None,
    codes: np.ndarray | None,
    camera: tuple[float, float, float, float],
    stride: float,
    key: int,
    reflectance: np.ndarray,
    parameters: Triangulation,
) -> np.ndarray:
    """:func:`measure`, written to be read."""
    p = _decorrelated(parameters, stride)
    height, width = depth.shape
    fx, fy, cx, cy = camera
    z = depth.astype(np.float64)
    v, u = np.mgrid[0:height, 0:width]
    native_u, native_v = (u + 0.5) * stride - 0.5, (v + 0.5) * stride - 0.5
    inverse = np.divide(1.0, z, out=np.zeros_like(z), where=z > _NEAREST)

    # 1. seen by everybody who must see it
    visible, origin = np.ones(z.shape, bool), u.copy()
    coarse = stride > 1.5
    tolerance = (0.35 + 0.15 * stride) / p.disparity
    rows = np.arange(height, dtype=np.uint64) + np.uint64(1 << 61)
    share = bits_reference(subkey(key, 3), rows) * (1.0 / 9007199254740992.0) if coarse else np.full(height, 0.5)
    for row in range(height if p.shadow else 0):
        pixels = math.floor(p.fill / stride + share[row])
        for shift in (p.projector, p.camera):
            if shift != 0:
                visible[row] &= ~_hidden_reference(inverse[row], shift / stride, tolerance)
                _fill_reference(inverse[row], visible[row], origin[row], shift, tolerance, pixels)
                pixels = 0
    valid = visible & (inverse > 0) & (inverse >= 1.0 / p.far)
    if p.near > 0:
        valid &= inverse <= 1.0 / p.near

    # 2. signal and error
    x, y = (u - cx) / fx, (v - cy) / fy
    cosine = np.ones_like(z)
    if normal is not None:
        n = normal.astype(np.float64)
        along = np.abs(n[..., 0] * x + n[..., 1] * y + n[..., 2])
        cosine = np.minimum(1.0, along * ray_scales(height, width, *camera))
    bricks = bricks_reference(subkey(key, 3), (height, width), stride, p.brick)
    signal = ragged_levels(p.ragged_sigma)[bricks & 255]
    signal[((bricks >> 8) & 65535) < p.holes * 65536.0] = 0.0
    valid &= signal > 0
    wrong = np.zeros_like(z)
    if p.reach < math.inf:
        vertical, horizontal = axis(height, stride, p.cloud), axis(width, stride, p.cloud)
        cloud = lattice_reference(subkey(key, 2), vertical.cell[-1] + 2, horizontal.cell[-1] + 2)
        signal *= interpolate_reference(np.exp(p.cloud_sigma * cloud), vertical, horizontal)
        code = codes[v, origin] if codes is not None else np.full(z.shape, _PLAIN)
        signal *= reflectance[code] * cosine[v, origin]
        signal = np.where(code & _FIBRES == _HAIR, signal * cosine[v, origin], signal)
        signal *= (p.reach * inverse) * (p.reach * inverse)
        if p.drop:
            valid &= signal >= 1.0
        share = ((bricks >> 24) & 65535) * (1.0 / 65536.0)
        if p.outliers > 0:
            wrong = np.where((share < p.outliers) & (signal < 4.0), (share / p.outliers * 2 - 1) * p.outlier_reach, 0)
    flat = inverse.copy()
    half = math.floor(p.smooth / stride + 0.5)
    if half > 0 and height > 2 * half and width > 2 * half:
        here = inverse[half:-half, half:-half]
        a, b = inverse[half:-half, : -2 * half], inverse[half:-half, 2 * half :]
        c, d = inverse[: -2 * half, half:-half], inverse[2 * half :, half:-half]
        one = np.max([np.abs(a - here), np.abs(b - here), np.abs(c - here), np.abs(d - here)], axis=0)
        mean = 0.5 * here + 0.125 * (a + b + c + d)
        flat[half:-half, half:-half] = np.where(one < p.edge / p.disparity, mean, here)
    pixel_bits = bits_reference(subkey(key, 4), v * width + u)
    error = np.zeros_like(z)
    if p.blob_sigma > 0:
        vertical, horizontal = axis(height, stride, p.blob[1]), axis(width, stride, p.blob[0])
        lattice = lattice_reference(subkey(key, 1), vertical.cell[-1] + 2, horizontal.cell[-1] + 2)
        blob = interpolate_reference(lattice, vertical, horizontal)
        error = blob * (p.blob_sigma * (vertical.gain[:, None] * horizontal.gain[None]))
    if p.pixel_sigma > 0:
        parts = (pixel_bits & 4095) + ((pixel_bits >> 12) & 4095) + ((pixel_bits >> 24) & 4095)
        error = error + p.pixel_sigma * ((parts - 6142.5) * (2.0 / 4096.0))
    measured = p.disparity * flat + error * (1.0 + p.grazing * (1.0 / np.maximum(cosine, 0.1) - 1.0))
    if p.band > 0:
        place = native_u / p.band_width
        measured = measured + p.band * (place - np.floor(place) - 0.5)
    measured = np.where(valid, np.maximum(measured + wrong, 1e-6), 0.0)

    # 3. whose surface
    value = measured
    if p.jitter > 0:
        reach = p.jitter / stride
        vertical, horizontal = axis(height, stride, p.warp), axis(width, stride, p.warp)
        i, j = np.mgrid[0 : vertical.cell[-1] + 2, 0 : horizontal.cell[-1] + 2]
        bits = bits_reference(subkey(key, 5), i * LATTICE_ROW + j)
        aside_x = interpolate_reference(((bits & 65535) * _SHARE - 1.0) * reach, vertical, horizontal)
        aside_y = interpolate_reference((((bits >> 16) & 65535) * _SHARE - 1.0) * reach, vertical, horizontal)
        start = bits_reference(subkey(key, 5), np.array(1 << 61)) * (1.0 / 9007199254740992.0)
        dither = (v * _GOLDEN_Y + start + u * _GOLDEN_X) % 1.0 if coarse else np.full(z.shape, 0.5)
        du, dv = np.floor(aside_x + dither).astype(np.int64), np.floor(aside_y + dither).astype(np.int64)
        margin = math.ceil(reach) + 1
        padded = np.pad(measured, margin)
        there = padded[v + dv + margin, u + du + margin]
        back = padded[v - dv + margin, u - du + margin]
        there = np.where((there == 0) | (p.fatten & (back > there)), back, there)
        value = np.where((there != 0) & (np.abs(there - measured) > p.edge), there, measured)
    if p.limit_camera:
        left, right, top, bottom = p.limits
        column = native_u - p.camera / p.disparity * value
        inside = (column >= left) & (column <= right) & (native_v >= top) & (native_v <= bottom)
        value = np.where(inside, value, 0.0)
    if p.step > 0:
        steps = (np.floor(value * (1.0 / p.step) + 0.5 - p.phase) + p.phase) * p.step
        value = np.where(value > 0, np.maximum(steps, 1e-6), 0.0)
    result = np.divide(p.disparity, value, out=np.zeros_like(z), where=value > 0)
    if p.rounding > 0:
        result = np.floor(result * (1.0 / p.rounding) + 0.5) * p.rounding
    return np.where((result >= p.near) & (result <= p.far), result, 0.0).astype(np.float32)


def _hidden_reference(inverse: np.ndarray, shift: float, tolerance: float) -> np.ndarray:
    """Which pixels of a row (inverse depth, 0 = nothing) a pinhole moved by ``shift`` does not see, [W] bool.

    Pixel by pixel against every piece of surface: the interval of the moved image between two neighbouring pixels of
    one surface, or the pixel alone.
    """
    width = len(inverse)
    place = np.floor(np.arange(width) - shift * inverse).astype(np.int64)
    hidden = np.zeros(width, bool)
    for k in range(width):
        if inverse[k] == 0:
            continue
        low = high = place[k]
        if k > 0 and inverse[k - 1] > 0 and abs(inverse[k] - inverse[k - 1]) < tolerance:
            low, high = min(low, place[k - 1] + 1), max(high, place[k - 1] - 1)
        hidden |= (place >= low) & (place <= high) & (inverse > 0) & (inverse[k] > inverse + tolerance)
    return hidden


def _fill_reference(
    inverse: np.ndarray, visible: np.ndarray, origin: np.ndarray, shift: float, tolerance: float, pixels: int
) -> None:
    """Let what throws a shadow grow into it, in place: ``pixels`` beside it, for every shadow of a row."""
    if shift < 0:  # mirrored
        inverse, visible, origin = inverse[::-1], visible[::-1], origin[::-1]
    left = pixels
    for u in range(len(inverse) - 2, -1, -1):
        if visible[u] or inverse[u] == 0:
            left = pixels
        elif left > 0 and inverse[u + 1] > inverse[u] + tolerance:
            inverse[u], visible[u], origin[u] = inverse[u + 1], True, origin[u + 1]
            left -= 1
