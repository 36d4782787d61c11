"""How fast one core makes training data, and whether its memory stays flat.

    .venv/bin/python tools/benchmark_stream.py -o benchmarks/stream.json [--data DATA] [--samples 50000]

Each figure is of one process on one core, after compiling, over scenes of the training set with dressed people, all
labels and sensor noise. Memory is the process's resident size, sampled while it makes --samples whole frames.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":  # not when a test imports this: threads belong to the process
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"  # before NumPy is loaded: one core is one core

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.staging import SceneConfig  # noqa: E402
from human_recon.simulation.stream import (  # noqa: E402
    CROP_WORLD,
    FRAME_WORLD,
    CropMaker,
    FrameMaker,
    StreamConfig,
    stream,
)


def rate(maker: FrameMaker | CropMaker, seconds: float, rounds: int = 5) -> dict:
    """Samples per second in ``rounds`` rounds of ``seconds``, and who was in them."""
    rates, people, visible = [], [], []
    with closing(stream(maker)) as batches:
        next(batches)  # loads and compiles
        for _ in range(rounds):
            made, began = 0, time.perf_counter()
            while time.perf_counter() - began < seconds:
                batch = next(batches)
                made += len(batch.visibility)
                if isinstance(maker, FrameMaker):
                    people += batch.count.tolist()
                    visible += (batch.visibility > 0).sum(axis=1).tolist()
            rates.append(made / (time.perf_counter() - began))
    result = {
        "per_second": {"median": round(float(np.median(rates))), "min": round(min(rates)), "max": round(max(rates))}
    }
    if people:
        result |= {
            "people_per_scene": round(float(np.mean(people)), 2),
            "people_in_view": round(float(np.mean(visible)), 2),
        }
    return result


def memory(maker: FrameMaker, samples: int) -> dict:
    """Resident memory in MiB along the way."""
    sizes: dict[int, float] = {}
    done, step = 0, max(samples // 20, 1)
    with closing(stream(maker)) as batches:
        while done < samples:
            done += len(next(batches).visibility)
            if done // step != len(sizes):
                gc.collect()
                sizes[done] = round(resident_mib(), 1)
    values = list(sizes.values())
    half = values[len(values) // 2 :]
    return {"samples": done, "resident_mib": sizes, "growth_of_second_half_mib": round(half[-1] - half[0], 1)}


def resident_mib() -> float:
    """Resident set size of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with mocap/ (default: $HUMAN_RECON_DATA)")
    parser.add_argument("--samples", type=int, default=50_000, help="whole frames made while memory is watched")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of five rounds")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})

    assets = Assets.locate(args.data)
    frames = FrameMaker(StreamConfig(), assets)
    crops = CropMaker(StreamConfig(world=CROP_WORLD), assets)
    crowd = replace(FRAME_WORLD, scene=SceneConfig(people=(0, 0, 0, 0, 1, 1, 1, 1, 1)))
    crowded = FrameMaker(StreamConfig(world=crowd), assets)
    report = {
        "machine": describe_environment(),
        "assets": assets.digest,
        "cases": {
            "whole frames 160x120, training mix": rate(frames, args.seconds),
            "whole frames 160x120, 4 to 8 people": rate(crowded, args.seconds),
            "person crops 128x128 of frames 256x192": rate(crops, args.seconds),
        },
        "memory": memory(frames, args.samples),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
