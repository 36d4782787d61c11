"""One surface per tracked person, deformed to every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.people import Person, TemplateMesh
from human_recon.perception.evidence import Evidence
from human_recon.template.surface import Template, body_template, pose_template


@dataclass(frozen=True)
class TemplateConfig:
    """Settings of template tracking."""

    # none: no templates. smpl: the body's own surface. smpl+d: the same with what is learned of clothes and hair.
    surface: Literal["none", "smpl", "smpl+d"] = "none"
    file: str = ""  # a template made by `human-recon rig`, for everybody who has not been given another


class TemplateTracker:
    """The templates of the people who are tracked. One caller at a time."""

    def __init__(self, model: BodyModel, config: TemplateConfig | None = None) -> None:
        """Raises ModelFileError when ``config.file`` cannot be used."""
        self.model = model
        self.config = config or TemplateConfig()
        self._own: dict[int, Template] = {}

    @property
    def active(self) -> bool:
        """Whether anybody gets a template."""
        return self.config.surface != "none" or bool(self.config.file) or bool(self._own)

    def reset(self) -> None:
        """Forget what was learned of everybody."""

    def assign(self, person: int, template: Template | None) -> None:
        """Give a person (id) a template of their own, or with None the configured one again."""
        if template is None:
            self._own.pop(person, None)
        else:
            self._own[person] = template

    def template(self, person: int) -> Template | None:
        """What is known of a person's surface in the rest pose; None when this id has no template."""
        return self._own.get(person)

    def update(
        self,
        frame: Frame,
        people: Sequence[Person],
        evidences: Sequence[Evidence | None],
        labels: np.ndarray | None = None,
    ) -> tuple[TemplateMesh, ...]:
        """Deform everybody's template to a frame.

        Args:
            frame: undistorted.
            people: everybody who is published, measured in this frame or predicted.
            evidences: what the frame says of each of them; None for who is not measured.
            labels: [H, W] uint16, Person.id of each pixel, 0 = nobody; None: nobody's pixels are known.
        """
        if not self.active:
            return ()
        meshes = []
        for person, _ in zip(people, evidences, strict=True):
            template = self._own.get(person.id) or body_template(self.model, person.state.betas)
            vertices, _ = pose_template(self.model, template, person.state)
            meshes.append(TemplateMesh(person.id, vertices, template.faces, template.confidence))
        return tuple(meshes)
