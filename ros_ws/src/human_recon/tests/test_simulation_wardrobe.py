"""The wardrobe: reading a baked file, recipes and their splits, cutting, sewing, skirts. Garments here are cut from the
body itself, so no data is needed; the real ones are tested in test_training_wardrobe.py."""

import cv2
import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import load_body_model
from human_recon.body.parts import vertex_parts
from human_recon.body.state import BodyState
from human_recon.resources import model_path
from human_recon.simulation.assets import Assets
from human_recon.simulation.baked import BakedFileError, body_digest
from human_recon.simulation.outfit import (
    Looseness,
    Material,
    bare_outfit,
    pose_outfit,
    pose_outfit_reference,
)
from human_recon.simulation.pieces import Piece, as_outfit, lined, shortened
from human_recon.simulation.shapes import Shapes
from human_recon.simulation.skirts import SkirtCut, hem_height, sewn_skirt, waist_height
from human_recon.simulation.wardrobe import FORMAT, PIECE_ARRAYS, Recipe, Wardrobe, draw_recipe

SUIT_PARTS = (0, 1, 2, 3, 4, 5, 6, 9, 13, 14, 16, 17, 18, 19)
GARMENTS = (
    ("male_a", "suit", "male", "train", SUIT_PARTS),
    ("female_a", "suit", "female", "train", SUIT_PARTS),
    ("male_b", "suit", "male", "test", SUIT_PARTS),
    ("female_b", "suit", "female", "test", SUIT_PARTS),
    ("shoes_a", "shoes", "any", "train", (7, 8, 10, 11)),
    ("shoes_b", "shoes", "any", "test", (7, 8, 10, 11)),
    ("short_a", "hair", "any", "train", (15,)),
    ("short_b", "hair", "any", "test", (15,)),
    ("hat_a", "hat", "any", "train", (15,)),
    ("hat_b", "hat", "any", "test", (15,)),
)
MATERIAL = {"suit": Material.CLOTH, "shoes": Material.SHOES, "hair": Material.HAIR, "hat": Material.HAT}


def body_piece(body, skin, parts, material, off=0.01):
    """The skin of some parts, moved outwards, as a garment; and the faces of the body that it covers."""
    faces = np.isin(skin.part, parts)[skin.faces].all(axis=1)
    used = np.unique(skin.faces[faces])
    place = np.zeros(len(skin.vertices), np.int32)
    place[used] = np.arange(len(used))
    one = np.zeros((len(used), 3), np.float32)
    one[:, 0] = 1.0
    piece = Piece(
        vertices=skin.vertices[used] + np.float32(off) * skin.outward[used],
        shapedirs=skin.shapedirs[used],
        faces=place[skin.faces[faces]],
        skin_indices=skin.skin_indices[used],
        skin_weights=skin.skin_weights[used],
        corners=np.repeat(skin.body_vertex[used][:, None], 3, axis=1),
        weights=one,
        material=np.full(len(used), material, np.uint8),
        looseness=np.full(len(used), 0.5, np.float32),
        outward=skin.outward[used],
    )
    return piece, np.flatnonzero(faces).astype(np.int32)


@pytest.fixture(scope="module")
def stored(body):
    """What a baked file of such garments holds."""
    arrays = {
        "format": np.array(FORMAT),
        "body_digest": np.array(body_digest(body)),
        "names": np.array([g[0] for g in GARMENTS]),
        "kinds": np.array([g[1] for g in GARMENTS]),
        "sexes": np.array([g[2] for g in GARMENTS]),
        "splits": np.array([g[3] for g in GARMENTS]),
    }
    for detail in ("full", "light"):
        skin = bare_outfit(body, detail)
        for name, kind, _, _, parts in GARMENTS:
            piece, hidden = body_piece(body, skin, parts, MATERIAL[kind])
            names = (*PIECE_ARRAYS, "faces", "skin_indices", "corners", "material")
            arrays |= {f"{name}/{detail}/{key}": getattr(piece, key) for key in names}
            arrays[f"{name}/{detail}/hidden"] = hidden
    return arrays


