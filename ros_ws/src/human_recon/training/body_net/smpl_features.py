"""What the SMPL branch of a trained BodyNet is given, kept in files: to train many branches on one frozen trunk.

The branch (`training.body_net.network.BodyHead`) sees 500 numbers of a crop. Computed once, they make an epoch of
thousands of crops a matter of seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from human_recon.simulation.stream import CropBatch
from training.body_net.descriptors import crop_images
from training.body_net.network import STRIDE, BodyHead, BodyNet, BodyNetOutput
from training.loop.task import Tensors

_TRUTH = ("betas", "pose", "trans", "joints", "visibility", "present", "view", "centre", "rotation")


def write_features(network: BodyNet, batches: Iterator[CropBatch], paths: list[Path]) -> Iterator[int]:
    """One file for each of ``batches``; yields how many there are after each. Stops when either runs out."""
    given: list[tuple[torch.Tensor, ...]] = []
    hook = network.body.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    try:
        for number, (path, batch) in enumerate(zip(paths, batches), start=1):
            given.clear()
            with torch.no_grad():
                network(torch.from_numpy(crop_images(batch)).contiguous(memory_format=torch.channels_last))
            points, scale, pooled = (x.float().contiguous() for x in given[0])
            tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(batch, name))) for name in _TRUTH}
            tensors |= {"points": points, "scale": scale, "pooled": pooled}
            tensors["mask"] = torch.from_numpy(np.ascontiguousarray(batch.mask[:, ::STRIDE, ::STRIDE]))
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            torch.save(tensors, part)
            os.replace(part, path)
            yield number
    finally:
        hook.remove()


def read_features(path: Path) -> Tensors:
    """A file of :func:`write_features`: "points", "scale", "pooled", and the truth that the losses need."""
    return torch.load(path, weights_only=True)


def branch_output(head: BodyHead, features: Tensors) -> BodyNetOutput:
    """What BodyNet says with ``head`` as its SMPL branch; the dense outputs are empty."""
    rotations, betas, root, log_scale = head(features["points"], features["scale"], features["pooled"])
    nothing = root.new_zeros(0)
    return BodyNetOutput(
        mask=nothing,
        parts=nothing,
        descriptor=nothing,
        points=features["points"],
        points_log_scale=features["scale"],
        rotations=rotations,
        betas=betas,
        root=root,
        joints_log_scale=log_scale,
    )
