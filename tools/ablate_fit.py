"""What each term of the fit, the tracker and the coherence between people is worth, on the frozen benchmarks.

    .venv/bin/python tools/ablate_fit.py -o benchmarks/fit_ablation.json [--data DATA] [--part fit] [--limit 20]
    .venv/bin/python tools/ablate_fit.py -o benchmarks/fit_ablation.json --plots docs/images    # only draws

Parts, each with its own variants of the pipeline's settings (`human-recon evaluate --set` takes the same):

- fit, on `multi`: every term off, one at a time;
- track, on `sequence`: fits of single frames against tracks;
- coherence, on `crowd` and on `multi`: people fitted together or alone.

All variants see the same frames in one pass. What the networks say of a frame is computed once for all who ask the
same. Differences are of the same people, with intervals from a bootstrap over frames. A part replaces itself in OUT
and leaves the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not when a test imports this: threads belong to the process
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is loaded

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import default_body_model  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.cli.settings import with_settings  # noqa: E402
from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.evaluation.evaluate import EvaluationOptions  # noqa: E402
from human_recon.evaluation.measuring import MeasuringConfig  # noqa: E402
from human_recon.evaluation.records import plain  # noqa: E402
from human_recon.evaluation.variant_figures import before_and_after, differences  # noqa: E402
from human_recon.evaluation.variants import Variant, evaluate_variants, paired_difference  # noqa: E402
from human_recon.ground_truth import TrueFrame  # noqa: E402
from human_recon.io.atomic import write_bytes  # noqa: E402
from human_recon.perception.estimate import Perceived  # noqa: E402
from human_recon.perception.learned import LearnedPerception  # noqa: E402
from human_recon.pipeline import Pipeline, PipelineConfig  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.benchmarks import open_benchmark  # noqa: E402

Settings = Mapping[str, Any]

# The first variant of each part is what the others are compared with.
FIT: dict[str, Settings] = {
    "all terms": {},
    "network alone, no fit": {"fit": False},
    "without correspondence": {"fitter.correspondence": 0},
    "without surface": {"fitter.surface": 0},
    "surface along normals only": {"fitter.point_to_point": 0},
    "surface without normals' say": {"fitter.facing": 0},
    "surface without the network's places": {"fitter.placing": 0},
    "without the network's joints": {"fitter.joints": 0},
    "without the network's rotations": {"fitter.rotations": 0},
    "without the network's body": {"fitter.joints": 0, "fitter.rotations": 0},
    "without joint limits": {"fitter.limits": 0},
    "without shape prior": {"fitter.shape": 0},
    "without free space": {"scene_terms.free_space_weight": 0},
    "without self contact": {"scene_terms.self_contact_weight": 0},
    "without the floor": {"scene_terms.floor_weight": 0},
    "without terms of the scene": {"fitter.extra": 0},
    "without coherence": {"coherence.enabled": False},
    "3 iterations": {"fitter.iterations": 3},
    "12 iterations": {"fitter.iterations": 12},
}
TRACK: dict[str, Settings] = {
    "fits of single frames": {"track": False},
    "tracks": {},
    "tracks, the fit not told": {"fitter.track": 0},
}
COHERENCE: dict[str, Settings] = {
    "together": {},
    "alone": {"coherence.enabled": False},
    "alone, without terms of the scene": {"coherence.enabled": False, "fitter.extra": 0},
    "network alone, no fit": {"fit": False},
}
PARTS = {"fit": FIT, "track": TRACK, "coherence": COHERENCE}
BENCHMARKS = {"fit": ("multi",), "track": ("sequence",), "coherence": ("crowd", "multi")}
COMPARED = ("root_mpjpe", "mpjpe", "pa_mpjpe", "pve", "pelvis")  # errors whose differences are stated
WELL_SEEN = 0.6

COLUMNS = {  # of the printed table: title and metric
    "fit": (
        ("root-rel. MPJPE", "root_mpjpe_60"), ("PVE", "pve_60"), ("PA", "pa_mpjpe_60"), ("pelvis", "pelvis_60"),
        ("stature", "stature_60"), ("all: root-rel.", "root_mpjpe"), ("1 sigma", "covariance_within_1"),
        ("2 sigma", "covariance_within_2"),
    ),
    "track": (
        ("MPJPE", "mpjpe"), ("root-rel.", "root_mpjpe"), ("accel. mm/frame²", "acceleration_error_frame"),
        ("lag", "lag"), ("IDF1", "idf1"), ("switches/min", "id_switches_per_minute"), ("stature 2 s", "stature_2s"),
        ("velocity", "velocity_error"), ("2 sigma", "covariance_within_2"),
    ),
    "coherence": (
        ("collisions/100", "collisions"), ("depth order", "depth_order"), ("in overlaps", "overlap_order"),
        ("root-rel. MPJPE", "root_mpjpe"), ("MPJPE", "mpjpe"), ("visibility error", "visibility_error"),
        ("joints' visibility", "joint_visibility"),
    ),
}  # fmt: skip


class SharedPerception:
    """Answers each question about a frame once, whoever asks. One caller at a time."""

    def __init__(self, perception: LearnedPerception) -> None:
        self._perception = perception
        self._answers: dict[bytes, Perceived] = {}

    def forget(self) -> None:
        """The next question is about another frame."""
        self._answers.clear()

    def detect(self, frame: Frame, known: np.ndarray | None = None) -> Perceived:
        question = b"" if known is None or not len(known) else np.ascontiguousarray(known).tobytes()
        if question not in self._answers:
            self._answers[question] = self._perception.detect(frame, known)
        return self._answers[question]


def pipelines(variants: Mapping[str, Settings], base: PipelineConfig) -> tuple[dict[str, Pipeline], SharedPerception]:
    """A pipeline for each variant; all of learned perception share what their networks say."""
    body = default_body_model()
    made: dict[str, Pipeline] = {}
    shared: SharedPerception | None = None
    for name, settings in variants.items():
        pipeline = Pipeline(with_settings(base, settings, name), body)
        eye: Any = pipeline._eye
        shared = shared or SharedPerception(eye._perception)
        eye._perception = shared
        made[name] = pipeline
    assert shared is not None
    return made, shared


def run_part(part: str, benchmark: str, assets: Assets, base: PipelineConfig, limit: int | None) -> dict[str, Any]:
    """Evaluate all variants of a part on a benchmark."""
    variants = PARTS[part]
    made, perception = pipelines(variants, base)
    opened = open_benchmark(benchmark, assets)
    count = min(limit or len(opened), len(opened))
    began = time.monotonic()

    def told(done: int) -> None:
        if done % 10 == 0 or done == count:
            passed = time.monotonic() - began
            left = passed / done * (count - done)
            print(f"{part} on {benchmark}: {done} of {count} frames, {left:.0f} s left", file=sys.stderr, flush=True)

    # Correspondences and places of pixels are not what is compared here: one point each saves time.
    options = EvaluationOptions(MeasuringConfig(points=1), warm_up=False)
    results = evaluate_variants(_first(opened.sequences(), count), made, options, perception.forget, told)
    return {
        "benchmark": {**opened.description, "frames_used": count},
        "environment": describe_environment(),
        "seconds": round(time.monotonic() - began, 1),
        "variants": [_entry(name, dict(variants[name]), results[name], _first_of(results)) for name in variants],
    }


def _first(sequences: Iterable[Iterable[TrueFrame]], count: int) -> Iterator[Iterator[TrueFrame]]:
    """The first ``count`` frames, in their sequences, made when they are asked for."""
    left = count

    def counted(frames: Iterable[TrueFrame]) -> Iterator[TrueFrame]:
        nonlocal left
        for frame in itertools.islice(frames, left):
            left -= 1
            yield frame

    for frames in sequences:
        if left == 0:
            return
        yield counted(frames)


def _first_of(results: Mapping[str, Variant]) -> Variant:
    return next(iter(results.values()))


def _entry(name: str, settings: dict[str, Any], variant: Variant, first: Variant) -> dict[str, Any]:
    summary = variant.summary
    against = {
        key: [
            {k: row[k] for k in ("bin", "low", "high", "people")}
            | {"metrics": {m: row["metrics"][m] for m in ("root_mpjpe", "mpjpe", "pve") if m in row["metrics"]}}
            for row in summary["against"][key]
        ]
        for key in ("visibility", "distance")
    }
    return {
        "name": name,
        "settings": settings,
        "metrics": {k: v for k, v in summary["metrics"].items() if not k.startswith(("latency", "network"))},
        "failures": summary["failures"],
        "fit_ms": summary["latency_ms"].get("fit"),
        # Of people found by both, this variant minus the first
        "difference": {metric: paired_difference(first, variant, metric) for metric in COMPARED},
        "difference_60": {metric: paired_difference(first, variant, metric, WELL_SEEN) for metric in COMPARED},
        "against": against,
        "sigma": summary["curves"].get("sigma"),
    }


def table(part: str, content: dict[str, Any]) -> str:
    """Markdown; people seen to 60 % or more where the metric says so."""
    columns = COLUMNS[part]
    lines = ["| variant | " + " | ".join(title for title, _ in columns) + " | difference |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    shown = "difference_60" if part == "fit" else "difference"
    for entry in content["variants"]:
        cells = []
        for _, metric in columns:
            value = entry["metrics"].get(metric, {}).get("value")
            cells.append("-" if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}")
        pair = entry[shown]["root_mpjpe"]
        if pair["value"] is None:
            cells.append("-")
        else:
            spread = f" ({pair['ci95'][0]:+.1f} to {pair['ci95'][1]:+.1f})" if "ci95" in pair else ""
            cells.append(f"{pair['value']:+.1f}{spread}")
        lines.append(f"| {entry['name']} | " + " | ".join(cells) + " |")
    for entry in content["variants"]:
        failed = entry["failures"]
        if failed["frames"]:
            lines.append(f"\n{entry['name']}: failed on {failed['frames']} frames, {failed['first'][0]['error']}")
    return "\n".join(lines)


def draw(folder: Path, content: dict[str, Any]) -> list[Path]:
    """Figures of the fit's part: with and without it, and what each term is worth."""
    from human_recon.evaluation.plots import figure_to_png

    variants = content["variants"]
    by_name = {entry["name"]: entry for entry in variants}
    named = [("network alone", by_name["network alone, no fit"]), ("fitted", by_name["all terms"])]
    files = []
    for name, figure, size in (
        ("fit_before_after", before_and_after(named), (15.0, 3.8)),
        (
            "fit_ablation",
            differences(variants, "difference_60", ("root_mpjpe", "pve")),
            (9.0, 0.8 + 0.36 * len(variants)),
        ),
    ):
        files.append(folder / f"{name}.png")
        write_bytes(files[-1], figure_to_png(figure, *size))
    return files


