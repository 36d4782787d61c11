"""What the coherence losses do to the SMPL branch: the ablation of seed 002, section 5.4.3, in its own terms.

    python -m training.body_net.ablate_coherence CHECKPOINT FOLDER -o benchmarks/coherence_losses.json

Five branches start from the checkpoint's and go on learning on the same crops of the same frozen trunk: without the
losses, with the interpenetration loss, with the depth-order loss, with both, and with the depth-order loss on all the
pixels that the seed has in it. They are then measured on people, motion and clothes of the test split, each in its true
crop. What the branches see is computed once and kept in FOLDER, and so
is the state of the training: an interrupted command goes on where it was. Takes about ten minutes of one core.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from human_recon.body.lbs_torch import BodyLayer, rotvec_to_matrix
from human_recon.body.model import default_body_model
from human_recon.evaluation.environment import describe_environment
from human_recon.simulation.assets import Assets, Split
from human_recon.simulation.stream import CROP_WORLD, CropMaker, StreamConfig, stream
from training.body_net.coherence import Coherence
from training.body_net.coherence_metrics import CoherenceFigures
from training.body_net.descriptors import TrainedBodyNet
from training.body_net.network import BodyHead, BodyNet
from training.body_net.posing import posed
from training.body_net.rotations import global_rotations, matrix_from_6d
from training.body_net.smpl_features import branch_output, read_features, write_features
from training.body_net.smpl_loss import SmplLoss
from training.loop.config import OptimizerConfig
from training.loop.task import Tensors

SEEDS: dict[Split, int] = {"train": 11, "test": 79}  # of the streams; nothing else is trained or measured on these
# Weights as in training.body_net.task.BodyTaskConfig; the votes are frozen.
SUPERVISED = {"rotation": 1.0, "joint": 8.0, "landmark": 4.0, "betas": 0.02, "spread": 0.02}
SAVE_EVERY = 100  # steps
# Branch -> the losses that it has beside the supervised ones.
BRANCHES: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "interpenetration": ("interpenetration",),
    "depth_order": ("depth_order",),
    "both": ("interpenetration", "depth_order"),
    "depth_order_of_the_seed": ("outlines",),
}


@dataclass(frozen=True)
class AblationConfig:
    """One ablation."""

    crops: int = 48  # in a batch
    train_batches: int = 200
    test_batches: int = 60
    steps: int = 1000
    rate: float = 3e-4  # of AdamW; falls to 0 over the second half
    interpenetration: float = 1.0  # weight of the loss, in the branches that have it
    depth_order: float = 100.0

    def weights(self, branch: str) -> dict[str, float]:
        """Of every term of a branch's loss."""
        known = {
            "interpenetration": self.interpenetration,
            "depth_order": self.depth_order,
            "outlines": self.depth_order,
        }
        return SUPERVISED | {name: known[name] for name in BRANCHES[branch]}

    @property
    def optimizer(self) -> OptimizerConfig:
        """Schedule and regularisation."""
        return OptimizerConfig(rate=self.rate, warmup=50, decay=0.5)


