"""What every term of the fit hands to the solver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.fitting.kinematics import PARAMETERS


@dataclass(frozen=True)
class Residuals:
    """A term linearised in the parameters of `human_recon.fitting.kinematics`.

    ``rows.T @ values`` is the gradient of ``energy``, and ``rows.T @ rows`` its Gauss-Newton curvature; for a robust
    term the rows carry the weights of iteratively reweighted least squares.
    """

    rows: np.ndarray  # [R, 85]
    values: np.ndarray  # [R], in standard deviations
    energy: float

    @classmethod
    def quadratic(cls, rows: np.ndarray, values: np.ndarray, constant: float = 0.0) -> Residuals:
        """A term whose energy is half the sum of squares, plus a constant."""
        return cls(rows, values, 0.5 * float(values @ values) + constant)

    @classmethod
    def nothing(cls) -> Residuals:
        return cls(np.zeros((0, PARAMETERS)), np.zeros(0), 0.0)
