"""What people wear: garments, shoes, hats and hair baked from public data, and what is cut and sewn from them.

An outfit is a recipe: a suit, perhaps with its sleeves or legs shortened, or its lower half replaced by a skirt, or a
coat over it; shoes; hair or a hat; and the skin that still shows. Recipes are drawn once per split and sex, a fixed
number of them, and outfits are sewn when a recipe is first drawn: after that, drawing copies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.baked import BakedFile
from human_recon.simulation.outfit import (
    LEAST_CORRECTIVE,
    Detail,
    Material,
    Outfit,
    bare_outfit,
    merged,
    with_faces,
)
from human_recon.simulation.pieces import Piece, as_outfit, compacted, lined, shortened
from human_recon.simulation.randomness import generator
from human_recon.simulation.shapes import Sex
from human_recon.simulation.skirts import SkirtCut, hem_height, sewn_skirt, waist_height

Kind = Literal["suit", "shoes", "hat", "hair"]

FORMAT = 1  # of the baked file; raise it when what is stored changes
MEND = "bake it again: python -m training.wardrobe.bake"
PIECE_ARRAYS = {  # name -> columns, type
    "vertices": ((3,), np.float32),
    "shapedirs": ((3, 10), np.float32),
    "skin_weights": ((None,), np.float32),
    "weights": ((3,), np.float32),
    "looseness": ((), np.float32),
    "outward": ((3,), np.float32),
}
RECIPES = {"train": 96, "test": 32}  # per sex
LINING_RINGS = {"full": 4, "light": 2}
NO_CORRECTIVES = 1e3  # metres
HEM_VIEW = 0.10  # metres that one can look into a shortened sleeve or leg

_FEET, _LEGS, _ARMS = (10, 11), (1, 2, 4, 5, 7, 8), (16, 17, 18, 19, 20, 21)
_LOWER_BODY = (0, 3, *_LEGS)


@dataclass(frozen=True, eq=False)
class Garment:
    """A piece of the wardrobe."""

    name: str
    kind: Kind
    sex: Sex | Literal["any"]  # whom it was made for
    split: Split
    piece: Piece
    hidden: np.ndarray  # [F] bool, faces of the body at this level of detail that it hides


@dataclass(frozen=True)
class Recipe:
    """What somebody wears, by the names of garments; None is nothing of that kind."""

    suit: str | None = None
    sleeve: float | None = None  # where sleeves end, 0 shoulder, 1 wrist; None leaves them
    leg: float | None = None  # where trousers end, 0 hip, 1 ankle; None leaves them
    skirt: SkirtCut | None = None  # instead of trousers
    coat: SkirtCut | None = None  # over trousers
    shoes: str | None = None
    hair: str | None = None
    hat: str | None = None

    @property
    def label(self) -> str:
        """A readable name."""
        parts = [self.suit, self.shoes, self.hair, self.hat]
        parts += [f"sleeve{self.sleeve:.2f}"] if self.sleeve is not None else []
        parts += [f"leg{self.leg:.2f}"] if self.leg is not None else []
        parts += [f"skirt{self.skirt.length:.2f}"] if self.skirt else []
        parts += [f"coat{self.coat.length:.2f}"] if self.coat else []
        return "+".join(part for part in parts if part) or "bare"


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """Outfits for one body at one level of detail. Make it with :meth:`load`."""

    body: BodyModel
    detail: Detail
    skin: Outfit  # the unclothed body at this level of detail
    garments: dict[str, Garment]  # by name; empty without a baked wardrobe
    _sewn: dict[Recipe, Outfit] = field(default_factory=dict)
    _recipes: dict[tuple[Split, Sex], tuple[Recipe, ...]] = field(default_factory=dict)

    @staticmethod
    def load(assets: Assets, body: BodyModel, detail: Detail = "light") -> Wardrobe:
        """The baked wardrobe if there is one for ``body``; else people wear their inflated skin, or a skirt.

        Raises BakedFileError when the file is damaged or of another format.
        """
        skin = bare_outfit(body, detail)
        garments: dict[str, Garment] = {}
        if assets.wardrobe is not None:
            stored = BakedFile(assets.wardrobe, MEND)
            if stored.numbers("format", (), np.int64) != FORMAT:
                stored.fail(f"is of format {stored.numbers('format', (), np.int64)}, this version reads {FORMAT}")
            if stored.made_for(body):
                garments = _read_garments(stored, body, skin, detail)
        return Wardrobe(body, detail, skin, garments)

    def draw(self, rng: np.random.Generator, split: Split, sex: Sex | None = None) -> Outfit:
        """An outfit of ``split`` for ``sex`` (None: either); always the same object for the same recipe."""
        if sex is None:
            sex = "female" if rng.random() < 0.5 else "male"
        recipes = self.recipes(split, sex)
        return self.sewn(recipes[int(rng.integers(len(recipes)))])

    def recipes(self, split: Split, sex: Sex) -> tuple[Recipe, ...]:
        """What :meth:`draw` chooses from."""
        known = self._recipes.get((split, sex))
        if known is None:
            known = tuple(
                draw_recipe(generator(0, k, f"recipe {split} {sex}"), self.garments, split, sex)
                for k in range(RECIPES[split])
            )
            self._recipes[split, sex] = known
        return known

    def sewn(self, recipe: Recipe) -> Outfit:
        """The outfit of a recipe; sewn once. Raises KeyError when it names a garment that there is not."""
        known = self._sewn.get(recipe)
        if known is None:
            known = self._sewn[recipe] = self._sew(recipe)  # two threads would make the same
        return known

    def _sew(self, recipe: Recipe) -> Outfit:
        if recipe == Recipe():
            return self.skin
        centres = self.skin.canonical[self.skin.faces].mean(axis=1)
        face_part = self.skin.part[self.skin.faces[:, 0]]
        hidden = np.zeros(len(self.skin.faces), bool)
        pieces: list[tuple[str, Piece, float]] = []
        for name in (recipe.suit, recipe.shoes, recipe.hair, recipe.hat):
            if name is None:
                continue
            garment = self.garments[name]
            piece, under = garment.piece, garment.hidden
            if garment.kind == "suit":
                part = vertex_parts(self.body)[piece.corners[:, 0]]
                points = piece.canonical(self.body)
                beyond = self._beyond(recipe, points, part)
                if (beyond > 0.0).any():
                    piece = shortened(piece, beyond)
                    under = under & (self._beyond(recipe, centres, face_part) <= -HEM_VIEW)
                if recipe.coat is not None:  # trousers would show through where thighs lift it
                    piece = self._without(piece, *self._span(recipe.coat))
            if garment.kind in ("suit", "hat"):
                piece = lined(piece, LINING_RINGS[self.detail])
            hidden |= under
            pieces.append((name, piece, LEAST_CORRECTIVE[self.detail]))
        for cut in (recipe.skirt, recipe.coat):
            if cut is not None:
                skirt = sewn_skirt(self.body, cut, self.detail)
                pieces.append(("skirt", lined(skirt, 99), NO_CORRECTIVES))
                low, high = self._span(cut)
                hidden |= np.isin(face_part, _LOWER_BODY) & (centres[:, 1] > low) & (centres[:, 1] < high)
        skin = self.skin
        if recipe.suit is not None or recipe.hair is not None or recipe.hat is not None:
            skin = _uncovered(skin, clothed=recipe.suit is not None, head=bool(recipe.hair or recipe.hat))
        outfits = [with_faces(skin, ~hidden)] if not hidden.all() else []
        outfits += [as_outfit(name, piece, self.body, least) for name, piece, least in pieces]
        return merged(recipe.label, outfits)

    def _span(self, cut: SkirtCut) -> tuple[float, float]:
        """Heights on the template between which nothing under a skirt can be seen."""
        return hem_height(self.body, cut) + HEM_VIEW, waist_height(self.body, cut) - 0.04

    def _without(self, piece: Piece, low: float, high: float) -> Piece:
        """A suit without its faces on legs and hips between two heights."""
        height = piece.canonical(self.body)[:, 1]
        part = vertex_parts(self.body)[piece.corners[:, 0]]
        under = np.isin(part, _LOWER_BODY) & (height > low) & (height < high)
        return compacted(replace(piece, faces=piece.faces[~under[piece.faces].all(axis=1)]))

    def _beyond(self, recipe: Recipe, points: np.ndarray, part: np.ndarray) -> np.ndarray:
        """[N] metres that points of the template, on body parts ``part``, lie past the recipe's cuts; < 0 inside."""
        joints = self.body.j_template.astype(np.float64)
        beyond = np.full(len(points), -1.0)
        if recipe.sleeve is not None:
            ends = np.abs(joints[[16, 17], 0]).mean(), np.abs(joints[[20, 21], 0]).mean()
            cut = ends[0] + recipe.sleeve * (ends[1] - ends[0])
            arm = np.isin(part, _ARMS)
            beyond[arm] = np.maximum(beyond[arm], np.abs(points[arm, 0]) - cut)
        cuts: list[tuple[float, tuple[int, ...]]] = []
        if recipe.leg is not None:
            ends = joints[[1, 2], 1].mean(), joints[[7, 8], 1].mean()
            cuts.append((ends[0] + recipe.leg * (ends[1] - ends[0]), _LEGS))
        if recipe.skirt is not None:
            cuts.append((waist_height(self.body, recipe.skirt) - 0.05, _LOWER_BODY))
        for height, parts in cuts:
            low = np.isin(part, parts)
            beyond[low] = np.maximum(beyond[low], height - points[low, 1])
        return beyond


