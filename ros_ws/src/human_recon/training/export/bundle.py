"""Writes everything that ships of one network into its folder, and measures how far the engines' files are from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import save
from torch import nn

from human_recon.inference.files import NetworkFiles, NetworkName
from human_recon.inference.onnxruntime_engine import OnnxRuntimeEngine
from human_recon.inference.parity import Difference, Measure, differences
from human_recon.io.atomic import atomic_file, write_bytes
from training.export.graph import OPSET, export_graph, store_half
from training.export.quantize import QuantizeConfig, quantize

REFERENCES = 8  # images that ship, on which engines are compared on the user's machine


@dataclass(frozen=True)
class Bundle:
    """A network and what its export needs."""

    name: NetworkName
    network: nn.Module  # image -> a tensor or a tuple of tensors
    weights: dict[str, torch.Tensor]  # under the names that training knows
    image: tuple[int, int, int]  # C, H, W
    outputs: Sequence[str]
    measures: Sequence[Measure]
    quantization: QuantizeConfig
    calibration: np.ndarray  # [K, C, H, W] float32, of the training split
    held_out: np.ndarray  # [K, C, H, W] float32, of the test split

    def write(self, folder: Path, source: dict[str, Any]) -> dict[str, Any]:
        """Write NAME.onnx, NAME_int8.onnx, NAME.safetensors, reference.npz, parity.json; the report for the card.

        Args:
            source: what to say in the report about where the weights come from.

        Raises:
            RuntimeError: ONNX Runtime does not compute what torch does; nothing is written then.
        """
        began = time.perf_counter()
        files = NetworkFiles(self.name, folder)
        exported = export_graph(self.network, self.image, self.outputs)
        folder.mkdir(parents=True, exist_ok=True)
        quantized = quantize(exported, self.calibration, self.quantization)
        with atomic_file(folder / f"{self.name}.onnx") as path, atomic_file(folder / f"{self.name}_int8.onnx") as small:
            onnx.save(store_half(exported), path)
            onnx.save(store_half(quantized), small)
            rows = self._compare(path, small)
            wrong = [row for row in rows["fp32"] if not row.passed]
            if wrong:
                raise RuntimeError(f"{self.name}: ONNX Runtime and torch differ: {wrong}")
        write_bytes(folder / f"{self.name}.safetensors", save(compact(self.weights), {"network": self.name}))
        with atomic_file(folder / "reference.npz") as path:
            np.savez_compressed(path, image=self.held_out[:REFERENCES].astype(np.float16))
        table = {"measures": [_row(measure) for measure in self.measures]}
        write_bytes(files.parity, (json.dumps(table, indent=1) + "\n").encode())
        return {
            **source,
            "opset": OPSET,
            "versions": {m.__name__: m.__version__ for m in (torch, onnx, onnxruntime)},
            "quantization": dataclasses.asdict(self.quantization) | {"images": len(self.calibration)},
            "held_out_images": len(self.held_out),
            "parity": {
                "fp32 against torch": {row.name: round(row.error, 7) for row in rows["fp32"]},
                "int8 against fp32": {row.name: round(row.error, 5) for row in rows["int8"]},
                "int8 allowed": {row.name: row.limit for row in rows["int8"]},
            },
            "int8_passes": all(row.passed for row in rows["int8"]),
            "files": {path.name: _described(path) for path in _written(files)},
            "seconds": round(time.perf_counter() - began, 1),
        }

    def _compare(self, graph: Path, small: Path) -> dict[str, list[Difference]]:
        """The float file against torch, the INT8 file against the float file."""
        image = self.held_out
        with torch.no_grad():
            output = self.network.eval()(torch.from_numpy(image))
        outputs = (output,) if isinstance(output, torch.Tensor) else output
        truth = dict(zip(self.outputs, (value.numpy() for value in outputs), strict=True))
        exact = OnnxRuntimeEngine(graph, "fp32", torch.get_num_threads()).run(image)
        rough = OnnxRuntimeEngine(small, "int8", torch.get_num_threads()).run(image)
        return {
            "fp32": differences(self.measures, exact, truth, image, "fp32"),
            "int8": differences(self.measures, rough, exact, image, "int8"),
        }


def compact(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights for a file half the size: matrices and kernels as float16, statistics and biases as they are."""
    return {
        name: (value.to(torch.float16) if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for name, value in weights.items()
    }


def update_card(path: Path, report: dict[str, Any]) -> None:
    """Put the report under "export" of the model card at ``path``, keeping what else the card says."""
    card = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_bytes(path, (json.dumps(card | {"export": report}, indent=2) + "\n").encode())


def print_report(name: str, report: dict[str, Any]) -> None:
    """The parity figures, and a warning when INT8 is worse than the table allows."""
    parity = report["parity"]
    print(f"{name}: {report['seconds']} s")
    print(f"  {'':<18} {'fp32 - torch':>12} {'int8 - fp32':>12} {'allowed':>8}")
    for row, error in parity["int8 against fp32"].items():
        allowed = parity["int8 allowed"][row]
        mark = "" if error <= allowed else "  TOO FAR"
        print(f"  {row:<18} {parity['fp32 against torch'][row]:12.1e} {error:12.5f} {allowed:8.3f}{mark}")
    for file, facts in report["files"].items():
        print(f"  {file:<26} {facts['bytes'] / 1e6:6.2f} MB  sha256 {facts['sha256'][:12]}")
    if not report["int8_passes"]:
        print(f"{name}: INT8 is too far from float: engine auto will not choose it", file=sys.stderr)


def _row(measure: Measure) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(measure).items() if value is not None}


def _written(files: NetworkFiles) -> list[Path]:
    names = (f"{files.name}.onnx", f"{files.name}_int8.onnx", f"{files.name}.safetensors", "reference.npz")
    return [files.folder / name for name in names]


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
