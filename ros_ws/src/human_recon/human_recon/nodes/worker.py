"""A worker thread that always takes the newest job."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_MOST_CALLS = 64  # that may wait


class Cadence:
    """When the next job is due, from when the last ones came."""

    def __init__(self, weight: float = 0.1) -> None:
        """``weight`` of the newest interval in the running mean."""
        self._weight = weight
        self._interval: float | None = None
        self._last: float | None = None

    def came(self, now: float) -> None:
        """A job came at ``now``, seconds."""
        if self._last is not None:
            interval = now - self._last
            mean = self._interval if self._interval is not None else interval
            # A camera that pauses is not a slow one.
            self._interval = mean + self._weight * (min(interval, 2.0 * mean) - mean)
        self._last = now

    def due_in(self, now: float) -> float:
        """Seconds until the next job; inf when that is not known, negative when it is late."""
        if self._interval is None or self._last is None:
            return float("inf")
        return self._last + self._interval - now


class LatestWorker(Generic[Job]):
    """Runs ``work`` on submitted jobs in one thread. A job that waits is replaced by a newer one: the queue holds one.

    A job that has waited is not begun when a newer one is due within ``patience`` seconds: with work that takes longer
    than the jobs' interval, results are younger for it.

    ``work`` must not raise; it is the caller's place to say what went wrong. Functions handed to ``call`` are run in
    the same thread between the jobs, so that what the jobs use needs no lock.
    """

    def __init__(
        self, work: Callable[[Job], None], name: str, patience: float = 0.0, cadence: Cadence | None = None
    ) -> None:
        self._work = work
        self._patience = patience
        self._cadence = cadence or Cadence()
        self._condition = threading.Condition()
        self._waiting: Job | None = None
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Queue ``job``; True when it took the place of one that was still waiting, which is lost."""
        with self._condition:
            replaced = self._waiting is not None
            self._waiting = job
            self._cadence.came(time.monotonic())
            self._condition.notify_all()
        return replaced

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run ``function`` before the next job. Its result, or what it raised, is in the future.

        Raises RuntimeError when too many wait already or the worker has been stopped.
        """
        future: Future[Result] = Future()
        with self._condition:
            if self._stopping or len(self._calls) >= _MOST_CALLS:
                raise RuntimeError("shutting down" if self._stopping else "too many calls wait for the present frame")
            self._calls.append((function, future))
            self._condition.notify_all()
        return future

    def clear(self) -> None:
        """Forget the waiting job."""
        with self._condition:
            self._waiting = None
            self._condition.notify_all()

    @property
    def busy(self) -> bool:
        """True while a job waits or is worked on."""
        with self._condition:
            return self._busy or self._waiting is not None

    def stop(self, timeout: float) -> bool:
        """Take no more jobs and wait for the present one; False when it is not done after ``timeout`` seconds."""
        with self._condition:
            self._stopping = True
            self._waiting = None
            calls, self._calls = list(self._calls), deque()
            self._condition.notify_all()
        for _, future in calls:
            future.cancel()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._waiting is None and not self._calls and not self._stopping:
                    self._condition.wait()
                if self._stopping:
                    return
                calls, self._calls = list(self._calls), deque()
                job = None
                if not calls:
                    self._wait_for_a_younger_one()
                    job, self._waiting = self._waiting, None
                    self._busy = job is not None
            for function, future in calls:
                _answer(function, future)
            if job is None:
                continue
            try:
                self._work(job)
            finally:
                del job  # messages are large: do not hold the last one until the next comes
                with self._condition:
                    self._busy = False
                    self._condition.notify_all()

    def _wait_for_a_younger_one(self) -> None:
        due = self._cadence.due_in(time.monotonic())
        if 0.0 < due < self._patience:
            job = self._waiting
            self._condition.wait_for(lambda: self._waiting is not job or self._stopping, 1.2 * due)


def _answer(function: Callable[[], Result], future: Future[Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
