"""`engine: auto`: measure what is installed, take the fastest that agrees with ONNX Runtime in float32.

That takes some seconds and is remembered on disk until the machine, a library, the network or the settings change.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from human_recon.inference import cache
from human_recon.inference.choice import Candidate, build
from human_recon.inference.engine import Engine, EngineError
from human_recon.inference.files import NetworkFiles
from human_recon.inference.gpu import gpu_name
from human_recon.inference.parity import Difference, differences, load_table

_log = logging.getLogger(__name__)

_BASELINE = Candidate("onnxruntime", "fp32")
_BATCH = {"people_net": 1, "body_net": 4}  # images at once that engines are timed with: what is usual online
_SECONDS = 2.0  # of timing, for all candidates together; slow machines take at least three rounds
_DISTRIBUTIONS = ("onnxruntime", "openvino", "tensorrt", "torch")


@dataclass(frozen=True)
class Measured:
    """What is known of one candidate."""

    candidate: Candidate
    description: str = ""
    milliseconds: float | None = None  # median of a run with the usual number of images
    rows: tuple[Difference, ...] = ()
    problem: str | None = None  # why it cannot be chosen

    @property
    def summary(self) -> str:
        """One line for the log."""
        return f"{self.description or self.candidate}: {self.problem or f'{self.milliseconds:.2f} ms'}"


def select(files: NetworkFiles, candidates: Sequence[Candidate], threads: int) -> Engine:
    """The fastest of ``candidates`` whose outputs pass the parity table. Raises EngineError when there is none."""
    facts = _facts(files, candidates, threads)
    path = cache.cache_folder() / f"{files.name}-{cache.fingerprint(facts)}.json"
    known = cache.read_json(path) or {}
    chosen = next((candidate for candidate in candidates if str(candidate) == known.get("chosen")), None)
    if chosen is not None:
        try:
            engine = build(chosen, files, threads)
        except EngineError as error:
            _log.warning("%s ran on %s before, now %s; measuring again", files.name, chosen, error)
        else:
            _log.info("%s runs on %s, the fastest here when measured (%s)", files.name, engine.description, path)
            return engine
    measured, engines = measure(files, candidates, threads)
    for one in measured:
        # Worth a warning: it runs here, but what it computes is not what the network was trained to say.
        _log.log(logging.WARNING if one.rows and one.problem else logging.INFO, "%s with %s", files.name, one.summary)
    if not engines:
        reasons = "; ".join(one.summary for one in measured)
        raise EngineError(f"no engine can run {files.name}: {reasons}")
    best = fastest(measured)
    content = {"chosen": str(best.candidate), "measured": [plain(one) for one in measured], "facts": facts}
    try:
        cache.write_json(path, content)
    except OSError as error:
        _log.warning("%s: %s; engines will be measured again next time", path, error.strerror or error)
    _log.info("%s runs on %s, the fastest here", files.name, best.description)
    return engines[best.candidate]


def fastest(measured: Sequence[Measured]) -> Measured:
    """The fastest of those that can be chosen, of which there must be one."""
    return min((one for one in measured if one.milliseconds is not None), key=lambda one: one.milliseconds or 0.0)


def measure(
    files: NetworkFiles, candidates: Sequence[Candidate], threads: int
) -> tuple[list[Measured], dict[Candidate, Engine]]:
    """Parity and speed of every candidate, in their order, and the engines of those that pass."""
    table, images = load_table(files.parity), files.reference()
    reference = build(_BASELINE, files, threads).run(images)
    measured: dict[Candidate, Measured] = {}
    engines: dict[Candidate, Engine] = {}
    for candidate in candidates:
        try:
            engine = build(candidate, files, threads)
            rows = differences(table, engine.run(images), reference, images, candidate.precision)
        except EngineError as error:
            measured[candidate] = Measured(candidate, problem=str(error))
            continue
        far = [f"{row.name} is off by {row.error:.3g}, allowed are {row.limit:.3g}" for row in rows if not row.passed]
        problem = f"outputs too far from float32: {', '.join(far)}" if far else None
        measured[candidate] = Measured(candidate, engine.description, rows=tuple(rows), problem=problem)
        if problem is None:
            engines[candidate] = engine
    batch = np.ascontiguousarray(images[: _BATCH.get(files.name, 1)])
    for candidate, milliseconds in _timed(engines, batch).items():
        before = measured[candidate]
        measured[candidate] = Measured(candidate, before.description, milliseconds, before.rows)
    return [measured[candidate] for candidate in candidates], engines


def _timed(engines: dict[Candidate, Engine], batch: np.ndarray) -> dict[Candidate, float]:
    """Median milliseconds of each engine; taking turns, so that the machine's moods fall on all of them."""
    times: dict[Candidate, list[float]] = {candidate: [] for candidate in engines}
    began = time.perf_counter()
    for turn in itertools.count() if engines else ():
        if turn >= 3 and time.perf_counter() - began > _SECONDS:
            break
        for candidate, engine in engines.items():
            engine.run(batch)  # the threads of the engine before may still be spinning
            for _ in range(3):
                start = time.perf_counter()
                engine.run(batch)
                times[candidate].append(1e3 * (time.perf_counter() - start))
    return {candidate: float(np.median(values)) for candidate, values in times.items()}


def _facts(files: NetworkFiles, candidates: Sequence[Candidate], threads: int) -> dict[str, Any]:
    """Everything that the choice depends on."""
    paths = [files.graph("fp32"), files.graph("int8"), files.parity, files.folder / "reference.npz"]
    return {
        "network": files.name,
        "files": [hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None for path in paths],
        "candidates": [str(candidate) for candidate in candidates],
        "threads": threads,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": gpu_name(),
        "versions": {name: version(name) for name in _DISTRIBUTIONS},
    }


def version(distribution: str) -> str | None:
    """Version of an installed package, None when there is none; does not import it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "stepping", "flags", "Features", "CPU part")  # another processor, or other instructions
    seen = {key: line for line in reversed(lines) for key in wanted if line.startswith(key)}
    return cache.fingerprint(seen) + f" {platform.machine()}"


def plain(one: Measured) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "candidate": str(one.candidate),
        "description": one.description,
        "milliseconds": None if one.milliseconds is None else round(one.milliseconds, 3),
        "errors": {row.name: float(f"{row.error:.3g}") for row in one.rows},
        "problem": one.problem,
    }
