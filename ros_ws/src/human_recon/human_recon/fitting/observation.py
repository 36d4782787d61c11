"""The evidence about one person that a fit looks at, prepared once per frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial import cKDTree

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane

NORMAL_SCALE = 0.10  # metres: how far two points with opposite normals are apart in a search, halved


def features(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Points with their normals as positions [N, 6] for nearest-neighbour searches that respect orientation."""
    return np.concatenate([points, NORMAL_SCALE * normals], axis=-1)


def nearest_pixel(mask: np.ndarray) -> np.ndarray:
    """Flat index [H, W] int64 of the nearest True pixel of ``mask`` [H, W]; -1 everywhere if there is none."""
    if not mask.any():
        return np.full(mask.shape, -1, np.int64)
    # OpenCV labels the Voronoi cell of every zero pixel, in its own numbering.
    labels = cv2.distanceTransformWithLabels((~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[
        1
    ]
    index = np.zeros(int(labels.max()) + 1, np.int64)
    own = np.flatnonzero(mask)
    index[labels.ravel()[own]] = own
    return index[labels]


@dataclass(frozen=True)
class Observation:
    """One person's measured surface and the image around it, at the working resolution."""

    intrinsics: CameraIntrinsics  # of the working resolution
    depth: np.ndarray  # [H, W] metres, 0 = no reading
    mask: np.ndarray  # [H, W] bool, this person's pixels
    others: np.ndarray  # [H, W] bool, other people's pixels
    nearest_own: np.ndarray  # [H, W] flat index of the nearest pixel of the mask
    points: np.ndarray  # [N, 3] measured surface, evenly spread over the image
    normals: np.ndarray  # [N, 3]
    tree: cKDTree  # over features(points, normals)
    head: np.ndarray  # [3] top of the head, metres
    floor: Plane | None
    up: np.ndarray  # [3]


def observe(
    points: np.ndarray,
    normals: np.ndarray,
    mask: np.ndarray,
    head: np.ndarray,
    everybody: np.ndarray,
    intrinsics: CameraIntrinsics,
    floor: Plane | None,
    up: np.ndarray,
    *,
    width: int = 320,
    margin: float = 0.35,
    max_points: int = 3000,
) -> Observation:
    """Collect what a fit needs of one person.

    Args:
        points: [H, W, 3] metres, z = 0 where there is no reading.
        normals: [H, W, 3] unit normals or zero.
        mask: [H, W] bool, the person's pixels.
        head: [3] top of the head, metres.
        everybody: [H, W] bool, the pixels of all people.
        intrinsics: of the images above, undistorted.
        floor: the floor, if known.
        up: [3] against gravity.
        width: images are thinned to at most this many columns,
        margin: and cut to the person with this much around, metres.
        max_points: as is the measured surface to this many points.
    """
    stride = max(1, -(-intrinsics.width // width))
    rows, columns = np.nonzero(mask)
    border = int(margin * intrinsics.fx / float(np.median(points[rows, columns, 2]))) if len(rows) else 0
    top, left = (max(0, int(i.min()) - border) if len(i) else 0 for i in (rows, columns))
    bottom, right = (int(i.max()) + border + 1 if len(i) else 1 for i in (rows, columns))
    window = (slice(top, bottom, stride), slice(left, right, stride))
    small_mask = np.ascontiguousarray(mask[window])
    depth = np.ascontiguousarray(points[..., 2][window])
    # Pixel i of the window is pixel first + stride * i of the full image.
    small = replace(
        intrinsics,
        width=depth.shape[1],
        height=depth.shape[0],
        fx=intrinsics.fx / stride,
        fy=intrinsics.fy / stride,
        cx=(intrinsics.cx - left) / stride,
        cy=(intrinsics.cy - top) / stride,
        distortion_model="none",
        distortion=np.zeros(0),
    )
    usable = np.flatnonzero((mask & (np.abs(normals).sum(-1) > 0)).ravel())
    usable = usable[np.linspace(0, len(usable) - 1, min(max_points, len(usable))).astype(int)]
    chosen, chosen_normals = points.reshape(-1, 3)[usable], normals.reshape(-1, 3)[usable]
    return Observation(
        intrinsics=small,
        depth=depth,
        mask=small_mask,
        others=np.ascontiguousarray((everybody & ~mask)[window]),
        nearest_own=nearest_pixel(small_mask),
        points=chosen,
        normals=chosen_normals,
        tree=cKDTree(features(chosen, chosen_normals)),
        head=head,
        floor=floor,
        up=up,
    )
