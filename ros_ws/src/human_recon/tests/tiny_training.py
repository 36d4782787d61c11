"""A training small enough for tests: python -m tests.tiny_training FOLDER ... has all options of the real ones.

The network learns on 8x8 images whether their left half is brighter than their right half.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from human_recon.simulation.assets import Assets
from human_recon.simulation.stream import StreamConfig
from training.loop.command import train
from training.loop.task import Tensors, device_of, moved

SIDE = 8


@dataclass(frozen=True)
class TinyConfig:
    """Settings of every kind that the real tasks have."""

    stream: StreamConfig = field(default_factory=lambda: StreamConfig(batch=16))
    width: int = 6
    noise: float = 0.1  # that the loss adds to its input
    validation: int = 4  # batches
    fail_at: int = -1  # batch of the stream that cannot be made


@dataclass(frozen=True)
class TinyMaker:
    """Batch b is a function of (seed, b)."""

    seed: int
    batch: int
    fail_at: int = -1

    def open(self) -> TinyMaker:
        return self

    def make(self, index: int) -> np.ndarray:
        if index == self.fail_at:
            raise OSError(f"no batch {index}")
        return np.random.default_rng([self.seed, index]).normal(size=(self.batch, 1, SIDE, SIDE)).astype(np.float32)


class TinyTask:
    """See `training.loop.task.Task`."""

    def __init__(self, config: TinyConfig, assets: Assets) -> None:
        self.config = config
        self.assets = assets
        self.model = nn.Sequential(
            nn.Conv2d(1, config.width, 3, padding=1),
            nn.BatchNorm2d(config.width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(config.width * SIDE * SIDE, 1),
        )

    def maker(self) -> TinyMaker:
        return TinyMaker(self.config.stream.seed, self.config.stream.batch, self.config.fail_at)

    def tensors(self, batch: np.ndarray, mirrored: bool) -> Tensors:
        image = torch.from_numpy(np.flip(batch, -1).copy() if mirrored else batch)
        left, right = image.split(SIDE // 2, dim=-1)
        return {"image": image, "target": (left.mean((1, 2, 3)) > right.mean((1, 2, 3))).float()}

    def loss(
        self, model: nn.Module, tensors: Tensors, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        noise = torch.randn(tensors["image"].shape, generator=generator) * self.config.noise
        logit = model(tensors["image"] + noise.to(tensors["image"].device)).float()[:, 0]
        entropy = functional.binary_cross_entropy_with_logits(logit, tensors["target"])
        return entropy, {"entropy": entropy.detach()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        model.eval()
        maker = TinyMaker(77, self.config.stream.batch)
        right = []
        for index in range(self.config.validation):
            tensors = moved(self.tensors(maker.make(index), False), device_of(model))
            right.append((model(tensors["image"])[:, 0] > 0) == (tensors["target"] > 0))
        return {"score": float(torch.cat(right).float().mean())}


if __name__ == "__main__":
    train("Tiny.", TinyConfig, TinyTask)
