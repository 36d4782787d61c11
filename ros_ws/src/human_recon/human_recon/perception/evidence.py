"""What one frame says about one person's body: measured points, each with the place on the body that it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from human_recon.geometry.normals import depth_normals
from human_recon.perception.body_net import BodyReading

_NORMAL_RADIUS = 1  # cells
_NORMAL_JUMP = 0.03  # of the distance across one cell: beyond it two cells are of different surfaces


@dataclass(frozen=True, eq=False)
class Evidence:
    """K cells of a person's crop, camera optical frame, metres; about 3.4 cm apart whatever the distance."""

    points: np.ndarray  # [K, 3] float64
    normals: np.ndarray  # [K, 3] float64, unit, towards the camera; 0 where the surface has no clear one
    vertices: np.ndarray  # [K] int32, vertex of the body model that the cell shows
    parts: np.ndarray  # [K] uint8, body part
    similarity: np.ndarray  # [K] float32, cosine of the cell's descriptor and its vertex's
    likelihood: np.ndarray  # [K] float32, probability that the cell is this person's


def evidence_of(reading: BodyReading, proposal: int, least_likely: float = 0.5) -> Evidence:
    """The cells that are at least ``least_likely`` a proposal's own."""
    crop, mask, vertex = reading.crops[proposal], reading.mask[proposal], reading.vertex[proposal]
    own = (mask >= least_likely) & (vertex >= 0)
    index = np.flatnonzero(own)
    points, normals = _surface(reading.points[proposal], reading.valid[proposal], own, crop.rotation, crop.centre)
    return Evidence(
        points=points,
        normals=normals,
        vertices=vertex.ravel()[index].astype(np.int32),
        parts=reading.part[proposal].ravel()[index],
        similarity=reading.similarity[proposal].ravel()[index],
        likelihood=mask.ravel()[index],
    )


def surface_reference(reading: BodyReading, proposal: int, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals [K, 3] of the cells ``own`` [64, 64], written to be read."""
    measured = np.moveaxis(reading.points[proposal], 0, -1).astype(np.float64)  # [64, 64, 3]
    points = reading.crops[proposal].to_camera(measured)
    points[~reading.valid[proposal]] = 0.0
    normals = depth_normals(points, _NORMAL_RADIUS, _NORMAL_JUMP)
    return points[own], normals[own]


@numba.njit(cache=True, nogil=True)
def _surface(measured, valid, own, rotation, centre):
    """:func:`surface_reference`, of the part of the crop that holds the cells."""
    height, width = own.shape
    count, top, bottom, left, right = 0, height, 0, width, 0
    for i in range(height):
        for j in range(width):
            if own[i, j]:
                count += 1
                top, bottom = min(top, i), max(bottom, i + 1)
                left, right = min(left, j), max(right, j + 1)
    points, normals = np.empty((count, 3)), np.empty((count, 3))
    if count == 0:
        return points, normals
    # Normals look at their neighbours.
    top, bottom = max(top - _NORMAL_RADIUS, 0), min(bottom + _NORMAL_RADIUS, height)
    left, right = max(left - _NORMAL_RADIUS, 0), min(right + _NORMAL_RADIUS, width)
    image = np.zeros((bottom - top, right - left, 3))
    for i in range(top, bottom):
        for j in range(left, right):
            if valid[i, j]:
                x, y, z = np.float64(measured[0, i, j]), np.float64(measured[1, i, j]), np.float64(measured[2, i, j])
                for c in range(3):
                    image[i - top, j - left, c] = (
                        x * rotation[0, c] + y * rotation[1, c] + z * rotation[2, c] + centre[c]
                    )
    normal = depth_normals(image, _NORMAL_RADIUS, _NORMAL_JUMP)
    k = 0
    for i in range(top, bottom):
        for j in range(left, right):
            if own[i, j]:
                points[k] = image[i - top, j - left]
                normals[k] = normal[i - top, j - left]
                k += 1
    return points, normals
