"""The tool that says how well the fit knows its own errors, on errors of a known size."""

import importlib.util
import sys

import numpy as np
import pytest

from human_recon.fitting.body_fitter import BodyFitConfig


@pytest.fixture(scope="module")
def tool(repository):
    spec = importlib.util.spec_from_file_location("calibrate_fit", repository / "tools/calibrate_fit.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibrate_fit"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibrate_fit"]


def test_suggests_the_factors_that_make_errors_gaussian(tool, rng):
    """Errors are 1.5 times what is stated, and more by exp(2 d) at a similarity d below the one of recognition."""
    config = BodyFitConfig()
    covariance = config.covariance
    judged = []
    for similarity in rng.uniform(0.3, 0.75, 400):
        scale = 1.5 * np.exp(2.0 * (covariance.recognised - similarity)) / covariance.inflation_at(similarity)
        judged.append(tool.Judged(np.abs(rng.normal(0, scale, (24, 3))), rng.random(24) < 0.8, float(similarity)))
    result = tool.figures(judged, config)
    assert result["suggested"]["inflation"] == pytest.approx(1.5, rel=0.1)
    assert result["suggested"]["doubt"] == pytest.approx(2.0, rel=0.1)
    assert result["people"] == 400


def test_counts_shares(tool, rng):
    exact = [tool.Judged(np.abs(rng.normal(size=(24, 3))), np.arange(24) > 2, 0.8) for _ in range(50)]
    result = tool.figures(exact, BodyFitConfig())
    assert result["all"] == pytest.approx([0.683, 0.954, 0.997], abs=0.03)
    assert result["suggested"]["inflation"] == pytest.approx(result["used"]["inflation"], rel=0.05)
    assert result["suggested"]["doubt"] == result["used"]["doubt"]
