"""The SMPL body of one person from correspondences, the network's guess and what the track expects.

Robust Gauss-Newton with damping (Levenberg-Marquardt) over the 85 parameters of `human_recon.fitting.kinematics`.
The terms, each with a weight that 0 switches off:

- *correspondence*: each measured point is drawn to the place on the body that the network saw in it, from all
  directions. Robust and wide at first, so that limbs find their place; it fades as the scale shrinks;
- *surface*: each measured point is drawn to the closest place that looks like it, mostly along the normal, as the eye
  cannot tell places on a smooth surface apart. The skin lies inside of clothes by some millimetres;
- *joints* and *rotations*: the network's body, with the uncertainty that the network states;
- *limits* of joints, the *pose* mixture, the *shape* prior;
- *track*: pose, place and shape that the past lets expect;
- what the caller adds: terms of coherence with the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.skeleton import JOINT_NAMES, PARENTS
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, FitProblem, Scene
from human_recon.fitting.body_priors import add_joint_limits, add_local_rotations, add_world_rotations
from human_recon.fitting.kinematics import BETAS, PARAMETERS, TRANSLATION
from human_recon.fitting.normal_equations import (
    BodyArrays,
    add_joints,
    add_points,
    empty_equations,
    pose_skeleton,
    pose_vertices,
    to_parameters,
    turn_normals,
)
from human_recon.fitting.residuals import Residuals
from human_recon.fitting.surface_match import SurfaceSamples, match
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

# A term that the caller adds: linearises itself at a state.
ExtraTerm = Callable[[BodyState], Residuals]

# Median distance of what is measured from the skin, metres, of the simulation's clothed people (hair on the head).
_THICKNESS = {
    "pelvis": 0.022, "hip": 0.018, "spine1": 0.022, "knee": 0.020, "spine2": 0.017, "ankle": 0.016, "spine3": 0.016,
    "foot": 0.013, "neck": 0.008, "collar": 0.013, "head": 0.014, "shoulder": 0.011, "elbow": 0.008, "wrist": 0.002,
    "hand": 0.002,
}  # fmt: skip


@dataclass(frozen=True)
class BodyFitConfig:
    """Settings of the fit; metres and radians. A weight of 0 switches its term off."""

    iterations: int = 6
    samples: int = 1500  # places on the body that a measured point can be matched with
    close: float = 0.05  # evidence nearer to the surface than this is explained
    measurements: float = 150.0  # independent ones that all points together count as

    correspondence: float = 1.0
    correspondence_sigma: float = 0.06
    correspondence_scale: tuple[float, float] = (0.30, 0.10)  # Geman-McClure, at first and at last
    surface: float = 1.0
    surface_sigma: float = 0.015
    surface_growth: float = 0.0025  # of sigma with the square of the depth in metres
    surface_scale: tuple[float, float] = (0.20, 0.06)
    point_to_point: float = 0.1  # share of the distance from all directions
    facing: float = 0.20  # opposite normals count as this distance
    placing: float = 0.3  # a metre on the body away from the network's place counts as this distance
    most_place: float = 0.10

    joints: float = 0.5
    rotations: float = 1.0
    rotation_sigma: float = 0.35
    rotation_scale: float = 1.0  # Geman-McClure
    limits: float = 1.0
    shape: float = 1.0
    track: float = 1.0

    damping: float = 1.0
    max_turn: float = 0.5  # of one joint in one iteration
    max_shift: float = 0.3
    thickness: dict[str, float] = field(default_factory=lambda: dict(_THICKNESS))


class BodyFitter:
    """Fits one body model. Threads may share it."""

    def __init__(self, model: BodyModel, config: BodyFitConfig | None = None) -> None:
        self.model = model
        self.config = config or BodyFitConfig()
        self._arrays = BodyArrays(model)
        self._samples = SurfaceSamples(model, self.config.samples)
        self._parts = vertex_parts(model)
        by_part = np.array([self.config.thickness[name.removeprefix("l_").removeprefix("r_")] for name in JOINT_NAMES])
        self._thickness = by_part[self._parts]  # [V]

    def fit(
        self,
        problem: FitProblem,
        scene: Scene,
        start: BodyState | None = None,
        obstacles: Sequence[np.ndarray] = (),
        extra: Sequence[ExtraTerm] = (),
    ) -> BodyFit:
        """The body that explains the evidence best.

        Args:
            problem: the person.
            scene: everything else in the frame.
            start: where to begin; None: from the guess or the expectation, whichever is better.
            obstacles: [V, 3] vertices of bodies that must not be entered.
            extra: further terms.
        """
        work = _Work(self, problem)
        state = start or problem.guess.state
        rotations, betas, trans = rotvec_to_matrix(state.pose), state.betas.copy(), state.trans.copy()
        config = self.config
        for i in range(config.iterations + 1):
            progress = min(1.0, i / max(config.iterations - 1, 1))
            matrix, gradient, energy = work.equations(rotations, betas, trans, progress)
            if i == config.iterations:
                break
            damped = matrix + config.damping * np.diag(1.0 + 1e-3 * np.diag(matrix))
            step = -scipy.linalg.solve(damped, gradient, assume_a="pos")
            turns = float(np.linalg.norm(step[:72].reshape(24, 3), axis=1).max())
            shift = float(np.linalg.norm(step[TRANSLATION]))
            step *= min(1.0, config.max_turn / max(turns, 1e-9), config.max_shift / max(shift, 1e-9))
            rotations = rotations @ rotvec_to_matrix(step[:72].reshape(24, 3))
            betas = np.clip(betas + step[BETAS], -4.0, 4.0)
            trans = trans + step[TRANSLATION]
        return work.result(rotations, betas, trans, matrix, energy)


class _Work:
    """One person's fit in one frame."""

    def __init__(self, fitter: BodyFitter, problem: FitProblem) -> None:
        self.fitter, self.problem = fitter, problem
        evidence = problem.evidence
        good = np.isfinite(evidence.points).all(axis=1) & (evidence.points[:, 2] > 0.0)
        self.points = np.ascontiguousarray(evidence.points[good], np.float64)
        self.normals = np.ascontiguousarray(evidence.normals[good], np.float64)
        self.vertices = evidence.vertices[good].astype(np.int64)
        self.likelihood = evidence.likelihood[good].astype(np.float64)
        self.similarity = evidence.similarity[good].astype(np.float64)
        self.known = (self.normals**2).sum(axis=1) > 0.25
        self.share = fitter.config.measurements / max(len(self.points), fitter.config.measurements)
        self.points32, self.normals32 = self.points.astype(np.float32), self.normals.astype(np.float32)
        self.places = np.asarray(fitter.model.v_template, np.float32)[self.vertices]
        self.guess_rotations = rotvec_to_matrix(problem.guess.state.pose)
        guess_world = self.guess_rotations.copy()
        for j in range(1, 24):
            guess_world[j] = guess_world[PARENTS[j]] @ guess_world[j]
        self.guess_world = guess_world

    def equations(
        self, rotations: np.ndarray, betas: np.ndarray, trans: np.ndarray, progress: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Normal matrix [85, 85], gradient [85] and energy at a state."""
        fitter, config, arrays = self.fitter, self.fitter.config, self.fitter._arrays
        skeleton = pose_skeleton(rotations, betas, trans, arrays.j_template, arrays.j_shapedirs, arrays.parents)
        rest, world, joints, by_shape = skeleton
        equations = empty_equations()
        energy = 0.0
        if len(self.points):
            if config.correspondence > 0:
                energy += self._add_correspondences(rotations, betas, skeleton, equations, progress)
            if config.surface > 0:
                energy += self._add_surface(rotations, betas, skeleton, equations, progress)
        guess = self.problem.guess
        if config.joints > 0:
            precision = config.joints / np.square(guess.joint_sigma.astype(np.float64))
            targets = guess.joints.astype(np.float64)
            energy += 0.5 * float((precision * np.square(joints - targets).sum(axis=1)).sum())
            add_joints(targets, precision, joints, by_shape, arrays.parents, *equations)
        if config.rotations > 0:
            precision = np.full(24, config.rotations / config.rotation_sigma**2)
            energy += add_world_rotations(
                self.guess_world, precision, config.rotation_scale, world, equations[0], equations[3]
            )
        matrix, gradient = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
        to_parameters(*equations, world, joints, arrays.parents, matrix, gradient)
        if config.limits > 0:
            energy += add_joint_limits(config.limits, matrix_to_rotvec(rotations), matrix, gradient)
        if config.shape > 0:
            matrix[BETAS, BETAS] += config.shape * np.eye(10)
            gradient[BETAS] += config.shape * betas
            energy += 0.5 * config.shape * float(betas @ betas)
        return matrix, gradient, energy

    def _add_correspondences(self, rotations, betas, skeleton, equations, progress):
        config, arrays = self.fitter.config, self.fitter._arrays
        rest, world, joints, by_shape = skeleton
        ids = self.vertices
        local, points, normals = np.empty((len(ids), 3)), np.empty((len(ids), 3)), np.empty((len(ids), 3))
        pose_vertices(ids, rotations, betas, rest, world, joints, *arrays.skin, local, points)
        turn_normals(ids, self.fitter._samples.rest_normals, world, arrays.skin_indices, arrays.skin_weights, normals)
        errors = points + self.fitter._thickness[ids, None] * normals - self.points
        squared = (errors**2).sum(axis=1)
        first, last = config.correspondence_scale
        relax = 1.0 / (1.0 + squared / (first * (last / first) ** progress) ** 2)
        weight = self.share * config.correspondence * self.likelihood / config.correspondence_sigma**2
        add_points(
            ids, local, errors, normals, np.zeros(len(ids)), weight * relax**2, rest, world, joints, by_shape,
            arrays.skin_indices, arrays.skin_weights, arrays.shapedirs, arrays.j_shapedirs, *equations,
        )  # fmt: skip
        return 0.5 * float((weight * squared * relax).sum())

    def _matched(self, rotations, betas, skeleton):
        config, arrays, samples = self.fitter.config, self.fitter._arrays, self.fitter._samples
        rest, world, joints, _ = skeleton
        ids = samples.ids
        local, points, normals = np.empty((len(ids), 3)), np.empty((len(ids), 3)), np.empty((len(ids), 3))
        pose_vertices(ids, rotations, betas, rest, world, joints, *arrays.skin, local, points)
        turn_normals(ids, samples.rest_normals, world, arrays.skin_indices, arrays.skin_weights, normals)
        thickness = self.fitter._thickness[ids]
        best = np.empty(len(self.points), np.int64)
        match(
            self.points32, self.normals32, self.places, points.astype(np.float32), normals.astype(np.float32),
            samples.rest, thickness.astype(np.float32), config.facing, config.placing, config.most_place, best,
        )  # fmt: skip
        return best, local, points, normals, thickness

    def _add_surface(self, rotations, betas, skeleton, equations, progress):
        config, arrays, samples = self.fitter.config, self.fitter._arrays, self.fitter._samples
        rest, world, joints, by_shape = skeleton
        best, local, points, normals, thickness = self._matched(rotations, betas, skeleton)
        there = best >= 0
        if not there.any():
            return 0.0
        best = np.maximum(best, 0)
        errors = points[best] + thickness[best, None] * normals[best] - self.points
        directions = normals[best] + self.normals
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions = np.where((self.known)[:, None], directions, normals[best])
        along = (errors * directions).sum(axis=1)
        flat = config.point_to_point
        squared = (1.0 - flat) * along**2 + flat * (errors**2).sum(axis=1)
        first, last = config.surface_scale
        relax = 1.0 / (1.0 + squared / (first * (last / first) ** progress) ** 2)
        sigma = config.surface_sigma + config.surface_growth * self.points[:, 2] ** 2
        weight = self.share * config.surface * self.likelihood * there / sigma**2
        add_points(
            samples.ids[best], local[best], errors, directions, (1.0 - flat) * weight * relax**2,
            flat * weight * relax**2, rest, world, joints, by_shape, arrays.skin_indices, arrays.skin_weights,
            arrays.shapedirs, arrays.j_shapedirs, *equations,
        )  # fmt: skip
        return 0.5 * float((weight * squared * relax).sum())

    def result(self, rotations, betas, trans, matrix, energy) -> BodyFit:
        """What is said of the fitted body."""
        fitter, config, arrays = self.fitter, self.fitter.config, self.fitter._arrays
        skeleton = pose_skeleton(rotations, betas, trans, arrays.j_template, arrays.j_shapedirs, arrays.parents)
        rest, world, joints, by_shape = skeleton
        residual, explained = np.nan, 0.0
        if len(self.points):
            best, _, points, normals, thickness = self._matched(rotations, betas, skeleton)
            if (best >= 0).all():
                along = np.abs(
                    ((points[best] + thickness[best, None] * normals[best] - self.points) * normals[best]).sum(axis=1)
                )
                residual, explained = float(np.median(along)), float((along < config.close).mean())
        variance = np.square(self.problem.guess.joint_sigma.astype(np.float64))
        return BodyFit(
            state=BodyState(betas, matrix_to_rotvec(rotations), trans),
            information=matrix,
            energy=energy,
            residual=residual,
            explained=explained,
            joints=joints,
            joint_covariance=variance[:, None, None] * np.eye(3),
            root_covariance=np.eye(6) * variance[0],
            joint_seen=np.isin(np.arange(24), self.problem.evidence.parts).astype(np.float32),
        )
