"""Put an SMPL branch that was trained on a frozen trunk into the network: python -m training.body_net.adopt_branch.

`ablate_coherence` trains several branches beside each other on the trunk of one checkpoint; this makes one of them the
checkpoint's own. The optimiser's state is that of the old branch: the result is for export, not for going on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from training.loop.checkpoint import Checkpoint

PREFIX = "network.body."  # of the branch in the training's model


def adopt(checkpoint: Checkpoint, branch: dict[str, torch.Tensor]) -> Checkpoint:
    """``checkpoint`` with ``branch`` in the place of its SMPL branch.

    Raises:
        ValueError: the branch does not fit; the message names the first tensor that does not.
    """
    own = {name.removeprefix(PREFIX) for name in checkpoint.averaged if name.startswith(PREFIX)}
    if own != set(branch):
        raise ValueError(f"the branch has other tensors than the checkpoint's: {', '.join(sorted(own ^ set(branch)))}")
    for name, value in branch.items():
        if value.shape != checkpoint.averaged[PREFIX + name].shape:
            there = list(checkpoint.averaged[PREFIX + name].shape)
            raise ValueError(f"{name} of the branch is {list(value.shape)}, of the checkpoint {there}")
    taken = {PREFIX + name: value.detach().clone() for name, value in branch.items()}
    return replace(checkpoint, model=checkpoint.model | taken, averaged=checkpoint.averaged | taken)


def main() -> None:
    """Parse the command line and write the new checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="that the branches were trained from")
    parser.add_argument("branches", type=Path, help="branches.pt of ablate_coherence")
    parser.add_argument("name", help="of the branch")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the new checkpoint")
    args = parser.parse_args()
    heads = torch.load(args.branches, map_location="cpu", weights_only=True)["heads"]
    if args.name not in heads:
        sys.exit(f"{args.branches}: there is no branch {args.name!r}; there are {', '.join(sorted(heads))}")
    try:
        adopted = adopt(Checkpoint.load(args.checkpoint), heads[args.name])
    except ValueError as error:
        sys.exit(f"{args.branches}: {error}")
    adopted.save(args.output)


if __name__ == "__main__":
    main()
