"""The body as a differentiable torch layer, for training. The online path never imports this module."""

from __future__ import annotations

import numpy as np
import torch

from human_recon.body.model import BodyModel

SMALL_SQUARED_ANGLE = 1e-8  # square radians; below, Taylor series keep values and gradients finite


def rotvec_to_matrix(rotvec: torch.Tensor) -> torch.Tensor:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3]; differentiable everywhere, also at zero."""
    squared = (rotvec * rotvec).sum(dim=-1)
    small = squared < SMALL_SQUARED_ANGLE
    angle = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    a = torch.where(small, 1.0 - squared / 6.0, torch.sin(angle) / angle)
    b = torch.where(small, 0.5 - squared / 24.0, 2.0 * (torch.sin(0.5 * angle) / angle) ** 2)
    x, y, z = rotvec.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*rotvec.shape[:-1], 3, 3)
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + a[..., None, None] * cross + b[..., None, None] * (cross @ cross)


class BodyLayer(torch.nn.Module):
    """Linear blend skinning of a :class:`~human_recon.body.model.BodyModel` over a batch, with gradients.

    Same equations as :mod:`human_recon.body.lbs_reference`; the model's arrays are buffers and follow ``.to(...)``.
    """

    v_template: torch.Tensor
    shapedirs: torch.Tensor
    posedirs: torch.Tensor
    j_template: torch.Tensor
    j_shapedirs: torch.Tensor
    weights: torch.Tensor

    def __init__(
        self, model: BodyModel, dtype: torch.dtype = torch.float32, vertices: np.ndarray | None = None
    ) -> None:
        """A layer that poses the ``vertices`` of ``model``, indices [V], or all of them."""
        super().__init__()
        self.parents = [int(parent) for parent in model.parents]
        some = slice(None) if vertices is None else vertices

        def keep(name: str, array: torch.Tensor) -> None:
            self.register_buffer(name, array.to(dtype).contiguous(), persistent=False)

        joints = model.joint_count
        template = torch.tensor(model.v_template[some])
        keep("v_template", template)
        keep("shapedirs", torch.tensor(model.shapedirs[some]).reshape(template.numel(), -1).T)
        keep("posedirs", torch.tensor(model.posedirs[some]).reshape(template.numel(), -1).T)
        keep("j_template", torch.tensor(model.j_template))
        keep("j_shapedirs", torch.tensor(model.j_shapedirs).reshape(3 * joints, -1).T)
        keep("weights", torch.tensor(model.weights[some]))

    def forward(
        self,
        betas: torch.Tensor,  # [N, 10]
        pose: torch.Tensor,  # [N, J, 3] axis-angle in radians, or [N, J, 3, 3] rotation matrices
        trans: torch.Tensor,  # [N, 3] metres
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices [N, V, 3] and joints [N, J, 3], metres. Raises ValueError for tensors of another shape."""
        count, joints = len(betas), len(self.parents)
        if tuple(pose.shape) == (count, joints, 3):
            rotations = rotvec_to_matrix(pose)
        elif tuple(pose.shape) == (count, joints, 3, 3):
            rotations = pose
        else:
            raise ValueError(
                f"pose must have shape [{count}, {joints}, 3] or [{count}, {joints}, 3, 3], got {list(pose.shape)}"
            )
        identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        feature = (rotations[:, 1:] - identity).reshape(count, -1)
        rest = self.v_template + (betas @ self.shapedirs + feature @ self.posedirs).reshape(count, -1, 3)
        rest_joints = self.j_template + (betas @ self.j_shapedirs).reshape(count, joints, 3)

        world: list[torch.Tensor] = []
        position: list[torch.Tensor] = []
        for j, parent in enumerate(self.parents):
            if parent < 0:
                world.append(rotations[:, j])
                position.append(rest_joints[:, j] + trans)
            else:
                offset = rest_joints[:, j] - rest_joints[:, parent]
                world.append(world[parent] @ rotations[:, j])
                position.append(position[parent] + (world[parent] @ offset[..., None])[..., 0])
        linear, posed_joints = torch.stack(world, dim=1), torch.stack(position, dim=1)
        shift = posed_joints - (linear @ rest_joints[..., None])[..., 0]
        transforms = torch.cat([linear, shift[..., None]], dim=-1).reshape(count, joints, 12)
        blended = (self.weights @ transforms).reshape(count, -1, 3, 4)
        vertices = (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]
        return vertices, posed_joints
