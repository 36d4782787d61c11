"""Every engine that is installed, on one exported network: the same outputs, any number of images, clear errors."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

from human_recon.inference import engine_torch  # noqa: E402
from human_recon.inference.choice import Candidate, EngineChoice, build, open_engine  # noqa: E402
from human_recon.inference.engine import Engine, EngineError  # noqa: E402
from human_recon.inference.files import NetworkFiles  # noqa: E402
from human_recon.inference.graph_torch import TorchGraph  # noqa: E402
from human_recon.inference.parity import differences, load_table  # noqa: E402
from tests.export_support import exported, smooth_images, tiny_body_net  # noqa: E402

BASELINE = Candidate("onnxruntime", "fp32")
EVERY = [
    BASELINE,
    Candidate("onnxruntime", "int8"),
    Candidate("openvino", "fp32"),
    Candidate("openvino", "fp16"),
    Candidate("openvino", "int8"),
    Candidate("torch", "fp32"),
    Candidate("torch", "fp16"),
]


@pytest.fixture(scope="module")
def files() -> NetworkFiles:
    return exported()[0]


@pytest.fixture(scope="module", params=EVERY, ids=str)
def opened(request: pytest.FixtureRequest, files: NetworkFiles) -> tuple[Candidate, Engine]:
    if importlib.util.find_spec(request.param.engine) is None:
        pytest.skip(f"{request.param.engine} is not installed")
    try:
        return request.param, build(request.param, files, threads=1)
    except EngineError as error:
        if "no 16-bit floats" in str(error):
            pytest.skip(str(error))
        raise


def test_every_engine_computes_what_the_network_does(opened: tuple[Candidate, Engine], files: NetworkFiles) -> None:
    candidate, engine = opened
    image = smooth_images(3, seed=5)
    with torch.no_grad():
        truth = {name: value.numpy() for name, value in vars(tiny_body_net().eval()(torch.from_numpy(image))).items()}
    outputs = engine.run(image)
    assert set(outputs) == set(truth)
    for name, value in outputs.items():
        assert value.dtype == np.float32
        assert value.shape == truth[name].shape
    limits = {"fp32": 3e-3, "fp16": 0.03, "int8": 0.1}  # with float16 weights on both sides of "fp32"
    for name in truth:
        assert np.abs(outputs[name] - truth[name]).mean() < limits[candidate.precision] * truth[name].std(), name
    if candidate.precision == "fp32":
        rows = differences(load_table(files.parity), outputs, build(BASELINE, files, 1).run(image), image, "fp32")
        assert all(row.passed for row in rows), rows


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_any_number_of_images(opened: tuple[Candidate, Engine], count: int) -> None:
    candidate, engine = opened
    image = smooth_images(count, seed=6)
    together = engine.run(image)
    single = engine.run(image[-1:])
    tolerance = 1e-4 if candidate.precision == "fp32" else 0.05
    for name, value in together.items():
        assert len(value) == count
        assert np.abs(value[-1:] - single[name]).mean() <= tolerance, name


def test_outputs_are_the_callers(opened: tuple[Candidate, Engine]) -> None:
    _, engine = opened
    image = smooth_images(2, seed=7)
    first = engine.run(image)
    kept = {name: value.copy() for name, value in first.items()}
    engine.run(-image)
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
        value[:] = 0.0  # writable


def test_images_need_not_be_contiguous(opened: tuple[Candidate, Engine]) -> None:
    _, engine = opened
    image = smooth_images(2, seed=8)
    strided = np.ascontiguousarray(image[:, :, :, ::-1])[:, :, :, ::-1]
    for name, value in engine.run(strided).items():
        np.testing.assert_allclose(value, engine.run(image)[name], atol=1e-6)


def test_bad_images_are_refused(opened: tuple[Candidate, Engine]) -> None:
    _, engine = opened
    for bad in (smooth_images(1, 0).astype(np.float64), smooth_images(1, 0)[:, :3], smooth_images(1, 0)[0]):
        with pytest.raises(ValueError, match="the network takes"):
            engine.run(bad)


def test_the_description_says_what_runs(opened: tuple[Candidate, Engine]) -> None:
    candidate, engine = opened
    assert engine.description.startswith(candidate.engine)
    assert "CPU, 1 thread" in engine.description
    wanted = {"fp32": ("fp32", "float32"), "fp16": ("bfloat16", "float16"), "int8": ("int8",)}[candidate.precision]
    assert any(word in engine.description for word in wanted)


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [("onnxruntime", "fp16", "no fast float16"), ("torch", "int8", "INT8")],
)
def test_what_an_engine_cannot_do_is_refused(files: NetworkFiles, engine: str, precision: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        open_engine("body_net", EngineChoice(engine, precision), files)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    (tmp_path / "body_net.onnx").write_bytes(b"\x07 this is no graph")
    with pytest.raises(EngineError, match=r"body_net\.onnx"):
        build(Candidate(engine, "fp32"), NetworkFiles("body_net", tmp_path), 1)  # type: ignore[arg-type]


def test_torch_refuses_operations_it_does_not_know(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, 2, 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph), tmp_path / "odd.onnx")
    with pytest.raises(EngineError, match="does not know Erf"):
        TorchGraph(tmp_path / "odd.onnx")


def test_torch_on_a_gpu_pads_to_captured_sizes(files: NetworkFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the capture: CUDA graphs themselves need a GPU."""
    captured: list[int] = []

    def capture(network: Callable, example: torch.Tensor) -> Callable:
        captured.append(len(example))
        assert example.is_contiguous(memory_format=torch.channels_last)
        outputs = network(example)

        def replay(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            assert batch.shape == example.shape, "a CUDA graph has one shape"
            for kept, new in zip(outputs, network(batch)):
                kept.copy_(new)
            return outputs

        return replay

    monkeypatch.setattr(engine_torch, "find_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(engine_torch, "gpu_name", lambda: "Imaginary 9000")
    monkeypatch.setattr(engine_torch, "capture", capture)
    engine = build(Candidate("torch", "fp32"), files, 1)
    assert captured == [1, 2, 4, 8]
    assert "Imaginary 9000" in engine.description
    reference = build(BASELINE, files, 1)
    for count in (1, 3, 9):
        image = smooth_images(count, seed=9)
        outputs, expected = engine.run(image), reference.run(image)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-4)


def test_auto_finds_an_engine_and_the_command_checks_them_all(files: NetworkFiles, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "body_net").symlink_to(files.folder)
    environment = {**os.environ, "HUMAN_RECON_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def engine(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "human_recon.cli.main", "engine", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    common = ("--network", "body_net", "--models", str(models), "--threads", "1", "--engine", "onnxruntime")
    built = engine("build", *common)
    assert built.returncode == 0, built.stderr
    assert "body_net: onnxruntime" in built.stdout
    assert len(list((tmp_path / "cache" / "engines").glob("body_net-*.json"))) == 1
    checked = engine("check", *common, "-o", str(tmp_path / "check.json"))
    assert checked.returncode == 0, checked.stderr
    assert "onnxruntime int8: " in checked.stdout
    assert (tmp_path / "check.json").is_file()
    listed = engine("list")
    assert listed.returncode == 0
    assert "onnxruntime" in listed.stdout
    refused = engine("build", *common[:-1], "abacus")
    assert refused.returncode == 2
    assert "engine is 'abacus'" in refused.stderr


def test_check_fails_when_an_engine_is_wrong(
    files: NetworkFiles, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from human_recon.cli.main import main

    folder = tmp_path / "body_net"
    folder.mkdir()
    for path in files.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    table = (folder / "parity.json").read_text().replace('"int8": 0.1', '"int8": 1e-9')
    (folder / "parity.json").write_text(table)
    words = ["engine", "check", "--network", "body_net", "--models", str(tmp_path), "--threads", "1"]
    assert main([*words, "--engine", "onnxruntime"]) == 1
    assert "onnxruntime int8: FAILS: outputs too far from float32" in capsys.readouterr().out
    assert main([*words, "--engine", "onnxruntime", "--precision", "fp32"]) == 0
