"""What one frame says about one person's body: measured points, each with the place on the body that it shows."""

from __future__ import annotations

from dataclasses import dataclass

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
    crop = reading.crops[proposal]
    measured = np.moveaxis(reading.points[proposal], 0, -1).astype(np.float64)  # [64, 64, 3]
    points = crop.to_camera(measured)
    points[~reading.valid[proposal]] = 0.0
    normals = depth_normals(points, _NORMAL_RADIUS, _NORMAL_JUMP)
    own = (reading.mask[proposal] >= least_likely) & (reading.vertex[proposal] >= 0)
    return Evidence(
        points=points[own],
        normals=normals[own],
        vertices=reading.vertex[proposal][own].astype(np.int32),
        parts=reading.part[proposal][own],
        similarity=reading.similarity[proposal][own],
        likelihood=reading.mask[proposal][own],
    )
