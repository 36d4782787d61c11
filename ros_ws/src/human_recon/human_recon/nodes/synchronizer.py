"""Stand-in for message_filters, which has no wheel: the two classes the node uses, with the same interface."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any


class SimpleFilter:
    """Hands messages on to whoever registered."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple]] = {}

    def registerCallback(self, callback: Callable[..., Any], *args: Any) -> int:
        """Call ``callback(message, *args)`` for every message; returns the number of the connection."""
        number = len(self.callbacks)
        self.callbacks[number] = (callback, args)
        return number

    def signalMessage(self, *messages: Any) -> None:
        """Hand on one message, or one set of messages."""
        for callback, args in self.callbacks.values():
            callback(*messages, *args)


class ApproximateTimeSynchronizer(SimpleFilter):
    """Joins messages of several filters whose header stamps differ by at most ``slop`` seconds (0: equal stamps).

    At most ``queue_size`` messages wait per filter, the oldest fall out. When a message comes, each other filter gives
    the waiting message nearest in time; a complete set is handed on, and whatever waited with older stamps than the
    set's own is forgotten, so that sets leave in the order of their stamps as long as each topic's messages come so.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__()
        self._slop_ns = round(slop * 1e9)
        self._size = queue_size
        self._lock = threading.Lock()
        self._waiting: list[dict[int, Any]] = [{} for _ in fs]  # per filter: stamp in nanoseconds -> message
        for index, source in enumerate(fs):
            source.registerCallback(self._add, index)

    def _add(self, message: Any, index: int) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        with self._lock:
            own = self._waiting[index]
            own[stamp] = message
            while len(own) > self._size:
                del own[min(own)]
            chosen = []
            for queue in self._waiting:
                nearest = min(queue, key=lambda other: abs(other - stamp), default=None)
                if nearest is None or abs(nearest - stamp) > self._slop_ns:
                    return
                chosen.append(nearest)
            messages = [queue[key] for queue, key in zip(self._waiting, chosen, strict=True)]
            for queue, key in zip(self._waiting, chosen, strict=True):
                for old in [other for other in queue if other <= key]:
                    del queue[old]
        self.signalMessage(*messages)
