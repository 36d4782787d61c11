"""Descriptors of the surface: classifiers, codebook, matching of scans, the ablation; with nets that know the truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from human_recon.body.model import BodyModel  # noqa: E402
from human_recon.body.state import BodyState  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.camera.intrinsics import CameraIntrinsics  # noqa: E402
from human_recon.camera.points import depth_to_points  # noqa: E402
from human_recon.perception.codebook import Codebook  # noqa: E402
from human_recon.perception.crops import CropCamera  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.scans import Scan  # noqa: E402
from human_recon.simulation.stream import CropBatch  # noqa: E402
from training.body_net import ablate_descriptors, build_codebook, draw_matches, match_scans  # noqa: E402
from training.body_net.descriptors import (  # noqa: E402
    SurfacePixels,
    TrainedBodyNet,
    and_mirrored,
    crop_batches,
    crop_images,
)
from training.body_net.ensemble import Ensemble, smooth_embedding  # noqa: E402
from training.body_net.network import BodyNet, BodyNetConfig  # noqa: E402
from training.body_net.segmentations import UNIT, Segmentations, soft_labels, spread_vertices  # noqa: E402
from training.loop.checkpoint import Checkpoint  # noqa: E402
from training.networks.backbone import BackboneConfig  # noqa: E402

SMALL = BodyNetConfig(BackboneConfig(channels=(8, 8, 8, 8, 8), blocks=(1, 1, 1, 1), width=8), 16, 16)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def waves(points: np.ndarray) -> np.ndarray:
    """A descriptor [N, 16] of length 1 for each place [N, 3], different for different places within 2 m."""
    phases = np.concatenate([points @ np.random.default_rng(k).normal(0, 1.5, (3, 2)) for k in range(4)], axis=1)
    return unit(np.concatenate([np.cos(phases), np.sin(phases)], axis=1))


@pytest.fixture(scope="module")
def table(body: BodyModel) -> np.ndarray:
    """A descriptor for each vertex of the body."""
    return waves(body.v_template.astype(float))


@pytest.fixture(scope="module")
def straight(body: BodyModel) -> np.ndarray:
    """[V, V] uint16: straight distances stand for those along the surface, which take half a minute."""
    points = torch.from_numpy(body.v_template.astype(np.float64))
    return np.rint(torch.cdist(points, points).numpy() / UNIT).astype(np.uint16)


@pytest.fixture(scope="module")
def batch() -> CropBatch:
    """Eight crops made without any data."""
    return next(iter(crop_batches("test", 11, 1, Assets(), size=8)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, table: np.ndarray) -> Path:
    """Of a small network that was never trained."""
    torch.manual_seed(3)
    network = BodyNet(SMALL)
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    weights |= {"ensemble.embedding": torch.from_numpy(table), "ensemble.log_sharpness": torch.tensor(2.3)}
    path = tmp_path_factory.mktemp("net") / "last.pt"
    config = json.dumps({"loop": {}, "task": {"network": asdict(SMALL)}})
    Checkpoint(weights, weights, {}, 7, 0.0, 0.0, config).save(path)
    return path


class Knowing:
    """A network whose descriptors are right: those of a table, at the true vertices of the batch it is shown."""

    def __init__(self, table: np.ndarray, batches: list[CropBatch]) -> None:
        self.embedding = table
        self._batches = iter(batches)

    def describe(self, images: np.ndarray) -> np.ndarray:
        """Of the next batch."""
        vertex = next(self._batches).vertex[:, ::2, ::2]
        return np.where(vertex[..., None] >= 0, self.embedding[vertex], 0.0)


class Positions:
    """A network whose descriptor is the place in a body frame that stands upright in the crop: height, and no more."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def describe(self, images: np.ndarray) -> np.ndarray:
        """A point on a circle for each height."""
        self.seen.append(images)
        height = -images[:, 1, ::2, ::2]
        circle = np.stack([np.cos(height), np.sin(height)], axis=-1)
        return np.concatenate([circle, np.zeros((*circle.shape[:3], 14))], axis=-1).astype(np.float32)

    def middle(self, images: np.ndarray) -> np.ndarray:
        """Where the mean reading is."""
        return np.stack([crop[:3, crop[3] > 0].mean(axis=1) for crop in images]).astype(float)


