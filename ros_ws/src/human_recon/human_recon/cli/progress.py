"""How far long work has come, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """A line that is rewritten on a terminal, and repeated every ten seconds in a log file."""

    def __init__(self, what: str, total: int | None, stream: TextIO | None = None) -> None:
        self._what = what
        self._total = total
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._last = self._start
        self._width = 0

    def step(self, done: int) -> None:
        """``done`` pieces are finished."""
        now = time.monotonic()
        if now - self._last < (0.1 if self._terminal else 10.0) and done != self._total:
            return
        self._last = now
        text = progress_text(self._what, done, self._total, now - self._start)
        if self._terminal:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Remove the line from a terminal."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


def progress_text(what: str, done: int, total: int | None, elapsed: float) -> str:
    """For example ``frames 12/300, 4.2/s, 1:08 left``; no rate before the first piece."""
    parts = [f"{what} {done}/{total}" if total is not None else f"{what} {done}"]
    if done > 0 and elapsed > 0:
        rate = done / elapsed
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if total is not None and done < total:
            left = round((total - done) / rate)
            parts.append(f"{left // 60}:{left % 60:02d} left")
    return ", ".join(parts)
