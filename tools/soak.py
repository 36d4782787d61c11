"""Does the perception node hold for half an hour: memory, warnings, results after disturbances, and the end.

    source tools/env.sh && python tools/soak.py -o benchmarks/soak.json

Plays the prerendered people of benchmark_node.py at the camera's rate for ``--minutes`` and writes down every
``--period`` seconds what the node takes and how late its results are. Memory is flat when the least-squares line
through the second half of the readings rises by less than ``--allowed-growth`` megabytes in half an hour, give or take
what the readings themselves scatter. The first half is left out: caches fill. With ``--disturb`` it also does to the
node what happens to robots, in turn: the camera stops for some seconds, its stamps jump back and
forward, it sends garbage, and time goes by with nobody in view; after each the node must give results again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from node_process import Arrival, Bench, Footage, NodeFailed, NodeProcess, Usage, private_domain, summary

from human_recon.body.model import default_body_model
from human_recon.cli.bench_scene import render_people
from human_recon.evaluation.environment import describe_environment
from human_recon.io.atomic import write_bytes

FRAMES = 60  # prerendered, played forth and back
HALF_HOUR = 1800.0
LEAST_MINUTES = 5.0  # below it memory is still filling, and its growth says nothing
SETTLING = 0.5  # share of the readings that are left out when growth is judged


Disturbance = tuple[str, Callable[[], None]]  # what happens, in words


@dataclass(frozen=True)
class Reading:
    """The node over one period."""

    seconds: float  # since the start, at the end of the period
    rss_mb: float
    threads: int
    cores: float
    sent: int
    answered: int
    p95_ms: float | None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in self.__dict__.items()}


def growth(seconds: np.ndarray, megabytes: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line and its standard error, megabytes in half an hour; 0 and inf for few readings."""
    if len(seconds) < 3 or np.ptp(seconds) == 0:
        return 0.0, float("inf")
    t = (seconds - seconds.mean()) / HALF_HOUR
    slope = float(t @ megabytes / (t @ t))
    rest = megabytes - megabytes.mean() - slope * t
    return slope, float(np.sqrt(rest @ rest / (len(t) - 2) / (t @ t)))


