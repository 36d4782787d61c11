"""One body's shape over time: an information filter over the betas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShapeConfig:
    """How shapes are averaged and when they are believed."""

    correlation: float = 0.3  # seconds for which the errors of fits stay the same: frames are no independent witnesses
    prior: float = 1.0  # standard deviation of the betas before anything is seen
    lock_sigma: float = 0.008  # metres of stature: a shape known this well is held fixed
    lock_after: float = 3.0  # seconds of measurements before which it is not

    def __post_init__(self) -> None:
        if min(self.correlation, self.prior, self.lock_sigma, self.lock_after) <= 0:
            raise ValueError("every setting of the shape must be above 0")


_FRAME = 1.0 / 30.0  # seconds that the first frame, before which there is none, counts as


class ShapeFilter:
    """The betas of one body. Mutable; one caller at a time."""

    def __init__(self, config: ShapeConfig, stature_slope: np.ndarray) -> None:
        """``stature_slope`` [10]: metres of stature per unit of each beta."""
        self.config = config
        self._slope = stature_slope
        self._information: np.ndarray = np.eye(10) / config.prior**2
        self._vector: np.ndarray = np.zeros(10)
        self.betas: np.ndarray = np.zeros(10)
        self.seconds = 0.0  # of measurements
        self.locked = False
        self._may_lock = True
        self._first = True
        self.frame = (np.zeros((10, 10)), np.zeros(10))  # the last frame's word: information, and information x betas

    @property
    def information(self) -> np.ndarray:
        """[10, 10] inverse covariance of the betas."""
        return self._information

    @property
    def stature_sigma(self) -> float:
        """Standard deviation of the stature, metres."""
        return float(np.sqrt(self._slope @ np.linalg.solve(self._information, self._slope)))

    def lock(self, lock: bool) -> None:
        """Hold the shape, or let it adapt until told otherwise."""
        self.locked, self._may_lock = lock, lock

    def update(self, information: np.ndarray, vector: np.ndarray, seconds: float) -> None:
        """Take in what a frame says of the betas, ``seconds`` after the last one.

        Args:
            information: [10, 10] inverse covariance. Directions with none or less are left out.
            vector: [10] the information times the betas.
        """
        worth = min(max(seconds, _FRAME if self._first else 0.0) / self.config.correlation, 1.0)
        if self.locked or not (np.isfinite(information).all() and np.isfinite(vector).all()):
            return
        self.seconds += seconds
        strength, directions = np.linalg.eigh(0.5 * (information + information.T))
        usable = strength > 0.0
        frame = (directions * np.where(usable, strength, 0.0)) @ directions.T
        wanted = directions @ (usable * (directions.T @ vector))
        self.frame = frame, wanted
        self._information = self._information + worth * frame
        self._vector = self._vector + worth * wanted
        if self._first:
            # One frame counts little against those to come, but until then there is nothing better.
            self._first = False
            self.betas = np.linalg.solve(np.eye(10) / self.config.prior**2 + frame, wanted)
            self._vector = self._information @ self.betas
        else:
            self.betas = np.linalg.solve(self._information, self._vector)
        if self._may_lock and self.seconds >= self.config.lock_after and self.stature_sigma <= self.config.lock_sigma:
            self.locked = True
