"""Baking the wardrobe: the garment reader on hand-made files, the geometry of tailoring, and the real collection."""

import importlib.util

import numpy as np
import pytest
import trimesh

from human_recon.body.parts import vertex_parts
from human_recon.geometry.normals import vertex_normals
from human_recon.simulation.outfit import bare_outfit
from training.wardrobe import surfaces, tailoring
from training.wardrobe.mhclo import GarmentFileError, read_garment


def needs_training_setup():
    for name in ("anny", "fast_simplification"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: make setup-training")


MHCLO = """# a scarf of three vertices
basemesh hm08
name scarf
obj_file scarf.obj
x_scale 0 1 2.0
y_scale 0 2 4.0
z_scale 0 3 1.0
material scarf.mhmat
verts 0
material scarf.mhmat
2
 0 1 2 0.5 0.25 0.25 0.1 0.2 0.3
1  2  3  1.5 -0.25 -0.25
3

delete_verts
5 7 - 9
11 - 12
"""
OBJ = """# a face of four corners
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
usemtl scarf
f 1/1 2/1 3/1 4/1
f -4 -3 -2
"""


@pytest.fixture
def scarf(tmp_path):
    def write(mhclo=MHCLO, obj=OBJ):
        (tmp_path / "scarf.mhclo").write_text(mhclo)
        if obj is not None:
            (tmp_path / "scarf.obj").write_text(obj)
        return tmp_path / "scarf.mhclo"

    return write


def test_garment_is_bound_as_computed_by_hand(scarf):
    garment = read_garment(scarf())
    assert garment.name == "scarf"
    assert garment.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert garment.hidden.tolist() == [5, 7, 8, 9, 11, 12]
    base = np.zeros((2, 19158, 3))
    base[0, :4] = [[0, 0, 0], [1, 0, 0], [0, 8, 0], [0, 0, -0.5]]
    base[1, :4] = base[0, :4] * 2.0
    # x: |0 - 1| / 2 = 0.5, y: |0 - 8| / 4 = 2, z: |0 + 0.5| / 1 = 0.5
    expected = [
        [0, 8, 0],
        [0.25 * 1 + 0.1 * 0.5, 0.25 * 8 + 0.2 * 2, 0.3 * 0.5],
        [1.5 * 1, -0.25 * 8, -0.25 * -0.5],
        [0, 0, -0.5],
    ]
    fitted = garment.fitted(base)
    assert np.allclose(fitted[0], expected) and np.allclose(fitted[1], 2.0 * np.array(expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("basemesh hm08", "basemesh alpha7"), r"scarf\.mhclo:2: made for another base mesh than hm08"),
        (("\n2\n", "\n19158\n"), r"scarf\.mhclo:11: '19158' is not a vertex of hm08"),
        (("0.1 0.2 0.3", "0.1 0.2"), r"scarf\.mhclo:12: a bound vertex has 1, 6 or 9 numbers, not 8"),
        (("0.5 0.25 0.25", "0.5 wide 0.25"), r"scarf\.mhclo:12: .* should be weights and offsets"),
        (("x_scale 0 1 2.0", "x_scale 0 1 0"), r"scarf\.mhclo:5: x_scale needs a positive length"),
        (("x_scale 0 1 2.0", "x_scale 0"), r"scarf\.mhclo:5: x_scale needs two base vertices and a length"),
        (("5 7 - 9", "5 7 -"), r"scarf\.mhclo:17: a range of vertices has no end"),
        (("5 7 - 9", "- 9"), r"scarf\.mhclo:17: a range of vertices has no beginning"),
        (("obj_file scarf.obj", "obj_file ../scarf.obj"), r"scarf\.mhclo: names no obj_file in its own folder"),
        (("obj_file scarf.obj", ""), r"scarf\.mhclo: names no obj_file"),
        (("verts 0\nmaterial", "3 4 5\nmaterial"), r"scarf\.mhclo:9: numbers before 'verts'"),
        (("0.5 0.25 0.25", "nan 0.25 0.25"), r"scarf\.mhclo: holds weights or offsets that are not finite"),
        (("\n3\n", "\n"), r"scarf\.obj:8: a face needs three of the 3 vertices"),
    ],
)
def test_bad_garments_are_named_with_file_and_line(scarf, change, message):
    assert change[0] in MHCLO
    with pytest.raises(GarmentFileError, match=message) as caught:
        read_garment(scarf(MHCLO.replace(*change)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (None, r"scarf\.obj: cannot be read \(no such file"),
        (OBJ + "v 0 0 0\n", r"scarf\.obj: has 5 vertices, its \.mhclo binds 4"),
        (OBJ.replace("f -4 -3 -2", "f 1 2"), r"scarf\.obj:9: a face needs three"),
        (OBJ.replace("f -4 -3 -2", "f 1 2 9"), r"scarf\.obj:9: a face needs three"),
        (OBJ.replace("f -4 -3 -2", "f 1 b 3"), r"scarf\.obj:9: '1 b 3' should be numbers of vertices"),
        ("v 0 0 0\n" * 4, r"scarf\.obj: has no faces"),
    ],
)
def test_bad_meshes_are_named_with_file_and_line(scarf, obj, message):
    with pytest.raises(GarmentFileError, match=message):
        read_garment(scarf(obj=obj))


