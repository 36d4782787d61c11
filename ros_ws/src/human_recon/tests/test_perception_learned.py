"""The learned perception on frames of the synthetic world, with engines that know the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import PARENTS
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.perception.body_net import (
    BodyReading,
    _answers,
    _at_cells,
    body_states,
    joints_of,
    matrices_from_6d,
    read_body_net,
)
from human_recon.perception.codebook import Codebook
from human_recon.perception.confidence import PERSON_FEATURES, VOTE_FEATURES, DetectorConfidence, LogisticModel
from human_recon.perception.crops import SIZE, CropCamera, crop_lookup, crop_points
from human_recon.perception.duplicates import DuplicateConfig, Group, merged, overlap
from human_recon.perception.estimate import Perceived
from human_recon.perception.evidence import evidence_of, surface_reference
from human_recon.perception.learned import LearnedConfig, LearnedPerception
from human_recon.perception.people_input import CoarseView
from human_recon.perception.prompts import Proposal
from human_recon.perception.upsampling import UpsamplingConfig, extents, mask_of, upsample, upsample_reference
from human_recon.simulation.assets import Assets
from human_recon.simulation.rendering import FIRST_THING
from human_recon.simulation.staging import SceneConfig
from human_recon.simulation.world import Sample, World, WorldConfig
from tests.perception_support import TrueBodyNet, TruePeopleNet, codebook_of, frame_of

SEED = 555


@pytest.fixture(scope="module")
def scenes(body: BodyModel) -> list[Sample]:
    """Four scenes with people in view, of different cameras; no motion capture, no clothes: no data is needed."""
    world = World(
        WorldConfig(split="test", size=None, scene=SceneConfig(people=(0, 0, 1, 1, 1))), Assets(None, None), body
    )
    found = []
    for index in range(60):
        sample = world.sample(SEED, index)
        if (sample.visibility > 0.3).sum() >= 2:
            found.append(sample)
        if len(found) == 4:
            return found
    raise AssertionError("hardly a scene has people in view")


@dataclass
class Seen:
    sample: Sample
    perception: LearnedPerception
    frame: Frame
    result: Perceived


def look(sample: Sample, body: BodyModel, noise: float = 0.0, config: LearnedConfig | None = None) -> Seen:
    codebook, frame = codebook_of(body), frame_of(sample)
    engine = TrueBodyNet(sample, lambda: perception.propose(frame), body, codebook)
    perception = LearnedPerception(TruePeopleNet(sample, noise), engine, codebook, body, config, trusting())
    return Seen(sample, perception, frame, perception.detect(frame))


def trusting() -> DetectorConfidence:
    """Believes in every proposal that votes and masks agree on."""

    def model(names: tuple[str, ...], name: str, middle: float) -> LogisticModel:
        count = len(names)
        mean, weights = np.zeros(count), np.zeros(count)
        mean[names.index(name)], weights[names.index(name)] = middle, 10.0
        return LogisticModel(names, mean, np.ones(count), weights, 0.0)

    return DetectorConfidence(
        model(VOTE_FEATURES, "log_vote_area", np.log(0.01)), model(PERSON_FEATURES, "prompt_agreement", 0.2)
    )


@pytest.fixture(scope="module")
def seen(scenes: list[Sample], body: BodyModel) -> list[Seen]:
    return [look(sample, body, noise=0.03) for sample in scenes]


def truth_of(sample: Sample) -> np.ndarray:
    """[H, W] index of the person that a reading is of, -1 = nobody."""
    return np.where((sample.depth > 0) & (sample.rendering.object < FIRST_THING), sample.rendering.object, -1)


def owner_of(sample: Sample, mask: np.ndarray) -> int:
    return int(np.bincount(truth_of(sample)[mask] + 1, minlength=len(sample.visibility) + 1)[1:].argmax())


def test_everybody_in_view_is_found_once(seen: list[Seen]) -> None:
    for one in seen:
        owners = [owner_of(one.sample, person.mask) for person in one.result.people]
        assert len(set(owners)) == len(owners), "somebody was found twice"
        assert set(np.flatnonzero(one.sample.visibility > 0.3)) <= set(owners)


def test_masks_follow_the_people(seen: list[Seen]) -> None:
    overlaps, both, either = [], 0, 0
    for one in seen:
        truth = truth_of(one.sample)
        everybody = np.zeros(truth.shape, int)
        for person in one.result.people:
            assert person.mask.dtype == bool and person.mask.shape == truth.shape
            assert (one.frame.depth[person.mask] > 0).all()
            everybody += person.mask
            mine = truth == owner_of(one.sample, person.mask)
            overlaps.append((person.mask & mine).sum() / (person.mask | mine).sum())
        assert everybody.max() == 1, "masks overlap"
        both += ((everybody > 0) & (truth >= 0)).sum()
        either += ((everybody > 0) | (truth >= 0)).sum()
    assert np.mean(overlaps) > 0.9
    assert both / either > 0.93


def test_places_on_the_body(seen: list[Seen], body: BodyModel) -> None:
    """Parts, and vertices to within what a codebook of 1,000 vertices and cells of 3.4 cm allow."""
    right, distances = [], []
    for one in seen:
        result, rendering = one.result, one.sample.rendering
        mine = np.zeros(result.parts.shape, bool)
        for person in result.people:
            mine |= person.mask
        assert ((result.parts < 24) == mine).all()
        assert ((result.vertices >= 0) == mine).all()
        assert (result.similarity[~mine] == 0).all()
        on = mine & (rendering.part < 24) & (rendering.object < FIRST_THING)
        right.append((result.parts == rendering.part)[on])
        chosen = body.v_template[result.vertices[on]] - body.v_template[rendering.vertex[on]]
        distances.append(np.linalg.norm(chosen, axis=1))
    assert np.concatenate(right).mean() > 0.93
    assert np.median(np.concatenate(distances)) < 0.05


def test_bodies_are_handed_on_in_the_camera_frame(seen: list[Seen], body: BodyModel) -> None:
    for one in seen:
        for person in one.result.people:
            rendering = one.sample.rendering
            owner = owner_of(one.sample, person.mask)
            np.testing.assert_allclose(person.joints, rendering.joints[owner], atol=2e-4)
            np.testing.assert_allclose(joints_of(body, person.state), person.joints, atol=1e-5)
            np.testing.assert_allclose(person.state.betas, rendering.states[owner].betas, atol=1e-5)
            np.testing.assert_allclose(person.joint_sigma, np.sqrt(2) * 0.02, rtol=1e-4)


def test_evidence_lies_on_the_person(seen: list[Seen], body: BodyModel) -> None:
    """Points on the true surface, clothes and noise apart; normals towards the camera; the vertex nearby."""
    distances, places = [], []
    for one in seen:
        for person in one.result.people:
            rendering, evidence = one.sample.rendering, person.evidence
            vertices = pose_body(body, rendering.states[owner_of(one.sample, person.mask)]).vertices
            distances.append(np.linalg.norm(evidence.points[:, None] - vertices[None], axis=-1).min(axis=1))
            places.append(np.linalg.norm(evidence.points - vertices[evidence.vertices], axis=-1))
            length = np.linalg.norm(evidence.normals, axis=1)
            clear = length > 0
            np.testing.assert_allclose(length[clear], 1.0, atol=1e-9)
            assert ((evidence.normals * evidence.points).sum(-1)[clear] < 0).mean() > 0.97
            assert clear.mean() > 0.6, "thin or far people have edges everywhere"
            assert (evidence.likelihood >= 0.5).all() and (evidence.similarity > -1).all()
            assert (evidence.parts < 24).all()
    assert np.median(np.concatenate(distances)) < 0.03
    assert np.median(np.concatenate(places)) < 0.07


def test_nearest_first_and_confident(seen: list[Seen]) -> None:
    for one in seen:
        depths = [float(person.joints[0, 2]) for person in one.result.people]
        assert depths == sorted(depths)
        assert all(0.5 <= person.confidence <= 1.0 for person in one.result.people)
        assert set(one.result.timings) == {"people_net", "votes", "crops", "body_net", "judge", "pixels"}


def test_nobody_is_no_error(scenes: list[Sample], body: BodyModel) -> None:
    sample = scenes[0]
    nobody = replace(sample.rendering, object=np.full_like(sample.rendering.object, -1))
    result = look(replace(sample, rendering=nobody), body).result
    assert result.people == ()
    assert (result.parts == 255).all() and (result.vertices == -1).all() and (result.similarity == 0).all()
    empty = look(replace(sample, depth=np.zeros_like(sample.depth)), body).result
    assert empty.people == ()


def test_who_is_unlikely_is_left_out(scenes: list[Sample], body: BodyModel) -> None:
    strict = look(scenes[0], body, config=replace(LearnedConfig(), least_confidence=1.1))
    assert strict.result.people == () and (strict.result.parts == 255).all()


def test_too_few_pixels_are_nobody(scenes: list[Sample], body: BodyModel) -> None:
    strict = look(scenes[0], body, config=replace(LearnedConfig(), least_area=50.0))
    assert strict.result.people == ()
    assert (strict.result.parts == 255).all() and (strict.result.vertices == -1).all()


def test_distorted_frames_are_refused(scenes: list[Sample], body: BodyModel) -> None:
    one = look(scenes[0], body)
    camera = replace(one.frame.intrinsics, distortion_model="plumb_bob", distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="undistort"):
        one.perception.detect(replace(one.frame, intrinsics=camera))


def test_two_proposals_of_one_person_are_merged(seen: list[Seen]) -> None:
    one = max(seen, key=lambda s: len(s.result.people))
    found = one.perception.propose(one.frame)
    moved = [
        replace(proposal, crop=CropCamera.towards(proposal.crop.centre + [0.06, 0.03, 0.05])) for proposal in found
    ]
    everybody = [*found, *moved]
    perception = one.perception
    perception._body.proposals = lambda: everybody  # type: ignore[attr-defined]
    reading = perception.read(one.frame, everybody)
    confidence = np.linspace(0.9, 0.5, len(everybody))
    count = len(found)
    assert merged(reading, confidence, DuplicateConfig()) == [Group(n, (n + count,)) for n in range(count)]
    # Were their bodies another, they would have misread the same pixels: gone, not followers.
    elsewhere = reading.joints.copy()
    elsewhere[count:] += np.float32([0.0, 0.0, 5.0])
    misread = merged(replace(reading, joints=elsewhere), confidence, DuplicateConfig())
    assert misread == [Group(n, ()) for n in range(count)]
    for n in range(len(found)):
        assert overlap(reading, n, n) == pytest.approx(1.0)
        assert overlap(reading, n, n + len(found)) > 0.85
        for other in range(len(found)):
            if other != n:
                assert overlap(reading, n, other) < 0.1


def test_a_person_found_in_two_pieces_gets_both(seen: list[Seen]) -> None:
    """Two proposals of one body, one with the mask's upper half, one with the lower."""
    one = max(seen, key=lambda s: s.result.people[0].mask.sum())
    found = [one.perception.propose(one.frame)[0]] * 2
    one.perception._body.proposals = lambda: found  # type: ignore[attr-defined]
    reading = one.perception.read(one.frame, found)
    whole = upsample(one.frame, reading, [[0]], UpsamplingConfig())
    halves = reading.mask.copy()
    halves[0, 32:], halves[1, :32] = 0.0, 0.0
    pieces = replace(reading, mask=halves)
    assert overlap(pieces, 0, 1) == 0.0
    assert merged(pieces, np.array([0.9, 0.8]), DuplicateConfig()) == [Group(0, (1,))]
    both = upsample(one.frame, pieces, [[0, 1]], UpsamplingConfig())
    # Where the pieces meet neither is sure.
    assert ((both.owner == 0) != (whole.owner == 0)).sum() < 0.1 * (whole.owner == 0).sum()


