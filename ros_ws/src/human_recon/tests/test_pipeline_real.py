"""The real Kinect frames: five people seen from behind, and an empty office. No ground truth, but plain facts."""

import numpy as np
import pytest

from human_recon.body.model import BodyModel, default_body_model
from human_recon.fitting.coherence import penetration_depth
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.io.frames import read_frames
from human_recon.people import People
from human_recon.pipeline import Pipeline, PipelineConfig


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


@pytest.fixture(scope="module", params=["learned", "geometric"])
def pipeline(request, body) -> Pipeline:
    return Pipeline(PipelineConfig(perception=request.param), body)


@pytest.fixture(scope="module")
def people(pipeline, data_dir) -> People:
    (frame,) = read_frames(data_dir / "real" / "five_people.pcd")
    return pipeline.process(frame)


def test_there_are_five(people):
    assert len(people.people) == 5
    assert sorted(p.id for p in people.people) == [1, 2, 3, 4, 5]


def test_they_are_where_the_camera_saw_them(people):
    depths = sorted(float(p.joints[0, 2]) for p in people.people)
    np.testing.assert_allclose(depths, [1.95, 2.1, 2.45, 2.7, 2.85], atol=0.12)


def test_statures_are_plausible(people):
    for person in people.people:
        assert 1.67 - 0.07 <= person.height <= 1.75 + 0.07


def test_bodies_explain_the_measured_surface(people):
    for person in people.people:
        assert person.residual <= 0.030


def test_all_stand_upright_and_face_away(people):
    assert people.floor is not None
    for person in people.people:
        rotation = rotvec_to_matrix(person.state.pose[0])
        assert rotation[:, 1] @ people.floor.normal > 0.94  # within 20 degrees
        assert rotation[2, 2] > 0.7  # within 45 degrees of straight away from the camera


def test_nobody_is_inside_anybody(people, body):
    for i, first in enumerate(people.people):
        for second in people.people[:i]:
            assert penetration_depth(body, first.state, second.state) <= 0.02


def test_nobody_is_in_the_empty_office(pipeline, data_dir):
    (frame,) = read_frames(data_dir / "real" / "office1.pcd")
    pipeline.reset()
    assert pipeline.process(frame).people == ()
