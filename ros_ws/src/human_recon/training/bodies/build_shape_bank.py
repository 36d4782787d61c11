"""Draw the people of the synthetic world: shapes of the open adult body with sex, age and stature.

    python -m training.bodies.build_shape_bank

People come from Anny's calibrated distribution, as those the body was made of, and are expressed in the body's 10 betas
by least squares over the surface in the T pose. Independent normal betas would be people whom nobody has met: the
coefficients of real shapes are not independent, stature and build go with sex, and sex decides what they wear. The
shapes of the test split come from another seed of Anny's sampler.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.resources import share_folder
from human_recon.simulation.baked import body_digest
from human_recon.simulation.shapes import BETA_LIMIT
from training.bodies.anny_source import TOPOLOGY, AnnySource
from training.bodies.build_open_body import AGES, BETAS, decimated_half, t_posed
from training.bodies.model_card import millimetres, write_model
from training.bodies.symmetry import HalfBody

BODY_SEED = 0  # the seed that models/body/open_body_adult.npz was baked with: decides its topology
CHUNK = 512  # people held in memory at a time


def fitted_betas(
    vertices: np.ndarray,  # [S, K, 3] half bodies in the T pose, pelvis at 0
    body: BodyModel,
    times: np.ndarray,  # [K] how many vertices of the whole body each stands for
) -> tuple[np.ndarray, np.ndarray]:
    """Betas [S, 10] that fit best in the T pose, and the distances [S, K] that remain, metres."""
    size = len(times)
    mean, components = body.v_template[:size].astype(np.float64), body.shapedirs[:size].astype(np.float64)
    root = np.sqrt(times)[:, None]
    basis = (components * root[:, :, None]).reshape(-1, BETAS)
    wanted = ((vertices - mean) * root).reshape(len(vertices), -1).T
    betas = np.linalg.lstsq(basis, wanted, rcond=None)[0].T
    return betas, np.linalg.norm(mean + np.einsum("vck,sk->svc", components, betas, optimize=True) - vertices, axis=-1)


def draw_people(
    source: AnnySource, body: BodyModel, kept: np.ndarray, half: HalfBody, count: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of ``count`` people and the distances [count, K] that their betas leave, metres."""
    people = source.sample(count, AGES["adult"], seed, kept)
    times = np.where(half.border, 1.0, 2.0)
    betas, left, stature = [], [], []
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        posed, _ = t_posed(
            source, type(people)(people.vertices[part], people.heads[part], people.age[part], people.female[part]),
            source.weights[kept], half,
        )  # fmt: skip
        chunk_betas, chunk_left = fitted_betas(posed, body, times)
        betas.append(chunk_betas)
        left.append(chunk_left)
        stature.append(posed[:, :, 1].max(axis=1) - posed[:, :, 1].min(axis=1))
    columns = {
        "betas": np.concatenate(betas).astype(np.float32),
        "female": people.female,
        "age": people.age.astype(np.float32),
        "stature": np.concatenate(stature).astype(np.float32),
    }
    return columns, np.concatenate(left)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.bodies.build_shape_bank",
        description="Draw people from the anny package and express them in the open adult body's betas.",
    )
    default = share_folder() / "models" / "simulation" / "shapes.npz"
    parser.add_argument("--output", type=Path, default=default, help="file to write (default: %(default)s)")
    parser.add_argument("--train", type=int, default=4096, help="people of the train split")
    parser.add_argument("--test", type=int, default=512, help="people of the test split")
    parser.add_argument("--seed", type=int, default=100, help="of the train split; the test split takes the next one")
    options = parser.parse_args(arguments)
    if min(options.train, options.test) < 2:
        parser.error("--train and --test must be at least 2")
    began = time.monotonic()
    body = default_body_model()
    source = AnnySource()
    kept, half = decimated_half(source, BODY_SEED)
    if not np.array_equal(half.whole_faces, body.faces):
        parser.error("this anny makes another topology than models/body/open_body_adult.npz has; bake the body again")
    arrays: dict[str, np.ndarray] = {"body_digest": np.array(body_digest(body))}
    card: dict[str, object] = {
        "description": "People of the synthetic world: betas of open_body_adult with sex, age and stature",
        "command": f"python -m training.bodies.build_shape_bank --train {options.train} --test {options.test} "
        f"--seed {options.seed}",
        "body": body.name,
        "anny_topology": TOPOLOGY,
        "ages_years": list(AGES["adult"]),
    }
    for split, count, seed in (("train", options.train, options.seed), ("test", options.test, options.seed + 1)):
        columns, left = draw_people(source, body, kept, half, count, seed)
        arrays |= {f"{split}_{name}": value for name, value in columns.items()}
        betas, stature, female = columns["betas"], columns["stature"], columns["female"]
        card[split] = {
            "people": count,
            "seed": seed,
            "residual": millimetres(left),
            "female_share": round(float(female.mean()), 4),
            "stature_m": {
                name: {"mean": round(float(stature[who].mean()), 4), "sd": round(float(stature[who].std()), 4)}
                for name, who in (("female", female), ("male", ~female))
            },
            "betas_sd": [round(float(value), 3) for value in betas.std(axis=0)],
            "largest_beta": round(float(np.abs(betas).max()), 3),
            "share_of_betas_beyond_limit": round(float((np.abs(betas) > BETA_LIMIT).mean()), 5),
        }
        print(f"{split}: {card[split]}", file=sys.stderr, flush=True)
    card["wall_time_s"] = round(time.monotonic() - began, 1)
    write_model(options.output, arrays, card)
    print(f"wrote {options.output} ({options.output.stat().st_size / 1e3:.0f} kB)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
