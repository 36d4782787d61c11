"""The export: what ships computes what was trained, is small, and says where it comes from."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from human_recon.inference.onnx_rewrite import float_weights, half_precision, symmetric_quantization  # noqa: E402
from human_recon.inference.parity import load_table  # noqa: E402
from tests.engine_support import IMAGE, images  # noqa: E402
from tests.export_support import MEASURES, exported, shaken, smooth_images, tiny_body_net, tiny_bundle  # noqa: E402
from training.export import body_net, bundle, people_net  # noqa: E402
from training.export.bundle import REFERENCES, compact, update_card  # noqa: E402
from training.export.command import export  # noqa: E402
from training.export.graph import export_graph, fold_batch_norms, store_half  # noqa: E402
from training.export.quantize import QuantizeConfig, integer_nodes, quantize  # noqa: E402
from training.loop.checkpoint import Checkpoint  # noqa: E402
from training.networks.backbone import Backbone, BackboneConfig  # noqa: E402


class Pyramid(nn.Module):
    """The trunk alone, on images whose levels are not twice as large as the next."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.backbone = shaken(Backbone(IMAGE[0], BackboneConfig((4, 5, 6, 7), (1, 1, 1), width=6)))
        self.head = nn.Conv2d(6, 4, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x)[1][0])


@pytest.fixture(scope="module")
def pyramid() -> tuple[nn.Module, onnx.ModelProto]:
    network = Pyramid().eval()
    return network, export_graph(network, IMAGE, ("dense",))


def run(model: onnx.ModelProto, image: np.ndarray, optimised: bool = True) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": image})))


def test_folding_changes_nothing_but_the_layers() -> None:
    network = Pyramid().eval()
    image = torch.from_numpy(images(2))
    with torch.no_grad():
        before = network(image)
        fold_batch_norms(network)
        after = network(image)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_the_graph_computes_what_torch_does(pyramid: tuple[nn.Module, onnx.ModelProto], count: int) -> None:
    network, model = pyramid
    image = images(count, seed=4)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(run(model, image)["dense"], expected, atol=1e-5, rtol=1e-4)


def test_the_graph_is_plain(pyramid: tuple[nn.Module, onnx.ModelProto]) -> None:
    _, model = pyramid
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Add", "Resize"}
    scales = [
        numpy_helper.to_array(t)[2:].tolist()
        for node in model.graph.node if node.op_type == "Resize"
        for t in model.graph.initializer if t.name == node.input[2]
    ]  # fmt: skip
    # The stem halves 30 x 44; its levels are 15 x 22, 8 x 11, 4 x 6, 2 x 3.
    np.testing.assert_allclose(sorted(scales), sorted([[15 / 8, 2], [2, 11 / 6], [2, 2]]), rtol=1e-6)
    assert str(Path.cwd()) not in str(model), "no paths of the machine that exported"


