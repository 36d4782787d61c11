"""Figures of many panels, of one evaluation or of several in the same axes; also as PNG files.

All take named results: [(name, "results" of metrics.json)]. Results of older files lack sections; they are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from human_recon.evaluation import plots
from human_recon.evaluation.against import VARIABLES
from human_recon.evaluation.metrics.calibration import NORMAL_SHARES
from human_recon.io.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Named = Sequence[tuple[str, dict[str, Any]]]

FEW = 10  # bins with fewer people are drawn hollow
_COLORS = ("#2f6fd0", "#e07b1f", "#2c9a5b", "#c34b9b", "#7a58c9", "#8a919c")
_LINES = ("-", "--", ":")

# (title, axis, limits of the axis, metrics with their names in the legend)
Panel = tuple[str, str, tuple[float, float | None], tuple[tuple[str, str], ...]]
PANELS: tuple[Panel, ...] = (
    ("People found", "%", (0, 104), (("recall", "recall"), ("precision", "precision"))),
    ("Masks", "IoU, %", (0, 104), (("mask_iou_matched", "people found"), ("mask_iou_all", "everybody"))),
    ("Body parts", "right pixels, %", (0, 104),
     (("network_part_accuracy", "network"), ("part_accuracy", "fitted body"))),
    ("Correspondence error", "mm", (0, None),
     (("network_correspondence", "network"), ("network_correspondence_geodesic", "network, geodesic"),
      ("correspondence", "fitted body"))),
    ("Wrong side, network", "pixels, %", (0, None),
     (("network_left_right_confusion", "left/right"), ("network_front_back_confusion", "front/back"))),
    ("Wrong side, fitted body", "points, %", (0, None),
     (("left_right_confusion", "left/right"), ("front_back_confusion", "front/back"))),
    ("Joints of people found", "mm", (0, None),
     (("mpjpe", "MPJPE"), ("root_mpjpe", "root-relative"), ("pa_mpjpe", "PA-MPJPE"))),
    ("Surface of people found", "mm", (0, None), (("pve", "PVE"), ("root_pve", "root-relative"))),
    ("3DPCK at 150 mm, root-relative", "joints, %", (0, 104),
     (("pck_matched", "people found"), ("pck_all", "everybody"))),
    ("Coordinates within 1, 2, 3 sigma", "%", (0, 104),
     (("within_1_sigma", "1"), ("within_2_sigma", "2"), ("within_3_sigma", "3"))),
    ("Covariance: within 1, 2, 3 sigma", "%", (0, 104),
     (("covariance_within_1", "1"), ("covariance_within_2", "2"), ("covariance_within_3", "3"))),
    ("Joint visibility", "right, %", (0, 104),
     (("joint_visibility_seen", "joints in view"), ("joint_visibility_hidden", "hidden joints"))),
    ("Foreground", "IoU, %", (0, 104), (("foreground_iou", "foreground"),)),
    ("Depth order", "pairs, %", (0, 104), (("depth_order", "pairs found"), ("depth_order_all", "all pairs"))),
    ("Collisions", "per 100 frames", (0, None), (("collisions", "collisions"),)),
    ("False people", "per frame", (0, None), (("false_per_frame", "false people"),)),
)  # fmt: skip


def draw_figures(named: Named) -> dict[str, bytes]:
    """Every figure that the results have data for as a PNG file, by name; takes a second each."""
    return {name: plots.figure_to_png(draw, width, height) for name, draw, width, height in figures(named)}


def write_figures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write figures to ``folder``; what was there before under their names is replaced, nothing else touched."""
    for name, data in pictures.items():
        write_bytes(folder / f"{name}.png", data)


def figures(named: Named) -> Iterator[tuple[str, Callable[[Figure], None], float, float]]:
    """(name, drawing, width, height in inches) of each figure that the results have data for."""
    for variable in VARIABLES:
        panels = _panels_with_data(named, variable.name)
        if panels:
            rows = (len(panels) + 1 + 3) // 4
            yield f"against_{variable.name}", against(named, variable.name), 15.0, 0.5 + 2.7 * rows
    if any(_calibrations(results) for _, results in named):
        yield "calibration", calibration(named), 17.0, 4.0
    if any(_correspondence_curves(results) for _, results in named):
        yield "correspondence", correspondence(named), 10.5, 4.0
    if any(results.get("network_parts") or results.get("parts") for _, results in named):
        yield "parts", parts(named), 11.0, 3.6


