"""How the open body is made: decimation, mirroring, sampling of poses, regressors and pose correctives."""

import cv2
import numpy as np
import pytest
import trimesh

from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.simulation import joint_limits
from training.bodies import joint_regressor, pose_sampler
from training.bodies.decimation import border_vertices, decimate
from training.bodies.symmetry import HalfBody, left_half


def symmetric_ball():
    """A closed mesh with vertices exactly on x = 0 and no face across."""
    ball = trimesh.creation.uv_sphere(count=[24, 24])
    vertices = np.round(ball.vertices, 9)
    vertices[np.abs(vertices[:, 0]) < 1e-6, 0] = 0.0
    return vertices, np.asarray(ball.faces)


def test_decimated_half_makes_a_closed_body_of_the_exact_count():
    vertices, faces = symmetric_ball()
    index, half = left_half(vertices, faces)
    for target in (len(half.faces) - 1, 301, 200, 99):
        kept, kept_faces = decimate(vertices[index], half.faces, target)
        small = HalfBody(half.border[kept], kept_faces)
        positions = small.whole_vectors(vertices[index][kept])
        mesh = trimesh.Trimesh(positions, small.whole_faces, process=False)
        assert len(kept_faces) == target and len(positions) == target + 2
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
        assert (small.border == (positions[: len(kept), 0] == 0.0)).all()
        assert set(border_vertices(kept_faces)) == set(np.flatnonzero(small.border))
        assert np.abs(np.linalg.norm(positions, axis=1) - 1.0).max() < 1e-6  # vertices of the source, not moved
        assert mesh.volume > (0.95 if target > 190 else 0.90) * 4.0 / 3.0 * np.pi


def test_decimation_keeps_what_is_important():
    vertices, faces = symmetric_ball()
    index, half = left_half(vertices, faces)
    top = vertices[index][:, 1] > 0.3
    kept, _ = decimate(vertices[index], half.faces, 200, np.where(top, 100.0, 1.0))
    assert top[kept].mean() > top.mean() + 0.2


def test_decimation_thins_the_border_to_the_count_asked_for():
    vertices, faces = symmetric_ball()
    index, half = left_half(vertices, faces)
    _, kept_faces = decimate(vertices[index], half.faces, 200, target_border=16)
    assert len(border_vertices(kept_faces)) == 16 and len(kept_faces) == 200


def test_decimation_says_when_it_cannot():
    vertices, faces = symmetric_ball()
    index, half = left_half(vertices, faces)
    with pytest.raises(ValueError, match="decimation stopped"):
        decimate(vertices[index], half.faces, 1)


def test_left_half_refuses_a_face_across_the_plane():
    ball = trimesh.creation.icosphere(subdivisions=1)
    with pytest.raises(ValueError, match="crosses the mirror plane"):
        left_half(ball.vertices + [0.01, 0.0, 0.0], ball.faces)


def test_sampled_poses_are_rotations_within_limits():
    poses = pose_sampler.sample_poses(200, np.random.default_rng(0))
    assert poses.shape == (200, 24, 3, 3)
    assert np.abs(poses @ np.swapaxes(poses, -1, -2) - np.eye(3)).max() < 1e-9
    assert (np.linalg.det(poses) > 0.0).all() and (poses[:, 0] == np.eye(3)).all()
    for knee in (4, 5):  # shins swing backwards only
        bend = np.degrees(np.arctan2(poses[:, knee, 2, 1], poses[:, knee, 1, 1]))
        assert bend.min() > -2.0 and bend.max() > 90.0
    for elbow, sign in ((18, 1.0), (19, -1.0)):  # forearms swing forwards, never backwards
        forearm = poses[:, elbow, :, 0] * sign
        assert forearm[:, 2].min() > -0.15 and forearm[:, 2].max() > 0.9


def test_mirrored_pose_is_an_involution_that_swaps_sides():
    poses = joint_limits.within_limits(20, np.random.default_rng(1))
    mirrored = joint_limits.mirrored_pose(poses)
    assert np.abs(joint_limits.mirrored_pose(mirrored) - poses).max() == 0.0
    up = np.zeros((24, 3))
    up[16, 2] = 0.5
    other = joint_limits.mirrored_pose(rotvec_to_matrix(up))
    assert np.abs(other[17] - rotvec_to_matrix(np.array([0.0, 0.0, -0.5]))).max() < 1e-12


def test_poses_come_from_motion_capture_when_given(tmp_path):
    poses = np.random.default_rng(2).normal(size=(10, 24, 3)).astype(np.float32)
    np.savez(tmp_path / "mocap.npz", poses=poses, clip_start=np.array([0, 4, 10], np.int32))
    drawn = pose_sampler.from_motion_capture(tmp_path / "mocap.npz", 50, np.random.default_rng(3))
    frames = rotvec_to_matrix(poses)
    distance = np.abs(drawn[:, None, 1:] - frames[:, 1:]).max(axis=(2, 3, 4))
    assert (distance.min(axis=1) == 0.0).all() and (drawn[:, 0] == np.eye(3)).all()
    assert len(set(distance.argmin(axis=1))) > 5


