"""What PeopleNet says of a frame, pixel by pixel and in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.inference.engine import Engine
from human_recon.perception.people_input import CoarseView, encode

STRIDE = 2  # output pixel (i, j) speaks for coarse pixel (2 i, 2 j)
OUTPUTS = 8
# Scales outside this range were not told apart in training.
_LOG_SCALE = (-5.0, 2.0)


@dataclass(frozen=True, eq=False)
class PeopleFields:
    """What is known at every other pixel of the coarse image; camera frame, metres. 0 where there is no reading."""

    foreground: np.ndarray  # [h, w] float32, probability that a person is seen
    pelvis: np.ndarray  # [h, w, 3] float32, where the pelvis of this person is
    chest: np.ndarray  # [h, w, 3] float32
    scale: np.ndarray  # [h, w] float32, scale b of the Laplace distribution of the votes' errors in each axis
    points: np.ndarray  # [h, w, 3] float32, what was measured
    area: np.ndarray  # [h, w] float32, square metres, seen from the front, that the pixel covers


def read_people_net(engine: Engine, depth: np.ndarray, view: CoarseView) -> PeopleFields:
    """Ask PeopleNet about a full-resolution depth image [H, W] (metres, 0 = no reading).

    Raises:
        ValueError: the engine's network is not a PeopleNet.
    """
    coarse, camera = view.sample(depth), view.intrinsics
    image = np.empty((1, 6, *coarse.shape), np.float32)
    encode(coarse, (camera.fx, camera.fy, camera.cx, camera.cy), image[0])
    outputs = engine.run(image)
    shape = (1, OUTPUTS, coarse.shape[0] // STRIDE, coarse.shape[1] // STRIDE)
    if "output" not in outputs or outputs["output"].shape != shape:
        found = {name: list(array.shape) for name, array in outputs.items()}
        raise ValueError(f"{engine.description} gives {found}; PeopleNet gives 'output' {list(shape)}")
    return decode(outputs["output"][0], coarse, camera)


def decode(output: np.ndarray, coarse: np.ndarray, camera: CameraIntrinsics) -> PeopleFields:
    """The fields of PeopleNet's output [8, h, w] for the coarse depth [2 h, 2 w]."""
    height, width = output.shape[1:]
    fields = PeopleFields(
        foreground=np.zeros((height, width), np.float32),
        pelvis=np.zeros((height, width, 3), np.float32),
        chest=np.zeros((height, width, 3), np.float32),
        scale=np.zeros((height, width), np.float32),
        points=np.zeros((height, width, 3), np.float32),
        area=np.zeros((height, width), np.float32),
    )
    _decode(
        np.ascontiguousarray(output),
        coarse,
        (camera.fx, camera.fy, camera.cx, camera.cy),
        fields.foreground,
        fields.pelvis,
        fields.chest,
        fields.scale,
        fields.points,
        fields.area,
    )
    return fields


def decode_reference(output: np.ndarray, coarse: np.ndarray, camera: CameraIntrinsics) -> PeopleFields:
    """:func:`decode`, written to be read."""
    z = coarse[::STRIDE, ::STRIDE].astype(np.float64)
    valid = z > 0
    v, u = np.mgrid[0 : coarse.shape[0] : STRIDE, 0 : coarse.shape[1] : STRIDE]
    points = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=-1)
    offsets = np.moveaxis(output[1:7], 0, -1)
    return PeopleFields(
        foreground=(valid / (1.0 + np.exp(-output[0].astype(np.float64)))).astype(np.float32),
        pelvis=((points + offsets[..., :3]) * valid[..., None]).astype(np.float32),
        chest=((points + offsets[..., 3:]) * valid[..., None]).astype(np.float32),
        scale=(np.exp(np.clip(output[7], *_LOG_SCALE)) * valid).astype(np.float32),
        points=points.astype(np.float32),
        area=(z**2 * STRIDE**2 / (camera.fx * camera.fy)).astype(np.float32),
    )


@numba.njit(cache=True, nogil=True)
def _decode(output, coarse, camera, foreground, pelvis, chest, scale, points, area):
    fx, fy, cx, cy = camera
    for i in range(output.shape[1]):
        for j in range(output.shape[2]):
            z = np.float64(coarse[STRIDE * i, STRIDE * j])
            if z <= 0.0:
                continue
            x, y = (STRIDE * j - cx) / fx * z, (STRIDE * i - cy) / fy * z
            points[i, j, 0], points[i, j, 1], points[i, j, 2] = x, y, z
            foreground[i, j] = 1.0 / (1.0 + math.exp(-np.float64(output[0, i, j])))
            pelvis[i, j, 0] = x + output[1, i, j]
            pelvis[i, j, 1] = y + output[2, i, j]
            pelvis[i, j, 2] = z + output[3, i, j]
            chest[i, j, 0] = x + output[4, i, j]
            chest[i, j, 1] = y + output[5, i, j]
            chest[i, j, 2] = z + output[6, i, j]
            scale[i, j] = math.exp(min(max(np.float64(output[7, i, j]), _LOG_SCALE[0]), _LOG_SCALE[1]))
            area[i, j] = z * z * STRIDE * STRIDE / (fx * fy)
