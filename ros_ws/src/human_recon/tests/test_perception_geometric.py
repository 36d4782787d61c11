"""The geometric detector on scenes made of planes and simple solids, rendered pixel by pixel from their equations."""

import numpy as np
import pytest

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.geometric import GeometricDetector
from human_recon.perception.merge_tree import separate_peaks

CAMERA = CameraIntrinsics(320, 240, 262.5, 262.5, 159.5, 119.5)
CAMERA_HEIGHT = 1.3


def rays() -> np.ndarray:
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    return np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)


def ellipsoid_depth(centre, radii) -> np.ndarray:
    """Depth of an ellipsoid along every ray, inf where missed."""
    d, c = rays() / radii, np.asarray(centre) / radii
    a, b, e = (d * d).sum(-1), (d @ c), c @ c - 1.0
    root = b * b - a * e
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def room_depth(distance: float = 5.0) -> np.ndarray:
    direction = rays()
    with np.errstate(divide="ignore"):
        floor = np.where(direction[..., 1] > 0, CAMERA_HEIGHT / direction[..., 1], np.inf)
    return np.minimum(floor, distance)


def figure_depth(x: float, z: float, stature: float = 1.75) -> np.ndarray:
    """A figure of ellipsoids: head, torso with shoulders, two legs. Feet on the floor."""
    floor = CAMERA_HEIGHT
    parts = [
        ((x, floor - stature + 0.12, z), (0.085, 0.12, 0.10)),
        ((x, floor - 0.68 * stature, z), (0.23, 0.21 * stature, 0.13)),
        ((x - 0.1, floor - 0.27 * stature, z), (0.09, 0.27 * stature, 0.09)),
        ((x + 0.1, floor - 0.27 * stature, z), (0.09, 0.27 * stature, 0.09)),
    ]
    return np.min([ellipsoid_depth(*part) for part in parts], axis=0)


def frame_of(depth: np.ndarray, up=None) -> Frame:
    depth = np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
    return Frame(0, "camera", depth, CAMERA, up=up)


def test_floor_is_found_where_it_is():
    detection = GeometricDetector().detect(frame_of(room_depth()))
    floor = detection.surface.surroundings.floor
    assert floor is not None
    np.testing.assert_allclose(floor.normal, [0.0, -1.0, 0.0], atol=5e-3)
    assert floor.offset == pytest.approx(CAMERA_HEIGHT, abs=0.01)


def test_empty_room_has_nobody():
    assert GeometricDetector().detect(frame_of(room_depth())).hypotheses == ()


@pytest.mark.parametrize("places", [[(0.0, 2.5)], [(-0.6, 2.2), (0.7, 3.0)], [(-0.9, 2.6), (0.0, 3.4), (0.9, 2.6)]])
def test_every_figure_is_found_with_its_pixels(places):
    figures = [figure_depth(*place) for place in places]
    depth = np.minimum(room_depth(), np.min(figures, axis=0))
    hypotheses = GeometricDetector().detect(frame_of(depth)).hypotheses
    assert len(hypotheses) == len(places)
    for figure in figures:
        truth = (figure == depth) & np.isfinite(figure)
        overlap = max((h.mask & truth).sum() / (h.mask | truth).sum() for h in hypotheses)
        assert overlap > 0.9


def test_figures_with_touching_shoulders_are_two():
    """Shoulder to shoulder at one distance there is no depth edge between them: only the heads tell."""
    places = [(-0.22, 2.5), (0.22, 2.5)]
    figures = [figure_depth(*place) for place in places]
    depth = np.minimum(room_depth(), np.min(figures, axis=0))
    hypotheses = GeometricDetector().detect(frame_of(depth)).hypotheses
    assert len(hypotheses) == 2
    heads = sorted(h.head[0] for h in hypotheses)
    np.testing.assert_allclose(heads, [-0.22, 0.22], atol=0.06)


def test_boxes_and_poles_are_nobody():
    cupboard = np.where(
        np.abs(rays()[..., 0] * 3.0 - 0.9) < 0.3, np.where(np.abs(rays()[..., 1] * 3.0) < 0.9, 3.0, np.inf), np.inf
    )
    pole = np.where(np.abs(rays()[..., 0] * 2.5 + 0.5) < 0.06, 2.5, np.inf)
    depth = np.minimum(np.minimum(room_depth(), cupboard), pole)
    assert GeometricDetector().detect(frame_of(depth)).hypotheses == ()


def test_a_seen_floor_is_found_under_a_rolled_camera_with_known_gravity():
    roll = np.radians(60.0)  # beyond what is believed without gravity
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    direction = rays() @ turn  # rays in the level frame
    with np.errstate(divide="ignore"):
        depth = np.minimum(np.where(direction[..., 1] > 0, 1.3 / direction[..., 1], np.inf), 6.0)
    up = turn @ np.array([0.0, -1.0, 0.0])
    assert GeometricDetector().detect(frame_of(depth)).surface.surroundings.floor is None
    floor = GeometricDetector().detect(frame_of(depth, up=up)).surface.surroundings.floor
    assert floor is not None
    np.testing.assert_allclose(floor.normal, up, atol=0.01)


def test_no_reading_anywhere_is_nobody():
    assert GeometricDetector().detect(frame_of(np.zeros((240, 320)))).hypotheses == ()


class TestSeparatePeaks:
    """A row of pixels as a height profile."""

    @staticmethod
    def labels(profile, depth=None, persistence=0.15):
        heights = np.array([profile], float)
        z = np.full(heights.shape, 2.0) if depth is None else np.array([depth], float)
        points = np.stack([np.arange(len(profile))[None] * 0.01, -heights, z], -1)
        out = separate_peaks(
            points, heights, np.isfinite(heights), jump=0.04, persistence=persistence, min_width=0.0, focal=200.0
        )
        return out[0]

    def test_two_high_peaks_stay_apart(self):
        labels = self.labels([1.7, 1.7, 1.6, 1.4, 1.4, 1.3, 1.4, 1.4, 1.6, 1.6])
        assert labels[0] != labels[-1]
        assert len(set(labels)) == 2

    def test_a_low_bump_joins_its_neighbour(self):
        assert len(set(self.labels([1.7, 1.7, 1.6, 1.5, 1.5, 1.45, 1.5, 1.55, 1.5, 1.5]))) == 1

    def test_depth_edges_separate(self):
        depth = [2.0] * 5 + [2.5] * 5
        assert len(set(self.labels([1.5] * 10, depth))) == 2

    def test_every_valid_pixel_gets_a_label_and_no_other(self):
        rng = np.random.default_rng(0)
        heights = rng.uniform(0, 2, (40, 50))
        valid = rng.random((40, 50)) < 0.7
        points = np.stack([heights, heights, np.full_like(heights, 2.0)], -1)
        labels = separate_peaks(points, heights, valid, jump=0.04, persistence=0.1, min_width=0.0, focal=200.0)
        np.testing.assert_array_equal(labels > 0, valid)


def test_a_figure_far_below_a_camera_that_sees_no_floor_is_no_error():
    """Without a floor heights are guessed from the camera's; a robot on a gallery looks down on people."""
    pitch = np.radians(60.0)
    up = np.array([0.0, -np.cos(pitch), -np.sin(pitch)])
    depth = ellipsoid_depth((0.0, 0.0, 3.0), (0.35, 0.75, 0.35))
    assert (3.0 * up[2] + 1.2) < 0.3
    detection = GeometricDetector().detect(frame_of(depth, up=up))
    assert detection.surface.surroundings.floor is None
    assert len(detection.hypotheses) <= 1
