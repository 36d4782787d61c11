"""Two cameras side by side, with a pattern projector (active) or without (passive)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from human_recon.simulation.sensors.switches import SensorSwitches
from human_recon.simulation.sensors.triangulation import Triangulation


@dataclass(frozen=True)
class Stereo:
    """Depth of the left image, by block or semi-global matching with the right one, which stands ``baseline`` to +x.

    - depth error z^2 sigma / (f b), sigma 0.05-0.1 pixels for a well-textured target (Grunnet-Jepsen, Sweetser,
      Woodfill, "Best-known-methods for tuning Intel RealSense D400 depth cameras for best performance", Intel 2018;
      Keselman et al., "Intel RealSense stereoscopic depth cameras", CVPR workshops 2017); measured growth with
      distance: Ahn et al., "Analysis and noise modeling of the Intel RealSense D435 for mobile robots", UR 2019;
      Carfagni et al., "Metrological and critical characterization of the Intel D415 stereo depth camera", Sensors
      19(3), 2019;
    - the left image's columns whose match would lie outside of the right image have no depth: f b / z of them
      (Intel's D400 datasheet: "invalid depth band").

    Not published and chosen by us, from pictures of these cameras: correlation lengths, raggedness, share of outliers.
    """

    baseline: float  # metres
    sigma: float = 0.08  # pixels
    step: float = 1.0 / 32.0  # pixels (Grunnet-Jepsen et al., "Subpixel linearity improvement", Intel 2019)
    correlated: float = 1.0  # share of the noise's variance; rounding to steps adds what is not
    blob: tuple[float, float] = (6.0, 6.0)  # pixels: matching windows of 7 to 11 pixels overlap
    grazing: float = 0.3
    fill: float = 2.5  # pixels
    brick: float = 6.0  # pixels
    warp: float = 8.0  # pixels
    jitter: float = 3.5  # pixels
    smooth: float = 3.0  # pixels
    edge: float = 1.0  # pixels of disparity
    reach: float = 16.0  # metres at which a white wall is just matched; a pattern fades as structured light's does
    cloud: float = 24.0  # pixels, size of patches with less texture
    cloud_sigma: float = 0.6
    ragged_sigma: float = 0.2
    holes: float = 0.0005  # share of bricks
    outliers: float = 0.01  # share of the weakly textured bricks
    outlier_reach: float = 6.0  # pixels of disparity
    rounding: float = 0.001  # metres, of 16-bit drivers; 0 = 32-bit float

    def varied(self, rng: np.random.Generator) -> Stereo:
        """Another unit of this kind, and another light."""
        noise, reach, texture, ragged = rng.standard_normal(4)
        return replace(
            self,
            sigma=self.sigma * math.exp(0.3 * noise),
            reach=self.reach * math.exp(0.25 * reach),
            cloud_sigma=self.cloud_sigma * math.exp(0.3 * texture),
            ragged_sigma=self.ragged_sigma * math.exp(0.3 * ragged),
            smooth=self.smooth * rng.uniform(0.5, 1.5),
        )

    def kernel(
        self,
        focal: float,  # native pixels
        frame: tuple[float, float, float, float],  # first and last column, first and last row of the sensor's image
        near: float,
        far: float,
        phase: float,
        on: SensorSwitches,
    ) -> Triangulation:
        """The compiled pass's parameters."""
        sigma = self.sigma if on.noise else 0.0
        right_camera = focal * self.baseline
        return Triangulation(
            projector=0.0,
            camera=right_camera,
            shadow=on.shadow,
            limits=(frame[0], math.inf, -math.inf, math.inf),
            limit_camera=on.border,
            disparity=right_camera,
            step=self.step if on.quantisation else 0.0,
            phase=phase,
            rounding=self.rounding if on.rounding else 0.0,
            near=near if on.range_limits else 0.0,
            far=far if on.range_limits else math.inf,
            blob=self.blob,
            blob_sigma=sigma * math.sqrt(self.correlated),
            pixel_sigma=sigma * math.sqrt(1.0 - self.correlated),
            grazing=self.grazing,
            band=0.0,
            band_width=1.0,
            fill=self.fill if on.edges else 0.0,
            brick=self.brick,
            warp=self.warp,
            jitter=self.jitter if on.edges else 0.0,
            fatten=True,  # windows, and smoothness terms, prefer the surface with the stronger outline
            smooth=self.smooth if on.smoothing else 0.0,
            edge=self.edge,
            reach=self.reach if on.dropouts or on.outliers else math.inf,
            drop=on.dropouts,
            cloud=self.cloud,
            cloud_sigma=self.cloud_sigma,
            ragged_sigma=self.ragged_sigma,
            holes=self.holes if on.holes else 0.0,
            outliers=self.outliers if on.outliers else 0.0,
            outlier_reach=self.outlier_reach,
        )
