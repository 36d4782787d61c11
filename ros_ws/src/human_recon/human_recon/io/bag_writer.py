"""Frames as rosbag2 (mcap or sqlite3): depth image, camera info and colour, as a camera driver publishes them.

Where the truth about a frame is known it goes beside it: PersonArray on /ground_truth/people and label images.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.ground_truth import TrueFrame
from human_recon.io.atomic import atomic_directory
from human_recon.io.encodings import encode_depth
from human_recon.io.ground_truth import LABELS_TOPIC, PARTS_TOPIC, PEOPLE_TOPIC
from human_recon.io.person_messages import PERSON_ARRAY, message_types, true_person_array

_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_IMAGE = "sensor_msgs/msg/Image"
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


class BagWriter:
    """Writes frames one by one; use as a context manager.

    The bag is a directory that appears under its name when the block ends without an error, and not at all otherwise.
    Messages are stored under their own stamps, in nanoseconds. With ``compressed`` each message is compressed (zstd),
    which readers undo by themselves.

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
        compressed: bool = False,
    ) -> None:
        if storage not in _STORAGE:
            raise ValueError(f"bag storage {storage!r} is unknown; use mcap or sqlite3")
        if encoding not in ("16UC1", "32FC1"):
            raise ValueError(f"depth encoding {encoding!r} is unknown; use 16UC1 or 32FC1")
        self._path = Path(path)
        self._storage = storage
        self._encoding = encoding
        self._topics = {
            "depth": depth_topic,
            "info": info_topic,
            "color": color_topic,
            "people": PEOPLE_TOPIC,
            "labels": LABELS_TOPIC,
            "parts": PARTS_TOPIC,
        }
        self._compressed = compressed
        self._types = message_types()
        self._stack = ExitStack()

    def __enter__(self) -> BagWriter:
        with ExitStack() as stack:
            directory = stack.enter_context(atomic_directory(self._path))
            # Version 8 is the newest that Jazzy reads; Kilted reads it too.
            writer = Writer(directory, version=8, storage_plugin=_STORAGE[self._storage])
            if self._compressed:
                writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
            self._writer = stack.enter_context(writer)
            self._depth = self._add("depth", _IMAGE)
            self._info = self._add("info", _CAMERA_INFO)
            self._later: dict[str, Any] = {}  # topics that are added with their first message
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _add(self, role: str, kind: str) -> Any:
        return self._writer.add_connection(self._topics[role], kind, typestore=self._types)

    def _when_needed(self, role: str, kind: str) -> Any:
        if role not in self._later:
            self._later[role] = self._add(role, kind)
        return self._later[role]

    def write(self, frame: Frame) -> None:
        """Append one frame: CameraInfo, depth and, when the frame has it, colour (rgb8)."""
        image = encode_depth(frame.depth, self._encoding)
        self._put(self._info, frame, self._camera_info(frame))
        self._put(self._depth, frame, self._image(frame, self._encoding, image))
        if frame.color is not None:
            self._put(self._when_needed("color", _IMAGE), frame, self._image(frame, "rgb8", frame.color))

    def write_truth(self, truth: TrueFrame, body: BodyModel, floor: Plane | None = None) -> None:
        """Append what is true about a frame, under the frame's stamp; the frame itself is written by :meth:`write`.

        Args:
            truth: people, and the label images if it has them.
            body: the model that the people's parameters belong to.
            floor: in the camera frame, if known.
        """
        frame = truth.frame
        people = true_person_array(self._header(frame), truth.people, body, floor)
        self._put(self._when_needed("people", PERSON_ARRAY), frame, people)
        if truth.labels is not None:
            labels = np.asarray(truth.labels, "<u2")
            self._put(self._when_needed("labels", _IMAGE), frame, self._image(frame, "mono16", labels))
        if truth.parts is not None:
            self._put(self._when_needed("parts", _IMAGE), frame, self._image(frame, "mono8", truth.parts))

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
