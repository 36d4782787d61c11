"""PyTorch: on an NVIDIA GPU with CUDA graphs, on a CPU for comparison.

CUDA graphs NOT MEASURED: no GPU has run them yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from human_recon.inference.batching import run_in_chunks
from human_recon.inference.engine import EngineError, check_image
from human_recon.inference.files import Precision
from human_recon.inference.gpu import gpu_name
from human_recon.inference.graph_torch import TorchGraph

_Outputs = tuple[torch.Tensor, ...]


class TorchEngine:
    """See `human_recon.inference.engine.Engine`."""

    def __init__(self, graph: Path, precision: Precision, threads: int, sizes: tuple[int, ...]) -> None:
        """Load ``graph``; fp16 is float16 on a GPU, bfloat16 on a CPU; int8 is refused.

        Args:
            sizes: on a GPU, numbers of images at once; each gets a CUDA graph of its own.
        """
        if precision == "int8":
            raise EngineError("torch has no kernels for our INT8 graphs: choose precision fp32 or fp16")
        gpu = find_gpu()
        self._device = torch.device("cpu") if gpu is None else gpu
        kind = torch.float32 if precision == "fp32" else torch.bfloat16 if gpu is None else torch.float16
        network = TorchGraph(graph).to(kind).to(self._device, memory_format=torch.channels_last).eval()
        self._shape, self._names = network.image_shape, network.outputs
        where = f"CPU, {threads} thread{'' if threads == 1 else 's'}" if gpu is None else str(gpu_name())
        self.description = f"torch {torch.__version__} {str(kind).removeprefix('torch.')}, {where}"
        self._sizes = None if gpu is None else sizes
        if gpu is not None:
            self._captured = {size: capture(network, self._blank(size)) for size in sizes}
        else:
            torch.set_num_threads(threads)  # of the whole process: torch knows no other
            self._network = network

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        check_image(image, self._shape)
        if self._sizes is None:
            return self._named(self._network, image)
        return run_in_chunks(image, self._sizes, lambda batch: self._named(self._captured[len(batch)], batch))

    def _named(self, network: Callable[[torch.Tensor], _Outputs], batch: np.ndarray) -> dict[str, np.ndarray]:
        image = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
        with torch.inference_mode():
            outputs = network(image.contiguous(memory_format=torch.channels_last))
        return {name: np.array(value.cpu().numpy()) for name, value in zip(self._names, outputs, strict=True)}

    def _blank(self, size: int) -> torch.Tensor:
        blank = torch.zeros(size, *self._shape, device=self._device)
        return blank.contiguous(memory_format=torch.channels_last)


def find_gpu() -> torch.device | None:
    """The first GPU that torch can use."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else None


def capture(network: Callable[[torch.Tensor], _Outputs], example: torch.Tensor) -> Callable[[torch.Tensor], _Outputs]:
    """``network`` as one CUDA graph for images of the shape of ``example``: one launch instead of hundreds.

    The outputs are overwritten by the next call.
    """
    image = example.clone(memory_format=torch.preserve_format)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.inference_mode():
        for _ in range(3):  # libraries choose their kernels and take their memory, which must not happen in a capture
            network(image)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        outputs = network(image)

    def replay(batch: torch.Tensor) -> _Outputs:
        image.copy_(batch)
        graph.replay()
        return outputs

    return replay
