"""Showing what a running system sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from human_recon.people import People
from human_recon.viewer.snapshot import Snapshot


class LiveSource(Protocol):
    """Results as they come."""

    def latest(self, timeout: float) -> People | None:
        """The newest result not yet given, waiting for one at most ``timeout`` seconds; older ones are dropped."""

    def waiting_for(self) -> str:
        """Why there is none, for the user to read."""


def show_live(
    source: LiveSource,
    snapshot: Callable[[People], Snapshot],
    show: Callable[[Snapshot, tuple[str, ...]], None],
    tell: Callable[[str], None],
    frozen: Callable[[], bool],
    stop: threading.Event,
    *,
    rate: float = 15.0,
    patience: float = 2.0,
) -> None:
    """Show the newest result again and again, at most ``rate`` times a second, until ``stop`` is set.

    Says what is waited for after ``patience`` seconds without a result.
    """
    shown = 0
    last = time.monotonic()
    frequency = 0.0
    while not stop.is_set():
        people = source.latest(0.25)
        now = time.monotonic()
        if people is None:
            if now - last > patience and not frozen():
                tell(source.waiting_for())
            continue
        if frozen():
            last = now
            continue
        frequency = 1.0 / max(now - last, 1e-3) if shown < 2 else 0.9 * frequency + 0.1 / max(now - last, 1e-3)
        last = now
        shown += 1
        show(snapshot(people), (f"{frequency:.0f} shown a second",))
        stop.wait(max(0.0, now + 1.0 / rate - time.monotonic()))