def watch(
    bench: Bench,
    node: NodeProcess,
    footage: Footage,
    *,
    rate: float,
    seconds: float,
    period: float,
    disturbances: list[Disturbance],
    disturb_every: float = 60.0,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[list[Reading], list[dict[str, Any]]]:
    """Readings, and what became of each disturbance. Raises NodeFailed when the node ends or stays silent."""
    readings: list[Reading] = []
    told: list[dict[str, Any]] = []
    began, next_disturbance = time.monotonic(), disturb_every
    while (now := time.monotonic() - began) < seconds:
        if disturbances and now >= next_disturbance:
            next_disturbance += disturb_every
            name, disturb = disturbances[len(told) % len(disturbances)]
            disturb()
            answer = bench.warm_up(node, footage, frames=3, timeout=30.0)  # raises when there is none
            told.append({"at": round(now, 1), "what": name, "first_answer_seconds": round(answer, 2)})
            tell(f"{now:7.0f} s  {name}: results again after {answer:.2f} s")
        before = node.usage()
        arrivals = bench.stream(footage, rate, min(period, max(seconds - now, 1.0)), settle=0.25)
        readings.append(reading(arrivals, bench.outputs, before, node.usage(), time.monotonic() - began))
        last = readings[-1]
        tell(
            f"{last.seconds:7.0f} s  {last.rss_mb:6.1f} MB  {last.threads} threads  {last.cores:.2f} cores  "
            f"{last.answered} of {last.sent} answered, p95 {last.p95_ms if last.p95_ms is not None else 'none'} ms"
        )
        if last.answered == 0 and last.sent > 2 * rate:
            raise NodeFailed(f"no result for {last.sent} frames after {last.seconds:.0f} s:\n{node.last_words}")
    return readings, told


def reading(
    arrivals: dict[int, Arrival], outputs: tuple[str, ...], before: Usage, after: Usage, seconds: float
) -> Reading:
    """Sum up one period."""
    done = [frame for frame in arrivals.values() if all(name in frame.came for name in outputs)]
    late = summary([max(frame.came[name] for name in outputs) - frame.sent for frame in done])
    return Reading(
        seconds, after.rss_mb, after.threads, after.cores_since(before), len(arrivals), len(done), late.get("p95")
    )


def disturbances_of(bench: Bench, footage: Footage, empty: Footage, rate: float) -> list[Disturbance]:
    """What happens to robots."""

    def silence() -> None:
        time.sleep(6.0)

    def back() -> None:
        now = time.time_ns()
        for k in range(10):
            bench.send(footage, k, now - 3_600_000_000_000 + k * 33_000_000)
            time.sleep(1.0 / rate)

    def forward() -> None:
        now = time.time_ns()
        for k in range(10):
            bench.send(footage, k, now + 3_600_000_000_000 + k * 33_000_000)
            time.sleep(1.0 / rate)

    def garbage() -> None:
        rng = np.random.default_rng(0)
        image = footage.images[0]
        for k in range(20):
            noise = bytearray(image)
            if k % 2:  # noise for depth
                noise[-200_000:] = rng.integers(0, 256, 200_000, np.uint8).tobytes()
            else:  # an encoding that there is not: letters of "16UC1"
                at = bytes(noise).index(b"16UC1")
                noise[at : at + 5] = b"99ZZ9"
            bench.send(Footage([noise], footage.info), 0, time.time_ns())
            time.sleep(1.0 / rate)

    def nobody() -> None:
        bench.stream(empty, rate, 3.0)

    return [
        ("the camera stopped for 6 s", silence),
        ("stamps from an hour ago", back),
        ("stamps from an hour ahead", forward),
        ("garbage for images", garbage),
        ("nobody in view", nobody),
    ]


def soak(
    environment: dict[str, str],
    footage: Footage,
    empty: Footage,
    *,
    rate: float,
    seconds: float,
    period: float,
    disturb: bool,
    disturb_every: float = 60.0,
    parameters: tuple[str, ...] = (),
    command: tuple[str, ...] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Everything that is written down. Raises NodeFailed."""
    node = NodeProcess(environment, parameters, command)
    try:
        with Bench(keep_people=1_000_000) as bench:
            bench.wait_for_node(node)
            bench.warm_up(node, footage)
            troubles = disturbances_of(bench, footage, empty, rate) if disturb else []
            readings, told = watch(
                bench,
                node,
                footage,
                rate=rate,
                seconds=seconds,
                period=period,
                disturbances=troubles,
                disturb_every=disturb_every,
                tell=tell,
            )
            diagnostics = dict(bench.diagnostics)
    finally:
        code, stopping = node.stop()
    late = [r for r in readings if r.seconds >= SETTLING * readings[-1].seconds]
    slope, error = growth(np.array([r.seconds for r in late]), np.array([r.rss_mb for r in late]))
    return {
        "minutes": round(readings[-1].seconds / 60.0, 2),
        "growth_mb_per_half_hour": round(slope, 2),
        "growth_standard_error": None if not np.isfinite(error) else round(error, 2),
        "rss_mb": {
            "first": round(readings[0].rss_mb, 1),
            "last": round(readings[-1].rss_mb, 1),
            "most": round(max(r.rss_mb for r in readings), 1),
        },
        "threads": {"first": readings[0].threads, "last": readings[-1].threads},
        "frames": {"sent": sum(r.sent for r in readings), "answered": sum(r.answered for r in readings)},
        "exit_code": code,
        "stop_seconds": round(stopping, 2),
        "lines_printed": node.lines,
        "warnings": len(node.warnings),
        "warnings_shown": sorted({line.partition("]: ")[2] for line in node.warnings})[:20],
        "disturbances": told,
        "diagnostics": diagnostics,
        "readings": [r.plain() for r in readings],
    }


def complaints(result: dict[str, Any], allowed_growth: float) -> list[str]:
    """What is not as it must be."""
    found = []
    error = result["growth_standard_error"]
    long_enough = error is not None and result["minutes"] >= LEAST_MINUTES
    if long_enough and result["growth_mb_per_half_hour"] - 2.0 * error > allowed_growth:
        found.append(f"memory grows by {result['growth_mb_per_half_hour']} MB in half an hour")
    if result["exit_code"] != 0:
        found.append(f"the node ended with code {result['exit_code']}")
    if result["threads"]["last"] > result["threads"]["first"] + 2:
        found.append(f"threads grew from {result['threads']['first']} to {result['threads']['last']}")
    # One line a minute, and some for each disturbance, is what a log can bear.
    allowed = 10 + result["minutes"] + 10 * len(result["disturbances"])
    if result["warnings"] > allowed:
        found.append(f"{result['warnings']} warnings in {result['minutes']} minutes")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--period", type=float, default=10.0, help="seconds between readings (10)")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--rate", type=float, default=30.0, help="of the camera, frames per second (30)")
    parser.add_argument("--disturb", action="store_true", help="do to the node what happens to robots")
    parser.add_argument("--disturb-every", type=float, default=60.0, metavar="S", help="seconds (60)")
    parser.add_argument("--allowed-growth", type=float, default=10.0, help="megabytes in half an hour (10)")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME:=VALUE", help="of the node")
    args = parser.parse_args()

    machine = describe_environment()
    body = default_body_model()
    footage = Footage.of(render_people(body, args.people, 640, 480, FRAMES, args.rate))
    empty = Footage.of(render_people(body, 0, 640, 480, 2, args.rate))
    try:
        result = soak(
            private_domain(),
            footage,
            empty,
            rate=args.rate,
            seconds=60.0 * args.minutes,
            period=args.period,
            disturb=args.disturb,
            disturb_every=args.disturb_every,
            parameters=tuple(args.parameter),
            tell=lambda text: print(text, flush=True),
        )
    except NodeFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = complaints(result, args.allowed_growth)
    report = {
        "format": "human_recon soak",
        "version": 1,
        "environment": machine | {"load_1min_after": round(os.getloadavg()[0], 2)},
        "people": args.people,
        "rate_hz": args.rate,
        "complaints": found,
        **result,
    }
    if args.output is not None:
        write_bytes(args.output, (json.dumps(report, indent=1) + "\n").encode())
        print(f"written to {args.output}")
    print(
        f"{result['minutes']} minutes: {result['rss_mb']['first']} MB at first, {result['rss_mb']['last']} at last,"
        f" growing by {result['growth_mb_per_half_hour']} in half an hour (standard error"
        f" {result['growth_standard_error']}); {result['frames']['answered']} of {result['frames']['sent']} frames"
        f" answered; {result['warnings']} warnings; ended with {result['exit_code']} after {result['stop_seconds']} s"
    )
    for complaint in found:
        print(f"NOT AS IT MUST BE: {complaint}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
