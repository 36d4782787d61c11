"""What the node tells about its health on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

_LONG_FRAME = 5.0  # seconds of work on one frame worth a warning
_WINDOW = 10.0  # seconds, up to the newest frame, over which latencies are summed up
_MOST = 2000  # values of a stage that are kept
_NAMES = {DiagnosticStatus.OK: "ok", DiagnosticStatus.WARN: "warning", DiagnosticStatus.ERROR: "error"}


class Health:
    """Counts frames and remembers what went wrong; written by the executor's and the worker's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.lifecycle = "unconfigured"
        self.model = ""
        self.engines = ""
        self.frame_id = ""
        self.input_topics = ""
        self._reset_counts()
        self._configure_error = ""

    def _reset_counts(self) -> None:
        self._received = self._processed = self._dropped = self._rejected = self._unwanted = self._time_jumps = 0
        self._people = 0
        self._rejection = ""  # newest reason; stays for reading
        self._pipeline_error = ""  # newest, cleared by the next good frame
        self._problem = ""  # of the newest frame: rejected, or without readings; cleared by the next good frame
        self._last_input = self._clock()
        self._working_since: float | None = None
        self._latencies: dict[str, deque[tuple[float, float]]] = {}  # stage -> (when, seconds)
        self._finished: deque[float] = deque(maxlen=_MOST)

    def activated(self) -> None:
        """Start counting."""
        with self._lock:
            self._reset_counts()

    def configure_failed(self, reason: str) -> None:
        """The node could not be configured; an empty reason: it could."""
        with self._lock:
            self._configure_error = reason

    def received(self) -> None:
        """A depth image or cloud arrived."""
        with self._lock:
            self._received += 1
            self._last_input = self._clock()

    def working(self, on_a_frame: bool) -> None:
        """The pipeline was given a frame, or is done with it."""
        with self._lock:
            self._working_since = self._clock() if on_a_frame else None

    def dropped(self) -> None:
        """A frame was replaced by a newer one before it was looked at."""
        with self._lock:
            self._dropped += 1

    def unwanted(self) -> None:
        """A frame was not looked at because nobody subscribes to anything."""
        with self._lock:
            self._unwanted += 1
            self._problem = ""

    def rejected(self, reason: str) -> None:
        """A message could not be used."""
        with self._lock:
            self._rejected += 1
            self._rejection = self._problem = reason

    def pipeline_failed(self, reason: str) -> None:
        """The pipeline raised on a frame."""
        with self._lock:
            self._rejected += 1
            self._rejection = self._pipeline_error = reason

    def time_jumped(self) -> None:
        """Time went backwards and the tracks were forgotten."""
        with self._lock:
            self._time_jumps += 1

    def processed(self, people: int, latencies: Mapping[str, float], warning: str = "") -> None:
        """A frame went through; ``latencies`` in seconds by stage."""
        with self._lock:
            self._processed += 1
            self._people = people
            self._problem = warning
            self._pipeline_error = ""
            self._finished.append(self._clock())
            for stage, seconds in latencies.items():
                self._add_latency(stage, seconds)

    def took(self, stage: str, seconds: float) -> None:
        """Something beside the frames took this long."""
        with self._lock:
            self._add_latency(stage, seconds)

    def _add_latency(self, stage: str, seconds: float) -> None:
        now = self._clock()
        window = self._latencies.setdefault(stage, deque(maxlen=_MOST))
        window.append((now, seconds))
        while window[0][0] < now - _WINDOW:
            window.popleft()

    def summary(self, input_timeout: float) -> tuple[bytes, str]:
        """Level and the one line that explains it."""
        with self._lock:
            if self._configure_error:
                return DiagnosticStatus.ERROR, f"cannot be configured: {self._configure_error}"
            if self.lifecycle != "active":
                return DiagnosticStatus.OK, self.lifecycle
            if self._pipeline_error:
                return DiagnosticStatus.ERROR, f"frame lost: {self._pipeline_error}"
            if self._working_since is not None and self._clock() - self._working_since > _LONG_FRAME:
                hint = "" if self._processed else " (the first run on a machine compiles)"
                return DiagnosticStatus.WARN, f"working on one frame for more than {_LONG_FRAME:g} s{hint}"
            silent = self._clock() - self._last_input
            if silent > input_timeout:
                return DiagnosticStatus.WARN, f"no input for {input_timeout:g} s on {self.input_topics}"
            if self._problem:
                return DiagnosticStatus.WARN, self._problem
            if self._received and not self._processed and self._unwanted:
                return DiagnosticStatus.OK, "idle: nobody subscribes"
            return DiagnosticStatus.OK, "running"

    def values(self) -> dict[str, str]:
        """The counters and latencies, as text."""
        with self._lock:
            values = {
                "lifecycle": self.lifecycle,
                "body model": self.model,
                "networks": self.engines,
                "frames received": str(self._received),
                "frames processed": str(self._processed),
                "frames dropped": str(self._dropped),
                "frames rejected": str(self._rejected),
                "frames nobody wanted": str(self._unwanted),
                "last rejection": self._rejection,
                "time jumps": str(self._time_jumps),
                "people": str(self._people),
            }
            now = self._clock()
            while self._finished and self._finished[0] < now - _WINDOW:
                self._finished.popleft()
            if len(self._finished) > 1:
                span = max(self._finished[-1] - self._finished[0], 1e-6)
                values["rate (Hz)"] = f"{(len(self._finished) - 1) / span:.2f}"
            for stage, window in self._latencies.items():
                milliseconds = np.array([seconds for _, seconds in window]) * 1e3
                values[f"{stage} (ms, mean / p95)"] = (
                    f"{milliseconds.mean():.1f} / {np.percentile(milliseconds, 95):.1f}"
                )
            return values


def diagnostic_array(
    header: Header, node_name: str, health: Health, input_timeout: float, extra: Mapping[str, str]
) -> DiagnosticArray:
    """The message for /diagnostics: one status; ``extra`` values are added to the counters."""
    level, message = health.summary(input_timeout)
    values = {"level": _NAMES[level], **health.values(), **extra}
    status = DiagnosticStatus(
        level=level,
        name=f"{node_name}: people",
        message=message,
        hardware_id=health.frame_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])
