"""A trained network as an ONNX graph that every engine reads: no batch normalisation, no arithmetic on shapes."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

OPSET = 20  # from 19 on, QuantizeLinear takes float16, which TensorRT engines need


def export_graph(network: nn.Module, image: tuple[int, int, int], outputs: Sequence[str]) -> onnx.ModelProto:
    """The network in evaluation mode as a float32 graph from "image" [N, *image] to ``outputs`` in their order.

    ``network`` returns a tensor or a tuple of them; it is not changed.
    """
    network = copy.deepcopy(network).eval()
    fold_batch_norms(network)
    # The exporter warns of what this build of torch lacks and we do not use.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        network,
        (torch.zeros(2, *image),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("N", min=1, max=64)},),
        verbose=False,
    )
    assert program is not None
    model = onnx.shape_inference.infer_shapes(program.model_proto)
    resize_by_constant_scales(model)
    _strip(model)
    onnx.checker.check_model(model)
    return model


def fold_batch_norms(network: nn.Module) -> None:
    """Merge every batch normalisation into the convolution before it in the same `nn.Sequential`."""
    for child in network.children():
        fold_batch_norms(child)
    if isinstance(network, nn.Sequential):
        layers = list(network)
        for k, (layer, following) in enumerate(itertools.pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                network[k], network[k + 1] = fuse_conv_bn_eval(layer, following), nn.Identity()


def resize_by_constant_scales(model: onnx.ModelProto) -> None:
    """Give every Resize its scale as a constant instead of a size computed from the batch's.

    Only the batch size of the shapes is unknown, and it is not resized.
    """
    graph = model.graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            before, after = shapes[node.input[0]], shapes[node.output[0]]
            scales = np.array([1.0, 1.0, after[2] / before[2], after[3] / before[3]], np.float32)
            if [int(np.floor(before[k] * scales[k])) for k in (2, 3)] != after[2:]:
                raise ValueError(f"a resize from {before[2:]} to {after[2:]} has no exact scale")
            name = f"{node.output[0]}_scales"
            graph.initializer.append(numpy_helper.from_array(scales, name))
            del node.input[2:]
            node.input.append(name)
    _remove_unused(graph)


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose matrices and kernels are stored as float16, each followed by a cast: half the file.

    Vectors stay float32: among them are quantisation scales, some too small for float16. Engines fold the casts when
    they load the file. float32 to the outside, and in what is computed.
    """
    model = copy.deepcopy(model)
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            stored = f"{tensor.name}_half"
            with np.errstate(over="ignore"):  # said below
                values = numpy_helper.to_array(tensor).astype(np.float16)
            if not np.isfinite(values).all():
                raise ValueError(f"weights {tensor.name} do not fit into float16")
            casts.append(helper.make_node("Cast", [stored], [tensor.name], f"{tensor.name}_cast", to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(values, stored))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes and constants that nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        dead = [node for node in graph.node if not read & set(node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: where in whose files each node came from."""
    model.producer_name, model.producer_version = "human_recon", ""
    del model.metadata_props[:], model.functions[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