def draw_recipe(rng: np.random.Generator, garments: dict[str, Garment], split: Split, sex: Sex) -> Recipe:
    """What somebody may wear; shares are a guess at what a robot meets indoors and on a street."""
    own = {kind: [g for g in garments.values() if g.split == split and g.kind == kind] for kind in _KINDS}
    female = sex == "female"
    skirt = coat = None
    dice = rng.random(8)
    if dice[0] < (0.22 if female else 0.02):
        skirt = SkirtCut.draw(rng, coat=False)
    elif dice[0] > 0.93:
        coat = SkirtCut.draw(rng, coat=True)
    if not garments:
        return Recipe(skirt=skirt, coat=coat)
    suits = [g.name for g in own["suit"] if g.sex in (sex, "any")]
    if female and (dice[1] < 0.35 or not suits):
        suits = [g.name for g in own["suit"]]
    sleeve = rng.uniform(0.2, 0.8) if dice[2] < 0.35 and coat is None else None
    leg = rng.uniform(0.25, 0.75) if dice[3] < 0.12 and skirt is None else None
    hats = [g.name for g in own["hat"]]
    hat = _one(rng, hats) if dice[4] < 0.08 else None
    hair = None
    if hat is None and dice[5] < (0.93 if female else 0.72):
        styles = [g.name for g in own["hair"]]
        usual = [name for name in styles if name.startswith(("short", "afro")) != female]
        hair = _one(rng, usual if usual and dice[6] < 0.85 else styles)
    shoes = _one(rng, [g.name for g in own["shoes"]]) if dice[7] < 0.93 else None
    return Recipe(_one(rng, suits), sleeve, leg, skirt, coat, shoes, hair, hat)


