"""People on disk, for the service that saves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from human_recon.io.atomic import atomic_directory
from human_recon.io.mesh_export import write_mesh
from human_recon.io.people_json import write_people_json
from human_recon.io.template_file import write_template
from human_recon.people import People
from human_recon.visualization.palette import person_color

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel
    from human_recon.template.surface import Template


class NobodyThere(ValueError):
    """The person asked for is not among the newest people."""


def save_people(
    people: People, person_id: int, directory: Path, body: BodyModel, templates: Mapping[int, Template]
) -> list[Path]:
    """Write people.json and a mesh for each person, and their templates.

    Args:
        people: the newest.
        person_id: Person.id, or 0 for everybody.
        directory: made when missing. The files go into a new folder in it, ``<stamp in ns>`` or, when that is there
            already, ``<stamp in ns>_2``, ...; it appears complete or not at all.
        body: whose bodies they are.
        templates: Person.id -> what is known of the person's own surface in the rest pose, of those who have one.

    Returns:
        The files written, absolute: people.json, person_<id>.ply and, where there is a template, the surface as it is
        in the frame, template_<id>.ply, and in the rest pose with its skin weights, template_<id>.npz.

    Raises:
        NobodyThere: nobody has this id, or nobody is there.
        OSError: something cannot be written.
    """
    chosen = tuple(person for person in people.people if person_id in (0, person.id))
    if not chosen:
        known = ", ".join(str(person.id) for person in people.people) or "nobody"
        raise NobodyThere(f"nobody has the id {person_id} (there now: {known})" if person_id else "nobody is there")
    directory = directory.expanduser().resolve()
    names = ["people.json"]
    target = _free(directory, str(people.frame.stamp_ns))
    with atomic_directory(target) as folder:
        folder.mkdir()
        write_people_json(folder / names[0], [replace(people, people=chosen)], body.name)
        surfaces = {mesh.id: mesh for mesh in people.templates}
        for person in chosen:
            color = np.array(person_color(person.id), np.uint8)
            names.append(f"person_{person.id}.ply")
            write_mesh(folder / names[-1], person.vertices, body.faces, color)
            mesh = surfaces.get(person.id)
            if mesh is not None:
                names.append(f"template_{person.id}.ply")
                write_mesh(folder / names[-1], mesh.vertices, mesh.faces, color)
            if person.id in templates:
                names.append(f"template_{person.id}.npz")
                write_template(folder / names[-1], templates[person.id], body)
    return [target / name for name in names]


def _free(directory: Path, name: str) -> Path:
    path, count = directory / name, 1
    while path.exists():
        count += 1
        path = directory / f"{name}_{count}"
    return path