def against(named: Named, variable: str) -> Callable[[Figure], None]:
    """Each metric against one of :data:`human_recon.evaluation.against.VARIABLES`, and the number of people."""
    (axis,) = (v.axis for v in VARIABLES if v.name == variable)

    def draw(figure: Figure) -> None:
        panels = _panels_with_data(named, variable)
        labels = _bins(named, variable)
        columns = 4
        rows = (len(panels) + 1 + columns - 1) // columns
        grid = figure.subplots(rows, columns, squeeze=False)
        flat: list[Axes] = list(grid.ravel())
        for panel, axes in zip(panels, flat, strict=False):
            _draw_panel(axes, named, variable, panel, labels)
        _draw_counts(flat[len(panels)], named, variable, labels)
        for axes in flat[: len(panels) + 1]:
            rotate = 45 if max(map(len, labels)) > 3 else 0
            axes.set_xticks(range(len(labels)), labels, rotation=rotate, fontsize=7.5)
            axes.set_xlim(-0.5, len(labels) - 0.5)
        for axes in flat[len(panels) + 1 :]:
            axes.set_axis_off()
        figure.supxlabel(f"{axis}   (bars: 95 % over other frames; hollow: fewer than {FEW} people)", fontsize=9)

    return draw


def calibration(named: Named) -> Callable[[Figure], None]:
    """Confidence against how often it is right, predicted against measured sigma and covariance, precision, recall."""

    def draw(figure: Figure) -> None:
        confidence, sigma, covariance, threshold = figure.subplots(1, 4)
        confidence.plot([0, 100], [0, 100], color=_COLORS[-1], linewidth=1, linestyle=":")
        largest = 1.0
        for k, (name, results) in enumerate(named):
            found = _calibrations(results)
            if not found:
                continue
            color = _COLORS[k % len(_COLORS)]
            bins = found["confidence"]
            known = [i for i, count in enumerate(bins["counts"]) if count]
            x, y = [100 * bins["confidence"][i] for i in known], [100 * bins["right"][i] for i in known]
            most = max((bins["counts"][i] for i in known), default=1)
            sizes = [12 + 150 * bins["counts"][i] / most for i in known]
            confidence.plot(x, y, color=color, linewidth=1.2)
            confidence.scatter(x, y, s=sizes, color=color, label=name, alpha=0.8)
            both = found["sigma"]
            sigma.plot(both["predicted_mm"], both["measured_mm"], "o-", color=color, markersize=4, label=name)
            largest = max([largest, *both["predicted_mm"], *both["measured_mm"]])
            curve = found["threshold"]
            places = [i for i, value in enumerate(curve["precision"]) if value is not None]
            for what, line in (("precision", "--"), ("recall", "-")):
                values = [curve[what][i] for i in places if curve[what][i] is not None]
                at = [100 * curve["threshold"][i] for i in places if curve[what][i] is not None]
                threshold.plot(at, values, line, color=color, label=f"{name}: {what}", linewidth=1.5)
        confidence.set(title="Confidence (dot: number of predictions)", xlabel="confidence, %")
        confidence.set(ylabel="of them right, %", xlim=(0, 104), ylim=(0, 104))
        sigma.plot([0, largest], [0, largest], color=_COLORS[-1], linewidth=1, linestyle=":")
        sigma.set(title="Uncertainty of joints, per axis", xlabel="predicted sigma, mm", ylabel="RMS error, mm")
        threshold.set(title="If only confidences above were kept", xlabel="confidence, %", ylabel="%", ylim=(0, 104))
        _draw_sigmas(covariance, named)
        for axes in (confidence, sigma, covariance, threshold):
            _legend(axes)

    return draw


def _draw_sigmas(axes: Axes, named: Named) -> None:
    """Share of the errors along the axes of the covariances within so many sigma."""
    places = [0.1 * k for k in range(51)]
    normal = [100 * math.erf(x / math.sqrt(2.0)) for x in places]
    axes.plot(places, normal, color=_COLORS[-1], linewidth=1, linestyle=":", label="normal distribution")
    for k, (name, results) in enumerate(named):
        curve = results.get("curves", {}).get("sigma", {})
        for what, line, label in (("joints", "-", "joints"), ("root", "--", "pelvis"), ("turn", "-.", "its turn")):
            if what in curve:
                x, y = [0.0, *curve["sigmas"]], [0.0, *curve[what]]
                axes.plot(x, y, line, color=_COLORS[k % len(_COLORS)], label=f"{name}: {label}", linewidth=1.5)
    axes.set(title="Errors along the covariances' axes", xlabel="within, sigma", ylabel="%", ylim=(0, 104), xlim=(0, 5))


def correspondence(named: Named) -> Callable[[Figure], None]:
    """Cumulative curves of the distance on the rest surface: of the network, and of the fitted bodies."""

    def draw(figure: Figure) -> None:
        network, fitted = figure.subplots(1, 2, sharey=True)
        for axes, key, title, lines in (
            (network, "network_correspondence", "Network", (
                ("points", "-", "straight"), ("geodesic", "--", "geodesic"), ("all", ":", "of everybody, straight")
            )),
            (fitted, "correspondence", "Fitted bodies", (("points", "-", "straight"), ("geodesic", "--", "geodesic"))),
        ):  # fmt: skip
            for k, (name, results) in enumerate(named):
                curve = results["curves"].get(key, {})
                for what, line, label in lines:
                    if what in curve:
                        label = f"{name}: {label}"
                        x, y = [0.0, *curve["threshold_mm"]], [0.0, *curve[what]]
                        axes.plot(x, y, line, color=_COLORS[k % len(_COLORS)], label=label, linewidth=1.6)
            axes.set(title=f"Correspondence: {title}", xlabel="distance on the rest surface at most, mm")
            axes.set(ylim=(0, 102), xlim=(0, 500))
            _legend(axes)
        network.set_ylabel("points, %")

    return draw


