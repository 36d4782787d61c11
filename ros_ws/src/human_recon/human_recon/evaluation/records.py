"""What is measured in one frame: everything that a summary, a report or another program needs, without images.

One record is one line of ``records.jsonl``. Lengths are metres, durations seconds, an unknown value is NaN (null in
the file).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CORRESPONDENCE_BIN = 0.01  # metres, of the histogram of correspondence errors
CORRESPONDENCE_BINS = 51  # the last one holds all larger errors
SIGMA_BIN = 0.1  # standard deviations, of the histograms of errors along the axes of covariances; as many bins

DECIMALS = 6  # a micrometre, a microsecond


@dataclass(frozen=True)
class PersonMeasures:
    """A true person who had to be found."""

    id: int
    visibility: float  # in [0, 1]
    distance: float  # metres from the camera to the pelvis
    cut: bool  # the image border cuts the body
    predicted: int | None  # id of the prediction; None when missed
    # Metres, by name; empty when missed: mpjpe root_mpjpe pa_mpjpe n_mpjpe pelvis pve root_pve pa_pve stature, ...
    errors: dict[str, float] = field(default_factory=dict)
    joint_errors: list[float] = field(default_factory=list)  # [24] metres, absolute; empty when missed
    root_joint_errors: list[float] = field(default_factory=list)  # [24] metres, relative to the pelvis
    mask_iou: float = math.nan  # 0 when missed; NaN when masks are unknown
    sigma: list[float] = field(default_factory=list)  # [24] metres, the standard deviation that was predicted
    # m/s^2: "error", "predicted", "true"; "error_frame": metres per squared frame
    acceleration: dict[str, float] = field(default_factory=dict)
    confidence: float = math.nan  # of the prediction
    yaw: float = math.nan  # degrees, whence the camera sees the pelvis: 0 the front, 90 the person's left, 180 the back
    within_sigmas: list[int] = field(default_factory=list)  # of the joints' 72 coordinates, within 1, 2, 3 sigma
    # Of the pixels with a reading: "fitted_right", "fitted_all": parts of the fitted body; "network_right",
    # "network_all": parts that a network says itself. Also of people missed.
    parts: dict[str, int] = field(default_factory=dict)
    # A network's own correspondences of at most ``MeasuringConfig.points`` pixels, also of people missed: "points" and
    # "placed" pixels, metres "correspondence" and "geodesic" (means over those placed), confusions as in ``errors``.
    network: dict[str, float] = field(default_factory=dict)
    expected: int | None = None  # id of somebody predicted from earlier frames who is there; of missed people
    # Counts: "axes" coordinates along the principal axes of the joints' covariances and "axes_1", "axes_2", "axes_3" of
    # them within so many sigma; the same of hidden joints ("hidden_"), of the pelvis ("root_") and its turn ("turn_");
    # "joints", "joints_1", ...: joints within the ellipsoids.
    covariance: dict[str, int] = field(default_factory=dict)
    mahalanobis: list[float] = field(default_factory=list)  # [24] distances of the joints; empty when missed
    # Counts: "seen", "seen_right": joints in view and of them those said to be; "hidden", "hidden_right"
    visible_joints: dict[str, int] = field(default_factory=dict)
    visibility_error: float = math.nan  # difference of the share of the body that is said to be seen
    # Of the frame before: errors and true magnitudes of the pelvis' velocity: "velocity", "speed" m/s, "turn",
    # "turn_speed" rad/s
    motion: dict[str, float] = field(default_factory=dict)
    tracked: float = math.nan  # seconds since first found under this id; NaN when missed
    # Square metres, sums of `metrics.lag.shifted_squares` over a window of frames that ends here; mostly empty
    lag: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class FrameMeasures:
    """One frame."""

    sequence: int
    index: int  # in the sequence
    stamp_ns: int
    seconds: float  # that the pipeline took
    timings: dict[str, float]  # of its stages
    people: list[PersonMeasures]
    false: list[float]  # confidences of predictions of nobody
    ignored: int  # predictions of hidden people
    depth_order: tuple[int, int, int]  # pairs in the right order, pairs of people found, pairs of people to be found
    predicted_people: int
    penetrations: list[float]  # metres, of each pair of predicted bodies that are inside each other
    foreground: tuple[int, int] | None  # pixels in both masks, in either; None when unknown
    parts: dict[str, list[int]] | None  # "right", "all": pixels per true part; None when not predicted or unknown
    # Points of people found by correspondence error: bins of 1 cm, the last one 50 cm and more; None when unknown
    correspondence_histogram: list[int] | None
    # True and predicted people that count (hidden ones and predictions of them left out), and their distances.
    true_ids: list[int] = field(default_factory=list)
    predicted_ids: list[int] = field(default_factory=list)
    distances: list[list[float]] = field(default_factory=list)  # [true][predicted] metres
    true_people: int = 0  # all, also those who need not be found
    false_distances: list[float] = field(default_factory=list)  # metres from the camera to each pelvis of nobody
    failure: str | None = None  # what the pipeline raised instead of an answer; everybody is missed then
    network_parts: dict[str, list[int]] | None = None  # as ``parts``, by a network's own word
    # As ``correspondence_histogram``: "fitted_geodesic", "network", "network_geodesic", where they apply; and errors
    # along the axes of covariances in bins of 0.1 sigma, the last one 5 and more: "sigma_joints", "_root", "_turn"
    histograms: dict[str, list[int]] = field(default_factory=dict)
    unmeasured: int = 0  # people predicted from earlier frames, not measured in this one
    expected_errors: list[float] = field(default_factory=list)  # metres, MPJPE of those of them where somebody is
    # Pixels where fitted bodies lie behind each other with the right one in front, all such pixels; None when unknown
    overlap_order: tuple[int, int] | None = None


def to_line(record: FrameMeasures) -> str:
    """The record as one line of JSON, without the line's end."""
    return json.dumps(plain(asdict(record)), allow_nan=False, separators=(",", ":"))


def plain(value: Any, decimals: int | None = DECIMALS) -> Any:
    """``value`` as JSON has it: floats rounded, NaN and infinity as null, tuples as lists, numpy numbers as numbers."""
    if isinstance(value, dict):
        return {str(key): plain(item, decimals) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, decimals) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), decimals)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if decimals is None else round(value, decimals)
    return value


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ``records.jsonl`` as dictionaries."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