# --- classifiers ---


def test_logits_are_scaled_cosines_with_the_vertex_at_the_centre(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(40, 16)).astype(np.float32)
    centres = rng.permutation(40)[:20].reshape(2, 10)
    ensemble = Ensemble(torch.from_numpy(embedding.copy()), torch.from_numpy(centres))
    descriptors = rng.normal(size=(5, 16)).astype(np.float32)
    logits = ensemble.patch_logits(torch.from_numpy(descriptors), 1).detach().numpy()
    sharpness = np.exp(2.3)
    for k in range(5):
        for c in range(10):
            a, b = descriptors[k].astype(float), embedding[centres[1, c]].astype(float)
            expected = sharpness * a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert logits[k, c] == pytest.approx(expected, abs=1e-4)
    longer = ensemble.patch_logits(torch.from_numpy(7 * descriptors), 1).detach().numpy()
    np.testing.assert_allclose(longer, logits, atol=1e-4)


def test_only_the_centres_of_the_segmentation_learn(rng: np.random.Generator) -> None:
    centres = torch.tensor([[0, 3, 5], [1, 2, 4]])
    ensemble = Ensemble(torch.from_numpy(rng.normal(size=(8, 16)).astype(np.float32)), centres)
    logits = ensemble.patch_logits(torch.from_numpy(rng.normal(size=(6, 16)).astype(np.float32)), 0)
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    assert ensemble.embedding.grad is not None and ensemble.log_sharpness.grad is not None
    assert ensemble.embedding.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [0, 3, 5]


