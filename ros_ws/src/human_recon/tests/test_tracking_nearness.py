"""How likely something is near where it is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from human_recon.tracking.nearness import probability_within


@pytest.mark.parametrize("sigma", [0.03, 0.07, 0.2])
def test_it_is_the_share_of_drawn_points(sigma: float, rng: np.random.Generator) -> None:
    drawn = np.linalg.norm(rng.normal(0, sigma, (200_000, 3)), axis=1)
    assert probability_within(np.eye(3) * sigma**2, 0.1) == pytest.approx((drawn < 0.1).mean(), abs=0.005)


def test_uneven_errors_are_not_believed_too_much(rng: np.random.Generator) -> None:
    """Well known across, badly along the line of sight."""
    sigmas = np.array([0.02, 0.02, 0.12])
    drawn = np.linalg.norm(rng.normal(0, sigmas, (200_000, 3)), axis=1)
    stated = probability_within(np.diag(sigmas**2), 0.1)
    assert (drawn < 0.1).mean() - 0.2 < stated < (drawn < 0.1).mean() + 0.02


def test_the_unknown_stays_unknown() -> None:
    stated = probability_within(np.stack([np.eye(3) * 1e-20, np.full((3, 3), np.nan)]), 0.1)
    assert stated[0] == 1.0 and np.isnan(stated[1])
