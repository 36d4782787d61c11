"""The demo's input: three people in a room, rendered from the open body, with the truth known.

One person talks with an arm, one walks past, one stands with arms down. They wear thin clothes, hair and shoes: the
camera sees a surface outside the body that is the truth. The camera is a Kinect of the first generation on a robot's
mast, as :mod:`human_recon.simulation` models it. `human-recon simulate` makes richer scenes; this one never changes and
needs no data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.presets import PRESETS
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from human_recon.simulation.coloring import shade
from human_recon.simulation.meshing import Parts
from human_recon.simulation.outfit import Looseness, Outfit, bare_outfit, pose_outfit
from human_recon.simulation.rendering import render
from human_recon.simulation.scene import Actor, Scene, Thing, View
from human_recon.simulation.sensors import SensorSwitches, sensor_for
from human_recon.simulation.world import measure

PRESET = "kinect_v1"
CAMERA = PRESETS[PRESET].intrinsics
FRAME_ID = "camera_depth_optical_frame"
TOPICS = {  # of the perception node: topics of the recording
    "depth/image": "/camera/depth/image_raw",
    "depth/camera_info": "/camera/depth/camera_info",
    "color/image": "/camera/color/image_raw",
}
CAMERA_HEIGHT = 1.25  # metres above the floor
CAMERA_PITCH = math.radians(7.0)  # downwards
_KEY = 7  # of colours and of the sensor's noise
# Cloth 7 mm off the skin, hair 20 mm, even everywhere.
_CLOTHES = Looseness(np.full(24, 0.007, np.float32), 0.02, np.zeros((0, 5), np.float32))

# Joints of the SMPL tree that move here.
_LEFT_HIP, _RIGHT_HIP, _LEFT_KNEE, _RIGHT_KNEE = 1, 2, 4, 5
_SPINE, _NECK, _LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_ELBOW, _RIGHT_ELBOW = 6, 12, 16, 17, 18, 19


@dataclass(frozen=True)
class DemoPerson:
    """Who somebody is and where they go. World frame: y up, the camera over the origin, looking along -z."""

    betas: tuple[float, ...]
    start: tuple[float, float]  # x, z in metres
    velocity: tuple[float, float]  # x, z in metres per second
    heading: float  # radians about y; 0 = facing the camera
    motion: str  # walking | gesturing | standing


@dataclass(frozen=True)
class DemoFrame:
    """One rendered frame and the people in it."""

    frame: Frame
    truth: tuple[BodyState, ...]  # camera frame


PEOPLE = (
    DemoPerson((0.9, -0.4, 0.3), (-0.85, -2.75), (0.0, 0.0), 0.35, "gesturing"),
    DemoPerson((-0.7, 0.5, -0.2), (-0.45, -3.6), (0.42, 0.0), 1.35, "walking"),
    DemoPerson((0.1, 0.9, 0.4), (0.95, -2.45), (0.0, 0.0), -0.5, "standing"),
)


def render_demo(body: BodyModel, frames: int, rate: float) -> Iterator[DemoFrame]:
    """``frames`` frames at ``rate`` per second, starting at stamp 1 s. The same every time."""
    view = View(world_to_camera(), CAMERA, preset=PRESET)
    outfit, room = bare_outfit(body), _room()
    sensor = sensor_for(PRESET).draw_unit(np.random.default_rng(_KEY))
    for index in range(frames):
        time = index / rate
        rendering = render(Scene(tuple(_actor(body, outfit, who, time) for who in PEOPLE), room), view, body)
        frame = Frame(
            stamp_ns=round((1 + time) * 1e9),
            frame_id=FRAME_ID,
            depth=measure(sensor, rendering, view, _KEY + index, SensorSwitches()),
            intrinsics=CAMERA,
            color=shade(
                rendering.depth, rendering.object, rendering.material, rendering.normal, rendering.canonical, CAMERA,
                view.world_to_camera, _KEY, index,
            ),
        )  # fmt: skip
        yield DemoFrame(frame, rendering.states)


def world_to_camera() -> np.ndarray:
    """World to camera frame, [3, 4]: the camera looks ahead and a little down from its mast."""
    sine, cosine = math.sin(CAMERA_PITCH), math.cos(CAMERA_PITCH)
    rotation = np.array([[1, 0, 0], [0, -cosine, sine], [0, -sine, -cosine]])
    return np.column_stack([rotation, -rotation @ [0, CAMERA_HEIGHT, 0]])


def _actor(body: BodyModel, outfit: Outfit, person: DemoPerson, time: float) -> Actor:
    """The person at ``time``, the soles on the floor."""
    betas = np.zeros(10)
    betas[: len(person.betas)] = person.betas
    pose = _pose(person.motion, time)
    pose[0] = [0.0, person.heading, 0.0]
    surface, joints = pose_outfit(outfit, body, betas, pose, np.zeros(3), _CLOTHES)
    place = np.array(person.start) + np.array(person.velocity) * time
    trans = np.array([place[0] - joints[0, 0], -surface[:, 1].min(), place[1] - joints[0, 2]])
    shift = trans.astype(np.float32)
    return Actor(betas, pose, trans, outfit, surface + shift, joints + shift, person.motion)


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


def _room() -> tuple[Thing, ...]:
    """Floor, ceiling, three walls, a cupboard and a picture."""
    boxes = {  # centre and size in metres
        "floor": ((0.0, -0.05, -2.0), (6.2, 0.1, 5.2)),
        "ceiling": ((0.0, 2.65, -2.0), (6.2, 0.1, 5.2)),
        "back wall": ((0.0, 1.3, -4.15), (6.2, 2.6, 0.1)),
        "left wall": ((-3.05, 1.3, -2.0), (0.1, 2.6, 5.2)),
        "right wall": ((3.05, 1.3, -2.0), (0.1, 2.6, 5.2)),
        "cupboard": ((-2.05, 0.37, -3.75), (1.1, 0.74, 0.7)),
        "picture": ((1.5, 1.4, -4.085), (1.2, 1.0, 0.03)),
    }
    things = []
    for kind, (centre, size) in boxes.items():
        parts = Parts()
        parts.box(centre, size)
        solid = parts.build()
        things.append(Thing(kind, solid.vertices, solid.faces))
    return tuple(things)
