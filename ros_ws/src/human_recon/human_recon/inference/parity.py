"""How far the outputs of an engine may be from those of ONNX Runtime in float32, and how far they are.

The table of a network lies beside it, `parity.json`, written by its export: each row measures one group of output
channels in the unit that matters to whoever uses them, where they matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from human_recon.inference.engine import EngineError
from human_recon.inference.files import PRECISIONS, Precision

Kind = Literal["mask", "class", "direction", "difference"]
Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Measure:
    """One row. The error is

    - mask: 1 - intersection over union of the pixels whose logit is positive;
    - class: share of the pixels (or vectors) whose largest channel is another one;
    - direction: mean of 1 - cosine of the channels' vectors;
    - difference: mean absolute difference, in the output's own unit.
    """

    name: str
    kind: Kind
    output: str
    limits: Mapping[str, float]  # precision -> largest error allowed
    channels: tuple[int, int] | None = None  # of an output [N, C, H, W]: first and last + 1; None: all
    where: tuple[str, int] | None = None  # output and channel whose logit must be positive in the float32 outputs
    valid: int | None = None  # channel of the image that must be positive

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"measure {self.name}: {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if set(self.limits) != set(PRECISIONS):
            raise ValueError(f"measure {self.name}: give limits for {', '.join(PRECISIONS)}")

    def error(self, outputs: Outputs, reference: Outputs, image: np.ndarray) -> float:
        """The error of ``outputs`` against ``reference``, both of ``image``; infinite when any is not finite."""
        ours, theirs = self._vectors(outputs), self._vectors(reference)
        if ours.shape != theirs.shape or not np.isfinite(ours).all():
            return float("inf")
        inside = self._inside(reference, image, theirs.shape[:-1])
        ours, theirs = ours[inside], theirs[inside]
        if theirs.size == 0:
            return 0.0
        if self.kind == "mask":
            either = (ours > 0) | (theirs > 0)
            return float(((ours > 0) != (theirs > 0)).sum() / max(either.sum(), 1))
        if self.kind == "class":
            return float((ours.argmax(-1) != theirs.argmax(-1)).mean())
        if self.kind == "direction":
            lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
            return max(float((1.0 - (ours * theirs).sum(-1) / np.maximum(lengths, 1e-12)).mean()), 0.0)
        return float(np.abs(ours - theirs).mean())

    def _vectors(self, outputs: Outputs) -> np.ndarray:
        """[N, ..., C] float64; outputs other than [N, C, H, W] have one channel."""
        values = outputs[self.output].astype(np.float64)
        if values.ndim != 4:
            return values[..., None]
        values = np.moveaxis(values, 1, -1)
        return values if self.channels is None else values[..., slice(*self.channels)]

    def _inside(self, reference: Outputs, image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        inside = np.ones(shape, bool)
        if self.where is not None:
            output, channel = self.where
            logits = reference[output]
            inside &= (logits if logits.ndim == 3 else logits[:, channel]) > 0
        if self.valid is not None:
            step = image.shape[2] // shape[1]
            inside &= image[:, self.valid, ::step, ::step] > 0
        return inside


@dataclass(frozen=True)
class Difference:
    """One measured row."""

    name: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


def differences(
    table: Sequence[Measure], outputs: Outputs, reference: Outputs, image: np.ndarray, precision: Precision
) -> list[Difference]:
    """Every row of the table for ``outputs`` [N, ...] of an engine of this ``precision``."""
    missing = [measure.output for measure in table if measure.output not in outputs]
    if missing:
        raise EngineError(f"the engine gives no output {', '.join(sorted(set(missing)))}")
    return [Difference(m.name, m.error(outputs, reference, image), m.limits[precision]) for m in table]


def load_table(path: Path) -> list[Measure]:
    """Read a parity.json. Raises EngineError when it is missing or not such a table."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["measures"]
        return list(_measures(rows))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path}: no parity table ({error}); export the network again") from None


def _measures(rows: Sequence[Mapping]) -> Iterator[Measure]:
    for row in rows:
        pairs = {key: tuple(row[key]) for key in ("channels", "where") if row.get(key) is not None}
        yield Measure(**{**row, **pairs})
