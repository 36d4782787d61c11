"""A scene before a camera looks at it.

World frame: y up, the floor is y = 0, metres. Camera frames are optical (x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.simulation.outfit import Outfit


@dataclass(frozen=True, eq=False)
class Actor:
    """A person, posed and dressed, in the world frame."""

    betas: np.ndarray  # [10] float64
    pose: np.ndarray  # [24, 3] float64, axis-angle; pose[0] turns the body frame into the world frame
    trans: np.ndarray  # [3] float64, SMPL's translation
    outfit: Outfit
    surface: np.ndarray  # [V, 3] float32, the outfit's vertices
    joints: np.ndarray  # [24, 3] float32
    activity: str  # "standing", "sitting", "walking", ...


@dataclass(frozen=True, eq=False)
class Thing:
    """Furniture, clutter, carried objects, walls: a mesh in the world frame, both sides solid."""

    kind: str  # "chair", "floor", "wall", "box", ...
    vertices: np.ndarray  # [V, 3] float32
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside


@dataclass(frozen=True, eq=False)
class Scene:
    """People and things; things without people are a scene as well."""

    actors: tuple[Actor, ...]
    things: tuple[Thing, ...]


@dataclass(frozen=True, eq=False)
class View:
    """A camera in the scene."""

    world_to_camera: np.ndarray  # [3, 4] float64: x_camera = R x_world + t
    intrinsics: CameraIntrinsics  # of the image to be rendered, undistorted
    stride: float = 1.0  # native sensor pixels per rendered pixel: sensors quantise and smear in native pixels
    preset: str = "kinect_v1"  # name in camera.presets: decides the sensor model
