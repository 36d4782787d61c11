"""ONNX Runtime on the CPU: the engine that is always there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from human_recon.inference.engine import EngineError, check_image
from human_recon.inference.files import Precision


class OnnxRuntimeEngine:
    """See `human_recon.inference.engine.Engine`."""

    def __init__(self, graph: Path, precision: Precision, threads: int) -> None:
        """Load ``graph``; fp16 is refused, because CPUs would compute in float32 and convert on top."""
        if precision == "fp16":
            raise EngineError("onnxruntime has no fast float16 on CPUs: choose precision fp32 or int8")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; what is worth knowing is said by exceptions
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own classes derive from nothing narrower
            raise EngineError(f"{graph}: onnxruntime cannot load it ({error})") from error
        self._shape = tuple(self._session.get_inputs()[0].shape[1:])
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.run(np.zeros((1, *self._shape), np.float32))  # the first run takes its memory
        plural = "" if threads == 1 else "s"
        self.description = f"onnxruntime {onnxruntime.__version__} {precision}, CPU, {threads} thread{plural}"

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        check_image(image, self._shape)
        return dict(zip(self._outputs, self._session.run(None, {"image": image}), strict=True))
