"""PeopleNet: where in the frame are people, and where is the pelvis and the chest of whoever is seen at each pixel.

The detector's role in seed 002, chapter 5, without boxes: every pixel votes for two joints of its person in metres, so
that people who occlude or touch each other are told apart by where their votes gather (Hough voting; compare Papandreou
et al., "PersonLab", ECCV 2018, which votes in pixels). Its input is geometry, `human_recon.perception.people_input`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from human_recon.perception.people_input import CHANNELS
from training.networks.backbone import Backbone, BackboneConfig

STRIDE = 2  # output pixel (i, j) speaks for input pixel (2 i, 2 j)
OUTPUTS = 8


@dataclass(frozen=True)
class PeopleNetConfig:
    """Size of the network."""

    backbone: BackboneConfig = field(
        default_factory=lambda: BackboneConfig(channels=(16, 32, 64, 128, 192), blocks=(1, 2, 2, 2), width=48)
    )


class PeopleNet(nn.Module):
    """Input [N, 6, H, W] -> output [N, 8, H/2, W/2], for the input pixels at even rows and columns.

    Output channels: logit that the pixel is a person's; offset to the pelvis (x, y, z, metres, camera axes); offset to
    the chest (spine3); logarithm of the scale b of a Laplace distribution of the votes' errors in each axis.
    """

    def __init__(self, config: PeopleNetConfig | None = None) -> None:
        super().__init__()
        config = config or PeopleNetConfig()
        self.backbone = Backbone(CHANNELS, config.backbone)
        self.head = nn.Conv2d(config.backbone.width, OUTPUTS, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, features = self.backbone(x)
        return self.head(features[0])
