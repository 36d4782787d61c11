"""The files of one network, as `training.export` writes them and models/ ships them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from human_recon.inference.engine import EngineError
from human_recon.resources import model_path

NetworkName = Literal["people_net", "body_net"]
Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class NetworkFiles:
    """A folder with NAME.onnx (float), NAME_int8.onnx (quantised), reference.npz and parity.json."""

    name: str
    folder: Path

    @staticmethod
    def shipped(name: NetworkName) -> NetworkFiles:
        """The files of models/. Raises EngineError when this installation has none."""
        try:
            return NetworkFiles(name, model_path(name))
        except FileNotFoundError as error:
            raise EngineError(f"{name} is not installed: {error}") from None

    def graph(self, precision: Precision) -> Path:
        """The ONNX file that an engine of this ``precision`` is made from. Raises EngineError when it is missing."""
        path = self.folder / (f"{self.name}_int8.onnx" if precision == "int8" else f"{self.name}.onnx")
        if not path.is_file():
            raise EngineError(f"{path} does not exist: export the network with python -m training.export.{self.name}")
        return path

    def digest(self, precision: Precision) -> str:
        """SHA-256 of that file, which names the weights whatever engine runs them."""
        return hashlib.sha256(self.graph(precision).read_bytes()).hexdigest()

    @property
    def parity(self) -> Path:
        """How far engines may differ: see `human_recon.inference.parity`."""
        return self.folder / "parity.json"

    def reference(self) -> np.ndarray:
        """Images [N, C, H, W] float32 on which engines are compared. Raises EngineError when they are missing."""
        path = self.folder / "reference.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return file["image"].astype(np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise EngineError(f"{path}: no reference images ({error}); export the network again") from None
