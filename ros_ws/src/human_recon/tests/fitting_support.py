"""Evidence and guesses about bodies whose truth is known, for tests of the fit."""

from __future__ import annotations

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.fitting.body_fit import FitProblem, Scene
from human_recon.geometry.normals import vertex_normals
from human_recon.perception.evidence import Evidence
from human_recon.perception.hypothesis import BodyGuess


def some_state(rng: np.random.Generator, amount: float = 0.25) -> BodyState:
    """Somebody about 3 m away, upright in the camera frame (y down), turned and bent at random."""
    pose = rng.normal(0.0, amount, (24, 3))
    pose[0] = [np.pi, 0.0, 0.0]  # y up -> y down, facing the camera
    pose[16, 2], pose[17, 2] = -1.0, 1.0  # arms hanging down
    return BodyState(rng.normal(0.0, 1.0, 10), pose, np.array([rng.normal(0, 0.3), 0.2, 3.0 + rng.normal(0, 0.3)]))


def evidence_of_body(
    model: BodyModel,
    state: BodyState,
    rng: np.random.Generator,
    count: int = 400,
    thickness: np.ndarray | float = 0.0,
    noise: float = 0.0,
    similarity: float = 0.9,
) -> Evidence:
    """Vertices that face the camera, each seen where it is; ``thickness`` [V] metres outside of the skin."""
    vertices = pose_body(model, state).vertices.astype(np.float64)
    normals = vertex_normals(vertices, model.faces)
    facing = np.flatnonzero((normals * vertices).sum(axis=1) < -0.2 * np.linalg.norm(vertices, axis=1))
    ids = rng.choice(facing, min(count, len(facing)), replace=False)
    outside = np.broadcast_to(thickness, (len(vertices),))[ids, None] * normals[ids]
    points = vertices[ids] + outside + rng.normal(0.0, noise, (len(ids), 3))
    return Evidence(
        points=points,
        normals=normals[ids],
        vertices=ids.astype(np.int32),
        parts=vertex_parts(model)[ids],
        similarity=np.full(len(ids), similarity, np.float32),
        likelihood=np.ones(len(ids), np.float32),
    )


def no_evidence() -> Evidence:
    """Nothing was seen."""
    return Evidence(
        np.zeros((0, 3)),
        np.zeros((0, 3)),
        np.zeros(0, np.int32),
        np.zeros(0, np.uint8),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
    )


def guess_of(model: BodyModel, state: BodyState, sigma: float | np.ndarray = 0.06) -> BodyGuess:
    """A network that sees ``state`` and is as sure as ``sigma`` metres."""
    return BodyGuess(
        state, pose_body(model, state).joints, np.broadcast_to(np.asarray(sigma, np.float32), (24,)).copy()
    )


def perturbed(state: BodyState, rng: np.random.Generator, turn: float = 0.15, shift: float = 0.05) -> BodyState:
    """Another body nearby."""
    return BodyState(
        state.betas + rng.normal(0, 0.5, 10),
        state.pose + rng.normal(0, turn, (24, 3)),
        state.trans + rng.normal(0, shift, 3),
    )


def empty_scene() -> Scene:
    """A camera that measures nothing."""
    camera = CameraIntrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)
    frame = Frame(0, "camera", np.zeros((48, 64), np.float32), camera)
    return Scene(frame, np.full((48, 64), -1, np.int16), None, None)


def problem_of(guess: BodyGuess, evidence: Evidence, expected=None) -> FitProblem:
    """Person 0."""
    return FitProblem(0, evidence, guess, expected)
