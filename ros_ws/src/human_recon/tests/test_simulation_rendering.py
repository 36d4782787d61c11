"""Renderings of scenes and the truth that goes with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.simulation.outfit import Material, bare_outfit
from human_recon.simulation.rendering import FIRST_THING, Rendering, camera_state, render, silhouette_area, true_frame
from human_recon.simulation.scene import Actor, Scene, Thing, View

CAMERA = CameraIntrinsics(160, 120, 130.0, 130.0, 79.5, 59.5)
# One metre above the floor, looking along world -z.
LOOK = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.0], [0.0, 0.0, -1.0, 0.0]])
VIEW = View(LOOK, CAMERA)


def standing(body: BodyModel, x: float, z: float, yaw: float = 0.0, seed: int = 0) -> Actor:
    """Somebody in the T pose with bent arms, the pelvis over (x, z)."""
    rng = np.random.default_rng(seed)
    betas, pose = rng.normal(0, 0.5, 10), np.zeros((24, 3))
    pose[0] = [0.0, yaw, 0.0]
    pose[16], pose[17] = [0, 0, -1.2], [0, 0, 1.0]
    origin = pose_body(body, BodyState(betas, pose, np.zeros(3)))
    trans = np.array([x - origin.joints[0, 0], -origin.vertices[:, 1].min(), z - origin.joints[0, 2]])
    posed = pose_body(body, BodyState(betas, pose, trans))
    return Actor(betas, pose, trans, bare_outfit(body), posed.vertices, posed.joints, "standing")


def board(x0: float, x1: float, y0: float, y1: float, z: float) -> Thing:
    """A rectangle facing the camera."""
    vertices = np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], np.float32)
    return Thing("board", vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


@pytest.fixture(scope="module")
def scene(body: BodyModel) -> Scene:
    """Two people, one half behind the other, and a wall."""
    people = (standing(body, 0.0, -2.5, 0.4, seed=1), standing(body, 0.25, -3.2, -1.0, seed=2))
    return Scene(people, (board(-9, 9, -9, 9, -5.0),))


@pytest.fixture(scope="module")
def rendering(scene: Scene, body: BodyModel) -> Rendering:
    """That scene seen from the front."""
    return render(scene, VIEW, body)


def test_things_are_where_they_were_put(rendering: Rendering) -> None:
    wall = rendering.object == FIRST_THING
    np.testing.assert_allclose(rendering.depth[wall], 5.0, atol=1e-5)
    np.testing.assert_allclose(rendering.normal[wall], np.broadcast_to([0, 0, -1.0], (wall.sum(), 3)), atol=1e-6)
    assert (rendering.material[wall] == 255).all()
    assert (rendering.vertex[wall] == -1).all()
    assert (rendering.part[wall] == 255).all()


def test_the_states_pose_the_body_where_the_surface_is(scene: Scene, rendering: Rendering, body: BodyModel) -> None:
    """camera_state against moving the world's vertices: a rigid motion of the outcome, not of the parameters."""
    for actor, state, joints in zip(scene.actors, rendering.states, rendering.joints, strict=True):
        expected = actor.surface @ LOOK[:, :3].T + LOOK[:, 3]
        posed = pose_body(body, state)
        np.testing.assert_allclose(posed.vertices, expected, atol=2e-6)
        np.testing.assert_allclose(posed.joints, joints, atol=2e-6)


def test_a_tilted_and_turned_camera_moves_the_state_with_it(scene: Scene, body: BodyModel) -> None:
    rotation = rotvec_to_matrix(np.array([0.3, -0.7, 0.2])) @ LOOK[:, :3]
    look = np.column_stack([rotation, [0.3, -0.2, 0.9]])
    actor = scene.actors[0]
    posed = pose_body(body, camera_state(actor, look, body))
    np.testing.assert_allclose(posed.vertices, actor.surface @ rotation.T + look[:, 3], atol=3e-6)


def test_each_pixel_knows_its_place_on_the_body(scene: Scene, rendering: Rendering, body: BodyModel) -> None:
    parts = vertex_parts(body)
    for p, state in enumerate(rendering.states):
        mask = rendering.object == p
        assert mask.sum() > 300
        posed = pose_body(body, state).vertices
        rows, columns = np.nonzero(mask)
        points = CAMERA.unproject(np.stack([columns, rows], axis=1).astype(float), rendering.depth[mask])
        nearest = posed[rendering.vertex[mask]]
        # A body's triangles are up to 4 cm long: the nearest corner is closer than that.
        assert np.linalg.norm(points - nearest, axis=1).max() < 0.04
        template = body.v_template[rendering.vertex[mask]]
        assert np.linalg.norm(rendering.canonical[mask] - template, axis=1).max() < 0.04
        assert (rendering.part[mask] == parts[rendering.vertex[mask]]).all()
    assert set(np.unique(rendering.material[rendering.object == 0])) <= set(Material)


