"""Many small random decisions from one generator, without numpy's cost per call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

_BLOCK = 192


class Dice:
    """Draws uniform numbers from ``rng`` in blocks; a function of the generator's state alone."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._numbers: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._numbers:
            self._numbers = self._rng.random(_BLOCK).tolist()
        return self._numbers.pop()

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def below(self, count: int) -> int:
        """Uniform among 0 ... count - 1."""
        return int(count * self.unit())

    def sign(self) -> float:
        """-1 or 1."""
        return -1.0 if self.unit() < 0.5 else 1.0

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of ``choices``."""
        return choices[int(len(choices) * self.unit())]

    def weighted(self, weights: Sequence[float]) -> int:
        """An index, with probability proportional to its weight."""
        left = self.unit() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0.0:
                return index
        return max(index for index, weight in enumerate(weights) if weight > 0.0)
