"""Losses between the people of one image: nobody inside anybody, and the nearer one in front (seed 002, 5.3.3-5.3.4).

Departures from the seed, and why:

- The distance field is exact, not a grid of 32^3 (see `training.body_net.distance_fields`).
- A penalised vertex counts by its share of the skin's area, so that a finer mesh is not a larger loss.
- The seed renders the image; we render what each person's crop sees. All crops of an image look from the same eye, so
  every pixel is still asked once, by the crop of the person who is seen there, and people count alike near and far.
- A pixel with the wrong person in front counts only where that person's true body is there as well, hidden. Elsewhere
  the bodies' outlines are wrong, not their order; the seed, which knows no depth and nothing of what is hidden, cannot
  tell. From depth images, 95 of 100 wrong pixels are such, and its loss made people's places worse
  (benchmarks/coherence_losses.json).
- Depth at a pixel is the depth of the triangle's corners with the weights that they have there, held constant. So an
  error of order moves people along the line of sight, and a surface seen edge-on does not give a huge gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional

from human_recon.body.lbs_torch import BodyLayer
from human_recon.body.model import BodyModel
from human_recon.geometry.scene_rasterizer import MeshBatch, SceneRaster, rasterize_scenes
from human_recon.perception.crops import WINDOW
from human_recon.simulation.outfit import bare_outfit
from training.body_net.distance_fields import ExactField, bounds
from training.body_net.network import BodyNetOutput
from training.body_net.posing import posed
from training.body_net.rotations import matrix_from_6d
from training.loop.task import Tensors

# Metres, mean depth over the skin of whoever is inside others, at which the robust loss reaches a half: of ten
# collisions of a network that has not seen these losses, two are deeper.
ROBUST_SCALE = 1e-3


def geman_mcclure(error: torch.Tensor, scale: float) -> torch.Tensor:
    """x^2 / (x^2 + scale^2): grows like a square, ends at 1, so that heavy collisions do not rule the gradient."""
    squared = (error / scale) ** 2
    return squared / (1.0 + squared)


@dataclass(frozen=True, eq=False)
class Crowd:
    """The M people of several images who are not alone in theirs."""

    vertices: torch.Tensor  # [M, V, 3] metres, camera frame
    truth: torch.Tensor  # [M, V, 3] what they should be
    view: np.ndarray  # [M] image they are in
    rotation: torch.Tensor  # [M, 3, 3] camera's axes -> axes of the person's crop
    focal: np.ndarray  # [M] pixels of their mask, of the crop's camera
    mask: np.ndarray  # [M, S, S] bool, where the person is seen in the crop
    people: int  # in all crops of the batch, also of those who are alone
    pixels: int  # of the batch in which somebody is seen


class Coherence:
    """The losses, on a body of 1,700 vertices."""

    def __init__(self, body: BodyModel) -> None:
        outfit = bare_outfit(body, "light")
        self.faces = np.ascontiguousarray(outfit.faces, np.int32)
        self.layer = BodyLayer(body, vertices=outfit.body_vertex)
        self.share = torch.from_numpy(skin_share(body.v_template[outfit.body_vertex], self.faces))

    def losses(self, output: BodyNetOutput, tensors: Tensors) -> dict[str, torch.Tensor]:
        """The terms "interpenetration" (5.3) and "depth_order" (5.4) of a batch of crops, 0 where everybody is alone.

        Args:
            output: of the network; the gradient reaches its ``rotations``, ``betas`` and ``root``.
            tensors: of the batch: "present", "view", "centre", "rotation", "mask" (at half the resolution), and the
                true "betas", "pose", "trans".
        """
        # Bodies need more than the 8 bits of a bfloat16: a millimetre decides who is in front.
        with torch.autocast(output.root.device.type, enabled=False):
            crowd = self.crowd(output.rotations, output.betas, output.root, tensors)
            return {"interpenetration": self.interpenetration(crowd), "depth_order": self.depth_order(crowd)}

    def crowd(self, rotations: torch.Tensor, betas: torch.Tensor, root: torch.Tensor, tensors: Tensors) -> Crowd:
        """The bodies of those crops of a batch that show people who are not alone in their image."""
        present, view = tensors["present"].cpu().numpy(), tensors["view"].cpu().numpy()
        number, count = np.unique(view[present], return_counts=True)
        rows = np.flatnonzero(present & np.isin(view, number[count > 1]))
        index = torch.from_numpy(rows).to(root.device)
        self.layer.to(root)
        rotation, centre = tensors["rotation"][index].to(root), tensors["centre"][index].to(root)
        vertices = truth = root.new_zeros((0, len(self.layer.v_template), 3))
        if len(rows):
            vertices, _ = posed(self.layer, matrix_from_6d(rotations[index]), betas[index], root[index])
            with torch.no_grad():
                truth, _ = self.layer(*(tensors[name][index].to(root) for name in ("betas", "pose", "trans")))
        size = tensors["mask"].shape[-1]
        return Crowd(
            vertices=vertices @ rotation + centre[:, None],
            truth=truth @ rotation + centre[:, None],
            view=view[rows],
            rotation=rotation,
            focal=centre.norm(dim=-1).double().cpu().numpy() * size / WINDOW,
            mask=tensors["mask"][index].cpu().numpy(),
            people=max(int(present.sum()), 1),
            pixels=max(int(tensors["mask"].sum()), 1),
        )

    def interpenetration(self, crowd: Crowd) -> torch.Tensor:
        """Mean over the batch's people of the robust depth at which their skin is inside others (5.2, 5.3)."""
        share = self.share.to(crowd.vertices)
        bodies = crowd.vertices.detach().cpu().double().numpy()
        low, high = bounds(bodies)
        total = crowd.vertices.sum() * 0.0
        depth: dict[int, torch.Tensor] = {}  # of person j, inside all others
        for i, box in enumerate(zip(low, high, strict=True)):
            overlap = (box[0] < high).all(-1) & (low < box[1]).all(-1) & (crowd.view == crowd.view[i])
            others = [int(j) for j in np.flatnonzero(overlap) if j != i]
            if not others:
                continue
            field = ExactField(bodies[i], self.faces)
            inside = field(crowd.vertices[others].flatten(0, 1)).unflatten(0, (len(others), -1)) @ share
            for j, mean in zip(others, inside, strict=True):
                depth[j] = depth[j] + mean if j in depth else mean
        for mean in depth.values():
            total = total + geman_mcclure(mean, ROBUST_SCALE)
        return total / crowd.people

    def depth_order(self, crowd: Crowd, outlines: bool = False) -> torch.Tensor:
        """The ordinal loss (5.4), summed over the pixels where the bodies show another person than is there.

        Divided by all pixels of people. The two people's depths are in it alike, so both of them move. ``outlines``:
        as in the seed, also of pixels where that other person should not be at all.
        """
        if len(crowd.mask) == 0:
            return crowd.vertices.sum()
        disputed = self.disputed(crowd)
        if not outlines:
            disputed = self.misplaced(crowd, disputed)
        true = self._depth(crowd, disputed, disputed.person, disputed.face)
        shown = self._depth(crowd, disputed, disputed.other, disputed.other_face)
        return functional.softplus(true - shown).sum() / crowd.pixels

    def disputed(self, crowd: Crowd) -> Disputed:
        """The set S of equation 5.4: pixels of people whose bodies are behind another body there."""
        everybody, alone = self._rendered(crowd)
        rows = np.arange(len(crowd.mask))[:, None, None]
        crop, v, u = np.nonzero(crowd.mask & (alone.face >= 0) & (everybody.object != rows))
        focal, middle, faces = crowd.focal[crop], _middle(crowd), len(self.faces)
        return Disputed(
            person=crop,
            pixel=np.stack([v, u], axis=-1),
            face=alone.face[crop, v, u] % faces,
            other=everybody.object[crop, v, u],
            other_face=everybody.face[crop, v, u] % faces,
            ray=np.stack([(u - middle) / focal, (v - middle) / focal, np.ones(len(crop))], axis=-1),
        )

    def misplaced(self, crowd: Crowd, disputed: Disputed) -> Disputed:
        """Those pixels at which the other person truly is, behind the person who is seen."""
        pairs, pair = np.unique(np.stack([disputed.person, disputed.other], axis=-1), axis=0, return_inverse=True)
        if not len(pairs):
            return disputed
        crop, other = pairs.T
        turned = crowd.truth[other] @ crowd.rotation[crop].transpose(-1, -2)
        middle, side = _middle(crowd), crowd.mask.shape[-1]
        focal, count = crowd.focal[crop], np.arange(len(pairs))
        raster = rasterize_scenes(
            MeshBatch(
                vertices=turned.reshape(-1, 3).float().cpu().numpy(),
                faces=(self.faces[None] + (count * turned.shape[1])[:, None, None].astype(np.int32)).reshape(-1, 3),
                face_start=np.append(count, len(pairs)) * len(self.faces),
                face_object=np.zeros(len(pairs) * len(self.faces), np.int32),
                cameras=np.stack([focal, focal, np.full(len(pairs), middle), np.full(len(pairs), middle)], axis=-1),
                size=(side, side),
            )
        )
        there = raster.face[pair.ravel(), disputed.pixel[:, 0], disputed.pixel[:, 1]] >= 0
        return Disputed(**{field.name: getattr(disputed, field.name)[there] for field in fields(Disputed)})

    def _rendered(self, crowd: Crowd) -> tuple[SceneRaster, SceneRaster]:
        """Every crop's camera on everybody of its image, and on its own person alone."""
        bodies = crowd.vertices.detach().cpu().double().numpy()
        turns = crowd.rotation.cpu().double().numpy()
        count, (people, vertex_count) = len(self.faces), bodies.shape[:2]
        members = [np.flatnonzero(crowd.view == view) for view in crowd.view]
        vertices = np.concatenate([bodies[group] @ turns[k].T for k, group in enumerate(members)])
        sizes = np.array([len(group) for group in members])
        before = np.cumsum(sizes) - sizes  # meshes of the crops before
        own = before + [int(np.searchsorted(group, k)) for k, group in enumerate(members)]
        first = np.concatenate([np.arange(sizes.sum()), own]) * vertex_count  # vertex of every mesh that is drawn
        start = np.concatenate([[0], np.cumsum(np.append(sizes, np.ones(people, np.int64)))]) * count
        middle, side = _middle(crowd), crowd.mask.shape[-1]
        cameras = np.stack([crowd.focal, crowd.focal, np.full(people, middle), np.full(people, middle)], axis=-1)
        raster = rasterize_scenes(
            MeshBatch(
                vertices=vertices.reshape(-1, 3).astype(np.float32),
                faces=(self.faces[None] + first[:, None, None].astype(np.int32)).reshape(-1, 3),
                face_start=start,
                face_object=np.repeat(np.concatenate([*members, np.arange(people)]), count).astype(np.int32),
                cameras=np.concatenate([cameras, cameras]),
                size=(side, side),
            )
        )
        everybody, alone = (
            SceneRaster(raster.depth[some], raster.object[some], raster.face[some])
            for some in (slice(people), slice(people, None))
        )
        return everybody, alone

    def _depth(self, crowd: Crowd, disputed: Disputed, body: np.ndarray, face: np.ndarray) -> torch.Tensor:
        """Depth [K] metres, along the crop's axis, where the pixels' rays meet ``face`` [K] of person ``body`` [K]."""
        crop, rows = torch.from_numpy(disputed.person), torch.from_numpy(body.astype(np.int64))
        corners = torch.from_numpy(self.faces[face].astype(np.int64))
        points = crowd.vertices[rows[:, None], corners]  # [K, 3, 3]
        turned = points @ crowd.rotation[crop].transpose(-1, -2)
        with torch.no_grad():
            weights = _corner_weights(turned.double(), torch.from_numpy(disputed.ray).to(points.device)).to(points)
        return (weights * turned[..., 2]).sum(-1)


