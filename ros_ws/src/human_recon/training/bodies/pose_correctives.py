"""Pose correctives: what 24-joint skinning lacks against the fine rig, as SMPL's ``posedirs``.

For every vertex v, least squares over sampled people and poses for the linear map D_v from features (R - I) to an
offset in the rest pose: minimise sum_n | target_n - LBS_n - M_n D_v f_n |^2 + ridge |D_v|^2, where M_n is the blended
rotation of the vertex, so that the error counts in the posed body. Only joints whose own rotation leaves an error at
the vertex may correct it, which keeps the correctives local and sparse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.skeleton import JOINT_COUNT, MIRROR_JOINTS, PARENTS
from human_recon.geometry.rotations import rotvec_to_matrix
from training.bodies.anny_source import AnnySource, Shapes
from training.bodies.symmetry import MIRROR, HalfBody


@dataclass(frozen=True)
class Posed:
    """Samples of half bodies: the fine rig's vertices and those of 24-joint skinning."""

    pose: np.ndarray  # [S, 24, 3, 3] rotations relative to the T pose
    target: np.ndarray  # [S, K, 3]
    skinned: np.ndarray  # [S, K, 3]
    blended: np.ndarray  # [S, K, 3, 3] blended rotations of 24-joint skinning


def pose_samples(source: AnnySource, people: Shapes, fine: np.ndarray, coarse: np.ndarray, pose: np.ndarray) -> Posed:
    """Pose people with both rigs.

    Args:
        source: the fine rig.
        people: S people.
        fine: weights [K, 104] of the fine rig.
        coarse: weights [K, 24].
        pose: rotations [S, 24, 3, 3].
    """
    rest, joints = source.pose(people.vertices, fine, people.heads)
    target, _ = source.pose(people.vertices, fine, people.heads, pose)
    skinned = np.empty_like(rest)
    blended = np.empty((*rest.shape, 3))
    for n in range(len(rest)):
        world, position = chain(pose[n], joints[n])
        offset = position - np.einsum("jab,jb->ja", world, joints[n])
        blended[n] = (coarse @ world.reshape(JOINT_COUNT, 9)).reshape(-1, 3, 3)
        skinned[n] = np.einsum("vab,vb->va", blended[n], rest[n]) + coarse @ offset
    return Posed(pose, target, skinned, blended)


def chain(pose: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations [24, 3, 3] and positions [24, 3] of joints with rest positions ``joints`` [24, 3]."""
    world, position = np.empty_like(pose), np.empty_like(joints)
    for j, parent in enumerate(PARENTS):
        if parent < 0:
            world[j], position[j] = pose[j], joints[j]
        else:
            world[j] = world[parent] @ pose[j]
            position[j] = position[parent] + world[parent] @ (joints[j] - joints[parent])
    return world, position


def features(pose: np.ndarray) -> np.ndarray:
    """(R - I) of joints 1 ... 23, row-major: [S, 23, 9]."""
    return (pose[:, 1:] - np.eye(3)).reshape(len(pose), JOINT_COUNT - 1, 9)


def reach(
    source: AnnySource, people: Shapes, fine: np.ndarray, coarse: np.ndarray, angle: float = 0.8, least: float = 5e-4
) -> np.ndarray:
    """Which joints' own rotation leaves an error above ``least`` metres: [K, 23] bool for joints 1 ... 23.

    Each joint is turned by +-``angle`` about each axis alone, from the T pose, on the first of ``people``.
    """
    one = Shapes(people.vertices[:1], people.heads[:1], people.age[:1])
    turns = rotvec_to_matrix(angle * np.concatenate([np.eye(3), -np.eye(3)]))
    reached = np.zeros((fine.shape[0], JOINT_COUNT - 1), dtype=bool)
    for j in range(1, JOINT_COUNT):
        for turn in turns:
            pose = np.tile(np.eye(3), (1, JOINT_COUNT, 1, 1))
            pose[0, j] = turn
            posed = pose_samples(source, one, fine, coarse, pose)
            reached[:, j - 1] |= np.linalg.norm(posed.target - posed.skinned, axis=-1)[0] > least
    return reached


def fit(posed: Posed, reached: np.ndarray, ridge: float) -> np.ndarray:
    """Directions [K, 3, 207] in metres per unit of (R - I).

    ``ridge`` is relative to the number of samples: metres^2 of mean squared error that unit directions cost.
    """
    samples, size = posed.target.shape[:2]
    feature = features(posed.pose)
    directions = np.zeros((size, 3, 9 * (JOINT_COUNT - 1)))
    for v in range(size):
        joints = np.flatnonzero(reached[v])
        if len(joints) == 0:
            continue
        chosen = feature[:, joints].reshape(samples, -1)
        system = (posed.blended[:, v, :, :, None] * chosen[:, None, None, :]).reshape(3 * samples, -1)
        wanted = (posed.target[:, v] - posed.skinned[:, v]).reshape(-1)
        normal = system.T @ system + ridge * samples * np.eye(system.shape[1])
        solution = np.linalg.solve(normal, system.T @ wanted).reshape(3, len(joints), 9)
        columns = (9 * joints[:, None] + np.arange(9)).reshape(-1)
        directions[v][:, columns] = solution.reshape(3, -1)
    return directions


def drop_small(directions: np.ndarray, pose: np.ndarray, least: float = 3e-4) -> np.ndarray:
    """Zero the part of each (vertex, joint) whose offset never exceeds ``least`` metres in the poses [S, 24, 3, 3]."""
    feature = features(pose)
    kept = directions.copy()
    for j in range(JOINT_COUNT - 1):
        columns = slice(9 * j, 9 * j + 9)
        offsets = np.einsum("vcf,sf->svc", directions[:, :, columns], feature[:, j])
        small = (np.linalg.norm(offsets, axis=-1) < least).all(axis=0)
        kept[small, :, columns] = 0.0
    return kept


def corrected(posed: Posed, directions: np.ndarray) -> np.ndarray:
    """Vertices [S, K, 3] of 24-joint skinning with correctives."""
    offsets = np.einsum("vcf,sf->svc", directions, features(posed.pose).reshape(len(posed.pose), -1), optimize=True)
    return posed.skinned + np.einsum("svab,svb->sva", posed.blended, offsets)


def whole_directions(directions: np.ndarray, half: HalfBody) -> np.ndarray:
    """Mirror directions [K, 3, 207] of the half to the whole body [V, 3, 207]; exact on the mirror plane."""
    mirrored = mirror_directions(directions)
    directions = directions.copy()
    directions[half.border] = 0.5 * (directions[half.border] + mirrored[half.border])
    return np.concatenate([directions, mirrored[half.inner]])


def mirror_directions(directions: np.ndarray) -> np.ndarray:
    """Directions [..., 3, 207] of the mirrored vertices: the offset and the rotations' features both change sides."""
    blocks = directions.reshape(*directions.shape[:-1], JOINT_COUNT - 1, 3, 3)
    blocks = blocks[..., MIRROR_JOINTS[1:] - 1, :, :]
    blocks = blocks * MIRROR[:, None, None, None] * MIRROR[:, None] * MIRROR
    return blocks.reshape(directions.shape)
