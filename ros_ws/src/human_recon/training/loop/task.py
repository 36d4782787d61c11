"""What a training loop needs to know about a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from human_recon.simulation.assets import Assets
from human_recon.simulation.stream import Maker

Tensors = dict[str, torch.Tensor]


class Task(Protocol):
    """A network, its data and its loss. Everything random in it comes from the generator it is given."""

    config: Any  # a dataclass of values and dataclasses; its ``stream`` is a StreamConfig
    assets: Assets  # what the data are made from
    model: nn.Module  # called by the loop through `loss`, and nowhere else

    def maker(self) -> Maker[Any]:
        """What makes the batches."""
        ...

    def tensors(self, batch: Any, mirrored: bool) -> Tensors:
        """A batch of the stream as tensors on the CPU, mirrored left to right if asked for."""
        ...

    def loss(
        self, model: nn.Module, tensors: Tensors, generator: torch.Generator
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The loss to be minimised and its named parts, for the log. ``model`` may be wrapped (DDP)."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on samples that are never trained on. ``score`` decides which checkpoint is best: higher is."""
        ...


def moved(tensors: Tensors, device: torch.device) -> Tensors:
    """The tensors on ``device``; to a GPU through pinned memory, without waiting for it."""
    if device.type != "cuda":
        return {name: value.to(device) for name, value in tensors.items()}
    return {name: value.pin_memory().to(device, non_blocking=True) for name, value in tensors.items()}


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device
