"""Pinhole intrinsics with ROS distortion models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from human_recon.camera.distortion import Distortion

# Accepted numbers of coefficients per model, as sensor_msgs/CameraInfo.d carries them.
_COEFFICIENTS = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
_MAX_SIDE = 1 << 15  # pixels; beyond any depth camera, and keeps width * height * 3 floats allocatable


@dataclass(frozen=True, eq=False)
class CameraIntrinsics:
    """One camera's intrinsics, in the convention of ``sensor_msgs/CameraInfo``.

    The camera frame is REP-103 optical: x right, y down, z forward; the centre of the top-left pixel is (0, 0).
    Raises ValueError for a size, K or distortion that no camera has.
    """

    width: int  # pixels
    height: int  # pixels
    fx: float  # pixels
    fy: float  # pixels
    cx: float  # pixels
    cy: float  # pixels
    distortion_model: str = "none"  # none | plumb_bob | rational_polynomial | equidistant
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [K] in the order of CameraInfo.d

    def __post_init__(self) -> None:
        if not (0 < self.width <= _MAX_SIDE and 0 < self.height <= _MAX_SIDE):
            raise ValueError(f"camera image size {self.width} x {self.height} is not a picture's size")
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(np.isfinite(value) for value in values):
            raise ValueError(f"camera matrix has fx, fy, cx, cy = {values}: all must be finite numbers")
        if not (self.fx > 0 and self.fy > 0):
            raise ValueError(
                f"camera matrix has fx = {self.fx}, fy = {self.fy}: both must be positive (a zero K means that the "
                "camera is not calibrated)"
            )
        model = self.distortion_model
        if model not in _COEFFICIENTS:
            raise ValueError(f"distortion model {model!r} is not supported; use one of {', '.join(_COEFFICIENTS)}")
        distortion = np.array(self.distortion, np.float64).ravel()
        if distortion.size not in _COEFFICIENTS[model]:
            wanted = " or ".join(str(number) for number in _COEFFICIENTS[model])
            raise ValueError(f"distortion model {model!r} has {wanted} coefficients, not {distortion.size}")
        if not np.isfinite(distortion).all():
            raise ValueError(f"distortion coefficients {distortion.tolist()} must be finite numbers")
        distortion.setflags(write=False)
        object.__setattr__(self, "distortion", distortion)
        for name in ("width", "height"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("fx", "fy", "cx", "cy"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CameraIntrinsics):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple:
        size = (self.width, self.height, self.fx, self.fy, self.cx, self.cy)
        return (*size, self.distortion_model, tuple(self.distortion.tolist()))

    @classmethod
    def from_camera_info(
        cls,
        width: int,
        height: int,
        k: Sequence[float],
        d: Sequence[float] = (),
        distortion_model: str = "",
        *,
        p: Sequence[float] | None = None,
        rectified: bool = False,
        binning: tuple[int, int] = (0, 0),
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> CameraIntrinsics:
        """From the plain values of a ``sensor_msgs/CameraInfo``.

        Args:
            width, height: size of the full image the camera was calibrated for, pixels.
            k: [9] row-major camera matrix of the distorted image. Skew (k[1]) must be 0.
            d: distortion coefficients; empty or, for the pinhole models, all zero means none.
            distortion_model: "" is taken as none when there are no coefficients.
            p: [12] row-major projection matrix; used only when ``rectified``.
            rectified: the image is rectified (``image_rect``): take P[:3, :3] and no distortion.
            binning: binning_x, binning_y; 0 is the same as 1.
            roi: x_offset, y_offset, width, height in full-resolution pixels; all 0 means the whole image.

        The result describes the image as it is sent: cut to the region of interest, then binned, where a binned pixel's
        centre is the centre of the pixels it joins. Raises ValueError on values that no camera has.
        """
        if rectified:
            if p is None or len(p) != 12:
                raise ValueError("a rectified image needs the 12 numbers of the projection matrix P")
            k = [p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]]
            d, distortion_model = (), "none"
        if len(k) != 9:
            raise ValueError(f"camera matrix K has {len(k)} numbers, not 9")
        if k[1] != 0:
            raise ValueError(f"camera matrix K has the skew {k[1]}, which is not supported; rectify the image")
        coefficients = np.asarray(d, np.float64).ravel()
        model = distortion_model or "none"
        if model != "equidistant" and not coefficients.any():
            model, coefficients = "none", np.zeros(0)
        full = cls(width, height, k[0], k[4], k[2], k[5], model, coefficients)
        x, y, roi_width, roi_height = roi
        if (roi_width or roi_height) and roi != (0, 0, width, height):
            full = full.cropped(x, y, roi_width, roi_height)
        horizontal, vertical = max(1, binning[0]), max(1, binning[1])
        if (horizontal, vertical) != (1, 1):
            full = full.resized(full.width // horizontal, full.height // vertical, 1 / horizontal, 1 / vertical)
        return full

    @property
    def matrix(self) -> np.ndarray:
        """K, [3, 3] float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def distorted(self) -> bool:
        """True when pixels are not those of an ideal pinhole."""
        return self._lens is not None

    @property
    def pinhole(self) -> CameraIntrinsics:
        """The same K without distortion."""
        return CameraIntrinsics(self.width, self.height, self.fx, self.fy, self.cx, self.cy)

    @cached_property
    def _lens(self) -> Distortion | None:
        if self.distortion_model == "none" or (self.distortion_model != "equidistant" and not self.distortion.any()):
            return None
        return Distortion(self.distortion_model, self.distortion)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera-frame points [..., 3], metres -> pixels [..., 2] (u to the right, v down) in the points' float type.

        Distortion is applied. NaN for points not in front of the camera (z <= 0 or not finite) and for points so far
        outside the view that the lens model is no longer one-to-one. Pixels may lie outside the image.
        """
        points = np.asarray(points)
        dtype = points.dtype if points.dtype.kind == "f" else np.dtype(np.float64)
        exact = points.astype(np.float64, copy=False)
        z = exact[..., 2:3]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            normalised = np.where(z > 0, exact[..., :2] / z, np.nan)
        if self._lens is not None:
            normalised = self._lens.distort(normalised.reshape(-1, 2)).reshape(normalised.shape)
        return (normalised * (self.fx, self.fy) + (self.cx, self.cy)).astype(dtype, copy=False)

    def unproject(self, pixels: np.ndarray, depth: np.ndarray | float = 1.0) -> np.ndarray:
        """Pixels [..., 2] and depth along z [...] -> camera-frame points [..., 3] in the pixels' float type.

        NaN for pixels that the lens model reaches from nowhere in front of the camera.
        """
        pixels = np.asarray(pixels)
        dtype = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float64)
        normalised = (pixels.astype(np.float64, copy=False) - (self.cx, self.cy)) / (self.fx, self.fy)
        if self._lens is not None:
            normalised = self._lens.undistort(normalised.reshape(-1, 2)).reshape(normalised.shape)
        z = np.broadcast_to(np.asarray(depth, np.float64)[..., None], (*normalised.shape[:-1], 1))
        return np.concatenate([normalised * z, z], axis=-1).astype(dtype, copy=False)

    def rays(self) -> np.ndarray:
        """[H, W, 3] float32, the point at z = 1 seen by each pixel; read-only, computed once. NaN as in unproject."""
        return self._rays

    @cached_property
    def _rays(self) -> np.ndarray:
        columns, rows = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64))
        rays = self.unproject(np.stack([columns, rows], axis=-1)).astype(np.float32)
        rays.setflags(write=False)
        return rays

    def scaled(self, factor: float) -> CameraIntrinsics:
        """The camera of the image resized by ``factor`` (0.5 = half the width); sizes are rounded.

        Pixel areas are kept: the image's outer border stays where it was, so pixel (u, v) becomes
        ((u + 0.5) * factor - 0.5, ...).
        """
        if not (np.isfinite(factor) and factor > 0):
            raise ValueError(f"scale factor {factor} is not a positive number")
        width, height = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        return self.resized(width, height, factor, factor)

    def resized(self, width: int, height: int, factor_x: float, factor_y: float) -> CameraIntrinsics:
        """As ``scaled``, with a factor for each axis and the new size given."""
        return CameraIntrinsics(
            width,
            height,
            self.fx * factor_x,
            self.fy * factor_y,
            (self.cx + 0.5) * factor_x - 0.5,
            (self.cy + 0.5) * factor_y - 0.5,
            self.distortion_model,
            self.distortion,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> CameraIntrinsics:
        """The camera of the image's part with the top-left pixel (x, y). Raises ValueError when it leaves the image."""
        if x < 0 or y < 0 or width <= 0 or height <= 0 or x + width > self.width or y + height > self.height:
            raise ValueError(
                f"region {width} x {height} at ({x}, {y}) is not inside the {self.width} x {self.height} image"
            )
        return CameraIntrinsics(
            width, height, self.fx, self.fy, self.cx - x, self.cy - y, self.distortion_model, self.distortion
        )
