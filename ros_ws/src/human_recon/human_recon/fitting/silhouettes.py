"""What a coarse camera would see of each fitted body alone, and how that agrees with what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from human_recon.body.model import BodyModel
from human_recon.body.parts import face_parts
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.fitting.body_fit import Scene
from human_recon.geometry.rasterizer import NEAR
from human_recon.geometry.rasterizer_kernels import fill_mesh, invert_depth

_BORDER = 1.0  # images beyond each border of the image in which silhouettes are drawn


@dataclass(frozen=True, eq=False)
class CoarseScene:
    """Every n-th pixel of a scene."""

    intrinsics: CameraIntrinsics
    depth: np.ndarray  # [H, W] float32, metres, 0 = no reading
    owner: np.ndarray  # [H, W] int16, person of each pixel, -1 = nobody

    @classmethod
    def of(cls, scene: Scene, width: int) -> CoarseScene:
        """At most ``width`` columns."""
        camera = scene.frame.intrinsics
        stride = max(1, -(-camera.width // width))
        depth = np.ascontiguousarray(scene.frame.depth[::stride, ::stride])
        small = replace(
            camera,
            width=depth.shape[1],
            height=depth.shape[0],
            fx=camera.fx / stride,
            fy=camera.fy / stride,
            cx=camera.cx / stride,
            cy=camera.cy / stride,
        )
        return cls(small, depth, np.ascontiguousarray(scene.owner[::stride, ::stride], np.int16))


@dataclass(frozen=True, eq=False)
class Silhouette:
    """One body drawn alone, also beyond the borders of the image."""

    left: int  # column of the coarse image that the window begins at, may be negative
    top: int
    depth: np.ndarray  # [h, w] float32, metres, 0 = not this body
    face: np.ndarray  # [h, w] int32, triangle seen, -1 = none


class SilhouetteDrawer:
    """Draws bodies of one model. Threads may share it."""

    def __init__(self, model: BodyModel) -> None:
        self._faces = np.ascontiguousarray(model.faces, np.int32)
        self.face_part = face_parts(model)  # [F]

    def draw(self, vertices: np.ndarray, camera: CameraIntrinsics) -> Silhouette:
        """Draw the body with ``vertices`` [V, 3] as ``camera`` would see it alone, were its image larger."""
        vertices = np.ascontiguousarray(vertices, np.float32)
        left, right, top, bottom = _extent(
            vertices, camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, _BORDER, NEAR
        )
        shape = (max(bottom - top + 1, 0), max(right - left + 1, 0))
        depth = np.zeros(shape, np.float32)
        person, face = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        if depth.size:
            fill_mesh(
                vertices, self._faces, 0, camera.fx, camera.fy, camera.cx - left, camera.cy - top, NEAR, True,
                depth, person, face, 0,
            )  # fmt: skip
            invert_depth(depth)
        return Silhouette(left, top, depth, face)

    def expected(self, vertices: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
        """[24] float64 pixels that the faces of each part would cover, were nothing and no border in the way."""
        return _projected_areas(
            np.ascontiguousarray(vertices, np.float32), self._faces, self.face_part, camera.fx, camera.fy
        )


@dataclass(frozen=True, eq=False)
class Agreement:
    """How one silhouette agrees with what was measured, in pixels of the coarse scene."""

    whole: int  # of the silhouette
    seen: int  # those that show this person
    free: int  # those before free space: the body is not where it should be
    own: int  # pixels of this person's mask
    part_seen: np.ndarray  # [24] int64, pixels of each part that show this person


def agreement(
    silhouette: Silhouette, person: int, scene: CoarseScene, face_part: np.ndarray, tolerance: float
) -> Agreement:
    """Compare the body of ``person`` with a scene.

    A pixel shows the person where its measurement is theirs, or nobody's and within ``tolerance`` [m] of the body.
    """
    seen, free, part_seen = _agreement(
        silhouette.left,
        silhouette.top,
        silhouette.depth,
        silhouette.face,
        person,
        scene.depth,
        scene.owner,
        face_part,
        tolerance,
    )
    whole = int(np.count_nonzero(silhouette.depth))
    return Agreement(whole, int(seen), int(free), int(np.count_nonzero(scene.owner == person)), part_seen)


@dataclass(frozen=True, eq=False)
class Conflict:
    """Pixels that show one person although the other's body is drawn in front of theirs."""

    seen: int  # index of the person whom the image shows
    drawn: int  # index of the person whose body is nearer
    row: np.ndarray  # [M] of the coarse scene
    column: np.ndarray  # [M]


