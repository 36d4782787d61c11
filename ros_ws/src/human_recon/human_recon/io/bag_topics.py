"""Which topics of a bag are the depth camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from human_recon.io.encodings import COLOR_ENCODINGS, DEPTH_ENCODINGS

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINTS = "sensor_msgs/msg/PointCloud2"
GROUND_TRUTH = "/ground_truth/"  # namespace of what a simulated bag knows; its images are no camera's


class TopicError(Exception):
    """The topics do not determine the camera; the message says why, without the bag's name."""


@dataclass(frozen=True)
class ImageKind:
    """What the first message of an image topic says about the topic."""

    encoding: str  # Image.encoding or CompressedImage.format
    size: tuple[int, int] | None  # height, width in pixels; None when compressed
    frame_id: str

    @property
    def is_depth(self) -> bool:
        """Millimetres or metres along z."""
        return self.encoding in DEPTH_ENCODINGS or "compressedDepth" in self.encoding

    @property
    def is_color(self) -> bool:
        """Something to show under an overlay."""
        return self.encoding in COLOR_ENCODINGS or (self.size is None and not self.is_depth)


@dataclass(frozen=True)
class CameraTopics:
    """The topics to read; ``depth`` or ``points`` is set, not both."""

    depth: str | None
    info: str | None
    color: str | None
    points: str | None


def choose_topics(
    types: Mapping[str, str],
    look: Callable[[str], ImageKind | None],
    *,
    depth: str | None = None,
    info: str | None = None,
    color: str | None = None,
    points: str | None = None,
    have_camera: bool = False,
) -> CameraTopics:
    """Fill in the topics that are not given.

    Args:
        types: topic name -> message type, of all topics with messages.
        look: first message of an image topic, or None when there is none.
        depth, info, color, points: given topics.
        have_camera: the intrinsics are known, so that no CameraInfo is needed.

    One depth image topic is taken (raw before compressedDepth), else one point cloud topic; the CameraInfo in the same
    namespace, else the only one; the one colour image with the depth image's size and frame, which is the one
    registered to it. Topics below /ground_truth are taken when given only. Raises TopicError when a given topic is
    missing or of the wrong type, or when a choice is not unique.
    """
    for topic, kinds in ((depth, (IMAGE, COMPRESSED)), (color, (IMAGE, COMPRESSED))):
        _check(types, topic, kinds)
    _check(types, info, (CAMERA_INFO,))
    _check(types, points, (POINTS,))
    if depth and points:
        raise TopicError("both a depth topic and a point cloud topic are given; give one of them")
    seen = {topic: kind for topic, kind in types.items() if not topic.startswith(GROUND_TRUTH)}
    if not depth and not points:
        depth, points = _find_source(seen, look)
    if points:
        return CameraTopics(None, info, None, points)
    assert depth is not None
    kind = look(depth)
    if kind is None or not kind.is_depth:
        raise TopicError(
            f"{depth} is encoded as {kind.encoding if kind else 'nothing'!r}, which is no depth image; "
            f"topics: {describe(types)}"
        )
    if info is None and not have_camera:
        info = _find_info(seen, depth)
    if color is None:
        color = _find_color(seen, look, kind)
    return CameraTopics(depth, info, color, None)


def describe(types: Mapping[str, str]) -> str:
    """All topics with their types, on one line."""
    return ", ".join(f"{topic} ({kind})" for topic, kind in sorted(types.items())) or "none"


def _check(types: Mapping[str, str], topic: str | None, kinds: tuple[str, ...]) -> None:
    if topic is None:
        return
    if topic not in types:
        raise TopicError(f"there are no messages on {topic}; topics: {describe(types)}")
    if types[topic] not in kinds:
        raise TopicError(f"{topic} carries {types[topic]}, not {' or '.join(kinds)}")


def _find_source(types: Mapping[str, str], look: Callable[[str], ImageKind | None]) -> tuple[str | None, str | None]:
    for message_type in (IMAGE, COMPRESSED):
        found = []
        for topic in _of_type(types, message_type):
            kind = look(topic)
            if kind is not None and kind.is_depth:
                found.append(topic)
        if len(found) > 1:
            raise TopicError(f"there are several depth images; choose one as depth topic: {', '.join(found)}")
        if found:
            return found[0], None
    clouds = _of_type(types, POINTS)
    if len(clouds) == 1:
        return None, clouds[0]
    if clouds:
        raise TopicError(f"there are several point clouds; choose one as points topic: {', '.join(clouds)}")
    raise TopicError(f"there is no depth image (16UC1 or 32FC1) and no point cloud; topics: {describe(types)}")


def _find_info(types: Mapping[str, str], depth: str) -> str:
    infos = _of_type(types, CAMERA_INFO)
    image = depth.removesuffix("/compressedDepth")
    # Beside the image as image_transport has it; some drivers put it under the image.
    for namespace in (image.rsplit("/", 1)[0], image):
        if f"{namespace}/camera_info" in infos:
            return f"{namespace}/camera_info"
    if len(infos) == 1:
        return infos[0]
    if infos:
        raise TopicError(f"none of several CameraInfo belongs to {depth}; choose the info topic: {', '.join(infos)}")
    raise TopicError(f"there is no CameraInfo for {depth}; give the camera's intrinsics; topics: {describe(types)}")


def _find_color(types: Mapping[str, str], look: Callable[[str], ImageKind | None], depth: ImageKind) -> str | None:
    found = []
    for topic in _of_type(types, IMAGE):
        kind = look(topic)
        if kind is not None and kind.is_color and kind.frame_id == depth.frame_id and kind.size == depth.size:
            found.append(topic)
    # Colour is only for show, so a doubtful choice is left out instead of refused.
    return found[0] if len(found) == 1 else None


def _of_type(types: Mapping[str, str], message_type: str) -> list[str]:
    return sorted(topic for topic, kind in types.items() if kind == message_type)
