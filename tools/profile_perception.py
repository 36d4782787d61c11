"""What perception takes beside its networks: processor time by stage, for each number of people.

    .venv/bin/python tools/profile_perception.py -o benchmarks/profiles/perception.json

The networks run once on every frame and their outputs are kept; then the frames go through perception again and again
with the kept outputs, so that what is measured is cropping, votes, lookup, masks and evidence alone. Processor time of
the calling thread, the least of all repetitions: what else the machine does hardly changes it. Perception computes
nothing in other threads but matrix products, which are held to one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "ros_ws/src/human_recon"))  # PYTHONPATH comes first: other versions can be profiled

from human_recon.body.model import default_body_model  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.cli.bench_scene import render_people  # noqa: E402
from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.inference.choice import EngineChoice, open_engine  # noqa: E402
from human_recon.inference.engine import Engine  # noqa: E402
from human_recon.io.atomic import write_bytes  # noqa: E402
from human_recon.perception import learned  # noqa: E402
from human_recon.perception.codebook import Codebook  # noqa: E402
from human_recon.perception.learned import LearnedPerception  # noqa: E402
from human_recon.resources import model_path  # noqa: E402


class Kept:
    """An engine that computes while ``recording``, and else says again what it said."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.description = engine.description
        self.recording = True
        self.said: list[dict[str, np.ndarray]] = []
        self._next = 0

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        if self.recording:
            self.said.append({name: value.copy() for name, value in self._engine.run(image).items()})
            return self.said[-1]
        answer = self.said[self._next % len(self.said)]
        self._next += 1
        return answer


class ThreadClock:
    """In place of perception's own clock: processor time of this thread."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.thread_time()

    def lap(self, name: str) -> None:
        now = time.thread_time()
        self.timings[name] = now - self._last
        self._last = now


def profile(perception: LearnedPerception, kept: tuple[Kept, Kept], frame: Frame, repeat: int) -> dict[str, Any]:
    """Milliseconds by stage for one frame."""
    for engine in kept:
        engine.recording, engine.said = True, []
    found = perception.detect(frame)
    for engine in kept:
        engine.recording = False
    least: dict[str, float] = {}
    for _ in range(repeat):
        began = time.thread_time()
        found = perception.detect(frame)
        stages = found.timings | {"all": time.thread_time() - began}
        for stage, seconds in stages.items():
            least[stage] = min(least.get(stage, np.inf), seconds)
    proposals = len(kept[1].said[0]["mask"]) if kept[1].said else 0
    return {
        "people": len(found.people),
        "proposals": proposals,
        "ms": {stage: round(1e3 * seconds, 3) for stage, seconds in least.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 4, 6, 8, 10])
    parser.add_argument("--frames", type=int, default=4, help="of each number of people")
    parser.add_argument("--repeat", type=int, default=30)
    args = parser.parse_args()

    machine = describe_environment()
    body = default_body_model()
    choice = EngineChoice("onnxruntime", "fp32", 1)  # the same answers everywhere
    kept = Kept(open_engine("people_net", choice)), Kept(open_engine("body_net", choice))
    learned.Clock = ThreadClock  # type: ignore[assignment,misc]
    perception = LearnedPerception(*kept, Codebook.load(model_path("body_net/codebook.npz")), body)
    cases = []
    with threadpool_limits(limits=1, user_api="blas"):
        for people in args.people:
            frames = [
                profile(perception, kept, frame, args.repeat)
                for frame in render_people(body, people, 640, 480, args.frames, 5.0)
            ]
            stages = {
                stage: round(float(np.mean([frame["ms"][stage] for frame in frames])), 3) for stage in frames[0]["ms"]
            }
            cases.append(
                {
                    "people": people,
                    "people_found": float(np.mean([frame["people"] for frame in frames])),
                    "proposals": float(np.mean([frame["proposals"] for frame in frames])),
                    "ms": stages,
                }
            )
            row = "  ".join(f"{stage} {ms:.2f}" for stage, ms in stages.items())
            print(f"{people:>2} people: {row}", flush=True)
    if args.output is not None:
        report = {"format": "human_recon perception profile", "environment": machine, "size": [640, 480]}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(args.output, (json.dumps(report | {"cases": cases}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
