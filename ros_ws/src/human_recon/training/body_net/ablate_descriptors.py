"""Compare ways of training descriptors: several heads side by side on the frozen trunk of one checkpoint.

    python -m training.body_net.ablate_descriptors CHECKPOINT -o benchmarks/descriptor_ablation.json

All heads start alike and see the same pixels in the same order; they differ in how many segmentations they classify,
how the classifiers are built, whether labels are soft, and whether there are key points. The trunk's features at the
pixels are computed once and kept, so that rendering and trunk are paid for once. Takes about eight minutes on one core.

What this cannot show: the trunk was trained with one of the variants (tied classifiers, 100 segmentations, hard labels,
key points) and favours it. Heads with like figures are equally easy to read off these features, not more. Beside it,
`ablate_descriptors_from_scratch` gives each variant a small trunk of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from human_recon.body.landmarks import landmark_vertices
from human_recon.body.model import BodyModel, default_body_model
from human_recon.evaluation.metrics.correspondence import confusion, front_back_sides, left_right_sides, summarize
from human_recon.simulation.stream import CropBatch
from training.body_net.descriptors import SurfacePixels, TrainedBodyNet, and_mirrored, begin, crop_batches, crop_images
from training.body_net.ensemble import Ensemble, smooth_embedding
from training.body_net.network import DESCRIPTOR
from training.body_net.segmentations import (
    PATCHES,
    SOFT,
    UNIT,
    Segmentations,
    draw_segmentations,
    geodesic_distances,
    soft_labels,
    spread_vertices,
)
from training.body_net.task import KEY_POINT_RADIUS, BodyTaskConfig

LEVELS = 3  # of the trunk's top-down path that a head sees: 1/2, 1/4, 1/8 of the crop
WIDTH = 128  # of a head's hidden layer
RATE = 3e-3
KEY_POINT_WEIGHT = 0.2  # of the key points' loss against the segmentations': that of the training
SEED = 6  # of the stream; the training uses 0
LEAST = 10  # pixels of a place that its mean descriptor needs
OVERLAP = 0.025  # metres along the surface: pixels of two crops this near show the same place


@dataclass(frozen=True)
class Variant:
    """One way of training descriptors."""

    classifier: str  # tied, cosine, linear, surface (see `_CLASSIFIERS`)
    segmentations: int = 100
    soft: bool = False
    key_points: bool = True
    smooth_start: bool = True  # class vectors start from the smooth embedding, not at random

    @property
    def name(self) -> str:
        """As it stands in the table."""
        words = [self.classifier]
        if self.classifier != "surface":
            words.append(str(self.segmentations))
        words += ["soft"] if self.soft else []
        words += [] if self.key_points else ["no key points"]
        words += [] if self.smooth_start or self.classifier == "linear" else ["random start"]
        return ", ".join(words)

    @property
    def euclidean(self) -> bool:
        """Descriptors are compared by their distance, not their angle."""
        return self.classifier == "linear"


VARIANTS: tuple[Variant, ...] = (
    *(Variant("tied", count) for count in (1, 4, 16, 100)),
    *(Variant("linear", count) for count in (1, 4, 16, 100)),
    Variant("cosine", 100, smooth_start=False),
    Variant("cosine", 100),
    Variant("tied", 100, smooth_start=False),
    Variant("tied", 100, soft=True),
    Variant("linear", 100, soft=True),
    Variant("tied", 100, key_points=False),
    Variant("linear", 16, key_points=False),
    Variant("surface", key_points=False),
    Variant("surface", soft=True, key_points=False),
)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels of people, as the trunk describes them."""

    features: np.ndarray  # [P, C] float16
    descriptor: np.ndarray  # [P, 16] float16, of the checkpoint's own head, length 1
    vertex: np.ndarray  # [P] int64, true vertex
    crop: np.ndarray  # [P] int64, numbered over all batches


