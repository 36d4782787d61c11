"""The SMPL body of one person from correspondences, the network's guess and what the track expects.

Robust Gauss-Newton with damping (Levenberg-Marquardt) over the 85 parameters of `human_recon.fitting.kinematics`.
The terms, each with a weight that 0 switches off:

- *correspondence*: each measured point is drawn to the place on the body that the network saw in it, from all
  directions, as strongly as its descriptor resembles that place's (seed 004's descriptors: similar ones are 3 cm off,
  dissimilar ones 20 cm and often on the other leg);
- *surface*: each measured point is drawn to the closest place that looks like it, mostly along the normal, as nobody
  can tell places on a smooth surface apart. The skin lies inside of clothes by some millimetres;
- *joints* and *rotations*: the network's body, with the uncertainty that the network states;
- *limits* of joints and the *shape* prior;
- *track*: pose, place and shape that the past lets expect;
- what the caller adds: terms of coherence with the scene.

The normal matrix at the end is the inverse covariance of the parameters; see `human_recon.fitting.covariance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg.lapack import dposv

from human_recon.body.lbs import forward_kinematics
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.skeleton import JOINT_NAMES, PARENTS
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, Expectation, FitProblem, Scene
from human_recon.fitting.body_priors import JOINT_LIMITS, rotation_vectors
from human_recon.fitting.covariance import CovarianceConfig, body_covariances
from human_recon.fitting.data_terms import data_equations, told_equations
from human_recon.fitting.kinematics import BETAS, PARAMETERS, ROTATIONS, TRANSLATION, BodyKinematics
from human_recon.fitting.normal_equations import BodyArrays
from human_recon.fitting.residuals import Residuals
from human_recon.fitting.surface_match import SurfaceSamples
from human_recon.geometry.rotations import rotvecs_to_matrices, turned
from human_recon.perception.hypothesis import BodyGuess

# A term that the caller adds: linearises itself at a state.
ExtraTerm = Callable[[BodyState], Residuals]

# Median distance of what is measured from the skin, metres, of the simulation's clothed people (hair on the head).
_THICKNESS = {
    "pelvis": 0.022, "hip": 0.018, "spine1": 0.022, "knee": 0.020, "spine2": 0.017, "ankle": 0.016, "spine3": 0.016,
    "foot": 0.013, "neck": 0.008, "collar": 0.013, "head": 0.014, "shoulder": 0.011, "elbow": 0.008, "wrist": 0.002,
    "hand": 0.002,
}  # fmt: skip

# How far the network's world rotations are off, radians per axis, by metres of its deviation at the bone's other end.
_ROTATIONS = {
    "pelvis": 3.3, "hip": 2.4, "spine1": 3.7, "knee": 1.5, "spine2": 3.7, "ankle": 1.9, "spine3": 3.7, "foot": 1.9,
    "neck": 4.3, "collar": 3.4, "head": 5.3, "shoulder": 4.1, "elbow": 3.4, "wrist": 3.1, "hand": 3.1,
}  # fmt: skip
_TIP = np.array([max((k for k in range(24) if PARENTS[k] == j), default=j) for j in range(24)])
_HELD = 1e9  # precision of betas that must not change
_MAX_BETA = 4.0


@dataclass(frozen=True)
class BodyFitConfig:
    """Settings of the fit; metres and radians. A weight of 0 switches its term off."""

    iterations: int = 2
    samples: int = 600  # places on the body that a measured point can be matched with
    agreement: float = 0.25  # no joint of the guess farther from where it is expected: the track is where to begin
    close: float = 0.05  # evidence nearer to the surface than this is explained
    points: int = 250  # of the evidence at most, taken evenly
    measurements: float = 150.0  # independent ones that all points together count as

    correspondence: float = 1.0
    correspondence_thinning: int = 2  # of so many cells one corresponds, if enough are left: neighbours err alike
    correspondence_sigma: tuple[float, float] = (0.025, 0.30)  # a + b (1 - similarity)^2: how far off a place is
    correspondence_scale: tuple[float, float] = (8.0, 3.0)  # Geman-McClure, in sigma, at first and at last
    surface: float = 1.0
    surface_sigma: float = 0.015
    surface_growth: float = 0.0025  # of sigma with the square of the depth in metres
    surface_scale: tuple[float, float] = (0.20, 0.06)  # Geman-McClure, at first and at last
    point_to_point: float = 0.1  # share of the distance from all directions
    facing: float = 0.20  # opposite normals count as this distance
    placing: float = 0.01  # one sigma on the body away from the network's place counts as this distance,
    most_place: float = 0.10  # any number of them as no more than this

    joints: float = 0.5
    joint_scale: float = 4.0  # Geman-McClure, in sigma
    rotations: float = 1.0
    rotation_scale: float = 3.0  # likewise
    limits: float = 1.0
    shape: float = 1.0
    track: float = 1.0
    extra: float = 1.0  # the caller's terms
    extra_from: float = 0.5  # of the way; before, bodies may pass through what they must not be in

    damping: float = 5.0
    max_turn: float = 0.5  # of one joint in one iteration
    max_shift: float = 0.3
    thickness: Mapping[str, float] = field(default_factory=lambda: dict(_THICKNESS))
    covariance: CovarianceConfig = field(default_factory=CovarianceConfig)


@dataclass(frozen=True)
class _Iterate:
    rotations: np.ndarray  # [24, 3, 3]
    betas: np.ndarray  # [10]
    trans: np.ndarray  # [3]

    @property
    def state(self) -> BodyState:
        return BodyState(self.betas, rotation_vectors(self.rotations), self.trans)

    @staticmethod
    def of(state: BodyState) -> _Iterate:
        return _Iterate(
            rotvecs_to_matrices(state.pose),
            np.clip(np.asarray(state.betas, np.float64), -_MAX_BETA, _MAX_BETA),
            np.array(state.trans, np.float64),
        )


@dataclass(frozen=True)
class _System:
    """The normal equations at an iterate."""

    matrix: np.ndarray  # [85, 85] of what was measured in this frame
    told: np.ndarray  # [85, 85] of what was known before: prior shape or track
    gradient: np.ndarray  # [85] of both
    energy: float


class BodyFitter:
    """Fits one body model. Threads may share it."""

    def __init__(self, model: BodyModel, config: BodyFitConfig | None = None) -> None:
        self.model = model
        self.config = config or BodyFitConfig()
        self.kinematics = BodyKinematics(model)
        self.arrays = BodyArrays(model)
        self.samples = SurfaceSamples(model, self.config.samples)
        part = vertex_parts(model)
        names = [name.removeprefix("l_").removeprefix("r_") for name in JOINT_NAMES]
        self.thickness = np.array([self.config.thickness[name] for name in names])[part]  # [V]
        self.rotation_per_joint = np.array([_ROTATIONS[name] for name in names])
        self.sample_part = part[self.samples.ids]
        self.part_samples = np.bincount(self.sample_part, minlength=24)

    def fit(
        self,
        problem: FitProblem,
        scene: Scene,
        start: BodyState | None = None,
        extra: Sequence[ExtraTerm] = (),
    ) -> BodyFit:
        """The body that explains the evidence best.

        Args:
            problem: the person.
            scene: everything else in the frame.
            start: where to begin; None: from the guess or the expectation, whichever is better.
            extra: further terms, such as those of `human_recon.fitting.scene_terms`.

        Evidence that is not finite or behind the camera is left out; without any, the body is what the network and the
        track believe, with their uncertainty.

        Raises:
            ValueError: the guess is not finite, or the evidence names vertices that the body model does not have.
        """
        work = _Work(self, problem, extra)
        config = self.config
        now = self._start(work, start)
        for i in range(config.iterations):
            system = work.system(now, i / max(config.iterations - 1, 1))
            now = self._stepped(now, system, work.held)
        return work.result(now, work.system(now, 1.0, with_extra=False, measure=True))

    def _start(self, work: _Work, start: BodyState | None) -> _Iterate:
        if start is not None:
            return work.holding(_Iterate.of(start))
        guess, expected = work.problem.guess, work.problem.expected
        if expected is None:
            return work.holding(_Iterate.of(guess.state))
        if self._agree(guess, expected):
            return work.holding(_Iterate.of(expected.state))
        starts = [work.holding(_Iterate.of(state)) for state in (guess.state, expected.state)]
        return min(starts, key=lambda now: work.system(now, 0.5, with_extra=False).energy)

    def _agree(self, guess: BodyGuess, expected: Expectation) -> bool:
        """Whether the network sees what the track expects: then there is nothing to choose between."""
        model = self.model
        state = [np.asarray(a, np.float64) for a in (expected.state.betas, expected.state.pose, expected.state.trans)]
        joints = forward_kinematics(model.parents, model.j_template, model.j_shapedirs, *state)[2]
        return float(np.linalg.norm(guess.joints - joints, axis=1).max()) < self.config.agreement

    def _stepped(self, now: _Iterate, system: _System, held: bool) -> _Iterate:
        config = self.config
        damped = system.matrix + system.told
        diagonal = np.einsum("ii->i", damped)
        diagonal += config.damping * (1.0 + 1e-3 * diagonal)
        if held:
            diagonal[BETAS] += _HELD
        step, failed = dposv(damped, -system.gradient, lower=1)[1:]
        if failed or not np.isfinite(step).all():
            return now
        turns = float(np.sqrt(np.square(step[ROTATIONS]).reshape(24, 3).sum(axis=1).max()))
        shift = float(np.linalg.norm(step[TRANSLATION]))
        step *= min(1.0, config.max_turn / max(turns, 1e-9), config.max_shift / max(shift, 1e-9))
        return _Iterate(
            turned(now.rotations, step),
            now.betas if held else np.clip(now.betas + step[BETAS], -_MAX_BETA, _MAX_BETA),
            now.trans + step[TRANSLATION],
        )


class _Work:
    """One person's fit in one frame."""

    def __init__(self, fitter: BodyFitter, problem: FitProblem, extra: Sequence[ExtraTerm]) -> None:
        config, model = fitter.config, fitter.model
        self.fitter, self.problem = fitter, problem
        self.extra = extra if config.extra > 0.0 else ()
        self.held = config.track > 0.0 and problem.expected is not None and problem.expected.shape_locked
        arrays, samples = fitter.arrays, fitter.samples
        self.skeleton = (arrays.j_template, arrays.j_shapedirs, arrays.parents)
        self.samples = (samples.ids, samples.rest, samples.rest_normals, fitter.thickness)

        evidence = problem.evidence
        finite = np.isfinite(evidence.points).all(axis=1) & np.isfinite(evidence.normals).all(axis=1)
        good = np.flatnonzero(finite & (evidence.points[:, 2] > 0.0))
        if len(good) > config.points:
            good = good[np.linspace(0, len(good) - 1, config.points).astype(np.int64)]
        vertices = evidence.vertices[good].astype(np.int64)
        if len(vertices) and not 0 <= vertices.min() <= vertices.max() < model.vertex_count:
            raise ValueError(
                f"evidence names vertices {vertices.min()} to {vertices.max()}; body model '{model.name}' has "
                f"{model.vertex_count}: was the network trained with another one?"
            )
        points = np.ascontiguousarray(evidence.points[good], np.float64)
        normals = np.ascontiguousarray(evidence.normals[good], np.float64)
        likelihood = np.nan_to_num(evidence.likelihood[good].astype(np.float64))
        similarity = np.clip(np.nan_to_num(evidence.similarity[good].astype(np.float64)), 0.0, 1.0)
        share = config.measurements / max(float(len(points)), config.measurements)
        first, growth = config.correspondence_sigma
        place_sigma = first + growth * np.square(1.0 - similarity)
        surface_sigma = config.surface_sigma + config.surface_growth * points[:, 2] ** 2
        thinning = config.correspondence_thinning if len(points) >= 2.0 * config.measurements else 1
        correspondence = np.zeros(len(points))
        correspondence[::thinning] = thinning * share * config.correspondence
        correspondence *= likelihood / place_sigma**2
        self.similarity = float(similarity.mean()) if len(points) else 0.0
        self.evidence = (
            points,
            normals,
            vertices,
            correspondence,
            share * config.surface * likelihood / surface_sigma**2,
            points.astype(np.float32),
            normals.astype(np.float32),
            np.asarray(model.v_template, np.float32)[vertices],
            (config.placing / place_sigma).astype(np.float32),
        )
        self.matched = np.full(len(points), -1, np.int64)  # sample that each point lies on
        self.distances = np.full(len(points), np.nan)  # of the points from the surface, along its normal

        guess = problem.guess
        of_guess = (guess.state.betas, guess.state.pose, guess.state.trans, guess.joints, guess.joint_sigma)
        if not all(np.isfinite(array).all() for array in of_guess):
            raise ValueError(f"the guess of person {problem.person} is not finite")
        world = rotvecs_to_matrices(guess.state.pose)
        for j in range(1, 24):
            world[j] = world[PARENTS[j]] @ world[j]
        sigma = np.maximum(guess.joint_sigma.astype(np.float64), 1e-3)
        turn_sigma = fitter.rotation_per_joint * sigma[_TIP]
        self.guess = (
            guess.joints.astype(np.float64),
            config.joints / sigma**2,
            config.joint_scale * sigma,
            world,
            config.rotations / turn_sigma**2,
            config.rotation_scale * turn_sigma,
        )

    def holding(self, now: _Iterate) -> _Iterate:
        """With the track's shape when that is locked, the pelvis where it was."""
        if not self.held:
            return now
        assert self.problem.expected is not None
        betas = np.array(self.problem.expected.state.betas, np.float64)
        shift = self.fitter.arrays.j_shapedirs[0] @ (now.betas - betas)
        return _Iterate(now.rotations, betas, now.trans + shift)

    def system(self, now: _Iterate, progress: float, with_extra: bool = True, measure: bool = False) -> _System:
        """Linearise all terms at ``now``.

        Args:
            progress: in [0, 1], how far the robust scales have shrunk.
            with_extra: with the caller's terms.
            measure: find the points' distances even if the surface's weight is 0.
        """
        config = self.fitter.config
        scales = [
            first * (last / first) ** progress for first, last in (config.correspondence_scale, config.surface_scale)
        ]
        settings = (*scales, config.point_to_point, config.facing, config.most_place, config.limits)
        matrix, gradient, energy = data_equations(
            now.rotations,
            now.betas,
            now.trans,
            self.skeleton,
            self.fitter.arrays.skin,
            self.samples,
            self.evidence,
            self.guess,
            JOINT_LIMITS,
            settings,
            measure or config.surface > 0.0,
            self.matched,
            self.distances,
        )
        told, pull, strain = self._told(now)
        gradient += pull
        energy += strain
        if self.extra and with_extra and progress >= config.extra_from:
            state = now.state
            for term in self.extra:
                residuals = term(state)
                if len(residuals.values):
                    matrix += config.extra * residuals.rows.T @ residuals.rows
                    gradient += config.extra * residuals.rows.T @ residuals.values
                    energy += config.extra * residuals.energy
        return _System(matrix, told, gradient, energy)

    def _told(self, now: _Iterate) -> tuple[np.ndarray, np.ndarray, float]:
        """What is believed before the frame is looked at: the track's prediction, or that people are of usual shape."""
        config, expected = self.fitter.config, self.problem.expected
        if expected is None or config.track <= 0.0:
            matrix, gradient = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
            matrix[BETAS, BETAS] = config.shape * np.eye(10)
            gradient[BETAS] = config.shape * now.betas
            return matrix, gradient, 0.5 * config.shape * float(now.betas @ now.betas)
        state = expected.state
        j_template, j_shapedirs, _ = self.skeleton
        matrix, gradient, energy = told_equations(
            now.rotations,
            now.betas,
            now.trans,
            self.skeleton,
            rotvecs_to_matrices(state.pose),
            config.track / np.square(np.asarray(expected.pose_sigma, np.float64)),
            j_template[0] + j_shapedirs[0] @ state.betas + state.trans,
            config.track / expected.root_sigma**2,
        )
        matrix[BETAS, BETAS] += expected.betas_information
        pull = expected.betas_information @ (now.betas - state.betas)
        gradient[BETAS] += pull
        return matrix, gradient, energy + 0.5 * float((now.betas - state.betas) @ pull)

    def result(self, now: _Iterate, system: _System) -> BodyFit:
        """What is said of the fitted body."""
        fitter, config = self.fitter, self.fitter.config
        state = now.state
        information, joints, joint_covariance, root_covariance = body_covariances(
            fitter.kinematics,
            state,
            now.rotations[0],
            system.matrix,
            system.told,
            self.held,
            self.similarity,
            config.covariance,
        )
        far = np.abs(self.distances)
        near = far < config.close  # NaN: matched with nothing
        far = far[np.isfinite(far)]
        return BodyFit(
            state=state,
            information=information,
            energy=system.energy,
            residual=float(np.median(far)) if len(far) else np.nan,
            explained=float(near.mean()) if len(near) else 0.0,
            joints=joints,
            joint_covariance=joint_covariance,
            root_covariance=root_covariance,
            joint_seen=self._seen(near),
        )

    def _seen(self, near: np.ndarray) -> np.ndarray:
        """[24] float32, share of the camera's half of each part's surface that measured points lie on."""
        fitter = self.fitter
        found = np.unique(self.matched[near & (self.matched >= 0)])
        half = 0.5 * np.maximum(fitter.part_samples, 1)
        return np.minimum(np.bincount(fitter.sample_part[found], minlength=24) / half, 1.0).astype(np.float32)
