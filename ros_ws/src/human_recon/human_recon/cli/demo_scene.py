"""The demo's input: three people in a room, rendered from the open body, with the truth known.

One person talks with an arm, one walks past, one stands with arms down. They wear thin clothes, hair and shoes: the
camera sees a surface outside the body that is the truth. The camera is of the structured light
kind, on a robot's mast: its disparity is quantised, depth is in whole millimetres, and borders of objects are lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rasterizer import Raster, barycentric, rasterize
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

CAMERA = CameraIntrinsics(width=640, height=480, fx=525.0, fy=525.0, cx=319.5, cy=239.5)
FRAME_ID = "camera_depth_optical_frame"
TOPICS = {  # of the perception node: topics of the recording
    "depth/image": "/camera/depth/image_raw",
    "depth/camera_info": "/camera/depth/camera_info",
    "color/image": "/camera/color/image_raw",
}
CAMERA_HEIGHT = 1.25  # metres above the floor
CAMERA_PITCH = math.radians(7.0)  # downwards
_BASELINE = 0.075  # metres between projector and camera
_DISPARITY_STEP = 1 / 8  # pixels

# Joints of the SMPL tree that move here.
_LEFT_HIP, _RIGHT_HIP, _LEFT_KNEE, _RIGHT_KNEE = 1, 2, 4, 5
_SPINE, _NECK, _LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_ELBOW, _RIGHT_ELBOW = 6, 12, 16, 17, 18, 19


@dataclass(frozen=True)
class DemoPerson:
    """Who somebody is and where they go.

    World frame: the camera's axes made level (x right, y down, z ahead), origin on the floor below the camera.
    """

    betas: tuple[float, ...]
    start: tuple[float, float]  # x, z in metres
    velocity: tuple[float, float]  # x, z in metres per second
    heading: float  # radians about y; 0 = facing the camera
    motion: str  # walking | gesturing | standing
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]


@dataclass(frozen=True)
class DemoFrame:
    """One rendered frame and the people in it."""

    frame: Frame
    truth: tuple[BodyState, ...]  # camera frame


PEOPLE = (
    DemoPerson((0.9, -0.4, 0.3), (-0.85, 2.75), (0.0, 0.0), 0.35, "gesturing", (196, 84, 74), (58, 66, 92)),
    DemoPerson((-0.7, 0.5, -0.2), (-0.45, 3.6), (0.42, 0.0), 1.35, "walking", (92, 140, 196), (74, 70, 66)),
    DemoPerson((0.1, 0.9, 0.4), (0.95, 2.45), (0.0, 0.0), -0.5, "standing", (214, 196, 120), (96, 84, 104)),
)


def render_demo(body: BodyModel, frames: int, rate: float) -> Iterator[DemoFrame]:
    """``frames`` frames at ``rate`` per second, starting at stamp 1 s. The same every time."""
    rng = np.random.default_rng(7)
    to_camera, room, colors, cover = world_to_camera(), _room(), _body_colors(body), _cover(body)
    for index in range(frames):
        time = index / rate
        truth = tuple(_state(body, cover, person, time, to_camera) for person in PEOPLE)
        bodies = np.stack([_dressed(pose_body(body, state).vertices, body.faces, cover) for state in truth])
        depth, color = _render(bodies, body.faces, colors, room, to_camera)
        frame = Frame(
            stamp_ns=round((1 + time) * 1e9),
            frame_id=FRAME_ID,
            depth=_sense(depth, rng),
            intrinsics=CAMERA,
            color=color,
        )
        yield DemoFrame(frame, truth)


def world_to_camera() -> np.ndarray:
    """World to camera frame, [3, 4]: the camera looks ahead and a little down from its mast."""
    sine, cosine = math.sin(CAMERA_PITCH), math.cos(CAMERA_PITCH)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return np.column_stack([rotation, -rotation @ [0, -CAMERA_HEIGHT, 0]])


def _state(body: BodyModel, cover: np.ndarray, person: DemoPerson, time: float, to_camera: np.ndarray) -> BodyState:
    """The person at ``time`` in the camera frame, the soles on the floor."""
    betas = np.zeros(10)
    betas[: len(person.betas)] = person.betas
    pose = _pose(person.motion, time)
    facing = np.diag([1.0, -1.0, -1.0])  # body frame (y up, face +z) -> world, looking at the camera
    turn = rotvec_to_matrix(np.array([0.0, person.heading, 0.0]))
    pose[0] = matrix_to_rotvec(to_camera[:, :3] @ facing @ turn)
    posed = pose_body(body, BodyState(betas, pose, np.zeros(3)))
    right, down, ahead = to_camera[:, :3].T  # the world's axes in the camera frame
    lowest = float((_dressed(posed.vertices, body.faces, cover) @ down).max())
    root = posed.joints[0].astype(np.float64)
    x = person.start[0] + person.velocity[0] * time
    z = person.start[1] + person.velocity[1] * time
    trans = to_camera[:, 3] + right * (x - root @ right) + ahead * (z - root @ ahead) - down * lowest
    return BodyState(betas, pose, trans)


def _pose(motion: str, time: float) -> np.ndarray:
    """[24, 3] axis-angle of a motion in the body frame."""
    pose = np.zeros((24, 3))
    swing = np.zeros(2)  # left, right arm forward
    lower = np.array([1.25, 1.25])  # left, right arm down from the T-pose
    elbow = np.array([0.25, 0.25])
    if motion == "walking":
        phase = 2 * math.pi * 0.9 * time
        stride = 0.45 * math.sin(phase)
        pose[_LEFT_HIP, 0], pose[_RIGHT_HIP, 0] = -stride, stride
        pose[_LEFT_KNEE, 0] = 0.12 + 0.5 * max(0.0, math.sin(phase - 1.9))
        pose[_RIGHT_KNEE, 0] = 0.12 + 0.5 * max(0.0, math.sin(phase - 1.9 + math.pi))
        swing = np.array([-stride, stride]) * 0.9
        elbow = np.array([0.45, 0.45])
    elif motion == "gesturing":
        pose[_LEFT_HIP, 2], pose[_RIGHT_HIP, 2] = 0.06, -0.06
        lower[1] = 1.0 + 0.15 * math.sin(2 * math.pi * 0.7 * time)
        pose[_RIGHT_ELBOW] = [0.0, 0.5, -(0.8 + 0.3 * math.sin(2 * math.pi * 0.7 * time))]
        pose[_NECK, 2] = 0.08
    else:
        sway = math.sin(2 * math.pi * 0.3 * time)
        pose[_LEFT_HIP, 2], pose[_RIGHT_HIP, 2] = 0.09, -0.05
        pose[_SPINE, 1] = 0.12 * sway
        pose[_NECK, 1] = 0.25 * sway
        swing = np.array([0.12, 0.2])
        elbow = np.array([0.5, 0.3])
    for side, shoulder, joint in ((0, _LEFT_SHOULDER, _LEFT_ELBOW), (1, _RIGHT_SHOULDER, _RIGHT_ELBOW)):
        sign = 1 - 2 * side  # the left arm points to +x in the T-pose, the right one to -x
        down = rotvec_to_matrix(np.array([0.0, 0.0, -sign * lower[side]]))
        forward = rotvec_to_matrix(np.array([-swing[side], 0.0, 0.0]))
        pose[shoulder] = matrix_to_rotvec(forward @ down)
        if not pose[joint].any():
            pose[joint] = [0.0, -sign * elbow[side], 0.0]
    return pose


_LEGS, _FEET, _SKIN, _HEAD = (0, 1, 2, 4, 5), (7, 8, 10, 11), (12, 15, 18, 19, 20, 21, 22, 23), 15  # parts


def _shoes(body: BodyModel) -> np.ndarray:
    """[V] bool: the feet up to the ankles."""
    feet = np.isin(vertex_parts(body), _FEET)
    return feet & (body.v_template[:, 1] < body.v_template[:, 1].min() + 0.12)


def _hair(body: BodyModel) -> np.ndarray:
    """[V] bool: the crown and the back of the head."""
    head = vertex_parts(body) == _HEAD
    crown, front = body.v_template[head, 1].max(), body.v_template[head, 2].max()
    return head & ((body.v_template[:, 1] > crown - 0.07) | (body.v_template[:, 2] < front - 0.15))


def _cover(body: BodyModel) -> np.ndarray:
    """[V] metres: how far clothes, hair and shoes stand off the skin."""
    cover = np.where(np.isin(vertex_parts(body), _SKIN), 0.0, 0.007)
    cover[_hair(body)] = 0.02
    cover[_shoes(body)] = 0.015
    return cover


def _dressed(vertices: np.ndarray, faces: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """The body [V, 3] grown along its normals by ``cover``, float32."""
    return (vertices + vertex_normals(vertices, faces) * cover[:, None]).astype(np.float32)


def _body_colors(body: BodyModel) -> np.ndarray:
    """[P, V, 3] 0..255: skin, shirt, trousers, hair and shoes by body part."""
    parts = vertex_parts(body)
    colors = np.empty((len(PEOPLE), len(parts), 3))
    skin = ((226, 182, 152), (188, 136, 104), (236, 198, 170))
    for index, person in enumerate(PEOPLE):
        tone = colors[index]
        tone[:] = person.shirt
        tone[np.isin(parts, (*_LEGS, *_FEET))] = person.trousers
        tone[_shoes(body)] = (48, 44, 44)
        tone[np.isin(parts, _SKIN)] = skin[index % len(skin)]
        tone[_hair(body)] = (66, 50, 40)
    return colors


@dataclass(frozen=True)
class _Room:
    """Walls, floor and a table as one mesh in the world frame."""

    vertices: np.ndarray  # [V, 3] float64
    faces: np.ndarray  # [F, 3] int32
    colors: np.ndarray  # [F, 3] 0..255
    checked: np.ndarray  # [F] bool: floor tiles are painted on


def _room() -> _Room:
    quads: list[tuple[np.ndarray, tuple[int, int, int], bool]] = []

    def quad(a: list[float], b: list[float], c: list[float], color: tuple[int, int, int], tiles: bool = False) -> None:
        corners = np.array([a, b, np.array(b) + np.array(c) - np.array(a), c]) * [1, -1, 1]  # given with y up
        quads.append((corners, color, tiles))

    quad([-3, 0, -0.5], [3, 0, -0.5], [-3, 0, 5.2], (168, 156, 140), tiles=True)  # floor
    quad([-3, 0, 5.2], [3, 0, 5.2], [-3, 2.6, 5.2], (204, 206, 200))  # back wall
    quad([-3, 0, -0.5], [-3, 0, 5.2], [-3, 2.6, -0.5], (184, 196, 204))  # left wall
    quad([3, 0, -0.5], [3, 0, 5.2], [3, 2.6, -0.5], (196, 192, 200))  # right wall
    quad([-3, 2.6, -0.5], [3, 2.6, -0.5], [-3, 2.6, 5.2], (222, 222, 218))  # ceiling
    quad([0.9, 0.9, 5.17], [2.1, 0.9, 5.17], [0.9, 1.9, 5.17], (112, 128, 120))  # a picture
    low, high = np.array([-2.6, 0.0, 3.9]), np.array([-1.5, 0.74, 4.6])  # a cupboard
    x0, y0, z0, x1, y1, z1 = *low, *high
    wood = (150, 114, 80)
    quad([x0, y0, z0], [x1, y0, z0], [x0, y1, z0], wood)
    quad([x1, y0, z0], [x1, y0, z1], [x1, y1, z0], wood)
    quad([x0, y1, z0], [x1, y1, z0], [x0, y1, z1], (170, 132, 96))
    vertices = np.concatenate([corners for corners, _, _ in quads])
    faces, colors, checked = [], [], []
    for index, (_, color, tiles) in enumerate(quads):
        faces += [[4 * index, 4 * index + 1, 4 * index + 2], [4 * index, 4 * index + 2, 4 * index + 3]]
        colors += [color, color]
        checked += [tiles, tiles]
    return _Room(vertices, np.array(faces, np.int32), np.array(colors, np.float64), np.array(checked))


def _render(
    bodies: np.ndarray, faces: np.ndarray, colors: np.ndarray, room: _Room, to_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Exact depth [H, W] metres and colour [H, W, 3] uint8."""
    walls = (room.vertices @ to_camera[:, :3].T + to_camera[:, 3])[None].astype(np.float32)
    behind = rasterize(walls, room.faces, CAMERA, cull=False)
    front = rasterize(bodies, faces, CAMERA)
    near = (front.depth > 0) & ((behind.depth == 0) | (front.depth < behind.depth))
    depth = np.where(near, front.depth, behind.depth)
    picture = _paint_room(behind, room, walls[0], to_camera)
    picture[near] = _paint_bodies(front, bodies, faces, colors)[near]
    return depth, np.clip(picture, 0, 255).astype(np.uint8)


