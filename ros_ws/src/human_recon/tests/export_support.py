"""BodyNet of a few thousand weights, exported once per test process."""

from __future__ import annotations

import atexit
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from human_recon.inference.files import NetworkFiles
from human_recon.inference.parity import Measure
from human_recon.perception.crops import SIZE
from tests.engine_support import images
from training.body_net.network import CHANNELS, BodyNet, BodyNetConfig
from training.export.body_net import OUTPUTS, QUANTIZATION, Flat
from training.export.bundle import Bundle
from training.networks.backbone import BackboneConfig

IMAGE = (CHANNELS, SIZE, SIZE)
_FLOAT, _ROUGH = {"fp32": 1e-4}, {"fp16": 0.03, "int8": 0.1}
MEASURES = (
    Measure("mask", "difference", "mask", _FLOAT | _ROUGH),
    Measure("dense", "difference", "descriptor", _FLOAT | _ROUGH, where=("mask", 0)),
    Measure("points", "difference", "points", _FLOAT | _ROUGH),
    Measure("rotations", "difference", "rotations", _FLOAT | _ROUGH),
)


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """With running statistics that matter, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
    return network


def tiny_body_net() -> BodyNet:
    """The real structure, narrow."""
    torch.manual_seed(3)
    narrow = BackboneConfig(channels=(6, 6, 8, 8, 8), blocks=(1, 1, 1, 1), width=8)
    return shaken(BodyNet(BodyNetConfig(narrow, vote_width=8, body_width=12)))  # type: ignore[return-value]


def tiny_bundle(**changes: Any) -> Bundle:
    """What its export needs."""
    network = tiny_body_net()
    parts: dict[str, Any] = {
        "name": "body_net",
        "network": Flat(network),
        "weights": network.state_dict(),
        "image": IMAGE,
        "outputs": OUTPUTS,
        "measures": MEASURES,
        "quantization": QUANTIZATION,
        "calibration": smooth_images(12, seed=1),
        "held_out": smooth_images(10, seed=2),
    }
    return Bundle(**(parts | changes))


@functools.cache
def exported() -> tuple[NetworkFiles, dict[str, Any]]:
    """Its files, and the report of the export."""
    folder = tempfile.TemporaryDirectory(prefix="tiny_body_net_")
    atexit.register(folder.cleanup)
    report = tiny_bundle().write(Path(folder.name), {"step": 7})
    return NetworkFiles("body_net", Path(folder.name)), report


def smooth_images(count: int, seed: int) -> np.ndarray:
    """Images whose neighbouring pixels are alike, [count, *IMAGE] float32."""
    coarse = images(count, seed, (CHANNELS, SIZE // 16, SIZE // 16))
    return np.ascontiguousarray(coarse.repeat(16, axis=2).repeat(16, axis=3))
