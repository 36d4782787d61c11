"""The input of `human-recon bench`: people in a bare room, rendered from the body model; the same every time.

They step on the spot in two rows, 3 and 4.5 m away, so that up to ten are seen at once. What matters here is how
much there is to compute, not how it looks.
"""

from __future__ import annotations

import math

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import rasterize
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

MOST_PEOPLE = 10

_CAMERA_HEIGHT = 1.3  # metres above the floor, level
_WALL = 6.0  # metres away
_FOCAL = 0.82  # focal length over the image width: 63 degrees across, as a D435's depth on its narrower modes
_NOISE = 0.0012  # metres at 1 m, growing with the square of the depth
# Places x, z in metres, taken from the first: the back row is seen between the people of the front row.
_PLACES = (
    (-0.45, 3.0), (0.45, 3.0), (0.0, 4.5), (1.35, 3.0), (-1.35, 3.0), (1.35, 4.5), (-1.35, 4.5)
)  # fmt: skip
# More than seven stand closer, in both rows at equal angles.
_CROWD = (
    (-0.18, 3.0), (0.54, 3.0), (-0.90, 3.0), (1.26, 3.0), (-1.62, 3.0),
    (0.27, 4.5), (-0.81, 4.5), (1.35, 4.5), (-1.89, 4.5), (2.43, 4.5),
)  # fmt: skip


def camera(width: int, height: int) -> CameraIntrinsics:
    """A level camera with square pixels and the same field of view across at every size."""
    focal = _FOCAL * width
    return CameraIntrinsics(width=width, height=height, fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)


def render_people(body: BodyModel, people: int, width: int, height: int, frames: int, rate: float) -> list[Frame]:
    """``frames`` frames at ``rate`` per second of 0 to 10 ``people``."""
    if not 0 <= people <= MOST_PEOPLE:
        raise ValueError(f"{people} people: 0 to {MOST_PEOPLE} can be rendered")
    rng = np.random.default_rng(11)
    view = camera(width, height)
    places = _PLACES if people <= len(_PLACES) else _CROWD
    v, _ = np.mgrid[:height, :width]
    down = (v - view.cy) / view.fy
    room = np.full((height, width), _WALL)
    room[down > 0] = np.minimum(_WALL, _CAMERA_HEIGHT / down[down > 0])
    rendered = []
    for index in range(frames):
        depth = room.copy()
        if people:
            states = [_state(body, k, places[k], index / rate) for k in range(people)]
            raster = rasterize(np.stack([pose_body(body, s).vertices for s in states]), body.faces, view)
            near = (raster.depth > 0) & (raster.depth < depth)
            depth[near] = raster.depth[near]
        depth += rng.normal(0.0, _NOISE, depth.shape) * depth**2
        measured = np.round(depth, 3).astype(np.float32)
        rendered.append(Frame(round((1 + index / rate) * 1e9), "camera_depth_optical_frame", measured, view))
    return rendered


def _state(body: BodyModel, number: int, place: tuple[float, float], time: float) -> BodyState:
    """Person ``number`` at ``place`` (x, z) and ``time`` in the camera frame, on the floor."""
    betas = np.zeros(10)
    betas[0] = 0.9 * math.sin(2.1 * number)
    pose = np.zeros((24, 3))
    pose[16, 2], pose[17, 2] = -1.15, 1.15  # arms down from the T pose
    pose[18, 1], pose[19, 1] = -0.35, 0.35
    swing = 0.25 * math.sin(2 * math.pi * (0.8 * time + 0.37 * number))
    pose[1, 0], pose[2, 0] = -swing, swing
    pose[4, 0], pose[5, 0] = max(0.0, -swing), max(0.0, swing)
    yaw = 0.6 * math.sin(1.7 * number + 0.3 * time)
    upright = np.diag([1.0, -1.0, -1.0])  # body frame (y up, face +z) to a camera that it looks at
    pose[0] = matrix_to_rotvec(upright @ rotvec_to_matrix(np.array([0.0, yaw, 0.0])))
    posed = pose_body(body, BodyState(betas, pose, np.zeros(3)))
    x, z = place
    root, lowest = posed.joints[0], posed.vertices[:, 1].max()
    return BodyState(betas, pose, np.array([x - root[0], _CAMERA_HEIGHT - lowest, z - root[2]], np.float64))
