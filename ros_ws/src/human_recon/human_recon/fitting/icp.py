"""SMPL registered to one person's depth by iterated closest points.

Seed 000's objective: scan-to-mesh plus mesh-to-scan distance, a pose prior and a shape prior, minimised over pose,
shape and translation. What a single depth view adds:

- only the part of the mesh that the camera sees may explain a measurement (z-buffer visibility);
- a visible vertex in front of measured background contradicts the free space in front of that background, and is drawn
  sideways into the person's mask; one behind another person or in front of no reading costs nothing;
- measurements that the body does not cover draw its outline towards them: flat backs and chests would slide sideways
  at no cost under point-to-plane distances alone;
- nothing sinks into the floor, and somebody stands on it;
- the skin lies some millimetres inside what is measured: people wear clothes, hair and shoes.

Distances are point-to-plane with the mean of the two surfaces' normals (Rusinkiewicz, A Symmetric Objective Function
for ICP, SIGGRAPH 2019), with a weak point-to-point part against sliding, under a Geman-McClure robustifier whose scale
shrinks as the fit converges. Steps are damped Gauss-Newton with the analytic derivatives of
`human_recon.fitting.kinematics`. Closest points have many local minima (seed 000, "Limitations of ICP"), so several
starting poses are tried, among them every heading around the compass because a front looks like a back in depth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg

from human_recon.body.lbs import pose_body
from human_recon.body.measure import stature
from human_recon.body.state import BodyState
from human_recon.fitting.correspondence import MatchConfig, Matcher, Matches
from human_recon.fitting.kinematics import (
    PARAMETERS,
    ROTATIONS,
    TRANSLATION,
    BodyKinematics,
    Linearisation,
    retract,
)
from human_recon.fitting.observation import Observation
from human_recon.fitting.priors import PoseMixture, joint_limit_residuals, shape_residuals
from human_recon.fitting.residuals import Residuals
from human_recon.fitting.starts import LIMBS, limb_poses, seated_pose, standing_pose
from human_recon.geometry.plane import Plane
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.geometry.signed_distance import penetration


@dataclass(frozen=True)
class IcpConfig:
    """Weights and lengths of the registration; metres and radians."""

    headings: int = 8  # starting headings around the compass
    finalists: int = 4  # starts that are refined
    coarse_iterations: int = 12
    fine_iterations: int = 20
    limb_iterations: int = 8  # from each pose that a limb is tried in
    tracking_iterations: int = 10  # from the previous frame
    acceptance: float = 1.3  # a tracked fit may be this much worse than the person's fits were
    coarse_points: int = 200  # correspondences in each direction
    fine_points: int = 600
    matching: MatchConfig = field(default_factory=MatchConfig)
    sigma: float = 0.015  # of a measurement, clothing included, at 1 m ...
    sigma_growth: float = 0.0025  # ... growing with the square of the depth
    robust_start: float = 0.25  # Geman-McClure scale: where a search begins ...
    robust_limb: float = 0.15  # where a limb is tried elsewhere ...
    robust_fine: float = 0.12  # where the refinement takes over ...
    robust_end: float = 0.06  # and where energies are compared
    point_to_point: float = 0.15  # share of the isotropic part
    pose_weight: float = 0.6
    shape_weight: float = 1.0
    silhouette_sigma: float = 0.02
    shoes: float = 0.02  # the floor lies under the soles by this much
    floor_sigma: float = 0.01
    penetration_sigma: float = 0.004
    damping: float = 0.5
    max_turn: float = 0.35  # of one joint in one iteration
    max_shift: float = 0.25


@dataclass(frozen=True)
class Fit:
    """A registered body."""

    state: BodyState
    energy: float  # of all terms at the final correspondences, in units of one standard deviation squared / 2
    information: np.ndarray  # [85, 85] normal matrix: inverse covariance of a step


class IcpFitter:
    """Registers one body model to observations."""

    def __init__(self, kinematics: BodyKinematics, prior: PoseMixture, config: IcpConfig | None = None) -> None:
        self.kinematics = kinematics
        self.model = kinematics.model
        self.prior = prior
        self.config = config or IcpConfig()
        self._matcher = Matcher(self.model, self.config.matching)
        foot = np.isin(np.argmax(self.model.weights, axis=1), (7, 8, 10, 11))
        left = self.model.v_template[:, 0] > 0
        self._feet = (np.flatnonzero(foot & left), np.flatnonzero(foot & ~left))

    # -- public ------------------------------------------------------------------------------------------------------

    def search(self, observation: Observation) -> Fit:
        """Register from scratch."""
        config = self.config
        coarse = [
            self._iterate(
                start,
                observation,
                config.coarse_iterations,
                config.coarse_points,
                config.robust_start,
                config.robust_fine,
            )
            for start in self.starting_states(observation)
        ]
        coarse.sort(key=lambda f: f.energy)
        fine = [self.refine(fit.state, observation) for fit in coarse[: config.finalists]]
        return self._retry_limbs(min(fine, key=lambda f: f.energy), observation, 0.0)

    def track(self, observation: Observation, previous: BodyState, expected_energy: float) -> Fit:
        """Register from the same person's recent state; search further as long as the fit is worse than expected."""
        config = self.config
        fit = self.refine(previous, observation, iterations=config.tracking_iterations)
        accepted = config.acceptance * expected_energy
        if fit.energy > accepted:
            fit = self._retry_limbs(fit, observation, accepted)
        if fit.energy > accepted:
            fit = min(fit, self.search(observation), key=lambda f: f.energy)
        return fit

    def refine(
        self,
        state: BodyState,
        observation: Observation,
        obstacles: Iterable[np.ndarray] = (),
        iterations: int | None = None,
    ) -> Fit:
        """Converge from a nearby state, keeping out of ``obstacles`` (vertices [V, 3] of other bodies)."""
        config = self.config
        return self._iterate(
            state,
            observation,
            iterations or config.fine_iterations,
            config.fine_points,
            config.robust_fine,
            config.robust_end,
            tuple(obstacles),
        )

    def starting_states(self, observation: Observation) -> list[BodyState]:
        """Standing (or, for low heads, seated) bodies of fitting stature at every heading."""
        config = self.config
        up = observation.up
        top = float(observation.head @ up)
        ground = -observation.floor.offset if observation.floor is not None else None
        tall = top - ground if ground is not None else None
        seated = tall is not None and tall < 1.42
        betas = self._betas_for_stature(tall) if tall is not None and not seated else np.zeros(10)
        centre = np.median(observation.points, axis=0)
        sight = centre - (centre @ up) * up
        sight /= max(float(np.linalg.norm(sight)), 1e-9)
        # Body axes in the camera frame at heading 0, facing the camera: y up, z towards the camera.
        toward = np.stack([np.cross(up, -sight), up, -sight], axis=1)
        states = []
        for k in range(config.headings):
            turn = rotvec_to_matrix(np.array([0.0, 2.0 * np.pi * k / config.headings, 0.0]))
            pose = seated_pose() if seated else standing_pose()
            pose[0] = matrix_to_rotvec(toward @ turn)
            body = pose_body(self.model, BodyState(betas, pose, np.zeros(3)))
            # Top of the head at the measured top; the seen surface lies about 10 cm in front of the body's middle.
            middle = body.vertices.mean(0)
            trans = centre + 0.10 * sight - middle
            trans += (top - float(((body.vertices + trans) @ up).max())) * up
            states.append(BodyState(betas, pose, trans))
        return states

    def joint_sigma(self, fit: Fit) -> np.ndarray:
        """Standard deviation [24] of each joint's position, metres, averaged over directions."""
        joints = self.kinematics.joints(fit.state).jacobian
        covariance = scipy.linalg.inv(fit.information + 1e-9 * np.eye(PARAMETERS))
        return np.sqrt(np.einsum("jap,pq,jaq->j", joints, covariance, joints) / 3.0)

    def _retry_limbs(self, fit: Fit, observation: Observation, enough: float) -> Fit:
        """Start legs and arms again from other poses, until the energy is below ``enough``.

        No closest point leads a limb out of the wrong place, or the left leg out of the right leg's.
        """
        config = self.config
        for limb in LIMBS:
            if fit.energy < enough:
                break
            tries = [
                self._iterate(
                    replace(fit.state, pose=pose),
                    observation,
                    config.limb_iterations,
                    config.coarse_points,
                    config.robust_limb,
                    config.robust_end,
                )
                for pose in limb_poses(fit.state.pose, limb)
            ]
            best = self.refine(min(tries, key=lambda f: f.energy).state, observation)
            if best.energy < fit.energy:
                fit = best
        return fit

    # -- one iteration -----------------------------------------------------------------------------------------------

    def _iterate(
        self,
        state: BodyState,
        observation: Observation,
        iterations: int,
        points: int,
        robust_start: float,
        robust_end: float,
        obstacles: tuple[np.ndarray, ...] = (),
    ) -> Fit:
        config = self.config
        for i in range(iterations + 1):
            progress = i / max(iterations - 1, 1)
            robust = robust_start * (robust_end / robust_start) ** min(progress, 1.0)
            normal_matrix, gradient, energy = self._linear_system(state, observation, points, robust, obstacles)
            if i == iterations:
                break
            damped = normal_matrix + config.damping * np.diag(1.0 + 1e-2 * np.diag(normal_matrix))
            step = -scipy.linalg.solve(damped, gradient, assume_a="pos")
            turns = float(np.linalg.norm(step[ROTATIONS].reshape(24, 3), axis=1).max())
            shift = float(np.linalg.norm(step[TRANSLATION]))
            step *= min(1.0, config.max_turn / max(turns, 1e-9), config.max_shift / max(shift, 1e-9))
            state = retract(state, step)
            state = replace(state, betas=np.clip(state.betas, -4.0, 4.0))
        return Fit(state, energy, normal_matrix)

    def _linear_system(
        self,
        state: BodyState,
        observation: Observation,
        points: int,
        robust: float,
        obstacles: tuple[np.ndarray, ...],
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Normal matrix [85, 85], gradient [85] and energy of all terms at the closest points of ``state``."""
        config = self.config
        posed = pose_body(self.model, state)
        vertices = posed.vertices.astype(np.float64)
        matches = self._matcher.match(vertices, observation, points)
        terms = [
            self.prior.residuals(state, config.pose_weight),
            shape_residuals(state, config.shape_weight),
            joint_limit_residuals(state),
        ]
        ids = np.concatenate([matches.vertex_ids, matches.outside_ids])
        terms.append(self._data_residuals(self.kinematics.surface(state, ids), matches, robust))
        if observation.floor is not None:
            terms.append(self._floor_residuals(state, vertices, observation.floor))
        terms += [self._penetration_residuals(state, vertices, obstacle) for obstacle in obstacles]
        rows = np.concatenate([term.rows for term in terms])
        values = np.concatenate([term.values for term in terms])
        return rows.T @ rows, rows.T @ values, sum(term.energy for term in terms)

    def _data_residuals(self, linear: Linearisation, matches: Matches, robust: float) -> Residuals:
        """The correspondences and the outline, robustly weighted."""
        config = self.config
        count = len(matches.vertex_ids)
        difference = linear.points[:count] - matches.targets
        jacobian = linear.jacobian[:count]
        sigma = config.sigma + config.sigma_growth * matches.targets[:, 2] ** 2
        along = (difference * matches.normals).sum(-1)
        squared = (1.0 - config.point_to_point) * along**2 + config.point_to_point * (difference**2).sum(-1)
        # Geman-McClure r^2 / (1 + r^2 / c^2): the weight of its quadratic approximation.
        relax = 1.0 / (1.0 + squared / robust**2)
        weight = matches.weights * relax**2 / sigma**2
        # Both distances at once: the square root of (1 - p) n n^T + p I is (1 - sqrt p) n n^T + sqrt p I.
        scale, root = np.sqrt(weight), np.sqrt(config.point_to_point)
        plane = (scale * (1.0 - root))[:, None] * matches.normals
        rows = (scale * root)[:, None, None] * jacobian
        rows += plane[:, :, None] * np.einsum("ma,map->mp", matches.normals, jacobian)[:, None, :]
        values = (scale * root)[:, None] * difference + plane * along[:, None]
        energy = 0.5 * float((matches.weights * squared * relax / sigma**2).sum())

        # A shift in the image, at the vertex' own depth.
        outside = linear.points[count:] - matches.outside_targets
        lateral = outside[:, :2]
        outside_squared = (lateral**2).sum(-1)
        outside_relax = 1.0 / (1.0 + outside_squared / (2.0 * robust) ** 2)
        outside_weight = matches.outside_weights * outside_relax**2 / config.silhouette_sigma**2
        outside_rows = np.sqrt(outside_weight)[:, None, None] * linear.jacobian[count:, :2]
        energy += (
            0.5 * float((matches.outside_weights * outside_squared * outside_relax).sum()) / config.silhouette_sigma**2
        )

        rows = np.concatenate([rows.reshape(-1, PARAMETERS), outside_rows.reshape(-1, PARAMETERS)])
        values = np.concatenate([values.ravel(), (np.sqrt(outside_weight)[:, None] * lateral).ravel()])
        return Residuals(rows, values, energy)

    def _floor_residuals(self, state: BodyState, vertices: np.ndarray, floor: Plane) -> Residuals:
        """Soles do not sink into the floor; the lower one stands on it."""
        heights = [floor.height(vertices[foot]) for foot in self._feet]
        soles = np.array([foot[np.argmin(height)] for foot, height in zip(self._feet, heights, strict=True)])
        sole_heights = np.array([height.min() for height in heights]) - self.config.shoes
        lower = int(np.argmin(sole_heights))
        active = [i for i in range(2) if sole_heights[i] < 0.0 or i == lower]
        linear = self.kinematics.surface(state, soles[active])
        values = sole_heights[active] / self.config.floor_sigma
        rows = np.einsum("a,map->mp", floor.normal, linear.jacobian) / self.config.floor_sigma
        # Somebody on a stool or in mid-jump: the pull fades beyond a hand's breadth.
        fade = np.where(values > 0, 1.0 / (1.0 + (sole_heights[active] / 0.10) ** 2), 1.0)
        return Residuals.quadratic(fade[:, None] * rows, fade * values)

    def _penetration_residuals(self, state: BodyState, vertices: np.ndarray, obstacle: np.ndarray) -> Residuals:
        """Vertices inside another body are pushed to where they would leave it."""
        inside, depth, exits = penetration(vertices, obstacle, self.model.faces)
        if len(inside) == 0:
            return Residuals.nothing()
        keep = np.argsort(-depth)[:150]
        inside, depth, exits = inside[keep], depth[keep], exits[keep]
        direction = (exits - vertices[inside]) / np.maximum(depth, 1e-6)[:, None]
        linear = self.kinematics.surface(state, inside)
        scale = np.sqrt(min(1.0, 40.0 / len(inside))) / self.config.penetration_sigma
        return Residuals.quadratic(scale * np.einsum("ma,map->mp", direction, linear.jacobian), -scale * depth)

    def _betas_for_stature(self, target: float) -> np.ndarray:
        """The most probable shape [10] of a given stature, to first order."""
        base = stature(self.model, np.zeros(10))
        slope = np.array([stature(self.model, np.eye(10)[k]) - base for k in range(10)])
        betas = slope * (target - base) / float(slope @ slope)
        return np.clip(betas, -3.0, 3.0)
