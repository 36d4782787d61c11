"""How long a pipeline takes: durations of each stage over repeated frames.

``bench`` files:

    {"format": "human_recon benchmark", "version": 1, "environment": {...},
     "pipeline": {"name", "engines", "body_model", "settings"},
     "first_frame_seconds", "memory_mb": {"before", "peak"},
     "cases": [{"input", "size": [width, height], "people", "known": "nothing" | "tracked", "frames",
                "people_found": median, "frames_per_second", "cpu_ms_per_frame",
                "ms": {stage: {"median", "p95", "max"}}}]}

"end_to_end" is the time from a depth image to people; the first frame of a process, which may compile, is left out.
"cpu_ms_per_frame" is what all threads together took of the processors, which hardly depends on what else runs there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from human_recon.camera.frame import Frame
from human_recon.evaluation.evaluate import PeoplePipeline
from human_recon.evaluation.metrics.latency import latency
from human_recon.io.atomic import write_bytes
from human_recon.people import People

FORMAT = "human_recon benchmark"
VERSION = 1

Known = Literal["nothing", "tracked"]


@dataclass(frozen=True)
class Case:
    """One input."""

    input: str  # what the frames show
    people: int | None  # how many are there; None when unknown
    frames: Sequence[Frame]  # a sequence in its order, or one frame


def run_case(
    pipeline: PeoplePipeline, case: Case, known: Known, count: int, done: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Process ``count`` frames of the case, again from its start when it has fewer, and describe how long they took.

    "nothing": the pipeline is reset before each. "tracked": everybody was found in the frame before; one frame is
    processed untimed at each start of the case.
    """
    seconds: list[float] = []
    cpu = 0.0
    stages: dict[str, list[float]] = {}
    found: list[int] = []
    position = 0
    while len(seconds) < count:
        frame = case.frames[position % len(case.frames)]
        if known == "nothing":
            pipeline.reset()
        elif position == 0 or (len(case.frames) > 1 and position % len(case.frames) == 0):
            pipeline.reset()
            pipeline.process(frame)
            position += 1
            if len(case.frames) > 1:
                continue
        used = time.process_time()
        result, duration = _timed(pipeline, frame)
        cpu += time.process_time() - used
        seconds.append(duration)
        found.append(len(result.people))
        for stage, lap in result.timings.items():
            stages.setdefault(stage, []).append(lap)
        position += 1
        done()
    camera = case.frames[0].intrinsics
    return {
        "input": case.input,
        "size": [camera.width, camera.height],
        "people": case.people,
        "known": known,
        "frames": len(seconds),
        "people_found": float(np.median(found)),
        "frames_per_second": round(len(seconds) / sum(seconds), 3),
        "cpu_ms_per_frame": round(1e3 * cpu / len(seconds), 3),
        "ms": {name: _milliseconds(values) for name, values in {"end_to_end": seconds, **stages}.items()},
    }


def first_frame_seconds(pipeline: PeoplePipeline, frame: Frame) -> float:
    """Time of this process' first frame: loading compiled code, or on a new machine compiling it."""
    return round(_timed(pipeline, frame)[1], 3)


def write_benchmark(path: Path, content: dict[str, Any]) -> None:
    """Write the file, atomically."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **content}, allow_nan=False, indent=1)
    write_bytes(path, (text + "\n").encode())


def _timed(pipeline: PeoplePipeline, frame: Frame) -> tuple[People, float]:
    began = time.perf_counter()
    people = pipeline.process(frame)
    return people, time.perf_counter() - began


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    summary = latency(seconds)
    return {name: round(1000 * getattr(summary, name), 3) for name in ("median", "p95", "max")}
