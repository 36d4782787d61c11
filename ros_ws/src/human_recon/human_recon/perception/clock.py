"""How long the stages of a frame take."""

from __future__ import annotations

import time


class Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """End the stage ``name``; the next one begins."""
        now = time.perf_counter()
        self.timings[name] = now - self._last
        self._last = now
