"""The command line that all training programs share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from human_recon.simulation.assets import Assets
from training.loop.config import LoopConfig, OptimizerConfig
from training.loop.distributed import Processes
from training.loop.task import Task
from training.loop.trainer import Trainer


def train(description: str, task_config: Callable[[], Any], task: Callable[[Any, Assets], Task]) -> None:
    """Parse the command line, train, resume where a run in the same folder was interrupted."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the run lives; a run that is there goes on")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch, on the CPU")
    _add(parser, LoopConfig())
    _add(parser, OptimizerConfig())
    options = vars(parser.parse_args())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(options["device"], local) if options["device"] == "cuda" else torch.device(options["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.set_num_threads(options["threads"])
    torch.set_flush_denormal(True)
    config = replace(
        LoopConfig(**_chosen(options, LoopConfig)), optimizer=OptimizerConfig(**_chosen(options, OptimizerConfig))
    )
    processes = Processes.join(device)
    try:
        torch.manual_seed(config.seed)
        options["folder"].mkdir(parents=True, exist_ok=True)
        trainer = Trainer(
            task(task_config(), Assets.locate(options["data"])), config, options["folder"], processes, device
        )
        trainer.resume()
        trainer.run()
    finally:
        processes.leave()


def _add(parser: argparse.ArgumentParser, defaults: LoopConfig | OptimizerConfig) -> None:
    for field in fields(defaults):
        value = getattr(defaults, field.name)
        name = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=value)
        elif isinstance(value, (int, float)):
            parser.add_argument(name, type=type(value), default=value)


def _chosen(options: dict[str, Any], kind: type) -> dict[str, Any]:
    return {field.name: options[field.name] for field in fields(kind) if field.name in options}
