"""Whether stated probabilities and standard deviations are what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE_BINS = 10
SIGMAS = (1.0, 2.0, 3.0)
# Shares of a normal distribution within those. Of a Laplace distribution with the same deviation: 75.7, 94.1, 98.6 %.
NORMAL_SHARES = tuple(math.erf(k / math.sqrt(2.0)) for k in SIGMAS)
# Shares of a normal distribution in space within the ellipsoids of 1, 2, 3 sigma: chi distribution of three axes.
ELLIPSOID_SHARES = tuple(
    math.erf(k / math.sqrt(2.0)) - math.sqrt(2.0 / math.pi) * k * math.exp(-0.5 * k * k) for k in SIGMAS
)
MEDIAN_DISTANCE = 1.5382  # median of the same distribution: half of all Mahalanobis distances are shorter


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of their confidence (DeGroot and Fienberg, "The comparison and evaluation of forecasters",
    The Statistician 1983; Niculescu-Mizil and Caruana, "Predicting good probabilities", ICML 2005)."""

    low: np.ndarray  # [B] lower ends of the bins
    high: np.ndarray  # [B]
    confidence: np.ndarray  # [B] mean of the confidences; NaN in an empty bin
    right: np.ndarray  # [B] share of right predictions; NaN in an empty bin
    count: np.ndarray  # [B] int64

    @property
    def expected_error(self) -> float:
        """ECE: mean over predictions of |confidence - right| of their bin (Naeini et al., "Obtaining well calibrated
        probabilities using Bayesian binning", AAAI 2015), in [0, 1]; NaN without predictions."""
        filled = self.count > 0
        if not filled.any():
            return math.nan
        gaps = np.abs(self.confidence[filled] - self.right[filled])
        return float((gaps * self.count[filled]).sum() / self.count.sum())


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = CONFIDENCE_BINS) -> Reliability:
    """Reliability of N predictions: ``confidence`` [N] in [0, 1] and whether each was ``right`` [N] bool.

    Bins are equally wide; the last one holds 1.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    index = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(index, values, bins)
        return np.divide(sums, count, out=np.full(bins, np.nan), where=count > 0)

    edges = np.linspace(0.0, 1.0, bins + 1)
    return Reliability(edges[:-1], edges[1:], mean(confidence), mean(right), count)


def brier_score(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean of (confidence - right)^2 (Brier, "Verification of forecasts expressed in terms of probability", 1950).

    0 is best; 0.25 is what saying 0.5 always gives. NaN without predictions.
    """
    difference = np.asarray(confidence, np.float64) - np.asarray(right, np.float64)
    return float((difference**2).mean()) if len(difference) else math.nan


def within_sigmas(predicted: np.ndarray, true: np.ndarray, sigma: np.ndarray) -> list[int]:
    """Of the 3 J coordinates of joints [J, 3], how many are within 1, 2 and 3 ``sigma`` [J] (metres, per axis)."""
    ratio = np.abs(np.asarray(predicted, np.float64) - true) / np.maximum(np.asarray(sigma, np.float64), 1e-9)[:, None]
    return [int((ratio <= k).sum()) for k in SIGMAS]


def along_axes(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """``errors`` [N, D] along the principal axes of ``covariance`` [N, D, D], in standard deviations, [N, D].

    Of right covariances each is a standard normal variable; the length of a row is the Mahalanobis distance. NaN where
    a covariance is not finite or not positive definite.
    """
    errors, covariance = np.asarray(errors, np.float64), np.asarray(covariance, np.float64)
    result = np.full(errors.shape, np.nan)
    known = np.flatnonzero(np.isfinite(covariance).all(axis=(-2, -1)) & np.isfinite(errors).all(axis=-1))
    if len(known):
        variance, axes = np.linalg.eigh(covariance[known])
        good = variance[:, 0] > 0
        turned = np.einsum("nda,nd->na", axes[good], errors[known[good]])
        result[known[good]] = turned / np.sqrt(variance[good])
    return result


@dataclass(frozen=True)
class SigmaReliability:
    """Joints in bins of equal number by their predicted standard deviation, metres per axis."""

    predicted: np.ndarray  # [B] root mean square of the predicted deviations
    measured: np.ndarray  # [B] root mean square of the errors, per axis
    count: np.ndarray  # [B] int64


def sigma_reliability(errors: np.ndarray, sigma: np.ndarray, bins: int = 10) -> SigmaReliability:
    """Reliability of N standard deviations ``sigma`` [N] by the joints' ``errors`` [N] (distances, of three axes).

    Right ones lie on the diagonal; below it the network is too modest, above it too sure (Levi et al., "Evaluating and
    calibrating uncertainty prediction in regression tasks", Sensors 2022: RMV against RMSE).
    """
    known = np.isfinite(errors) & np.isfinite(sigma) & (sigma > 0)
    order = np.argsort(sigma[known], kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    errors, sigma = errors[known], sigma[known]
    return SigmaReliability(
        np.array([np.sqrt((sigma[part] ** 2).mean()) for part in parts]),
        np.array([np.sqrt((errors[part] ** 2).mean() / 3.0) for part in parts]),
        np.array([len(part) for part in parts], np.int64),
    )


def threshold_curve(
    confidence: np.ndarray, right: np.ndarray, people: int, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Precision [T] and recall [T] if only predictions of at least each of ``thresholds`` [T] were reported.

    ``people`` were to be found. A person whose prediction is dropped counts as missed, though another prediction might
    have taken its place. Precision is NaN where nothing is left.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, bool)
    kept = confidence[None] >= np.asarray(thresholds)[:, None]
    found, all_kept = (kept & right).sum(axis=1), kept.sum(axis=1)
    precision = np.divide(found, all_kept, out=np.full(len(kept), np.nan), where=all_kept > 0)
    return precision, found / people if people else np.full(len(kept), np.nan)
