"""LZF decompression, the codec of ``binary_compressed`` PCD files (format: liblzf by Marc Lehmann)."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _decompress(source: np.ndarray, out: np.ndarray) -> int:
    """Fill ``out`` from ``source``; the number of bytes written, or -1 when the stream is corrupt."""
    size = source.size
    capacity = out.size
    i = 0
    o = 0
    while i < size:
        control = np.int64(source[i])
        i += 1
        if control < 32:  # a run of control + 1 literal bytes
            length = control + 1
            if i + length > size or o + length > capacity:
                return -1
            for _ in range(length):
                out[o] = source[i]
                i += 1
                o += 1
        else:  # a copy of bytes already written; source and destination may overlap
            length = control >> 5
            if length == 7:
                if i >= size:
                    return -1
                length += np.int64(source[i])
                i += 1
            if i >= size:
                return -1
            start = o - ((control & 31) << 8) - np.int64(source[i]) - 1
            i += 1
            length += 2
            if start < 0 or o + length > capacity:
                return -1
            for _ in range(length):
                out[o] = out[start]
                start += 1
                o += 1
    return o


def lzf_decompress(data: bytes | memoryview, size: int) -> bytes:
    """Decompress an LZF stream that holds exactly ``size`` bytes.

    Raises ValueError when the stream is corrupt or yields another number of bytes. A stream of n bytes can hold at
    most 264/3 n bytes (a 3-byte copy yields up to 264), so a lying ``size`` is refused before memory is taken.
    """
    if size < 0 or size > 88 * len(data):
        raise ValueError(f"{len(data)} compressed bytes cannot hold {size} bytes")
    out = np.empty(size, np.uint8)
    written = _decompress(np.frombuffer(data, np.uint8), out)
    if written != size:
        raise ValueError("the compressed data is corrupt")
    return out.tobytes()
