"""How likely a proposal is a person: small logistic models of what the networks say about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.perception.body_net import CELLS, BodyReading
from human_recon.perception.crops import WINDOW
from human_recon.perception.prompts import Proposal
from human_recon.perception.votes import Gatherings

CELL_AREA = (WINDOW / CELLS) ** 2  # square metres at the crop's centre

VOTE_FEATURES = (
    "log_vote_area",  # of square metres whose votes agree
    "log_vote_pixels",  # of PeopleNet's pixels whose votes agree
    "log_vote_spread",  # of metres, mean distance of the votes from their joints
    "log_vote_scale",  # of metres, what PeopleNet thinks this is
    "log_prominence",  # of the area over that of the largest gathering within 0.8 m
)
PERSON_FEATURES = (
    *VOTE_FEATURES,
    "log_mask_area",  # of square metres, seen from the front, of BodyNet's mask
    "mask_certainty",  # mean probability of the cells of this mask
    "prompt_agreement",  # intersection over union of BodyNet's mask and PeopleNet's
    "log_joint_scale",  # mean logarithm of the joints' standard deviations
    "similarity",  # mean cosine of the mask's descriptors and the body's
    "pelvis_distance",  # metres between the pelvises of both networks
)
_NEIGHBOUR = 0.8  # metres, in the six dimensions of the votes


def vote_features(gatherings: Gatherings) -> np.ndarray:
    """[K, 5] float64, in the order of VOTE_FEATURES."""
    joints = np.concatenate([gatherings.pelvis, gatherings.chest], axis=1)
    near = np.linalg.norm(joints[:, None] - joints[None], axis=-1) < _NEIGHBOUR
    largest = np.where(near, gatherings.area[None], 0.0).max(axis=1, initial=0.0)
    columns = (
        np.maximum(gatherings.area, 1e-3),
        np.maximum(gatherings.pixels, 1.0),
        np.maximum(gatherings.spread, 1e-3),
        np.maximum(gatherings.scale, 1e-3),
        gatherings.area / np.maximum(largest, 1e-9),
    )
    return np.log(np.stack(columns, axis=1))


def person_features(proposals: Sequence[Proposal], reading: BodyReading) -> np.ndarray:
    """[N, 11] float64, in the order of PERSON_FEATURES."""
    result = np.empty((len(proposals), len(PERSON_FEATURES)))
    for n, proposal in enumerate(proposals):
        mask, prompt = reading.mask[n], reading.prompt[n] * reading.valid[n]
        mine = mask > 0.5
        cells = np.count_nonzero(mine)
        union = np.maximum(mask, prompt).sum()
        result[n, : len(VOTE_FEATURES)] = proposal.vote_features
        result[n, len(VOTE_FEATURES) :] = (
            np.log(max(cells * CELL_AREA, 1e-3)),
            mask[mine].mean() if cells else 0.0,
            np.minimum(mask, prompt).sum() / union if union > 0 else 0.0,
            np.log(reading.joint_sigma[n]).mean(),
            reading.similarity[n][mine].mean() if cells else 0.0,
            min(float(np.linalg.norm(reading.joints[n, 0] - proposal.pelvis)), 1.0),
        )
    return result


@dataclass(frozen=True, eq=False)
class LogisticModel:
    """Probability = logistic(weights . (features - mean) / deviation + bias)."""

    names: tuple[str, ...]  # of the F features
    mean: np.ndarray  # [F] float64
    deviation: np.ndarray  # [F] float64
    weights: np.ndarray  # [F] float64
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities [N] of features [N, F]."""
        score = (features - self.mean) / self.deviation @ self.weights + self.bias
        return 1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0)))

    @staticmethod
    def fit(
        names: tuple[str, ...], features: np.ndarray, labels: np.ndarray, penalty: float = 1.0, rounds: int = 50
    ) -> LogisticModel:
        """The most likely model for ``features`` [N, F] and ``labels`` [N] bool, by Newton's method.

        ``penalty`` times half of the squared weights keeps them finite where the labels separate perfectly.
        """
        mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
        x = np.concatenate([(features - mean) / deviation, np.ones((len(features), 1))], axis=1)
        ridge = np.diag([*np.full(len(names), penalty), 1e-9])
        solution = np.zeros(len(names) + 1)
        for _ in range(rounds):
            probability = 1.0 / (1.0 + np.exp(-np.clip(x @ solution, -30.0, 30.0)))
            gradient = x.T @ (probability - labels) + ridge @ solution
            curvature = (x * (probability * (1.0 - probability))[:, None]).T @ x + ridge
            step = np.linalg.solve(curvature, gradient)
            solution = solution - step
            if np.abs(step).max() < 1e-9:
                break
        return LogisticModel(names, mean, deviation, solution[:-1], float(solution[-1]))

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        rows = {"mean": self.mean, "deviation": self.deviation, "weights": self.weights}
        table = {name: {key: round(float(row[k]), 6) for key, row in rows.items()} for k, name in enumerate(self.names)}
        return {"features": table, "bias": round(self.bias, 6)}

    @staticmethod
    def from_json(content: Mapping[str, Any], names: tuple[str, ...]) -> LogisticModel:
        """Read the model of the features ``names``. Raises ValueError for another one."""
        try:
            table, bias = content["features"], float(content["bias"])
            if tuple(table) != names:
                raise ValueError(f"it is of the features {', '.join(table)}; fit it anew")
            rows = {
                key: np.array([table[name][key] for name in names], np.float64)
                for key in ("mean", "deviation", "weights")
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"incomplete: {error}") from None
        if not all(np.isfinite(row).all() for row in rows.values()) or not (rows["deviation"] > 0).all():
            raise ValueError("a number is not finite, or a deviation not positive")
        return LogisticModel(names, rows["mean"], rows["deviation"], rows["weights"], bias)


@dataclass(frozen=True, eq=False)
class DetectorConfidence:
    """Two models: of proposals before BodyNet has seen them, and after."""

    votes: LogisticModel
    person: LogisticModel

    @staticmethod
    def load(path: Path) -> DetectorConfidence:
        """Read what `tools/calibrate_detector.py` wrote.

        Raises:
            ValueError: the file is of other features, or incomplete.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return DetectorConfidence(
                votes=LogisticModel.from_json(content["votes"], VOTE_FEATURES),
                person=LogisticModel.from_json(content["person"], PERSON_FEATURES),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no confidence model of the detector: {error}") from None
