"""One HTML file that tells a whole evaluation: figures, plots, and the worst frames as pictures. It loads nothing."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from human_recon.evaluation import plots
from human_recon.evaluation.catalogue import BREAKDOWN, BY_NAME, METRICS
from human_recon.evaluation.records import read_records
from human_recon.evaluation.worst import WorstFrame
from human_recon.ground_truth import TrueFrame
from human_recon.io.atomic import write_bytes
from human_recon.people import People, Person
from human_recon.visualization import draw_overlay, draw_side_view
from human_recon.visualization.canvas import fit_into, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SEQUENCES_SHOWN = 4  # whose tracks are drawn
_PICTURE = (520, 390)  # of each view of a worst case, pixels
_NOBODY = 100  # numbers from here on are given to predictions of nobody that has to be found

_CSS = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2127; background: #f5f6f8; margin: 0 }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 24px; margin: 8px 0 2px } h2 { font-size: 18px; margin: 34px 0 10px }
.quiet { color: #616a76 } .card { background: #fff; border: 1px solid #e1e4e9; border-radius: 8px; padding: 14px 16px }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 14px }
.grid img, .wide img { width: 100%; display: block } .wide { margin-top: 14px }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 16px 0 }
.tile b { display: block; font-size: 24px; line-height: 1.25 } .tile span { color: #616a76; font-size: 13px }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% }
td, th { padding: 4px 10px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eceef1 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.group th { padding-top: 14px; border-bottom: 2px solid #d6dae0 } figure { margin: 0 0 14px }
figcaption { padding: 8px 2px; font-size: 14px } figure img { width: 100%; border-radius: 6px; display: block }
code, pre { font: 12.5px/1.45 ui-monospace, monospace } pre { white-space: pre-wrap; margin: 0 }
"""


def write_report(
    path: Path,
    content: dict[str, Any],  # of metrics.json
    records: Path,  # records.jsonl
    worst: Sequence[WorstFrame],
    faces: np.ndarray,  # [F, 3] of the body model
    pictures: Mapping[str, bytes] | None = None,  # PNG files of figures.draw_figures
) -> None:
    """Write the report to ``path``, atomically."""
    write_bytes(path, render_report(content, records, worst, faces, pictures).encode())


