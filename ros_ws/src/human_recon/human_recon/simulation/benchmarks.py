"""The frozen benchmarks: frames and scans with truth, made again bit for bit from seed and version.

People, motion and clothes are of the test split, which training never sees. What is drawn depends on the data at hand
(motion capture, wardrobe), so a benchmark is identified by its version and the digest of these assets; ``frozen``
compares what was made with what the project's figures were measured on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.ground_truth import TrueFrame
from human_recon.resources import model_path
from human_recon.simulation.assets import Assets
from human_recon.simulation.people_source import PeopleSource
from human_recon.simulation.randomness import generator
from human_recon.simulation.robot_camera import draw_view
from human_recon.simulation.scans import Scan, complete_scan, single_view_scan, turned, undressed
from human_recon.simulation.scene import Actor, Scene
from human_recon.simulation.sensors import SensorSwitches
from human_recon.simulation.sequence import Sequence, SequenceConfig, SequenceSource
from human_recon.simulation.staging import SceneConfig, place
from human_recon.simulation.world import World, WorldConfig

MANIFEST = "simulation/benchmarks.json"
_SCAN_POINTS = 2000  # a single view with fewer is drawn again
_SEEN = 0.3  # visibility from which a person counts as in view when frames are chosen


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark consists of. Whoever changes what it draws raises its version."""

    name: str
    title: str
    version: int
    seed: int
    kind: Literal["frames", "sequences", "scans"]
    count: int  # frames, sequences or scans
    people: tuple[float, ...] = ()  # relative frequency of 0, 1, 2, ... people; of frames
    least_in_view: int = 0  # frames in which fewer people are 30 % visible are left out


SEQUENCES: tuple[SequenceConfig, ...] = tuple(
    SequenceConfig(people, seconds, scenario, preset, moving=moving, split="test")
    for scenario, people, seconds, preset, moving in (
        ("walk", 3, 10.0, "realsense_d435", False),
        ("cross", 4, 14.0, "kinect_v1", False),
        ("mixed", 4, 10.0, "realsense_d455", True),
        ("cross", 3, 12.0, "kinect_v2", False),
    )
)

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            Benchmark("single", "one person per frame", 1, 9001, "frames", 200, (0, 1), 1),
            Benchmark("multi", "two to four people per frame", 1, 9002, "frames", 200, (0, 0, 1, 1, 1), 2),
            Benchmark(
                "crowd", "five to eight people per frame", 1, 9003, "frames", 100, (0, 0, 0, 0, 0, 1, 1, 1, 1), 3
            ),
            Benchmark("sequence", "people walking, crossing, leaving, entering", 1, 9004, "sequences", len(SEQUENCES)),
            Benchmark("scans", "point clouds of one person: complete and single view", 1, 9005, "scans", 80),
            Benchmark("empty", "rooms and things, nobody", 1, 9006, "frames", 200, (1,)),
        )
    }
)