def parts(named: Named) -> Callable[[Figure], None]:
    """Share of right pixels of each body part."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        series = [
            (f"{name}: {title}", results[key])
            for name, results in named
            for key, title in (("network_parts", "network"), ("parts", "fitted body"))
            if results.get(key)
        ]
        names = list(dict.fromkeys(part for _, values in series for part in values))
        width = 0.8 / len(series)
        for k, (label, values) in enumerate(series):
            places = [i - 0.4 + width * (k + 0.5) for i in range(len(names))]
            heights = [values.get(part, 0.0) for part in names]
            axes.bar(places, heights, width * 0.92, label=label, color=_COLORS[k % len(_COLORS)])
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set(title="Body parts: right pixels of each, of people found", ylabel="%", ylim=(0, 118))
        axes.set_yticks(range(0, 101, 20))
        axes.grid(axis="x", visible=False)
        axes.legend(frameon=False, ncol=len(series), fontsize=8, loc="upper left")

    return draw


def _draw_panel(axes: Axes, named: Named, variable: str, panel: Panel, labels: list[str]) -> None:
    title, unit, limits, metrics = panel
    drawn = [entry for entry in metrics if _has(named, variable, entry[0])]
    for k, (name, results) in enumerate(named):
        rows = {row["bin"]: row for row in results.get("against", {}).get(variable, ())}
        for m, (metric, what) in enumerate(drawn):
            # One evaluation: a colour per metric. Several: a colour per evaluation, a line per metric.
            color = _COLORS[m % len(_COLORS)] if len(named) == 1 else _COLORS[k % len(_COLORS)]
            line = "-" if len(named) == 1 else _LINES[m % len(_LINES)]
            label = what if len(named) == 1 else f"{name}: {what}"
            _draw_line(axes, rows, labels, metric, color, line, label)
    if metrics[0][0] == "within_1_sigma":
        for share in NORMAL_SHARES:
            axes.axhline(100 * share, color=_COLORS[-1], linewidth=0.9, linestyle=":")
    low, high = limits
    axes.set(title=title, ylabel=unit)
    axes.set_ylim(low, high)
    if len(drawn) > 1 or len(named) > 1:
        _legend(axes)


def _draw_line(
    axes: Axes, rows: dict[str, dict[str, Any]], labels: list[str], metric: str, color: str, line: str, label: str
) -> None:
    places, values, spread, few = [], [], [], []
    for x, bin_name in enumerate(labels):
        row = rows.get(bin_name, {"metrics": {}})
        entry = row["metrics"].get(metric, {})
        if entry.get("value") is not None:
            low, high = entry.get("ci95", (entry["value"], entry["value"]))
            places.append(x)
            values.append(entry["value"])
            spread.append((max(entry["value"] - low, 0.0), max(high - entry["value"], 0.0)))
            few.append(row["people"] < FEW)
    if not places:
        return
    axes.errorbar(
        places, values, list(zip(*spread, strict=True)), color=color, linestyle=line, linewidth=1.5, elinewidth=0.8,
        label=label,
    )  # fmt: skip
    axes.scatter(
        places, values, s=16, color=["white" if hollow else color for hollow in few], edgecolor=color, zorder=3
    )


def _draw_counts(axes: Axes, named: Named, variable: str, labels: list[str]) -> None:
    """The number of people in each bin, of the first results that have one: the frames are the same."""
    rows = next(rows for _, results in named if (rows := results.get("against", {}).get(variable)))
    count = {row["bin"]: row["people"] for row in rows}
    axes.bar(range(len(labels)), [count.get(label, 0) for label in labels], 0.75, color=_COLORS[-1])
    axes.set(title="People to be found", ylabel="number")
    axes.grid(axis="x", visible=False)


def _bins(named: Named, variable: str) -> list[str]:
    """Labels of all bins in which somebody is, in their order."""
    places = {
        (row["low"], row["bin"])
        for _, results in named
        for row in results.get("against", {}).get(variable, ())
    }  # fmt: skip
    return [label for _, label in sorted(places)]


def _panels_with_data(named: Named, variable: str) -> list[Panel]:
    return [panel for panel in PANELS if any(_has(named, variable, metric) for metric, _ in panel[3])]


def _has(named: Named, variable: str, metric: str) -> bool:
    return any(
        row["metrics"].get(metric, {}).get("value") is not None
        for _, results in named
        for row in results.get("against", {}).get(variable, ())
    )


def _calibrations(results: dict[str, Any]) -> dict[str, Any]:
    """The section, when there is a prediction."""
    section = results.get("calibration", {})
    return section if section and section["confidence"]["count"] else {}


def _correspondence_curves(results: dict[str, Any]) -> bool:
    return bool({"correspondence", "network_correspondence"} & set(results.get("curves", {})))


def _legend(axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(frameon=False, fontsize=7.5)
