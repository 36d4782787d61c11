"""The metrics, each on a case computed by hand or by what must not change it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.model import BodyModel
from human_recon.evaluation.metrics import coherence, correspondence, detection, keypoints, masks, smoothness, surface
from human_recon.evaluation.metrics import pose as pose_metrics
from human_recon.evaluation.metrics.alignment import procrustes_align, similarity_transform
from human_recon.evaluation.metrics.latency import latency
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rotations import rotvec_to_matrix

CUBE = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def skeleton(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.4, (24, 3)) + [0, 0, 3]


# ---------------------------------------------------------------- joints and vertices


def test_mpjpe_is_the_mean_distance():
    true = np.zeros((24, 3))
    predicted = true.copy()
    predicted[3] = [0.3, 0.4, 0.0]  # 0.5 m off
    predicted[7] = [0.0, 0.0, 0.7]
    assert pose_metrics.mpjpe(predicted, true) == pytest.approx(1.2 / 24)


def test_a_shifted_body_is_wrong_absolutely_and_right_relatively():
    true = skeleton(1)
    predicted = true + [0.06, 0.0, 0.08]
    assert pose_metrics.mpjpe(predicted, true) == pytest.approx(0.1)
    assert pose_metrics.root_mpjpe(predicted, true) == pytest.approx(0.0, abs=1e-12)
    assert pose_metrics.root_pve(predicted, true, predicted[0], true[0]) == pytest.approx(0.0, abs=1e-12)


def test_the_root_counts_in_the_relative_mean_with_no_error():
    true = np.zeros((24, 3))
    predicted = true.copy()
    predicted[0] = [0.0, 0.24, 0.0]  # then every other joint is 0.24 off relative to it
    assert pose_metrics.root_mpjpe(predicted, true) == pytest.approx(0.24 * 23 / 24)


def test_n_mpjpe_forgives_size_about_the_root_but_not_turning():
    true = skeleton(2)
    larger = true[0] + 1.3 * (true - true[0]) + [0.5, 0, 0]
    assert pose_metrics.n_mpjpe(larger, true) == pytest.approx(0.0, abs=1e-12)
    turned = true[0] + (true - true[0]) @ rotvec_to_matrix(np.array([0, 1.0, 0])).T
    assert pose_metrics.n_mpjpe(turned, true) > 0.1


def test_n_mpjpe_by_hand():
    # Relative to the root, predicted (1, 0) and (0, 2), true (2, 0) and (0, 1): s = (2 + 2) / (1 + 4) = 0.8.
    predicted = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], float)
    true = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0]], float)
    assert pose_metrics.n_mpjpe(predicted, true) == pytest.approx((1.2 + 0.6) / 3)


vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(np.array)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), rotation=vectors, shift=vectors, scale=st.floats(0.3, 3.0))
def test_procrustes_undoes_any_similarity(seed, rotation, shift, scale):
    true = skeleton(seed)
    predicted = scale * true @ rotvec_to_matrix(rotation).T + shift
    assert pose_metrics.pa_mpjpe(predicted, true) < 1e-9
    assert pose_metrics.pa_pve(predicted, true) < 1e-9
    found, turn, offset = similarity_transform(true, predicted)
    assert found == pytest.approx(scale)
    assert turn == pytest.approx(rotvec_to_matrix(rotation), abs=1e-9)
    assert offset == pytest.approx(shift, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rotation=vectors, scale=st.floats(0.5, 2.0))
def test_pa_mpjpe_does_not_depend_on_where_the_prediction_is_and_is_the_least(seed, rotation, scale):
    true, predicted = skeleton(seed), skeleton(seed + 5000)
    error = pose_metrics.pa_mpjpe(predicted, true)
    moved = scale * predicted @ rotvec_to_matrix(rotation).T + [1, 2, 3]
    assert pose_metrics.pa_mpjpe(moved, true) == pytest.approx(error, rel=1e-6)
    squares = ((procrustes_align(predicted, true) - true) ** 2).sum()
    for s in (0.9, 1.0, 1.1):  # no other similarity is nearer, in the sum of squares that it minimises
        other = true.mean(0) + s * (procrustes_align(predicted, true) - true.mean(0))
        assert ((other - true) ** 2).sum() >= squares - 1e-9


def test_procrustes_never_mirrors():
    true = skeleton(3)
    mirrored = true * [-1, 1, 1]
    _, rotation, _ = similarity_transform(mirrored, true)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert pose_metrics.pa_mpjpe(mirrored, true) > 0.05


def test_points_in_one_place_cannot_be_scaled():
    assert pose_metrics.pa_mpjpe(np.zeros((24, 3)), CUBE.repeat(3, 0)) == pytest.approx(math.sqrt(0.75))


def test_points_that_do_not_correspond_are_refused():
    with pytest.raises(ValueError, match=r"\[3, 3\] and true \[4, 3\]"):
        pose_metrics.pve(np.zeros((3, 3)), np.zeros((4, 3)))


# ---------------------------------------------------------------- rates of joints


def test_pck_and_its_two_conventions():
    errors = np.array([[0.10, 0.16], [0.15, 0.02], [np.nan, np.nan]])  # the third person was not found
    assert keypoints.pck(errors) == pytest.approx(3 / 6)
    assert keypoints.pck(keypoints.matched_only(errors)) == pytest.approx(3 / 4)
    assert keypoints.pck_curve(errors, np.array([0.0, 0.02, 0.2])) == pytest.approx([0, 1 / 6, 4 / 6])
    assert math.isnan(keypoints.pck(np.zeros((0, 2))))


def test_auc_by_hand():
    # One joint 0.05 m off: right from the 11th of 31 thresholds on (0.050), so 21 of 31; one found nowhere.
    assert keypoints.pck_auc(np.array([[0.0499]])) == pytest.approx(21 / 31)
    assert keypoints.pck_auc(np.array([[0.0499], [np.nan]])) == pytest.approx(21 / 62)
    assert keypoints.pck_auc(np.zeros((2, 2))) == 1.0


def test_itop_map_asks_its_fifteen_joints_only():
    errors = np.full((2, 24), 0.05)
    errors[:, [0, 3, 9, 13, 14]] = 9.0  # not among ITOP's joints: pelvis, spine1, spine3, collars
    errors[:, [7, 8, 20, 21]] = 9.0  # ankles and wrists
    assert keypoints.itop_map(errors) == 1.0
    errors[0, 15] = 0.11  # one head of two
    assert keypoints.itop_map(errors) == pytest.approx(14.5 / 15)
    errors[1] = np.nan
    assert keypoints.itop_map(errors) == pytest.approx(7 / 15)
    assert len(set(keypoints.ITOP_JOINTS)) == 15


# ---------------------------------------------------------------- people


def test_precision_recall_and_f1():
    counts = detection.DetectionCounts(found=6, missed=2, false=1) + detection.DetectionCounts(
        found=0, missed=1, false=1
    )
    assert counts.precision == pytest.approx(6 / 8)
    assert counts.recall == pytest.approx(6 / 9)
    assert counts.f1 == pytest.approx(2 * (6 / 8) * (6 / 9) / (6 / 8 + 6 / 9))
    empty = detection.DetectionCounts()
    assert math.isnan(empty.precision) and math.isnan(empty.recall) and math.isnan(empty.f1)


def test_depth_order_counts_pairs():
    true = np.array([1.0, 2.0, 3.0])
    assert coherence.depth_order(np.array([1.5, 2.5, 3.5]), true) == (3, 3)
    assert coherence.depth_order(np.array([2.5, 1.5, 3.5]), true) == (2, 3)
    assert coherence.depth_order(np.array([1.0]), np.array([2.0])) == (0, 0)


def test_penetration_depth_of_two_cubes():
    near = [CUBE, CUBE + [0.9, 0.4, 0.3], CUBE + [5, 0, 0], 0.2 * CUBE + [0.7, 0.45, 0.35]]
    depths = coherence.penetration_depths(near, CUBE_FACES)
    # Corner (0.9, 0.4, 0.3) of the second leaves the first by x = 1. The small cube is whole inside the first: corner
    # (0.7, 0.45, 0.35) is 0.3 from x = 1, and no corner is farther from all sides; it touches the second at x = 0.9.
    assert set(depths) == {(0, 1), (0, 3)}
    assert depths[0, 1] == pytest.approx(0.1)
    assert depths[0, 3] == pytest.approx(0.3)


def test_bodies_that_only_share_a_box_do_not_collide():
    slanted = CUBE @ rotvec_to_matrix(np.array([0, 0, math.pi / 4])).T  # a diamond from (0, 0) up
    assert coherence.penetration_depths([slanted, CUBE * 0.2 + [0.5, 0.0, 0.4]], CUBE_FACES) == {}


# ---------------------------------------------------------------- correspondences


def test_correspondence_summary_and_curve():
    errors = [np.array([0.01, 0.03]), np.array([0.05, 0.05, 0.08]), np.zeros(0)]
    summary = correspondence.summarize(errors)
    assert summary.average == pytest.approx((0.02 + 0.06) / 2)
    assert summary.worst == pytest.approx(0.06)
    assert summary.largest == pytest.approx(0.08)
    curve = correspondence.cumulative_curve(np.concatenate(errors), np.array([0.0, 0.03, 0.05, 0.1]))
    assert curve == pytest.approx([0, 2 / 5, 4 / 5, 1])
    assert math.isnan(correspondence.summarize([]).average)


def test_geodesic_error_goes_around_and_euclidean_straight_through():
    predicted, true = np.array([7, 1, 0]), np.array([0, 0, 0])
    geodesic = correspondence.geodesic_error(predicted, true, CUBE, CUBE_FACES)
    # From corner 0 to the opposite corner 7: along the diagonal of a face, 0-3, and an edge, 3-7.
    assert geodesic == pytest.approx([1 + math.sqrt(2), 1, 0])
    assert correspondence.euclidean_error(CUBE[predicted], CUBE[true]) == pytest.approx([math.sqrt(3), 1, 0])


def test_left_right_and_front_back_confusion(body: BodyModel):
    assert body.mirror_vertices is not None
    sides = correspondence.left_right_sides(body)
    left = np.flatnonzero(sides == 1)
    assert (body.v_template[left, 0] > 0).all()
    everything = np.arange(body.vertex_count)
    assert correspondence.confusion(sides, everything, everything) == 0.0
    assert correspondence.confusion(sides, body.mirror_vertices, everything) == 1.0
    half = np.where(everything % 2 == 0, everything, body.mirror_vertices)
    wrong = (sides[1::2] != 0).sum() / (sides != 0).sum()
    assert correspondence.confusion(sides, half, everything) == pytest.approx(wrong)
    facing = correspondence.front_back_sides(body)
    normal = vertex_normals(body.v_template, body.faces)[:, 2]
    assert set(facing[normal > 0.5]) == {1} and set(facing[normal < -0.5]) == {-1}
    middle = np.flatnonzero(sides == 0)
    assert math.isnan(correspondence.confusion(sides, middle, middle))


# ---------------------------------------------------------------- surfaces


def test_distances_between_cube_and_points_both_ways():
    points = np.array([[0.5, 0.5, 1.2], [0.5, 0.5, 1.4]])
    assert surface.vertex_to_surface(points, CUBE, CUBE_FACES) == pytest.approx([0.2, 0.4])
    assert surface.vertex_to_vertex(points, CUBE) == pytest.approx([math.sqrt(0.54), math.sqrt(0.66)])
    errors = surface.surface_errors(CUBE, CUBE_FACES, points)
    assert errors.scan_to_reconstruction_v2s == pytest.approx(0.3)
    # The four upper corners are nearest to the lower point as well: sqrt(.5 + .2^2); the others sqrt(.5 + 1.2^2).
    assert errors.reconstruction_to_scan_v2v == pytest.approx((math.sqrt(0.54) + math.sqrt(1.94)) / 2)
    assert math.isnan(errors.reconstruction_to_scan_v2s)


def test_a_mesh_is_at_no_distance_from_itself_and_v2s_is_never_more_than_v2v():
    errors = surface.surface_errors(CUBE, CUBE_FACES, CUBE, CUBE_FACES)
    assert errors == surface.SurfaceErrors(0.0, 0.0, 0.0, 0.0)
    raised = surface.surface_errors(CUBE + [0, 0, 0.5], CUBE_FACES, CUBE, CUBE_FACES)
    # Upper corners are 0.5 above the upper face and corners; lower ones lie on an edge, 0.5 from its ends.
    assert raised.reconstruction_to_scan_v2s == pytest.approx(0.25)
    assert raised.reconstruction_to_scan_v2v == pytest.approx(0.5)


# ---------------------------------------------------------------- masks and parts


def test_iou_by_hand_and_only_where_valid():
    predicted = np.array([[1, 1, 0, 0]], bool)
    true = np.array([[0, 1, 1, 0]], bool)
    assert masks.intersection_over_union(predicted, true) == pytest.approx(1 / 3)
    assert masks.intersection_over_union(predicted, true, np.array([[1, 1, 0, 1]], bool)) == pytest.approx(1 / 2)
    assert math.isnan(masks.intersection_over_union(predicted & False, true & False))


def test_part_accuracy_weighs_pixels_or_parts():
    true = np.array([[0, 0, 0, 5], [255, 255, 7, 7]], np.uint8)
    predicted = np.array([[0, 0, 0, 6], [0, 255, 7, 255]], np.uint8)
    counts = masks.part_counts(predicted, true)
    assert counts.accuracy == pytest.approx(4 / 6)
    assert counts.per_part[[0, 5, 7]] == pytest.approx([1, 0, 0.5])
    assert np.isnan(counts.per_part).sum() == 21
    assert counts.mean_accuracy == pytest.approx(0.5)
    assert (counts + counts).accuracy == counts.accuracy
    assert masks.part_counts(predicted, true, valid=true == 0).accuracy == 1.0


# ---------------------------------------------------------------- time


def test_acceleration_of_known_motion():
    times = np.array([0.0, 0.1, 0.3])  # uneven steps
    fall = np.zeros((3, 24, 3))
    fall[..., 1] = (0.5 * 9.81 * times**2 + 2.0 * times + 1.0)[:, None]
    assert smoothness.acceleration(fall, times)[:, 1] == pytest.approx(np.full(24, 9.81))
    assert smoothness.jitter(fall, times) == pytest.approx(9.81)
    still = np.zeros((3, 24, 3))
    assert smoothness.acceleration_error(still, fall, times) == pytest.approx(9.81)
    assert smoothness.acceleration_error(fall + 0.2 * times[:, None, None], fall, times) == pytest.approx(0, abs=1e-9)


def test_jitter_at_the_frame_rate():
    trembling = np.zeros((3, 1, 3))
    trembling[1, 0, 0] = 0.001  # 1 mm to and fro at 30 Hz: 2 x 0.001 x 900
    assert smoothness.jitter(trembling, np.arange(3) / 30) == pytest.approx(1.8)


def test_latency_percentiles():
    summary = latency(np.linspace(0, 1, 101))
    assert (summary.count, summary.median, summary.max) == (101, 0.5, 1.0)
    assert summary.p95 == pytest.approx(0.95)
    assert summary.p99 == pytest.approx(0.99)
    assert math.isnan(latency([]).median)
