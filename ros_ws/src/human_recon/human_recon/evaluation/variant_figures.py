"""Figures of variants of one pipeline, from entries of `tools/ablate_fit.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#2f6fd0", "#e07b1f", "#2c9a5b", "#c34b9b")
_GREY = "#8a919c"
_FEW = 10  # bins with fewer people are drawn hollow
_TITLES = {"root_mpjpe": "root-relative MPJPE", "mpjpe": "MPJPE", "pve": "PVE", "pa_mpjpe": "PA-MPJPE"}


def before_and_after(named: Sequence[tuple[str, dict[str, Any]]]) -> Callable[[Figure], None]:
    """Errors of joints against visibility and distance, and how far the covariances can be believed."""

    def draw(figure: Figure) -> None:
        visibility, distance, sigma = figure.subplots(1, 3)
        for axes, variable, label in (
            (visibility, "visibility", "part of the person seen, %"),
            (distance, "distance", "distance of the pelvis, m"),
        ):
            for k, (name, entry) in enumerate(named):
                for metric, line in (("root_mpjpe", "-"), ("mpjpe", "--")):
                    rows = [
                        r for r in entry["against"][variable] if r["metrics"].get(metric, {}).get("value") is not None
                    ]
                    x = [0.5 * (row["low"] + row["high"]) for row in rows]
                    y = [row["metrics"][metric]["value"] for row in rows]
                    axes.plot(x, y, line, color=_COLORS[k], linewidth=1.5, label=f"{name}, {_TITLES[metric]}")
                    if metric != "root_mpjpe":
                        continue
                    for at, row in zip(x, rows, strict=True):
                        value = row["metrics"][metric]
                        face = _COLORS[k] if row["people"] >= _FEW else "white"
                        axes.plot([at], [value["value"]], "o", color=_COLORS[k], markerfacecolor=face, markersize=5)
                        if "ci95" in value:
                            axes.plot([at, at], value["ci95"], color=_COLORS[k], linewidth=1, alpha=0.5)
            axes.set(title=f"Joints of people found, against {variable}", xlabel=label, ylabel="mm")
            axes.set_ylim(bottom=0)
        visibility.legend(frameon=False, fontsize=7.5)
        places = [0.05 * k for k in range(101)]
        normal = [100 * math.erf(x / math.sqrt(2.0)) for x in places]
        sigma.plot(places, normal, color=_GREY, linewidth=1, linestyle=":", label="normal distribution")
        for k, (name, entry) in enumerate(named):
            curve = entry.get("sigma") or {}
            for what, line, label in (("joints", "-", "joints"), ("root", "--", "pelvis"), ("turn", "-.", "its turn")):
                if what in curve:
                    x, y = [0.0, *curve["sigmas"]], [0.0, *curve[what]]
                    sigma.plot(x, y, line, color=_COLORS[k], label=f"{name}, {label}", linewidth=1.5)
        sigma.set(title="Errors along the covariances' axes", xlabel="within, sigma", ylabel="%")
        sigma.set(xlim=(0, 5), ylim=(0, 104))
        sigma.legend(frameon=False, fontsize=7.5)

    return draw


def differences(entries: Sequence[dict[str, Any]], which: str, metrics: Sequence[str]) -> Callable[[Figure], None]:
    """How much larger errors are than those of the first entry, of the same people, with 95 % intervals."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        others = [entry for entry in entries[1:] if any(entry[which][m]["value"] is not None for m in metrics)]
        for k, metric in enumerate(metrics):
            for row, entry in enumerate(others):
                pair = entry[which][metric]
                if pair["value"] is None:
                    continue
                place = row + (k - 0.5 * (len(metrics) - 1)) * 0.8 / len(metrics)
                label = _TITLES[metric] if row == 0 else None
                axes.barh(place, pair["value"], 0.8 / len(metrics) * 0.9, color=_COLORS[k], label=label)
                if "ci95" in pair:
                    axes.plot(pair["ci95"], [place, place], color="#333", linewidth=1)
        axes.axvline(0.0, color=_GREY, linewidth=1)
        axes.set_yticks(range(len(others)), [entry["name"] for entry in others], fontsize=8)
        axes.invert_yaxis()
        axes.set(
            title=f'Change against "{entries[0]["name"]}", same people', xlabel="mm (bars: 95 % over other frames)"
        )
        axes.legend(frameon=False, fontsize=8)

    return draw