def test_the_embedding_starts_smooth(rng: np.random.Generator) -> None:
    points = rng.uniform(0, 1, (400, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    embedding = smooth_embedding(distances, 16, 0.15)
    assert embedding.shape == (400, 16) and embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, atol=1e-5)
    cosine = embedding @ embedding.T
    rings = [
        cosine[(distances > low) & (distances <= high)].mean() for low, high in ((0, 0.05), (0.1, 0.15), (0.3, 0.5))
    ]
    assert rings[0] > 0.9 and rings[0] > rings[1] + 0.1 > rings[2] + 0.3
    assert (smooth_embedding(distances, 16, 0.15) == embedding).all()


# --- a trained network ---


def test_a_checkpoint_is_read_with_its_own_sizes(checkpoint: Path, batch: CropBatch) -> None:
    net = TrainedBodyNet.load(checkpoint)
    assert net.step == 7 and net.embedding.shape[1] == 16
    images = crop_images(batch)
    assert images.shape == (8, 5, 128, 128) and (images[:, 4] == batch.prompt).all()
    found = net.describe(images)
    assert found.shape == (8, 64, 64, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)
    with torch.no_grad():
        output = net.network(torch.from_numpy(images))
    raw = output.descriptor.numpy()[3, :, 10, 40]
    np.testing.assert_allclose(found[3, 10, 40], raw / np.linalg.norm(raw), atol=1e-4)
    np.testing.assert_allclose(net.middle(images), output.points.numpy()[:, [0, 9]].mean(axis=1), atol=1e-5)


def test_the_checkpoint_of_another_network_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    ours = Checkpoint.load(checkpoint)
    without = {name: value for name, value in ours.averaged.items() if not name.startswith("ensemble.")}
    path = tmp_path / "other.pt"
    replace(ours, averaged=without).save(path)
    with pytest.raises(ValueError, match=r"other\.pt is not a checkpoint of BodyNet"):
        TrainedBodyNet.load(path)


def test_surface_pixels_are_the_readings_of_the_crops_own_person(batch: CropBatch) -> None:
    pixels = SurfacePixels.of(batch)
    assert len(pixels.vertex) > 500
    for n, row, column, vertex in list(zip(pixels.crop, pixels.row, pixels.column, pixels.vertex, strict=True))[::97]:
        assert batch.mask[n, 2 * row, 2 * column] and batch.points[n, 3, 2 * row, 2 * column] == 1
        assert batch.vertex[n, 2 * row, 2 * column] == vertex >= 0
    assert len(pixels.vertex) == sum(
        bool(batch.mask[n, r, c]) for n in range(8) for r in range(0, 128, 2) for c in range(0, 128, 2)
    )


# --- codebook ---


def test_sums_and_means_equal_the_obvious_loop(body: BodyModel, rng: np.random.Generator) -> None:
    vertices, distances = spread_vertices(body, 30)
    pixels = rng.integers(0, body.vertex_count, 300)
    pixels = pixels[distances[:, pixels].argmin(axis=0) != 4]  # nobody sees the fifth place
    descriptors = rng.normal(size=(len(pixels), 16)).astype(np.float32)
    prior = rng.normal(size=(body.vertex_count, 16)).astype(np.float32)
    sums = build_codebook.DescriptorSums.none(body.vertex_count, 16)
    sums.add(pixels[:100], descriptors[:100])
    sums.add(pixels[100:], descriptors[100:])
    assert sums.count.sum() == len(pixels)
    found = build_codebook.mean_descriptors(sums, distances, vertices, prior)
    for k, vertex in enumerate(vertices):
        total = build_codebook.PRIOR * prior[vertex].astype(float) / np.linalg.norm(prior[vertex])
        for pixel, descriptor in zip(pixels, descriptors, strict=True):
            if np.argmin(distances[:, pixel]) == k:
                total = total + descriptor
        np.testing.assert_allclose(found[k], total / np.linalg.norm(total), atol=1e-5)
    np.testing.assert_allclose(found[4], unit(prior[vertices[4]]), atol=1e-6)


def test_a_codebook_of_right_descriptors_errs_by_its_spacing_and_no_more(
    body: BodyModel, table: np.ndarray, batch: CropBatch
) -> None:
    vertices, distances = spread_vertices(body, 500)
    mirrored = list(and_mirrored(iter([batch]), body))
    knowing = Knowing(table, mirrored)
    found = build_codebook.find_places(
        {"right": Codebook(vertices, table[vertices]), "wrong": Codebook(vertices, table[vertices[::-1]])},
        distances,
        knowing,  # type: ignore[arg-type]
        iter(mirrored),
    )
    shown = [SurfacePixels.of(one) for one in mirrored]
    right, wrong = found["right"].summary(body), found["wrong"].summary(body)
    assert right["pixels"] == sum(len(one.vertex) for one in shown)
    assert right["crops"] == sum(len(np.unique(one.crop)) for one in shown)
    spacing = np.linalg.norm(body.v_template[vertices][:, None] - body.v_template[None], axis=2).min(axis=0).max()
    assert right["euclidean_mean"] < spacing and right["within"]["0.1"] > 0.99
    assert right["left_right_confusion"] < 0.01 < 0.1 < wrong["left_right_confusion"]
    assert wrong["euclidean_mean"] > 0.2 and wrong["geodesic_mean"] > wrong["euclidean_mean"]


def test_the_command_writes_a_codebook_and_its_card(
    checkpoint: Path, body: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def few(split: str, seed: int, count: int, assets: Assets, first: int = 0) -> object:
        return crop_batches(split, seed, count, Assets(), first=first, size=6)  # type: ignore[arg-type]

    monkeypatch.setattr(build_codebook, "crop_batches", few)
    output = tmp_path / "net" / "codebook.npz"
    run(
        build_codebook.main,
        str(checkpoint),
        "-o",
        str(output),
        "--vertices",
        "100",
        "--batches",
        "1",
        "--held-out",
        "1",
    )
    codebook = Codebook.load(output)
    assert 99 <= len(codebook.vertices) <= 100
    np.testing.assert_allclose(np.linalg.norm(codebook.descriptors, axis=1), 1.0, atol=1e-5)
    assert body.mirror_vertices is not None
    assert set(body.mirror_vertices[codebook.vertices].tolist()) == set(codebook.vertices.tolist())
    card = json.loads(output.with_suffix(".json").read_text())
    errors = card["mean_error_on_more_of_the_train_split"]
    assert len(errors) == 4 and errors[card["kind"]] == min(errors.values())
    assert card["checkpoint_step"] == 7 and card["crops"] == 12 and 0.1 < card["held_out"]["euclidean_mean"] < 1.0
    assert json.loads(capsys.readouterr().out) == card


def test_a_command_names_a_checkpoint_that_it_cannot_read(tmp_path: Path) -> None:
    for program in (build_codebook, match_scans, ablate_descriptors):
        with pytest.raises(SystemExit, match=r"error: .*none\.pt"):
            run(program.main, str(tmp_path / "none.pt"), "-o", str(tmp_path / "out.npz"))


def run(program: Callable[[], None], *arguments: str) -> None:
    """A program's main, in this process."""
    words = sys.argv
    try:
        sys.argv = ["program", *arguments]
        program()
    finally:
        sys.argv = words


# --- matching of scans ---


def test_a_complete_scan_is_shown_upright_and_from_all_sides(rng: np.random.Generator) -> None:
    # An upright cylinder, 1.7 m tall, that stands on the floor.
    angle, height = rng.uniform(0, 2 * np.pi, 12000), rng.uniform(0, 1.7, 12000)
    points = np.stack([0.2 * np.cos(angle) + 3.0, height, 0.2 * np.sin(angle) - 1.0], axis=1).astype(np.float32)
    net = Positions()
    found = match_scans.describe_complete(net, points, 6)  # type: ignore[arg-type]
    (images,) = net.seen
    assert images.shape == (18, 5, 128, 128)
    assert found.any(axis=1).mean() > 0.999
    # A camera that looks down on it sees heights in its own frame; over opposite views this leaves the order.
    turned = np.arctan2(found[:, 1], found[:, 0])
    assert np.corrcoef(turned, height)[0, 1] > 0.99
    assert np.abs(turned - (height - height.mean())).mean() < 0.1
    # Every side of the cylinder is in front in some view: nothing was hidden everywhere.
    assert (images[:, 3].sum(axis=(1, 2)) > 500).all()


def test_hidden_points_take_nothing_from_what_hides_them() -> None:
    camera = CropCamera.towards(np.array([0.0, 0.0, 2.5]))
    crop = np.zeros((4, 128, 128), np.float32)
    crop[2], crop[3] = 0.3, 1.0  # a wall 0.3 m behind the centre
    descriptors = np.zeros((64, 64, 16), np.float32)
    descriptors[..., 0] = 1.0
    points = np.array([[0.0, 0.0, 2.8], [0.0, 0.0, 2.6], [0.0, 0.0, 2.8], [9.0, 0.0, 2.8]])
    found = match_scans.read_map(descriptors, crop, camera, points, np.array([True, True, False, True]))
    assert found[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]  # read; another surface; not shown; out of the picture


def test_a_map_is_read_between_its_pixels() -> None:
    camera = CropCamera.towards(np.array([0.4, -0.1, 3.0]))
    points = camera.to_camera(np.random.default_rng(0).uniform(-0.6, 0.6, (50, 3)) * [1, 1, 0])
    crop = np.zeros((4, 128, 128), np.float32)
    crop[3] = 1.0
    # The descriptor turns evenly with the column: angle = column / 64.
    angle = np.broadcast_to(np.arange(64) / 64, (64, 64))
    descriptors = np.zeros((64, 64, 16), np.float32)
    descriptors[..., 0], descriptors[..., 1] = np.cos(angle), np.sin(angle)
    found = match_scans.read_map(descriptors, crop, camera, points, np.ones(50, bool))
    x = camera.to_crop(points)[:, 0]
    column = (63.5 + 128 / 2.2 * x) / 2  # 128 pixels span 2.2 m at the centre's distance, two of them a column
    np.testing.assert_allclose(np.arctan2(found[:, 1], found[:, 0]), column / 64, atol=1e-4)


def test_a_single_view_is_read_where_its_points_were_measured() -> None:
    camera = CameraIntrinsics(320, 240, 300.0, 300.0, 159.5, 119.5)
    depth = np.zeros((240, 320), np.float32)
    depth[60:200, 130:190] = 2.5
    points = depth_to_points(depth, camera)[depth > 0]
    net = Positions()
    found = match_scans.describe_single(net, Frame(0, "camera", depth, camera), points)  # type: ignore[arg-type]
    assert found.any(axis=1).mean() > 0.99
    shown = found.any(axis=1)
    turned = np.arctan2(found[shown, 1], found[shown, 0])
    np.testing.assert_allclose(turned - turned.mean(), -(points[shown, 1] - points[shown, 1].mean()), atol=0.03)
    assert (net.seen[-1][:, 4] == match_scans.PROMPT * net.seen[-1][:, 3]).all()


def scan_of(body: BodyModel, labels: np.ndarray, complete: bool = True, clothed: bool = False) -> Scan:
    """Points at vertices of the template."""
    state = BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))
    points = body.v_template[labels].astype(np.float32)
    if not complete:
        points = points * np.float32([1, -1, -1]) + np.float32([0, 0, 3])
    return Scan(points, labels.astype(np.int32), state, body.v_template, clothed, complete, None)


