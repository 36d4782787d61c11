"""The pipeline with its networks, beyond what it has in common with the geometric one."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.parts import vertex_parts
from human_recon.camera.frame import Frame
from human_recon.inference.choice import EngineChoice
from human_recon.inference.engine import EngineError
from human_recon.people import People
from human_recon.pipeline import Pipeline, PipelineConfig
from human_recon.visualization.seen import draw_seen, surface_colors
from tests.synthetic_scene import CAMERA, Scene, render, standing

ENGINE = EngineChoice("onnxruntime", "int8")


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return default_body_model()


@pytest.fixture(scope="module")
def scene(body) -> Scene:
    rng = np.random.default_rng(11)
    return render(body, [standing(body, -0.4, 2.2, 0.2, rng), standing(body, 0.35, 2.7, 3.0, rng)], rng)


@pytest.fixture(scope="module")
def seen(body, scene) -> People:
    """Without a fit: what the networks alone say."""
    return Pipeline(PipelineConfig(fit=False, engine=ENGINE), body).process(scene.frame)


def test_networks_alone_see_everybody(seen, scene, body):
    assert len(seen.people) == 2
    for person, state in zip(sorted(seen.people, key=lambda p: p.joints[0, 0]), scene.states, strict=True):
        truth = pose_body(body, state)
        assert np.linalg.norm(person.joints[0] - truth.joints[0]) < 0.15
        posed = pose_body(body, person.state)
        np.testing.assert_allclose(person.vertices, posed.vertices, atol=1e-6)
        assert (person.joint_sigma > 0.005).all() and (person.joint_sigma < 0.6).all()
    assert seen.floor is None, "nobody asked for the floor"


def test_every_pixel_of_a_person_has_a_part_and_a_place_that_agree(seen, scene, body):
    assert seen.parts is not None and seen.vertices is not None
    somebody = seen.labels > 0
    assert somebody.any()
    assert (seen.parts[~somebody] == 255).all() and (seen.vertices[~somebody] == -1).all()
    assert (seen.parts[somebody] < 24).mean() > 0.9
    placed = seen.vertices >= 0
    # Two heads of one network, and two sources of truth: neither knows the other.
    agree = vertex_parts(body)[seen.vertices[placed]] == seen.parts[placed]
    assert agree.mean() > 0.5
    true = scene.person >= 0
    assert (somebody & true).sum() / (somebody | true).sum() > 0.85


def test_without_tracking_every_frame_is_a_first_one(body, scene):
    pipeline = Pipeline(PipelineConfig(engine=ENGINE, fit=False, track=False), body)
    first, second = pipeline.process(scene.frame), pipeline.process(scene.frame)
    assert len(first.people) == len(second.people) == 2
    assert not {p.id for p in first.people} & {p.id for p in second.people}
    for one, other in zip(first.people, second.people, strict=True):
        np.testing.assert_array_equal(one.state.pose, other.state.pose)


def test_the_engine_is_the_one_asked_for_and_says_so(body):
    pipeline = Pipeline(PipelineConfig(engine=ENGINE), body)
    assert len(pipeline.engines) == 2
    assert all("onnxruntime" in name and "int8" in name for name in pipeline.engines)
    assert Pipeline(PipelineConfig(perception="geometric"), body).engines == ()


def test_an_engine_that_is_not_installed_is_an_error_that_says_what_to_install(body, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(EngineError, match="pip install onnxruntime"):
        Pipeline(PipelineConfig(engine=ENGINE), body)


def test_geometry_alone_has_no_bodies_without_a_fit():
    with pytest.raises(ValueError, match="fit must be true"):
        PipelineConfig(perception="geometric", fit=False)


def test_the_number_of_people_is_limited_to_the_nearest(body, scene, seen):
    one = Pipeline(PipelineConfig(engine=ENGINE, fit=False, max_people=1), body).process(scene.frame)
    (person,) = one.people
    assert person.joints[0, 2] == min(p.joints[0, 2] for p in seen.people)
    assert one.parts is not None
    assert (one.parts[one.labels == 0] == 255).all()


def test_an_image_of_another_size_and_shape_gives_the_same_people(body, scene, seen):
    """Twice as many pixels with a border of nothing at the sides: the same rays, another camera."""
    depth = np.pad(np.kron(scene.frame.depth, np.ones((2, 2), np.float32)), ((0, 0), (80, 80)))
    height, width = depth.shape
    camera = replace(
        CAMERA, width=width, height=height, fx=2 * CAMERA.fx, fy=2 * CAMERA.fy,
        cx=2 * CAMERA.cx + 80.5, cy=2 * CAMERA.cy + 0.5,
    )  # fmt: skip
    wide = Pipeline(PipelineConfig(fit=False, engine=ENGINE), body).process(Frame(0, "camera", depth, camera))
    assert len(wide.people) == 2
    for one, other in zip(wide.people, seen.people, strict=True):
        assert np.linalg.norm(one.joints - other.joints, axis=1).mean() < 0.08


def test_pictures_of_what_was_seen(body, scene, seen):
    picture = draw_seen(seen, body)
    assert picture.dtype == np.uint8 and picture.shape[1] == 3 * scene.frame.depth.shape[1]
    height, width = scene.frame.depth.shape
    thirds = [picture[-height:, k * width : (k + 1) * width] for k in range(3)]
    inside = seen.labels > 0
    for left, right in ((0, 1), (1, 2)):
        assert (thirds[left][~inside] == thirds[right][~inside]).all(), "only people are coloured"
        assert (thirds[left][inside] != thirds[right][inside]).any(axis=-1).mean() > 0.9
    colors = surface_colors(body).astype(int)
    near = np.linalg.norm(body.v_template[body.faces[:, 0]] - body.v_template[body.faces[:, 1]], axis=1) < 0.02
    step = np.abs(colors[body.faces[near, 0]] - colors[body.faces[near, 1]]).max()
    assert step <= 16, "neighbours on the body have nearly the same colour"
    with pytest.raises(ValueError, match="without networks"):
        draw_seen(replace(seen, parts=None), body)
