"""The frames to look at first."""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from human_recon.evaluation.records import FrameMeasures
from human_recon.ground_truth import TrueFrame
from human_recon.people import People

Kind = Literal["error", "count"]


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """A frame with what was predicted in it."""

    kind: Kind  # the largest joint error of one person, or the most people missed or made up
    score: float  # metres, or people
    true: TrueFrame
    people: People
    record: FrameMeasures


class WorstCases:
    """Keeps the ``count`` worst frames of each kind; among equals the earliest."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heaps: dict[Kind, list[tuple[float, int, WorstFrame]]] = {"error": [], "count": []}
        self._seen = 0

    def add(self, true: TrueFrame, people: People, record: FrameMeasures) -> None:
        """Keep the frame if it is among the worst so far."""
        self._seen += 1
        errors = [person.errors["mpjpe"] for person in record.people if person.predicted is not None]
        missed = sum(person.predicted is None for person in record.people)
        self._keep("error", max(errors, default=0.0), true, people, record)
        # A missed person in full view is worse than one hardly seen, among frames with the same number.
        clearness = sum(person.visibility for person in record.people if person.predicted is None)
        self._keep("count", missed + len(record.false) + 0.01 * clearness, true, people, record)

    def _keep(self, kind: Kind, score: float, true: TrueFrame, people: People, record: FrameMeasures) -> None:
        heap = self._heaps[kind]
        if score <= 0 or self._count == 0 or (len(heap) == self._count and score <= heap[0][0]):
            return
        # Only what a picture shows: the vertices of the truth and of the prediction are most of the memory.
        item = (score, -self._seen, WorstFrame(kind, score, true, _lean(people), record))
        (heapq.heappush if len(heap) < self._count else heapq.heapreplace)(heap, item)

    def frames(self) -> tuple[WorstFrame, ...]:
        """The worst first, joint errors before counts."""
        kinds: tuple[Kind, ...] = ("error", "count")
        return tuple(item[2] for kind in kinds for item in sorted(self._heaps[kind], reverse=True, key=lambda x: x[:2]))


def _lean(people: People) -> People:
    return dataclasses.replace(people, labels=np.zeros((0, 0), np.uint16))
