"""Who is who from one frame to the next, by where the head was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from human_recon.body.state import BodyState


@dataclass(frozen=True)
class AssociationConfig:
    """How far and for how long an identity carries."""

    speed: float = 3.0  # metres per second a head may move
    slack: float = 0.25  # metres it may be mismeasured
    memory: float = 1.0  # seconds a lost person is remembered
    forgetting: float = 0.2  # how fast the expected energy follows worse fits, per frame


@dataclass(frozen=True)
class Known:
    """What is remembered of a person."""

    id: int
    head: np.ndarray  # [3] metres, camera frame
    stamp_ns: int
    state: BodyState
    energy: float  # of fits of this person that were believed


class Association:
    """Gives stable ids >= 1; the only state the pipeline keeps between frames."""

    def __init__(self, config: AssociationConfig | None = None) -> None:
        self.config = config or AssociationConfig()
        self._known: dict[int, Known] = {}
        self._next_id = 1

    def reset(self) -> None:
        """Forget everybody; ids are not reused."""
        self._known.clear()

    def match(self, heads: list[np.ndarray], stamp_ns: int) -> list[Known | None]:
        """The remembered person for each head [3], or None for somebody new.

        People whose memory has expired, or who were seen later than ``stamp_ns`` (time went back), are forgotten.
        """
        memory_ns = int(self.config.memory * 1e9)
        self._known = {k: v for k, v in self._known.items() if 0 <= stamp_ns - v.stamp_ns <= memory_ns}
        known = list(self._known.values())
        result: list[Known | None] = [None] * len(heads)
        if not known or not heads:
            return result
        distance = np.linalg.norm(np.array(heads)[:, None] - np.array([k.head for k in known])[None], axis=-1)
        reach = np.array([self.config.slack + self.config.speed * (stamp_ns - k.stamp_ns) * 1e-9 for k in known])
        # Beyond reach costs more than any sum of allowed distances, so that it is never traded for a nearer pair.
        cost = np.where(distance <= reach, distance, 1e3)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if distance[i, j] <= reach[j]:
                result[i] = known[j]
        return result

    def new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def remember(self, person_id: int, head: np.ndarray, stamp_ns: int, state: BodyState, energy: float) -> None:
        """Note where somebody's head [3] is now; a worse energy than before is believed only gradually."""
        before = self._known.get(person_id)
        if before is not None and energy > before.energy:
            energy = before.energy + self.config.forgetting * (energy - before.energy)
        self._known[person_id] = Known(person_id, head, stamp_ns, state, energy)
