"""Skinning: numba, torch and the smplx package against the plain reference, pose correctives included."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.body.lbs import pose_bodies, pose_body
from human_recon.body.lbs_reference import pose_body_reference
from human_recon.body.model import load_body_model, load_hand_model
from human_recon.body.state import BodyState
from human_recon.resources import model_path

TOLERANCE = 1e-5  # metres


def random_parameters(rng, joints=24, betas=2.0, angle=1.2, reach=3.0):
    """Betas [10], pose [joints, 3] with some joints at rest, trans [3]."""
    pose = rng.normal(size=(joints, 3)) * angle * (rng.random((joints, 1)) < 0.8)
    return rng.normal(size=10) * betas, pose, rng.normal(size=3) * reach


@pytest.fixture(scope="module", params=["open_body_adult", "open_body_all", "open_hand_right", "open_hand_left"])
def model(request):
    load = load_hand_model if "hand" in request.param else load_body_model
    return load(model_path(f"body/{request.param}.npz"))


def test_posed_body_matches_the_reference(model):
    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def check(seed):
        betas, pose, trans = random_parameters(np.random.default_rng(seed), model.joint_count)
        posed = pose_body(model, BodyState(betas, pose, trans))
        vertices, joints = pose_body_reference(model, betas, pose, trans)
        assert np.abs(posed.vertices - vertices).max() < TOLERANCE
        assert np.abs(posed.joints - joints).max() < TOLERANCE

    check()


@pytest.mark.parametrize("parallel", [True, False])
def test_batch_matches_the_reference(model, rng, parallel):
    sets = [random_parameters(rng, model.joint_count) for _ in range(5)]
    betas, pose, trans = (np.stack(values) for values in zip(*sets, strict=True))
    vertices, joints = pose_bodies(model, betas, pose, trans, parallel=parallel)
    for n, parameters in enumerate(sets):
        expected_vertices, expected_joints = pose_body_reference(model, *parameters)
        assert np.abs(vertices[n] - expected_vertices).max() < TOLERANCE
        assert np.abs(joints[n] - expected_joints).max() < TOLERANCE
    empty = pose_bodies(model, betas[:0], pose[:0], trans[:0])
    assert empty[0].shape == (0, model.vertex_count, 3)


def test_dense_correctives_are_applied_too(body, rng):
    """Official models have correctives everywhere, the open body only near each joint."""
    dense = dataclasses.replace(body, posedirs=(0.02 * rng.normal(size=body.posedirs.shape)).astype(np.float32))
    betas, pose, trans = random_parameters(rng)
    posed = pose_body(dense, BodyState(betas, pose, trans))
    vertices, _ = pose_body_reference(dense, betas, pose, trans)
    assert np.abs(posed.vertices - vertices).max() < TOLERANCE
    without = pose_body(body, BodyState(betas, pose, trans))
    assert np.abs(posed.vertices - without.vertices).max() > 1e-2


def test_world_rotations_carry_bones(body, rng):
    """Every bone is its rest vector turned by its parent's world rotation."""
    betas, pose, trans = random_parameters(rng)
    posed = pose_body(body, BodyState(betas, pose, trans))
    rest = body.j_template + body.j_shapedirs @ betas
    for joint in range(1, 24):
        parent = body.parents[joint]
        bone = posed.rotations[parent] @ (rest[joint] - rest[parent])
        assert np.abs(posed.joints[joint] - posed.joints[parent] - bone).max() < TOLERANCE


def test_rest_pose_is_the_template(model):
    still = BodyState(np.zeros(10), np.zeros((model.joint_count, 3)), np.zeros(3))
    posed = pose_body(model, still)
    assert np.abs(posed.vertices - model.v_template).max() < 1e-6
    assert np.abs(posed.joints - model.j_template).max() < 1e-6


def test_turning_the_root_turns_everything_about_the_pelvis(body, rng):
    betas, pose, trans = random_parameters(rng)
    pose[0] = 0.0
    posed = pose_body(body, BodyState(betas, pose, trans))
    pose[0] = [0.0, np.pi / 2, 0.0]
    turned = pose_body(body, BodyState(betas, pose, trans))
    quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    expected = (posed.vertices - posed.joints[0]) @ quarter.T + posed.joints[0]
    assert np.abs(turned.vertices - expected).max() < TOLERANCE


