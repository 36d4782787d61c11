"""Write BodyNet's codebook, the descriptor of every place on the body:

    python -m training.body_net.build_codebook CHECKPOINT -o models/body_net/codebook.npz

Four codebooks are made: the mean descriptors of each place over crops of the train split that the training did not see
and their mirror images; the class vectors that the classifiers learned for it, at this vertex alone or as the mean over
its surroundings; and the sum of the first two. The one that finds other crops of the train split best is kept. Beside
the file, a card (codebook.json) says what it was made from and how well it does on people, motion and clothes of the
test split. Takes about three minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.evaluation.metrics.correspondence import (
    confusion,
    cumulative_curve,
    euclidean_error,
    front_back_sides,
    left_right_sides,
)
from human_recon.perception.codebook import Codebook
from human_recon.simulation.stream import CropBatch
from training.body_net.descriptors import SurfacePixels, TrainedBodyNet, and_mirrored, begin, crop_batches, crop_images
from training.body_net.segmentations import spread_vertices

SEED = 5  # of the stream; the training uses 0
PRIOR = 10.0  # pixels that the vertex's class vector counts for: what no crop shows has a descriptor all the same
SURROUNDINGS = 0.02  # metres, standard deviation: about the distance to the vertices between the codebook's
CURVE = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # metres


@dataclass(frozen=True, eq=False)
class DescriptorSums:
    """Descriptors of many pixels, added up vertex by vertex."""

    total: np.ndarray  # [V, 16] float64
    count: np.ndarray  # [V] int64

    @staticmethod
    def none(vertices: int, dimensions: int) -> DescriptorSums:
        return DescriptorSums(np.zeros((vertices, dimensions)), np.zeros(vertices, np.int64))

    def add(self, vertex: np.ndarray, descriptor: np.ndarray) -> None:
        """Pixels at ``vertex`` [P] with ``descriptor`` [P, 16]."""
        size = len(self.count)
        for k in range(descriptor.shape[1]):
            self.total[:, k] += np.bincount(vertex, descriptor[:, k], size)
        self.count[:] += np.bincount(vertex, minlength=size)


def mean_descriptors(
    sums: DescriptorSums, distances: np.ndarray, vertices: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """[K, 16] float32 of length 1: the mean over the pixels that are nearer to this codebook vertex than to others.

    Args:
        sums: of the pixels.
        distances: [K, V] from the codebook's vertices to all vertices.
        vertices: [K], the codebook's.
        prior: [V, 16] class vectors of the vertices; each counts as ``PRIOR`` pixels.
    """
    cell = distances.argmin(axis=0)
    total = PRIOR * of_length_1(prior[vertices]).astype(np.float64)
    np.add.at(total, cell, sums.total)
    return of_length_1(total)


def of_length_1(vectors: np.ndarray) -> np.ndarray:
    """[K, D] float32 with the directions of ``vectors`` [K, D]."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FoundPlaces:
    """Where pixels were said to be on the body, and where they are."""

    predicted: np.ndarray  # [P] vertex
    true: np.ndarray  # [P] vertex
    geodesic: np.ndarray  # [P] metres along the edges of the rest surface
    crop: np.ndarray  # [P] which crop a pixel is of

    def summary(self, body: BodyModel) -> dict[str, Any]:
        """Figures for a card; lengths in metres."""
        euclidean = euclidean_error(body.v_template[self.predicted], body.v_template[self.true])
        crops = np.unique(self.crop, return_inverse=True)[1]
        per_crop = np.bincount(crops, euclidean) / np.bincount(crops)
        return {
            "pixels": len(self.true),
            "crops": len(per_crop),
            "euclidean_mean": _rounded(euclidean.mean()),
            "euclidean_median": _rounded(np.median(euclidean)),
            "geodesic_mean": _rounded(self.geodesic.mean()),
            "geodesic_median": _rounded(np.median(self.geodesic)),
            "crop_mean_95_percentile": _rounded(np.quantile(per_crop, 0.95)),
            "left_right_confusion": _rounded(confusion(left_right_sides(body), self.predicted, self.true)),
            "front_back_confusion": _rounded(confusion(front_back_sides(body), self.predicted, self.true)),
            "within": {
                f"{limit:g}": _rounded(share)
                for limit, share in zip(CURVE, cumulative_curve(euclidean, np.array(CURVE)), strict=True)
            },
        }