class Ablation:
    """The branches, what they see, and their figures."""

    def __init__(self, network: BodyNet, config: AblationConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.network = network
        self.heads: dict[str, BodyHead] = {name: copy.deepcopy(network.body) for name in BRANCHES}
        self._body = default_body_model()
        self._smpl = SmplLoss(self._body)
        self._coherence = Coherence(self._body)

    def prepare(self, split: Split, assets: Assets, workers: int) -> None:
        """Compute what is missing of what the branches see of a split."""
        paths = self._paths(split)
        done = next((k for k, path in enumerate(paths) if not path.exists()), len(paths))
        if done == len(paths):
            return
        maker = CropMaker(
            StreamConfig(seed=SEEDS[split], batch=self.config.crops, views=2, world=replace(CROP_WORLD, split=split)),
            assets,
        )
        with closing(stream(maker, first=done, workers=workers)) as batches:  # type: ignore[type-var]
            for number in write_features(self.network, batches, paths[done:]):
                _say(f"{split}: {done + number} of {len(paths)} batches of crops seen", number)

    def train(self) -> None:
        """Train all branches side by side, each step on the same crops."""
        config, state = self.config, self.folder / "branches.pt"
        optimizers = {
            name: torch.optim.AdamW(head.parameters(), lr=config.rate, weight_decay=config.optimizer.weight_decay)
            for name, head in self.heads.items()
        }
        first = 0
        if state.exists():
            stored = torch.load(state, weights_only=True)
            first = stored["step"]
            for name, head in self.heads.items():
                head.load_state_dict(stored["heads"][name])
                optimizers[name].load_state_dict(stored["optimizers"][name])
        batches = [read_features(path) for path in self._paths("train")]
        for step in range(first, config.steps):
            order = np.random.default_rng([1, step // len(batches)]).permutation(len(batches))
            features = batches[order[step % len(batches)]]
            for name, head in self.heads.items():
                for group in optimizers[name].param_groups:
                    group["lr"] = config.optimizer.rate_at(step, config.steps)
                optimizers[name].zero_grad(set_to_none=True)
                self._loss(head, features, config.weights(name)).backward()
                torch.nn.utils.clip_grad_norm_(head.parameters(), config.optimizer.clip)
                optimizers[name].step()
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.steps:
                _say(f"step {step + 1} of {config.steps}")
                save(
                    {
                        "step": step + 1,
                        "heads": {name: head.state_dict() for name, head in self.heads.items()},
                        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                    },
                    state,
                )

    def _loss(self, head: BodyHead, features: Tensors, weights: dict[str, float]) -> torch.Tensor:
        output = branch_output(head, features)
        terms = self._smpl(output, features)
        if len(weights) > len(SUPERVISED):
            crowd = self._coherence.crowd(output.rotations, output.betas, output.root, features)
            if "interpenetration" in weights:
                terms["interpenetration"] = self._coherence.interpenetration(crowd)
            for name in weights.keys() & {"depth_order", "outlines"}:
                terms[name] = self._coherence.depth_order(crowd, outlines=name == "outlines")
        return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Figures on the test split: of the truth, of the checkpoint's branch as it was, of every branch."""
        figures = {name: CoherenceFigures() for name in ("truth", "checkpoint", *BRANCHES)}
        layer = BodyLayer(self._body)
        for number, path in enumerate(self._paths("test"), start=1):
            features = read_features(path)
            local = global_rotations(rotvec_to_matrix(features["pose"]))
            truth = torch.cat([local[..., 0], local[..., 1]], dim=-1), features["betas"], features["joints"][:, 0]
            self._add(figures["truth"], layer, truth, features)
            for name, head in {"checkpoint": self.network.body, **self.heads}.items():
                output = branch_output(head, features)
                self._add(figures[name], layer, (output.rotations, output.betas, output.root), features)
            if number % 10 == 0:
                _say(f"{number} of {self.config.test_batches} batches measured")
        values = {name: rounded(figure.values()) for name, figure in figures.items()}
        for name in list(BRANCHES)[1:]:
            interval = figures[name].difference(figures["baseline"])
            values[name]["less_baseline_95"] = {key: [round(a, 3), round(b, 3)] for key, (a, b) in interval.items()}
        return {"images": len(figures["truth"].rows), "figures": values}

    def _add(
        self,
        figures: CoherenceFigures,
        layer: BodyLayer,
        bodies: tuple[torch.Tensor, torch.Tensor, torch.Tensor],  # rotations, betas, root as the network gives them
        features: Tensors,
    ) -> None:
        """The images of one batch."""
        rotations, betas, root = bodies
        crowd = self._coherence.crowd(rotations, betas, root, features)
        disputed = self._coherence.disputed(crowd)
        misplaced = self._coherence.misplaced(crowd, disputed)
        views = int(features["view"].max()) + 1
        hidden, wrong = (np.bincount(crowd.view[some.person], minlength=views) for some in (disputed, misplaced))
        turn, centre = features["rotation"], features["centre"][:, None]
        vertices, joints = (
            (points @ turn + centre).numpy() for points in posed(layer, matrix_from_6d(rotations), betas, root)
        )
        truth = (features["joints"] @ turn + centre).numpy()
        pixels = features["mask"].flatten(1).sum(1).numpy()
        for view in features["view"].unique().tolist():
            rows = (features["view"] == view).numpy() & features["present"].numpy()
            figures.add_image(
                bodies=vertices[rows],
                faces=self._body.faces,
                joints=joints[rows],
                truth=truth[rows],
                visibility=features["visibility"].numpy()[rows],
                pixels=(int(hidden[view]), int(wrong[view]), int(pixels[rows].sum())),
            )

    def _paths(self, split: Split) -> list[Path]:
        count = self.config.train_batches if split == "train" else self.config.test_batches
        return [self.folder / split / f"{number:05d}.pt" for number in range(count)]


def save(content: Any, path: Path) -> None:
    """Write with torch, never leaving half a file under that name."""
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    os.replace(part, path)


def rounded(values: dict[str, float]) -> dict[str, Any]:
    """To what the number of images can tell."""
    return {name: round(value, 3) for name, value in values.items()}


def claim(folder: Path, content: dict[str, Any]) -> None:
    """Note in ``folder`` what its files are made from. Raises ValueError when they are made from something else."""
    card = folder / "made_from.json"
    if not card.exists():
        folder.mkdir(parents=True, exist_ok=True)
        card.write_text(json.dumps(content, indent=2))
    elif (stored := json.loads(card.read_text())) != json.loads(json.dumps(content)):
        changed = sorted(key for key in {*stored, *content} if stored.get(key) != content.get(key))
        raise ValueError(
            f"{folder} holds an ablation of another {', '.join(changed)}: name another folder, or remove it"
        )


def _say(text: str, number: int = 10) -> None:
    if number % 10 == 0:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.body_net.ablate_coherence",
        description="Train SMPL branches with and without the coherence losses, and measure them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="last.pt or best.pt of training.body_net.train")
    parser.add_argument("folder", type=Path, help="where intermediate results live; an ablation that is there goes on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON to write")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that make crops, besides this one")
    defaults = AblationConfig()
    for name, value in asdict(defaults).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    config = AblationConfig(**{name: getattr(options, name) for name in asdict(defaults)})
    began = time.monotonic()
    try:
        trained = TrainedBodyNet.load(options.checkpoint)
        assets = Assets.locate(options.data)
        source = {"checkpoint": trained.sha256, "data": assets.digest, "config": asdict(config)}
        claim(options.folder, source)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    ablation = Ablation(trained.network, config, options.folder)
    for split in SEEDS:
        ablation.prepare(split, assets, options.workers)
    ablation.train()
    result = {
        "command": "python -m training.body_net.ablate_coherence CHECKPOINT FOLDER -o OUTPUT "
        + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asdict(config).items()),
        "checkpoint": {"sha256": trained.sha256, "step": trained.step},
        "data": assets.digest,
        "seeds": SEEDS,
        "config": asdict(config),
        **ablation.measure(),
        "wall_time_s": round(time.monotonic() - began, 1),
        "machine": describe_environment(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    for name, values in result["figures"].items():
        print(f"{name:25s}" + "  ".join(f"{key} {value}" for key, value in values.items() if "less" not in key))
    return 0


if __name__ == "__main__":
    sys.exit(main())
