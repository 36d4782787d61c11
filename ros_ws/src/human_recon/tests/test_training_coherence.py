"""The coherence losses of BodyNet: exact distances, gradients against differences, who is moved where."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from human_recon.body.lbs_torch import rotvec_to_matrix
from human_recon.body.model import default_body_model
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import rasterize_reference
from human_recon.geometry.signed_distance import penetration
from human_recon.perception.crops import WINDOW, CropCamera
from human_recon.simulation.assets import Assets
from human_recon.simulation.outfit import bare_outfit
from human_recon.simulation.stream import CROP_WORLD, CropBatch, CropMaker, StreamConfig
from training.body_net import ablate_coherence, task
from training.body_net.ablate_coherence import AblationConfig
from training.body_net.coherence import ROBUST_SCALE, Coherence, Crowd, geman_mcclure
from training.body_net.coherence_metrics import METRICS, CoherenceFigures
from training.body_net.distance_fields import ExactField, GridField
from training.body_net.network import BodyNet, BodyNetConfig, BodyNetOutput
from training.body_net.rotations import global_rotations
from training.body_net.task import BodyTask, BodyTaskConfig
from training.loop.checkpoint import Checkpoint
from training.loop.mirror import mirror_crops
from training.loop.task import Tensors
from training.networks.backbone import BackboneConfig

BOX = trimesh.creation.box(extents=(2.0, 1.0, 0.5))
HALF = np.array([1.0, 0.5, 0.25])
SIDE = 64  # pixels of a mask
NOTHING = Assets()


@pytest.fixture(scope="module")
def coherence() -> Coherence:
    """The losses on the open body."""
    return Coherence(default_body_model())


@pytest.fixture(scope="module")
def batch() -> CropBatch:
    """Thirty crops, some of them of nobody, many of people who are not alone."""
    world = dataclasses.replace(CROP_WORLD, scene=dataclasses.replace(CROP_WORLD.scene, people=(0, 0, 0, 0.5, 0.5)))
    config = StreamConfig(seed=2, batch=30, views=2, world=world, false_crops=0.3)
    return CropMaker(config, NOTHING).open().make(0)


def tensors_of(batch: CropBatch) -> Tensors:
    """What the losses read."""
    names = ("betas", "pose", "trans", "joints", "visibility", "present", "view", "centre", "rotation")
    tensors = {name: torch.from_numpy(np.ascontiguousarray(getattr(batch, name))) for name in names}
    return tensors | {"mask": torch.from_numpy(np.ascontiguousarray(batch.mask[:, ::2, ::2]))}


def true_output(batch: CropBatch) -> BodyNetOutput:
    """A network that is always right."""
    rotations = global_rotations(rotvec_to_matrix(torch.from_numpy(batch.pose)))
    nothing = torch.zeros(0)
    return BodyNetOutput(
        mask=nothing,
        parts=nothing,
        descriptor=nothing,
        points=nothing,
        points_log_scale=nothing,
        rotations=torch.cat([rotations[..., 0], rotations[..., 1]], dim=-1),
        betas=torch.from_numpy(batch.betas.copy()),
        root=torch.from_numpy(batch.joints[:, 0].copy()),
        joints_log_scale=nothing,
    )


Places = list[tuple[float, float, float]]


def standing(
    pelvises: Places, view: list[int] | None = None, true: Places | None = None
) -> tuple[BodyNetOutput, Tensors]:
    """People who stand with their arms hanging, facing the camera, their pelvises at given places in its frame.

    They should be at ``true``; each one's crop is turned to the middle of the body there. Nobody is seen anywhere:
    fill in "mask".
    """
    true = true or pelvises
    count = len(pelvises)
    pose = torch.zeros(count, 24, 3)
    pose[:, 16, 2], pose[:, 17, 2] = -1.3, 1.3  # shoulders
    cameras = [CropCamera.towards(np.array(pelvis) - [0.0, 0.1, 0.0]) for pelvis in true]
    turn = torch.from_numpy(np.stack([camera.rotation for camera in cameras])).float()
    # SMPL's y up, face +z -> camera's y down, facing it
    pose[:, 0] = torch.from_numpy(Rotation.from_matrix(turn.numpy() @ np.diag([1.0, -1.0, -1.0])).as_rotvec())
    rotations = global_rotations(rotvec_to_matrix(pose))
    places = [
        np.stack([camera.to_crop(np.array(place)) for camera, place in zip(cameras, some, strict=True)]).astype(
            np.float32
        )
        for some in (pelvises, true)
    ]
    nothing = torch.zeros(0)
    output = BodyNetOutput(
        mask=nothing,
        parts=nothing,
        descriptor=nothing,
        points=nothing,
        points_log_scale=nothing,
        rotations=torch.cat([rotations[..., 0], rotations[..., 1]], dim=-1),
        betas=torch.zeros(count, 10),
        root=torch.from_numpy(places[0]),
        joints_log_scale=nothing,
    )
    return output, {
        "present": torch.ones(count, dtype=torch.bool),
        "view": torch.tensor(view or [0] * count),
        "centre": torch.from_numpy(np.stack([camera.centre for camera in cameras])).float(),
        "rotation": turn,
        "betas": torch.zeros(count, 10),
        "pose": pose,
        "trans": torch.from_numpy(places[1] - default_body_model().j_template[0]),
        "mask": torch.zeros(count, SIDE, SIDE, dtype=torch.bool),
    }


def crowd_of(coherence: Coherence, output: BodyNetOutput, tensors: Tensors) -> Crowd:
    return coherence.crowd(output.rotations, output.betas, output.root, tensors)


def moving(output: BodyNetOutput) -> BodyNetOutput:
    """The same, with gradients."""
    wanted = {name: getattr(output, name).clone().requires_grad_() for name in ("rotations", "betas", "root")}
    return dataclasses.replace(output, **wanted)


# Distance fields


inside_box = st.tuples(st.floats(-0.999, 0.999), st.floats(-0.499, 0.499), st.floats(-0.249, 0.249))


@settings(max_examples=100, deadline=None)
@given(inside_box)
def test_exact_field_of_a_box_is_the_distance_to_its_nearest_side(place: tuple[float, float, float]) -> None:
    field = ExactField(BOX.vertices, BOX.faces)
    point = torch.tensor([place], dtype=torch.float64, requires_grad=True)
    depth = field(point)
    gaps = np.concatenate([HALF - place, HALF + place])  # to the sides
    assert depth.item() == pytest.approx(gaps.min(), abs=1e-9)
    depth.sum().backward()
    if np.diff(np.sort(gaps))[0] > 1e-6:  # one of them is nearest
        expected = np.concatenate([-np.eye(3), np.eye(3)])[gaps.argmin()]
        assert point.grad is not None
        np.testing.assert_allclose(point.grad.numpy()[0], expected, atol=1e-6)


def test_fields_are_zero_outside_and_flat_there() -> None:
    outside = torch.tensor([[1.1, 0.0, 0.0], [0.0, -0.6, 0.1], [5.0, 5.0, 5.0]], dtype=torch.float64)
    for field in (ExactField(BOX.vertices, BOX.faces), GridField(BOX.vertices, BOX.faces, nodes=9)):
        points = outside.clone().requires_grad_()
        depth = field(points)
        assert (depth == 0).all()
        depth.sum().backward()
        assert (points.grad == 0).all()


def test_exact_field_of_a_body_agrees_with_the_distance_to_all_its_triangles(coherence: Coherence) -> None:
    output, tensors = standing([(0.0, 0.0, 3.0), (0.2, 0.02, 3.1)])
    body, other = crowd_of(coherence, output, tensors).vertices.double().numpy()
    inside, depth, _ = penetration(other, body, coherence.faces)
    assert len(inside) > 50
    expected = np.zeros(len(other))
    expected[inside] = depth
    np.testing.assert_allclose(ExactField(body, coherence.faces)(torch.from_numpy(other)), expected, atol=1e-9)


def test_exact_field_has_the_gradient_of_differences(coherence: Coherence) -> None:
    output, tensors = standing([(0.0, 0.0, 3.0), (0.25, 0.02, 3.1)])
    body, other = crowd_of(coherence, output, tensors).vertices.double().numpy()
    inside, depth, _ = penetration(other, body, coherence.faces)
    points = torch.from_numpy(other[inside[depth > 1e-3]][::7]).requires_grad_()
    assert torch.autograd.gradcheck(ExactField(body, coherence.faces), points, eps=1e-7, atol=1e-4)


def test_grid_field_nears_the_exact_one_as_it_is_refined() -> None:
    points = torch.from_numpy(np.random.default_rng(0).uniform(-HALF, HALF, (500, 3)))
    exact = ExactField(BOX.vertices, BOX.faces)(points)
    errors = [float((GridField(BOX.vertices, BOX.faces, n)(points) - exact).abs().max()) for n in (5, 17, 33)]
    cells = [2.02 / (n - 1) * math.sqrt(3) for n in (5, 17, 33)]
    assert all(error < cell for error, cell in zip(errors, cells, strict=True))
    assert errors[0] > 2 * errors[1] > 2 * errors[2]


def test_grid_field_has_the_gradient_of_differences() -> None:
    field = GridField(BOX.vertices, BOX.faces, nodes=9)
    points = torch.from_numpy(np.random.default_rng(1).uniform(-0.9 * HALF, 0.9 * HALF, (20, 3))).requires_grad_()
    assert torch.autograd.gradcheck(field, points, eps=1e-7, atol=1e-5)


# Interpenetration


@given(st.floats(1e-6, 1e3), st.floats(1e-4, 10.0))
def test_robustifier_grows_like_a_square_and_ends_at_one(error: float, scale: float) -> None:
    value = geman_mcclure(torch.tensor(error, dtype=torch.float64), scale).item()
    assert 0.0 <= value <= 1.0
    assert geman_mcclure(torch.tensor(scale, dtype=torch.float64), scale).item() == pytest.approx(0.5)
    if error < 1e-3 * scale:
        assert value == pytest.approx((error / scale) ** 2, rel=1e-4)
    if error > 1e3 * scale:
        assert value == pytest.approx(1.0, abs=1e-5)


def test_robustifier_does_not_let_heavy_collisions_rule() -> None:
    error = torch.tensor([0.1, 1.0, 100.0], requires_grad=True)
    geman_mcclure(error, 1.0).sum().backward()
    assert error.grad is not None
    assert error.grad[1] > error.grad[0] > 100 * error.grad[2]


def test_interpenetration_is_the_robust_mean_depth_of_everybodys_skin(coherence: Coherence) -> None:
    """Equations 5.2 and 5.3 for three people in a row, from exact distances; the one in the middle is in both."""
    output, tensors = standing([(-0.3, 0.0, 3.0), (0.0, 0.0, 3.0), (0.3, 0.0, 3.0), (2.0, 0.0, 3.0)])
    crowd = crowd_of(coherence, output, tensors)
    bodies = crowd.vertices.double().numpy()
    corners = bare_outfit(default_body_model(), "light").vertices[coherence.faces].astype(float)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = np.zeros(len(bodies[0]))
    np.add.at(share, coherence.faces, area[:, None] / area.sum() / 3)
    expected = 0.0
    for j in range(4):
        total = 0.0
        for i in range(4):
            if i != j:
                inside, depth, _ = penetration(bodies[j], bodies[i], coherence.faces)
                total += share[inside] @ depth
        expected += (total / ROBUST_SCALE) ** 2 / (1 + (total / ROBUST_SCALE) ** 2) / 4
    assert 0.01 < expected < 1
    assert coherence.interpenetration(crowd).item() == pytest.approx(expected, rel=1e-4)


def test_a_step_down_the_gradient_parts_people(coherence: Coherence) -> None:
    output, tensors = standing([(-0.24, 0.0, 3.0), (0.24, 0.0, 3.0)])
    depths = []
    for _ in range(6):
        output = moving(output)
        loss = coherence.losses(output, tensors)["interpenetration"]
        depths.append(loss.item())
        loss.backward()
        assert output.root.grad is not None
        step = -0.01 * torch.nn.functional.normalize(output.root.grad, dim=-1)
        output = dataclasses.replace(output, root=(output.root + step).detach())
    assert 0 < depths[-1] < 0.25 * depths[0]


def test_interpenetration_reaches_the_whole_body_of_both(coherence: Coherence) -> None:
    output, tensors = standing([(-0.17, 0.0, 3.0), (0.17, 0.0, 3.0)])
    output = moving(output)
    coherence.losses(output, tensors)["interpenetration"].backward()
    for value in (output.rotations, output.betas, output.root):
        assert value.grad is not None and torch.isfinite(value.grad).all()
        assert (value.grad.flatten(1).norm(dim=1) > 0).all()
    left, right = output.root.grad[:, 0]  # type: ignore[index]
    assert left > 0 > right  # minus the gradient drives them apart


def test_gradient_through_the_body_is_that_of_differences(coherence: Coherence) -> None:
    """One person moves, bends and grows in the field of another who stands still."""
    output, tensors = standing([(-0.1, 0.0, 3.0), (0.12, 0.02, 3.05)])
    rotations, betas, root = (x.double() for x in (output.rotations, output.betas, output.root))
    tensors = tensors | {name: tensors[name].double() for name in ("centre", "rotation", "betas", "pose", "trans")}
    field = ExactField(coherence.crowd(rotations, betas, root, tensors).vertices[0].numpy(), coherence.faces)
    share = coherence.share.double()
    generator = torch.Generator().manual_seed(0)
    ways = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in (rotations, betas, root)]

    def depth(step: torch.Tensor) -> torch.Tensor:
        moved = [x + s * way for x, s, way in zip((rotations, betas, root), step, ways, strict=True)]
        return share @ field(coherence.crowd(*moved, tensors).vertices[1])

    step = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(depth(step), step)
    for k in range(3):
        small = torch.zeros(3, dtype=torch.float64)
        small[k] = 1e-5
        with torch.no_grad():
            difference = (depth(small) - depth(-small)) / 2e-5
        assert gradient[k].item() == pytest.approx(difference.item(), rel=2e-3)
        assert abs(difference.item()) > 1e-5


def test_people_of_different_images_are_not_in_each_others_way(coherence: Coherence) -> None:
    output, tensors = standing([(0.0, 0.0, 3.0), (0.1, 0.0, 3.1)], view=[0, 1])
    tensors["mask"][:] = True
    assert all(loss == 0 for loss in coherence.losses(output, tensors).values())


def test_nobody_is_in_the_way_of_what_was_taken_for_a_person(coherence: Coherence) -> None:
    output, tensors = standing([(0.0, 0.0, 3.0), (0.1, 0.0, 3.1), (3.0, 0.0, 4.0)])
    tensors["mask"][:] = True
    tensors["present"] = torch.tensor([True, False, True])
    output = moving(output)
    losses = coherence.losses(output, tensors)
    assert losses["interpenetration"] == 0 and losses["depth_order"] == 0


# Depth order


def behind_each_other(coherence: Coherence) -> tuple[BodyNetOutput, Tensors]:
    """Two people, the first in front of the second and all of the first in the image; predicted the other way round."""
    output, tensors = standing([(0.05, 0.0, 3.4), (-0.05, 0.0, 2.8)], true=[(0.05, 0.0, 2.8), (-0.05, 0.0, 3.4)])
    crowd = crowd_of(coherence, output, tensors)
    bodies = crowd.vertices.double().numpy() @ crowd.rotation[0].double().numpy().T
    tensors["mask"][0] = torch.from_numpy(
        rasterize_reference(bodies[:1], coherence.faces, mask_camera(tensors, 0)).face >= 0
    )
    return output, tensors


def mask_camera(tensors: Tensors, crop: int) -> CameraIntrinsics:
    """Whose pixel j is pixel 2 j of a crop of 128 pixels, principal point 63.5."""
    focal = 0.5 * 128 * float(torch.linalg.norm(tensors["centre"][crop].double())) / WINDOW
    return CameraIntrinsics(SIDE, SIDE, focal, focal, 31.75, 31.75)


def test_order_loss_is_that_of_separately_rendered_depths(coherence: Coherence) -> None:
    """Equation 5.4 by a ray caster, one person at a time; what is hidden by the true bodies, too."""
    output, tensors = behind_each_other(coherence)
    tensors["mask"][1, 20:40, 25:45] = True  # the second is claimed to be seen in a square
    crowd = crowd_of(coherence, output, tensors)
    expected, pixels = np.zeros(2), np.zeros(2, int)  # of the pixels that are out of order, of the seed's
    for k in range(2):
        turn, camera = crowd.rotation[k].double().numpy(), mask_camera(tensors, k)
        bodies, truth = (x.double().numpy() @ turn.T for x in (crowd.vertices, crowd.truth))
        depth = np.stack([rasterize_reference(body[None], coherence.faces, camera).depth for body in bodies])
        there = rasterize_reference(truth[1 - k : 2 - k], coherence.faces, camera).depth > 0
        seed = (depth > 0).all(0) & crowd.mask[k] & (depth[1 - k] < depth[k])
        for row, wrong in enumerate((seed & there, seed)):
            expected[row] += np.log1p(np.exp((depth[k] - depth[1 - k])[wrong])).sum()
            pixels[row] += int(wrong.sum())
    assert 100 < pixels[0] < pixels[1] - 10
    disputed = coherence.disputed(crowd)
    found = [len(coherence.misplaced(crowd, disputed).person), len(disputed.person)]
    np.testing.assert_allclose(found, pixels, atol=3)  # silhouettes may differ by a pixel
    losses = [coherence.depth_order(crowd, outlines).item() for outlines in (False, True)]
    np.testing.assert_allclose(losses, expected / int(tensors["mask"].sum()), rtol=0.01)


def test_wrong_outlines_are_no_wrong_order(coherence: Coherence) -> None:
    """The one in front leans over pixels of the one behind, who is behind all the same."""
    output, tensors = standing([(0.05, 0.0, 2.8), (0.0, 0.0, 3.4)], true=[(1.05, 0.0, 2.8), (0.0, 0.0, 3.4)])
    tensors["mask"][1] = True
    crowd = crowd_of(coherence, output, tensors)
    assert coherence.depth_order(crowd, outlines=True) > 0
    assert coherence.depth_order(crowd) == 0


def test_order_loss_moves_both_people(coherence: Coherence) -> None:
    """The hidden one, who gets no gradient from an ordinary renderer, comes nearer; the one in front goes back."""
    output, tensors = behind_each_other(coherence)
    output = moving(output)
    coherence.losses(output, tensors)["depth_order"].backward()
    assert output.root.grad is not None
    hidden, shown = output.root.grad[:, 2]
    assert hidden > 0 > shown
    assert hidden.item() == pytest.approx(-shown.item(), rel=0.05)
    for value in (output.rotations, output.betas):
        assert value.grad is not None and (value.grad.flatten(1).norm(dim=1) > 0).all()


def test_order_loss_has_the_gradient_of_differences_along_the_lines_of_sight(coherence: Coherence) -> None:
    """Growing about the eye changes no pixel, so that the loss rendered again is the loss differentiated."""
    output, tensors = behind_each_other(coherence)
    crowd = crowd_of(coherence, output, tensors)
    vertices, truth, turn = crowd.vertices.double(), crowd.truth.double(), crowd.rotation.double()

    def loss(scale: torch.Tensor) -> torch.Tensor:
        return coherence.depth_order(
            dataclasses.replace(crowd, vertices=vertices * scale[:, None, None], truth=truth, rotation=turn)
        )

    scale = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(scale), scale)
    for k in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[k] = 1e-4
        with torch.no_grad():
            one = torch.ones(2, dtype=torch.float64)
            difference = (loss(one + step) - loss(one - step)) / 2e-4
        assert gradient[k].item() == pytest.approx(difference.item(), rel=1e-4)


def test_the_right_order_costs_nothing(coherence: Coherence) -> None:
    output, tensors = standing([(0.05, 0.0, 2.8), (-0.05, 0.0, 3.4)])
    tensors["mask"][0] = True  # wherever the first is drawn, it is in front
    assert coherence.losses(output, tensors)["depth_order"] == 0


# On the stream


def test_true_bodies_are_coherent(coherence: Coherence, batch: CropBatch) -> None:
    tensors = tensors_of(batch)
    output = true_output(batch)
    crowd = crowd_of(coherence, output, tensors)
    assert len(crowd.view) >= 20 and len(crowd.view) < len(batch.view)
    assert coherence.interpenetration(crowd) < 1e-3
    assert len(coherence.disputed(crowd).person) < 0.005 * crowd.mask.sum()


def test_bodies_are_drawn_where_the_crops_show_them(coherence: Coherence, batch: CropBatch) -> None:
    """Moving the drawing by a pixel in any direction makes it agree less with the masks."""
    tensors = tensors_of(batch)
    crowd = crowd_of(coherence, true_output(batch), tensors)
    everybody, _ = coherence._rendered(crowd)
    drawn = everybody.object == np.arange(len(crowd.mask))[:, None, None]

    def overlap(down: int, right: int) -> float:
        moved = np.roll(drawn, (down, right), (1, 2))
        return float((moved & crowd.mask).sum() / (moved | crowd.mask).sum())

    assert all(overlap(0, 0) > overlap(*way) + 0.005 for way in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_the_mirror_changes_no_loss(coherence: Coherence, batch: CropBatch) -> None:
    rng = np.random.default_rng(0)
    shift = rng.normal(0.0, 0.1, batch.trans.shape).astype(np.float32)
    moved = dataclasses.replace(batch, trans=batch.trans + shift, joints=batch.joints + shift[:, None])
    losses = [
        coherence.losses(true_output(b), tensors_of(b)) for b in (moved, mirror_crops(moved, default_body_model()))
    ]
    assert losses[0]["interpenetration"] > 1e-3 and losses[0]["depth_order"] > 1e-3
    assert losses[1]["interpenetration"].item() == pytest.approx(losses[0]["interpenetration"].item(), rel=0.01)
    # Other pixels: of the mirrored crop every second one is taken, too.
    assert losses[1]["depth_order"].item() == pytest.approx(losses[0]["depth_order"].item(), rel=0.1)


# In the training


@pytest.fixture(scope="module")
def quick_tasks() -> dict[str, BodyTask]:
    """BodyNet's task without and with the losses, on a tiny network, without the slow tables of its descriptors."""
    network = BodyNetConfig(BackboneConfig(channels=(32, 32, 32, 32, 32), blocks=(1, 1, 1, 1), width=32), 32, 16)
    config = BodyTaskConfig(network=network, segmentations=2, segmentations_per_step=1, pixels_per_step=50)
    vertices = default_body_model().vertex_count

    def near(_: object) -> np.ndarray:
        return np.full((vertices, vertices), 1000, np.uint16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "geodesic_distances", near)
        patch.setattr(task, "smooth_embedding", lambda *_: np.ones((vertices, 16), np.float32))
        torch.manual_seed(0)
        plain = BodyTask(config, NOTHING)
        asked = BodyTask(dataclasses.replace(config, interpenetration=2.0, depth_order=30.0), NOTHING)
    asked.model.load_state_dict(plain.model.state_dict())
    return {"plain": plain, "asked": asked}


