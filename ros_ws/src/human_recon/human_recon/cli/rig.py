"""`human-recon rig`: a mesh of a person becomes a template that is deformed to every frame."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.errors import CommandError

if TYPE_CHECKING:
    import numpy as np

    from human_recon.body.model import BodyModel
    from human_recon.body.state import BodyState
    from human_recon.template.rigging import RiggedMesh

AXES = ("x", "-x", "y", "-y", "z", "-z")
_SIZES = (0.4, 2.6)  # metres, the longest side of a mesh of a person
_AWAY = 2.6  # metres from the mesh to the camera that looks at it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help=".ply, .glb, .obj or .stl of one whole person, in any clear pose")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the template, .npz")
    parser.add_argument("--up", choices=AXES, default="y", help="which axis of the mesh points up (default: y)")
    parser.add_argument("--scale", type=float, default=1.0, help="metres per unit of the mesh (default: 1)")
    parser.add_argument("--body", type=Path, help="body model, SMPL's .npz or .pkl; default: the open adult body")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the mesh, the body in it and new poses")


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from human_recon.io.mesh_import import read_mesh

    if args.out.suffix.lower() != ".npz":
        raise CommandError(f"{args.out}: templates are written as .npz")
    if not (math.isfinite(args.scale) and args.scale > 0.0):
        raise CommandError(f"--scale {args.scale:g} is not a positive number")
    vertices, faces = read_mesh(args.mesh)
    vertices = args.scale * vertices @ _upright(args.up).T
    size = float(np.ptp(vertices, axis=0).max())
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise CommandError(
            f"{args.mesh}: {size:.3g} m in size, which is no person; give metres per unit with --scale, "
            f"for example {args.scale * 10.0 ** -round(math.log10(size / 1.7)):g}"
        )
    vertices -= 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))

    from human_recon.body.model import default_body_model, load_body_model
    from human_recon.fitting.priors import load_pose_mixture
    from human_recon.io.template_file import write_template
    from human_recon.template.rigging import RiggingError, rig

    body = load_body_model(args.body) if args.body is not None else default_body_model()
    print(f"{args.mesh.name}: {len(vertices)} vertices, {len(faces)} faces; looking for its pose", file=sys.stderr)
    prior, name = load_pose_mixture(), args.mesh.stem
    try:
        try:
            rigged = rig(vertices, faces, body, prior, _seen_states(vertices, faces, body), name)
        except RiggingError:  # the networks were wrong about it
            rigged = rig(vertices, faces, body, prior, _usual_states(vertices, body), name)
    except RiggingError as error:
        raise CommandError(f"{args.mesh}: {error}") from None
    write_template(args.out, rigged.template, body)
    if args.picture is not None:
        from human_recon.cli.reconstruct import write_picture

        write_picture(args.picture, _picture(vertices, rigged, body))
    from human_recon.body.measure import stature

    print(
        f"{args.out}: {len(vertices)} vertices on a body {stature(body, rigged.state.betas):.2f} m tall, "
        f"{1000 * rigged.distance:.0f} mm from its skin in the median"
    )
    return 0


def _upright(axis: str) -> np.ndarray:
    """A rotation [3, 3] that takes an axis to y."""
    import numpy as np

    k = "xyz".index(axis[-1])
    if axis == "y":
        return np.eye(3)
    if axis == "-y":
        return np.diag([1.0, -1.0, -1.0])
    sign = -1.0 if axis.startswith("-") else 1.0
    # A quarter turn in the plane of that axis and y.
    turn = np.zeros((3, 3))
    turn[1, k] = sign
    turn[k, 1] = -sign
    turn[2 - k, 2 - k] = 1.0
    return turn


def _seen_states(vertices: np.ndarray, faces: np.ndarray, body: BodyModel) -> list[BodyState]:
    """What the networks see in depth images of the mesh from four sides, in the mesh' frame."""
    import numpy as np

    from human_recon.body.model import default_body_model
    from human_recon.camera.frame import Frame
    from human_recon.camera.intrinsics import CameraIntrinsics
    from human_recon.geometry.rasterizer import rasterize
    from human_recon.inference.choice import EngineChoice, open_engine
    from human_recon.perception.codebook import Codebook
    from human_recon.perception.learned import LearnedPerception
    from human_recon.resources import model_path

    if body is not default_body_model():
        return []  # the networks speak of the body they were trained with
    choice = EngineChoice("onnxruntime", "fp32")
    perception = LearnedPerception(
        open_engine("people_net", choice),
        open_engine("body_net", choice),
        Codebook.load(model_path("body_net/codebook.npz")),
        body,
    )
    camera = CameraIntrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)
    states = []
    for k in range(4):
        view = _turn_about_y(0.5 * math.pi * k)
        optical = np.diag([1.0, -1.0, -1.0]) @ view  # y down, looking at -z
        seen = vertices @ optical.T + [0.0, 0.0, _AWAY]
        depth = rasterize(seen[None], faces, camera).depth
        # A floor under the feet and a wall behind, as in the rooms that the networks know.
        rays = camera.rays()
        low = float(seen[:, 1].max())
        with np.errstate(divide="ignore"):
            floor = np.where(rays[..., 1] > 0.0, low / rays[..., 1], np.inf)
        room = np.minimum(floor, _AWAY + 1.5).astype(np.float32)
        frame = Frame(0, "mesh", np.where(depth > 0.0, depth, room), camera)
        for person in perception.detect(frame).people:
            states.append(_moved(body, person.state, optical.T, -optical.T @ [0.0, 0.0, _AWAY]))
    return states


