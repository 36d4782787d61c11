"""Two evaluations side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from human_recon.evaluation.catalogue import METRICS, Metric

Verdict = Literal["better", "worse", "same", "unclear", ""]

# Of the source: results that differ in one of these were measured on other frames or other people.
_IDENTITY = ("name", "version", "digest", "assets", "seed", "frames")


@dataclass(frozen=True)
class Row:
    """One metric of both."""

    metric: Metric
    first: float | None  # in the metric's unit; None when absent or undefined
    second: float | None
    verdict: Verdict  # of the second against the first; "unclear": within the spread between other choices of frames

    @property
    def difference(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Why two ``metrics.json`` are not comparable, as sentences; empty when they are."""
    reasons = []
    a, b = first.get("source", {}), second.get("source", {})
    for key in _IDENTITY:
        if a.get(key) != b.get(key):
            reasons.append(f"source {key}: {_short(a.get(key))} against {_short(b.get(key))}")
    for key in ("frames", "people"):
        if first["results"].get(key) != second["results"].get(key):
            reasons.append(f"{key} evaluated: {first['results'].get(key)} against {second['results'].get(key)}")
    a, b = first.get("options", {}), second.get("options", {})
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            reasons.append(f"option {key}: {_short(a.get(key))} against {_short(b.get(key))}")
    return reasons


def times_are_comparable(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether both were measured on the same kind of machine, with the same number of processes."""

    def machine(content: dict[str, Any]) -> list[Any]:
        environment = content.get("environment", {})
        return [environment.get(key) for key in ("cpu", "cores_allowed")] + [content.get("workers")]

    return machine(first) == machine(second)


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[Row]:
    """All metrics that either has, in the catalogue's order."""
    a, b = first["results"]["metrics"], second["results"]["metrics"]
    rows = []
    for metric in METRICS:
        if metric.name in a or metric.name in b:
            x, y = a.get(metric.name, {}), b.get(metric.name, {})
            rows.append(Row(metric, x.get("value"), y.get("value"), _verdict(metric, x, y)))
    return rows


def _verdict(metric: Metric, first: dict[str, Any], second: dict[str, Any]) -> Verdict:
    x, y = first.get("value"), second.get("value")
    if x is None or y is None or metric.better == "neither":
        return ""
    if x == y:
        return "same"
    a, b = first.get("ci95"), second.get("ci95")
    if a and b and a[0] <= y <= a[1] and b[0] <= x <= b[1]:
        return "unclear"
    return "better" if (y < x) == (metric.better == "lower") else "worse"


def format_table(rows: list[Row], first: str, second: str) -> list[str]:
    """Lines of a text table; ``first`` and ``second`` head the columns."""
    if not rows:
        return ["no metrics"]
    first, second = _cut(first), _cut(second)
    width = max(len(row.metric.title) for row in rows)
    column = max(10, len(first), len(second))
    lines = [f"{'':<{width}}  {first:>{column}}  {second:>{column}}  {'difference':>10}"]
    group = ""
    for row in rows:
        if row.metric.group != group:
            group = row.metric.group
            lines.append(f"{group}")
        cells = [_number(row.first), _number(row.second), _number(row.difference, sign=True)]
        line = f"{row.metric.title:<{width}}  {cells[0]:>{column}}  {cells[1]:>{column}}  {cells[2]:>10}"
        lines.append(f"{line}  {row.metric.unit:<14} {row.verdict}".rstrip())
    return lines


def _number(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _cut(text: str, length: int = 24) -> str:
    return text if len(text) <= length else "..." + text[3 - length :]


def _short(value: Any) -> str:
    return "none" if value is None else _cut(str(value), 60)
