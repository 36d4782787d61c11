"""How long the perception node takes from message in to message out, and how much of the machine.

    source tools/env.sh && python tools/benchmark_node.py -o benchmarks/node.json

Two processes: this one plays a prerendered depth stream (``human_recon.cli.bench_scene``: people who step on the spot
in a room) at the camera's rate and notes when each result comes; the other is the perception node as users start it.
Latency is from just before the depth image is published to when the people (and the meshes) with its stamp have
arrived, through rclpy and the middleware both ways. Every number of people gets a fresh node. The camera never waits:
a node that is slower than it loses frames, and latency must not grow.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from node_process import OUTPUTS, Arrival, Bench, Footage, NodeFailed, NodeProcess, Usage, private_domain, summary

from human_recon.body.model import default_body_model
from human_recon.cli.bench_scene import MOST_PEOPLE, render_people
from human_recon.evaluation.environment import describe_environment
from human_recon.io import open_frames
from human_recon.io.atomic import write_bytes

FRAMES = 60  # prerendered, played forth and back


def measure(
    environment: dict[str, str],
    footage: Footage,
    *,
    rate: float,
    seconds: float,
    outputs: tuple[str, ...] = ("people", "meshes"),
    parameters: tuple[str, ...] = (),
    command: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One fresh node for ``seconds`` at ``rate`` frames a second. Raises NodeFailed."""
    node = NodeProcess(environment, parameters, command)
    try:
        with Bench(outputs) as bench:
            bench.wait_for_node(node)
            first = bench.warm_up(node, footage)
            bench.stream(footage, rate, min(3.0, seconds))  # to a steady state
            bench.people()
            before, own_before = node.usage(), Usage.of(os.getpid())
            samples: list[Usage] = []
            arrivals = bench.stream(footage, rate, seconds, lambda: samples.append(node.usage()))
            after, own_after = (samples[-1] if samples else node.usage()), Usage.of(os.getpid())
            described = describe(arrivals, bench.outputs, rate)
            cpu = node.usage().cpu_seconds - before.cpu_seconds
            result = {
                **described,
                # Of all threads of the node; hardly depends on what else the machine does.
                "cpu_ms_per_frame": round(1e3 * cpu / max(described["frames_answered"], 1), 1),
                "people_found": _median(bench.people()),
                "cores_node": round(after.cores_since(before), 3),
                "cores_bench": round(own_after.cores_since(own_before), 3),
                "rss_mb": {"start": round(before.rss_mb, 1), "end": round(after.rss_mb, 1)},
                "threads": after.threads,
                "first_answer_seconds": round(first, 2),
                "diagnostics": bench.diagnostics,
            }
            node.check()
    finally:
        code, stopping = node.stop()
    return result | {
        "exit_code": code,
        "stop_seconds": round(stopping, 2),
        "warnings": len(node.warnings),
    }


