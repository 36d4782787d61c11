"""Who is who: hypotheses of a frame against people who are known, one to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class AssociationConfig:
    """When a hypothesis may be somebody who is known."""

    gate: float = 3.0  # standard deviations, of the joints together
    slack: float = 0.10  # metres per axis by which a joint may be elsewhere than both sides think
    farthest: float = 0.9  # metres between the joints, in the mean, whatever the uncertainty
    outlier: float = 4.0  # standard deviations: a joint farther off counts no more, as when left is taken for right
    stature_sigma: float = 0.08  # metres, of a single hypothesis

    def __post_init__(self) -> None:
        if min(self.gate, self.slack, self.farthest, self.outlier, self.stature_sigma) <= 0:
            raise ValueError("every setting of the association must be above 0")


@dataclass(frozen=True, eq=False)
class Appearance:
    """What people are told apart by: joints that correspond, or one place, and perhaps their size."""

    joints: np.ndarray  # [J, 3] metres, camera frame
    sigma: np.ndarray  # [J] metres per axis
    stature: float = np.nan  # metres; NaN: not known
    stature_sigma: float = np.nan


def dissimilarity(one: Appearance, other: Appearance, config: AssociationConfig) -> float:
    """Mean squared distance in standard deviations, of the joints and the stature; infinite beyond the gate.

    The errors of a body's joints are nearly the same error, so their mean is compared with the gate as if it were one
    joint's. A joint far off is bounded: one arm mistaken for the other does not make another person.
    """
    squared = np.square(one.joints - other.joints).sum(axis=-1)
    if not np.isfinite(squared).all() or np.sqrt(squared).mean() > config.farthest:
        return np.inf
    variance = np.square(one.sigma) + np.square(other.sigma) + config.slack**2
    cost = float(np.minimum(squared / (3.0 * variance), config.outlier**2).mean())
    if cost > config.gate**2:
        return np.inf
    if np.isfinite(one.stature) and np.isfinite(other.stature):
        cost += (one.stature - other.stature) ** 2 / (one.stature_sigma**2 + other.stature_sigma**2) / 3.0
    return cost


def assign(cost: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of ``cost`` [N, M], infinite where there is none: as many as can be, at the least sum."""
    if not np.isfinite(cost).any():
        return []
    allowed = np.isfinite(cost)
    # More than any sum of allowed costs, so that a pair is never given up for cheaper ones.
    forbidden = 1.0 + cost[allowed].max() * (1 + min(cost.shape))
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def associate(
    known: Sequence[Appearance], seen: Sequence[Appearance], config: AssociationConfig
) -> list[tuple[int, int]]:
    """Pairs (index of known, index of seen)."""
    cost = np.array([[dissimilarity(k, s, config) for s in seen] for k in known]).reshape(len(known), len(seen))
    return assign(cost)
