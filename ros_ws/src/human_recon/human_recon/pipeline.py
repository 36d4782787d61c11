"""Frame in, people out: the whole online system in one read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController

from human_recon.body.lbs import pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index
from human_recon.camera.frame import Frame
from human_recon.camera.points import undistort_frame
from human_recon.fitting.body_fit import BodyFit, Expectation, FitProblem, Scene
from human_recon.fitting.body_fitter import BodyFitConfig, BodyFitter
from human_recon.fitting.coherence import CoherenceConfig
from human_recon.fitting.icp import IcpConfig, IcpFitter
from human_recon.fitting.icp_people import IcpPeopleConfig, fit_people
from human_recon.fitting.kinematics import PARAMETERS, BodyKinematics
from human_recon.fitting.priors import load_pose_mixture
from human_recon.fitting.scene_coherence import Coherent, SceneCoherence, SceneCoherenceConfig
from human_recon.fitting.scene_terms import SceneTerms, SceneTermsConfig
from human_recon.geometry.plane import Plane
from human_recon.inference.choice import EngineChoice, open_engine
from human_recon.people import People, Person
from human_recon.perception.body_net import NO_PART
from human_recon.perception.clock import Clock
from human_recon.perception.codebook import Codebook
from human_recon.perception.floor import FloorFinderConfig, find_floor
from human_recon.perception.geometric import GeometricDetector, GeometricDetectorConfig
from human_recon.perception.hypothesis import BodyGuess, Found, PersonHypothesis
from human_recon.perception.learned import LearnedConfig, LearnedPerception
from human_recon.resources import model_path
from human_recon.template.surface import Template
from human_recon.template.tracker import TemplateConfig, TemplateTracker
from human_recon.tracking.nearness import probability_within
from human_recon.tracking.track import Track
from human_recon.tracking.tracker import Measured, Tracker, TrackerConfig

HEAD = joint_index("head")
_NEAR = 0.10  # metres from the truth: a joint that is as it should be


@dataclass(frozen=True)
class PipelineConfig:
    """Settings of every stage."""

    perception: Literal["learned", "geometric"] = "learned"
    engine: EngineChoice = field(default_factory=EngineChoice)  # of learned perception
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    fit: bool = True  # register the body to the depth; without, learned perception's own bodies are the result
    fitter: BodyFitConfig = field(default_factory=BodyFitConfig)  # of learned perception's people
    floor: FloorFinderConfig = field(default_factory=FloorFinderConfig)
    scene_terms: SceneTermsConfig = field(default_factory=SceneTermsConfig)  # what the fit agrees with beside
    coherence: SceneCoherenceConfig = field(default_factory=SceneCoherenceConfig)  # of everybody with each other
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    track: bool = True  # know people from one frame to the next; without, every frame is a first one
    template: TemplateConfig = field(default_factory=TemplateConfig)
    detector: GeometricDetectorConfig = field(default_factory=GeometricDetectorConfig)  # of geometric perception
    icp: IcpConfig = field(default_factory=IcpConfig)  # of its people
    icp_people: IcpPeopleConfig = field(default_factory=IcpPeopleConfig)
    icp_coherence: CoherenceConfig = field(default_factory=CoherenceConfig)
    max_people: int = 12  # the nearest ones
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)  # people fitted at the same time

    def __post_init__(self) -> None:
        if self.perception == "geometric" and not self.fit:
            raise ValueError("geometric perception has no bodies of its own: fit must be true")


@dataclass(frozen=True, eq=False)
class _Measurement:
    """Somebody measured in a frame."""

    hypothesis: PersonHypothesis
    fit: BodyFit
    known: int | None  # id of the track that expected this person


class Pipeline:
    """Who is there, registered to the depth, nobody inside anybody else. One caller at a time."""

    def __init__(self, config: PipelineConfig, body: BodyModel) -> None:
        """Load the networks, if the configuration asks for them, and compile nothing yet.

        Raises:
            EngineError: the networks cannot be run as the configuration asks; the message says what to do.
        """
        self.config = config
        self.body = body
        self._pool = ThreadPoolExecutor(config.workers, "fit")
        self._libraries = ThreadpoolController()
        self._eye = _eye(config, body, self._pool)
        self._tracker = Tracker(body, config.tracker)
        self._templates = TemplateTracker(body, config.template)

    @property
    def engines(self) -> tuple[str, ...]:
        """What computes the networks, for logs and diagnostics; empty with geometric perception."""
        return self._eye.engines

    def reset(self) -> None:
        """Forget who was there, for example when time jumps back."""
        self._eye.reset()
        self._tracker.reset()
        self._templates.reset()

    def template(self, person: int) -> Template | None:
        """What is known of a person's own surface in the rest pose; None when this id has none."""
        return self._templates.template(person)

    def lock_shape(self, person: int, lock: bool) -> bool:
        """Hold the betas of one person (0: of everybody) fixed, or let them adapt; False when nobody has this id."""
        return self._tracker.lock_shape(person, lock)

    def process(self, frame: Frame, *, pixels: bool = True) -> People:
        """Reconstruct everybody in one frame.

        Args:
            frame: is undistorted first if need be.
            pixels: also say which place on the body each pixel shows.

        Raises:
            ValueError: if the depth is not finite. An empty scene is no error.
        """
        if not np.isfinite(frame.depth).all():
            raise ValueError("depth has NaN or inf; no reading must be 0")
        # People are worked on side by side; BLAS' own threads would wait for each other on matrices this small.
        with self._libraries.limit(limits=1, user_api="blas"):
            return self._process(frame, pixels)

    def _process(self, frame: Frame, pixels: bool) -> People:
        clock = Clock()
        frame = undistort_frame(frame)
        if not self.config.track:
            self._tracker.reset()

        found = self._eye.find(frame, self._tracker.places(frame.stamp_ns), pixels)
        hypotheses = found.hypotheses[: self.config.max_people]
        clock.lap("detect")
        expected = self._tracker.expect(frame.stamp_ns, hypotheses, frame)
        clock.lap("associate")
        fits = self._eye.fit(frame, found, hypotheses, [e.expectation if e else None for e in expected], clock)
        measurements = [
            _Measurement(hypothesis, fit, known.id if known else None)
            for hypothesis, fit, known in zip(hypotheses, fits, expected, strict=True)
            if fit is not None
        ]
        tracks = self._tracker.update(
            frame.stamp_ns, [Measured(m.known, m.fit, m.hypothesis.confidence) for m in measurements]
        )
        clock.lap("track")

        labels = np.zeros(frame.depth.shape, np.uint16)
        people, evidences = [], []
        for track in tracks:
            measurement = measurements[track.measured] if track.measured is not None else None
            if measurement is not None:
                labels[measurement.hypothesis.mask] = track.id
            people.append(self._person(track, measurement))
            evidences.append(measurement.hypothesis.evidence if measurement is not None else None)
        clock.lap("describe")
        templates = self._templates.update(frame, people, evidences, labels, self._pool)
        clock.lap("template")
        return People(
            frame=frame,
            people=tuple(people),
            labels=labels,
            floor=found.floor,
            timings=clock.timings | {f"detect/{stage}": seconds for stage, seconds in found.timings.items()},
            parts=_of_people(found.parts, labels, NO_PART),
            vertices=_of_people(found.vertices, labels, -1),
            templates=templates,
        )

    def _person(self, track: Track, measurement: _Measurement | None) -> Person:
        """What is published of somebody."""
        fit = measurement.fit if measurement is not None else None
        x, y, width, height = 0, 0, 0, 0
        if measurement is not None:
            x, y, width, height = cv2.boundingRect(measurement.hypothesis.mask.view(np.uint8))
        posed = pose_body(self.body, track.state)
        return Person(
            id=track.id,
            confidence=track.confidence,
            state=track.state,
            vertices=posed.vertices,
            joints=posed.joints,
            joint_sigma=np.sqrt(np.trace(track.joint_covariance, axis1=1, axis2=2) / 3.0).astype(np.float32),
            joint_visible=fit.joint_seen > 0.05 if fit is not None else np.zeros(24, bool),
            height=stature(self.body, track.state.betas),
            roi=(x, y, width, height),
            residual=fit.residual if fit is not None else np.nan,
            life=track.life,
            measured=fit is not None,
            age=track.age,
            shape_locked=track.shape_locked,
            visibility=fit.visibility if fit is not None else np.nan,
            joint_covariance=track.joint_covariance,
            joint_confidence=probability_within(track.joint_covariance, _NEAR),
            root_covariance=track.root_covariance,
            velocity=track.velocity,
            velocity_covariance=track.velocity_covariance,
        )