def described(scan: Scan, descriptors: np.ndarray) -> match_scans.DescribedScan:
    """With all points in sight."""
    return match_scans.DescribedScan(scan, descriptors, np.ones(len(descriptors), bool))


def test_matching_finds_what_it_should_and_measures_what_it_does_not(
    body: BodyModel, table: np.ndarray, straight: np.ndarray, rng: np.random.Generator
) -> None:
    everything = rng.permutation(body.vertex_count)[:4000]
    left = everything[body.v_template[everything, 0] > 0.03]
    whole, half = scan_of(body, everything), scan_of(body, left)
    perfect = match_scans.match(described(whole, table[everything]), described(whole, table[everything]), straight)
    assert perfect.overlap == 1.0 and perfect.euclidean.max() == 0.0 and len(perfect.points) == 4000
    # Descriptors of the mirror image: every point is found on the other side.
    assert body.mirror_vertices is not None
    confused = match_scans.match(
        described(whole, table[body.mirror_vertices[everything]]), described(whole, table[everything]), straight
    )
    width = 2 * np.abs(body.v_template[everything[confused.points], 0])
    assert np.abs(confused.euclidean - width).mean() < 0.02
    np.testing.assert_allclose(confused.geodesic, confused.euclidean, atol=1e-3)
    # A target that shows one half has counterparts for that half alone.
    partial = match_scans.match(described(whole, table[everything]), described(half, table[left]), straight)
    assert partial.overlap == pytest.approx(len(left) / 4000, abs=0.06)
    assert (body.v_template[everything[partial.points], 0] > 0.0).all()
    assert partial.euclidean.mean() < 0.01
    figures = match_scans.summary([perfect, confused])
    assert figures["pairs"] == 2 and figures["euclidean"]["WE_cm"] == pytest.approx(100 * width.mean(), abs=2)
    assert figures["euclidean"]["AE_cm"] == pytest.approx(figures["euclidean"]["WE_cm"] / 2, abs=0.01)


