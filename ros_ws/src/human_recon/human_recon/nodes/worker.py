"""A worker thread that always takes the newest job."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_MOST_CALLS = 64  # that may wait


class LatestWorker(Generic[Job]):
    """Runs ``work`` on submitted jobs in one thread. A job that waits is replaced by a newer one: the queue holds one.

    ``work`` must not raise; it is the caller's place to say what went wrong. Functions handed to ``call`` are run in
    the same thread between the jobs, so that what the jobs use needs no lock.
    """

    def __init__(self, work: Callable[[Job], None], name: str) -> None:
        self._work = work
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
                    job, self._waiting = self._waiting, None
                    self._busy = True
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


def _answer(function: Callable[[], Result], future: Future[Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(result)
