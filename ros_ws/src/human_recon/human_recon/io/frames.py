"""Open anything that holds depth images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.errors import file_error


@dataclass(frozen=True)
class FrameSource:
    """Frames in the order they were recorded. Iterating twice reads twice; nothing is held in memory."""

    path: Path
    frames: Iterable[Frame]
    count: int | None  # how many frames iteration yields at most, when known beforehand

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)


def open_frames(
    path: str | Path,
    *,
    depth_topic: str | None = None,
    info_topic: str | None = None,
    color_topic: str | None = None,
    points_topic: str | None = None,
    intrinsics: CameraIntrinsics | None = None,
) -> FrameSource:
    """Open a file or bag by its name: .pcd .ply .png .npz, or rosbag2 as a directory, .mcap or .db3.

    Args:
        path: what to read.
        depth_topic, info_topic, color_topic, points_topic: topics of a bag; found by type and encoding when omitted.
        intrinsics: the camera; overrides what the input says. Organised clouds and files with a camera do not need it.

    Raises InputError, at once or while iterating, when the input is missing, damaged or of unknown kind.
    """
    path = Path(path)
    if not path.exists():
        raise file_error(path, "there is no such file or directory; check the path")
    # The readers are imported here because each brings its own libraries, and only one is needed.
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (".mcap", ".db3"):
        from human_recon.io.bag_reader import BagFrames

        bag = BagFrames(
            path,
            depth_topic=depth_topic,
            info_topic=info_topic,
            color_topic=color_topic,
            points_topic=points_topic,
            intrinsics=intrinsics,
        )
        return FrameSource(path, bag, bag.count)
    if depth_topic or info_topic or color_topic or points_topic:
        raise file_error(path, "topics are given but this is not a rosbag2; leave them out")
    if suffix in (".pcd", ".ply"):
        from human_recon.io.cloud import cloud_to_frame
        from human_recon.io.pcd import read_pcd

        if suffix == ".pcd":
            cloud = read_pcd(path)
        else:
            from human_recon.io.ply import read_ply

            cloud = read_ply(path)
        return FrameSource(path, (cloud_to_frame(cloud, intrinsics, name=str(path)),), 1)
    if suffix == ".png":
        from human_recon.io.depth_png import read_depth_png

        return FrameSource(path, (read_depth_png(path, intrinsics=intrinsics),), 1)
    if suffix == ".npz":
        from human_recon.io.npz import read_npz

        frames = read_npz(path, intrinsics=intrinsics)
        return FrameSource(path, frames, len(frames))
    raise file_error(path, f"files of kind {suffix or 'none'} are not read; give .pcd .ply .png .npz or a rosbag2")


def read_frames(
    path: str | Path,
    *,
    depth_topic: str | None = None,
    info_topic: str | None = None,
    color_topic: str | None = None,
    points_topic: str | None = None,
    intrinsics: CameraIntrinsics | None = None,
) -> Iterator[Frame]:
    """The frames of ``open_frames``, one after the other."""
    return iter(
        open_frames(
            path,
            depth_topic=depth_topic,
            info_topic=info_topic,
            color_topic=color_topic,
            points_topic=points_topic,
            intrinsics=intrinsics,
        )
    )
