"""Playing a recording: in its own time, forwards and backwards, with a bounded memory of frames."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from human_recon.people import People
from human_recon.viewer.snapshot import Snapshot

_LONGEST_WAIT = 2.0  # seconds between two frames, whatever their stamps say
_LATE = 0.05  # seconds: what is later than this is not caught up by hurrying the next frame


class Recording(Protocol):
    """Frames that can be read again."""

    @property
    def count(self) -> int | None:
        """How many frames there are at most; None when that is not known beforehand."""

    def people(self, start: int) -> Iterator[People]:
        """The results from frame ``start`` on; nothing is known of earlier ones."""


@dataclass(frozen=True)
class Position:
    """Where playing is."""

    index: int  # of the frame on show
    count: int | None
    playing: bool
    speed: float  # reached in the last frames, times real time; 0 when there is nothing to measure


class Playback:
    """Shows the frames of a recording one after the other.

    ``run`` does the work in the thread that calls it; everything else may be called from any thread at any time. The
    frames shown last stay in memory, at most ``cache_bytes``, so that going back to them costs nothing; going to any
    other frame begins anew there, as if the recording began with it.
    """

    def __init__(
        self,
        recording: Recording,
        snapshot: Callable[[People], Snapshot],
        show: Callable[[Snapshot, Position], None],
        *,
        playing: bool = True,
        loop: bool = False,
        rate: float = 1.0,
        cache_bytes: int = 256 << 20,
    ) -> None:
        self._recording = recording
        self._snapshot = snapshot
        self._show = show
        self._news = threading.Condition()
        self._stopped = False
        self._playing = playing
        self._loop = loop
        self._rate = rate
        self._wanted: int | None = 0  # frame asked for; None: the next one when playing
        self._shown = -1  # frame on show
        self._changed = False  # something that the page tells, but not the frame
        self._commands = 0  # counts them, so that waiting for the next frame's time notices one
        self._count = recording.count
        self._cache: OrderedDict[int, Snapshot] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._stream: Iterator[People] = iter(())
        self._stream_at = -1  # index of the frame the stream gives next; -1: there is no stream

    @property
    def cached(self) -> tuple[int, ...]:
        """Indices of the frames in memory, in the order they will be forgotten."""
        return tuple(self._cache)

    def play(self, playing: bool = True) -> None:
        """Go on, from the beginning if at the end, or stop with the frame on show."""
        self._command(playing=playing)

    def step(self, frames: int) -> None:
        """Stop, and go so many frames forwards, or backwards when negative."""
        self._command(playing=False, by=frames)

    def seek(self, index: int) -> None:
        """Go to a frame; playing goes on from there."""
        self._command(to=index)

    def set_rate(self, rate: float) -> None:
        """Times real time, > 0."""
        if not rate > 0:
            raise ValueError(f"a rate of {rate} is not positive")
        self._command(rate=rate)

    def set_loop(self, loop: bool) -> None:
        """Begin anew at the end."""
        self._command(loop=loop)

    def stop(self) -> None:
        """Let ``run`` return."""
        with self._news:
            self._stopped = True
            self._news.notify_all()

    def run(self) -> None:
        """Show frames until ``stop`` is called. Lets through what reading the recording raises.

        Raises ValueError when the recording holds no frame.
        """
        current: Snapshot | None = None
        shown_at = 0.0  # time.monotonic() when the frame on show was due
        speed = 0.0
        while True:
            with self._news:
                while not (self._stopped or self._changed or self._playing or self._wanted is not None):
                    self._news.wait()
                if self._stopped:
                    self._stream = iter(())
                    return
                asked, self._wanted = self._wanted, None
                changed, self._changed = self._changed, False
                index = self._shown + 1 if asked is None else asked
                commands, rate = self._commands, self._rate
            if changed and asked is None and current is not None:
                self._show(current, self._position(speed))
                continue
            began = time.monotonic()
            snapshot = self._get(index)
            if snapshot is None:
                if current is None:
                    raise ValueError("the recording holds no frame")
                self._at_end(asked)
                continue
            now = time.monotonic()
            if asked is None and current is not None:
                gap = min(max((snapshot.stamp_ns - current.stamp_ns) / 1e9, 0.0), _LONGEST_WAIT)
                due = max(shown_at + gap / rate, began)
                if not self._wait_until(due, commands):
                    continue  # something else is wanted now; the frame stays in memory
                now = time.monotonic()
                reached = gap / max(now - shown_at, 1e-6)
                speed = reached if speed == 0.0 else 0.8 * speed + 0.2 * reached
                shown_at = due if now - due < _LATE else now
            else:
                shown_at, speed = now, 0.0
            current = snapshot
            with self._news:
                self._shown = index
            self._show(snapshot, self._position(speed))

    def _position(self, speed: float) -> Position:
        with self._news:
            return Position(self._shown, self._count, self._playing, speed)

    def _at_end(self, asked: int | None) -> None:
        """There is no such frame: begin anew or stop, when it was to be the next one; else stay."""
        with self._news:
            if self._wanted is None and asked is None:
                if self._loop:
                    self._wanted = 0
                else:
                    self._playing = False
            self._changed = True  # at least the number of frames is

    def _command(
        self,
        *,
        playing: bool | None = None,
        by: int | None = None,
        to: int | None = None,
        rate: float | None = None,
        loop: bool | None = None,
    ) -> None:
        with self._news:
            here = self._shown if self._wanted is None else self._wanted
            if playing is not None:
                if playing and not self._playing and self._count is not None and here >= self._count - 1:
                    to = 0
                self._playing = playing
                self._changed = True
            if by is not None:
                to = here + by
            if to is not None:
                self._wanted = max(0, to if self._count is None else min(to, self._count - 1))
            if rate is not None:
                self._rate = rate
            if loop is not None:
                self._loop = loop
            self._commands += 1
            self._news.notify_all()

    def _wait_until(self, due: float, commands: int) -> bool:
        """False when a command came or everything ends before ``due``."""
        with self._news:
            while not self._stopped and self._commands == commands:
                left = due - time.monotonic()
                if left <= 0:
                    return True
                self._news.wait(left)
            return False

    def _get(self, index: int) -> Snapshot | None:
        """The frame, from memory or from the recording; None behind its end."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        if self._count is not None and index >= self._count:
            return None
        contiguous = self._stream_at == index
        if not contiguous:
            self._stream = self._recording.people(index)
        self._stream_at = -1  # until the frame is there: reading it may raise
        people = next(self._stream, None)
        if people is None:
            if contiguous:  # a stream that begins behind the end tells only that
                with self._news:
                    self._count = index
            return None
        self._stream_at = index + 1
        snapshot = self._snapshot(people)
        self._cache[index] = snapshot
        self._cached_bytes += snapshot.nbytes
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            _, forgotten = self._cache.popitem(last=False)
            self._cached_bytes -= forgotten.nbytes
        return snapshot
