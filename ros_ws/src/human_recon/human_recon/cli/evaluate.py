"""`human-recon evaluate`: the pipeline against frames whose truth is known; or two evaluations side by side."""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from human_recon.cli.errors import CommandError
from human_recon.cli.output import result_directory
from human_recon.cli.progress import Progress
from human_recon.cli.settings import add_pipeline_arguments, flat, pipeline_config

if TYPE_CHECKING:
    from human_recon.evaluation.evaluate import Evaluation, EvaluationOptions, PeoplePipeline
    from human_recon.evaluation.records import FrameMeasures
    from human_recon.ground_truth import TrueFrame
    from human_recon.pipeline import PipelineConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="rosbag2 with /ground_truth/people, or a benchmark: single, multi, crowd, sequence, scans, empty "
        "(./NAME: a bag)",
    )
    parser.add_argument("-o", "--out", type=Path, help="directory for metrics.json, records.jsonl and report.html")
    parser.add_argument("--limit", type=_positive, metavar="N", help="stop after N frames")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes, for independent frames")
    parser.add_argument(
        "--independent", action="store_true", help="frames of a bag are no sequence: forget between them"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="recorded motion for benchmarks ($HUMAN_RECON_DATA)")
    parser.add_argument("--body", type=Path, help="body model, SMPL's .npz or .pkl; default: the open adult body")
    parser.add_argument("--no-report", action="store_true", help="write no report.html")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="also write the figures as PNG; with --compare: both in one"
    )
    measure = parser.add_argument_group("measuring")
    measure.add_argument(
        "--gate", type=float, default=0.5, metavar="M", help="a person farther is another (default: 0.5)"
    )
    measure.add_argument(
        "--min-visibility",
        type=float,
        default=0.1,
        metavar="V",
        help="people of whom less is seen need not be found (default: 0.1)",
    )
    measure.add_argument(
        "--surface", action="store_true", help="V2V and V2S as well, a second per person (always for scans)"
    )
    measure.add_argument("--worst", type=_count, default=6, metavar="N", help="worst frames shown, of each kind (6)")
    add_pipeline_arguments(parser)
    compare = parser.add_argument_group("comparing")
    compare.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"), help="print two metrics.json side by side"
    )
    compare.add_argument("--force", action="store_true", help="also when they were measured on different frames")


def run(args: argparse.Namespace) -> int:
    _check_plots(args.plots)
    if args.compare is not None:
        if args.source is not None or args.out is not None:
            raise CommandError("--compare takes two results and nothing else: leave SOURCE and --out out")
        return _compare(args.compare[0], args.compare[1], args.force, args.plots)
    if args.source is None:
        raise CommandError("SOURCE is missing: give a bag or a benchmark's name, or --compare A.json B.json")
    if args.out is None:
        raise CommandError("-o OUT is missing: give a directory for the results")
    return _evaluate(args)


def _check_plots(folder: Path | None) -> None:
    if folder is not None and folder.exists() and not folder.is_dir():
        raise CommandError(f"--plots {folder}: is no directory")


# ---------------------------------------------------------------- evaluating


@dataclass(frozen=True)
class _Source:
    """Frames with truth."""

    description: dict[str, Any]
    sequences: Iterable[Iterable[TrueFrame]]
    frames: int | None  # in all, when known


