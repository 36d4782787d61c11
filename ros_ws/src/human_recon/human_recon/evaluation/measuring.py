"""One frame's prediction against its truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.body.parts import face_parts
from human_recon.camera.points import depth_to_points
from human_recon.evaluation.matching import Matches, MatchingConfig, match_people
from human_recon.evaluation.metrics import coherence, masks, pose, smoothness, surface
from human_recon.evaluation.metrics.correspondence import euclidean_error, front_back_sides, left_right_sides
from human_recon.evaluation.records import CORRESPONDENCE_BIN, CORRESPONDENCE_BINS, FrameMeasures, PersonMeasures
from human_recon.geometry.rasterizer import rasterize
from human_recon.ground_truth import TrueFrame, TruePerson
from human_recon.people import People, Person


@dataclass(frozen=True)
class MeasuringConfig:
    """What is measured in a frame."""

    matching: MatchingConfig = field(default_factory=MatchingConfig)
    surface: bool = False  # V2V and V2S, which take about a second per person
    points: int = 500  # measured points per person whose place on the body is compared, at most


@dataclass(frozen=True)
class _Found:
    """A person in an earlier frame, for the acceleration."""

    step: int
    stamp_ns: int
    predicted_id: int
    predicted: np.ndarray  # [24, 3]
    true: np.ndarray  # [24, 3]


class SequenceMeasurer:
    """Measures the frames of one sequence, in their order."""

    def __init__(self, body: BodyModel, config: MeasuringConfig, sequence: int) -> None:
        self._body = body
        self._config = config
        self._sequence = sequence
        self._face_parts = face_parts(body)
        self._left_right = left_right_sides(body)
        self._front_back = front_back_sides(body)
        self._ids: dict[int, int] = {}
        self._history: dict[int, list[_Found]] = {}
        self._step = 0

    def measure(self, true: TrueFrame, people: People, seconds: float) -> FrameMeasures:
        """Compare ``people``, of :meth:`renumbered`, which took ``seconds``, with the truth of the same frame."""
        predicted = people.people
        matches = match_people(true.people, predicted, self._config.matching)
        partner = dict(matches.pairs)
        pixels = _Pixels.of(true, people)
        persons = []
        histogram = np.zeros(CORRESPONDENCE_BINS, np.int64)
        for i in matches.required:
            person = true.people[i]
            found = predicted[partner[i]] if i in partner else None
            persons.append(self._person(true, person, found, pixels, histogram))
        used = [j for j in range(len(predicted)) if j not in matches.ignored]
        record = FrameMeasures(
            sequence=self._sequence,
            index=self._step,
            stamp_ns=int(true.frame.stamp_ns),
            seconds=seconds,
            timings={stage: float(duration) for stage, duration in people.timings.items()},
            people=persons,
            false=[float(predicted[j].confidence) for j in matches.false],
            ignored=len(matches.ignored),
            depth_order=_depth_order(true.people, predicted, matches),
            predicted_people=len(predicted),
            penetrations=list(coherence.penetration_depths([p.vertices for p in predicted], self._body.faces).values()),
            foreground=pixels.foreground(matches, true.people, predicted) if pixels is not None else None,
            parts=self._parts(true, people, matches, pixels),
            correspondence_histogram=histogram.tolist() if histogram.any() else None,
            true_ids=[true.people[i].id for i in matches.required],
            predicted_ids=[predicted[j].id for j in used],
            distances=matches.distance[np.ix_(matches.required, used)].tolist(),
        )
        self._step += 1
        return record

    def renumbered(self, people: People) -> People:
        """``people`` with ids from 1 in the order of their appearance in this sequence.

        So results do not depend on what the pipeline saw before the sequence, or on which worker saw it.
        """
        ids = {p.id: self._ids.setdefault(p.id, len(self._ids) + 1) for p in people.people}
        labels = np.zeros_like(people.labels)
        for old, new in ids.items():
            labels[people.labels == old] = new
        renamed = tuple(dataclasses.replace(p, id=ids[p.id]) for p in people.people)
        return dataclasses.replace(people, people=renamed, labels=labels)

    def _person(
        self,
        true: TrueFrame,
        person: TruePerson,
        found: Person | None,
        pixels: _Pixels | None,
        histogram: np.ndarray,  # [51] int64 of correspondence errors, added to
    ) -> PersonMeasures:
        measures = PersonMeasures(
            id=person.id,
            visibility=float(person.visibility),
            distance=float(np.linalg.norm(person.joints[0])),
            cut=is_cut(true, person),
            predicted=None if found is None else found.id,
            mask_iou=pixels.iou(person, found) if pixels is not None else float("nan"),
        )
        if found is None:
            self._history.pop(person.id, None)
            return measures
        errors = self._errors(person, found)
        if pixels is not None:
            points = pixels.points_of(person, self._config.points)
            errors |= self._correspondences(points, person, found, histogram)
        return dataclasses.replace(
            measures,
            errors=errors,
            joint_errors=pose.point_errors(found.joints, person.joints).tolist(),
            root_joint_errors=pose.root_joint_errors(found.joints, person.joints).tolist(),
            sigma=found.joint_sigma.astype(float).tolist(),
            acceleration=self._acceleration(true, person, found),
        )

    def _errors(self, person: TruePerson, found: Person) -> dict[str, float]:
        """Metres, by name."""
        by_joint = pose.point_errors(found.joints, person.joints)
        errors = {
            "mpjpe": pose.mpjpe(found.joints, person.joints),
            "root_mpjpe": pose.root_mpjpe(found.joints, person.joints),
            "pa_mpjpe": pose.pa_mpjpe(found.joints, person.joints),
            "n_mpjpe": pose.n_mpjpe(found.joints, person.joints),
            "pelvis": float(by_joint[pose.ROOT]),
            "stature": abs(found.height - stature(self._body, person.state.betas)),
        }
        for name, which in (("visible", person.joint_visible), ("hidden", ~person.joint_visible)):
            if which.any():
                errors[f"mpjpe_{name}"] = float(by_joint[which].mean())
        if found.vertices.shape == person.vertices.shape:  # one topology
            errors["pve"] = pose.pve(found.vertices, person.vertices)
            errors["root_pve"] = pose.root_pve(found.vertices, person.vertices, found.joints[0], person.joints[0])
            errors["pa_pve"] = pose.pa_pve(found.vertices, person.vertices)
        if self._config.surface:
            both = surface.surface_errors(found.vertices, self._body.faces, person.vertices, self._body.faces)
            errors |= dataclasses.asdict(both)
        return errors

    def _correspondences(
        self, points: np.ndarray, person: TruePerson, found: Person, histogram: np.ndarray
    ) -> dict[str, float]:
        """Where on the body the fitted surface puts each measured point [N, 3], against where the true one does.

        The place of a point is the nearest vertex. Errors are straight distances on the rest surface; the confusions
        are counts: points on the other side, and points that have a side.
        """
        same = found.vertices.shape == person.vertices.shape == self._body.v_template.shape
        if not len(points) or not same:
            return {}
        there = cKDTree(person.vertices).query(points)[1]
        here = cKDTree(found.vertices).query(points)[1]
        error = euclidean_error(self._body.v_template[here], self._body.v_template[there])
        bins = np.minimum((error / CORRESPONDENCE_BIN).astype(np.int64), len(histogram) - 1)
        histogram += np.bincount(bins, minlength=len(histogram))
        result = {"correspondence": float(error.mean())}
        for name, sides in (("left_right", self._left_right), ("front_back", self._front_back)):
            sided = sides[there] != 0
            result[f"{name}_sided"] = float(sided.sum())
            result[f"{name}_confused"] = float((sides[here] == -sides[there])[sided].sum())
        return result

    def _acceleration(self, true: TrueFrame, person: TruePerson, found: Person) -> dict[str, float]:
        """Over this frame and the two before it, when the person was found in them under the same id."""
        now = _Found(self._step, int(true.frame.stamp_ns), found.id, found.joints, person.joints)
        last = [*self._history.get(person.id, [])[-2:], now]
        self._history[person.id] = last
        if len(last) < 3 or len({f.predicted_id for f in last}) > 1 or last[2].step - last[0].step != 2:
            return {}
        times = np.array([f.stamp_ns - last[0].stamp_ns for f in last]) * 1e-9
        if not (np.diff(times) > 0).all():
            return {}
        predicted, truth = np.stack([f.predicted for f in last]), np.stack([f.true for f in last])
        return {
            "error": smoothness.acceleration_error(predicted, truth, times),
            "predicted": smoothness.jitter(predicted, times),
            "true": smoothness.jitter(truth, times),
        }

    def _parts(
        self, true: TrueFrame, people: People, matches: Matches, pixels: _Pixels | None
    ) -> dict[str, list[int]] | None:
        """Body parts of the fitted bodies, as they cover the true people's pixels; people not found are left out."""
        if pixels is None or true.parts is None or not matches.pairs:
            return None
        bodies = np.stack([people.people[j].vertices for _, j in matches.pairs])
        if bodies.shape[1:] != self._body.v_template.shape:
            return None
        raster = rasterize(bodies, self._body.faces, people.frame.intrinsics)
        parts = np.where(raster.face >= 0, self._face_parts[np.maximum(raster.face, 0)], masks.NOBODY)
        found = np.isin(pixels.true, [true.people[i].id for i, _ in matches.pairs])
        counts = masks.part_counts(parts, true.parts, valid=found & pixels.measured)
        return {"right": counts.right.tolist(), "all": counts.all.tolist()}