def reading_of(rng: np.random.Generator) -> tuple[Frame, BodyReading]:
    """Two crops of a small frame of slanted surfaces at different depths, with random answers."""
    camera = CameraIntrinsics(120, 90, 100.0, 98.0, 58.0, 46.0)
    v, u = np.mgrid[0:90, 0:120]
    depth = np.where((u // 13 + v // 17) % 2, 2.4 + 0.004 * u, 3.1 - 0.003 * v).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = 0.0
    frame = Frame(0, "camera", depth, camera)
    crops = tuple(CropCamera.towards(np.array(centre)) for centre in ((-0.3, 0.1, 2.6), (0.5, -0.2, 2.9)))
    images = np.stack([crop_points(depth, crop_lookup(crop, camera), crop, camera) for crop in crops])
    cells = images[:, :, ::2, ::2]
    valid = cells[:, 3] > 0
    blobs = np.stack([cv2.GaussianBlur(rng.random((64, 64)), (0, 0), 4.0) for _ in crops])
    mask = np.clip((blobs - blobs.mean()) * 25.0 + 0.5, 0.0, 1.0)
    shape = mask.shape
    scores = rng.normal(size=(2, 8, 8, 24)).repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)
    scores += rng.normal(0, 0.2, (*shape, 24)).astype(np.float32)
    reading = BodyReading(
        crops=crops,
        mask=np.where(valid, mask, 0.0).astype(np.float32),
        points=np.ascontiguousarray(cells[:, :3]),
        valid=valid,
        prompt=np.zeros(shape, np.float32),
        part=np.where(valid & (mask > 0.2), scores.argmax(-1), 255).astype(np.uint8),
        part_scores=np.ascontiguousarray(np.moveaxis(scores, -1, 1)),
        vertex=np.where(mask > 0.2, rng.integers(0, 6890, shape), -1).astype(np.int16),
        similarity=rng.random(shape).astype(np.float32),
        states=(),
        joints=np.zeros((2, 24, 3), np.float32),
        joint_sigma=np.zeros((2, 24), np.float32),
    )
    return frame, reading


def test_upsampling_equals_reference(rng: np.random.Generator) -> None:
    frame, reading = reading_of(rng)
    fast = upsample(frame, reading, [[1], [0]], UpsamplingConfig())
    slow = upsample_reference(frame, reading, [[1], [0]], UpsamplingConfig())
    assert (slow.owner == 0).sum() > 300 and (slow.owner == 1).sum() > 300
    np.testing.assert_allclose(fast.likelihood, slow.likelihood, atol=2e-5)
    # Single pixels may lie on a border to within rounding.
    for name in ("owner", "parts", "vertices", "similarity"):
        assert (getattr(fast, name) != getattr(slow, name)).mean() < 2e-4, name


def test_what_pixels_show_is_worked_out_when_asked_and_follows_the_owners(rng: np.random.Generator) -> None:
    frame, reading = reading_of(rng)
    whole = upsample(frame, reading, [[1], [0]], UpsamplingConfig())
    expected = whole.parts.copy()
    claims = upsample(frame, reading, [[1], [0]], UpsamplingConfig())
    assert "places" not in vars(claims)
    gone = claims.owner == 1
    claims.owner[gone] = -1
    np.testing.assert_array_equal(claims.parts, np.where(gone, 255, expected))
    assert (claims.vertices[gone] == -1).all() and (claims.similarity[gone] == 0).all()


def test_extents_and_masks(rng: np.random.Generator) -> None:
    frame, reading = reading_of(rng)
    claims = upsample(frame, reading, [[1], [0]], UpsamplingConfig())
    squares, box = extents(frame.depth, claims.owner, claims.window, 3)
    for person in range(2):
        mask = claims.owner == person
        rows, columns = np.nonzero(mask)
        assert box[person].tolist() == [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
        assert squares[person] == pytest.approx(np.square(frame.depth[mask].astype(np.float64)).sum())
        np.testing.assert_array_equal(mask_of(claims.owner, person, box[person]), mask)
    assert squares[2] == 0 and (box[2] == 0).all() and not mask_of(claims.owner, 2, box[2]).any()


def test_evidence_equals_reference(rng: np.random.Generator) -> None:
    _, reading = reading_of(rng)
    for proposal in range(2):
        evidence = evidence_of(reading, proposal)
        own = (reading.mask[proposal] >= 0.5) & (reading.vertex[proposal] >= 0)
        points, normals = surface_reference(reading, proposal, own)
        assert len(points) > 100 and (np.abs(normals).sum(1) > 0).mean() > 0.3
        np.testing.assert_allclose(evidence.points, points, atol=1e-12)
        np.testing.assert_allclose(evidence.normals, normals, atol=1e-9)
        np.testing.assert_array_equal(evidence.vertices, reading.vertex[proposal][own])
    nobody = replace(reading, mask=np.zeros_like(reading.mask))
    assert len(evidence_of(nobody, 0).points) == 0


@pytest.mark.parametrize("count", [0, 1, 31, 100])
def test_codebook_lookup_equals_reference(rng: np.random.Generator, count: int) -> None:
    codes = rng.normal(size=(200, 16)).astype(np.float32)
    book = Codebook(np.arange(200, dtype=np.int32) * 3, codes / np.linalg.norm(codes, axis=1, keepdims=True))
    descriptors = rng.normal(size=(count, 16)).astype(np.float32) * 5.0
    descriptors[:1] = 0.0  # of no direction
    vertices, cosine = book.nearest(descriptors)
    expected = book.nearest_reference(descriptors)
    np.testing.assert_array_equal(vertices, expected[0])
    np.testing.assert_allclose(cosine, expected[1], atol=1e-6)


def test_answers_at_cells_equal_numpys(rng: np.random.Generator) -> None:
    images = rng.normal(size=(2, 5, 128, 128)).astype(np.float32)
    images[:, 3] = rng.random((2, 128, 128)) < 0.7
    logits = rng.normal(0.0, 3.0, (2, 64, 64)).astype(np.float32)
    scores = rng.normal(size=(2, 24, 64, 64)).astype(np.float32)
    descriptor = rng.normal(size=(2, 16, 64, 64)).astype(np.float32)
    mask, points, valid, prompt, cells = _at_cells(images, logits)
    part, descriptors = _answers(cells, scores, descriptor)
    np.testing.assert_array_equal(valid, images[:, 3, ::2, ::2] > 0)
    np.testing.assert_allclose(mask, np.where(valid, 1.0 / (1.0 + np.exp(-logits)), 0.0), atol=1e-6)
    np.testing.assert_array_equal(points, images[:, :3, ::2, ::2])
    np.testing.assert_array_equal(prompt, images[:, 4, ::2, ::2])
    n, i, j = np.nonzero(mask > 0.2)
    np.testing.assert_array_equal(cells, np.flatnonzero(mask > 0.2))
    np.testing.assert_array_equal(part, np.where(mask > 0.2, scores.argmax(1), 255))
    np.testing.assert_array_equal(descriptors, descriptor[n, :, i, j])


def test_bodies_are_turned_as_by_matrices(rng: np.random.Generator, body: BodyModel) -> None:
    crops = tuple(CropCamera.towards(np.array(centre)) for centre in ((-0.8, 0.1, 2.6), (0.5, -0.2, 2.9)))
    outputs = {
        "rotations": rng.normal(size=(2, 24, 6)).astype(np.float32),
        "betas": rng.normal(size=(2, 10)).astype(np.float32),
        "root": rng.normal(size=(2, 3)).astype(np.float32),
    }
    for n, state in enumerate(body_states(outputs, crops, body)):
        turned = matrices_from_6d(outputs["rotations"][n])
        world = np.empty((24, 3, 3))
        for k, parent in enumerate(PARENTS):
            local = rotvec_to_matrix(state.pose[k])
            world[k] = local if parent < 0 else world[parent] @ local
        np.testing.assert_allclose(crops[n].rotation @ world, turned, atol=1e-9)
        pelvis = crops[n].to_crop(joints_of(body, state)[0])
        np.testing.assert_allclose(pelvis, outputs["root"][n], atol=1e-6)


def test_masks_end_where_surfaces_end() -> None:
    """A board 40 cm before a wall, its edge within a cell: cells left of it say person, the others nobody."""
    camera = CameraIntrinsics(640, 480, 525.0, 525.0, 319.5, 239.5)
    depth = np.full((480, 640), 2.4, np.float32)
    edge = 333
    depth[:, :edge] = 2.0
    crop = CropCamera.towards(np.array([0.0, 0.0, 2.0]))
    cells = crop_points(depth, crop_lookup(crop, camera), crop, camera)[:, ::2, ::2]
    person = cells[2] < 0.2
    reading = replace(
        reading_of(np.random.default_rng(0))[1],
        crops=(crop,),
        mask=np.where(person, 0.97, 0.03)[None].astype(np.float32),
        points=np.ascontiguousarray(cells[:3])[None],
        valid=np.ones((1, 64, 64), bool),
        part=np.zeros((1, 64, 64), np.uint8),
        part_scores=np.zeros((1, 24, 64, 64), np.float32),
        vertex=np.zeros((1, 64, 64), np.int16),
        similarity=np.ones((1, 64, 64), np.float32),
    )
    claims = upsample(Frame(0, "camera", depth, camera), reading, [[0]], UpsamplingConfig())
    rows = claims.owner[100:380, 200:500] == 0
    np.testing.assert_array_equal(rows, np.broadcast_to(np.arange(200, 500) < edge, rows.shape))


def test_rotations_from_six_numbers(rng: np.random.Generator) -> None:
    matrices = matrices_from_6d(rng.normal(size=(50, 6)))
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, -1, -2), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0)
    columns = np.concatenate([3.0 * matrices[..., 0], 2.0 * matrices[..., 1] + matrices[..., 0]], axis=-1)
    np.testing.assert_allclose(matrices_from_6d(columns), matrices, atol=1e-9)


