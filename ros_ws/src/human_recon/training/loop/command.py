"""The command line that all training programs share."""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from human_recon.simulation.assets import Assets
from training.loop.card import note_run
from training.loop.config import LoopConfig, OptimizerConfig
from training.loop.distributed import Processes
from training.loop.options import flattened, with_option
from training.loop.task import Task
from training.loop.trainer import Trainer


def train(description: str, task_config: Callable[[], Any], task: Callable[[Any, Assets], Task]) -> None:
    """Parse the command line, train, resume where a run in the same folder was interrupted."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the run lives; a run that is there goes on")
    parser.add_argument("--data", type=Path, help="motion capture and clothing; default: $HUMAN_RECON_DATA")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=_threads(), help="of torch, on the CPU")
    parser.add_argument("--accept-changes", action="store_true", help="go on although settings differ from the run's")
    parser.add_argument(
        "--task",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the data, the network or the loss, such as stream.batch=16; may be given several times",
    )
    _add(parser, LoopConfig())
    _add(parser, OptimizerConfig())
    parser.epilog = "settings of --task and their defaults: " + _listed(task_config())
    options = vars(parser.parse_args())
    _keep_memory()
    torch.set_num_threads(options["threads"])
    torch.set_flush_denormal(True)
    processes = Processes()
    try:
        try:
            settings = task_config()
            for option in options["task"]:
                settings = with_option(settings, option)
            optimizer = OptimizerConfig(**_chosen(options, OptimizerConfig))
            config = replace(LoopConfig(**_chosen(options, LoopConfig)), optimizer=optimizer)
            device = _device(options["device"])
            processes = Processes.join(device)
            torch.manual_seed(config.seed)
            folder = options["folder"]
            folder.mkdir(parents=True, exist_ok=True)
            assets = Assets.locate(options["data"])
            trainer = Trainer(task(settings, assets), config, folder, processes, device)
            trainer.resume(options["accept_changes"])
        except (ValueError, OSError) as error:
            sys.exit(f"error: {error}")
        if processes.is_first and trainer.step < config.steps:
            _warn_about(assets)
            note_run(folder, assets.digest, device, processes.count, trainer.step)
        trainer.run()
    finally:
        processes.leave()


def _device(name: str) -> torch.device:
    """The device of this process: under torchrun each has a GPU of its own."""
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(f"--device cuda: torch {torch.__version__} finds no GPU")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def _threads() -> int:
    """This process' share of the cores it may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _keep_memory() -> None:
    """Let glibc keep freed memory: activations come and go in every step, and the kernel clears each page it gives."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD, bytes
    mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def _warn_about(assets: Assets) -> None:
    """Training without recorded motion or clothes works, and gives a worse network: nobody should do it unawares."""
    if assets.motion is None:
        print("WARNING: no motion capture: poses are drawn from joint limits. Set --data.", file=sys.stderr)
    if assets.wardrobe is None:
        print(
            "WARNING: no wardrobe: people wear inflated skin. Bake it: python -m training.wardrobe.bake",
            file=sys.stderr,
        )


def _listed(settings: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in flattened(asdict(settings)).items())


def _add(parser: argparse.ArgumentParser, defaults: LoopConfig | OptimizerConfig) -> None:
    for field in fields(defaults):
        value = getattr(defaults, field.name)
        name = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=value, help=field.metadata["help"])
        elif isinstance(value, (int, float)):
            parser.add_argument(name, type=type(value), default=value, help=field.metadata["help"])


def _chosen(options: dict[str, Any], kind: type) -> dict[str, Any]:
    return {field.name: options[field.name] for field in fields(kind) if field.name in options}
