"""The shipped graphs in the number formats that TensorRT wants: its networks compute in the types the graph says.

Needs the package `onnx`; nothing but the building of engines imports this.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose constants are float32 where the file stores float16 and a cast."""
    return _retyped(model, np.float32)


def half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16; image and outputs stay float32.

    Quantised parts stay quantised, their scales become float16.
    """
    model = _retyped(model, np.float16)
    graph = model.graph
    rename, casts, last = {}, [], []
    for value in graph.input:
        rename[value.name] = f"{value.name}_half"
        casts.append(helper.make_node("Cast", [value.name], [f"{value.name}_half"], to=TensorProto.FLOAT16))
    for value in graph.output:
        rename[value.name] = f"{value.name}_half"
        last.append(helper.make_node("Cast", [f"{value.name}_half"], [value.name], to=TensorProto.FLOAT))
    for node in graph.node:
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                names[k] = rename.get(name, name)
    _replace_nodes(graph, [*casts, *graph.node, *last])
    onnx.checker.check_model(model)
    return model


def symmetric_quantization(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose 8-bit activations are signed with zero point 0 and whose biases are floats.

    The range of each activation stays covered: one that is never negative keeps 7 of its 8 bits. Where an unsigned
    range began at 0 it also did the work of a ReLU, which the quantiser therefore dropped: it comes back.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    floats, changed, nodes = {}, {}, []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            nodes.append(node)
            continue
        scale, zero = constants[node.input[1]].astype(np.float64), constants[node.input[2]]
        if node.input[0] in constants and constants[node.input[0]].dtype == np.int32:
            floats[node.output[0]] = (constants[node.input[0]] * scale).astype(np.float32)
            continue
        if zero.dtype == np.uint8:
            reach = np.maximum(float(zero), 255.0 - float(zero)) * scale
            for name, value in (("scale", (reach / 127.0).astype(np.float32)), ("zero", np.int8(0))):
                changed[f"{node.input[2]}_signed_{name}"] = np.asarray(value)
            node.input[1], node.input[2] = f"{node.input[2]}_signed_scale", f"{node.input[2]}_signed_zero"
            if zero == 0 and node.op_type == "QuantizeLinear":
                positive = f"{node.input[0]}_positive_for_{node.output[0]}"
                nodes.append(helper.make_node("Relu", [node.input[0]], [positive]))
                node.input[0] = positive
        nodes.append(node)
    _replace_nodes(graph, nodes)
    for name, value in (floats | changed).items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    _drop_unread(graph)
    onnx.checker.check_model(model)
    return model


def _retyped(model: onnx.ModelProto, kind: type[np.floating]) -> onnx.ModelProto:
    """A copy with all float constants of one ``kind``, but for the scales of a Resize, which are float32 by definition.

    The casts after stored float16 weights go.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.input[0]].name = node.output[0]
        else:
            kept.append(node)
    _replace_nodes(graph, kept)
    fixed = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for tensor in graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and tensor.name not in fixed:
            values = numpy_helper.to_array(tensor)
            retyped = values.astype(kind)
            retyped[(retyped == 0) & (values != 0)] = np.finfo(kind).smallest_subnormal  # a scale must not become 0
            tensor.CopyFrom(numpy_helper.from_array(retyped, tensor.name))
    return model


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    nodes = [copy.deepcopy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