@dataclass(frozen=True, eq=False)
class Surface:
    """What all variants share: the body's surface and its divisions."""

    distances: np.ndarray  # [V, V] uint16, tenths of a millimetre
    segmentations: Segmentations
    table: torch.Tensor  # [V, 16] smooth embedding
    landmarks: np.ndarray  # [33] vertices
    key_point: torch.Tensor  # [V] int64, key point that a vertex shows, -1 = none

    @staticmethod
    def of(body: BodyModel) -> Surface:
        """As the training has them; takes half a minute."""
        distances = geodesic_distances(body)
        landmarks = landmark_vertices(body)
        near = distances[:, landmarks] * UNIT
        return Surface(
            distances,
            draw_segmentations(distances, 100, seed=4),
            torch.from_numpy(smooth_embedding(distances, DESCRIPTOR, BodyTaskConfig().reach / UNIT)),
            landmarks,
            torch.from_numpy(np.where(near.min(axis=1) < KEY_POINT_RADIUS, near.argmin(axis=1), -1)),
        )


class TiedClassifier(nn.Module):
    """Ours: cosines with one table of vertex embeddings (`Ensemble`)."""

    def __init__(self, variant: Variant, surface: Surface) -> None:
        super().__init__()
        table = surface.table if variant.smooth_start else _random(len(surface.table))
        centres = torch.from_numpy(surface.segmentations.centres.astype(np.int64))
        self.ensemble = Ensemble(table.clone(), centres)
        self.register_buffer("landmarks", torch.from_numpy(surface.landmarks.astype(np.int64)))

    def patches(self, descriptors: torch.Tensor, segmentation: int) -> torch.Tensor:
        """[K, PATCHES] logits."""
        return self.ensemble.patch_logits(descriptors, segmentation)

    def key_points(self, descriptors: torch.Tensor) -> torch.Tensor:
        """[K, 33] logits."""
        return self.ensemble.logits(descriptors, self.landmarks)  # type: ignore[arg-type]

    def of_vertices(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[V, 16], [V]: what the classifiers of segmentations with ``labels`` [M, V] say of each vertex, together.

        Each adds its score of the patch that the vertex lies in: the logarithm of a product of probabilities.
        """
        table = functional.normalize(self.ensemble.embedding, dim=-1)
        centres = torch.gather(self.ensemble.centres[: len(labels)], 1, labels)
        return _mean_of_rows(table, centres), torch.zeros(labels.shape[1])

    def vertices(self, descriptors: torch.Tensor) -> torch.Tensor:
        """[K, V] logits of all vertices: the direct classifier (Neverova et al., NeurIPS 2020)."""
        return self.ensemble.logits(descriptors, torch.arange(len(self.ensemble.embedding)))


class CosineClassifiers(nn.Module):
    """A classifier of its own for every segmentation, of normalised descriptors."""

    def __init__(self, variant: Variant, surface: Surface) -> None:
        super().__init__()
        count = variant.segmentations
        centres = surface.segmentations.centres[:count].astype(np.int64)
        smooth = variant.smooth_start
        self.classes = nn.Parameter(surface.table[centres] if smooth else _random(count, PATCHES))
        self.points = nn.Parameter(
            surface.table[surface.landmarks].clone() if smooth else _random(len(surface.landmarks))
        )
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))

    def patches(self, descriptors: torch.Tensor, segmentation: int) -> torch.Tensor:
        """[K, PATCHES] logits."""
        return self._logits(descriptors, self.classes[segmentation])

    def key_points(self, descriptors: torch.Tensor) -> torch.Tensor:
        """[K, 33] logits."""
        return self._logits(descriptors, self.points)

    def of_vertices(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As of :class:`TiedClassifier`."""
        classes = functional.normalize(self.classes, dim=-1).flatten(0, 1)
        rows = labels + PATCHES * torch.arange(len(labels))[:, None]
        return _mean_of_rows(classes, rows), torch.zeros(labels.shape[1])

    def _logits(self, descriptors: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        cosine = functional.normalize(descriptors, dim=-1) @ functional.normalize(classes, dim=-1).T
        return cosine * self.log_sharpness.exp()


class LinearClassifiers(nn.Module):
    """The seed's: a linear layer with bias for every segmentation."""

    def __init__(self, variant: Variant, surface: Surface) -> None:
        super().__init__()
        self.classes = nn.Parameter(_random(variant.segmentations, PATCHES))
        self.bias = nn.Parameter(torch.zeros(variant.segmentations, PATCHES))
        self.points = nn.Linear(DESCRIPTOR, len(surface.landmarks))

    def patches(self, descriptors: torch.Tensor, segmentation: int) -> torch.Tensor:
        """[K, PATCHES] logits."""
        return descriptors @ self.classes[segmentation].T + self.bias[segmentation]

    def key_points(self, descriptors: torch.Tensor) -> torch.Tensor:
        """[K, 33] logits."""
        return self.points(descriptors)

    def of_vertices(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As of :class:`TiedClassifier`."""
        rows = labels + PATCHES * torch.arange(len(labels))[:, None]
        return _mean_of_rows(self.classes.flatten(0, 1), rows), self.bias.flatten()[rows].mean(dim=0)


_CLASSIFIERS: dict[str, Callable[[Variant, Surface], nn.Module]] = {
    "tied": TiedClassifier,
    "surface": TiedClassifier,
    "cosine": CosineClassifiers,
    "linear": LinearClassifiers,
}


class Head(nn.Module):
    """A descriptor tower on the trunk's features, and the classifiers that train it."""

    def __init__(self, variant: Variant, features: int, surface: Surface) -> None:
        super().__init__()
        self.variant = variant
        torch.manual_seed(0)  # all towers start alike
        self.tower = nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, DESCRIPTOR))
        self.classifier = _CLASSIFIERS[variant.classifier](variant, surface)

    def loss(
        self, features: torch.Tensor, vertex: torch.Tensor, surface: Surface, generator: torch.Generator, per_step: int
    ) -> torch.Tensor:
        """Of pixels with ``features`` [K, C] at ``vertex`` [K]."""
        variant, descriptors = self.variant, self.tower(features)
        if variant.classifier == "surface":
            # As many logits as the other variants have.
            some = slice(0, max(1, len(vertex) * per_step * PATCHES // len(surface.distances)))
            logits = self.classifier.vertices(descriptors[some])  # type: ignore[operator]
            centres = np.arange(len(surface.distances))
            return _cross_entropy(logits, vertex[some], vertex[some], centres, variant.soft, surface)
        losses = []
        for m in torch.randperm(variant.segmentations, generator=generator)[:per_step].tolist():
            label = torch.from_numpy(surface.segmentations.labels[m].astype(np.int64))[vertex]
            logits = self.classifier.patches(descriptors, m)  # type: ignore[operator]
            centres = surface.segmentations.centres[m]
            losses.append(_cross_entropy(logits, label, vertex, centres, variant.soft, surface))
        total = torch.stack(losses).mean()
        target = surface.key_point[vertex]
        if variant.key_points and (target >= 0).any():
            logits = self.classifier.key_points(descriptors[target >= 0])  # type: ignore[operator]
            total = total + KEY_POINT_WEIGHT * functional.cross_entropy(logits, target[target >= 0])
        return total

    @torch.no_grad()
    def classes(self, surface: Surface) -> tuple[np.ndarray, np.ndarray]:
        """[V, 16], [V]: the classifiers' score of a vertex is their product with a descriptor, and their sum."""
        if self.variant.classifier == "surface":
            table = functional.normalize(self.classifier.ensemble.embedding, dim=-1)  # type: ignore[union-attr]
            return table.numpy(), np.zeros(len(table), np.float32)  # type: ignore[operator]
        labels = torch.from_numpy(surface.segmentations.labels[: self.variant.segmentations].astype(np.int64))
        vectors, bias = self.classifier.of_vertices(labels)  # type: ignore[operator]
        return vectors.numpy(), bias.numpy()

    @torch.no_grad()
    def describe(self, features: np.ndarray) -> np.ndarray:
        """[P, 16] float32, of length 1 unless they are compared by their distance."""
        parts = [
            self.tower(torch.from_numpy(part).float()) for part in np.array_split(features, len(features) // 20000 + 1)
        ]
        descriptors = torch.cat(parts)
        return (descriptors if self.variant.euclidean else functional.normalize(descriptors, dim=1)).numpy()


def collect(
    net: TrainedBodyNet, batches: Iterator[CropBatch], per_batch: int | None, rng: np.random.Generator
) -> Pixels:
    """The trunk's features at ``per_batch`` pixels of each batch, or at all of them."""
    features, descriptors, vertices, crops = [], [], [], []
    passed = 0
    for batch in batches:
        pixels = SurfacePixels.of(batch)
        chosen = np.arange(len(pixels.vertex))
        if per_batch is not None and len(chosen) > per_batch:
            chosen = rng.choice(len(chosen), per_batch, replace=False)
        n, row, column = pixels.crop[chosen], pixels.row[chosen], pixels.column[chosen]
        with torch.no_grad():
            _, down = net.network.backbone(torch.from_numpy(crop_images(batch)))
            own = functional.normalize(net.network.dense(down[0])[:, -DESCRIPTOR:], dim=1)
            levels = [level[n, :, row >> k, column >> k] for k, level in enumerate(down[:LEVELS])]
        features.append(torch.cat(levels, dim=1).half().numpy())
        descriptors.append(own[n, :, row, column].half().numpy())
        vertices.append(pixels.vertex[chosen])
        crops.append(n + passed)
        passed += len(batch.mask)
    return Pixels(*(np.concatenate(parts) for parts in (features, descriptors, vertices, crops)))


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures descriptors on held-out pixels."""

    surface: Surface
    body: BodyModel
    vertices: np.ndarray  # [K] of the codebook
    away: np.ndarray  # [K, V] their distances

    @staticmethod
    def of(surface: Surface, body: BodyModel) -> Judge:
        """With a codebook of a thousand vertices."""
        return Judge(surface, body, *spread_vertices(body, 1000))

    def figures(
        self,
        train: np.ndarray,  # [P, 16] descriptors of pixels that the codebook is the mean of
        train_vertex: np.ndarray,  # [P]
        held_out: np.ndarray,  # [Q, 16]
        pixels: Pixels,  # the held-out ones
        euclidean: bool,
        classes: tuple[np.ndarray, np.ndarray],  # [V, 16] and [V]: the classifiers' score of a vertex is c . d + b
    ) -> dict[str, float]:
        """Errors in centimetres along the surface.

        Through the mean descriptor of each place, which is all that the seed keeps; through what the classifiers say of
        each place together; and, without either, from crop to crop in the seed's AE/WE form, where enough pixels of two
        crops show the same places.
        """
        by_mean = self._by_mean(train, train_vertex, held_out, euclidean)
        weights, bias = (values[self.vertices] for values in classes)
        by_class = self.vertices[_highest(held_out, weights, bias)]
        pairs = summarize(_between_crops(held_out, pixels, euclidean, self.surface))
        result = {}
        for name, found in (("means", by_mean), ("classes", by_class)):
            error = self.surface.distances[found, pixels.vertex] * UNIT
            result |= {
                f"{name}_mean_cm": 100 * error.mean(),
                f"{name}_median_cm": 100 * np.median(error),
                f"{name}_beyond_20_cm": (error > 0.2).mean(),
                f"{name}_left_right_confusion": confusion(left_right_sides(self.body), found, pixels.vertex),
                f"{name}_front_back_confusion": confusion(front_back_sides(self.body), found, pixels.vertex),
            }
        result |= {"pairs_AE_cm": 100 * pairs.average, "pairs_WE_cm": 100 * pairs.worst}
        return {name: round(float(value), 4) for name, value in result.items() if np.isfinite(value)}

    def _by_mean(
        self, train: np.ndarray, train_vertex: np.ndarray, held_out: np.ndarray, euclidean: bool
    ) -> np.ndarray:
        """[Q] vertices whose mean descriptor is nearest; places of which few pixels are known are left out."""
        size = len(self.vertices)
        cell = self.away.argmin(axis=0)[train_vertex]
        count = np.bincount(cell, minlength=size)
        total = np.stack([np.bincount(cell, column, size) for column in train.T], axis=1)
        known = np.flatnonzero(count >= LEAST)
        codebook = (total[known] / count[known, None]).astype(np.float32)
        if not euclidean:
            codebook /= np.linalg.norm(codebook, axis=1, keepdims=True)
        return self.vertices[known[_nearest(held_out, codebook, euclidean)]]


def _between_crops(held_out: np.ndarray, pixels: Pixels, euclidean: bool, surface: Surface) -> list[np.ndarray]:
    """Errors [K_i], metres along the surface, of matching pixels of each crop with those of another person's."""
    crops = np.unique(pixels.crop)
    rows = [np.flatnonzero(pixels.crop == crop) for crop in crops]
    errors = []
    for source, target in zip(rows, [*rows[7:], *rows[:7]], strict=True):
        away = surface.distances[np.ix_(pixels.vertex[source], pixels.vertex[target])] * UNIT
        shared = away.min(axis=1) < OVERLAP
        if shared.sum() < 50:
            continue
        found = _nearest(held_out[source[shared]], held_out[target], euclidean)
        errors.append(away[shared][np.arange(len(found)), found])
    return errors


def _nearest(queries: np.ndarray, candidates: np.ndarray, euclidean: bool) -> np.ndarray:
    """[Q] row of the nearest of ``candidates`` for each of ``queries``."""
    # |q - c|^2 = |q|^2 - 2 (q.c - |c|^2 / 2)
    bias = -0.5 * (candidates**2).sum(axis=1) if euclidean else np.zeros(len(candidates), np.float32)
    return _highest(queries, candidates, bias)


def _highest(queries: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """[Q] row of the highest of the scores ``weights`` [K, 16] . q + ``bias`` [K] of each of ``queries`` [Q, 16]."""
    parts = np.array_split(queries, len(queries) // 2000 + 1)
    return np.concatenate([np.argmax(part @ weights.T + bias, axis=1) for part in parts])


def _cross_entropy(
    logits: torch.Tensor, label: torch.Tensor, vertex: torch.Tensor, centres: np.ndarray, soft: bool, surface: Surface
) -> torch.Tensor:
    """``centres``: the vertices that the classes stand for."""
    if not soft:
        return functional.cross_entropy(logits, label)
    away = surface.distances[np.ix_(vertex.numpy(), centres)]
    return functional.cross_entropy(logits, torch.from_numpy(soft_labels(away, SOFT / UNIT)))


def _mean_of_rows(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """[V, 16]: the mean over M of ``table`` [R, 16] at ``rows`` [M, V]."""
    total = torch.zeros(rows.shape[1], table.shape[1])
    for row in rows:
        total += table[row]
    return total / len(rows)


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, DESCRIPTOR, generator=torch.Generator().manual_seed(1)) / DESCRIPTOR**0.5


def write(path: Path, about: dict[str, Any], curves: dict[str, list[dict[str, Any]]]) -> None:
    """The latest figures of each variant, and the earlier ones; ``curves`` by name."""
    latest = {name: curve[-1] for name, curve in curves.items() if curve}
    earlier = {name: curve[:-1] for name, curve in curves.items() if len(curve) > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "variants": latest, "earlier": earlier}, indent=2) + "\n")


def _row(figures: dict[str, float]) -> str:
    return "".join(f" {value:7.3f}" for value in figures.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="figures, .json")
    parser.add_argument("--batches", type=int, default=50, help="of 48 crops to train on, each also mirrored")
    parser.add_argument("--held-out", type=int, default=5, help="batches of the test split")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--pixels", type=int, default=512, help="per step")
    parser.add_argument("--per-step", type=int, default=2, help="segmentations per step")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    start = time.perf_counter()
    net, assets = begin(args.checkpoint, args.data, args.threads)

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:4.0f} s  {text}", flush=True)

    body = default_body_model()
    surface = Surface.of(body)
    say("surface divided")
    rng = np.random.default_rng(0)
    train = collect(net, and_mirrored(crop_batches("train", SEED, args.batches, assets), body), 2000, rng)
    held_out = collect(net, crop_batches("test", SEED, args.held_out, assets), None, rng)
    say(f"{len(train.vertex)} pixels to train on, {len(held_out.vertex)} held out")

    mean, deviation = (
        train.features.astype(np.float32).mean(axis=0),
        train.features.astype(np.float32).std(axis=0) + 1e-3,
    )
    for pixels in (train, held_out):  # in place: all heads see features of one scale
        pixels.features[:] = (pixels.features - mean) / deviation
    heads = [Head(variant, train.features.shape[1], surface) for variant in VARIANTS]
    groups = [{"params": list(head.parameters())} for head in heads]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.0, fused=True)
    judge, table = Judge.of(surface, body), net.embedding / np.linalg.norm(net.embedding, axis=1, keepdims=True)
    own = train.descriptor.astype(np.float32), train.vertex, held_out.descriptor.astype(np.float32), held_out
    reference = judge.figures(*own, False, (table, np.zeros(len(table), np.float32)))
    say("the checkpoint's own head" + _row(reference))
    curves: dict[str, list[dict[str, Any]]] = {head.variant.name: [] for head in heads}
    stops = (args.steps // 2, args.steps)
    about = {
        "what": "descriptor heads trained side by side on one frozen trunk; errors along the surface, test split",
        "checkpoint_step": net.step,
        "checkpoint_sha256": net.sha256,
        "data": assets.digest,
        "train_pixels": len(train.vertex),
        "held_out": {"pixels": len(held_out.vertex), "crops": len(np.unique(held_out.crop))},
        "steps": args.steps,
        "pixels_per_step": args.pixels,
        "segmentations_per_step": args.per_step,
        "command": "python -m training.body_net.ablate_descriptors CHECKPOINT "
        f"-o {args.output.name} --batches {args.batches} --held-out {args.held_out} --steps {args.steps} "
        f"--pixels {args.pixels} --per-step {args.per_step}",
        "own_head_of_the_checkpoint": reference,
    }
    for step in range(args.steps):
        chosen = rng.integers(len(train.vertex), size=args.pixels)
        features = torch.from_numpy(train.features[chosen]).float()
        vertex = torch.from_numpy(train.vertex[chosen])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50, 2.0 * (args.steps - step) / args.steps)
        optimizer.zero_grad(set_to_none=True)
        for head in heads:
            head.loss(features, vertex, surface, torch.Generator().manual_seed(step), args.per_step).backward()
        optimizer.step()
        if step + 1 in stops:
            for head in heads:
                both = head.describe(train.features), train.vertex, head.describe(held_out.features), held_out
                figures = judge.figures(*both, head.variant.euclidean, head.classes(surface))
                curves[head.variant.name].append({"step": step + 1, **figures})
                say(f"step {step + 1}  {head.variant.name:26s}" + _row(figures))
            about["seconds"] = round(time.perf_counter() - start)
            write(args.output, about, curves)  # after the first half, too: who is interrupted has something
        elif step % 50 == 49:
            say(f"step {step + 1} of {args.steps}")


if __name__ == "__main__":
    main()
