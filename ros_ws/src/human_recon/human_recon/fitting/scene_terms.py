"""The terms that know of more than one person's evidence: free space, other bodies, the body itself, the floor.

Made once per body model, asked once per person and frame, and called with every state that the fit tries:

    extra = scene_terms.of(problem, scene, obstacles)
    residuals = extra(state)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.state import BodyState
from human_recon.fitting.body_fit import FitProblem, Scene
from human_recon.fitting.contact import BallBody, Contact, ContactConfig, SelfContact
from human_recon.fitting.floor_contact import FloorConfig, FloorContact
from human_recon.fitting.free_space import FreeSpace, FreeSpaceConfig
from human_recon.fitting.kinematics import BodyKinematics
from human_recon.fitting.residuals import Residuals
from human_recon.fitting.terms import Term


@dataclass(frozen=True)
class SceneTermsConfig:
    """Weights of the terms (0: not computed) and their lengths."""

    free_space_weight: float = 1.0
    contact_weight: float = 1.0
    self_contact_weight: float = 1.0
    floor_weight: float = 1.0
    free_space: FreeSpaceConfig = field(default_factory=FreeSpaceConfig)
    contact: ContactConfig = field(default_factory=ContactConfig)
    floor: FloorConfig = field(default_factory=FloorConfig)


class SceneTerms:
    """Makes the terms of one body model. Threads may share it."""

    def __init__(self, kinematics: BodyKinematics, config: SceneTermsConfig | None = None) -> None:
        self.config = config or SceneTermsConfig()
        self.balls = BallBody(kinematics)
        self._model = kinematics.model
        self._free_space = FreeSpace(kinematics, self.config.free_space, self.config.free_space_weight)
        self._self_contact = SelfContact(self.balls, self.config.contact, self.config.self_contact_weight)
        self._floor = FloorContact(kinematics, self.config.floor, self.config.floor_weight)

    def of(
        self, problem: FitProblem, scene: Scene, obstacles: Sequence[np.ndarray] = ()
    ) -> Callable[[BodyState], Residuals]:
        """All terms of one person, as one function of the body's state.

        Args:
            problem: the person.
            scene: the frame and everybody's pixels.
            obstacles: vertices [V, 3] of bodies that must not be entered.
        """
        terms = self.terms(problem.person, scene, obstacles)

        def together(state: BodyState) -> Residuals:
            if not terms:
                return Residuals.nothing()
            vertices = pose_body(self._model, state).vertices
            parts = [term.residuals(state, vertices) for term in terms]
            return Residuals(
                np.concatenate([part.rows for part in parts]),
                np.concatenate([part.values for part in parts]),
                sum(part.energy for part in parts),
            )

        return together

    def terms(self, person: int, scene: Scene, obstacles: Sequence[np.ndarray] = ()) -> tuple[Term, ...]:
        """Those whose weight is not 0, one by one; ``person`` is the index in ``scene.owner``."""
        config = self.config
        terms: list[Term] = []
        if config.free_space_weight > 0.0:
            terms.append(self._free_space.of(person, scene))
        if config.self_contact_weight > 0.0:
            terms.append(self._self_contact)
        if config.contact_weight > 0.0:
            terms += [
                Contact(self.balls, self.balls.balls(obstacle), config.contact, config.contact_weight)
                for obstacle in obstacles
            ]
        if config.floor_weight > 0.0 and scene.floor is not None:
            terms.append(self._floor.of(scene.floor))
        return tuple(terms)