def _of_people(image: np.ndarray | None, labels: np.ndarray, nothing: int) -> np.ndarray | None:
    """What perception says of the pixels of those who became people."""
    return np.where(labels > 0, image, image.dtype.type(nothing)) if image is not None else None


class _Eye(Protocol):
    """A perception with the fit that goes with it."""

    @property
    def engines(self) -> tuple[str, ...]: ...

    def find(self, frame: Frame, places: np.ndarray, pixels: bool) -> Found:
        """Who may be there.

        Args:
            frame: undistorted.
            places: [T, 6] metres, pelvis and chest of people who are expected.
            pixels: say which place on the body each pixel shows.
        """
        ...

    def reset(self) -> None:
        """Another recording begins."""
        ...

    def fit(
        self,
        frame: Frame,
        found: Found,
        hypotheses: Sequence[PersonHypothesis],
        expected: Sequence[Expectation | None],
        clock: Clock,
    ) -> list[BodyFit | None]:
        """A body for each hypothesis; None: it was nobody."""
        ...


class _GeometricEye:
    engines = ()

    def __init__(self, config: PipelineConfig, body: BodyModel, pool: ThreadPoolExecutor) -> None:
        self._config, self._pool = config, pool
        self._detector = GeometricDetector(config.detector)
        kinematics = BodyKinematics(body)
        self._fitter = IcpFitter(kinematics, load_pose_mixture(), config.icp)
        # Says how much of everybody is seen; its bodies have been kept apart already.
        self._coherence = SceneCoherence(kinematics, config=replace(config.coherence, enabled=False))

    def reset(self) -> None: ...

    def find(self, frame: Frame, places: np.ndarray, pixels: bool) -> Found:
        if not (frame.depth > 0).any():
            return Found((), None)
        return self._detector.detect(frame)

    def fit(
        self,
        frame: Frame,
        found: Found,
        hypotheses: Sequence[PersonHypothesis],
        expected: Sequence[Expectation | None],
        clock: Clock,
    ) -> list[BodyFit | None]:
        if found.surface is None:
            return []
        config = self._config
        fits = fit_people(
            self._fitter,
            frame,
            found.surface,
            hypotheses,
            expected,
            config.icp_coherence,
            config.icp_people,
            self._pool,
        )
        clock.lap("fit")
        owner = np.full(frame.depth.shape, -1, np.int16)
        for k, hypothesis in enumerate(hypotheses):
            owner[hypothesis.mask] = k
        kept = [(k, fit) for k, fit in enumerate(fits) if fit is not None]
        scene = Scene(frame, owner, found.floor, frame.up)
        seen = _with_visibility(self._coherence.keep([k for k, _ in kept], [fit for _, fit in kept], scene))
        for (k, _), fit in zip(kept, seen, strict=True):
            fits[k] = fit
        clock.lap("coherence")
        return fits


