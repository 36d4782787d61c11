"""From what BodyNet says about a body to its surface."""

from __future__ import annotations

import torch

from human_recon.body.lbs_torch import BodyLayer
from training.body_net.rotations import local_rotations


def posed(
    layer: BodyLayer, rotations: torch.Tensor, betas: torch.Tensor, root: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices and joints of bodies given by rotations against the crop frame [N, 24, 3, 3] and pelvis joint [N, 3]."""
    pelvis = layer.j_template[0] + (betas @ layer.j_shapedirs).unflatten(1, (-1, 3))[:, 0]
    return layer(betas, local_rotations(rotations), root - pelvis)
