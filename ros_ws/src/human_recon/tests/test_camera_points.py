"""Depth images to points and back, undistortion, guessed cameras, presets."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.fit import CameraFitError, fit_intrinsics, virtual_camera
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points, points_to_depth, undistort_frame
from human_recon.camera.presets import PRESETS

PINHOLE = CameraIntrinsics(40, 30, 35.0, 36.0, 19.0, 14.5)
BARREL = CameraIntrinsics(40, 30, 35.0, 36.0, 19.0, 14.5, "plumb_bob", np.array([-0.2, 0.03, 0.001, 0.002, 0.0]))


def depth_image(rng: np.random.Generator, camera: CameraIntrinsics) -> np.ndarray:
    depth = rng.uniform(0.5, 6.0, (camera.height, camera.width)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = 0
    return depth


@pytest.mark.parametrize("camera", [PINHOLE, BARREL], ids=["pinhole", "distorted"])
def test_points_of_a_depth_image_pixel_by_pixel(camera: CameraIntrinsics, rng: np.random.Generator) -> None:
    depth = depth_image(rng, camera)
    points = depth_to_points(depth, camera)
    assert points.dtype == np.float32
    for v in range(camera.height):
        for u in range(camera.width):
            if depth[v, u] == 0:
                assert (points[v, u] == 0).all()
                continue
            x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
            if camera.distorted:
                pixel = np.array([[[float(u), float(v)]]])
                expected = cv2.projectPoints(
                    points[v, u].astype(float)[None], np.zeros(3), np.zeros(3), camera.matrix, camera.distortion
                )[0]
                np.testing.assert_allclose(expected, pixel, atol=1e-4)
                assert points[v, u, 2] == depth[v, u]
            else:
                np.testing.assert_allclose(points[v, u], np.array([x, y, 1]) * depth[v, u], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("camera", [PINHOLE, BARREL], ids=["pinhole", "distorted"])
def test_points_fall_back_on_their_pixels(camera: CameraIntrinsics, rng: np.random.Generator) -> None:
    depth = depth_image(rng, camera)
    np.testing.assert_array_equal(points_to_depth(depth_to_points(depth, camera), camera), depth)


def test_size_mismatch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(30, 41\)"):
        depth_to_points(np.ones((30, 41), np.float32), PINHOLE)


def splat_reference(points: np.ndarray, camera: CameraIntrinsics, radius: int) -> tuple[np.ndarray, np.ndarray]:
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    index = np.full(depth.shape, -1)
    for i, point in enumerate(points):
        if not (np.isfinite(point).all() and point[2] > 0):
            continue
        u = int(np.floor(camera.fx * float(point[0]) / float(point[2]) + camera.cx + 0.5))
        v = int(np.floor(camera.fy * float(point[1]) / float(point[2]) + camera.cy + 0.5))
        for row in range(v - radius, v + radius + 1):
            for column in range(u - radius, u + radius + 1):
                inside = 0 <= row < camera.height and 0 <= column < camera.width
                if inside and point[2] < depth[row, column]:
                    depth[row, column], index[row, column] = point[2], i
    return np.where(np.isfinite(depth), depth, 0), index


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_splatting_agrees_with_the_plain_loop(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal([0, 0, 2], [2, 2, 1.5], (300, 3)).astype(np.float32)  # some outside, some behind
    points[::17] = np.nan
    points[5] = [1e30, 0, 1e-30]
    points[6] = [0, 0, np.inf]
    depth, index = points_to_depth(points, PINHOLE, radius=radius, return_index=True)
    expected_depth, expected_index = splat_reference(points, PINHOLE, radius)
    np.testing.assert_array_equal(depth, expected_depth)
    np.testing.assert_array_equal(index, expected_index)


def test_no_points_give_an_empty_image() -> None:
    assert not points_to_depth(np.zeros((0, 3), np.float32), PINHOLE).any()


class TestUndistortion:
    def test_frame_without_distortion_is_returned(self) -> None:
        frame = Frame(0, "camera", np.ones((30, 40), np.float32), PINHOLE)
        assert undistort_frame(frame) is frame

    @pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
    def test_a_plane_seen_through_a_lens_is_the_plane_seen_by_a_pinhole(self, model: str) -> None:
        """Ground truth is analytic: z of the plane n.p = 2 along each ray."""
        coefficients = np.array([-0.2, 0.03, 0.0, 0.0, 0.0] if model == "plumb_bob" else [0.01, 0.0, 0.0, 0.0])
        camera = CameraIntrinsics(320, 240, 260.0, 260.0, 160.0, 120.0, model, coefficients)
        normal = np.array([0.2, -0.1, 1.0])

        def plane(rays: np.ndarray) -> np.ndarray:
            return (2.0 / (rays.astype(float) @ normal)).astype(np.float32)

        color = np.full((240, 320, 3), 77, np.uint8)
        result = undistort_frame(Frame(5, "camera", plane(camera.rays()), camera, color))
        truth = plane(camera.pinhole.rays())
        seen = result.depth > 0
        assert result.intrinsics == camera.pinhole and result.stamp_ns == 5
        assert seen[20:-20, 20:-20].all()
        # Nearest pixel: at most 0.71 px away, where this plane changes by under 3 mm.
        assert np.abs(result.depth - truth)[seen].max() < 3e-3
        assert np.abs(plane(camera.rays()) - truth).max() > 0.01  # doing nothing would not pass
        assert (result.color[120, 160] == 77).all()

    def test_map_is_opencvs(self, rng: np.random.Generator) -> None:
        camera = replace(BARREL, width=320, height=240, fx=260.0, fy=260.0, cx=160.0, cy=120.0)
        depth = rng.uniform(1, 2, (240, 320)).astype(np.float32)
        map_x, map_y = cv2.initUndistortRectifyMap(
            camera.matrix, camera.distortion, None, camera.matrix, (320, 240), cv2.CV_32FC1
        )
        expected = cv2.remap(depth, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        result = undistort_frame(Frame(0, "camera", depth, camera)).depth
        assert (result != expected).mean() < 0.002  # rounding of positions midway between two pixels


class TestFit:
    def test_exact_cloud_gives_back_the_camera(self, rng: np.random.Generator) -> None:
        camera = CameraIntrinsics(64, 48, 61.5, 60.25, 30.75, 25.5)
        points = depth_to_points(depth_image(rng, camera), camera).astype(np.float32)
        points[points[..., 2] == 0] = np.nan
        fitted = fit_intrinsics(points)
        np.testing.assert_allclose([fitted.fx, fitted.fy, fitted.cx, fitted.cy], [61.5, 60.25, 30.75, 25.5], atol=1e-4)
        assert (fitted.width, fitted.height) == (64, 48)

    def test_wild_points_do_not_matter(self, rng: np.random.Generator) -> None:
        camera = CameraIntrinsics(64, 48, 61.5, 60.25, 30.75, 25.5)
        points = depth_to_points(np.full((48, 64), 2.0, np.float32), camera)
        wild = rng.random((48, 64)) < 0.1
        points[wild] = rng.uniform(-3, 3, (int(wild.sum()), 3)) + [0, 0, 4]
        assert fit_intrinsics(points).fx == pytest.approx(61.5, abs=0.01)

    def test_other_organised_clouds_are_refused(self, rng: np.random.Generator) -> None:
        with pytest.raises(CameraFitError, match="not the image of a pinhole"):
            fit_intrinsics(rng.uniform([-1, -1, 1], [1, 1, 2], (48, 64, 3)))
        angle = np.linspace(-1, 1, 64)  # columns at equal angles, as a turning laser scanner has them
        row = np.linspace(-0.3, 0.3, 48)
        scan = np.stack(np.broadcast_arrays(np.tan(angle)[None], row[:, None], np.ones((1, 1))), axis=-1)
        with pytest.raises(CameraFitError, match="not the image of a pinhole"):
            fit_intrinsics(scan * 3.0)

    def test_too_little_is_refused(self) -> None:
        with pytest.raises(CameraFitError, match="too few"):
            fit_intrinsics(np.full((48, 64, 3), np.nan))
        column = np.full((60, 2, 3), np.nan)
        column[:, 0] = np.stack([np.zeros(60), np.linspace(-1, 1, 60), np.ones(60)], axis=-1)
        with pytest.raises(CameraFitError, match="line"):
            fit_intrinsics(column)

    def test_real_frame(self, data_dir) -> None:
        """Known from the sensor: OpenNI's nominal camera."""
        from human_recon.io.pcd import read_pcd

        fitted = fit_intrinsics(read_pcd(data_dir / "real" / "five_people.pcd").points)
        np.testing.assert_allclose(
            [fitted.fx, fitted.fy, fitted.cx, fitted.cy], [525.0, 525.0, 319.5, 239.5], atol=1e-3
        )


