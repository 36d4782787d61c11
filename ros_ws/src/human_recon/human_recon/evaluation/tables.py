"""What a summary keeps of all frames: columns of numbers, some hundred bytes per person."""

from __future__ import annotations

import math
from array import array

import numpy as np

from human_recon.body.skeleton import JOINT_NAMES
from human_recon.evaluation.metrics.calibration import SIGMAS
from human_recon.evaluation.metrics.coherence import TOLERANCE
from human_recon.evaluation.records import FrameMeasures, PersonMeasures

Columns = dict[str, np.ndarray]  # name -> [N], or [N, 24] for what belongs to joints

WITHIN = tuple(f"within_{k:.0f}_sigma" for k in SIGMAS)
_WIDE = ("joint_errors", "root_joint_errors", "sigma", "mahalanobis")  # of joints
_ALWAYS = (
    "found", "visibility", "distance", "cut", "people", "block", "mask_iou", "yaw", "confidence", "tracked", "expected",
    "visibility_error",
    *WITHIN,
)  # fmt: skip


class PeopleTable:
    """Columns with one number per person to be found; what is unknown is NaN."""

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._rows = 0

    def add(self, person: PersonMeasures, people: int, block: int) -> None:
        """``people`` are to be found in the frame; ``block`` is the frame's."""
        missing = [math.nan] * len(JOINT_NAMES)
        values: dict[str, list[float]] = {
            "visibility": [person.visibility],
            "distance": [person.distance],
            "cut": [float(person.cut)],
            "people": [float(people)],
            "block": [float(block)],
            "found": [float(person.predicted is not None)],
            "mask_iou": [person.mask_iou],
            "yaw": [person.yaw],
            "confidence": [person.confidence],
            "tracked": [person.tracked],
            "joint_errors": person.joint_errors or missing,
            "root_joint_errors": person.root_joint_errors or missing,
            "sigma": person.sigma or missing,
            "mahalanobis": person.mahalanobis or missing,
            "expected": [float(person.expected is not None)],
            "visibility_error": [person.visibility_error],
            **{f"covariance_{name}": [float(count)] for name, count in person.covariance.items()},
            **{f"joints_{name}": [float(count)] for name, count in person.visible_joints.items()},
            **{f"motion_{name}": [value] for name, value in person.motion.items()},
            **{name: [value] for name, value in person.errors.items()},
            **{name: [float(value)] for name, value in person.parts.items()},
            **{f"network_{name}": [value] for name, value in person.network.items()},
            **{name: [float(count)] for name, count in zip(WITHIN, person.within_sigmas, strict=False)},
        }
        for name, entries in values.items():
            if name not in self._columns:
                self._columns[name] = array("f", [math.nan] * (self._rows * len(entries)))
            self._columns[name].extend(entries)
        for name in self._columns.keys() - values.keys():
            self._columns[name].append(math.nan)
        self._rows += 1

    def columns(self) -> Columns:
        joints = len(JOINT_NAMES)
        shapes = {name: (self._rows, joints) if name in _WIDE else (self._rows,) for name in self._columns}
        columns = {
            name: np.array(values, np.float32).astype(np.float64).reshape(shapes[name])
            for name, values in self._columns.items()
        }
        for name in _ALWAYS:
            columns.setdefault(name, np.full(self._rows, np.nan))
        for name in _WIDE:
            columns.setdefault(name, np.zeros((0, joints)))
        return columns


class FrameTable:
    """Columns with one number per frame."""

    NAMES = (
        "people", "everybody", "false", "block", "foreground_both", "foreground_either", "depth_right", "depth_pairs",
        "depth_all_pairs", "collisions", "unmeasured", "expected", "overlap_right", "overlap_pixels",
    )  # fmt: skip

    def __init__(self) -> None:
        self._columns = {name: array("l") for name in self.NAMES}
        self.blocks = 0
        self._last: tuple[int, int] | None = None

    def add(self, record: FrameMeasures, block: tuple[int, int]) -> None:
        if block != self._last:
            self.blocks += 1
            self._last = block
        both, either = record.foreground if record.foreground is not None else (0, 0)
        right, pairs, all_pairs = record.depth_order
        in_order, overlapping = record.overlap_order or (0, 0)
        values = (
            len(record.people), record.true_people, len(record.false), self.blocks - 1, both, either, right, pairs,
            all_pairs, sum(depth > TOLERANCE for depth in record.penetrations), record.unmeasured,
            len(record.expected_errors), in_order, overlapping,
        )  # fmt: skip
        for name, value in zip(self.NAMES, values, strict=True):
            self._columns[name].append(int(value))

    def columns(self) -> Columns:
        return {name: np.array(values, np.int64) for name, values in self._columns.items()}


class FalseTable:
    """Columns with one number per prediction of nobody."""

    def __init__(self) -> None:
        self._columns = {name: array("d") for name in ("confidence", "distance", "block")}

    def add(self, record: FrameMeasures, block: int) -> None:
        for confidence, distance in zip(record.false, record.false_distances, strict=True):
            for name, value in (("confidence", confidence), ("distance", distance), ("block", block)):
                self._columns[name].append(value)

    def columns(self) -> Columns:
        return {name: np.array(values, np.float64) for name, values in self._columns.items()}
