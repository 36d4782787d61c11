"""Records in, metrics out: sums, medians and rates over all frames, and broken down."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from typing import Any

import numpy as np

from human_recon.body.skeleton import JOINT_NAMES
from human_recon.evaluation.catalogue import BREAKDOWN
from human_recon.evaluation.matching import MatchingConfig
from human_recon.evaluation.metrics import keypoints
from human_recon.evaluation.metrics.coherence import TOLERANCE
from human_recon.evaluation.metrics.detection import DetectionCounts
from human_recon.evaluation.metrics.latency import latency
from human_recon.evaluation.metrics.masks import PartCounts
from human_recon.evaluation.metrics.pose import ROOT
from human_recon.evaluation.metrics.tracking import (
    ClearMot,
    Hota,
    Identity,
    TrackingFrame,
    clear_mot,
    hota,
    identity,
)
from human_recon.evaluation.records import (
    CORRESPONDENCE_BIN,
    CORRESPONDENCE_BINS,
    FrameMeasures,
    PersonMeasures,
    plain,
)

CURVE = np.arange(0.0, 0.3001, 0.005)  # metres: thresholds of the curves of joint errors
COVERAGE_SIGMAS = 2.5003  # radius of the sphere that holds 90 % of an isotropic normal distribution in 3-D: chi2(3)

# (name, label and upper end of each bin); a value belongs to the first bin whose end is above it
VISIBILITY_BINS = (("below 30 %", 0.3), ("30-50 %", 0.5), ("50-80 %", 0.8), ("80-100 %", math.inf))
DISTANCE_BINS = (
    ("below 1.5 m", 1.5), ("1.5-2.5 m", 2.5), ("2.5-3.5 m", 3.5), ("3.5-5 m", 5.0), ("5 m and more", math.inf)
)  # fmt: skip
MOST_PEOPLE = 8  # frames with more are counted with these

_BLOCK = 30  # frames of a sequence that are drawn together when uncertainty is estimated: neighbours err alike
_RESAMPLES = 300


class Summary:
    """Collects records, in order; :meth:`results` may be asked at any time."""

    def __init__(self, matching: MatchingConfig) -> None:
        self._gate = matching.gate
        self._people = _PeopleTable()
        self._frames = _FrameTable()
        self._seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._penetrations = array("d")
        self._acceleration: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._depth_order = np.zeros(3, np.int64)
        self._foreground: np.ndarray | None = None
        self._parts: PartCounts | None = None
        self._points = np.zeros(CORRESPONDENCE_BINS, np.int64)
        self._ignored = 0
        self._sequences = 0
        self._sequence: int | None = None
        self._longest = 0
        self._tracking: list[TrackingFrame] = []
        self._clear, self._identity, self._hota = ClearMot(), Identity(), Hota()

    def add(self, record: FrameMeasures) -> None:
        """Take a frame in; frames of one sequence come one after the other."""
        if record.sequence != self._sequence:
            self._close_sequence()
            self._sequence = record.sequence
            self._sequences += 1
        block = (record.sequence, record.index // _BLOCK)
        self._frames.add(record, block)
        for person in record.people:
            self._people.add(person, len(record.people), self._frames.blocks - 1)
            for name, value in person.acceleration.items():
                self._acceleration[name].append(value)
        self._seconds["end_to_end"].append(record.seconds)
        for stage, seconds in record.timings.items():
            self._seconds[stage].append(seconds)
        self._penetrations.extend(record.penetrations)
        self._depth_order += record.depth_order
        self._ignored += record.ignored
        if record.foreground is not None:
            self._foreground = np.array(record.foreground) + (0 if self._foreground is None else self._foreground)
        if record.parts is not None:
            counts = PartCounts(np.array(record.parts["right"]), np.array(record.parts["all"]))
            self._parts = counts if self._parts is None else self._parts + counts
        if record.correspondence_histogram is not None:
            self._points += record.correspondence_histogram
        distance = np.array(record.distances).reshape(len(record.true_ids), len(record.predicted_ids))
        self._tracking.append(TrackingFrame(tuple(record.true_ids), tuple(record.predicted_ids), distance))

    def _close_sequence(self) -> None:
        self._longest = max(self._longest, len(self._tracking))
        if len(self._tracking) > 1:  # a frame alone says nothing about identity
            self._clear += clear_mot(self._tracking, self._gate)
            self._identity += identity(self._tracking, self._gate)
            self._hota += hota(self._tracking, 2 * self._gate)
        self._tracking = []

    def results(self) -> dict[str, Any]:
        """Everything, as JSON has it; what does not apply is absent, what is undefined is null."""
        self._close_sequence()
        people, frames = self._people.columns(), self._frames.columns()
        everybody = np.ones(len(people["found"]), bool)
        every = np.ones(len(frames["people"]), bool)
        metrics = _metrics(people, frames, everybody, every)
        metrics |= self._together(len(every))
        if self._foreground is not None:
            metrics["foreground_iou"] = _rate(self._foreground[0], self._foreground[1])
        if self._parts is not None:
            metrics["part_accuracy"] = _value(self._parts.accuracy, "%", int(self._parts.all.sum()))
            metrics["part_accuracy_mean"] = _value(self._parts.mean_accuracy, "%", int(self._parts.all.sum()))
        if self._longest > 1:
            metrics |= self._tracks()
        metrics |= {
            name: _value(float(np.mean(values)), "mm/s²", len(values))
            for name, key in (("acceleration_error", "error"), ("jitter", "predicted"), ("jitter_true", "true"))
            if (values := self._acceleration.get(key))
        }
        durations = {stage: latency(values) for stage, values in self._seconds.items()}
        if "end_to_end" in durations:
            whole = durations["end_to_end"]
            for name in ("median", "p95", "p99", "max"):
                metrics[f"latency_{name}"] = _value(getattr(whole, name), "ms", whole.count)
        _add_uncertainty(metrics, people, frames)
        return plain(
            {
                "frames": len(every),
                "sequences": self._sequences,
                "people": len(everybody),
                "predictions_of_hidden_people": self._ignored,
                "metrics": metrics,
                "breakdowns": _breakdowns(people, frames),
                "joints": _joints(people),
                "parts": self._per_part(),
                "curves": self._curves(people),
                "latency_ms": {
                    stage: {name: round(1000 * value, 3) for name, value in vars(d).items() if name != "count"}
                    | {"count": d.count}
                    for stage, d in durations.items()
                },
                "latency_histogram": _histogram(np.array(self._seconds.get("end_to_end", ()))),
            }
        )

    def _together(self, frames: int) -> dict[str, Any]:
        right, pairs, all_pairs = (int(n) for n in self._depth_order)
        deep = np.array([depth for depth in self._penetrations if depth > TOLERANCE])
        metrics = {
            "collisions": _value(100 * len(deep) / frames if frames else math.nan, "per 100 frames", frames, scale=1),
        }
        if len(deep):
            metrics["penetration_mean"] = _value(float(deep.mean()), "mm", len(deep))
            metrics["penetration_max"] = _value(float(deep.max()), "mm", len(deep))
        if all_pairs:
            metrics["depth_order"] = _rate(right, pairs)
            metrics["depth_order_all"] = _rate(right, all_pairs)
        return metrics

    def _tracks(self) -> dict[str, Any]:
        count = self._clear.true
        return {
            "hota": _value(self._hota.hota, "%", count),
            "deta": _value(float(self._hota.det_a.mean()), "%", count),
            "assa": _value(float(self._hota.ass_a.mean()), "%", count),
            "mota": _value(self._clear.mota, "%", count),
            "idf1": _value(self._identity.idf1, "%", count),
            "id_switches": _value(float(self._clear.switches), "", count, scale=1),
        }

    def _per_part(self) -> dict[str, Any]:
        if self._parts is None:
            return {}
        rates = dict(zip(JOINT_NAMES, self._parts.per_part, strict=True))
        return {name: round(100 * float(rate), 2) for name, rate in rates.items() if math.isfinite(rate)}

    def _curves(self, people: dict[str, np.ndarray]) -> dict[str, Any]:
        errors = np.delete(people["root_joint_errors"], ROOT, axis=1)
        curves = {
            "pck": {
                "threshold_mm": 1000 * CURVE,
                "matched": 100 * keypoints.pck_curve(keypoints.matched_only(errors), CURVE),
                "all": 100 * keypoints.pck_curve(errors, CURVE),
            }
        }
        vertex = people.get("pve")
        if vertex is not None:
            found = vertex[np.isfinite(vertex)]
            curves["pve"] = {"threshold_mm": 1000 * CURVE, "people": 100 * _cumulative(found, CURVE)}
        if self._points.any():
            share = np.cumsum(self._points[:-1]) / self._points.sum()
            ends = CORRESPONDENCE_BIN * np.arange(1, CORRESPONDENCE_BINS)
            curves["correspondence"] = {"threshold_mm": 1000 * ends, "points": 100 * share}
        return curves


class _PeopleTable:
    """Columns with one number per person to be found, a few hundred bytes each."""

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._rows = 0

    def add(self, person: PersonMeasures, people: int, block: int) -> None:
        joints = len(JOINT_NAMES)
        missing = [math.nan] * joints
        values: dict[str, list[float]] = {
            "visibility": [person.visibility],
            "distance": [person.distance],
            "cut": [float(person.cut)],
            "people": [float(people)],
            "block": [float(block)],
            "found": [float(person.predicted is not None)],
            "mask_iou": [person.mask_iou],
            "joint_errors": person.joint_errors or missing,
            "root_joint_errors": person.root_joint_errors or missing,
            "sigma": person.sigma or missing,
            **{name: [value] for name, value in person.errors.items()},
        }
        for name, entries in values.items():
            if name not in self._columns:
                self._columns[name] = array("f", [math.nan] * (self._rows * len(entries)))
            self._columns[name].extend(entries)
        for name in self._columns.keys() - values.keys():
            self._columns[name].append(math.nan)
        self._rows += 1

    def columns(self) -> dict[str, np.ndarray]:
        """Name -> [N], or [N, 24] for what belongs to joints."""
        wide = ("joint_errors", "root_joint_errors", "sigma")
        shapes = {name: (self._rows, len(JOINT_NAMES)) if name in wide else (self._rows,) for name in self._columns}
        columns = {
            name: np.array(values, np.float32).astype(np.float64).reshape(shapes[name])
            for name, values in self._columns.items()
        }
        for name in ("found", "visibility", "distance", "cut", "people", "block", "mask_iou"):
            columns.setdefault(name, np.zeros(0))
        for name in wide:
            columns.setdefault(name, np.zeros((0, len(JOINT_NAMES))))
        return columns


class _FrameTable:
    """Columns with one number per frame."""

    def __init__(self) -> None:
        self._people, self._false, self._block = array("l"), array("l"), array("l")
        self.blocks = 0
        self._last: tuple[int, int] | None = None

    def add(self, record: FrameMeasures, block: tuple[int, int]) -> None:
        if block != self._last:
            self.blocks += 1
            self._last = block
        self._people.append(len(record.people))
        self._false.append(len(record.false))
        self._block.append(self.blocks - 1)

    def columns(self) -> dict[str, np.ndarray]:
        return {
            "people": np.array(self._people, np.int64),
            "false": np.array(self._false, np.int64),
            "block": np.array(self._block, np.int64),
        }


_MEANS = (  # columns of metres whose mean over the people found is a metric
    "mpjpe", "mpjpe_visible", "mpjpe_hidden", "root_mpjpe", "n_mpjpe", "pa_mpjpe", "pve", "root_pve", "pa_pve",
    "pelvis", "stature", "reconstruction_to_scan_v2v", "reconstruction_to_scan_v2s",
    "scan_to_reconstruction_v2v", "scan_to_reconstruction_v2s", "correspondence",
)  # fmt: skip


def _metrics(
    people: dict[str, np.ndarray], frames: dict[str, np.ndarray], who: np.ndarray, when: np.ndarray | None
) -> dict[str, Any]:
    """Metrics of the people ``who`` [N] bool; of predictions of nobody in the frames ``when`` [F], where given."""
    metrics: dict[str, Any] = {}
    found = people["found"][who] > 0
    if when is not None:
        counts = DetectionCounts(int(found.sum()), int((~found).sum()), int(frames["false"][when].sum()))
        metrics["precision"] = _rate(counts.found, counts.found + counts.false)
        metrics["f1"] = _value(counts.f1, "%", counts.found + counts.missed + counts.false)
        metrics["false_per_frame"] = _value(counts.false / max(int(when.sum()), 1), "", int(when.sum()), scale=1)
    metrics["recall"] = _rate(int(found.sum()), len(found))
    for name in _MEANS:
        values = people[name][who] if name in people else np.zeros(0)
        values = values[np.isfinite(values)]
        if len(values):
            metrics[name] = _value(float(values.mean()), "mm", len(values))
    if "mpjpe" in metrics:
        values = people["mpjpe"][who][found]
        metrics["mpjpe_median"] = _value(float(np.median(values)), "mm", len(values))
    if "correspondence" in metrics:
        metrics["correspondence_worst"] = _value(
            float(np.nanmax(people["correspondence"][who])), "mm", int(found.sum())
        )
        for name in ("left_right", "front_back"):
            wrong, sided = (float(np.nansum(people[f"{name}_{what}"][who])) for what in ("confused", "sided"))
            metrics[f"{name}_confusion"] = _rate(int(wrong), int(sided))
    if len(found):
        metrics |= _joint_rates(people["joint_errors"][who], people["root_joint_errors"][who])
        metrics |= _coverage(people["joint_errors"][who], people["sigma"][who])
    iou = people["mask_iou"][who]
    known = np.isfinite(iou)
    if known.any():
        metrics["mask_iou_all"] = _value(float(iou[known].mean()), "%", int(known.sum()))
        if (known & found).any():
            metrics["mask_iou_matched"] = _value(float(iou[known & found].mean()), "%", int((known & found).sum()))
    return metrics


def _joint_rates(absolute: np.ndarray, relative: np.ndarray) -> dict[str, Any]:
    relative = np.delete(relative, ROOT, axis=1)  # the pelvis would always be right
    found, found_absolute = keypoints.matched_only(relative), keypoints.matched_only(absolute)
    count, joints = len(relative), relative.shape[1]
    rates = {
        "pck_all": _value(keypoints.pck(relative), "%", count * joints),
        "pck_auc_all": _value(keypoints.pck_auc(relative), "%", count * joints),
        "pck_absolute_all": _value(keypoints.pck(absolute), "%", absolute.size),
        "itop_map_all": _value(keypoints.itop_map(absolute), "%", count),
    }
    if len(found):
        rates["pck_matched"] = _value(keypoints.pck(found), "%", found.size)
        rates["pck_auc_matched"] = _value(keypoints.pck_auc(found), "%", found.size)
        rates["itop_map_matched"] = _value(keypoints.itop_map(found_absolute), "%", len(found))
    return rates


def _coverage(errors: np.ndarray, sigma: np.ndarray) -> dict[str, Any]:
    known = np.isfinite(errors) & np.isfinite(sigma) & (sigma > 0)
    if not known.any():
        return {}
    inside = errors[known] <= COVERAGE_SIGMAS * sigma[known]
    return {"sigma_coverage": _value(float(inside.mean()), "%", int(known.sum()))}


def _breakdowns(people: dict[str, np.ndarray], frames: dict[str, np.ndarray]) -> dict[str, Any]:
    def rows(bins: list[tuple[str, np.ndarray, np.ndarray | None]]) -> list[dict[str, Any]]:
        result = []
        for label, who, when in bins:
            if who.any() or (when is not None and when.any()):
                metrics = _metrics(people, frames, who, when)
                chosen = {name: metrics[name] for name in (*BREAKDOWN, "false_per_frame") if name in metrics}
                row = {"bin": label, "people": int(who.sum()), "metrics": chosen}
                result.append(row | ({"frames": int(when.sum())} if when is not None else {}))
        return result

    def binned(column: str, bins: tuple[tuple[str, float], ...]) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        index = np.searchsorted([end for _, end in bins], people[column], side="right")
        return [(label, index == k, None) for k, (label, _) in enumerate(bins)]

    def crowd(count: int) -> tuple[str, np.ndarray, np.ndarray | None]:
        last = count == MOST_PEOPLE
        label = f"{count}{' and more' if last else ''}"
        there, here = people["people"], frames["people"]
        return label, there >= count if last else there == count, here >= count if last else here == count

    return {
        "visibility": rows(binned("visibility", VISIBILITY_BINS)),
        "distance": rows(binned("distance", DISTANCE_BINS)),
        "number of people": rows([crowd(count) for count in range(MOST_PEOPLE + 1)]),
        "image border": rows([("whole", people["cut"] == 0, None), ("cut", people["cut"] == 1, None)]),
    }


def _joints(people: dict[str, np.ndarray]) -> dict[str, Any]:
    errors = people["joint_errors"][people["found"] > 0]
    if not len(errors):
        return {}
    return {
        name: {
            "mean_mm": round(1000 * float(errors[:, j].mean()), 2),
            "median_mm": round(1000 * float(np.median(errors[:, j])), 2),
            "within_10cm": round(100 * float((errors[:, j] <= keypoints.ITOP_THRESHOLD).mean()), 2),
        }
        for j, name in enumerate(JOINT_NAMES)
    }


def _cumulative(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), thresholds, side="right") / max(len(values), 1)


def _histogram(seconds: np.ndarray) -> dict[str, Any]:
    """Durations in 40 bins that grow by a constant factor."""
    if not len(seconds):
        return {}
    low, high = max(float(seconds.min()), 1e-5) * 0.999, max(float(seconds.max()), 1e-5) * 1.001
    edges = np.geomspace(low, high, 41)
    counts, _ = np.histogram(np.clip(seconds, low, high), edges)
    return {"edges_ms": 1000 * edges, "count": counts}


def _add_uncertainty(metrics: dict[str, Any], people: dict[str, np.ndarray], frames: dict[str, np.ndarray]) -> None:
    """Add "ci95" to means over people: the interval in which 95 % of repetitions with other frames would fall.

    Poisson bootstrap (Hanley and MacGibbon 2006) over blocks: frames alone, or 30 successive frames of a sequence.
    Absent with fewer than ten blocks.
    """
    blocks = int(frames["block"].max()) + 1 if len(frames["block"]) else 0
    if blocks < 10:
        return
    block = people["block"].astype(np.int64)
    sums, counts, names = [], [], []
    columns = {**{name: people[name] for name in _MEANS if name in people}, "recall": people["found"]}
    columns["mask_iou_all"] = people["mask_iou"]
    for name, values in columns.items():
        if name in metrics:
            known = np.isfinite(values)
            names.append(name)
            sums.append(np.bincount(block[known], values[known], blocks))
            counts.append(np.bincount(block[known], minlength=blocks).astype(float))
    rng = np.random.default_rng(0)
    above, below = np.stack(sums), np.stack(counts)
    draws = np.empty((_RESAMPLES, len(names)))
    for k in range(_RESAMPLES):
        weight = rng.poisson(1.0, blocks)
        draws[k] = (above @ weight) / np.maximum(below @ weight, 1e-9)
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    for k, name in enumerate(names):
        scale = _SCALE[metrics[name]["unit"]]
        metrics[name]["ci95"] = [round(scale * float(low[k]), 4), round(scale * float(high[k]), 4)]


_SCALE = {"mm": 1000.0, "mm/s²": 1000.0, "%": 100.0, "ms": 1000.0}


def _value(value: float, unit: str, count: int, scale: float | None = None) -> dict[str, Any]:
    """An entry of the results: in the unit shown, with the number of things it is taken over."""
    factor = _SCALE[unit] if scale is None else scale
    return {"value": round(factor * value, 4) if math.isfinite(value) else None, "unit": unit, "count": count}


def _rate(part: int, whole: int) -> dict[str, Any]:
    return _value(part / whole if whole else math.nan, "%", int(whole))
