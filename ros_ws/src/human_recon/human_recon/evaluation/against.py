"""Every metric against distance, visibility, number of people, and the side from which somebody is seen: for plots.

results["against"] = {variable: [{"bin", "low", "high", "people", "metrics": {name: {"value", "unit", "count",
"ci95"?}}}]}. Predictions of nobody have a distance, and belong to a frame with so many people; they have neither
visibility nor side, so there is no precision against these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from human_recon.evaluation.aggregate import metrics_of
from human_recon.evaluation.tables import Columns

MOST_PEOPLE = 8  # frames with more are counted with these


@dataclass(frozen=True)
class Variable:
    """What metrics are drawn against."""

    name: str
    axis: str
    edges: tuple[float, ...]  # a bin holds low <= value < high


VARIABLES: tuple[Variable, ...] = (
    Variable("distance", "distance of the pelvis, m", (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)),
    Variable("visibility", "part of the person seen, %", (*(10.0 * k for k in range(1, 10)), 100.001)),
    Variable("people", "people to be found in the frame", tuple(k + 0.5 for k in range(MOST_PEOPLE + 1))),
    Variable("yaw", "side seen, degrees: 0 front, 90 the person's left, 180 back",
             tuple(-202.5 + 45.0 * k for k in range(9))),
)  # fmt: skip


def results_against(people: Columns, frames: Columns, false: Columns) -> dict[str, Any]:
    """The section of the results; bins in which nobody is are left out."""
    values = {
        "distance": people["distance"],
        "visibility": 100.0 * people["visibility"],
        "people": np.minimum(people["people"], MOST_PEOPLE),
        "yaw": np.where(people["yaw"] >= 157.5, people["yaw"] - 360.0, people["yaw"]),  # the back is one bin
    }
    sections = {}
    for variable in VARIABLES:
        rows = []
        for low, high in zip(variable.edges[:-1], variable.edges[1:], strict=True):
            who = (values[variable.name] >= low) & (values[variable.name] < high)
            if not who.any():
                continue
            when, wrong = _of_frames(variable, low, high, frames, false)
            metrics = metrics_of(people, frames, who, when, wrong)
            if variable.name == "distance":  # the other metrics of frames are not of these people alone
                metrics = {name: value for name, value in metrics.items() if name not in _OF_FRAMES}
            rows.append(
                {"bin": _label(variable, low, high), "low": low, "high": high, "people": int(who.sum())}
                | {"metrics": metrics}
            )
        sections[variable.name] = rows
    return sections


_OF_FRAMES = (
    "false_per_frame", "false_per_100_empty", "foreground_iou", "depth_order", "depth_order_all", "overlap_order",
    "collisions", "expected_right",
)  # fmt: skip


def _of_frames(
    variable: Variable, low: float, high: float, frames: Columns, false: Columns
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The frames of a bin, and how many predictions of nobody in each belong to it; see :func:`metrics_of`."""
    if variable.name == "people":
        there = np.minimum(frames["people"], MOST_PEOPLE)
        return (there >= low) & (there < high), None
    if variable.name == "distance":
        mine = (false["distance"] >= low) & (false["distance"] < high)
        # Which frame of a block does not matter: blocks are what uncertainty is taken over.
        blocks, first = np.unique(frames["block"], return_index=True)
        wrong = np.zeros(len(frames["block"]))
        wrong[first] = np.bincount(false["block"][mine].astype(np.int64), minlength=len(blocks))
        return np.ones(len(wrong), bool), wrong
    return None, None


def _label(variable: Variable, low: float, high: float) -> str:
    if variable.name == "people":
        count = math.ceil(low)
        return f"{count}{' and more' if count == MOST_PEOPLE else ''}"
    if variable.name == "yaw":
        middle = round(0.5 * (low + high))
        return "back" if middle == -180 else f"{middle:+d}" if middle else "front"
    return f"{low:g}-{round(high):g}" if variable.name == "visibility" else f"{low:g}-{high:g}"