def describe(arrivals: dict[int, Arrival], outputs: tuple[str, ...], rate: float) -> dict[str, Any]:
    """Rate, losses and latencies of the frames that were sent."""
    frames = [arrivals[stamp] for stamp in sorted(arrivals)]
    done = [frame for frame in frames if all(name in frame.came for name in outputs)]
    latency = [max(frame.came[name] for name in outputs) - frame.sent for frame in done]
    intervals = [
        max(b.came[name] for name in outputs) - max(a.came[name] for name in outputs)
        for a, b in itertools.pairwise(done)
    ]
    span = sum(intervals)
    late = [a.sent - b.sent - 1.0 / rate for b, a in itertools.pairwise(frames)]
    quarter = max(len(latency) // 4, 1)
    return {
        "frames_sent": len(frames),
        "frames_answered": len(done),
        "dropped": round(1.0 - len(done) / max(len(frames), 1), 4),
        "rate_hz": round((len(done) - 1) / span, 2) if span > 0 else 0.0,
        "latency_ms": summary(latency),
        "by_output_ms": {name: summary([f.came[name] - f.sent for f in frames if name in f.came]) for name in outputs},
        # Equal unless latency grows with time.
        "latency_ms_first_quarter": summary(latency[:quarter]),
        "latency_ms_last_quarter": summary(latency[-quarter:]),
        "interval_ms": summary(intervals),
        "camera_jitter_ms": summary([abs(value) for value in late]),
    }


def _median(values: list[int]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def cases(args: argparse.Namespace) -> list[tuple[dict[str, Any], Footage]]:
    """What is played."""
    if args.input is not None:
        frames = list(itertools.islice(open_frames(args.input), args.frames))
        return [({"input": args.input.name, "people": None}, Footage.of(frames))]
    body, (width, height) = default_body_model(), args.size
    return [
        (
            {"input": "rendered", "people": people},
            Footage.of(render_people(body, people, width, height, args.frames, args.rate)),
        )
        for people in args.people
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    parser.add_argument("--people", type=_numbers, default=tuple(range(1, MOST_PEOPLE + 1)), metavar="N,...")
    parser.add_argument("--input", type=Path, help="play the first frames of this bag or file instead of people")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(640, 480), metavar="WxH")
    parser.add_argument("--rate", type=float, default=30.0, help="of the camera, frames per second (30)")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured for each number of people (20)")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"prerendered ({FRAMES})")
    parser.add_argument(
        "--outputs", default="people,meshes", help=f"topics to subscribe to, of {','.join(OUTPUTS)} (people,meshes)"
    )
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME:=VALUE", help="of the node")
    args = parser.parse_args()
    outputs = tuple(args.outputs.split(","))
    if not set(outputs) <= set(OUTPUTS) or "people" not in outputs:
        parser.error(f"--outputs must be people and any of {', '.join(OUTPUTS)}")

    machine = describe_environment()  # now: the load of others, not our own
    footage = cases(args)
    environment = private_domain()
    measured: list[dict[str, Any]] = []
    print(HEADER)
    for case, stream in footage:
        try:
            result = measure(
                environment,
                stream,
                rate=args.rate,
                seconds=args.seconds,
                outputs=outputs,
                parameters=tuple(args.parameter),
            )
        except NodeFailed as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        measured.append(case | result)
        print(line(measured[-1]), flush=True)
    report = {
        "format": "human_recon node benchmark",
        "version": 1,
        "environment": machine | {"load_1min_after": round(os.getloadavg()[0], 2)},
        "middleware": os.environ.get("RMW_IMPLEMENTATION", "default"),
        "thread_limits": {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")},
        "size": list(args.size) if args.input is None else None,
        "rate_hz": args.rate,
        "seconds": args.seconds,
        "outputs": list(outputs),
        "parameters": args.parameter,
        "cases": measured,
    }
    if args.output is not None:
        write_bytes(args.output, (json.dumps(report, indent=1) + "\n").encode())
        print(f"written to {args.output}")
    return 0


HEADER = (
    f"{'people':>6} {'found':>5} {'Hz':>6} {'lost':>6}  {'p50':>7} {'p95':>7} {'max':>7}  {'cores':>5}"
    f" {'CPUms':>6} {'bench':>5} {'RSS MB':>7}  exit"
)


def line(case: dict[str, Any]) -> str:
    """One row below HEADER."""
    time = {"p50": float("nan"), "p95": float("nan"), "max": float("nan")} | case["latency_ms"]
    people = "-" if case["people"] is None else case["people"]
    found = "-" if case["people_found"] is None else case["people_found"]
    return (
        f"{people:>6} {found:>5} {case['rate_hz']:6.2f} {case['dropped']:6.1%}  {time['p50']:7.1f} {time['p95']:7.1f}"
        f" {time['max']:7.1f}  {case['cores_node']:5.2f} {case['cpu_ms_per_frame']:6.1f}"
        f" {case['cores_bench']:5.2f} {case['rss_mb']['end']:7.0f}"
        f"  {case['exit_code']}"
    )


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(word) for word in text.split(","))
    if not all(0 <= number <= MOST_PEOPLE for number in numbers):
        raise argparse.ArgumentTypeError(f"0 to {MOST_PEOPLE} people can be rendered")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