def test_missing_and_binary_garments(tmp_path):
    with pytest.raises(GarmentFileError, match="cannot be read"):
        read_garment(tmp_path / "none.mhclo")
    (tmp_path / "noise.mhclo").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(GarmentFileError):
        read_garment(tmp_path / "noise.mhclo")


def test_points_are_bound_to_the_part_that_they_move_with(body, rng):
    """A point between arm and trunk: to the arm if it moves with it, to the trunk if it moves with that."""
    parts = vertex_parts(body)
    normals = vertex_normals(body.v_template, body.faces)
    chosen = rng.choice(body.vertex_count, 400, replace=False)
    points = body.v_template[chosen] + 0.012 * normals[chosen]
    binding = surfaces.bind(points, normals[chosen], parts[chosen].astype(int), body, 0.03)
    below = np.einsum("nk,nkc->nc", binding.weights, body.v_template[binding.corners])
    assert np.abs(binding.weights.sum(axis=1) - 1.0).max() < 1e-9 and binding.weights.min() >= 0.0
    assert np.median(np.linalg.norm(below - body.v_template[chosen], axis=1)) < 0.004
    assert np.linalg.norm(below - points, axis=1).mean() < 0.013
    armpit = body.j_template[[16]].astype(float) + [[0.0, -0.11, 0.0]]
    down = np.array([[0.0, -1.0, 0.0]])
    bound = {joint: surfaces.bind(armpit, down, np.array([joint]), body, 0.0).corners[0] for joint in (18, 3)}
    moved_by = {joint: body.weights[corners].sum(axis=0).argmax() for joint, corners in bound.items()}
    assert moved_by[18] in (16, 18, 20) and moved_by[3] in (0, 3, 6)


def test_rays_against_trimesh(rng):
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    origins = rng.uniform(-0.05, 0.05, size=(200, 3))
    directions = rng.normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vertices, faces = np.asarray(ball.vertices), np.asarray(ball.faces)
    found, which = surfaces.ray_distances(origins, directions, vertices, faces, 0.0, 0.3)
    hits = origins + found[:, None] * directions
    triangles = vertices[faces[which]]
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert np.abs(((hits - triangles[:, 0]) * normal).sum(axis=1)).max() < 1e-9
    assert np.isfinite(found).all() and (which >= 0).all()
    weights = trimesh.triangles.points_to_barycentric(triangles, hits)
    assert weights.min() > -1e-6
    away, none = surfaces.ray_distances(origins + [1.0, 0, 0], np.tile([1.0, 0, 0], (200, 1)), vertices, faces, 0, 0.3)
    assert np.isinf(away).all() and (none == -1).all()


