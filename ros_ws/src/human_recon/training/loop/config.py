"""How long and how fast to train; the same for every network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a trapezoidal schedule: a warm-up, a plateau, a linear decay.

    A plateau can be prolonged: a checkpoint from it serves longer trainings as well, and only the decay is done again
    (Zhai et al., "Scaling Vision Transformers", CVPR 2022, section 3.5).
    """

    rate: float = 2e-3  # on the plateau
    weight_decay: float = 0.02
    warmup: int = 300  # steps
    decay: float = 0.25  # share of the steps at the end over which the rate falls to 0
    clip: float = 2.0  # largest norm of the gradient
    ema: float = 0.998  # of the averaged weights, which are those that are evaluated and shipped

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of ``step``, counted from 0, of a training of ``steps``."""
        rise = (step + 1) / max(self.warmup, 1)
        fall = (steps - step) / max(self.decay * steps, 1.0)
        return self.rate * min(1.0, rise, fall)


@dataclass(frozen=True)
class LoopConfig:
    """One training run."""

    steps: int = 20_000
    batches_per_step: int = 1  # batches of the stream in one step, shared by the processes of a distributed run
    uses: int = 2  # of each batch, one after the other; every second time mirrored
    seed: int = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    bfloat16: bool = True  # activations and gradients; weights stay float32
    workers: int = 1  # processes that make data, per training process
    save_every: int = 500  # steps
    evaluate_every: int = 2000  # steps
    log_every: int = 50  # steps

    def __post_init__(self) -> None:
        numbers = (self.steps, self.batches_per_step, self.uses, self.save_every, self.evaluate_every, self.log_every)
        if min(numbers) < 1:
            raise ValueError(f"steps, batches_per_step, uses and the *_every must be at least 1, got {numbers}")
