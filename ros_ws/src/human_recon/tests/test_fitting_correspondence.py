"""What the body is drawn to: only what is seen, and only towards where the person was measured."""

from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.fitting.correspondence import MatchConfig, Matcher
from human_recon.fitting.observation import Observation, observe
from human_recon.geometry.normals import vertex_normals
from human_recon.perception.geometric import GeometricDetector
from tests.synthetic_scene import CAMERA, Scene, render, standing


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


@pytest.fixture(scope="module")
def scene(body) -> Scene:
    return render(body, [standing(body, 0.0, 2.4, 0.4)], np.random.default_rng(0))


@pytest.fixture(scope="module")
def observation(scene) -> Observation:
    detection = GeometricDetector().detect(scene.frame)
    (person,) = detection.hypotheses
    surroundings = detection.surface.surroundings
    return observe(
        detection.surface.points,
        detection.surface.normals,
        person.mask,
        person.head,
        person.mask,
        CAMERA,
        surroundings.floor,
        surroundings.up,
    )


def test_only_what_the_camera_sees_is_matched(body, scene, observation):
    vertices = pose_body(body, scene.states[0]).vertices.astype(np.float64)
    matches = Matcher(body, MatchConfig()).match(vertices, observation, 500)
    normals = vertex_normals(vertices, body.faces)[matches.vertex_ids]
    towards_camera = -vertices[matches.vertex_ids] / np.linalg.norm(vertices[matches.vertex_ids], axis=1, keepdims=True)
    assert ((normals * towards_camera).sum(1) > -0.3).mean() > 0.97
    assert matches.weights.sum() == pytest.approx(MatchConfig().measurements, rel=0.15)


def test_at_the_truth_targets_lie_a_garment_inside_the_measured_surface(body, scene, observation):
    vertices = pose_body(body, scene.states[0]).vertices.astype(np.float64)
    bare = Matcher(body, MatchConfig(clothing=0.0, hair=0.0)).match(vertices, observation, 500)
    dressed = Matcher(body, MatchConfig(clothing=0.01, hair=0.01)).match(vertices, observation, 500)
    along = ((vertices[bare.vertex_ids] - bare.targets) * bare.normals).sum(1)
    assert abs(np.median(along)) < 0.003
    np.testing.assert_allclose(np.linalg.norm(dressed.targets - bare.targets, axis=1), 0.01, atol=1e-9)
    inward = ((dressed.targets - bare.targets) * bare.targets).sum(1)
    assert (inward > 0).mean() > 0.95  # away from the camera


def test_what_hangs_into_free_space_is_drawn_back_into_the_outline(body, scene, observation):
    vertices = pose_body(body, scene.states[0]).vertices.astype(np.float64) + [0.25, 0.0, 0.0]
    matches = Matcher(body, MatchConfig()).match(vertices, observation, 500)
    assert len(matches.outside_ids) > 50
    shift = matches.outside_targets - vertices[matches.outside_ids]
    assert np.median(shift[:, 0]) < -0.05
    np.testing.assert_allclose(shift[:, 2], 0.0, atol=1e-9)  # sideways only


def test_behind_somebody_else_nothing_is_wrong(body, scene, observation):
    """The same misplaced body, where the image around the person shows somebody nearer."""
    vertices = pose_body(body, scene.states[0]).vertices.astype(np.float64) + [0.25, 0.0, 0.0]
    hidden = replace(
        observation,
        depth=np.where(observation.mask, observation.depth, 1.0).astype(observation.depth.dtype),
        others=~observation.mask,
    )

    def drawn_from_outside(view: Observation) -> int:
        """How many vertices beside the person's pixels are drawn anywhere."""
        matches = Matcher(body, MatchConfig()).match(vertices, view, 500)
        x, y, z = vertices[matches.outside_ids].T
        camera = view.intrinsics
        column = np.clip(np.rint(x / z * camera.fx + camera.cx).astype(int), 0, camera.width - 1)
        row = np.clip(np.rint(y / z * camera.fy + camera.cy).astype(int), 0, camera.height - 1)
        return int((~view.mask[row, column]).sum())

    contradicted = drawn_from_outside(observation)
    assert contradicted > 100
    # What remains are corners of triangles at the outline of the part that is seen.
    assert drawn_from_outside(hidden) < 0.15 * contradicted


def test_a_person_out_of_sight_matches_nothing(body, scene, observation):
    vertices = pose_body(body, scene.states[0]).vertices.astype(np.float64) - [0.0, 0.0, 10.0]
    matches = Matcher(body, MatchConfig()).match(vertices, observation, 100)
    assert len(matches.vertex_ids) == len(matches.outside_ids) == 0
