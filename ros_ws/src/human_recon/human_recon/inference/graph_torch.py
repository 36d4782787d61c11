"""The shipped ONNX graphs as a torch module: the same file, the same weights, no network code at run time.

It knows the operations that `training.export` writes and refuses any other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from human_recon.inference.engine import EngineError

_Values = list[Any]  # tensors; for integer constants numpy arrays, which are shapes, axes and indices


class TorchGraph(nn.Module):
    """image [N, C, H, W] -> the graph's outputs in order, float32."""

    def __init__(self, path: Path) -> None:
        """Read ``path``. Raises EngineError when it is no ONNX file or holds an operation that is not known here."""
        super().__init__()
        try:
            graph = onnx.load(path).graph
        except Exception as error:
            raise EngineError(f"{path}: not an ONNX file ({error})") from error
        unknown = {node.op_type for node in graph.node} - set(_OPERATIONS)
        if unknown:
            raise EngineError(f"{path}: the torch engine does not know {', '.join(sorted(unknown))}")
        shape = graph.input[0].type.tensor_type.shape.dim
        self.image_shape = tuple(d.dim_value for d in shape[1:])
        self.outputs = [output.name for output in graph.output]
        self._constants: dict[str, Any] = {}
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind == "f":
                name = f"weight_{len(self._constants)}"
                self.register_buffer(name, torch.tensor(array))
                self._constants[tensor.name] = name
            else:
                self._constants[tensor.name] = array
        self._steps = [
            (
                _OPERATIONS[node.op_type],
                list(node.input),
                list(node.output),
                {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
            )
            for node in graph.node
        ]
        self._input = graph.input[0].name

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        dtype = next((b.dtype for b in self.buffers() if b.ndim == 4), torch.float32)
        values: dict[str, Any] = {self._input: image.to(dtype), "": None}
        for name, constant in self._constants.items():
            values[name] = getattr(self, constant) if isinstance(constant, str) else constant
        for operation, inputs, outputs, attributes in self._steps:
            results = operation([values[name] for name in inputs], attributes)
            values.update(zip(outputs, results if isinstance(results, (list, tuple)) else [results], strict=True))
        return tuple(values[name].float() for name in self.outputs)


def _convolution(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    image, weight, bias = x
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right) or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise EngineError("the torch engine knows symmetric padding only")
    return functional.conv2d(
        image, weight, bias, a.get("strides", 1), (top, left), a.get("dilations", 1), a.get("group", 1)
    )


def _resize(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    image, _, scales = x
    kind = a.get("mode"), a.get("nearest_mode"), a.get("coordinate_transformation_mode")
    if kind != (b"nearest", b"floor", b"asymmetric"):
        raise EngineError(f"the torch engine does not know a resize of {kind}")
    size = [int(n * s + 1e-6) for n, s in zip(image.shape[2:], scales.tolist()[2:], strict=True)]
    return functional.interpolate(image, size=size, mode="nearest")


def _reshape(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    image, shape = x
    keep = not a.get("allowzero", 0)
    return image.reshape([image.shape[k] if n == 0 and keep else n for k, n in enumerate(shape.tolist())])


def _slice(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    image, starts, ends, axes, steps = [*x, np.ones(len(x[1]), np.int64)][:5]
    where = [slice(None)] * image.ndim
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        where[axis] = slice(start, end, step)
    return image[tuple(where)]


def _gather(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    image, index = x
    axis = a.get("axis", 0)
    if np.ndim(index) == 0:
        return image.select(axis, int(index))
    return image.index_select(axis, torch.as_tensor(np.asarray(index), device=image.device))


def _product(x: _Values, a: dict[str, Any]) -> torch.Tensor:
    left, right, bias = x
    left = left.T if a.get("transA", 0) else left
    right = right.T if a.get("transB", 0) else right
    return torch.addmm(bias, left, right, beta=a.get("beta", 1.0), alpha=a.get("alpha", 1.0))


def _reduction(function: Callable[..., torch.Tensor]) -> Callable[[_Values, dict[str, Any]], torch.Tensor]:
    return lambda x, a: function(x[0], dim=x[1].tolist(), keepdim=bool(a.get("keepdims", 1)))


_OPERATIONS: dict[str, Callable[[_Values, dict[str, Any]], Any]] = {
    "Add": lambda x, a: x[0] + x[1],
    "Cast": lambda x, a: x[0],  # of stored weights only: the module's own type is what it computes in
    "Concat": lambda x, a: torch.cat(x, dim=a["axis"]),
    "Conv": _convolution,
    "Gather": _gather,
    "Gemm": _product,
    "Mul": lambda x, a: x[0] * x[1],
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Relu": lambda x, a: torch.relu(x[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": lambda x, a: torch.softmax(x[0], dim=a.get("axis", -1)),
    "Split": lambda x, a: torch.split(x[0], x[1].tolist(), dim=a.get("axis", 0)),
    "Sub": lambda x, a: x[0] - x[1],
}