def test_visibility_counts_what_hides_a_person(scene: Scene, rendering: Rendering, body: BodyModel) -> None:
    """Against rendering the hidden person alone."""
    assert rendering.visibility[0] > 0.97
    alone = render(dataclasses.replace(scene, actors=scene.actors[1:]), VIEW, body)
    assert alone.visibility[0] > 0.97
    share = (rendering.object == 1).sum() / (alone.object == 0).sum()
    assert 0.2 < share < 0.9
    assert rendering.visibility[1] == pytest.approx(share, abs=0.02)


def test_visibility_counts_what_the_border_cuts_off(scene: Scene, rendering: Rendering, body: BodyModel) -> None:
    whole = int((rendering.object == 0).sum())
    left = View(LOOK, CAMERA.cropped(0, 0, 78, 120))
    cut = render(scene, left, body)
    expected = (cut.object == 0).sum() / whole
    assert 0.1 < expected < 0.9
    assert cut.visibility[0] == pytest.approx(expected, abs=0.03)
    gone = render(scene, View(LOOK, CAMERA.cropped(0, 0, 20, 120)), body)
    assert gone.visibility[0] == 0.0


def test_a_silhouette_is_measured_in_pixels() -> None:
    """A square of one metre at two metres with 130 pixels focal length covers 65 x 65 pixels, at every scale."""
    square = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [0.5, 0.5, 2], [-0.5, 0.5, 2]], np.float32)
    faces = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    assert silhouette_area(square, faces, CAMERA) == pytest.approx(65 * 65, rel=0.05)
    assert silhouette_area(square + [0.3, 0, 6], faces, CAMERA) == pytest.approx(16.25**2, rel=0.1)
    large = CameraIntrinsics(640, 480, 520.0, 520.0, 319.5, 239.5)
    assert silhouette_area(square, faces, large) == pytest.approx(260**2, rel=0.05)
    assert silhouette_area(square - [0, 0, 4], faces, CAMERA) == 0.0


def test_the_truth_names_everybody_and_their_pixels(scene: Scene, rendering: Rendering, body: BodyModel) -> None:
    frame = Frame(5, "camera", rendering.depth, CAMERA)
    truth = true_frame(rendering, body, frame, ids=(7, 3))
    assert [person.id for person in truth.people] == [7, 3]
    assert truth.labels is not None
    assert ((truth.labels == 7) == (rendering.object == 0)).all()
    x, y, width, height = truth.people[0].roi
    rows, columns = np.nonzero(truth.labels == 7)
    assert (x, y, x + width - 1, y + height - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
    assert truth.people[0].joint_visible[15]
    assert truth.people[1].joint_visible.sum() < 24


def test_what_the_sensor_does_not_reach_does_not_count_as_seen(
    scene: Scene, rendering: Rendering, body: BodyModel
) -> None:
    """Nothing above the middle of the image is measured: legs only."""
    depth = rendering.depth.copy()
    depth[:60] = 0.0
    truth = true_frame(rendering, body, Frame(5, "camera", depth, CAMERA))
    whole = rendering.object == 0
    assert truth.people[0].visibility == pytest.approx(whole[60:].sum() / whole.sum(), abs=0.02)
    assert not truth.people[0].joint_visible[15]
    assert truth.people[0].roi[1] == 60
    blind = true_frame(rendering, body, Frame(5, "camera", np.zeros_like(depth), CAMERA))
    assert [(person.visibility, person.roi) for person in blind.people] == [(0.0, (0, 0, 0, 0))] * 2


def test_an_empty_world_is_rendered_as_nothing(body: BodyModel) -> None:
    rendering = render(Scene((), ()), VIEW, body)
    assert not rendering.depth.any()
    assert (rendering.object == -1).all()
    assert rendering.states == ()


def test_people_outside_the_view_are_left_out_only_when_nothing_of_them_shows(scene: Scene, body: BodyModel) -> None:
    """Turning the camera away step by step: the same picture as with everything drawn as things."""
    things = tuple(Thing("person", actor.surface, actor.outfit.faces) for actor in scene.actors)
    plain = Scene((), (*things, *scene.things))
    shown = set()
    for angle in np.linspace(-2.5, 2.5, 41):
        turn = rotvec_to_matrix(np.array([0.3 * np.sin(3 * angle), angle, 0.0]))
        view = View(np.column_stack([turn @ LOOK[:, :3], turn @ LOOK[:, 3]]), CAMERA)
        rendering, expected = render(scene, view, body), render(plain, view, body)
        np.testing.assert_array_equal(rendering.depth, expected.depth)
        shown.add(int((rendering.visibility > 0).sum()))
    assert shown == {0, 1, 2}
