"""What BodyNet says of each proposal: this person's mask, the place on the body of every cell, a first body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.body.lbs import forward_kinematics
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import JOINT_COUNT, PARENTS
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rotations import matrix_to_rotvec
from human_recon.inference.engine import Engine
from human_recon.perception.codebook import Codebook
from human_recon.perception.crops import SIZE, CropCamera, crop_lookup, crop_points
from human_recon.perception.people_input import CoarseView
from human_recon.perception.prompts import Proposal

CHANNELS = 5  # X, Y, Z, valid, prompt
STRIDE = 2  # cell (i, j) speaks for crop pixel (2 i, 2 j)
CELLS = SIZE // STRIDE
NO_PART = 255
_SHAPES = {
    "mask": (CELLS, CELLS),
    "parts": (JOINT_COUNT, CELLS, CELLS),
    "descriptor": (16, CELLS, CELLS),
    "rotations": (JOINT_COUNT, 6),
    "betas": (10,),
    "root": (3,),
    "joints_log_scale": (JOINT_COUNT,),
}
_LOG_SCALE = (-6.0, 1.0)  # the range in which training told scales apart
_MAX_BETA = 4.0  # standard deviations; nobody is farther from the mean shape
_LEAST_MASK = 0.2  # cells less likely this person's are given no place on the body


@dataclass(frozen=True, eq=False)
class BodyReading:
    """N proposals; cells are the crop pixels at even rows and columns."""

    crops: tuple[CropCamera, ...]
    mask: np.ndarray  # [N, 64, 64] float32, probability that the cell is this person's, 0 without a reading
    points: np.ndarray  # [N, 3, 64, 64] float32, what was measured in the cell, crop frame, metres
    valid: np.ndarray  # [N, 64, 64] bool, there is a reading
    prompt: np.ndarray  # [N, 64, 64] float32, what the network was told
    part: np.ndarray  # [N, 64, 64] uint8, NO_PART where the mask is unlikely
    part_scores: np.ndarray  # [N, 64, 64, 24] float32, logits of the parts, 0 likewise
    vertex: np.ndarray  # [N, 64, 64] int16, vertex of the body model, -1 likewise
    similarity: np.ndarray  # [N, 64, 64] float32, cosine of the cell's descriptor and its vertex's, 0 likewise
    states: tuple[BodyState, ...]  # camera frame
    joints: np.ndarray  # [N, 24, 3] float32, camera frame, metres
    joint_sigma: np.ndarray  # [N, 24] float32, one standard deviation per axis, metres

    @property
    def ahead(self) -> np.ndarray:
        """[N, 64, 64] float32, Z of the cells in the crop frame, metres."""
        return self.points[:, 2]


def crop_images(frame: Frame, view: CoarseView, proposals: Sequence[Proposal]) -> np.ndarray:
    """BodyNet's input [N, 5, 128, 128] float32, cut from the full-resolution frame."""
    images = np.empty((len(proposals), CHANNELS, SIZE, SIZE), np.float32)
    rows, columns = _coarse_pixels(frame.intrinsics, view)
    for image, proposal in zip(images, proposals, strict=True):
        lookup = crop_lookup(proposal.crop, frame.intrinsics)
        image[:4] = crop_points(frame.depth, lookup, proposal.crop, frame.intrinsics)
        _gather_prompt(lookup, rows, columns, proposal.prompt, image[4])
    return images


def _coarse_pixels(camera: CameraIntrinsics, view: CoarseView) -> tuple[np.ndarray, np.ndarray]:
    """The coarse image's row of each row of the camera, and column of each column; -1 outside."""
    coarse = view.intrinsics
    rows = np.floor((np.arange(camera.height) - camera.cy) / camera.fy * coarse.fy + coarse.cy + 0.5).astype(np.int32)
    columns = np.floor((np.arange(camera.width) - camera.cx) / camera.fx * coarse.fx + coarse.cx + 0.5).astype(np.int32)
    rows[(rows < 0) | (rows >= coarse.height)] = -1
    columns[(columns < 0) | (columns >= coarse.width)] = -1
    return rows, columns