def test_undescribed_points_take_no_part(body: BodyModel, table: np.ndarray, straight: np.ndarray) -> None:
    labels = np.arange(0, 3000, 10)
    scan = scan_of(body, labels)
    hidden = np.arange(300) % 3 == 0
    source = match_scans.DescribedScan(scan, table[labels] * ~hidden[:, None], ~hidden)
    matching = match_scans.match(source, source, straight)
    assert not hidden[matching.points].any() and not hidden[matching.partners].any()
    assert matching.overlap == pytest.approx(2 / 3)


def test_the_nearest_descriptor_is_that_of_brute_force(rng: np.random.Generator) -> None:
    queries, candidates = unit(rng.normal(size=(1203, 16))), unit(rng.normal(size=(77, 16)))
    expected = [int(np.argmin([np.linalg.norm(q - c) for c in candidates])) for q in queries[::40]]
    assert match_scans.nearest_descriptor(queries, candidates)[::40].tolist() == expected
    assert match_scans.nearest_descriptor(queries[:0], candidates).shape == (0,)


def test_pairs_are_of_different_scans_and_of_the_kind_asked_for(body: BodyModel) -> None:
    labels = np.arange(50)
    scans = [described(scan_of(body, labels, complete=k % 2 == 0), np.zeros((50, 16))) for k in range(8)]
    for source in (True, False):
        for target in (True, False):
            pairs = match_scans.draw_pairs(scans, source, target, 9, seed=1)
            assert len(set(pairs)) == 9 and all(i != j for i, j in pairs)
            assert all(scans[i].scan.complete == source and scans[j].scan.complete == target for i, j in pairs)
    assert len(match_scans.draw_pairs(scans, True, True, 100, seed=1)) == 12


