"""Everybody of a frame registered by closest points alone: the fit behind geometric perception."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.camera.frame import Frame
from human_recon.fitting.body_fit import BodyFit, Expectation
from human_recon.fitting.coherence import CoherenceConfig, keep_apart
from human_recon.fitting.icp import Fit, IcpFitter
from human_recon.fitting.observation import Observation, observe
from human_recon.geometry.rasterizer import rasterize
from human_recon.perception.hypothesis import PersonHypothesis
from human_recon.perception.surface import Surface


@dataclass(frozen=True)
class IcpPeopleConfig:
    """When a fit is believed."""

    max_residual: float = 0.06  # metres: a body that explains its pixels worse than this is not believed
    min_explained: float = 0.5  # share of a person's pixels that it must cover


def fit_people(
    fitter: IcpFitter,
    frame: Frame,
    surface: Surface,
    hypotheses: Sequence[PersonHypothesis],
    expected: Sequence[Expectation | None],
    coherence: CoherenceConfig,
    config: IcpPeopleConfig,
    pool: ThreadPoolExecutor,
) -> list[BodyFit | None]:
    """Register a body to each hypothesis, nobody inside anybody else; None where no body explains the pixels."""
    everybody = np.zeros(frame.depth.shape, bool)
    for hypothesis in hypotheses:
        everybody |= hypothesis.mask
    surroundings = surface.surroundings

    def look(hypothesis: PersonHypothesis) -> Observation:
        return observe(
            surface.points,
            surface.normals,
            hypothesis.mask,
            hypothesis.head,
            everybody,
            frame.intrinsics,
            surroundings.floor,
            surroundings.up,
        )

    def fit(observation: Observation, before: Expectation | None) -> Fit:
        return fitter.search(observation) if before is None else fitter.track(observation, before.state, np.inf)

    def believed() -> list[int]:
        judged = _judge(fitter, frame, hypotheses, fits)
        return [
            k
            for k, (residual, explained) in enumerate(judged)
            if residual <= config.max_residual and explained >= config.min_explained
        ]

    observations = list(pool.map(look, hypotheses))
    fits = list(pool.map(fit, observations, expected))
    kept = believed()
    lost = [k for k, before in enumerate(expected) if before is not None and k not in kept]
    if lost:  # what the past led astray is looked for anew
        for k, again in zip(lost, pool.map(fitter.search, [observations[k] for k in lost]), strict=True):
            fits[k] = again
        kept = believed()
    apart = keep_apart(fitter, [fits[k] for k in kept], [observations[k] for k in kept], coherence)
    result: list[BodyFit | None] = [None] * len(hypotheses)
    judged = _judge(fitter, frame, [hypotheses[k] for k in kept], apart)
    for k, found, (residual, explained) in zip(kept, apart, judged, strict=True):
        sigma = fitter.joint_sigma(found)
        result[k] = BodyFit(
            state=found.state,
            information=found.information,
            energy=found.energy,
            residual=residual,
            explained=explained,
            joints=pose_body(fitter.model, found.state).joints.astype(np.float64),
            joint_covariance=np.square(sigma)[:, None, None] * np.eye(3),
            root_covariance=np.full((6, 6), np.nan),
            joint_seen=np.ones(24, np.float32),
        )
    return result


def _judge(
    fitter: IcpFitter, frame: Frame, hypotheses: Sequence[PersonHypothesis], fits: Sequence[Fit]
) -> list[tuple[float, float]]:
    """How well each body explains its pixels: median distance in depth, metres, and share of pixels covered."""
    model = fitter.model
    vertices = np.array([pose_body(model, f.state).vertices for f in fits], np.float32)
    raster = rasterize(vertices.reshape(-1, *model.v_template.shape), model.faces, frame.intrinsics)
    judged = []
    for i, hypothesis in enumerate(hypotheses):
        common = hypothesis.mask & (raster.person == i)
        residual = float(np.median(np.abs(raster.depth - frame.depth)[common])) if common.any() else np.nan
        judged.append((residual, float(common.sum() / max(hypothesis.mask.sum(), 1))))
    return judged
