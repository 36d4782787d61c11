"""The TensorRT engine with a stand-in for the library and the GPU: no GPU has run it."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")

from human_recon.inference import cache, gpu
from human_recon.inference.choice import Candidate, build
from human_recon.inference.engine import EngineError
from human_recon.inference.files import NetworkFiles
from tests.export_support import exported, smooth_images
from tests.tensorrt_stand_in import StandIn

MODULE = "human_recon.inference.tensorrt_engine"
Load = Callable[..., ModuleType]


@pytest.fixture(scope="module")
def files() -> NetworkFiles:
    return exported()[0]


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def load(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import the module with the stand-in behind it."""
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(tmp_path / "cache"))

    def load(version: str = "10.13.0", device: str = "Imaginary 9000") -> ModuleType:
        monkeypatch.setitem(sys.modules, "tensorrt", stand_in.module(version))
        monkeypatch.delitem(sys.modules, MODULE, raising=False)
        module = importlib.import_module(MODULE)
        monkeypatch.setattr(module, "Stream", lambda: stand_in.memory)
        monkeypatch.setattr(module, "gpu_name", lambda: device)
        return module

    yield load
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_outputs_are_those_of_the_network(files: NetworkFiles, load: Load, precision: Any) -> None:
    engine = load().TensorRtEngine(files.graph(precision), precision, (1, 2, 4))
    assert engine.description == f"tensorrt 10.13.0 {precision}, Imaginary 9000"
    reference = build(Candidate("onnxruntime", "fp32"), files, 1)
    limit = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.1}[precision]
    for count in (1, 3, 6):  # alone, padded, in two batches
        image = smooth_images(count, seed=count)
        outputs, expected = engine.run(image), reference.run(image)
        assert set(outputs) == set(expected)
        for name, value in expected.items():
            assert outputs[name].shape == value.shape
            assert np.abs(outputs[name] - value).mean() <= limit * value.std(), name
    kept = outputs["points"].copy()
    engine.run(image * 2)
    np.testing.assert_array_equal(outputs["points"], kept)
    with pytest.raises(ValueError, match="the network takes"):
        engine.run(image[:, :2])


def test_an_engine_is_built_once(files: NetworkFiles, load: Load, stand_in: StandIn) -> None:
    for _ in range(2):
        load().TensorRtEngine(files.graph("fp32"), "fp32", (1, 2))
    assert stand_in.builds == 1
    (sidecar,) = (cache.cache_folder() / "tensorrt").glob("*.json")
    facts = json.loads(sidecar.read_text())["facts"]
    assert facts == {
        "model_sha256": files.digest("fp32"),
        "tensorrt": "10.13.0",
        "gpu": "Imaginary 9000",
        "precision": "fp32",
        "sizes": [1, 2],
        "format": facts["format"],
    }


def test_it_is_built_again_when_anything_differs(
    files: NetworkFiles, load: Load, stand_in: StandIn, tmp_path: Path
) -> None:
    graph = files.graph("fp32")
    load().TensorRtEngine(graph, "fp32", (1,))
    load(version="11.0.0").TensorRtEngine(graph, "fp32", (1,))
    assert stand_in.builds == 2
    load(device="Imaginary 9001").TensorRtEngine(graph, "fp32", (1,))
    assert stand_in.builds == 3
    load().TensorRtEngine(graph, "fp16", (1,))
    assert stand_in.builds == 4
    load().TensorRtEngine(graph, "fp32", (1, 2))
    assert stand_in.builds == 5
    other = tmp_path / graph.name
    other.write_bytes(files.graph("int8").read_bytes())
    load().TensorRtEngine(other, "fp32", (1,))
    assert stand_in.builds == 6
    load().TensorRtEngine(graph, "fp32", (1,))
    assert stand_in.builds == 6, "the first one is still there"


