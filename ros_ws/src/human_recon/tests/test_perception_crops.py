"""The virtual camera that looks at one person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.crops import CropCamera, crop_lookup, crop_points, crop_reference

CAMERA = CameraIntrinsics(160, 120, 131.0, 133.0, 80.3, 58.9)
centres = st.tuples(st.floats(-2, 2), st.floats(-1.5, 1.5), st.floats(0.5, 6))


def test_a_camera_towards_the_optical_axis_is_the_camera_itself() -> None:
    camera = CropCamera.towards(np.array([0.0, 0.0, 2.0]), window=2.0, size=100)
    np.testing.assert_allclose(camera.rotation, np.eye(3), atol=1e-12)
    assert camera.focal == pytest.approx(100.0)  # 2 m at 2 m over 100 pixels


@given(centres)
@settings(max_examples=50, deadline=None)
def test_the_centre_is_in_the_middle_and_a_metre_there_has_the_same_size_everywhere(
    centre: tuple[float, float, float],
) -> None:
    camera = CropCamera.towards(np.array(centre), window=2.2, size=110)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) == pytest.approx(1.0)
    distance = np.linalg.norm(centre)
    np.testing.assert_allclose(camera.rotation @ centre, [0, 0, distance], atol=1e-9)
    aside = camera.rotation @ camera.to_camera(np.array([0.5, 0.0, 0.0]))
    pixel = camera.intrinsics.project(np.array([aside]))[0]
    np.testing.assert_allclose(pixel, [54.5 + 25.0, 54.5], atol=1e-6)  # 50 pixels per metre
    assert camera.rotation[0, 1] == pytest.approx(0.0)  # no roll: x stays level in the real camera


@given(centres, st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_kernels_agree_with_the_reference(centre: tuple[float, float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.4, 7.0, (120, 160)).astype(np.float32) * (rng.random((120, 160)) < 0.9)
    depth = depth.astype(np.float32)
    camera = CropCamera.towards(np.array(centre), size=64)
    lookup, points = crop_reference(depth, camera, CAMERA)
    fast = crop_lookup(camera, CAMERA)
    same = fast == lookup
    assert same.mean() > 0.999  # a ray exactly between two pixels may go either way
    np.testing.assert_allclose(crop_points(depth, lookup, camera, CAMERA), points, atol=2e-6)


def test_points_keep_their_place_in_space() -> None:
    """A sloping plane stays that plane: resampling picks readings, it does not move them."""
    normal, offset = np.array([0.2, -0.3, 0.93]), 2.4
    rays = CAMERA.rays().astype(np.float64)
    depth = (offset / (rays @ normal)).astype(np.float32)
    camera = CropCamera.towards(np.array([0.4, 0.1, 2.5]))
    points = crop_points(depth, crop_lookup(camera, CAMERA), camera, CAMERA)
    seen = points[3] > 0
    assert seen.mean() > 0.4
    back = camera.to_camera(points[:3, seen].T.astype(np.float64))
    np.testing.assert_allclose(back @ normal, offset, atol=2e-6)


def test_what_is_outside_the_window_is_left_out() -> None:
    camera = CropCamera.towards(np.array([0.0, 0.0, 3.0]), window=2.0, size=32)
    lookup = crop_lookup(camera, CAMERA)
    for z, kept in ((1.9, False), (2.1, True), (4.9, True), (5.1, False), (0.0, False)):
        depth = np.full((120, 160), z, np.float32)
        assert (crop_points(depth, lookup, camera, CAMERA, window=2.0)[3, 16, 16] > 0) == kept


def test_a_centre_behind_the_camera_is_an_error() -> None:
    with pytest.raises(ValueError, match="not in front of the camera"):
        CropCamera.towards(np.array([0.0, 0.0, -1.0]))
