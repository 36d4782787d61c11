"""Who is who from frame to frame, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index
from human_recon.camera.frame import Frame
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.people import Life
from human_recon.perception.hypothesis import PersonHypothesis
from human_recon.tracking.association import Appearance, AssociationConfig, assign, associate
from human_recon.tracking.motion_filter import MotionConfig
from human_recon.tracking.presence import Presence, presence
from human_recon.tracking.recognition import RecognitionConfig, likelihood_ratio
from human_recon.tracking.shape_filter import ShapeConfig
from human_recon.tracking.track import Track
from human_recon.tracking.tracked_body import BodyGeometry, TrackedBody

_HEAD, _PELVIS, _CHEST = joint_index("head"), joint_index("pelvis"), joint_index("spine3")
_TRUNK = [joint_index(name) for name in ("pelvis", "spine1", "spine2", "spine3", "neck")]
_HEAD_SIGMA = 0.12  # metres per axis, between the top of somebody's points and the head's joint


@dataclass(frozen=True)
class LifeConfig:
    """When people are believed, kept and given up. Sensor time, seconds, so that no frame rate changes it."""

    confirm_after: float = 0.1  # since first seen
    confirm_sightings: int = 2  # at least
    tentative_patience: float = 0.1  # without a measurement, before somebody not yet believed is dropped
    # Without a measurement, before somebody believed is given up: as long as something hides them, while they should be
    # seen and are not, and once they have left the image or their place is seen to be empty.
    hidden_patience: float = 2.5
    patience: float = 0.6
    absent_patience: float = 0.15
    confidence_fade: float = 1.0  # time constant with which confidence falls without measurements
    same_place: float = 0.15  # metres between the trunks of two bodies, below which they are one person
    backwards: float = 0.5  # a stamp this much older than the last one is another recording


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of the tracker."""

    association: AssociationConfig = field(default_factory=AssociationConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    recognition: RecognitionConfig = field(default_factory=RecognitionConfig)
    life: LifeConfig = field(default_factory=LifeConfig)
    # The weight of a frame in a fit over the information that the fit states: square of CovarianceConfig.inflation,
    # where a body is recognised well.
    trust: float = 2.7


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
    doubt: float = 0.0  # share of the patience that is used up
    presence: Presence = "unknown"  # why there is no measurement, if there is none
    expectation: Expectation | None = None  # of the frame at hand, if a hypothesis is believed to be this person


class Tracker:
    """The only state that the pipeline keeps between frames. One caller at a time."""

    def __init__(self, model: BodyModel, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._geometry = BodyGeometry(model)
        self._known: dict[int, _Known] = {}
        self._gone: dict[int, _Known] = {}  # given up, but remembered
        self._next_id = 1
        self._now_ns: int | None = None
        self._step = 0.0  # seconds from the frame before to this one

    def reset(self) -> None:
        """Forget everybody; ids are not reused."""
        self._known.clear()
        self._gone.clear()
        self._now_ns = None

    def lock_shape(self, person: int, lock: bool) -> bool:
        """Hold the betas of one person (0: of everybody) fixed, or let them adapt; False when nobody has this id."""
        chosen = [k for k in self._known.values() if person in (0, k.id)]
        for known in chosen:
            known.body.shape.lock(lock)
        return bool(chosen)

    def places(self, stamp_ns: int) -> np.ndarray:
        """[T, 6] metres, pelvis and chest of everybody who is believed, predicted to a time."""
        self._advance(stamp_ns)
        joints = [known.body.joints[[_PELVIS, _CHEST]].ravel() for known in self._known.values() if known.confirmed]
        return np.array(joints, np.float64).reshape(-1, 6)

    def expect(
        self, stamp_ns: int, hypotheses: Sequence[PersonHypothesis], frame: Frame | None = None
    ) -> list[Expected | None]:
        """Predict everybody to a time and say which of them each hypothesis is; None: somebody new.

        Args:
            stamp_ns: the time of the frame.
            hypotheses: who perception believes is there.
            frame: the frame; with it, people who are hidden are kept for longer than people who should be seen.
        """
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
        for one in known:
            if one.expectation is None:
                body = one.body
                one.presence = "unknown" if frame is None else presence(frame, body.joints, body.joint_sigma)
        return result

    def update(self, stamp_ns: int, measured: Sequence[Measured]) -> tuple[Track, ...]:
        """Take in what was measured at a time; everybody who is known, in order of id.

        Measurements that are not finite are left out.
        """
        self._advance(stamp_ns)
        measurement: dict[int, int] = {}
        strangers: list[int] = []
        for index, one in enumerate(measured):
            if not _is_finite(one.fit):
                continue
            known = self._known.get(one.id) if one.id is not None else None
            if known is None or known.id in measurement:
                strangers.append(index)
                continue
            self._measure(known, stamp_ns, one)
            measurement[known.id] = index
        for index, known in zip(
            strangers, self._arrived(stamp_ns, [measured[k] for k in strangers], measurement), strict=True
        ):
            measurement[known.id] = index
        self._merge(measurement)
        for known in list(self._known.values()):
            known.expectation = None
            if known.id not in measurement:
                self._miss(known)
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
            memory_ns = self.config.recognition.memory * 1e9
            self._known = {k: v for k, v in self._known.items() if stamp_ns - v.seen_ns <= memory_ns}
            for known in self._known.values():
                known.body.predict(seconds)
            self._now_ns, self._step = stamp_ns, seconds

    def _arrived(self, stamp_ns: int, measured: Sequence[Measured], present: Mapping[int, int]) -> list[_Known]:
        """Those whom nothing known was expected to be: people who come back, or new ones."""
        config = self.config
        self._gone = {
            k: gone for k, gone in self._gone.items() if (stamp_ns - gone.seen_ns) * 1e-9 <= config.recognition.memory
        }
        if not measured:
            return []
        bodies = [TrackedBody(self._geometry, config.motion, config.shape, config.trust, one.fit) for one in measured]
        missing = [k for k in self._known.values() if k.id not in present and k.confirmed] + list(self._gone.values())
        ratio = np.array([[self._ratio(stamp_ns, gone, body) for body in bodies] for gone in missing])
        cost = np.where(ratio > 0.0, ratio.max(initial=0.0) - ratio, np.inf).reshape(len(missing), len(bodies))
        back = {j: missing[i] for i, j in assign(cost)}
        result = []
        for index, (one, body) in enumerate(zip(measured, bodies, strict=True)):
            known = back.get(index)
            if known is None:
                known = _Known(self._next_id, body, stamp_ns, stamp_ns, 0, 0.0, False)
                self._next_id += 1
            else:
                self._gone.pop(known.id, None)
                known.body.restart(body)
            self._known[known.id] = known
            self._sight(known, stamp_ns, one.confidence)
            result.append(known)
        return result

    def _ratio(self, stamp_ns: int, gone: _Known, body: TrackedBody) -> float:
        distance = float(np.linalg.norm(gone.body.motion.pelvis - body.motion.pelvis))
        seconds = (stamp_ns - gone.seen_ns) * 1e-9
        return likelihood_ratio(distance, seconds, gone.body.shape, body.shape, self.config.recognition)

    def _measure(self, known: _Known, stamp_ns: int, one: Measured) -> None:
        known.body.update(one.fit, known.expectation, max(0.0, (stamp_ns - known.seen_ns) * 1e-9))
        self._sight(known, stamp_ns, one.confidence)

    def _sight(self, known: _Known, stamp_ns: int, confidence: float) -> None:
        known.seen_ns = max(known.seen_ns, stamp_ns)
        known.sightings += 1
        known.confidence = confidence
        known.doubt = 0.0
        life = self.config.life
        if known.sightings >= life.confirm_sightings and stamp_ns - known.first_ns >= life.confirm_after * 1e9:
            known.confirmed = True

    def _miss(self, known: _Known) -> None:
        """Doubt somebody who was not measured, and give them up at last."""
        life = self.config.life
        patience = {"hidden": life.hidden_patience, "outside": life.absent_patience, "absent": life.absent_patience}
        # Nobody is predicted for longer than they were seen; but who is hidden cannot help it.
        seen = max((known.seen_ns - known.first_ns) * 1e-9, life.tentative_patience)
        allowed = patience.get(known.presence, min(life.patience, seen))
        if not known.confirmed:
            allowed = life.tentative_patience
        known.doubt += self._step / max(allowed, 1.5 * self._step)  # one frame alone is no reason, however long
        if known.doubt > 1.0:
            del self._known[known.id]
            if known.confirmed:
                self._gone[known.id] = known

    def _merge(self, measurement: dict[int, int]) -> None:
        """Two bodies in one place are one person: the one who was there first."""
        people = sorted(self._known.values(), key=lambda known: known.id)
        trunks = {known.id: known.body.joints[_TRUNK] for known in people}
        for k, first in enumerate(people):
            for second in people[k + 1 :]:
                if first.id not in self._known or second.id not in self._known:
                    continue
                apart = np.linalg.norm(trunks[first.id] - trunks[second.id], axis=1).mean()
                if apart >= self.config.life.same_place:
                    continue
                if first.id not in measurement and second.id in measurement:
                    first.body.restart(second.body)
                    trunks[first.id] = trunks[second.id]
                    first.seen_ns, first.confidence, first.doubt = second.seen_ns, second.confidence, 0.0
                    measurement[first.id] = measurement[second.id]
                measurement.pop(second.id, None)
                del self._known[second.id]

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
        height = self._geometry.stature(body.shape.betas)
        return Appearance(body.joints, body.joint_sigma, height, body.shape.stature_sigma)

    def _guessed_body_of(self, hypothesis: PersonHypothesis) -> Appearance:
        guess = hypothesis.guess
        assert guess is not None
        height = self._geometry.stature(guess.state.betas)
        return Appearance(guess.joints, guess.joint_sigma, height, self.config.association.stature_sigma)

    def _head_of(self, known: _Known) -> Appearance:
        body = known.body
        return Appearance(body.joints[_HEAD : _HEAD + 1], body.joint_sigma[_HEAD : _HEAD + 1])

    def _seen_head_of(self, hypothesis: PersonHypothesis) -> Appearance:
        return Appearance(np.asarray(hypothesis.head, np.float64)[None], np.array([_HEAD_SIGMA]))


def _is_finite(fit: BodyFit) -> bool:
    state = fit.state
    arrays = (state.betas, state.pose, state.trans, fit.information, fit.joints, fit.joint_covariance)
    return all(np.isfinite(array).all() for array in arrays)
