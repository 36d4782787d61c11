"""Where the people of a scene come from: shapes, clothes and poses of one split, dressed and posed at the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.spheres import BodySpheres, fit_spheres
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.outfit import Detail, Looseness, Material, Outfit, pose_outfit
from human_recon.simulation.poses import PoseLibrary
from human_recon.simulation.shapes import Shapes
from human_recon.simulation.wardrobe import Wardrobe


@dataclass(frozen=True, eq=False)
class UnplacedPerson:
    """A posed and dressed person at the origin: facing +z, standing (or whatever they do) on y = 0."""

    betas: np.ndarray  # [10] float64
    pose: np.ndarray  # [24, 3] float64, axis-angle
    trans: np.ndarray  # [3] float64
    pelvis: np.ndarray  # [3] float64, the pelvis joint in the T pose, which SMPL turns a body about
    outfit: Outfit
    surface: np.ndarray  # [V, 3] float32
    joints: np.ndarray  # [24, 3] float32
    balls: np.ndarray  # [K, 4] float64, the unclothed body, see BodySpheres
    activity: str
    supports: str  # what the pose needs: "floor", "seat", "wall", "table", "lying"
    holds: str  # hand that carries something: "none", "left", "right", "both"
    side: str  # where the wall or table is: "front", "back", "left", "right", "none"
    pose_name: str  # of the key posture, or the kind of the recording
    sat_on: np.ndarray | None = None  # [N, 3] float32, skin of pelvis and thighs of those who need a seat


@dataclass(frozen=True, eq=False)
class PeopleSource:
    """Draws people of one split."""

    body: BodyModel
    split: Split
    shapes: Shapes
    poses: PoseLibrary
    wardrobe: Wardrobe
    spheres: BodySpheres

    @staticmethod
    def load(assets: Assets, split: Split, detail: Detail = "light", body: BodyModel | None = None) -> PeopleSource:
        """With all that ``assets`` has; works without any.

        Raises what loading shapes, poses and clothes raises when a file is damaged.
        """
        body = body if body is not None else default_body_model()
        return PeopleSource(
            body, split, Shapes.load(body), PoseLibrary.load(assets, split), Wardrobe.load(assets, body, detail),
            fit_spheres(body),
        )  # fmt: skip

    @cached_property
    def _seat_vertices(self) -> np.ndarray:
        return np.flatnonzero(self.wardrobe.skin.part <= 2)  # pelvis and thighs

    def draw_person(
        self, rng: np.random.Generator, activity: str | None = None, seated: bool | None = None
    ) -> UnplacedPerson:
        """Somebody doing ``activity`` (None: anything), who sits or does not if ``seated`` says so."""
        shape = self.shapes.draw(rng, self.split)
        drawn = self.poses.draw(rng, "sitting" if seated else activity)
        while seated is False and drawn.activity == "sitting":
            drawn = self.poses.draw(rng, activity)
        outfit, looseness = self.wardrobe.draw(rng, self.split, shape.sex), Looseness.draw(rng)
        surface, joints = pose_outfit(outfit, self.body, shape.betas, drawn.pose, _ORIGIN, looseness)
        balls = self.spheres.pose(shape.betas, drawn.pose, _ORIGIN)
        lift = _stand(surface, outfit.material, joints, balls)
        sat_on = None
        if drawn.supports == "seat":
            skin, _ = pose_outfit(self.wardrobe.skin, self.body, shape.betas, drawn.pose, np.array([0.0, lift, 0.0]))
            sat_on = skin[self._seat_vertices]
        trans = np.array([0.0, lift, 0.0])
        return UnplacedPerson(
            betas=shape.betas,
            pose=drawn.pose,
            trans=trans,
            pelvis=self.spheres.j_template[0] + self.spheres.j_shapedirs[0] @ shape.betas,
            outfit=outfit,
            surface=surface,
            joints=joints,
            balls=balls,
            activity=drawn.activity,
            supports=drawn.supports,
            holds=drawn.holds,
            side=drawn.side,
            pose_name=drawn.name,
            sat_on=sat_on,
        )


_ORIGIN = np.zeros(3)


@numba.njit(cache=True, nogil=True)
def _stand(surface, material, joints, balls):
    """Put somebody on the floor y = 0 in place: the body and its shoes stand on it, cloth below it lies on it."""
    lowest = math.inf
    for i in range(len(balls)):
        lowest = min(lowest, balls[i, 1] - balls[i, 3])
    for i in range(len(surface)):
        if material[i] == Material.SKIN or material[i] == Material.SHOES:
            lowest = min(lowest, surface[i, 1])
    for i in range(len(surface)):
        surface[i, 1] = max(surface[i, 1] - np.float32(lowest), np.float32(0.0))
    for i in range(len(joints)):
        joints[i, 1] -= np.float32(lowest)
    for i in range(len(balls)):
        balls[i, 1] -= lowest
    return -lowest
