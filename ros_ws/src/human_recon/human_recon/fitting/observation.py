"""The evidence about one person that a fit looks at, prepared once per frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane

NORMAL_SCALE = 0.10  # metres: how far two points with opposite normals are apart in a search, halved


def features(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Points with their normals as positions [N, 6] for nearest-neighbour searches that respect orientation."""
    return np.concatenate([points, NORMAL_SCALE * normals], axis=-1)


@dataclass(frozen=True)
class Observation:
    """One person's measured surface and the image around it, at the working resolution."""

    intrinsics: CameraIntrinsics  # of the working resolution
    depth: np.ndarray  # [H, W] metres, 0 = no reading
    mask: np.ndarray  # [H, W] bool, this person's pixels
    others: np.ndarray  # [H, W] bool, other people's pixels
    nearest_own: np.ndarray  # [2, H, W] row and column of the nearest pixel of the mask
    points: np.ndarray  # [N, 3] measured surface, evenly spread over the image
    normals: np.ndarray  # [N, 3]
    tree: cKDTree  # over features(points, normals)
    floor: Plane | None
    up: np.ndarray  # [3]


def observe(
    points: np.ndarray,
    normals: np.ndarray,
    mask: np.ndarray,
    everybody: np.ndarray,
    intrinsics: CameraIntrinsics,
    floor: Plane | None,
    up: np.ndarray,
    *,
    width: int = 320,
    max_points: int = 3000,
) -> Observation:
    """Collect what a fit needs of one person.

    Args:
        points: [H, W, 3] metres, z = 0 where there is no reading.
        normals: [H, W, 3] unit normals or zero.
        mask: [H, W] bool, the person's pixels.
        everybody: [H, W] bool, the pixels of all people.
        intrinsics: of the images above, undistorted.
        floor: the floor, if known.
        up: [3] against gravity.
        width: images are thinned to at most this many columns.
        max_points: as is the measured surface to this many points.
    """
    stride = max(1, -(-intrinsics.width // width))
    small_mask = mask[::stride, ::stride]
    depth = points[::stride, ::stride, 2]
    # Pixel i of the thinned image is pixel stride * i of the full one.
    small = replace(
        intrinsics,
        width=depth.shape[1],
        height=depth.shape[0],
        fx=intrinsics.fx / stride,
        fy=intrinsics.fy / stride,
        cx=intrinsics.cx / stride,
        cy=intrinsics.cy / stride,
        distortion_model="none",
        distortion=np.zeros(0),
    )
    usable = np.flatnonzero((mask & (np.abs(normals).sum(-1) > 0)).ravel())
    usable = usable[np.linspace(0, len(usable) - 1, min(max_points, len(usable))).astype(int)]
    chosen, chosen_normals = points.reshape(-1, 3)[usable], normals.reshape(-1, 3)[usable]
    if small_mask.any():
        nearest = distance_transform_edt(~small_mask, return_distances=False, return_indices=True)
    else:
        nearest = np.indices(small_mask.shape)
    return Observation(
        intrinsics=small,
        depth=np.ascontiguousarray(depth),
        mask=np.ascontiguousarray(small_mask),
        others=np.ascontiguousarray((everybody & ~mask)[::stride, ::stride]),
        nearest_own=nearest,
        points=chosen,
        normals=chosen_normals,
        tree=cKDTree(features(chosen, chosen_normals)),
        floor=floor,
        up=up,
    )
