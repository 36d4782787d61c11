"""One surface per tracked person, deformed to every frame from its rest pose."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.people import Person, TemplateMesh
from human_recon.perception.evidence import Evidence
from human_recon.template.deformation import deform
from human_recon.template.graph import NODES, build_graph
from human_recon.template.loading import load_template
from human_recon.template.offsets import OffsetConfig, Offsets, OffsetSurface
from human_recon.template.registration import Binding, RegistrationConfig, bind, register, turned_normals
from human_recon.template.surface import Template, body_template, joint_transforms, pose_template, skin


@dataclass(frozen=True)
class TemplateConfig:
    """Settings of template tracking."""

    # none: no templates. smpl: the body's own surface. smpl+d: the same with what is learned of clothes and hair.
    surface: Literal["none", "smpl", "smpl+d"] = "none"
    file: str = ""  # a template made by `human-recon rig`, for everybody who has not been given another
    nodes: int = NODES  # of the deformation
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    offsets: OffsetConfig = field(default_factory=OffsetConfig)
    remember: float = 60.0  # seconds that somebody's surface is kept after they were last there


@dataclass(frozen=True, eq=False)
class _Rigged:
    """A template ready to be deformed."""

    template: Template
    binding: Binding


@dataclass(frozen=True, eq=False)
class _Common:
    """What everybody's templates share."""

    body: _Rigged
    offsets: OffsetSurface