@dataclass(frozen=True)
class _Pixels:
    """Label images that can be compared."""

    true: np.ndarray  # [H, W] id of the true person
    predicted: np.ndarray  # [H, W] id of the predicted person
    measured: np.ndarray  # [H, W] bool: there is a reading; without one nobody can be told from depth
    points: np.ndarray  # [H, W, 3] metres

    @staticmethod
    def of(true: TrueFrame, people: People) -> _Pixels | None:
        """None when the truth has no labels, or the prediction is of an undistorted image and the truth is not."""
        if true.labels is None or true.labels.shape != people.labels.shape or true.frame.intrinsics.distorted:
            return None
        depth = true.frame.depth
        return _Pixels(true.labels, people.labels, depth > 0, depth_to_points(depth, true.frame.intrinsics))

    def foreground(self, matches: Matches, true: Sequence[TruePerson], predicted: Sequence[Person]) -> tuple[int, int]:
        """Pixels of people in both, in either; those of hidden people and of predictions of them do not count."""
        hidden = [person.id for i, person in enumerate(true) if i not in matches.required]
        ignored = [predicted[j].id for j in matches.ignored]
        valid = self.measured & ~np.isin(self.true, hidden) & ~np.isin(self.predicted, ignored)
        return masks.overlap(self.predicted > 0, self.true > 0, valid)

    def iou(self, person: TruePerson, found: Person | None) -> float:
        """0 for a person not found; NaN for one without a measured pixel."""
        if found is None:
            return 0.0
        return masks.intersection_over_union(self.predicted == found.id, self.true == person.id, self.measured)

    def points_of(self, person: TruePerson, count: int) -> np.ndarray:
        """At most ``count`` measured points [N, 3] of a true person, evenly over the mask."""
        mine = np.flatnonzero((self.true == person.id) & self.measured)
        if len(mine) > count:
            mine = mine[np.linspace(0, len(mine) - 1, count).astype(int)]
        return self.points.reshape(-1, 3)[mine]


def is_cut(true: TrueFrame, person: TruePerson) -> bool:
    """Whether some of the body lies outside the image."""
    vertices = person.vertices.astype(np.float64)
    if (vertices[:, 2] <= 0.05).any():
        return True
    camera = true.frame.intrinsics
    pixel = camera.project(vertices)
    return bool(((pixel < -0.5) | (pixel >= [camera.width - 0.5, camera.height - 0.5])).any())


def _depth_order(true: Sequence[TruePerson], predicted: Sequence[Person], matches: Matches) -> tuple[int, int, int]:
    here = np.array([predicted[j].joints[0, 2] for _, j in matches.pairs])
    there = np.array([true[i].joints[0, 2] for i, _ in matches.pairs])
    right, pairs = coherence.depth_order(here, there)
    count = len(matches.required)
    return right, pairs, count * (count - 1) // 2
