"""Draw the open body: template, shapes, poses, parts and hands, for the eye to judge.

python -m training.bodies.draw_open_body --output ../../../docs/images/open_body.png
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, load_body_model, load_hand_model
from human_recon.body.parts import face_parts, part_colors, surface_patches
from human_recon.body.skeleton import JOINT_NAMES
from human_recon.body.state import BodyState
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import Raster
from human_recon.resources import model_path
from human_recon.visualization.canvas import draw_text
from human_recon.visualization.shading import shade_meshes

DISTANCE = 15.0  # metres from the camera to the middle of the body: close to parallel
SKIN = (208, 193, 178)
HEIGHT = 270  # pixels of a row

POSES: dict[str, dict[str, tuple[float, float, float]]] = {
    "arms down": {"l_shoulder": (0, 0, -1.25), "r_shoulder": (0, 0, 1.25)},
    "arms up": {
        "l_collar": (0, 0, 0.35),
        "r_collar": (0, 0, -0.35),
        "l_shoulder": (0, 0, 0.95),
        "r_shoulder": (0, 0, -0.95),
    },
    "sitting": {
        "l_hip": (-1.5, 0, 0),
        "r_hip": (-1.5, 0, 0),
        "l_knee": (1.5, 0, 0),
        "r_knee": (1.5, 0, 0),
        "l_shoulder": (0, 0, -1.2),
        "r_shoulder": (0, 0, 1.2),
        "l_elbow": (0, -1.5, 0),
        "r_elbow": (0, 1.5, 0),
    },
    "elbows bent": {"l_elbow": (0, -2.1, 0), "r_elbow": (0, 2.1, 0)},
    "bent forward": {
        "spine1": (0.45, 0, 0),
        "spine2": (0.45, 0, 0),
        "spine3": (0.3, 0, 0),
        "l_shoulder": (0, -1.2, 0),
        "r_shoulder": (0, 1.2, 0),
    },
    "twisted": {
        "spine1": (0, 0.3, 0),
        "spine2": (0, 0.3, 0),
        "spine3": (0, 0.2, 0),
        "head": (0, 0.7, 0),
        "l_shoulder": (0.9, 0, 0),
        "l_wrist": (0.9, 0, 0),
        "r_wrist": (-0.9, 0, 0),
    },
    "running": {
        "l_hip": (-1.0, 0, 0),
        "l_knee": (1.9, 0, 0),
        "r_hip": (0.4, 0, 0),
        "r_knee": (0.4, 0, 0),
        "l_shoulder": (0, 0.5, -1.1),
        "r_shoulder": (0, 0.6, 1.1),
        "l_elbow": (0, -1.5, 0),
        "r_elbow": (0, 1.6, 0),
    },
}


def render(
    vertices: np.ndarray,
    faces: np.ndarray,
    width: int,
    metres: float,
    yaw: float = 0.0,
    pitch: float = 0.0,
    face_colors: np.ndarray | None = None,
) -> np.ndarray:
    """Picture [HEIGHT, width, 3] uint8 BGR of a mesh in the body frame, ``metres`` high, turned by yaw then pitch."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turn
    points = vertices @ turn.T
    points = points - 0.5 * (points.min(axis=0) + points.max(axis=0))
    points = points * [1.0, -1.0, -1.0] + [0.0, 0.0, DISTANCE]  # body frame to camera frame
    focal = HEIGHT * DISTANCE / metres
    camera = CameraIntrinsics(width, HEIGHT, focal, focal, 0.5 * (width - 1), 0.5 * (HEIGHT - 1))
    white = face_colors is not None
    shaded = shade_meshes(
        points[None].astype(np.float32),
        faces,
        camera,
        np.array([(255, 255, 255) if white else SKIN]),
        supersample=1 if white else 2,
    )
    color = shaded.color
    if face_colors is not None:
        color = color / 255.0 * _picked(face_colors, shaded.raster)
    picture = color + 255.0 * (1.0 - shaded.coverage[..., None])
    return np.clip(picture, 0, 255).astype(np.uint8)[:, :, ::-1].copy()


def _picked(face_colors: np.ndarray, raster: Raster) -> np.ndarray:
    return np.where(raster.face[..., None] >= 0, face_colors[raster.face], 0)


