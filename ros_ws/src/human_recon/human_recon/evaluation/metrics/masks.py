"""Agreement of label images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOBODY = 255  # in images of body parts


def overlap(predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None) -> tuple[int, int]:
    """Pixels in both masks and in either, of [H, W] bool masks where ``valid`` [H, W] (default: everywhere)."""
    both, either = predicted & true, predicted | true
    if valid is not None:
        both, either = both & valid, either & valid
    return int(both.sum()), int(either.sum())


def intersection_over_union(predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None) -> float:
    """IoU (Jaccard index) of two masks [H, W] bool, in [0, 1]; NaN when both are empty."""
    both, either = overlap(predicted, true, valid)
    return both / either if either else float("nan")


@dataclass(frozen=True)
class PartCounts:
    """Pixels per true body part, summed over frames."""

    right: np.ndarray  # [P] int64, of these the predicted part is the true one
    all: np.ndarray  # [P] int64

    def __add__(self, other: PartCounts) -> PartCounts:
        return PartCounts(self.right + other.right, self.all + other.all)

    @property
    def accuracy(self) -> float:
        """Part of all pixels with the right label, in [0, 1]."""
        return float(self.right.sum() / self.all.sum()) if self.all.any() else float("nan")

    @property
    def per_part(self) -> np.ndarray:
        """The same for each part, [P]; NaN for parts that nobody shows."""
        return np.divide(self.right, self.all, out=np.full(len(self.all), np.nan), where=self.all > 0)

    @property
    def mean_accuracy(self) -> float:
        """Mean of :attr:`per_part` over the parts that occur: small parts count as much as large ones.

        Shotton et al., "Real-time human pose recognition in parts from single depth images", CVPR 2011, section 4.1.
        """
        return float(np.nanmean(self.per_part)) if self.all.any() else float("nan")


def part_counts(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None, count: int = 24
) -> PartCounts:
    """Compare images of parts [H, W] (255 = nobody) over the pixels whose true part is known and ``valid``."""
    known = true != NOBODY
    if valid is not None:
        known = known & valid
    parts = true[known].astype(np.int64)
    right = parts[predicted[known] == parts]
    return PartCounts(np.bincount(right, minlength=count), np.bincount(parts, minlength=count))
