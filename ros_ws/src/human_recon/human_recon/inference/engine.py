"""What every inference engine offers, whatever runs behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


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