@numba.njit(cache=True, nogil=True)
def _gather_prompt(lookup, rows, columns, prompt, result):
    """The prompt of the coarse image at each crop pixel, 0 outside of the image."""
    width = len(columns)
    for y in range(lookup.shape[0]):
        for x in range(lookup.shape[1]):
            result[y, x] = 0.0
            index = lookup[y, x]
            if index >= 0:
                row = rows[index // width]
                column = columns[index % width]
                if row >= 0 and column >= 0:
                    result[y, x] = prompt[row, column]


def read_body_net(
    engine: Engine, images: np.ndarray, proposals: Sequence[Proposal], codebook: Codebook, model: BodyModel
) -> BodyReading:
    """Ask BodyNet about ``images`` [N, 5, 128, 128], those of the N proposals, in one batch.

    Raises:
        ValueError: the engine's network is not a BodyNet, or the codebook is of other descriptors.
    """
    count = len(proposals)
    outputs = engine.run(images) if count else {k: np.empty((0, *shape), np.float32) for k, shape in _SHAPES.items()}
    for name, shape in _SHAPES.items():
        if name not in outputs or outputs[name].shape != (count, *shape):
            found = {key: list(array.shape) for key, array in outputs.items()}
            raise ValueError(f"{engine.description} gives {found}; BodyNet gives '{name}' {[count, *shape]}")
    valid = images[:, 3, ::STRIDE, ::STRIDE] > 0
    mask = np.where(valid, 1.0 / (1.0 + np.exp(-np.clip(outputs["mask"], -30.0, 30.0))), 0.0).astype(np.float32)
    part, part_scores, vertex, similarity = _places(mask, outputs, codebook)
    crops = tuple(proposal.crop for proposal in proposals)
    states = body_states(outputs, crops, model)
    scale = np.exp(np.clip(outputs["joints_log_scale"], *_LOG_SCALE))
    return BodyReading(
        crops=crops,
        mask=mask,
        points=np.ascontiguousarray(images[:, :3, ::STRIDE, ::STRIDE]),
        valid=valid,
        prompt=np.ascontiguousarray(images[:, 4, ::STRIDE, ::STRIDE]),
        part=part,
        part_scores=part_scores,
        vertex=vertex,
        similarity=similarity,
        states=states,
        joints=np.array([joints_of(model, state) for state in states], np.float32).reshape(count, JOINT_COUNT, 3),
        joint_sigma=(np.sqrt(2.0) * scale).astype(np.float32),  # a Laplace distribution's standard deviation
    )


def _places(
    mask: np.ndarray, outputs: Mapping[str, np.ndarray], codebook: Codebook
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Part, its scores, vertex and similarity of the cells that may be the person's, as in a `BodyReading`."""
    n, i, j = np.nonzero(mask > _LEAST_MASK)
    part, vertex = np.full(mask.shape, NO_PART, np.uint8), np.full(mask.shape, -1, np.int16)
    similarity = np.zeros(mask.shape, np.float32)
    scores = np.zeros((*mask.shape, JOINT_COUNT), np.float32)
    likely = _channels(np.ascontiguousarray(outputs["parts"]), n, i, j)
    scores[n, i, j], part[n, i, j] = likely, likely.argmax(axis=1)
    descriptors = _channels(np.ascontiguousarray(outputs["descriptor"]), n, i, j)
    vertex[n, i, j], similarity[n, i, j] = codebook.nearest(descriptors)
    return part, scores, vertex, similarity


@numba.njit(cache=True, nogil=True)
def _channels(image, n, i, j):
    """Channels of the given cells, [N, C, h, w] -> [M, C]."""
    result = np.empty((len(n), image.shape[1]), np.float32)
    for m in range(len(n)):
        for c in range(image.shape[1]):
            result[m, c] = image[n[m], c, i[m], j[m]]
    return result


def body_states(
    outputs: Mapping[str, np.ndarray], crops: Sequence[CropCamera], model: BodyModel
) -> tuple[BodyState, ...]:
    """BodyNet's bodies in the camera frame.

    Its rotations are against the crop frame; a state has them against the parent joint, the pelvis' against the camera.
    """
    if not crops:
        return ()
    turned = matrices_from_6d(outputs["rotations"])  # [N, 24, 3, 3]
    back = np.stack([crop.rotation.T for crop in crops])
    parents = np.array(PARENTS[1:])
    local = np.concatenate(
        [back[:, None] @ turned[:, :1], np.swapaxes(turned[:, parents], -1, -2) @ turned[:, 1:]], axis=1
    )
    poses = matrix_to_rotvec(local)
    states = []
    for n, crop in enumerate(crops):
        betas = np.clip(outputs["betas"][n].astype(np.float64), -_MAX_BETA, _MAX_BETA)
        pelvis = model.j_template[0] + model.j_shapedirs[0] @ betas
        trans = crop.to_camera(outputs["root"][n].astype(np.float64)) - pelvis
        states.append(BodyState(betas, poses[n], trans))
    return tuple(states)


def matrices_from_6d(columns: np.ndarray) -> np.ndarray:
    """[..., 6], the first two columns not yet orthonormal -> rotation matrices [..., 3, 3] float64.

    Zhou et al., "On the continuity of rotation representations in neural networks", CVPR 2019.
    """
    columns = np.asarray(columns, np.float64)
    first = _unit(columns[..., :3])
    second = columns[..., 3:]
    second = _unit(second - (first * second).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def joints_of(model: BodyModel, state: BodyState) -> np.ndarray:
    """Where the joints are, [24, 3] float64, metres, without skinning anything."""
    _, _, position, _ = forward_kinematics(
        model.parents, model.j_template, model.j_shapedirs, state.betas, state.pose, state.trans
    )
    return position
