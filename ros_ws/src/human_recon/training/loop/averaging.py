"""The exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average_into(averaged: dict[str, torch.Tensor], model: nn.Module, keep: float) -> None:
    """averaged = keep * averaged + (1 - keep) * model, in place; counters are copied."""
    current = model.state_dict()
    moving = [name for name, value in averaged.items() if value.is_floating_point()]
    torch._foreach_lerp_([averaged[n] for n in moving], [current[n] for n in moving], 1.0 - keep)
    for name, value in averaged.items():
        if not value.is_floating_point():
            value.copy_(current[name])
