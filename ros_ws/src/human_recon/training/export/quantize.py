"""INT8 by static quantisation: convolutions of the trunk in 8 bits, what needs more in float.

Quantize-dequantize pairs (QDQ) around every operation, which ONNX Runtime, OpenVINO and TensorRT all turn into integer
kernels. Weights per channel and symmetric; activations per tensor and unsigned with a zero point, because symmetric
ones find no fast kernel in ONNX Runtime's CPU library (measured: no faster than float32).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

_INTEGER = ("Conv", "Relu", "Add", "Concat", "Resize")  # what the trunk consists of


@dataclass(frozen=True)
class QuantizeConfig:
    """Which part stays in float, by the names of the network's modules."""

    stem: tuple[str, ...] = ()  # modules in float; what follows them is quantised
    heads: tuple[str, ...] = ()  # modules in float, with everything after them
    percentile: float | None = None  # of the activations that are not clipped; None: all, the range is min to max


def quantize(model: onnx.ModelProto, images: np.ndarray, config: QuantizeConfig) -> onnx.ModelProto:
    """``model`` (float32, of `graph.export_graph`) with 8-bit convolutions.

    Args:
        images: [K, C, H, W] float32, on which the ranges of the activations are measured.

    Raises:
        ValueError: a module named in ``config`` has no convolution in the graph.
    """
    chosen = integer_nodes(model, config)
    options: dict[str, object] = {"ActivationSymmetric": False, "WeightSymmetric": True}
    method = CalibrationMethod.MinMax
    if config.percentile is not None:
        method = CalibrationMethod.Percentile
        options["CalibPercentile"] = config.percentile
    # The library says on the root logger that it would like the graph preprocessed; ours is.
    logging.getLogger().addFilter(_quiet)
    try:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, before)
            quantize_static(
                before,
                after,
                _Images(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_INTEGER),
                nodes_to_quantize=chosen,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                extra_options=options,
            )
            quantized = onnx.load(after)
    finally:
        logging.getLogger().removeFilter(_quiet)
    quantized.producer_name, quantized.producer_version = "human_recon", ""
    del quantized.graph.value_info[:]
    return quantized


def integer_nodes(model: onnx.ModelProto, config: QuantizeConfig) -> list[str]:
    """Names of the nodes to quantise: those of the kinds above, less stem and heads and what follows the heads."""
    graph = model.graph
    stems, heads = _convolutions(graph, config.stem), _convolutions(graph, config.heads)
    tainted = {name for node in heads for name in node.output}
    for node in graph.node:  # in the order of computation
        if tainted & set(node.input):
            tainted |= set(node.output)
    left_out = {node.name for node in (*stems, *heads)}
    return [
        node.name
        for node in graph.node
        if node.op_type in _INTEGER and node.name not in left_out and not tainted & set(node.input)
    ]


def _convolutions(graph: onnx.GraphProto, modules: Sequence[str]) -> list[onnx.NodeProto]:
    """The convolutions of the modules: the exporter names weights as PyTorch does."""
    found = []
    for module in modules:
        mine = [n for n in graph.node if n.op_type == "Conv" and f".{module}." in f".{n.input[1]}"]
        if not mine:
            raise ValueError(f"no convolution of the graph belongs to a module {module!r}")
        found += mine
    return found


def _quiet(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()


class _Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._next: Iterator[dict[str, np.ndarray]] = iter({"image": images[k : k + 1]} for k in range(len(images)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._next, None)
