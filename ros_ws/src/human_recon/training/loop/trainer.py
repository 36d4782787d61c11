"""The training loop: one process or many, any number of interruptions, the same result.

Step k of a run depends on the state before it, the seed and k alone: the stream's batches are numbered, and whatever
else is random is drawn from a generator seeded with the batch's number. So a run that was interrupted ends where it
would have ended, and processes under `torchrun` that share the batches of a step end where one process with all of them
ends.
"""

from __future__ import annotations

import itertools
import json
import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from human_recon.simulation.stream import stream
from training.loop.ahead import ahead
from training.loop.averaging import average_into
from training.loop.card import describe_training, write_card
from training.loop.checkpoint import Checkpoint
from training.loop.config import FREE, LoopConfig
from training.loop.distributed import Processes, RunningStatistics
from training.loop.options import differences
from training.loop.plots import draw_progress
from training.loop.task import Task, Tensors, moved


class Trainer:
    """Trains a task's network in a folder of its own."""

    def __init__(
        self, task: Task, config: LoopConfig, folder: Path, processes: Processes, device: torch.device
    ) -> None:
        """
        Args:
            task: the network, its data and its loss; its model is moved to ``device``.
            folder: holds last.pt (to resume from), plateau.pt (to prolong from), best.pt and its card.json, log.jsonl,
                plots.png.
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
        self.statistics = RunningStatistics(self.model)
        self.step = 0
        self.best = -math.inf
        self.seconds = 0.0  # spent on steps, over all runs
        self.sums: dict[str, torch.Tensor] = {}  # of the steps since the last line of the log

    @property
    def settings(self) -> str:
        """Everything that decides the result, as JSON."""
        return _settings(self.config, self.task.config)

    def resume(self, accept_changes: bool = False) -> bool:
        """Go on from last.pt, when there is one.

        Raises:
            ValueError: it is damaged, is of another network, or was made with other settings and ``accept_changes`` is
                not set. The settings in `config.FREE` may always change.
        """
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        checkpoint = Checkpoint.load(path)
        checkpoint.check_fits(self.model, path)
        defaults = _settings(LoopConfig(), type(self.task.config)())
        changes = differences(checkpoint.config, self.settings, defaults, FREE)
        if changes and not accept_changes:
            raise ValueError(
                f"{path} was made with other settings: {'; '.join(changes)}. Give the same settings, another folder, "
                f"or --accept-changes"
            )
        self.model.load_state_dict(checkpoint.model)
        decays = [group["weight_decay"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(checkpoint.optimizer)
        for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        self.averaged = {name: value.to(self.device) for name, value in checkpoint.averaged.items()}
        self.step, self.best, self.seconds = checkpoint.step, checkpoint.best, checkpoint.seconds
        self._say(f"resuming {path} at step {self.step}" + "".join(f"\n  changed {change}" for change in changes))
        before = json.loads(checkpoint.config)["loop"]["steps"]
        if self.step > self.config.optimizer.plateau_end(before) and self.config.steps > before:
            self._say("its learning rate had begun to fall and rises again; to prolong the plateau, copy plateau.pt")
        return True

    def run(self) -> None:
        """Train until the configured number of steps is reached; SIGINT and SIGTERM end it after a step, saved."""
        config = self.config
        if self.step >= config.steps:
            self._say(f"step {self.step} of {config.steps}: nothing left to do; --steps prolongs the training")
            return
        model: nn.Module = self.model
        if self.processes.count > 1:
            model = DistributedDataParallel(self.model, forward_sync_buffers=False)
        self._say(f"step {self.step} of {config.steps}, {self.processes.count} processes, {self.device}")
        plateau_end = config.optimizer.plateau_end(config.steps)
        started = (time.perf_counter(), self.step)
        mark = started  # the clock of the steps alone; stands still while something is evaluated or saved
        with closing(ahead(self._batches(), 2)) as batches, _stop_signal(self.processes) as stop:
            while self.step < config.steps and not stop.is_set():
                self._step(model, batches)
                self.step += 1
                last = self.step == config.steps
                log = self.step % config.log_every == 0
                evaluate = last or self.step % config.evaluate_every == 0
                save = last or self.step % config.save_every == 0
                if not (log or evaluate or save or self.step == plateau_end):
                    continue
                now = time.perf_counter()
                self.seconds += now - mark[0]
                if log:
                    rate = (self.step - mark[1]) / (now - mark[0])
                    left = (config.steps - self.step) * (now - started[0]) / (self.step - started[1])
                    self._report(rate, left)
                if evaluate:
                    self._evaluate()
                if save:
                    self._save("last.pt")
                if self.step == plateau_end:
                    self._save("plateau.pt")
                mark = (time.perf_counter(), self.step)
        if self.step < config.steps:
            self.seconds += time.perf_counter() - mark[0]
            self._save("last.pt")
            self._say(f"stopped at step {self.step}; the same command goes on from here")

    def _step(self, model: nn.Module, batches: Iterator[tuple[int, Tensors]]) -> None:
        """One step of the optimiser over this process' share of the step's batches."""
        config, optimizer = self.config, self.config.optimizer
        for group in self.optimizer.param_groups:
            group["lr"] = optimizer.rate_at(self.step, config.steps)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.statistics.begin()
        share = config.batches_per_step // self.processes.count
        for k in range(share):
            number, tensors = next(batches)
            generator = torch.Generator().manual_seed((config.seed << 40) + number)
            last = k == share - 1
            alone = nullcontext() if last or self.processes.count == 1 else model.no_sync()  # type: ignore[operator]
            with alone, torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.bfloat16):
                total, parts = self.task.loss(model, tensors, generator)
                (total / share).backward()
            self.statistics.add()
            for name, value in (("loss", total.detach()), *parts.items()):
                self.sums[name] = self.sums.get(name, 0.0) + value.double() / share
        self.sums["steps"] = self.sums.get("steps", 0.0) + torch.ones((), dtype=torch.float64, device=self.device)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optimizer.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient of step {self.step} is not finite; lower the learning rate")
        self.optimizer.step()
        self.statistics.end(config.batches_per_step, self.processes)
        average_into(self.averaged, self.model, min(optimizer.ema, (1 + self.step) / (10 + self.step)))

    def _batches(self) -> Generator[tuple[int, Tensors], None, None]:
        """This process' batches from the current step on, each with its number over all uses and processes.

        ``uses`` successive steps share the same ``batches_per_step`` batches of the stream.
        """
        config, processes, begin = self.config, self.processes, self.step
        first = begin // config.uses
        source = stream(
            self.task.maker(), first * config.batches_per_step + processes.rank, processes.count, config.workers
        )
        with closing(source):  # type: ignore[type-var]
            for turn in itertools.count(first):
                batches = list(itertools.islice(source, config.batches_per_step // processes.count))
                for use in range(config.uses):
                    step = turn * config.uses + use
                    for k, batch in enumerate(batches if step >= begin else ()):
                        tensors = self.task.tensors(batch, mirrored=use % 2 == 1)
                        number = step * config.batches_per_step + k * processes.count + processes.rank
                        yield number, moved(tensors, self.device)

    def _evaluate(self) -> None:
        """Measure the averaged weights; keep them, with a card, when they are the best so far. Draw how it goes."""
        if self.processes.is_first:
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
                write_card(describe_training(self.folder / "best.pt"), self.folder / "card.json")
            draw_progress(self.folder)
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
                self.settings,
            ).save(self.folder / name)

    def _report(self, rate: float, left: float) -> None:
        """Log the means since the last report, over all processes."""
        sums = self.processes.sum(torch.stack(list(self.sums.values()))).tolist()
        total = dict(zip(self.sums, sums, strict=True))
        self.sums = {}
        steps = total.pop("steps")
        mean = {name: value / steps for name, value in total.items()}
        self._log({"step": self.step, "steps_per_second": rate, **mean})
        named = " ".join(f"{name} {value:.4f}" for name, value in mean.items())
        self._say(f"{self.step}/{self.config.steps}  {rate:.2f} steps/s  {_clock(left)} left  {named}")

    def _log(self, record: dict[str, Any]) -> None:
        if self.processes.is_first:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")

    def _say(self, text: str) -> None:
        if self.processes.is_first:
            print(text, flush=True)


@contextmanager
def _stop_signal(processes: Processes) -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second does what it always does.

    Not under torchrun, which ends all processes, each in another step: there the last checkpoint counts.
    """
    stop = threading.Event()
    if processes.count > 1 or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _settings(loop: LoopConfig, task: Any) -> str:
    return json.dumps({"loop": asdict(loop), "task": asdict(task)})


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and what scales a channel do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"
