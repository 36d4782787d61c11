"""Distributions of durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Seconds."""

    count: int
    mean: float
    median: float
    p95: float  # 95 % take at most this long; linear between neighbouring samples
    p99: float
    max: float


def latency(seconds: Sequence[float] | np.ndarray) -> Latency:
    """Summary of durations in seconds; NaN without any.

    With few samples the outer percentiles are close to the maximum: ``count`` says how much they mean.
    """
    values = np.asarray(seconds, np.float64)
    if not len(values):
        return Latency(0, *[float("nan")] * 5)
    median, p95, p99 = (float(q) for q in np.percentile(values, (50, 95, 99)))
    return Latency(len(values), float(values.mean()), median, p95, p99, float(values.max()))
