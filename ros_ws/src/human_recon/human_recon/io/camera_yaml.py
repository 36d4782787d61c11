"""Cameras as YAML, in the layout of ROS calibration files (``camera_calibration_parsers``).

    image_width: 640
    image_height: 480
    camera_matrix: {rows: 3, cols: 3, data: [525, 0, 319.5, 0, 525, 239.5, 0, 0, 1]}
    distortion_model: plumb_bob                                  # optional
    distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}   # optional

The flat names of ``sensor_msgs/CameraInfo`` (width, height, k, d) are read as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io.errors import file_error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file. Raises InputError when the file is missing or not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise file_error(path, f"not a YAML file ({error}); write the camera in ROS calibration format") from None
    if not isinstance(content, dict):
        raise file_error(path, "does not hold a camera; write the camera in ROS calibration format")
    return content


def camera_from_mapping(content: dict[str, Any], path: Path) -> CameraIntrinsics:
    """The camera of a parsed file; ``path`` is for errors. Raises InputError when values are missing or wrong."""
    try:
        width, height = (_first(content, f"image_{side}", side) for side in ("width", "height"))
        if not all(isinstance(side, int) for side in (width, height)):
            raise ValueError(f"image size {width!r} x {height!r} is not made of whole numbers")
        k = _numbers(_first(content, "camera_matrix", "k", "K"))
        d = _numbers(_first(content, "distortion_coefficients", "d", "D", default=[]))
        model = str(content.get("distortion_model") or "")
        return CameraIntrinsics.from_camera_info(width, height, k, d, model)
    except (ValueError, TypeError, OverflowError) as error:
        raise file_error(path, f"not a usable camera: {error}; correct the calibration") from None


def camera_to_mapping(intrinsics: CameraIntrinsics) -> dict[str, Any]:
    """What ``camera_from_mapping`` reads."""
    d = intrinsics.distortion.tolist()
    return {
        "image_width": intrinsics.width,
        "image_height": intrinsics.height,
        "camera_matrix": {"rows": 3, "cols": 3, "data": intrinsics.matrix.ravel().tolist()},
        "distortion_model": "" if intrinsics.distortion_model == "none" else intrinsics.distortion_model,
        "distortion_coefficients": {"rows": 1, "cols": len(d), "data": d},
    }


def _first(content: dict[str, Any], *names: str, default: Any = None) -> Any:
    for name in names:
        if content.get(name) is not None:
            return content[name]
    if default is None:
        raise ValueError(f"there is no {names[0]}")
    return default


def _numbers(value: Any) -> list[float]:
    data = value.get("data") if isinstance(value, dict) else value
    if not isinstance(data, list):
        raise ValueError(f"{str(value)[:40]!r} is not a list of numbers")
    return [float(number) for number in data]
