"""What a training is resumed from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a training between two steps."""

    model: dict[str, torch.Tensor]
    averaged: dict[str, torch.Tensor]  # moving average of the weights: what is evaluated and shipped
    optimizer: dict[str, Any]
    step: int
    best: float  # best validation score so far
    seconds: float  # training time so far
    config: str  # JSON

    def save(self, path: Path) -> None:
        """Write to ``path``, never leaving half a file under that name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        torch.save(vars(self), part)
        os.replace(part, path)

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """Read ``path``; only tensors and plain values are unpickled, nothing in the file can run code."""
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
