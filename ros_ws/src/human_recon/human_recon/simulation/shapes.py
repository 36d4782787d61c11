"""The shapes of the people: a bank of sampled adults for the open body, normal betas for any other body model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.resources import model_path
from human_recon.simulation.assets import Split
from human_recon.simulation.baked import BakedFile

Sex = Literal["female", "male"]

BANK = "simulation/shapes.npz"
BETA_LIMIT = 3.5  # standard deviations; betas of unknown bodies are clipped here
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, eq=False)
class Shape:
    """Who somebody is, without clothes."""

    betas: np.ndarray  # [10] float64
    sex: Sex  # decides which garments fit


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of both splits, or none: then betas are normal."""

    betas: dict[Split, np.ndarray]  # [N, 10] float64
    female: dict[Split, np.ndarray]  # [N] bool

    @staticmethod
    def load(body: BodyModel) -> Shapes:
        """The bank made by ``training.bodies.build_shape_bank`` if ``body`` is the one it was made for.

        Raises BakedFileError when the bank that ships with the package is damaged.
        """
        bank = BakedFile(model_path(BANK), "restore the file that ships with the package")
        if not bank.made_for(body):
            return Shapes({}, {})
        betas = {split: bank.numbers(f"{split}_betas", (None, 10), np.float64) for split in SPLITS}
        female = {split: bank.numbers(f"{split}_female", (len(betas[split]),), bool) for split in SPLITS}
        return Shapes(betas, female)

    def draw(self, rng: np.random.Generator, split: Split) -> Shape:
        """One person.

        Without a bank the splits cannot be told apart by their members: the betas are continuous, so no shape comes
        twice.
        """
        if not self.betas:
            betas = np.clip(rng.standard_normal(10), -BETA_LIMIT, BETA_LIMIT)
            return Shape(betas, "female" if rng.random() < 0.5 else "male")
        chosen = int(rng.integers(len(self.betas[split])))
        return Shape(self.betas[split][chosen], "female" if self.female[split][chosen] else "male")
