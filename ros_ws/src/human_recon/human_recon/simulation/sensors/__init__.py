"""What depth cameras make of the world: structured light, stereo and time of flight.

``sensor_for(preset).draw_unit(rng).measure(depth, normal, codes, intrinsics, stride, key, SensorSwitches())``
"""

from human_recon.simulation.sensors.model import SensorModel, sensor_for
from human_recon.simulation.sensors.stereo import Stereo
from human_recon.simulation.sensors.structured_light import StructuredLight
from human_recon.simulation.sensors.surfaces import Reflectance, surface_codes
from human_recon.simulation.sensors.switches import SensorSwitches
from human_recon.simulation.sensors.time_of_flight import TimeOfFlight

__all__ = [
    "Reflectance",
    "SensorModel",
    "SensorSwitches",
    "Stereo",
    "StructuredLight",
    "TimeOfFlight",
    "sensor_for",
    "surface_codes",
]
