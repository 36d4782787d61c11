"""Fit how likely a proposal of the learned perception is a person, and say how well that holds.

    .venv/bin/python tools/calibrate_detector.py [--data DATA] [--frames 600] [--engine onnxruntime] [--precision fp32]

Frames are of people, motion and clothes that no network was trained with (the `test` split), drawn with a seed of
their own: never those of a benchmark. A third have nobody in them. A proposal is right when it is the one nearest to a
person who is at least 10 % visible, within 0.5 m (mean over the joints); one of a person seen less, or a second one of
the same person, is neither right nor wrong. The models are fitted on all frames but every third, judged on those, and
written to models/detector/confidence.json with the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not when a test imports this: threads belong to the process
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is loaded; frames are not worth waking threads for

import numpy as np
from scipy.optimize import linear_sum_assignment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import default_body_model  # noqa: E402
from human_recon.camera.frame import Frame  # noqa: E402
from human_recon.camera.points import undistort_frame  # noqa: E402
from human_recon.inference.choice import EngineChoice, open_engine  # noqa: E402
from human_recon.io.atomic import atomic_file  # noqa: E402
from human_recon.perception.codebook import Codebook  # noqa: E402
from human_recon.perception.confidence import (  # noqa: E402
    PERSON_FEATURES,
    VOTE_FEATURES,
    DetectorConfidence,
    LogisticModel,
    person_features,
)
from human_recon.perception.learned import CONFIDENCE_MODEL, LearnedConfig, LearnedPerception  # noqa: E402
from human_recon.resources import model_path, share_folder  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.staging import SceneConfig  # noqa: E402
from human_recon.simulation.world import World, WorldConfig  # noqa: E402

SEED = 79  # not that of a benchmark, nor of the networks' validation
GATE = 0.5  # metres
LEAST_VISIBILITY = 0.10
PELVIS_AND_CHEST = [0, 9]
# A third of the frames without people: furniture is what false people are made of.
PEOPLE = (4.0, 2.0, 1.5, 1.5, 1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the people of a frame."""

    joints: np.ndarray  # [P, 24, 3] float32, metres
    visibility: np.ndarray  # [P] float32


@dataclass(frozen=True, eq=False)
class Judged:
    """Proposals of all frames with what they should have been."""

    features: np.ndarray  # [N, F] float64
    right: np.ndarray  # [N] bool
    frame: np.ndarray  # [N] int, number of the frame


def frames(count: int, assets: Assets) -> Iterator[tuple[Frame, Truth]]:
    """Frames as cameras of all presets give them."""
    world = World(WorldConfig(split="test", size=None, scene=SceneConfig(people=PEOPLE)), assets)
    for index in range(count):
        sample = world.sample(SEED, index)
        frame = undistort_frame(Frame(index, "camera", sample.depth, sample.view.intrinsics))
        yield frame, Truth(sample.rendering.joints, sample.visibility)


