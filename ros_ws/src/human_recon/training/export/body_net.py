"""Export BodyNet: python -m training.export.body_net CHECKPOINT -o models/body_net."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from human_recon.inference.parity import Measure
from human_recon.perception.crops import SIZE
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.stream import CROP_WORLD, CropMaker, StreamConfig, stream
from training.body_net.network import CHANNELS, BodyNet, BodyNetOutput
from training.export.bundle import Bundle
from training.export.command import Weights, export
from training.export.quantize import QuantizeConfig

SEED = 92  # neither a training's, nor its validation's, nor a benchmark's
OUTPUTS = tuple(field.name for field in dataclasses.fields(BodyNetOutput))
_BATCH = 16
_PREFIX = "network."  # of BodyNet in the training's model; the rest is the ensemble of classifiers, peeled off here

_MASK = ("mask", 0)
MEASURES = (
    Measure("mask", "mask", "mask", {"fp32": 2e-3, "fp16": 0.02, "int8": 0.02}, valid=3),
    # Most pixels that change part lie on the border of two, where either is as right as the other.
    Measure("parts", "class", "parts", {"fp32": 3e-3, "fp16": 0.05, "int8": 0.05}, None, _MASK, 3),
    Measure("descriptor", "direction", "descriptor", {"fp32": 1e-4, "fp16": 0.01, "int8": 0.01}, None, _MASK, 3),
    Measure("points", "difference", "points", {"fp32": 5e-4, "fp16": 0.008, "int8": 0.008}),
    Measure("points' scale", "difference", "points_log_scale", {"fp32": 2e-3, "fp16": 0.05, "int8": 0.05}),
    Measure("rotations", "difference", "rotations", {"fp32": 1e-3, "fp16": 0.02, "int8": 0.02}),
    Measure("betas", "difference", "betas", {"fp32": 2e-3, "fp16": 0.05, "int8": 0.05}),
    Measure("root", "difference", "root", {"fp32": 5e-4, "fp16": 0.008, "int8": 0.008}),
    Measure("joints' scale", "difference", "joints_log_scale", {"fp32": 2e-3, "fp16": 0.05, "int8": 0.05}),
)
# In float: what sees metres, and what answers. The layers after the votes cost next to nothing.
QUANTIZATION = QuantizeConfig(stem=("backbone.stem",), heads=("dense", "vote.1"))


def images(assets: Assets, split: Split, count: int, seed: int = SEED) -> np.ndarray:
    """What BodyNet sees of ``count`` crops of a split: [count, 5, S, S] float32."""
    config = StreamConfig(batch=_BATCH, seed=seed, false_crops=0.15, world=replace(CROP_WORLD, split=split))
    made: list[np.ndarray] = []
    with closing(stream(CropMaker(config, assets))) as batches:
        while len(made) * _BATCH < count:
            batch = next(batches)
            made.append(np.concatenate([batch.points, batch.prompt[:, None]], axis=1))
    return np.concatenate(made)[:count]


def bundle(weights: Weights, assets: Assets, count: int) -> Bundle:
    """Everything the export needs. Raises RuntimeError for the weights of another network."""
    own = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    network = BodyNet()
    network.load_state_dict(own)
    return Bundle(
        name="body_net",
        network=Flat(network),
        weights=own,
        image=(CHANNELS, SIZE, SIZE),
        outputs=OUTPUTS,
        measures=MEASURES,
        quantization=QUANTIZATION,
        calibration=images(assets, "train", count),
        held_out=images(assets, "test", count),
    )


class Flat(nn.Module):
    """BodyNet with its outputs as a tuple, in the order of :data:`OUTPUTS`."""

    def __init__(self, network: BodyNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(image)
        return tuple(getattr(output, name) for name in OUTPUTS)


if __name__ == "__main__":
    export("body_net", bundle)
