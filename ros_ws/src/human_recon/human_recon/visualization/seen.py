"""What the networks saw: whose each pixel is, which body part it shows, which place on the body."""

from __future__ import annotations

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import part_colors
from human_recon.people import People
from human_recon.visualization.canvas import titled
from human_recon.visualization.depth import depth_to_gray
from human_recon.visualization.palette import person_color

_OPACITY = 0.75


def draw_seen(people: People, body: BodyModel) -> np.ndarray:
    """Three pictures of the frame side by side: people, parts, places on the body; [H', 3 W, 3] uint8 RGB.

    Raises:
        ValueError: the people come from a pipeline without networks.
    """
    if people.parts is None or people.vertices is None:
        raise ValueError("these people were found without networks: there are no parts and places to draw")
    persons = np.zeros((*people.labels.shape, 3), np.uint8)
    for person in people.people:
        persons[people.labels == person.id] = person_color(person.id)
    parts = part_colors()[np.minimum(people.parts, len(part_colors()) - 1)]
    places = surface_colors(body)[np.maximum(people.vertices, 0)]
    pictures = [
        titled(_over(people, colors, shown), title)
        for colors, shown, title in (
            (persons, people.labels > 0, "people"),
            (parts, people.parts != 255, "body parts"),
            (places, people.vertices >= 0, "places on the body"),
        )
    ]
    return np.concatenate(pictures, axis=1)


def surface_colors(body: BodyModel) -> np.ndarray:
    """[V, 3] uint8 RGB: the place in the rest pose as a colour, so that equal colours are corresponding points."""
    low, high = body.v_template.min(axis=0), body.v_template.max(axis=0)
    return np.rint(40 + 215 * (body.v_template - low) / (high - low)).astype(np.uint8)


def _over(people: People, colors: np.ndarray, shown: np.ndarray) -> np.ndarray:
    picture = depth_to_gray(people.frame.depth).astype(np.float32)
    picture[shown] = (1 - _OPACITY) * picture[shown] + _OPACITY * colors[shown]
    return picture.astype(np.uint8)
