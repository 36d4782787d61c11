"""The networks that ship: small, complete, of one export, and right on every engine that is installed here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from human_recon.inference.choice import Candidate, missing
from human_recon.inference.files import NetworkFiles
from human_recon.inference.selection import measure
from human_recon.perception.crops import SIZE
from human_recon.perception.people_input import CHANNELS, HEIGHT, WIDTH

MODELS = Path(__file__).resolve().parents[1] / "models"
LARGEST = 20e6  # bytes of a file
SHAPES = {"people_net": (CHANNELS, HEIGHT, WIDTH), "body_net": (5, SIZE, SIZE)}


@pytest.fixture(params=sorted(SHAPES))
def files(request: pytest.FixtureRequest) -> NetworkFiles:
    if not (MODELS / request.param / f"{request.param}.onnx").is_file():
        pytest.skip(f"models/{request.param} has not been exported yet")
    return NetworkFiles.shipped(request.param)


def test_files_are_small_and_those_the_card_describes(files: NetworkFiles) -> None:
    card = json.loads((files.folder / f"{files.name}.json").read_text(encoding="utf-8"))
    described = card["export"]["files"]
    names = {f"{files.name}.onnx", f"{files.name}_int8.onnx", f"{files.name}.safetensors", "reference.npz"}
    assert set(described) == names
    for name, facts in described.items():
        content = (files.folder / name).read_bytes()
        assert len(content) <= LARGEST, name
        assert hashlib.sha256(content).hexdigest() == facts["sha256"], f"{name} is of another export than the card"


def test_every_engine_here_computes_the_same(files: NetworkFiles) -> None:
    images = files.reference()
    assert images.shape[1:] == SHAPES[files.name]
    assert np.isfinite(images).all()
    asked = [Candidate("onnxruntime", "fp32"), Candidate("onnxruntime", "int8")]
    if missing("openvino") is None:
        asked += [Candidate("openvino", "fp32"), Candidate("openvino", "int8")]
    measured, _ = measure(files, asked, threads=1)
    problems = [one.summary for one in measured if one.problem is not None]
    assert problems == []