def test_joint_inside_a_ring_gets_convex_weights():
    rng = np.random.default_rng(4)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([np.cos(angle), np.zeros(40), np.sin(angle)], axis=1)
    size = rng.uniform(0.5, 1.5, (200, 1, 1))
    samples = ring * size + rng.normal(size=(200, 1, 3)) + 0.02 * rng.normal(size=(200, 40, 3))
    joints = samples.mean(axis=1)
    weights = joint_regressor.fit_joint(samples, joints, np.arange(40))
    assert weights.min() >= 0.0 and weights.sum() == pytest.approx(1.0)
    assert np.abs(weights - 1.0 / 40).max() < 2e-3


def test_joint_that_no_convex_combination_follows_gets_signed_weights():
    """The joint moves by twice what any vertex does."""
    rng = np.random.default_rng(5)
    template = rng.normal(size=(40, 3))
    shape = rng.normal(size=(400, 1, 1))
    moves = rng.normal(size=(40, 1))  # of each vertex along y
    samples = template + 0.1 * shape * moves * np.array([0.0, 1.0, 0.0])
    reach = 2.0 * np.abs(moves).max()
    joints = template.mean(axis=0) + 0.1 * reach * shape[:, 0] * np.array([0.0, 1.0, 0.0])
    weights = joint_regressor.fit_joint(samples, joints, np.arange(40), goal=1e-3)
    assert weights.min() < 0.0 and weights.sum() == pytest.approx(1.0)
    error = np.linalg.norm(np.einsum("v,svc->sc", weights, samples) - joints, axis=1)
    assert error.mean() <= 1e-3


@pytest.mark.slow
def test_shipped_body_follows_fresh_people_and_poses():
    """Against Anny itself, with people and poses that the bake never saw: shape, joints, and posed surface."""
    pytest.importorskip("anny")
    from human_recon.body.model import default_body_model
    from training.bodies.anny_source import AnnySource
    from training.bodies.build_open_body import decimated_half, t_posed
    from training.bodies.pose_correctives import chain

    body = default_body_model()
    source = AnnySource()
    kept, half = decimated_half(source, seed=0)
    assert (half.whole_faces == body.faces).all() and (half.mirror_vertices == body.mirror_vertices).all()
    people = source.sample(40, (18.0, 80.0), seed=987, vertices=kept)
    fine = source.weights[kept]
    rest, joints = t_posed(source, people, fine, half)
    whole = half.whole_vectors(rest)
    regressed = np.einsum("jv,svc->sjc", body.j_regressor, whole)
    assert np.linalg.norm(regressed - joints, axis=-1).mean(axis=0).max() < 3.5e-3
    basis = body.shapedirs.reshape(-1, 10).astype(np.float64)
    betas = np.linalg.lstsq(basis, (whole - body.v_template).reshape(40, -1).T, rcond=None)[0].T
    fitted = body.v_template + np.einsum("vck,sk->svc", body.shapedirs, betas)
    assert np.linalg.norm(fitted - whole, axis=-1).mean() < 2.5e-3
    assert np.abs(betas).max() < 5.0 and 0.6 < betas.std() < 1.4

    pose = joint_limits.within_limits(40, np.random.default_rng(988))
    target, _ = source.pose(people.vertices, fine, people.heads, pose)
    size = len(kept)
    errors = {}
    for name, factor in (("skinning alone", 0.0), ("with correctives", 1.0)):
        total = []
        for n in range(40):
            feature = (pose[n, 1:] - np.eye(3)).reshape(-1)
            offset = rest[n] + factor * body.posedirs[:size] @ feature
            world, position = chain(pose[n], joints[n])
            shift = position - np.einsum("jab,jb->ja", world, joints[n])
            linear = (body.weights[:size] @ world.reshape(24, 9)).reshape(-1, 3, 3)
            posed = np.einsum("vab,vb->va", linear, offset) + body.weights[:size] @ shift
            total.append(np.linalg.norm(posed - target[n], axis=1).mean())
        errors[name] = float(np.mean(total))
    assert errors["with correctives"] < 0.35 * errors["skinning alone"]
    assert errors["with correctives"] < 1.2e-3


def test_picture_of_the_bodies_is_written(tmp_path):
    from training.bodies.draw_open_body import main

    path = tmp_path / "docs" / "open_body.png"
    assert main(["--output", str(path)]) == 0
    picture = cv2.imread(str(path)).astype(int)
    assert picture.shape[1] == 1350 and path.stat().st_size < 300_000
    dark = (picture.sum(axis=2) < 700).mean(axis=1)  # every row of pictures shows bodies
    assert all(rows.max() > 0.1 for rows in np.array_split(dark, 4))
    assert [entry.name for entry in path.parent.iterdir()] == ["open_body.png"]