def _evaluate(args: argparse.Namespace) -> int:
    # Order of checks: cheap before dear. A mistyped name must not cost the time to load everything else.
    start = time.monotonic()
    from human_recon.evaluation.files import METRICS_FILE, RECORDS_FILE, REPORT_FILE

    config = pipeline_config(args)
    options = _options(args)
    with result_directory(args.out, (METRICS_FILE, RECORDS_FILE, REPORT_FILE), METRICS_FILE) as folder:
        source = _limited(_open(args), args.limit)
        if args.workers > 1:
            config = replace(config, workers=max(1, (os.cpu_count() or 1) // args.workers))
        with (folder / RECORDS_FILE).open("w", encoding="utf-8") as records:
            evaluation = _measured(args, config, options, source, records)
        if not evaluation.summary["frames"]:
            raise CommandError(f"{args.source}: holds no frame with truth; is /ground_truth/people recorded?")
        failures = evaluation.summary["failures"]
        if failures["frames"] == evaluation.summary["frames"]:
            raise CommandError(f"the pipeline failed on every frame; on the first: {failures['first'][0]['error']}")
        content = _content(args, config, options, source, evaluation, time.monotonic() - start)
        drawn = args.plots is not None or not args.no_report
        pictures = _draw((content["pipeline"]["name"], content)) if drawn else {}
        _write(folder, content, evaluation, None if args.no_report else pictures)
    if failures["frames"]:
        print(
            f"warning: the pipeline failed on {failures['frames']} of {content['results']['frames']} frames, where "
            f"everybody counts as missed; the first: {failures['first'][0]['error']}",
            file=sys.stderr,
        )
    for line in _lines(content):
        print(line)
    if args.plots is not None:
        _write_plots(args.plots, pictures)
    print(f"results in {args.out}, {time.monotonic() - start:.1f} s in all")
    return 0


def _options(args: argparse.Namespace) -> EvaluationOptions:
    from human_recon.evaluation.evaluate import EvaluationOptions
    from human_recon.evaluation.matching import MatchingConfig
    from human_recon.evaluation.measuring import MeasuringConfig
    from human_recon.resources import cache_folder

    try:
        matching = MatchingConfig(gate=args.gate, least_visibility=args.min_visibility)
    except ValueError as error:
        raise CommandError(f"--gate or --min-visibility: {error}") from None
    surface = args.surface or args.source == "scans"  # whose figures elsewhere are V2V and V2S
    return EvaluationOptions(MeasuringConfig(matching, surface=surface), worst=args.worst, cache=cache_folder())


def _open(args: argparse.Namespace) -> _Source:
    """The frames of a bag, or of a benchmark: a bare name is a benchmark's first, ``./single`` is a directory."""
    path = Path(args.source)
    if os.sep not in args.source:
        from human_recon.simulation.benchmarks import BENCHMARKS

        if args.source in BENCHMARKS:
            return _benchmark(args)
        if not path.exists():
            names = ", ".join(BENCHMARKS)
            raise CommandError(f"{args.source}: there is no such file, and no such benchmark; these are {names}")
    from human_recon.io.ground_truth import read_true_frames

    frames = read_true_frames(path)
    description = {"name": path.resolve().name, "kind": "recording"}
    return _Source(description, ([frame] for frame in frames) if args.independent else [frames], None)


def _benchmark(args: argparse.Namespace) -> _Source:
    from human_recon.simulation.assets import Assets
    from human_recon.simulation.benchmarks import open_benchmark

    if args.data is not None and not args.data.is_dir():
        raise CommandError(f"--data {args.data}: there is no such directory")
    assets = Assets.locate(args.data)
    missing = [
        what for what, path in (("recorded motion", assets.motion), ("clothes", assets.wardrobe)) if path is None
    ]
    if missing:
        print(
            f"warning: no {' and no '.join(missing)} found: these are easier people than the published figures are of",
            file=sys.stderr,
        )
    benchmark = open_benchmark(args.source, assets)
    description = {"name": args.source, "kind": "benchmark", **benchmark.description}
    return _Source(description, benchmark.sequences(), len(benchmark))


def _limited(source: _Source, limit: int | None) -> _Source:
    if limit is None:
        return source
    left = limit

    def counted(frames: Iterable[TrueFrame]) -> Iterator[TrueFrame]:
        nonlocal left
        # Asked before the frame is made: one that nobody wants may be expensive.
        for frame in itertools.islice(frames, left):
            left -= 1
            yield frame

    def sequences() -> Iterator[Iterable[TrueFrame]]:
        remaining = iter(source.sequences)
        while left > 0:
            frames = next(remaining, None)
            if frames is None:
                return
            yield counted(frames)

    frames = limit if source.frames is None else min(limit, source.frames)
    return _Source({**source.description, "limit": limit}, sequences(), frames)


def make_pipeline(config: PipelineConfig, body: Path | None) -> PeoplePipeline:
    """The pipeline, in this process or in a worker's."""
    from human_recon.body.model import default_body_model, load_body_model
    from human_recon.pipeline import Pipeline

    return Pipeline(config, load_body_model(body) if body is not None else default_body_model())


def _measured(
    args: argparse.Namespace, config: PipelineConfig, options: EvaluationOptions, source: _Source, records: TextIO
) -> Evaluation:
    from human_recon.evaluation.evaluate import evaluate_independent, evaluate_sequences
    from human_recon.evaluation.records import to_line

    _prepare_geodesics(args.body, options)
    print(f"evaluating on {args.source} (the first run on a machine compiles for about a minute)", file=sys.stderr)
    progress = Progress("frames", source.frames)
    done = 0

    def keep(record: FrameMeasures) -> None:
        nonlocal done
        records.write(to_line(record) + "\n")
        done += 1
        progress.step(done)

    try:
        if args.workers == 1:
            return evaluate_sequences(source.sequences, make_pipeline(config, args.body), options, keep)
        make = functools.partial(make_pipeline, config, args.body)
        return evaluate_independent(_alone(source.sequences), make, args.workers, options, keep)
    except BrokenProcessPool:
        raise CommandError("a worker process died, perhaps for lack of memory; try fewer --workers") from None
    finally:
        progress.close()


def _prepare_geodesics(body: Path | None, options: EvaluationOptions) -> None:
    """Make the table of distances now, with a word about it, and not in every worker."""
    from human_recon.body.model import default_body_model, load_body_model
    from human_recon.evaluation.rest_surface import load_distances, table_path

    model = load_body_model(body) if body is not None else default_body_model()
    if options.cache is None or table_path(model, options.cache).exists():
        return
    print("computing distances along the body's surface, once", file=sys.stderr)
    progress = Progress("rows", None)
    try:
        load_distances(model, options.cache, lambda done, _: progress.step(done))
    finally:
        progress.close()


def _alone(sequences: Iterable[Iterable[TrueFrame]]) -> Iterator[TrueFrame]:
    """The frames of sequences of one frame. Raises CommandError when one is longer."""
    for sequence in sequences:
        frames = iter(sequence)
        first = next(frames, None)
        if next(frames, None) is not None:
            raise CommandError(
                "--workers: each frame of a sequence needs the one before; leave it out, or add --independent to a bag"
            )
        if first is not None:
            yield first


def _content(
    args: argparse.Namespace,
    config: PipelineConfig,
    options: EvaluationOptions,
    source: _Source,
    evaluation: Evaluation,
    seconds: float,
) -> dict[str, Any]:
    from human_recon.evaluation.environment import describe_environment, peak_memory_mb
    from human_recon.evaluation.records import plain

    settings = dict(flat(config))
    return plain(
        {
            "source": source.description,
            "pipeline": {
                "name": config.perception if config.fit else f"{config.perception}, no fit",
                "body_model": evaluation.body.name,
                "settings": settings,
            },
            "options": dict(flat(options.measuring)) | {"independent": args.independent},
            "environment": describe_environment(),
            "seconds": round(seconds, 3),
            "workers": args.workers,
            "peak_memory_mb": round(peak_memory_mb()),
            "results": evaluation.summary,
        },
        decimals=None,
    )


def _write(folder: Path, content: dict[str, Any], evaluation: Evaluation, pictures: dict[str, bytes] | None) -> None:
    from human_recon.evaluation.files import METRICS_FILE, RECORDS_FILE, REPORT_FILE, write_metrics

    if pictures is not None:
        from human_recon.evaluation.report import write_report

        records = folder / RECORDS_FILE
        write_report(folder / REPORT_FILE, content, records, evaluation.worst, evaluation.body.faces, pictures)
    write_metrics(folder / METRICS_FILE, content)


def _draw(*named: tuple[str, dict[str, Any]]) -> dict[str, bytes]:
    from human_recon.evaluation.figures import draw_figures

    print("drawing figures", file=sys.stderr)
    return draw_figures([(name, content["results"]) for name, content in named])


def _write_plots(folder: Path, pictures: dict[str, bytes]) -> None:
    from human_recon.evaluation.figures import write_figures

    try:
        write_figures(folder, pictures)
    except OSError as error:
        raise CommandError(f"cannot write --plots {folder}: {error.strerror or error}") from None
    print(f"{len(pictures)} figures in {folder}")


_PRINTED = (
    "precision", "recall", "f1_clear", "false_per_100_empty", "confidence_ece", "mpjpe", "root_mpjpe", "pa_mpjpe",
    "pve", "recall_60", "mpjpe_60", "root_mpjpe_60", "pa_mpjpe_60", "pve_60", "pelvis_60", "covariance_within_1",
    "covariance_within_2", "covariance_within_3", "sigma_factor", "joint_visibility", "pck_all", "itop_map_all",
    "depth_order", "overlap_order", "collisions", "foreground_iou", "mask_iou_matched", "mask_iou_all",
    "part_accuracy", "correspondence", "network_part_accuracy", "network_correspondence",
    "network_correspondence_geodesic", "network_left_right_confusion", "network_front_back_confusion", "mota", "idf1",
    "hota", "id_switches", "id_switches_per_minute", "expected_right", "stature_2s", "stature_2s_worst",
    "acceleration_error", "acceleration_error_frame", "lag", "velocity_error", "velocity_true", "latency_median",
    "latency_p95",
)  # fmt: skip


def _lines(content: dict[str, Any]) -> Iterator[str]:
    from human_recon.evaluation.catalogue import BY_NAME

    results = content["results"]
    yield f"{content['source']['name']}: {results['frames']} frames, {results['people']} people in view"
    for name in _PRINTED:
        entry = results["metrics"].get(name)
        if entry is not None:
            value = "-" if entry["value"] is None else f"{entry['value']:.1f}"
            spread = f"  (95 %: {entry['ci95'][0]:.1f} to {entry['ci95'][1]:.1f})" if "ci95" in entry else ""
            yield f"  {BY_NAME[name].title:<38} {value:>8} {entry['unit']}{spread}"


# ---------------------------------------------------------------- comparing


def _compare(first: Path, second: Path, force: bool, plots: Path | None) -> int:
    from human_recon.evaluation.compare import compare, differences, format_table, times_are_comparable
    from human_recon.evaluation.files import read_metrics

    a, b = read_metrics(first), read_metrics(second)
    reasons = differences(a, b)
    if reasons and not force:
        raise CommandError(f"{first} and {second} are not comparable: {'; '.join(reasons)}; --force compares anyway")
    for reason in reasons:
        print(f"warning: not the same {reason}", file=sys.stderr)
    if not times_are_comparable(a, b):
        print("note: other machines, or other numbers of processes: latencies are not comparable", file=sys.stderr)
    for line in format_table(compare(a, b), _name(first), _name(second)):
        print(line)
    if plots is not None:
        _write_plots(plots, _draw((_name(first), a), (_name(second), b)))
    return 0


def _name(path: Path) -> str:
    return path.name if path.is_dir() else f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number
