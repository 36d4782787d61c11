"""TensorRT on an NVIDIA GPU: engines built from ONNX on the machine that runs them, and kept.

NOT MEASURED: written against the type stubs of TensorRT 10.13 and tested with a stand-in; no GPU has run it yet.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import tensorrt

from human_recon.inference import cache
from human_recon.inference.batching import run_in_chunks
from human_recon.inference.cuda_driver import Stream
from human_recon.inference.engine import EngineError, check_image
from human_recon.inference.files import Precision
from human_recon.inference.gpu import gpu_name
from human_recon.inference.onnx_rewrite import float_weights, half_precision, symmetric_quantization

_log = logging.getLogger(__name__)

_Made = TypeVar("_Made")

_FORMAT = 1  # of what this module builds; counts up when it changes


class TensorRtEngine:
    """See `human_recon.inference.engine.Engine`."""

    def __init__(self, graph: Path, precision: Precision, sizes: tuple[int, ...]) -> None:
        """Load the engine of ``graph`` from the cache, or build it, which takes minutes the first time.

        Args:
            sizes: numbers of images at once, each of which gets kernels of its own.
        """
        self._sizes = sizes
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._stream = Stream()
        plan = load_or_build(graph, precision, sizes, self._logger)
        self._runtime = tensorrt.Runtime(self._logger)  # must outlive what it made
        engine = _made(self._runtime.deserialize_cuda_engine(plan), f"load the engine that was built of {graph}")
        self._engine = engine
        self._profiles = {size: _Profile(engine, k, size, self._stream) for k, size in enumerate(sizes)}
        self._shape = _numbers(engine.get_tensor_shape("image"))[1:]
        self.description = f"tensorrt {tensorrt.__version__} {precision}, {gpu_name()}"

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        check_image(image, self._shape)
        self._stream.enter()
        return run_in_chunks(image, self._sizes, lambda batch: self._profiles[len(batch)].run(batch))


class _Profile:
    """One batch size: its shapes, its memory on the GPU."""

    def __init__(self, engine: tensorrt.ICudaEngine, index: int, size: int, stream: Stream) -> None:
        self._stream = stream
        self._context = _made(engine.create_execution_context(), "make an execution context, is the GPU's memory full?")
        self._context.set_optimization_profile_async(index, stream.handle)
        self._context.set_input_shape("image", (size, *_numbers(engine.get_tensor_shape("image"))[1:]))
        self._addresses: dict[str, int] = {}
        self._outputs: dict[str, tuple[int, ...]] = {}
        for k in range(engine.num_io_tensors):
            name = engine.get_tensor_name(k)
            shape = _numbers(self._context.get_tensor_shape(name))
            self._addresses[name] = stream.allocate(4 * int(np.prod(shape)))
            self._context.set_tensor_address(name, self._addresses[name])
            if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.OUTPUT:
                self._outputs[name] = shape
        stream.synchronize()

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        batch = np.ascontiguousarray(batch)
        self._stream.to_device(self._addresses["image"], batch)
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError("TensorRT could not run the network; its log says why")
        result = {name: np.empty(shape, np.float32) for name, shape in self._outputs.items()}
        for name, array in result.items():
            self._stream.to_host(array, self._addresses[name])
        self._stream.synchronize()
        return result


@dataclass(frozen=True)
class _Stored:
    """An engine in the cache and, beside it, what it was built of."""

    plan: Path

    @property
    def sidecar(self) -> Path:
        return self.plan.with_suffix(".json")

    def load(self, facts: dict[str, Any]) -> bytes | None:
        """The plan; None when it is missing, damaged, or of other facts."""
        known = cache.read_json(self.sidecar)
        try:
            plan = self.plan.read_bytes()
        except OSError:
            return None
        if known is None or known.get("facts") != facts or known.get("sha256") != hashlib.sha256(plan).hexdigest():
            _log.warning("%s is damaged or of another build: it is built again", self.plan)
            return None
        return plan

    def save(self, plan: bytes, facts: dict[str, Any]) -> None:
        try:
            cache.write(self.plan, plan)
            cache.write_json(self.sidecar, {"facts": facts, "sha256": hashlib.sha256(plan).hexdigest()})
        except OSError as error:
            _log.warning("%s: %s; the engine will be built again next time", self.plan, error.strerror or error)


def load_or_build(graph: Path, precision: Precision, sizes: tuple[int, ...], logger: tensorrt.Logger) -> bytes:
    """The serialised engine: the cached one when all that it depends on is the same, else a new one. EngineError."""
    facts = {
        "model_sha256": hashlib.sha256(graph.read_bytes()).hexdigest(),
        "tensorrt": tensorrt.__version__,
        "gpu": gpu_name(),
        "precision": precision,
        "sizes": list(sizes),
        "format": _FORMAT,
    }
    folder = cache.cache_folder() / "tensorrt"
    stored = _Stored(folder / f"{graph.stem}-{precision}-{cache.fingerprint(facts)}.plan")
    plan = stored.load(facts)
    if plan is None:
        _log.info("building the TensorRT engine of %s in %s; this takes minutes, once", graph.name, precision)
        timings = folder / f"timings-{cache.fingerprint({'tensorrt': tensorrt.__version__, 'gpu': gpu_name()})}.bin"
        plan = build_plan(typed_graph(graph, precision), sizes, logger, timings)
        stored.save(plan, facts)
    return plan


def typed_graph(graph: Path, precision: Precision) -> bytes:
    """``graph`` with the number formats of ``precision`` written into it. Raises EngineError."""
    try:
        model = onnx.load(graph)
    except Exception as error:
        raise EngineError(f"{graph}: not an ONNX file ({error})") from error
    if precision == "fp32":
        return float_weights(model).SerializeToString()
    if precision == "int8":
        model = symmetric_quantization(model)
    return half_precision(model).SerializeToString()


def build_plan(graph: bytes, sizes: tuple[int, ...], logger: tensorrt.Logger, timings: Path) -> bytes:
    """Build an engine with one profile of fixed shape per batch size.

    Args:
        graph: ONNX with its number formats.
        timings: where to keep how long each kernel took, so that the next build need not measure it again.

    Raises:
        EngineError: TensorRT does not understand the graph, or cannot build it.
    """
    builder = tensorrt.Builder(logger)
    # Always on from TensorRT 11; before that, types would be ours to set layer by layer.
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(graph):
        problems = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise EngineError(f"TensorRT does not understand the network: {problems}")
    config = builder.create_builder_config()
    known = timings.read_bytes() if timings.is_file() else b""
    timing_cache = config.create_timing_cache(known)
    if not config.set_timing_cache(timing_cache, ignore_mismatch=False):
        timing_cache = config.create_timing_cache(b"")  # of another version or GPU
        config.set_timing_cache(timing_cache, ignore_mismatch=False)
    shape = _numbers(network.get_input(0).shape)[1:]
    for size in sizes:
        profile = builder.create_optimization_profile()
        fixed = tensorrt.Dims([size, *shape])
        profile.set_shape("image", fixed, fixed, fixed)
        config.add_optimization_profile(profile)
    plan = _made(builder.build_serialized_network(network, config), "build the network")
    try:
        cache.write(timings, bytes(timing_cache.serialize()))
    except OSError as error:
        _log.warning("%s: %s; the next build takes as long", timings, error.strerror or error)
    return bytes(plan)


def _made(thing: _Made | None, what: str) -> _Made:
    """What TensorRT returned; its functions return None and write to their log when they fail."""
    if thing is None:
        raise EngineError(f"TensorRT cannot {what}; its log says why")
    return thing


def _numbers(dims: tensorrt.Dims) -> tuple[int, ...]:
    return tuple(int(dims[k]) for k in range(len(dims)))
