"""Playing recordings: order, time, commands, memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.frame import Frame
from human_recon.io.people_json import read_people_json, write_people_json
from human_recon.people import People
from human_recon.viewer.playback import Playback, Position
from human_recon.viewer.recordings import DepthRecording, StoredRecording
from human_recon.viewer.snapshot import Snapshot, take_snapshot
from tests import viewer_support as support

_FAST = 1e6  # times real time


class Counted:
    """A recording of so many frames that tells what was read."""

    def __init__(self, frames: int, count: int | None = -1, period_ns: int = 100_000_000) -> None:
        self._frames = frames
        self.count = frames if count == -1 else count
        self._period = period_ns
        self.starts: list[int] = []
        self.read = 0

    def people(self, start: int) -> Iterator[People]:
        self.starts.append(start)
        for index in range(start, self._frames):
            self.read += 1
            yield support.result(index, support.person(1), period_ns=self._period)


class Viewer:
    """Runs a playback in a thread and notes what it shows."""

    def __init__(self, recording: Counted, **options: object) -> None:
        self.shown: list[tuple[int, int, bool]] = []  # (frame told by its stamp, told position, playing)
        self.times: list[float] = []
        self.last: Position | None = None
        self._news = threading.Condition()
        self.playback = Playback(recording, take_snapshot, self._show, **options)  # type: ignore[arg-type]
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.playback.run()
        except BaseException as error:
            self.error = error
        with self._news:
            self._news.notify_all()

    def _show(self, snapshot: Snapshot, position: Position) -> None:
        with self._news:
            frame = round((snapshot.stamp_ns - 1_000_000_000) / 1e8)
            self.shown.append((frame, position.index, position.playing))
            self.times.append(time.monotonic())
            self.last = position
            self._news.notify_all()

    def wait(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        with self._news:
            assert self._news.wait_for(lambda: condition() or self.error is not None, timeout), self.shown[-5:]
        if self.error is not None:
            raise self.error

    def at(self, frame: int, playing: bool) -> Callable[[], bool]:
        return lambda: bool(self.shown) and self.shown[-1] == (frame, frame, playing)

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.playback.stop()
        self._thread.join(10.0)
        assert not self._thread.is_alive()


def test_plays_every_frame_once_and_stops_at_the_end() -> None:
    recording = Counted(7)
    with Viewer(recording, rate=_FAST) as viewer:
        viewer.wait(viewer.at(6, playing=False))
    frames = [frame for frame, _, playing in viewer.shown if playing]
    assert frames == list(range(7))
    assert all(frame == told for frame, told, _ in viewer.shown)
    assert recording.read == 7


def test_keeps_the_recordings_time() -> None:
    with Viewer(Counted(6), rate=2.0) as viewer:
        viewer.wait(viewer.at(5, playing=False))
    first = viewer.times[0]
    last = next(when for when, (frame, _, _) in zip(viewer.times, viewer.shown) if frame == 5)
    # 5 periods of 0.1 s at twice the speed. Never early; late on a busy machine.
    assert 0.24 <= last - first < 5.0


def test_a_gap_in_the_recording_is_no_pause_for_ever() -> None:
    with Viewer(Counted(2, period_ns=3600_000_000_000), rate=20.0) as viewer:
        viewer.wait(lambda: len(viewer.shown) >= 2, timeout=10.0)


def test_pause_step_back_and_forth_and_play_again() -> None:
    recording = Counted(10)
    with Viewer(recording, playing=False) as viewer:
        viewer.wait(viewer.at(0, playing=False))
        for step, frame in ((1, 1), (1, 2), (3, 5), (-1, 4), (-9, 0), (20, 9), (1, 9), (-2, 7)):
            shown = len(viewer.shown)
            viewer.playback.step(step)
            viewer.wait(lambda shown=shown: len(viewer.shown) > shown)
            assert viewer.shown[-1] == (frame, frame, False)
        viewer.playback.set_rate(_FAST)
        viewer.playback.play()
        viewer.wait(viewer.at(9, playing=False))
        viewer.playback.play()  # at the end: from the beginning
        viewer.wait(lambda: (0, 0, True) in viewer.shown)


def test_pausing_in_a_long_wait_answers_at_once() -> None:
    with Viewer(Counted(5, period_ns=1_900_000_000)) as viewer:
        viewer.wait(viewer.at(0, playing=True))
        began = time.monotonic()
        viewer.playback.play(False)
        viewer.wait(lambda: not viewer.shown[-1][2])
        assert time.monotonic() - began < 1.5
        assert viewer.shown[-1] == (0, 0, False)


def test_frames_in_memory_are_not_read_again_and_others_are() -> None:
    recording = Counted(30)
    with Viewer(recording, rate=_FAST) as viewer:
        viewer.wait(viewer.at(29, playing=False))
        viewer.playback.seek(3)
        viewer.wait(viewer.at(3, playing=False))
        assert recording.starts == [0]
    size = take_snapshot(support.result(0, support.person(1))).nbytes
    recording = Counted(30)
    with Viewer(recording, rate=_FAST, cache_bytes=4 * size) as viewer:
        viewer.wait(viewer.at(29, playing=False))
        assert len(viewer.playback.cached) == 4
        viewer.playback.seek(3)
        viewer.wait(viewer.at(3, playing=False))
        assert recording.starts == [0, 3]
        viewer.playback.step(1)
        viewer.wait(viewer.at(4, playing=False))
        assert recording.starts == [0, 3]  # the stream goes on from there


def test_loops() -> None:
    recording = Counted(3, count=None)
    with Viewer(recording, rate=_FAST, loop=True, cache_bytes=0) as viewer:
        viewer.wait(lambda: len(viewer.shown) >= 12)
        viewer.playback.set_loop(False)
        viewer.wait(lambda: not viewer.shown[-1][2])
    frames = [frame for frame, _, playing in viewer.shown if playing]
    assert frames[:9] == [0, 1, 2] * 3
    assert viewer.last is not None and viewer.last.count == 3  # found out on the way


def test_a_recording_shorter_than_it_says() -> None:
    with Viewer(Counted(4, count=10), rate=_FAST) as viewer:
        viewer.wait(viewer.at(3, playing=False))
        assert viewer.last is not None and viewer.last.count == 4
        viewer.playback.seek(8)
        viewer.wait(lambda: viewer.shown[-1] == (3, 3, False))


def test_an_empty_recording_is_an_error() -> None:
    playback = Playback(Counted(0, count=None), take_snapshot, lambda *_: None)
    with pytest.raises(ValueError, match="no frame"):
        playback.run()


def test_errors_of_the_recording_come_through() -> None:
    class Broken:
        count = None

        def people(self, start: int) -> Iterator[People]:
            yield support.result(0)
            raise OSError("the disk is gone")

    playback = Playback(Broken(), take_snapshot, lambda *_: None, rate=_FAST)
    with pytest.raises(OSError, match="the disk is gone"):
        playback.run()


commands = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(-5, 5)),
        st.tuples(st.just("seek"), st.integers(-3, 20)),
        st.tuples(st.just("play"), st.booleans()),
        st.tuples(st.just("set_loop"), st.booleans()),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(commands=commands, known=st.booleans(), budget=st.integers(0, 3))
def test_whatever_is_pressed_it_shows_the_frame_it_tells(commands: list, known: bool, budget: int) -> None:
    size = take_snapshot(support.result(0, support.person(1))).nbytes
    recording = Counted(8, count=8 if known else None)
    with Viewer(recording, rate=_FAST, cache_bytes=budget * size) as viewer:
        for name, value in commands:
            getattr(viewer.playback, name)(value)
        viewer.playback.set_loop(False)
        viewer.playback.play(False)
        viewer.playback.seek(2)
        viewer.wait(viewer.at(2, playing=False))
        assert len(viewer.playback.cached) <= max(1, budget)
    assert all(frame == told and 0 <= frame < 8 for frame, told, _ in viewer.shown)


def test_depth_recordings_begin_anew_where_they_are_told() -> None:
    frames = [support.result(index).frame for index in range(5)]
    calls: list[object] = []

    class Pipeline:
        def reset(self) -> None:
            calls.append("reset")

        def process(self, frame: Frame) -> People:
            calls.append(frame.stamp_ns)
            return support.result((frame.stamp_ns - 1_000_000_000) // 100_000_000)

    recording = DepthRecording(frames, 5, Pipeline())
    assert [people.frame.stamp_ns for people in recording.people(3)] == [frame.stamp_ns for frame in frames[3:]]
    assert calls == ["reset", frames[3].stamp_ns, frames[4].stamp_ns]


def test_stored_people_stand_where_they_were_found(tmp_path, body) -> None:
    from human_recon.body.lbs import pose_body

    results = [support.result(index, support.person(index + 1, x=0.3 * index)) for index in range(3)]
    write_people_json(tmp_path / "people.json", results, body.name)
    stored = read_people_json(tmp_path / "people.json")
    alone = list(StoredRecording(stored, body).people(1))
    assert [people.people[0].id for people in alone] == [2, 3]
    assert not alone[0].frame.depth.any()
    expected = pose_body(body, results[1].people[0].state).vertices
    np.testing.assert_allclose(alone[0].people[0].vertices, expected, atol=1e-5)
    # Over the depth, of whose frames one has no result and one comes twice.
    frames = [results[0].frame, support.result(7).frame, results[1].frame, results[2].frame]
    over = list(StoredRecording(stored, body, frames).people(0))
    assert [people.people[0].id for people in over] == [1, 2, 3]
    assert over[1].frame.depth.any()
    with pytest.raises(ValueError, match="the body model is 'other'"):
        StoredRecording(stored, type("Other", (), {"name": "other"})())  # type: ignore[arg-type]