def find_places(
    codebooks: dict[str, Codebook], distances: np.ndarray, net: TrainedBodyNet, batches: Iterator[CropBatch]
) -> dict[str, FoundPlaces]:
    """Look up every person pixel of ``batches`` in each codebook; all codebooks share their vertices.

    ``distances`` [K, V] is from these vertices to all.
    """
    row_of = np.full(distances.shape[1], -1)
    vertices = next(iter(codebooks.values())).vertices
    row_of[vertices] = np.arange(len(vertices))
    found: dict[str, list[np.ndarray]] = {name: [] for name in codebooks}
    true, crop = [], []
    for number, batch in enumerate(batches):
        pixels = SurfacePixels.of(batch)
        descriptor = net.describe(crop_images(batch))[pixels.crop, pixels.row, pixels.column]
        for name, codebook in codebooks.items():
            found[name].append(codebook.nearest(descriptor)[0])
        true.append(pixels.vertex)
        crop.append(pixels.crop + number * len(batch.mask))
    where, which = np.concatenate(true), np.concatenate(crop)
    result = {}
    for name, parts in found.items():
        predicted = np.concatenate(parts)
        result[name] = FoundPlaces(predicted, where, distances[row_of[predicted], where], which)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the codebook, .npz")
    parser.add_argument("--vertices", type=int, default=1000, help="of the codebook")
    parser.add_argument("--batches", type=int, default=40, help="of 48 crops that the descriptors are the mean over")
    parser.add_argument("--held-out", type=int, default=8, help="batches of the test split to measure it on")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    start = time.perf_counter()
    net, assets = begin(args.checkpoint, args.data, args.threads)
    body = default_body_model()
    vertices, distances = spread_vertices(body, args.vertices)

    sums = DescriptorSums.none(*net.embedding.shape)
    crops = 0
    for number, batch in enumerate(and_mirrored(crop_batches("train", SEED, args.batches, assets), body)):
        pixels = SurfacePixels.of(batch)
        sums.add(pixels.vertex, net.describe(crop_images(batch))[pixels.crop, pixels.row, pixels.column])
        crops += len(batch.mask)
        if number % 10 == 9:
            print(f"{crops} crops, {sums.count.sum()} pixels, {time.perf_counter() - start:.0f} s", flush=True)
    mean, table = mean_descriptors(sums, distances, vertices, net.embedding), of_length_1(net.embedding[vertices])
    around = np.exp(-0.5 * (distances / SURROUNDINGS) ** 2) @ of_length_1(net.embedding)
    made = {
        "mean": mean,
        "class_vectors": table,
        "class_vectors_around": of_length_1(around),
        "mean_and_class_vectors": of_length_1(mean + table),
    }
    codebooks = {name: Codebook(vertices, descriptors) for name, descriptors in made.items()}
    more = crop_batches("train", SEED, args.held_out, assets, first=args.batches)
    compared = {name: found.summary(body) for name, found in find_places(codebooks, distances, net, more).items()}
    kept = min(compared, key=lambda name: compared[name]["euclidean_mean"])
    codebook = codebooks[kept]
    places = find_places({kept: codebook}, distances, net, crop_batches("test", SEED, args.held_out, assets))[kept]
    nearest = distances.min(axis=0)
    _write(args.output, codebook)
    card = {
        "what": "BodyNet's descriptor of each of these vertices of the body",
        "kind": kept,
        "mean_error_on_more_of_the_train_split": {name: one["euclidean_mean"] for name, one in compared.items()},
        "checkpoint_step": net.step,
        "checkpoint_sha256": net.sha256,
        "vertices": len(vertices),
        "vertices_never_seen": int((np.bincount(distances.argmin(axis=0), sums.count, len(vertices)) == 0).sum()),
        "crops": crops,
        "pixels": int(sums.count.sum()),
        "data": assets.digest,
        "distance_to_next_vertex_mean": _rounded(nearest.mean()),
        "held_out": {"split": "test", "seed": SEED, **places.summary(body)},
        "seconds": round(time.perf_counter() - start),
        "command": "python -m training.body_net.build_codebook CHECKPOINT -o "
        f"{args.output.name} --vertices {args.vertices} --batches {args.batches} --held-out {args.held_out}",
        "sha256": hashlib.sha256(args.output.read_bytes()).hexdigest(),
    }
    args.output.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def _write(path: Path, codebook: Codebook) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.stem + ".part.npz")
    np.savez_compressed(part, vertices=codebook.vertices, descriptors=codebook.descriptors)
    os.replace(part, path)


def _rounded(value: float) -> float:
    return round(float(value), 5)


if __name__ == "__main__":
    main()
