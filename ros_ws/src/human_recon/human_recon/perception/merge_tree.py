"""Separation of people who touch: a watershed over height, by the persistence of its peaks.

A person seen by a depth camera has one peak of height, the head; where two people touch, the surface between the two
heads dips at least to the shoulders. So the pixels are visited from the highest to the lowest and joined to what they
touch; two growing regions become one only if the lower peak rises less than `persistence` above the saddle where they
meet or is as slender as an arm (Edelsbrunner and Harer, Computational Topology, 2010, on persistence).
"""

from __future__ import annotations

import numpy as np
from numba import njit


def separate_peaks(
    points: np.ndarray,
    heights: np.ndarray,
    valid: np.ndarray,
    *,
    jump: float,
    persistence: float,
    min_width: float,
    focal: float,
) -> np.ndarray:
    """Label the regions of a depth image that each rise to one peak.

    Args:
        points: [H, W, 3] metres.
        heights: [H, W] height of each pixel, metres.
        valid: [H, W] bool, pixels to label.
        jump: relative depth difference above which neighbouring pixels are not connected (0.04: 10 cm at 2.5 m).
        persistence: a peak closer to its saddle than this belongs to its neighbour, metres.
        min_width: as does a region that is narrower than this on average, from its peak to the saddle, metres: a
            raised arm is, a head is not.
        focal: pixels.

    Returns:
        [H, W] int32, 0 = not valid, else a label from 1.
    """
    indices = np.flatnonzero(valid)
    order = indices[np.argsort(-heights.ravel()[indices], kind="stable")]
    roots = _flood(points, heights, order, jump, persistence, min_width, focal)
    labels = np.zeros(valid.size, np.int32)
    labels[indices] = np.unique(roots[indices], return_inverse=True)[1] + 1
    return labels.reshape(valid.shape)


@njit(cache=True, nogil=True)
def _find(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _flood(points, heights, order, jump, persistence, min_width, focal):
    height, width = heights.shape
    parent = np.full(height * width, -1, np.int64)
    peak = np.zeros(height * width)
    area = np.zeros(height * width)
    roots = np.empty(24, np.int64)
    for index in order:
        y, x = index // width, index % width
        z = points[y, x, 2]
        count = 0
        nearest, nearest_distance = -1, np.inf
        # Neighbours up to two pixels away bridge the pinholes of a real sensor.
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                v, u = y + dy, x + dx
                if v < 0 or v >= height or u < 0 or u >= width:
                    continue
                other = v * width + u
                if parent[other] < 0:
                    continue
                if abs(points[v, u, 2] - z) > jump * z:
                    continue
                root = _find(parent, other)
                known = False
                for i in range(count):
                    known = known or roots[i] == root
                if not known:
                    roots[count] = root
                    count += 1
                distance = (
                    (points[v, u, 0] - points[y, x, 0]) ** 2
                    + (points[v, u, 1] - points[y, x, 1]) ** 2
                    + (points[v, u, 2] - z) ** 2
                )
                if distance < nearest_distance:
                    nearest, nearest_distance = root, distance
        own_area = z * z / (focal * focal)
        if count == 0:
            parent[index] = index
            peak[index] = heights[y, x]
            area[index] = own_area
            continue
        # The highest touching region swallows those that are no peaks of their own.
        main = roots[0]
        for i in range(1, count):
            if peak[roots[i]] > peak[main]:
                main = roots[i]
        for i in range(count):
            root = roots[i]
            rise = peak[root] - heights[y, x]
            if root != main and (rise < persistence or area[root] < min_width * rise):
                parent[root] = main
                area[main] += area[root]
        home = _find(parent, nearest)
        parent[index] = home
        area[home] += own_area
    for index in order:
        parent[index] = _find(parent, index)
    return parent
