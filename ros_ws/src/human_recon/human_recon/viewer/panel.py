"""The page's tables: who is there and what took how long, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from human_recon.people import Person
from human_recon.visualization.palette import person_color

_TABLE = "width:100%;border-collapse:collapse;font-size:0.8em;font-variant-numeric:tabular-nums"
_CELL = "padding:1px 4px;text-align:right;white-space:nowrap"
_FIRST = "padding:1px 4px;text-align:left;white-space:nowrap"
_NOTE = "padding:0 0.5em;font-size:0.8em;opacity:0.7"


def people_table(people: Sequence[Person]) -> str:
    """One row per person, in order of id."""
    if not people:
        return _note("nobody")
    rows = [_row(("", "state", "m", "tall", "m/s", "seen", "σ mm", "resid."), "th")]
    for person in sorted(people, key=lambda person: person.id):
        red, green, blue = person_color(person.id)
        chip = f'<span style="color:rgb({red},{green},{blue})">&#9632;</span>&nbsp;<b>{person.id}</b>'
        speed = math.nan if person.velocity is None else float(np.linalg.norm(person.velocity[:3]))
        state = person.life if person.life != "unknown" else ("measured" if person.measured else "predicted")
        cells = (
            chip,
            html.escape(state) + (" &#128274;" if person.shape_locked else ""),
            _number(float(np.linalg.norm(person.joints[0].astype(np.float64))), "{:.2f}"),
            _number(person.height, "{:.2f}"),
            _number(speed, "{:.1f}"),
            _number(100.0 * person.visibility, "{:.0f}%"),
            _number(1000.0 * float(np.median(person.joint_sigma)), "{:.0f}"),
            _number(1000.0 * person.residual, "{:.0f}"),
        )
        rows.append(_row(cells, "td"))
    return f'<table class="people" style="{_TABLE}">{"".join(rows)}</table>'


def timing_table(timings: Mapping[str, float], total: str = "in all") -> str:
    """One row per stage, in milliseconds, with a bar; stages within a stage (``detect/votes``) below it."""
    if not timings:
        return _note("no timing")
    whole = sum(seconds for stage, seconds in timings.items() if "/" not in stage)
    longest = max(*timings.values(), whole, 1e-9)
    rows = []
    outer_stages = [stage for stage in timings if "/" not in stage]
    order = {stage: index for index, stage in enumerate(outer_stages)}
    ordered = sorted(timings.items(), key=lambda item: order.get(item[0].partition("/")[0], len(order)))
    for stage, seconds in [*ordered, (total, whole)]:
        outer, _, inner = stage.rpartition("/")
        name = f"&nbsp;&nbsp;{html.escape(inner)}" if outer else html.escape(stage)
        share = 100.0 * max(seconds, 0.0) / longest
        bar = f"background:linear-gradient(to right,rgba(74,144,255,0.35) {share:.0f}%,transparent {share:.0f}%)"
        rows.append(
            f'<tr><td style="{_FIRST};width:40%">{name}</td>'
            f'<td style="{_CELL};{bar}">{_number(1000.0 * seconds, "{:.1f} ms")}</td></tr>'
        )
    return f'<table class="timing" style="{_TABLE}">{"".join(rows)}</table>'


def status_line(parts: Sequence[str]) -> str:
    """A line of small text."""
    return f'<div class="status" style="{_NOTE}">{html.escape(" · ".join(part for part in parts if part))}</div>'


def _note(text: str) -> str:
    return f'<div style="{_NOTE}">{html.escape(text)}</div>'


def _row(cells: Sequence[str], tag: str) -> str:
    filled = "".join(
        f'<{tag} style="{_CELL if index > 1 else _FIRST};font-weight:normal">{cell}</{tag}>'
        for index, cell in enumerate(cells)
    )
    return f"<tr>{filled}</tr>"


def _number(value: float, pattern: str) -> str:
    return pattern.format(value) if math.isfinite(value) else "–"
