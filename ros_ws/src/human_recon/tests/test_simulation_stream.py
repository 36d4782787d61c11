"""The training stream: what is in a batch, and that only seed and index decide it."""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import closing
from dataclasses import fields

import numpy as np
import pytest
from scipy.spatial import cKDTree

from human_recon.body.lbs import pose_bodies
from human_recon.body.model import BodyModel
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.simulation.assets import Assets
from human_recon.simulation.imperfect_mask import imperfect_mask
from human_recon.simulation.staging import MAX_PEOPLE
from human_recon.simulation.stream import (
    CROP_WORLD,
    CropBatch,
    CropMaker,
    FrameBatch,
    FrameMaker,
    StreamConfig,
    stream,
)
from human_recon.simulation.world import WorldConfig

NOTHING = Assets()  # no recorded motion, no wardrobe: what every machine has
FRAMES = FrameMaker(StreamConfig(seed=3, batch=6), NOTHING)
CROPS = CropMaker(StreamConfig(seed=3, batch=6, world=CROP_WORLD), NOTHING)


def take(maker: FrameMaker | CropMaker, count: int, **options: int) -> list:
    """The first batches of a stream."""
    with closing(stream(maker, **options)) as batches:
        return list(itertools.islice(batches, count))


def same(a: FrameBatch | CropBatch, b: FrameBatch | CropBatch) -> bool:
    """Bit for bit."""
    return all(getattr(a, f.name).tobytes() == getattr(b, f.name).tobytes() for f in fields(a))


@pytest.fixture(scope="module")
def frames() -> list[FrameBatch]:
    """Batches 0, 1, 2."""
    return take(FRAMES, 3)


@pytest.fixture(scope="module")
def crops() -> list[CropBatch]:
    """Batches 0, 1."""
    return take(CROPS, 2)


def test_a_seed_gives_the_same_batches_in_any_process(frames: list[FrameBatch], crops: list[CropBatch]) -> None:
    for made, maker in ((frames, FRAMES), (crops, CROPS)):
        again = take(maker, len(made), workers=2)
        assert all(map(same, made, again))


def test_a_stream_resumes_anywhere_and_is_shared_by_taking_turns(frames: list[FrameBatch]) -> None:
    assert same(take(FRAMES, 1, first=2)[0], frames[2])
    assert same(take(FRAMES, 2, first=0, step=2)[1], frames[2])


def test_every_two_frames_show_one_scene_from_two_cameras(frames: list[FrameBatch]) -> None:
    batch = frames[0]
    np.testing.assert_array_equal(batch.betas[::2], batch.betas[1::2])
    assert batch.betas[0::2].any(axis=(1, 2)).sum() >= 2
    for first in range(0, 6, 2):
        assert not np.array_equal(batch.depth[first], batch.depth[first + 1])
    odd = dataclasses.replace(FRAMES, config=dataclasses.replace(FRAMES.config, batch=3))
    halves = take(odd, 2)
    assert np.concatenate([half.depth for half in halves]).tobytes() == batch.depth.tobytes()


def test_another_seed_gives_other_samples(frames: list[FrameBatch], crops: list[CropBatch]) -> None:
    for made, maker in ((frames[0], FRAMES), (crops[0], CROPS)):
        config = dataclasses.replace(maker.config, seed=4)
        other = take(dataclasses.replace(maker, config=config), 1)[0]
        assert not np.array_equal(other.betas, made.betas)
        first = "depth" if isinstance(made, FrameBatch) else "points"
        assert not np.array_equal(getattr(other, first), getattr(made, first))


def test_samples_of_a_stream_differ(frames: list[FrameBatch]) -> None:
    images = {image.tobytes() for batch in frames for image in batch.depth}
    assert len(images) == 18


def test_labels_of_whole_frames_agree_with_each_other(frames: list[FrameBatch], body: BodyModel) -> None:
    people = 0
    for batch in frames:
        assert batch.depth.shape == (6, 120, 160)
        on_person = batch.person >= 0
        for labels in (batch.vertex >= 0, batch.part != 255, np.abs(batch.canonical).sum(axis=-1) > 0):
            assert (labels == on_person).all()
        assert (batch.count <= MAX_PEOPLE).all()
        assert (batch.person.max(axis=(1, 2)) < batch.count).all()
        for k in range(6):
            count = batch.count[k]
            people += count
            assert not batch.betas[k, count:].any()
            assert not batch.visibility[k, count:].any()
            measured = on_person[k] & (batch.depth[k] > 0)
            seen = np.bincount(batch.person[k][measured], minlength=MAX_PEOPLE) > 0
            assert (seen == (batch.visibility[k] > 0)).all()
            _, joints = pose_bodies(body, batch.betas[k, :count], batch.pose[k, :count], batch.trans[k, :count])
            np.testing.assert_allclose(joints, batch.joints[k, :count], atol=1e-4)
    assert people > 10


def test_measured_people_are_where_their_bodies_are(frames: list[FrameBatch], body: BodyModel) -> None:
    """Readings on a person lie within clothes' and hair's reach of the body; not all: sensors smear borders."""
    close = []
    for batch in frames:
        for k, p in zip(*np.nonzero(batch.visibility > 0.3), strict=True):
            mask = (batch.person[k] == p) & (batch.depth[k] > 0)
            if mask.sum() < 30:
                continue
            fx, fy, cx, cy = (float(x) for x in batch.cameras[k])
            camera = CameraIntrinsics(160, 120, fx, fy, cx, cy)
            rows, columns = np.nonzero(mask)
            points = camera.unproject(np.stack([columns, rows], 1).astype(float), batch.depth[k][mask])
            vertices, _ = pose_bodies(body, batch.betas[k, p, None], batch.pose[k, p, None], batch.trans[k, p, None])
            close.append(np.mean(cKDTree(vertices[0]).query(points)[0] < 0.10))
    assert len(close) > 5
    assert np.median(close) > 0.9


