"""Templates of tracked people on rendered depth images whose surface is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points
from human_recon.fitting.starts import standing_pose
from human_recon.geometry.normals import depth_normals, vertex_normals
from human_recon.geometry.rasterizer import rasterize
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.geometry.signed_distance import closest_points
from human_recon.people import Person
from human_recon.perception.evidence import Evidence
from human_recon.template.surface import body_template, pose_template
from human_recon.template.tracker import TemplateConfig, TemplateTracker

CAMERA = CameraIntrinsics(320, 240, 260.0, 260.0, 159.5, 119.5)
BODY = default_body_model()


@pytest.fixture(scope="module")
def tracker() -> TemplateTracker:
    return TemplateTracker(BODY, TemplateConfig(surface="smpl"))


def standing(yaw: float = 0.0, betas: np.ndarray | None = None) -> BodyState:
    """Upright in the camera frame 2.2 m ahead, facing the camera at yaw 0."""
    pose = standing_pose()
    pose[0] = rotvec(np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(np.array([0.0, yaw, 0.0])))
    return BodyState(np.zeros(10) if betas is None else betas, pose, np.array([0.0, 0.15, 2.2]))


def rotvec(matrix: np.ndarray) -> np.ndarray:
    from human_recon.geometry.rotations import matrix_to_rotvec

    return matrix_to_rotvec(matrix)


def person(state: BodyState, number: int = 1, body: BodyModel = BODY) -> Person:
    posed = pose_body(body, state)
    nothing: dict[str, Any] = {"joint_sigma": np.zeros(24), "joint_visible": np.ones(24, bool)}
    return Person(
        number, 1.0, state, posed.vertices, posed.joints, height=1.7, roi=(0, 0, 1, 1), residual=0.0, **nothing
    )


def seen(surface: np.ndarray, stamp: float = 0.0, every: int = 3) -> tuple[Frame, Evidence, np.ndarray]:
    """The depth image of a surface of the body's topology, perfect evidence of it, and whose each pixel is."""
    raster = rasterize(surface[None], BODY.faces, CAMERA)
    frame = Frame(round(1e9 * stamp), "camera", raster.depth, CAMERA)
    points = depth_to_points(raster.depth, CAMERA).astype(np.float64)
    normals = depth_normals(points, 1, 0.03)
    own = np.zeros(raster.depth.shape, bool)
    own[::every, ::every] = True
    own &= (raster.face >= 0) & (np.abs(normals).sum(-1) > 0)
    vertices = BODY.faces[raster.face[own], 0]
    count = int(own.sum())
    ones = np.ones(count, np.float32)
    evidence = Evidence(points[own], normals[own], vertices.astype(np.int32), np.zeros(count, np.uint8), ones, ones)
    return frame, evidence, (raster.face >= 0).astype(np.uint16)


