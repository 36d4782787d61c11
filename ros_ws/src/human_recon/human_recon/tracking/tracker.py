"""Who is who from frame to frame, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.perception.hypothesis import PersonHypothesis
from human_recon.tracking.association import Association
from human_recon.tracking.track import Track

_HEAD = joint_index("head")


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the tracker."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Somebody known whom a hypothesis is believed to be."""

    id: int
    expectation: Expectation


@dataclass(frozen=True, eq=False)
class Measured:
    """One person measured in a frame."""

    id: int | None  # of Expected; None: somebody new
    fit: BodyFit
    confidence: float  # of the detector, in [0, 1]


class Tracker:
    """The only state that the pipeline keeps between frames."""

    def __init__(self, model: BodyModel, config: TrackerConfig | None = None) -> None:
        self._model = model
        self.config = config or TrackerConfig()
        self._association = Association()

    def reset(self) -> None:
        """Forget everybody; ids are not reused."""
        self._association.reset()

    def lock_shape(self, person: int, lock: bool) -> bool:
        """Hold the betas of one person (0: of everybody) fixed, or let them adapt; False when nobody has this id."""
        return False

    def expect(self, stamp_ns: int, hypotheses: Sequence[PersonHypothesis]) -> list[Expected | None]:
        """Predict everybody to a time and say which of them each hypothesis is; None: somebody new."""
        known = self._association.match([h.head for h in hypotheses], stamp_ns)
        return [
            Expected(k.id, Expectation(k.state, np.full(24, 0.3), 0.1, np.zeros((10, 10)), False)) if k else None
            for k in known
        ]

    def update(self, stamp_ns: int, measured: Sequence[Measured]) -> tuple[Track, ...]:
        """Take in what was measured at a time; everybody who is known, in order of id."""
        tracks = []
        for index, one in enumerate(measured):
            person = one.id if one.id is not None else self._association.new_id()
            fit = one.fit
            self._association.remember(person, fit.joints[_HEAD], stamp_ns, fit.state, fit.energy)
            tracks.append(
                Track(
                    id=person,
                    life="confirmed",
                    measured=index,
                    age=0.0,
                    confidence=one.confidence,
                    state=fit.state,
                    joints=fit.joints,
                    joint_covariance=fit.joint_covariance,
                    root_covariance=fit.root_covariance,
                    velocity=np.full(6, np.nan),
                    velocity_covariance=np.full((6, 6), np.nan),
                    shape_locked=False,
                )
            )
        return tuple(sorted(tracks, key=lambda track: track.id))
