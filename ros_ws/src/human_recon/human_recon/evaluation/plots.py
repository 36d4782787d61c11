"""The figures of a report. matplotlib is loaded when one is drawn, not before."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2f6fd0", "#e07b1f", "#2c9a5b", "#c8402f", "#8a919c"
_TRACKS = ("#2f6fd0", "#e07b1f", "#2c9a5b", "#c34b9b", "#b09a1c", "#7a58c9", "#1f9fa8", "#c8402f", "#7a8a2c", "#9a6b4a")
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.8,
    "axes.edgecolor": "#9aa1ab",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.hashsalt": "human_recon",  # the same file from the same figures
}


def to_svg(draw: Callable[[Axes], None], width: float = 5.2, height: float = 3.1) -> bytes:
    """The figure that ``draw`` makes on empty axes, ``width`` x ``height`` inches."""
    return figure_to_svg(lambda figure: draw(figure.add_subplot()), width, height)


def to_png(draw: Callable[[Axes], None], width: float = 5.2, height: float = 3.1) -> bytes:
    """The same as pixels, 110 per inch."""
    return figure_to_png(lambda figure: draw(figure.add_subplot()), width, height)


def figure_to_svg(draw: Callable[[Figure], None], width: float, height: float) -> bytes:
    """What ``draw`` makes of an empty figure of ``width`` x ``height`` inches."""
    return _saved(draw, width, height, "svg", metadata={"Date": None})


def figure_to_png(draw: Callable[[Figure], None], width: float, height: float) -> bytes:
    """The same as pixels, 110 per inch."""
    return _saved(draw, width, height, "png", dpi=110)


def _saved(draw: Callable[[Figure], None], width: float, height: float, kind: str, **options: Any) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        # Without pyplot: no global figures, no window system.
        figure: Figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def errors_by(breakdown: list[dict[str, Any]], by: str) -> Callable[[Axes], None]:
    """Bars of MPJPE, PVE and PA-MPJPE for each bin of a breakdown."""

    def draw(axes: Axes) -> None:
        rows = [row for row in breakdown if _value(row, "mpjpe") is not None]
        series = [("mpjpe", "MPJPE", _BLUE), ("pve", "PVE", _ORANGE), ("pa_mpjpe", "PA-MPJPE", _GREY)]
        series = [item for item in series if any(_value(row, item[0]) is not None for row in rows)]
        width = 0.8 / max(len(series), 1)
        for k, (name, title, color) in enumerate(series):
            heights = [_value(row, name) or 0.0 for row in rows]
            places = [i - 0.4 + width * (k + 0.5) for i in range(len(rows))]
            axes.bar(places, heights, width * 0.92, label=title, color=color)
        counts = [row["metrics"]["mpjpe"]["count"] for row in rows]
        axes.set_xticks(range(len(rows)), [f"{row['bin']}\nn={n}" for row, n in zip(rows, counts, strict=True)])
        axes.set(title=f"Error against {by}, of people found", ylabel="mm", xlim=_slots(rows))
        axes.grid(axis="x", visible=False)
        _legend_above(axes)

    return draw


def recall_by(breakdown: list[dict[str, Any]], by: str) -> Callable[[Axes], None]:
    """Bars of recall for each bin, with the number of people."""

    def draw(axes: Axes) -> None:
        rows = [row for row in breakdown if _value(row, "recall") is not None]
        axes.bar(range(len(rows)), [_value(row, "recall") or 0.0 for row in rows], 0.7, color=_GREEN)
        for i, row in enumerate(rows):
            height = _value(row, "recall") or 0.0
            axes.text(i, height + 1, f"{height:.0f} %", ha="center", va="bottom", fontsize=8)
        axes.set_xticks(range(len(rows)), [f"{row['bin']}\nn={row['people']}" for row in rows])
        axes.set(title=f"People found, by {by}", ylabel="recall, %", ylim=(0, 112), xlim=_slots(rows))
        axes.set_yticks(range(0, 101, 20))
        axes.grid(axis="x", visible=False)

    return draw


def pck_curve(curve: dict[str, Any]) -> Callable[[Axes], None]:
    """Rate of right joints against the threshold."""

    def draw(axes: Axes) -> None:
        for name, color in (("matched", _BLUE), ("all", _ORANGE)):
            if None not in curve[name]:
                axes.plot(curve["threshold_mm"], curve[name], color=color, label=name, linewidth=1.8)
        axes.axvline(150, color=_GREY, linewidth=1, linestyle=":")
        axes.text(152, 3, "150 mm", color=_GREY, fontsize=8)
        axes.set(title="3DPCK, root-relative", xlabel="threshold, mm", ylabel="joints within, %")
        axes.set(xlim=(0, curve["threshold_mm"][-1]), ylim=(0, 102))
        axes.legend(frameon=False, loc="lower right")

    return draw


def cumulative(thresholds: list[float], shares: list[float], title: str, what: str) -> Callable[[Axes], None]:
    """Share of ``what`` with at most an error."""

    def draw(axes: Axes) -> None:
        axes.plot(thresholds, shares, color=_BLUE, linewidth=1.8)
        axes.set(title=title, xlabel="error at most, mm", ylabel=f"{what}, %", ylim=(0, 102))
        axes.set(xlim=(0, thresholds[-1]))

    return draw


def joint_bars(joints: dict[str, dict[str, float]]) -> Callable[[Axes], None]:
    """Mean and median error of every joint."""

    def draw(axes: Axes) -> None:
        names = list(joints)
        axes.bar(range(len(names)), [joints[name]["mean_mm"] for name in names], 0.75, color=_BLUE, label="mean")
        medians = [joints[name]["median_mm"] for name in names]
        axes.plot(range(len(names)), medians, "_", color="black", markersize=9, label="median", markeredgewidth=1.6)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set(title="Error of each joint, of people found", ylabel="mm", xlim=(-0.7, len(names) - 0.3))
        axes.grid(axis="x", visible=False)
        _legend_above(axes)

    return draw


def latency_bars(histogram: dict[str, Any], summary: dict[str, float]) -> Callable[[Axes], None]:
    """How long frames took, with median and 95 %."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    def draw(axes: Axes) -> None:
        edges = histogram["edges_ms"]
        widths = [b - a for a, b in itertools.pairwise(edges)]
        axes.bar(edges[:-1], histogram["count"], widths, align="edge", color=_BLUE)
        for name, title, color in (("median", "median", "black"), ("p95", "95 %", _RED)):
            axes.axvline(summary[name], color=color, linewidth=1.2, label=f"{title} {_milliseconds(summary[name])}")
        axes.set(title="Time per frame", xlabel="ms", ylabel="frames", xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(axes)

    return draw


def tracks(records: Iterable[dict[str, Any]], sequence: int) -> Callable[[Axes], None]:
    """Who was found under which id, frame by frame, of one sequence: one row per true person."""
    from matplotlib.ticker import MaxNLocator

    rows: dict[int, list[tuple[int, int | None]]] = {}
    for record in records:
        for person in record["people"]:
            rows.setdefault(person["id"], []).append((record["index"], person["predicted"]))
    names = sorted(rows)

    def draw(axes: Axes) -> None:
        for y, name in enumerate(names):
            for start, length, found in _runs(rows[name]):
                color = "#f1d3cf" if found is None else _TRACKS[(found - 1) % len(_TRACKS)]
                axes.barh(y, length, 0.62, left=start - 0.5, color=color)
                if found is not None and length >= 4:
                    axes.text(start - 0.5 + length / 2, y, str(found), ha="center", va="center", color="w", fontsize=8)
        axes.set_yticks(range(len(names)), [f"person {name}" for name in names])
        axes.set(
            title=f"Sequence {sequence}: track of each person (pale: missed, empty: hidden or away)", xlabel="frame"
        )
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", visible=False)

    return draw


def _runs(steps: list[tuple[int, int | None]]) -> list[tuple[int, int, int | None]]:
    """(first frame, length, id) of each stretch of successive frames with one id."""
    runs: list[tuple[int, int, int | None]] = []
    for index, found in steps:
        if runs and runs[-1][0] + runs[-1][1] == index and runs[-1][2] == found:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, found)
        else:
            runs.append((index, 1, found))
    return runs


def _slots(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Limits of an axis with one place per row: bars of one or two rows are not to fill it."""
    spare = max(0, 4 - len(rows)) / 2
    return -0.6 - spare, len(rows) - 0.4 + spare


def _legend_above(axes: Axes) -> None:
    """A legend in one line over what is drawn."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.16 * (high - low))
        axes.legend(frameon=False, ncol=len(handles), fontsize=8, loc="upper left")


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def _value(row: dict[str, Any], name: str) -> float | None:
    value = row["metrics"].get(name, {}).get("value")
    return None if value is None or math.isnan(value) else float(value)
