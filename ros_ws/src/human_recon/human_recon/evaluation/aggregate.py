"""Columns in, metrics out, of all people and frames or of some.

Nearly every metric is a ratio of two sums over people (or frames): errors over people found, right joints over joints,
pixels over pixels. Such a ratio is a :class:`Term`, defined once for the value, its uncertainty and all breakdowns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from human_recon.evaluation.metrics import calibration, keypoints
from human_recon.evaluation.metrics.calibration import SIGMAS
from human_recon.evaluation.metrics.pose import ROOT
from human_recon.evaluation.tables import WITHIN, Columns

COVERAGE_SIGMAS = 2.5003  # radius of the sphere that holds 90 % of an isotropic normal distribution in 3-D: chi2(3)
CLEARLY_VISIBLE = 0.4  # visibility from which a person counts in the metrics of people seen clearly
WELL_VISIBLE = 0.6  # visibility from which a person counts in the metrics of people seen well
SETTLED = 2.0  # seconds of a track after which the shape should be known
_RESAMPLES = 300
_SCALE = {
    "mm": 1000.0, "mm/s²": 1000.0, "mm/frame²": 1000.0, "%": 100.0, "ms": 1000.0, "per 100 frames": 100.0,
    "per minute": 1.0, "frames": 1.0, "mm/s": 1000.0, "°/s": math.degrees(1.0), "": 1.0,
}  # fmt: skip

_MEANS = (  # columns of metres whose mean over the people found is a metric
    "mpjpe", "mpjpe_visible", "mpjpe_hidden", "root_mpjpe", "n_mpjpe", "pa_mpjpe", "pve", "root_pve", "pa_pve",
    "pelvis", "stature", "reconstruction_to_scan_v2v", "reconstruction_to_scan_v2s",
    "scan_to_reconstruction_v2v", "scan_to_reconstruction_v2s", "correspondence", "correspondence_geodesic",
)  # fmt: skip
# Counts of PersonMeasures.covariance and the metrics that they are
_COVARIANCE = {
    "axes": "covariance", "joints": "ellipsoid", "hidden_axes": "hidden_covariance", "root_axes": "root_covariance",
    "turn_axes": "turn_covariance",
}  # fmt: skip
_MOTION = {
    "velocity": "velocity_error", "speed": "velocity_true", "turn": "turn_error", "turn_speed": "turn_true"
}  # fmt: skip
_WELL_SEEN = ("mpjpe", "root_mpjpe", "pa_mpjpe", "pve", "root_pve", "pelvis", "stature")  # also of people seen well


@dataclass(frozen=True)
class Term:
    """A metric that is a sum over another sum; who does not count has 0 in both."""

    unit: str
    part: np.ndarray  # [N]
    whole: np.ndarray  # [N]

    def of(self, who: np.ndarray) -> Term:
        """Of some [N] bool."""
        return Term(self.unit, self.part[who], self.whole[who])

    def value(self) -> dict[str, Any]:
        whole = float(self.whole.sum())
        return entry(float(self.part.sum()) / whole if whole else math.nan, self.unit, round(whole))


def people_terms(people: Columns) -> dict[str, Term]:
    """All metrics that are ratios of sums over people."""
    found = people["found"] > 0
    count = len(found)
    nan = np.full(count, np.nan)
    terms = {"recall": Term("%", found.astype(float), np.ones(count))}
    clear = people["visibility"] >= CLEARLY_VISIBLE
    terms["recall_clear"] = Term("%", (found & clear).astype(float), clear.astype(float))
    for name in _MEANS:
        terms[name] = _mean("mm", people.get(name, nan))
    well = people["visibility"] >= WELL_VISIBLE
    terms["recall_60"] = Term("%", (found & well).astype(float), well.astype(float))
    for name in _WELL_SEEN:
        terms[f"{name}_60"] = _mean("mm", people.get(name, nan), well)
    terms["stature_2s"] = _mean("mm", people.get("stature", nan), people["tracked"] >= SETTLED)
    terms["recall_expected"] = Term("%", (found | (people["expected"] > 0)).astype(float), np.ones(count))
    for k in SIGMAS:
        for source, name in _COVARIANCE.items():
            whole, part = people.get(f"covariance_{source}", nan), people.get(f"covariance_{source}_{k:.0f}", nan)
            terms[f"{name}_within_{k:.0f}"] = _ratio("%", part, whole)
    seen, hidden = people.get("joints_seen", nan), people.get("joints_hidden", nan)
    seen_right, hidden_right = people.get("joints_seen_right", nan), people.get("joints_hidden_right", nan)
    terms["joint_visibility"] = _ratio("%", seen_right + hidden_right, seen + hidden)
    terms["joint_visibility_seen"] = _ratio("%", seen_right, seen)
    terms["joint_visibility_hidden"] = _ratio("%", hidden_right, hidden)
    terms["visibility_error"] = _mean("%", np.abs(people["visibility_error"]))
    for name, unit in (("velocity", "mm/s"), ("speed", "mm/s"), ("turn", "°/s"), ("turn_speed", "°/s")):
        terms[_MOTION[name]] = _mean(unit, people.get(f"motion_{name}", nan))
    # A network has its say of pixels of missed people as well.
    terms["network_correspondence"] = _mean("mm", people.get("network_correspondence", nan), found)
    terms["network_correspondence_geodesic"] = _mean("mm", people.get("network_geodesic", nan), found)
    terms["network_placed"] = _ratio("%", people.get("network_placed", nan), people.get("network_points", nan), found)
    for source, prefix in (("", ""), ("network_", "network_")):
        for name in ("left_right", "front_back"):
            confused, sided = people.get(f"{source}{name}_confused", nan), people.get(f"{source}{name}_sided", nan)
            terms[f"{prefix}{name}_confusion"] = _ratio("%", confused, sided, found)
    for source, name in (("fitted", "part_accuracy"), ("network", "network_part_accuracy")):
        right, pixels = people.get(f"{source}_right", nan), people.get(f"{source}_all", nan)
        terms[name] = _ratio("%", right, pixels, found)
        if source == "network":
            terms[f"{name}_all"] = _ratio("%", right, pixels)
    terms["mask_iou_all"] = _mean("%", people["mask_iou"])
    terms["mask_iou_matched"] = _mean("%", people["mask_iou"], found)
    joints = np.delete(people["root_joint_errors"], ROOT, axis=1)  # the pelvis would always be right
    if len(joints):
        # NaN, of people not found, is within no distance.
        right = (joints <= keypoints.PCK_THRESHOLD).sum(axis=1).astype(float)
        terms["pck_all"] = Term("%", right, np.full(count, float(joints.shape[1])))
        terms["pck_matched"] = Term("%", right * found, joints.shape[1] * found.astype(float))
        absolute = people["joint_errors"]
        right = (absolute <= keypoints.PCK_THRESHOLD).sum(axis=1).astype(float)
        terms["pck_absolute_all"] = Term("%", right, np.full(count, float(absolute.shape[1])))
        known = np.isfinite(absolute) & np.isfinite(people["sigma"]) & (people["sigma"] > 0)
        inside = known & (absolute <= COVERAGE_SIGMAS * people["sigma"])
        terms["sigma_coverage"] = Term("%", inside.sum(axis=1).astype(float), known.sum(axis=1).astype(float))
        coordinates = np.where(found & np.isfinite(people[WITHIN[0]]), 3.0 * absolute.shape[1], 0.0)
        for name in WITHIN:
            terms[name] = Term("%", np.where(coordinates > 0, people[name], 0.0), coordinates)
    return terms


def frame_terms(frames: Columns) -> dict[str, Term]:
    """All metrics that are ratios of sums over frames."""
    each = np.ones(len(frames["people"]))
    empty = (frames["everybody"] == 0).astype(float)
    return {
        "false_per_frame": Term("", frames["false"].astype(float), each),
        "false_per_100_empty": Term("per 100 frames", frames["false"] * empty, empty),
        "foreground_iou": Term("%", frames["foreground_both"], frames["foreground_either"]),
        "depth_order": Term("%", frames["depth_right"], frames["depth_pairs"]),
        "depth_order_all": Term("%", frames["depth_right"], frames["depth_all_pairs"]),
        "overlap_order": Term("%", frames["overlap_right"], frames["overlap_pixels"]),
        "collisions": Term("per 100 frames", frames["collisions"].astype(float), each),
        "expected_right": Term("%", frames["expected"], frames["unmeasured"]),
    }


def metrics_of(
    people: Columns, frames: Columns, who: np.ndarray | None, when: np.ndarray | None, wrong: np.ndarray | None = None
) -> dict[str, Any]:
    """Metrics of some people and frames, with uncertainty where there are frames enough.

    Args:
        people, frames: columns of :mod:`human_recon.evaluation.tables`.
        who: [N] bool, people; None for all.
        when: [F] bool, frames whose predictions of nobody and whose other frame metrics belong to these people; None
            for none, as when people are chosen by what they are: nobody has no visibility.
        wrong: [F] number of predictions of nobody per frame that belong to these people; default: all of ``when``.

    What does not apply is absent, what is undefined is null.
    """
    who = np.ones(len(people["found"]), bool) if who is None else who
    blocks = int(frames["block"].max()) + 1 if len(frames["block"]) else 0
    block = people["block"][who].astype(np.int64)
    ratios = {name: term.of(who) for name, term in people_terms(people).items()}
    sums = {
        name: _Sums.of(term, block, blocks)
        for name, term in ratios.items()
        if name in ("recall", "recall_clear") or term.whole.any()
    }
    if not ratios["recall_clear"].whole.any():
        del sums["recall_clear"]
    if when is not None:
        wrong = frames["false"] if wrong is None else wrong
        here = frames["block"][when]
        for name, term in frame_terms(frames).items():
            chosen = term.of(when)
            if chosen.whole.any() or (name == "depth_order" and frames["depth_all_pairs"][when].any()):
                sums[name] = _Sums.of(chosen, here, blocks)
        false = np.bincount(here, wrong[when], blocks)
        for suffix in ("", "_clear"):
            recall = sums.get(f"recall{suffix}")
            if recall is not None:
                sums[f"precision{suffix}"] = _Sums("%", recall.part, recall.part + false)
                sums[f"f1{suffix}"] = _Sums("%", 2 * recall.part, recall.part + recall.whole + false)
    metrics = {name: one.value() for name, one in sums.items()}
    for name in ("f1", "f1_clear"):
        if name in metrics:  # people and predictions, not the ratio's denominator, which counts the found twice
            metrics[name]["count"] -= round(sums[name].part.sum() / 2)
    metrics |= _other_metrics(people, who)
    _add_uncertainty(metrics, sums, blocks)
    return metrics


def _other_metrics(people: Columns, who: np.ndarray) -> dict[str, Any]:
    """Medians, maxima and what is taken over joints or thresholds first."""
    found = people["found"][who] > 0
    metrics: dict[str, Any] = {}
    if "mpjpe" in people and found.any():
        values = people["mpjpe"][who][found]
        metrics["mpjpe_median"] = entry(float(np.median(values)), "mm", len(values))
    for name in ("correspondence", "network_correspondence"):
        values = people[name][who][found] if name in people else np.zeros(0)
        if np.isfinite(values).any():
            metrics[f"{name}_worst"] = entry(float(np.nanmax(values)), "mm", int(np.isfinite(values).sum()))
    distances = people["mahalanobis"][who] if len(people["mahalanobis"]) else np.zeros(0)
    distances = distances[np.isfinite(distances)]
    if len(distances):
        factor = float(np.median(distances)) / calibration.MEDIAN_DISTANCE
        metrics["sigma_factor"] = entry(factor, "", len(distances))
    if len(found):
        relative = np.delete(people["root_joint_errors"][who], ROOT, axis=1)
        absolute = people["joint_errors"][who]
        metrics["pck_auc_all"] = entry(keypoints.pck_auc(relative), "%", relative.size)
        metrics["itop_map_all"] = entry(keypoints.itop_map(absolute), "%", len(absolute))
        relative, absolute = keypoints.matched_only(relative), keypoints.matched_only(absolute)
        if len(relative):
            metrics["pck_auc_matched"] = entry(keypoints.pck_auc(relative), "%", relative.size)
            metrics["itop_map_matched"] = entry(keypoints.itop_map(absolute), "%", len(absolute))
    return metrics


@dataclass(frozen=True)
class _Sums:
    """A term, summed over each block of frames."""

    unit: str
    part: np.ndarray  # [B]
    whole: np.ndarray  # [B]

    @staticmethod
    def of(term: Term, block: np.ndarray, blocks: int) -> _Sums:
        return _Sums(term.unit, np.bincount(block, term.part, blocks), np.bincount(block, term.whole, blocks))

    def value(self) -> dict[str, Any]:
        return Term(self.unit, self.part, self.whole).value()


def _add_uncertainty(metrics: dict[str, Any], sums: dict[str, _Sums], blocks: int) -> None:
    """Add "ci95": the interval in which 95 % of repetitions with other frames would fall.

    Poisson bootstrap (Hanley and MacGibbon 2006) over blocks: frames alone, or 30 successive frames of a sequence.
    Absent with fewer than ten blocks, or where fewer than ten contribute.
    """
    names = [name for name, one in sums.items() if (one.whole > 0).sum() >= 10]
    if blocks < 10 or not names:
        return
    rng = np.random.default_rng(0)
    above, below = np.stack([sums[name].part for name in names]), np.stack([sums[name].whole for name in names])
    weights = np.stack([rng.poisson(1.0, blocks) for _ in range(_RESAMPLES)]).astype(float)
    draws = (weights @ above.T) / np.maximum(weights @ below.T, 1e-9)
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    for k, name in enumerate(names):
        scale = _SCALE[sums[name].unit]
        metrics[name]["ci95"] = [round(scale * float(low[k]), 4), round(scale * float(high[k]), 4)]


def _mean(unit: str, values: np.ndarray, of: np.ndarray | None = None) -> Term:
    """Mean over the people who have a value, of those ``of`` [N] bool."""
    known = np.isfinite(values) if of is None else np.isfinite(values) & of
    return Term(unit, np.where(known, values, 0.0), known.astype(float))


def _ratio(unit: str, part: np.ndarray, whole: np.ndarray, of: np.ndarray | None = None) -> Term:
    known = np.isfinite(part) & np.isfinite(whole)
    if of is not None:
        known = known & of
    return Term(unit, np.where(known, part, 0.0), np.where(known, whole, 0.0))


def entry(value: float, unit: str, count: int, scale: float | None = None) -> dict[str, Any]:
    """An entry of the results: in the unit shown, with the number of things it is taken over."""
    factor = _SCALE[unit] if scale is None else scale
    return {"value": round(factor * value, 4) if math.isfinite(value) else None, "unit": unit, "count": count}
