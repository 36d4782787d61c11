"""Meshes of people become templates: in which pose, on which joints, and what damaged files say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from human_recon.body.landmarks import LANDMARK_NAMES, landmark_vertices
from human_recon.body.lbs import pose_body
from human_recon.body.model import ModelFileError, default_body_model
from human_recon.body.state import BodyState
from human_recon.cli.main import main
from human_recon.fitting.priors import load_pose_mixture
from human_recon.fitting.starts import standing_pose
from human_recon.geometry.normals import vertex_normals
from human_recon.io.errors import InputError
from human_recon.io.mesh_import import read_mesh
from human_recon.io.template_file import write_template
from human_recon.template.graph import build_graph
from human_recon.template.loading import load_template
from human_recon.template.registration import bind
from human_recon.template.rigging import RiggedMesh, RiggingError, _closest_shares, _join_islands, rig
from human_recon.template.surface import body_template, pose_template

BODY = default_body_model()
BETAS = np.array([1.0, -0.8, 0.5, 0.0, 0.3, 0.0, -0.4, 0.0, 0.0, 0.2])


def person() -> BodyState:
    pose = 0.8 * standing_pose()
    pose[0] = [0.0, 0.4, 0.0]
    pose[18, 1], pose[1, 0] = -0.5, -0.3
    return BodyState(BETAS, pose, np.array([0.1, 0.05, -0.2]))


def remeshed() -> tuple[np.ndarray, np.ndarray]:
    """The person in another topology, 6 mm thicker: each face of the body has a vertex in its middle."""
    posed = pose_body(BODY, person()).vertices.astype(np.float64)
    corners = posed[BODY.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    middle = corners.mean(axis=1) + 0.006 * normals
    body = trimesh.Trimesh(posed, BODY.faces, process=False)
    outer = posed + 0.006 * body.vertex_normals
    own = len(posed) + np.arange(len(BODY.faces))
    a, b, c = BODY.faces.T
    faces = np.concatenate([np.stack(t, axis=1) for t in ((a, b, own), (b, c, own), (c, a, own))])
    return np.concatenate([outer, middle]), faces


@pytest.fixture(scope="module")
def rigged() -> RiggedMesh:
    state = person()
    rng = np.random.default_rng(0)
    near = BodyState(np.zeros(10), state.pose + rng.normal(0.0, 0.1, (24, 3)), state.trans + [0.05, -0.04, 0.03])
    away = BodyState(np.zeros(10), standing_pose(), np.array([0.0, 0.9, 0.0]))
    vertices, faces = remeshed()
    return rig(vertices, faces, BODY, load_pose_mixture(), [away, near], "somebody")


def test_the_body_inside_is_found(rigged: RiggedMesh) -> None:
    joints = pose_body(BODY, rigged.state).joints
    true = pose_body(BODY, person()).joints
    assert np.linalg.norm(joints - true, axis=1).mean() < 0.015
    assert rigged.distance < 0.012


def test_posed_as_it_came_the_template_is_the_mesh(rigged: RiggedMesh) -> None:
    posed = pose_template(BODY, rigged.template, rigged.state)
    np.testing.assert_allclose(posed.vertices, remeshed()[0], atol=2e-5)


def test_in_another_pose_it_is_the_person_in_that_pose(rigged: RiggedMesh) -> None:
    """The truth is the body itself, 6 mm thicker; the mesh' first vertices are the body's."""
    pose = standing_pose()
    pose[1, 0], pose[4, 0] = -0.8, 0.9
    pose[16, 1] = 0.4
    state = BodyState(BETAS, pose, np.zeros(3))
    truth = pose_body(BODY, state).vertices
    truth = truth + 0.006 * trimesh.Trimesh(truth, BODY.faces, process=False).vertex_normals
    posed = pose_template(BODY, rigged.template, state).vertices[: BODY.vertex_count]
    error = np.linalg.norm(posed - truth, axis=1)
    assert error.mean() < 0.015
    assert np.percentile(error, 99) < 0.06


def test_every_vertex_lies_over_its_own_place_of_the_body(rigged: RiggedMesh) -> None:
    under = rigged.template.on_body(BODY.v_template)[: BODY.vertex_count]
    error = np.linalg.norm(under - BODY.v_template, axis=1)
    assert np.median(error) < 0.02
    assert np.percentile(error, 98) < 0.10  # fingers beside each other


def test_it_hangs_on_the_nodes_of_the_body(rigged: RiggedMesh) -> None:
    graph = build_graph(BODY, 60)
    binding = bind(BODY, graph, rigged.template)
    np.testing.assert_allclose(binding.weights.sum(axis=1), 1.0, atol=1e-5)
    own = bind(BODY, graph, body_template(BODY, np.zeros(10)))
    np.testing.assert_array_equal(np.sort(own.indices, axis=1), np.sort(graph.indices, axis=1))


def test_files_keep_all_of_it(rigged: RiggedMesh, tmp_path: Path) -> None:
    path = tmp_path / "template.npz"
    write_template(path, rigged.template, BODY)
    again = load_template(path, BODY)
    for name, value in vars(rigged.template).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(again, name), value, atol=1e-6)
    assert again.name == "somebody"
    with np.load(path, allow_pickle=False) as archive:  # nothing pickled
        assert set(archive.files) >= {"vertices", "faces", "skin_weights"}


def test_damaged_templates_are_refused(rigged: RiggedMesh, tmp_path: Path) -> None:
    path = tmp_path / "template.npz"
    write_template(path, rigged.template, BODY)
    with np.load(path) as archive:
        good = dict(archive)
    for change, complaint in (
        ({"body": np.array(["another"])}, "for the body model 'another'"),
        ({"format": np.array(["x"])}, "not a template of this version"),
        ({"faces": good["faces"] + 10**6}, "indices outside"),
        ({"skin_weights": good["skin_weights"] * 2.0}, "add up to 1"),
        ({"vertices": good["vertices"] * np.nan}, "not finite"),
    ):
        np.savez(path, **{**good, **change})
        with pytest.raises(ModelFileError, match=complaint):
            load_template(path, BODY)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="damaged"):
        load_template(path, BODY)
    with pytest.raises(ModelFileError, match="not a template"):
        load_template(tmp_path / "scan.ply", BODY)


def test_a_box_is_no_person() -> None:
    box = trimesh.creation.box((0.5, 1.7, 0.4)).subdivide().subdivide()
    start = BodyState(np.zeros(10), standing_pose(), np.zeros(3))
    with pytest.raises(RiggingError, match="no body fits"):
        rig(box.vertices, box.faces, BODY, load_pose_mixture(), [start], "box")


def test_nearest_points_of_triangles() -> None:
    """Against a dense sampling of each triangle."""
    rng = np.random.default_rng(1)
    triangles, points = rng.normal(size=(200, 3, 3)), rng.normal(size=(200, 3))
    shares = _closest_shares(points, triangles)
    assert (shares >= -1e-9).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
    distance = np.linalg.norm(np.einsum("nk,nkc->nc", shares, triangles) - points, axis=1)
    u, v = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60))
    u, v = u[u + v <= 1.0], v[u + v <= 1.0] if u.shape == v.shape else v
    grid = np.stack([1.0 - u - v, u, v], axis=1)
    sampled = np.linalg.norm(np.einsum("gk,nkc->ngc", grid, triangles) - points[:, None], axis=2).min(axis=1)
    assert (distance <= sampled + 1e-9).all()
    assert (sampled - distance).max() < 0.08  # the spacing of the samples


def test_cloth_that_a_hand_touches_stays_with_the_belly() -> None:
    """A patch of the belly is tied to a hand, as when that lies on it; nothing else is touched."""
    body, count = BODY.v_template.astype(np.float64), BODY.vertex_count
    normals = vertex_normals(body, BODY.faces)
    corners = np.repeat(np.arange(count, dtype=np.int32)[:, None], 3, axis=1)
    shares = np.tile([1.0, 0.0, 0.0], (count, 1))
    patch = np.linalg.norm(body - body[landmark_vertices(BODY)[LANDMARK_NAMES.index("navel")]], axis=1) < 0.06
    assert 20 < patch.sum() < 500
    corners[patch] = landmark_vertices(BODY)[LANDMARK_NAMES.index("l_fingertip")]
    _join_islands(corners, shares, body, normals, body, BODY.faces, BODY)
    place = np.einsum("vk,vkc->vc", shares, body[corners])
    np.testing.assert_allclose(place, body, atol=1e-6)


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj", ".stl"])
def test_meshes_are_read_and_welded(tmp_path: Path, suffix: str) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2)
    torn = trimesh.Trimesh(mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False)
    path = tmp_path / f"ball{suffix}"
    torn.export(path)
    vertices, faces = read_mesh(path)
    assert (len(vertices), len(faces)) == (len(mesh.vertices), len(mesh.faces))
    again = trimesh.Trimesh(vertices, faces, process=False)
    assert again.is_watertight
    assert again.volume == pytest.approx(mesh.volume, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n"),
        ("b.glb", b"glTF\x02\x00\x00\x00nothing"),
        ("c.obj", b"v 0 0 0\nv 1 0 0\n"),
        ("d.txt", b"hello"),
        ("e.stl", b"\x00" * 90),
    ],
)
def test_damaged_meshes_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_mesh(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_mesh(tmp_path / "missing.ply")


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ball.ply"
    trimesh.creation.icosphere(radius=900.0).export(path)
    assert main(["rig", str(path), "-o", str(tmp_path / "t.npz")]) == 2
    assert "--scale" in capsys.readouterr().err
    assert main(["rig", str(path), "-o", str(tmp_path / "t.ply")]) == 2
    assert ".npz" in capsys.readouterr().err
    assert not (tmp_path / "t.npz").exists()


@pytest.mark.slow
def test_the_command_rigs_a_mesh_that_lies_on_its_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """z up, centimetres, turned by a third of a circle; nothing but the file says in which pose."""
    vertices, faces = remeshed()
    turn = np.array([[-0.5, 0.0, 0.866025], [0.0, 1.0, 0.0], [-0.866025, 0.0, -0.5]])
    lying = (100.0 * vertices @ turn.T)[:, [0, 2, 1]] * [1.0, -1.0, 1.0]
    mesh, out = tmp_path / "person.glb", tmp_path / "person.npz"
    trimesh.Trimesh(lying, faces, process=False).export(mesh)
    picture = tmp_path / "person.png"
    arguments = ["rig", str(mesh), "-o", str(out), "--up", "z", "--scale", "0.01", "--picture", str(picture)]
    assert main(arguments) == 0
    assert "mm from its skin" in capsys.readouterr().out
    template = load_template(out, BODY)
    # In the rest pose it is the person of that shape, upright and facing forwards.
    truth = BODY.v_template + BODY.shapedirs @ BETAS.astype(np.float32)
    from scipy.spatial import cKDTree

    assert np.median(cKDTree(template.vertices).query(truth)[0]) < 0.025
    assert picture.stat().st_size > 5000
