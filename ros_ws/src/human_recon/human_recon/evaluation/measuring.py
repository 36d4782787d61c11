"""One frame's prediction against its truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.measure import stature
from human_recon.body.model import BodyModel
from human_recon.camera.points import depth_to_points
from human_recon.evaluation.matching import Matches, MatchingConfig, match_people
from human_recon.evaluation.metrics import calibration, coherence, lag, masks, pose, smoothness, surface
from human_recon.evaluation.metrics.correspondence import euclidean_error
from human_recon.evaluation.records import (
    CORRESPONDENCE_BIN,
    CORRESPONDENCE_BINS,
    SIGMA_BIN,
    FrameMeasures,
    PersonMeasures,
)
from human_recon.evaluation.rest_surface import RestSurface
from human_recon.geometry.rasterizer import rasterize
from human_recon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
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
    """A person in an earlier frame, for what is measured over several."""

    step: int
    stamp_ns: int
    predicted: np.ndarray  # [24, 3]
    true: np.ndarray  # [24, 3]
    velocity: np.ndarray | None  # [6] predicted, m/s and rad/s
    turn: np.ndarray  # [3] true rotation vector of the pelvis


class SequenceMeasurer:
    """Measures the frames of one sequence, in their order."""

    def __init__(
        self, body: BodyModel, config: MeasuringConfig, sequence: int, rest: RestSurface | None = None
    ) -> None:
        """``rest`` is that of the body; without it, it is made anew, and without geodesic distances."""
        self._body = body
        self._config = config
        self._sequence = sequence
        self._rest = rest if rest is not None else RestSurface.of(body)
        self._ids: dict[int, int] = {}
        self._history: dict[int, list[_Found]] = {}  # of true people found in all frames up to the last
        self._first_found: dict[tuple[int, int], int] = {}  # (true, predicted id) -> stamp, ns
        self._step = 0

    def measure(self, true: TrueFrame, people: People, seconds: float, failure: str | None = None) -> FrameMeasures:
        """Compare ``people``, of :meth:`renumbered`, which took ``seconds``, with the truth of the same frame.

        Raises:
            ValueError: the parts or vertices of ``people`` are no images of the labels' size, or out of range.
        """
        predicted = people.people
        matches = match_people(true.people, predicted, self._config.matching)
        partner, expected = dict(matches.pairs), dict(matches.expected)
        pixels = _Pixels.of(true, people, self._body)
        parts = self._fitted_parts(people, matches) if pixels is not None and true.parts is not None else None
        histograms = _Histograms()
        persons = []
        for i in matches.required:
            person = true.people[i]
            found = predicted[partner[i]] if i in partner else None
            measures = self._person(true, person, found, pixels, parts, histograms)
            if i in expected:
                measures = dataclasses.replace(measures, expected=predicted[expected[i]].id)
            persons.append(measures)
        hidden = [j for i, j in matches.expected if i not in matches.required]
        used = [j for j in range(len(predicted)) if j not in matches.ignored and j not in hidden]
        everybody_found = [true.people[i].id for i, _ in matches.pairs]
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
            parts=pixels.part_counts(parts, everybody_found) if pixels is not None else None,
            correspondence_histogram=histograms.of("fitted"),
            true_ids=[true.people[i].id for i in matches.required],
            predicted_ids=[predicted[j].id for j in used],
            distances=matches.distance[np.ix_(matches.required, used)].tolist(),
            true_people=len(true.people),
            false_distances=[float(np.linalg.norm(predicted[j].joints[0])) for j in matches.false],
            failure=failure,
            network_parts=pixels.part_counts(people.parts, everybody_found) if pixels is not None else None,
            histograms=histograms.others(),
            unmeasured=len(matches.expected) + len(matches.elsewhere),
            expected_errors=[pose.mpjpe(predicted[j].joints, true.people[i].joints) for i, j in matches.expected],
            overlap_order=self._overlap_order(true, people, matches) if pixels is not None else None,
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
        parts: np.ndarray | None,  # [H, W] uint8, of the fitted bodies of people found
        histograms: _Histograms,  # added to
    ) -> PersonMeasures:
        measures = PersonMeasures(
            id=person.id,
            visibility=float(person.visibility),
            distance=float(np.linalg.norm(person.joints[0])),
            cut=is_cut(true, person),
            predicted=None if found is None else found.id,
            mask_iou=pixels.iou(person, found) if pixels is not None else float("nan"),
            yaw=seen_from(person),
        )
        points = pixels.points_of(person, self._config.points) if pixels is not None else _NO_POINTS
        there = self._true_places(person, points) if found is not None else None
        if pixels is not None:
            measures = dataclasses.replace(
                measures,
                parts=pixels.own_part_counts(person, parts if found is not None else None),
                network=self._network(person, pixels, points, found is not None, histograms),
            )
        if found is None:
            self._history.pop(person.id, None)
            return measures
        last = self._remembered(true, person, found)
        seen, said = np.asarray(person.joint_visible, bool), np.asarray(found.joint_visible, bool)
        return dataclasses.replace(
            measures,
            **self._covariance(person, found, histograms),
            visible_joints={
                "seen": int(seen.sum()),
                "seen_right": int((seen & said).sum()),
                "hidden": int((~seen).sum()),
                "hidden_right": int((~seen & ~said).sum()),
            },
            visibility_error=float(found.visibility - person.visibility),
            motion=self._motion(last),
            errors=self._errors(person, found) | self._correspondences(points, there, found, histograms),
            joint_errors=pose.point_errors(found.joints, person.joints).tolist(),
            root_joint_errors=pose.root_joint_errors(found.joints, person.joints).tolist(),
            sigma=found.joint_sigma.astype(float).tolist(),
            acceleration=self._acceleration(last),
            lag=self._lag(last),
            tracked=self._tracked(true, person, found),
            confidence=float(found.confidence),
            within_sigmas=calibration.within_sigmas(found.joints, person.joints, found.joint_sigma),
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

    def _true_places(self, person: TruePerson, points: _Points) -> np.ndarray | None:
        """[N] the vertex of the true surface nearest to each point; None for a body of another topology."""
        if person.vertices.shape != self._body.v_template.shape or not len(points.places):
            return None
        return cKDTree(person.vertices).query(points.places)[1]

    def _correspondences(
        self, points: _Points, there: np.ndarray | None, found: Person, histograms: _Histograms
    ) -> dict[str, float]:
        """Where on the body the fitted surface puts each measured point, against where the true one does.

        The place of a point is the nearest vertex. Errors are distances on the rest surface, straight and along it; the
        confusions are counts: points on the other side, and points that have a side.
        """
        if there is None or found.vertices.shape != self._body.v_template.shape:
            return {}
        here = cKDTree(found.vertices).query(points.places)[1]
        return self._compared(here, there, histograms, "fitted", "correspondence_geodesic")

    def _network(
        self,
        person: TruePerson,
        pixels: _Pixels,
        points: _Points,
        found: bool,
        histograms: _Histograms,
    ) -> dict[str, float]:
        """The same of the vertices that a network gives the pixels itself, against those that they show.

        What a pixel shows the renderer knows, of cloth as well; where nobody recorded it, the nearest vertex of the
        true body stands for it. Histograms are of people found.
        """
        if pixels.predicted_vertices is None or person.vertices.shape != self._body.v_template.shape:
            return {}
        if pixels.true_vertices is not None:
            there = pixels.true_vertices.ravel()[points.pixels].astype(np.int64)
        else:
            there = self._true_places(person, points)
        if there is None:
            return {"points": 0.0, "placed": 0.0}
        here = pixels.predicted_vertices.ravel()[points.pixels].astype(np.int64)
        placed = (here >= 0) & (there >= 0)
        counts = {"points": float(len(here)), "placed": float(placed.sum())}
        if not placed.any():
            return counts
        kept = histograms if found else _Histograms()
        return counts | self._compared(here[placed], there[placed], kept, "network", "geodesic")

    def _compared(
        self, here: np.ndarray, there: np.ndarray, histograms: _Histograms, kind: str, geodesic_name: str
    ) -> dict[str, float]:
        """Errors, metres, and counts of confusions of vertices said [N] and true [N]."""
        error = euclidean_error(self._rest.vertices[here], self._rest.vertices[there])
        histograms.add(kind, error)
        result = {"correspondence": float(error.mean())}
        along = self._rest.geodesic(here, there)
        if along is not None:
            histograms.add(f"{kind}_geodesic", along)
            result[geodesic_name] = float(along.mean())
        for name, sides in (("left_right", self._rest.left_right), ("front_back", self._rest.front_back)):
            sided = sides[there] != 0
            result[f"{name}_sided"] = float(sided.sum())
            result[f"{name}_confused"] = float((sides[here] == -sides[there])[sided].sum())
        return result

    def _remembered(self, true: TrueFrame, person: TruePerson, found: Person) -> list[_Found]:
        """This frame and those before it in which the person was found without a gap, whatever the id."""
        now = _Found(
            self._step,
            int(true.frame.stamp_ns),
            found.joints,
            person.joints,
            found.velocity,
            np.asarray(person.state.pose[0], np.float64),
        )
        last = self._history.setdefault(person.id, [])
        if last and (last[-1].step != now.step - 1 or last[-1].stamp_ns >= now.stamp_ns):
            last.clear()
        last.append(now)
        return last

    def _acceleration(self, last: list[_Found]) -> dict[str, float]:
        """Over this frame and the two before it."""
        if len(last) < 3:
            return {}
        times = np.array([f.stamp_ns - last[-3].stamp_ns for f in last[-3:]]) * 1e-9
        predicted, truth = np.stack([f.predicted for f in last[-3:]]), np.stack([f.true for f in last[-3:]])
        error = smoothness.acceleration_error(predicted, truth, times)
        return {
            "error": error,
            "error_frame": error * float(times[2] / 2.0) ** 2,
            "predicted": smoothness.jitter(predicted, times),
            "true": smoothness.jitter(truth, times),
        }

    def _motion(self, last: list[_Found]) -> dict[str, float]:
        """Of the frame before this one, whose true velocity is known now: a central difference."""
        if len(last) < 3 or last[-2].velocity is None or not np.isfinite(last[-2].velocity).all():
            return {}
        before, said, after = last[-3], np.asarray(last[-2].velocity, np.float64), last[-1]
        step = (after.stamp_ns - before.stamp_ns) * 1e-9
        velocity = (after.true[pose.ROOT].astype(np.float64) - before.true[pose.ROOT]) / step
        turn = matrix_to_rotvec(rotvec_to_matrix(after.turn) @ rotvec_to_matrix(before.turn).T) / step
        return {
            "velocity": float(np.linalg.norm(said[:3] - velocity)),
            "speed": float(np.linalg.norm(velocity)),
            "turn": float(np.linalg.norm(said[3:] - turn)),
            "turn_speed": float(np.linalg.norm(turn)),
        }

    def _covariance(self, person: TruePerson, found: Person, histograms: _Histograms) -> dict[str, Any]:
        """What of a person's record says whether the covariances are right."""
        counts: dict[str, int] = {}
        distances = np.full(len(person.joints), np.nan)
        if found.joint_covariance is not None:
            errors = calibration.along_axes(found.joints.astype(np.float64) - person.joints, found.joint_covariance)
            distances = np.linalg.norm(errors, axis=1)
            counts |= _within("axes", errors) | _within("hidden_axes", errors[~np.asarray(person.joint_visible)])
            counts |= _within("joints", distances)
            histograms.add_sigmas("sigma_joints", errors)
        if found.root_covariance is not None:
            place = found.joints[pose.ROOT].astype(np.float64) - person.joints[pose.ROOT]
            here, there = (rotvec_to_matrix(np.asarray(p.state.pose[0], np.float64)) for p in (found, person))
            for name, error, part in (
                ("root", place, found.root_covariance[:3, :3]),
                ("turn", matrix_to_rotvec(here @ there.T), found.root_covariance[3:, 3:]),
            ):
                errors = calibration.along_axes(error[None], part[None])
                counts |= _within(f"{name}_axes", errors)
                histograms.add_sigmas(f"sigma_{name}", errors)
        return {"covariance": counts, "mahalanobis": distances.tolist()}

    def _lag(self, last: list[_Found]) -> list[float]:
        """Of a full window, of which only what the next one needs is kept."""
        if len(last) < lag.WINDOW:
            return []
        times = np.array([f.stamp_ns - last[0].stamp_ns for f in last]) * 1e-9
        squares = lag.shifted_squares(np.stack([f.predicted for f in last]), np.stack([f.true for f in last]), times)
        del last[: lag.WINDOW - 2 * lag.MOST]
        return [float(square) for square in squares]

    def _tracked(self, true: TrueFrame, person: TruePerson, found: Person) -> float:
        first = self._first_found.setdefault((person.id, found.id), int(true.frame.stamp_ns))
        return (int(true.frame.stamp_ns) - first) * 1e-9

    def _overlap_order(self, true: TrueFrame, people: People, matches: Matches) -> tuple[int, int] | None:
        """Who is in front, in the pixels in which fitted bodies of people found lie behind each other."""
        bodies = [people.people[j].vertices for _, j in matches.pairs]
        if true.labels is None or any(body.shape != self._body.v_template.shape for body in bodies):
            return None
        camera = people.frame.intrinsics
        if len(bodies) < 2:
            return 0, 0
        depths = np.stack([rasterize(body[None], self._body.faces, camera).depth for body in bodies])
        shown = np.full(true.labels.shape, -1)
        for k, (i, _) in enumerate(matches.pairs):
            shown[true.labels == true.people[i].id] = k
        return coherence.overlap_order(depths, shown)

    def _fitted_parts(self, people: People, matches: Matches) -> np.ndarray | None:
        """[H, W] uint8, body parts of the fitted bodies of people found as the camera would see them; 255 = none."""
        if not matches.pairs:
            return None
        bodies = np.stack([people.people[j].vertices for _, j in matches.pairs])
        if bodies.shape[1:] != self._body.v_template.shape:
            return None
        raster = rasterize(bodies, self._body.faces, people.frame.intrinsics)
        return np.where(raster.face >= 0, self._rest.face_parts[np.maximum(raster.face, 0)], np.uint8(masks.NOBODY))