class _LearnedEye:
    def __init__(self, config: PipelineConfig, body: BodyModel, pool: ThreadPoolExecutor) -> None:
        people, bodies = open_engine("people_net", config.engine), open_engine("body_net", config.engine)
        self.engines = (f"people_net: {people.description}", f"body_net: {bodies.description}")
        codebook = Codebook.load(model_path("body_net/codebook.npz"))
        self._perception = LearnedPerception(people, bodies, codebook, body, config.learned)
        self._register = _Register(config, body, pool) if config.fit else None
        self._pool = pool
        self._floor: Plane | None = None  # of the frame before, where the next one's is looked for first
        self._floor_config = config.floor

    def reset(self) -> None:
        self._floor = None

    def find(self, frame: Frame, places: np.ndarray, pixels: bool) -> Found:
        # Beside the networks: the floor has nothing to do with them.
        floor = self._pool.submit(find_floor, frame, self._floor_config, self._floor) if self._register else None
        seen = self._perception.detect(frame, places)
        hypotheses = tuple(
            PersonHypothesis(
                p.mask, p.confidence, p.joints[HEAD], BodyGuess(p.state, p.joints, p.joint_sigma), p.evidence
            )
            for p in seen.people
        )
        clock = Clock()
        parts, vertices = (seen.parts, seen.vertices) if pixels else (None, None)
        clock.lap("places")
        if floor is not None:
            self._floor = floor.result()
            clock.lap("floor")
        return Found(hypotheses, None, parts, vertices, self._floor, seen.timings | clock.timings)

    def fit(
        self,
        frame: Frame,
        found: Found,
        hypotheses: Sequence[PersonHypothesis],
        expected: Sequence[Expectation | None],
        clock: Clock,
    ) -> list[BodyFit | None]:
        owner = np.full(frame.depth.shape, -1, np.int16)
        problems = []
        for k, (hypothesis, before) in enumerate(zip(hypotheses, expected, strict=True)):
            assert hypothesis.evidence is not None and hypothesis.guess is not None
            owner[hypothesis.mask] = k
            problems.append(FitProblem(k, hypothesis.evidence, hypothesis.guess, before))
        if self._register is None:
            return [_as_seen(problem) for problem in problems]
        return [*self._register.fit(problems, Scene(frame, owner, found.floor, frame.up), clock)]


