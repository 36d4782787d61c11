"""The thirty-three landmarks of the skin are where an anatomist would touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.landmarks import LANDMARK_NAMES, MIRROR_LANDMARKS, landmark_vertices
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import joint_index


@pytest.fixture(scope="module")
def points(body: BodyModel) -> dict[str, np.ndarray]:
    """Landmarks on the template: x = the person's left, y up, z ahead."""
    return dict(zip(LANDMARK_NAMES, body.v_template[landmark_vertices(body)].astype(float), strict=True))


def test_there_are_as_many_as_in_the_seed(body: BodyModel) -> None:
    assert len(LANDMARK_NAMES) == len(set(LANDMARK_NAMES)) == 33
    assert len(set(landmark_vertices(body).tolist())) == 33


def test_mirroring_swaps_left_and_right(body: BodyModel) -> None:
    assert (MIRROR_LANDMARKS[MIRROR_LANDMARKS] == np.arange(33)).all()
    for name, mirrored in zip(LANDMARK_NAMES, MIRROR_LANDMARKS, strict=True):
        swapped = {"l": "r", "r": "l"}
        expected = f"{swapped[name[0]]}{name[1:]}" if name[:2] in ("l_", "r_") else name
        assert LANDMARK_NAMES[mirrored] == expected
    vertices = landmark_vertices(body)
    assert body.mirror_vertices is not None
    sided = [k for k, name in enumerate(LANDMARK_NAMES) if name[:2] in ("l_", "r_")]
    assert (body.mirror_vertices[vertices[sided]] == vertices[MIRROR_LANDMARKS[sided]]).all()


def test_they_lie_where_their_names_say(points: dict[str, np.ndarray]) -> None:
    left, up, ahead = 0, 1, 2
    assert all(points[name][left] > 0.02 for name in points if name.startswith("l_"))
    assert all(abs(points[name][left]) < 0.005 for name in points if name[:2] not in ("l_", "r_"))
    for front, back in (
        ("nose", "occiput"),
        ("throat", "nape"),
        ("navel", "sacrum"),
        ("l_elbow_crease", "l_elbow"),
        ("l_kneecap", "l_knee_crease"),
        ("l_toe", "l_heel"),
    ):
        assert points[front][ahead] > points[back][ahead] + 0.03, (front, back)
    column = ["crown", "nose", "chin", "throat", "sternum", "navel", "l_kneecap", "l_ankle"]
    heights = [points[name][up] for name in column]
    assert heights == sorted(heights, reverse=True)
    assert (
        points["l_fingertip"][left]
        > points["l_wrist_back"][left]
        > points["l_elbow"][left]
        > points["l_acromion"][left]
    )
    everything = np.array(list(points.values()))
    assert points["crown"][up] == everything[:, up].max()
    assert points["l_fingertip"][left] == everything[:, left].max()


def test_a_landmark_is_near_its_joint(points: dict[str, np.ndarray], body: BodyModel) -> None:
    for landmark, joint, reach in (
        ("l_acromion", "l_shoulder", 0.12),
        ("r_elbow", "r_elbow", 0.08),
        ("l_kneecap", "l_knee", 0.1),
        ("r_ankle", "r_ankle", 0.08),
        ("l_toe", "l_foot", 0.2),
        ("r_fingertip", "r_hand", 0.3),
    ):
        assert np.linalg.norm(points[landmark] - body.j_template[joint_index(joint)]) < reach


def test_a_model_without_mirror_map_gets_the_same_right_side(body: BodyModel) -> None:
    alone = landmark_vertices(replace(body, mirror_vertices=None))
    found = landmark_vertices(body)
    away = np.linalg.norm(body.v_template[alone] - body.v_template[found], axis=1)
    assert away.max() < 0.01  # vertices equally far in a direction may change places


def test_a_body_without_a_part_says_so(body: BodyModel) -> None:
    everything_pelvis = np.zeros_like(body.weights)
    everything_pelvis[:, 0] = 1.0
    with pytest.raises(ValueError, match="no vertex of head"):
        landmark_vertices(replace(body, weights=everything_pelvis))
