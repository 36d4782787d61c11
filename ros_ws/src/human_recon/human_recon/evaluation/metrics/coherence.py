"""Whether the people of one frame fit together: depth order and interpenetration (seed 002, section 5.4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from human_recon.geometry.signed_distance import penetration

TOLERANCE = 0.01  # metres two bodies may be inside each other before it is a collision: flesh and cloth give way


def depth_order(predicted: np.ndarray, true: np.ndarray) -> tuple[int, int]:
    """(pairs in the right order, pairs) among N people, by the depth of their pelvises.

    Of every pair of people it is asked who is nearer to the camera, along its optical axis; seed 002, table 22, counts
    the right answers. ``predicted`` and ``true`` [N] metres; equal depths are an order of their own.
    """
    first, second = np.triu_indices(len(true), 1)
    right = np.sign(predicted[first] - predicted[second]) == np.sign(true[first] - true[second])
    return int(right.sum()), len(first)


def overlap_order(depths: np.ndarray, true: np.ndarray, tolerance: float = 0.0) -> tuple[int, int]:
    """(pixels in the right order, pixels) where several of P bodies lie behind each other.

    Args:
        depths: [P, H, W] metres, each body rendered alone; 0 = not there.
        true: [H, W] index of the body that a pixel shows; others are not asked for.
        tolerance: metres by which the right body may be behind.

    Asked for are pixels of which the right body covers its own, and another one too: silhouettes that are wrong do not
    count, only who is in front. This is what the ordinal depth loss of seed 002, section 5.3.4, compares.
    """
    several = ((depths > 0).sum(axis=0) > 1) & (true >= 0)
    there = depths[:, several]
    there = np.where(there > 0, there, np.inf)
    own = np.take_along_axis(there, true[None, several], axis=0)[0]
    covered = np.isfinite(own)
    right = own[covered] <= there.min(axis=0)[covered] + tolerance
    return int(right.sum()), int(covered.sum())


def penetration_depths(bodies: Sequence[np.ndarray], faces: np.ndarray) -> dict[tuple[int, int], float]:
    """How deep each pair of P ``bodies`` [V, 3] (closed, ``faces`` [F, 3]) is in each other, metres; no others.

    The depth is the largest distance of a vertex inside the other body from that body's surface, the larger of both
    directions: the distance field of seed 002, section 5.3.3, evaluated exactly instead of on a grid.
    """
    depths = {}
    for i, j in combinations(range(len(bodies)), 2):
        if (bodies[i].min(0) > bodies[j].max(0)).any() or (bodies[j].min(0) > bodies[i].max(0)).any():
            continue
        both = np.concatenate(
            [penetration(bodies[i], bodies[j], faces)[1], penetration(bodies[j], bodies[i], faces)[1]]
        )
        if len(both):
            depths[i, j] = float(both.max())
    return depths
