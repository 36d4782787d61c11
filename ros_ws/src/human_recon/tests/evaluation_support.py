"""Frames with truth, and a pipeline that returns that truth with errors known by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.measure import stature
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.parts import face_parts
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.evaluation.rest_surface import table_path
from human_recon.ground_truth import TrueFrame, TruePerson
from human_recon.people import People, Person
from tests.synthetic_scene import CAMERA, render, standing

PLACES = {1: (-0.8, 2.8), 2: (0.9, 3.5), 3: (0.0, 4.3)}  # x, z in metres


def true_frame(
    body: BodyModel, ids: Sequence[int], stamp_ns: int = 0, places: dict[int, tuple] | None = None
) -> TrueFrame:
    """People standing at their places; fully visible, as they are when they do not overlap."""
    places = {**PLACES, **(places or {})}
    states = [standing(body, *places[i], yaw=0.3 * i) for i in ids]
    scene = render(body, states, np.random.default_rng(5), stamp_ns)
    labels = np.zeros(scene.person.shape, np.uint16)
    parts = np.full(scene.person.shape, 255, np.uint8)
    people = []
    for k, (i, state) in enumerate(zip(ids, states, strict=True)):
        mask = scene.person == k
        labels[mask] = i
        rows, columns = np.nonzero(mask)
        posed = pose_body(body, state)
        people.append(
            TruePerson(
                id=i,
                state=state,
                vertices=posed.vertices,
                joints=posed.joints,
                visibility=1.0,
                joint_visible=np.ones(24, bool),
                roi=(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1),
            )
        )
    if states:
        from human_recon.geometry.rasterizer import rasterize

        raster = rasterize(np.stack([p.vertices for p in people]), body.faces, CAMERA)
        parts[labels > 0] = face_parts(body)[raster.face[labels > 0]]
    return TrueFrame(scene.frame, tuple(people), labels, parts)


def found(body: BodyModel, person: TruePerson, shift: Sequence[float] = (0, 0, 0), new_id: int | None = None) -> Person:
    """A prediction that is the truth, moved by ``shift`` metres."""
    move = np.asarray(shift, np.float32)
    return Person(
        id=person.id if new_id is None else new_id,
        confidence=0.9,
        state=BodyState(person.state.betas, person.state.pose, person.state.trans + move),
        vertices=person.vertices + move,
        joints=person.joints + move,
        joint_sigma=np.full(24, 0.05, np.float32),
        joint_visible=person.joint_visible,
        height=stature(body, person.state.betas),
        roi=person.roi,
        residual=0.01,
    )


def no_distances(body: BodyModel, folder: Path) -> None:
    """Put a table of geodesic distances that are all 0 where the real one, which takes time, would be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (body.vertex_count, body.vertex_count)
    np.lib.format.open_memmap(table_path(body, folder), mode="w+", dtype=np.uint16, shape=shape).flush()


def hidden(person: TruePerson, visibility: float) -> TruePerson:
    return dataclasses.replace(person, visibility=visibility)


Change = Callable[[int, TrueFrame], Sequence[Person]]  # frame number, truth -> what is "predicted"


class FakePipeline:
    """Answers frame by frame, in the order of ``frames``, with what ``change`` makes of their truth."""

    def __init__(self, body: BodyModel, frames: Sequence[TrueFrame], change: Change) -> None:
        self.body = body
        self.calls: list[str] = []  # "reset" or the stamp
        self._truth = {id(frame.frame): (number, frame) for number, frame in enumerate(frames)}
        self._change = change

    def reset(self) -> None:
        self.calls.append("reset")

    def process(self, frame: Frame) -> People:
        self.calls.append(str(frame.stamp_ns))
        number, true = self._truth[id(frame)]
        people = tuple(self._change(number, true))
        labels = np.zeros(frame.depth.shape, np.uint16)
        for person, truth in ((p, t) for p in people for t in true.people):
            if np.abs(person.joints[0] - truth.joints[0]).max() < 0.6:
                assert true.labels is not None
                labels[true.labels == truth.id] = person.id
        return People(frame, people, labels, None, {"detect": 0.01, "fit": 0.02})


class PerfectPipeline:
    """The truth of :func:`true_frame` with persons 1 and 2, without being told: for worker processes."""

    def __init__(self) -> None:
        self.body = default_body_model()
        self._calls = 0

    def reset(self) -> None:
        pass

    def process(self, frame: Frame) -> People:
        self._calls += 1
        true = true_frame(self.body, (1, 2))
        # Ids that depend on how much this process has seen already, as a tracker's do.
        people = tuple(
            found(self.body, p, (0.001 * (frame.stamp_ns + 1), 0, 0), p.id + 10 * self._calls) for p in true.people
        )
        labels = np.zeros(frame.depth.shape, np.uint16)
        assert true.labels is not None
        for person, truth in zip(people, true.people, strict=True):
            labels[true.labels == truth.id] = person.id
        return People(frame, people, labels, None, {"fit": 0.01})


class OddFailsPipeline(PerfectPipeline):
    """The same, but it raises on odd stamps."""

    def process(self, frame: Frame) -> People:
        if frame.stamp_ns % 2:
            raise RuntimeError("odd")
        return super().process(frame)
