"""What a fit may be asked to agree with beside its own evidence."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from human_recon.body.state import BodyState
from human_recon.fitting.residuals import Residuals


class Term(Protocol):
    """One term of the objective, bound to one person of one frame."""

    def residuals(self, state: BodyState, vertices: np.ndarray) -> Residuals:
        """Linearise the term at a body.

        Args:
            state: the body.
            vertices: [V, 3] float32, the same body posed, camera frame, metres.
        """
        ...
