"""Do templates drift? Their surface against the true one over a minute of simulated people.

    .venv/bin/python tools/measure_drift.py -o benchmarks/template_drift.json --plot docs/images/template_drift.png

People walk, turn and gesture for a minute; the whole pipeline tracks them with SMPL+D templates. In every measured
frame, for every person who is found:

- surface: mean distance of the true visible surface (a rendering without noise, clothes on) from the template;
- correspondence: mean distance of a true visible point from the template's vertex that it belongs to, which also sees
  a template that slides along itself;

and the same of the tracked SMPL body, which the template starts from. Drift is the slope of the error over time after
the first seconds, in millimetres per minute, with the interval of a bootstrap over seconds. Sequences are simulated
people of the test split, none of the frozen benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not when a test imports this: threads belong to the process
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is loaded

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import BodyModel, default_body_model  # noqa: E402
from human_recon.camera.points import depth_to_points  # noqa: E402
from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.geometry.signed_distance import closest_points  # noqa: E402
from human_recon.io.atomic import write_bytes  # noqa: E402
from human_recon.people import People  # noqa: E402
from human_recon.pipeline import Pipeline, PipelineConfig  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.motion import FPS  # noqa: E402
from human_recon.simulation.rendering import FIRST_THING, Rendering, render  # noqa: E402
from human_recon.simulation.sequence import Sequence, SequenceConfig, SequenceSource  # noqa: E402
from human_recon.template.tracker import TemplateConfig  # noqa: E402

CAMERA = "kinect_v2"
POINTS = 400  # true surface points per person and frame
WARM_UP = 5.0  # seconds that SMPL+D has to learn what is worn
NAMES = ("template_surface", "template_correspondence", "body_surface", "body_correspondence")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, help="JSON")
    parser.add_argument("--plot", type=Path, help="PNG; with --from, of an earlier run")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="JSON", help="draw this, measure nothing")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second that are measured (default: 10)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[71, 72], help="one sequence of two people each")
    parser.add_argument("--scenario", default="walk")
    parser.add_argument("--data", type=Path, help="recorded motion and clothes; default: $HUMAN_RECON_DATA")
    args = parser.parse_args()
    if args.seconds < WARM_UP + 10.0:
        parser.error(f"--seconds must be at least {WARM_UP + 10.0:g} to see anything grow")
    if args.earlier is not None:
        result = json.loads(args.earlier.read_text())
    else:
        result = measure(args)
        if args.out is not None:
            write_bytes(args.out, (json.dumps(result, indent=1) + "\n").encode())
    for name, figures in result["figures"].items():
        low, high = figures["drift_interval_mm_per_minute"]
        print(
            f"{name:24} {figures['mean_mm']:5.1f} mm, first ten seconds after warm-up {figures['early_mm']:5.1f}, last "
            f"{figures['late_mm']:5.1f}; drift {figures['drift_mm_per_minute']:+.2f} mm/min [{low:+.2f}, {high:+.2f}]"
        )
    if args.plot is not None:
        plot(result, args.plot)
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run all sequences."""
    body = default_body_model()
    assets = Assets.locate(args.data)
    source = SequenceSource.load(assets, "test", body=body)
    config = PipelineConfig(workers=1, template=TemplateConfig(surface="smpl+d"))
    pipeline = Pipeline(config, body)
    rows: list[list[float]] = []
    stride = max(1, round(FPS / args.rate))
    for seed in args.seeds:
        pipeline.reset()
        wanted = SequenceConfig(people=2, duration=args.seconds, scenario=args.scenario, preset=CAMERA, split="test")
        sequence = Sequence(wanted, source, seed)
        for index in range(0, len(sequence), stride):
            true = sequence.true_frame(index, color=False)
            people = pipeline.process(true.frame)
            if true.people:
                perfect = render(sequence.scene(index), sequence.view(index), body)
                where = {person.id: person.joints[0] for person in true.people}
                for person, errors in compare(people, where, perfect, body):
                    rows.append([seed, index / FPS, person, *errors])
            print(f"\rsequence {seed}: {index / FPS:5.1f} s, {len(rows)} measured", end="", file=sys.stderr)
    print(file=sys.stderr)
    table = np.array(rows)
    return {
        "what": "surface error of SMPL+D templates over time, simulated",
        "sequences": {"seeds": args.seeds, "scenario": args.scenario, "seconds": args.seconds, "rate": FPS / stride},
        "camera": CAMERA,
        "assets": assets.digest,
        "measured": len(rows),
        "figures": {name: figures_of(table, 3 + k) for k, name in enumerate(NAMES)},
        "curves": {name: curve_of(table, 3 + k) for k, name in enumerate(NAMES)},
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe_environment(),
    }


