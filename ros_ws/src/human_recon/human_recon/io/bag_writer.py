"""Frames as rosbag2 (mcap or sqlite3): depth image, camera info and colour, as a camera driver publishes them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.atomic import atomic_directory
from human_recon.io.encodings import encode_depth

_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_IMAGE = "sensor_msgs/msg/Image"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


class BagWriter:
    """Writes frames one by one; use as a context manager.

    The bag is a directory that appears under its name when the block ends without an error, and not at all otherwise.
    Messages are stored under their own stamps, in nanoseconds.

    Raises FileExistsError when ``path`` exists, ValueError for an unknown storage or encoding.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        storage: str = "mcap",
        encoding: str = "16UC1",
        depth_topic: str = "/camera/depth/image_raw",
        info_topic: str = "/camera/depth/camera_info",
        color_topic: str = "/camera/color/image_raw",
    ) -> None:
        if storage not in _STORAGE:
            raise ValueError(f"bag storage {storage!r} is unknown; use mcap or sqlite3")
        if encoding not in ("16UC1", "32FC1"):
            raise ValueError(f"depth encoding {encoding!r} is unknown; use 16UC1 or 32FC1")
        self._path = Path(path)
        self._storage = storage
        self._encoding = encoding
        self._topics = {"depth": depth_topic, "info": info_topic, "color": color_topic}
        # The definitions of Image and CameraInfo are the same in every ROS 2 release.
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._stack = ExitStack()

    def __enter__(self) -> BagWriter:
        with ExitStack() as stack:
            directory = stack.enter_context(atomic_directory(self._path))
            # Version 8 is the newest that Jazzy reads; Kilted reads it too.
            writer = Writer(directory, version=8, storage_plugin=_STORAGE[self._storage])
            self._writer = stack.enter_context(writer)
            self._depth = self._add("depth", _IMAGE)
            self._info = self._add("info", _CAMERA_INFO)
            self._color: Any = None  # added with the first colour image
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _add(self, role: str, kind: str) -> Any:
        return self._writer.add_connection(self._topics[role], kind, typestore=self._types)

    def write(self, frame: Frame) -> None:
        """Append one frame: CameraInfo, depth and, when the frame has it, colour (rgb8)."""
        image = encode_depth(frame.depth, self._encoding)
        self._put(self._info, frame, self._camera_info(frame))
        self._put(self._depth, frame, self._image(frame, self._encoding, image))
        if frame.color is not None:
            if self._color is None:
                self._color = self._add("color", _IMAGE)
            self._put(self._color, frame, self._image(frame, "rgb8", frame.color))

    def _put(self, connection: Any, frame: Frame, message: Any) -> None:
        data = self._types.serialize_cdr(message, connection.msgtype)
        self._writer.write(connection, frame.stamp_ns, data)

    def _header(self, frame: Frame) -> Any:
        seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
        stamp = self._types.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id)

    def _image(self, frame: Frame, encoding: str, pixels: np.ndarray) -> Any:
        height, width = pixels.shape[:2]
        flat = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
        return self._types.types[_IMAGE](
            header=self._header(frame),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=flat.size // height,
            data=flat,
        )

    def _camera_info(self, frame: Frame) -> Any:
        camera = frame.intrinsics
        region = self._types.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types.types[_CAMERA_INFO](
            header=self._header(frame),
            height=camera.height,
            width=camera.width,
            distortion_model=_ros_model(camera),
            d=camera.distortion if camera.distortion.size else np.zeros(5),
            k=camera.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([camera.matrix, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )


def _ros_model(camera: CameraIntrinsics) -> str:
    """ROS has no name for no distortion; drivers send plumb_bob with zeros."""
    return "plumb_bob" if camera.distortion_model == "none" else camera.distortion_model


def write_bag(path: str | Path, frames: Iterable[Frame], *, storage: str = "mcap", encoding: str = "16UC1") -> None:
    """Write ``frames`` as the bag ``path`` on the default topics of ``BagWriter``."""
    with BagWriter(path, storage=storage, encoding=encoding) as writer:
        for frame in frames:
            writer.write(frame)
