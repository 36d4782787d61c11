"""What PeopleNet sees: the coarse view of any camera, and the geometry in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.people_input import (
    HEIGHT,
    SCALE,
    WIDTH,
    CoarseView,
    people_input,
    people_input_reference,
)

COARSE = CameraIntrinsics(WIDTH, HEIGHT, 131.0, 128.0, 78.2, 61.0)


def test_kernel_equals_reference(rng: np.random.Generator) -> None:
    depth = rng.uniform(0.3, 9.0, (HEIGHT, WIDTH)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.3] = 0.0
    np.testing.assert_allclose(people_input(depth, COARSE), people_input_reference(depth, COARSE), atol=2e-6)


def test_nothing_where_there_is_no_reading(rng: np.random.Generator) -> None:
    depth = np.where(rng.random((HEIGHT, WIDTH)) < 0.5, 2.0, 0.0).astype(np.float32)
    image = people_input(depth, COARSE)
    assert (image[:, depth == 0] == 0).all()
    np.testing.assert_array_equal(image[3], depth > 0)


def test_points_are_metric() -> None:
    depth = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    image = people_input(depth, COARSE)
    pixel = (17, 140)  # row, column
    x, y = (140 - COARSE.cx) / COARSE.fx * 3.0, (17 - COARSE.cy) / COARSE.fy * 3.0
    np.testing.assert_allclose(image[:3, pixel[0], pixel[1]], SCALE * np.array([x, y, 3.0]), rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(slope=st.floats(-1.5, 1.5), focal=st.floats(60.0, 300.0))
def test_slopes_are_those_of_the_surface_whatever_the_focal_length(slope: float, focal: float) -> None:
    """z = 3 + slope * x: the rise over one pixel's width is the slope in camera axes, up to second order."""
    camera = CameraIntrinsics(WIDTH, HEIGHT, focal, focal, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    ray = (np.arange(WIDTH) - camera.cx) / camera.fx
    along = 1.0 - slope * ray
    if (along[60:100] < 0.3).any():
        return
    depth = np.zeros((HEIGHT, WIDTH), np.float32)
    depth[:, 60:100] = 3.0 / along[60:100]
    image = people_input(depth, camera)
    middle = image[:, 60, 79]
    # Along a pixel ray the change of depth per metre across is slope / (1 - slope * ray).
    true = slope / along[79]
    assert middle[4] == pytest.approx(true / np.hypot(1.0, true), abs=0.02)
    assert middle[5] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 240), (848, 480), (512, 424), (1280, 720), (100, 60)])
def test_coarse_view_sees_the_same_rays(width: int, height: int) -> None:
    camera = CameraIntrinsics(width, height, 0.9 * width, 0.91 * width, 0.52 * width, 0.47 * height)
    view = CoarseView.of(camera)
    assert view.rows.shape == (HEIGHT,) and view.columns.shape == (WIDTH,)
    columns = np.flatnonzero(view.columns >= 0)
    rows = np.flatnonzero(view.rows >= 0)
    # Nothing of the image is left out by more than a coarse pixel.
    step = max(width / WIDTH, height / HEIGHT)
    assert view.columns[columns].min() <= step and view.columns[columns].max() >= width - 1 - step
    assert view.rows[rows].min() <= step and view.rows[rows].max() >= height - 1 - step
    # The coarse camera's rays agree with those of the pixels taken, to within half a pixel of the finer image.
    coarse = (columns - view.intrinsics.cx) / view.intrinsics.fx
    taken = (view.columns[columns] - camera.cx) / camera.fx
    assert np.abs(coarse - taken).max() <= 0.5001 / camera.fx
    coarse = (rows - view.intrinsics.cy) / view.intrinsics.fy
    taken = (view.rows[rows] - camera.cy) / camera.fy
    assert np.abs(coarse - taken).max() <= 0.5001 / camera.fy


def test_coarse_view_samples_readings_and_pads_with_none() -> None:
    camera = CameraIntrinsics(848, 480, 425.0, 425.0, 424.0, 240.0)
    depth = (1.0 + np.arange(848 * 480, dtype=np.float32).reshape(480, 848) * 1e-6).astype(np.float32)
    coarse = CoarseView.of(camera).sample(depth)
    assert coarse.shape == (HEIGHT, WIDTH) and coarse.dtype == np.float32
    assert np.isin(coarse[coarse > 0], depth).all()
    assert (coarse[[0, -1]] == 0).all() and (coarse[HEIGHT // 2] > 0).all()
