"""Frame in, people out: the whole online system in one read."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from human_recon.body.lbs import PosedBody, pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.camera.frame import Frame
from human_recon.camera.points import undistort_frame
from human_recon.fitting.coherence import CoherenceConfig, keep_apart
from human_recon.fitting.icp import Fit, IcpConfig, IcpFitter
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.observation import Observation, observe
from human_recon.fitting.priors import load_pose_mixture
from human_recon.geometry.rasterizer import Raster, rasterize, visible_vertices
from human_recon.people import People, Person
from human_recon.perception.geometric import GeometricDetector, GeometricDetectorConfig
from human_recon.perception.hypothesis import PersonHypothesis
from human_recon.tracking.association import Association, AssociationConfig, Known


@dataclass(frozen=True)
class PipelineConfig:
    """Settings of every stage."""

    detector: GeometricDetectorConfig = field(default_factory=GeometricDetectorConfig)
    fitter: IcpConfig = field(default_factory=IcpConfig)
    coherence: CoherenceConfig = field(default_factory=CoherenceConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    max_people: int = 12  # the nearest ones
    max_residual: float = 0.06  # metres: a body that explains its pixels worse than this is not a person
    min_explained: float = 0.5  # share of a person's pixels that the body must cover
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)  # people fitted at the same time
    warm_start: bool = True  # start from the previous frame's body when the person was known


@dataclass(frozen=True)
class _Candidate:
    """A hypothesis on its way to a person."""

    hypothesis: PersonHypothesis
    observation: Observation
    known: Known | None
    fit: Fit
    residual: float = np.nan  # metres
    explained: float = 0.0  # share of the hypothesis' pixels covered by the body


@dataclass(frozen=True)
class _Scene:
    """All bodies posed, and rendered together."""

    bodies: tuple[PosedBody, ...]
    vertices: np.ndarray  # [P, V, 3] metres
    raster: Raster


class Pipeline:
    """The geometric baseline: candidates from depth clusters, SMPL by ICP, nobody inside anybody else."""

    def __init__(self, config: PipelineConfig, body: BodyModel) -> None:
        self.config = config
        self.body = body
        self._detector = GeometricDetector(config.detector)
        self._fitter = IcpFitter(BodyKinematics(body), load_pose_mixture(), config.fitter)
        self._association = Association(config.association)
        self._parts = vertex_parts(body)

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
        clock = _Clock()
        if not (frame.depth > 0).any():
            return People(frame, (), np.zeros(frame.depth.shape, np.uint16), None, clock.timings)
        frame = undistort_frame(frame)

        detection = self._detector.detect(frame)
        hypotheses = detection.hypotheses[: self.config.max_people]
        assert detection.surface is not None
        surface, surroundings = detection.surface, detection.surface.surroundings
        everybody = np.zeros(frame.depth.shape, bool)
        for hypothesis in hypotheses:
            everybody |= hypothesis.mask
        clock.lap("detect")

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
            return _Candidate(hypothesis, observation, before, self._fit(observation, before))

        known = self._association.match([h.head for h in hypotheses], frame.stamp_ns)
        # One thread per person; BLAS' own threads would wait for each other on matrices this small.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(self.config.workers) as pool:
            candidates = list(pool.map(fit, hypotheses, known))
        candidates = [c for c in _judge(frame, candidates, self._render(frame, candidates)) if self._is_plausible(c)]
        clock.lap("fit")

        with threadpool_limits(limits=1, user_api="blas"):
            fits = keep_apart(
                self._fitter, [c.fit for c in candidates], [c.observation for c in candidates], self.config.coherence
            )
        candidates = [replace(c, fit=apart) for c, apart in zip(candidates, fits, strict=True)]
        clock.lap("coherence")

        scene = self._render(frame, candidates)
        people = self._describe(frame, _judge(frame, candidates, scene), scene)
        labels = np.zeros(frame.depth.shape, np.uint16)
        for person, candidate in zip(people, candidates, strict=True):
            labels[candidate.hypothesis.mask] = person.id
            self._association.remember(
                person.id, candidate.hypothesis.head, frame.stamp_ns, person.state, candidate.fit.energy
            )
        clock.lap("describe")
        return People(frame, people, labels, surroundings.floor, clock.timings)

    def _fit(self, observation: Observation, known: Known | None) -> Fit:
        if self.config.warm_start and known is not None:
            return self._fitter.track(observation, known.state, known.energy)
        return self._fitter.search(observation)

    def _render(self, frame: Frame, candidates: list[_Candidate]) -> _Scene:
        bodies = tuple(pose_body(self.body, candidate.fit.state) for candidate in candidates)
        vertices = np.array([body.vertices for body in bodies], np.float32).reshape(-1, *self.body.v_template.shape)
        return _Scene(bodies, vertices, rasterize(vertices, self.body.faces, frame.intrinsics))

    def _is_plausible(self, candidate: _Candidate) -> bool:
        return candidate.residual <= self.config.max_residual and candidate.explained >= self.config.min_explained

    def _describe(self, frame: Frame, candidates: list[_Candidate], scene: _Scene) -> tuple[Person, ...]:
        # Measured surfaces hide a body as well as other bodies do.
        front = np.where(scene.raster.depth > 0, scene.raster.depth, np.inf)
        hidden = np.where(frame.depth > 0, np.minimum(front, frame.depth + 0.10), front)
        hidden = np.where(np.isfinite(hidden), hidden, 0.0).astype(np.float32)
        part_sizes = np.maximum(np.bincount(self._parts, minlength=24), 1)
        people = []
        for candidate, posed in zip(candidates, scene.bodies, strict=True):
            state = candidate.fit.state
            visible = visible_vertices(posed.vertices, self.body.faces, frame.intrinsics, hidden, 0.03)
            seen = np.bincount(self._parts, visible, minlength=24) / part_sizes
            rows, columns = np.nonzero(candidate.hypothesis.mask)
            roi = (int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
            # A heuristic until a learned detector calibrates it: how much of the person the body explains, how closely.
            confidence = candidate.explained * float(np.exp(-((candidate.residual / 0.05) ** 2)))
            people.append(
                Person(
                    id=candidate.known.id if candidate.known is not None else self._association.new_id(),
                    confidence=confidence * candidate.hypothesis.confidence,
                    state=state,
                    vertices=posed.vertices,
                    joints=posed.joints,
                    joint_sigma=self._fitter.joint_sigma(candidate.fit).astype(np.float32),
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


class _Clock:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.timings[name] = now - self._last
        self._last = now
