"""Which engine runs: none that differs too much, none that was not asked for, remembered as long as it holds."""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from human_recon.inference import cache, choice, selection
from human_recon.inference.batching import chunks, run_in_chunks
from human_recon.inference.choice import Candidate, EngineChoice, candidates, missing, open_engine
from human_recon.inference.engine import Engine, EngineError
from human_recon.inference.files import NetworkFiles
from tests.engine_support import Clock, FixedEngine, images

FLOAT, INT8, OTHER = Candidate("onnxruntime", "fp32"), Candidate("onnxruntime", "int8"), Candidate("openvino", "fp32")
LIMITS = {"fp32": 0.001, "fp16": 0.01, "int8": 0.1}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkFiles:
    """A network's folder; its graphs are never opened."""
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("tiny.onnx", "tiny_int8.onnx"):
        (folder / name).write_bytes(name.encode())
    np.savez(folder / "reference.npz", image=images(4).astype(np.float16))
    measures = [{"name": "mean", "kind": "difference", "output": "mean", "limits": LIMITS}]
    (folder / "parity.json").write_text(json.dumps({"measures": measures}))
    return NetworkFiles("tiny", folder)


Builds = Callable[[dict[Candidate, FixedEngine]], list[Candidate]]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    """Replace what engines are made of; the list that is returned collects what is built."""

    def use(engines: dict[Candidate, FixedEngine]) -> list[Candidate]:
        built: list[Candidate] = []
        clock = Clock()
        monkeypatch.setattr(selection.time, "perf_counter", clock)

        def build(candidate: Candidate, files: NetworkFiles, threads: int) -> Engine:
            built.append(candidate)
            if candidate not in engines:
                raise EngineError(f"{candidate} is not installed")
            engines[candidate].clock = clock
            return engines[candidate]

        monkeypatch.setattr(selection, "build", build)
        return built

    return use


def test_the_fastest_is_taken(files: NetworkFiles, builds: Builds) -> None:
    engines = {FLOAT: FixedEngine(cost=3.0), INT8: FixedEngine(error=0.05), OTHER: FixedEngine(cost=2.0)}
    builds(engines)
    assert selection.select(files, [FLOAT, INT8, OTHER], 1) is engines[INT8]