def test_crops_look_at_their_person_in_metres(crops: list[CropBatch], body: BodyModel) -> None:
    close = []
    for batch in crops:
        assert batch.points.shape == (6, 4, 128, 128)
        vertices, joints = pose_bodies(body, batch.betas, batch.pose, batch.trans)
        np.testing.assert_allclose(joints, batch.joints, atol=1e-4)
        middle = batch.joints[:, [0, 9]].mean(axis=1)
        assert np.linalg.norm(middle, axis=1).max() < 0.5  # the jitter
        for k in range(6):
            valid = batch.points[k, 3] > 0
            assert not batch.points[k][:, ~valid].any()
            assert (batch.part[k][~valid] == 255).all()
            assert not batch.mask[k][~valid].any()
            assert ((batch.vertex[k] >= 0) >= batch.mask[k]).all()
            if batch.mask[k].sum() > 100:
                points = batch.points[k, :3, batch.mask[k]].reshape(-1, 3)
                close.append(np.mean(cKDTree(vertices[k]).query(points)[0] < 0.10))
    assert len(close) > 5
    assert np.median(close) > 0.9


def test_people_of_one_image_come_together(crops: list[CropBatch]) -> None:
    for batch in crops:
        assert (np.diff(batch.view) >= 0).all()
        assert len(set(batch.view.tolist())) < len(batch.view)


def test_some_crops_show_what_is_nobody() -> None:
    """As a detector that takes furniture for people would ask for: nothing of a person is true there."""
    config = dataclasses.replace(CROPS.config, batch=40, false_crops=1.0)
    batch = take(dataclasses.replace(CROPS, config=config), 1)[0]
    false = np.flatnonzero(~batch.present)
    images = len(np.unique(batch.view))
    assert 0.6 * images <= len(false) <= images, "one of each image that shows a thing"
    assert (np.bincount(batch.view[false]) <= 1).all()
    assert not batch.mask[false].any()
    for name in ("betas", "pose", "trans", "joints", "visibility"):
        assert not getattr(batch, name)[false].any(), name
    on_person, prompted = [], []
    for k in false:
        valid, prompt = batch.points[k, 3] > 0, batch.prompt[k]
        assert 0.0 <= prompt.min() <= prompt.max() <= 1.0
        prompted.append((prompt[valid] > 0.3).any())
        on_person.append(prompt[valid & (batch.vertex[k] >= 0)].sum() / max(prompt[valid].sum(), 1e-6))
        np.testing.assert_allclose(batch.rotation[k] @ batch.rotation[k].T, np.eye(3), atol=1e-5)
        centred = np.linalg.norm(batch.points[k, :3, valid], axis=1).min()
        assert centred < 1.1, "the window is around a thing that is seen"
    assert np.mean(prompted) > 0.8
    assert np.mean(on_person) < 0.1, "what it points at are things"
    people = np.flatnonzero(batch.present)
    assert batch.joints[people].any(axis=(1, 2)).all()
    assert (batch.visibility[people] >= config.min_visibility).all()


def test_crops_of_nobody_are_as_frequent_as_asked_for(crops: list[CropBatch]) -> None:
    assert all(batch.present.all() for batch in crops)
    config = dataclasses.replace(CROPS.config, batch=60, false_crops=0.3)
    batch = take(dataclasses.replace(CROPS, config=config), 1)[0]
    # of about 35 images; four standard deviations
    assert 0 < (~batch.present).sum() < 0.65 * len(np.unique(batch.view))


def test_a_prompt_points_at_the_person_but_is_not_the_mask() -> None:
    rng = np.random.default_rng(0)
    mask, others = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
    mask[60:200, 100:160], others[60:200, 170:230] = True, True
    overlap, exact = [], 0
    for _ in range(200):
        prompt = imperfect_mask(mask, others, rng)
        assert prompt.shape == mask.shape
        assert 0.0 <= prompt.min() <= prompt.max() <= 1.0
        overlap.append((prompt[mask] > 0.3).mean())
        exact += np.array_equal(prompt > 0.5, mask)
    assert 0.6 < np.mean(overlap) < 0.97
    assert exact < 20


def test_rendering_on_a_gpu_needs_one() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    config = dataclasses.replace(FRAMES.config, renderer="cuda")
    with pytest.raises(RuntimeError, match="rendering on a GPU is not possible here"):
        take(dataclasses.replace(FRAMES, config=config), 1)


def test_settings_that_make_no_stream_are_errors() -> None:
    with pytest.raises(ValueError, match="views 0"):
        StreamConfig(views=0)
    with pytest.raises(ValueError, match="one image size"):
        StreamConfig(world=WorldConfig(size=None))
    with pytest.raises(ValueError, match="step 0"):
        take(FRAMES, 1, step=0)


def test_a_failing_worker_says_why() -> None:
    broken = dataclasses.replace(FRAMES, assets=None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="making training data failed: AttributeError"):
        take(broken, 1, workers=1)
