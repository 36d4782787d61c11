"""What every inference engine offers, whatever runs behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np


class EngineError(Exception):
    """A network cannot be run as asked: one line that says why and how to mend it."""


class Engine(Protocol):
    """A network that is ready to run. One caller at a time."""

    @property
    def description(self) -> str:
        """What runs, for logs and diagnostics: backend and its version, precision, device."""
        ...

    def run(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        """Outputs by name, float32, for ``image`` [N, C, H, W] float32.

        Any N from 1 on works, however the engine batches inside. The arrays are the caller's to keep.

        Raises:
            ValueError: the image has another shape or type than the network's input.
        """
        ...


def check_image(image: np.ndarray, shape: Sequence[int]) -> None:
    """Raise ValueError unless ``image`` is float32 [N, *shape] with N at least 1."""
    if not isinstance(image, np.ndarray) or image.dtype != np.float32:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"the network takes an array of float32, not of {kind}")
    if image.ndim != 4 or image.shape[1:] != tuple(shape) or len(image) == 0:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"the network takes images [N, {expected}] with N >= 1, not {list(image.shape)}")
