"""Things made by a thread while others are used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from contextlib import closing
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The same items, up to ``count`` of them made before they are asked for.

    An exception in ``items`` is raised here when its turn comes. Closing this generator ends the thread and closes
    ``items``.
    """
    made: queue.Queue[Any] = queue.Queue(maxsize=count)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            try:
                return made.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            with closing(items):
                for item in items:
                    put((item, None))
                    if stop.is_set():
                        return
            put((None, StopIteration()))
        except BaseException as error:  # belongs to whoever asks next
            put((None, error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stop.set()
        thread.join()
