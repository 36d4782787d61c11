"""Match the scans of benchmark `scans` with each other by BodyNet's descriptors alone (seed 004, 3.2 and appendix I):

    python -m training.body_net.match_scans CHECKPOINT -o benchmarks/descriptor_matching.json \\
        --picture docs/images/descriptor_matching.jpg

A complete scan is rendered from many sides and the descriptors of each of its points are averaged; a single view is the
depth image that it is. Every point of the source is matched with the point of the target whose descriptor is nearest,
one by one: no smoothness, no registration afterwards. Errors are the seed's: the mean over the points of a pair, of
which AE is the mean over pairs and WE that of the worst pair.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import default_body_model
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import points_to_depth, undistort_frame
from human_recon.evaluation.metrics.correspondence import cumulative_curve, euclidean_error, summarize
from human_recon.perception.crops import WINDOW, CropCamera, crop_lookup, crop_points
from human_recon.simulation.assets import Assets
from human_recon.simulation.benchmarks import open_benchmark
from human_recon.simulation.scans import Scan
from training.body_net.descriptors import TrainedBodyNet, begin
from training.body_net.network import STRIDE
from training.body_net.segmentations import UNIT, geodesic_distances

ELEVATIONS = (-0.2, 0.15, 0.5)  # radians, of the rings of views around a complete scan
DISTANCE = 2.5  # metres from the scan's middle to each view
PIXELS = 256  # width and height of the views: 9 mm per pixel, about the distance between points
SPLAT = 1  # pixels around each point that it covers
HIDDEN = 0.02  # metres behind the rendered surface from which a point is out of sight
STEP = 0.06  # metres between a point and a pixel's reading from which they are not of one surface
PROMPT = 0.9  # a detector's mask of what is the person and nothing else
SAME_PLACE = 0.025  # metres along the surface: a point that the target shows this near has a counterpart there
LEAST_OVERLAP = 0.1  # of the source: pairs that share less do not count
SOURCES = 5000  # points of each source that are matched
CURVE = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # metres


@dataclass(frozen=True, eq=False)
class DescribedScan:
    """A scan and what the network makes of it."""

    scan: Scan
    descriptors: np.ndarray  # [N, 16] float32 of length 1; 0 where no view shows a point
    described: np.ndarray  # [N] bool


@dataclass(frozen=True, eq=False)
class Matching:
    """Points of a source and where on the target they were found."""

    points: np.ndarray  # [P] of the source
    partners: np.ndarray  # [P] points of the target
    euclidean: np.ndarray  # [P] metres on the target's body
    geodesic: np.ndarray  # [P] metres along the edges of the rest surface
    overlap: float  # share of the source's points that have a counterpart in the target


def describe_complete(net: TrainedBodyNet, points: np.ndarray, per_ring: int) -> np.ndarray:
    """Mean descriptors [N, 16] of a cloud [N, 3] (y up, metres) seen from all around; 0 for what no view shows."""
    middle = points.mean(axis=0, dtype=np.float64)
    camera = CropCamera.towards(np.array([0.0, 0.0, DISTANCE]))
    focal = PIXELS * DISTANCE / WINDOW
    intrinsics = CameraIntrinsics(PIXELS, PIXELS, focal, focal, (PIXELS - 1) / 2, (PIXELS - 1) / 2)
    seen_from = [
        _looking_at(middle, points, ring, k, per_ring) for ring in range(len(ELEVATIONS)) for k in range(per_ring)
    ]
    depths = [points_to_depth(view, intrinsics, radius=SPLAT) for view in seen_from]
    crops = [crop_points(depth, crop_lookup(camera, intrinsics), camera, intrinsics) for depth in depths]
    maps = net.describe(np.stack([_prompted(crop) for crop in crops]))
    total = np.zeros((len(points), maps.shape[-1]))
    for view, depth, crop, descriptors in zip(seen_from, depths, crops, maps, strict=True):
        pixel = np.rint(intrinsics.project(view)).astype(int).clip(0, PIXELS - 1)
        total += read_map(descriptors, crop, camera, view, view[:, 2] < depth[pixel[:, 1], pixel[:, 0]] + HIDDEN)
    return _of_length_1(total)


def describe_single(net: TrainedBodyNet, frame: Frame, points: np.ndarray) -> np.ndarray:
    """Descriptors [N, 16] of the ``points`` [N, 3] that a depth image of one person and nothing else shows."""
    frame = undistort_frame(frame)
    centre = np.median(points, axis=0).astype(np.float64)
    for _ in range(2):  # first around the middle of what is seen, then around the middle of the body
        camera = CropCamera.towards(centre)
        crop = crop_points(frame.depth, crop_lookup(camera, frame.intrinsics), camera, frame.intrinsics)
        centre = camera.to_camera(net.middle(_prompted(crop)[None])[0])
    maps = net.describe(_prompted(crop)[None])
    return _of_length_1(read_map(maps[0], crop, camera, points.astype(np.float64), np.ones(len(points), bool)))


def read_map(
    descriptors: np.ndarray,  # [S/2, S/2, 16] of length 1
    crop: np.ndarray,  # [4, S, S] what they were made from
    camera: CropCamera,
    points: np.ndarray,  # [N, 3] metres, camera frame
    shown: np.ndarray,  # [N] bool, points to be looked up
) -> np.ndarray:
    """[N, 16] descriptors at the places of points: of the four pixels around each, those whose reading is near it.

    Length 1, or 0 for points that are not ``shown``, out of the picture or between surfaces.
    """
    local = camera.to_crop(points)
    ahead = np.maximum(local[:, 2] + np.linalg.norm(camera.centre), 1e-3)
    at = ((camera.size - 1) / 2 + camera.focal * local[:, :2] / ahead[:, None]) / STRIDE
    corner = np.floor(at).astype(int)
    readings = crop[:, ::STRIDE, ::STRIDE]
    size = len(descriptors)
    total = np.zeros((len(points), descriptors.shape[-1]))
    for right in (0, 1):
        for down in (0, 1):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            inside = shown & (column >= 0) & (column < size) & (row >= 0) & (row < size)
            column, row = np.where(inside, column, 0), np.where(inside, row, 0)
            near = np.abs(readings[2, row, column] - local[:, 2]) < STEP
            part = (1 - np.abs(at[:, 0] - column)) * (1 - np.abs(at[:, 1] - row))
            weight = np.where(inside & near & (readings[3, row, column] > 0), part, 0.0)
            total += weight[:, None] * descriptors[row, column]
    return _of_length_1(total)


def match(source: DescribedScan, target: DescribedScan, distances: np.ndarray) -> Matching:
    """Find the nearest descriptor of the target for evenly drawn points of the source that have a counterpart there.

    ``distances`` [V, V] from :func:`geodesic_distances`.
    """
    places = np.unique(target.scan.labels)
    nearest = distances[:, places].min(axis=1) * UNIT  # from each vertex to what the target shows
    has = source.described & (nearest[source.scan.labels] < SAME_PLACE)
    points = np.flatnonzero(has)
    if len(points) > SOURCES:
        points = points[np.linspace(0, len(points) - 1, SOURCES).astype(int)]
    candidates = np.flatnonzero(target.described)
    partners = candidates[nearest_descriptor(source.descriptors[points], target.descriptors[candidates])]
    true, found = source.scan.labels[points], target.scan.labels[partners]
    body = target.scan.vertices
    return Matching(
        points,
        partners,
        euclidean_error(body[found], body[true]),
        distances[found, true] * UNIT,
        float(has.mean()),
    )


def nearest_descriptor(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """[P] row of the most similar of ``candidates`` [N, 16] for each of ``queries`` [P, 16], all of length 1."""
    return np.concatenate(
        [np.argmax(queries[k : k + 500] @ candidates.T, axis=1) for k in range(0, len(queries), 500)]
        or [np.empty(0, np.int64)]
    )


def draw_pairs(scans: list[DescribedScan], source: bool, target: bool, count: int, seed: int) -> list[tuple[int, int]]:
    """``count`` pairs of different scans, complete or not as asked for."""
    rng = np.random.default_rng(seed)
    first = [k for k, one in enumerate(scans) if one.scan.complete == source]
    second = [k for k, one in enumerate(scans) if one.scan.complete == target]
    pairs = [(i, j) for i in first for j in second if i != j]
    return [pairs[k] for k in sorted(rng.choice(len(pairs), min(count, len(pairs)), replace=False))]


def summary(matchings: list[Matching]) -> dict[str, Any]:
    """AE, WE in centimetres and the share of points within some distances, of pairs of one kind."""
    overlap = float(np.mean([one.overlap for one in matchings]))
    result: dict[str, Any] = {"pairs": len(matchings), "overlap": round(overlap, 3)}
    for name, errors in (
        ("euclidean", [one.euclidean for one in matchings]),
        ("geodesic", [one.geodesic for one in matchings]),
    ):
        figures = summarize(errors)
        result[name] = {
            "AE_cm": round(100 * figures.average, 2),
            "WE_cm": round(100 * figures.worst, 2),
            "median_cm": round(100 * float(np.median(np.concatenate(errors))), 2),
            "within": {
                f"{limit:g}": round(float(share), 4)
                for limit, share in zip(CURVE, cumulative_curve(np.concatenate(errors), np.array(CURVE)), strict=True)
            },
        }
    return result


def described_scans(net: TrainedBodyNet, assets: Assets, limit: int, per_ring: int) -> Iterator[DescribedScan]:
    """The first ``limit`` scans of the benchmark."""
    for number, scan in enumerate(open_benchmark("scans", assets).scans()):
        if number == limit:
            return
        if scan.truth is None:
            descriptors = describe_complete(net, scan.points, per_ring)
        else:
            descriptors = describe_single(net, scan.truth.frame, scan.points)
        described = descriptors.any(axis=1)
        if scan.complete:  # armpits: what is out of every view's sight takes after its neighbour
            near = cKDTree(scan.points[described]).query(scan.points[~described])[1]
            descriptors[~described] = descriptors[described][near]
            described[:] = True
        yield DescribedScan(scan, descriptors, described)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="figures, .json")
    parser.add_argument("--picture", type=Path, help="the median and the worst pair of each kind, .jpg or .png")
    parser.add_argument("--scans", type=int, default=80, help="of the benchmark to use")
    parser.add_argument("--pairs", type=int, default=60, help="of each kind")
    parser.add_argument("--views", type=int, default=8, help="of each of three rings around a complete scan")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args()
    start = time.perf_counter()
    net, assets = begin(args.checkpoint, args.data, args.threads)
    body = default_body_model()
    distances = geodesic_distances(body)
    print(f"distances along the surface: {time.perf_counter() - start:.0f} s", flush=True)
    scans = list(described_scans(net, assets, args.scans, args.views))
    print(f"{len(scans)} scans described: {time.perf_counter() - start:.0f} s", flush=True)

    result: dict[str, Any] = {
        "what": "nearest descriptors between scans of different people; errors in the form of seed 004, table 2",
        "checkpoint_step": net.step,
        "checkpoint_sha256": net.sha256,
        "benchmark": open_benchmark("scans", assets).description,
        "scans": len(scans),
        "views_of_a_complete_scan": args.views * len(ELEVATIONS),
    }
    matched: dict[str, list[tuple[int, int, Matching]]] = {}
    for name, source, target in (
        ("full_to_full", True, True),
        ("full_to_partial", True, False),
        ("partial_to_full", False, True),
        ("partial_to_partial", False, False),
    ):
        pairs = draw_pairs(scans, source, target, args.pairs, seed=len(matched))
        every = [(i, j, match(scans[i], scans[j], distances)) for i, j in pairs]
        matched[name] = [one for one in every if one[2].overlap >= LEAST_OVERLAP]
        if not matched[name]:
            raise SystemExit(f"no {name.replace('_', ' ')} pairs that overlap: raise --scans or --pairs")
        result[name] = {
            "pairs_with_too_little_overlap": len(every) - len(matched[name]),
            "all": summary([one for _, _, one in matched[name]]),
        }
        for group, clothed in (("bare", 0), ("one_clothed", 1), ("both_clothed", 2)):
            some = [m for i, j, m in matched[name] if scans[i].scan.clothed + scans[j].scan.clothed == clothed]
            if some:
                result[name][group] = summary(some)
        figures = result[name]["all"]["euclidean"]
        print(f"{name}: AE {figures['AE_cm']} cm, WE {figures['WE_cm']} cm", flush=True)
    result["seconds"] = round(time.perf_counter() - start)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    if args.picture is not None:
        from training.body_net.draw_matches import draw_matches

        draw_matches(args.picture, scans, matched, body)


def _looking_at(middle: np.ndarray, points: np.ndarray, ring: int, number: int, count: int) -> np.ndarray:
    """Points [N, 3] (y up) in the frame of a camera that looks at ``middle`` from ``DISTANCE`` away, without roll."""
    # Rings are turned against each other, so that they do not all see the same side from ahead.
    azimuth = 2.0 * math.pi / count * (number + ring / len(ELEVATIONS))
    level, height = math.cos(ELEVATIONS[ring]), math.sin(ELEVATIONS[ring])
    away = np.array([level * math.sin(azimuth), height, level * math.cos(azimuth)])
    right = np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])
    rotation = np.stack([right, np.cross(-away, right), -away])
    return (points - middle) @ rotation.T + [0.0, 0.0, DISTANCE]


def _prompted(crop: np.ndarray) -> np.ndarray:
    """[5, S, S], the network's input: readings [4, S, S] and a mask of all of them."""
    return np.concatenate([crop, PROMPT * crop[3:]]).astype(np.float32)


def _of_length_1(descriptors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return (descriptors / np.where(length > 1e-6, length, np.inf)).astype(np.float32)


if __name__ == "__main__":
    main()
