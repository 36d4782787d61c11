"""Time of flight of modulated light: Kinect for Xbox One, Azure Kinect and the cameras with its depth module."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from human_recon.simulation.sensors.phase import Phase
from human_recon.simulation.sensors.switches import SensorSwitches


@dataclass(frozen=True)
class TimeOfFlight:
    """Continuous-wave time of flight; the light stands beside the lens.

    - form of the noise: Lange and Seitz 2001, see :mod:`~human_recon.simulation.sensors.phase`; kinds of errors (flying
      pixels, multipath, amplitude, systematic): Lefloch et al., "Technical foundation and calibration methods for
      time-of-flight cameras", LNCS 8200, 2013;
    - Azure Kinect: random error below 17 mm and range for reflectivities of 15 % and more: 3.86 m (NFOV unbinned),
      2.88 m (WFOV binned) (Microsoft, "Azure Kinect DK hardware specification"; confirmed by Tölgyessy, Dekan,
      Chovanec, Hubinský, "Evaluation of the Azure Kinect and its comparison to Kinect v1 and Kinect v2", Sensors 21(2),
      2021, which also shows flying pixels and multipath in corners). ``weakest`` is range^2 / 0.15;
    - Kinect for Xbox One: errors grow little with distance, flying pixels and rounded corners (Wasenmüller and
      Stricker, "Comparison of Kinect v1 and v2 depth images in terms of accuracy and precision", ACCV workshops 2016);
      random error of both over distance and angle: Kurillo et al., "Evaluating the accuracy of the Azure Kinect and
      Kinect v2", Sensors 22(7), 2022.

    The three noise figures were chosen to give one to a few millimetres at 1 to 4 m, the order that these papers
    report; they are no fits, and no frame of such a camera was at hand to check them. Fall-off, masks, the share of
    multipath and that of removed pixels are chosen as well.
    """

    floor_sigma: float  # metres
    photon_sigma: float  # metres, of a white wall at 1 m
    background_sigma: float  # metres, of a white wall at 1 m
    weakest: float  # weakness at which readings end: squared metres over reflectance
    weakest_sigma: float = 0.15
    falloff: float = 0.5  # share of the light missing in the corners
    mask: float = 0.0  # pixels, radius of the lit circle; 0 = the whole image is lit
    mixed: float = 1.0  # pixels: a pixel's own width
    mixed_invalid: float = 0.5  # share of mixed pixels that the driver removes
    edge: float = 0.02  # metres per metre
    offset: float = 0.0  # metres; units differ, see varied()
    wave: float = 0.0015  # metres
    cloud: float = 60.0  # pixels
    multipath: float = 0.1  # share of a corner's depth
    corner: float = 12.0  # pixels
    ambiguity: float = math.inf  # metres
    holes: float = 0.0002  # share of pixels
    rounding: float = 0.001  # metres, of the driver

    def varied(self, rng: np.random.Generator) -> TimeOfFlight:
        """Another unit of this kind, and other surroundings."""
        noise, weakest, offset, wave, multipath = rng.standard_normal(5)
        factor = math.exp(0.25 * noise)
        return replace(
            self,
            floor_sigma=self.floor_sigma * factor,
            photon_sigma=self.photon_sigma * factor,
            background_sigma=self.background_sigma * factor,
            weakest=self.weakest * math.exp(0.25 * weakest),
            offset=0.004 * offset,
            wave=self.wave * math.exp(0.4 * wave),
            multipath=self.multipath * math.exp(0.5 * multipath),
            mixed_invalid=rng.uniform(0.2, 0.8),
        )

    def kernel(self, near: float, far: float, on: SensorSwitches) -> Phase:
        """The compiled pass's parameters."""
        return Phase(
            floor_sigma=self.floor_sigma if on.noise else 0.0,
            photon_sigma=self.photon_sigma if on.noise else 0.0,
            background_sigma=self.background_sigma if on.noise else 0.0,
            weakest=self.weakest if on.dropouts else math.inf,
            weakest_sigma=self.weakest_sigma if on.dropouts else 0.0,
            falloff=self.falloff,
            mask=self.mask if on.border else 0.0,
            mixed=self.mixed if on.flying_pixels else 0.0,
            mixed_invalid=self.mixed_invalid,
            edge=self.edge,
            offset=self.offset if on.bias else 0.0,
            wave=self.wave if on.bias else 0.0,
            cloud=self.cloud,
            multipath=self.multipath if on.bias else 0.0,
            corner=self.corner,
            ambiguity=self.ambiguity if on.range_limits else math.inf,
            holes=self.holes if on.holes else 0.0,
            rounding=self.rounding if on.rounding else 0.0,
            near=near if on.range_limits else 0.0,
            far=far if on.range_limits else math.inf,
        )
