"""How a training goes, as a picture: python -m training.loop.plots FOLDER draws FOLDER/plots.png."""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PREFIX = "validation/"
_COLUMNS = 4
_BLUE, _PALE, _ORANGE, _GREY = "#2f6fd0", "#b9cdec", "#e07b1f", "#8a919c"


@dataclass(frozen=True)
class Curve:
    """One figure over the steps."""

    steps: list[int]
    values: list[float]


def read_log(path: Path) -> dict[str, Curve]:
    """The curves in a log.jsonl; names of validation figures begin with "validation/".

    Lines that an interrupted run wrote after its last checkpoint are superseded by those of the run that went on.

    Raises:
        ValueError: naming file and line, for what is no log.
    """
    curves: dict[str, Curve] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            step = int(record.pop("step"))
            figures = {name: float(value) for name, value in record.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}:{number} is no line of a training's log: {line[:60]!r}") from None
        for name, value in figures.items():
            curve = curves.setdefault(name, Curve([], []))
            while curve.steps and curve.steps[-1] >= step:
                curve.steps.pop()
                curve.values.pop()
            curve.steps.append(step)
            curve.values.append(value)
    return curves


def draw_progress(folder: Path) -> Path:
    """Draw ``folder``/plots.png from ``folder``/log.jsonl: validation figures first, then the losses."""
    from matplotlib.figure import Figure  # takes a second, and no other part of a training needs it

    curves = read_log(folder / "log.jsonl")
    names = sorted(curves, key=lambda name: (name == "steps_per_second") - name.startswith(PREFIX))
    last = max((curve.steps[-1] for curve in curves.values()), default=1)
    rows = math.ceil(max(len(names), 1) / _COLUMNS)
    figure = Figure(figsize=(3.6 * _COLUMNS, 2.4 * rows), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        steps, values = curves[name].steps, np.array(curves[name].values)
        if name.startswith(PREFIX):
            axes.plot(steps, values, "o-", color=_ORANGE, markersize=3, linewidth=1.5)
            axes.annotate(
                f"{values[-1]:.4g}", (1.0, 1.02), xycoords="axes fraction", ha="right", color=_ORANGE, fontsize=8
            )
        else:
            axes.plot(steps, values, color=_PALE, linewidth=1.0)
            axes.plot(steps, smoothed(values), color=_BLUE, linewidth=1.5)
            if values.min() > 0 and values.max() > 5 * values.min():
                axes.set_yscale("log")
                axes.yaxis.set_minor_formatter("{x:.2g}")
                axes.yaxis.set_major_formatter("{x:.2g}")
        axes.set_title(name, loc="left", fontsize=9)
        axes.grid(color="#e3e6ea", linewidth=0.8)
        axes.tick_params(which="both", labelsize=7, colors=_GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, 1.02 * last)
    part, path = folder / "plots.part.png", folder / "plots.png"
    figure.savefig(part, dpi=100)
    os.replace(part, path)
    return path


def smoothed(values: np.ndarray, reach: int = 2) -> np.ndarray:
    """Mean over each value and up to ``reach`` neighbours on either side, as many before as after."""
    last = len(values) - 1
    reaches = [min(reach, i, last - i) for i in range(len(values))]
    return np.array([values[i - r : i + r + 1].mean() for i, r in enumerate(reaches)])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draw FOLDER/plots.png from FOLDER/log.jsonl.")
    parser.add_argument("folder", type=Path)
    print(draw_progress(parser.parse_args().folder))


if __name__ == "__main__":
    main()
