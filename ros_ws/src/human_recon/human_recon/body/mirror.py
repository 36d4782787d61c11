"""Mirroring bodies left to right."""

from __future__ import annotations

import numpy as np

from human_recon.body.skeleton import MIRROR_JOINTS
from human_recon.body.state import BodyState


def mirror_state(state: BodyState) -> BodyState:
    """The state of the mirror image in the plane x = 0 of the frame that ``state`` is given in.

    The open body's shape space is symmetric, so the betas stay. With a model that has ``mirror_vertices`` the
    vertices of the mirrored state are :func:`mirror_points` of the vertices of ``state``.
    """
    return BodyState(
        betas=np.array(state.betas),
        pose=np.asarray(state.pose)[MIRROR_JOINTS] * [1.0, -1.0, -1.0],
        trans=np.asarray(state.trans) * [-1.0, 1.0, 1.0],
    )


def mirror_points(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Mirror images in the plane x = 0 of ``points`` [..., N, 3] whose left-right partners are ``mirror`` [N].

    With ``BodyModel.mirror_vertices`` for vertices, with ``skeleton.MIRROR_JOINTS`` for joints.
    """
    return points[..., mirror, :] * np.array([-1.0, 1.0, 1.0], dtype=points.dtype)
