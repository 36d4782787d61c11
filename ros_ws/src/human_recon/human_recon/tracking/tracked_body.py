"""One tracked body: its motion and its shape, measured by fits and predicted in between."""

from __future__ import annotations

import numpy as np

from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.fitting.kinematics import BETAS, PARAMETERS, ROTATIONS
from human_recon.geometry.rotations import rotvecs_to_matrices, turned
from human_recon.tracking.kernels import joints_and_slope, spread, vectors
from human_recon.tracking.motion_filter import DOF, PELVIS, MotionConfig, MotionFilter, solved
from human_recon.tracking.shape_filter import ShapeConfig, ShapeFilter

_POSE = np.r_[0:72, 82:85]  # of a fit's parameters: rotations and translation

# Over time a fit and its past agree on what both get wrong, so that it is less certain than it says: factor of the
# covariances, from two sequences of `human-recon simulate` (test split, scenarios cross and mixed).
_LASTING = 1.8
_MOST_STEP = 0.3  # radians and metres by which another shape may move a pose


class BodyGeometry:
    """What tracking needs of a body model."""

    def __init__(self, model: BodyModel) -> None:
        self.model = model
        self.parents = np.asarray(model.parents, np.int64)
        self._stature = stature(model, np.zeros(10))
        self.pelvis_slope = np.asarray(model.j_shapedirs[0], np.float64)  # [3, 10] metres per unit of each beta
        self.stature_slope = np.array([stature(model, row) - self._stature for row in np.eye(10)])

    def stature(self, betas: np.ndarray) -> float:
        """Metres, to first order."""
        return self._stature + float(self.stature_slope @ betas)

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """[24, 3] metres, in the rest pose."""
        return self.model.j_template + self.model.j_shapedirs @ betas

    def rest_pelvis(self, betas: np.ndarray) -> np.ndarray:
        """[3] metres, the pelvis of a body with translation 0."""
        return self.model.j_template[0] + self.pelvis_slope @ betas