class _Histograms:
    """Correspondence errors in bins of one centimetre, and errors in bins of a tenth of a sigma, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = {}

    def add(self, kind: str, errors: np.ndarray) -> None:
        bins = np.minimum((errors / CORRESPONDENCE_BIN).astype(np.int64), CORRESPONDENCE_BINS - 1)
        self._counts[kind] = self._counts.get(kind, 0) + np.bincount(bins, minlength=CORRESPONDENCE_BINS)

    def add_sigmas(self, kind: str, errors: np.ndarray) -> None:
        """Errors in standard deviations, of any sign; NaN do not count."""
        size = np.abs(errors[np.isfinite(errors)])
        bins = np.minimum(size / SIGMA_BIN, CORRESPONDENCE_BINS - 1).astype(np.int64)
        self._counts[kind] = self._counts.get(kind, 0) + np.bincount(bins, minlength=CORRESPONDENCE_BINS)

    def of(self, kind: str) -> list[int] | None:
        return self._counts[kind].tolist() if kind in self._counts else None

    def others(self) -> dict[str, list[int]]:
        """All kinds but "fitted", which a record has a field of its own for."""
        return {kind: counts.tolist() for kind, counts in self._counts.items() if kind != "fitted"}


def _within(name: str, errors: np.ndarray) -> dict[str, int]:
    """How many errors there are, in standard deviations, and how many are within 1, 2, 3; NaN do not count."""
    size = np.abs(errors[np.isfinite(errors)])
    return {name: len(size)} | {f"{name}_{k:.0f}": int((size <= k).sum()) for k in calibration.SIGMAS}


@dataclass(frozen=True)
class _Points:
    """Measured points of a person."""

    pixels: np.ndarray  # [N] indices into the flat image
    places: np.ndarray  # [N, 3] metres


_NO_POINTS = _Points(np.zeros(0, np.int64), np.zeros((0, 3)))


@dataclass(frozen=True)
class _Pixels:
    """Label images that can be compared."""

    true: np.ndarray  # [H, W] id of the true person
    predicted: np.ndarray  # [H, W] id of the predicted person
    measured: np.ndarray  # [H, W] bool: there is a reading; without one nobody can be told from depth
    points: np.ndarray  # [H, W, 3] metres
    true_parts: np.ndarray | None  # [H, W] uint8
    predicted_parts: np.ndarray | None  # [H, W] uint8, of a network
    true_vertices: np.ndarray | None  # [H, W]
    predicted_vertices: np.ndarray | None  # [H, W], of a network

    @staticmethod
    def of(true: TrueFrame, people: People, body: BodyModel) -> _Pixels | None:
        """None when the truth has no labels, or the prediction is of an undistorted image and the truth is not."""
        for name, image, low, high in (
            ("parts", people.parts, 0, masks.NOBODY),
            ("vertices", people.vertices, -1, body.vertex_count - 1),
        ):
            if image is not None and image.shape != people.labels.shape:
                raise ValueError(f"People.{name} is {list(image.shape)}, labels are {list(people.labels.shape)}")
            if image is not None and image.size and not low <= int(image.min()) <= int(image.max()) <= high:
                raise ValueError(f"People.{name} is from {image.min()} to {image.max()}, not from {low} to {high}")
        if true.labels is None or true.labels.shape != people.labels.shape or true.frame.intrinsics.distorted:
            return None
        depth = true.frame.depth
        points = depth_to_points(depth, true.frame.intrinsics)
        return _Pixels(
            true.labels, people.labels, depth > 0, points, true.parts, people.parts, true.vertices, people.vertices
        )

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

    def part_counts(self, predicted: np.ndarray | None, ids: Sequence[int]) -> dict[str, list[int]] | None:
        """Pixels of the true people ``ids`` by true part, and those of them with that part in ``predicted`` [H, W]."""
        if predicted is None or self.true_parts is None or not len(ids):
            return None
        counts = masks.part_counts(predicted, self.true_parts, valid=np.isin(self.true, ids) & self.measured)
        return {"right": counts.right.tolist(), "all": counts.all.tolist()}

    def own_part_counts(self, person: TruePerson, fitted: np.ndarray | None) -> dict[str, int]:
        """The same of one person: see :attr:`PersonMeasures.parts`."""
        if self.true_parts is None:
            return {}
        mine = (self.true == person.id) & self.measured
        parts = self.true_parts[mine]
        known = parts != masks.NOBODY
        counts = {}
        for name, image in (("fitted", fitted), ("network", self.predicted_parts)):
            if image is not None:
                counts[f"{name}_right"] = int((image[mine] == parts)[known].sum())
                counts[f"{name}_all"] = int(known.sum())
        return counts

    def points_of(self, person: TruePerson, count: int) -> _Points:
        """At most ``count`` measured points of a true person, evenly over the mask."""
        mine = np.flatnonzero((self.true == person.id) & self.measured)
        if len(mine) > count:
            mine = mine[np.linspace(0, len(mine) - 1, count).astype(int)]
        return _Points(mine, self.points.reshape(-1, 3)[mine])


def seen_from(person: TruePerson) -> float:
    """From which side the camera sees the pelvis, about the body's own upward axis: degrees in (-180, 180].

    0: the camera looks at the front, 90: at the person's left, 180: at the back.
    """
    to_camera = rotvec_to_matrix(np.asarray(person.state.pose[0], np.float64)).T @ -person.joints[0].astype(np.float64)
    return math.degrees(math.atan2(to_camera[0], to_camera[2]))


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
