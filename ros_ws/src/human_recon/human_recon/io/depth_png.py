"""A depth image as 16-bit PNG with its camera as YAML beside it.

``frame.png`` holds depth units along z, 0 = no reading. ``frame.yaml`` holds the camera (see ``camera_yaml``) and
may add

    depth_scale: 0.001      # metres per unit, default 0.001
    stamp_ns: 0             # sensor time, nanoseconds
    frame_id: camera        # name of the camera optical frame
    color: frame_color.png  # 8-bit image registered to the depth image, path relative to the YAML file
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import cv2
import numpy as np
import yaml

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.atomic import atomic_file, write_bytes
from human_recon.io.camera_yaml import camera_from_mapping, camera_to_mapping, read_yaml
from human_recon.io.encodings import decode_image, encode_depth
from human_recon.io.errors import InputError, file_error

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def read_depth_png(
    path: str | Path, *, camera: str | Path | None = None, intrinsics: CameraIntrinsics | None = None
) -> Frame:
    """Read a 16-bit depth PNG.

    Args:
        path: the PNG.
        camera: its YAML; by default the same name with .yaml, or ``camera.yaml`` in the same folder.
        intrinsics: the camera; the YAML then only adds scale, stamp and colour, and may be missing.

    Raises InputError when a file is missing or damaged, the PNG is not 16-bit grey, or its size is not the camera's.
    """
    path = Path(path)
    image = _read_png(path)
    if image.dtype != np.uint16 or image.ndim != 2:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise file_error(
            path,
            f"a depth image has one 16-bit channel, this PNG has {channels} of {image.dtype}; give the depth image",
        )
    camera_path = _camera_path(path, camera, needed=intrinsics is None)
    content = {} if camera_path is None else read_yaml(camera_path)
    if intrinsics is None and camera_path is not None:
        intrinsics = camera_from_mapping(content, camera_path)
    assert intrinsics is not None
    if image.shape != (intrinsics.height, intrinsics.width):
        raise file_error(
            path,
            f"the image has {image.shape[1]} x {image.shape[0]} pixels, its camera {intrinsics.width} x "
            f"{intrinsics.height}; give the camera of this image",
        )
    settings = camera_path or path
    scale = content.get("depth_scale", 0.001)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not (0 < scale < math.inf):
        raise file_error(settings, f"depth_scale {scale!r} is not a positive number of metres")
    stamp = content.get("stamp_ns", 0)
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        raise file_error(settings, f"stamp_ns {stamp!r} is not a whole number of nanoseconds")
    color = None
    if content.get("color") is not None:
        color = _read_color(settings.parent / str(content["color"]), image.shape)
    depth = np.multiply(image, np.float32(scale), dtype=np.float32)
    return Frame(stamp, str(content.get("frame_id", "camera")), depth, intrinsics, color)


def write_depth_png(path: str | Path, frame: Frame) -> None:
    """Write ``path`` (16-bit PNG, millimetres), the camera beside it as .yaml, and colour as ``<name>_color.png``.

    Each file appears complete or not at all; the YAML, which makes the others usable, comes last. Depths are rounded to
    millimetres, those from 65.5355 m on become 0.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: a depth image is written as .png")
    content = {**camera_to_mapping(frame.intrinsics), "depth_scale": 0.001}
    content |= {"stamp_ns": int(frame.stamp_ns), "frame_id": frame.frame_id}
    _write_image(path, encode_depth(frame.depth, "16UC1"))
    if frame.color is not None:
        color_path = path.with_name(f"{path.stem}_color.png")
        _write_image(color_path, frame.color[..., ::-1])
        content["color"] = color_path.name
    write_bytes(path.with_suffix(".yaml"), yaml.safe_dump(content, sort_keys=False).encode())


def _write_image(path: Path, image: np.ndarray) -> None:
    with atomic_file(path) as temporary:
        if not cv2.imwrite(str(temporary), np.ascontiguousarray(image)):
            raise OSError(f"{path}: the image cannot be written")


def _camera_path(path: Path, camera: str | Path | None, *, needed: bool) -> Path | None:
    if camera is not None:
        return Path(camera)
    candidates = [path.with_suffix(".yaml"), path.with_suffix(".yml"), path.with_name("camera.yaml")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    if needed:
        raise file_error(path, f"its camera is missing; put {candidates[0].name} (ROS calibration format) beside it")
    return None


def _read_color(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        image = decode_image(path.read_bytes(), "colour image")
    except OSError as error:
        raise file_error(path, f"the colour image cannot be read ({error.strerror or error})") from None
    except InputError as error:
        raise file_error(path, str(error)) from None
    if image.dtype != np.uint8 or image.shape[:2] != shape:
        raise file_error(
            path, f"the colour image is not an 8-bit picture of {shape[1]} x {shape[0]} pixels; register it"
        )
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])


def _read_png(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    problem = _png_problem(data)
    if problem:
        raise file_error(path, f"{problem}; export or copy it again")
    try:
        return decode_image(data, "PNG")
    except InputError as error:
        raise file_error(path, str(error)) from None


def _png_problem(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG. OpenCV decodes cut-off files into half-empty images without an error."""
    if not data.startswith(_PNG_MAGIC):
        return "not a PNG file"
    offset = len(_PNG_MAGIC)
    while offset + 12 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        end = offset + 12 + length
        if end > len(data):
            break
        kind = data[offset + 4 : offset + 8]
        if zlib.crc32(data[offset + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return "the PNG is damaged (wrong checksum)"
        if kind == b"IHDR" and length >= 8:
            width, height = (int.from_bytes(data[offset + start : offset + start + 4], "big") for start in (8, 12))
            if width * height > 1 << 28:
                return f"the PNG claims {width} x {height} pixels"
        if kind == b"IEND":
            return None
        offset = end
    return "the PNG is cut off"