class TrackedBody:
    """Mutable; one caller at a time."""

    def __init__(
        self, geometry: BodyGeometry, motion: MotionConfig, shape: ShapeConfig, trust: float, fit: BodyFit
    ) -> None:
        """``trust``: the weight that a frame has in a fit over the information that the fit states, as a ratio."""
        self._geometry = geometry
        self._trust = trust
        self.shape = ShapeFilter(shape, geometry.stature_slope)
        self._update_shape(fit, fit.information, None, 0.0)
        self.motion = MotionFilter(motion, *self._pose(fit, fit.information))
        self._fitted(fit)

    @property
    def state(self) -> BodyState:
        """Now."""
        betas = self.shape.betas
        trans = self.motion.pelvis - self._geometry.rest_pelvis(betas)
        return BodyState(betas.copy(), vectors(self.motion.rotations), trans)

    @property
    def joints(self) -> np.ndarray:
        """[24, 3] metres."""
        return self._linearised[0]

    @property
    def joint_covariance(self) -> np.ndarray:
        """[24, 3, 3]: that of the last fit, and what time has added since."""
        result = self._lasting * self._fit.joint_covariance
        grown = np.maximum(self.motion.variance - self._variance, 0.0)
        return result + spread(self._linearised[1], grown) if grown.any() else result

    @property
    def joint_sigma(self) -> np.ndarray:
        """[24] metres per axis."""
        return np.sqrt(np.trace(self.joint_covariance, axis1=1, axis2=2) / 3.0)

    @property
    def root_covariance(self) -> np.ndarray:
        """[6, 6] position and turn of the pelvis, camera frame."""
        grown = np.maximum(self.motion.variance - self._variance, 0.0)
        turn = self.motion.rotations[0]
        result = self._lasting * self._fit.root_covariance
        result[:3, :3] += np.diag(grown[PELVIS])
        result[3:, 3:] += turn @ np.diag(grown[:3]) @ turn.T
        return result

    @property
    def velocity(self) -> np.ndarray:
        """[6] of the pelvis, m/s and rad/s, camera frame."""
        return np.concatenate([self.motion.velocity[PELVIS], self.motion.rotations[0] @ self.motion.velocity[:3]])

    @property
    def velocity_covariance(self) -> np.ndarray:
        """[6, 6]."""
        turn = self.motion.rotations[0]
        result = np.zeros((6, 6))
        result[:3, :3] = np.diag(self.motion.velocity_variance[PELVIS])
        result[3:, 3:] = turn @ np.diag(self.motion.velocity_variance[:3]) @ turn.T
        return result

    def expectation(self) -> Expectation:
        """What a fit should expect now."""
        variance = self.motion.variance
        told = self.motion.config.told
        return Expectation(
            state=self.state,
            pose_sigma=told * np.sqrt(variance[:72].reshape(24, 3).mean(axis=1)),
            root_sigma=told * float(np.sqrt(variance[PELVIS].mean())),
            betas_information=self.shape.information.copy(),
            shape_locked=self.shape.locked,
        )

    def predict(self, seconds: float) -> None:
        """Move on."""
        self.motion.predict(seconds)
        self._changed()

    def update(self, fit: BodyFit, expected: Expectation | None, seconds: float) -> None:
        """Take in a fit that was given an expectation, ``seconds`` after the last one."""
        information = fit.information - told_information(self._geometry, expected)
        self._update_shape(fit, information, expected, seconds)
        self.motion.update(*self._pose(fit, information))
        self._fitted(fit, _LASTING if expected is not None else 1.0)

    def restart(self, other: TrackedBody) -> None:
        """Be where ``other`` is, who turned out to be the same person."""
        self.motion = other.motion
        self._fitted(other._fit)

    def _fitted(self, fit: BodyFit, lasting: float = 1.0) -> None:
        self._fit = fit  # the last one
        self._lasting = lasting
        self._variance = self.motion.variance  # at the time of that fit
        self._changed()

    def _update_shape(
        self, fit: BodyFit, information: np.ndarray, expected: Expectation | None, seconds: float
    ) -> None:
        """Tell the shape filter what the frame itself says of the betas: the fit's word without what it was told."""
        if self.shape.locked or (expected is not None and expected.shape_locked):
            return
        coupling = information[_POSE, BETAS]
        try:
            explained = coupling.T @ solved(fit.information[np.ix_(_POSE, _POSE)], coupling)
        except np.linalg.LinAlgError:
            return
        own = information[BETAS, BETAS] - explained
        vector = own @ fit.state.betas
        if expected is not None:
            # The fitted betas lie between the frame's and those told, and in the fit the frame has more weight.
            vector = vector + expected.betas_information @ (fit.state.betas - expected.state.betas) / self._trust
        self.shape.update(own, vector, seconds)

    def _pose(self, fit: BodyFit, information: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pose of a fit, had it the track's shape, and the weight [75, 75] that the frame had in it."""
        change = self.shape.betas - fit.state.betas
        pelvis = fit.state.trans + self._geometry.rest_pelvis(fit.state.betas)
        rotations = rotvecs_to_matrices(np.asarray(fit.state.pose, np.float64))
        if np.abs(change).max() > 1e-9:
            # The filter has the pelvis where the fit has the translation: trans = pelvis - rest pelvis of the betas.
            whole = fit.information[np.ix_(_POSE, _POSE)]
            coupling = fit.information[_POSE, BETAS] - whole[:, PELVIS] @ self._geometry.pelvis_slope
            try:
                step = -solved(whole, coupling @ change)
            except np.linalg.LinAlgError:
                step = np.zeros(DOF)
            size = np.abs(step).max()
            step *= min(1.0, _MOST_STEP / max(size, 1e-12))
            pelvis = pelvis + step[PELVIS]
            rotations = turned(rotations, step[:72])
        return pelvis, rotations, self._trust * information[np.ix_(_POSE, _POSE)]

    def _changed(self) -> None:
        self._cached: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def _linearised(self) -> tuple[np.ndarray, np.ndarray]:
        """Joints [24, 3] and their slope [24, 3, 75] by the filter's degrees of freedom."""
        if self._cached is None:
            geometry = self._geometry
            rest = geometry.rest_joints(self.shape.betas)
            self._cached = joints_and_slope(self.motion.rotations, self.motion.pelvis, rest, geometry.parents)
        return self._cached


def told_information(geometry: BodyGeometry, expected: Expectation | None) -> np.ndarray:
    """[85, 85] of a fit's information, what an expectation added: it draws the pelvis, not the translation."""
    result = np.zeros((PARAMETERS, PARAMETERS))
    if expected is None:
        return result
    diagonal = np.einsum("ii->i", result)
    diagonal[ROTATIONS] = np.repeat(1.0 / np.square(expected.pose_sigma), 3)
    place = np.concatenate([geometry.pelvis_slope, np.eye(3)], axis=1)  # [3, 13] by betas and translation
    result[72:, 72:] = place.T @ place / expected.root_sigma**2
    result[BETAS, BETAS] += expected.betas_information
    return result
