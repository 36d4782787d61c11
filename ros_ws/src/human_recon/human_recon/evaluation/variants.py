"""Several pipelines on the same frames, in one pass: what differs between them is the pipelines alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from human_recon.evaluation.evaluate import EvaluationOptions, PeoplePipeline, answer, rest_surface
from human_recon.evaluation.measuring import SequenceMeasurer
from human_recon.evaluation.records import FrameMeasures
from human_recon.evaluation.summary import BLOCK, Summary
from human_recon.ground_truth import TrueFrame

_RESAMPLES = 1000

Who = tuple[int, int, int]  # sequence, frame, id of a true person


@dataclass(frozen=True)
class Variant:
    """What one pipeline did."""

    summary: dict[str, Any]  # what metrics.json holds under "results"
    errors: dict[Who, dict[str, float]] = field(repr=False)  # of people found: PersonMeasures.errors, metres
    visibility: dict[Who, float] = field(repr=False)  # of the same


def evaluate_variants(
    sequences: Iterable[Iterable[TrueFrame]],
    pipelines: Mapping[str, PeoplePipeline],
    options: EvaluationOptions | None = None,
    before_frame: Callable[[], None] = lambda: None,
    on_frame: Callable[[int], None] = lambda done: None,
) -> dict[str, Variant]:
    """Evaluate all ``pipelines`` of one body model; each keeps what it knows within a sequence and is reset between.

    ``before_frame`` is called before a frame is shown to the first of them, ``on_frame`` with the number of frames that
    are done. Summaries are those that each would have alone, except for times.
    """
    options = options or EvaluationOptions()
    body = next(iter(pipelines.values())).body
    rest = rest_surface(body, options)
    collected = {name: _Collected(Summary(options.measuring.matching)) for name in pipelines}
    done = 0
    for number, frames in enumerate(sequences):
        measurers = {}
        for name, pipeline in pipelines.items():
            pipeline.reset()
            measurers[name] = SequenceMeasurer(body, options.measuring, number, rest)
        for true in frames:
            before_frame()
            for name, pipeline in pipelines.items():
                said = answer(pipeline, true.frame)
                people = measurers[name].renumbered(said.people)
                collected[name].add(measurers[name].measure(true, people, said.seconds, said.failure))
            done += 1
            on_frame(done)
    return {name: one.finish() for name, one in collected.items()}


def paired_difference(first: Variant, second: Variant, metric: str, least_visibility: float = 0.0) -> dict[str, Any]:
    """How much larger an error is in ``second``, over the people whom both found: mean, millimetres, and its spread.

    "ci95" is where 95 % of repetitions with other frames would fall: Poisson bootstrap over frames alone, or blocks of
    successive ones. The same people are compared, so that it is much narrower than those of the two means.
    """
    both = [
        who
        for who, errors in first.errors.items()
        if metric in errors and metric in second.errors.get(who, {}) and first.visibility[who] >= least_visibility
    ]
    if not both:
        return {"value": None, "unit": "mm", "count": 0}
    difference = 1000.0 * np.array([second.errors[who][metric] - first.errors[who][metric] for who in both])
    names = [(sequence, index // BLOCK) for sequence, index, _ in both]
    block = np.unique(np.array(names), axis=0, return_inverse=True)[1].ravel()
    result: dict[str, Any] = {"value": round(float(difference.mean()), 3), "unit": "mm", "count": len(both)}
    count = int(block.max()) + 1
    if count >= 10:
        sums, people = np.bincount(block, difference, count), np.bincount(block, minlength=count)
        weights = np.random.default_rng(0).poisson(1.0, (_RESAMPLES, count))
        draws = (weights @ sums) / np.maximum(weights @ people, 1)
        result["ci95"] = [round(float(end), 3) for end in np.percentile(draws, (2.5, 97.5))]
    return result


class _Collected:
    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._errors: dict[Who, dict[str, float]] = {}
        self._visibility: dict[Who, float] = {}

    def add(self, record: FrameMeasures) -> None:
        self._summary.add(record)
        for person in record.people:
            if person.predicted is not None:
                who = (record.sequence, record.index, person.id)
                self._errors[who] = person.errors
                self._visibility[who] = person.visibility

    def finish(self) -> Variant:
        return Variant(self._summary.results(), self._errors, self._visibility)