def write(path: Path, key: str, result: dict[str, Any]) -> None:
    """Replace one part of the file."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content[key] = plain(result, decimals=4)
    write_bytes(path, (json.dumps(content, allow_nan=False, indent=1) + "\n").encode())


def main() -> None:
    """Parse the command line, evaluate, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of motion capture and clothing")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all; may be repeated")
    parser.add_argument("--limit", type=int, help="the first frames of each benchmark only")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="figures of the fit, as PNG, from what OUT holds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of all variants")
    arguments = parser.parse_args()
    import yaml

    base = with_settings(PipelineConfig(), {"workers": 1, "engine.threads": 1}, "default")
    for text in arguments.set:
        key, _, value = text.partition("=")
        base = with_settings(base, {key: yaml.safe_load(value)}, f"--set {text}")
    assets = Assets.locate(arguments.data)
    for part in arguments.part if arguments.part is not None else () if arguments.plots else PARTS:
        for benchmark in BENCHMARKS[part]:
            result = run_part(part, benchmark, assets, base, arguments.limit)
            write(arguments.output, f"{part} on {benchmark}", result)
            print(f"\n{part} on {benchmark}, {result['benchmark']['frames_used']} frames\n\n{table(part, result)}\n")
    if arguments.plots is not None:
        for file in draw(arguments.plots, json.loads(arguments.output.read_text())["fit on multi"]):
            print(file)


if __name__ == "__main__":
    main()
