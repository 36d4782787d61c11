"""How long the networks take on every engine this machine has, and how far each is from ONNX Runtime in float32.

    .venv/bin/python tools/benchmark_engines.py -o benchmarks/engines.json

A frame is what the online system computes for four people: PeopleNet once, BodyNet on four crops, one after the other.
Inputs are the reference images that ship with the networks. All engines of one number of threads take turns in short
bursts, so that whatever else the machine does falls on all of them alike; give it a quiet machine all the same. On one
thread the processor time that a frame takes ("cpu") hardly depends on that. What cannot run here is listed with the
reason, not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.evaluation.environment import describe_environment, peak_memory_mb  # noqa: E402
from human_recon.inference.choice import ENGINES, Candidate, build  # noqa: E402
from human_recon.inference.engine import Engine, EngineError  # noqa: E402
from human_recon.inference.files import PRECISIONS, NetworkFiles  # noqa: E402
from human_recon.inference.parity import differences, load_table  # noqa: E402
from human_recon.io.atomic import write_bytes  # noqa: E402

CROPS = 4
BURST = 4  # timed runs of one engine in a row, after one that is not timed


@dataclass
class Contender:
    """Both networks on one engine, and its times in seconds."""

    candidate: Candidate
    people: Engine
    body: Engine
    times: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, frame: np.ndarray, crops: np.ndarray) -> None:
        """One burst."""
        for k in range(BURST + 1):
            used = time.process_time()
            began = time.perf_counter()
            self.people.run(frame)
            between = time.perf_counter()
            self.body.run(crops)
            done = time.perf_counter()
            used = time.process_time() - used
            self.body.run(crops[:1])
            single = time.perf_counter()
            if k > 0:
                rows = {
                    "frame": done - began,
                    "frame, cpu": used,  # of all threads, those that wait actively too
                    "people_net": between - began,
                    "body_net, 4 crops": done - between,
                    "body_net, 1 crop": single - done,
                }
                for name, seconds in rows.items():
                    self.times.setdefault(name, []).append(seconds)


def contenders(networks: dict[str, NetworkFiles], threads: int) -> tuple[list[Contender], list[dict[str, str]]]:
    """Everything that runs here, and the rest with the reason."""
    able, unable = [], []
    for engine in ENGINES:
        for precision in PRECISIONS:
            candidate = Candidate(engine, precision)
            try:
                people, body = (build(candidate, networks[name], threads) for name in ("people_net", "body_net"))
                able.append(Contender(candidate, people, body))
            except EngineError as error:
                unable.append({"engine": engine, "precision": precision, "why": str(error)})
    return able, unable


def errors(networks: dict[str, NetworkFiles], able: list[Contender]) -> dict[Candidate, dict[str, Any]]:
    """The parity table of each engine: error and what is allowed."""
    result: dict[Candidate, dict[str, Any]] = {contender.candidate: {} for contender in able}
    for name, files in networks.items():
        table, images = load_table(files.parity), files.reference()
        reference = build(Candidate("onnxruntime", "fp32"), files, 1).run(images)
        for contender in able:
            engine = contender.people if name == "people_net" else contender.body
            rows = differences(table, engine.run(images), reference, images, contender.candidate.precision)
            result[contender.candidate] |= {
                f"{name} {row.name}": {"error": float(f"{row.error:.3g}"), "allowed": row.limit} for row in rows
            }
    return result


def summary(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    low, middle, high = 1e3 * np.quantile(values, [0.05, 0.5, 0.95])
    return {"median": round(float(middle), 2), "p5": round(float(low), 2), "p95": round(float(high), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=ROOT / "ros_ws/src/human_recon/models")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing, twice for each number of threads")
    args = parser.parse_args()

    machine = describe_environment()  # now: the load of others, not our own
    networks = {name: NetworkFiles(name, args.models / name) for name in ("people_net", "body_net")}
    frame, crops = networks["people_net"].reference()[:1], networks["body_net"].reference()[:CROPS]
    cases: list[dict[str, Any]] = []
    unable: list[dict[str, str]] = []
    for threads in args.threads:
        able, unable = contenders(networks, threads)
        parity = errors(networks, able)
        # torch last and apart: the threads it leaves behind wait actively.
        for group in (
            [c for c in able if c.candidate.engine != "torch"],
            [c for c in able if c.candidate.engine == "torch"],
        ):
            began = time.perf_counter()
            while group and time.perf_counter() - began < args.seconds:
                for contender in group:
                    contender.measure(frame, crops)
        for contender in able:
            times = {name: summary(values) for name, values in contender.times.items()}
            cases.append(
                {
                    "engine": contender.candidate.engine,
                    "precision": contender.candidate.precision,
                    "threads": threads,
                    "description": contender.body.description,
                    "milliseconds": times,
                    "runs": len(contender.times["frame"]),
                    "passes": all(row["error"] <= row["allowed"] for row in parity[contender.candidate].values()),
                    "parity": parity[contender.candidate],
                }
            )
    report = {
        "machine": machine | {"load_1min_after": round(os.getloadavg()[0], 2)},
        "models": {name: {p: files.digest(p) for p in ("fp32", "int8")} for name, files in networks.items()},  # type: ignore[arg-type]
        "peak_memory_mb": round(peak_memory_mb()),
        "cases": cases,
        "not_measured": unable,
    }
    write_bytes(args.output, (json.dumps(report, indent=1) + "\n").encode())
    print(
        f"{'threads':>7}  {'engine':<42} {'frame':>7} {'cpu':>7} {'PeopleNet':>9} {'4 crops':>8} {'1 crop':>7}  parity"
    )
    for case in cases:
        medians = {name: values["median"] for name, values in case["milliseconds"].items()}
        print(
            f"{case['threads']:>7}  {case['description'].partition(', CPU')[0]:<42} {medians['frame']:7.1f}"
            f" {medians['frame, cpu']:7.1f} {medians['people_net']:9.1f} {medians['body_net, 4 crops']:8.1f}"
            f" {medians['body_net, 1 crop']:7.1f}  {'ok' if case['passes'] else 'TOO FAR'}"
        )
    for row in unable:
        print(f"not measured: {row['engine']} {row['precision']}: {row['why']}")


if __name__ == "__main__":
    main()
