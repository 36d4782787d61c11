"""The synthetic world: sample ``index`` of ``seed`` is a scene, a view of it and what the sensor measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.camera.frame import Frame
from human_recon.geometry.scene_rasterizer import rasterize_scenes
from human_recon.ground_truth import TrueFrame
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.outfit import Detail
from human_recon.simulation.people_source import PeopleSource
from human_recon.simulation.randomness import generator
from human_recon.simulation.rendering import (
    FIRST_THING,
    Rasterize,
    Rendering,
    measured_visibility,
    render_views,
    true_frame,
)
from human_recon.simulation.robot_camera import draw_view
from human_recon.simulation.scene import Scene, View
from human_recon.simulation.sensors import SensorModel, SensorSwitches, sensor_for, surface_codes
from human_recon.simulation.staging import SceneConfig, SceneSampler


@dataclass(frozen=True)
class WorldConfig:
    """What the world is like; the defaults are those of training."""

    split: Split = "train"
    size: tuple[int, int] | None = (160, 120)  # width, height of the rendered image; None = each camera's own
    detail: Detail = "light"  # meshes of people: light (about 4,000 vertices when dressed) or full
    scene: SceneConfig = field(default_factory=SceneConfig)
    sensor: SensorSwitches = field(default_factory=SensorSwitches)


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame of the world and everything that is true about it."""

    scene: Scene
    view: View
    rendering: Rendering
    depth: np.ndarray  # [H, W] float32, measured, metres, 0 = no reading
    visibility: np.ndarray  # [P] float32 in [0, 1], pixels with a reading over pixels of the whole silhouette


@dataclass(frozen=True, eq=False)
class Shot:
    """A scene about to be rendered."""

    scene: Scene
    view: View
    sensor: SensorModel
    key: int  # of the sensor's noise


class World:
    """Draws samples; holds what they are made of."""

    def __init__(
        self,
        config: WorldConfig,
        assets: Assets,
        body: BodyModel | None = None,
        rasterize: Rasterize = rasterize_scenes,
    ) -> None:
        self.config = config
        self.assets = assets
        self.body = body if body is not None else default_body_model()
        people = PeopleSource.load(assets, config.split, config.detail, self.body)
        self._scenes = SceneSampler(config.scene, people)
        self._rasterize = rasterize

    def sample(self, seed: int, index: int) -> Sample:
        """Sample ``index``: a function of the seed, the index, the configuration and the assets alone."""
        return self.samples(seed, index, 1)[0]

    def samples(self, seed: int, index: int, views: int) -> list[Sample]:
        """Scene ``index`` seen by several cameras that know nothing of each other; the first is that of `sample`."""
        return self.develop(self.shots(seed, index, views))

    def shots(self, seed: int, index: int, views: int) -> list[Shot]:
        """What `samples` renders."""
        scene = self._scenes.draw(generator(seed, index, f"scene {self.config.split}"))
        shots = []
        for number in range(views):
            rng = generator(seed, index, f"view {number} {self.config.split}")
            view = draw_view(rng, scene, self.config.scene, self.config.size)
            sensor = sensor_for(view.preset).draw_unit(rng)
            shots.append(Shot(scene, view, sensor, int(rng.integers(1 << 62))))
        return shots

    def develop(self, shots: Sequence[Shot]) -> list[Sample]:
        """Render and measure shots of one image size, rasterised together."""
        renderings = render_views([(shot.scene, shot.view) for shot in shots], self.body, self._rasterize)
        samples = []
        for shot, rendering in zip(shots, renderings, strict=True):
            depth = measure(shot.sensor, rendering, shot.view, shot.key, self.config.sensor)
            samples.append(Sample(shot.scene, shot.view, rendering, depth, measured_visibility(rendering, depth)))
        return samples

    def true_frame(self, sample: Sample, stamp_ns: int = 0) -> TrueFrame:
        """The sample as a frame with its truth."""
        frame = Frame(stamp_ns, "camera_depth_optical_frame", sample.depth, sample.view.intrinsics)
        return true_frame(sample.rendering, self.body, frame)


def measure(sensor: SensorModel, rendering: Rendering, view: View, key: int, switches: SensorSwitches) -> np.ndarray:
    """What a sensor makes of a rendering: [H, W] float32 metres, 0 = no reading. ``key`` is the frame's."""
    surface = surface_codes(rendering.material, rendering.object, FIRST_THING)
    return sensor.measure(rendering.depth, rendering.normal, surface, view.intrinsics, view.stride, key, switches)
