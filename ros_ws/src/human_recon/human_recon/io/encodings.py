"""Depth images, colour images and clouds from the raw bytes of ROS messages; without ROS.

Every function takes the plain fields of a message, checks that they agree with the number of bytes, and raises
InputError with one line when they do not. The caller adds the topic.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np

from human_recon.io.cloud import PointCloud
from human_recon.io.errors import InputError
from human_recon.io.fields import FieldError, points_and_colors

DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")  # old drivers call depth in millimetres mono16
_COLOR_CHANNELS = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "mono8": "L", "8UC1": "L"}
_COLOR_CHANNELS |= {"8UC3": "BGR", "8UC4": "BGRA"}  # OpenCV's order, which is what writes these names
COLOR_ENCODINGS = tuple(_COLOR_CHANNELS)

# sensor_msgs/PointField datatypes INT8 .. FLOAT64
_POINT_FIELD_CODES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_MAX_PIXELS = 1 << 28

Buffer: TypeAlias = bytes | bytearray | memoryview | array | np.ndarray  # whatever a message's data arrives as


def clean_depth(depth: np.ndarray) -> np.ndarray:
    """[H, W] metres -> float32 with every NaN, inf, zero and negative value as 0 (no reading)."""
    with np.errstate(invalid="ignore", over="ignore"):
        depth = depth.astype(np.float32, copy=False)
        return np.where((depth > 0) & (depth < np.inf), depth, np.float32(0))


def decode_depth(height: int, width: int, encoding: str, is_bigendian: bool, step: int, data: Buffer) -> np.ndarray:
    """A sensor_msgs/Image with depth (16UC1 millimetres or 32FC1 metres) -> [H, W] float32 metres, 0 = no reading."""
    if encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"the depth image is encoded as {encoding!r}, not as 16UC1 (mm) or 32FC1 (m); choose a depth topic"
        )
    order = ">" if is_bigendian else "<"
    dtype = np.dtype(order + ("f4" if encoding == "32FC1" else "u2"))
    image = _rows(height, width, dtype.itemsize, step, data, "depth image").view(dtype)
    if encoding == "32FC1":
        return clean_depth(image)
    return np.multiply(image, np.float32(0.001), dtype=np.float32)


def encode_depth(depth: np.ndarray, encoding: str) -> np.ndarray:
    """[H, W] float32 metres -> array of the encoding: 16UC1 (rounded to mm; 0 from 65.5355 m on) or 32FC1."""
    if encoding == "32FC1":
        return np.ascontiguousarray(depth, "<f4")
    if encoding != "16UC1":
        raise InputError(f"depth cannot be encoded as {encoding!r}; use 16UC1 or 32FC1")
    millimetres = np.rint(clean_depth(depth).astype(np.float64) * 1000.0)
    return np.where(millimetres <= 65535, millimetres, 0).astype("<u2")


def decode_color(height: int, width: int, encoding: str, step: int, data: Buffer) -> np.ndarray:
    """A sensor_msgs/Image with 8-bit colour or grey -> [H, W, 3] uint8 RGB."""
    channels = _COLOR_CHANNELS.get(encoding)
    if channels is None:
        raise InputError(f"the colour image is encoded as {encoding!r}; supported are {', '.join(COLOR_ENCODINGS)}")
    image = _rows(height, width, len(channels), step, data, "colour image").reshape(height, width, len(channels))
    if channels == "L":
        return np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image[..., [channels.index(name) for name in "RGB"]])


def _rows(height: int, width: int, pixel_bytes: int, step: int, data: Buffer, what: str) -> np.ndarray:
    """The image's bytes without the padding at the end of rows: contiguous [H, W * pixel_bytes] uint8."""
    if height <= 0 or width <= 0 or height * width > _MAX_PIXELS:
        raise InputError(f"the {what} has the size {width} x {height}; check the driver")
    flat = np.frombuffer(data, np.uint8)
    row = width * pixel_bytes
    if step < row:
        raise InputError(f"the {what} has rows of {step} bytes, {width} pixels need {row}; check the driver")
    if flat.size < step * (height - 1) + row:
        raise InputError(
            f"the {what} has {flat.size} bytes, {height} rows of {step} bytes need {step * height}; check the driver"
        )
    if step == row:
        return flat[: row * height].reshape(height, row)
    # Not a reshape: the last row may come without its padding, which garbage says to be gigabytes.
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, (height, row), (step, 1), writeable=False))