class TestVirtualCamera:
    def test_covers_the_cloud_at_its_own_density(self, rng: np.random.Generator) -> None:
        camera = CameraIntrinsics(320, 240, 262.5, 262.5, 159.5, 119.5)
        points = depth_to_points(np.full((240, 320), 3.0, np.float32), camera).reshape(-1, 3)
        rng.shuffle(points)
        virtual = virtual_camera(points)
        depth = points_to_depth(points, virtual)
        pixels = virtual.project(points)
        inside = ((pixels > -0.5) & (pixels < [virtual.width - 0.5, virtual.height - 0.5])).all(axis=1)
        assert inside.mean() > 0.99
        assert (depth > 0).mean() > 0.97
        assert 180 < virtual.width < 260  # 320 / 1.5, where the spacing is measured from 8 neighbours

    def test_random_points_leave_few_holes(self, rng: np.random.Generator) -> None:
        points = rng.uniform([-1, -0.7, 2], [1, 0.7, 2], (20000, 3))
        depth = points_to_depth(points, virtual_camera(points))
        assert (depth[2:-2, 2:-2] > 0).mean() > 0.85

    def test_nothing_in_front_is_refused(self) -> None:
        with pytest.raises(CameraFitError, match="optical frame"):
            virtual_camera(np.array([[0.0, 0.0, -1.0], [np.nan, 0, 1]]))

    @pytest.mark.parametrize("count", [1, 2, 10])
    def test_few_points_and_far_outliers_stay_a_camera(self, count: int, rng: np.random.Generator) -> None:
        points = rng.normal([0, 0, 2], 0.1, (count, 3))
        points = np.concatenate([points, [[1e6, 1e6, 0.01]]])
        virtual = virtual_camera(points)
        assert virtual.width <= 1300 and virtual.height <= 1300


