"""Export PeopleNet: python -m training.export.people_net CHECKPOINT -o models/people_net."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace

import numpy as np

from human_recon.inference.parity import Measure
from human_recon.perception.people_input import CHANNELS, HEIGHT, WIDTH, encode
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.stream import FRAME_WORLD, FrameMaker, StreamConfig, stream
from training.export.bundle import Bundle
from training.export.command import Weights, export
from training.export.quantize import QuantizeConfig
from training.people_net.network import PeopleNet

SEED = 91  # neither a training's, nor its validation's, nor a benchmark's
_BATCH = 16

# Limits of float32 cover the order of summation; those of fewer bits are a few times what a good export shows.
_FOREGROUND = ("output", 0)
MEASURES = (
    Measure("foreground", "mask", "output", {"fp32": 2e-3, "fp16": 0.02, "int8": 0.02}, (0, 1), None, 3),
    Measure("votes", "difference", "output", {"fp32": 5e-4, "fp16": 0.01, "int8": 0.01}, (1, 7), _FOREGROUND, 3),
    Measure("votes' scale", "difference", "output", {"fp32": 2e-3, "fp16": 0.05, "int8": 0.05}, (7, 8), _FOREGROUND, 3),
)
# Measured: the whole network in INT8 moves the votes by 25 mm, with the head in float 2.3 mm, with the stem too 2.1 mm.
QUANTIZATION = QuantizeConfig(stem=("backbone.stem",), heads=("head",))


def images(assets: Assets, split: Split, count: int, seed: int = SEED) -> np.ndarray:
    """What PeopleNet sees of ``count`` frames of a split: [count, 6, H, W] float32."""
    config = StreamConfig(batch=_BATCH, seed=seed, world=replace(FRAME_WORLD, split=split))
    result = np.empty((count, CHANNELS, HEIGHT, WIDTH), np.float32)
    with closing(stream(FrameMaker(config, assets))) as batches:
        frames = ((b.depth[k], b.cameras[k]) for b in batches for k in range(_BATCH))
        for k, (depth, camera) in enumerate(itertools.islice(frames, count)):
            encode(depth, tuple(float(c) for c in camera), result[k])
    return result


def bundle(weights: Weights, assets: Assets, count: int) -> Bundle:
    """Everything the export needs. Raises RuntimeError for the weights of another network."""
    network = PeopleNet()
    network.load_state_dict(weights)
    return Bundle(
        name="people_net",
        network=network,
        weights=weights,
        image=(CHANNELS, HEIGHT, WIDTH),
        outputs=("output",),
        measures=MEASURES,
        quantization=QUANTIZATION,
        calibration=images(assets, "train", count),
        held_out=images(assets, "test", count),
    )


if __name__ == "__main__":
    export("people_net", bundle)
