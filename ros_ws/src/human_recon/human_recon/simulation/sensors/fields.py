"""Random fields over native pixel coordinates, the common ground of the sensor models.

Every field is a function of a key and of the position on the *sensor*, never of the rendered image: a picture rendered
at a quarter of the resolution shows the same blobs and ragged borders as the full one, sampled at every fourth pixel.

- A *blob* field is a lattice of random numbers, interpolated: noise with the correlation length of a matching window.
- A *brick* field is constant in cells; every row of cells is shifted by an amount of its own, so that cells of
  neighbouring rows do not line up. Depth cameras decide per window, so borders and holes come in such pieces.

The 53 bits of :func:`human_recon.simulation.randomness.hash_bits` are split where several small numbers are needed:
hashing is what costs.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from human_recon.simulation.randomness import hash_bits, hash_uniform

_MASK = (1 << 64) - 1
LATTICE_ROW = 1 << 20  # lattice rows are this far apart in the counter: no image has more cells in a row


def subkey(key: int, purpose: int) -> np.uint64:
    """An independent key for one purpose of a sample: SplitMix64's finaliser over both."""
    value = (key * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return np.uint64(value ^ (value >> 31))


@numba.njit(cache=True, nogil=True, inline="always")
def normal_of_52_bits(bits):
    """Nearly a standard normal: the sum of four uniform 13-bit numbers, within 3.46 sigma (Irwin and Hall, 1927)."""
    total = (bits & 8191) + ((bits >> 13) & 8191) + ((bits >> 26) & 8191) + ((bits >> 39) & 8191)
    return (total - 16382) * (math.sqrt(3.0) / 8192.0)


@numba.njit(cache=True, nogil=True, inline="always")
def normal_of_36_bits(bits):
    """The same of three 12-bit numbers, within 3 sigma."""
    total = (bits & 4095) + ((bits >> 12) & 4095) + ((bits >> 24) & 4095)
    return (total - 6142.5) * (2.0 / 4096.0)


class Axis(NamedTuple):
    """One image axis of N pixels on a lattice: where each pixel lies between which nodes."""

    cell: np.ndarray  # [N] int64, node before the pixel
    weight: np.ndarray  # [N] float64 in [0, 1), of the node after
    gain: np.ndarray  # [N] float64, what makes the variance of an interpolated white lattice 1 everywhere


@lru_cache(maxsize=256)
def axis(size: int, stride: float, pitch: float) -> Axis:
    """``size`` pixels ``stride`` native pixels apart over a lattice of ``pitch`` native pixels. Read only."""
    position = ((np.arange(size) + 0.5) * stride - 0.5) / pitch + 1.0
    cell = np.floor(position).astype(np.int64)
    weight = position - cell
    return Axis(cell, weight, 1.0 / np.sqrt((1.0 - weight) ** 2 + weight**2))


@lru_cache(maxsize=32)
def ray_scales(height: int, width: int, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """[H, W] float64: 1 / length of the ray ((u - cx) / fx, (v - cy) / fy, 1) of each pixel. Read only."""
    x, y = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    return 1.0 / np.sqrt((x * x)[None] + (y * y)[:, None] + 1.0)


@numba.njit(cache=True, nogil=True)
def normal_lattice(key, rows, columns):
    """[rows, columns] float64, standard normal."""
    lattice = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            lattice[i, j] = normal_of_52_bits(hash_bits(key, i * LATTICE_ROW + j))
    return lattice


@numba.njit(cache=True, nogil=True)
def interpolate_row(lattice, i, weight, horizontal, out):
    """Bilinear interpolation of a row of pixels between the lattice's rows i and i + 1 into ``out`` [W]."""
    cell, across = horizontal.cell, horizontal.weight
    row = np.empty(lattice.shape[1])
    for j in range(lattice.shape[1]):
        row[j] = lattice[i, j] * (1.0 - weight) + lattice[i + 1, j] * weight
    for u in range(out.shape[0]):
        out[u] = row[cell[u]] * (1.0 - across[u]) + row[cell[u] + 1] * across[u]


@numba.njit(cache=True, nogil=True)
def brick_rows(key, rows):
    """[rows] float64 in [0, 1): by how much of a cell each row of cells is moved."""
    shifts = np.empty(rows)
    for i in range(rows):
        shifts[i] = hash_uniform(key, np.uint64(i) + np.uint64(1 << 62))
    return shifts


@numba.njit(cache=True, nogil=True, inline="always")
def brick_bits(key, i, j):
    """The 53 bits of brick (i, j)."""
    return hash_bits(key, i * LATTICE_ROW + j)


def normals_reference(key: np.uint64, counter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(:func:`hash_bits`, :func:`normal_of_52_bits` of them) of an array of counters, in plain numpy."""
    bits = bits_reference(key, counter)
    parts = (bits & 8191) + ((bits >> 13) & 8191) + ((bits >> 26) & 8191) + ((bits >> 39) & 8191)
    return bits, (parts - 16382) * (math.sqrt(3.0) / 8192.0)


def bits_reference(key: np.uint64, counter: np.ndarray) -> np.ndarray:
    """:func:`hash_bits` of an array of counters, in plain numpy."""
    with np.errstate(over="ignore"):
        value = np.uint64(key) + counter.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value = value ^ (value >> np.uint64(31))
    return (value >> np.uint64(11)).astype(np.int64)


def lattice_reference(key: np.uint64, rows: int, columns: int) -> np.ndarray:
    """:func:`normal_lattice` in plain numpy."""
    i, j = np.mgrid[0:rows, 0:columns]
    return normals_reference(key, i * LATTICE_ROW + j)[1]


def interpolate_reference(lattice: np.ndarray, vertical: Axis, horizontal: Axis) -> np.ndarray:
    """:func:`interpolate_row` of every row: [H, W]."""
    i, weight, j, across = vertical.cell, vertical.weight[:, None], horizontal.cell, horizontal.weight
    rows = lattice[i] * (1.0 - weight) + lattice[i + 1] * weight
    return rows[:, j] * (1.0 - across) + rows[:, j + 1] * across


def bricks_reference(key: np.uint64, size: tuple[int, int], stride: float, pitch: float) -> np.ndarray:
    """:func:`brick_bits` of the brick of every pixel: [H, W] int64."""
    vertical = ((np.arange(size[0]) + 0.5) * stride - 0.5) / pitch + 1.0
    i = np.floor(vertical).astype(np.int64)
    rows = np.arange(i.max() + 1, dtype=np.uint64) + np.uint64(1 << 62)
    shift = bits_reference(key, rows) * (1.0 / 9007199254740992.0)
    horizontal = ((np.arange(size[1]) + 0.5) * stride - 0.5) / pitch + 1.0
    j = np.floor(horizontal[None] + shift[i][:, None]).astype(np.int64)
    return bits_reference(key, i[:, None] * LATTICE_ROW + j)
