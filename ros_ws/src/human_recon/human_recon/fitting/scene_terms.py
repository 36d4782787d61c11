"""The terms that know of more than one person's evidence: free space, other bodies, the body itself, the floor.

A fitter holds one :class:`SceneTerms` and asks it for each person's terms:

    terms = scene_terms.of(problem, scene, obstacles)
    for term in terms:
        residuals = term.residuals(state, posed.vertices)

A term that its weight switches off is not in the list, and one that has nothing to say returns no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.fitting.body_fit import FitProblem, Scene
from human_recon.fitting.contact import BallBody, Contact, ContactConfig, SelfContact
from human_recon.fitting.floor_contact import FloorConfig, FloorContact
from human_recon.fitting.free_space import FreeSpace, FreeSpaceConfig
from human_recon.fitting.kinematics import BodyKinematics
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
        self.body = BallBody(kinematics)
        self._free_space = FreeSpace(kinematics, self.config.free_space, self.config.free_space_weight)
        self._self_contact = SelfContact(self.body, self.config.contact, self.config.self_contact_weight)
        self._floor = FloorContact(kinematics, self.config.floor, self.config.floor_weight)

    def of(self, problem: FitProblem, scene: Scene, obstacles: Sequence[np.ndarray] = ()) -> tuple[Term, ...]:
        """The terms of one person.

        Args:
            problem: the person.
            scene: the frame and everybody's pixels.
            obstacles: vertices [V, 3] of bodies that must not be entered.
        """
        config = self.config
        terms: list[Term] = []
        if config.free_space_weight > 0.0:
            terms.append(self._free_space.of(problem.person, scene))
        if config.self_contact_weight > 0.0:
            terms.append(self._self_contact)
        if config.contact_weight > 0.0:
            terms += [
                Contact(self.body, self.body.balls(obstacle), config.contact, config.contact_weight)
                for obstacle in obstacles
            ]
        if config.floor_weight > 0.0 and scene.floor is not None:
            terms.append(self._floor.of(scene.floor))
        return tuple(terms)
