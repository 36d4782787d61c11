"""Endless training data, rendered on the fly: whole frames and person crops.

Batch ``b`` of a seed is a function of (seed, b, configuration, assets) alone, so a stream gives the same batches with
any number of workers, resumes at any batch, and several trainers share one stream by taking turns.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from multiprocessing.queues import Queue
from typing import Any, Literal, Protocol, TypeVar

import numba
import numpy as np

from human_recon.body.model import BodyModel
from human_recon.camera.points import depth_to_points
from human_recon.geometry.scene_rasterizer_cuda import rasterize_scenes_on_gpu
from human_recon.perception.crops import SIZE, WINDOW, CropCamera, crop_lookup, crop_points
from human_recon.simulation.assets import Assets
from human_recon.simulation.imperfect_mask import imperfect_mask
from human_recon.simulation.randomness import generator
from human_recon.simulation.rendering import FIRST_THING, turned_rotvec
from human_recon.simulation.staging import MAX_PEOPLE, SceneConfig
from human_recon.simulation.surface_lookup import NO_PART
from human_recon.simulation.world import Sample, World, WorldConfig


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """B whole frames. People are in the rows of the arrays [B, MAX_PEOPLE, ...]; rows from ``count`` on are 0."""

    depth: np.ndarray  # [B, H, W] float32, measured, metres, 0 = no reading
    cameras: np.ndarray  # [B, 4] float32, fx fy cx cy, pixels
    person: np.ndarray  # [B, H, W] int8, row of the person seen, -1 = nobody
    part: np.ndarray  # [B, H, W] uint8, joint of the body part, 255 = nobody
    vertex: np.ndarray  # [B, H, W] int16, nearest vertex of the body, -1 = nobody
    canonical: np.ndarray  # [B, H, W, 3] float32, point of the body's template, metres
    normal: np.ndarray  # [B, H, W, 3] float32, unit normal, camera frame
    count: np.ndarray  # [B] int32, number of people in the scene
    betas: np.ndarray  # [B, P, 10] float32
    pose: np.ndarray  # [B, P, 24, 3] float32, axis-angle, camera frame
    trans: np.ndarray  # [B, P, 3] float32, metres
    joints: np.ndarray  # [B, P, 24, 3] float32, metres, camera frame
    visibility: np.ndarray  # [B, P] float32 in [0, 1]


@dataclass(frozen=True, eq=False)
class CropBatch:
    """B person crops (perception.crops), all people of an image together. Lengths in metres, crop frame."""

    points: np.ndarray  # [B, 4, S, S] float32, X, Y, Z, valid
    prompt: np.ndarray  # [B, S, S] float32 in [0, 1], an imperfect detector's mask of this person
    mask: np.ndarray  # [B, S, S] bool, this person
    part: np.ndarray  # [B, S, S] uint8, body part of whoever is seen, 255 = nobody
    vertex: np.ndarray  # [B, S, S] int16, vertex of whoever is seen, -1 = nobody
    canonical: np.ndarray  # [B, S, S, 3] float32, point of the template of whoever is seen
    betas: np.ndarray  # [B, 10] float32
    pose: np.ndarray  # [B, 24, 3] float32, axis-angle; pose[:, 0] in the crop's axes
    trans: np.ndarray  # [B, 3] float32, SMPL's translation in the crop frame
    joints: np.ndarray  # [B, 24, 3] float32
    visibility: np.ndarray  # [B] float32 in [0, 1]
    present: np.ndarray  # [B] bool; False: the detector took furniture for a person, so the truth is an empty mask
    view: np.ndarray  # [B] int32, crops with one number are of one image
    centre: np.ndarray  # [B, 3] float32, of the crop, in the camera frame
    rotation: np.ndarray  # [B, 3, 3] float32, camera's axes -> crop's


FRAME_WORLD = WorldConfig(size=(160, 120))
# A person 3.8 m away has as many pixels in such an image as in a crop. Scenes without people would give no crops.
CROP_WORLD = WorldConfig(size=(256, 192), scene=SceneConfig(people=(0.0, 0.15, 0.2, 0.2, 0.15, 0.1, 0.08, 0.07, 0.05)))


Renderer = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class StreamConfig:
    """What a stream delivers."""

    seed: int = 0
    batch: int = 32  # frames or crops
    views: int = 2  # cameras that look at each scene
    world: WorldConfig = FRAME_WORLD
    crop_size: int = SIZE  # pixels
    min_visibility: float = 0.1  # people less visible get no crop of their own
    false_crops: float = 0.0  # probability, per image, of a crop of something that is nobody
    centre_jitter: float = 0.08  # metres, one standard deviation: how far off the detector's centre is
    renderer: Renderer = "cpu"  # what rasterises: the same batches either way

    def __post_init__(self) -> None:
        if min(self.batch, self.views, self.crop_size) < 1:
            raise ValueError(
                f"batch {self.batch}, views {self.views} and crop_size {self.crop_size} must be at least 1"
            )
        if self.world.size is None:
            raise ValueError("a stream needs one image size for all cameras: set world.size")


Batch_co = TypeVar("Batch_co", covariant=True)


class Maker(Protocol[Batch_co]):
    """Makes batches; cheap to send to another process, where ``open`` loads what it needs."""

    def open(self) -> OpenMaker[Batch_co]: ...


class OpenMaker(Protocol[Batch_co]):
    """Ready to make any batch."""

    def make(self, index: int) -> Batch_co: ...


@dataclass(frozen=True)
class FrameMaker:
    """Whole frames; the batches lie end to end, and every ``views`` frames show one scene."""

    config: StreamConfig
    assets: Assets

    def open(self) -> _FrameWorld:
        """Load the world."""
        return _FrameWorld(self.config, _world(self.config, self.assets))


@dataclass(frozen=True)
class CropMaker:
    """Person crops; batch b takes the scenes b * 2^20, b * 2^20 + 1, ... until it is full."""

    config: StreamConfig
    assets: Assets

    def open(self) -> _CropWorld:
        """Load the world."""
        return _CropWorld(self.config, _world(self.config, self.assets))


def _world(config: StreamConfig, assets: Assets) -> World:
    if config.renderer == "cpu":
        return World(config.world, assets)
    gpu = int(os.environ.get("LOCAL_RANK", "0"))  # under torchrun each process has one of its own
    return World(config.world, assets, rasterize=functools.partial(rasterize_scenes_on_gpu, gpu=gpu))


def stream(maker: Maker[Batch_co], first: int = 0, step: int = 1, workers: int = 0) -> Iterator[Batch_co]:
    """Batches ``first``, ``first + step``, ... without end.

    To resume, set ``first`` to the index of the next batch wanted; R trainers that share a stream use ``first`` = rank
    and ``step`` = R.

    Args:
        maker: what to make.
        workers: processes that make batches ahead of their use, at most two each; 0 makes them here, when asked for.

    Raises:
        RuntimeError: a worker died or failed; the message says why.
    """
    if first < 0 or step < 1 or workers < 0:
        raise ValueError(f"first {first} and workers {workers} must be at least 0, step {step} at least 1")
    if workers:
        yield from _from_workers(maker, first, step, workers)
    world = maker.open()
    index = first
    while True:
        yield world.make(index)
        index += step


def _from_workers(maker: Maker[Batch_co], first: int, step: int, workers: int) -> Iterator[Batch_co]:
    """Worker w makes every ``workers``-th batch, so taking turns restores the order."""
    context = multiprocessing.get_context("spawn")  # fork would copy locks held by other threads
    queues: list[Queue] = [context.Queue(maxsize=2) for _ in range(workers)]
    processes = [
        context.Process(target=_work, args=(maker, first + w * step, workers * step, queues[w]), daemon=True)
        for w in range(workers)
    ]
    try:
        for process in processes:
            process.start()
        while True:
            for process, results in zip(processes, queues, strict=True):
                yield _take(process, results)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(maker: Maker[Batch_co], first: int, step: int, results: Queue) -> None:
    """Make batches until the process that asked for them is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; whoever uses the batches decides
    try:
        with closing(stream(maker, first, step)) as batches:  # type: ignore[type-var]
            for batch in batches:
                _offer(batch, results)
    except Exception as error:
        _offer(RuntimeError(f"making training data failed: {type(error).__name__}: {error}"), results)