def test_stored_halves_lose_nothing_but_bits(pyramid: tuple[nn.Module, onnx.ModelProto]) -> None:
    _, model = pyramid
    stored = store_half(model)
    for tensor in stored.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert len(tensor.dims) < 2, "vectors stay: among them are scales too small for a half"
    rounded = Pyramid().eval()
    fold_batch_norms(rounded)
    for parameter in rounded.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half().float()
    image = images(2, seed=5)
    with torch.no_grad():
        expected = rounded(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(run(stored, image)["dense"], expected, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(run(float_weights(stored), image)["dense"], expected, atol=1e-5, rtol=1e-4)
    assert not any(node.op_type == "Cast" for node in float_weights(stored).graph.node)


def test_weights_too_large_for_a_half_are_refused(pyramid: tuple[nn.Module, onnx.ModelProto]) -> None:
    _, model = pyramid
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    tensor = next(t for t in broken.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(1e6), tensor.name))
    with pytest.raises(ValueError, match="do not fit into float16"):
        store_half(broken)


def test_stem_and_head_stay_in_float(pyramid: tuple[nn.Module, onnx.ModelProto]) -> None:
    _, model = pyramid
    weights = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    every = {weights[name] for name in integer_nodes(model, QuantizeConfig()) if name in weights}
    assert every == set(weights.values())
    some = integer_nodes(model, QuantizeConfig(stem=("backbone.stem",), heads=("head",)))
    left_out = every - {weights[name] for name in some if name in weights}
    assert sorted(left_out) == ["backbone.stem.0.weight", "head.weight"]
    with pytest.raises(ValueError, match="'neck'"):
        integer_nodes(model, QuantizeConfig(heads=("neck",)))


def test_what_follows_a_head_stays_in_float() -> None:
    model = float_weights(onnx.load(exported()[0].graph("fp32")))
    names = integer_nodes(model, body_net.QUANTIZATION)
    chosen = [node for node in model.graph.node if node.name in names]
    assert {node.op_type for node in chosen} == {"Conv", "Relu", "Add", "Resize", "Concat"}
    outputs = {name for node in chosen for name in node.output}
    # The weighted mean of the votes adds cells, in metres; the body's layers add too.
    later = [n for n in model.graph.node if n.op_type in ("Add", "Relu", "Concat") and n.name not in names]
    assert later
    for node in later:
        if node.op_type == "Relu" and "stem" in str(node.input):
            continue
        assert not set(node.output) & outputs


def test_int8_is_close_and_small(pyramid: tuple[nn.Module, onnx.ModelProto]) -> None:
    _, model = pyramid
    quantized = quantize(model, images(16, seed=6), QuantizeConfig(stem=("backbone.stem",), heads=("head",)))
    image = images(4, seed=7)
    exact, rough = run(model, image)["dense"], run(quantized, image)["dense"]
    assert np.abs(exact - rough).mean() < 0.05 * exact.std()
    assert np.abs(exact - rough).mean() > 1e-6, "nothing was quantised"
    kinds = {t.data_type for t in quantized.graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} <= kinds


@pytest.mark.parametrize("half", [False, True])
def test_tensorrts_graphs_compute_the_same(half: bool) -> None:
    """Signed activations, float biases, the ReLU that unsigned ranges stood for; in float16 and in float32."""
    files, _ = exported()
    image = smooth_images(3, seed=11)
    exact = run(onnx.load(files.graph("fp32")), image)
    signed = symmetric_quantization(onnx.load(files.graph("int8")))
    constants = {t.name: numpy_helper.to_array(t) for t in signed.graph.initializer}
    for node in signed.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8, "TensorRT knows int8 alone"
            assert not constants[node.input[2]].any(), "and no zero points"
    # Unoptimised: the CPU library's fusions of float16 with integers are wrong (ONNX Runtime 1.31, measured).
    rough = run(half_precision(signed), image, optimised=False) if half else run(float_weights(signed), image)
    for name, value in exact.items():
        assert rough[name].dtype == np.float32
        assert np.abs(value - rough[name]).mean() < 0.1 * value.std(), name


def test_half_precision_has_no_float32_inside() -> None:
    files, _ = exported()
    half = half_precision(onnx.load(files.graph("fp32")))
    fixed = {node.input[2] for node in half.graph.node if node.op_type == "Resize"}
    floats = [t.name for t in half.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert set(floats) == fixed
    image = smooth_images(2, seed=12)
    exact, rough = run(onnx.load(files.graph("fp32")), image), run(half, image)
    for name, value in exact.items():
        assert np.abs(value - rough[name]).mean() < 0.01 * value.std(), name


def test_everything_is_written_and_described() -> None:
    files, report = exported()
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "body_net.onnx", "body_net.safetensors", "body_net_int8.onnx", "parity.json", "reference.npz",
    ]  # fmt: skip
    assert report["step"] == 7
    assert report["int8_passes"]
    assert set(report["files"]) == {"body_net.onnx", "body_net.safetensors", "body_net_int8.onnx", "reference.npz"}
    assert report["files"]["body_net.onnx"]["sha256"] == files.digest("fp32")
    assert load_table(files.parity) == list(MEASURES)
    assert len(files.reference()) == REFERENCES
    np.testing.assert_allclose(files.reference(), smooth_images(10, seed=2)[:REFERENCES], atol=2e-3)
    json.dumps(report)


def test_weights_load_back_into_the_network() -> None:
    files, _ = exported()
    weights = load_file(files.folder / "body_net.safetensors")
    network = tiny_body_net()
    before = network.state_dict()
    network.load_state_dict(weights)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=2e-3, rtol=1e-3)
    assert weights["backbone.stem.0.weight"].dtype == torch.float16
    assert weights["backbone.stem.1.running_var"].dtype == torch.float32
    assert compact({"count": torch.tensor(3)})["count"].dtype == torch.int64


def test_nothing_is_written_when_the_graph_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = float_weights(onnx.load(exported()[0].graph("fp32")))
    monkeypatch.setattr(bundle, "export_graph", lambda *_: graph)
    strict = tuple(replace(measure, limits=dict(measure.limits) | {"fp32": 0.0}) for measure in MEASURES)
    with pytest.raises(RuntimeError, match="ONNX Runtime and torch differ"):
        tiny_bundle(measures=strict).write(tmp_path / "out", {})
    assert list((tmp_path / "out").iterdir()) == []


def test_the_card_keeps_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "body_net.json"
    path.write_text(json.dumps({"data": "synthetic", "export": {"old": True}}))
    update_card(path, {"step": 3})
    assert json.loads(path.read_text()) == {"data": "synthetic", "export": {"step": 3}}


@pytest.mark.parametrize("name", ["people_net", "body_net"])
def test_another_networks_checkpoint_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"something": torch.zeros(2)}
    path = tmp_path / "last.pt"
    Checkpoint(model={}, averaged=weights, optimizer={}, step=1, best=0.0, seconds=0.0, config="{}").save(path)
    monkeypatch.setattr(sys, "argv", ["export", str(path), "-o", str(tmp_path / "out")])
    make = people_net.bundle if name == "people_net" else body_net.bundle
    with pytest.raises(SystemExit, match=rf"last\.pt: not a checkpoint of {name}: "):
        export(name, make)
    assert not (tmp_path / "out").exists()
