"""Frame in, people out: the whole online system in one read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from human_recon.body.lbs import PosedBody, pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.skeleton import joint_index
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.points import undistort_frame
from human_recon.fitting.coherence import CoherenceConfig, keep_apart
from human_recon.fitting.icp import Fit, IcpConfig, IcpFitter
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.observation import Observation, observe
from human_recon.fitting.priors import load_pose_mixture
from human_recon.geometry.rasterizer import Raster, rasterize, visible_vertices
from human_recon.inference.choice import EngineChoice, open_engine
from human_recon.people import People, Person
from human_recon.perception.body_net import NO_PART
from human_recon.perception.clock import Clock
from human_recon.perception.codebook import Codebook
from human_recon.perception.geometric import GeometricDetector, GeometricDetectorConfig
from human_recon.perception.hypothesis import BodyGuess, Found, PersonHypothesis
from human_recon.perception.learned import LearnedConfig, LearnedPerception
from human_recon.perception.surface import Surface, measure_surface
from human_recon.resources import model_path
from human_recon.tracking.association import Association, AssociationConfig, Known

HEAD = joint_index("head")


@dataclass(frozen=True)
class PipelineConfig:
    """Settings of every stage."""

    perception: Literal["learned", "geometric"] = "learned"
    engine: EngineChoice = field(default_factory=EngineChoice)  # of learned perception
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    detector: GeometricDetectorConfig = field(default_factory=GeometricDetectorConfig)  # of geometric perception
    fit: bool = True  # register the body to the depth; without, learned perception's own bodies are the result
    fitter: IcpConfig = field(default_factory=IcpConfig)
    coherence: CoherenceConfig = field(default_factory=CoherenceConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    max_people: int = 12  # the nearest ones
    max_residual: float = 0.06  # metres: a fitted body that explains its pixels worse than this is not believed
    min_explained: float = 0.5  # share of a person's pixels that it must cover
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)  # people fitted at the same time
    warm_start: bool = True  # start from the previous frame's body when the person was known

    def __post_init__(self) -> None:
        if self.perception == "geometric" and not self.fit:
            raise ValueError("geometric perception has no bodies of its own: fit must be true")


@dataclass(frozen=True)
class _Candidate:
    """A hypothesis on its way to a person."""

    hypothesis: PersonHypothesis
    known: Known | None
    observation: Observation | None = None
    fit: Fit | None = None  # None: the body as it was seen, hypothesis.guess
    residual: float = np.nan  # metres
    explained: float = 0.0  # share of the hypothesis' pixels covered by the body

    @property
    def state(self) -> BodyState:
        if self.fit is not None:
            return self.fit.state
        assert self.hypothesis.guess is not None
        return self.hypothesis.guess.state


@dataclass(frozen=True)
class _Scene:
    """All bodies posed, and rendered together."""

    bodies: tuple[PosedBody, ...]
    vertices: np.ndarray  # [P, V, 3] metres
    raster: Raster


class Pipeline:
    """Who is there, registered to the depth, nobody inside anybody else."""

    def __init__(self, config: PipelineConfig, body: BodyModel) -> None:
        """Load the networks, if the configuration asks for them, and compile nothing yet.

        Raises:
            EngineError: the networks cannot be run as the configuration asks; the message says what to do.
        """
        self.config = config
        self.body = body
        self._finder = _finder(config, body)
        self._fitter = IcpFitter(BodyKinematics(body), load_pose_mixture(), config.fitter)
        self._association = Association(config.association)
        self._parts = vertex_parts(body)

    @property
    def engines(self) -> tuple[str, ...]:
        """What computes the networks, for logs and diagnostics; empty with geometric perception."""
        return self._finder.engines

    def reset(self) -> None:
        """Forget who was there, for example when time jumps back."""
        self._association.reset()

    def process(self, frame: Frame) -> People:
        """Reconstruct everybody in one frame, which is undistorted first if need be.

        Raises:
            ValueError: if the depth is not finite. An empty scene is no error.
        """
        if not np.isfinite(frame.depth).all():
            raise ValueError("depth has NaN or inf; no reading must be 0")
        clock = Clock()
        if not (frame.depth > 0).any():
            return People(frame, (), np.zeros(frame.depth.shape, np.uint16), None, clock.timings)
        frame = undistort_frame(frame)

        found = self._finder.find(frame)
        hypotheses = found.hypotheses[: self.config.max_people]
        known = self._association.match([h.head for h in hypotheses], frame.stamp_ns)
        clock.lap("detect")

        if self.config.fit:
            assert found.surface is not None
            candidates = self._fit_all(frame, hypotheses, known, found.surface)
            clock.lap("fit")
            candidates = self._keep_apart(candidates)
            clock.lap("coherence")
        else:
            candidates = [_Candidate(h, k) for h, k in zip(hypotheses, known, strict=True)]

        scene = self._render(frame, candidates)
        people = self._describe(frame, _judge(frame, candidates, scene), scene)
        labels = np.zeros(frame.depth.shape, np.uint16)
        for person, candidate in zip(people, candidates, strict=True):
            labels[candidate.hypothesis.mask] = person.id
            energy = candidate.fit.energy if candidate.fit is not None else np.inf
            self._association.remember(person.id, candidate.hypothesis.head, frame.stamp_ns, person.state, energy)
        clock.lap("describe")
        floor = found.surface.surroundings.floor if found.surface is not None else None
        timings = clock.timings | {f"detect/{stage}": seconds for stage, seconds in found.timings.items()}
        return People(frame, people, labels, floor, timings, *_seen(found, labels))

    def _fit_all(
        self, frame: Frame, hypotheses: tuple[PersonHypothesis, ...], known: list[Known | None], surface: Surface
    ) -> list[_Candidate]:
        """Register a body to each hypothesis and decide which to believe."""
        surroundings = surface.surroundings
        everybody = np.zeros(frame.depth.shape, bool)
        for hypothesis in hypotheses:
            everybody |= hypothesis.mask

        def fit(hypothesis: PersonHypothesis, before: Known | None) -> _Candidate:
            observation = observe(
                surface.points,
                surface.normals,
                hypothesis.mask,
                hypothesis.head,
                everybody,
                frame.intrinsics,
                surroundings.floor,
                surroundings.up,
            )
            return _Candidate(hypothesis, before, observation, self._fit(observation, hypothesis, before))

        # One thread per person; BLAS' own threads would wait for each other on matrices this small.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(self.config.workers) as pool:
            candidates = list(pool.map(fit, hypotheses, known))
        judged = _judge(frame, candidates, self._render(frame, candidates))
        believed = [self._believed(candidate) for candidate in judged]
        return [candidate for candidate in believed if candidate is not None]

    def _fit(self, observation: Observation, hypothesis: PersonHypothesis, known: Known | None) -> Fit:
        if not self.config.warm_start:
            known = None
        if hypothesis.guess is not None:
            starts = [hypothesis.guess.state] + ([known.state] if known is not None else [])
            return min((self._fitter.refine(start, observation) for start in starts), key=lambda f: f.energy)
        if known is not None:
            return self._fitter.track(observation, known.state, known.energy)
        return self._fitter.search(observation)

    def _believed(self, candidate: _Candidate) -> _Candidate | None:
        """A fit that explains little is replaced by the body that was seen; without one, nobody is there."""
        if candidate.residual <= self.config.max_residual and candidate.explained >= self.config.min_explained:
            return candidate
        if candidate.hypothesis.guess is None:
            return None
        return replace(candidate, fit=None)

    def _keep_apart(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Nobody inside anybody else; bodies that are not fitted stay where they were seen."""
        fitted = [(c.fit, c.observation) for c in candidates if c.fit is not None and c.observation is not None]
        with threadpool_limits(limits=1, user_api="blas"):
            apart = iter(
                keep_apart(self._fitter, [f for f, _ in fitted], [o for _, o in fitted], self.config.coherence)
            )
        return [replace(c, fit=next(apart)) if c.fit is not None else c for c in candidates]

    def _render(self, frame: Frame, candidates: list[_Candidate]) -> _Scene:
        bodies = tuple(pose_body(self.body, candidate.state) for candidate in candidates)
        vertices = np.array([body.vertices for body in bodies], np.float32).reshape(-1, *self.body.v_template.shape)
        return _Scene(bodies, vertices, rasterize(vertices, self.body.faces, frame.intrinsics))

    def _describe(self, frame: Frame, candidates: list[_Candidate], scene: _Scene) -> tuple[Person, ...]:
        # Measured surfaces hide a body as well as other bodies do.
        front = np.where(scene.raster.depth > 0, scene.raster.depth, np.inf)
        hidden = np.where(frame.depth > 0, np.minimum(front, frame.depth + 0.10), front)
        hidden = np.where(np.isfinite(hidden), hidden, 0.0).astype(np.float32)
        part_sizes = np.maximum(np.bincount(self._parts, minlength=24), 1)
        people = []
        for candidate, posed in zip(candidates, scene.bodies, strict=True):
            state = candidate.state
            visible = visible_vertices(posed.vertices, self.body.faces, frame.intrinsics, hidden, 0.03)
            seen = np.bincount(self._parts, visible, minlength=24) / part_sizes
            rows, columns = np.nonzero(candidate.hypothesis.mask)
            roi = (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
            guess = candidate.hypothesis.guess
            confidence = candidate.hypothesis.confidence
            if guess is None:  # nothing calibrated: how much of the person the body explains, and how closely
                confidence *= candidate.explained * float(np.exp(-((candidate.residual / 0.05) ** 2)))
            if candidate.fit is not None:
                sigma = self._fitter.joint_sigma(candidate.fit).astype(np.float32)
            else:
                assert guess is not None
                sigma = guess.joint_sigma
            people.append(
                Person(
                    id=candidate.known.id if candidate.known is not None else self._association.new_id(),
                    confidence=confidence,
                    state=state,
                    vertices=posed.vertices,
                    joints=posed.joints,
                    joint_sigma=sigma,
                    joint_visible=seen > 0.05,
                    height=stature(self.body, state.betas),
                    roi=roi,
                    residual=candidate.residual,
                )
            )
        return tuple(people)


def _judge(frame: Frame, candidates: list[_Candidate], scene: _Scene) -> list[_Candidate]:
    """How well each body explains its pixels."""
    judged = []
    for i, candidate in enumerate(candidates):
        mask = candidate.hypothesis.mask
        common = mask & (scene.raster.person == i)
        residual = float(np.median(np.abs(scene.raster.depth - frame.depth)[common])) if common.any() else np.nan
        judged.append(replace(candidate, residual=residual, explained=float(common.sum() / max(mask.sum(), 1))))
    return judged


def _seen(found: Found, labels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Parts and vertices of the pixels of those who became people."""
    if found.parts is None or found.vertices is None:
        return None, None
    return np.where(labels > 0, found.parts, np.uint8(NO_PART)), np.where(labels > 0, found.vertices, np.int16(-1))


class _Finder(Protocol):
    """A perception behind the pipeline."""

    @property
    def engines(self) -> tuple[str, ...]: ...

    def find(self, frame: Frame) -> Found: ...


class _GeometricFinder:
    engines = ()

    def __init__(self, config: PipelineConfig) -> None:
        self._detector = GeometricDetector(config.detector)

    def find(self, frame: Frame) -> Found:
        return self._detector.detect(frame)


class _LearnedFinder:
    def __init__(self, config: PipelineConfig, body: BodyModel) -> None:
        people, bodies = open_engine("people_net", config.engine), open_engine("body_net", config.engine)
        self.engines = (f"people_net: {people.description}", f"body_net: {bodies.description}")
        codebook = Codebook.load(model_path("body_net/codebook.npz"))
        self._perception = LearnedPerception(people, bodies, codebook, body, config.learned)
        # A fit needs the surface; without one nobody looks at it, and it takes longer than the networks.
        self._surroundings = config.detector.surroundings if config.fit else None

    def find(self, frame: Frame) -> Found:
        seen = self._perception.detect(frame)
        surface = measure_surface(frame, self._surroundings) if self._surroundings is not None else None
        hypotheses = tuple(
            PersonHypothesis(p.mask, p.confidence, p.joints[HEAD], BodyGuess(p.state, p.joint_sigma))
            for p in seen.people
        )
        return Found(hypotheses, surface, seen.parts, seen.vertices, seen.timings)


def _finder(config: PipelineConfig, body: BodyModel) -> _Finder:
    return _LearnedFinder(config, body) if config.perception == "learned" else _GeometricFinder(config)
