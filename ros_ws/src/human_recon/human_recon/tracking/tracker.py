"""Who is who from frame to frame, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index
from human_recon.camera.frame import Frame
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.people import Life
from human_recon.perception.hypothesis import PersonHypothesis
from human_recon.tracking.association import Appearance, AssociationConfig, associate
from human_recon.tracking.motion_filter import MotionConfig
from human_recon.tracking.shape_filter import ShapeConfig
from human_recon.tracking.track import Track
from human_recon.tracking.tracked_body import BodyGeometry, TrackedBody

_HEAD, _PELVIS, _CHEST = joint_index("head"), joint_index("pelvis"), joint_index("spine3")
_HEAD_SIGMA = 0.12  # metres per axis, between the top of somebody's points and the head's joint


@dataclass(frozen=True)
class LifeConfig:
    """When people are believed, kept and given up. Sensor time, seconds, so that no frame rate changes it."""

    confirm_after: float = 0.1  # since first seen
    confirm_sightings: int = 2  # at least
    tentative_patience: float = 0.1  # without a measurement, before somebody not yet believed is dropped
    patience: float = 0.6  # without a measurement, during which somebody believed is predicted
    confidence_fade: float = 0.5  # time constant with which confidence falls without measurements
    backwards: float = 0.5  # a stamp this much older than the last one is another recording


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the tracker."""

    association: AssociationConfig = field(default_factory=AssociationConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    life: LifeConfig = field(default_factory=LifeConfig)
    # The weight of a frame in a fit over the information that the fit states: square of CovarianceConfig.inflation.
    trust: float = 4.0


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


@dataclass(eq=False)
class _Known:
    """Somebody who is tracked."""

    id: int
    body: TrackedBody
    first_ns: int
    seen_ns: int  # last measured
    sightings: int
    confidence: float
    confirmed: bool
    expectation: Expectation | None = None  # of the frame at hand, if a hypothesis is believed to be this person


class Tracker:
    """The only state that the pipeline keeps between frames."""

    def __init__(self, model: BodyModel, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._geometry = BodyGeometry(model)
        self._known: dict[int, _Known] = {}
        self._next_id = 1
        self._now_ns: int | None = None
        self._step = 0.0  # seconds from the frame before to this one

    def reset(self) -> None:
        """Forget everybody; ids are not reused."""
        self._known.clear()
        self._now_ns = None

    def lock_shape(self, person: int, lock: bool) -> bool:
        """Hold the betas of one person (0: of everybody) fixed, or let them adapt; False when nobody has this id."""
        chosen = [k for k in self._known.values() if person in (0, k.id)]
        for known in chosen:
            known.body.shape.lock(lock)
        return bool(chosen) or person == 0

    def places(self, stamp_ns: int) -> np.ndarray:
        """[T, 6] metres, pelvis and chest of everybody who is believed, predicted to a time."""
        self._advance(stamp_ns)
        joints = [known.body.joints[[_PELVIS, _CHEST]].ravel() for known in self._known.values() if known.confirmed]
        return np.array(joints, np.float64).reshape(-1, 6)

    def expect(
        self, stamp_ns: int, hypotheses: Sequence[PersonHypothesis], frame: Frame | None = None
    ) -> list[Expected | None]:
        """Predict everybody to a time and say which of them each hypothesis is; None: somebody new."""
        self._advance(stamp_ns)
        known = list(self._known.values())
        for one in known:
            one.expectation = None
        result: list[Expected | None] = [None] * len(hypotheses)
        by_joints = [j for j, hypothesis in enumerate(hypotheses) if hypothesis.guess is not None]
        by_head = [j for j, hypothesis in enumerate(hypotheses) if hypothesis.guess is None]
        for chosen, here, there in (
            (by_joints, self._body_of, self._guessed_body_of),
            (by_head, self._head_of, self._seen_head_of),
        ):
            left = [one for one in known if one.expectation is None]
            pairs = associate(
                [here(one) for one in left], [there(hypotheses[j]) for j in chosen], self.config.association
            )
            for i, j in pairs:
                expectation = left[i].body.expectation()
                left[i].expectation = expectation
                result[chosen[j]] = Expected(left[i].id, expectation)
        return result

    def update(self, stamp_ns: int, measured: Sequence[Measured]) -> tuple[Track, ...]:
        """Take in what was measured at a time; everybody who is known, in order of id."""
        self._advance(stamp_ns)
        measurement: dict[int, int] = {}
        for index, one in enumerate(measured):
            known = self._known.get(one.id) if one.id is not None else None
            if known is None:
                known = self._somebody_new(stamp_ns, one)
            else:
                self._measure(known, stamp_ns, one)
            measurement[known.id] = index
        for known in list(self._known.values()):
            known.expectation = None
            if known.id not in measurement and self._given_up(known, stamp_ns):
                del self._known[known.id]
        shown = [k for k in self._known.values() if k.confirmed or k.id in measurement]
        return tuple(self._track(k, stamp_ns, measurement.get(k.id)) for k in sorted(shown, key=lambda k: k.id))

    def _advance(self, stamp_ns: int) -> None:
        """Predict everybody to a time; a time before the last one is either a little disorder or another recording."""
        if self._now_ns is None:
            self._now_ns, self._step = stamp_ns, 0.0
            return
        seconds = (stamp_ns - self._now_ns) * 1e-9
        if seconds < -self.config.life.backwards:
            self.reset()
            self._now_ns, self._step = stamp_ns, 0.0
        elif seconds > 0.0:
            for known in self._known.values():
                known.body.predict(seconds)
            self._now_ns, self._step = stamp_ns, seconds

    def _somebody_new(self, stamp_ns: int, one: Measured) -> _Known:
        body = TrackedBody(self._geometry, self.config.motion, self.config.shape, self.config.trust, one.fit)
        known = _Known(self._next_id, body, stamp_ns, stamp_ns, 1, one.confidence, False)
        self._known[known.id] = known
        self._next_id += 1
        return known

    def _measure(self, known: _Known, stamp_ns: int, one: Measured) -> None:
        known.body.update(one.fit, known.expectation, max(0.0, (stamp_ns - known.seen_ns) * 1e-9))
        known.seen_ns = max(known.seen_ns, stamp_ns)
        known.sightings += 1
        known.confidence = one.confidence
        life = self.config.life
        if known.sightings >= life.confirm_sightings and stamp_ns - known.first_ns >= life.confirm_after * 1e9:
            known.confirmed = True

    def _given_up(self, known: _Known, stamp_ns: int) -> bool:
        life = self.config.life
        patience = life.patience if known.confirmed else max(life.tentative_patience, 1.5 * self._step)
        return (stamp_ns - known.seen_ns) * 1e-9 > patience

    def _track(self, known: _Known, stamp_ns: int, measured: int | None) -> Track:
        body = known.body
        unseen = max(0.0, (stamp_ns - known.seen_ns) * 1e-9)
        seen: Life = "confirmed" if known.confirmed else "tentative"
        return Track(
            id=known.id,
            life=seen if measured is not None else "occluded",
            measured=measured,
            age=max(0.0, (stamp_ns - known.first_ns) * 1e-9),
            confidence=known.confidence * float(np.exp(-unseen / self.config.life.confidence_fade)),
            state=body.state,
            joints=body.joints,
            joint_covariance=body.joint_covariance,
            root_covariance=body.root_covariance,
            velocity=body.velocity,
            velocity_covariance=body.velocity_covariance,
            shape_locked=body.shape.locked,
        )

    def _body_of(self, known: _Known) -> Appearance:
        body = known.body
        height = stature(self._geometry.model, body.shape.betas)
        return Appearance(body.joints, body.joint_sigma, height, body.shape.stature_sigma)

    def _guessed_body_of(self, hypothesis: PersonHypothesis) -> Appearance:
        guess = hypothesis.guess
        assert guess is not None
        height = stature(self._geometry.model, guess.state.betas)
        return Appearance(guess.joints, guess.joint_sigma, height, self.config.association.stature_sigma)

    def _head_of(self, known: _Known) -> Appearance:
        body = known.body
        return Appearance(body.joints[_HEAD : _HEAD + 1], body.joint_sigma[_HEAD : _HEAD + 1])

    def _seen_head_of(self, hypothesis: PersonHypothesis) -> Appearance:
        return Appearance(np.asarray(hypothesis.head, np.float64)[None], np.array([_HEAD_SIGMA]))
