"""Pictures: what is drawn is where the geometry says, and nothing odd in a result breaks them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.people import People, Person
from human_recon.visualization import (
    depth_to_color,
    depth_to_gray,
    draw_overlay,
    draw_side_view,
    draw_summary,
    draw_top_view,
    labels_to_color,
    person_color,
)
from human_recon.visualization.canvas import draw_tag, draw_text, fit_into
from human_recon.visualization.palette import CARD, FLOOR, NO_READING
from human_recon.visualization.shading import shade_meshes

CAMERA = CameraIntrinsics(width=320, height=240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)


def icosphere(subdivisions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    return np.asarray(sphere.vertices, np.float64), np.asarray(sphere.faces, np.int32)


SPHERE, FACES = icosphere()


def person(person_id: int, x: float, z: float, y: float = 0.1) -> Person:
    """An egg of a person: 1.7 m high, pelvis at (x, y, z)."""
    vertices = (SPHERE * [0.22, 0.85, 0.16] + [x, y, z]).astype(np.float32)
    joints = np.tile(np.array([x, y, z], np.float32), (24, 1))
    joints[:, 1] += np.linspace(-0.2, 0.8, 24, dtype=np.float32)
    joints[15, 1] = y - 0.7
    return Person(
        id=person_id,
        confidence=0.9,
        state=BodyState(np.zeros(10), np.zeros((24, 3)), np.array([x, y, z])),
        vertices=vertices,
        joints=joints,
        joint_sigma=np.full(24, 0.02, np.float32),
        joint_visible=np.arange(24) % 2 == 0,
        height=1.7,
        roi=(0, 0, 10, 10),
        residual=0.012,
    )


def scene(*people: Person, wall: float = 5.0, color: bool = False, floor: bool = True) -> People:
    depth = np.full((CAMERA.height, CAMERA.width), wall, np.float32)
    picture = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8) if color else None
    frame = Frame(0, "camera", depth, CAMERA, picture)
    plane = Plane(np.array([0.0, -1.0, 0.0]), 0.95) if floor else None
    return People(frame, people, np.zeros(depth.shape, np.uint16), plane)


def pixels_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """[H, W] bool: pixels whose hue is that of ``color``, shaded or blended."""
    values = picture.astype(np.float64) - picture.astype(np.float64).mean(axis=2, keepdims=True)
    wanted = np.array(color, np.float64) - np.mean(color)
    norm = np.linalg.norm(values, axis=2)
    return (norm > 25) & (values @ wanted > 0.93 * norm * np.linalg.norm(wanted))


def test_depth_colours_are_ordered_and_holes_are_dark():
    depth = np.linspace(0.8, 4.0, 50, dtype=np.float32)[None].repeat(3, 0)
    depth[1] = 0
    gray = depth_to_gray(depth, (0.8, 4.0))
    assert (np.diff(gray[0, :, 0].astype(int)) <= 0).all() and gray[0, 0, 0] - int(gray[0, -1, 0]) > 120
    color = depth_to_color(depth, (0.8, 4.0))
    assert color.dtype == np.uint8 and color.shape == (3, 50, 3)
    assert color[0, 5, 0] > color[0, 5, 2] and color[0, -8, 2] > color[0, -8, 0]  # near is red, far is blue
    for picture in (gray, color):
        assert (picture[1] == NO_READING).all()


@pytest.mark.parametrize("depth", [np.zeros((4, 5), np.float32), np.full((4, 5), 2.0, np.float32)])
def test_depth_pictures_of_nothing_and_of_one_value(depth):
    assert depth_to_color(depth).shape == (4, 5, 3)
    assert depth_to_gray(depth).shape == (4, 5, 3)


def test_people_have_their_own_colours():
    colors = [person_color(i) for i in range(1, 41)]
    assert len(set(colors)) == 40
    assert all(0 <= c <= 255 for color in colors for c in color)
    first = np.array(colors[:10], float)
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(first, 2)]
    assert min(apart) > 60
    assert all(np.linalg.norm(np.array(c) - CARD) > 150 for c in colors)
    labels = np.array([[0, 3], [7, 3]], np.uint16)
    np.testing.assert_array_equal(labels_to_color(labels)[0, 1], person_color(3))
    np.testing.assert_array_equal(labels_to_color(labels)[0, 0], (0, 0, 0))


def test_supersampling_softens_the_border_and_keeps_the_area():
    vertices = (SPHERE * 0.5 + [0, 0, 3])[None].astype(np.float32)
    plain = shade_meshes(vertices, FACES, CAMERA, np.array([[200, 100, 50]]))
    soft = shade_meshes(vertices, FACES, CAMERA, np.array([[200, 100, 50]]), supersample=4)
    assert set(np.unique(plain.coverage)) == {0, 1}
    assert ((soft.coverage > 0) & (soft.coverage < 1)).any()
    assert soft.coverage.sum() == pytest.approx(plain.coverage.sum(), rel=0.01)
    columns = (soft.coverage * np.arange(CAMERA.width)).sum() / soft.coverage.sum()
    assert columns == pytest.approx(CAMERA.cx, abs=0.05)  # no half-pixel shift
    assert (soft.color <= 255 * soft.coverage[:, :, None] + 0.5).all()


@pytest.mark.parametrize("color", [True, False])
def test_overlay_draws_each_person_in_place_in_their_colour(color):
    people = scene(person(1, -0.8, 3.0), person(2, 0.7, 3.5), color=color)
    before = people.frame.depth.copy()
    picture = draw_overlay(people, FACES, tags=False)
    assert picture.shape == (240, 320, 3) and picture.dtype == np.uint8
    for who in people.people:
        u, v = CAMERA.project(who.joints[0].astype(np.float64))
        hue = pixels_of(picture, person_color(who.id))
        assert hue[round(v), round(u)]
        assert abs(np.nonzero(hue)[1].mean() - u) < 3
    np.testing.assert_array_equal(people.frame.depth, before)


def test_overlay_of_nobody_is_the_image():
    people = scene(color=True)
    background = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_overlay(people, FACES, background=background), background)


def test_overlay_fades_what_something_nearer_hides():
    clear, hidden = scene(person(1, 0.0, 3.0)), scene(person(1, 0.0, 3.0), wall=2.0)
    ground = np.full((240, 320, 3), 128, np.uint8)
    bright, faint = (draw_overlay(p, FACES, background=ground, tags=False) for p in (clear, hidden))
    change = [np.abs(picture.astype(int) - 128)[100:140, 150:170].mean() for picture in (bright, faint)]
    assert change[1] < 0.6 * change[0] and change[1] > 2


def test_overlay_tags_and_skeleton_add_to_the_picture():
    people = scene(person(1, 0.0, 3.0))
    plain = draw_overlay(people, FACES, tags=False)
    assert (draw_overlay(people, FACES, tags=True) != plain).any()
    assert (draw_overlay(people, FACES, tags=False, skeleton=True) != plain).any()


def test_side_view_puts_far_people_right_and_feet_on_the_floor_line():
    people = scene(person(1, 0.0, 2.0), person(3, 0.0, 4.0))
    picture = draw_side_view(people, FACES, 640, 400, tags=False)
    near, far = (np.nonzero(pixels_of(picture, person_color(i))) for i in (1, 3))
    assert far[1].mean() - near[1].mean() > 100
    assert abs(near[0].max() - far[0].max()) <= 2  # the same floor
    line = np.nonzero((picture == FLOOR).all(axis=2))[0]
    assert line.size and abs(np.median(line) - near[0].max()) <= 3  # and they stand on it
    # 2 m apart against 1.7 m tall: one scale on both axes
    tall = np.ptp(near[0][np.abs(near[1] - near[1].mean()) < 3])
    assert (far[1].mean() - near[1].mean()) / tall == pytest.approx(2.0 / 1.7, rel=0.1)


def test_side_view_turns_with_the_floor():
    """A camera pitched down by 30 degrees: an upright body must come out upright."""
    angle = np.radians(30)
    up = np.array([0.0, -np.cos(angle), -np.sin(angle)])
    forward = np.array([0.0, -np.sin(angle), np.cos(angle)])
    who = person(1, 0.0, 3.0)
    vertices = SPHERE[:, :1] * [0.22, 0, 0] + SPHERE[:, 1:2] * 0.85 * up + SPHERE[:, 2:] * 0.16 * forward + [0, 0, 3]
    who = dataclasses.replace(who, vertices=vertices.astype(np.float32))
    people = dataclasses.replace(scene(who), floor=Plane(up, 2.35))
    v, u = np.nonzero(pixels_of(draw_side_view(people, FACES, 640, 400, tags=False), person_color(1)))
    lower, upper = u[v > np.percentile(v, 85)].mean(), u[v < np.percentile(v, 15)].mean()
    assert abs(lower - upper) < 6 and np.ptp(v) > 3 * np.ptp(u)


def test_top_view_puts_far_people_up_and_right_people_right():
    people = scene(person(1, -0.8, 2.0), person(2, 0.8, 4.0))
    picture = draw_top_view(people, FACES, 640, 400, tags=False)
    near, far = (np.nonzero(pixels_of(picture, person_color(i))) for i in (1, 2))
    assert near[0].mean() - far[0].mean() > 60 and far[1].mean() - near[1].mean() > 60


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize("count", [0, 1, 12])
def test_summary_of_any_number_of_people(count, floor):
    people = scene(*(person(i + 1, -1 + 0.2 * i, 2.5 + 0.3 * i) for i in range(count)), floor=floor)
    picture = draw_summary(people, FACES, "a title")
    assert picture.dtype == np.uint8 and picture.shape[1] == 1322 and picture.shape[0] > 900


def test_odd_results_do_not_break_a_picture():
    broken = dataclasses.replace(
        person(2, 0.5, 3.0),
        vertices=np.full_like(person(2, 0.5, 3.0).vertices, np.nan),
        joints=np.full((24, 3), np.nan, np.float32),
        residual=float("nan"),
    )
    odd = scene(person(1, 0.0, -2.0), broken, person(3, 0.0, 0.06), person(4, 40.0, 3.0), floor=False)
    empty = dataclasses.replace(odd, frame=dataclasses.replace(odd.frame, depth=np.zeros((240, 320), np.float32)))
    for people in (odd, empty):
        assert draw_overlay(people, FACES, skeleton=True).shape == (240, 320, 3)
        assert draw_summary(people, FACES).dtype == np.uint8


def test_camera_looking_straight_down_has_a_side_and_a_top():
    people = dataclasses.replace(scene(person(1, 0.0, 2.0)), floor=Plane(np.array([0.0, 0.0, -1.0]), 2.5))
    for draw in (draw_side_view, draw_top_view):
        assert pixels_of(draw(people, FACES), person_color(1)).any()


def test_text_is_readable_in_place_and_clipped():
    image = np.zeros((40, 200, 3), np.uint8)
    width = draw_text(image, "Side view", 10, 20, 11)
    rows, columns = np.nonzero(image[:, :, 0] > 60)
    assert 40 < width < 150 and columns.min() >= 9 and columns.max() <= 10 + width
    assert abs((rows.min() + rows.max()) / 2 - 20) < 3
    draw_text(image, "outside", -500, 900)
    draw_tag(image, "12", -50, 500, (255, 0, 0))
    assert (image[:, :, 0] > 200).any()


def test_fit_into_keeps_the_shape():
    square = fit_into(np.full((50, 50, 3), 255, np.uint8), 200, 100)
    rows, columns = np.nonzero(square[:, :, 0] == 255)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 99, 50, 149)
