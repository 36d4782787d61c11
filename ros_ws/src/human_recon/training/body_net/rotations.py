"""Rotations in torch: the continuous 6-D form, and rotations against the parent or against the frame."""

from __future__ import annotations

import torch
from torch.nn import functional

from human_recon.body.skeleton import PARENTS


def matrix_from_6d(columns: torch.Tensor) -> torch.Tensor:
    """[..., 6] (first two columns, not yet orthonormal) -> rotation matrices [..., 3, 3].

    Zhou et al., "On the continuity of rotation representations in neural networks", CVPR 2019.
    """
    first = functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def global_rotations(local: torch.Tensor) -> torch.Tensor:
    """Rotations [N, 24, 3, 3] against the parent joint -> against the frame."""
    result: list[torch.Tensor] = []
    for joint, parent in enumerate(PARENTS):
        result.append(local[:, joint] if parent < 0 else result[parent] @ local[:, joint])
    return torch.stack(result, dim=1)


def local_rotations(rotations: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`global_rotations`."""
    parents = rotations[:, list(PARENTS[1:])]
    return torch.cat([rotations[:, :1], parents.transpose(-1, -2) @ rotations[:, 1:]], dim=1)