@pytest.fixture(scope="module")
def assets(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "wardrobe.npz"
    np.savez(path, **stored)
    return Assets(wardrobe=path)


@pytest.fixture(scope="module")
def wardrobe(assets, body):
    return Wardrobe.load(assets, body, "light")


def test_garments_of_the_splits_are_disjoint(wardrobe):
    names = {}
    for split in ("train", "test"):
        recipes = [recipe for sex in ("female", "male") for recipe in wardrobe.recipes(split, sex)]
        worn = {name for recipe in recipes for name in (recipe.suit, recipe.shoes, recipe.hair, recipe.hat) if name}
        names[split] = worn
        assert {wardrobe.garments[name].split for name in worn} == {split}
        assert {wardrobe.garments[name].kind for name in worn} == {"suit", "shoes", "hair", "hat"}
        cuts = [cut for recipe in recipes for cut in (recipe.skirt, recipe.coat) if cut]
        names[split + " cuts"] = set(cuts)
        assert cuts and any(recipe.sleeve for recipe in recipes) and any(recipe.leg for recipe in recipes)
    assert not names["train"] & names["test"] and not names["train cuts"] & names["test cuts"]


def test_shares_of_what_people_wear(wardrobe):
    rng = np.random.default_rng(0)
    drawn = [draw_recipe(rng, wardrobe.garments, "train", "female" if k % 2 else "male") for k in range(4000)]
    skirts = np.mean([recipe.skirt is not None for recipe in drawn])
    assert 0.09 < skirts < 0.15
    assert np.mean([recipe.shoes is None for recipe in drawn]) == pytest.approx(0.07, abs=0.02)
    assert np.mean([recipe.hat is not None for recipe in drawn]) == pytest.approx(0.08, abs=0.02)
    assert all(recipe.hair is None or recipe.hat is None for recipe in drawn)
    assert all(recipe.suit == "male_a" for recipe in drawn[::2])
    assert 0.02 < np.mean([recipe.suit == "male_a" for recipe in drawn[1::2]]) < 0.4


def test_drawing_follows_the_generator_and_copies_nothing(wardrobe, assets, body):
    first = [wardrobe.draw(np.random.default_rng(k), "train") for k in range(40)]
    assert len({outfit.name for outfit in first}) > 15
    again = [wardrobe.draw(np.random.default_rng(k), "train") for k in range(40)]
    assert all(a is b for a, b in zip(first, again))
    shapedirs = first[0].kernel_arrays[1]
    assert first[0].name == "bare" or np.shares_memory(shapedirs, first[0].shapedirs)
    other = Wardrobe.load(assets, body, "light")  # sewn in another order
    for k in reversed(range(40)):
        outfit = other.draw(np.random.default_rng(k), "train")
        assert outfit.name == first[k].name and np.array_equal(outfit.vertices, first[k].vertices)
        assert np.array_equal(outfit.correctives.directions, first[k].correctives.directions)


@pytest.mark.parametrize("detail", ["full", "light"])
def test_outfits_are_sound_and_posed_by_the_kernel_as_by_the_reference(assets, body, detail, rng):
    wardrobe = Wardrobe.load(assets, body, detail)
    for k in range(6):
        outfit = wardrobe.draw(np.random.default_rng(100 + k), "train")
        size = len(outfit.vertices)
        assert np.abs(outfit.skin_weights.sum(axis=1) - 1.0).max() < 1e-4 and outfit.skin_weights.min() >= 0.0
        assert outfit.faces.min() >= 0 and outfit.faces.max() < size and len(np.unique(outfit.faces)) == size
        assert outfit.correctives.vertices.max(initial=0) < size and outfit.correctives.start[-1] == len(
            outfit.correctives.vertices
        )
        assert (outfit.part == vertex_parts(body)[outfit.body_vertex]).all()
        assert outfit.looseness.min() >= 0.0 and outfit.looseness.max() <= 1.0
        # canonical is a point near the body vertex that is said to be nearest
        assert np.linalg.norm(outfit.canonical - body.v_template[outfit.body_vertex], axis=1).max() < 0.06
        state = rng.normal(size=10), rng.normal(scale=0.4, size=(24, 3)), rng.normal(size=3)
        looseness = Looseness.draw(rng)
        surface, joints = pose_outfit(outfit, body, *state, looseness)
        expected, expected_joints = pose_outfit_reference(outfit, body, *state, looseness)
        assert np.abs(surface - expected).max() < 1e-5 and np.abs(joints - expected_joints).max() < 1e-6


def test_suit_hides_the_skin_under_it_and_follows_it(wardrobe, body, rng):
    outfit = wardrobe.sewn(Recipe(suit="male_a"))
    skin = outfit.material == Material.SKIN
    assert set(outfit.part[skin]) & {15, 22, 23, 10, 11} == {15, 22, 23, 10, 11}
    cloth = outfit.material == Material.CLOTH
    inner = {0, 3, 6}  # the trunk is covered all around
    assert not set(outfit.part[skin]) & inner
    betas, pose = rng.normal(size=10), rng.normal(scale=0.3, size=(24, 3))
    surface, _ = pose_outfit(outfit, body, betas, pose, np.zeros(3))
    truth = pose_body(body, BodyState(betas, pose, np.zeros(3))).vertices
    away = np.linalg.norm(surface - truth[outfit.body_vertex], axis=1)
    assert away[cloth].max() < 0.02 and away[cloth].min() > 0.003  # moved out by 1 cm, then posed
    assert away[skin].max() < 5e-3
    assert (outfit.looseness[skin] == 0.0).all()


def test_short_sleeves_and_legs_end_at_the_cut_and_show_skin(wardrobe, body):
    recipe = Recipe(suit="male_a", sleeve=0.4, leg=0.5)
    outfit = wardrobe.sewn(recipe)
    joints = body.j_template
    cloth = outfit.material == Material.CLOTH
    arm = cloth & np.isin(outfit.part, (16, 17, 18, 19))
    leg = cloth & np.isin(outfit.part, (1, 2, 4, 5))
    sleeve_end = abs(joints[16, 0]) + 0.4 * (abs(joints[20, 0]) - abs(joints[16, 0]))
    leg_end = joints[1, 1] + 0.5 * (joints[7, 1] - joints[1, 1])
    reach = np.abs(outfit.vertices[arm, 0]).max()
    low = outfit.vertices[leg, 1].min()
    assert reach == pytest.approx(sleeve_end, abs=0.015) and low == pytest.approx(leg_end, abs=0.015)
    skin = outfit.material == Material.SKIN
    forearm, shank = np.isin(outfit.part, (18, 19)) & skin, np.isin(outfit.part, (4, 5)) & skin
    assert forearm.any() and shank.any()
    # skin begins inside the sleeve: no gap at the hem
    assert np.abs(outfit.vertices[np.isin(outfit.part, (16, 17, 18, 19)) & skin, 0]).min() < sleeve_end - 0.03
    long = wardrobe.sewn(Recipe(suit="male_a"))
    assert not (np.isin(long.part, (4, 5)) & (long.material == Material.SKIN)).all()


def test_hem_is_straight(body):
    piece, _ = body_piece(body, bare_outfit(body), SUIT_PARTS, Material.CLOTH)
    height = piece.vertices[:, 1].astype(np.float64)
    cut = shortened(piece, -0.4 - height)
    edges = np.sort(cut.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    hem = np.unique(unique[count == 1])
    hem = hem[cut.vertices[hem, 1] < -0.3]
    assert len(hem) > 20 and np.abs(cut.vertices[hem, 1] + 0.4).max() < 1e-5
    assert np.abs(cut.skin_weights.sum(axis=1) - 1.0).max() < 1e-5


def test_nothing_is_cut_when_nothing_is_beyond(body):
    piece, _ = body_piece(body, bare_outfit(body, "light"), SUIT_PARTS, Material.CLOTH)
    same = shortened(piece, np.full(len(piece.vertices), -1.0))
    assert np.array_equal(same.faces, piece.faces) and np.array_equal(same.vertices, piece.vertices)


def test_linings_are_turned_faces_at_the_borders(body):
    piece, _ = body_piece(body, bare_outfit(body, "light"), SUIT_PARTS, Material.CLOTH)
    both = lined(piece, rings=2)
    outer, inner = both.faces[: len(piece.faces)], both.faces[len(piece.faces) :]
    assert np.array_equal(outer, piece.faces) and 0 < len(inner) < 0.5 * len(outer)
    turned = {tuple(np.roll(face, -face.argmin())) for face in inner[:, ::-1]}
    assert turned <= {tuple(np.roll(face, -face.argmin())) for face in outer}


@pytest.mark.parametrize("length", [0.25, 0.6, 0.95])
def test_skirt_surrounds_both_legs_of_everybody(body, length):
    cut = SkirtCut(waist=0.08, length=length, ease=0.012, flare=0.15)
    piece = sewn_skirt(body, cut, "light")
    outfit = as_outfit("skirt", piece, body, 1e3)
    low, high = hem_height(body, cut), waist_height(body, cut)
    assert outfit.vertices[:, 1].min() == pytest.approx(low, abs=1e-5)
    assert outfit.vertices[:, 1].max() == pytest.approx(high, abs=1e-5)
    legs = np.isin(vertex_parts(body), (0, 1, 2, 4, 5))
    for betas in (np.zeros(10), *Shapes.load(body).betas["train"][:6]):
        worn, _ = pose_outfit(outfit, body, betas, np.zeros((24, 3)), np.zeros(3))
        skin = pose_body(body, BodyState(betas, np.zeros((24, 3)), np.zeros(3))).vertices[legs]
        for ring in worn.reshape(10, 22, 3)[1:]:
            near = skin[np.abs(skin[:, 1] - ring[:, 1].mean()) < 0.01]
            polygon = np.ascontiguousarray(ring[:, None, [0, 2]])
            assert all(cv2.pointPolygonTest(polygon, (float(x), float(z)), True) > -0.006 for x, _, z in near)
    assert np.abs(outfit.skin_weights.sum(axis=1) - 1.0).max() < 1e-5
    left = outfit.vertices[:, 0] > 0.1
    weights = np.zeros((len(outfit.vertices), 24))
    np.add.at(weights, (np.arange(len(weights))[:, None], outfit.skin_indices), outfit.skin_weights)
    assert (weights[left][:, [2, 5]] == 0.0).all()


def test_skirt_replaces_trousers_and_coat_goes_over_them(wardrobe):
    cut = SkirtCut(waist=0.05, length=0.6, ease=0.01, flare=0.1)
    skirt = wardrobe.sewn(Recipe(suit="female_a", skirt=cut))
    coat = wardrobe.sewn(Recipe(suit="female_a", coat=cut))
    shin = wardrobe.body.j_template[7, 1] + 0.1

    def lowest_cloth(outfit):
        return outfit.vertices[outfit.material == Material.CLOTH, 1].min()

    assert lowest_cloth(skirt) == pytest.approx(hem_height(wardrobe.body, cut), abs=1e-4)
    assert lowest_cloth(coat) < shin
    for outfit in (skirt, coat):
        # what the skirt covers is left out, and the shins of a skirt are bare
        skin = (outfit.material == Material.SKIN) & np.isin(outfit.part, (0, 1, 2))
        middle = 0.5 * (hem_height(wardrobe.body, cut) + waist_height(wardrobe.body, cut))
        assert not (skin & (np.abs(outfit.vertices[:, 1] - middle) < 0.05)).any()
    assert ((skirt.material == Material.SKIN) & np.isin(skirt.part, (4, 5))).any()


def test_without_a_file_people_wear_their_skin_or_a_skirt(body):
    wardrobe = Wardrobe.load(Assets(), body, "light")
    names = {wardrobe.draw(np.random.default_rng(k), "train").name for k in range(200)}
    assert "bare" in names and all(name == "bare" or "skirt" in name or "coat" in name for name in names)
    assert wardrobe.sewn(Recipe()) is wardrobe.skin


def test_a_file_for_another_body_is_left_alone(assets):
    other = load_body_model(model_path("body/open_body_all.npz"))
    assert not Wardrobe.load(assets, other, "light").garments


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("format", np.array(FORMAT + 1), "is of format"),
        ("kinds", np.array(["cape"] * len(GARMENTS)), "'kinds' does not say"),
        ("male_a/light/faces", np.array([[0, 1, 10**6]]), "'male_a/light/faces' holds indices outside"),
        ("male_a/light/looseness", np.zeros(3), "'male_a/light/looseness' is float64 [3] instead of numbers"),
        ("male_a/light/hidden", np.array([-1]), "'male_a/light/hidden' holds indices outside"),
        ("shoes_a/light/vertices", None, "'shoes_a/light/vertices' is missing"),
    ],
)
def test_bad_files_are_refused_with_the_mend(stored, body, tmp_path, key, value, problem):
    arrays = {name: array for name, array in stored.items() if name != key}
    if value is not None:
        arrays[key] = value
    np.savez(tmp_path / "wardrobe.npz", **arrays)
    with pytest.raises(BakedFileError) as caught:
        Wardrobe.load(Assets(wardrobe=tmp_path / "wardrobe.npz"), body, "light")
    assert problem in str(caught.value) and "python -m training.wardrobe.bake" in str(caught.value)
