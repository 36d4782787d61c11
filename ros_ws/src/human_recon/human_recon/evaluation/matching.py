"""Which predicted person is which true one, in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from human_recon.ground_truth import TruePerson
from human_recon.people import Person


@dataclass(frozen=True)
class MatchingConfig:
    """When a prediction is of a person, and who must be found at all."""

    gate: float = 0.5  # metres: beyond this distance a prediction is of somebody else
    distance: Literal["joints", "pelvis"] = "joints"  # mean distance of the 24 joints, or distance of the pelvises
    least_visibility: float = 0.10  # people seen less than this need not be found, and may be

    def __post_init__(self) -> None:
        if not self.gate > 0:
            raise ValueError(f"gate is {self.gate}, it must be above 0")
        if not 0 <= self.least_visibility <= 1:
            raise ValueError(f"least_visibility is {self.least_visibility}, it must be from 0 to 1")
        if self.distance not in ("joints", "pelvis"):
            raise ValueError(f"distance is {self.distance!r}, it must be 'joints' or 'pelvis'")


@dataclass(frozen=True)
class Matches:
    """Indices into the true and the predicted people of a frame."""

    required: tuple[int, ...]  # true people who must be found
    pairs: tuple[tuple[int, int], ...]  # (true, predicted), true people required
    missed: tuple[int, ...]  # true people required and not found
    false: tuple[int, ...]  # predictions of nobody
    ignored: tuple[int, ...]  # predictions of hidden people: neither right nor wrong
    distance: np.ndarray  # [true, predicted] metres, of all
    # People who were not measured, only predicted from earlier frames: neither found nor false.
    expected: tuple[tuple[int, int], ...] = ()  # (true, predicted), where somebody is who was missed, or is hidden
    elsewhere: tuple[int, ...] = ()  # where nobody is


def match_people(true: Sequence[TruePerson], predicted: Sequence[Person], config: MatchingConfig) -> Matches:
    """Pair people one to one: as many as possible within the gate, at the least sum of distances (Hungarian method).

    First those who must be found. What is left of the predictions may then be of hidden people (visibility below
    ``least_visibility``): such a prediction is ignored, and a hidden person without one is not missed. Only people
    who were measured in the frame find somebody or are false; the others (:attr:`Person.measured`) may then be of who
    is left: missed people first, then hidden ones.
    """
    distance = _distances(true, predicted, config)
    measured = [j for j, person in enumerate(predicted) if person.measured]
    unmeasured = [j for j, person in enumerate(predicted) if not person.measured]
    required = tuple(i for i, person in enumerate(true) if person.visibility >= config.least_visibility)
    hidden = [i for i, person in enumerate(true) if person.visibility < config.least_visibility]
    pairs = _pair(distance, list(required), measured, config.gate)
    taken = {j for _, j in pairs}
    rest = [j for j in measured if j not in taken]
    of_hidden = _pair(distance, hidden, rest, config.gate)
    ignored = sorted(j for _, j in of_hidden)
    found = {i for i, _ in pairs}
    missed = [i for i in required if i not in found]
    expected = _pair(distance, missed, unmeasured, config.gate)
    left = [j for j in unmeasured if j not in {k for _, k in expected}]
    unseen = [i for i in hidden if i not in {k for k, _ in of_hidden}]
    expected += _pair(distance, unseen, left, config.gate)
    return Matches(
        required=required,
        pairs=tuple(pairs),
        missed=tuple(missed),
        false=tuple(j for j in rest if j not in ignored),
        ignored=tuple(ignored),
        distance=distance,
        expected=tuple(expected),
        elsewhere=tuple(j for j in unmeasured if j not in {k for _, k in expected}),
    )


def _distances(true: Sequence[TruePerson], predicted: Sequence[Person], config: MatchingConfig) -> np.ndarray:
    if not true or not predicted:
        return np.zeros((len(true), len(predicted)))
    joints = slice(None) if config.distance == "joints" else slice(0, 1)
    a = np.stack([person.joints[joints] for person in true]).astype(np.float64)
    b = np.stack([person.joints[joints] for person in predicted]).astype(np.float64)
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1).mean(axis=-1)
    return np.where(np.isfinite(distance), distance, np.inf)


def _pair(distance: np.ndarray, rows: list[int], columns: list[int], gate: float) -> list[tuple[int, int]]:
    if not rows or not columns:
        return []
    part = distance[np.ix_(rows, columns)]
    # Beyond the gate costs more than any sum of allowed distances: one more pair is worth any distance.
    cost = np.where(part <= gate, part, gate * (1 + len(rows) + len(columns)))
    chosen = zip(*linear_sum_assignment(cost), strict=True)
    return sorted((rows[i], columns[j]) for i, j in chosen if part[i, j] <= gate)