_KINDS: tuple[Kind, ...] = ("suit", "shoes", "hat", "hair")


def _one(rng: np.random.Generator, names: list[str]) -> str | None:
    return names[int(rng.integers(len(names)))] if names else None


def _uncovered(skin: Outfit, clothed: bool, head: bool) -> Outfit:
    """The skin under garments: what shows of it is skin, and does not stand off."""
    bare = skin.material == Material.SKIN
    if clothed:
        bare |= skin.material == Material.CLOTH
    if head:
        bare |= skin.material == Material.HAIR
    return replace(
        skin,
        material=np.where(bare, Material.SKIN, skin.material).astype(np.uint8),
        looseness=np.where(bare, np.float32(0.0), skin.looseness),
    )


def _read_garments(stored: BakedFile, body: BodyModel, skin: Outfit, detail: Detail) -> dict[str, Garment]:
    names = stored.texts("names")
    labels = {key: stored.texts(key) for key in ("kinds", "sexes", "splits")}
    allowed = {"kinds": _KINDS, "sexes": ("female", "male", "any"), "splits": ("train", "test")}
    for key, values in labels.items():
        if len(values) != len(names) or not set(values) <= set(allowed[key]):
            stored.fail(f"'{key}' does not say {' or '.join(allowed[key])} for each of the {len(names)} garments")
    garments = {}
    for k, name in enumerate(names):
        where = f"{name}/{detail}/"
        vertices = stored.numbers(where + "vertices", (None, 3))
        size = len(vertices)
        arrays = {
            key: stored.numbers(where + key, (size, *columns), kind) for key, (columns, kind) in PIECE_ARRAYS.items()
        }
        joints = arrays["skin_weights"].shape[1]
        piece = Piece(
            faces=stored.indices(where + "faces", (None, 3), below=size),
            skin_indices=stored.indices(where + "skin_indices", (size, joints), below=body.joint_count),
            corners=stored.indices(where + "corners", (size, 3), below=body.vertex_count),
            material=stored.indices(where + "material", (size,), below=len(Material)).astype(np.uint8),
            **arrays,
        )
        hidden = np.zeros(len(skin.faces), bool)
        hidden[stored.indices(where + "hidden", (None,), below=len(skin.faces))] = True
        kind, sex, split = (labels[key][k] for key in ("kinds", "sexes", "splits"))
        garments[name] = Garment(name, kind, sex, split, piece, hidden)  # type: ignore[arg-type]
    return garments
