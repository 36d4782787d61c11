"""Nobody is inside anybody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.fitting.icp import Fit, IcpFitter
from human_recon.fitting.observation import Observation
from human_recon.geometry.signed_distance import penetration


@dataclass(frozen=True)
class CoherenceConfig:
    """When overlapping bodies are refitted."""

    tolerance: float = 0.01  # metres of penetration that flesh and clothing allow
    rounds: int = 4
    iterations: int = 8  # of the fit per round


def keep_apart(
    fitter: IcpFitter, fits: Sequence[Fit], observations: Sequence[Observation], config: CoherenceConfig
) -> list[Fit]:
    """Refit people who overlap, each with the others as obstacles, until none does or the rounds are used up."""
    fits = list(fits)
    vertices = [pose_body(fitter.model, fit.state).vertices for fit in fits]
    for _ in range(config.rounds):
        crowded = _overlapping(vertices, fitter.model.faces, config.tolerance)
        if not crowded:
            break
        for i, others in crowded.items():
            fits[i] = fitter.refine(
                fits[i].state, observations[i], [vertices[j] for j in others], iterations=config.iterations
            )
            vertices[i] = pose_body(fitter.model, fits[i].state).vertices
    return fits


def penetration_depth(model: BodyModel, first: BodyState, second: BodyState) -> float:
    """How deep two bodies are inside each other, metres: the larger of both directions, 0 if they do not touch."""
    a, b = pose_body(model, first).vertices, pose_body(model, second).vertices
    return max(_depth(a, b, model.faces), _depth(b, a, model.faces))


def _depth(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> float:
    depths = penetration(points, vertices, faces)[1]
    return float(depths.max()) if len(depths) else 0.0


def _overlapping(vertices: Sequence[np.ndarray], faces: np.ndarray, tolerance: float) -> dict[int, list[int]]:
    """For each body that is inside another, or has another inside it, the list of those."""
    crowded: dict[int, list[int]] = {}
    for i in range(len(vertices)):
        for j in range(i):
            if max(_depth(vertices[i], vertices[j], faces), _depth(vertices[j], vertices[i], faces)) > tolerance:
                crowded.setdefault(i, []).append(j)
                crowded.setdefault(j, []).append(i)
    return crowded
