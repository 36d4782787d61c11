"""Skirts, dresses and long coats, which the wardrobe lacks: a sleeve of cloth around both legs, sewn on the body.

Rings around the body from the waist to the hem, each as wide as the body is there in every direction, and never
narrower than hanging cloth would be. The cloth moves with the pelvis at the waist, with the thigh on its side further
down, and follows the shins partly below the knees: walking opens it, sitting lays it over the thighs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.simulation.outfit import Detail, Material
from human_recon.simulation.pieces import Piece

PELVIS, SPINE1, HIPS, KNEES, ANKLES = 0, 3, (1, 2), (4, 5), (7, 8)
COLUMNS, ROWS = {"full": 44, "light": 22}, {"full": 22, "light": 10}
_UPRIGHT = np.array([1.0, 1.5, 1.0])  # a hem lies on what is level with it rather than on what is nearest
_ARMS = (13, 14, 16, 17, 18, 19, 20, 21, 22, 23)


@dataclass(frozen=True)
class SkirtCut:
    """What a skirt looks like."""

    waist: float  # metres above the pelvis joint where it begins
    length: float  # where it ends: 0 hips, 1 ankles
    ease: float  # metres between body and cloth at the waist
    flare: float  # metres wider all around per metre down from the hips

    @staticmethod
    def draw(rng: np.random.Generator, coat: bool) -> SkirtCut:
        """A skirt, or the lower half of a coat worn over everything else."""
        if coat:
            return SkirtCut(
                rng.uniform(0.05, 0.2), rng.uniform(0.3, 0.8), rng.uniform(0.025, 0.04), rng.uniform(0, 0.12)
            )
        length = rng.uniform(0.22, 0.98)
        flare = rng.uniform(0.0, 0.3) * (1.2 - 0.8 * length)  # long ones are narrower
        return SkirtCut(rng.uniform(0.03, 0.15), length, rng.uniform(0.008, 0.02), flare)


def sewn_skirt(body: BodyModel, cut: SkirtCut, detail: Detail) -> Piece:
    """The skirt as a piece of clothing; its shape directions are derivatives by differences of one beta."""
    columns, rows = COLUMNS[detail], ROWS[detail]
    slices = _Slices(body)
    vertices = slices.rings(body.v_template.astype(np.float64), body.j_template.astype(np.float64), cut, columns, rows)
    shapedirs = np.empty((len(vertices), 3, 10))
    for k in range(10):
        sides = [
            slices.rings(
                body.v_template + sign * body.shapedirs[:, :, k].astype(np.float64),
                body.j_template + sign * body.j_shapedirs[:, :, k].astype(np.float64), cut, columns, rows,
            )
            for sign in (1.0, -1.0)
        ]  # fmt: skip
        shapedirs[:, :, k] = 0.5 * (sides[0] - sides[1])
    indices, weights = _skinning(vertices, body)
    below = slices.nearest(vertices, body.v_template.astype(np.float64))
    middle = vertices.reshape(rows, columns, 3).mean(axis=1, keepdims=True)
    outward = (vertices.reshape(rows, columns, 3) - middle).reshape(-1, 3)
    outward[:, 1] = 0.0
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    down = np.repeat(np.linspace(0.0, 1.0, rows), columns)
    return Piece(
        vertices=vertices.astype(np.float32),
        shapedirs=shapedirs.astype(np.float32),
        faces=_tube(rows, columns),
        skin_indices=indices,
        skin_weights=weights,
        corners=np.repeat(below[:, None], 3, axis=1).astype(np.int32),
        weights=np.tile(np.array([1.0, 0.0, 0.0], np.float32), (len(vertices), 1)),
        material=np.full(len(vertices), Material.CLOTH, np.uint8),
        looseness=(0.8 * np.clip(4.0 * down, 0.0, 1.0)).astype(np.float32),
        outward=outward.astype(np.float32),
    )


def hem_height(body: BodyModel, cut: SkirtCut) -> float:
    """Height of the hem on the template, metres."""
    hips, ankles = (body.j_template[list(joints), 1].astype(np.float64).mean() for joints in (HIPS, ANKLES))
    return float(hips + cut.length * (ankles - hips))


def waist_height(body: BodyModel, cut: SkirtCut) -> float:
    """Height of the upper end on the template, metres."""
    return float(body.j_template[PELVIS, 1]) + cut.waist


class _Slices:
    """Trunk and legs of a body, from which a skirt takes its measures."""

    def __init__(self, body: BodyModel) -> None:
        self.members = np.flatnonzero(~np.isin(vertex_parts(body), (*_ARMS, 10, 11, 12, 15)))

    def rings(self, vertices: np.ndarray, joints: np.ndarray, cut: SkirtCut, columns: int, rows: int) -> np.ndarray:
        """[rows * columns, 3] around a body, from waist to hem, counter-clockwise seen from above from +z."""
        points = vertices[self.members]
        hips, ankles = joints[list(HIPS), 1].mean(), joints[list(ANKLES), 1].mean()
        top, bottom = joints[PELVIS, 1] + cut.waist, hips + cut.length * (ankles - hips)
        heights = np.linspace(top, bottom, rows)
        angle = 2.0 * np.pi * np.arange(columns) / columns
        direction = np.stack([np.sin(angle), np.cos(angle)], axis=1)  # x, z
        centre_z = np.interp(
            heights, [ankles, hips, joints[SPINE1, 1]],
            [joints[list(ANKLES), 2].mean(), joints[list(HIPS), 2].mean(), joints[SPINE1, 2]],
        )  # fmt: skip
        spread = 0.03
        result, hanging = np.empty((rows, columns, 3)), np.zeros(columns)
        for row, height in enumerate(heights):
            near = 1.0 - np.abs(points[:, 1] - height) / spread
            within = near > 0.0
            flat = (points[within][:, [0, 2]] - [0.0, centre_z[row]]) @ direction.T  # [P, columns]
            # soft at the ends of the slice, so that the measure changes smoothly with shape
            reach = (flat - 0.01 * (1.0 - near[within, None])).max(axis=0, initial=0.0)
            hanging = np.maximum(reach, 0.985 * hanging)
            ease = cut.ease * min(1.0, 0.3 + (top - height) / 0.12)  # fitted at the waist
            radius = hanging + ease + cut.flare * max(hips - height, 0.0)
            result[row] = np.stack(
                [radius * direction[:, 0], np.full(columns, height), centre_z[row] + radius * direction[:, 1]], axis=1
            )
        return result.reshape(-1, 3)

    def nearest(self, points: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """[N] the vertex of trunk and legs nearest to each point."""
        members = vertices[self.members]
        return self.members[cKDTree(members * _UPRIGHT).query(points * _UPRIGHT)[1]]


def _skinning(vertices: np.ndarray, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Joints [N, 5] and weights [N, 5]: pelvis above the crotch, thighs below, shins partly below the knees."""
    joints = body.j_template.astype(np.float64)
    hip, knee = joints[list(HIPS), 1].mean(), joints[list(KNEES), 1].mean()
    leg = _smooth((hip + 0.06 - vertices[:, 1]) / 0.2)
    left = _smooth(0.5 + vertices[:, 0] / 0.14)
    shin = 0.8 * _smooth((knee + 0.06 - vertices[:, 1]) / 0.2)
    weights = np.stack(
        [
            1.0 - leg, leg * left * (1.0 - shin), leg * (1.0 - left) * (1.0 - shin), leg * left * shin,
            leg * (1.0 - left) * shin,
        ],
        axis=1,
    )  # fmt: skip
    indices = np.tile(np.array([PELVIS, *HIPS, *KNEES], np.int32), (len(vertices), 1))
    order = np.argsort(-weights, axis=1, kind="stable")
    return (
        np.take_along_axis(indices, order, axis=1),
        np.take_along_axis(weights, order, axis=1).astype(np.float32),
    )


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _tube(rows: int, columns: int) -> np.ndarray:
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a = row * columns + column
    b = row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    return np.concatenate([
        np.stack([a, c, b], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)
    ]).astype(np.int32)  # fmt: skip
