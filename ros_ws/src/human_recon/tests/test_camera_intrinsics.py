"""Cameras: validation, projection and distortion against OpenCV, resizing, CameraInfo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.distortion import Distortion, _distort_brown, distort_reference, tilt_matrix
from human_recon.camera.intrinsics import CameraIntrinsics

# Calibrations of the strength seen on real cameras, one per model and number of coefficients.
LENSES = {
    "plumb_bob 4": ("plumb_bob", [0.12, -0.25, 0.001, -0.0005]),
    "plumb_bob 5": ("plumb_bob", [-0.28, 0.09, 0.0006, -0.0009, -0.015]),
    "rational 8": ("rational_polynomial", [0.45, -2.4, 0.0007, -0.0002, 1.4, 0.33, -2.2, 1.3]),
    "rational 12": (
        "rational_polynomial",
        [0.1, -0.05, 0.001, 0.002, 0.01, 0.02, 0.03, 0.001, 0.002, -0.001, 0.0015, 0.0005],
    ),
    "rational 14": (
        "rational_polynomial",
        [0.1, -0.05, 0.001, 0.002, 0.01, 0.02, 0.03, 0.001, 0.002, -0.001, 0.0015, 0.0005, 0.03, -0.02],
    ),
    "equidistant": ("equidistant", [0.02, -0.01, 0.003, -0.0005]),
}


def camera(lens: str | None = None, width: int = 640, height: int = 480) -> CameraIntrinsics:
    model, coefficients = LENSES[lens] if lens else ("none", [])
    return CameraIntrinsics(width, height, 520.0, 515.0, 322.5, 236.25, model, np.array(coefficients))


def points_in_view(rng: np.random.Generator, count: int) -> np.ndarray:
    x = rng.uniform(-0.6, 0.6, count)
    y = rng.uniform(-0.45, 0.45, count)
    z = rng.uniform(0.4, 9.0, count)
    return np.stack([x * z, y * z, z], axis=-1)


def project_by_opencv(points: np.ndarray, k: CameraIntrinsics) -> np.ndarray:
    zero = np.zeros(3)
    if k.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], zero, zero, k.matrix, k.distortion)[0][:, 0]
    return cv2.projectPoints(points[:, None], zero, zero, k.matrix, k.distortion)[0][:, 0]


@pytest.mark.parametrize("lens", LENSES)
def test_projection_is_opencvs(lens: str, rng: np.random.Generator) -> None:
    points = points_in_view(rng, 500)
    np.testing.assert_allclose(camera(lens).project(points), project_by_opencv(points, camera(lens)), atol=1e-8)


def test_projection_without_distortion_is_the_matrix(rng: np.random.Generator) -> None:
    points = points_in_view(rng, 100)
    homogeneous = points @ np.array([[520.0, 0, 322.5], [0, 515.0, 236.25], [0, 0, 1]]).T
    np.testing.assert_allclose(camera().project(points), homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-10)


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_inverts_opencvs_projection(lens: str, rng: np.random.Generator) -> None:
    points = points_in_view(rng, 500)
    pixels = project_by_opencv(points, camera(lens))
    np.testing.assert_allclose(camera(lens).unproject(pixels, points[:, 2]), points, atol=1e-7)


@pytest.mark.parametrize("lens", [None, *LENSES])
def test_project_of_unproject_is_the_pixel(lens: str | None, rng: np.random.Generator) -> None:
    """Every pixel of the image, not only those points happen to fall on."""
    pixels = rng.uniform([0, 0], [639, 479], (2000, 2))
    points = camera(lens).unproject(pixels, rng.uniform(0.3, 8.0, 2000))
    assert np.isfinite(points).all()
    np.testing.assert_allclose(camera(lens).project(points), pixels, atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_compiled_distortion_agrees_with_the_plain_formula(lens: str, rng: np.random.Generator) -> None:
    model, coefficients = LENSES[lens]
    points = rng.uniform(-0.5, 0.5, (300, 2))
    fast = Distortion(model, np.array(coefficients)).distort(points)
    np.testing.assert_allclose(fast, distort_reference(model, np.array(coefficients), points), atol=1e-12)


def test_distortion_jacobian_is_the_numerical_one(rng: np.random.Generator) -> None:
    d = np.array(LENSES["rational 14"][1])
    tilt = tilt_matrix(d[12], d[13])
    for x, y in rng.uniform(-0.5, 0.5, (20, 2)):
        step = 1e-6
        analytic = np.array(_distort_brown(x, y, d, tilt)[2:]).reshape(2, 2)
        right, left, below, above = (
            np.array(_distort_brown(x + dx, y + dy, d, tilt)[:2])
            for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step))
        )
        numerical = np.stack([(right - left), (below - above)], axis=1) / (2 * step)
        np.testing.assert_allclose(analytic, numerical, atol=1e-8)


def test_a_point_far_outside_is_not_folded_into_the_image() -> None:
    """k1 = -0.28: the polynomial turns back at a normalised radius of about 1.1 and would hit the image again."""
    lens = camera("plumb_bob 4")
    strong = CameraIntrinsics(640, 480, 520, 520, 320, 240, "plumb_bob", np.array([-0.3, 0.0, 0.0, 0.0, 0.0]))
    outside = np.array([[1.8, 0.0, 1.0]])
    assert abs(project_by_opencv(outside, strong)[0, 0] - 320) < 320  # the trap is there
    assert np.isnan(strong.project(outside)).all()
    assert np.isfinite(lens.project(np.array([[0.5, 0.0, 1.0]]))).all()


def test_points_behind_the_camera_have_no_pixel() -> None:
    points = np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0], [np.nan, 0.0, 1.0]])
    assert np.isnan(camera().project(points)[:2]).all()
    assert np.isnan(camera().project(points)[2, 0])


def test_float32_stays_float32() -> None:
    assert camera("plumb_bob 5").project(np.ones((2, 3), np.float32)).dtype == np.float32
    assert camera().unproject(np.ones((2, 2), np.float32), np.float32(2)).dtype == np.float32


def test_rays_are_unprojected_pixels() -> None:
    k = camera("plumb_bob 5", 64, 48)
    rays = k.rays()
    assert rays.shape == (48, 64, 3) and rays.dtype == np.float32 and not rays.flags.writeable
    np.testing.assert_allclose(rays[7, 31], k.unproject(np.array([31.0, 7.0])), rtol=1e-6)
    assert k.rays() is rays


sizes = st.integers(8, 2000)
focal_lengths = st.floats(50, 3000)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, focal_lengths, focal_lengths, st.floats(0.1, 4.0), st.sampled_from([None, *LENSES]))
def test_scaling_moves_pixel_borders_in_proportion(
    width: int, height: int, fx: float, fy: float, factor: float, lens: str | None
) -> None:
    """In border coordinates (pixel + 0.5) the image is scaled by the factor, whatever the lens."""
    model, coefficients = LENSES[lens] if lens else ("none", [])
    k = CameraIntrinsics(width, height, fx, fy, width / 2, height / 3, model, np.array(coefficients))
    point = np.array([0.11, -0.07, 1.3])
    np.testing.assert_allclose(
        k.scaled(factor).project(point) + 0.5, (k.project(point) + 0.5) * factor, rtol=1e-9, atol=1e-9
    )
    assert abs(k.scaled(factor).width - width * factor) <= 0.5


def test_scaling_matches_opencv_resize() -> None:
    """A bright blob's centre in an image halved by area averaging, where the scaled camera says it is."""
    k = CameraIntrinsics(64, 48, 60, 60, 31.5, 23.5)
    image = np.zeros((48, 64), np.float32)
    image[20:24, 40:44] = 1.0  # centre (41.5, 21.5)
    half = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(half)
    point = k.unproject(np.array([41.5, 21.5]))
    np.testing.assert_allclose(k.scaled(0.5).project(point), [columns.mean(), rows.mean()], atol=1e-9)


