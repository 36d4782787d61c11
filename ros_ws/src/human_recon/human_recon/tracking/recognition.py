"""Whether somebody new is somebody who was here before: by place, time and shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.tracking.shape_filter import ShapeFilter


@dataclass(frozen=True)
class RecognitionConfig:
    """How people come back."""

    memory: float = 10.0  # seconds for which somebody given up is remembered
    near: float = 0.35  # metres per axis: where people reappear who were just lost
    roaming: float = 0.5  # metres per second by which that grows
    room: float = 30.0  # square metres anywhere in which somebody new may appear instead
    shape_worth: float = 0.5  # of what one frame says of a shape: its errors are partly those of every frame
    most: float = 3.0  # bound of what the shape can speak for it, in nats; clothes look alike

    def __post_init__(self) -> None:
        if min(self.memory, self.near, self.roaming, self.room, self.shape_worth, self.most) <= 0:
            raise ValueError("every setting of the recognition must be above 0")


def likelihood_ratio(
    distance: float, seconds: float, before: ShapeFilter, now: ShapeFilter, config: RecognitionConfig
) -> float:
    """Logarithm of how much likelier it is that this is the person remembered than somebody who was never here.

    Place: a normal distribution in the plane that widens with the time since, against anywhere in the room. Shape: the
    frame's betas under what is remembered, against what people are like.

    Args:
        distance: metres from where the person is believed to be.
        seconds: since the person was last seen.
        before: the person's shape.
        now: the shape of somebody new, after one frame.
        config: settings.
    """
    variance = (config.near + config.roaming * seconds) ** 2
    place = np.log(config.room / (2.0 * np.pi * variance)) - 0.5 * distance**2 / variance
    information, vector = now.frame
    covariance = np.linalg.inv(config.shape_worth * information + 1e-3 * np.eye(10))
    seen = np.linalg.solve(information + 1e-3 / config.shape_worth * np.eye(10), vector)
    same = _log_normal(seen - before.betas, covariance + np.linalg.inv(before.information))
    other = _log_normal(seen, covariance + np.eye(10) * now.config.prior**2)
    return float(place + min(same - other, config.most))


def _log_normal(x: np.ndarray, covariance: np.ndarray) -> float:
    """Up to the constant that all normal distributions of this size share."""
    return -0.5 * float(x @ np.linalg.solve(covariance, x) + np.linalg.slogdet(covariance)[1])
