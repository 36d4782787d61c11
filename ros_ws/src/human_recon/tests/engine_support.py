"""Small exported networks, and stand-ins for engines, for the tests of inference and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.inference.parity import Measure

LIMITS = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.1}
MEASURES = (
    Measure("sign", "mask", "dense", {"fp32": 0.01, "fp16": 0.3, "int8": 0.3}, (0, 1)),
    Measure("values", "difference", "dense", LIMITS, (1, 4)),
    Measure("vector", "difference", "vector", LIMITS),
)
IMAGE = (4, 30, 44)  # 30 -> 15 -> 8 -> 4: a coarser level times 2 is not always the finer one


@dataclass
class FixedEngine:
    """Gives the mean of each image, off by ``error``, and takes ``cost`` seconds of the clock."""

    error: float = 0.0
    cost: float = 1.0
    description: str = "fixed"
    runs: list[int] = field(default_factory=list)
    clock: Clock | None = None

    def run(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        self.runs.append(len(image))
        if self.clock is not None:
            self.clock.now += self.cost
        return {"mean": (image.mean(axis=(1, 2, 3)) + self.error).astype(np.float32)[:, None]}


@dataclass
class Clock:
    """Seconds that pass only when an engine runs."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def images(count: int, seed: int = 0, shape: Sequence[int] = IMAGE) -> np.ndarray:
    """Random images [count, *shape] float32."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
