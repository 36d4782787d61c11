"""``metrics.json``: the summary of one evaluation with all that is needed to judge and repeat it.

{"format": "human_recon evaluation", "version": 1,
 "source": {"name", ...},             what was evaluated on; benchmarks give version, seed and digest
 "pipeline": {"name", "body_model", "settings": {key: value}},
 "options": {key: value},             of the evaluation
 "environment": {...}, "seconds", "workers",
 "results": {"frames", "sequences", "people", "metrics": {name: {"value", "unit", "count", "ci95"?}},
             "breakdowns": {by: [{"bin", "people", "metrics"}]}, "joints", "parts", "curves", "latency_ms", ...}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from human_recon.io.atomic import write_bytes
from human_recon.io.errors import file_error

METRICS_FILE = "metrics.json"
RECORDS_FILE = "records.jsonl"
REPORT_FILE = "report.html"

FORMAT = "human_recon evaluation"
VERSION = 1


def write_metrics(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` (source, pipeline, options, environment, results ...) with format and version, atomically."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **content}, allow_nan=False, indent=1)
    write_bytes(path, (text + "\n").encode())


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json``, or the one in a directory. Raises InputError when it is not one of this version."""
    path = path / METRICS_FILE if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise file_error(path, f"not JSON ({error}); write it again with `human-recon evaluate`") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise file_error(path, f'it has no "format": "{FORMAT}"; give a metrics.json of `human-recon evaluate`')
    if content.get("version") != VERSION:
        raise file_error(path, f"version {content.get('version')!r} is not {VERSION}; evaluate again")
    if not isinstance(content.get("results"), dict) or not isinstance(content["results"].get("metrics"), dict):
        raise file_error(path, "it has no results; evaluate again")
    return content
