"""A trained BodyNet's descriptors of person crops: what the codebook, the ablation and the matching are made from."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.stream import CROP_WORLD, CropBatch, CropMaker, StreamConfig, stream
from training.body_net.network import STRIDE, BodyNet, BodyNetConfig
from training.loop.checkpoint import Checkpoint
from training.loop.mirror import mirror_crops
from training.networks.backbone import BackboneConfig

PELVIS, CHEST = joint_index("pelvis"), joint_index("spine3")


@dataclass(frozen=True, eq=False)
class TrainedBodyNet:
    """The averaged weights of a checkpoint, ready to be used."""

    network: BodyNet  # in evaluation mode, on the CPU
    embedding: np.ndarray  # [V, 16] float32, class vectors of the vertices, not normalised
    step: int
    sha256: str  # of the checkpoint file

    @staticmethod
    def load(path: Path) -> TrainedBodyNet:
        """Read a checkpoint of `training.body_net.train`.

        Raises:
            ValueError: it is another network's.
        """
        checkpoint = Checkpoint.load(path)
        config = json.loads(checkpoint.config)["task"].get("network", {})
        weights = {
            name.removeprefix("network."): value
            for name, value in checkpoint.averaged.items()
            if name.startswith("network.")
        }
        if "ensemble.embedding" not in checkpoint.averaged or not weights:
            raise ValueError(f"{path} is not a checkpoint of BodyNet: it has no descriptors' classifiers")
        backbone = BackboneConfig(
            channels=tuple(config["backbone"]["channels"]),
            blocks=tuple(config["backbone"]["blocks"]),
            width=config["backbone"]["width"],
        )
        network = BodyNet(BodyNetConfig(**{**config, "backbone": backbone}))
        network.load_state_dict(weights)
        network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        embedding = checkpoint.averaged["ensemble.embedding"].float().numpy()
        return TrainedBodyNet(network, embedding, checkpoint.step, hashlib.sha256(path.read_bytes()).hexdigest())

    @torch.no_grad()
    def describe(self, images: np.ndarray) -> np.ndarray:
        """Descriptors of length 1, [N, S/2, S/2, 16] float32, of crops ``images`` [N, 5, S, S]."""
        tensor = torch.from_numpy(np.ascontiguousarray(images)).contiguous(memory_format=torch.channels_last)
        descriptor = self.network(tensor).descriptor.float()
        return functional.normalize(descriptor, dim=1).permute(0, 2, 3, 1).contiguous().numpy()

    @torch.no_grad()
    def middle(self, images: np.ndarray) -> np.ndarray:
        """Midway between pelvis and chest, where a crop's centre should be: [N, 3] float64, crop frame, metres."""
        points = self.network(torch.from_numpy(np.ascontiguousarray(images))).points
        return points[:, [PELVIS, CHEST]].mean(dim=1).double().numpy()


def begin(checkpoint: Path, data: Path | None, threads: int) -> tuple[TrainedBodyNet, Assets]:
    """What the programs beside this file begin with; ends the program when the checkpoint cannot be used."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    assets = Assets.locate(data)
    for name, path in (("motion capture", assets.motion), ("wardrobe", assets.wardrobe)):
        if path is None:
            print(f"no {name}: people are made without it, and figures are not comparable with others", file=sys.stderr)
    try:
        return TrainedBodyNet.load(checkpoint), assets
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


@dataclass(frozen=True, eq=False)
class SurfacePixels:
    """P pixels that show people, each on the person of its own crop."""

    crop: np.ndarray  # [P] int64, row of the crop
    row: np.ndarray  # [P] int64, of the network's output
    column: np.ndarray  # [P] int64
    vertex: np.ndarray  # [P] int64, true vertex of the body

    @staticmethod
    def of(batch: CropBatch) -> SurfacePixels:
        """All of a batch."""
        vertex = batch.vertex[:, ::STRIDE, ::STRIDE]
        shown = batch.mask[:, ::STRIDE, ::STRIDE] & (vertex >= 0)
        crop, row, column = np.nonzero(shown)
        return SurfacePixels(crop, row, column, vertex[shown].astype(np.int64))


def crop_images(batch: CropBatch) -> np.ndarray:
    """[N, 5, S, S] float32, the network's input."""
    return np.concatenate([batch.points, batch.prompt[:, None]], axis=1)


def crop_batches(
    split: Split, seed: int, count: int, assets: Assets, first: int = 0, size: int = 48
) -> Iterator[CropBatch]:
    """``count`` batches of the stream that BodyNet is trained on, from the ``first`` on, of real people only."""
    config = StreamConfig(seed=seed, batch=size, views=2, world=replace(CROP_WORLD, split=split))
    with closing(stream(CropMaker(config, assets), first)) as batches:  # type: ignore[type-var]
        yield from itertools.islice(batches, count)


def and_mirrored(batches: Iterator[CropBatch], body: BodyModel) -> Iterator[CropBatch]:
    """Every batch, and every batch in the mirror."""
    for batch in batches:
        yield batch
        yield mirror_crops(batch, body)
