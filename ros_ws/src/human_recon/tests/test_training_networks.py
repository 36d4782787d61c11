"""PeopleNet and BodyNet: shapes, what their losses reach, mirror images of their data, and the rotations they speak."""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import closing
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

torch = pytest.importorskip("torch")

from scipy.spatial.distance import cdist  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from human_recon.body.landmarks import LANDMARK_NAMES  # noqa: E402
from human_recon.body.lbs import pose_bodies  # noqa: E402
from human_recon.body.lbs_torch import BodyLayer, rotvec_to_matrix  # noqa: E402
from human_recon.body.model import BodyModel  # noqa: E402
from human_recon.body.parts import vertex_parts  # noqa: E402
from human_recon.body.skeleton import MIRROR_JOINTS, PARENTS  # noqa: E402
from human_recon.camera.intrinsics import CameraIntrinsics  # noqa: E402
from human_recon.camera.points import depth_to_points  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.stream import (  # noqa: E402
    CROP_WORLD,
    CropBatch,
    CropMaker,
    FrameBatch,
    FrameMaker,
    StreamConfig,
    stream,
)
from training.body_net import task as body_task  # noqa: E402
from training.body_net.network import BodyNet, BodyNetConfig  # noqa: E402
from training.body_net.posing import posed  # noqa: E402
from training.body_net.rotations import global_rotations, local_rotations, matrix_from_6d  # noqa: E402
from training.body_net.segmentations import UNIT  # noqa: E402
from training.body_net.task import BodyTask, BodyTaskConfig  # noqa: E402
from training.loop.mirror import mirror_crops, mirror_frames  # noqa: E402
from training.loop.task import Tensors  # noqa: E402
from training.networks.backbone import Backbone, BackboneConfig  # noqa: E402
from training.people_net.network import PeopleNet  # noqa: E402
from training.people_net.task import PeopleTask, PeopleTaskConfig  # noqa: E402

# Not fewer than 16: the gradient of a 1x1 convolution with stride 2 of 8 channels crashes torch 2.13 (oneDNN).
SMALL = BackboneConfig(channels=(16, 16, 32, 32), blocks=(1, 1, 1), width=16)
MIRROR = np.array([-1.0, 1.0, 1.0])
ROTVECS = arrays.arrays(np.float64, (24, 3), elements=st.floats(-3.0, 3.0))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As these networks are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def frames() -> FrameBatch:
    with closing(stream(FrameMaker(StreamConfig(seed=5, batch=4), Assets()))) as batches:
        return next(itertools.islice(batches, 1, None))


@pytest.fixture(scope="module")
def crops() -> CropBatch:
    config = StreamConfig(seed=5, batch=8, world=CROP_WORLD, false_crops=0.5)
    with closing(stream(CropMaker(config, Assets()))) as batches:
        batch = next(batches)
    assert 0 < batch.present.sum() < 8
    return batch


@pytest.fixture(scope="module")
def people() -> PeopleTask:
    torch.manual_seed(0)
    network = dataclasses.replace(PeopleTaskConfig().network, backbone=SMALL)
    return PeopleTask(PeopleTaskConfig(network=network), Assets())