def test_surface_nets_of_a_ball():
    grid = np.stack(np.meshgrid(*[np.arange(30)] * 3, indexing="ij"), axis=-1)
    points, quads = surfaces.surface_nets(10.0 - np.linalg.norm(grid - 14.3, axis=-1))
    mesh = trimesh.Trimesh(points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert mesh.volume == pytest.approx(4.0 / 3.0 * np.pi * 1000.0, rel=0.03)
    assert np.abs(np.linalg.norm(points - 14.3, axis=1) - 10.0).max() < 0.1


def test_decimation_keeps_shape_and_never_exceeds_the_count():
    pytest.importorskip("fast_simplification", reason="make setup-training")
    ball = trimesh.creation.icosphere(subdivisions=4)
    vertices, faces = surfaces.decimated(np.asarray(ball.vertices), np.asarray(ball.faces), 300)
    assert 250 <= len(vertices) <= 300 and faces.max() < len(vertices)
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(ball.volume, rel=0.03)
    same, _ = surfaces.decimated(np.asarray(ball.vertices), np.asarray(ball.faces), 10_000)
    assert len(same) == len(ball.vertices)


def test_border_of_a_sheet_and_distances_from_it():
    x, y = np.meshgrid(np.arange(6), np.arange(6), indexing="ij")
    vertices = 0.01 * np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
    a = (6 * x + y)[:-1, :-1].ravel()
    faces = np.concatenate([np.stack([a, a + 6, a + 7], axis=1), np.stack([a, a + 7, a + 1], axis=1)])
    border = np.unique(surfaces.border_edges(faces))
    assert set(border) == {i for i in range(36) if i // 6 in (0, 5) or i % 6 in (0, 5)}
    distance = surfaces.distance_to(vertices, faces, border)
    assert distance[6 * 2 + 2] == pytest.approx(0.02) and distance[border].max() == 0.0
    assert np.isinf(surfaces.distance_to(vertices, faces, border[:0])).all()


def test_hull_of_loose_cards_is_one_closed_surface_around_them(body):
    """Separate cards all over the upper half of a ball behind the neck: a volume comes out, without the cards' gaps."""
    cards = trimesh.creation.icosphere(subdivisions=2, radius=0.07)
    centre = body.j_template[12].astype(float) + [0.0, 0.0, -0.25]
    corners = np.asarray(cards.vertices)[np.asarray(cards.faces)] + centre
    loose = (corners - corners.mean(axis=1, keepdims=True)) * 0.8 + corners.mean(axis=1, keepdims=True)
    vertices, faces = surfaces.hair_hull(
        loose.reshape(-1, 3), np.arange(loose.size // 3).reshape(-1, 3), body, voxel=0.008
    )
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert 0.07**3 < mesh.volume / (4.0 / 3.0 * np.pi) < 0.085**3


def test_loose_weights_are_pruned_and_sum_to_one(rng):
    skin = rng.dirichlet(np.full(24, 0.15), 200)
    skin[0] = 1.0 / 24.0  # all equal: ties
    kept = tailoring.pruned(skin)
    assert ((kept > 0.0).sum(axis=1) <= tailoring.MOST_WEIGHTS).all() and np.abs(kept.sum(axis=1) - 1.0).max() < 1e-12
    assert (kept.argmax(axis=1) == skin.argmax(axis=1)).all()
    assert ((kept == 0.0) | (skin >= tailoring.LEAST_WEIGHT)).all()


def test_clothes_below_the_skin_are_pushed_out(body):
    """A suit that is the skin itself, sunk by a centimetre, ends outside of people of other shapes."""
    skin = bare_outfit(body)
    trunk = np.isin(skin.part, (0, 3, 6, 9))[skin.faces].all(axis=1)
    used = np.unique(skin.faces[trunk])
    normals = vertex_normals(body.v_template, body.faces)[used]
    sunk = body.v_template[used].astype(float) - 0.01 * normals
    one = np.zeros((len(used), 3))
    one[:, 0] = 1.0
    binding = surfaces.Binding(np.repeat(used[:, None], 3, axis=1), one)
    betas = np.random.default_rng(0).normal(size=(6, 10))
    shapedirs = body.shapedirs[used].astype(float)
    offset = tailoring.pushed_out(sunk, shapedirs, normals, body, binding, betas, 0.003)
    assert np.abs((offset * normals).sum(axis=1) - 0.013).max() < 4e-3
    above = tailoring.pushed_out(sunk + 0.02 * normals, shapedirs, normals, body, binding, betas, 0.003)
    assert np.abs(above).max() < 1e-6


def test_a_folder_without_garments_is_one_clear_error(tmp_path, capsys):
    needs_training_setup()
    from training.wardrobe.bake import main

    with pytest.raises(SystemExit) as caught:
        main(["--data", str(tmp_path), "-o", str(tmp_path / "out.npz")])
    assert caught.value.code == 2 and "neither clothes" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_collection_is_read_whole(data_dir):
    """Every garment of the public collection; counts as in its description."""
    folder = data_dir / "clothing"
    if not folder.is_dir():
        pytest.skip("the recorded data holds no clothing")
    garments = {path.stem: read_garment(path) for path in sorted(folder.glob("*/*/*.mhclo"))}
    assert len(garments) == 24
    for garment in garments.values():
        assert np.abs(garment.weights.sum(axis=1) - 1.0).max() < 1e-4
        assert len(garment.hidden) > 0 or not garment.name.startswith(("male", "female", "shoes"))
    assert len(garments["male_casualsuit01"].corners) == 8426


@pytest.mark.slow
def test_real_garments_fit_the_open_body(data_dir, body, tmp_path):
    """Bake a suit, shoes, a hat and hair; wear them on fresh people against Anny's own fit of the same garment."""
    needs_training_setup()
    if not (data_dir / "clothing").is_dir():
        pytest.skip("the recorded data holds no clothing")
    from human_recon.simulation.assets import Assets
    from human_recon.simulation.baked import body_digest
    from human_recon.simulation.wardrobe import FORMAT, Recipe, Wardrobe
    from training.wardrobe.bake import bake, split_of
    from training.wardrobe.people import sample_people

    names = {"male_casualsuit06": "suit", "shoes01": "shoes", "fedora": "hat", "short02": "hair"}
    paths = {path.stem: path for path in (data_dir / "clothing").glob("*/*/*.mhclo")}
    garments = [(read_garment(paths[name]), kind) for name, kind in names.items()]
    arrays, figures = bake(garments, body, people_count=64, seed=5)
    for name, figure in figures.items():
        assert figure["residual_mean_mm"] < 3.0, name
    arrays |= {
        "format": np.array(FORMAT), "body_digest": np.array(body_digest(body)), "names": np.array(list(names)),
        "kinds": np.array(list(names.values())), "sexes": np.array(["any"] * 4),
        "splits": np.array([split_of(name) for name in names]),
    }  # fmt: skip
    np.savez(tmp_path / "wardrobe.npz", **arrays)
    wardrobe = Wardrobe.load(Assets(wardrobe=tmp_path / "wardrobe.npz"), body, "full")

    fresh = sample_people(body, 32, seed=99)
    for (garment, kind), bound in zip(garments, (0.02, 0.02, 0.01, 0.02)):
        worn = fresh.t_posed(garment)
        piece = wardrobe.garments[garment.name].piece
        for person, betas in enumerate(fresh.betas[:8]):
            ours = piece.vertices + piece.shapedirs @ betas.astype(np.float32)
            corners, weights = surfaces.onto(ours.astype(float), worn[person], garment.faces)
            away = np.linalg.norm(np.einsum("nk,nkc->nc", weights, worn[person][corners]) - ours, axis=1)
            # pushed out of the skin by up to 2 cm, hair thickened by one voxel and a half
            assert away.mean() < 0.008 and np.percentile(away, 99) < bound, (garment.name, kind)

    outfit = wardrobe.sewn(Recipe(suit="male_casualsuit06", shoes="shoes01", hair="short02"))
    assert 0.3 < len(outfit.vertices) / body.vertex_count < 1.5
    from human_recon.body.state import BodyState
    from training.wardrobe.measure_fit import hole_share, protruding

    state = BodyState(fresh.betas[0], np.zeros((24, 3)), np.zeros(3))
    assert (protruding(body, outfit, state, None)[1] > 1e-3).mean() < 0.01
    assert hole_share(body, outfit, state, None, 0.7, 0.3) < 0.005
