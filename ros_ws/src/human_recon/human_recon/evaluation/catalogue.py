"""All metrics of a summary: name, unit, which way is better, and what it is in one line.

The functions in :mod:`human_recon.evaluation.metrics` hold full definitions and sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class Metric:
    """One line of a result table."""

    name: str
    group: str
    title: str
    unit: str  # mm, %, m/s², ms, per 100 frames, or empty for a count
    better: Better
    definition: str


def _m(name: str, group: str, title: str, unit: str, better: Better, definition: str) -> Metric:
    return Metric(name, group, title, unit, better, definition)


_PEOPLE = "Finding people"
_POSE = "Pose and surface of people found"
_JOINTS = "Rates of joints"
_TOGETHER = "People together"
_PIXELS = "Pixels"
_NETWORK = "Pixels, by the network's own word"
_TRACKS = "Identity over time"
_MOTION = "Motion"
_TIME = "Time"

METRICS: tuple[Metric, ...] = (
    _m("precision", _PEOPLE, "Precision", "%", "higher", "predictions that are of somebody; of hidden people: ignored"),
    _m("recall", _PEOPLE, "Recall", "%", "higher", "people in view who were found"),
    _m("f1", _PEOPLE, "F1", "%", "higher", "harmonic mean of precision and recall"),
    _m("precision_clear", _PEOPLE, "Precision, 40 % seen", "%", "higher", "of predictions of them or of nobody"),
    _m("recall_clear", _PEOPLE, "Recall, 40 % seen", "%", "higher", "people of whom at least 40 % is seen"),
    _m("f1_clear", _PEOPLE, "F1, 40 % seen", "%", "higher", "found, missed of them; false: all predictions of nobody"),
    _m("false_per_frame", _PEOPLE, "False people per frame", "", "lower", "predictions of nobody"),
    _m("false_per_100_empty", _PEOPLE, "False people, empty scenes", "per 100 frames", "lower",
       "predictions in frames in front of whose camera nobody is"),
    _m("confidence_ece", _PEOPLE, "Calibration error of the confidence", "%", "lower",
       "ECE: mean gap between confidence and share of right predictions, in ten bins"),
    _m("confidence_brier", _PEOPLE, "Brier score of the confidence", "", "lower", "mean squared error; 0.25: a coin"),
    _m("failed_frames", _PEOPLE, "Frames on which the pipeline failed", "", "lower", "everybody in them is missed"),
    _m("mpjpe", _POSE, "MPJPE", "mm", "lower", "mean error of the 24 joints in the camera frame"),
    _m("mpjpe_median", _POSE, "MPJPE, median person", "mm", "lower", "median over people of the same"),
    _m("mpjpe_visible", _POSE, "MPJPE, joints in view", "mm", "lower", "joints around which the camera sees the body"),
    _m("mpjpe_hidden", _POSE, "MPJPE, hidden joints", "mm", "lower", "the other joints of people found"),
    _m("root_mpjpe", _POSE, "MPJPE, root-relative", "mm", "lower", "both pelvises in one place, the mean over all 24"),
    _m("n_mpjpe", _POSE, "N-MPJPE", "mm", "lower", "root-relative after the best scale"),
    _m("pa_mpjpe", _POSE, "PA-MPJPE", "mm", "lower", "after the best rotation, translation and scale"),
    _m("pve", _POSE, "PVE", "mm", "lower", "mean error of corresponding vertices in the camera frame"),
    _m("root_pve", _POSE, "PVE, root-relative", "mm", "lower", "both pelvises in one place"),
    _m("pa_pve", _POSE, "PA-PVE", "mm", "lower", "after the best rotation, translation and scale"),
    _m("pelvis", _POSE, "Pelvis error", "mm", "lower", "distance of the pelvis joints"),
    _m("stature", _POSE, "Stature error", "mm", "lower", "absolute difference of the heights in the T pose"),
    _m("stature_2s", _POSE, "Stature error after 2 s", "mm", "lower", "of people found for two seconds under one id"),
    _m("stature_2s_worst", _POSE, "Stature error after 2 s, worst", "mm", "lower", "mean of the worst track"),
    _m("recall_60", _POSE, "Recall, 60 % seen", "%", "higher", "people of whom at least 60 % is seen"),
    _m("mpjpe_60", _POSE, "MPJPE, 60 % seen", "mm", "lower", "of people found of whom at least 60 % is seen"),
    _m("root_mpjpe_60", _POSE, "MPJPE, root-relative, 60 % seen", "mm", "lower", "of the same"),
    _m("pa_mpjpe_60", _POSE, "PA-MPJPE, 60 % seen", "mm", "lower", "of the same"),
    _m("pve_60", _POSE, "PVE, 60 % seen", "mm", "lower", "of the same"),
    _m("root_pve_60", _POSE, "PVE, root-relative, 60 % seen", "mm", "lower", "of the same"),
    _m("pelvis_60", _POSE, "Pelvis error, 60 % seen", "mm", "lower", "of the same"),
    _m("stature_60", _POSE, "Stature error, 60 % seen", "mm", "lower", "of the same"),
    _m("reconstruction_to_scan_v2v", _POSE, "V2V to truth", "mm", "lower", "nearest true vertex to each vertex"),
    _m("reconstruction_to_scan_v2s", _POSE, "V2S to truth", "mm", "lower", "nearest point of the true surface"),
    _m("scan_to_reconstruction_v2v", _POSE, "V2V from truth", "mm", "lower", "nearest vertex to each true vertex"),
    _m("scan_to_reconstruction_v2s", _POSE, "V2S from truth", "mm", "lower", "nearest point of the fitted surface"),
    _m("sigma_coverage", _POSE, "Joints within the 90 % sphere", "%", "neither",
       "errors at most 2.5 predicted standard deviations: 90 % when these are right"),
    _m("within_1_sigma", _POSE, "Coordinates within 1 sigma", "%", "neither", "68.3 % of a normal distribution"),
    _m("within_2_sigma", _POSE, "Coordinates within 2 sigma", "%", "neither", "95.4 %"),
    _m("within_3_sigma", _POSE, "Coordinates within 3 sigma", "%", "neither", "99.7 %"),
    _m("sigma_factor", _POSE, "Joint covariances, factor", "", "neither",
       "by which standard deviations are too small: median Mahalanobis distance over 1.54"),
    _m("covariance_within_1", _POSE, "Joint covariance, within 1 sigma", "%", "neither",
       "errors along the principal axes; 68.3 % of a normal distribution"),
    _m("covariance_within_2", _POSE, "Joint covariance, within 2 sigma", "%", "neither", "95.4 %"),
    _m("covariance_within_3", _POSE, "Joint covariance, within 3 sigma", "%", "neither", "99.7 %"),
    _m("ellipsoid_within_1", _POSE, "Joints in the 1-sigma ellipsoid", "%", "neither",
       "Mahalanobis distance at most 1; 19.9 % of a normal distribution in space"),
    _m("ellipsoid_within_2", _POSE, "Joints in the 2-sigma ellipsoid", "%", "neither", "73.9 %"),
    _m("ellipsoid_within_3", _POSE, "Joints in the 3-sigma ellipsoid", "%", "neither", "97.1 %"),
    _m("hidden_covariance_within_1", _POSE, "Hidden joints, within 1 sigma", "%", "neither", "along the axes: 68.3 %"),
    _m("hidden_covariance_within_2", _POSE, "Hidden joints, within 2 sigma", "%", "neither", "95.4 %"),
    _m("hidden_covariance_within_3", _POSE, "Hidden joints, within 3 sigma", "%", "neither", "99.7 %"),
    _m("root_covariance_within_1", _POSE, "Pelvis, within 1 sigma", "%", "neither", "along the axes: 68.3 %"),
    _m("root_covariance_within_2", _POSE, "Pelvis, within 2 sigma", "%", "neither", "95.4 %"),
    _m("root_covariance_within_3", _POSE, "Pelvis, within 3 sigma", "%", "neither", "99.7 %"),
    _m("turn_covariance_within_1", _POSE, "Turn of the pelvis, within 1 sigma", "%", "neither", "68.3 %"),
    _m("turn_covariance_within_2", _POSE, "Turn of the pelvis, within 2 sigma", "%", "neither", "95.4 %"),
    _m("turn_covariance_within_3", _POSE, "Turn of the pelvis, within 3 sigma", "%", "neither", "99.7 %"),
    _m("joint_visibility", _POSE, "Joint visibility", "%", "higher", "joints said to be in view or hidden that are"),
    _m("joint_visibility_seen", _POSE, "Joint visibility, in view", "%", "higher", "joints in view said to be"),
    _m("joint_visibility_hidden", _POSE, "Joint visibility, hidden", "%", "higher", "hidden joints said to be"),
    _m("visibility_error", _POSE, "Visibility error", "%", "lower", "difference of the share of the person seen"),
    _m("pck_matched", _JOINTS, "3DPCK 150 mm, matched", "%", "higher", "root-relative joints within 150 mm"),
    _m("pck_all", _JOINTS, "3DPCK 150 mm, all", "%", "higher", "the same; joints of missed people are wrong"),
    _m("pck_auc_matched", _JOINTS, "3DPCK AUC, matched", "%", "higher", "mean of 3DPCK over 0 to 150 mm"),
    _m("pck_auc_all", _JOINTS, "3DPCK AUC, all", "%", "higher", "the same; joints of missed people are wrong"),
    _m("pck_absolute_all", _JOINTS, "3DPCK 150 mm, absolute, all", "%", "higher", "in the camera frame"),
    _m("itop_map_matched", _JOINTS, "ITOP mAP 10 cm, matched", "%", "higher", "15 joints within 10 cm, absolute"),
    _m("itop_map_all", _JOINTS, "ITOP mAP 10 cm, all", "%", "higher", "the same; joints of missed people are wrong"),
    _m("depth_order", _TOGETHER, "Depth order", "%", "higher", "pairs of people found whose pelvises are in order"),
    _m("depth_order_all", _TOGETHER, "Depth order, all", "%", "higher", "of all pairs; a missed person is wrong"),
    _m("overlap_order", _TOGETHER, "Depth order where bodies overlap", "%", "higher",
       "pixels that several fitted bodies cover, with the right one in front"),
    _m("collisions", _TOGETHER, "Collisions", "per 100 frames", "lower", "pairs of bodies over 10 mm in each other"),
    _m("penetration_mean", _TOGETHER, "Penetration, mean", "mm", "lower", "depth of those pairs"),
    _m("penetration_max", _TOGETHER, "Penetration, deepest", "mm", "lower", "depth of the worst pair"),
    _m("foreground_iou", _PIXELS, "Foreground IoU", "%", "higher", "pixels of people, summed over frames"),
    _m("mask_iou_matched", _PIXELS, "Mask IoU, matched", "%", "higher", "per person; people found"),
    _m("mask_iou_all", _PIXELS, "Mask IoU, all", "%", "higher", "per person; 0 for missed people"),
    _m("part_accuracy", _PIXELS, "Body part accuracy", "%", "higher",
       "pixels of people found that the fitted bodies cover with the right part"),
    _m("part_accuracy_mean", _PIXELS, "Body part accuracy, mean of parts", "%", "higher", "the same, each part alike"),
    _m("correspondence", _PIXELS, "Correspondence error", "mm", "lower",
       "measured points: place on the fitted against place on the true surface, in the T pose"),
    _m("correspondence_geodesic", _PIXELS, "Correspondence error, geodesic", "mm", "lower", "along the surface"),
    _m("correspondence_worst", _PIXELS, "Correspondence error, worst", "mm", "lower", "largest mean of one person"),
    _m("left_right_confusion", _PIXELS, "Left/right confusion", "%", "lower", "points put on the body's other side"),
    _m("front_back_confusion", _PIXELS, "Front/back confusion", "%", "lower", "points put on the body's other face"),
    _m("network_part_accuracy", _NETWORK, "Body part accuracy, network", "%", "higher",
       "pixels of people found to which the network itself gives the right part"),
    _m("network_part_accuracy_mean", _NETWORK, "Body part accuracy, network, mean of parts", "%", "higher",
       "the same, each part alike"),
    _m("network_part_accuracy_all", _NETWORK, "Body part accuracy, network, all", "%", "higher",
       "the same, of everybody in view; who is missed has no part"),
    _m("network_correspondence", _NETWORK, "Correspondence error, network", "mm", "lower",
       "pixels of people found: vertex said against vertex seen, straight, in the T pose"),
    _m("network_correspondence_geodesic", _NETWORK, "Correspondence error, network, geodesic", "mm", "lower",
       "the same along the surface"),
    _m("network_correspondence_worst", _NETWORK, "Correspondence error, network, worst", "mm", "lower",
       "largest mean of one person, straight"),
    _m("network_placed", _NETWORK, "Pixels with a place", "%", "higher", "of people found; the others are in no error"),
    _m("network_left_right_confusion", _NETWORK, "Left/right confusion, network", "%", "lower",
       "pixels put on the body's other side"),
    _m("network_front_back_confusion", _NETWORK, "Front/back confusion, network", "%", "lower",
       "pixels put on the body's other face"),
    _m("hota", _TRACKS, "HOTA", "%", "higher", "detection and association, over 19 thresholds"),
    _m("deta", _TRACKS, "DetA", "%", "higher", "HOTA's detection accuracy"),
    _m("assa", _TRACKS, "AssA", "%", "higher", "HOTA's association accuracy"),
    _m("mota", _TRACKS, "MOTA", "%", "higher", "1 - (missed + false + switches) / people"),
    _m("idf1", _TRACKS, "IDF1", "%", "higher", "frames in which people have the track that is theirs"),
    _m("id_switches", _TRACKS, "Identity switches", "", "lower", "a person's track is another than when last found"),
    _m("id_switches_per_minute", _TRACKS, "Identity switches per minute", "per minute", "lower",
       "of all people together, recorded time"),
    _m("recall_expected", _TRACKS, "Recall with predicted people", "%", "higher",
       "people in view who were found, or predicted from earlier frames"),
    _m("expected_right", _TRACKS, "Predicted people who are there", "%", "higher",
       "of people not measured in a frame: somebody is there, seen or hidden"),
    _m("expected_mpjpe", _TRACKS, "MPJPE of predicted people", "mm", "lower", "of those who are there"),
    _m("acceleration_error", _MOTION, "Acceleration error", "mm/s²", "lower",
       "of the joints, over three successive frames in which a person was found"),
    _m("acceleration_error_frame", _MOTION, "Acceleration error per frame", "mm/frame²", "lower",
       "the same times the squared step between frames"),
    _m("lag", _MOTION, "Lag", "frames", "lower", "shift in time at which joints fit the truth best"),
    _m("velocity_error", _MOTION, "Velocity error", "mm/s", "lower", "of the pelvis, against its central difference"),
    _m("velocity_true", _MOTION, "Velocity, true", "mm/s", "neither", "magnitude: the error of always saying 0"),
    _m("turn_error", _MOTION, "Turn rate error", "°/s", "lower", "of the pelvis, likewise"),
    _m("turn_true", _MOTION, "Turn rate, true", "°/s", "neither", "magnitude"),
    _m("jitter", _MOTION, "Acceleration, predicted", "mm/s²", "neither", "magnitude; compare with the next line"),
    _m("jitter_true", _MOTION, "Acceleration, true", "mm/s²", "neither", "magnitude in the truth, same frames"),
    _m("latency_median", _TIME, "Latency, median", "ms", "lower", "one frame through the pipeline"),
    _m("latency_p95", _TIME, "Latency, 95 %", "ms", "lower", "19 of 20 frames are faster"),
    _m("latency_p99", _TIME, "Latency, 99 %", "ms", "lower", "99 of 100 frames are faster"),
    _m("latency_max", _TIME, "Latency, largest", "ms", "lower", ""),
)  # fmt: skip

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}

# What breakdowns show.
BREAKDOWN: tuple[str, ...] = (
    "recall", "precision", "mpjpe", "root_mpjpe", "pa_mpjpe", "pve", "pck_matched", "pck_all", "itop_map_all",
    "mask_iou_all", "correspondence", "network_part_accuracy", "network_correspondence",
)  # fmt: skip