@pytest.fixture(scope="module")
def bodies(body: BodyModel) -> BodyTask:
    """A small BodyNet; straight distances stand in for those along the surface, which take half a minute."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        straight = np.rint(cdist(body.v_template, body.v_template) / UNIT).astype(np.uint16)
        table = np.random.default_rng(0).normal(size=(body.vertex_count, 16)).astype(np.float32)
        patch.setattr(body_task, "geodesic_distances", lambda model: straight)
        patch.setattr(body_task, "smooth_embedding", lambda distances, dimensions, reach: table)
        network = BodyNetConfig(backbone=SMALL, vote_width=16, body_width=64)
        return BodyTask(BodyTaskConfig(network=network, segmentations=6, pixels_per_step=500), Assets())


def test_output_of_people_net() -> None:
    network = PeopleNet().eval()
    assert network(torch.zeros(2, 6, 120, 160)).shape == (2, 8, 60, 80)
    assert network(torch.zeros(1, 6, 121, 163)).shape == (1, 8, 61, 82)


def test_output_of_body_net() -> None:
    output = BodyNet(BodyNetConfig(backbone=SMALL)).eval()(torch.zeros(3, 5, 128, 128))
    shapes = {name: tuple(value.shape) for name, value in vars(output).items()}
    points = 24 + len(LANDMARK_NAMES)
    assert shapes == {
        "mask": (3, 64, 64),
        "parts": (3, 24, 64, 64),
        "descriptor": (3, 16, 64, 64),
        "points": (3, points, 3),
        "points_log_scale": (3, points),
        "rotations": (3, 24, 6),
        "betas": (3, 10),
        "root": (3, 3),
        "joints_log_scale": (3, 24),
    }


def test_a_trunk_needs_blocks_for_each_stage() -> None:
    with pytest.raises(ValueError, match="one more entry"):
        BackboneConfig(channels=(8, 8), blocks=(1, 1))
    up, down = Backbone(3, SMALL).eval()(torch.zeros(1, 3, 64, 48))
    assert (
        [tuple(x.shape[2:]) for x in up] == [tuple(x.shape[2:]) for x in down] == [(32, 24), (16, 12), (8, 6), (4, 3)]
    )
    assert {x.shape[1] for x in down} == {16}


def test_trusted_votes_win_wherever_they_are_cast() -> None:
    """A cell's vote is an offset from its own place in the window, in metres."""
    network = BodyNet(BodyNetConfig(backbone=SMALL))
    votes = torch.zeros(1, 5 * (24 + len(LANDMARK_NAMES)), 16, 16)
    votes[0, :3, 3, 10] = torch.tensor([0.1, -0.2, 0.3])  # of point 0, at row 3 and column 10
    votes[0, 3, 3, 10] = -2.0  # log scale
    votes[0, 4, 3, 10] = 60.0  # trust
    points, scale = network.gather(votes)
    side = 2.2 / 16
    expected = torch.tensor([10.5 * side - 1.1 + 0.1, 3.5 * side - 1.1 - 0.2, 0.3])
    torch.testing.assert_close(points[0, 0], expected, atol=1e-5, rtol=0)
    assert scale[0, 0] == pytest.approx(-2.0)
    torch.testing.assert_close(points[0, 1], torch.zeros(3), atol=1e-6, rtol=0)  # where all are equal: the middle


def nobody(batch: CropBatch) -> CropBatch:
    """The same crops as if all were of furniture."""
    none = np.zeros(len(batch.present), bool)
    return dataclasses.replace(batch, present=none, mask=np.zeros_like(batch.mask), visibility=0 * batch.visibility)


def gradients(task: PeopleTask | BodyTask, tensors: Tensors) -> dict[str, torch.Tensor | None]:
    """Of every weight, by the whole loss."""
    task.model.zero_grad(set_to_none=True)
    task.model.train()
    total, parts = task.loss(task.model, tensors, torch.Generator().manual_seed(1))
    assert torch.isfinite(total)
    assert all(torch.isfinite(value) for value in parts.values())
    total.backward()
    return {name: parameter.grad for name, parameter in task.model.named_parameters()}


def test_the_losses_reach_every_weight(
    people: PeopleTask, bodies: BodyTask, frames: FrameBatch, crops: CropBatch
) -> None:
    """DDP waits for the gradient of each, also where a batch shows nobody."""
    for task, batch, empty in (
        (people, frames, dataclasses.replace(frames, person=np.full_like(frames.person, -1))),
        (bodies, crops, nobody(crops)),
    ):
        seen = gradients(task, task.tensors(batch, False))  # type: ignore[arg-type]
        assert [name for name, value in seen.items() if value is None or not value.abs().max() > 0] == []
        unseen = gradients(task, task.tensors(empty, False))  # type: ignore[arg-type]
        assert [name for name, value in unseen.items() if value is None or not torch.isfinite(value).all()] == []


