"""Engines that know the truth: they give what perfect networks would, for frames of the synthetic world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.skeleton import PARENTS, joint_index
from human_recon.camera.frame import Frame
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.perception.codebook import Codebook
from human_recon.perception.crops import CropCamera, crop_lookup
from human_recon.perception.people_input import CoarseView
from human_recon.perception.prompts import Proposal
from human_recon.simulation.rendering import FIRST_THING
from human_recon.simulation.world import Sample

PELVIS, CHEST = joint_index("pelvis"), joint_index("spine3")


def frame_of(sample: Sample) -> Frame:
    return Frame(0, "camera", sample.depth, sample.view.intrinsics)


@lru_cache(maxsize=2)
def codebook_of(model: BodyModel, count: int = 1000) -> Codebook:
    """Random descriptors for ``count`` vertices."""
    rng = np.random.default_rng(5)
    vertices = np.sort(rng.choice(model.vertex_count, count, replace=False)).astype(np.int32)
    descriptors = rng.normal(size=(count, 16)).astype(np.float32)
    return Codebook(vertices, descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True))


@dataclass
class TruePeopleNet:
    """PeopleNet's output for ``sample``, its votes off by Laplace noise of the given scale."""

    sample: Sample
    noise: float = 0.0
    description: str = "truth"

    def run(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        assert image.shape == (1, 6, 120, 160) and image.dtype == np.float32
        rendering, rng = self.sample.rendering, np.random.default_rng(1)
        view = CoarseView.of(self.sample.view.intrinsics)
        rows, columns = view.rows[::2], view.columns[::2]
        person = rendering.object[np.ix_(rows, columns)]
        person = np.where((person < FIRST_THING) & (rows[:, None] >= 0) & (columns >= 0), person, -1)
        points = np.moveaxis(image[0, :3, ::2, ::2], 0, -1) * 4.0
        output = np.zeros((1, 8, *person.shape), np.float32)
        output[0, 0] = np.where(person >= 0, 8.0, -8.0)
        if len(rendering.joints):
            for first, joint in ((1, PELVIS), (4, CHEST)):
                votes = rendering.joints[np.maximum(person, 0), joint] - points
                votes += rng.laplace(scale=max(self.noise, 1e-9), size=votes.shape)
                output[0, first : first + 3] = np.moveaxis(votes, -1, 0)
        output[0, 7] = np.log(max(self.noise, 0.01))
        return {"output": output}


@dataclass
class TrueBodyNet:
    """BodyNet's outputs for ``sample``.

    It learns what its crops are of from ``proposals``, which gives what the perception has found in this frame; each is
    taken to be the person whom its prompt speaks of most.
    """

    sample: Sample
    proposals: Callable[[], list[Proposal]]
    model: BodyModel
    codebook: Codebook
    description: str = "truth"

    def run(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        found = self.proposals()
        assert image.shape == (len(found), 5, 128, 128) and image.dtype == np.float32
        rows = [self._answer(row, proposal.crop) for row, proposal in zip(image, found, strict=True)]
        return {name: np.ascontiguousarray(np.stack([row[name] for row in rows])) for name in rows[0]}

    def _answer(self, image: np.ndarray, crop: CropCamera) -> dict[str, np.ndarray]:
        rendering = self.sample.rendering
        lookup = crop_lookup(crop, self.sample.view.intrinsics)[::2, ::2]
        inside = np.maximum(lookup, 0)
        seen = np.where(lookup >= 0, rendering.object.ravel()[inside], -1)
        prompt = image[4, ::2, ::2]
        weights = [prompt[seen == p].sum() for p in range(len(rendering.states))]
        person = int(np.argmax(weights)) if weights and max(weights) > 0 else -1
        return {
            "mask": np.where((seen == person) & (person >= 0), 8.0, -8.0).astype(np.float32),
            "parts": _one_hot(np.where(lookup >= 0, rendering.part.ravel()[inside], 255), 24),
            "descriptor": self._descriptors(np.where(lookup >= 0, rendering.vertex.ravel()[inside], -1)),
            **self._body(person, crop),
        }

    def _descriptors(self, vertex: np.ndarray) -> np.ndarray:
        """The descriptor of the codebook's vertex that is nearest on the body, at twice its length."""
        nearest = self.codebook.descriptors[nearest_entries(self.model, self.codebook)[np.maximum(vertex, 0)]]
        return np.moveaxis(2.0 * nearest * (vertex >= 0)[..., None], -1, 0).astype(np.float32)

    def _body(self, person: int, crop: CropCamera) -> dict[str, np.ndarray]:
        result = {
            "rotations": np.tile(np.eye(3)[:, :2].T.reshape(6), (24, 1)),
            "betas": np.zeros(10),
            "root": np.zeros(3),
            "joints_log_scale": np.full(24, np.log(0.02)),
        }
        if person >= 0:
            state = self.sample.rendering.states[person]
            world = list(rotvec_to_matrix(state.pose))
            for joint, parent in enumerate(PARENTS):
                world[joint] = crop.rotation @ world[joint] if parent < 0 else world[parent] @ world[joint]
            result["rotations"] = np.stack([1.7 * np.concatenate([r[:, 0], r[:, 1]]) for r in world])
            result["betas"] = state.betas
            result["root"] = crop.to_crop(self.sample.rendering.joints[person, 0])
        return {name: array.astype(np.float32) for name, array in result.items()}


@lru_cache(maxsize=2)
def nearest_entries(model: BodyModel, codebook: Codebook) -> np.ndarray:
    """Entry of the codebook that is nearest to each vertex of the body, [V]."""
    return cKDTree(model.v_template[codebook.vertices]).query(model.v_template)[1]


def _one_hot(labels: np.ndarray, count: int) -> np.ndarray:
    return np.moveaxis(5.0 * (labels[..., None] == np.arange(count)), -1, 0).astype(np.float32)