@dataclass(frozen=True, eq=False)
class Disputed:
    """K pixels where the predicted bodies show another person than the image does."""

    person: np.ndarray  # [K] who is there, and in whose crop the pixel is
    pixel: np.ndarray  # [K, 2] row and column of the mask
    face: np.ndarray  # [K] of that person's body, at this pixel
    other: np.ndarray  # [K] whose body is in front of it
    other_face: np.ndarray  # [K]
    ray: np.ndarray  # [K, 3] of the pixel, in the crop's axes, third component 1


def skin_share(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[V] float32, sum 1: each vertex' share of the area, a third of every triangle that it is a corner of."""
    corners = vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices))
    return (share / share.sum()).astype(np.float32)


def _middle(crowd: Crowd) -> float:
    """Principal point of the masks, pixels: their pixel j is pixel 2 j of the crop, whose own is in its middle."""
    return crowd.mask.shape[-1] / 2 - 0.25


def _corner_weights(corners: torch.Tensor, ray: torch.Tensor) -> torch.Tensor:
    """Weights [K, 3], sum 1, of the corners [K, 3, 3] of triangles where rays [K, 3] from the eye meet them."""
    a, b, c = corners.unbind(1)
    weights = torch.stack([(torch.linalg.cross(p, q) * ray).sum(-1) for p, q in ((b, c), (c, a), (a, b))], dim=-1)
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total.abs() > 0, weights / total, torch.full_like(weights, 1 / 3))
    return weights.clamp(0.0, 1.0)
