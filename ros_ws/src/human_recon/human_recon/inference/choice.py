"""Which engine to run a network with: asked for by name, or the fastest that agrees with ONNX Runtime in float32."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Literal, get_args

from human_recon.inference.batching import SIZES
from human_recon.inference.engine import Engine, EngineError
from human_recon.inference.files import PRECISIONS, NetworkFiles, NetworkName, Precision
from human_recon.inference.gpu import gpu_name

EngineName = Literal["onnxruntime", "openvino", "tensorrt", "torch"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@dataclass(frozen=True)
class EngineChoice:
    """What the settings ask for."""

    engine: Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    threads: int = 0  # of the CPU; 0: as many as this process may use, at most 4

    def __post_init__(self) -> None:
        if self.engine not in ("auto", *ENGINES):
            raise ValueError(f"engine is {self.engine!r}, not one of auto, {', '.join(ENGINES)}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ValueError(f"precision is {self.precision!r}, not one of auto, {', '.join(PRECISIONS)}")
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}, it must be at least 0")


@dataclass(frozen=True)
class Candidate:
    """One way to run a network."""

    engine: EngineName
    precision: Precision

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def open_engine(network: NetworkName, choice: EngineChoice | None = None, files: NetworkFiles | None = None) -> Engine:
    """The network ``network``, ready to run.

    An engine and a precision given by name are what runs, or an error says why they cannot. ``auto`` in either place
    picks among what is installed: see `human_recon.inference.selection`.

    Args:
        files: other files than those that ship.

    Raises:
        EngineError: nothing that is installed can run the network as asked.
    """
    choice = choice or EngineChoice()
    files = files or NetworkFiles.shipped(network)
    threads = choice.threads or default_threads()
    if choice.engine != "auto" and choice.precision != "auto":
        return build(Candidate(choice.engine, choice.precision), files, threads)
    from human_recon.inference.selection import select

    return select(files, candidates(choice), threads)


def candidates(choice: EngineChoice) -> list[Candidate]:
    """Every way to run a network that ``choice`` leaves open.

    torch is among them only where there is a GPU, or where it is asked for: on a CPU it is slower than ONNX Runtime and
    takes seconds and hundreds of megabytes to load.
    """
    engines: tuple[EngineName, ...] = (choice.engine,) if choice.engine != "auto" else ENGINES
    if choice.engine == "auto" and gpu_name() is None:
        engines = tuple(engine for engine in ENGINES if engine != "torch")
    precisions = PRECISIONS if choice.precision == "auto" else (choice.precision,)
    return [Candidate(engine, precision) for engine in engines for precision in precisions]


def default_threads() -> int:
    """Of the CPU: what this process may use, at most 4, beyond which networks this small gain little."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, 4)


def build(candidate: Candidate, files: NetworkFiles, threads: int) -> Engine:
    """The engine of ``candidate``, whatever it costs to make. Raises EngineError."""
    problem = missing(candidate.engine)
    if problem is not None:
        raise EngineError(problem)
    graph, precision = files.graph(candidate.precision), candidate.precision
    sizes = SIZES.get(files.name, (1,))
    if candidate.engine == "onnxruntime":
        from human_recon.inference.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph, precision, threads)
    if candidate.engine == "openvino":
        from human_recon.inference.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(graph, precision, threads, max(sizes))
    if candidate.engine == "tensorrt":
        from human_recon.inference.tensorrt_engine import TensorRtEngine

        return TensorRtEngine(graph, precision, sizes)
    from human_recon.inference.engine_torch import TorchEngine

    return TorchEngine(graph, precision, threads, sizes)


_PACKAGES = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "onnx"),
    "torch": ("torch", "onnx"),
}


def missing(engine: EngineName) -> str | None:
    """Why ``engine`` cannot run on this machine, and what to install; None when it can."""
    lacking = [name for name in _PACKAGES[engine] if not _installed(name)]
    if lacking:
        return f"{engine} needs what is not installed: pip install {' '.join(lacking)}"
    if engine == "tensorrt" and gpu_name() is None:
        return "tensorrt needs an NVIDIA GPU and its driver; this machine shows none"
    return None


def _installed(name: str) -> bool:
    """True for a package with code in it: type stubs alone leave a folder of that name, too."""
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None