def depth_order_conflicts(
    silhouettes: Sequence[Silhouette], people: Sequence[int], scene: CoarseScene, tolerance: float
) -> list[Conflict]:
    """Where the order of overlapping bodies contradicts the image: seed 002, section 5.3.4.

    Args:
        silhouettes: of the bodies.
        people: index of each in ``scene.owner``.
        scene: the coarse scene.
        tolerance: metres that a body must be nearer to be in front.
    """
    conflicts = []
    for a in range(len(silhouettes)):
        for b in range(a):
            for seen, drawn in ((a, b), (b, a)):
                pixels = _behind(silhouettes[seen], silhouettes[drawn], people[seen], scene, tolerance)
                if len(pixels):
                    conflicts.append(Conflict(seen, drawn, pixels[:, 0], pixels[:, 1]))
    return conflicts


def _behind(seen: Silhouette, drawn: Silhouette, person: int, scene: CoarseScene, tolerance: float) -> np.ndarray:
    """[M, 2] rows and columns of the pixels of ``person`` whose body ``seen`` lies behind the body ``drawn``."""
    height, width = scene.depth.shape
    left, top = max(seen.left, drawn.left, 0), max(seen.top, drawn.top, 0)
    right = min(seen.left + seen.depth.shape[1], drawn.left + drawn.depth.shape[1], width)
    bottom = min(seen.top + seen.depth.shape[0], drawn.top + drawn.depth.shape[0], height)
    if left >= right or top >= bottom:
        return np.zeros((0, 2), np.int64)

    def cut(s: Silhouette) -> np.ndarray:
        return s.depth[top - s.top : bottom - s.top, left - s.left : right - s.left]

    near, far = cut(drawn), cut(seen)
    wrong = (near > 0.0) & (far > near + tolerance) & (scene.owner[top:bottom, left:right] == person)
    return np.argwhere(wrong) + np.array([top, left])


@njit(cache=True, nogil=True)
def _extent(vertices, fx, fy, cx, cy, width, height, border, near):
    low_u, high_u = -border * width, (1.0 + border) * width
    low_v, high_v = -border * height, (1.0 + border) * height
    left, right, top, bottom = high_u, low_u, high_v, low_v
    for i in range(vertices.shape[0]):
        z = np.float64(vertices[i, 2])
        if not z > near:
            continue
        u, v = fx * vertices[i, 0] / z + cx, fy * vertices[i, 1] / z + cy
        if u == u and v == v:
            left, right = min(left, u), max(right, u)
            top, bottom = min(top, v), max(bottom, v)
    left, right, top, bottom = max(left, low_u), min(right, high_u), max(top, low_v), min(bottom, high_v)
    return int(np.floor(left)), int(np.ceil(right)), int(np.floor(top)), int(np.ceil(bottom))


@njit(cache=True, nogil=True)
def _projected_areas(vertices, faces, face_part, fx, fy):
    result = np.zeros(24)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = vertices[a, 2], vertices[b, 2], vertices[c, 2]
        if not (za > 0.05 and zb > 0.05 and zc > 0.05):
            continue
        ua, va = fx * vertices[a, 0] / za, fy * vertices[a, 1] / za
        ub, vb = fx * vertices[b, 0] / zb, fy * vertices[b, 1] / zb
        uc, vc = fx * vertices[c, 0] / zc, fy * vertices[c, 1] / zc
        area = (uc - ua) * (vb - va) - (ub - ua) * (vc - va)  # y points down: positive when seen from outside
        if area > 0.0:
            result[face_part[f]] += 0.5 * area
    return result


@njit(cache=True, nogil=True)
def _agreement(left, top, body, face, person, depth, owner, face_part, tolerance):
    seen, free = 0, 0
    part_seen = np.zeros(24, np.int64)
    height, width = depth.shape
    for v in range(max(0, -top), min(body.shape[0], height - top)):
        for u in range(max(0, -left), min(body.shape[1], width - left)):
            z = body[v, u]
            measured = depth[v + top, u + left]
            if z <= 0.0 or measured <= 0.0:
                continue
            who = owner[v + top, u + left]
            if who == person or (who < 0 and abs(measured - z) < tolerance):
                seen += 1
                part_seen[face_part[face[v, u]]] += 1
            elif measured > z + tolerance:
                free += 1
    return seen, free, part_seen
