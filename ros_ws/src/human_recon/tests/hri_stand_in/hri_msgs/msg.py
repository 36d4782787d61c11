"""The messages of hri_msgs that human_recon publishes, as its .msg files (version 2) have them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from std_msgs.msg import Header


@dataclass
class IdsList:
    header: Header = field(default_factory=Header)
    ids: list[str] = field(default_factory=list)


@dataclass
class NormalizedRegionOfInterest2D:
    header: Header = field(default_factory=Header)
    xmin: float = 0.0
    ymin: float = 0.0
    xmax: float = 0.0
    ymax: float = 0.0
    c: float = 0.0


@dataclass
class NormalizedPointOfInterest2D:
    x: float = 0.0
    y: float = 0.0
    c: float = 0.0


@dataclass
class Skeleton2D:
    NOSE: ClassVar[int] = 0
    NECK: ClassVar[int] = 1
    RIGHT_SHOULDER: ClassVar[int] = 2
    RIGHT_ELBOW: ClassVar[int] = 3
    RIGHT_WRIST: ClassVar[int] = 4
    LEFT_SHOULDER: ClassVar[int] = 5
    LEFT_ELBOW: ClassVar[int] = 6
    LEFT_WRIST: ClassVar[int] = 7
    RIGHT_HIP: ClassVar[int] = 8
    RIGHT_KNEE: ClassVar[int] = 9
    RIGHT_ANKLE: ClassVar[int] = 10
    LEFT_HIP: ClassVar[int] = 11
    LEFT_KNEE: ClassVar[int] = 12
    LEFT_ANKLE: ClassVar[int] = 13
    LEFT_EYE: ClassVar[int] = 14
    RIGHT_EYE: ClassVar[int] = 15
    LEFT_EAR: ClassVar[int] = 16
    RIGHT_EAR: ClassVar[int] = 17

    header: Header = field(default_factory=Header)
    skeleton: list[NormalizedPointOfInterest2D] = field(
        default_factory=lambda: [NormalizedPointOfInterest2D() for _ in range(18)]
    )
