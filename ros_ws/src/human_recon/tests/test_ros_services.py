"""Services and the topics beside the people, with a real node process and the fake pipeline of ros_support."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from human_recon_msgs.msg import (
    MeshTopology,
    Person,
    PersonArray,
    TemplateMeshArray,
    TemplateTopologyArray,
)
from human_recon_msgs.srv import LockShape, SavePerson
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import (
    HEIGHT,
    KNOWN_DEPTH,
    LATCHED,
    PYRAMID,
    TEMPLATE_DEPTH,
    TENTATIVE_DEPTH,
    WIDTH,
    Camera,
    Domain,
    SharedNode,
    change_state,
    depth_message,
    set_parameters,
)

from human_recon.io.people_json import read_people_json

pytestmark = pytest.mark.ros

SECOND = 1_000_000_000


@pytest.fixture
def domain() -> Iterator[Domain]:
    domain = Domain()
    yield domain
    domain.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedNode]:
    domain = Domain()
    with domain.fake_node() as process:
        yield SharedNode(domain, process)
        assert process.stop() == 0
    assert "Traceback" not in process.output, process.output
    domain.close()


def lock(domain: Domain, number: int, locked: bool = True) -> tuple[bool, str]:
    answer = domain.call(LockShape, "/perception/lock_shape", LockShape.Request(id=number, lock=locked))
    return answer.success, answer.message


def save(domain: Domain, number: int, directory: Path) -> SavePerson.Response:
    return domain.call(SavePerson, "/perception/save_person", SavePerson.Request(id=number, directory=str(directory)))


def test_shapes_are_locked_and_unlocked(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()

    def locked() -> list[bool]:
        count = len(people)
        camera.send(depth_message((count + 1) * SECOND, 1.5, 2.5))
        domain.wait(lambda: len(people) > count)
        return [person.shape_locked for person in people[-1].people]

    assert not lock(domain, 0)[0], "nobody is there yet"
    assert locked() == [False, False]
    assert lock(domain, 2) == (True, "the shape of person 2 is locked")
    assert locked() == [False, True]
    assert lock(domain, 7) == (False, "nobody has the id 7")
    assert lock(domain, 0) == (True, "everybody's shape is locked")
    assert locked() == [True, True]
    assert lock(domain, 1, False) == (True, "the shape of person 1 is free to adapt")
    assert locked() == [False, True]


def test_people_are_saved_by_the_node(shared: SharedNode, tmp_path: Path) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()
    refused = save(domain, 0, tmp_path)
    assert not refused.success and "no frame has been processed" in refused.message
    camera.send(depth_message(SECOND, 2.5, TEMPLATE_DEPTH))
    domain.wait(lambda: people)
    answer = save(domain, 0, tmp_path / "new")
    assert answer.success, answer.message
    assert [Path(file).name for file in answer.files] == [
        "people.json", "person_2.ply", "person_8.ply", "template_8.ply", "template_8.npz",
    ]  # fmt: skip
    assert all(Path(file).is_file() and Path(file).is_absolute() for file in answer.files)
    assert [person.id for person in read_people_json(answer.files[0]).frames[0].people] == [2, 8]
    one = save(domain, 8, tmp_path / "new")
    assert one.success and len(one.files) == 4
    nobody = save(domain, 5, tmp_path / "new")
    assert not nobody.success and "nobody has the id 5" in nobody.message and list(nobody.files) == []
    (tmp_path / "file").write_text("in the way")
    blocked = save(domain, 2, tmp_path / "file")
    assert not blocked.success and str(tmp_path / "file") in blocked.message
    assert (tmp_path / "file").read_text() == "in the way"


def test_services_of_a_node_without_a_pipeline_say_so(shared: SharedNode, tmp_path: Path) -> None:
    shared.restart()
    domain = shared.domain
    assert change_state(domain, Transition.TRANSITION_DEACTIVATE)
    assert change_state(domain, Transition.TRANSITION_CLEANUP)
    assert lock(domain, 1) == (False, "the node is not configured: nobody is there")
    assert not save(domain, 1, tmp_path).success
    assert change_state(domain, Transition.TRANSITION_CONFIGURE)
    assert change_state(domain, Transition.TRANSITION_ACTIVATE)


def test_the_executor_answers_while_a_frame_is_worked_on(domain: Domain) -> None:
    """A call that has to wait for the pipeline holds up nobody else."""
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    with domain.fake_node(environment={"FAKE_SECONDS": "5"}) as node:
        camera.wait_for_node()
        camera.send(depth_message(SECOND, 2.5))
        node.wait_for_line("fake pipeline: busy")
        answers: list[tuple[bool, str]] = []
        waiting = threading.Thread(target=lambda: answers.append(lock(domain, 2)))
        waiting.start()
        began = time.monotonic()
        for _ in range(3):
            request = GetParameters.Request(names=["max_depth"])
            assert domain.call(GetParameters, "/perception/get_parameters", request).values[0].double_value == 12.0
        assert set_parameters(domain, max_depth=11.0) == [""]
        assert not people and not answers, (
            f"the frame was done before the node was asked, in {time.monotonic() - began} s"
        )
        waiting.join(60.0)
        # Between two frames: the person of this one is there.
        assert answers == [(True, "the shape of person 2 is locked")]
        domain.wait(lambda: people)


def test_templates_come_with_the_latched_triangles(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    templates = domain.listen("/perception/templates", TemplateMeshArray)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5, TEMPLATE_DEPTH))
    domain.wait(lambda: templates)
    camera.send(depth_message(2 * SECOND, 2.5))
    domain.wait(lambda: len(templates) > 1)
    topologies = domain.listen("/perception/template_topologies", TemplateTopologyArray, LATCHED)  # comes late
    domain.wait(lambda: topologies)
    (topology,) = topologies[0].topologies
    np.testing.assert_array_equal(np.array(topology.triangles).reshape(-1, 3), PYRAMID)
    (mesh,) = templates[0].meshes
    assert (mesh.id, mesh.topology, topology.vertex_count) == (8, topology.hash, 5)
    np.testing.assert_array_equal(np.array(mesh.vertices).reshape(-1, 3), np.eye(5, 3))
    np.testing.assert_allclose(mesh.confidence, np.linspace(0, 1, 5))
    assert templates[0].header.stamp.sec == 1 and list(templates[1].meshes) == []


def test_correspondences_and_what_was_seen_are_images(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    images = domain.listen("/perception/correspondences", Image)
    seen = domain.listen("/perception/seen", Image)
    topologies = domain.listen("/perception/mesh_topology", MeshTopology, LATCHED)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5, 0.0))
    domain.wait(lambda: images and seen and topologies, timeout=90)
    image = images[0]
    assert (image.encoding, image.width, image.height, image.step) == ("mono16", WIDTH, HEIGHT, 2 * WIDTH)
    pixels = np.frombuffer(image.data, "<u2").reshape(HEIGHT, WIDTH)
    assert (pixels[:, : WIDTH // 2] == 3).all(), "the fake sees vertex 2 there"
    assert (pixels[:, WIDTH // 2 :] == 0).all()
    picture = seen[0]
    assert picture.encoding == "rgb8" and picture.width == 3 * WIDTH and picture.step == 9 * WIDTH
    assert picture.header.stamp.sec == image.header.stamp.sec == 1


def test_whom_to_publish_can_be_chosen(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()

    def states() -> dict[int, int]:
        count = len(people)
        camera.send(depth_message((count + 1) * SECOND, 2.5, KNOWN_DEPTH, TENTATIVE_DEPTH))
        domain.wait(lambda: len(people) > count)
        return {person.id: person.state for person in people[-1].people}

    unknown, tentative, occluded = Person.STATE_UNKNOWN, Person.STATE_TENTATIVE, Person.STATE_OCCLUDED
    assert states() == {2: unknown, 6: occluded, 7: tentative}
    assert set_parameters(domain, publish_tentative=False) == [""]
    assert states() == {2: unknown, 6: occluded}
    assert set_parameters(domain, publish_predicted=False) == [""]
    assert states() == {2: unknown}


def test_templates_need_the_networks(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    assert change_state(domain, Transition.TRANSITION_DEACTIVATE)
    assert change_state(domain, Transition.TRANSITION_CLEANUP)
    assert set_parameters(domain, perception="geometric") == [""]
    (refusal,) = set_parameters(domain, template="smpl+d")
    assert "finds no correspondences" in refusal
