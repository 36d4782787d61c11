"""Which effects of a sensor are simulated."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SensorSwitches:
    """Every effect can be left out alone; an effect that a sensor does not have is ignored."""

    noise: bool = True  # random error of the reading
    bias: bool = True  # systematic error: column bands of structured light, multipath and offset of time of flight
    quantisation: bool = True  # steps of disparity
    rounding: bool = True  # whole millimetres in the driver's 16-bit image
    shadow: bool = True  # what the projector does not light or the other camera does not see
    edges: bool = True  # ragged and fattened borders of triangulating sensors
    smoothing: bool = True  # flattening by the matching window
    dropouts: bool = True  # too little light back: far, dark, grazing; too little texture
    holes: bool = True  # small random holes
    outliers: bool = True  # mismatches of stereo
    flying_pixels: bool = True  # time of flight: readings between two surfaces
    border: bool = True  # parts of the image without readings
    range_limits: bool = True  # nearest and farthest reading

    @staticmethod
    def only(*names: str) -> SensorSwitches:
        """Everything off but the effects named."""
        known = [field.name for field in fields(SensorSwitches)]
        if unknown := set(names) - set(known):
            raise ValueError(f"no such effect: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return SensorSwitches(**{name: name in names for name in known})
