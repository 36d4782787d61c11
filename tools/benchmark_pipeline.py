"""How long the pipeline takes, stage by stage: .venv/bin/python tools/benchmark_pipeline.py FIVE_PEOPLE.pcd -o OUT.json

Each case is run once to compile and warm up, then measured; the file says on what machine and with which versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import BodyModel, default_body_model  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.cli.demo_scene import render_demo  # noqa: E402
from human_recon.io import read_frames  # noqa: E402
from human_recon.pipeline import Pipeline, PipelineConfig  # noqa: E402


def measure(body: BodyModel, frames: Iterable[Frame], reset: bool, repeats: int) -> dict:
    """Median and largest seconds per frame and median per stage, over ``repeats`` rounds of ``frames``."""
    pipeline = Pipeline(PipelineConfig(), body)
    frames = list(frames)
    pipeline.process(frames[0])
    totals: list[float] = []
    people: list[int] = []
    stages: dict[str, list[float]] = {}
    for _ in range(repeats):
        for frame in frames:
            if reset:
                pipeline.reset()
            began = time.perf_counter()
            result = pipeline.process(frame)
            totals.append(time.perf_counter() - began)
            people.append(len(result.people))
            for stage, seconds in result.timings.items():
                stages.setdefault(stage, []).append(seconds)
    return {
        "frames": len(totals),
        "people_median": float(np.median(people)),
        "seconds_per_frame": {"median": round(float(np.median(totals)), 3), "max": round(max(totals), 3)},
        "seconds_per_stage_median": {stage: round(float(np.median(s)), 4) for stage, s in stages.items()},
    }


def machine() -> dict:
    import cv2
    import numba
    import scipy

    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "date": date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "numba": numba.__version__,
            "opencv": cv2.__version__,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frame", type=Path, nargs="?", help="five_people.pcd of the Point Cloud Library")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()

    report = {"machine": machine(), "cases": {}}
    body = default_body_model()
    if args.frame is not None:
        real = list(read_frames(args.frame))
        report["cases"]["real frame, five people, nothing known"] = measure(body, real, reset=True, repeats=3)
        report["cases"]["real frame, five people, tracked"] = measure(body, real, reset=False, repeats=5)
    demo = [shown.frame for shown in render_demo(body, 30, 10.0)]
    report["cases"]["demo, three people, tracked"] = measure(body, demo, reset=False, repeats=1)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
