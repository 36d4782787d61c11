"""Random numbers that depend on a seed and an index only, never on what was drawn before or in which thread.

Decisions draw from a generator of their own per sample (:func:`generator`), so sample 1,000,000 can be made without the
999,999 before it and a stream resumes anywhere. Per-pixel noise hashes pixel and seed inside compiled loops
(:func:`hash_uniform`, :func:`hash_normal`): the same numbers whatever the order of the pixels.
"""

from __future__ import annotations

import math
import zlib

import numba
import numpy as np

_MASK = (1 << 64) - 1


def generator(seed: int, index: int, purpose: str) -> np.random.Generator:
    """The generator of sample ``index`` for one ``purpose`` ("scene", "sensor", ...).

    Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): counter-based, keyed by the
    arguments. Different keys give independent streams.
    """
    key = np.array([(seed * 0x9E3779B97F4A7C15 + zlib.crc32(purpose.encode())) & _MASK, index & _MASK], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


@numba.njit(cache=True, nogil=True, inline="always")
def _mix(value):
    """The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)."""
    value = np.uint64(value)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True, inline="always")
def hash_bits(key, counter):
    """53 random bits (int64), a function of the integers ``key`` (uint64) and ``counter`` alone."""
    return np.int64(_mix(np.uint64(key) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11))


@numba.njit(cache=True, nogil=True, inline="always")
def hash_uniform(key, counter):
    """Uniform in [0, 1): :func:`hash_bits` as a fraction."""
    return float(hash_bits(key, counter)) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True, nogil=True, inline="always")
def hash_normal(key, counter):
    """Standard normal, a function of ``key`` (uint64) and ``counter`` alone: Box and Muller, 1958."""
    first = 1.0 - hash_uniform(key, np.uint64(2) * np.uint64(counter))
    second = hash_uniform(key, np.uint64(2) * np.uint64(counter) + np.uint64(1))
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
