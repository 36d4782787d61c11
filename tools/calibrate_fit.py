"""How well the fit knows its own errors, and the factors with which it would know them.

    .venv/bin/python tools/calibrate_fit.py [-o OUT.json] [--data DATA] [--frames 100] [--engine onnxruntime]

Frames are of two to four people of the `test` split, whom no network was trained with, drawn with a seed of their own:
never those of a benchmark. Each person is fitted alone, as in a first frame. Errors of the joints are counted in the
standard deviations that the fit states, per axis. Printed and written:

- the shares within 1, 2 and 3 sigma (of a Gaussian: 68.3, 95.4, 99.7 %) of all joints, of those the camera sees, of
  the pelvis, and by how similar the evidence is to the body on average;
- `inflation` and `doubt` as `human_recon.fitting.covariance.CovarianceConfig` should have them, by a line through the
  logarithm of the 68 % quantiles over the similarity. With `--set-free` the tool starts from 1 and 0.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # not when a test imports this: threads belong to the process
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before NumPy is loaded

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "ros_ws/src/human_recon"))

from human_recon.body.model import default_body_model  # noqa: E402
from human_recon.camera.points import undistort_frame  # noqa: E402
from human_recon.evaluation.environment import describe_environment  # noqa: E402
from human_recon.fitting.body_fit import BodyFit, FitProblem, Scene  # noqa: E402
from human_recon.fitting.body_fitter import BodyFitConfig, BodyFitter  # noqa: E402
from human_recon.ground_truth import TrueFrame, TruePerson  # noqa: E402
from human_recon.inference.choice import EngineChoice, open_engine  # noqa: E402
from human_recon.io.atomic import write_bytes  # noqa: E402
from human_recon.perception.codebook import Codebook  # noqa: E402
from human_recon.perception.hypothesis import BodyGuess  # noqa: E402
from human_recon.perception.learned import LearnedPerception  # noqa: E402
from human_recon.resources import model_path  # noqa: E402
from human_recon.simulation.assets import Assets  # noqa: E402
from human_recon.simulation.staging import SceneConfig  # noqa: E402
from human_recon.simulation.world import World, WorldConfig  # noqa: E402

SEED = 77001  # not that of a benchmark, nor of the networks' validation
GATE = 0.5  # metres between the mean joints of a fit and of a person: farther ones are of somebody else
BINS = 5
ONE_SIGMA = 0.6827


@dataclass(frozen=True, eq=False)
class Judged:
    """One person's fit."""

    errors: np.ndarray  # [24, 3] in the fit's standard deviations
    seen: np.ndarray  # [24] bool
    similarity: float


def true_frames(count: int, data: Path | None) -> Iterator[TrueFrame]:
    """Frames in which at least two people are 30 % visible."""
    config = WorldConfig(split="test", size=None, detail="full", scene=SceneConfig(people=(0, 0, 1, 1, 1)))
    world, index, made = World(config, Assets.locate(data)), 0, 0
    while made < count:
        sample = world.sample(SEED, index)
        index += 1
        if int((sample.visibility >= 0.3).sum()) >= 2:
            yield world.true_frame(sample, stamp_ns=made * 1_000_000_000)
            made += 1


def judge(fit: BodyFit, similarity: float, people: tuple[TruePerson, ...]) -> Judged | None:
    """The fit against the nearest true person; None when nobody is near."""
    distances = [float(np.linalg.norm(fit.joints - person.joints, axis=1).mean()) for person in people]
    if not distances or min(distances) > GATE:
        return None
    person = people[int(np.argmin(distances))]
    sigma = np.sqrt(np.einsum("jaa->ja", fit.joint_covariance))
    return Judged(np.abs(fit.joints - person.joints) / sigma, person.joint_visible, similarity)


def within(errors: np.ndarray) -> list[float]:
    """Shares within 1, 2, 3 sigma."""
    return [round(float((errors < k).mean()), 3) for k in (1, 2, 3)]


def figures(judged: list[Judged], config: BodyFitConfig) -> dict[str, Any]:
    """What is written; ``judged`` were fitted with ``config``."""
    errors = np.stack([one.errors for one in judged])
    seen = np.stack([one.seen for one in judged])
    similarity = np.array([one.similarity for one in judged])
    groups = np.array_split(np.argsort(similarity), BINS)
    covariance = config.covariance
    # The factor by which each group's sigmas are too small, on top of what they were multiplied with.
    wanted = [
        np.log(np.quantile(errors[group], ONE_SIGMA))
        + np.mean([np.log(covariance.inflation_at(similarity[one])) for one in group])
        for group in groups
    ]
    below = [np.clip(covariance.recognised - similarity[group], 0.0, 1.0).mean() for group in groups]
    if np.ptp(below) > 1e-3:
        doubt, inflation = np.polyfit(below, wanted, 1)
    else:  # nobody was recognised badly: nothing is learned about them
        doubt, inflation = covariance.doubt, float(np.mean(wanted)) - covariance.doubt * float(np.mean(below))
    return {
        "people": len(judged),
        "all": within(errors),
        "seen": within(errors[seen]),
        "hidden": within(errors[~seen]),
        "pelvis": within(errors[:, 0]),
        "by_similarity": [
            {"similarity": round(float(similarity[group].mean()), 3), "within": within(errors[group])}
            for group in groups
        ],
        "used": {"inflation": covariance.inflation, "doubt": covariance.doubt},
        "suggested": {"inflation": round(float(np.exp(inflation)), 2), "doubt": round(float(max(doubt, 0.0)), 2)},
    }


def main() -> None:
    """Parse the command line, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of motion capture and clothing")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--set-free", action="store_true", help="judge the normal matrix as it is")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    arguments = parser.parse_args()

    choice = EngineChoice(arguments.engine, arguments.precision, threads=1)
    people, bodies = open_engine("people_net", choice), open_engine("body_net", choice)
    model = default_body_model()
    perception = LearnedPerception(people, bodies, Codebook.load(model_path("body_net/codebook.npz")), model)
    config = BodyFitConfig()
    if arguments.set_free:
        config = replace(config, covariance=replace(config.covariance, inflation=1.0, doubt=0.0))
    fitter = BodyFitter(model, config)
    judged = []
    for number, true in enumerate(true_frames(arguments.frames, arguments.data)):
        frame = undistort_frame(true.frame)
        found = perception.detect(frame).people
        owner = np.full(frame.depth.shape, -1, np.int16)
        for k, person in enumerate(found):
            owner[person.mask] = k
        scene = Scene(frame, owner, None, frame.up)
        for k, person in enumerate(found):
            guess = BodyGuess(person.state, person.joints, person.joint_sigma)
            fit = fitter.fit(FitProblem(k, person.evidence, guess), scene)
            similar = np.clip(person.evidence.similarity, 0.0, 1.0)
            similarity = float(similar.mean()) if len(similar) else 0.0
            one = judge(fit, similarity, true.people)
            if one is not None:
                judged.append(one)
        if number % 20 == 19:
            print(f"{number + 1} of {arguments.frames} frames", flush=True)
    if len(judged) < 2 * BINS:
        raise SystemExit(f"{len(judged)} people are too few to judge by: take more --frames")
    result = {
        "command": f"python tools/calibrate_fit.py --frames {arguments.frames}",
        "split": "test",
        "seed": SEED,
        "engines": [people.description, bodies.description],
        **figures(judged, config),
        "environment": describe_environment(),
    }
    print(json.dumps({key: value for key, value in result.items() if key != "environment"}, indent=2))
    if arguments.output:
        write_bytes(arguments.output, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
