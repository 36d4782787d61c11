"""Structured light of the PrimeSense kind: Kinect for Xbox 360, Asus Xtion."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from human_recon.simulation.sensors.switches import SensorSwitches
from human_recon.simulation.sensors.triangulation import Triangulation


@dataclass(frozen=True)
class StructuredLight:
    """A projected dot pattern, matched by one infrared camera; pixels are those of the delivered image.

    Published figures that the defaults must and do agree with (tests/test_simulation_sensors.py):

    - standard deviation of a plane's depth 1.425e-3 z^2 m, depth step 2.85e-3 z^2 m (Khoshelham and Elberink,
      "Accuracy and resolution of Kinect depth data for indoor mapping applications", Sensors 12(2), 2012), which is
      half of a disparity step of 1/8 pixel;
    - axial noise 0.0012 + 0.0019 (z - 0.4)^2 m up to 60 degrees of incidence, steeply more beyond, lateral noise of
      0.8 pixels (Nguyen, Izadi, Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking",
      3DIMPVT 2012);
    - kinds of errors: Mallick, Das, Majumdar, "Characterizations of noise in Kinect depth images: a review", IEEE
      Sensors Journal 14(6), 2014; windows that fatten and tear borders, projector shadow by the pattern's geometry:
      Landau, Choo, Choong, "Simulating Kinect infrared and depth images", IEEE Trans. Cybernetics 46(12), 2016, and
      Bohg, Romero, Herzog, Schaal, "Robot arm pose estimation through pixel-wise part classification", ICRA 2014.

    "Real frames" below are the two of benchmarks/sensor_noise.json (``tools/compare_sensor_noise.py``).
    """

    baseline: float = 0.075  # metres, projector to infrared camera (Khoshelham and Elberink 2012)
    color_offset: float = 0.0  # metres, infrared camera to the camera whose image the depth is registered to
    focal_ratio: float = 1.0  # focal length of the infrared image over that of the delivered image
    step: float = 0.125  # pixels of the infrared image (Khoshelham and Elberink 2012; Landau et al. 2016)
    sigma: float = (
        0.054  # pixels, before rounding to steps; with them 0.065, Khoshelham and Elberink's half step is 0.062
    )
    correlated: float = 0.95  # share of the noise's variance; real frames
    blob: tuple[float, float] = (4.3, 6.2)  # pixels, cell of the correlated noise: autocorrelation on the real frames
    grazing: float = 0.2  # growth with 1 / cos(incidence) - 1; chosen: 1.2 times at 60 degrees, 2 times at 80
    band: float = 0.0  # pixels of disparity: saw-tooth over the columns, in some units (real frame: 0.08)
    band_width: float = 64.0  # pixels of the infrared image; real frame
    fill: float = 2.0  # pixels; gaps beside people on the real frames
    brick: float = 5.0  # pixels; holes on the real frames
    warp: float = 6.0  # pixels; outlines on the real frames
    jitter: float = 2.0  # pixels, less than half of the 9-pixel correlation window; outlines on the real frames
    smooth: float = 2.0  # pixels
    edge: float = 0.6  # pixels of disparity: less than that is one surface to the window
    reach: float = 18.0  # metres; real frames show plain walls at 9.7 m and lose the floor beyond 5 m
    cloud: float = 16.0  # pixels, size of patches of weaker signal; hair on the real frames
    cloud_sigma: float = 0.7
    ragged_sigma: float = 0.1
    farthest: float = 10.0  # metres: real frames end at 9.8; OpenNI's driver reports at most 10
    holes: float = 0.0003  # share of bricks; real frames
    margins: tuple[float, float, float, float] = (0.0, 8.0, 0.0, 0.0)  # left, right, top, bottom pixels: half of the
    # correlation window that the hardware never fills (Konolige and Mihelich, "Technical description of Kinect
    # calibration", ROS wiki, 2011: 8 columns); a registered image has wider ones
    rounding: float = 0.001  # metres, of the driver

    def varied(self, rng: np.random.Generator) -> StructuredLight:
        """Another unit of this kind."""
        noise, reach, ragged, jitter, band = rng.standard_normal(5)
        registered = self.color_offset != 0.0
        moved = rng.uniform(-6.0, 6.0, 2) if registered else (0.0, 0.0)
        left, right, top, bottom = self.margins
        return replace(
            self,
            sigma=self.sigma * math.exp(0.2 * noise),
            reach=self.reach * math.exp(0.2 * reach),
            ragged_sigma=self.ragged_sigma * math.exp(0.3 * ragged),
            jitter=self.jitter * math.exp(0.25 * jitter),
            band=max(0.0, 0.06 * band),
            margins=(left + moved[0], right - moved[0], top + moved[1], bottom - moved[1]),
        )

    def kernel(
        self,
        focal: float,  # native pixels of the delivered image
        frame: tuple[float, float, float, float],  # first and last column, first and last row of the sensor's image
        near: float,
        phase: float,
        on: SensorSwitches,
    ) -> Triangulation:
        """The compiled pass's parameters."""
        left, right, top, bottom = self.margins
        sigma = self.sigma if on.noise else 0.0
        return Triangulation(
            projector=focal * (self.baseline - self.color_offset),
            camera=-focal * self.color_offset,
            shadow=on.shadow,
            limits=(frame[0] + left, frame[1] - right, frame[2] + top, frame[3] - bottom),
            limit_camera=on.border,
            disparity=focal * self.focal_ratio * self.baseline,
            step=self.step if on.quantisation else 0.0,
            phase=phase,
            rounding=self.rounding if on.rounding else 0.0,
            near=near if on.range_limits else 0.0,
            far=self.farthest if on.range_limits else math.inf,
            blob=self.blob,
            blob_sigma=sigma * math.sqrt(self.correlated),
            pixel_sigma=sigma * math.sqrt(1.0 - self.correlated),
            grazing=self.grazing,
            band=self.band if on.bias else 0.0,
            band_width=self.band_width / self.focal_ratio,
            fill=self.fill if on.edges else 0.0,
            brick=self.brick,
            warp=self.warp,
            jitter=self.jitter if on.edges else 0.0,
            fatten=False,
            smooth=self.smooth if on.smoothing else 0.0,
            edge=self.edge,
            reach=self.reach if on.dropouts else math.inf,
            drop=on.dropouts,
            cloud=self.cloud,
            cloud_sigma=self.cloud_sigma,
            ragged_sigma=self.ragged_sigma,
            holes=self.holes if on.holes else 0.0,
            outliers=0.0,
            outlier_reach=0.0,
        )