def test_the_picture_shows_matches_and_errors(
    body: BodyModel, table: np.ndarray, straight: np.ndarray, tmp_path: Path
) -> None:
    labels = np.random.default_rng(0).permutation(body.vertex_count)[:5000]
    scans = [described(scan_of(body, labels, complete), table[labels]) for complete in (True, False)]
    assert body.mirror_vertices is not None
    scans.append(described(scan_of(body, labels), table[body.mirror_vertices[labels]]))
    matched = {
        "full_to_partial": [(0, 1, match_scans.match(scans[0], scans[1], straight))],
        "full_to_full": [(2, 0, match_scans.match(scans[2], scans[0], straight))],
    }
    path = tmp_path / "matches.png"
    draw_matches.draw_matches(path, scans, matched, body)
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    width, height = draw_matches.WIDTH, draw_matches.HEIGHT
    rows = picture[: height + 52], picture[height + 52 : 2 * (height + 52)]
    _, matched_as, truth, error = (rows[0][46 : 46 + height, k * width : (k + 1) * width] for k in range(4))
    assert (matched_as == truth).mean() > 0.99  # a perfect match is coloured as the truth is
    drawn = (truth != truth[0, 2]).any(axis=-1)
    assert 0.05 < drawn.mean() < 0.8
    low, high = draw_matches.error_colors(np.array([0.0, 1.0])).astype(int)
    wrong = rows[1][46 : 46 + height, 3 * width : 4 * width].astype(int)
    assert wrong[..., 0].max() > low[0] + 100 > error[..., 0].max()  # dark where right, yellow at the hands
    assert high[0] > 200
    assert (
        rows[1][46 : 46 + height, width : 2 * width] != rows[1][46 : 46 + height, 2 * width : 3 * width]
    ).mean() > 0.05


# --- ablation ---


@pytest.fixture(scope="module")
def patch_world() -> ablate_descriptors.Surface:
    """A flat torus of 30 x 30 points, 3 cm apart, as a surface: small enough to train heads on."""
    place = np.stack(np.meshgrid(np.arange(30), np.arange(30)), axis=-1).reshape(-1, 2)
    apart = np.abs(place[:, None] - place[None])
    metres = 0.03 * np.linalg.norm(np.minimum(apart, 30 - apart), axis=-1)
    distances = np.rint(metres / UNIT).astype(np.uint16)
    rng = np.random.default_rng(2)
    centres = np.stack([rng.permutation(900)[: ablate_descriptors.PATCHES] for _ in range(100)]).astype(np.int16)
    labels = np.stack([distances[c].argmin(axis=0) for c in centres]).astype(np.int16)
    landmarks = rng.permutation(900)[:33]
    near = metres[:, landmarks]
    return ablate_descriptors.Surface(
        distances,
        Segmentations(labels, centres),
        torch.from_numpy(smooth_embedding(distances, 16, 0.15 / UNIT)),
        landmarks,
        torch.from_numpy(np.where(near.min(axis=1) < 0.05, near.argmin(axis=1), -1)),
    )


