"""BodyNet: one person's metric crop in; mask, body parts, surface descriptors and an SMPL body out.

The descriptor network of seed 004 and the SMPL branch of seed 002, chapter 5, on one trunk. Differences, and why:

- Seed 004's trunk is AlexNet at stride 4 with a learned upsampling; ours is a feature pyramid at stride 2, a tenth of
  the parameters, because the crop has already removed scale and position.
- Seed 002's SMPL branch is HMR's iterative regressor (three rounds from pooled features). Ours first lets every cell of
  the image vote for the joints and for landmarks of the skin (A2J, Xiong et al., ICCV 2019) and then turns these
  points into a body: dense votes learn an order of magnitude faster than regression from pooled features.
- Rotations are predicted against the camera, not against the parent joint: an error at the hip does not turn the foot.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from human_recon.body.landmarks import LANDMARK_NAMES
from human_recon.body.skeleton import JOINT_COUNT
from human_recon.perception.crops import SIZE, WINDOW
from training.networks.backbone import Backbone, BackboneConfig, conv_bn_relu

STRIDE = 2  # output pixel (i, j) speaks for crop pixel (2 i, 2 j)
CHANNELS = 5  # X, Y, Z, valid, prompt
DESCRIPTOR = 16  # seed 004, 4.2
POINTS = JOINT_COUNT + len(LANDMARK_NAMES)
BETAS = 10
VOTE_LEVEL = 2  # of the trunk: 1/8 of the crop


@dataclass(frozen=True)
class BodyNetConfig:
    """Size of the network."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    vote_width: int = 128  # channels before the votes
    body_width: int = 512  # of the layers from points to a body


@dataclass(frozen=True)
class BodyNetOutput:
    """N crops; lengths in metres in the crop frame."""

    mask: torch.Tensor  # [N, S/2, S/2] logit: this person
    parts: torch.Tensor  # [N, 24, S/2, S/2] logits
    descriptor: torch.Tensor  # [N, 16, S/2, S/2], to be normalised to length 1
    points: torch.Tensor  # [N, 57, 3] joints and landmarks, from votes
    points_log_scale: torch.Tensor  # [N, 57] log of the Laplace scale of their errors in each axis
    rotations: torch.Tensor  # [N, 24, 6] first two columns of each bone's rotation against the crop frame
    betas: torch.Tensor  # [N, 10]
    root: torch.Tensor  # [N, 3] pelvis joint
    joints_log_scale: torch.Tensor  # [N, 24] of the joints of this body


class BodyNet(nn.Module):
    """Input [N, 5, S, S] (X, Y, Z in metres, valid, prompt)."""

    cells: torch.Tensor

    def __init__(self, config: BodyNetConfig | None = None) -> None:
        super().__init__()
        config = config or BodyNetConfig()
        self.backbone = Backbone(CHANNELS, config.backbone)
        width, levels = config.backbone.width, config.backbone.channels
        self.dense = nn.Conv2d(width, 1 + JOINT_COUNT + DESCRIPTOR, kernel_size=1)
        self.vote = nn.Sequential(
            conv_bn_relu(width + levels[VOTE_LEVEL], config.vote_width), nn.Conv2d(config.vote_width, 5 * POINTS, 1)
        )
        self.body = BodyHead(levels[-1], config.body_width)
        side = SIZE >> (VOTE_LEVEL + 1)
        middle = (torch.arange(side) + 0.5) / side * WINDOW - WINDOW / 2
        cells = torch.stack([*torch.meshgrid(middle, middle, indexing="xy"), torch.zeros(side, side)])
        self.register_buffer("cells", cells.reshape(1, 1, 3, -1), persistent=False)

    def forward(self, x: torch.Tensor) -> BodyNetOutput:
        up, down = self.backbone(x)
        dense = self.dense(down[0])
        points, scale = self.gather(self.vote(torch.cat([down[VOTE_LEVEL], up[VOTE_LEVEL]], dim=1)))
        pooled = up[-1].mean(dim=(2, 3))
        rotations, betas, root, joints_scale = self.body(points, scale, pooled)
        return BodyNetOutput(
            mask=dense[:, 0],
            parts=dense[:, 1 : 1 + JOINT_COUNT],
            descriptor=dense[:, 1 + JOINT_COUNT :],
            points=points,
            points_log_scale=scale,
            rotations=rotations,
            betas=betas,
            root=root,
            joints_log_scale=joints_scale,
        )

    def gather(self, votes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of the cells' votes for each point, weighted by each cell's own trust in it."""
        votes = votes.float().flatten(2).unflatten(1, (POINTS, 5))  # [N, POINTS, 5, cells]
        weight = votes[:, :, 4:].softmax(dim=-1)
        position = ((votes[:, :, :3] + self.cells) * weight).sum(dim=-1)
        return position, (votes[:, :, 3:4] * weight).sum(dim=-1)[:, :, 0]


class BodyHead(nn.Module):
    """From points and a summary of the image to a body: inverse kinematics, learned."""

    def __init__(self, pooled: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(POINTS * 4 + 3 + pooled, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.last = nn.Linear(width, JOINT_COUNT * 6 + BETAS + 3 + JOINT_COUNT)

    def forward(
        self, points: torch.Tensor, scale: torch.Tensor, pooled: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotations [N, 24, 6], betas [N, 10], root [N, 3], log scales [N, 24]."""
        pelvis = points[:, :1]
        relative = (points - pelvis).flatten(1)
        x = functional.relu(self.first(torch.cat([relative, pelvis[:, 0], scale, pooled], dim=1)))
        x = x + functional.relu(self.second(x))
        x = x + functional.relu(self.third(x))
        rotations, betas, root, log_scale = self.last(x).float().split([JOINT_COUNT * 6, BETAS, 3, JOINT_COUNT], dim=1)
        return rotations.unflatten(1, (JOINT_COUNT, 6)), betas, pelvis[:, 0].float() + root, log_scale
