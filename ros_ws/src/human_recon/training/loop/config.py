"""How long and how fast to train; the same for every network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def setting(default: Any, meaning: str) -> Any:
    """A field that the command line offers."""
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a trapezoidal schedule: a warm-up, a plateau, a linear decay.

    A plateau can be prolonged: a checkpoint from it serves longer trainings as well, and only the decay is done again
    (Zhai et al., "Scaling Vision Transformers", CVPR 2022, section 3.5).
    """

    rate: float = setting(2e-3, "on the plateau")
    weight_decay: float = setting(0.02, "of matrices and kernels; biases and normalisation have none")
    warmup: int = setting(300, "steps")
    decay: float = setting(0.25, "share of the steps at the end over which the rate falls to 0")
    clip: float = setting(2.0, "largest norm of the gradient")
    ema: float = setting(0.998, "of the averaged weights, which are those that are evaluated and shipped")

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of ``step``, counted from 0, of a training of ``steps``."""
        rise = (step + 1) / max(self.warmup, 1)
        fall = (steps - step) / max(self.decay * steps, 1.0)
        return self.rate * min(1.0, rise, fall)

    def plateau_end(self, steps: int) -> int:
        """The last step after which a training of ``steps`` can still be prolonged."""
        return int(steps - self.decay * steps)


@dataclass(frozen=True)
class LoopConfig:
    """One training run."""

    steps: int = setting(20_000, "of the optimiser")
    batches_per_step: int = setting(1, "of the stream, shared by the processes of a distributed run")
    uses: int = setting(2, "of each batch, in successive steps; every second time mirrored")
    seed: int = setting(1, "of the first weights and of what the loss draws; the data have their own, stream.seed")
    optimizer: OptimizerConfig = OptimizerConfig()
    bfloat16: bool = setting(True, "activations and gradients; weights stay float32")
    workers: int = setting(1, "processes that make data, per training process")
    save_every: int = setting(500, "steps")
    evaluate_every: int = setting(2000, "steps")
    log_every: int = setting(50, "steps")

    def __post_init__(self) -> None:
        numbers = (self.steps, self.batches_per_step, self.uses, self.save_every, self.evaluate_every, self.log_every)
        if min(numbers) < 1:
            raise ValueError(f"steps, batches_per_step, uses and the *_every must be at least 1, got {numbers}")
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")


# What a run may change when it goes on: how long it lasts, and what has no influence on the weights.
FREE = frozenset(
    {
        *(f"loop.{name}" for name in ("steps", "workers", "save_every", "evaluate_every", "log_every")),
        "task.validation",
        "task.stream.renderer",
    }
)
