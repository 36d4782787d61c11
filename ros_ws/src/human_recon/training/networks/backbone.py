"""The convolutional trunk that all dense networks here share: residual stages down, lateral connections back up.

Plain 3x3 convolutions, batch normalisation that folds away, ReLU: what INT8 engines run fastest. The resolution halves
in the stem and in every stage; the top-down path (feature pyramid networks, Lin et al., CVPR 2017) brings context back
to the stem's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class BackboneConfig:
    """Sizes of the trunk."""

    channels: tuple[int, ...] = (32, 64, 128, 192, 256)  # of the stem and of each stage
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # residual blocks of each stage
    width: int = 64  # channels of the top-down path

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.channels) - 1 or min(*self.channels, *self.blocks, self.width) < 1:
            raise ValueError(f"channels {self.channels} need one more entry than blocks {self.blocks}, all at least 1")


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., CVPR 2016, the basic block)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(inputs, outputs, stride=stride)
        self.second = conv_bn(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, kernel=1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class Backbone(nn.Module):
    """Image [N, C, H, W] -> features at 1/2, 1/4, 1/8, ... of the resolution, finest first.

    H and W need not be powers of two: a coarser level is enlarged to the size of the finer one.
    """

    def __init__(self, inputs: int, config: BackboneConfig) -> None:
        super().__init__()
        channels = config.channels
        self.stem = conv_bn_relu(inputs, channels[0], stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(before, after, stride=2),
                *(ResidualBlock(after, after, stride=1) for _ in range(count - 1)),
            )
            for before, after, count in zip(channels[:-1], channels[1:], config.blocks, strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(count, config.width, kernel_size=1) for count in channels)
        self.merge = nn.ModuleList(conv_bn_relu(config.width, config.width) for _ in channels[:-1])

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Bottom-up features [N, channels[k], ...] and top-down features [N, width, ...] of every level."""
        # The stem sees metres: differences of millimetres need more than the 8 bits of a bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            up = [self.stem(x.float())]
        for stage in self.stages:
            up.append(stage(up[-1]))
        down = [self.lateral[-1](up[-1])]
        for level in range(len(up) - 2, -1, -1):
            coarse = functional.interpolate(down[0], size=up[level].shape[-2:], mode="nearest")
            down.insert(0, self.merge[level](coarse + self.lateral[level](up[level])))
        return up, down