def _usual_states(vertices: np.ndarray, body: BodyModel) -> list[BodyState]:
    """Standing with arms out, half down and down, facing four sides."""
    import numpy as np

    from human_recon.body.lbs import pose_body
    from human_recon.body.state import BodyState
    from human_recon.fitting.starts import standing_pose

    states = []
    for drop in (0.0, 0.6, 1.0):
        for k in range(4):
            pose = drop * standing_pose()
            pose[0] = [0.0, 0.5 * math.pi * k, 0.0]
            posed = pose_body(body, BodyState(np.zeros(10), pose, np.zeros(3))).vertices
            middle = 0.5 * (posed.min(axis=0) + posed.max(axis=0))
            states.append(BodyState(np.zeros(10), pose, -middle.astype(np.float64)))
    return states


def _turn_about_y(angle: float) -> np.ndarray:
    import numpy as np

    from human_recon.geometry.rotations import rotvec_to_matrix

    return rotvec_to_matrix(np.array([0.0, angle, 0.0]))


def _moved(body: BodyModel, state: BodyState, rotation: np.ndarray, translation: np.ndarray) -> BodyState:
    """A body in another frame, x -> rotation x + translation."""
    from human_recon.body.state import BodyState
    from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

    pelvis = body.j_template[0] + body.j_shapedirs[0] @ state.betas  # what SMPL turns about
    pose = state.pose.copy()
    pose[0] = matrix_to_rotvec(rotation @ rotvec_to_matrix(state.pose[0]))
    return BodyState(state.betas, pose, rotation @ (pelvis + state.trans) + translation - pelvis)


def _picture(vertices: np.ndarray, rigged: RiggedMesh, body: BodyModel) -> np.ndarray:
    """The mesh, the body inside, the rest pose and two other poses, from the front: RGB."""
    import numpy as np

    from human_recon.body.lbs import pose_body
    from human_recon.body.state import BodyState
    from human_recon.camera.intrinsics import CameraIntrinsics
    from human_recon.fitting.starts import seated_pose, standing_pose
    from human_recon.template.surface import pose_template
    from human_recon.visualization.palette import CARD, person_color
    from human_recon.visualization.shading import shade_meshes

    template, state = rigged.template, rigged.state
    turn = np.linalg.inv(_heading(state))
    inside = pose_body(body, state).vertices

    def posed(pose: np.ndarray) -> np.ndarray:
        return pose_template(body, template, BodyState(template.betas, pose, np.zeros(3))).vertices

    shown = [
        (vertices @ turn.T, template.faces),
        (inside @ turn.T, body.faces),
        (posed(np.zeros((24, 3))), template.faces),
        (posed(standing_pose()), template.faces),
        (posed(seated_pose()), template.faces),
    ]
    camera = CameraIntrinsics(360, 480, 620.0, 620.0, 179.5, 239.5)
    tiles = []
    for k, (points, faces) in enumerate(shown):
        seen = (points - 0.5 * (points.min(axis=0) + points.max(axis=0))) * [1.0, -1.0, -1.0] + [0.0, 0.0, 2.9]
        shaded = shade_meshes(
            seen[None].astype(np.float32), faces, camera, np.array([person_color(1 if k != 1 else 2)]), supersample=2
        )
        tile = np.array(CARD, np.float32) * (1.0 - shaded.coverage[..., None]) + shaded.color
        tiles.append(np.clip(tile, 0, 255).astype(np.uint8))
    return np.concatenate(tiles, axis=1)


def _heading(state: BodyState) -> np.ndarray:
    """The turn [3, 3] about y towards which a body faces."""
    from human_recon.geometry.rotations import rotvec_to_matrix

    forward = rotvec_to_matrix(state.pose[0])[:, 2]
    return _turn_about_y(math.atan2(forward[0], forward[2]))
