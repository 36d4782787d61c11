"""The training loop: one process or many, any number of interruptions, the same result.

Step k of a run depends on the state before it, the seed and k alone: the stream's batches are numbered, and whatever
else is random is drawn from a generator seeded with k. So a run that was interrupted ends where it would have ended,
and processes under `torchrun` that share the batches of a step end where one process with all of them ends.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from human_recon.simulation.stream import stream
from training.loop.averaging import average_into
from training.loop.checkpoint import Checkpoint
from training.loop.config import LoopConfig
from training.loop.distributed import Processes
from training.loop.task import Task, Tensors


class Trainer:
    """Trains a task's network in a folder of its own."""

    def __init__(self, task: Task, config: LoopConfig, folder: Path, processes: Processes, device: torch.device) -> None:
        """
        Args:
            task: the network, its data and its loss; its model is moved to ``device``.
            folder: holds last.pt (to resume from), best.pt, log.jsonl.
            processes: this one and the others that train the same network.

        Raises:
            ValueError: the processes cannot share the batches of a step evenly.
        """
        if config.batches_per_step % processes.count:
            raise ValueError(
                f"{config.batches_per_step} batches per step cannot be shared by {processes.count} processes: "
                f"set --batches-per-step to a multiple"
            )
        self.task = task
        self.config = config
        self.folder = folder
        self.processes = processes
        self.device = device
        self.model = task.model.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            _groups(self.model, config.optimizer.weight_decay), lr=config.optimizer.rate, fused=True
        )
        self.averaged = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.step = 0
        self.best = -math.inf
        self.seconds = 0.0  # spent training, over all runs

    def resume(self) -> bool:
        """Go on from last.pt, when there is one."""
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        checkpoint = Checkpoint.load(path)
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.averaged = {name: value.to(self.device) for name, value in checkpoint.averaged.items()}
        self.step, self.best, self.seconds = checkpoint.step, checkpoint.best, checkpoint.seconds
        return True

    def run(self) -> None:
        """Train until the configured number of steps is reached."""
        config = self.config
        if self.step >= config.steps:
            return
        model: nn.Module = self.model
        if self.processes.count > 1:
            model = DistributedDataParallel(self.model, broadcast_buffers=False)
        self._say(f"step {self.step} of {config.steps}, {self.processes.count} processes, {self.device}")
        mean: dict[str, float] = {}
        begin, first = time.perf_counter(), self.step
        with closing(self._batches()) as batches:
            while self.step < config.steps:
                values = self._step(model, batches)
                for name, value in values.items():
                    mean[name] = mean.get(name, 0.0) + value / config.log_every
                self.step += 1
                now = time.perf_counter()
                if self.step % config.log_every == 0:
                    rate = (self.step - first) / (now - begin)
                    left = (config.steps - self.step) / rate
                    self._log({"step": self.step, "steps_per_second": rate, **mean})
                    named = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
                    self._say(f"{self.step}/{config.steps}  {rate:.2f} steps/s  {_clock(left)} left  {named}")
                    mean = {}
                last = self.step == config.steps
                if self.step % config.evaluate_every == 0 or last:
                    self.seconds += time.perf_counter() - begin
                    begin, first = time.perf_counter(), self.step
                    self._evaluate()
                    begin = time.perf_counter()
                if self.step % config.save_every == 0 or last:
                    self.seconds += time.perf_counter() - begin
                    begin, first = time.perf_counter(), self.step
                    self._save("last.pt")

    def _step(self, model: nn.Module, batches: Iterator[tuple[int, Tensors]]) -> dict[str, float]:
        """One step of the optimiser over this process' share of the step's batches."""
        config, optimizer = self.config, self.config.optimizer
        for group in self.optimizer.param_groups:
            group["lr"] = optimizer.rate_at(self.step, config.steps)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        share = config.batches_per_step // self.processes.count
        values: dict[str, float] = {}
        for k in range(share):
            number, tensors = next(batches)
            generator = torch.Generator().manual_seed((config.seed << 40) + number)
            last = k == share - 1
            alone = nullcontext() if last or self.processes.count == 1 else model.no_sync()  # type: ignore[operator]
            with alone, torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.bfloat16):
                total, parts = self.task.loss(model, tensors, generator)
                (total / share).backward()
            for name, value in (("loss", total.detach()), *parts.items()):
                values[name] = values.get(name, 0.0) + float(value) / share
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient of step {self.step} is not finite; lower the learning rate")
        self.optimizer.step()
        self.processes.average_buffers(self.model)
        average_into(self.averaged, self.model, min(optimizer.ema, (1 + self.step) / (10 + self.step)))
        return values

    def _batches(self) -> Iterator[tuple[int, Tensors]]:
        """This process' batches from the current step on, each with its number over all uses and processes."""
        config, processes = self.config, self.processes
        share = config.batches_per_step // processes.count
        passed = self.step * share  # batches this process has used, counting every use
        first = passed // config.uses
        source = stream(self.task.maker(), first * processes.count + processes.rank, processes.count, config.workers)
        with closing(source):  # type: ignore[type-var]
            for index, batch in enumerate(source, start=first):
                for use in range(config.uses):
                    mine = index * config.uses + use
                    if mine < passed:
                        continue
                    tensors = self.task.tensors(batch, mirrored=use % 2 == 1)
                    moved = {name: value.to(self.device, non_blocking=True) for name, value in tensors.items()}
                    yield mine * processes.count + processes.rank, moved

    def _evaluate(self) -> None:
        """Measure the averaged weights; keep them when they are the best so far."""
        if not self.processes.is_first:
            self.processes.wait()
            return
        held = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged)
        try:
            figures = self.task.evaluate(self.model)
        finally:
            self.model.load_state_dict(held)
        self._log({"step": self.step, **{f"validation/{name}": value for name, value in figures.items()}})
        self._say("validation  " + " ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        if figures["score"] > self.best:
            self.best = figures["score"]
            self._save("best.pt")
        self.processes.wait()

    def _save(self, name: str) -> None:
        if self.processes.is_first:
            Checkpoint(
                self.model.state_dict(),
                self.averaged,
                self.optimizer.state_dict(),
                self.step,
                self.best,
                self.seconds,
                json.dumps({"loop": asdict(self.config), "task": asdict(self.task.config)}),  # type: ignore[attr-defined]
            ).save(self.folder / name)

    def _log(self, record: dict[str, Any]) -> None:
        if self.processes.is_first:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")

    def _say(self, text: str) -> None:
        if self.processes.is_first:
            print(text, flush=True)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and what scales a channel do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"
