"""What made a checkpoint, in JSON, to lie beside the weights:

    python -m training.loop.card CHECKPOINT                                    prints it
    python -m training.loop.card CHECKPOINT -o models/people_net/people_net.json   puts it there, under "training"

Everything is read from the training's folder: the checkpoint, runs.jsonl (one line for each time it was started or went
on) and log.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy
import torch

from human_recon.evaluation.environment import describe_environment
from training.loop.checkpoint import Checkpoint
from training.loop.plots import PREFIX, read_log


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names: the same in any file format."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def note_run(folder: Path, data: str, device: torch.device, processes: int, step: int) -> None:
    """Add a line to runs.jsonl: who trains from ``step`` on, with what, on ``data`` (`Assets.digest`)."""
    environment = describe_environment()
    environment["versions"] |= {"torch": torch.__version__, "numpy": numpy.__version__}
    run = {
        "from_step": step,
        "command": command_line(folder),
        "data": data,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes,
        "threads": torch.get_num_threads(),
        **environment,
    }
    with (folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps(run) + "\n")


def command_line(folder: Path) -> str:
    """The command that runs now, with folders as their last name: where they lie is the machine's own business."""
    program = getattr(sys.modules["__main__"], "__spec__", None)
    begin = ["python", "-m", program.name] if program is not None else ["python", Path(sys.argv[0]).name]
    words = [Path(word).name if word == str(folder) or os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join([*begin, *words])


def describe_training(checkpoint: Path) -> dict[str, Any]:
    """The card of a checkpoint in the folder of its training.

    ``samples`` counts every use; ``validation`` holds the figures at the checkpoint's step, on people, motion and
    clothes that were not trained on; ``runs`` is empty for steps made before runs were noted.
    """
    content = Checkpoint.load(checkpoint)
    settings = json.loads(content.config)
    loop, folder = settings["loop"], checkpoint.parent
    noted = folder / "runs.jsonl"
    runs = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    runs = [run for run in runs if run["from_step"] < content.step]
    log = folder / "log.jsonl"
    curves = read_log(log) if log.exists() else {}
    figures = {
        name.removeprefix(PREFIX): curve.values[curve.steps.index(content.step)]
        for name, curve in curves.items()
        if name.startswith(PREFIX) and content.step in curve.steps
    }
    return {
        "weights_sha256": weights_digest(content.averaged),
        "parameters": sum(value.numel() for value in content.averaged.values() if value.is_floating_point()),
        "step": content.step,
        "steps_planned": loop["steps"],
        "samples": content.step * loop["batches_per_step"] * settings["task"]["stream"]["batch"],
        "uses_of_each_sample": loop["uses"],
        "seed": loop["seed"],
        "data": sorted({run["data"] for run in runs}),
        "training_hours": round(content.seconds / 3600, 3),
        "validation": figures,
        "runs": runs,
        "settings": settings,
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_card(card: dict[str, Any], path: Path) -> None:
    """Write a card, complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(card, indent=2) + "\n")
    os.replace(part, path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Say what made a checkpoint.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, help='model card that gets it as "training" and keeps the rest')
    options = parser.parse_args()
    try:
        training = describe_training(options.checkpoint)
        if options.output is None:
            print(json.dumps(training, indent=2))
        else:
            card = json.loads(options.output.read_text()) if options.output.exists() else {}
            write_card(card | {"training": training}, options.output)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
