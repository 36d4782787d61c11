"""What of a frame goes to the page, and which way up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from human_recon.geometry.plane import Plane
from human_recon.viewer.level import level_rotation
from human_recon.viewer.panel import people_table, status_line, timing_table
from human_recon.viewer.snapshot import take_snapshot
from tests import viewer_support as support


def test_points_are_the_readings_in_place() -> None:
    snapshot = take_snapshot(support.result(0, support.person(1)))
    assert snapshot.points.shape == (29 * 40, 3)  # the first row has no readings
    assert snapshot.points[:, 2].min() > 2.0
    # The pixel (39, 29) is the last one: at 4 m, (39 - 19.5) / 36 * 4 m to the right.
    assert snapshot.points[-1] == pytest.approx([(39 - 19.5) / 36 * 4, (29 - 14.5) / 36 * 4, 4.0], abs=1e-5)
    # People's pixels are those of the left column.
    assert (snapshot.owners == 1).sum() == 29
    assert (snapshot.points[snapshot.owners == 1, 0] < -19.4 / 36 * 2).all()
    assert [person.id for person in snapshot.people] == [1]


@pytest.mark.parametrize("limit", [1, 10, 100, 1159, 1160, 5000])
def test_the_cloud_is_bounded(limit: int) -> None:
    snapshot = take_snapshot(support.result(), max_points=limit)
    assert 0 <= len(snapshot.points) <= limit
    assert len(snapshot.points) == len(snapshot.colors) == len(snapshot.owners)
    if limit >= 29 * 40:
        assert len(snapshot.points) == 29 * 40


def test_colour_goes_with_the_points() -> None:
    people = support.result()
    color = np.zeros((30, 40, 3), np.uint8)
    color[..., 0] = np.arange(40)  # red tells the column
    color[..., 1] = np.arange(30)[:, None]  # green the row
    snapshot = take_snapshot(replace(people, frame=replace(people.frame, color=color)), max_points=300)
    columns = snapshot.points[:, 0] / snapshot.points[:, 2] * 36 + 19.5
    rows = snapshot.points[:, 1] / snapshot.points[:, 2] * 36 + 14.5
    np.testing.assert_allclose(columns, snapshot.colors[:, 0], atol=1e-3)
    np.testing.assert_allclose(rows, snapshot.colors[:, 1], atol=1e-3)


def test_an_empty_frame_has_no_points() -> None:
    people = support.result()
    nothing = replace(people, frame=replace(people.frame, depth=np.zeros((30, 40), np.float32)))
    assert take_snapshot(nothing).points.shape == (0, 3)


def test_the_floor_tells_up_before_gravity_does() -> None:
    people = support.result(floor=True)
    gravity = np.array([0.0, -1.0, 0.0])
    people = replace(people, frame=replace(people.frame, up=gravity))
    snapshot = take_snapshot(people)
    np.testing.assert_allclose(snapshot.up, [0.0, -0.8, -0.6])
    assert snapshot.camera_height == 1.5
    without = take_snapshot(replace(people, floor=None))
    np.testing.assert_array_equal(without.up, gravity)
    assert without.camera_height is None
    broken = take_snapshot(replace(people, floor=Plane(np.full(3, np.nan), 1.0)))
    assert broken.up is None and broken.camera_height is None


directions = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(directions)
def test_level_rotation_is_a_rotation_that_puts_up_on_top(direction: tuple[float, float, float]) -> None:
    rotation = level_rotation(np.array(direction))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation @ direction / np.linalg.norm(direction), [0, 0, 1], atol=1e-9)


def test_a_level_camera_looks_along_x() -> None:
    # Optical z (forward) is x, optical x (right) is -y, optical y (down) is -z: REP-103.
    np.testing.assert_allclose(level_rotation(None), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    # Looking down, steeply: forward keeps to the ground.
    down = level_rotation(np.array([0.0, -np.cos(1.2), -np.sin(1.2)]))
    np.testing.assert_allclose(down @ [0, 0, 1], [np.cos(1.2), 0, -np.sin(1.2)], atol=1e-12)


def test_tables_tell_what_is_known_and_no_more() -> None:
    known = replace(support.person(7), velocity=np.array([0.0, 3.0, 4.0, 9, 9, 9]), visibility=0.5, shape_locked=True)
    table = people_table([known, replace(support.person(3), residual=float("nan"), life="occluded")])
    assert table.index("<b>3</b>") < table.index("<b>7</b>")
    for text in ("confirmed", "occluded", "1.70", "5.0", "50%", "20", "10"):
        assert f">{text}" in table, text
    assert "nan" not in table
    assert "nobody" in people_table([])


def test_stages_stand_below_the_stage_they_are_part_of() -> None:
    table = timing_table({"detect": 0.030, "fit": 0.010, "detect/votes": 0.020})
    places = [table.index(text) for text in ("detect", "votes", "fit", "in all")]
    assert places == sorted(places)
    assert "40.0 ms" in table  # 30 + 10: the votes are in the detection's time
    assert "no timing" in timing_table({})


def test_names_from_outside_are_text() -> None:
    evil = "<script>alert(1)"
    for content in (status_line((evil,)), timing_table({evil: 0.1, f"{evil}/{evil}": 0.1})):
        assert "<script" not in content and "&lt;script&gt;" in content
