"""Depth images, clouds and bags in; people.json and meshes out."""

from human_recon.io.errors import InputError
from human_recon.io.frames import FrameSource, open_frames, read_frames

__all__ = ["FrameSource", "InputError", "open_frames", "read_frames"]
