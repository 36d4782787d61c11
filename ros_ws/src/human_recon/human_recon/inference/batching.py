"""Any number of images through engines that are made for a few fixed numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

SIZES = {"people_net": (1,), "body_net": (1, 2, 4, 8)}  # images at once


def chunks(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(first image, last + 1, size of the batch they go into): the largest size as often as it fills, then the smallest
    that takes the rest."""
    largest = max(sizes)
    for start in range(0, count, largest):
        stop = min(start + largest, count)
        yield start, stop, min(size for size in sizes if size >= stop - start)


def run_in_chunks(
    image: np.ndarray, sizes: Sequence[int], run: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Outputs for ``image`` [N, C, H, W] of ``run``, which takes batches of ``sizes`` only; without the padding."""
    parts = []
    for start, stop, size in chunks(len(image), sizes):
        batch = image[start:stop]
        if stop - start < size:
            batch = np.concatenate([batch, np.zeros((size - (stop - start), *image.shape[1:]), np.float32)])
        parts.append({name: value[: stop - start] for name, value in run(batch).items()})
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