@dataclass(frozen=True, eq=False)
class OpenBenchmark:
    """A benchmark that is ready to be made."""

    benchmark: Benchmark
    assets: Assets
    body: BodyModel = field(default_factory=default_body_model)

    def __len__(self) -> int:
        """Frames in all; of scans, those of a single view."""
        if self.benchmark.kind == "sequences":
            return sum(config.frames for config in SEQUENCES)
        return self.benchmark.count // 2 if self.benchmark.kind == "scans" else self.benchmark.count

    @cached_property
    def description(self) -> dict[str, Any]:
        """What identifies it in results."""
        return {
            "benchmark": self.benchmark.name,
            "title": self.benchmark.title,
            "version": self.benchmark.version,
            "seed": self.benchmark.seed,
            "frames": len(self),
            "assets": self.assets.digest,
        }

    def sequences(self) -> Iterator[Iterator[TrueFrame]]:
        """Frames in their order; those that have nothing to do with each other come as sequences of one."""
        if self.benchmark.kind == "frames":
            yield from (iter((frame,)) for frame in self._frames())
        elif self.benchmark.kind == "scans":
            yield from (iter((scan.truth,)) for scan in self.scans() if scan.truth is not None)
        else:
            yield from self._sequences()

    def scans(self) -> Iterator[Scan]:
        """Of the benchmark `scans`: complete and single views in turn, clothed and bare in turns of two.

        Raises:
            ValueError: for another benchmark.
        """
        if self.benchmark.kind != "scans":
            raise ValueError(f"benchmark {self.benchmark.name} has frames, not scans")
        people = PeopleSource.load(self.assets, "test", "full", self.body)
        for index in range(self.benchmark.count):
            rng = generator(self.benchmark.seed, index, "scan")
            actor, clothed = place(people.draw_person(rng), 0.0, (0.0, 0.0, 0.0)), index % 4 < 2
            if not clothed:
                actor = undressed(actor, self.body)
            actor = turned(actor, self.body, rng.uniform(-np.pi, np.pi))
            if index % 2 == 0:
                yield complete_scan(actor, self.body, clothed, rng)
            else:
                yield self._single_view(actor, clothed, rng)

    def _single_view(self, actor: Actor, clothed: bool, rng: np.random.Generator) -> Scan:
        """The first of several views that shows enough of the actor."""
        while True:
            view = draw_view(rng, Scene((actor,), ()), SceneConfig(), None)
            scan = single_view_scan(actor, self.body, clothed, view, rng, SensorSwitches())
            if len(scan.points) >= _SCAN_POINTS:
                return scan

    def fingerprint(self, limit: int | None = None) -> str:
        """sha256 over every bit of the first ``limit`` items or all: depth, labels, bodies; points of scans."""
        digest = hashlib.sha256()
        for item in itertools.islice(self._items(), limit):
            for array in item:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def outline(self, limit: int) -> list[list[float]]:
        """A few numbers of each of the first ``limit`` items: sizes, sums and means, in units.

        What another processor's rounding does not change and another way of drawing does.
        """
        return [
            [
                round(float(value), 3)
                for array in item
                for value in (array.size, np.count_nonzero(array), array.mean() if array.size else 0.0)
            ]
            for item in itertools.islice(self._items(), limit)
        ]

    def _items(self) -> Iterator[tuple[np.ndarray, ...]]:
        if self.benchmark.kind == "scans":
            for scan in self.scans():
                yield scan.points, scan.labels, scan.state.betas, scan.state.pose, scan.state.trans
            return
        for true in (frame for sequence in self.sequences() for frame in sequence):
            states = [person.state for person in true.people]
            bodies = [np.concatenate([state.betas, state.pose.ravel(), state.trans]) for state in states]
            assert true.labels is not None and true.parts is not None
            yield true.frame.depth, true.labels, true.parts, np.array(bodies).reshape(-1, 85)

    def _sequences(self) -> Iterator[Iterator[TrueFrame]]:
        source = SequenceSource.load(self.assets, "test", body=self.body)
        for index, config in enumerate(SEQUENCES):
            yield Sequence(config, source, self.benchmark.seed, index).true_frames(color=False)

    def _frames(self) -> Iterator[TrueFrame]:
        benchmark = self.benchmark
        config = WorldConfig(split="test", size=None, detail="full", scene=SceneConfig(people=benchmark.people))
        world = World(config, self.assets, self.body)
        made, index = 0, 0
        while made < benchmark.count:
            sample = world.sample(benchmark.seed, index)
            if int((sample.visibility >= _SEEN).sum()) >= benchmark.least_in_view:
                yield world.true_frame(sample, stamp_ns=made * 1_000_000_000)
                made += 1
            index += 1

    @property
    def frozen(self) -> dict[str, Any] | None:
        """What the manifest says of this benchmark made from these assets; None when it was never frozen with them."""
        entries = json.loads(model_path(MANIFEST).read_text())["benchmarks"]
        wanted = {"benchmark": self.benchmark.name, "version": self.benchmark.version, "assets": self.assets.digest}
        return next((entry for entry in entries if wanted.items() <= entry.items()), None)


def open_benchmark(name: str, assets: Assets) -> OpenBenchmark:
    """The benchmark called ``name``, made of ``assets`` with the open body. ValueError lists the names."""
    if name not in BENCHMARKS:
        raise ValueError(f"no benchmark is called {name!r}; there are {', '.join(BENCHMARKS)}")
    return OpenBenchmark(BENCHMARKS[name], assets)
