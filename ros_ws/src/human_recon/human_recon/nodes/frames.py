"""Sensor messages to ``Frame``. Knows the messages' fields only, not rclpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.cloud import PointCloud, cloud_to_frame
from human_recon.io.encodings import decode_cloud, decode_color, decode_depth
from human_recon.io.errors import InputError

_MILLIMETRE = 0.001
_NEAREST = 1e-6  # metres: 0 means no reading, whatever the limits say
# Stands for the camera of an empty cloud that came without one: there is nothing to see in its image.
_NOMINAL_CAMERA = CameraIntrinsics(64, 48, 60.0, 60.0, 31.5, 23.5)


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def camera_intrinsics(info: Any, rectified: bool) -> CameraIntrinsics:
    """The camera of a sensor_msgs/CameraInfo, for the image as it is sent. Raises InputError."""
    try:
        return CameraIntrinsics.from_camera_info(
            info.width,
            info.height,
            np.asarray(info.k).tolist(),  # Python's own numbers: they are quoted in what is wrong with them
            np.asarray(info.d).tolist(),
            info.distortion_model,
            p=np.asarray(info.p).tolist(),
            rectified=rectified,
            binning=(info.binning_x, info.binning_y),
            roi=(info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height),
        )
    except ValueError as error:
        raise InputError(f"CameraInfo: {error}") from None


def frame_from_images(
    image: Any,
    info: Any,
    color_image: Any = None,
    *,
    rectified: bool = False,
    unit: float = _MILLIMETRE,
    near: float = 0.0,
    far: float = np.inf,
    up: np.ndarray | None = None,
) -> Frame:
    """A frame from a depth sensor_msgs/Image, its CameraInfo and, when given, the colour image registered to it.

    ``unit`` is metres per count of 16-bit depth; readings outside [near, far] metres count as none. Raises InputError
    when a message cannot be used or they do not fit together.
    """
    intrinsics = camera_intrinsics(info, rectified)
    depth = decode_depth(image.height, image.width, image.encoding, bool(image.is_bigendian), image.step, image.data)
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise InputError(
            f"the depth image is {depth.shape[1]} x {depth.shape[0]} pixels, its CameraInfo {intrinsics.width} x "
            f"{intrinsics.height}: the two topics do not belong together"
        )
    if image.encoding != "32FC1" and unit != _MILLIMETRE:
        depth *= np.float32(unit / _MILLIMETRE)
    depth[(depth < max(near, _NEAREST)) | (depth > far)] = 0.0
    color = None
    if color_image is not None:
        color = decode_color(
            color_image.height, color_image.width, color_image.encoding, color_image.step, color_image.data
        )
        if color.shape[:2] != depth.shape:
            raise InputError(
                f"the colour image is {color.shape[1]} x {color.shape[0]} pixels, the depth image {depth.shape[1]} x "
                f"{depth.shape[0]}: use a registered (aligned) pair"
            )
    return Frame(stamp_ns(image.header), image.header.frame_id, depth, intrinsics, color, up)


def frame_from_cloud(
    cloud: Any, info: Any = None, *, near: float = 0.0, far: float = np.inf, up: np.ndarray | None = None
) -> Frame:
    """A frame from a sensor_msgs/PointCloud2 in a camera optical frame, with its CameraInfo when there is one.

    Readings outside [near, far] metres count as none; a cloud of no points is a frame without readings. Raises
    InputError when the cloud cannot be used.
    """
    intrinsics = None if info is None else camera_intrinsics(info, rectified=False)
    stamp, frame_id = stamp_ns(cloud.header), cloud.header.frame_id
    fields = [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields]
    missing = [axis for axis in "xyz" if axis not in [name for name, *_ in fields]]
    if missing:  # said of an empty cloud too: it will not be better when it is full
        names = ", ".join(name for name, *_ in fields) or "none"
        raise InputError(f"the cloud has no field {', '.join(missing)} (fields: {names}); choose a topic with x, y, z")
    if cloud.width == 0 or cloud.height == 0:
        camera = intrinsics or _NOMINAL_CAMERA
        nothing = np.zeros((camera.height, camera.width), np.float32)
        return Frame(stamp, frame_id, nothing, camera, None, up)
    decoded = decode_cloud(
        cloud.height, cloud.width, fields, cloud.is_bigendian, cloud.point_step, cloud.row_step, cloud.data
    )
    z = decoded.points[..., 2]
    in_range = (z >= max(near, _NEAREST)) & (z <= far)  # false for NaN
    points = np.where(in_range[..., None], decoded.points, np.float32(np.nan))
    frame = cloud_to_frame(PointCloud(points, decoded.colors), intrinsics, name="the cloud")
    return Frame(stamp, frame_id, frame.depth, frame.intrinsics, frame.color, up)
