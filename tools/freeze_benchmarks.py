"""Write down what the benchmarks are made of, or check that they are still the same.

    .venv/bin/python tools/freeze_benchmarks.py [--data DATA]           # writes models/simulation/benchmarks.json
    .venv/bin/python tools/freeze_benchmarks.py [--data DATA] --check   # compares; status 1 when something differs

A fingerprint is over every bit of depth, labels and bodies. Those bits are the same on every run on one machine;
another processor or version of NumPy may round the last digit of a sine differently, so a difference there is a
question, not an error, and figures of both are still comparable.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ros_ws/src/human_recon"
sys.path.insert(0, str(PACKAGE))

from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.benchmarks import BENCHMARKS, MANIFEST, open_benchmark  # noqa: E402

OUTLINED = 3  # items of each benchmark, made without assets, that the test suite makes again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with mocap/ (default: $HUMAN_RECON_DATA)")
    parser.add_argument("--check", action="store_true", help="compare with the manifest, change nothing")
    parser.add_argument("names", nargs="*", help="some benchmarks only")
    args = parser.parse_args()

    assets = Assets.locate(args.data)
    path = PACKAGE / "models" / MANIFEST
    entries = json.loads(path.read_text())["benchmarks"] if path.exists() else []
    different = 0
    for name in args.names or BENCHMARKS:
        opened = open_benchmark(name, assets)
        made = {**opened.description, "sha256": opened.fingerprint()}
        key = {field: made[field] for field in ("benchmark", "version", "assets")}
        before = next((entry for entry in entries if key.items() <= entry.items()), None)
        if before is None:
            verdict = "not frozen with these assets"
        else:
            verdict = "the same" if before["sha256"] == made["sha256"] else "DIFFERENT"
        different += verdict != "the same"
        print(f"{name:10} version {made['version']}  {made['sha256'][:16]}  {verdict}", flush=True)
        entries = [entry for entry in entries if entry is not before] + [made]
    if args.check:
        return int(different > 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    entries.sort(key=lambda entry: (list(BENCHMARKS).index(entry["benchmark"]), entry["version"], entry["assets"]))
    outlines = {name: open_benchmark(name, Assets()).outline(OUTLINED) for name in BENCHMARKS}
    manifest = {
        "command": "tools/freeze_benchmarks.py",
        "made_on": describe_environment(),
        "benchmarks": entries,
        "outlines_without_assets": outlines,
    }
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
