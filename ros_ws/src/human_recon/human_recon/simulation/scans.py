"""Scans of single people for registration: complete ones, and what one depth camera sees.

A complete scan is fused from depth views all around, as a body scanner's: the outer surface only, with small noise and
the gaps (armpits, between the thighs) that no camera reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.ground_truth import TrueFrame
from human_recon.simulation.outfit import bare_outfit, pose_outfit
from human_recon.simulation.rendering import render, true_frame, turned_rotvec
from human_recon.simulation.scene import Actor, Scene, View
from human_recon.simulation.sensors import SensorSwitches, sensor_for
from human_recon.simulation.world import measure

_SCANNER = CameraIntrinsics(400, 400, 520.0, 520.0, 199.5, 199.5)
_RINGS = ((-0.45, 6), (0.1, 8), (0.7, 6))  # elevation in radians and number of views of each ring, and one from above
_DISTANCE = 3.0  # metres from the person to each scanner view
_NOISE = 0.001  # metres, one standard deviation along each axis


@dataclass(frozen=True, eq=False)
class Scan:
    """A point cloud of one person with its body."""

    points: np.ndarray  # [N, 3] float32, metres; complete: world frame (y up), single view: camera frame
    labels: np.ndarray  # [N] int32, the body's vertex nearest to each point: the true correspondence
    state: BodyState  # of the body inside, in the frame of the points
    vertices: np.ndarray  # [V, 3] float32, that body
    clothed: bool  # or the body as it is
    complete: bool
    truth: TrueFrame | None  # a single view as a depth image


def complete_scan(actor: Actor, body: BodyModel, clothed: bool, rng: np.random.Generator, points: int = 20_000) -> Scan:
    """Fuse views all around the actor: ``points`` points, uniform over what is seen."""
    middle = 0.5 * (actor.surface.min(axis=0) + actor.surface.max(axis=0)).astype(np.float64)
    scene = Scene((actor,), ())
    clouds, labels = [], []
    for elevation, count in (*_RINGS, (math.pi / 2 - 0.01, 1)):
        start = rng.uniform(0.0, 2.0 * math.pi)
        for k in range(count):
            world_to_camera = _looking_at(middle, start + 2.0 * math.pi * k / count, elevation)
            rendering = render(scene, View(world_to_camera, _SCANNER), body)
            # Glancing surfaces are sampled badly by one view and well by its neighbour.
            rays = _SCANNER.rays()
            facing = -np.einsum("hwc,hwc->hw", rendering.normal, rays) / np.linalg.norm(rays, axis=-1)
            seen = (rendering.vertex >= 0) & (facing > 0.35)
            cloud = depth_to_points(rendering.depth, _SCANNER)[seen]
            clouds.append((cloud - world_to_camera[:, 3]) @ world_to_camera[:, :3])
            labels.append(rendering.vertex[seen])
    cloud, label = np.concatenate(clouds), np.concatenate(labels)
    # One point per cell makes the density even where views overlap.
    cells = np.floor(cloud / 0.006).astype(np.int64)
    _, first = np.unique(cells @ np.array([1, 1 << 20, 1 << 40]), return_index=True)
    chosen = rng.permutation(first)[:points]
    noisy = cloud[chosen] + rng.normal(0.0, _NOISE, (len(chosen), 3))
    state = BodyState(actor.betas, actor.pose, actor.trans)
    vertices = pose_body(body, state).vertices
    return Scan(noisy.astype(np.float32), label[chosen], state, vertices, clothed, True, None)


def single_view_scan(
    actor: Actor, body: BodyModel, clothed: bool, view: View, rng: np.random.Generator, switches: SensorSwitches
) -> Scan:
    """What ``view``'s sensor measures of the actor alone."""
    rendering = render(Scene((actor,), ()), view, body)
    sensor = sensor_for(view.preset).draw_unit(rng)
    depth = measure(sensor, rendering, view, int(rng.integers(1 << 62)), switches)
    seen = (depth > 0) & (rendering.vertex >= 0)
    points = depth_to_points(depth, view.intrinsics)[seen]
    state = rendering.states[0]
    truth = true_frame(rendering, body, Frame(0, "camera_depth_optical_frame", depth, view.intrinsics))
    vertices = truth.people[0].vertices
    return Scan(points, rendering.vertex[seen], state, vertices, clothed, False, truth)


def undressed(actor: Actor, body: BodyModel) -> Actor:
    """The actor as the body model has them, without clothes or hair."""
    outfit = bare_outfit(body)
    surface, joints = pose_outfit(outfit, body, actor.betas, actor.pose, actor.trans)
    return replace(actor, outfit=outfit, surface=surface, joints=joints)


def turned(actor: Actor, body: BodyModel, yaw: float) -> Actor:
    """The actor turned about the vertical axis through its pelvis by ``yaw`` radians."""
    turn = rotvec_to_matrix(np.array([0.0, yaw, 0.0]))
    pelvis = actor.joints[0].astype(np.float64)
    pose = actor.pose.copy()
    pose[0] = turned_rotvec(turn, actor.pose[0])
    return replace(  # trans stays: the pelvis does, and SMPL turns about it
        actor,
        pose=pose,
        surface=((actor.surface - pelvis) @ turn.T + pelvis).astype(np.float32),
        joints=((actor.joints - pelvis) @ turn.T + pelvis).astype(np.float32),
    )


def _looking_at(target: np.ndarray, azimuth: float, elevation: float) -> np.ndarray:
    """[3, 4] world to camera: from ``_DISTANCE`` away, above by ``elevation``, towards ``target``; no roll."""
    away = np.array(
        [math.cos(elevation) * math.sin(azimuth), math.sin(elevation), math.cos(elevation) * math.cos(azimuth)]
    )
    ahead = -away
    right = np.cross(ahead, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(ahead, right), ahead])
    return np.column_stack([rotation, -rotation @ (target + _DISTANCE * away)])