def _offer(item: Any, results: Queue) -> None:
    parent = multiprocessing.parent_process()
    while True:
        try:
            return results.put(item, timeout=1.0)
        except queue.Full:
            if parent is None or not parent.is_alive():
                results.cancel_join_thread()  # nobody is left to take what is on its way
                sys.exit(1)


def _take(process: multiprocessing.process.BaseProcess, results: Queue) -> Any:
    while True:
        try:
            result = results.get(timeout=1.0)
        except queue.Empty:
            if not process.is_alive():
                raise RuntimeError(
                    f"a process making training data ended with exit code {process.exitcode}; out of memory?"
                ) from None
            continue
        if isinstance(result, RuntimeError):
            raise result
        return result


class _FrameWorld:
    def __init__(self, config: StreamConfig, world: World) -> None:
        self._config = config
        self._world = world

    def make(self, index: int) -> FrameBatch:
        size, views = self._config.batch, self._config.views
        first = index * size
        scenes = range(first // views, (first + size - 1) // views + 1)
        shots = [shot for scene in scenes for shot in self._world.shots(self._config.seed, scene, views)]
        samples = self._world.develop(shots[first % views : first % views + size])
        height, width = samples[0].depth.shape
        batch = FrameBatch(
            depth=np.empty((size, height, width), np.float32),
            cameras=np.empty((size, 4), np.float32),
            person=np.empty((size, height, width), np.int8),
            part=np.empty((size, height, width), np.uint8),
            vertex=np.empty((size, height, width), np.int16),
            canonical=np.empty((size, height, width, 3), np.float32),
            normal=np.empty((size, height, width, 3), np.float32),
            count=np.empty(size, np.int32),
            betas=np.zeros((size, MAX_PEOPLE, 10), np.float32),
            pose=np.zeros((size, MAX_PEOPLE, 24, 3), np.float32),
            trans=np.zeros((size, MAX_PEOPLE, 3), np.float32),
            joints=np.zeros((size, MAX_PEOPLE, 24, 3), np.float32),
            visibility=np.zeros((size, MAX_PEOPLE), np.float32),
        )
        for k, sample in enumerate(samples):
            rendering, camera = sample.rendering, sample.view.intrinsics
            batch.depth[k] = sample.depth
            batch.cameras[k] = camera.fx, camera.fy, camera.cx, camera.cy
            batch.person[k] = np.where(rendering.object < FIRST_THING, rendering.object, -1)
            batch.part[k] = rendering.part
            batch.vertex[k] = rendering.vertex
            batch.canonical[k] = rendering.canonical
            batch.normal[k] = rendering.normal
            count = len(rendering.states)
            batch.count[k] = count
            for p, state in enumerate(rendering.states):
                batch.betas[k, p], batch.pose[k, p], batch.trans[k, p] = state.betas, state.pose, state.trans
            batch.joints[k, :count] = rendering.joints
            batch.visibility[k, :count] = sample.visibility
        return batch


class _CropWorld:
    def __init__(self, config: StreamConfig, world: World) -> None:
        self._config = config
        self._world = world

    def make(self, index: int) -> CropBatch:
        crops: list[dict[str, np.ndarray]] = []
        number = 0
        while len(crops) < self._config.batch:
            place = (index << 20) + number
            rng = generator(self._config.seed, place, "crops")
            for k, sample in enumerate(self._world.samples(self._config.seed, place, self._config.views)):
                crops += self._crops(sample, number * self._config.views + k, rng)
            number += 1
        rows = crops[: self._config.batch]
        return CropBatch(**{f.name: np.stack([row[f.name] for row in rows]) for f in fields(CropBatch)})

    def _crops(self, sample: Sample, view: int, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        crops = []
        for p, visibility in enumerate(sample.visibility):
            # Drawn for everybody, so that one person's fate does not change the noise of the next.
            jitter, key = rng.normal(0.0, self._config.centre_jitter, 3), int(rng.integers(1 << 62))
            centre = sample.rendering.joints[p, [0, 9]].mean(axis=0) + jitter  # between pelvis and chest
            if visibility >= self._config.min_visibility and centre[2] > 0.1:
                crops.append(_crop(sample, p, view, centre, key, self._config.crop_size, self._world.body))
        if rng.random() < self._config.false_crops:
            crops += _false_crop(sample, view, rng, self._config.crop_size)
        return crops


def _crop(
    sample: Sample, person: int, view: int, centre: np.ndarray, key: int, size: int, body: BodyModel
) -> dict[str, np.ndarray]:
    """One row of a CropBatch."""
    rendering, state = sample.rendering, sample.rendering.states[person]
    camera = CropCamera.towards(centre, WINDOW, size)
    mask = rendering.object == person
    others = (rendering.object < FIRST_THING) & (rendering.object >= 0) & ~mask
    prompt = imperfect_mask(mask, others, generator(key, 0, "mask"))
    pose = state.pose.copy()
    pose[0] = turned_rotvec(camera.rotation, state.pose[0])
    pelvis = body.j_template[0] + body.j_shapedirs[0] @ state.betas
    return _images(sample, person, camera, prompt) | {
        "betas": state.betas.astype(np.float32),
        "pose": pose.astype(np.float32),
        "trans": (camera.to_crop(state.trans + pelvis) - pelvis).astype(np.float32),
        "joints": camera.to_crop(rendering.joints[person]).astype(np.float32),
        "visibility": np.float32(sample.visibility[person]),
        "present": np.bool_(True),
        "view": np.int32(view),
        "centre": centre.astype(np.float32),
        "rotation": camera.rotation.astype(np.float32),
    }


def _false_crop(sample: Sample, view: int, rng: np.random.Generator, size: int) -> list[dict[str, np.ndarray]]:
    """A crop around something that is nobody, prompted with what lies 0.2 to 0.7 m around it; none when all is air."""
    rendering, intrinsics = sample.rendering, sample.view.intrinsics
    things = (rendering.object >= FIRST_THING) & (sample.depth > 0.4)
    rows, columns = np.nonzero(things)
    if len(rows) == 0:
        return []
    pick, reach = int(rng.integers(len(rows))), rng.uniform(0.2, 0.7)
    points = depth_to_points(sample.depth, intrinsics).astype(np.float64)
    centre = points[rows[pick], columns[pick]]
    near = np.abs(points - centre).max(axis=-1) < reach
    prompt = imperfect_mask(things & near, np.zeros_like(things), rng)
    centre = centre + rng.normal(0.0, 0.15, 3)
    if centre[2] <= 0.1:
        return []
    camera = CropCamera.towards(centre, WINDOW, size)
    return [
        _images(sample, -1, camera, prompt)
        | {
            "betas": np.zeros(10, np.float32),
            "pose": np.zeros((24, 3), np.float32),
            "trans": np.zeros(3, np.float32),
            "joints": np.zeros((24, 3), np.float32),
            "visibility": np.float32(0.0),
            "present": np.bool_(False),
            "view": np.int32(view),
            "centre": centre.astype(np.float32),
            "rotation": camera.rotation.astype(np.float32),
        }
    ]


def _images(sample: Sample, person: int, camera: CropCamera, prompt: np.ndarray) -> dict[str, np.ndarray]:
    """What the crop's pixels show; ``person`` is the row of whom the mask is of, -1 of nobody."""
    rendering, intrinsics, size = sample.rendering, sample.view.intrinsics, camera.size
    lookup = crop_lookup(camera, intrinsics)
    points = crop_points(sample.depth, lookup, camera, intrinsics)
    shape = (size, size)
    row = {
        "points": points,
        "prompt": np.empty(shape, np.float32),
        "mask": np.empty(shape, bool),
        "part": np.empty(shape, np.uint8),
        "vertex": np.empty(shape, np.int16),
        "canonical": np.empty((*shape, 3), np.float32),
    }
    _gather(
        lookup, points[3], prompt, rendering.object, person, rendering.part, rendering.vertex, rendering.canonical,
        row["prompt"], row["mask"], row["part"], row["vertex"], row["canonical"],
    )  # fmt: skip
    return row


@numba.njit(cache=True, nogil=True)
def _gather(
    lookup, valid, prompt, objects, person, parts, vertices, canonical,
    crop_prompt, crop_mask, crop_part, crop_vertex, crop_canonical,
):  # fmt: skip
    """Labels of the image at the crop's pixels; none where the sensor has no reading: nothing can be said there."""
    width = objects.shape[1]
    for y in range(lookup.shape[0]):
        for x in range(lookup.shape[1]):
            index = lookup[y, x]
            v = index // width
            u = index - v * width
            crop_prompt[y, x] = prompt[v, u] if index >= 0 else np.float32(0.0)
            if valid[y, x] > 0:
                crop_mask[y, x] = person >= 0 and objects[v, u] == person
                crop_part[y, x] = parts[v, u]
                crop_vertex[y, x] = vertices[v, u]
                for c in range(3):
                    crop_canonical[y, x, c] = canonical[v, u, c]
            else:
                crop_mask[y, x] = False
                crop_part[y, x] = NO_PART
                crop_vertex[y, x] = -1
                for c in range(3):
                    crop_canonical[y, x, c] = 0.0