@pytest.mark.parametrize("variant", ablate_descriptors.VARIANTS, ids=lambda v: v.name)
def test_every_variant_learns_to_tell_places_apart(
    variant: ablate_descriptors.Variant, patch_world: ablate_descriptors.Surface
) -> None:
    rng = np.random.default_rng(5)
    signature = rng.normal(size=(900, 24)).astype(np.float32)  # what a trunk might say of each place
    head = ablate_descriptors.Head(variant, 24, patch_world)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-2)
    losses = []
    for step in range(30):
        vertex = rng.integers(900, size=256)
        features = torch.from_numpy(signature[vertex] + 0.05 * rng.normal(size=(256, 24)).astype(np.float32))
        generator = torch.Generator().manual_seed(step)
        loss = head.loss(features, torch.from_numpy(vertex), patch_world, generator, 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.15
    found = head.describe(np.concatenate([signature, signature]).astype(np.float16))
    assert found.shape == (1800, 16)
    lengths = np.linalg.norm(found, axis=1)
    assert variant.euclidean or np.allclose(lengths, 1.0, atol=1e-5)


def test_small_networks_learn_from_scratch_and_are_read_where_people_are(
    batch: CropBatch, body: BodyModel, patch_world: ablate_descriptors.Surface
) -> None:
    from training.body_net.ablate_descriptors_from_scratch import Crops, SmallNet, train_step

    crops = Crops.of(iter([batch]))
    assert crops.image.shape == (8, 5, 64, 64) and crops.vertex.shape == (8, 32, 32)
    assert (crops.vertex >= 0).sum() > 200
    assert crops.vertex[3, 7, 20] == (batch.vertex[3, 28, 80] if batch.mask[3, 28, 80] else -1)
    small = crops.vertex % 900 * (crops.vertex >= 0) - (crops.vertex < 0)  # vertices of the torus, anyhow
    net = SmallNet(ablate_descriptors.Variant("tied", 4), patch_world)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    places = tuple(torch.from_numpy(axis.copy()) for axis in np.nonzero(small >= 0))
    vertex = torch.from_numpy(small[small >= 0].astype(np.int64))
    losses = []
    for step in range(12):
        optimizer.zero_grad()
        images = torch.from_numpy(crops.image).float()
        losses.append(train_step(net, images, places, vertex, patch_world, step, 2).item())  # type: ignore[arg-type]
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1
    found = net.describe(crops)
    assert found.shape == ((crops.vertex >= 0).sum(), 16)
    alone = net.describe(Crops(crops.image[5:6], crops.vertex[5:6]))  # crops do not look at each other
    before = (crops.vertex[:5] >= 0).sum()
    np.testing.assert_allclose(found[before : before + len(alone)], alone, atol=0.02)


def test_figures_are_written_with_the_earlier_ones_apart(tmp_path: Path) -> None:
    curves = {"a": [{"step": 1, "x": 2.0}, {"step": 2, "x": 1.0}], "b": [{"step": 1, "x": 3.0}], "c": []}
    ablate_descriptors.write(tmp_path / "new" / "out.json", {"what": "test"}, curves)
    read = json.loads((tmp_path / "new" / "out.json").read_text())
    assert read == {
        "what": "test",
        "variants": {"a": {"step": 2, "x": 1.0}, "b": {"step": 1, "x": 3.0}},
        "earlier": {"a": [{"step": 1, "x": 2.0}]},
    }


@pytest.mark.parametrize(
    "variant",
    [
        ablate_descriptors.Variant(classifier, 4, smooth_start=smooth)
        for classifier, smooth in (("tied", True), ("cosine", False), ("linear", False))
    ],
    ids=lambda v: v.classifier,
)
def test_classes_of_vertices_add_up_what_all_segmentations_say(
    variant: ablate_descriptors.Variant, patch_world: ablate_descriptors.Surface, rng: np.random.Generator
) -> None:
    head = ablate_descriptors.Head(variant, 24, patch_world)
    if variant.classifier == "linear":
        torch.nn.init.normal_(head.classifier.bias)  # type: ignore[arg-type]
    descriptors = rng.normal(size=(3, 16)).astype(np.float32)
    descriptors = descriptors if variant.euclidean else unit(descriptors)
    expected = np.zeros((3, 900))
    with torch.no_grad():
        for m in range(4):
            logits = head.classifier.patches(torch.from_numpy(descriptors), m).numpy()  # type: ignore[operator]
            for v in range(900):
                expected[:, v] += logits[:, patch_world.segmentations.labels[m, v]] / 4
    weights, bias = head.classes(patch_world)
    found = descriptors @ weights.T + bias
    scale = 1.0 if variant.euclidean else np.exp(2.3)
    np.testing.assert_allclose(scale * found, expected, atol=1e-4)


def test_variants_have_names_of_their_own_and_begin_alike(patch_world: ablate_descriptors.Surface) -> None:
    names = [variant.name for variant in ablate_descriptors.VARIANTS]
    assert len(set(names)) == len(names)
    heads = [ablate_descriptors.Head(variant, 24, patch_world) for variant in ablate_descriptors.VARIANTS[::5]]
    for head in heads[1:]:
        for one, other in zip(heads[0].tower.parameters(), head.tower.parameters(), strict=True):
            assert torch.equal(one, other)


def test_soft_labels_fall_with_the_distance() -> None:
    labels = soft_labels(np.array([[0, 500, 1000, 60000]], np.uint16), 500.0)
    expected = np.array([1.0, np.exp(-0.5), np.exp(-2.0), 0.0])
    np.testing.assert_allclose(labels[0], expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("euclidean", [False, True])
def test_the_ablation_measures_known_errors(
    euclidean: bool, body: BodyModel, table: np.ndarray, straight: np.ndarray, rng: np.random.Generator
) -> None:
    surface = SimpleNamespace(distances=straight)
    judge = ablate_descriptors.Judge(surface, body, *spread_vertices(body, 600))  # type: ignore[arg-type]
    train, vertex = (rng.integers(body.vertex_count, size=count) for count in (60000, 3200))
    crop = np.repeat(np.arange(8), 400)
    pixels = ablate_descriptors.Pixels(np.zeros((3200, 1)), np.zeros((3200, 16)), vertex, crop)
    scale = 5.0 if euclidean else 1.0
    assert body.mirror_vertices is not None
    mirror, none = body.mirror_vertices, np.zeros(body.vertex_count, np.float32)

    def figures(held_out: np.ndarray) -> dict[str, float]:
        classes = (table[mirror], none)  # of classifiers that take left for right
        return judge.figures(scale * table[train], train, scale * held_out, pixels, euclidean, classes)

    right = figures(table[vertex])
    assert right["means_mean_cm"] < 4.0 and right["means_beyond_20_cm"] < 0.01
    assert right["means_left_right_confusion"] < 0.01 and right["pairs_AE_cm"] < 3.0
    mirrored = figures(table[mirror[vertex]])
    width = 200 * np.abs(body.v_template[vertex, 0]).mean()
    assert mirrored["means_mean_cm"] == pytest.approx(width, abs=2.0)
    assert mirrored["means_left_right_confusion"] > 0.97 and mirrored["means_front_back_confusion"] < 0.1
    assert right["classes_mean_cm"] == pytest.approx(width, abs=2.0)
    assert mirrored["classes_mean_cm"] < 4.0 and mirrored["classes_left_right_confusion"] < 0.01
    assert mirrored["pairs_AE_cm"] < 3.0  # where all err alike, pixels of two crops match all the same
    odd = crop % 2 == 1
    half = figures(np.where(odd[:, None], table[mirror[vertex]], table[vertex]))
    assert half["means_mean_cm"] == pytest.approx(width / 2, abs=3.0)
    # Most vertices are at the hands, so most points that another crop shows as well are there too.
    assert width < half["pairs_AE_cm"] < half["pairs_WE_cm"] < 200 * np.abs(body.v_template[:, 0]).max()
