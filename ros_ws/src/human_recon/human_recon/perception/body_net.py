"""What BodyNet says of each proposal: this person's mask, the place on the body of every cell, a first body."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

from human_recon.body.lbs import forward_kinematics
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import JOINT_COUNT, PARENTS
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rotations import matrix_to_rotvec_single
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
    part_scores: np.ndarray  # [N, 24, 64, 64] float32, logits of the parts
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
    camera = frame.intrinsics
    rows, columns = _coarse_pixels(camera, view.intrinsics)
    for image, proposal in zip(images, proposals, strict=True):
        lookup = crop_lookup(proposal.crop, camera)
        crop_points(frame.depth, lookup, proposal.crop, camera, out=image[:4])
        _gather_prompt(lookup, rows, columns, proposal.prompt, image[4])
    return images


@lru_cache(maxsize=4)
def _coarse_pixels(camera: CameraIntrinsics, coarse: CameraIntrinsics) -> tuple[np.ndarray, np.ndarray]:
    """The coarse image's row of each row of the camera, and column of each column; -1 outside."""
    rows = np.floor((np.arange(camera.height) - camera.cy) / camera.fy * coarse.fy + coarse.cy + 0.5).astype(np.int32)
    columns = np.floor((np.arange(camera.width) - camera.cx) / camera.fx * coarse.fx + coarse.cx + 0.5).astype(np.int32)
    rows[(rows < 0) | (rows >= coarse.height)] = -1
    columns[(columns < 0) | (columns >= coarse.width)] = -1
    return rows, columns


@numba.njit(cache=True, nogil=True)
def _gather_prompt(lookup, rows, columns, prompt, result):
    """The prompt of the coarse image at each crop pixel, 0 outside of the image."""
    width = np.uint32(len(columns))
    for y in range(lookup.shape[0]):
        for x in range(lookup.shape[1]):
            result[y, x] = 0.0
            index = lookup[y, x]
            if index >= 0:
                line = np.uint32(index) // width
                row, column = rows[line], columns[np.uint32(index) - line * width]
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
    crops = tuple(proposal.crop for proposal in proposals)
    mask, points, valid, prompt, cells = _at_cells(images, np.ascontiguousarray(outputs["mask"]))
    part_scores = np.ascontiguousarray(outputs["parts"])
    part, descriptors = _answers(cells, part_scores, np.ascontiguousarray(outputs["descriptor"]))
    vertex, similarity = np.full(mask.shape, -1, np.int16), np.zeros(mask.shape, np.float32)
    vertex.reshape(-1)[cells], similarity.reshape(-1)[cells] = codebook.nearest(descriptors)
    states = body_states(outputs, crops, model)
    scale = np.exp(np.clip(outputs["joints_log_scale"], *_LOG_SCALE))
    return BodyReading(
        crops=crops,
        mask=mask,
        points=points,
        valid=valid,
        prompt=prompt,
        part=part,
        part_scores=part_scores,
        vertex=vertex,
        similarity=similarity,
        states=states,
        joints=np.array([joints_of(model, state) for state in states], np.float32).reshape(count, JOINT_COUNT, 3),
        joint_sigma=(np.sqrt(2.0) * scale).astype(np.float32),  # a Laplace distribution's standard deviation
    )


@numba.njit(cache=True, nogil=True)
def _at_cells(images, logits):
    """Mask, points, valid and prompt of a `BodyReading`, and flat indices [M] of the cells worth a place on the body.

    For ``images`` [N, 5, 128, 128] and the mask's ``logits`` [N, 64, 64].
    """
    count, height, width = logits.shape
    mask, prompt = np.zeros((count, height, width), np.float32), np.empty((count, height, width), np.float32)
    points, valid = np.empty((count, 3, height, width), np.float32), np.empty((count, height, width), np.bool_)
    cells = np.empty(count * height * width, np.int64)
    used = 0
    for n in range(count):
        for i in range(height):
            for j in range(width):
                for c in range(3):
                    points[n, c, i, j] = images[n, c, STRIDE * i, STRIDE * j]
                prompt[n, i, j] = images[n, 4, STRIDE * i, STRIDE * j]
                valid[n, i, j] = images[n, 3, STRIDE * i, STRIDE * j] > 0
                if valid[n, i, j]:
                    mask[n, i, j] = 1.0 / (1.0 + math.exp(-min(max(np.float64(logits[n, i, j]), -30.0), 30.0)))
                    if mask[n, i, j] > _LEAST_MASK:
                        cells[used] = (n * height + i) * width + j
                        used += 1
    return mask, points, valid, prompt, cells[:used].copy()