class TemplateTracker:
    """The templates of the people who are tracked. One caller at a time."""

    def __init__(self, model: BodyModel, config: TemplateConfig | None = None) -> None:
        """Takes a second or two when templates are configured.

        Raises:
            ModelFileError: ``config.file`` cannot be used.
        """
        self.model = model
        self.config = config or TemplateConfig()
        self._configured = self._rigged(load_template(self.config.file, model)) if self.config.file else None
        self._assigned: dict[int, _Rigged] = {}
        self._offsets: dict[int, Offsets] = {}
        self._betas: dict[int, np.ndarray] = {}
        self._last: dict[int, int] = {}  # stamp when somebody was there
        if self.config.surface != "none":
            _ = self._common

    @property
    def active(self) -> bool:
        """Whether anybody gets a template."""
        return self.config.surface != "none" or self._configured is not None or bool(self._assigned)

    def reset(self) -> None:
        """Forget what was learned of everybody, and whom templates were assigned to: ids are no longer theirs."""
        for known in (self._assigned, self._offsets, self._betas, self._last):
            known.clear()

    def assign(self, person: int, template: Template | None) -> None:
        """Give a person (id) a template of their own, or with None the configured one again."""
        if template is None:
            self._assigned.pop(person, None)
        else:
            self._assigned[person] = self._rigged(template)

    def template(self, person: int) -> Template | None:
        """What is known of a person's surface in the rest pose; None when this id has no template."""
        rigged = self._assigned.get(person, self._configured)
        if person not in self._last:
            return None
        if rigged is not None:
            return rigged.template
        betas = self._betas[person]
        template = body_template(self.model, betas)
        offsets = self._offsets.get(person)
        if offsets is None:
            return template
        surface = template.vertices + offsets.values[:, None] * self._common.offsets.normals
        return replace(template, name=f"{self.model.name}+d", vertices=surface, confidence=offsets.confidence)

    def update(
        self,
        frame: Frame,
        people: Sequence[Person],
        evidences: Sequence[Evidence | None],
        labels: np.ndarray | None = None,
        pool: Executor | None = None,
    ) -> tuple[TemplateMesh, ...]:
        """Deform everybody's template to a frame.

        Args:
            frame: undistorted.
            people: everybody who is published, measured in this frame or predicted.
            evidences: what the frame says of each of them; None for who is not measured.
            labels: [H, W] uint16, Person.id of each pixel, 0 = nobody; None: nobody's pixels are known, and nothing is
                learned of offsets.
            pool: threads that people are shared among; None: one after the other.
        """
        if not self.active:
            return ()
        self._forget(frame.stamp_ns)
        tasks = []
        for person, evidence in zip(people, evidences, strict=True):
            rigged = self._assigned.get(person.id, self._configured)
            if rigged is None and self.config.surface == "none":
                continue
            self._last[person.id] = frame.stamp_ns
            self._betas[person.id] = person.state.betas
            if rigged is None and self.config.surface == "smpl+d" and person.id not in self._offsets:
                self._offsets[person.id] = Offsets(self._common.offsets, self.config.offsets)
            tasks.append((frame, person, _usable(evidence), labels, rigged))
        if pool is None:
            return tuple(self._mesh(*task) for task in tasks)
        return tuple(pool.map(lambda task: self._mesh(*task), tasks))

    @cached_property
    def _common(self) -> _Common:
        graph = build_graph(self.model, self.config.nodes)
        template = body_template(self.model, np.zeros(10))
        return _Common(
            _Rigged(template, bind(self.model, graph, template)), OffsetSurface(self.model, self.config.offsets)
        )

    def _rigged(self, template: Template) -> _Rigged:
        return _Rigged(template, bind(self.model, self._common.body.binding.graph, template))

    def _forget(self, stamp_ns: int) -> None:
        """Drop the surfaces of people who have been away for long."""
        for person in [p for p, last in self._last.items() if stamp_ns - last > 1e9 * self.config.remember]:
            for known in (self._assigned, self._offsets, self._betas, self._last):
                known.pop(person, None)

    def _mesh(
        self,
        frame: Frame,
        person: Person,
        evidence: Evidence | None,
        labels: np.ndarray | None,
        rigged: _Rigged | None,
    ) -> TemplateMesh:
        """One person's surface in a frame."""
        if rigged is not None:
            posed = pose_template(self.model, rigged.template, person.state)
            vertices = self._registered(posed.vertices, posed.transforms, posed.body, rigged.binding, evidence)
            return TemplateMesh(person.id, vertices, rigged.template.faces, rigged.template.confidence)
        common = self._common
        _, transforms = skin(common.body.template, joint_transforms(self.model, person.state))
        offsets = self._offsets.get(person.id)
        if offsets is None:
            vertices = self._registered(person.vertices, transforms, person.vertices, common.body.binding, evidence)
            return TemplateMesh(person.id, vertices, common.body.template.faces)
        normals = turned_normals(common.offsets.normals, transforms)
        dressed = person.vertices + offsets.values[:, None] * normals
        vertices = self._registered(dressed, transforms, person.vertices, common.body.binding, evidence)
        if labels is not None and evidence is not None:
            offsets.observe(frame, labels, person.id, person.vertices, vertices, normals)
            offsets.spread()
        return TemplateMesh(person.id, vertices, common.body.template.faces, offsets.confidence)

    def _registered(
        self,
        vertices: np.ndarray,
        transforms: np.ndarray,
        body: np.ndarray,
        binding: Binding,
        evidence: Evidence | None,
    ) -> np.ndarray:
        """Posed vertices [V, 3] moved onto the evidence."""
        if evidence is None:
            return vertices
        nodes = body[binding.graph.nodes].astype(np.float64)
        motion = register(vertices, transforms, nodes, binding, self.model, evidence, self.config.registration)
        return deform(vertices, binding.indices, binding.weights, nodes, motion)


def _usable(evidence: Evidence | None) -> Evidence | None:
    """Without points that are not finite; None when nothing is left."""
    if evidence is None or len(evidence.points) == 0:
        return None
    good = np.isfinite(evidence.points).all(axis=1) & np.isfinite(evidence.normals).all(axis=1)
    good &= np.isfinite(evidence.likelihood)
    if not good.any():
        return None
    if good.all():
        return evidence
    return Evidence(**{name: values[good] for name, values in vars(evidence).items()})
