"""The whole geometric pipeline on rendered people whose pose, shape and place are known."""

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.fitting.coherence import CoherenceConfig, keep_apart, penetration_depth
from human_recon.fitting.icp import Fit, IcpFitter
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics, retract
from human_recon.fitting.observation import Observation, nearest_pixel, observe
from human_recon.fitting.priors import load_pose_mixture
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.people import People
from human_recon.perception.geometric import GeometricDetector
from human_recon.pipeline import Pipeline, PipelineConfig
from tests.synthetic_scene import CAMERA, CAMERA_HEIGHT, Scene, render, standing


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


@pytest.fixture(scope="module")
def scene(body) -> Scene:
    rng = np.random.default_rng(3)
    return render(body, [standing(body, -0.5, 2.4, 0.3, rng), standing(body, 0.45, 2.9, 2.9, rng)], rng)


@pytest.fixture(scope="module", params=["learned", "geometric"])
def perception(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def pipeline(body, perception) -> Pipeline:
    return Pipeline(PipelineConfig(perception=perception), body)


@pytest.fixture(scope="module")
def people(pipeline, scene) -> People:
    return pipeline.process(scene.frame)


def observations(scene: Scene) -> list[Observation]:
    detection = GeometricDetector().detect(scene.frame)
    everybody = np.any([h.mask for h in detection.hypotheses], axis=0)
    surroundings = detection.surface.surroundings
    found = [
        observe(
            detection.surface.points,
            detection.surface.normals,
            h.mask,
            h.head,
            everybody,
            CAMERA,
            surroundings.floor,
            surroundings.up,
        )
        for h in detection.hypotheses
    ]
    return sorted(found, key=lambda o: float(np.median(o.points[:, 0])))


def test_everybody_is_found_where_they_are(people, scene, body):
    assert len(people.people) == 2
    for person, state in zip(sorted(people.people, key=lambda p: p.joints[0, 0]), scene.states, strict=True):
        truth = pose_body(body, state)
        assert np.linalg.norm(person.joints[0] - truth.joints[0]) < 0.04
        assert np.linalg.norm(person.joints - truth.joints, axis=1).mean() < 0.05
        assert abs(person.height - stature(body, state.betas)) < 0.06
        facing = rotvec_to_matrix(person.state.pose[0])[:, 2] @ rotvec_to_matrix(state.pose[0])[:, 2]
        assert facing > 0.9, "front and back confused"


def test_what_a_person_says_of_itself_is_consistent(people, body):
    for person in people.people:
        posed = pose_body(body, person.state)
        np.testing.assert_allclose(person.vertices, posed.vertices, atol=1e-6)
        np.testing.assert_allclose(person.joints, posed.joints, atol=1e-6)
        assert 0.0 < person.confidence <= 1.0
        # Clothing is expected to be 8 mm thick and these people wear none.
        assert person.residual < 0.02
        assert (person.joint_sigma > 0).all()
        assert (person.joint_sigma < 0.5).all()


def test_labels_are_the_people_in_the_image(people, scene):
    assert people.labels.dtype == np.uint16
    for person in people.people:
        index = 0 if person.joints[0, 0] < 0 else 1
        mine, truth = people.labels == person.id, scene.person == index
        assert (mine & truth).sum() / (mine | truth).sum() > 0.9
        x, y, width, height = person.roi
        rows, columns = np.nonzero(mine)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_floor_is_reported(people):
    assert people.floor is not None
    assert people.floor.offset == pytest.approx(CAMERA_HEIGHT, abs=0.02)


def test_hidden_joints_are_not_claimed_visible(body, perception):
    """Somebody whose legs are outside the image."""
    rng = np.random.default_rng(0)
    scene = render(body, [standing(body, 0.0, 1.3, 3.1)], rng)
    people = Pipeline(PipelineConfig(perception=perception), body).process(scene.frame).people
    assert len(people) == 1
    assert people[0].joint_visible[[12, 15]].all()
    assert not people[0].joint_visible[[7, 8, 10, 11]].any()
    assert people[0].joint_sigma[[10, 11]].mean() > people[0].joint_sigma[[12, 9]].mean()


def test_ids_last_while_people_move_and_after_reset_are_new(pipeline, people, scene, body):
    rng = np.random.default_rng(4)
    moved = [BodyState(s.betas, s.pose, s.trans + [0.03, 0.0, -0.02]) for s in scene.states]
    later = pipeline.process(render(body, moved, rng, stamp_ns=33_000_000).frame)
    before = {p.id: p.joints[0] for p in people.people}
    assert {p.id for p in later.people} == set(before)
    for person in later.people:
        np.testing.assert_allclose(person.joints[0] - before[person.id], [0.03, 0.0, -0.02], atol=0.015)
    pipeline.reset()
    again = pipeline.process(render(body, moved, rng, stamp_ns=66_000_000).frame)
    assert not {p.id for p in again.people} & set(before)


def test_nobody_is_no_error(body, perception):
    pipeline = Pipeline(PipelineConfig(perception=perception), body)
    empty = pipeline.process(render(body, [], np.random.default_rng(0)).frame)
    assert empty.people == ()
    assert not empty.labels.any()
    blind = pipeline.process(Frame(0, "camera", np.zeros((240, 320), np.float32), CAMERA))
    assert blind.people == ()


def test_the_same_frame_gives_the_same_people(body, perception, scene, people):
    again = Pipeline(PipelineConfig(perception=perception), body).process(scene.frame)
    for first, second in zip(people.people, again.people, strict=True):
        np.testing.assert_allclose(first.state.pose, second.state.pose, atol=1e-9)
        np.testing.assert_allclose(first.state.betas, second.state.betas, atol=1e-9)


def test_gradient_of_the_data_terms_matches_central_differences(body, scene):
    """With correspondences held, rows^T values must be the gradient of the robust energy itself."""
    fitter = IcpFitter(BodyKinematics(body), load_pose_mixture())
    observation = observations(scene)[0]
    rng = np.random.default_rng(5)
    state = retract(scene.states[0], rng.normal(0, 0.03, PARAMETERS))
    matches = fitter._matcher.match(pose_body(body, state).vertices.astype(np.float64), observation, 300)
    assert len(matches.outside_ids) > 10
    ids = np.concatenate([matches.vertex_ids, matches.outside_ids])

    def energy(delta: np.ndarray) -> float:
        linear = fitter.kinematics.surface(retract(state, delta), ids)
        return fitter._data_residuals(linear, matches, 0.05).energy

    residuals = fitter._data_residuals(fitter.kinematics.surface(state, ids), matches, 0.05)
    assert residuals.energy == pytest.approx(energy(np.zeros(PARAMETERS)))
    gradient = residuals.rows.T @ residuals.values
    for _ in range(10):
        direction = rng.normal(size=PARAMETERS)
        direction /= np.linalg.norm(direction)
        numerical = (energy(1e-6 * direction) - energy(-1e-6 * direction)) / 2e-6
        assert gradient @ direction == pytest.approx(numerical, rel=1e-4, abs=1e-3)


def test_people_inside_each_other_are_moved_apart(body):
    rng = np.random.default_rng(6)
    scene = render(body, [standing(body, -0.27, 2.4, 3.1), standing(body, 0.27, 2.4, 3.1)], rng)
    fitter = IcpFitter(BodyKinematics(body), load_pose_mixture())
    pushed = [
        BodyState(s.betas, s.pose, s.trans + [shift, 0.0, 0.0])
        for s, shift in zip(scene.states, (0.06, -0.06), strict=True)
    ]
    assert penetration_depth(body, *pushed) > 0.03
    fits = [Fit(s, 0.0, np.eye(PARAMETERS)) for s in pushed]
    apart = keep_apart(fitter, fits, observations(scene), CoherenceConfig())
    assert penetration_depth(body, apart[0].state, apart[1].state) < 0.02


def test_nearest_pixel_is_the_nearest():
    rng = np.random.default_rng(7)
    mask = rng.random((23, 31)) < 0.03
    rows, columns = np.nonzero(mask)
    nearest = nearest_pixel(mask)
    for v, u in np.ndindex(mask.shape):
        distance = np.hypot(rows - v, columns - u)
        row, column = divmod(int(nearest[v, u]), mask.shape[1])
        assert mask[row, column]
        # OpenCV's 5x5 chamfer distance is within a few percent of the Euclidean one.
        assert np.hypot(row - v, column - u) <= distance.min() * 1.05 + 0.3


def test_nearest_pixel_of_nothing_is_marked():
    assert (nearest_pixel(np.zeros((3, 4), bool)) == -1).all()


def test_depth_that_is_not_finite_is_refused(pipeline):
    depth = np.full((240, 320), np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN"):
        pipeline.process(Frame(0, "camera", depth, CAMERA))


@pytest.mark.parametrize("yaw", [0.0, 0.7, 3.1])
def test_a_raised_arm_belongs_to_its_person(body, yaw):
    state = standing(body, 0.0, 2.4, yaw)
    pose = state.pose.copy()
    pose[16], pose[18] = [0.0, 0.0, 1.2], [0.0, -0.3, 0.0]
    scene = render(body, [BodyState(state.betas, pose, state.trans)], np.random.default_rng(0))
    hypotheses = GeometricDetector().detect(scene.frame).hypotheses
    assert len(hypotheses) == 1
    mask, truth = hypotheses[0].mask, scene.person == 0
    assert (mask & truth).sum() / (mask | truth).sum() > 0.93