def render_report(
    content: dict[str, Any],
    records: Path,
    worst: Sequence[WorstFrame],
    faces: np.ndarray,
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """The report as HTML."""
    results = content["results"]
    name = escape(str(content["source"].get("name", "evaluation")))
    body = [
        f"<h1>{name}</h1>",
        f'<p class="quiet">{results["frames"]} frames in {results["sequences"]} sequences, {results["people"]} people '
        f"in view; people seen less than {100 * content['options']['matching.least_visibility']:.0f} % need not be "
        "found. A person and a prediction belong together up to "
        f"{content['options']['matching.gate']:g} m. Errors are of people found; read them beside the recall.</p>",
        *_failures(results),
        _tiles(results["metrics"]),
        *_plots(results),
        *_figures(pictures or {}),
        *_tracks(results, records),
        "<h2>All metrics</h2>",
        _metric_table(results["metrics"]),
        *_breakdowns(results["breakdowns"]),
        *_stages(results["latency_ms"]),
        *_worst_cases(worst, faces),
        *_provenance(content),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}: evaluation</title><style>{_CSS}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _failures(results: dict[str, Any]) -> Iterator[str]:
    failures = results.get("failures", {"frames": 0})
    if failures["frames"]:
        lines = "\n".join(f"sequence {f['sequence']}, frame {f['frame']}: {f['error']}" for f in failures["first"])
        yield (
            f'<div class="card"><b>The pipeline failed on {failures["frames"]} of {results["frames"]} frames.</b> '
            f"Everybody in them counts as missed. The first:<pre>{escape(lines)}</pre></div>"
        )


_TILES = (
    "recall", "precision", "f1_clear", "false_per_100_empty", "mask_iou_all", "foreground_iou",
    "network_part_accuracy", "network_correspondence", "mpjpe", "root_mpjpe", "pa_mpjpe", "pve", "pck_all",
    "itop_map_all", "hota", "latency_median",
)  # fmt: skip


_FIGURES = {
    "against_distance": "Against distance",
    "against_visibility": "Against visibility",
    "against_people": "Against the number of people",
    "against_yaw": "Against the side from which people are seen",
    "calibration": "Calibration",
    "correspondence": "Correspondence",
    "parts": "Body parts",
}


def _figures(pictures: Mapping[str, bytes]) -> Iterator[str]:
    for name, data in pictures.items():
        title = _FIGURES.get(name, name)
        source = base64.b64encode(data).decode()
        yield f"<h2>{escape(title)}</h2>"
        yield f'<div class="card wide"><img alt="{escape(title)}" src="data:image/png;base64,{source}"></div>'


def _tiles(metrics: dict[str, Any]) -> str:
    tiles = [
        f'<div class="card tile"><b>{_number(metrics[name]["value"])} {escape(metrics[name]["unit"])}</b>'
        f"<span>{escape(BY_NAME[name].title)}</span></div>"
        for name in _TILES
        if name in metrics
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _plots(results: dict[str, Any]) -> Iterator[str]:
    by = results["breakdowns"]
    curves = results["curves"]
    drawn: list[tuple[Callable[[Axes], None], str]] = []
    if results["people"]:
        drawn += [(plots.recall_by(by["visibility"], "visibility"), "Recall by visibility")]
        drawn += [(plots.pck_curve(curves["pck"]), "Rate of right joints against the threshold")]
    if "mpjpe" in results["metrics"]:
        for key, title in (
            ("distance", "distance"),
            ("visibility", "visibility"),
            ("number of people", "people in view"),
        ):
            drawn += [(plots.errors_by(by[key], title), f"Errors against {title}")]
        drawn += [(plots.recall_by(by["distance"], "distance"), "Recall by distance")]
    if "pve" in curves:
        curve = curves["pve"]
        title = "PVE, cumulative over people found"
        drawn += [(plots.cumulative(curve["threshold_mm"], curve["people"], title, "people"), title)]
    if "correspondence" in curves:
        curve = curves["correspondence"]
        title = "Correspondence error on the T pose, cumulative"
        drawn += [(plots.cumulative(curve["threshold_mm"], curve["points"], title, "points"), title)]
    if results["latency_histogram"]:
        whole = results["latency_ms"]["end_to_end"]
        drawn += [(plots.latency_bars(results["latency_histogram"], whole), "Time per frame")]
    yield "<h2>At a glance</h2>"
    pictures = (f'<div class="card">{_svg(plots.to_svg(draw), title)}</div>' for draw, title in drawn)
    yield f'<div class="grid">{"".join(pictures)}</div>'
    if results["joints"]:
        svg = plots.to_svg(plots.joint_bars(results["joints"]), 10.6, 3.4)
        yield f'<div class="card wide">{_svg(svg, "Error of each joint")}</div>'


def _tracks(results: dict[str, Any], records: Path) -> Iterator[str]:
    if "hota" not in results["metrics"]:
        return
    shown: dict[int, list[dict[str, Any]]] = {}
    for record in read_records(records):
        if record["sequence"] not in shown and len(shown) == _SEQUENCES_SHOWN:
            break
        slim = {"index": record["index"], "people": record["people"]}
        shown.setdefault(record["sequence"], []).append(slim)
    yield "<h2>Tracks over time</h2>"
    for sequence, frames in shown.items():
        people = len({person["id"] for frame in frames for person in frame["people"]})
        if people:
            svg = plots.to_svg(plots.tracks(frames, sequence), 10.6, 0.9 + 0.34 * people)
            yield f'<div class="card wide">{_svg(svg, f"Tracks in sequence {sequence}")}</div>'
    if results["sequences"] > len(shown):
        yield f'<p class="quiet">The first {len(shown)} of {results["sequences"]} sequences.</p>'


def _metric_table(metrics: dict[str, Any]) -> str:
    rows = ["<tr><th></th><th class=n>value</th><th></th><th class=n>95 %</th><th class=n>over</th><th>what</th></tr>"]
    group = ""
    for metric in METRICS:
        entry = metrics.get(metric.name)
        if entry is None:
            continue
        if metric.group != group:
            group = metric.group
            rows.append(f'<tr class="group"><th colspan="6">{escape(group)}</th></tr>')
        spread = f"{_number(entry['ci95'][0])} to {_number(entry['ci95'][1])}" if "ci95" in entry else ""
        arrow = {"lower": "&#8595;", "higher": "&#8593;", "neither": ""}[metric.better]
        rows.append(
            f"<tr><td>{escape(metric.title)}</td><td class=n>{_number(entry['value'])}</td>"
            f"<td>{escape(entry['unit'])} {arrow}</td><td class=n>{spread}</td><td class=n>{entry['count']}</td>"
            f'<td class="quiet">{escape(metric.definition)}</td></tr>'
        )
    return (
        f'<div class="card scroll"><table>{"".join(rows)}</table></div><p class="quiet">Arrows point where better is. '
        '"95 %": range of the value over other choices of frames of this kind (bootstrap), not over other worlds. '
        '"Over": number of people, joints, pixels or frames.</p>'
    )


def _breakdowns(breakdowns: dict[str, Any]) -> Iterator[str]:
    for by, bins in breakdowns.items():
        if not bins:
            continue
        names = [name for name in (*BREAKDOWN, "false_per_frame") if any(name in row["metrics"] for row in bins)]
        head = "".join(f"<th class=n>{escape(_heading(name))}</th>" for name in names)
        rows = [f"<tr><th>{escape(by)}</th><th class=n>people</th>{head}</tr>"]
        for row in bins:
            cells = "".join(f"<td class=n>{_number(row['metrics'].get(n, {}).get('value'))}</td>" for n in names)
            rows.append(f"<tr><td>{escape(row['bin'])}</td><td class=n>{row['people']}</td>{cells}</tr>")
        yield f"<h2>By {escape(by)}</h2>"
        yield f'<div class="card scroll"><table>{"".join(rows)}</table></div>'


def _heading(name: str) -> str:
    metric = BY_NAME[name]
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title


def _stages(latency: dict[str, Any]) -> Iterator[str]:
    if not latency:
        return
    columns = ("median", "p95", "p99", "max", "mean")
    rows = [
        "<tr><th>ms</th>" + "".join(f"<th class=n>{name}</th>" for name in columns) + "<th class=n>frames</th></tr>"
    ]
    for stage, row in latency.items():
        cells = "".join(f"<td class=n>{_number(row[name])}</td>" for name in columns)
        rows.append(f"<tr><td>{escape(stage.replace('_', ' '))}</td>{cells}<td class=n>{row['count']}</td></tr>")
    yield "<h2>Time of each stage</h2>"
    yield f'<div class="card scroll"><table>{"".join(rows)}</table></div>'


def _worst_cases(worst: Sequence[WorstFrame], faces: np.ndarray) -> Iterator[str]:
    for kind, title in (("error", "Largest joint errors"), ("count", "Most people missed or made up")):
        chosen = [case for case in worst if case.kind == kind]
        if chosen:
            yield f"<h2>{title}</h2>"
            yield (
                f'<p class="quiet">Numbers are those of the true people, also in the prediction; from {_NOBODY} on: of '
                "nobody, or of somebody hidden.</p>"
            )
        for case in chosen:
            picture = draw_case(case, faces)
            jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
            data = base64.b64encode(jpeg).decode()
            yield (
                f'<figure class="card"><img alt="truth and prediction" src="data:image/jpeg;base64,{data}">'
                f"<figcaption>{escape(describe_case(case))}</figcaption></figure>"
            )


def describe_case(case: WorstFrame) -> str:
    """Where the frame is and what went wrong in it."""
    record = case.record
    parts = []
    for person in sorted(record.people, key=lambda p: -p.errors.get("mpjpe", math.inf)):
        where = f"person {person.id} ({100 * person.visibility:.0f} % seen, {person.distance:.1f} m)"
        if person.predicted is None:
            parts.append(f"{where} missed")
        else:
            error, pose = 1000 * person.errors["mpjpe"], 1000 * person.errors["pa_mpjpe"]
            parts.append(f"{where} found, MPJPE {error:.0f} mm, PA-MPJPE {pose:.0f} mm")
    if record.false:
        parts.append(f"{len(record.false)} found who {'is' if len(record.false) == 1 else 'are'} not there")
    return f"Sequence {record.sequence}, frame {record.index}: {'; '.join(parts) or 'nobody in view'}."


def draw_case(case: WorstFrame, faces: np.ndarray) -> np.ndarray:
    """Truth at the left, prediction at the right; over the image above, from the side below. RGB uint8."""
    width, height = _PICTURE
    columns = []
    prediction = _as_matched(case)
    # On the same floor, so that both are seen from the same side.
    truth = dataclasses.replace(true_people(case.true), floor=prediction.floor)
    for people, title in ((truth, "Truth"), (prediction, "Prediction")):
        count = len(people.people)
        note = "1 person" if count == 1 else f"{count} people"
        overlay = fit_into(draw_overlay(people, faces, supersample=2), width, height)
        side = draw_side_view(people, faces, width, height * 2 // 3)
        columns.append(np.vstack([titled(overlay, title, note), side]))
    gap = np.full((columns[0].shape[0], 8, 3), 255, np.uint8)
    return np.hstack([columns[0], gap, columns[1]])


def true_people(true: TrueFrame) -> People:
    """The truth in the form that pictures are made of; also people who are hidden."""
    people = tuple(
        Person(
            id=person.id,
            confidence=1.0,
            state=person.state,
            vertices=person.vertices,
            joints=person.joints,
            joint_sigma=np.zeros(len(person.joints), np.float32),
            joint_visible=person.joint_visible,
            height=math.nan,
            roi=person.roi,
            residual=math.nan,
        )
        for person in true.people
    )
    labels = true.labels if true.labels is not None else np.zeros(true.frame.depth.shape, np.uint16)
    return People(true.frame, people, labels)


def _as_matched(case: WorstFrame) -> People:
    """The prediction over the frame as it was measured; people carry the number of the true person they are."""
    true, people = case.true.frame, case.people
    names = {person.predicted: person.id for person in case.record.people if person.predicted is not None}
    others = iter(range(_NOBODY, _NOBODY + len(people.people)))
    renamed = tuple(
        dataclasses.replace(person, id=names[person.id] if person.id in names else next(others))
        for person in people.people
    )
    frame = people.frame if people.frame.depth.shape == true.depth.shape else true
    return People(frame, renamed, people.labels, people.floor)


def _provenance(content: dict[str, Any]) -> Iterator[str]:
    yield "<h2>Made with</h2>"
    for key in ("source", "pipeline", "options", "environment"):
        lines = "\n".join(_flat_lines(content.get(key, {})))
        yield f'<div class="card wide"><b>{escape(key)}</b><pre>{escape(lines)}</pre></div>'
    processes = content.get("workers", 1)
    yield (
        f'<p class="quiet">{content["seconds"]:.0f} s in all, in {processes} '
        f"{'process' if processes == 1 else 'processes that shared the machine: times are longer than alone'}.</p>"
    )


def _flat_lines(value: Any, prefix: str = "") -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat_lines(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {item}"


def _svg(data: bytes, title: str) -> str:
    # As an image, not inline: the ids inside one SVG must not meet those of another.
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{encoded}">'


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
