"""The viewer's ears: a running perception node (with a quick fake pipeline) over real ROS."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not there")
pytest.importorskip("human_recon_msgs", reason="the messages are not built")

from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from human_recon.nodes.view_source import NodeSource
from human_recon.people import People
from tests import ros_support
from tests.ros_support import FRAME_ID, HEIGHT, LATCHED, PYRAMID, TEMPLATE_DEPTH, WIDTH, Domain, TinyBody, depth_message
from tests.ros_support import info_message as info

pytestmark = pytest.mark.ros


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Domain]:
    domain = Domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain.id))
    yield domain
    domain.close()


def see(domain: Domain, source: NodeSource, stamps: Iterator[int], *metres: float) -> People:
    """Send depth images until a whole result comes back."""
    depth = domain.node.create_publisher(Image, "/cam/depth", qos_profile_sensor_data)
    camera = domain.node.create_publisher(CameraInfo, "/cam/info", qos_profile_sensor_data)
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        stamp = next(stamps)
        camera.publish(info(stamp))
        depth.publish(depth_message(stamp, *metres))
        people = source.latest(0.3)
        if people is not None and people.people and people.frame.depth.any() and people.labels.any():
            domain.node.destroy_publisher(depth)
            domain.node.destroy_publisher(camera)
            return people
    raise AssertionError(f"no whole result: {source.waiting_for()}")


REMAPPED = ("-r", "depth/image:=/cam/depth", "-r", "depth/camera_info:=/cam/info")


def test_joins_what_a_node_hears_with_what_it_says(domain: Domain) -> None:
    stamps = iter(range(1_000_000_000, 10**15, 100_000_000))
    with NodeSource("perception") as source:
        assert source.latest(0.1) is None
        assert "waiting for a node /perception" in source.waiting_for()
        # Its topics have other names than usual: found out from the graph.
        options = ("--ros-args", "-p", "diagnostics_period:=0.1", *REMAPPED)
        with domain.process(ros_support.__file__, *options) as node:
            node.wait_for_line("/cam/depth")
            people = see(domain, source, stamps, 2.5, 3.5)
            assert [person.id for person in people.people] == [2, 3]
            assert people.frame.frame_id == FRAME_ID
            assert people.frame.depth.shape == (HEIGHT, WIDTH)
            assert sorted(np.unique(people.frame.depth).round(3)) == [2.5, 3.5]
            # The labels of the fake pipeline are whole metres of the depth.
            np.testing.assert_array_equal(people.labels, np.floor(people.frame.depth))
            np.testing.assert_allclose(people.people[0].vertices, TinyBody().v_template + [0, 0, 2], atol=1e-6)
            np.testing.assert_array_equal(source.faces, TinyBody().faces)

            # A template, with its own triangles: the same array each time.
            people = see(domain, source, stamps, TEMPLATE_DEPTH)
            for _ in range(20):
                if people.templates:
                    break
                people = see(domain, source, stamps, TEMPLATE_DEPTH)
            assert [template.id for template in people.templates] == [people.people[0].id]
            np.testing.assert_array_equal(people.templates[0].faces, PYRAMID)
            again = see(domain, source, stamps, TEMPLATE_DEPTH)
            assert again.templates[0].faces is people.templates[0].faces

            # The node tells how long its stages take.
            for _ in range(50):
                people = see(domain, source, stamps, 2.5)
                if "fake" in people.timings:
                    break
            assert people.timings["fake"] == pytest.approx(0.001)
            assert {"wait", "convert", "publish"} <= set(people.timings)
            assert not any("message to message" in stage for stage in people.timings)


def test_messages_that_do_not_fit_are_told_and_the_next_is_shown(domain: Domain) -> None:
    from human_recon_msgs.msg import MeshArray, MeshTopology, PersonArray, PersonMesh
    from rclpy.qos import QoSProfile

    with NodeSource("/robot/eye") as source:
        topology = MeshTopology(body_model="tiny", body_model_hash="abc", vertex_count=3, triangles=[0, 1, 2])
        publish = {
            "mesh_topology": domain.node.create_publisher(MeshTopology, "/robot/eye/mesh_topology", LATCHED),
            "people": domain.node.create_publisher(PersonArray, "/robot/eye/people", QoSProfile(depth=1)),
            "meshes": domain.node.create_publisher(MeshArray, "/robot/eye/meshes", QoSProfile(depth=1)),
        }
        publish["mesh_topology"].publish(topology)
        end = time.monotonic() + 30
        while source.faces is None and time.monotonic() < end:
            source.latest(0.1)
        np.testing.assert_array_equal(source.faces, [[0, 1, 2]])

        def send(second: int, *meshes: PersonMesh, model: str = "abc") -> None:
            people = PersonArray()
            people.header.stamp.sec = second
            message = MeshArray(header=people.header, body_model_hash=model, meshes=list(meshes))
            publish["people"].publish(people)
            publish["meshes"].publish(message)

        def refused(reason: str) -> bool:
            end = time.monotonic() + 30
            while reason not in source.waiting_for() and time.monotonic() < end:
                assert source.latest(0.1) is None
            return reason in source.waiting_for()

        send(1, PersonMesh(id=1, vertices=[0.0] * 6))
        assert refused("another number of vertices")
        send(2, model="other")
        assert refused("another body model")
        send(3, PersonMesh(id=1, vertices=[0.0] * 9))  # a mesh of nobody
        assert refused("meshes are of [1], people []")
        send(4)
        good = source.latest(30.0)
        assert good is not None and good.people == () and good.frame.stamp_ns == 4_000_000_000
        assert not good.frame.depth.any()  # nobody sent any
        assert "cannot be used" not in source.waiting_for()

        # While nobody asks, or nothing fits together, 48 stamps are kept and no more.
        for second in range(10, 70):
            send(second)
            end = time.monotonic() + 30
            while 1_000_000_000 * second not in source._waiting and time.monotonic() < end:
                time.sleep(0.005)
        assert len(source._waiting) == 48
        given = [0]
        while given[-1] != 69_000_000_000:  # results without depth and labels are held back for a moment
            newest = source.latest(30.0)
            assert newest is not None
            given.append(newest.frame.stamp_ns)
        assert given == sorted(given)
        assert source.latest(0.0) is None  # the older ones are forgotten