def test_a_network_of_another_kind_is_refused(body: BodyModel) -> None:
    class Other:
        description = "stand-in"

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {"output": np.zeros((len(image), 8, 60, 80), np.float32)}

    proposal = Proposal(
        CropCamera.towards(np.array([0.0, 0.0, 2.0])), np.zeros((120, 160), np.float32), *np.zeros((2, 3)), np.zeros(5)
    )
    with pytest.raises(ValueError, match=r"stand-in gives .*BodyNet gives 'mask' \[1, 64, 64\]"):
        read_body_net(Other(), np.zeros((1, 5, SIZE, SIZE), np.float32), [proposal], codebook_of(body), body)


def test_codebook_finds_the_most_similar(tmp_path: Path, rng: np.random.Generator) -> None:
    vertices, descriptors = np.arange(5, 405, 4), rng.normal(size=(100, 16))
    np.savez(tmp_path / "codebook.npz", vertices=vertices, descriptors=descriptors)
    codebook = Codebook.load(tmp_path / "codebook.npz")
    queries = rng.normal(size=(37, 16)).astype(np.float32)
    found, cosine = codebook.nearest(queries)
    expected = (
        (queries @ descriptors.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(descriptors, axis=1)
    )
    np.testing.assert_array_equal(found, vertices[expected.argmax(1)])
    np.testing.assert_allclose(cosine, expected.max(1), atol=1e-5)


def test_codebook_that_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", vertices=np.arange(3))
    with pytest.raises(ValueError, match=r"other.npz is not a codebook: it lacks descriptors"):
        Codebook.load(tmp_path / "other.npz")
    np.savez(tmp_path / "odd.npz", vertices=np.arange(3), descriptors=np.ones((4, 16)))
    with pytest.raises(ValueError, match="do not match"):
        Codebook.load(tmp_path / "odd.npz")


def test_logistic_model_recovers_what_made_the_labels(rng: np.random.Generator) -> None:
    """Labels drawn with known odds: the fit finds them and its probabilities are frequencies."""
    features = rng.normal(size=(20000, 2)) * [1.0, 3.0] + [0.0, 5.0]
    odds = 1.5 * features[:, 0] - 0.4 * features[:, 1] + 2.0
    labels = rng.random(20000) < 1.0 / (1.0 + np.exp(-odds))
    model = LogisticModel.fit(("a", "b"), features, labels)
    np.testing.assert_allclose(model.weights / model.deviation, [1.5, -0.4], rtol=0.06)
    probability = model(features)
    for low in np.arange(0.0, 1.0, 0.2):
        bin = (probability >= low) & (probability < low + 0.2)
        assert probability[bin].mean() == pytest.approx(labels[bin].mean(), abs=0.03)
    again = LogisticModel.from_json(json.loads(json.dumps(model.to_json())), ("a", "b"))
    np.testing.assert_allclose(again(features), probability, atol=1e-3)


def test_logistic_model_of_separable_labels_stays_finite() -> None:
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticModel.fit(("a",), features, np.array([False, False, True, True]))
    assert np.isfinite(model.weights).all() and (np.diff(model(features)) > 0).all()


def test_shipped_confidence_model_loads_and_others_are_refused(tmp_path: Path) -> None:
    from human_recon.perception.learned import CONFIDENCE_MODEL
    from human_recon.resources import model_path

    shipped = model_path(CONFIDENCE_MODEL)
    assert DetectorConfidence.load(shipped).person.names == PERSON_FEATURES
    content = json.loads(shipped.read_text())
    content["person"]["features"]["luck"] = content["person"]["features"].pop("similarity")
    for text in (json.dumps(content), "{}", "not JSON"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad.json is no confidence model"):
            DetectorConfidence.load(tmp_path / "bad.json")


def test_prompt_reaches_the_crop_where_the_person_is(seen: list[Seen]) -> None:
    """What the network is told overlaps whom it is to look at, in the crop's own pixels."""
    for one in seen:
        found = one.perception.propose(one.frame)
        from human_recon.perception.body_net import crop_images

        images = crop_images(one.frame, CoarseView.of(one.frame.intrinsics), found)
        assert images.dtype == np.float32 and images[:, 4].max() <= 1.0
        truth = truth_of(one.sample)
        for image, proposal in zip(images, found, strict=True):
            lookup = crop_lookup(proposal.crop, one.frame.intrinsics)
            who = np.where(lookup >= 0, truth.ravel()[np.maximum(lookup, 0)], -1)
            told = image[4] > 0.5
            assert told.any()
            owner = np.bincount(who[told] + 1).argmax() - 1
            assert owner >= 0
            mine = (who == owner) & (image[3] > 0)
            assert (told & mine).sum() / mine.sum() > 0.6
