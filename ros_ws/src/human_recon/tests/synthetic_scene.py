"""People of known pose and shape on a floor in front of a wall, rendered to depth: truth for tests of the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import rasterize

CAMERA = CameraIntrinsics(width=320, height=240, fx=230.0, fy=230.0, cx=159.5, cy=119.5)
CAMERA_HEIGHT = 1.2  # metres above the floor, level
WALL = 5.0  # metres away


@dataclass(frozen=True)
class Scene:
    frame: Frame
    states: tuple[BodyState, ...]
    person: np.ndarray  # [H, W] index of the person in each pixel, -1 nobody


def standing(body: BodyModel, x: float, z: float, yaw: float, rng: np.random.Generator | None = None) -> BodyState:
    """A relaxed person on the floor of the test scene; yaw 0 faces the camera, 180 degrees away from it."""
    pose = np.zeros((24, 3))
    pose[16, 2], pose[17, 2] = -1.1, 1.1
    pose[18, 1], pose[19, 1] = -0.4, 0.4
    betas = np.zeros(10)
    if rng is not None:
        pose[1:] += rng.normal(0, 0.08, (23, 3))
        pose[1, 0] -= 0.35
        pose[4, 0] = abs(pose[4, 0]) + 0.4
        pose[5, 0] = abs(pose[5, 0])
        betas = rng.normal(0, 0.6, 10)
    half, turn = np.cos(yaw / 2), np.sin(yaw / 2)
    # Half a turn about x (y up to y down), then the yaw: quaternion (0, 1, 0, 0) * (cos, 0, sin, 0) = (0, cos, 0, sin).
    pose[0] = np.pi * np.array([half, 0.0, turn])
    state = BodyState(betas, pose, np.zeros(3))
    vertices = pose_body(body, state).vertices
    pelvis = pose_body(body, state).joints[0]
    return BodyState(betas, pose, np.array([x - pelvis[0], CAMERA_HEIGHT - vertices[:, 1].max(), z - pelvis[2]]))


def render(body: BodyModel, states: list[BodyState], rng: np.random.Generator, stamp_ns: int = 0) -> Scene:
    """Depth of the scene with noise of 1.5 mm at 1 m growing with the square of the depth."""
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    down = (v - CAMERA.cy) / CAMERA.fy
    depth = np.full(u.shape, WALL)
    depth[down > 0] = np.minimum(WALL, CAMERA_HEIGHT / down[down > 0])
    person = np.full(u.shape, -1)
    if states:
        raster = rasterize(np.stack([pose_body(body, s).vertices for s in states]), body.faces, CAMERA)
        hit = (raster.depth > 0) & (raster.depth < depth)
        depth[hit], person[hit] = raster.depth[hit], raster.person[hit]
    depth = depth + rng.normal(0, 0.0015, depth.shape) * depth**2
    return Scene(Frame(stamp_ns, "camera", depth.astype(np.float32), CAMERA), tuple(states), person)
