"""Shaded bodies: smooth normals, one soft light, a darker rim so that limbs stand out from torsos."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rasterizer import Raster, barycentric, rasterize

_LIGHT = (-0.35, -0.70, -0.62)  # towards the light: from the upper left, behind the camera


@dataclass(frozen=True)
class ShadedMeshes:
    """Rendered bodies, ready to be composed over a picture of the same camera."""

    color: np.ndarray  # [H, W, 3] float32, 0..255, premultiplied with the coverage
    coverage: np.ndarray  # [H, W] float32, part of the pixel that shows a body
    raster: Raster  # at the picture's own resolution


def shade_meshes(
    vertices: np.ndarray,  # [P, V, 3] metres, camera frame
    faces: np.ndarray,  # [F, 3]
    intrinsics: CameraIntrinsics,
    colors: np.ndarray,  # [P, 3] RGB 0..255
    supersample: int = 1,
    light: tuple[float, float, float] = _LIGHT,  # direction towards the light, camera frame
) -> ShadedMeshes:
    """Render bodies with Lambert shading; ``supersample`` > 1 averages that many samples per pixel side."""
    raster = rasterize(vertices, faces, intrinsics)
    fine, camera = raster, intrinsics
    if supersample > 1:
        camera = intrinsics.pinhole.scaled(supersample)
        fine = rasterize(vertices, faces, camera)
    vertices = np.ascontiguousarray(vertices, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    color = np.zeros((*fine.depth.shape, 3), np.float32)
    coverage = (fine.face >= 0).astype(np.float32)
    direction = np.array(light, np.float32) / np.float32(np.linalg.norm(light))
    rays = (camera.fx, camera.fy, camera.cx, camera.cy)
    _shade(
        fine.person,
        fine.face,
        barycentric(fine, vertices, faces, camera),
        vertex_normals(vertices, faces).astype(np.float32),
        faces,
        np.ascontiguousarray(colors, np.float32).reshape(-1, 3),
        direction,
        *(float(x) for x in rays),
        color,
    )
    if supersample > 1:
        size = (intrinsics.width, intrinsics.height)
        color = cv2.resize(color, size, interpolation=cv2.INTER_AREA)
        coverage = cv2.resize(coverage, size, interpolation=cv2.INTER_AREA)
    return ShadedMeshes(color=color, coverage=coverage, raster=raster)


@numba.njit(cache=True, nogil=True)
def _shade(
    person: np.ndarray,
    face: np.ndarray,
    weights: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray,
    light: np.ndarray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    out: np.ndarray,
) -> None:
    for v in range(face.shape[0]):
        for u in range(face.shape[1]):
            f = face[v, u]
            if f < 0:
                continue
            p = person[v, u]
            nx, ny, nz = 0.0, 0.0, 0.0
            for corner in range(3):
                w = weights[v, u, corner]
                n = normals[p, faces[f, corner]]
                nx += w * n[0]
                ny += w * n[1]
                nz += w * n[2]
            length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
            dx, dy = (u - cx) / fx, (v - cy) / fy
            toward_eye = -(nx * dx + ny * dy + nz) / (length * math.sqrt(dx * dx + dy * dy + 1.0))
            toward_light = (nx * light[0] + ny * light[1] + nz * light[2]) / length
            facing = max(toward_eye, 0.0)
            lit = 0.30 + 0.45 * max(toward_light, 0.0) + 0.30 * facing
            lit *= 1.0 - 0.45 * (1.0 - facing) ** 3  # rim
            gloss = 26.0 * max(toward_light, 0.0) ** 24
            for channel in range(3):
                out[v, u, channel] = min(colors[p, channel] * lit + gloss, 255.0)
