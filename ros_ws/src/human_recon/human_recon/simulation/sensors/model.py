"""A depth camera's errors: a faultless depth image in, what the driver delivers out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.presets import PRESETS
from human_recon.simulation.sensors import phase, triangulation
from human_recon.simulation.sensors.fields import subkey
from human_recon.simulation.sensors.stereo import Stereo
from human_recon.simulation.sensors.structured_light import StructuredLight
from human_recon.simulation.sensors.surfaces import Reflectance, reflectances
from human_recon.simulation.sensors.switches import SensorSwitches
from human_recon.simulation.sensors.time_of_flight import TimeOfFlight

ALL_EFFECTS = SensorSwitches()


@dataclass(frozen=True)
class SensorModel:
    """One depth camera. A frame's errors depend on the unit and on the key given with the frame, on nothing else.

    ``unit`` fixes what does not change from frame to frame (how well each surface reflects, the phase of the disparity
    steps). Without one, each frame is that of another unit with the same parameters.
    """

    name: str  # of the camera preset
    parameters: StructuredLight | Stereo | TimeOfFlight | None  # None: a faultless camera
    near: float  # metres
    far: float  # metres
    reflectance: Reflectance = field(default_factory=Reflectance)
    unit: int | None = None

    def draw_unit(self, rng: np.random.Generator) -> SensorModel:
        """Another unit of this camera in other surroundings: parameters differ within what units scatter."""
        parameters = self.parameters.varied(rng) if self.parameters is not None else None
        return replace(self, parameters=parameters, unit=int(rng.integers(1 << 62)))

    def measure(
        self,
        depth: np.ndarray,  # [H, W] float32, metres along z, 0 = nothing
        normal: np.ndarray | None,  # [H, W, 3] unit normals, camera frame; None = everything faces the camera
        surface: np.ndarray | None,  # [H, W] uint8, surface codes (see surfaces.py) or outfit.Material, 255 = thing
        intrinsics: CameraIntrinsics,  # of the rendered image
        stride: float,  # native pixels per rendered pixel
        key: int,  # of the frame
        switches: SensorSwitches = ALL_EFFECTS,
    ) -> np.ndarray:
        """The reading of every pixel, [H, W] float32 metres, 0 = no reading."""
        return self._measure(depth, normal, surface, intrinsics, stride, key, switches, reference=False)

    def measure_reference(
        self,
        depth: np.ndarray,
        normal: np.ndarray | None,
        surface: np.ndarray | None,
        intrinsics: CameraIntrinsics,
        stride: float,
        key: int,
        switches: SensorSwitches = ALL_EFFECTS,
    ) -> np.ndarray:
        """:meth:`measure` in plain numpy: the same numbers, slowly."""
        return self._measure(depth, normal, surface, intrinsics, stride, key, switches, reference=True)

    def _measure(
        self,
        depth: np.ndarray,
        normal: np.ndarray | None,
        surface: np.ndarray | None,
        intrinsics: CameraIntrinsics,
        stride: float,
        key: int,
        switches: SensorSwitches,
        reference: bool,
    ) -> np.ndarray:
        size = (intrinsics.height, intrinsics.width)
        if depth.shape != size:
            raise ValueError(f"depth is {depth.shape}, the camera {size}")
        if normal is not None and normal.shape != (*size, 3):
            raise ValueError(f"normals are {normal.shape}, the camera {size}")
        if surface is not None and (surface.shape != size or surface.dtype != np.uint8):
            raise ValueError(f"surface codes are {surface.shape} {surface.dtype}, not {size} uint8")
        if not stride > 0:
            raise ValueError(f"stride must be positive, got {stride}")
        depth = np.ascontiguousarray(depth, np.float32)
        normal = None if normal is None else np.ascontiguousarray(normal, np.float32)
        surface = None if surface is None else np.ascontiguousarray(surface)
        if self.parameters is None:
            if not switches.range_limits:
                return depth.copy()
            return np.where((depth >= self.near) & (depth <= self.far), depth, np.float32(0))
        unit = self.unit if self.unit is not None else key
        table = reflectances(self.reflectance, subkey(unit, 101))
        camera = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
        if isinstance(self.parameters, TimeOfFlight):
            time_of_flight = self.parameters.kernel(self.near, self.far, switches)
            measure_phase = phase.measure_reference if reference else phase.measure
            return measure_phase(depth, normal, surface, camera, stride, key, table, time_of_flight)
        steps = float(subkey(unit, 102)) / 2.0**64
        frame = self._frame(intrinsics, stride)
        focal = intrinsics.fx * stride
        if isinstance(self.parameters, StructuredLight):
            triangulating = self.parameters.kernel(focal, frame, self.near, steps, switches)
        else:
            triangulating = self.parameters.kernel(focal, frame, self.near, self.far, steps, switches)
        measure_disparity = triangulation.measure_reference if reference else triangulation.measure
        return measure_disparity(depth, normal, surface, camera, stride, key, table, triangulating)

    def _frame(self, intrinsics: CameraIntrinsics, stride: float) -> tuple[float, float, float, float]:
        """First and last column, first and last row of the whole sensor in native pixels of the rendered image.

        What is rendered may be a part of the sensor's image; the principal point tells which.
        """
        sensor = PRESETS[self.name].intrinsics
        x = (intrinsics.cx + 0.5) * stride - 0.5 - sensor.cx
        y = (intrinsics.cy + 0.5) * stride - 0.5 - sensor.cy
        return x, x + sensor.width - 1.0, y, y + sensor.height - 1.0


# Registered depth is seen from the colour camera, 25 mm from the infrared camera towards the projector (Konolige and
# Mihelich 2011). The infrared camera's focal length, 580 pixels, and where its image ends in that of the colour camera
# are those of the real frames.
_KINECT = StructuredLight(color_offset=0.025, focal_ratio=580.7 / 525.0, margins=(26.0, 28.0, 20.0, 9.0))
# Pitch and range as in the data sheets; distances between the cameras: Intel, "D400 series product family datasheet";
# Luxonis, "OAK-D"; Stereolabs, "ZED 2 datasheet".
_PASSIVE_TEXTURE = Stereo(
    baseline=0.075, sigma=0.15, step=0.125, reach=25.0, cloud_sigma=1.6, blob=(7.0, 7.0), outliers=0.03, smooth=3.0
)
_PARAMETERS: dict[str, StructuredLight | Stereo | TimeOfFlight | None] = {
    "kinect_v1": _KINECT,
    "kinect_v2": TimeOfFlight(0.0008, 0.0006, 0.00006, weakest=4.5**2 / 0.15, falloff=0.7, ambiguity=18.75),
    "azure_kinect_nfov": TimeOfFlight(0.0005, 0.0006, 0.00008, weakest=3.86**2 / 0.15, mask=372.0),
    "azure_kinect_wfov": TimeOfFlight(0.0005, 0.0010, 0.00025, weakest=2.88**2 / 0.15, mask=258.0),
    "femto_nfov": TimeOfFlight(0.0005, 0.0006, 0.00008, weakest=3.86**2 / 0.15, mask=372.0),
    "femto_wfov": TimeOfFlight(0.0005, 0.0010, 0.00025, weakest=2.88**2 / 0.15, mask=258.0),
    "realsense_d415": Stereo(baseline=0.055),
    "realsense_d435": Stereo(baseline=0.050),
    "realsense_d455": Stereo(baseline=0.095),
    "oak_d": _PASSIVE_TEXTURE,
    # Its driver delivers 32-bit metres, smoothed and with most holes filled.
    "zed_2": replace(
        _PASSIVE_TEXTURE, baseline=0.12, sigma=0.12, step=0.0, rounding=0.0, reach=60.0, smooth=6.0, outliers=0.02
    ),
    "gazebo": None,
}
# A pattern of dots suffers more from hair, which blurs it, than amplitude alone does.
_HAIR_BY_AMPLITUDE = Reflectance(hair=0.3, spread_hair=0.6)


@lru_cache(maxsize=64)
def sensor_for(preset: str) -> SensorModel:
    """The sensor of a camera preset (:data:`human_recon.camera.presets.PRESETS`), a nominal unit.

    Raises:
        ValueError: no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"no camera preset {preset!r}; there are {', '.join(PRESETS)}")
    camera, parameters = PRESETS[preset], _PARAMETERS[preset]
    reflectance = Reflectance() if isinstance(parameters, StructuredLight) else _HAIR_BY_AMPLITUDE
    far = camera.depth_max if math.isfinite(camera.depth_max) else math.inf
    return SensorModel(preset, parameters, camera.depth_min, far, reflectance)
