"""Compare ways of training descriptors without a trunk that favours one of them:

    python -m training.body_net.ablate_descriptors_from_scratch -o benchmarks/descriptor_ablation_from_scratch.json

The variants of :mod:`training.body_net.ablate_descriptors` that differ most get a small network each and learn their
descriptors from the first step on, all from the same crops in the same order. The networks see crops of 64 x 64 pixels
and train for minutes: the figures say which way of training learns faster, not how good it becomes. Takes about
eight minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from human_recon.body.model import default_body_model
from human_recon.simulation.assets import Assets
from human_recon.simulation.stream import CropBatch
from training.body_net.ablate_descriptors import Head, Judge, Pixels, Surface, Variant, write
from training.body_net.descriptors import and_mirrored, crop_batches, crop_images
from training.body_net.network import CHANNELS, DESCRIPTOR
from training.networks.backbone import Backbone, BackboneConfig

COARSER = 2  # every second pixel of the crops
NETWORK = BackboneConfig(channels=(16, 24, 32, 48, 64), blocks=(1, 1, 1, 1), width=32)
RATE = 3e-3
SEED = 7  # of the stream; the training uses 0

VARIANTS: tuple[Variant, ...] = (
    *(Variant("tied", count) for count in (1, 4, 16, 100)),
    *(Variant("linear", count) for count in (1, 4, 16, 100)),
    Variant("tied", 100, smooth_start=False),
    Variant("tied", 100, soft=True),
    Variant("tied", 100, key_points=False),
    Variant("surface", soft=True, key_points=False),
)


@dataclass(frozen=True, eq=False)
class Crops:
    """N crops at half their resolution, and what their output pixels show."""

    image: np.ndarray  # [N, 5, S/2, S/2] float16
    vertex: np.ndarray  # [N, S/4, S/4] int16, true vertex of the crop's own person, -1 = none

    @staticmethod
    def of(batches: Iterator[CropBatch]) -> Crops:
        """All of some batches."""
        images, vertices = [], []
        for batch in batches:
            images.append(crop_images(batch)[:, :, ::COARSER, ::COARSER].astype(np.float16))
            few = slice(None, None, 2 * COARSER)
            vertices.append(np.where(batch.mask, batch.vertex, -1)[:, few, few].astype(np.int16))
        return Crops(np.concatenate(images), np.concatenate(vertices))


class SmallNet(nn.Module):
    """A trunk of its own below a head."""

    def __init__(self, variant: Variant, surface: Surface) -> None:
        super().__init__()
        torch.manual_seed(0)  # all trunks start alike
        self.trunk = Backbone(CHANNELS, NETWORK).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = Head(variant, NETWORK.width, surface)
        self.head.tower = nn.Linear(NETWORK.width, DESCRIPTOR)  # type: ignore[assignment]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """[N, S/4, S/4, width] of images [N, 5, S/2, S/2]."""
        with torch.autocast("cpu", torch.bfloat16):
            _, down = self.trunk(images.contiguous(memory_format=torch.channels_last))
        return down[0].permute(0, 2, 3, 1).float()

    @torch.no_grad()
    def describe(self, crops: Crops) -> np.ndarray:
        """Descriptors [P, 16] of all pixels that show people, crop by crop."""
        self.eval()
        parts = []
        for first in range(0, len(crops.image), 48):
            some = slice(first, first + 48)
            features = self.features(torch.from_numpy(crops.image[some]).float())
            parts.append(features[torch.from_numpy(crops.vertex[some] >= 0)].half().numpy())
        self.train()
        return self.head.describe(np.concatenate(parts))


def train_step(
    net: SmallNet,
    images: torch.Tensor,  # [N, 5, S/2, S/2]
    places: tuple[torch.Tensor, torch.Tensor, torch.Tensor],  # crop, row, column of [K] output pixels
    vertex: torch.Tensor,  # [K]
    surface: Surface,
    step: int,
    per_step: int,
) -> torch.Tensor:
    """The loss of one step, with gradients."""
    features = net.features(images)[places]
    loss = net.head.loss(features, vertex, surface, torch.Generator().manual_seed(step), per_step)
    loss.backward()
    return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="figures, .json")
    parser.add_argument("--batches", type=int, default=50, help="of 48 crops to train on, each also mirrored")
    parser.add_argument("--held-out", type=int, default=4, help="batches of the test split")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--crops", type=int, default=24, help="per step")
    parser.add_argument("--pixels", type=int, default=768, help="per step")
    parser.add_argument("--per-step", type=int, default=2, help="segmentations per step")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:4.0f} s  {text}", flush=True)

    body, assets = default_body_model(), Assets.locate(args.data)
    surface = Surface.of(body)
    judge = Judge.of(surface, body)
    train = Crops.of(and_mirrored(crop_batches("train", SEED, args.batches, assets), body))
    held_out = Crops.of(crop_batches("test", SEED, args.held_out, assets))
    say(f"{len(train.image)} crops to train on, {len(held_out.image)} held out")
    rng = np.random.default_rng(0)
    some = rng.choice(len(train.image), min(1440, len(train.image)), replace=False)
    few = Crops(train.image[some], train.vertex[some])
    shown = held_out.vertex >= 0
    pixels = Pixels(
        features=np.empty(0),
        descriptor=np.empty(0),
        vertex=held_out.vertex[shown].astype(np.int64),
        crop=np.nonzero(shown)[0],
    )
    about: dict[str, Any] = {
        "what": "small networks trained from scratch on the same crops; errors along the surface, test split",
        "data": assets.digest,
        "train_crops": len(train.image),
        "held_out": {"pixels": len(pixels.vertex), "crops": len(held_out.image)},
        "steps": args.steps,
        "crops_per_step": args.crops,
        "pixels_per_step": args.pixels,
        "segmentations_per_step": args.per_step,
        "command": f"python -m training.body_net.ablate_descriptors_from_scratch -o {args.output.name} "
        f"--batches {args.batches} --held-out {args.held_out} --steps {args.steps} --crops {args.crops} "
        f"--pixels {args.pixels} --per-step {args.per_step}",
    }
    nets = [SmallNet(variant, surface) for variant in VARIANTS]
    optimizer = torch.optim.AdamW([{"params": list(net.parameters())} for net in nets], lr=RATE, fused=True)
    curves: dict[str, list[dict[str, Any]]] = {net.head.variant.name: [] for net in nets}
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50, 2.0 * (args.steps - step) / args.steps)
        chosen = rng.choice(len(train.image), args.crops, replace=False)
        images = torch.from_numpy(train.image[chosen]).float()
        places = np.argwhere(train.vertex[chosen] >= 0)
        places = places[rng.permutation(len(places))[: args.pixels]]
        vertex = torch.from_numpy(train.vertex[chosen][tuple(places.T)].astype(np.int64))
        where = tuple(torch.from_numpy(np.ascontiguousarray(axis)) for axis in places.T)
        optimizer.zero_grad(set_to_none=True)
        for net in nets:
            train_step(net, images, where, vertex, surface, step, args.per_step)  # type: ignore[arg-type]
        optimizer.step()
        if step + 1 in (args.steps // 2, args.steps):
            for net in nets:
                variant, seen = net.head.variant, few.vertex[few.vertex >= 0].astype(np.int64)
                both = net.describe(few), seen, net.describe(held_out), pixels
                figures = judge.figures(*both, variant.euclidean, net.head.classes(surface))
                curves[variant.name].append({"step": step + 1, **figures})
                say(f"step {step + 1}  {variant.name:26s}" + "".join(f" {value:7.3f}" for value in figures.values()))
            about["seconds"] = round(time.perf_counter() - start)
            write(args.output, about, curves)
        elif step % 25 == 24:
            say(f"step {step + 1} of {args.steps}")


if __name__ == "__main__":
    main()