class _Register:
    """The bodies of learned perception's people: each fitted, then all made to fit together."""

    def __init__(self, config: PipelineConfig, body: BodyModel, pool: ThreadPoolExecutor) -> None:
        kinematics = BodyKinematics(body)
        self._fitter = BodyFitter(body, config.fitter)
        self._terms = SceneTerms(kinematics, config.scene_terms)
        self._coherence = SceneCoherence(kinematics, self._terms.balls, config.coherence)
        self._pool = pool

    def fit(self, problems: Sequence[FitProblem], scene: Scene, clock: Clock) -> list[BodyFit]:
        def one(problem: FitProblem) -> BodyFit:
            return self._fitter.fit(problem, scene, extra=[self._terms.of(problem, scene)])

        fits = list(self._pool.map(one, problems))
        clock.lap("fit")
        coherent = self._coherence.keep([problem.person for problem in problems], fits, scene)
        clock.lap("coherence")
        return _with_visibility(coherent)


def _with_visibility(coherent: Coherent) -> list[BodyFit]:
    return [
        replace(fit, joint_seen=seen, visibility=float(visibility))
        for fit, seen, visibility in zip(coherent.fits, coherent.joint_seen, coherent.visibility, strict=True)
    ]


def _as_seen(problem: FitProblem) -> BodyFit:
    """The network's own body."""
    variance = np.square(problem.guess.joint_sigma.astype(np.float64))
    return BodyFit(
        state=problem.guess.state,
        information=np.eye(PARAMETERS),
        energy=0.0,
        residual=np.nan,
        explained=0.0,
        joints=problem.guess.joints.astype(np.float64),
        joint_covariance=variance[:, None, None] * np.eye(3),
        root_covariance=np.full((6, 6), np.nan),
        joint_seen=np.isin(np.arange(24), problem.evidence.parts).astype(np.float32),
    )


def _eye(config: PipelineConfig, body: BodyModel, pool: ThreadPoolExecutor) -> _Eye:
    return (_LearnedEye if config.perception == "learned" else _GeometricEye)(config, body, pool)
