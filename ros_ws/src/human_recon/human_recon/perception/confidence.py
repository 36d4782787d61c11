"""How likely a proposal is a person: a small logistic model of what both networks say about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from human_recon.perception.body_net import CELLS, BodyReading
from human_recon.perception.crops import WINDOW
from human_recon.perception.prompts import Proposal

CELL_AREA = (WINDOW / CELLS) ** 2  # square metres at the crop's centre
FEATURES = (
    "log_mask_area",  # of square metres, seen from the front, of BodyNet's mask
    "mask_certainty",  # mean probability of the cells of this mask
    "prompt_agreement",  # intersection over union of BodyNet's mask and PeopleNet's
    "log_joint_scale",  # mean logarithm of the joints' standard deviations
    "similarity",  # mean cosine of the mask's descriptors and the body's
    "log_vote_area",  # of square metres whose votes agree
    "log_vote_spread",  # of metres, mean distance of the votes from their joints
    "log_vote_scale",  # of metres, what PeopleNet thinks this is
    "pelvis_distance",  # metres between the pelvises of both networks
)


def features(proposals: Sequence[Proposal], reading: BodyReading) -> np.ndarray:
    """[N, 9] float64, in the order of FEATURES."""
    result = np.empty((len(proposals), len(FEATURES)))
    for n, proposal in enumerate(proposals):
        mask, prompt = reading.mask[n], reading.prompt[n] * reading.valid[n]
        mine = mask > 0.5
        cells = np.count_nonzero(mine)
        union = np.maximum(mask, prompt).sum()
        result[n] = (
            np.log(max(cells * CELL_AREA, 1e-3)),
            mask[mine].mean() if cells else 0.0,
            np.minimum(mask, prompt).sum() / union if union > 0 else 0.0,
            np.log(reading.joint_sigma[n]).mean(),
            reading.similarity[n][mine].mean() if cells else 0.0,
            np.log(max(proposal.area, 1e-3)),
            np.log(max(proposal.spread, 1e-3)),
            np.log(max(proposal.scale, 1e-3)),
            min(float(np.linalg.norm(reading.joints[n, 0] - proposal.pelvis)), 1.0),
        )
    return result


@dataclass(frozen=True, eq=False)
class ConfidenceModel:
    """Probability = logistic(weights . (features - mean) / deviation + bias)."""

    mean: np.ndarray  # [9] float64
    deviation: np.ndarray  # [9] float64
    weights: np.ndarray  # [9] float64
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities [N] of features [N, 9]."""
        score = (features - self.mean) / self.deviation @ self.weights + self.bias
        return 1.0 / (1.0 + np.exp(-np.clip(score, -30.0, 30.0)))

    @staticmethod
    def load(path: Path) -> ConfidenceModel:
        """Read what `tools/calibrate_detector.py` wrote.

        Raises:
            ValueError: the file is of other features, or incomplete.
        """
        try:
            content = json.loads(path.read_text())
            if tuple(content["features"]) != FEATURES:
                raise ValueError(f"it is of the features {', '.join(content['features'])}; fit it anew")
            mean, deviation, weights = (
                np.asarray(content[name], np.float64) for name in ("mean", "deviation", "weights")
            )
            if any(row.shape != (len(FEATURES),) or not np.isfinite(row).all() for row in (mean, deviation, weights)):
                raise ValueError(f"mean, deviation and weights must have {len(FEATURES)} finite numbers each")
            if not (deviation > 0).all():
                raise ValueError("a deviation is not positive")
            return ConfidenceModel(mean, deviation, weights, float(content["bias"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no confidence model: {error}") from None
