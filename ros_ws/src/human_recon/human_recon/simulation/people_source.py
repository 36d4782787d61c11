"""Where the people of a scene come from: shapes, clothes and poses of one split, dressed and posed at the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.state import BodyState
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.body_spheres import BodySpheres, fit_spheres
from human_recon.simulation.outfit import Outfit, bare_outfit


@dataclass(frozen=True, eq=False)
class UnplacedPerson:
    """A posed and dressed person at the origin: facing +z, lowest point of the surface at y = 0."""

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
    holds: str  # "none", "left", "right", "both", "phone"


@dataclass(frozen=True, eq=False)
class PeopleSource:
    """Draws people of one split."""

    body: BodyModel
    split: Split
    spheres: BodySpheres

    @staticmethod
    def load(assets: Assets, split: Split, detail: str = "light", body: BodyModel | None = None) -> PeopleSource:
        """With all that ``assets`` has; works without any."""
        body = body if body is not None else default_body_model()
        return PeopleSource(body, split, fit_spheres(body))

    def draw_person(self, rng: np.random.Generator, activity: str | None = None) -> UnplacedPerson:
        """Somebody doing ``activity`` (None: anything)."""
        betas, pose = rng.normal(0.0, 0.8, 10), np.zeros((24, 3))
        pose[1:] = rng.normal(0.0, 0.08, (23, 3))
        pose[16, 2] -= 1.15
        pose[17, 2] += 1.15
        supports = "floor"
        if activity == "sitting":
            pose[[1, 2], 0] -= 1.5
            pose[[4, 5], 0] += 1.45
            supports = "seat"
        outfit = bare_outfit(self.body)
        posed = pose_body(self.body, BodyState(betas, pose, np.zeros(3)))
        trans = np.array([0.0, -float(posed.vertices[:, 1].min()), 0.0])
        lift = trans.astype(np.float32)
        return UnplacedPerson(
            betas, pose, trans, self.body.j_template[0] + self.body.j_shapedirs[0] @ betas, outfit,
            posed.vertices + lift, posed.joints + lift, self.spheres.pose(betas, pose, trans), activity or "standing",
            supports, "none",
        )  # fmt: skip
