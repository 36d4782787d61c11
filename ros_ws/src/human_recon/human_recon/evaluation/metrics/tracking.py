"""Identity over time: CLEAR MOT, IDF1 and HOTA, from the distances between true and predicted people in every frame.

A sequence is a list of :class:`TrackingFrame`, from which people nobody asks about have been removed. Results are
counts that add up over sequences; rates are taken from the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

ALPHAS = np.linspace(0.05, 0.95, 19)  # similarity thresholds of HOTA


@dataclass(frozen=True)
class TrackingFrame:
    """Who was there and who was predicted."""

    true_ids: tuple[int, ...]  # T of them
    predicted_ids: tuple[int, ...]  # P of them
    distance: np.ndarray  # [T, P] metres between people


@dataclass(frozen=True)
class ClearMot:
    """Counts of CLEAR MOT (Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance", 2008)."""

    true: int = 0  # true people, summed over frames
    missed: int = 0
    false: int = 0
    switches: int = 0  # a true person's track is another than when last found
    distance: float = 0.0  # metres, summed over the people found

    def __add__(self, other: ClearMot) -> ClearMot:
        return ClearMot(
            self.true + other.true,
            self.missed + other.missed,
            self.false + other.false,
            self.switches + other.switches,
            self.distance + other.distance,
        )

    @property
    def mota(self) -> float:
        """1 - (missed + false + switches) / true: at most 1, may be negative; NaN when nobody is there."""
        return 1.0 - (self.missed + self.false + self.switches) / self.true if self.true else float("nan")

    @property
    def motp(self) -> float:
        """Mean distance of the people found, metres."""
        found = self.true - self.missed
        return self.distance / found if found else float("nan")


def clear_mot(frames: Sequence[TrackingFrame], gate: float) -> ClearMot:
    """Counts over one sequence; a true and a predicted person may belong together up to ``gate`` metres.

    Frame by frame: pairs of the frame before (the last in which somebody was there and somebody predicted) are kept
    while they are within the gate, the rest is assigned so that the sum of similarities 1 - distance / (2 gate) is
    largest, as in the evaluation of the MOT challenge.
    """
    last: dict[int, int] = {}  # true id -> predicted id when last found
    before: dict[int, int] = {}  # the same in the frame before
    total = ClearMot()
    for frame in frames:
        pairs = _assign(frame, gate, before)
        now = {frame.true_ids[i]: frame.predicted_ids[j] for i, j in pairs}
        total += ClearMot(
            true=len(frame.true_ids),
            missed=len(frame.true_ids) - len(pairs),
            false=len(frame.predicted_ids) - len(pairs),
            switches=sum(last.get(true, predicted) != predicted for true, predicted in now.items()),
            distance=float(sum(frame.distance[i, j] for i, j in pairs)),
        )
        last.update(now)
        if frame.true_ids and frame.predicted_ids:
            before = now
    return total


def _assign(frame: TrackingFrame, gate: float, before: dict[int, int]) -> list[tuple[int, int]]:
    if not frame.true_ids or not frame.predicted_ids:
        return []
    kept = np.array([[before.get(true) == predicted for predicted in frame.predicted_ids] for true in frame.true_ids])
    allowed = frame.distance <= gate
    # A kept pair is worth more than all similarities together.
    gain = np.where(allowed, (1 + len(frame.true_ids)) * kept + 1.0 - frame.distance / (2 * gate), 0.0)
    rows, columns = linear_sum_assignment(-gain)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


@dataclass(frozen=True)
class Identity:
    """Counts of the identity metrics (Ristani et al., "Performance measures and a data set for multi-target,
    multi-camera tracking", ECCV workshops 2016)."""

    true: int = 0  # true people, summed over frames
    predicted: int = 0
    right: int = 0  # IDTP: frames in which a person has the track that is theirs over the whole sequence

    def __add__(self, other: Identity) -> Identity:
        return Identity(self.true + other.true, self.predicted + other.predicted, self.right + other.right)

    @property
    def idf1(self) -> float:
        """2 right / (true + predicted), in [0, 1]; NaN when there is neither."""
        whole = self.true + self.predicted
        return 2.0 * self.right / whole if whole else float("nan")

    @property
    def precision(self) -> float:
        """IDP: right / predicted."""
        return self.right / self.predicted if self.predicted else float("nan")

    @property
    def recall(self) -> float:
        """IDR: right / true."""
        return self.right / self.true if self.true else float("nan")


def identity(frames: Sequence[TrackingFrame], gate: float) -> Identity:
    """Counts over one sequence: people and tracks are paired once for all its frames, so that most agree."""
    true, predicted = _number(f.true_ids for f in frames), _number(f.predicted_ids for f in frames)
    together = np.zeros((len(true), len(predicted)))
    for frame in frames:
        rows, columns = _indices(frame.true_ids, true), _indices(frame.predicted_ids, predicted)
        together[np.ix_(rows, columns)] += frame.distance <= gate
    pairs = linear_sum_assignment(-together)
    return Identity(
        true=sum(len(f.true_ids) for f in frames),
        predicted=sum(len(f.predicted_ids) for f in frames),
        right=int(together[pairs].sum()),
    )


@dataclass(frozen=True)
class Hota:
    """Counts of HOTA per similarity threshold (Luiten et al., "HOTA: a higher order metric for evaluating multi-object
    tracking", IJCV 2020)."""

    found: np.ndarray = field(default_factory=lambda: np.zeros(len(ALPHAS)))  # [A] true positives
    missed: np.ndarray = field(default_factory=lambda: np.zeros(len(ALPHAS)))  # [A]
    false: np.ndarray = field(default_factory=lambda: np.zeros(len(ALPHAS)))  # [A]
    association: np.ndarray = field(default_factory=lambda: np.zeros(len(ALPHAS)))  # [A] sum of A(c) over found c

    def __add__(self, other: Hota) -> Hota:
        return Hota(
            self.found + other.found,
            self.missed + other.missed,
            self.false + other.false,
            self.association + other.association,
        )

    @property
    def det_a(self) -> np.ndarray:
        """[A] detection accuracy: found / (found + missed + false), equation 4 without association."""
        return self.found / np.maximum(self.found + self.missed + self.false, 1)

    @property
    def ass_a(self) -> np.ndarray:
        """[A] association accuracy: mean over found c of TPA(c) / (TPA(c) + FNA(c) + FPA(c)), equations 2-3."""
        return self.association / np.maximum(self.found, 1)

    @property
    def hota(self) -> float:
        """Mean over the thresholds of sqrt(DetA AssA), in [0, 1]; NaN when there are neither people nor tracks."""
        if not (self.found + self.missed + self.false).any():
            return float("nan")
        return float(np.sqrt(self.det_a * self.ass_a).mean())


def hota(frames: Sequence[TrackingFrame], zero: float) -> Hota:
    """Counts over one sequence; the similarity of two people is max(0, 1 - distance / ``zero`` metres).

    With ``zero`` = twice the gate of :func:`clear_mot`, the threshold 0.5 is that gate, as with boxes in the paper. One
    assignment per frame serves all thresholds: it maximises similarity times how well the two identities agree over the
    whole sequence (section 5 of the paper; "global alignment score").
    """
    true, predicted = _number(f.true_ids for f in frames), _number(f.predicted_ids for f in frames)
    true_count, predicted_count = np.zeros(len(true)), np.zeros(len(predicted))
    potential = np.zeros((len(true), len(predicted)))
    steps = []
    for frame in frames:
        rows, columns = _indices(frame.true_ids, true), _indices(frame.predicted_ids, predicted)
        similarity = np.clip(1.0 - frame.distance / zero, 0.0, 1.0).reshape(len(rows), len(columns))
        true_count[rows] += 1
        predicted_count[columns] += 1
        either = similarity.sum(0, keepdims=True) + similarity.sum(1, keepdims=True) - similarity
        potential[np.ix_(rows, columns)] += np.divide(
            similarity, either, out=np.zeros_like(similarity), where=either > 0
        )
        steps.append((rows, columns, similarity))
    alignment = potential / np.maximum(true_count[:, None] + predicted_count[None] - potential, 1e-12)

    found = np.zeros(len(ALPHAS))
    matches = np.zeros((len(ALPHAS), len(true), len(predicted)))
    for rows, columns, similarity in steps:
        i, j = linear_sum_assignment(-alignment[np.ix_(rows, columns)] * similarity)
        for k, alpha in enumerate(ALPHAS):
            good = similarity[i, j] >= alpha - 1e-9
            found[k] += good.sum()
            matches[k, rows[i[good]], columns[j[good]]] += 1
    union = np.maximum(true_count[None, :, None] + predicted_count[None, None] - matches, 1)
    return Hota(
        found=found,
        missed=true_count.sum() - found,
        false=predicted_count.sum() - found,
        association=(matches * matches / union).sum(axis=(1, 2)),
    )


def _number(groups: Iterable[Sequence[int]]) -> dict[int, int]:
    """A row number for each id, in the order of first appearance."""
    numbers: dict[int, int] = {}
    for group in groups:
        for one in group:
            numbers.setdefault(one, len(numbers))
    return numbers


def _indices(ids: Sequence[int], numbers: dict[int, int]) -> np.ndarray:
    return np.array([numbers[i] for i in ids], np.int64)
