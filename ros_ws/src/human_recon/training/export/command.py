"""The command line of both exports."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from human_recon.simulation.assets import Assets
from training.export.bundle import Bundle, print_report, update_card
from training.loop.checkpoint import Checkpoint

Weights = dict[str, torch.Tensor]


def export(name: str, make: Callable[[Weights, Assets, int], Bundle]) -> None:
    """Parse the command line; export the averaged weights of a checkpoint.

    Args:
        make: from (averaged weights of the checkpoint, assets, images to calibrate with).
    """
    parser = argparse.ArgumentParser(
        description=f"Export {name}: ONNX with float16 weights, INT8 ONNX, safetensors, parity figures in the card.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="best.pt or last.pt of a training")
    parser.add_argument("-o", "--output", type=Path, required=True, help=f"folder to write to, models/{name}")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--images", type=int, default=64, help="to calibrate INT8 with, and as many to measure it on")
    parser.add_argument("--threads", type=int, default=1, help="of torch and ONNX Runtime")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        content = args.checkpoint.read_bytes()
        checkpoint = Checkpoint.load(args.checkpoint)
        assets = Assets.locate(args.data)
        bundle = make(checkpoint.averaged, assets, args.images)
    except (OSError, RuntimeError, TypeError) as error:
        sys.exit(f"{args.checkpoint}: not a checkpoint of {name}: {_first_line(error)}")
    source: dict[str, Any] = {
        "checkpoint_sha256": hashlib.sha256(content).hexdigest(),
        "step": checkpoint.step,
        "calibration_assets": assets.digest,
    }
    report = bundle.write(args.output, source)
    update_card(args.output / f"{name}.json", report)
    print_report(name, report)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