class TestFrame:
    def test_wrong_arrays_are_refused(self) -> None:
        good = np.ones((30, 40), np.float32)
        with pytest.raises(ValueError, match="float64"):
            Frame(0, "c", good.astype(np.float64), PINHOLE)
        with pytest.raises(ValueError, match=r"\[40, 30\]"):
            Frame(0, "c", good.T, PINHOLE)
        with pytest.raises(ValueError, match="color"):
            Frame(0, "c", good, PINHOLE, np.zeros((30, 40), np.uint8))
        with pytest.raises(ValueError, match="up"):
            Frame(0, "c", good, PINHOLE, None, np.zeros(2))


class TestPresets:
    @pytest.mark.parametrize("name", sorted(PRESETS))
    def test_is_consistent(self, name: str) -> None:
        preset = PRESETS[name]
        camera = preset.intrinsics
        assert 0 < preset.depth_min < preset.depth_max < 25
        assert abs(camera.cx - camera.width / 2) <= 1 and abs(camera.cy - camera.height / 2) < 0.1 * camera.height
        assert preset.noise in ("none", "structured_light", "active_stereo", "stereo", "time_of_flight")
        assert preset.source and preset.topics.depth.startswith("/") and preset.topics.info.startswith("/")

    @pytest.mark.parametrize(
        ("name", "horizontal"), [("kinect_v1", 62.7), ("kinect_v2", 70.6), ("realsense_d435", 87.0), ("gazebo", 60.0)]
    )
    def test_field_of_view_is_the_known_one(self, name: str, horizontal: float) -> None:
        camera = PRESETS[name].intrinsics
        assert np.degrees(2 * np.arctan(camera.width / 2 / camera.fx)) == pytest.approx(horizontal, abs=0.1)