def test_the_fastest_is_not_taken_when_it_is_wrong(
    files: NetworkFiles, builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    engines = {FLOAT: FixedEngine(cost=3.0), INT8: FixedEngine(error=0.2), OTHER: FixedEngine(error=0.01, cost=0.1)}
    builds(engines)
    with caplog.at_level(logging.INFO, logger="human_recon"):
        assert selection.select(files, [FLOAT, INT8, OTHER], 1) is engines[FLOAT]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert all("too far from float32: mean is off by" in warning for warning in warnings)
    assert "tiny runs on fixed, the fastest here" in caplog.text


def test_speed_is_measured_with_the_usual_number_of_images(files: NetworkFiles, builds: Builds) -> None:
    for name, count in (("body_net", 4), ("people_net", 1)):
        engine = FixedEngine()
        builds({FLOAT: engine})
        for suffix in ("", "_int8"):
            (files.folder / f"{name}{suffix}.onnx").write_bytes(b"")
        selection.select(NetworkFiles(name, files.folder), [FLOAT], 1)
        assert set(engine.runs[2:]) == {count}  # after the two runs that are compared


def test_the_choice_is_remembered_until_something_changes(files: NetworkFiles, builds: Builds) -> None:
    asked = [FLOAT, INT8]
    builds({FLOAT: FixedEngine(cost=3.0), INT8: FixedEngine(cost=1.0)})
    selection.select(files, asked, 1)
    # Now the other is faster, and nobody looks.
    faster = {FLOAT: FixedEngine(cost=1.0), INT8: FixedEngine(cost=3.0)}
    built = builds(faster)
    assert selection.select(files, asked, 1) is faster[INT8]
    assert built == [INT8]
    assert selection.select(files, asked, 2) is faster[FLOAT], "other threads"
    (files.folder / "tiny_int8.onnx").write_bytes(b"trained longer")
    assert selection.select(files, asked, 1) is faster[FLOAT], "another network"


def test_a_remembered_engine_that_is_gone_is_measured_again(
    files: NetworkFiles, builds: Builds, caplog: pytest.LogCaptureFixture
) -> None:
    builds({FLOAT: FixedEngine(cost=3.0), INT8: FixedEngine(cost=1.0)})
    selection.select(files, [FLOAT, INT8], 1)
    left = {FLOAT: FixedEngine()}
    builds(left)
    assert selection.select(files, [FLOAT, INT8], 1) is left[FLOAT]
    assert "measuring again" in caplog.text


def test_a_damaged_cache_is_measured_again(files: NetworkFiles, builds: Builds) -> None:
    engines = {FLOAT: FixedEngine()}
    builds(engines)
    selection.select(files, [FLOAT], 1)
    (path,) = cache.cache_folder().glob("*.json")
    path.write_text("{")
    assert selection.select(files, [FLOAT], 1) is engines[FLOAT]
    assert json.loads(path.read_text())["chosen"] == "onnxruntime fp32"


def test_a_cache_that_cannot_be_written_is_said_and_survived(
    files: NetworkFiles, builds: Builds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = files.folder / "a file"
    blocked.write_text("")
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(blocked))
    engines = {FLOAT: FixedEngine()}
    builds(engines)
    assert selection.select(files, [FLOAT], 1) is engines[FLOAT]
    assert "measured again next time" in caplog.text


def test_when_nothing_runs_every_reason_is_given(files: NetworkFiles, builds: Builds) -> None:
    builds({FLOAT: FixedEngine(), INT8: FixedEngine(error=1.0)})
    with pytest.raises(EngineError, match=r"no engine can run tiny: .*too far.*; openvino fp32: .*not installed"):
        selection.select(files, [INT8, OTHER], 1)


def test_what_is_asked_for_by_name_runs_or_fails(files: NetworkFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "missing", lambda engine: f"{engine} is not here")
    monkeypatch.setattr(selection, "select", lambda *_: pytest.fail("nothing else may be tried"))
    with pytest.raises(EngineError, match="openvino is not here"):
        open_engine("people_net", EngineChoice("openvino", "int8"), files)


def test_auto_leaves_open_only_what_was_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "gpu_name", lambda: None)
    everything = candidates(EngineChoice())
    assert {c.engine for c in everything} == {"onnxruntime", "openvino", "tensorrt"}, "torch needs a GPU to be worth it"
    assert [str(c) for c in candidates(EngineChoice("openvino"))] == ["openvino fp32", "openvino fp16", "openvino int8"]
    assert {c.precision for c in candidates(EngineChoice(precision="int8"))} == {"int8"}
    assert [c.engine for c in candidates(EngineChoice("torch", "fp32"))] == ["torch"]
    monkeypatch.setattr(choice, "gpu_name", lambda: "a GPU")
    assert "torch" in {c.engine for c in candidates(EngineChoice())}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"engine": "cuda"}, "engine is 'cuda'"), ({"precision": "int4"}, "'int4'"), ({"threads": -1}, "at least 0")],
)
def test_settings_are_checked(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineChoice(**settings)


def test_stubs_alone_are_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").write_text("")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    problem = missing("tensorrt")
    assert problem is not None
    assert "pip install" in problem
    assert "tensorrt" in problem.partition("pip install")[2]


def test_tensorrt_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_installed", lambda name: True)
    monkeypatch.setattr(choice, "gpu_name", lambda: None)
    assert "GPU" in str(missing("tensorrt"))
    monkeypatch.setattr(choice, "gpu_name", lambda: "a GPU")
    assert missing("tensorrt") is None


def test_gpu_is_asked_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    from human_recon.inference import gpu

    class Driver(types.SimpleNamespace):
        def cuDeviceGetName(self, name: object, size: int, device: object) -> int:
            name.value = b"Imaginary 9000"  # type: ignore[attr-defined]
            return 0

    def load(status: int) -> Callable[[str], Driver]:
        return lambda name: Driver(cuInit=lambda flags: status, cuDeviceGet=lambda device, index: 0)

    try:
        for status, expected in ((0, "Imaginary 9000"), (100, None)):
            gpu.gpu_name.cache_clear()
            monkeypatch.setattr(gpu.ctypes, "CDLL", load(status))
            assert gpu.gpu_name() == expected
    finally:
        gpu.gpu_name.cache_clear()


@given(st.integers(1, 40), st.sets(st.integers(1, 9), min_size=1))
def test_chunks_cover_everything_once_and_fit(count: int, sizes: set[int]) -> None:
    found = list(chunks(count, sorted(sizes)))
    assert [k for start, stop, _ in found for k in range(start, stop)] == list(range(count))
    for start, stop, size in found:
        assert size in sizes
        assert 0 < stop - start <= size
        assert not any(stop - start <= smaller < size for smaller in sizes), "a smaller batch would do"


@given(st.integers(1, 20), st.sets(st.integers(1, 8), min_size=1))
def test_chunks_give_what_one_batch_gives(count: int, sizes: set[int]) -> None:
    image = images(count, shape=(1, 2, 2))
    engine = FixedEngine()

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        assert len(batch) in sizes
        return dict(engine.run(batch))

    result = run_in_chunks(image, sorted(sizes), run)
    np.testing.assert_array_equal(result["mean"], FixedEngine().run(image)["mean"])


@pytest.mark.parametrize("name", ["tiny.onnx", "reference.npz"])
def test_missing_files_say_how_to_make_them(files: NetworkFiles, name: str) -> None:
    (files.folder / name).unlink()
    with pytest.raises(EngineError, match="export the network"):
        files.graph("fp32")
        files.reference()
