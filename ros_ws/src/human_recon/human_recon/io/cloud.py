"""Point clouds between the file readers and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.fit import CameraFitError, fit_intrinsics, virtual_camera
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import points_to_depth
from human_recon.io.errors import InputError

# An organised cloud whose points fall this close to their own pixels under the given camera is that camera's image;
# half a pixel would do for exact data, rounding of files and registration of colour to depth need a little more.
_SAME_CAMERA_PIXELS = 1.5


@dataclass(frozen=True)
class PointCloud:
    """Points in a camera optical frame (x right, y down, z forward), metres."""

    points: np.ndarray  # [N, 3] float32, or [H, W, 3] when organised as an image; NaN where there is no reading
    colors: np.ndarray | None = None  # same leading shape, 3 uint8 RGB

    @property
    def organised(self) -> bool:
        """True when the points form an image: one point per pixel."""
        return self.points.ndim == 3


def cloud_to_frame(
    cloud: PointCloud,
    intrinsics: CameraIntrinsics | None = None,
    *,
    stamp_ns: int = 0,
    frame_id: str = "camera",
    name: str = "point cloud",
) -> Frame:
    """See a cloud as a depth image again.

    An organised cloud keeps its pixels: its z is the depth, its camera the given one or a pinhole fitted to it. An
    organised cloud that is not an image of the given camera, and every unorganised cloud, is splatted into the given
    camera; an unorganised cloud without intrinsics into a virtual pinhole at the origin that covers it (see
    ``virtual_camera``), with pixels as coarse as the points are sparse.

    ``name`` is what errors call the cloud. Raises InputError for an empty cloud, and for one whose camera must be
    guessed but cannot.
    """
    if cloud.points.size == 0:
        raise InputError(f"{name}: the cloud has no points; record a cloud with the sensor's view in it")
    if cloud.organised:
        depth = np.where(np.isfinite(cloud.points).all(axis=-1), cloud.points[..., 2], np.float32(0))
        depth = np.where(depth > 0, depth, np.float32(0)).astype(np.float32)
        if intrinsics is None:
            try:
                intrinsics = fit_intrinsics(cloud.points)
            except CameraFitError as error:
                raise InputError(f"{name}: {error}; give the camera's intrinsics") from None
            return Frame(stamp_ns, frame_id, depth, intrinsics, cloud.colors)
        if depth.shape == (intrinsics.height, intrinsics.width) and _is_image_of(cloud.points, intrinsics):
            return Frame(stamp_ns, frame_id, depth, intrinsics, cloud.colors)

    points = cloud.points.reshape(-1, 3)
    colors = None if cloud.colors is None else cloud.colors.reshape(-1, 3)
    if intrinsics is None:
        try:
            intrinsics = virtual_camera(points)
        except CameraFitError as error:
            raise InputError(f"{name}: {error}; give the camera's intrinsics") from None
    depth, index = points_to_depth(points, intrinsics, return_index=True)
    image = None
    if colors is not None:
        image = np.where((index >= 0)[..., None], colors[index], np.uint8(0))
    return Frame(stamp_ns, frame_id, depth, intrinsics, image)


def _is_image_of(points: np.ndarray, intrinsics: CameraIntrinsics) -> bool:
    """True when each point of an organised cloud projects onto its own pixel (median error; no points: True)."""
    valid = np.isfinite(points).all(axis=-1) & (points[..., 2] > 0)
    rows, columns = np.nonzero(valid)
    if rows.size == 0:
        return True
    step = max(1, rows.size // 5000)
    rows, columns = rows[::step], columns[::step]
    error = intrinsics.project(points[rows, columns]) - np.stack([columns, rows], axis=-1)
    error = np.abs(np.where(np.isfinite(error), error, np.inf)).max(axis=-1)
    return bool(np.median(error) <= _SAME_CAMERA_PIXELS)
