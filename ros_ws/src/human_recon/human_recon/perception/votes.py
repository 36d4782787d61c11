"""From votes to people: where the votes for pelvis and chest gather, there is somebody.

A vote is a point in six dimensions, pelvis and chest together: two people who hug may share a place in the middle but
not both joints, and a person cut in two by an occluder votes for one pelvis and one chest from both sides. Modes of the
votes' density are found by mean shift (Comaniciu and Meer, PAMI 2002) with each vote's kernel as wide as the network
thinks the vote is wrong; then votes and people are matched softly, as in a mixture of Laplace distributions with a
uniform share of outliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np

from human_recon.perception.people_net import PeopleFields


@dataclass(frozen=True)
class VoteConfig:
    """How votes gather. Lengths in metres; distances of two votes are in the six dimensions."""

    least_foreground: float = 0.3  # probability from which a pixel votes
    reach: float = 1.4  # no joint is farther from the skin
    cell: float = 0.08  # votes this near each other are one in the search for modes
    max_cells: int = 500  # in the search; cells grow until they are as few
    bandwidth: float = 0.2  # kernel of a perfect vote
    trust: float = 2.5  # the kernel grows with this times the vote's scale
    valley: float = 0.75  # two modes are one when the density between them is not below this share of the lower one
    floor: float = 0.03  # added to the votes' scales when votes and people are matched
    outlier: float = 18.0  # a vote off by this many scales, summed over its axes, is as likely nobody's
    rounds: int = 3  # of matching
    same: float = 0.3  # modes nearer than this after matching are one ...
    near: float = 0.6  # ... as are those nearer than this
    minor: float = 0.1  # of which one has less than this share of the other's area: votes astray
    expected: float = 2.0  # added to the log odds of pixels that vote for somebody expected, within `near`
    least_area: float = 0.008  # square metres, seen from the front, of a person
    least_pixels: float = 2.5  # of the fields, weighed by their probabilities
    max_people: int = 12


@dataclass(frozen=True, eq=False)
class Gatherings:
    """K people in the fields of one frame, the heaviest first."""

    pelvis: np.ndarray  # [K, 3] float64, metres, camera frame
    chest: np.ndarray  # [K, 3] float64
    share: np.ndarray  # [K, h, w] float32, probability that the pixel is this person's
    area: np.ndarray  # [K] float64, square metres that agree, by what is seen alone
    pixels: np.ndarray  # [K] float64, pixels of the fields that agree, likewise
    spread: np.ndarray  # [K] float64, mean distance per axis of the votes from their person
    scale: np.ndarray  # [K] float64, what the network thinks it is

    def __len__(self) -> int:
        return len(self.pelvis)


def gather(fields: PeopleFields, config: VoteConfig, known: np.ndarray | None = None) -> Gatherings:
    """Find the people that the votes speak of.

    Args:
        fields: what PeopleNet says.
        config: settings.
        known: [T, 6] metres, pelvis and chest of people who are expected: votes for them are theirs, however few, and
            count more.
    """
    seen = fields.foreground
    if known is not None and len(known):
        fields = _with_prior(fields, known, config)
    votes, weight, scale, index = _votes(fields, config)
    modes = np.empty((0, 6))
    if len(votes):
        cells, mass, width = _coarsest(votes, weight, scale, config)
        modes = find_modes(
            np.ascontiguousarray(cells.T, np.float32),
            mass.astype(np.float32),
            (1.0 / width**2).astype(np.float32),
            config.valley,
            config.max_people,
        ).astype(np.float64)
    expected = np.zeros(len(modes), bool)
    if known is not None and len(known):
        modes, expected = np.concatenate([modes, known]), np.arange(len(modes) + len(known)) >= len(modes)
    shares, modes = _match(votes, weight, scale, modes, expected, config)
    return _describe(fields, seen, votes, weight, scale, index, shares, modes, config)


def _with_prior(fields: PeopleFields, known: np.ndarray, config: VoteConfig) -> PeopleFields:
    """More foreground where pixels vote for somebody who is expected there: the prior odds are higher."""
    votes = np.concatenate([fields.pelvis, fields.chest], axis=-1)
    off = np.full(fields.foreground.shape, np.inf, np.float32)
    for one in known.astype(np.float32):
        np.minimum(off, np.sqrt(np.square(votes - one).sum(-1)), out=off)
    raised = np.exp(config.expected) * fields.foreground
    raised = raised / (raised + 1.0 - fields.foreground)
    return replace(fields, foreground=np.where(off < config.near, raised, fields.foreground).astype(np.float32))


def _votes(fields: PeopleFields, config: VoteConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Votes [N, 6], weights [N] (square metres times probability), scales [N], flat indices [N] of the pixels."""
    index = np.flatnonzero(fields.foreground > config.least_foreground)
    points = fields.points.reshape(-1, 3)[index]
    votes = np.concatenate([fields.pelvis.reshape(-1, 3)[index], fields.chest.reshape(-1, 3)[index]], axis=1)
    offsets = votes.reshape(-1, 2, 3) - points[:, None]
    credible = (np.square(offsets).sum(-1).max(-1) < config.reach**2) & np.isfinite(votes).all(-1)
    index, votes = index[credible], votes[credible].astype(np.float64)
    weight = (fields.foreground.ravel()[index] * fields.area.ravel()[index]).astype(np.float64)
    return votes, weight, fields.scale.ravel()[index].astype(np.float64), index


