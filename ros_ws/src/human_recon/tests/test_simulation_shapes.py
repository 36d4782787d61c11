"""Shapes of people: the bank that ships, its splits, and what other body models get."""

import dataclasses
import json

import numpy as np
import pytest

from human_recon.body.model import load_body_model
from human_recon.resources import model_path
from human_recon.simulation.baked import BakedFile, BakedFileError, body_digest
from human_recon.simulation.shapes import BANK, BETA_LIMIT, Shapes


def test_bank_of_the_open_body_holds_two_disjoint_splits(body):
    shapes = Shapes.load(body)
    assert len(shapes.betas["train"]) >= 4096 and len(shapes.betas["test"]) >= 512
    test = {tuple(row) for row in shapes.betas["test"]}
    assert len(test) == len(shapes.betas["test"])
    assert not test & {tuple(row) for row in shapes.betas["train"]}


def test_bank_is_of_plausible_adults(body):
    """Statures by the body model itself, not by the columns of the bank."""
    shapes = Shapes.load(body)
    for split in ("train", "test"):
        betas, female = shapes.betas[split], shapes.female[split]
        y = body.v_template[:, 1] + np.einsum("vk,nk->nv", body.shapedirs[:, 1], betas.astype(np.float32))
        stature = y.max(axis=1) - y.min(axis=1)
        # WHO: adults are around 1.63 and 1.76 m tall with a standard deviation of 7 cm
        assert 1.59 < stature[female].mean() < 1.67 and 1.72 < stature[~female].mean() < 1.80
        assert 0.05 < stature[female].std() < 0.10 and stature.min() > 1.3 and stature.max() < 2.2
        assert 0.45 < female.mean() < 0.55
        assert np.abs(betas.mean(axis=0)).max() < 0.25 and 0.85 < betas.std() < 1.15
        column = BakedFile(model_path(BANK), "").numbers(f"{split}_stature", (len(betas),))
        assert np.abs(column - stature).max() < 0.02


def test_draws_are_members_of_their_split_and_follow_the_generator(body):
    shapes = Shapes.load(body)
    for split in ("train", "test"):
        drawn = [shapes.draw(np.random.default_rng(seed), split) for seed in range(60)]
        members = {tuple(row): bool(is_female) for row, is_female in zip(shapes.betas[split], shapes.female[split])}
        assert all(members[tuple(shape.betas)] == (shape.sex == "female") for shape in drawn)
        again = [shapes.draw(np.random.default_rng(seed), split) for seed in range(60)]
        assert all((a.betas == b.betas).all() and a.sex == b.sex for a, b in zip(drawn, again))
        assert len({tuple(shape.betas) for shape in drawn}) > 40
        assert {shape.sex for shape in drawn} == {"female", "male"}


def test_another_body_gets_normal_betas_within_limits():
    other = load_body_model(model_path("body/open_body_all.npz"))
    shapes = Shapes.load(other)
    rng = np.random.default_rng(5)
    betas = np.stack([shapes.draw(rng, "train").betas for _ in range(4000)])
    assert np.abs(betas.mean(axis=0)).max() < 0.08 and np.abs(betas.std(axis=0) - 1.0).max() < 0.06
    assert np.abs(betas).max() == BETA_LIMIT  # 19 of 40,000 would lie beyond


def test_digest_tells_bodies_apart(body):
    changed = dataclasses.replace(body, v_template=body.v_template + np.float32(1e-6))
    assert body_digest(changed) != body_digest(body)


def test_cards_match_their_files():
    import hashlib

    for name in (BANK, "simulation/light_body.npz"):
        path = model_path(name)
        card = json.loads(path.with_suffix(".json").read_text())
        assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert card["command"].startswith("python -m training.bodies.build_")


@pytest.mark.parametrize("case", ["missing", "garbage", "pickled", "shape", "nan", "index", "absent key"])
def test_bad_files_are_one_clear_error(case, tmp_path):
    path = tmp_path / "bank.npz"
    good = {"name": np.array("x"), "rows": np.zeros((3, 2)), "index": np.array([0, 4])}
    if case == "garbage":
        path.write_bytes(b"PK\x03\x04 not a zip archive")
    elif case == "pickled":
        np.savez(path, rows=np.array([{"a": 1}], dtype=object))
    elif case == "shape":
        np.savez(path, **{**good, "rows": np.zeros((3, 5))})
    elif case == "nan":
        np.savez(path, **{**good, "rows": np.full((3, 2), np.nan)})
    elif case != "missing":
        np.savez(path, **good)
    with pytest.raises(BakedFileError, match=r"bank\.npz: .*; bake it again") as caught:
        baked = BakedFile(path, "bake it again")
        baked.numbers("rows", (None, 2))
        baked.indices("index", (None,), below=4 if case == "index" else 5)
        baked.text("no such key" if case == "absent key" else "name")
    assert "\n" not in str(caught.value)
