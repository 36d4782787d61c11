"""A pipeline against frames whose truth is known.

Frames stream through: images and meshes are dropped as soon as they are measured, except of the few worst frames. What
grows with the input are numbers, some 500 bytes per person and frame. A frame on which the pipeline raises counts as
one in which nobody was found, and the summary says so; the evaluation goes on.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.evaluation.measuring import MeasuringConfig, SequenceMeasurer
from human_recon.evaluation.records import FrameMeasures
from human_recon.evaluation.rest_surface import RestSurface, load_distances
from human_recon.evaluation.summary import Summary
from human_recon.evaluation.worst import WorstCases, WorstFrame
from human_recon.ground_truth import TrueFrame
from human_recon.people import People


class PeoplePipeline(Protocol):
    """What is evaluated."""

    body: BodyModel

    def process(self, frame: Frame) -> People: ...

    def reset(self) -> None: ...


@dataclass(frozen=True)
class EvaluationOptions:
    """How to evaluate."""

    measuring: MeasuringConfig = field(default_factory=MeasuringConfig)
    warm_up: bool = True  # the first frame is processed once before, so that no time includes compiling
    worst: int = 6  # frames kept for pictures, of each kind
    cache: Path | None = None  # where the table of geodesic distances is kept; without, none are measured


@dataclass(frozen=True)
class Evaluation:
    """The result."""

    body: BodyModel  # of the predictions
    summary: dict[str, Any]  # what metrics.json holds under "results"
    worst: tuple[WorstFrame, ...]


def evaluate(
    frames: Iterable[TrueFrame],
    pipeline: PeoplePipeline,
    options: EvaluationOptions | None = None,
    on_record: Callable[[FrameMeasures], None] | None = None,
) -> Evaluation:
    """Evaluate one sequence: the pipeline keeps what it knows from frame to frame."""
    return evaluate_sequences([frames], pipeline, options, on_record)


def evaluate_sequences(
    sequences: Iterable[Iterable[TrueFrame]],
    pipeline: PeoplePipeline,
    options: EvaluationOptions | None = None,
    on_record: Callable[[FrameMeasures], None] | None = None,
) -> Evaluation:
    """Evaluate sequences one after the other; the pipeline is reset before each. A frame alone is a sequence as well.

    ``on_record`` is called with each frame's record, in order.
    """
    options = options or EvaluationOptions()
    collected = _Collected(pipeline.body, options, on_record)
    rest = rest_surface(pipeline.body, options)
    warm = not options.warm_up
    for number, frames in enumerate(sequences):
        pipeline.reset()
        measurer = SequenceMeasurer(pipeline.body, options.measuring, number, rest)
        for true in frames:
            if not warm:
                answer(pipeline, true.frame)
                pipeline.reset()
                warm = True
            collected.add(true, *_measured(pipeline, measurer, true))
    return collected.finish()


def rest_surface(body: BodyModel, options: EvaluationOptions) -> RestSurface:
    """The ruler of correspondences; reads the table of geodesic distances, or makes it first."""
    return RestSurface.of(body, load_distances(body, options.cache) if options.cache is not None else None)


def evaluate_independent(
    frames: Iterable[TrueFrame],
    make_pipeline: Callable[[], PeoplePipeline],
    workers: int,
    options: EvaluationOptions | None = None,
    on_record: Callable[[FrameMeasures], None] | None = None,
) -> Evaluation:
    """Evaluate frames that have nothing to do with each other in ``workers`` processes of their own.

    The result is that of :func:`evaluate_sequences` on sequences of one frame, in the same order; only durations
    differ, because the processes share the machine. ``make_pipeline`` must be picklable: a function of a module, or a
    ``functools.partial`` of one.
    """
    options = options or EvaluationOptions()
    collected = _Collected(make_pipeline().body, options, on_record)  # what cannot be made is an error of this process
    context = multiprocessing.get_context("spawn")  # forked numba threads hang
    with ProcessPoolExecutor(workers, context, _start_worker, (make_pipeline, options)) as pool:
        # A few frames ahead of the slowest one: enough to keep all busy, few enough for any memory.
        for true, people, record in _in_order(pool, frames, ahead=3 * workers):
            collected.add(true, people, record)
    return collected.finish()


def _in_order(
    pool: ProcessPoolExecutor, frames: Iterable[TrueFrame], ahead: int
) -> Iterator[tuple[TrueFrame, People, FrameMeasures]]:
    waiting: deque[tuple[TrueFrame, Future[tuple[People, FrameMeasures]]]] = deque()
    try:
        for number, true in enumerate(frames):
            waiting.append((true, pool.submit(_measure_in_worker, number, true)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, *future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, *future.result()
    finally:
        for _, future in waiting:
            future.cancel()


class _Collected:
    """What is kept of the frames."""

    def __init__(
        self, body: BodyModel, options: EvaluationOptions, on_record: Callable[[FrameMeasures], None] | None
    ) -> None:
        self._body = body
        self._summary = Summary(options.measuring.matching)
        self._worst = WorstCases(options.worst)
        self._on_record = on_record

    def add(self, true: TrueFrame, people: People, record: FrameMeasures) -> None:
        self._summary.add(record)
        self._worst.add(true, people, record)
        if self._on_record is not None:
            self._on_record(record)

    def finish(self) -> Evaluation:
        return Evaluation(self._body, self._summary.results(), self._worst.frames())


@dataclass(frozen=True)
class Answer:
    """Of the pipeline to one frame."""

    people: People
    seconds: float
    failure: str | None  # what was raised instead


def answer(pipeline: PeoplePipeline, frame: Frame) -> Answer:
    """Process one frame; what is raised is nobody found, and said."""
    began = time.perf_counter()
    try:
        people = pipeline.process(frame)
    except Exception as error:  # whatever it is, the other frames are worth measuring
        nobody = People(frame, (), np.zeros(frame.depth.shape, np.uint16))
        message = " ".join(str(error).split()) or "no message"
        return Answer(nobody, time.perf_counter() - began, f"{type(error).__name__}: {message}")
    return Answer(people, time.perf_counter() - began, None)


def _measured(pipeline: PeoplePipeline, measurer: SequenceMeasurer, true: TrueFrame) -> tuple[People, FrameMeasures]:
    said = answer(pipeline, true.frame)
    people = measurer.renumbered(said.people)
    return people, measurer.measure(true, people, said.seconds, said.failure)


_worker: tuple[PeoplePipeline, EvaluationOptions, RestSurface] | None = None  # of this worker process
_worker_is_warm = False


def _start_worker(make_pipeline: Callable[[], PeoplePipeline], options: EvaluationOptions) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    pipeline = make_pipeline()
    _worker = (pipeline, options, rest_surface(pipeline.body, options))


def _measure_in_worker(number: int, true: TrueFrame) -> tuple[People, FrameMeasures]:
    global _worker_is_warm
    assert _worker is not None
    pipeline, options, rest = _worker
    if options.warm_up and not _worker_is_warm:
        answer(pipeline, true.frame)
        _worker_is_warm = True
    pipeline.reset()
    return _measured(pipeline, SequenceMeasurer(pipeline.body, options.measuring, number, rest), true)
