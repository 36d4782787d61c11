"""The processes that train one network together, started by `torchrun`; one process alone is the same code."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn


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
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
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

    @torch.no_grad()
    def average_buffers(self, model: nn.Module) -> None:
        """Make batch normalisation's running statistics the mean over the processes."""
        if self.count > 1:
            for buffer in model.buffers():
                if buffer.is_floating_point():
                    torch.distributed.all_reduce(buffer)
                    buffer /= self.count
