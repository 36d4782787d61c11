"""Rigid and similarity alignment of corresponding points, for the errors that leave placement or scale out."""

from __future__ import annotations

import numpy as np


def similarity_transform(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation [3, 3] and translation [3] that take ``source`` [N, 3] nearest to ``target`` [N, 3].

    Minimises sum |s R x + t - y|^2 without reflections (Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", TPAMI 1991, equations 39-42). Where all source points coincide the scale is
    0 and the rotation the identity.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    x, y = source - source_mean, target - target_mean
    spread = float((x**2).sum())
    if spread < 1e-18:
        return 0.0, np.eye(3), target_mean
    u, singular, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = (u * sign) @ vt
    scale = float((singular * sign).sum() / spread)
    return scale, rotation, target_mean - scale * rotation @ source_mean


def procrustes_align(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``source`` [N, 3] after the similarity transform that brings it nearest to ``target`` [N, 3], float64."""
    scale, rotation, translation = similarity_transform(source, target)
    return scale * np.asarray(source, np.float64) @ rotation.T + translation


def scale_align(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``source`` [N, 3] times the one factor that brings it nearest to ``target`` [N, 3]: s = <x, y> / <x, x>."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    spread = float((source**2).sum())
    return source * (float((source * target).sum()) / spread) if spread > 1e-18 else source