@numba.njit(cache=True, nogil=True)
def _answers(cells, scores, descriptor):
    """Likeliest part [N, 64, 64] of the ``cells`` [M], NO_PART elsewhere, and their descriptors [M, 16].

    For ``scores`` [N, 24, 64, 64] of the parts and ``descriptor`` [N, 16, 64, 64].
    """
    count, parts, height, width = scores.shape
    size = height * width
    part = np.full((count, height, width), np.uint8(NO_PART))
    descriptors = np.empty((len(cells), descriptor.shape[1]), np.float32)
    best = np.empty(len(cells), np.float32)
    flat_part, flat_scores = part.reshape(count * size), scores.reshape((count, parts, size))
    flat_descriptor = descriptor.reshape((count, descriptor.shape[1], size))
    start = 0
    # Channel by channel: the cells of one lie close to each other.
    for n in range(count):
        stop = start
        while stop < len(cells) and cells[stop] < (n + 1) * size:
            stop += 1
        for m in range(start, stop):
            best[m] = flat_scores[n, 0, cells[m] - n * size]
            flat_part[cells[m]] = 0
        for p in range(1, parts):
            for m in range(start, stop):
                score = flat_scores[n, p, cells[m] - n * size]
                if score > best[m]:
                    best[m] = score
                    flat_part[cells[m]] = p
        for c in range(descriptor.shape[1]):
            for m in range(start, stop):
                descriptors[m, c] = flat_descriptor[n, c, cells[m] - n * size]
        start = stop
    return part, descriptors


def body_states(
    outputs: Mapping[str, np.ndarray], crops: Sequence[CropCamera], model: BodyModel
) -> tuple[BodyState, ...]:
    """BodyNet's bodies in the camera frame.

    Its rotations are against the crop frame; a state has them against the parent joint, the pelvis' against the camera.
    """
    if not crops:
        return ()
    back = np.stack([crop.rotation.T for crop in crops])
    poses = _poses(np.asarray(outputs["rotations"], np.float64), back, np.array(PARENTS))
    betas = np.clip(outputs["betas"].astype(np.float64), -_MAX_BETA, _MAX_BETA)
    states = []
    for n, crop in enumerate(crops):
        pelvis = model.j_template[0] + model.j_shapedirs[0] @ betas[n]
        trans = crop.to_camera(outputs["root"][n].astype(np.float64)) - pelvis
        states.append(BodyState(betas[n], poses[n], trans))
    return tuple(states)


@numba.njit(cache=True, nogil=True)
def _poses(columns, back, parents):
    """Axis-angles [N, 24, 3] against the parent joints, the first against the camera.

    For ``columns`` [N, 24, 6], as in :func:`matrices_from_6d`, of rotations against the crop frame, and the crops'
    rotations ``back`` [N, 3, 3] to the camera.
    """
    count, joints = columns.shape[:2]
    result = np.empty((count, joints, 3))
    turned = np.empty((joints, 3, 3))
    local = np.empty((3, 3))
    for n in range(count):
        for k in range(joints):
            a, b = columns[n, k, :3], columns[n, k, 3:]
            first = a / max(math.sqrt((a * a).sum()), 1e-9)
            second = b - (first * b).sum() * first
            second /= max(math.sqrt((second * second).sum()), 1e-9)
            for i in range(3):
                turned[k, i, 0], turned[k, i, 1] = first[i], second[i]
            turned[k, 0, 2] = first[1] * second[2] - first[2] * second[1]
            turned[k, 1, 2] = first[2] * second[0] - first[0] * second[2]
            turned[k, 2, 2] = first[0] * second[1] - first[1] * second[0]
        for k in range(joints):
            for i in range(3):
                for j in range(3):
                    local[i, j] = 0.0
                    for c in range(3):
                        before = back[n, i, c] if parents[k] < 0 else turned[parents[k], c, i]
                        local[i, j] += before * turned[k, c, j]
            matrix_to_rotvec_single(local, result[n, k])
    return result


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
