"""A worker thread that always takes the newest job."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class LatestWorker(Generic[Job]):
    """Runs ``work`` on submitted jobs in one thread. A job that waits is replaced by a newer one: the queue holds one.

    ``work`` must not raise; it is the caller's place to say what went wrong.
    """

    def __init__(self, work: Callable[[Job], None], name: str) -> None:
        self._work = work
        self._condition = threading.Condition()
        self._waiting: Job | None = None
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
            self._condition.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._waiting is None and not self._stopping:
                    self._condition.wait()
                if self._stopping:
                    return
                job, self._waiting = self._waiting, None
                self._busy = True
            assert job is not None
            try:
                self._work(job)
            finally:
                del job  # messages are large: do not hold the last one until the next comes
                with self._condition:
                    self._busy = False
                    self._condition.notify_all()