def test_wrong_shapes_are_refused(body):
    with pytest.raises(ValueError, match=r"pose must have shape \[24, 3\], got \[23, 3\]"):
        pose_body(body, BodyState(np.zeros(10), np.zeros((23, 3)), np.zeros(3)))
    with pytest.raises(ValueError, match=r"betas must have shape \[10\], got \[9\]"):
        pose_body(body, BodyState(np.zeros(9), np.zeros((24, 3)), np.zeros(3)))
    with pytest.raises(ValueError, match=r"trans must have shape \[2, 3\]"):
        pose_bodies(body, np.zeros((2, 10)), np.zeros((2, 24, 3)), np.zeros((1, 3)))


def test_posing_one_body_is_fast(body, rng):
    """Well below a millisecond; the bound leaves room for a busy machine."""
    state = BodyState(*random_parameters(rng))
    pose_body(body, state)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        pose_body(body, state)
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3


def test_torch_layer_matches_the_reference(model, rng):
    torch = pytest.importorskip("torch")
    from human_recon.body.lbs_torch import BodyLayer

    sets = [random_parameters(rng, model.joint_count) for _ in range(4)]
    betas, pose, trans = (torch.tensor(np.stack(values), dtype=torch.float32) for values in zip(*sets, strict=True))
    vertices, joints = BodyLayer(model)(betas, pose, trans)
    for n, parameters in enumerate(sets):
        expected_vertices, expected_joints = pose_body_reference(model, *parameters)
        assert np.abs(vertices[n].numpy() - expected_vertices).max() < TOLERANCE
        assert np.abs(joints[n].numpy() - expected_joints).max() < TOLERANCE


def test_torch_gradients_match_finite_differences(rng):
    torch = pytest.importorskip("torch")
    from human_recon.body.lbs_torch import BodyLayer

    layer = BodyLayer(load_hand_model(model_path("body/open_hand_right.npz")), dtype=torch.float64)
    betas, pose, trans = (torch.tensor(x)[None] for x in random_parameters(rng, joints=16))
    pose[0, 3] = 0.0  # the derivative at rest must be finite and right
    weights = torch.tensor(rng.normal(size=(1, 778, 3)))
    inputs = [x.clone().requires_grad_() for x in (betas, pose, trans)]

    def value(betas, pose, trans):
        return (layer(betas, pose, trans)[0] * weights).sum()

    assert torch.autograd.gradcheck(value, inputs, eps=1e-6, atol=1e-5)


def test_torch_layer_takes_rotation_matrices_and_refuses_the_rest(body, rng):
    torch = pytest.importorskip("torch")
    from human_recon.body.lbs_torch import BodyLayer, rotvec_to_matrix

    layer = BodyLayer(body)
    betas, pose, trans = (torch.tensor(x, dtype=torch.float32)[None] for x in random_parameters(rng))
    by_matrix = layer(betas, rotvec_to_matrix(pose), trans)[0]
    assert torch.abs(by_matrix - layer(betas, pose, trans)[0]).max() < 1e-6
    with pytest.raises(ValueError, match="pose must have shape"):
        layer(betas, pose[:, :23], trans)


@pytest.mark.parametrize("name", ["open_body_adult", "open_body_all"])
def test_smplx_poses_the_open_body_alike(name, rng):
    """The layout is SMPL's: the smplx package reads our file and puts every vertex where we do."""
    torch = pytest.importorskip("torch")
    smplx = pytest.importorskip("smplx")

    path = model_path(f"body/{name}.npz")
    with np.load(path, allow_pickle=False) as data:
        content = {key: data[key] for key in data.files}
    names, ids = content.pop("extra_vertex_names"), content.pop("extra_vertex_ids")
    content["posedirs"] = content["posedirs"].astype(np.float32)
    vertex_ids = {str(n): int(i) for n, i in zip(names, ids, strict=True)}
    layer = smplx.SMPL("", data_struct=smplx.utils.Struct(**content), vertex_ids=vertex_ids, batch_size=6)
    model = load_body_model(path)
    sets = [random_parameters(rng) for _ in range(6)]
    betas, pose, trans = (np.stack(values) for values in zip(*sets, strict=True))
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (betas, pose[:, 1:].reshape(6, 69), pose[:, 0], trans)]
    with torch.no_grad():
        output = layer(betas=tensors[0], body_pose=tensors[1], global_orient=tensors[2], transl=tensors[3])
    vertices, joints = pose_bodies(model, betas, pose, trans)
    assert np.abs(output.vertices.numpy() - vertices).max() < TOLERANCE
    assert np.abs(output.joints[:, :24].numpy() - joints).max() < TOLERANCE
