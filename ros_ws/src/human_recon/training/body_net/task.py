"""BodyNet's data and losses."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from human_recon.body.landmarks import landmark_vertices
from human_recon.body.model import default_body_model
from human_recon.simulation.assets import Assets
from human_recon.simulation.stream import CROP_WORLD, CropBatch, CropMaker, StreamConfig, stream
from human_recon.simulation.surface_lookup import NO_PART
from training.body_net.coherence import Coherence
from training.body_net.ensemble import Ensemble, smooth_embedding
from training.body_net.network import DESCRIPTOR, STRIDE, BodyNet, BodyNetConfig, BodyNetOutput
from training.body_net.posing import posed
from training.body_net.rotations import matrix_from_6d
from training.body_net.segmentations import SOFT, UNIT, draw_segmentations, geodesic_distances, soft_labels
from training.body_net.smpl_loss import SmplLoss
from training.loop.mirror import mirror_crops
from training.loop.task import Tensors, device_of, moved

VALIDATION_SEED = 78
KEY_POINT_RADIUS = 0.05  # metres along the surface within which a pixel shows a key point
# Small parts weigh more: by area a hand is a hundredth of a body. Indices of joints.
_SMALL_PARTS = {7: 2.0, 8: 2.0, 10: 3.0, 11: 3.0, 12: 2.0, 20: 3.0, 21: 3.0, 22: 3.0, 23: 3.0}


@dataclass(frozen=True)
class BodyTaskConfig:
    """Data and weights of the losses."""

    network: BodyNetConfig = field(default_factory=BodyNetConfig)
    stream: StreamConfig = field(
        default_factory=lambda: StreamConfig(batch=32, views=2, world=CROP_WORLD, false_crops=0.15)
    )
    segmentations: int = 100  # seed 004, 4.1
    segmentations_per_step: int = 4
    reach: float = 0.15  # metres: width of the kernel that the embedding starts from
    pixels_per_step: int = 3000  # whose descriptors are classified
    mask: float = 2.0
    part: float = 1.0
    patch: float = 0.5
    key_point: float = 0.1
    point: float = 8.0  # mean absolute error of the voted points, metres
    rotation: float = 1.0  # mean absolute error of the rotation matrices
    joint: float = 8.0  # of the body's joints, metres
    landmark: float = 4.0  # of the body's landmarks, metres
    betas: float = 0.1
    spread: float = 0.02  # of the negative log-likelihoods that teach the scales
    interpenetration: float = 0.0  # of people inside each other (training.body_net.coherence); 0: not computed
    depth_order: float = 0.0  # of people in front who should be behind; 0: not computed
    validation: int = 10  # batches


class BodyTask:
    """See `training.loop.task.Task`."""

    def __init__(self, config: BodyTaskConfig, assets: Assets) -> None:
        self.config = config
        self.assets = assets
        self._body = default_body_model()
        self._vertices = landmark_vertices(self._body)
        self._smpl = SmplLoss(self._body)
        self._coherence = Coherence(self._body)
        distances = geodesic_distances(self._body)
        self.segmentations = draw_segmentations(distances, config.segmentations, seed=4)
        embedding = torch.from_numpy(smooth_embedding(distances, DESCRIPTOR, config.reach / UNIT))
        self._distances = distances
        near = distances[:, self._vertices] * UNIT
        self._key_point = torch.from_numpy(np.where(near.min(1) < KEY_POINT_RADIUS, near.argmin(1), -1))
        self._part_weight = torch.ones(24)
        for part, weight in _SMALL_PARTS.items():
            self._part_weight[part] = weight
        centres = torch.from_numpy(self.segmentations.centres.astype(np.int64))
        self.model = BodyNetWithEnsemble(config.network, Ensemble(embedding, centres), self._vertices)

    def maker(self) -> CropMaker:
        return CropMaker(self.config.stream, self.assets)

    def tensors(self, batch: CropBatch, mirrored: bool) -> Tensors:
        if mirrored:
            batch = mirror_crops(batch, self._body)
        image = np.concatenate([batch.points, batch.prompt[:, None]], axis=1)
        few = {
            name: np.ascontiguousarray(getattr(batch, name)[:, ::STRIDE, ::STRIDE])
            for name in ("mask", "part", "vertex")
        }
        return {
            "image": torch.from_numpy(image),
            "valid": torch.from_numpy(batch.points[:, 3, ::STRIDE, ::STRIDE] > 0),
            "mask": torch.from_numpy(few["mask"]),
            "part": torch.from_numpy(few["part"].astype(np.int64)),
            "vertex": torch.from_numpy(few["vertex"].astype(np.int64)),
            "betas": torch.from_numpy(batch.betas),
            "pose": torch.from_numpy(batch.pose),
            "trans": torch.from_numpy(batch.trans),
            "joints": torch.from_numpy(batch.joints),
            "visibility": torch.from_numpy(batch.visibility),
            "present": torch.from_numpy(batch.present),
            "view": torch.from_numpy(batch.view),
            "centre": torch.from_numpy(batch.centre),
            "rotation": torch.from_numpy(batch.rotation),
        }

    def loss(
        self, model: nn.Module, tensors: Tensors, generator: torch.Generator
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        pixels = self._sampled(tensors, generator)
        chosen = torch.randperm(self.config.segmentations, generator=generator)[: self.config.segmentations_per_step]
        output, patches, key_points = model(
            tensors["image"].contiguous(memory_format=torch.channels_last), pixels, chosen.tolist()
        )
        parts = self._dense(output, tensors)
        parts |= self._surface(patches, key_points, tensors["vertex"][pixels], chosen)
        parts |= self._smpl(output, tensors)
        config = self.config
        total = (
            config.mask * parts["mask"]
            + config.part * parts["part"]
            + config.patch * parts["patch"]
            + config.key_point * parts["key_point"]
            + config.point * parts["point"]
            + config.rotation * parts["rotation"]
            + config.joint * parts["joint"]
            + config.landmark * parts["landmark"]
            + config.betas * parts["betas"]
            + config.spread * parts["spread"]
        )
        if config.interpenetration or config.depth_order:
            parts |= self._coherence.losses(output, tensors)
            total = total + config.interpenetration * parts["interpenetration"]
            total = total + config.depth_order * parts["depth_order"]
        return total, {name: value.detach() for name, value in parts.items()}

    def _sampled(self, tensors: Tensors, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The pixels whose descriptors are classified: evenly drawn from those of the person of each crop."""
        places = (tensors["mask"] & (tensors["vertex"] >= 0)).nonzero().cpu()
        if len(places) > self.config.pixels_per_step:
            places = places[torch.randperm(len(places), generator=generator)[: self.config.pixels_per_step]]
        n, v, u = places.to(tensors["mask"].device).unbind(1)
        return n, v, u

    def _dense(self, output: BodyNetOutput, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Cross-entropy of the mask where there is a reading, of the parts on the person."""
        valid, mask = tensors["valid"], tensors["mask"]
        entropy = functional.binary_cross_entropy_with_logits(output.mask.float()[valid], mask[valid].float())
        mine = mask & (tensors["part"] != NO_PART)
        logits = output.parts.float().permute(0, 2, 3, 1)[mine]
        weight = self._part_weight.to(logits.device)
        part = functional.cross_entropy(logits, tensors["part"][mine], weight) if len(logits) else logits.sum()
        return {"mask": entropy, "part": part}

    def _surface(
        self, patches: list[torch.Tensor], key_points: torch.Tensor, vertex: torch.Tensor, chosen: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Cross-entropies of the ensemble: the mean over the segmentations of this step, and the key points."""
        if len(vertex) == 0:
            return {"patch": key_points.sum(), "key_point": key_points.sum()}
        where = vertex.cpu().numpy()
        losses = [
            functional.cross_entropy(logits, self._soft_labels(where, m).to(logits.device))
            for m, logits in zip(chosen.tolist(), patches, strict=True)
        ]
        target = self._key_point[vertex.cpu()].to(vertex.device)
        shown = target >= 0
        key_point = functional.cross_entropy(key_points[shown], target[shown]) if shown.any() else key_points.sum() * 0
        return {"patch": torch.stack(losses).mean(), "key_point": key_point}

    def _soft_labels(self, vertices: np.ndarray, segmentation: int) -> torch.Tensor:
        """[K, patches]: a pixel near the edge of a patch belongs to its neighbours as well.

        Departure from the seed, whose labels are hard: 0.3 to 1.9 cm better (training/body_net/DESCRIPTORS.md).
        """
        centres = self.segmentations.centres[segmentation]
        return torch.from_numpy(soft_labels(self._distances[np.ix_(vertices, centres)], SOFT / UNIT))

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """On people, motion and clothes of the other split."""
        model.eval()
        both = either = right = all_parts = 0
        points, joints, trunk = [], [], []
        layer = self._smpl.layer.to(device_of(model))
        for tensors in (moved(one, device_of(model)) for one in self._validation):
            output = model.network(tensors["image"].contiguous(memory_format=torch.channels_last))  # type: ignore
            predicted = (output.mask > 0) & tensors["valid"]
            both += int((predicted & tensors["mask"]).sum())
            either += int((predicted | tensors["mask"]).sum())
            mine = tensors["mask"] & (tensors["part"] != NO_PART)
            right += int((output.parts.argmax(1) == tensors["part"])[mine].sum())
            all_parts += int(mine.sum())
            seen = tensors["present"] & (tensors["visibility"] > 0.3)
            _, posed_joints = posed(layer, matrix_from_6d(output.rotations), output.betas, output.root)
            truth = tensors["joints"]
            for predicted_joints, errors in ((output.points[:, :24], points), (posed_joints, joints)):
                relative = (predicted_joints - predicted_joints[:, :1]) - (truth - truth[:, :1])
                errors.append(relative.norm(dim=-1)[seen])
            trunk.append((output.root - truth[:, 0]).norm(dim=-1)[seen])
        figures = {
            "mask_iou": both / max(either, 1),
            "part_accuracy": right / max(all_parts, 1),
            "vote_mpjpe": float(torch.cat(points).mean()),
            "smpl_mpjpe": float(torch.cat(joints).mean()),
            "pelvis": float(torch.cat(trunk).mean()),
        }
        score = figures["mask_iou"] + figures["part_accuracy"] - 5.0 * figures["smpl_mpjpe"]
        return {"score": score, **figures}

    @cached_property
    def _validation(self) -> list[Tensors]:
        config = replace(
            self.config.stream, seed=VALIDATION_SEED, world=replace(self.config.stream.world, split="test")
        )
        with closing(stream(CropMaker(config, self.assets))) as batches:
            return [self.tensors(batch, False) for batch in itertools.islice(batches, self.config.validation)]


class BodyNetWithEnsemble(nn.Module):
    """The network and the classifiers that train its descriptors, as one module for the gradient's sake."""

    key_points: torch.Tensor

    def __init__(self, config: BodyNetConfig, ensemble: Ensemble, key_points: np.ndarray) -> None:
        super().__init__()
        self.network = BodyNet(config)
        self.ensemble = ensemble
        self.register_buffer("key_points", torch.from_numpy(key_points.astype(np.int64)), persistent=False)

    def forward(
        self, image: torch.Tensor, pixels: tuple[torch.Tensor, torch.Tensor, torch.Tensor], chosen: list[int]
    ) -> tuple[BodyNetOutput, list[torch.Tensor], torch.Tensor]:
        output = self.network(image)
        n, v, u = pixels
        descriptors = output.descriptor.permute(0, 2, 3, 1)[n, v, u].float()
        with torch.autocast(image.device.type, enabled=False):
            patches = [self.ensemble.patch_logits(descriptors, m) for m in chosen]
            return output, patches, self.ensemble.logits(descriptors, self.key_points)
