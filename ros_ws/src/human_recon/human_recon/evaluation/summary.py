"""Records in, metrics out: sums, medians and rates over all frames, and broken down."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from typing import Any

import numpy as np

from human_recon.body.skeleton import JOINT_NAMES
from human_recon.evaluation.against import MOST_PEOPLE, results_against
from human_recon.evaluation.aggregate import SETTLED, entry, metrics_of
from human_recon.evaluation.catalogue import BREAKDOWN
from human_recon.evaluation.matching import MatchingConfig
from human_recon.evaluation.metrics import calibration, keypoints
from human_recon.evaluation.metrics.coherence import TOLERANCE
from human_recon.evaluation.metrics.lag import SHIFTS, best_shift
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
from human_recon.evaluation.records import CORRESPONDENCE_BIN, CORRESPONDENCE_BINS, SIGMA_BIN, FrameMeasures, plain
from human_recon.evaluation.tables import Columns, FalseTable, FrameTable, PeopleTable

CURVE = np.arange(0.0, 0.3001, 0.005)  # metres: thresholds of the curves of joint errors
THRESHOLDS = np.arange(0.0, 1.0001, 0.05)  # of the confidence, in the curve of precision and recall

# (name, label and upper end of each bin); a value belongs to the first bin whose end is above it
VISIBILITY_BINS = (("below 30 %", 0.3), ("30-50 %", 0.5), ("50-80 %", 0.8), ("80-100 %", math.inf))
DISTANCE_BINS = (
    ("below 1.5 m", 1.5), ("1.5-2.5 m", 2.5), ("2.5-3.5 m", 3.5), ("3.5-5 m", 5.0), ("5 m and more", math.inf)
)  # fmt: skip

BLOCK = 30  # frames of a sequence that are drawn together when uncertainty is estimated: neighbours err alike
_FAILURES_SHOWN = 10


class Summary:
    """Collects records, in order; :meth:`results` may be asked at any time."""

    def __init__(self, matching: MatchingConfig) -> None:
        self._gate = matching.gate
        self._people = PeopleTable()
        self._frames = FrameTable()
        self._false = FalseTable()
        self._seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._penetrations = array("d")
        self._expected = array("d")  # MPJPE of people who were only predicted
        self._acceleration: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._lag = np.zeros(len(SHIFTS))
        self._lag_windows = 0
        self._settled: dict[tuple[int, int, int], tuple[float, int]] = {}  # stature errors of tracks: sum, count
        self._parts: dict[str, PartCounts] = {}  # "fitted", "network"
        self._points: dict[str, np.ndarray] = {}  # histograms of correspondence errors
        self._ignored = 0
        self._failures = 0
        self._first_failures: list[dict[str, Any]] = []
        self._sequences = 0
        self._sequence: int | None = None
        self._longest = 0
        self._stamps: tuple[int, int] = (0, 0)  # first and last of this sequence
        self._minutes = 0.0  # of sequences of more than one frame, each frame lasting as long as the mean step
        self._tracking: list[TrackingFrame] = []
        self._clear, self._identity, self._hota = ClearMot(), Identity(), Hota()

    def add(self, record: FrameMeasures) -> None:
        """Take a frame in; frames of one sequence come one after the other."""
        if record.sequence != self._sequence:
            self._close_sequence()
            self._sequence = record.sequence
            self._sequences += 1
        self._stamps = (self._stamps[0] if self._tracking else record.stamp_ns, record.stamp_ns)
        self._frames.add(record, (record.sequence, record.index // BLOCK))
        block = self._frames.blocks - 1
        self._false.add(record, block)
        for person in record.people:
            self._people.add(person, len(record.people), block)
            for name, value in person.acceleration.items():
                self._acceleration[name].append(value)
            if person.lag:
                self._lag += person.lag
                self._lag_windows += 1
            if person.predicted is not None and person.tracked >= SETTLED and "stature" in person.errors:
                track = (record.sequence, person.id, person.predicted)
                total, count = self._settled.get(track, (0.0, 0))
                self._settled[track] = (total + person.errors["stature"], count + 1)
        if record.failure is None:
            self._seconds["end_to_end"].append(record.seconds)
        else:
            self._failures += 1
            if self._failures <= _FAILURES_SHOWN:
                where = {"sequence": record.sequence, "frame": record.index, "error": record.failure}
                self._first_failures.append(where)
        for stage, seconds in record.timings.items():
            self._seconds[stage].append(seconds)
        self._penetrations.extend(record.penetrations)
        self._expected.extend(record.expected_errors)
        self._ignored += record.ignored
        for source, parts in (("fitted", record.parts), ("network", record.network_parts)):
            if parts is not None:
                counts = PartCounts(np.array(parts["right"]), np.array(parts["all"]))
                self._parts[source] = self._parts[source] + counts if source in self._parts else counts
        histograms = dict(record.histograms)
        if record.correspondence_histogram is not None:
            histograms["fitted"] = record.correspondence_histogram
        for name, histogram in histograms.items():
            self._points[name] = self._points.get(name, 0) + np.array(histogram)
        distance = np.array(record.distances).reshape(len(record.true_ids), len(record.predicted_ids))
        self._tracking.append(TrackingFrame(tuple(record.true_ids), tuple(record.predicted_ids), distance))

    def _close_sequence(self) -> None:
        self._longest = max(self._longest, len(self._tracking))
        if len(self._tracking) > 1:  # a frame alone says nothing about identity
            steps = len(self._tracking) - 1
            self._minutes += (self._stamps[1] - self._stamps[0]) * 1e-9 / 60.0 * (steps + 1) / steps
            self._clear += clear_mot(self._tracking, self._gate)
            self._identity += identity(self._tracking, self._gate)
            self._hota += hota(self._tracking, 2 * self._gate)
        self._tracking = []

    def results(self) -> dict[str, Any]:
        """Everything, as JSON has it; what does not apply is absent, what is undefined is null."""
        self._close_sequence()
        people, frames, false = self._people.columns(), self._frames.columns(), self._false.columns()
        every = np.ones(len(frames["people"]), bool)
        metrics = metrics_of(people, frames, None, every)
        metrics |= self._more_metrics()
        curves = self._curves(people)
        calibrated = _calibration(people, false)
        if calibrated["confidence"]["count"]:
            count = calibrated["confidence"]["count"]
            metrics["confidence_ece"] = entry(calibrated["confidence"]["expected_error"], "%", count)
            metrics["confidence_brier"] = entry(calibrated["confidence"]["brier"], "", count)
        durations = {stage: latency(values) for stage, values in self._seconds.items()}
        if "end_to_end" in durations:
            whole = durations["end_to_end"]
            for name in ("median", "p95", "p99", "max"):
                metrics[f"latency_{name}"] = entry(getattr(whole, name), "ms", whole.count)
        return plain(
            {
                "frames": len(every),
                "sequences": self._sequences,
                "people": len(people["found"]),
                "predictions_of_hidden_people": self._ignored,
                "failures": {"frames": self._failures, "first": self._first_failures},
                "metrics": metrics,
                "breakdowns": _breakdowns(people, frames),
                "against": results_against(people, frames, false),
                "joints": _joints(people),
                "parts": _per_part(self._parts.get("fitted")),
                "network_parts": _per_part(self._parts.get("network")),
                "curves": curves,
                "calibration": calibrated,
                "latency_ms": {
                    stage: {name: round(1000 * value, 3) for name, value in vars(d).items() if name != "count"}
                    | {"count": d.count}
                    for stage, d in durations.items()
                },
                "latency_histogram": _histogram(np.array(self._seconds.get("end_to_end", ()))),
            }
        )

    def _more_metrics(self) -> dict[str, Any]:
        """Those that are not taken over people or frames."""
        metrics: dict[str, Any] = {}
        deep = np.array([depth for depth in self._penetrations if depth > TOLERANCE])
        if len(deep):
            metrics["penetration_mean"] = entry(float(deep.mean()), "mm", len(deep))
            metrics["penetration_max"] = entry(float(deep.max()), "mm", len(deep))
        for source, name in (("fitted", "part_accuracy_mean"), ("network", "network_part_accuracy_mean")):
            if source in self._parts:
                parts = self._parts[source]
                metrics[name] = entry(parts.mean_accuracy, "%", int(parts.all.sum()))
        if self._longest > 1:
            metrics |= self._tracks()
        if self._failures:
            metrics["failed_frames"] = entry(float(self._failures), "", self._failures, scale=1)
        if self._expected:
            metrics["expected_mpjpe"] = entry(float(np.mean(self._expected)), "mm", len(self._expected))
        if self._lag_windows:
            metrics["lag"] = entry(best_shift(self._lag), "frames", self._lag_windows)
        if self._settled:
            worst = max(total / count for total, count in self._settled.values())
            metrics["stature_2s_worst"] = entry(worst, "mm", len(self._settled))
        return metrics | {
            name: entry(float(np.mean(values)), unit, len(values))
            for name, key, unit in (
                ("acceleration_error", "error", "mm/s²"),
                ("acceleration_error_frame", "error_frame", "mm/frame²"),
                ("jitter", "predicted", "mm/s²"),
                ("jitter_true", "true", "mm/s²"),
            )
            if (values := self._acceleration.get(key))
        }

    def _tracks(self) -> dict[str, Any]:
        count = self._clear.true
        return {
            "hota": entry(self._hota.hota, "%", count),
            "deta": entry(float(self._hota.det_a.mean()), "%", count),
            "assa": entry(float(self._hota.ass_a.mean()), "%", count),
            "mota": entry(self._clear.mota, "%", count),
            "idf1": entry(self._identity.idf1, "%", count),
            "id_switches": entry(float(self._clear.switches), "", count, scale=1),
            "id_switches_per_minute": entry(
                self._clear.switches / self._minutes if self._minutes > 0 else math.nan, "per minute", count
            ),
        }

    def _curves(self, people: Columns) -> dict[str, Any]:
        errors = np.delete(people["root_joint_errors"], ROOT, axis=1)
        curves: dict[str, Any] = {
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
        ends = 1000 * CORRESPONDENCE_BIN * np.arange(1, CORRESPONDENCE_BINS)
        if "fitted" in self._points:
            curves["correspondence"] = {"threshold_mm": ends, "points": 100 * self._shares("fitted")}
            if "fitted_geodesic" in self._points:
                curves["correspondence"]["geodesic"] = 100 * self._shares("fitted_geodesic")
        sigma = {
            kind: self._shares(f"sigma_{kind}") for kind in ("joints", "root", "turn") if self._any(f"sigma_{kind}")
        }
        if sigma:
            curves["sigma"] = {"sigmas": SIGMA_BIN * np.arange(1, CORRESPONDENCE_BINS)}
            curves["sigma"] |= {kind: 100 * share for kind, share in sigma.items()}
        if "network" in self._points:
            # Missed people's points, and those that the network left out, are within no distance.
            everywhere = float(np.nansum(people["network_points"]))
            curve = {"threshold_mm": ends, "points": 100 * self._shares("network")}
            if "network_geodesic" in self._points:
                curve["geodesic"] = 100 * self._shares("network_geodesic")
            curve["all"] = 100 * np.cumsum(self._points["network"][:-1]) / everywhere
            curves["network_correspondence"] = curve
        return curves

    def _any(self, kind: str) -> bool:
        return kind in self._points and bool(self._points[kind].any())

    def _shares(self, kind: str) -> np.ndarray:
        """[50] part of the counts in the bins up to each but the last: within 1, 2, ... 50 cm."""
        counts = self._points[kind]
        return np.cumsum(counts[:-1]) / counts.sum()


def _per_part(counts: PartCounts | None) -> dict[str, Any]:
    if counts is None:
        return {}
    rates = dict(zip(JOINT_NAMES, counts.per_part, strict=True))
    return {name: round(100 * float(rate), 2) for name, rate in rates.items() if np.isfinite(rate)}


def _calibration(people: Columns, false: Columns) -> dict[str, Any]:
    """How far confidences and standard deviations can be believed; of all predictions but those of hidden people."""
    found = people["found"] > 0
    confidence = np.concatenate([people["confidence"][found], false["confidence"]])
    right = np.concatenate([np.ones(int(found.sum()), bool), np.zeros(len(false["confidence"]), bool)])
    known = np.isfinite(confidence)
    confidence, right = confidence[known], right[known]
    bins = calibration.reliability(confidence, right)
    precision, recall = calibration.threshold_curve(confidence, right, len(found), THRESHOLDS)
    sigma = calibration.sigma_reliability(people["joint_errors"].ravel(), people["sigma"].ravel())
    return {
        "confidence": {
            "count": len(confidence),
            "expected_error": bins.expected_error,
            "brier": calibration.brier_score(confidence, right),
            "low": bins.low,
            "high": bins.high,
            "confidence": bins.confidence,
            "right": bins.right,
            "counts": bins.count,
        },
        "threshold": {"threshold": THRESHOLDS, "precision": 100 * precision, "recall": 100 * recall},
        "sigma": {
            "predicted_mm": 1000 * sigma.predicted,
            "measured_mm": 1000 * sigma.measured,
            "counts": sigma.count,
        },
    }


def _breakdowns(people: Columns, frames: Columns) -> dict[str, Any]:
    def rows(bins: list[tuple[str, np.ndarray, np.ndarray | None]]) -> list[dict[str, Any]]:
        result = []
        for label, who, when in bins:
            if who.any() or (when is not None and when.any()):
                metrics = metrics_of(people, frames, who, when)
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


def _joints(people: Columns) -> dict[str, Any]:
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
