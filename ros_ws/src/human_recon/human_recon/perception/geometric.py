"""People candidates from geometry alone: clusters of depth that stand on the floor and end in a head and shoulders.

The baseline that needs no trained weights. It finds people whose head is seen and who do not hug; see
`human_recon.perception.merge_tree` for how people who touch are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from human_recon.camera.frame import Frame
from human_recon.geometry.plane import plane_axes
from human_recon.perception.hypothesis import Found, PersonHypothesis
from human_recon.perception.merge_tree import separate_peaks
from human_recon.perception.surface import measure_surface
from human_recon.perception.surroundings import Surroundings, SurroundingsConfig


@dataclass(frozen=True)
class GeometricDetectorConfig:
    """Sizes of people, in metres and square metres."""

    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)
    max_depth: float = 8.0
    jump: float = 0.04  # relative depth difference between connected neighbouring pixels
    persistence: float = 0.15  # rise of a head above the place where two people touch
    peak_min_width: float = 0.05  # mean width of a head and what is below it, down to that place
    min_area: float = 0.12  # frontal area of a visible person
    head_height: tuple[float, float] = (1.0, 2.25)  # top of the head above the floor
    head_width: tuple[float, float] = (0.11, 0.36)  # of the top 20 cm
    shoulder_width: tuple[float, float] = (0.14, 0.95)  # of the slab 30 to 55 cm below the top
    shoulder_ratio: float = 1.25  # shoulders are at least this much wider than the head ...
    profile_ratio: float = 1.5  # or, seen from the side, hips, hands or stride are at least this much wider
    max_on_wall: float = 0.5  # share of a person's pixels that may lie in the plane of a wall
    fragment_distance: float = 0.40  # a piece cut off by an occluder belongs to whom it is this near to, on the floor
    reach: float = 0.65  # a piece may be this much above the head: a raised arm
    fragment_min_area: float = 0.005
    fragment_max_area: float = 0.30
    fragment_drop: float = 0.35  # a "head" this much lower than somebody's within that distance is their knee or hand


@dataclass(frozen=True)
class _Region:
    """Connected pixels that rise to one peak."""

    label: int
    pixels: np.ndarray  # [N] flat indices
    area: float  # frontal, square metres
    centre: np.ndarray  # [2] on the floor, metres
    top: float  # highest point, metres


class GeometricDetector:
    """Finds people in single depth frames without any learned part."""

    def __init__(self, config: GeometricDetectorConfig | None = None) -> None:
        self.config = config or GeometricDetectorConfig()

    def detect(self, frame: Frame) -> Found:
        """Find the people of an undistorted frame, nearest first."""
        config = self.config
        focal = 0.5 * (frame.intrinsics.fx + frame.intrinsics.fy)
        surface = measure_surface(frame, config.surroundings)
        points, surroundings = surface.points, surface.surroundings
        depth = points[..., 2]
        valid = (depth > 0) & (depth < config.max_depth) & ~surroundings.background
        heights = self._heights(points, surroundings)
        valid &= heights < config.head_height[1] + 0.3
        labels = separate_peaks(
            points,
            heights,
            valid,
            jump=config.jump,
            persistence=config.persistence,
            min_width=config.peak_min_width,
            focal=focal,
        )
        hypotheses = self._people(points, heights, labels, surroundings, focal)
        return Found(hypotheses, surface, floor=surface.surroundings.floor)

    @staticmethod
    def _heights(points: np.ndarray, surroundings: Surroundings) -> np.ndarray:
        """Height above the floor [H, W]; without a floor, along `up` above an assumed floor 1.2 m below the camera."""
        if surroundings.floor is not None:
            return surroundings.floor.height(points)
        return points @ surroundings.up + 1.2

    def _people(
        self, points: np.ndarray, heights: np.ndarray, labels: np.ndarray, surroundings: Surroundings, focal: float
    ) -> tuple[PersonHypothesis, ...]:
        """The regions that are people, each with the loose pieces that belong to it."""
        config = self.config
        regions = _regions(points, heights, labels, surroundings.up, focal, config.fragment_min_area)
        people = [
            region
            for region in regions
            if region.area > config.min_area and self._is_person(points, heights, region.pixels, surroundings)
        ]
        people = [person for person in people if not any(self._is_part_of(person, other) for other in people)]
        masks = [labels == person.label for person in people]
        found = {person.label for person in people}
        for piece in regions:
            if piece.label not in found and piece.area < config.fragment_max_area:
                owner = self._owner(piece, people)
                if owner is not None:
                    masks[owner].ravel()[piece.pixels] = True
        hypotheses = [
            PersonHypothesis(mask, 1.0, _highest_point(person, points, heights))
            for person, mask in zip(people, masks, strict=True)
        ]
        return tuple(sorted(hypotheses, key=lambda h: float(np.linalg.norm(h.head))))

    def _is_part_of(self, region: _Region, other: _Region) -> bool:
        """Whether a region with head and shoulders is another person's lifted knee or outstretched hand."""
        near = np.linalg.norm(region.centre - other.centre) < self.config.fragment_distance
        return bool(near and region.top < other.top - self.config.fragment_drop)

    def _owner(self, piece: _Region, people: list[_Region]) -> int | None:
        """The index of the person whom a loose piece belongs to, by distance on the floor; None for furniture."""
        distances = [
            float(np.linalg.norm(person.centre - piece.centre))
            if piece.top < person.top + self.config.reach
            else np.inf
            for person in people
        ]
        if not distances or min(distances) >= self.config.fragment_distance:
            return None
        return int(np.argmin(distances))

    def _is_person(
        self, points: np.ndarray, heights: np.ndarray, pixels: np.ndarray, surroundings: Surroundings
    ) -> bool:
        """Whether a region has the height, the head and the shoulders of a person."""
        config = self.config
        height = heights.ravel()[pixels]
        xyz = points.reshape(-1, 3)[pixels]
        if surroundings.on_wall.ravel()[pixels].mean() > config.max_on_wall:
            return False
        top = float(np.percentile(height, 99.5))
        if surroundings.floor is not None and not config.head_height[0] < top < config.head_height[1]:
            return False
        if top - float(np.percentile(height, 1)) < 0.45:
            return False
        # Widths are measured across the line of sight, on the floor.
        sight = xyz.mean(0) - (xyz.mean(0) @ surroundings.up) * surroundings.up
        across = np.cross(sight / max(float(np.linalg.norm(sight)), 1e-9), surroundings.up)
        side = xyz @ across

        def width(low: float, high: float) -> float:
            slab = side[(height > top - high) & (height < top - low)]
            return float(np.subtract(*np.percentile(slab, [97, 3]))) if len(slab) > 10 else 0.0

        head, shoulders = width(0.0, 0.20), width(0.30, 0.55)
        widest = max((width(low, low + 0.25) for low in np.arange(0.30, min(top, 1.3), 0.25)), default=0.0)
        return bool(
            config.head_width[0] < head < config.head_width[1]
            and config.shoulder_width[0] < shoulders < config.shoulder_width[1]
            and (shoulders > config.shoulder_ratio * head or widest > config.profile_ratio * head)
        )


def _regions(
    points: np.ndarray, heights: np.ndarray, labels: np.ndarray, up: np.ndarray, focal: float, min_area: float
) -> list[_Region]:
    """The labelled regions of at least ``min_area`` square metres."""
    flat = labels.ravel()
    count = int(flat.max())
    areas = np.bincount(flat, (points[..., 2] ** 2 / focal**2).ravel(), count + 1)
    plan = points.reshape(-1, 3) @ plane_axes(up).T
    order = np.argsort(flat, kind="stable")
    bounds = np.searchsorted(flat[order], np.arange(1, count + 2))
    regions = []
    for label in range(1, count + 1):
        if areas[label] > min_area:
            pixels = order[bounds[label - 1] : bounds[label]]
            centre, top = np.median(plan[pixels], axis=0), float(heights.ravel()[pixels].max())
            regions.append(_Region(label, pixels, float(areas[label]), centre, top))
    return regions


def _highest_point(region: _Region, points: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The top of the head [3]: the median of the highest pixels, which are the noisiest ones."""
    highest_first = region.pixels[np.argsort(-heights.ravel()[region.pixels])]
    return np.median(points.reshape(-1, 3)[highest_first[: max(5, len(highest_first) // 200)]], axis=0)
