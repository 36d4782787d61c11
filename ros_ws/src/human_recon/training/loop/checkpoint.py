"""What a training is resumed from."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn


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
        """Read ``path``; only tensors and plain values are unpickled, nothing in the file can run code.

        Raises:
            ValueError: the file is damaged, or something else.
        """
        try:
            with path.open("rb") as file:
                content = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0] or "it is empty"
            raise ValueError(f"{path} is no checkpoint, or damaged: {reason}") from None
        if not isinstance(content, dict) or set(content) != {field.name for field in fields(Checkpoint)}:
            raise ValueError(f"{path} is no checkpoint of a training here")
        return Checkpoint(**content)

    def check_fits(self, model: nn.Module, path: Path) -> None:
        """Raise ValueError when the weights, read from ``path``, are those of another network."""
        mine = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        its = {name: tuple(value.shape) for name, value in self.model.items()}
        wrong = [f"{name} {its.get(name, 'missing')}" for name, shape in mine.items() if its.get(name) != shape]
        wrong += [f"{name} {shape}" for name, shape in its.items() if name not in mine]
        if wrong:
            raise ValueError(
                f"{path} holds another network than {type(model).__name__}, or one of another size "
                f"({len(wrong)} tensors differ: {', '.join(wrong[:3])} ...): train in another folder"
            )
