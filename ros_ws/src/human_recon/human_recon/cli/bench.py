"""`human-recon bench`: how long the pipeline takes, by stage, number of people and image size."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from human_recon.cli.errors import CommandError
from human_recon.cli.progress import Progress
from human_recon.cli.settings import add_pipeline_arguments, flat, pipeline_config

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel
    from human_recon.camera.frame import Frame
    from human_recon.evaluation.benchmarking import Case
    from human_recon.people import People
    from human_recon.pipeline import Pipeline

_RATE = 10.0  # rendered frames per second of the scene
_MOST_PEOPLE = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--people",
        type=_people,
        default=(1, 2, 4, 6, 8, 10),
        metavar="N,...",
        help="numbers of people (default: 1,2,4,6,8,10)",
    )
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=((320, 240), (640, 480), (848, 480)),
        metavar="WxH,...",
        help="image sizes (default: 320x240,640x480,848x480)",
    )
    parser.add_argument("--frame", type=Path, metavar="FILE", help="measure this as well: .pcd .ply .png .npz or bag")
    parser.add_argument("--only-frame", action="store_true", help="measure nothing but --frame")
    parser.add_argument("--tracked", type=_positive, default=20, metavar="N", help="frames per case, tracked (20)")
    parser.add_argument("--cold", type=_positive, default=3, metavar="N", help="frames per case, nothing known (3)")
    parser.add_argument("--body", type=Path, help="body model, SMPL's .npz or .pkl; default: the open adult body")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.only_frame and args.frame is None:
        raise CommandError("--only-frame needs --frame FILE")
    if args.out.is_dir():
        raise CommandError(f"{args.out} is a directory; give a file name")
    config = pipeline_config(args)
    own = _own(args.frame, 1 + max(args.tracked, args.cold)) if args.frame is not None else []
    from human_recon.body.model import default_body_model, load_body_model
    from human_recon.evaluation.benchmarking import first_frame_seconds, run_case, write_benchmark
    from human_recon.evaluation.environment import describe_environment, peak_memory_mb
    from human_recon.evaluation.records import plain
    from human_recon.pipeline import Pipeline

    body = load_body_model(args.body) if args.body is not None else default_body_model()
    environment = describe_environment()  # now: the load of others, not our own
    cases = own + ([] if args.only_frame else _rendered(args, body))
    pipeline = Pipeline(config, body)
    before = peak_memory_mb()
    print("the first frame (on a new machine it compiles for about a minute)", file=sys.stderr)
    online = _Online(pipeline)
    first = first_frame_seconds(online, cases[0].frames[0])
    progress = Progress("frames", len(cases) * (args.tracked + args.cold))
    measured: list[dict[str, Any]] = []
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress.step(done)

    try:
        for case in cases:
            measured.append(run_case(online, case, "nothing", args.cold, step))
            measured.append(run_case(online, case, "tracked", args.tracked, step))
    finally:
        progress.close()
    content = {
        # Ours is part of the second load: where it is well above the number of cores, others disturbed the measurement.
        "environment": environment | {"load_1min_after": round(os.getloadavg()[0], 2)},
        "pipeline": {
            "name": config.perception,
            "engines": list(pipeline.engines),
            "body_model": body.name,
            "settings": dict(flat(config)),
        },
        "first_frame_seconds": first,
        "memory_mb": {"before": round(before), "peak": round(peak_memory_mb())},
        "cases": measured,
    }
    try:
        write_benchmark(args.out, plain(content, decimals=None))
    except OSError as error:
        raise CommandError(f"cannot write {args.out}: {error.strerror or error}") from None
    for line in (*_table(measured), "", *_stages(measured)):
        print(line)
    print(f"peak memory {peak_memory_mb():.0f} MB; written to {args.out}")
    return 0


class _Online:
    """A pipeline as the node runs it while nobody asks what each pixel shows."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.body = pipeline.body

    def process(self, frame: Frame) -> People:
        return self._pipeline.process(frame, pixels=False)

    def reset(self) -> None:
        self._pipeline.reset()


def _own(path: Path, most: int) -> list[Case]:
    """The first ``most`` frames of a file."""
    from human_recon.evaluation.benchmarking import Case
    from human_recon.io import open_frames

    frames = list(itertools.islice(open_frames(path), most))
    if not frames:
        raise CommandError(f"{path}: holds no frame")
    return [Case(path.name, None, frames)]


def _rendered(args: argparse.Namespace, body: BodyModel) -> list[Case]:
    from human_recon.cli.bench_scene import render_people
    from human_recon.evaluation.benchmarking import Case

    count = 1 + max(args.tracked, args.cold)
    return [
        Case("rendered", people, render_people(body, people, width, height, count, _RATE))
        for width, height in args.sizes
        for people in args.people
    ]


def _table(cases: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{'input':<20} {'size':>9} {'people':>6} {'found':>5}  {'known':<8} {'median':>9} {'95 %':>9} {'CPU':>9}"
        f" {'per s':>7}"
    ]
    for case in cases:
        width, height = case["size"]
        time = case["ms"]["end_to_end"]
        lines.append(
            f"{case['input'][:20]:<20} {f'{width}x{height}':>9} {_or_dash(case['people']):>6} "
            f"{case['people_found']:>5.0f}  {case['known']:<8} {time['median']:>6.1f} ms {time['p95']:>6.1f} ms "
            f"{case['cpu_ms_per_frame']:>6.1f} ms {case['frames_per_second']:>7.2f}"
        )
    return lines


def _stages(cases: list[dict[str, Any]]) -> list[str]:
    """Median milliseconds of each stage of tracked frames, a column for each case."""
    tracked = [case for case in cases if case["known"] == "tracked"]
    stages = list(dict.fromkeys(stage for case in tracked for stage in case["ms"] if stage != "end_to_end"))
    width = max([len(stage) for stage in stages], default=0)
    lines = [f"{'ms, tracked':<{width}}" + "".join(f"{_short(case):>12}" for case in tracked)]
    for stage in sorted(stages):
        medians = [case["ms"][stage]["median"] if stage in case["ms"] else None for case in tracked]
        lines.append(
            f"{stage:<{width}}" + "".join(f"{'-' if value is None else f'{value:.2f}':>12}" for value in medians)
        )
    return lines


def _short(case: dict[str, Any]) -> str:
    """Image's height and number of people."""
    return f"{case['size'][1]}p {_or_dash(case['people'])}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _people(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,4") from None
    if not all(0 <= number <= _MOST_PEOPLE for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: 0 to {_MOST_PEOPLE} people can be rendered")
    return numbers


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    try:
        sizes = tuple((int(w), int(h)) for w, h in (word.lower().split("x") for word in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes such as 320x240,640x480") from None
    if not all(16 <= side <= 4096 for size in sizes for side in size):
        raise argparse.ArgumentTypeError(f"{text!r}: sides are 16 to 4096 pixels")
    return sizes