def decode_compressed_depth(message_format: str, data: Buffer) -> np.ndarray:
    """A sensor_msgs/CompressedImage of the ``compressedDepth`` transport (PNG) -> [H, W] float32 metres.

    The format reads e.g. "16UC1; compressedDepth png". The bytes start with a 12-byte header: an enumeration and two
    floats A, B; 32FC1 images hold 16-bit inverse depths v with depth = A / (v - B), 0 = no reading.
    """
    encoding = message_format.split(";")[0].strip()
    if "compressedDepth" not in message_format or encoding not in DEPTH_ENCODINGS:
        raise InputError(
            f"the image has the format {message_format!r}, not a compressedDepth one; choose another topic"
        )
    if "rvl" in message_format:
        raise InputError("compressedDepth in RVL format is not supported; set the publisher's format to png")
    raw = bytes(data)
    if len(raw) < 20:
        raise InputError(f"the compressed depth image has only {len(raw)} bytes; check the driver")
    _, quantum_a, quantum_b = struct.unpack_from("<iff", raw)
    image = decode_image(raw[12:], "compressed depth image")
    if image.ndim != 2 or image.dtype != np.uint16:
        raise InputError("the compressed depth image does not hold a 16-bit picture; check the driver")
    if encoding != "32FC1":
        return np.multiply(image, np.float32(0.001), dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        depth = np.float32(quantum_a) / (image.astype(np.float32) - np.float32(quantum_b))
    return clean_depth(np.where(image == 0, np.float32(0), depth))


def decode_compressed_color(data: Buffer) -> np.ndarray:
    """A sensor_msgs/CompressedImage with a JPEG or PNG -> [H, W, 3] uint8 RGB."""
    image = decode_image(bytes(data), "compressed colour image")
    if image.dtype != np.uint8:
        raise InputError("the compressed colour image does not have 8 bits per channel; choose another topic")
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])


def decode_image(data: bytes, what: str) -> np.ndarray:
    """A PNG or JPEG as OpenCV's array, unchanged (BGR). Raises InputError naming ``what`` when it is damaged."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"the {what} is damaged or not a picture; record it again")
    return np.asarray(image)


def decode_cloud(
    height: int,
    width: int,
    fields: Sequence[tuple[str, int, int, int]],
    is_bigendian: bool,
    point_step: int,
    row_step: int,
    data: Buffer,
) -> PointCloud:
    """A sensor_msgs/PointCloud2 -> PointCloud, organised [H, W, 3] when height > 1.

    ``fields`` are (name, offset in bytes, datatype constant, count) of each sensor_msgs/PointField; padding between
    points and rows is allowed.
    Points with NaN stay in place. Raises InputError for an empty cloud, missing x y z, or sizes that do not agree.
    """
    if height <= 0 or width <= 0:
        raise InputError("the cloud has no points; check the driver")
    if height * width > _MAX_PIXELS:
        raise InputError(f"the cloud has the size {width} x {height}; check the driver")
    flat = np.frombuffer(data, np.uint8)
    used = width * point_step
    # One row needs no row_step, and some drivers leave it 0 there.
    row_step = max(row_step, used) if height == 1 else row_step
    if point_step <= 0 or row_step < used or flat.size < row_step * (height - 1) + used:
        raise InputError(
            f"the cloud has {flat.size} bytes, {width} x {height} points of {point_step} bytes in rows of {row_step} "
            "need another number; check the driver"
        )
    dtype = _point_dtype(fields, is_bigendian, point_step)
    records = np.ndarray((height, width), dtype, flat, 0, (row_step, point_step))
    try:
        points, colors = points_and_colors(records)
    except FieldError as error:
        raise InputError(f"the cloud cannot be used: {error}; choose a topic with x, y, z") from None
    if height == 1:
        points = points[0]
        colors = None if colors is None else colors[0]
    return PointCloud(points, colors)


def _point_dtype(fields: Sequence[tuple[str, int, int, int]], is_bigendian: bool, point_step: int) -> np.dtype:
    names, formats, offsets = [], [], []
    for name, offset, datatype, count in fields:
        code = _POINT_FIELD_CODES.get(datatype)
        if code is None:
            raise InputError(f"field {name!r} of the cloud has the unknown datatype {datatype}; check the driver")
        kind = np.dtype((">" if is_bigendian else "<") + code)
        count = max(1, count)  # some drivers leave it 0
        if offset < 0 or offset + kind.itemsize * count > point_step:
            raise InputError(f"field {name!r} of the cloud lies outside its {point_step}-byte points; check the driver")
        if name and name not in names:
            names.append(name)
            formats.append(kind if count == 1 else np.dtype((kind, (count,))))
            offsets.append(offset)
    if not names:
        raise InputError("the cloud has no fields; choose a topic with x, y, z")
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step})