def _paint_room(raster: Raster, room: _Room, vertices: np.ndarray, to_camera: np.ndarray) -> np.ndarray:
    hit = raster.face >= 0
    v, u = np.nonzero(hit)
    face = raster.face[hit]
    z = raster.depth[hit].astype(np.float64)
    points = np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], axis=1)
    world = (points - to_camera[:, 3]) @ to_camera[:, :3]
    color = room.colors[face]
    tile = (np.floor(world[:, 0] / 0.6) + np.floor(world[:, 2] / 0.6)) % 2
    color = color * np.where(room.checked[face], 0.94 + 0.06 * tile, 1.0)[:, None]
    a, b, c = (vertices[room.faces[:, corner]].astype(np.float64) for corner in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    lit = 0.72 + 0.28 * np.abs(normal @ np.array([0.25, -0.85, -0.46]))[face] - 0.03 * z
    picture = np.zeros((*hit.shape, 3))
    picture[hit] = color * lit[:, None]
    return picture


def _paint_bodies(raster: Raster, bodies: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> np.ndarray:
    hit = raster.face >= 0
    person, corners = raster.person[hit][:, None], faces[raster.face[hit]]
    weights = barycentric(raster, bodies, faces, CAMERA)[hit][:, :, None]
    normal = (vertex_normals(bodies, faces)[person, corners] * weights).sum(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    lit = 0.45 + 0.6 * np.clip(normal @ np.array([-0.30, -0.72, -0.62]), 0, 1)
    picture = np.zeros((*hit.shape, 3))
    picture[hit] = (colors[person, corners] * weights).sum(axis=1) * lit[:, None]
    return picture


def _sense(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the sensor reports: noise and quantisation in disparity, whole millimetres, no reading at depth jumps."""
    seen = depth > 0
    disparity = CAMERA.fx * _BASELINE / np.where(seen, depth, 1.0)
    disparity = disparity + rng.normal(0.0, 0.06, depth.shape)
    disparity = np.round(disparity / _DISPARITY_STEP) * _DISPARITY_STEP
    measured = np.round(CAMERA.fx * _BASELINE / np.maximum(disparity, 1e-3) * 1000) / 1000
    jump = np.zeros(depth.shape, bool)
    jump[:, 1:] |= np.abs(np.diff(depth, axis=1)) > 0.12
    jump[:, :-1] |= np.abs(np.diff(depth, axis=1)) > 0.12
    jump[1:] |= np.abs(np.diff(depth, axis=0)) > 0.12
    lost = jump & (rng.random(depth.shape) < 0.7)
    return np.where(seen & ~lost & (measured < 8.0), measured, 0.0).astype(np.float32)
