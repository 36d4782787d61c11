"""What becomes of ``People`` outside: messages, templates, files, diagnostics. No processes."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from human_recon_msgs.msg import Keypoint, PersonArray
from human_recon_msgs.msg import Person as PersonMessage
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import PYRAMID, TinyBody, fake_person, known_person, rest_template

from human_recon.body.model import BodyModel
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.io.people_json import read_people_json
from human_recon.io.ply import read_ply
from human_recon.nodes import saving
from human_recon.nodes.collector import people_from_messages
from human_recon.nodes.diagnostics import Health
from human_recon.nodes.results import BodyInfo, duration_message, mesh_array, person_array
from human_recon.nodes.saving import NobodyThere, save_people
from human_recon.nodes.templates import TemplateMaker
from human_recon.people import People, Person, TemplateMesh

STAMP = 1_234_567_890_123_456_789  # nanoseconds
BODY = TinyBody()
TINY = BodyInfo.of(BODY)  # type: ignore[arg-type]


def people_of(*people: Person, templates: tuple[TemplateMesh, ...] = (), floor: Plane | None = None) -> People:
    frame = Frame(STAMP, "camera", np.zeros((24, 32), np.float32), CameraIntrinsics(32, 24, 30.0, 30.0, 15.5, 11.5))
    return People(frame, people, np.zeros((24, 32), np.uint16), floor, templates=templates)


def sent(people: People, body: BodyInfo = TINY) -> PersonArray:
    """The message as it arrives."""
    return deserialize_message(serialize_message(person_array(people, body)), PersonArray)


# ---------------------------------------------------------------- people


def test_all_that_is_known_of_a_person_is_told() -> None:
    (message,) = sent(people_of(known_person(3, 2.0))).people
    assert message.state == PersonMessage.STATE_OCCLUDED
    assert (message.age.sec, message.age.nanosec) == (12, 250_000_000)
    assert message.shape_locked and message.visibility == pytest.approx(0.375)
    np.testing.assert_array_equal(message.root.covariance, np.arange(36.0))
    linear, angular = message.velocity.twist.linear, message.velocity.twist.angular
    assert (linear.x, linear.y, linear.z) == (0.1, 0.2, 0.3)
    assert (angular.x, angular.y, angular.z) == (0.4, 0.5, 0.6)
    np.testing.assert_array_equal(message.velocity.covariance, np.arange(100.0, 136.0))
    assert len(message.keypoints) == 24
    for index, keypoint in enumerate(message.keypoints):
        assert keypoint.name == f"joint_{index}"
        np.testing.assert_array_equal(keypoint.covariance, np.arange(9.0) + 9 * index)
        assert keypoint.confidence == pytest.approx(index / 100)
        assert keypoint.visibility == (Keypoint.VISIBILITY_NOT_VISIBLE, Keypoint.VISIBILITY_VISIBLE)[index % 2 == 0]


def test_what_is_not_known_is_unset() -> None:
    (message,) = sent(people_of(fake_person(3, 2.0))).people
    covariance = np.array(message.root.covariance).reshape(6, 6)
    np.testing.assert_allclose(covariance[:3, :3], np.eye(3) * 4e-4, rtol=1e-6)  # joint_sigma is 2 cm
    assert np.isnan(covariance[3:]).all() and np.isnan(covariance[:, 3:]).all()
    assert np.isnan([message.velocity.twist.linear.x, message.velocity.twist.angular.z, message.visibility]).all()
    assert np.isnan(message.velocity.covariance).all()
    assert np.isnan([keypoint.confidence for keypoint in message.keypoints]).all()


@pytest.mark.parametrize(
    ("life", "number"), [("unknown", 0), ("tentative", 1), ("confirmed", 2), ("occluded", 3), ("lost", 4)]
)
def test_lives_are_the_states_of_the_message_file(life: str, number: int) -> None:
    (message,) = sent(people_of(replace(fake_person(1, 2.0), life=life))).people
    assert message.state == number


@given(st.floats(-1.0, 1e9))
def test_ages_are_durations(seconds: float) -> None:
    message = duration_message(seconds)
    assert 0 <= message.nanosec < 1_000_000_000 and message.sec >= 0
    assert message.sec + message.nanosec / 1e9 == pytest.approx(max(0.0, seconds), abs=1e-6)


def test_collected_people_are_those_that_were_published() -> None:
    floor = Plane(np.array([0.0, -1.0, 0.0]), 1.2)
    people = people_of(known_person(3, 2.0), replace(fake_person(4, 3.0), life="confirmed"), floor=floor)
    back = people_from_messages(people.frame, sent(people), mesh_array(people, TINY))
    assert back.floor is not None and back.floor.offset == 1.2
    for before, after in zip(people.people, back.people, strict=True):
        for name in ("id", "life", "age", "shape_locked", "height", "residual", "confidence", "roi"):
            assert getattr(after, name) == pytest.approx(getattr(before, name)), name
        for name in ("joint_confidence", "root_covariance", "velocity", "velocity_covariance", "joints", "vertices"):
            if getattr(before, name) is None:
                assert getattr(after, name) is None or name == "root_covariance"
            else:
                np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6)
        np.testing.assert_allclose(after.state.pose, before.state.pose)
    np.testing.assert_array_equal(back.people[0].joint_covariance, people.people[0].joint_covariance)
    assert np.isnan(back.people[1].visibility) and back.people[1].velocity is None


def test_ten_people_take_less_than_two_milliseconds(body: BodyModel) -> None:
    people = people_of(*(known_person(number, 2.0) for number in range(1, 11)))
    info = BodyInfo.of(body)

    def cost() -> float:
        began = time.thread_time()
        person_array(people, info)
        return time.thread_time() - began

    assert min(cost() for _ in range(50)) < 2e-3


# ---------------------------------------------------------------- templates


def mesh(number: int, faces: np.ndarray, count: int = 5) -> TemplateMesh:
    return TemplateMesh(number, np.full((count, 3), number, np.float32), faces, np.full(count, 0.5, np.float32))


def test_a_topology_is_told_once_and_shared() -> None:
    maker = TemplateMaker()
    faces = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
    topologies, first = maker.messages(people_of(templates=(mesh(1, faces), mesh(2, faces.copy()))))
    assert topologies is not None
    (topology,) = topologies.topologies
    assert topology.vertex_count == 5 and list(topology.triangles) == [0, 1, 2, 2, 3, 4]
    assert [(entry.id, entry.topology) for entry in first.meshes] == [(1, topology.hash), (2, topology.hash)]
    np.testing.assert_array_equal(np.array(first.meshes[1].vertices).reshape(-1, 3), np.full((5, 3), 2.0))
    assert list(first.meshes[0].confidence) == [0.5] * 5
    again, _ = maker.messages(people_of(templates=(mesh(1, faces),)))
    assert again is None
    nobody, message = maker.messages(people_of())
    assert nobody is None and list(message.meshes) == [], "who left may come back"


def test_another_mesh_or_number_of_vertices_is_another_topology() -> None:
    maker = TemplateMaker(kept=2)
    faces = np.array([[0, 1, 2]], np.int32)
    names = []
    for other, count in ((faces, 5), (faces, 6), (faces[:, ::-1].copy(), 5)):
        topologies, message = maker.messages(people_of(templates=(mesh(1, other, count),)))
        assert topologies is not None
        names.append(message.meshes[0].topology)
        assert names[-1] in [topology.hash for topology in topologies.topologies]
    assert len(set(names)) == 3
    assert [topology.hash for topology in topologies.topologies] == names[1:], "no more than two are kept"


def test_a_new_array_at_an_old_ones_place_is_not_mistaken_for_it() -> None:
    maker = TemplateMaker()
    names = set()
    for corner in range(3, 40):  # each array dies before the next is made, which then often gets its id
        faces = np.array([[0, 1, corner]], np.int32)
        _, message = maker.messages(people_of(templates=(mesh(1, faces, 50),)))
        names.add(message.meshes[0].topology)
        del faces
    assert len(names) == 37


# ---------------------------------------------------------------- saving


def test_people_are_saved_with_meshes_and_templates(tmp_path: Path) -> None:
    faces = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
    people = people_of(fake_person(1, 2.0), fake_person(2, 3.0), templates=(mesh(2, faces),))
    files = save_people(people, 0, tmp_path / "new" / "folder", BODY, {1: rest_template()})
    folder = tmp_path / "new" / "folder" / str(STAMP)
    assert files == [folder / name for name in (
        "people.json", "person_1.ply", "template_1.npz", "person_2.ply", "template_2.ply",
    )]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(files) and list(folder.parent.iterdir()) == [folder]
    content = read_people_json(files[0])
    assert content.body_model == "tiny" and [person.id for person in content.frames[0].people] == [1, 2]
    np.testing.assert_allclose(content.frames[0].people[1].state.trans, [0.1, 0.2, 3.0])
    np.testing.assert_allclose(read_ply(files[3]).points, people.people[1].vertices)
    np.testing.assert_allclose(read_ply(files[4]).points, np.full((5, 3), 2.0))

    with np.load(files[2], allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["faces"], PYRAMID)
        assert stored["body"] == ["tiny"]

    one = save_people(people, 2, tmp_path / "new" / "folder", BODY, {})
    assert one[0].parent.name == f"{STAMP}_2", "nothing is overwritten"
    assert [file.name for file in one] == ["people.json", "person_2.ply", "template_2.ply"]
    assert [person.id for person in read_people_json(one[0]).frames[0].people] == [2]


def test_who_is_not_there_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(NobodyThere, match=r"nobody has the id 7 \(there now: 1, 2\)"):
        save_people(people_of(fake_person(1, 2.0), fake_person(2, 3.0)), 7, tmp_path, BODY, {})
    with pytest.raises(NobodyThere, match="nobody is there"):
        save_people(people_of(), 0, tmp_path / "folder", BODY, {})
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(saving, "write_mesh", full)  # after people.json
    with pytest.raises(OSError, match="No space left"):
        save_people(people_of(fake_person(1, 2.0)), 0, tmp_path, BODY, {})
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- diagnostics


def test_latencies_are_of_the_last_seconds() -> None:
    now = 100.0
    health = Health(lambda: now)
    health.activated()
    for _ in range(20):  # long ago
        health.processed(1, {"pipeline": 5.0})
        now += 0.1
    now += 60.0
    for number in range(1, 101):
        health.processed(1, {"pipeline": number * 1e-3})
        now += 0.05
    values = health.values()
    assert values["pipeline (ms, mean / p95)"] == "50.5 / 95.0"  # the mean of 1..100, and 95.05
    assert float(values["rate (Hz)"]) == pytest.approx(20.0, abs=0.01)
    now += 60.0
    assert "rate (Hz)" not in health.values(), "nothing has come for a minute"
    assert health.values()["pipeline (ms, mean / p95)"] == "50.5 / 95.0", "what was last known stays"
    assert health.summary(2.0) == (DiagnosticStatus.OK, "unconfigured")


def test_a_flood_of_values_is_bounded() -> None:
    health = Health(lambda: 0.0)
    for _ in range(5000):
        health.processed(0, {"pipeline": 1.0})
    assert all(len(window) <= 2000 for window in health._latencies.values()) and len(health._finished) <= 2000
