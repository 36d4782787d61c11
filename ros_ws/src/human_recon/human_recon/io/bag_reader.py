"""Frames out of rosbag2 (mcap or sqlite3, also compressed), without ROS.

Messages are read as a stream and decoded one by one. The message types used here have the same definition in every
ROS 2 release, so definitions stored in the bag are not needed and those of other topics not parsed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.bag_topics import CAMERA_INFO, COMPRESSED, IMAGE, POINTS, ImageKind, TopicError, choose_topics
from human_recon.io.cloud import cloud_to_frame
from human_recon.io.encodings import (
    decode_cloud,
    decode_color,
    decode_compressed_color,
    decode_compressed_depth,
    decode_depth,
)
from human_recon.io.errors import InputError, file_error

_COLOR_TOLERANCE_NS = 50_000_000  # a colour image farther in time from its depth image would show people elsewhere
_MAX_WAITING = 8  # depth images held back for a colour image that has not come yet
_READABLE = (IMAGE, COMPRESSED, CAMERA_INFO, POINTS)


class BagFrames:
    """The frames of one bag, in the order they were recorded; iterating again reads again.

    Args:
        path: a rosbag2 directory, or one .mcap or .db3 file.
        depth_topic, info_topic, color_topic, points_topic: see ``choose_topics``.
        intrinsics: the camera, instead of CameraInfo.

    Every depth image gives a frame, with the latest CameraInfo before it (or the first one), and the colour image
    nearest in time when one is within 50 ms. Organised clouds keep the camera fitted to the first one; unorganised
    clouds without intrinsics are all seen by the virtual camera that covers the first one.

    Raises InputError when the bag cannot be read, its topics are not clear, or, while iterating, for a message that
    cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        depth_topic: str | None = None,
        info_topic: str | None = None,
        color_topic: str | None = None,
        points_topic: str | None = None,
        intrinsics: CameraIntrinsics | None = None,
    ) -> None:
        self.path = Path(path)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._intrinsics = intrinsics
        self._color_required = color_topic is not None
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise file_error(
                self.path, "the directory is no rosbag2 (it has no metadata.yaml); give a bag, or `ros2 bag reindex` it"
            )
        with self._open() as reader:
            self._counts: dict[str, int] = {}
            types: dict[str, str] = {}
            for connection in reader.connections:
                self._counts[connection.topic] = self._counts.get(connection.topic, 0) + connection.msgcount
                types[connection.topic] = connection.msgtype
            types = {topic: kind for topic, kind in types.items() if self._counts[topic] > 0}
            try:
                self.topics = choose_topics(
                    types,
                    lambda topic: self._look(reader, topic),
                    depth=depth_topic,
                    info=info_topic,
                    color=color_topic,
                    points=points_topic,
                    have_camera=intrinsics is not None,
                )
            except TopicError as error:
                raise file_error(self.path, str(error)) from None
            self._first_info = self._first(reader, self.topics.info) if self.topics.info else None
        self._camera()

    @property
    def count(self) -> int:
        """How many frames iteration yields."""
        return self._counts.get(self.topics.depth or self.topics.points or "", 0)

    def __iter__(self) -> Iterator[Frame]:
        if self.topics.points is not None:
            return self._cloud_frames()
        if self.topics.color is not None:
            return self._with_color()
        return self._depth_frames()

    def _depth_frames(self) -> Iterator[Frame]:
        camera = self._camera()
        for topic, message in self._messages(self.topics.depth, self.topics.info):
            with self._message(topic, message):
                if topic == self.topics.info:
                    camera.update(message)
                    continue
                frame = self._depth_frame(message, camera)
            yield frame

    def _with_color(self) -> Iterator[Frame]:
        camera = self._camera()
        waiting: deque[Frame] = deque()
        colors: deque[tuple[int, Any]] = deque(maxlen=_MAX_WAITING)
        for topic, message in self._messages(self.topics.depth, self.topics.info, self.topics.color):
            with self._message(topic, message):
                if topic == self.topics.info:
                    camera.update(message)
                elif topic == self.topics.depth:
                    waiting.append(self._depth_frame(message, camera))
                else:
                    colors.append((_stamp_ns(message), message))
            # A depth image is ready when no later colour image can be nearer, or when it has waited long enough.
            while waiting and (len(waiting) > _MAX_WAITING or (colors and colors[-1][0] >= waiting[0].stamp_ns)):
                yield self._colored(waiting.popleft(), colors)
        while waiting:
            yield self._colored(waiting.popleft(), colors)

    def _cloud_frames(self) -> Iterator[Frame]:
        camera = self._camera()
        guessed: CameraIntrinsics | None = None
        for topic, message in self._messages(self.topics.points, self.topics.info):
            with self._message(topic, message):
                if topic == self.topics.info:
                    camera.update(message)
                    continue
                known = camera.intrinsics or guessed
                if known is not None and message.width * message.height == 0:
                    nothing = np.zeros((known.height, known.width), np.float32)
                    frame = Frame(_stamp_ns(message), message.header.frame_id, nothing, known)
                else:
                    frame = self._cloud_frame(message, known)
                guessed = frame.intrinsics
            yield frame

    def _camera(self) -> _Camera:
        """The camera before the first message."""
        camera = _Camera(self._intrinsics)
        if self._first_info is not None:
            with self._message(self.topics.info or "", self._first_info):
                camera.update(self._first_info)
        return camera

    def _depth_frame(self, message: Any, camera: _Camera) -> Frame:
        if hasattr(message, "format"):
            depth = decode_compressed_depth(message.format, message.data)
        else:
            depth = decode_depth(
                message.height, message.width, message.encoding, bool(message.is_bigendian), message.step, message.data
            )
        intrinsics = camera.intrinsics
        if intrinsics is None:
            raise InputError("no camera is known for this depth image; give the camera's intrinsics")
        if depth.shape != (intrinsics.height, intrinsics.width):
            raise InputError(
                f"the depth image has {depth.shape[1]} x {depth.shape[0]} pixels, its camera {intrinsics.width} x "
                f"{intrinsics.height}; choose the CameraInfo of this image"
            )
        return Frame(_stamp_ns(message), message.header.frame_id, depth, intrinsics)

    def _colored(self, frame: Frame, colors: deque[tuple[int, Any]]) -> Frame:
        """The frame with the colour image nearest to it in time, if one is near enough and of its size."""
        near = [entry for entry in colors if abs(entry[0] - frame.stamp_ns) <= _COLOR_TOLERANCE_NS]
        if not near:
            return frame
        message = min(near, key=lambda entry: abs(entry[0] - frame.stamp_ns))[1]
        with self._message(self.topics.color or "", message):
            if hasattr(message, "format"):
                color = decode_compressed_color(message.data)
            else:
                color = decode_color(message.height, message.width, message.encoding, message.step, message.data)
            if color.shape[:2] != frame.depth.shape:
                if not self._color_required:
                    return frame
                raise InputError(
                    f"the colour image has {color.shape[1]} x {color.shape[0]} pixels, the depth image "
                    f"{frame.depth.shape[1]} x {frame.depth.shape[0]}; choose the colour image registered to depth"
                )
        return replace(frame, color=color)

    def _cloud_frame(self, message: Any, intrinsics: CameraIntrinsics | None) -> Frame:
        cloud = decode_cloud(
            message.height,
            message.width,
            [(entry.name, entry.offset, entry.datatype, entry.count) for entry in message.fields],
            bool(message.is_bigendian),
            message.point_step,
            message.row_step,
            message.data,
        )
        return cloud_to_frame(
            cloud, intrinsics, stamp_ns=_stamp_ns(message), frame_id=message.header.frame_id, name="the cloud"
        )

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        """The opened bag. rosbags and the codecs under it raise a dozen kinds of errors on damaged files."""
        reader = Reader(self.path)
        try:
            reader.open()
        except Exception as error:
            raise self._damaged(error) from None
        try:
            yield reader
        finally:
            reader.close()

    @contextmanager
    def _message(self, topic: str, message: Any) -> Iterator[None]:
        """Names the bag, topic and time in errors about a message."""
        try:
            yield
        except ValueError as error:
            seconds = _stamp_ns(message) / 1e9
            raise file_error(self.path, f"{topic} at {seconds:.3f} s: {error}") from None

    def _messages(self, *topics: str | None) -> Iterator[tuple[str, Any]]:
        """Decoded messages of the topics in the order they were recorded."""
        with self._open() as reader:
            connections = [connection for connection in reader.connections if connection.topic in topics]
            yield from self._decoded(reader, connections)

    def _decoded(self, reader: Reader, connections: list[Any]) -> Iterator[tuple[str, Any]]:
        stream = iter(reader.messages(connections=connections)) if connections else iter(())
        while True:
            try:
                connection, _, data = next(stream)
                message: Any = self._store.deserialize_cdr(data, connection.msgtype)
            except StopIteration:
                return
            except Exception as error:
                raise self._damaged(error) from None
            yield connection.topic, message

    def _first(self, reader: Reader, topic: str) -> Any:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        for _, message in self._decoded(reader, connections):
            return message
        return None

    def _look(self, reader: Reader, topic: str) -> ImageKind | None:
        message = self._first(reader, topic)
        if message is None:
            return None
        if hasattr(message, "format"):
            return ImageKind(message.format, None, message.header.frame_id)
        return ImageKind(message.encoding, (message.height, message.width), message.header.frame_id)

    def _damaged(self, error: Exception) -> InputError:
        reason = str(error).rstrip(".") or type(error).__name__
        return file_error(
            self.path,
            f"the bag is damaged or cut off ({reason}); copy it again, or repair it with `ros2 bag reindex` or "
            "`mcap recover`",
        )


class _Camera:
    """The latest camera; keeps one object as long as the values do not change, since rays are cached in it."""

    def __init__(self, given: CameraIntrinsics | None) -> None:
        self._given = given
        self.intrinsics = given

    def update(self, info: Any) -> None:
        """Take over a sensor_msgs/CameraInfo. Raises ValueError when it is not a camera."""
        if self._given is not None:
            return
        camera = CameraIntrinsics.from_camera_info(
            info.width,
            info.height,
            info.k.tolist(),
            info.d.tolist(),
            info.distortion_model,
            binning=(info.binning_x, info.binning_y),
            roi=(info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height),
        )
        if camera != self.intrinsics:
            self.intrinsics = camera


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
