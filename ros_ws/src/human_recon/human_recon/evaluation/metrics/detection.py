"""Who was found, who was missed, who is not there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectionCounts:
    """Numbers of people, summed over frames."""

    found: int = 0  # true people with a prediction (true positives)
    missed: int = 0  # true people without (false negatives)
    false: int = 0  # predictions of nobody (false positives)

    def __add__(self, other: DetectionCounts) -> DetectionCounts:
        return DetectionCounts(self.found + other.found, self.missed + other.missed, self.false + other.false)

    @property
    def precision(self) -> float:
        """found / (found + false), in [0, 1]; NaN when nothing was predicted."""
        return _ratio(self.found, self.found + self.false)

    @property
    def recall(self) -> float:
        """found / (found + missed), in [0, 1]; NaN when nobody was there."""
        return _ratio(self.found, self.found + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall (van Rijsbergen): 2 found / (2 found + missed + false)."""
        return _ratio(2 * self.found, 2 * self.found + self.missed + self.false)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