def compare(
    people: People, where: dict[int, np.ndarray], perfect: Rendering, body: BodyModel
) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Errors in metres of everybody who is measured and has a template, by the true id."""
    ids = sorted(where)  # the order of actors in the rendering
    meshes = {mesh.id: mesh for mesh in people.templates}
    cloud = depth_to_points(perfect.depth, people.frame.intrinsics)
    result = []
    for person in people.people:
        if not person.measured or person.id not in meshes:
            continue
        true = min(ids, key=lambda k: float(np.linalg.norm(where[k] - person.joints[0])))
        if np.linalg.norm(where[true] - person.joints[0]) > 0.4:
            continue
        own = (perfect.object == ids.index(true)) & (perfect.object < FIRST_THING) & (perfect.vertex >= 0)
        own = np.flatnonzero(own)
        if len(own) < POINTS:
            continue
        chosen = own[np.linspace(0, len(own) - 1, POINTS).astype(int)]
        points = cloud.reshape(-1, 3)[chosen].astype(np.float64)
        shown = perfect.vertex.ravel()[chosen]
        errors = []
        for vertices in (meshes[person.id].vertices, person.vertices):
            nearest, _ = closest_points(points, vertices, body.faces)
            errors.append(float(np.linalg.norm(nearest - points, axis=1).mean()))
            errors.append(float(np.linalg.norm(vertices[shown] - points, axis=1).mean()))
        result.append((true, (errors[0], errors[1], errors[2], errors[3])))
    return result


def figures_of(table: np.ndarray, column: int) -> dict[str, Any]:
    """Mean error and its growth."""
    table = table[table[:, 1] >= WARM_UP]
    times, errors = table[:, 1], 1e3 * table[:, column]
    last = float(times.max())
    # Seconds of one sequence as the unit of the bootstrap: frames next to each other are not independent.
    groups = [np.flatnonzero(group) for group in _seconds(table)]
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(500):
        chosen = np.concatenate([groups[k] for k in rng.integers(0, len(groups), len(groups))])
        slopes.append(_slope(times[chosen], errors[chosen]))
    return {
        "mean_mm": float(errors.mean()),
        "p95_mm": float(np.percentile(errors, 95)),
        "early_mm": float(errors[times < WARM_UP + 10.0].mean()),
        "late_mm": float(errors[times > last - 10.0].mean()),
        "drift_mm_per_minute": _slope(times, errors),
        "drift_interval_mm_per_minute": [float(x) for x in np.percentile(slopes, [2.5, 97.5])],
    }


def _seconds(table: np.ndarray) -> list[np.ndarray]:
    keys = table[:, 0] * 1e6 + np.floor(table[:, 1])
    return [keys == key for key in np.unique(keys)]


def _slope(times: np.ndarray, errors: np.ndarray) -> float:
    return float(60.0 * np.polyfit(times, errors, 1)[0]) if len(np.unique(times)) > 1 else 0.0


def curve_of(table: np.ndarray, column: int) -> list[list[float]]:
    """[second, mean error in mm] over all sequences."""
    second = np.floor(table[:, 1])
    return [[float(s), round(1e3 * float(table[second == s, column].mean()), 3)] for s in np.unique(second)]


def plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharex=True)
    for axis, kind, title in zip(
        axes,
        ("surface", "correspondence"),
        ("Distance of the true surface", "Distance of the point itself"),
        strict=True,
    ):
        for name, label, color in (("body", "tracked SMPL body", "#8a919c"), ("template", "template", "#2f6fd0")):
            curve = np.array(result["curves"][f"{name}_{kind}"])
            drift = result["figures"][f"{name}_{kind}"]["drift_mm_per_minute"]
            axis.plot(curve[:, 0], curve[:, 1], color=color, label=f"{label}, drift {drift:+.1f} mm/min")
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axis.set_xlabel("seconds")
        axis.set_ylim(bottom=0.0)
        axis.grid(color="#e3e6ea")
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("mm, mean over people")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
