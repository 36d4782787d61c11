"""What teaches the SMPL branch of BodyNet: the supervised part of seed 002, section 5.3.2."""

from __future__ import annotations

import torch

from human_recon.body.landmarks import landmark_vertices
from human_recon.body.lbs_torch import BodyLayer, rotvec_to_matrix
from human_recon.body.model import BodyModel
from training.body_net.network import BodyNetOutput
from training.body_net.posing import posed
from training.body_net.rotations import global_rotations, matrix_from_6d
from training.loop.task import Tensors


class SmplLoss:
    """Errors of voted points, rotations, joints, landmarks, shape; who is seen little counts little."""

    def __init__(self, body: BodyModel) -> None:
        self.layer = BodyLayer(body, vertices=landmark_vertices(body))

    def __call__(self, output: BodyNetOutput, tensors: Tensors) -> dict[str, torch.Tensor]:
        """The terms by the names that their weights have in `training.body_net.task.BodyTaskConfig`."""
        weight = torch.where(tensors["present"], tensors["visibility"].clamp(0.2, 1.0), 0.0)
        weight = weight / weight.sum().clamp(min=1e-3)
        self.layer.to(weight.device)
        with torch.no_grad():
            local = rotvec_to_matrix(tensors["pose"])
            true_rotations = global_rotations(local)
            true_landmarks, _ = self.layer(tensors["betas"], local, tensors["trans"])
            true_points = torch.cat([tensors["joints"], true_landmarks], dim=1)
        rotations = matrix_from_6d(output.rotations)
        landmarks, joints = posed(self.layer, rotations, output.betas, output.root)

        def mean(error: torch.Tensor) -> torch.Tensor:
            return (error.flatten(1).mean(1) * weight).sum()

        point_error = (output.points - true_points).abs()
        joint_error = (joints - tensors["joints"]).abs()
        spread = mean(_likelihood(point_error, output.points_log_scale)) + mean(
            _likelihood(joint_error, output.joints_log_scale)
        )
        return {
            "point": mean(point_error),
            "rotation": mean((rotations - true_rotations).abs()),
            "joint": mean(joint_error),
            "landmark": mean((landmarks - true_landmarks).abs()),
            "betas": mean((output.betas - tensors["betas"]).abs()),
            "spread": spread,
        }


def _likelihood(error: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of errors [N, K, 3] under a Laplace distribution; teaches the scale [N, K] alone."""
    log_scale = log_scale.clamp(-6.0, 1.0)
    return error.detach().mean(-1) * torch.exp(-log_scale) + log_scale
