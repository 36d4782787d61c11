"""PeopleNet's data and loss."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from human_recon.body.model import default_body_model
from human_recon.body.skeleton import joint_index
from human_recon.perception.people_input import CHANNELS, SCALE, encode
from human_recon.simulation.assets import Assets
from human_recon.simulation.stream import FRAME_WORLD, FrameBatch, FrameMaker, StreamConfig, stream
from training.loop.mirror import mirror_frames
from training.loop.task import Tensors, device_of, moved
from training.people_net.network import STRIDE, PeopleNet, PeopleNetConfig

PELVIS, CHEST = joint_index("pelvis"), joint_index("spine3")
VALIDATION_SEED = 77  # not that of a benchmark: those are looked at once, at the end


@dataclass(frozen=True)
class PeopleTaskConfig:
    """Data and weights of the losses."""

    network: PeopleNetConfig = field(default_factory=PeopleNetConfig)
    stream: StreamConfig = field(default_factory=lambda: StreamConfig(batch=32, world=FRAME_WORLD))
    foreground: float = 4.0
    vote: float = 4.0  # of the mean absolute error per axis, metres
    spread: float = 0.1  # of the negative log-likelihood that teaches the votes' scale
    validation: int = 12  # batches


class PeopleTask:
    """See `training.loop.task.Task`."""

    def __init__(self, config: PeopleTaskConfig, assets: Assets) -> None:
        self.config = config
        self.assets = assets
        self.model = PeopleNet(config.network)
        self._body = default_body_model()

    def maker(self) -> FrameMaker:
        return FrameMaker(self.config.stream, self.assets)

    def tensors(self, batch: FrameBatch, mirrored: bool) -> Tensors:
        if mirrored:
            batch = mirror_frames(batch, self._body)
        count, height, width = batch.depth.shape
        image = np.empty((count, CHANNELS, height, width), np.float32)
        for k in range(count):
            encode(batch.depth[k], tuple(float(c) for c in batch.cameras[k]), image[k])
        person = batch.person[:, ::STRIDE, ::STRIDE].astype(np.int64)
        joints = batch.joints[:, :, [PELVIS, CHEST]]
        target = joints[np.arange(count)[:, None, None], np.maximum(person, 0)]  # [B, h, w, 2, 3]
        points = np.moveaxis(image[:, :3, ::STRIDE, ::STRIDE], 1, -1) / SCALE
        votes = (target - points[..., None, :]).reshape(*person.shape, 6)
        valid = image[:, 3, ::STRIDE, ::STRIDE] > 0
        return {
            "image": torch.from_numpy(image),
            "valid": torch.from_numpy(valid),
            "foreground": torch.from_numpy((person >= 0) & valid),
            "votes": torch.from_numpy(np.ascontiguousarray(np.moveaxis(votes, -1, 1), np.float32)),
        }

    def loss(
        self, model: nn.Module, tensors: Tensors, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Cross-entropy of the foreground where there is a reading; error and likelihood of the votes on people.

        The likelihood teaches the scale alone: were the votes trained by it too, the network would give up on those
        that are hard.
        """
        del generator
        config = self.config
        output = model(tensors["image"].contiguous(memory_format=torch.channels_last)).float()
        foreground, valid = tensors["foreground"], tensors["valid"]
        logit = output[:, 0]
        entropy = functional.binary_cross_entropy_with_logits(logit[valid], foreground[valid].float())
        votes = output[:, 1:7].permute(0, 2, 3, 1)[foreground]
        error = (votes - tensors["votes"].permute(0, 2, 3, 1)[foreground]).abs()
        log_scale = output[:, 7][foreground].clamp(-5.0, 2.0)
        likelihood = (error.detach().mean(-1) * torch.exp(-log_scale) + log_scale) if len(error) else log_scale
        vote, spread = (error.mean(), likelihood.mean()) if len(error) else (output.sum() * 0.0,) * 2
        total = config.foreground * entropy + config.vote * vote + config.spread * spread
        return total, {"foreground": entropy.detach(), "vote": vote.detach(), "spread": spread.detach()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """On people, motion and clothes of the other split: foreground IoU, mean vote error in metres per joint."""
        model.eval()
        both, either, errors = 0, 0, []
        for tensors in (moved(one, device_of(model)) for one in self._validation):
            output = model(tensors["image"].contiguous(memory_format=torch.channels_last)).float()
            foreground = tensors["foreground"]
            predicted = (output[:, 0] > 0) & tensors["valid"]
            both += int((predicted & foreground).sum())
            either += int((predicted | foreground).sum())
            difference = (output[:, 1:7] - tensors["votes"]).permute(0, 2, 3, 1)[foreground]
            errors.append(difference.unflatten(-1, (2, 3)).norm(dim=-1))
        error = torch.cat(errors)
        iou = both / max(either, 1)
        pelvis, chest = (float(error[:, k].mean()) for k in range(2))
        return {"score": iou - 0.5 * (pelvis + chest), "foreground_iou": iou, "pelvis": pelvis, "chest": chest}

    @cached_property
    def _validation(self) -> list[Tensors]:
        config = replace(
            self.config.stream, seed=VALIDATION_SEED, world=replace(self.config.stream.world, split="test")
        )
        with closing(stream(FrameMaker(config, self.assets))) as batches:
            return [self.tensors(batch, False) for batch in itertools.islice(batches, self.config.validation)]