def test_losses_fall_on_a_tiny_problem(
    people: PeopleTask, bodies: BodyTask, frames: FrameBatch, crops: CropBatch
) -> None:
    for task, batch in ((people, frames), (bodies, crops)):
        tensors = task.tensors(batch, False)  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
        task.model.train()
        history: list[dict[str, float]] = []
        for step in range(25):
            total, parts = task.loss(task.model, tensors, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            history.append({name: float(value) for name, value in parts.items()} | {"loss": float(total.detach())})
        falls = {name: (first, history[-1][name]) for name, first in history[0].items()}
        lazy = {name: fall for name, fall in falls.items() if not fall[1] < fall[0]}
        assert lazy.keys() <= {"betas"}, falls  # weighs next to nothing, and few steps say nothing about shape
        assert falls["loss"][1] < 0.7 * falls["loss"][0]


def test_the_loss_of_a_batch_is_a_function_of_the_generator_s_seed(bodies: BodyTask, crops: CropBatch) -> None:
    tensors = bodies.tensors(crops, False)
    bodies.model.eval()
    with torch.no_grad():
        totals = [float(bodies.loss(bodies.model, tensors, torch.Generator().manual_seed(k))[0]) for k in (1, 1, 2)]
    assert totals[0] == totals[1] != totals[2]


def test_what_people_net_learns_are_the_joints_of_whom_it_sees(people: PeopleTask, frames: FrameBatch) -> None:
    """Vote plus place is the joint, in the camera frame; the place is that of the input pixel."""
    tensors = people.tensors(frames, False)
    for k in range(len(frames.depth)):
        fx, fy, cx, cy = (float(c) for c in frames.cameras[k])
        points = depth_to_points(frames.depth[k], CameraIntrinsics(160, 120, fx, fy, cx, cy))[::2, ::2]
        rows, columns = np.nonzero(tensors["foreground"][k].numpy())
        person = frames.person[k, ::2, ::2][rows, columns]
        assert (person >= 0).all()
        votes = tensors["votes"][k].numpy()[:, rows, columns].T.reshape(-1, 2, 3)
        aimed = points[rows, columns][:, None] + votes
        np.testing.assert_allclose(aimed, frames.joints[k][person][:, [0, 9]], atol=2e-4)
        shown = (frames.person[k, ::2, ::2] >= 0) & (frames.depth[k, ::2, ::2] > 0)
        assert np.array_equal(shown, tensors["foreground"][k].numpy())


class Says(torch.nn.Module):
    """Whatever it is asked."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, image: torch.Tensor) -> object:
        return self.answer


def test_validation_of_people_net_is_exact(people: PeopleTask, frames: FrameBatch) -> None:
    tensors = people.tensors(frames, False)
    truth = torch.zeros(4, 8, 60, 80)
    truth[:, 0] = torch.where(tensors["foreground"], 5.0, -5.0)
    truth[:, 1:7] = tensors["votes"]
    people.__dict__["_validation"] = [tensors]
    try:
        assert people.evaluate(Says(truth)) == {"score": 1.0, "foreground_iou": 1.0, "pelvis": 0.0, "chest": 0.0}
        wrong = truth.clone()
        wrong[:, 4] += 0.1  # chest, x
        wrong[0, 0] = -5.0
        figures = people.evaluate(Says(wrong))
        share = tensors["foreground"].sum((1, 2)).double()
        assert figures["foreground_iou"] == pytest.approx(float(share[1:].sum() / share.sum()))
        assert (figures["pelvis"], figures["chest"]) == (0.0, pytest.approx(0.1, abs=1e-6))
    finally:
        del people.__dict__["_validation"]


def test_validation_of_body_net_is_exact(bodies: BodyTask, crops: CropBatch) -> None:
    tensors = bodies.tensors(crops, False)
    network = BodyNet(BodyNetConfig(backbone=SMALL)).eval()
    with torch.no_grad():
        output = network(tensors["image"])
    part = torch.nn.functional.one_hot(tensors["part"].clamp(max=23), 24).permute(0, 3, 1, 2).float()
    rotations = global_rotations(rotvec_to_matrix(tensors["pose"]))
    truth = dataclasses.replace(
        output,
        mask=torch.where(tensors["mask"], 5.0, -5.0),
        parts=part,
        points=torch.cat([tensors["joints"], output.points[:, 24:]], 1),
        rotations=torch.cat([rotations[..., 0], rotations[..., 1]], -1),
        betas=tensors["betas"],
        root=tensors["joints"][:, 0],
    )
    wrapped = torch.nn.Module()
    wrapped.network = Says(truth)
    bodies.__dict__["_validation"] = [tensors]
    try:
        figures = bodies.evaluate(wrapped)
        assert (figures["mask_iou"], figures["part_accuracy"]) == (1.0, 1.0)
        for name in ("vote_mpjpe", "smpl_mpjpe", "pelvis"):
            assert figures[name] == pytest.approx(0.0, abs=1e-5), name
        wrapped.network.answer = dataclasses.replace(truth, root=truth.root + 0.1)
        figures = bodies.evaluate(wrapped)
        assert figures["pelvis"] == pytest.approx(0.1 * 3**0.5, rel=1e-4)
        assert figures["smpl_mpjpe"] == pytest.approx(0.0, abs=1e-5), "relative to the root"
    finally:
        del bodies.__dict__["_validation"]


def test_the_mirror_of_the_mirror_is_the_original(frames: FrameBatch, crops: CropBatch, body: BodyModel) -> None:
    for batch, mirror in ((frames, mirror_frames), (crops, mirror_crops)):
        once = mirror(batch, body)  # type: ignore[operator]
        twice = mirror(once, body)
        for field in fields(batch):
            original, there, back = (getattr(b, field.name) for b in (batch, once, twice))
            assert there.dtype == original.dtype, field.name
            np.testing.assert_allclose(back, original, atol=1e-5, err_msg=field.name)
            if field.name not in ("count", "betas", "visibility", "present", "view"):
                assert not np.array_equal(there, original), field.name


def test_bodies_in_the_mirror_are_mirror_images(frames: FrameBatch, crops: CropBatch, body: BodyModel) -> None:
    """Parameters, joints and labels of the mirrored batch are those of the mirrored surface."""
    here, there = crops, mirror_crops(crops, body)
    surface, _ = pose_bodies(body, here.betas, here.pose, here.trans)
    mirrored, mirrored_joints = pose_bodies(body, there.betas, there.pose, there.trans)
    real = here.present
    np.testing.assert_allclose(mirrored[real], (surface * MIRROR)[real][:, body.mirror_vertices], atol=2e-4)
    np.testing.assert_allclose(mirrored_joints[real], there.joints[real], atol=2e-4)
    np.testing.assert_allclose(there.joints, here.joints[:, MIRROR_JOINTS] * MIRROR, atol=1e-6)
    np.testing.assert_array_equal(there.points, here.points[..., ::-1] * np.array([-1, 1, 1, 1]).reshape(1, 4, 1, 1))
    in_camera, in_mirror = (
        np.einsum("nji,nkj->nki", batch.rotation, batch.joints) + batch.centre[:, None] for batch in (here, there)
    )
    np.testing.assert_allclose(in_mirror, in_camera[:, MIRROR_JOINTS] * MIRROR, atol=1e-4)

    parts = vertex_parts(body)
    for batch in (there, mirror_frames(frames, body)):
        shown = batch.vertex >= 0
        assert shown.any()
        np.testing.assert_array_equal(parts[batch.vertex[shown]], batch.part[shown])
        assert (batch.part[~shown] == 255).all()
        off = np.linalg.norm(body.v_template[batch.vertex[shown]] - batch.canonical[shown], axis=-1)
        assert np.median(off) < 0.01, "the labelled vertex is near the labelled place"


def test_frames_in_the_mirror_are_seen_by_the_mirrored_camera(frames: FrameBatch, body: BodyModel) -> None:
    there = mirror_frames(frames, body)
    for k in range(len(frames.depth)):
        points = [
            depth_to_points(batch.depth[k], CameraIntrinsics(160, 120, *(float(c) for c in batch.cameras[k])))
            for batch in (frames, there)
        ]
        np.testing.assert_allclose(points[1], points[0][:, ::-1] * MIRROR, atol=1e-4)
    np.testing.assert_allclose(there.joints, frames.joints[:, :, MIRROR_JOINTS] * MIRROR)
    np.testing.assert_array_equal(there.person, frames.person[..., ::-1])


@settings(max_examples=50, deadline=None)
@given(columns=arrays.arrays(np.float64, (4, 6), elements=st.floats(-5.0, 5.0)))
def test_six_numbers_are_a_rotation(columns: np.ndarray) -> None:
    first, second = columns[:, :3], columns[:, 3:]
    area = np.linalg.norm(np.cross(first, second), axis=1)
    columns = columns[area > 1e-3 * (1 + np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))]
    matrices = matrix_from_6d(torch.from_numpy(columns)).numpy()
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (len(columns), 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-9)
    longer = columns * np.array([3.0, 3.0, 3.0, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(matrix_from_6d(torch.from_numpy(longer)).numpy(), matrices, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(rotvecs=ROTVECS)
def test_the_first_two_columns_of_a_rotation_are_that_rotation(rotvecs: np.ndarray) -> None:
    matrices = Rotation.from_rotvec(rotvecs).as_matrix()
    columns = np.concatenate([matrices[..., 0], matrices[..., 1]], -1)
    np.testing.assert_allclose(matrix_from_6d(torch.from_numpy(columns)).numpy(), matrices, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(rotvecs=ROTVECS)
def test_rotations_against_the_frame_and_against_the_parent(rotvecs: np.ndarray) -> None:
    local = Rotation.from_rotvec(rotvecs)
    chained: list[Rotation] = []
    for joint, parent in enumerate(PARENTS):
        chained.append(local[joint] if parent < 0 else chained[parent] * local[joint])
    expected = np.stack([rotation.as_matrix() for rotation in chained])
    given_local = torch.from_numpy(local.as_matrix())[None]
    np.testing.assert_allclose(global_rotations(given_local)[0].numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(
        local_rotations(torch.from_numpy(expected)[None])[0].numpy(), local.as_matrix(), atol=1e-9
    )


def random_bodies(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(count, 10)), rng.normal(0, 0.4, (count, 24, 3)), rng.normal(size=(count, 3))


def test_some_vertices_of_a_layer_are_those_of_the_whole(body: BodyModel) -> None:
    betas, pose, trans = (torch.from_numpy(x) for x in random_bodies(3))
    some = np.random.default_rng(1).choice(body.vertex_count, 40, replace=False)
    whole, joints = BodyLayer(body, dtype=torch.float64)(betas, pose, trans)
    part, its_joints = BodyLayer(body, dtype=torch.float64, vertices=some)(betas, pose, trans)
    torch.testing.assert_close(part, whole[:, some], atol=1e-12, rtol=0)
    torch.testing.assert_close(its_joints, joints, atol=1e-12, rtol=0)


def test_a_body_from_rotations_against_the_frame_and_its_pelvis(body: BodyModel) -> None:
    betas, pose, trans = random_bodies(3)
    vertices, joints = pose_bodies(body, betas, pose, trans)
    rotations = global_rotations(rotvec_to_matrix(torch.from_numpy(pose)))
    layer = BodyLayer(body, dtype=torch.float64)
    mine, its_joints = posed(layer, rotations, torch.from_numpy(betas), torch.from_numpy(joints[:, 0]).double())
    np.testing.assert_allclose(its_joints.numpy(), joints, atol=2e-5)
    np.testing.assert_allclose(mine.numpy(), vertices, atol=2e-5)