def posed(model: BodyModel, betas: tuple[float, ...] = (), **joints: tuple[float, float, float]) -> np.ndarray:
    """Vertices [V, 3] with the first betas and some joints set."""
    state = BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))
    state.betas[: len(betas)] = betas
    for name, rotation in joints.items():
        state.pose[JOINT_NAMES.index(name)] = rotation
    return pose_body(model, state).vertices


def draw() -> np.ndarray:
    """The whole figure, BGR."""
    adult, everyone = (load_body_model(model_path(f"body/open_body_{name}.npz")) for name in ("adult", "all"))
    faces, template = adult.faces, posed(adult)
    labels, _, _ = surface_patches(adult, 200)
    patch_colors = np.random.default_rng(3).integers(70, 255, (200, 3))
    parts = part_colors()[face_parts(adult)]
    right, left = (load_hand_model(model_path(f"body/open_hand_{side}.npz")) for side in ("right", "left"))
    closed = np.zeros((16, 3))
    closed[1:13, 2], closed[13:, 1] = 1.1, -0.5
    fist = pose_body(right, BodyState(np.zeros(10), closed, np.zeros(3))).vertices

    def pose_picture(name: str, width: int, yaw: float = 0.6, metres: float = 2.0) -> tuple[str, np.ndarray]:
        return name, render(posed(adult, (), **POSES[name]), faces, width, metres, yaw=yaw)

    rows = [
        [
            ("front", render(template, faces, 300, 1.9)),
            ("side", render(template, faces, 150, 1.9, yaw=np.pi / 2)),
            ("back", render(template, faces, 300, 1.9, yaw=np.pi)),
            ("24 parts", render(template, faces, 300, 1.9, face_colors=parts)),
            ("200 patches", render(template, faces, 300, 1.9, face_colors=patch_colors[labels[faces[:, 0]]])),
        ],
        [
            *(
                (f"beta {k} = {beta:+.0f}", render(_arms_down(adult, k, beta), faces, 170, 2.3, yaw=0.4))
                for k in range(3)
                for beta in (-2.0, 2.0)
            ),
            ("all ages, beta 0 = -2", render(_arms_down(everyone, 0, -2.0), faces, 165, 2.3, yaw=0.4)),
            ("all ages, beta 0 = -3", render(_arms_down(everyone, 0, -3.0), faces, 165, 2.3, yaw=0.4)),
        ],
        [
            pose_picture("arms down", 180),
            pose_picture("arms up", 200, yaw=0.3, metres=2.5),
            pose_picture("twisted", 280, yaw=0.1),
            pose_picture("elbows bent", 240, yaw=0.3),
            pose_picture("sitting", 200, yaw=1.0, metres=1.5),
            pose_picture("sitting", 250, yaw=1.5, metres=1.5),
        ],
        [
            pose_picture("bent forward", 230, yaw=0.9, metres=1.6),
            pose_picture("bent forward", 230, yaw=2.6, metres=1.6),
            pose_picture("running", 250, yaw=0.9),
            ("right hand", render(right.v_template, right.faces, 210, 0.26, pitch=1.4)),
            ("right hand, closed", render(fist, right.faces, 210, 0.26, pitch=0.5)),
            ("left hand", render(left.v_template, left.faces, 210, 0.26, pitch=1.4)),
        ],
    ]
    lines = []
    for row in rows:
        for name, picture in row:
            draw_text(picture, name, 8, 14, color=(60, 60, 60))
        line = np.hstack([picture for _, picture in row])
        lines.append(cv2.copyMakeBorder(line, 0, 0, 0, 1350 - line.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3))
    return np.vstack(lines)


def _arms_down(model: BodyModel, component: int, beta: float) -> np.ndarray:
    betas = (0.0,) * component + (beta,)
    return posed(model, betas, l_shoulder=(0, 0, -0.9), r_shoulder=(0, 0, 0.9))


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.bodies.draw_open_body", description="Draw the open bodies and hands into one picture."
    )
    parser.add_argument("--output", type=Path, required=True, help="PNG to write")
    options = parser.parse_args(arguments)
    picture = draw() // 4 * 4 + 3  # 64 shades are enough, and make a smaller file
    encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=options.output.parent, delete=False) as file:
        file.write(encoded.tobytes())
    os.chmod(file.name, 0o644)
    os.replace(file.name, options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
