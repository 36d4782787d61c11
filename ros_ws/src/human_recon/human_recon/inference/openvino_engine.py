"""OpenVINO on the CPU: an optional extra, often the fastest on Intel processors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from human_recon.inference.batching import run_in_chunks
from human_recon.inference.engine import EngineError, check_image
from human_recon.inference.files import Precision

# Capability of the device, hint, name. bfloat16 first: processors that have it multiply whole matrices of it.
_SHORT_FLOATS = (("BF16", "bf16", "bfloat16"), ("FP16", "f16", "float16"))


class OpenVinoEngine:
    """See `human_recon.inference.engine.Engine`."""

    def __init__(self, graph: Path, precision: Precision, threads: int, most: int) -> None:
        """Load and compile ``graph``, for every number of images up to ``most``; more go in several batches.

        A number of images that comes for the first time costs a tenth of a second, which must not happen when a second
        person walks in.

        fp16 stands for the 16-bit float that this CPU computes with, bfloat16 or float16, and is refused where it has
        neither; the parts of an INT8 graph that are not integers use it as well.
        """
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        short = next(((hint, name) for capability, hint, name in _SHORT_FLOATS if capability in able), None)
        if precision == "fp16" and short is None:
            raise EngineError("this CPU has no 16-bit floats: choose precision fp32 or int8")
        hint, name = ("f32", "fp32") if precision == "fp32" or short is None else short
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": hint,
        }
        try:
            compiled = core.compile_model(core.read_model(graph), "CPU", settings)
        except RuntimeError as error:
            raise EngineError(f"{graph}: OpenVINO cannot load it ({error})") from error
        self._request = compiled.create_infer_request()
        self._shape = tuple(dimension.get_length() for dimension in list(compiled.inputs[0].get_partial_shape())[1:])
        self._outputs = [output.get_any_name() for output in compiled.outputs]
        self._sizes = tuple(range(1, most + 1))
        for size in self._sizes:
            self._run(np.zeros((size, *self._shape), np.float32))
        numbers = f"int8 and {name}" if precision == "int8" else name
        plural = "" if threads == 1 else "s"
        self.description = f"openvino {openvino.__version__.split('-')[0]} {numbers}, CPU, {threads} thread{plural}"

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        check_image(image, self._shape)
        return run_in_chunks(image, self._sizes, self._run)

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self._request.infer({0: np.ascontiguousarray(batch)})
        return {
            name: self._request.get_output_tensor(k).data.astype(np.float32)  # a copy, the tensor is used again
            for k, name in enumerate(self._outputs)
        }