def judge(distance: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """1 = right, 0 = wrong, -1 = neither, for each row of ``distance`` [N, P] (metres)."""
    verdict = np.zeros(len(distance), int)
    if distance.size == 0:
        return verdict
    verdict[(distance < GATE).any(axis=1)] = -1  # unless it is the best one of somebody in view
    seen = np.flatnonzero(visibility >= LEAST_VISIBILITY)
    part = distance[:, seen]
    for row, column in zip(*linear_sum_assignment(np.where(part < GATE, part, 1e3)), strict=True):
        if part[row, column] < GATE:
            verdict[row] = 1
    return verdict


def collect(perception: LearnedPerception, scenes: Iterable[tuple[Frame, Truth]]) -> tuple[Judged, Judged]:
    """Every proposal, judged by its votes and by its body. ``perception`` must not sort any out."""
    votes: list[tuple[np.ndarray, bool, int]] = []
    people: list[tuple[np.ndarray, bool, int]] = []
    for number, (frame, truth) in enumerate(scenes):
        found = perception.propose(frame)
        if not found:
            continue
        reading = perception.read(frame, found)
        voted = np.stack([np.stack([one.pelvis, one.chest]) for one in found])
        true_voted = truth.joints[:, PELVIS_AND_CHEST]
        features = person_features(found, reading)
        for rows, joints, true_joints, row_features in (
            (votes, voted, true_voted, features[:, : len(VOTE_FEATURES)]),
            (people, reading.joints, truth.joints, features),
        ):
            distance = np.linalg.norm(joints[:, None] - true_joints[None], axis=-1).mean(axis=-1)
            for verdict, row in zip(judge(distance, truth.visibility), row_features, strict=True):
                if verdict >= 0:
                    rows.append((row, verdict == 1, number))
    return _judged(votes, len(VOTE_FEATURES)), _judged(people, len(PERSON_FEATURES))


def _judged(rows: list[tuple[np.ndarray, bool, int]], width: int) -> Judged:
    return Judged(
        np.array([row[0] for row in rows]).reshape(-1, width),
        np.array([row[1] for row in rows], bool),
        np.array([row[2] for row in rows], int),
    )


def fit(names: tuple[str, ...], judged: Judged) -> tuple[LogisticModel, dict[str, Any]]:
    """The model of all but every third frame, and how it does on those."""
    held = judged.frame % 3 == 2
    if len(set(judged.right[~held])) < 2 or not held.any():
        raise SystemExit("every proposal is right, or every one wrong: there is nothing to fit; take more frames")
    model = LogisticModel.fit(names, judged.features[~held], judged.right[~held])
    return model, figures(model(judged.features[held]), judged.right[held])


def figures(probability: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Area under the curve, Brier score, and in ten bins of probability the share that was right."""
    positive, negative = probability[right], probability[~right]
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    bins = np.minimum((probability * 10).astype(int), 9)
    return {
        "proposals": len(right),
        "right": int(right.sum()),
        "area_under_curve": round(float(above), 4),
        "brier": round(float(np.square(probability - right).mean()), 4),
        "reliability": [
            {
                "proposals": int((bins == b).sum()),
                "said": round(float(probability[bins == b].mean()), 3),
                "was": round(float(right[bins == b].mean()), 3),
            }
            for b in range(10)
            if (bins == b).any()
        ],
    }


def main() -> None:
    """Parse the command line, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of motion capture and clothing")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("-o", "--output", type=Path, help="default: models/detector/confidence.json of the package")
    arguments = parser.parse_args()
    choice = EngineChoice(arguments.engine, arguments.precision, threads=1)
    people, body = open_engine("people_net", choice), open_engine("body_net", choice)
    codebook = Codebook.load(model_path("body_net/codebook.npz"))
    every = replace(LearnedConfig(), least_vote_confidence=0.0)
    perception = LearnedPerception(people, body, codebook, default_body_model(), every)
    started = time.monotonic()

    def told() -> Iterator[tuple[Frame, Truth]]:
        for number, scene in enumerate(frames(arguments.frames, Assets.locate(arguments.data))):
            yield scene
            if number % 50 == 49:
                seconds = time.monotonic() - started
                left = seconds / (number + 1) * (arguments.frames - number - 1)
                print(f"{number + 1} of {arguments.frames} frames, {left:.0f} s left", flush=True)

    write(*collect(perception, told()), arguments, [people.description, body.description])


def write(votes: Judged, people: Judged, arguments: argparse.Namespace, engines: list[str]) -> DetectorConfidence:
    """Fit both models, print and write them."""
    vote_model, vote_figures = fit(VOTE_FEATURES, votes)
    person_model, person_figures = fit(PERSON_FEATURES, people)
    source = {
        "command": f"python tools/calibrate_detector.py --frames {arguments.frames}",
        "split": "test",
        "seed": SEED,
        "engines": engines,
    }
    content = {
        "votes": {**vote_model.to_json(), "held_out": vote_figures},
        "person": {**person_model.to_json(), "held_out": person_figures},
        "source": source,
    }
    output = arguments.output or share_folder() / "models" / CONFIDENCE_MODEL
    with atomic_file(output) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, numbers in (("votes", vote_figures), ("person", person_figures)):
        print(f"{name}: area under the curve {numbers['area_under_curve']}, Brier {numbers['brier']}")
        for row in numbers["reliability"]:
            print(f"    said {row['said']:.2f}, was {row['was']:.2f}  ({row['proposals']})")
    print(f"wrote {output}")
    return DetectorConfidence(vote_model, person_model)


if __name__ == "__main__":
    main()