def _coarsest(
    votes: np.ndarray, weight: np.ndarray, scale: np.ndarray, config: VoteConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes summed in cells that grow until they are few: means [M, 6], masses [M], kernel widths [M]."""
    width = np.sqrt(config.bandwidth**2 + (config.trust * scale) ** 2)
    # A vote spread over a larger kernel is the less dense: three dimensions' worth, as joints move together.
    mass = weight * (config.bandwidth / width) ** 3
    size = config.cell
    while True:
        cells, masses, widths = _sum_in_cells(votes, mass, width, size)
        if len(cells) <= config.max_cells:
            return cells, masses, widths
        size *= 1.4


@numba.njit(cache=True, nogil=True)
def _sum_in_cells(votes, mass, width, size):
    """Means of votes, masses and widths by cell, through a hash table with linear probing."""
    count = len(votes)
    slots = 1
    while slots < 2 * count:
        slots *= 2
    table = np.full(slots, -1, np.int64)
    keys = np.empty(count, np.int64)
    means = np.zeros((count, 6))
    total = np.zeros(count)
    widths = np.zeros(count)
    used = 0
    for n in range(count):
        key = np.int64(0)
        for c in range(6):
            key = key * 1024 + min(max(math.floor((votes[n, c] + 20.0) / size), 0), 1023)
        slot = (key * 7046029254386353131 >> 20) & (slots - 1)
        while table[slot] >= 0 and keys[table[slot]] != key:
            slot = (slot + 1) & (slots - 1)
        k = table[slot]
        if k < 0:
            k = used
            table[slot] = k
            keys[k] = key
            used += 1
        for c in range(6):
            means[k, c] += mass[n] * votes[n, c]
        widths[k] += mass[n] * width[n]
        total[k] += mass[n]
    for k in range(used):
        for c in range(6):
            means[k, c] /= total[k]
        widths[k] /= total[k]
    return means[:used].copy(), total[:used].copy(), widths[:used].copy()


# Reassociation lets sums over cells use vector instructions.
@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def density(place, cells, mass, tightness):
    """Sum of the biweight kernels of ``cells`` [6, M] at ``place`` [6].

    ``mass`` [M], ``tightness`` [M] = 1 / width^2, all float32.
    """
    a, b, c, d, e, f = place[0], place[1], place[2], place[3], place[4], place[5]
    result = np.float32(0.0)
    for m in range(cells.shape[1]):
        squared = (
            (cells[0, m] - a) ** 2
            + (cells[1, m] - b) ** 2
            + (cells[2, m] - c) ** 2
            + (cells[3, m] - d) ** 2
            + (cells[4, m] - e) ** 2
            + (cells[5, m] - f) ** 2
        )
        closeness = max(np.float32(1.0) - squared * tightness[m], np.float32(0.0))
        result += mass[m] * closeness * closeness
    return result


def density_reference(place: np.ndarray, cells: np.ndarray, mass: np.ndarray, tightness: np.ndarray) -> float:
    """:func:`density`, written to be read."""
    squared = np.square(cells.T.astype(np.float64) - place).sum(1)
    return float((mass * np.maximum(1.0 - squared * tightness, 0.0) ** 2).sum())


@numba.njit(cache=True, nogil=True)
def find_modes(cells, mass, tightness, valley, limit):
    """The density's modes [K, 6] float32, densest first, K at most ``limit``; arguments as for :func:`density`.

    Mean shift from every cell that no denser start is near to; of two modes without a valley between them the denser
    stays.
    """
    count = cells.shape[1]
    height = np.empty(count, np.float32)
    for m in range(count):
        height[m] = density(cells[:, m].copy(), cells, mass, tightness)
    order = np.argsort(-height)
    taken = np.zeros(count, np.bool_)
    modes = np.empty((limit, 6), np.float32)
    heights = np.empty(limit, np.float32)
    found = 0
    for m in order:
        if taken[m] or found == limit:
            continue
        for other in range(count):
            squared = np.float32(0.0)
            for c in range(6):
                squared += (cells[c, m] - cells[c, other]) ** 2
            if squared * tightness[m] < 0.25:
                taken[other] = True
        mode = _climb(cells[:, m].copy(), cells, mass, tightness)
        top = density(mode, cells, mass, tightness)
        own = True
        for k in range(found):
            if _joined(mode, modes[k], valley * min(top, heights[k]), cells, mass, tightness):
                own = False
                break
        if own:
            modes[found] = mode
            heights[found] = top
            found += 1
    return modes[:found].copy()


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _climb(start, cells, mass, tightness):
    """Mean shift from ``start`` [6] to the mode above it."""
    place = start.copy()
    count = cells.shape[1]
    weight = np.empty(count, np.float32)
    for _ in range(20):
        a, b, c, d, e, f = place[0], place[1], place[2], place[3], place[4], place[5]
        for m in range(count):
            squared = (
                (cells[0, m] - a) ** 2
                + (cells[1, m] - b) ** 2
                + (cells[2, m] - c) ** 2
                + (cells[3, m] - d) ** 2
                + (cells[4, m] - e) ** 2
                + (cells[5, m] - f) ** 2
            )
            weight[m] = mass[m] * tightness[m] * max(np.float32(1.0) - squared * tightness[m], np.float32(0.0))
        total = np.float32(0.0)
        for m in range(count):
            total += weight[m]
        moved = np.float32(0.0)
        for axis in range(6):
            mean = np.float32(0.0)
            for m in range(count):
                mean += weight[m] * cells[axis, m]
            mean /= total
            moved = max(moved, abs(mean - place[axis]))
            place[axis] = mean
        if moved < 2e-3:
            break
    return place


@numba.njit(cache=True, nogil=True)
def _joined(a, b, level, cells, mass, tightness):
    """Whether the density stays above ``level`` all along the line from a to b."""
    for step in range(1, 6):
        t = np.float32(step / 6.0)
        if density(a + t * (b - a), cells, mass, tightness) < level:
            return False
    return True


def _match(
    votes: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    modes: np.ndarray,
    expected: np.ndarray,
    config: VoteConfig,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares [N, K] of the votes in K people, and the people's refined joints [K, 6]."""
    for _ in range(config.rounds):
        shares = np.empty((len(votes), len(modes)))
        match_votes(votes, scale, modes, config.floor, config.outlier, shares)
        modes = _refined(votes, weight, scale, modes, shares, config.floor)
        kept = _apart(modes, weight @ shares, expected, config)
        modes, expected = modes[kept], expected[kept]
    shares = np.empty((len(votes), len(modes)))
    match_votes(votes, scale, modes, config.floor, config.outlier, shares)
    return shares, modes


def _apart(modes: np.ndarray, area: np.ndarray, expected: np.ndarray, config: VoteConfig) -> np.ndarray:
    """Indices of the modes that are people of their own, by falling area; who is ``expected`` [K] may be minor."""
    return apart(modes, area, expected, config.same, config.near, config.minor, np.argsort(-area, kind="stable"))


@numba.njit(cache=True, nogil=True)
def apart(modes, area, expected, same, near, minor, order):
    """Those of ``modes`` [K, 6], in the ``order`` given, that are not part of an earlier one; see `VoteConfig`."""
    kept = np.empty(len(order), np.int64)
    count = 0
    for k in order:
        own = area[k] > 0.0
        for other in kept[:count]:
            squared = 0.0
            for c in range(6):
                squared += (modes[k, c] - modes[other, c]) ** 2
            distance = math.sqrt(squared)
            little = distance < near and area[k] < minor * area[other] and not expected[k]
            own = own and not (distance < same or little)
        if own:
            kept[count] = k
            count += 1
    return kept[:count].copy()


def apart_reference(
    modes: np.ndarray,
    area: np.ndarray,
    expected: np.ndarray,
    same: float,
    near: float,
    minor: float,
    order: np.ndarray,
) -> list[int]:
    """:func:`apart`, written to be read."""
    kept: list[int] = []
    for k in order:
        distance = np.linalg.norm(modes[kept] - modes[k], axis=1)
        part = (distance < same) | ((distance < near) & (area[k] < minor * area[kept]) & ~expected[k])
        if area[k] > 0 and not part.any():
            kept.append(int(k))
    return kept


@numba.njit(cache=True, nogil=True)
def match_votes(votes, scale, modes, floor, outlier, shares):
    """Fill ``shares`` [N, K]: probability that vote n is for person k, the rest that it is for nobody."""
    least = math.exp(-outlier)
    for n in range(len(votes)):
        total = least
        for k in range(len(modes)):
            off = 0.0
            for c in range(6):
                off += abs(votes[n, c] - modes[k, c])
            off /= scale[n] + floor
            shares[n, k] = math.exp(-off) if off < 50.0 else 0.0
            total += shares[n, k]
        for k in range(len(modes)):
            shares[n, k] /= total


@numba.njit(cache=True, nogil=True)
def _refined(votes, weight, scale, modes, shares, floor):
    """Each person's joints as a mean of their votes in which those far off count little (one step of reweighting)."""
    result = modes.copy()
    for k in range(len(modes)):
        total = 0.0
        mean = np.zeros(6)
        for n in range(len(votes)):
            if shares[n, k] < 1e-3:
                continue
            off = 0.0
            for c in range(6):
                off += abs(votes[n, c] - modes[k, c])
            trust = scale[n] + floor
            part = weight[n] * shares[n, k] / (trust * (trust + off / 6.0))
            total += part
            for c in range(6):
                mean[c] += part * votes[n, c]
        if total > 0.0:
            for c in range(6):
                result[k, c] = mean[c] / total
    return result


def _describe(
    fields: PeopleFields,
    seen: np.ndarray,
    votes: np.ndarray,
    weight: np.ndarray,
    scale: np.ndarray,
    index: np.ndarray,
    shares: np.ndarray,
    modes: np.ndarray,
    config: VoteConfig,
) -> Gatherings:
    foreground = fields.foreground.ravel()[index].astype(np.float64)
    area = weight @ shares
    pixels = foreground @ shares
    order = [
        int(k)
        for k in np.argsort(-area, kind="stable")
        if area[k] >= config.least_area and pixels[k] >= config.least_pixels and (modes[k, [2, 5]] > 0.1).all()
    ]
    # What is expected finds people; how sure to be of them is for what is seen to say.
    sight = (seen.ravel()[index] / np.maximum(foreground, 1e-6))[:, None] * shares
    share = np.zeros((len(order), fields.foreground.size), np.float32)
    for row, k in zip(share, order, strict=True):
        row[index] = foreground * shares[:, k]
    off = np.abs(votes[:, None] - modes[None, order]).mean(-1)
    parts = weight[:, None] * shares[:, order]
    total = parts.sum(0)
    return Gatherings(
        pelvis=modes[order, :3],
        chest=modes[order, 3:],
        share=share.reshape(len(order), *fields.foreground.shape),
        area=(weight @ sight)[order],
        pixels=(foreground @ sight)[order],
        spread=(parts * off).sum(0) / total,
        scale=(parts * scale[:, None]).sum(0) / total,
    )
