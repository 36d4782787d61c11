"""Depth from the phase of modulated light, as one compiled pass over the image.

Light and camera stand together, so nothing throws a shadow. x = z^2 / (reflectance cos(incidence) light) says how weak
the returned signal is, 1 for a white wall at one metre; the standard deviation of the reading is
sqrt(a^2 + b^2 x + c^2 x^2): what every reading has, photon noise, and what the background adds (Lange and Seitz,
"Solid-state time-of-flight range camera", IEEE J. Quantum Electronics 37(3), 2001, where sigma ~ sqrt(A + B) / A).

A pixel whose area two surfaces share reads something between them, wherever the two phasors put it. Light that
comes by way of another wall makes corners look rounder, that is: farther inside.

:func:`measure_reference` says the same in plain numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from human_recon.simulation.randomness import hash_bits
from human_recon.simulation.sensors.fields import (
    axis,
    bits_reference,
    interpolate_reference,
    interpolate_row,
    lattice_reference,
    normal_lattice,
    normal_of_36_bits,
    ray_scales,
    subkey,
)


class Phase(NamedTuple):
    """What the pass needs to know; lengths in native pixels."""

    floor_sigma: float  # metres, a above
    photon_sigma: float  # metres, b
    background_sigma: float  # metres, c
    weakest: float  # x at which readings end; inf = never
    weakest_sigma: float  # of the logarithm of that limit, over the image
    falloff: float  # share of the light that is missing in the image's corners
    mask: float  # pixels, radius around the principal point that is lit; 0 = all
    mixed: float  # pixels, width of the strip along a border, both sides together, whose readings mix
    mixed_invalid: float  # share of the mixed readings that the driver drops
    edge: float  # metres per metre of depth, jump that makes two surfaces
    offset: float  # metres, of every reading
    wave: float  # metres, amplitude of a smooth error over the image
    cloud: float  # pixels, its cell
    multipath: float  # share of a corner's depth (see corner) by which readings inside it are too far
    corner: float  # pixels, how far to the sides is looked for a corner
    ambiguity: float  # metres, distance at which readings start again at 0
    holes: float  # share of pixels without a reading
    rounding: float  # metres; 0 = none
    near: float
    far: float


def measure(
    depth: np.ndarray,  # [H, W] float32, metres, 0 = nothing
    normal: np.ndarray | None,  # [H, W, 3], camera frame
    codes: np.ndarray | None,  # [H, W] uint8
    camera: tuple[float, float, float, float],  # fx, fy, cx, cy of the rendered image
    stride: float,
    key: int,
    reflectance: np.ndarray,  # [256] of the surface codes
    parameters: Phase,
) -> np.ndarray:
    """The measured depth, [H, W] float32 metres, 0 = no reading."""
    height, width = depth.shape
    return _measure(
        depth,
        normal if normal is not None else np.zeros((0, 0, 3), np.float32),
        codes if codes is not None else np.zeros((0, 0), np.uint8),
        *camera,
        float(stride),
        (subkey(key, 1), subkey(key, 2)),
        reflectance,
        axis(height, stride, parameters.cloud),
        axis(width, stride, parameters.cloud),
        ray_scales(height, width, *camera),
        parameters,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _measure(depth, normal, codes, fx, fy, cx, cy, stride, keys, reflectance, vertical, horizontal, ray_scale, p):
    height, width = depth.shape
    cloud_key, pixel_key = keys
    with_normal, with_codes = normal.shape[0] > 0, codes.shape[0] > 0
    noisy = p.floor_sigma > 0.0 or p.photon_sigma > 0.0 or p.background_sigma > 0.0
    needs_signal = noisy or p.weakest < math.inf
    clouded = p.wave > 0.0 or p.weakest_sigma > 0.0
    cloud = np.zeros((1, 1))
    if clouded:
        cloud = normal_lattice(cloud_key, vertical.cell[-1] + 2, horizontal.cell[-1] + 2)
    # of the image's corner, in squared rays: the light falls off with the squared distance from the axis
    corner_ray = (max(cx, width - 1 - cx) / fx) ** 2 + (max(cy, height - 1 - cy) / fy) ** 2
    radius = p.mask / stride
    half = max(1, math.floor(p.corner / stride + 0.5))
    mixing = p.mixed / stride
    roundings = 1.0 / p.rounding
    ray_x = np.empty(width)
    for u in range(width):
        ray_x[u] = (u - cx) / fx
    cloud_row = np.empty(width)
    result = np.zeros((height, width), np.float32)
    for v in range(height):
        ray_y = (v - cy) / fy
        if clouded:
            interpolate_row(cloud, vertical.cell[v], vertical.weight[v], horizontal, cloud_row)
        for u in range(width):
            z = float(depth[v, u])
            if z <= 0.0:
                continue
            if radius > 0.0 and (u - cx) * (u - cx) + (v - cy) * (v - cy) > radius * radius:
                continue
            bits = hash_bits(pixel_key, v * width + u)
            if ((bits >> 12) & 4095) * (1.0 / 4096.0) < p.holes:
                continue
            field = 0.0
            if clouded:
                field = cloud_row[u] * (vertical.gain[v] * horizontal.gain[u])
            sigma = 0.0
            if needs_signal:
                x = ray_x[u]
                ray = x * x + ray_y * ray_y
                cosine = 1.0
                if with_normal:
                    along = abs(float(normal[v, u, 0]) * x + float(normal[v, u, 1]) * ray_y + float(normal[v, u, 2]))
                    cosine = min(1.0, along * ray_scale[v, u])
                returned = reflectance[codes[v, u]] if with_codes else reflectance[255]
                light = 1.0 - p.falloff * ray / corner_ray
                weakness = z * z / max(returned * cosine * light, 1e-6)
                grain = ((bits >> 38) & 127) * (1.0 / 127.0) - 0.5
                if weakness > p.weakest * max(1.0 + p.weakest_sigma * (field + grain), 0.1):
                    continue
                sigma = math.sqrt(
                    p.floor_sigma * p.floor_sigma
                    + p.photon_sigma * p.photon_sigma * weakness
                    + p.background_sigma * p.background_sigma * weakness * weakness
                )
            reading = z
            if mixing > 0.0:
                # The neighbour beside, or else the one above or below, if it is another surface: a jump, not a slope.
                here, jump = bits >> 36, p.edge * z
                du, dv = 1 - 2 * (here & 1), 1 - (here & 2)
                there = float(depth[v, min(max(u + du, 0), width - 1)])
                back = float(depth[v, min(max(u - du, 0), width - 1)])
                if there <= 0.0 or abs(there - z) <= jump or abs(there + back - 2.0 * z) <= 0.5 * abs(there - z):
                    there = float(depth[min(max(v + dv, 0), height - 1), u])
                    back = float(depth[min(max(v - dv, 0), height - 1), u])
                if (
                    there > 0.0
                    and abs(there - z) > jump
                    and abs(there + back - 2.0 * z) > 0.5 * abs(there - z)
                    and ((here >> 2) & 127) * (1.0 / 128.0) < mixing
                ):
                    share = ((here >> 9) & 255) * (1.0 / 256.0)
                    if share < p.mixed_invalid:
                        continue
                    # A pixel whose centre is on one surface has at most half of its area on the other.
                    reading = z + 0.5 * (share - p.mixed_invalid) / (1.0 - p.mixed_invalid) * (there - z)
            if p.multipath > 0.0 and half <= u < width - half and half <= v < height - half:
                inward = max(
                    z - 0.5 * (float(depth[v, u - half]) + float(depth[v, u + half])),
                    z - 0.5 * (float(depth[v - half, u]) + float(depth[v + half, u])),
                )
                if 0.0 < inward < 0.3:
                    reading += p.multipath * inward
            reading += p.offset + p.wave * field
            if noisy:
                reading += sigma * normal_of_36_bits(bits)
            if reading > p.ambiguity:
                reading -= p.ambiguity
            if p.rounding > 0.0:
                reading = int(reading * roundings + 0.5) * p.rounding  # negative ones are dropped below
            if reading > 0.0 and p.near <= reading <= p.far:
                result[v, u] = reading
    return result


def measure_reference(
    depth: np.ndarray,
    normal: np.ndarray | None,
    codes: np.ndarray | None,
    camera: tuple[float, float, float, float],
    stride: float,
    key: int,
    reflectance: np.ndarray,
    parameters: Phase,
) -> np.ndarray:
    """:func:`measure`, written to be read."""
    p = parameters
    height, width = depth.shape
    fx, fy, cx, cy = camera
    z = depth.astype(np.float64)
    v, u = np.mgrid[0:height, 0:width]
    vertical, horizontal = axis(height, stride, p.cloud), axis(width, stride, p.cloud)
    lattice = lattice_reference(subkey(key, 1), vertical.cell[-1] + 2, horizontal.cell[-1] + 2)
    field = interpolate_reference(lattice, vertical, horizontal) * (vertical.gain[:, None] * horizontal.gain[None])
    bits = bits_reference(subkey(key, 2), v * width + u)

    # how weak the returned signal is
    x, y = (u - cx) / fx, (v - cy) / fy
    ray = x * x + y * y
    cosine = np.ones_like(z)
    if normal is not None:
        n = normal.astype(np.float64)
        along = np.abs(n[..., 0] * x + n[..., 1] * y + n[..., 2])
        cosine = np.minimum(1.0, along * ray_scales(height, width, *camera))
    returned = reflectance[codes] if codes is not None else reflectance[255]
    corner_ray = (max(cx, width - 1 - cx) / fx) ** 2 + (max(cy, height - 1 - cy) / fy) ** 2
    weakness = z * z / np.maximum(returned * cosine * (1.0 - p.falloff * ray / corner_ray), 1e-6)
    sigma = np.sqrt(
        p.floor_sigma * p.floor_sigma
        + p.photon_sigma * p.photon_sigma * weakness
        + p.background_sigma * p.background_sigma * weakness * weakness
    )
    grain = ((bits >> 38) & 127) * (1.0 / 127.0) - 0.5
    valid = (z > 0) & (weakness <= p.weakest * np.maximum(1.0 + p.weakest_sigma * (field + grain), 0.1))
    valid &= ((bits >> 12) & 4095) * (1.0 / 4096.0) >= p.holes
    if p.mask > 0:
        valid &= (u - cx) * (u - cx) + (v - cy) * (v - cy) <= (p.mask / stride) ** 2

    # pixels that two surfaces share
    reading = z.copy()
    du, dv = 1 - 2 * ((bits >> 36) & 1), 1 - ((bits >> 36) & 2)
    beside, opposite = z[v, np.clip(u + du, 0, width - 1)], z[v, np.clip(u - du, 0, width - 1)]
    above, below = z[np.clip(v + dv, 0, height - 1), u], z[np.clip(v - dv, 0, height - 1), u]
    jumps = (beside > 0) & (np.abs(beside - z) > p.edge * z)
    jumps &= np.abs(beside + opposite - 2 * z) > 0.5 * np.abs(beside - z)
    there, back = np.where(jumps, beside, above), np.where(jumps, opposite, below)
    share = ((bits >> 45) & 255) * (1.0 / 256.0)
    mixed = (there > 0) & (np.abs(there - z) > p.edge * z)
    mixed &= np.abs(there + back - 2 * z) > 0.5 * np.abs(there - z)
    mixed &= ((bits >> 38) & 127) * (1.0 / 128.0) < p.mixed / stride
    valid &= ~(mixed & (share < p.mixed_invalid))
    reading += np.where(mixed, 0.5 * (share - p.mixed_invalid) / (1.0 - p.mixed_invalid) * (there - z), 0.0)

    # corners
    half = max(1, math.floor(p.corner / stride + 0.5))
    inside = slice(half, height - half), slice(half, width - half)
    if p.multipath > 0 and height > 2 * half and width > 2 * half:
        across = z[inside] - 0.5 * (z[half:-half, : -2 * half] + z[half:-half, 2 * half :])
        along = z[inside] - 0.5 * (z[: -2 * half, half:-half] + z[2 * half :, half:-half])
        inward = np.maximum(across, along)
        reading[inside] += np.where((inward > 0) & (inward < 0.3), p.multipath * inward, 0.0)

    parts = (bits & 4095) + ((bits >> 12) & 4095) + ((bits >> 24) & 4095)
    reading += p.offset + p.wave * field
    reading += sigma * ((parts - 6142.5) * (2.0 / 4096.0))
    reading = np.where(reading > p.ambiguity, reading - p.ambiguity, reading)
    if p.rounding > 0:
        reading = np.floor(reading * (1.0 / p.rounding) + 0.5) * p.rounding
    valid &= (reading > 0) & (reading >= p.near) & (reading <= p.far)
    return np.where(valid, reading, 0.0).astype(np.float32)
