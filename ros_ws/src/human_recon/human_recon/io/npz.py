"""Depth images as ``.npz`` (numpy, nothing pickled).

depth             [H, W] or [N, H, W]; floats in metres, or uint16 in millimetres; NaN, inf or 0 = no reading
K                 [3, 3] camera matrix; or ``intrinsics`` [4] = fx, fy, cx, cy
distortion_model  optional str, with distortion [K] (see CameraIntrinsics)
color             optional [H, W, 3] or [N, H, W, 3] uint8 RGB, registered to the depth image
stamp_ns          optional int or [N] int, sensor time in nanoseconds; or ``stamp`` in seconds (float)
frame_id          optional str
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.atomic import atomic_file
from human_recon.io.encodings import clean_depth
from human_recon.io.errors import InputError, file_error

_KEYS = ("depth", "K", "intrinsics", "distortion_model", "distortion", "color", "stamp_ns", "stamp", "frame_id")
_MAX_DEFLATE_RATIO = 1032  # no deflate stream unpacks to more than this times its size


def read_npz(path: str | Path, *, intrinsics: CameraIntrinsics | None = None) -> list[Frame]:
    """The frames of an .npz file in their order; ``intrinsics`` overrides the file's camera.

    Raises InputError when the file is missing, damaged or holds pickled objects, or when arrays do not fit together.
    """
    path = Path(path)
    arrays = _load(path)
    try:
        return _frames(arrays, intrinsics)
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise file_error(path, f"{error}; write the arrays as the documentation of human_recon.io.npz says") from None


def write_npz(path: str | Path, frames: list[Frame]) -> None:
    """Write frames of one camera, floats in metres. Raises ValueError when cameras or the presence of colour differ."""
    if not frames:
        raise ValueError(f"{path}: there are no frames to write")
    camera = frames[0].intrinsics
    colors = [frame.color for frame in frames if frame.color is not None]
    if any(frame.intrinsics != camera for frame in frames) or len(colors) not in (0, len(frames)):
        raise ValueError(f"{path}: the frames of one .npz must come from one camera, all with colour or all without")
    arrays: dict[str, np.ndarray] = {
        "depth": np.stack([frame.depth for frame in frames]),
        "K": camera.matrix,
        "distortion_model": np.array(camera.distortion_model),
        "distortion": camera.distortion,
        "stamp_ns": np.array([frame.stamp_ns for frame in frames], np.int64),
        "frame_id": np.array(frames[0].frame_id),
    }
    if colors:
        arrays["color"] = np.stack(colors)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                key = member.filename.removesuffix(".npy")
                if key in _KEYS:
                    _check_size(archive, member)
                    with archive.open(member) as file:
                        arrays[key] = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise file_error(path, "does not fit into memory; split it") from None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged input
        raise file_error(path, f"not a readable .npz file ({error}); write it again with numpy.savez") from None
    return arrays


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array whose header promises more than the file can hold, before numpy takes memory for it."""
    if member.file_size > _MAX_DEFLATE_RATIO * member.compress_size + 1024:
        raise ValueError(f"{member.filename} claims {member.file_size} bytes")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
    size = dtype.itemsize
    for side in shape:
        size *= int(side)
    if any(side < 0 for side in shape) or size > member.file_size:
        raise ValueError(f"{member.filename} promises {size} bytes and holds {member.file_size}")


def _frames(arrays: dict[str, np.ndarray], intrinsics: CameraIntrinsics | None) -> list[Frame]:
    if "depth" not in arrays:
        raise ValueError(f"there is no array depth (found: {', '.join(sorted(arrays)) or 'none'})")
    depth = arrays["depth"]
    if depth.ndim == 2:
        depth = depth[None]
    if depth.ndim != 3 or depth.size == 0:
        raise ValueError(f"depth has the shape {arrays['depth'].shape}, not [H, W] or [N, H, W]")
    if depth.dtype == np.uint16:
        depth = depth * np.float32(0.001)
    elif depth.dtype.kind != "f":
        raise ValueError(f"depth is {depth.dtype}, not floats in metres or uint16 in millimetres")
    count, height, width = depth.shape
    if intrinsics is None:
        intrinsics = _camera(arrays, width, height)
    elif (intrinsics.height, intrinsics.width) != (height, width):
        raise ValueError(f"depth has {width} x {height} pixels, the camera {intrinsics.width} x {intrinsics.height}")
    color = arrays.get("color")
    if color is not None:
        color = color[None] if color.ndim == 3 else color
        if color.dtype != np.uint8 or color.shape != (count, height, width, 3):
            raise ValueError(f"color is {color.dtype} {color.shape}, not uint8 {(count, height, width, 3)}")
    stamps = _stamps(arrays, count)
    frame_id = str(arrays.get("frame_id", "camera"))
    return [
        Frame(stamps[i], frame_id, clean_depth(depth[i]), intrinsics, None if color is None else color[i])
        for i in range(count)
    ]


def _camera(arrays: dict[str, np.ndarray], width: int, height: int) -> CameraIntrinsics:
    if "K" in arrays:
        k = np.asarray(arrays["K"], np.float64).ravel()
    elif "intrinsics" in arrays and arrays["intrinsics"].size == 4:
        fx, fy, cx, cy = np.asarray(arrays["intrinsics"], np.float64).ravel()
        k = np.array([fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0])
    else:
        raise ValueError("there is no camera: K [3, 3] or intrinsics [4]")
    distortion = np.asarray(arrays.get("distortion", np.zeros(0)), np.float64).ravel()
    model = str(arrays.get("distortion_model", ""))
    return CameraIntrinsics.from_camera_info(width, height, k.tolist(), distortion.tolist(), model)


def _stamps(arrays: dict[str, np.ndarray], count: int) -> list[int]:
    if "stamp_ns" in arrays:
        stamps = np.asarray(arrays["stamp_ns"]).ravel()
        if stamps.dtype.kind not in "iu":
            raise ValueError(f"stamp_ns is {stamps.dtype}, not integers")
    elif "stamp" in arrays:
        seconds = np.asarray(arrays["stamp"], np.float64).ravel()
        if not (np.isfinite(seconds).all() and (np.abs(seconds) < 9e9).all()):
            raise ValueError("stamp is not in seconds")
        stamps = np.rint(seconds * 1e9).astype(np.int64)
    else:
        stamps = np.zeros(count, np.int64)
    if stamps.size == 1 and count > 1:
        raise ValueError(f"there is one stamp for {count} depth images")
    if stamps.size != count:
        raise ValueError(f"there are {stamps.size} stamps for {count} depth images")
    return [int(stamp) for stamp in stamps]
