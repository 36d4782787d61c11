"""Composes scenes: people in company, at their furniture, in furnished rooms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.dice import Dice
from human_recon.simulation.meshing import Parts
from human_recon.simulation.people_source import PeopleSource, UnplacedPerson
from human_recon.simulation.placement import Floor, turn_balls
from human_recon.simulation.rooms import draw_room
from human_recon.simulation.scene import Actor, Scene, Thing


@dataclass(frozen=True)
class SceneConfig:
    """What scenes are made of."""

    people: tuple[float, ...] = (0.08, 0.22, 0.2, 0.15, 0.12, 0.09, 0.06, 0.05, 0.03)
    """Relative frequency of 0, 1, 2, ... people."""
    seated: float = 0.33
    """Share of people who sit."""


class SceneSampler:
    """Draws scenes; one per thread, as it keeps its working memory."""

    def __init__(self, config: SceneConfig, people: PeopleSource) -> None:
        self.config = config
        self._people = people
        self._floor = Floor(people.spheres)

    def draw(self, rng: np.random.Generator) -> Scene:
        """A scene, a function of the generator's state alone."""
        dice, floor = Dice(rng), self._floor
        floor.clear()
        room = draw_room(dice)
        actors: list[Actor] = []
        for _ in range(dice.weighted(self.config.people)):
            person = self._people.draw_person(rng)
            yaw, way = dice.between(-math.pi, math.pi), dice.between(-math.pi, math.pi)
            start = (dice.between(-0.35, 0.35) * room.width, dice.between(-0.35, 0.35) * room.depth)
            balls = turn_balls(person.balls, yaw, start[0], 0.0, start[1])
            direction = (math.cos(way), math.sin(way))
            t = floor.slide(balls, np.zeros((0, 12)), direction, 0.0, 3.0, 0.0)
            if math.isinf(t):
                continue
            x, z = start[0] + t * direction[0], start[1] + t * direction[1]
            floor.add_person(turn_balls(person.balls, yaw, x, 0.0, z))
            actors.append(place(person, yaw, (x, 0.0, z)))
        things = [Thing(kind, solid.vertices, solid.faces) for kind, solid in room.solids]
        for _ in range(dice.below(5)):
            box = Parts()
            size = [dice.between(0.2, 0.8) for _ in range(3)]
            box.box((dice.between(-2, 2), size[1] / 2, dice.between(-2, 2)), size)
            solid = box.build()
            if floor.people_in(solid.boxes) < 0.0:
                things.append(Thing("box", solid.vertices, solid.faces))
        return Scene(tuple(actors), tuple(things))


def place(person: UnplacedPerson, yaw: float, shift: tuple[float, float, float]) -> Actor:
    """The person turned about the vertical through the origin, then shifted, with parameters that say the same."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    pose = person.pose.copy()
    pose[0] = matrix_to_rotvec(turn @ rotvec_to_matrix(pose[0]))
    transposed, offset = turn.T.astype(np.float32), np.array(shift, np.float32)
    return Actor(
        betas=person.betas,
        pose=pose,
        trans=turn @ (person.pelvis + person.trans) + shift - person.pelvis,
        outfit=person.outfit,
        surface=person.surface @ transposed + offset,
        joints=person.joints @ transposed + offset,
        activity=person.activity,
    )
