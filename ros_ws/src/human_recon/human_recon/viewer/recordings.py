"""Recordings to play: depth through the pipeline, or results that were stored before."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.camera.points import undistort_frame
from human_recon.io.people_json import FrameRecord, PeopleFile, PersonRecord
from human_recon.people import People, Person


class Reconstruction(Protocol):
    """What makes people of frames: ``human_recon.pipeline.Pipeline``."""

    def reset(self) -> None:
        """Forget who was there."""

    def process(self, frame: Frame) -> People:
        """Everybody in one frame."""


@dataclass(frozen=True)
class DepthRecording:
    """Frames, reconstructed as they are read."""

    frames: Iterable[Frame]  # iterating again begins anew
    count: int | None
    pipeline: Reconstruction

    def people(self, start: int) -> Iterator[People]:
        """See ``Recording.people``: frames before ``start`` are read but not reconstructed."""
        self.pipeline.reset()
        for frame in itertools.islice(self.frames, start, None):
            yield self.pipeline.process(frame)


class StoredRecording:
    """The people of a ``people.json``, over the depth images they were found in when those are at hand.

    Args:
        stored: the people.
        body: the body model they were made with.
        frames: the recording they were made from; frames are told by their stamps.

    Raises ValueError when the body model is another one.
    """

    def __init__(self, stored: PeopleFile, body: BodyModel, frames: Iterable[Frame] | None = None) -> None:
        if stored.body_model != body.name:
            raise ValueError(f"the people are {stored.body_model!r}, the body model is {body.name!r}")
        self._stored = stored.frames
        self._body = body
        self._frames = frames
        self._by_stamp: Mapping[int, FrameRecord] = {record.stamp_ns: record for record in stored.frames}

    @property
    def count(self) -> int | None:
        """As many frames as there are results."""
        return len(self._stored)

    def people(self, start: int) -> Iterator[People]:
        """See ``Recording.people``."""
        if self._frames is None:
            for record in self._stored[start:]:
                size = (record.camera.height, record.camera.width)
                nothing = np.broadcast_to(np.float32(0), size)
                yield self._people(record, Frame(record.stamp_ns, record.frame_id, nothing, record.camera))
        else:
            known = (frame for frame in self._frames if frame.stamp_ns in self._by_stamp)
            for frame in itertools.islice(known, start, None):
                yield self._people(self._by_stamp[frame.stamp_ns], undistort_frame(frame))

    def _people(self, record: FrameRecord, frame: Frame) -> People:
        labels = np.broadcast_to(np.uint16(0), frame.depth.shape)
        return People(frame, tuple(self._person(person) for person in record.people), labels)

    def _person(self, record: PersonRecord) -> Person:
        posed = pose_body(self._body, record.state)
        return Person(
            id=record.id,
            confidence=record.confidence,
            state=record.state,
            vertices=posed.vertices,
            joints=posed.joints,
            joint_sigma=record.joint_sigma.astype(np.float32),
            joint_visible=np.ones(24, bool),
            height=record.height,
            roi=record.roi,
            residual=record.residual,
            measured=record.roi[2] > 0,
        )
