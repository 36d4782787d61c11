"""The page's server: what it holds, for how long, and that it goes away. The page in a browser: test_viewer_browser."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("viser", reason="the viewer library is not installed (requirements/view.txt)")

from human_recon.people import People, TemplateMesh
from human_recon.viewer.live import show_live
from human_recon.viewer.page import Page
from human_recon.viewer.snapshot import Snapshot, take_snapshot
from tests import viewer_support as support


@pytest.fixture
def page():
    page = Page("a test", support.FACES, port=18700)
    yield page
    page.close()


def held(page: Page) -> int:
    """Bytes that viser keeps for browsers to come."""
    messages = list(page._server._websock_server._broadcast_buffer.message_from_id.values())
    return len(messages) + sum(
        value.nbytes
        for message in messages
        for container in (vars(message), vars(getattr(message, "props", None) or object.__new__(Snapshot)))
        for value in [*container.values(), *(container.get("updates") or {}).values()]
        if isinstance(value, np.ndarray)
    )


def test_memory_does_not_grow_with_frames_or_with_people_who_came_by(page: Page) -> None:
    sizes = []
    for index in range(300):
        crowd = [support.person(number, x=0.1 * number) for number in range(index // 2 + 1, index // 2 + 4)]
        page.show(take_snapshot(support.result(index, *crowd)), (f"frame {index}",))
        sizes.append(held(page))
    assert max(sizes[100:]) < 1.05 * max(sizes[50:100])
    assert len(page._slots) == 3  # as many as were ever there at once


def test_everybody_keeps_the_place_they_have(page: Page) -> None:
    page.show(take_snapshot(support.result(0, support.person(1), support.person(2, x=1.0))))
    first = {slot.person: slot.surface for slot in page._slots}
    page.show(take_snapshot(support.result(1, support.person(2, x=1.5), support.person(9, x=-1.0))))
    second = {slot.person: slot.surface for slot in page._slots}
    assert second[2] is first[2]
    assert second[9] is first[1]
    np.testing.assert_allclose(second[2].vertices[0], [1.5, 0.0, 3.0])
    page.show(take_snapshot(support.result(2)))
    assert not any(slot.surface.visible or slot.label.visible or slot.joints.visible for slot in page._slots)


def test_a_template_takes_the_bodys_place(page: Page) -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]], np.int32)
    surface = TemplateMesh(1, np.arange(15, dtype=np.float32).reshape(5, 3), faces)
    people = support.result(0, support.person(1), support.person(2, x=1.0))
    page.show(take_snapshot(replace(people, templates=(surface,))))
    slots = {slot.person: slot.surface for slot in page._slots}
    np.testing.assert_array_equal(slots[1].vertices, surface.vertices)
    np.testing.assert_array_equal(slots[1].faces, faces)
    np.testing.assert_array_equal(slots[2].faces, support.FACES)
    page.show(take_snapshot(people))
    np.testing.assert_array_equal(slots[1].faces, support.FACES)
    assert slots[1].vertices.shape == (4, 3)


def test_the_ground_is_level_and_stays_when_the_floor_is_lost(page: Page) -> None:
    page.show(take_snapshot(support.result(0, floor=True)))
    assert page._frame.position[2] == pytest.approx(1.5)
    turned = page._rotation
    assert turned is not None
    np.testing.assert_allclose(turned @ [0.0, -0.8, -0.6], [0, 0, 1], atol=1e-12)
    page.show(take_snapshot(support.result(1, floor=False)))
    assert page._rotation is turned
    assert page._frame.position[2] == pytest.approx(1.5)


def test_numbers_that_are_none_do_not_stop_the_page(page: Page) -> None:
    nothing = support.person(1)
    nothing = replace(
        nothing,
        joints=np.full((24, 3), np.nan, np.float32),
        vertices=np.full((4, 3), np.nan, np.float32),
        height=float("nan"),
        residual=float("nan"),
        joint_sigma=np.full(24, np.nan, np.float32),
        measured=False,
    )
    people = support.result(0, nothing, support.person(2))
    empty = replace(people, frame=replace(people.frame, depth=np.zeros((30, 40), np.float32)))
    page.show(take_snapshot(empty))
    page.show(take_snapshot(people))


def test_a_port_that_is_taken_gives_the_next(page: Page) -> None:
    other = Page("another", support.FACES, port=18700)
    try:
        assert other.url != page.url
    finally:
        other.close()


def test_live_shows_the_newest_holds_when_frozen_and_says_what_it_waits_for() -> None:
    stop = threading.Event()
    results: list[People | None] = [None, support.result(0), support.result(1), support.result(2), support.result(3)]
    shown: list[int] = []
    told: list[str] = []

    class Source:
        def latest(self, timeout: float) -> People | None:
            if not results:
                stop.set()
                return None
            return results.pop(0)

        def waiting_for(self) -> str:
            return "waiting for Godot"

    def show(snapshot: Snapshot, notes: tuple[str, ...]) -> None:
        shown.append((snapshot.stamp_ns - 1_000_000_000) // 100_000_000)

    show_live(
        Source(), take_snapshot, show, told.append, lambda: len(results) == 2, stop, rate=1000.0, patience=0.0
    )  # frozen when frame 1 has come
    assert shown == [0, 2, 3]
    assert told[0] == "waiting for Godot"