def visible_error(vertices: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the true visible surface from a mesh, metres."""
    _, evidence, _ = seen(truth, every=5)
    nearest, _ = closest_points(evidence.points, vertices, BODY.faces)
    return float(np.linalg.norm(nearest - evidence.points, axis=1).mean())


def wavy(state: BodyState, height: float) -> np.ndarray:
    """Somebody dressed: the rest surface moved outwards by a smooth positive amount, posed. Definition by the book."""
    rest = BODY.v_template + BODY.shapedirs @ state.betas.astype(np.float32)
    amount = height * (0.5 + 0.5 * np.sin(9.0 * rest[:, 1]) * np.cos(7.0 * rest[:, 0]))
    normals = vertex_normals(rest, BODY.faces).astype(np.float32)
    template = body_template(BODY, state.betas, rest + amount[:, None].astype(np.float32) * normals)
    return pose_template(BODY, template, state).vertices


def test_without_evidence_the_template_is_the_tracked_body(tracker: TemplateTracker) -> None:
    somebody = replace(person(standing(0.3)), measured=False)
    frame, _, labels = seen(somebody.vertices)
    (mesh,) = tracker.update(frame, [somebody], [None], labels)
    np.testing.assert_array_equal(mesh.vertices, somebody.vertices)
    assert mesh.faces is BODY.faces
    assert mesh.id == 1


def test_evidence_that_agrees_moves_nothing(tracker: TemplateTracker) -> None:
    somebody = person(standing(0.4))
    frame, evidence, labels = seen(somebody.vertices)
    (mesh,) = tracker.update(frame, [somebody], [evidence], labels)
    moved = np.linalg.norm(mesh.vertices - somebody.vertices, axis=1)
    assert moved.mean() < 0.003  # the correspondences are vertices, up to half an edge beside the points


def test_wrong_pose_is_drawn_onto_the_evidence(tracker: TemplateTracker) -> None:
    truth = standing(0.2)
    pose = truth.pose.copy()
    pose[17, 2] += 0.25  # an upper arm
    pose[4, 0] += 0.25  # a knee
    wrong = person(BodyState(truth.betas, pose, truth.trans + [0.02, -0.01, 0.03]))
    surface = pose_body(BODY, truth).vertices
    frame, evidence, labels = seen(surface)
    (mesh,) = tracker.update(frame, [wrong], [evidence], labels)
    before, after = visible_error(wrong.vertices, surface), visible_error(mesh.vertices, surface)
    assert before > 0.015
    assert after < 0.2 * before
    # Not only where it is seen, and not by sliding along the surface.
    assert (
        np.linalg.norm(mesh.vertices - surface, axis=1).mean()
        < 0.5 * np.linalg.norm(wrong.vertices - surface, axis=1).mean()
    )


def test_a_third_of_wild_outliers_hardly_matters(tracker: TemplateTracker) -> None:
    truth = standing(-0.3)
    wrong = person(BodyState(truth.betas, truth.pose, truth.trans + [0.02, 0.0, 0.03]))
    surface = pose_body(BODY, truth).vertices
    frame, evidence, labels = seen(surface)
    rng = np.random.default_rng(2)
    count = len(evidence.points)
    bad = rng.random(count) < 0.33
    points, vertices = evidence.points.copy(), evidence.vertices.copy()
    points[bad] += rng.normal(0.0, 0.5, (int(bad.sum()), 3))
    vertices[bad] = rng.integers(0, BODY.vertex_count, int(bad.sum()))
    (mesh,) = tracker.update(frame, [wrong], [replace(evidence, points=points, vertices=vertices)], labels)
    assert visible_error(mesh.vertices, surface) < 0.007 < visible_error(wrong.vertices, surface)


def test_useless_evidence_leaves_the_body(tracker: TemplateTracker) -> None:
    somebody = person(standing())
    frame, evidence, labels = seen(somebody.vertices)
    empty = Evidence(*(values[:0] for values in vars(evidence).values()))
    broken = replace(evidence, points=np.full_like(evidence.points, np.nan))
    far = replace(evidence, points=evidence.points + 5.0)
    for useless in (empty, broken, far):
        (mesh,) = tracker.update(frame, [somebody], [useless], labels)
        assert np.isfinite(mesh.vertices).all()
        assert np.linalg.norm(mesh.vertices - somebody.vertices, axis=1).max() < 0.01
    some = evidence.points.copy()
    some[::4] = np.nan
    (mesh,) = tracker.update(frame, [somebody], [replace(evidence, points=some)], labels)
    assert np.linalg.norm(mesh.vertices - somebody.vertices, axis=1).mean() < 0.003


def test_every_frame_begins_at_rest(tracker: TemplateTracker) -> None:
    """The same frame gives the same mesh, whatever was seen in between: nothing can drift."""
    first = person(standing(0.1))
    surface = wavy(first.state, 0.02)
    frame, evidence, labels = seen(surface)
    (before,) = tracker.update(frame, [first], [evidence], labels)
    for k in range(5):
        other = standing(0.5 * k)
        wrong = person(BodyState(other.betas, other.pose, other.trans + 0.05))
        moved, elsewhere, whose = seen(pose_body(BODY, other).vertices, stamp=0.1 * k)
        tracker.update(moved, [wrong], [elsewhere], whose)
    (after,) = tracker.update(frame, [first], [evidence], labels)
    np.testing.assert_array_equal(before.vertices, after.vertices)


def test_clothes_are_learned_from_all_sides_and_kept() -> None:
    tracker = TemplateTracker(BODY, TemplateConfig(surface="smpl+d"))
    for k in range(24):
        state = standing(2.0 * np.pi * k / 12)
        frame, evidence, labels = seen(wavy(state, 0.03), stamp=k / 15)
        tracker.update(frame, [person(state)], [evidence], labels)
    # A new heading, with no evidence: only what was learned can help.
    state = standing(0.26)
    truth = wavy(state, 0.03)
    blind = replace(person(state), measured=False)
    (mesh,) = tracker.update(seen(truth, stamp=2.0)[0], [blind], [None])
    naked, dressed = visible_error(blind.vertices, truth), visible_error(mesh.vertices, truth)
    assert naked > 0.01
    assert dressed < 0.35 * naked
    assert mesh.confidence is not None and np.median(mesh.confidence) > 0.3
    # The rest surface that is saved is that of the truth.
    template = tracker.template(1)
    assert template is not None
    rest = BODY.v_template
    amount = 0.03 * (0.5 + 0.5 * np.sin(9.0 * rest[:, 1]) * np.cos(7.0 * rest[:, 0]))
    learned = ((template.vertices - rest) * vertex_normals(rest, BODY.faces)).sum(axis=1)
    sure = template.confidence > 0.35
    assert sure.sum() > 1000
    assert np.abs(learned - amount)[sure].mean() < 0.005
    tracker.reset()
    assert tracker.template(1) is None


def test_nobody_pays_for_what_is_off() -> None:
    tracker = TemplateTracker(BODY, TemplateConfig())
    somebody = person(standing())
    frame, evidence, labels = seen(somebody.vertices)
    assert not tracker.active
    assert tracker.update(frame, [somebody], [evidence], labels) == ()
    assert tracker.template(1) is None


def test_a_template_is_assigned_to_one_person_and_forgotten_with_them() -> None:
    tracker = TemplateTracker(BODY, TemplateConfig(remember=5.0))
    first, second = person(standing(), 1), person(standing(), 2)
    frame, _, _ = seen(first.vertices)
    cut = body_template(BODY, np.zeros(10))
    tracker.assign(2, cut)
    meshes = tracker.update(frame, [first, second], [None, None])
    assert [mesh.id for mesh in meshes] == [2]
    np.testing.assert_allclose(meshes[0].vertices, second.vertices, atol=2e-6)
    assert tracker.template(2) is cut
    assert tracker.template(1) is None
    tracker.update(replace(frame, stamp_ns=round(6e9)), [], [])
    assert tracker.template(2) is None
    tracker.assign(2, None)
    assert not tracker.active


def test_threads_give_the_same(tracker: TemplateTracker) -> None:
    from concurrent.futures import ThreadPoolExecutor

    people, evidences = [], []
    for k in range(3):
        state = standing(0.7 * k)
        frame, evidence, labels = seen(wavy(state, 0.02))
        people.append(person(state, k + 1))
        evidences.append(evidence)
    alone = tracker.update(frame, people, evidences, labels)
    with ThreadPoolExecutor(3) as pool:
        together = tracker.update(frame, people, evidences, labels, pool)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.vertices, b.vertices)