@pytest.mark.parametrize("damage", ["plan", "facts", "sidecar"])
def test_a_damaged_engine_is_built_again(
    files: NetworkFiles,
    load: Load,
    stand_in: StandIn,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    load().TensorRtEngine(files.graph("fp32"), "fp32", (1,))
    folder = cache.cache_folder() / "tensorrt"
    (plan,), (sidecar,) = folder.glob("*.plan"), folder.glob("*.json")
    if damage == "plan":
        plan.write_bytes(plan.read_bytes()[:-100])
    elif damage == "facts":
        sidecar.write_text(sidecar.read_text().replace("Imaginary 9000", "Imaginary 8000"))
    else:
        sidecar.unlink()
    load().TensorRtEngine(files.graph("fp32"), "fp32", (1,))
    assert stand_in.builds == 2
    assert "is built again" in caplog.text


def test_timings_of_kernels_are_kept(files: NetworkFiles, load: Load, stand_in: StandIn) -> None:
    load().TensorRtEngine(files.graph("fp32"), "fp32", (1,))
    load().TensorRtEngine(files.graph("fp16"), "fp16", (1,))
    assert stand_in.known_timings == [b"", b"+"]
    stand_in.refuse = "timings"  # of another version, says TensorRT
    load().TensorRtEngine(files.graph("int8"), "int8", (1,))
    assert stand_in.known_timings[2:] == [b"++", b""]


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        ("parse", "does not understand the network: unknown operator"),
        ("build", "cannot build"),
        ("load", "cannot load"),
    ],
)
def test_failures_are_one_clear_error(
    files: NetworkFiles, load: Load, stand_in: StandIn, refuse: str, message: str
) -> None:
    stand_in.refuse = refuse
    with pytest.raises(EngineError, match=message):
        load().TensorRtEngine(files.graph("fp32"), "fp32", (1,))


def test_a_full_disk_costs_time_only(
    files: NetworkFiles, load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(tmp_path / "a file"))
    with caplog.at_level(logging.WARNING):
        engine = load().TensorRtEngine(files.graph("fp32"), "fp32", (1,))
    assert len(engine.run(smooth_images(1, 0))["points"]) == 1
    assert "built again next time" in caplog.text


def test_the_driver_is_asked_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda_driver.Stream` against a library that notes its calls and checks sizes."""
    from human_recon.inference import cuda_driver

    calls: list[str] = []
    host: dict[int, bytes] = {}

    class Library:
        failing = ""

        def __getattr__(self, name: str) -> Callable[..., int]:
            def call(*arguments: Any) -> int:
                calls.append(name)
                if name == self.failing:
                    return 2
                if name == "cuMemAlloc_v2":
                    arguments[0]._obj.value = 0x1000
                    assert arguments[1].value == 24
                if name == "cuMemcpyHtoDAsync_v2":
                    assert arguments[0].value == 0x1000
                    host[0x1000] = cuda_driver.ctypes.string_at(arguments[1].value, arguments[2].value)
                if name == "cuMemcpyDtoHAsync_v2":
                    assert arguments[1].value == 0x1000
                    cuda_driver.ctypes.memmove(arguments[0].value, host[0x1000], arguments[2].value)
                return 0

            return call

    library = Library()
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: library)
    stream = cuda_driver.Stream()
    assert calls == ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuStreamCreate"]
    there = np.arange(6, dtype=np.float32)
    back = np.zeros_like(there)
    address = stream.allocate(24)
    stream.to_device(address, there)
    stream.to_host(back, address)
    stream.synchronize()
    np.testing.assert_array_equal(back, there)
    Library.failing = "cuMemAlloc_v2"
    with pytest.raises(EngineError, match=r"cuMemAlloc_v2 failed: .* \(2\)"):
        stream.allocate(24)

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", missing)
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        cuda_driver.Stream()
    gpu.gpu_name.cache_clear()
    assert gpu.gpu_name() is None
    gpu.gpu_name.cache_clear()