def test_the_task_adds_the_losses_when_asked(quick_tasks: dict[str, BodyTask], batch: CropBatch) -> None:
    results = {}
    for name, one in quick_tasks.items():
        tensors = one.tensors(batch, mirrored=False)
        one.model.zero_grad()
        one.model.train()
        total, parts = one.loss(one.model, tensors, torch.Generator().manual_seed(0))
        total.backward()
        results[name] = total.item(), parts
    plain, asked = results["plain"], results["asked"]
    assert set(asked[1]) - set(plain[1]) == {"interpenetration", "depth_order"}
    added = 2.0 * asked[1]["interpenetration"] + 30.0 * asked[1]["depth_order"]
    assert added > 0
    assert asked[0] == pytest.approx(plain[0] + added.item(), rel=1e-5)
    gradients = [one.model.network.body.last.weight.grad for one in quick_tasks.values()]
    assert not torch.allclose(*gradients)


def test_the_losses_are_computed_in_full_precision(coherence: Coherence, batch: CropBatch) -> None:
    """Autocast would round bodies to millimetres."""
    output, tensors = true_output(batch), tensors_of(batch)
    output = dataclasses.replace(output, root=output.root + 0.1 * torch.randn(output.root.shape))
    plain = coherence.losses(output, tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = coherence.losses(output, tensors)
    assert plain["depth_order"] > 0
    assert {name: value.item() for name, value in plain.items()} == {k: v.item() for k, v in cast.items()}


# The ablation


def two_boxes(gap: float) -> np.ndarray:
    """Boxes of edge 1 side by side; a negative gap: that far in each other. A corner of each lies inside the other."""
    box = trimesh.creation.box(extents=(1.0, 1.0, 1.0)).vertices
    return np.stack([box, box + np.array([1.0 + gap, 0.5, 0.5])])


def test_figures_of_hand_made_images() -> None:
    faces = trimesh.creation.box(extents=(1.0, 1.0, 1.0)).faces
    truth = np.zeros((2, 24, 3))
    truth[:, :, 2] = np.array([2.0, 3.0])[:, None]
    joints = truth.copy()
    joints[0, 1:12, 0] += 0.2  # 11 of 23 joints too far off
    swapped = joints[::-1].copy()  # the wrong way round, and 1 m from where they are
    figures = CoherenceFigures()
    figures.add_image(two_boxes(-0.04), faces, joints, truth, np.array([1.0, 0.2]), (10, 2, 100))
    figures.add_image(two_boxes(0.5), faces, swapped, truth, np.array([1.0, 1.0]), (50, 4, 100))
    values = figures.values()
    assert set(values) == set(METRICS)
    assert values["collisions"] == pytest.approx(50.0)
    assert values["penetration_mm"] == pytest.approx(40.0)
    assert values["penetration_per_image_mm"] == pytest.approx(20.0)
    assert values["depth_order"] == pytest.approx(50.0)
    assert values["pixel_order"] == pytest.approx(70.0)
    assert values["misplaced"] == pytest.approx(300.0)
    assert values["pck_matched"] == pytest.approx(100 * (12 + 23) / 46)
    assert values["pck_all"] == pytest.approx(100 * (12 + 23) / 92)
    assert values["mpjpe_mm"] == pytest.approx(1000 * (0.2 * 11 / 23 * 2) / 3)
    assert values["pelvis_mm"] == pytest.approx(1000 * 2.0 / 3)


def test_intervals_of_differences() -> None:
    faces = trimesh.creation.box(extents=(1.0, 1.0, 1.0)).faces
    truth = np.zeros((2, 24, 3))
    truth[:, :, 2] = np.array([2.0, 3.0])[:, None]
    rng = np.random.default_rng(0)
    near, far = CoherenceFigures(), CoherenceFigures()
    for _ in range(40):
        noise = rng.normal(0, 0.01, truth.shape)
        near.add_image(two_boxes(0.5), faces, truth + noise, truth, np.ones(2), (0, 0, 1))
        far.add_image(two_boxes(-0.04), faces, truth + 2 * noise, truth, np.ones(2), (0, 0, 1))
    assert all(bounds == (0.0, 0.0) for name, bounds in near.difference(near).items() if name != "penetration_mm")
    difference = far.difference(near)
    assert difference["collisions"] == pytest.approx((100.0, 100.0))
    low, high = difference["mpjpe_mm"]
    assert 0 < low < far.values()["mpjpe_mm"] - near.values()["mpjpe_mm"] < high


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a tiny network that was never trained."""
    torch.manual_seed(0)
    config = BodyNetConfig(BackboneConfig(channels=(32, 32, 32, 32, 32), blocks=(1, 1, 1, 1), width=32), 32, 16)
    weights = {f"network.{name}": value for name, value in BodyNet(config).state_dict().items()}
    weights["ensemble.embedding"] = torch.ones(default_body_model().vertex_count, 16)
    stored = json.dumps({"task": {"network": dataclasses.asdict(config)}})
    Checkpoint(weights, weights, {}, 7, 0.0, 0.0, stored).save(tmp_path / "last.pt")
    return tmp_path / "last.pt"


def test_the_ablation_ends_the_same_when_interrupted(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate_coherence, "SAVE_EVERY", 2)
    monkeypatch.setattr(Assets, "locate", staticmethod(lambda data=None, cache=None: NOTHING))
    options = ["--train-batches", "2", "--test-batches", "1", "--steps", "5", "--crops", "3"]

    def run(name: str) -> dict:
        ablate_coherence.main([str(checkpoint), str(tmp_path / name), "-o", str(tmp_path / f"{name}.json"), *options])
        return json.loads((tmp_path / f"{name}.json").read_text())

    whole = run("whole")
    saves = []
    save = ablate_coherence.save

    def interrupted(content: dict, path: Path) -> None:
        save(content, path)
        saves.append(content["step"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ablate_coherence, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    assert saves == [2]
    (tmp_path / "parts" / "train" / "00001.pt").unlink()  # as if it had been interrupted earlier still
    resumed = run("parts")
    assert resumed["figures"] == whole["figures"]
    assert set(whole["figures"]) == {"truth", "checkpoint", *ablate_coherence.BRANCHES}
    assert whole["figures"]["truth"]["collisions"] == 0 and whole["figures"]["truth"]["pck_all"] == 100
    with pytest.raises(SystemExit):
        ablate_coherence.main(
            [str(checkpoint), str(tmp_path / "parts"), "-o", str(tmp_path / "x.json"), *options, "--steps", "6"]
        )


def test_branches_have_the_losses_that_they_are_named_after() -> None:
    config = AblationConfig(interpenetration=0.5, depth_order=7.0)
    supervised = config.weights("baseline")
    assert set(supervised) == {"rotation", "joint", "landmark", "betas", "spread"}
    assert config.weights("interpenetration") == {**supervised, "interpenetration": 0.5}
    assert config.weights("depth_order") == {**supervised, "depth_order": 7.0}
    assert config.weights("both") == {**supervised, "interpenetration": 0.5, "depth_order": 7.0}
    assert config.weights("depth_order_of_the_seed") == {**supervised, "outlines": 7.0}
