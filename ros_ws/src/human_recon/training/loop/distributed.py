"""The processes that train one network together, started by `torchrun`; one process alone is the same code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import nn

_PATIENCE = timedelta(hours=2)  # the others wait while the first process evaluates


@dataclass(frozen=True)
class Processes:
    """This process and the others."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def join(device: torch.device) -> Processes:
        """Join the group that torchrun's environment variables describe; alone without them."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return Processes()
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        return Processes(torch.distributed.get_rank(), count)

    @property
    def is_first(self) -> bool:
        """The one that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        """Leave the group."""
        if self.count > 1:
            torch.distributed.destroy_process_group()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of ``values`` over the processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values


class RunningStatistics:
    """Batch normalisation's running statistics, where one step sees several batches.

    Every batch of a step updates those from before the step, and the step leaves the mean of what came out: it must not
    matter which batch came first, nor in which process it was.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        statistics = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
        self._values = [value for value in statistics if value is not None]
        self._before: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []

    def begin(self) -> None:
        """Before the first batch of a step."""
        self._before = [value.clone() for value in self._values]
        self._sums = [torch.zeros_like(value) for value in self._values]

    @torch.no_grad()
    def add(self) -> None:
        """After each batch."""
        if self._values:
            torch._foreach_add_(self._sums, self._values)
            torch._foreach_copy_(self._values, self._before)

    @torch.no_grad()
    def end(self, batches: int, processes: Processes) -> None:
        """After the last of the step's ``batches``, counted over all processes."""
        if self._values:
            total = processes.sum(torch.cat(self._sums)) / batches
            torch._foreach_copy_(self._values, list(total.split([len(value) for value in self._values])))
