"""The learned perception: PeopleNet finds people, BodyNet looks at each, and everybody gets their pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.inference.engine import Engine
from human_recon.perception.body_net import BodyReading, crop_images, read_body_net
from human_recon.perception.clock import Clock
from human_recon.perception.codebook import Codebook
from human_recon.perception.confidence import DetectorConfidence, person_features, vote_features
from human_recon.perception.duplicates import DuplicateConfig, Group, merged
from human_recon.perception.estimate import Perceived, PersonEstimate
from human_recon.perception.evidence import evidence_of
from human_recon.perception.people_input import CoarseView
from human_recon.perception.people_net import read_people_net
from human_recon.perception.prompts import Proposal, proposals
from human_recon.perception.upsampling import Claims, UpsamplingConfig, extents, mask_of, upsample
from human_recon.perception.votes import VoteConfig, gather
from human_recon.resources import model_path

CONFIDENCE_MODEL = "detector/confidence.json"

_view_of = lru_cache(maxsize=4)(CoarseView.of)


@dataclass(frozen=True)
class LearnedConfig:
    """Settings of the learned perception."""

    votes: VoteConfig = field(default_factory=VoteConfig)
    upsampling: UpsamplingConfig = field(default_factory=UpsamplingConfig)
    least_vote_confidence: float = 0.03  # below it BodyNet is not asked
    least_confidence: float = 0.75  # below it a proposal is nobody: 2 false people per 100 empty scenes, 4.5 at 0.5
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)
    least_area: float = 0.008  # square metres, seen from the front, of pixels that a person must have


class LearnedPerception:
    """Finds everybody in single depth frames with two networks. One caller at a time."""

    def __init__(
        self,
        people: Engine,
        body: Engine,
        codebook: Codebook,
        model: BodyModel,
        config: LearnedConfig | None = None,
        confidence: DetectorConfidence | None = None,
    ) -> None:
        """``codebook`` and ``model`` are those that BodyNet was trained with."""
        self.config = config or LearnedConfig()
        self._people, self._body = people, body
        self._codebook, self._model = codebook, model
        self._confidence = confidence or DetectorConfidence.load(model_path(CONFIDENCE_MODEL))

    def detect(self, frame: Frame, known: np.ndarray | None = None) -> Perceived:
        """Everybody in an undistorted frame, nearest first.

        Args:
            frame: the frame.
            known: [T, 6] metres, camera frame, pelvis and chest of people who are expected, if any: they are looked
                for harder.

        Raises:
            ValueError: the frame is distorted, or a network gives something else than expected.
        """
        clock = Clock()
        found = self.propose(frame, clock, known)
        reading = self.read(frame, found, clock)
        confidence = self._confidence.person(person_features(found, reading))
        kept = [
            group
            for group in merged(reading, confidence, self.config.duplicates)
            if confidence[group.leader] >= self.config.least_confidence
        ]
        kept.sort(key=lambda group: float(reading.joints[group.leader, 0, 2]))
        clock.lap("judge")
        owners = [(group.leader, *group.followers) for group in kept]
        claims = upsample(frame, reading, owners, self.config.upsampling)
        people = self._people_of(frame, reading, confidence, kept, claims)
        clock.lap("pixels")
        return Perceived(people, claims, clock.timings)

    def propose(self, frame: Frame, clock: Clock | None = None, known: np.ndarray | None = None) -> list[Proposal]:
        """Where people may be: what PeopleNet's votes say."""
        clock = clock or Clock()
        if frame.intrinsics.distorted:
            raise ValueError("the frame is distorted: undistort it first (camera.points.undistort_frame)")
        fields = read_people_net(self._people, frame.depth, _view_of(frame.intrinsics))
        clock.lap("people_net")
        gatherings = gather(fields, self.config.votes, known)
        features = vote_features(gatherings)
        worth = self._confidence.votes(features) >= self.config.least_vote_confidence
        found = proposals(gatherings, features, np.flatnonzero(worth))
        clock.lap("votes")
        return found

    def read(self, frame: Frame, found: list[Proposal], clock: Clock | None = None) -> BodyReading:
        """What BodyNet says of proposals."""
        clock = clock or Clock()
        images = crop_images(frame, _view_of(frame.intrinsics), found)
        clock.lap("crops")
        reading = read_body_net(self._body, images, found, self._codebook, self._model)
        clock.lap("body_net")
        return reading

    def _people_of(
        self, frame: Frame, reading: BodyReading, confidence: np.ndarray, kept: list[Group], claims: Claims
    ) -> tuple[PersonEstimate, ...]:
        """Those of the kept whom enough pixels are left to; the pixels of the others become nobody's."""
        area, box = extents(frame.depth, claims.owner, claims.window, len(kept))
        area /= frame.intrinsics.fx * frame.intrinsics.fy
        new = np.full(len(kept) + 1, -1, np.int16)  # index of each of the kept among the people; the last is nobody
        people: list[PersonEstimate] = []
        for person, n in enumerate(group.leader for group in kept):
            if area[person] < self.config.least_area:
                continue
            new[person] = len(people)
            people.append(
                PersonEstimate(
                    mask=mask_of(claims.owner, person, box[person]),
                    confidence=float(confidence[n]),
                    state=reading.states[n],
                    joints=reading.joints[n],
                    joint_sigma=reading.joint_sigma[n],
                    evidence=evidence_of(reading, n),
                )
            )
        if len(people) < len(kept):
            claims.owner[:] = new[claims.owner]
        return tuple(people)