def test_cropping_shifts_pixels() -> None:
    point = np.array([0.1, 0.05, 1.0])
    part = camera("plumb_bob 5").cropped(100, 50, 200, 150)
    assert (part.width, part.height) == (200, 150)
    np.testing.assert_allclose(part.project(point), camera("plumb_bob 5").project(point) - (100, 50))
    with pytest.raises(ValueError, match="not inside"):
        camera().cropped(600, 0, 100, 100)


def test_equality_and_hash_are_by_value() -> None:
    assert camera("plumb_bob 5") == camera("plumb_bob 5") != camera("plumb_bob 4")
    assert len({camera("equidistant"), camera("equidistant"), camera()}) == 2
    assert camera() != "a camera"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fx": 0.0}, "not calibrated"),
        ({"fy": -3.0}, "positive"),
        ({"cx": np.nan}, "finite"),
        ({"fx": np.inf}, "finite"),
        ({"width": 0}, "size"),
        ({"height": -4}, "size"),
        ({"width": 10**12}, "size"),
        ({"distortion_model": "thin_prism_fisheye"}, "not supported"),
        ({"distortion_model": "plumb_bob", "distortion": np.zeros(3)}, "4 or 5"),
        ({"distortion_model": "rational_polynomial", "distortion": np.zeros(5)}, "8 or 12 or 14"),
        ({"distortion_model": "plumb_bob", "distortion": np.full(5, np.nan)}, "finite"),
        ({"distortion": np.ones(5)}, "0 coefficients"),
    ],
)
def test_impossible_cameras_are_refused(changes: dict, message: str) -> None:
    good: dict = {"width": 640, "height": 480, "fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}
    with pytest.raises(ValueError, match=message):
        CameraIntrinsics(**(good | changes))


class TestCameraInfo:
    K = (525.0, 0.0, 319.5, 0.0, 525.0, 239.5, 0.0, 0.0, 1.0)

    def test_plain(self) -> None:
        k = CameraIntrinsics.from_camera_info(640, 480, self.K, [0.1, -0.2, 0.0, 0.0, 0.05], "plumb_bob")
        assert (k.width, k.height, k.fx, k.cx, k.distortion_model) == (640, 480, 525.0, 319.5, "plumb_bob")
        assert k.distorted

    @pytest.mark.parametrize("model", ["", "plumb_bob", "rational_polynomial"])
    def test_all_zero_distortion_is_none_whatever_its_length(self, model: str) -> None:
        assert not CameraIntrinsics.from_camera_info(640, 480, self.K, [0.0] * 8, model).distorted

    def test_zero_coefficients_of_a_fisheye_still_distort(self) -> None:
        assert CameraIntrinsics.from_camera_info(640, 480, self.K, [0.0] * 4, "equidistant").distorted

    def test_rectified_takes_p(self) -> None:
        p = [500.0, 0, 310.0, 0, 0, 501.0, 230.0, 0, 0, 0, 1, 0]
        k = CameraIntrinsics.from_camera_info(640, 480, self.K, [0.1] * 5, "plumb_bob", p=p, rectified=True)
        assert (k.fx, k.fy, k.cx, k.cy, k.distorted) == (500.0, 501.0, 310.0, 230.0, False)

    def test_binning_joins_pixels(self) -> None:
        k = CameraIntrinsics.from_camera_info(640, 480, self.K, binning=(2, 2))
        assert (k.width, k.height, k.fx) == (320, 240, 262.5)
        # Full-resolution pixels 0 and 1 (centre 0.5) become pixel 0.
        full = CameraIntrinsics.from_camera_info(640, 480, self.K)
        np.testing.assert_allclose(k.project(full.unproject(np.array([0.5, 0.5]))), [0.0, 0.0], atol=1e-9)

    def test_region_of_interest_is_cut_before_binning(self) -> None:
        k = CameraIntrinsics.from_camera_info(640, 480, self.K, roi=(100, 60, 400, 200), binning=(2, 1))
        full = CameraIntrinsics.from_camera_info(640, 480, self.K)
        assert (k.width, k.height) == (200, 200)
        np.testing.assert_allclose(k.project(full.unproject(np.array([100.5, 60.0]))), [0.0, 0.0], atol=1e-9)

    def test_whole_image_as_region_is_no_region(self) -> None:
        full = CameraIntrinsics.from_camera_info(640, 480, self.K)
        assert CameraIntrinsics.from_camera_info(640, 480, self.K, roi=(0, 0, 640, 480)) == full

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"k": [0.0] * 9}, "not calibrated"),
            ({"k": [np.nan] * 9}, "skew|finite"),
            ({"k": [1.0] * 4}, "9"),
            ({"k": (525.0, 3.0, 319.5, 0.0, 525.0, 239.5, 0.0, 0.0, 1.0)}, "skew"),
            ({"k": K, "rectified": True}, "projection matrix"),
            ({"k": K, "roi": (600, 0, 100, 100)}, "not inside"),
            ({"k": K, "d": [0.1] * 6, "distortion_model": "plumb_bob"}, "4 or 5"),
            ({"k": K, "d": [0.1] * 5, "distortion_model": ""}, "0 coefficients"),
        ],
    )
    def test_unusable_values_are_refused(self, arguments: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            CameraIntrinsics.from_camera_info(640, 480, **arguments)
