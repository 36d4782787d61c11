"""The floor of a frame, against planes that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.perception.floor import FloorFinderConfig, find_floor
from human_recon.simulation.assets import Assets
from human_recon.simulation.staging import SceneConfig
from human_recon.simulation.world import World, WorldConfig

CAMERA = CameraIntrinsics(width=320, height=240, fx=270.0, fy=270.0, cx=159.5, cy=119.5)
FAR = 6.0  # metres: the wall


def pitched(down: float, roll: float = 0.0) -> np.ndarray:
    """[3] against gravity in the frame of a camera that looks ``down`` and is rolled, radians."""
    up = np.array([0.0, -np.cos(down), -np.sin(down)])
    turn = np.array([[np.cos(roll), -np.sin(roll), 0.0], [np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    return turn @ up


def seen(
    planes: list[Plane], rng: np.random.Generator, noise: float = 0.002, camera: CameraIntrinsics = CAMERA
) -> Frame:
    """The nearest of some planes in each pixel, with noise growing with the square of the depth; FAR where none is."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    depth = np.full(u.shape, FAR)
    for plane in planes:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = -plane.offset / (rays @ plane.normal)
        depth = np.where((z > 0.1) & (z < depth), z, depth)
    depth += noise * depth**2 * rng.normal(size=depth.shape)
    return Frame(0, "camera", depth.astype(np.float32), camera)


def assert_same(found: Plane | None, true: Plane, angle: float = 1.0, height: float = 0.03) -> None:
    assert found is not None
    assert np.degrees(np.arccos(min(1.0, float(found.normal @ true.normal)))) < angle
    assert found.offset == pytest.approx(true.offset, abs=height)


@pytest.mark.parametrize(
    ("down", "height"), [(0.0, 0.3), (0.0, 1.2), (0.0, 2.0), (0.3, 0.3), (0.3, 1.2), (0.9, 1.2), (0.9, 2.0)]
)
@pytest.mark.parametrize("roll", [0.0, 0.2])
def test_a_floor_before_a_wall(rng: np.random.Generator, down: float, roll: float, height: float) -> None:
    true = Plane(pitched(down, roll), height)
    frame = seen([true], rng)
    assert_same(find_floor(frame), true)
    assert_same(find_floor(replace(frame, up=true.normal)), true)
    tilted = pitched(down + 0.08, roll)
    assert_same(find_floor(replace(frame, up=tilted)), true)  # gravity is known to some degrees only
    assert_same(find_floor(frame, previous=Plane(tilted, height + 0.2)), true)  # and the camera moved


def test_a_table_is_not_the_floor(rng: np.random.Generator) -> None:
    up = pitched(0.5)
    frame = seen([Plane(up, 1.3)], rng)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    table = (-0.55 / (rays @ up)).astype(np.float32)  # 0.75 m high
    on = (table > 0.0) & (table < frame.depth) & (np.abs(u - 160) < 120) & (v > 120)
    frame = replace(frame, depth=np.where(on, table, frame.depth))
    assert on.mean() > 0.3
    assert_same(find_floor(frame), Plane(up, 1.3))


def test_walls_ceilings_and_empty_frames_are_no_floor(rng: np.random.Generator) -> None:
    nothing = Frame(0, "camera", np.zeros((240, 320), np.float32), CAMERA)
    assert find_floor(nothing) is None
    assert find_floor(seen([], rng)) is None  # a wall in front of a level camera
    ceiling = Plane(np.array([0.0, 1.0, 0.0]), 1.2)
    assert find_floor(seen([ceiling], rng)) is None
    few = np.zeros((240, 320), np.float32)
    few[100:103, 100:103] = 2.0
    assert find_floor(replace(nothing, depth=few)) is None
    noise = rng.uniform(0.5, 6.0, (240, 320)).astype(np.float32)
    assert find_floor(replace(nothing, depth=noise)) is None


def test_gravity_excludes_what_is_not_level(rng: np.random.Generator) -> None:
    ramp = Plane(pitched(0.5), 1.0)
    frame = seen([ramp], rng)
    assert find_floor(replace(frame, up=pitched(0.0))) is None


def test_the_same_frame_gives_the_same_floor(rng: np.random.Generator) -> None:
    frame = seen([Plane(pitched(0.4), 1.1)], rng)
    first, second = find_floor(frame), find_floor(frame)
    assert first is not None and second is not None
    assert np.array_equal(first.normal, second.normal) and first.offset == second.offset


def test_resolution_does_not_matter(rng: np.random.Generator) -> None:
    true = Plane(pitched(0.4), 1.1)
    for size in (80, 160, 640):
        scale = size / 320
        camera = replace(
            CAMERA, width=size, height=size * 3 // 4, fx=270.0 * scale, fy=270.0 * scale, cx=size / 2, cy=size * 3 / 8
        )
        assert_same(find_floor(seen([true], rng, camera=camera)), true, height=0.03)


def test_floors_of_the_simulated_world(body: BodyModel) -> None:
    """Furnished rooms, people, sensor noise, any robot: mostly found, and then right."""
    world = World(WorldConfig(split="test", size=(320, 240), scene=SceneConfig(people=(0, 1, 1, 1))), Assets(), body)
    angles, heights, missed = [], [], 0
    for index in range(16):
        sample = world.sample(77, index)
        matrix = sample.view.world_to_camera
        true = Plane(matrix[:, 1], float(-matrix[:, 1] @ matrix[:, 3]))  # y is up in the world, the floor at 0
        frame = world.true_frame(sample).frame
        found = find_floor(frame, FloorFinderConfig())
        rows, columns = np.nonzero(frame.depth > 0)
        depth = frame.depth[rows, columns].astype(np.float64)
        camera = frame.intrinsics
        points = np.stack([(columns - camera.cx) / camera.fx * depth, (rows - camera.cy) / camera.fy * depth, depth], 1)
        on_floor = np.abs(true.height(points)) < 0.03
        if found is None:
            missed += on_floor.mean() > 0.15
            continue
        angles.append(np.degrees(np.arccos(min(1.0, float(found.normal @ true.normal)))))
        if on_floor.any():
            heights.append(np.abs(found.height(points[on_floor])).max())
    assert len(angles) >= 8 and missed <= 1
    assert np.median(angles) < 0.6 and np.mean(np.array(angles) < 3.0) >= 0.9
    assert np.median(heights) < 0.06
