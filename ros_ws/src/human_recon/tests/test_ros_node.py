"""The perception node as a real process over real rclpy, with a quick fake pipeline: see ros_support."""

from __future__ import annotations

import math
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from human_recon_msgs.msg import Keypoint, MeshArray, MeshTopology, Person, PersonArray
from human_recon_msgs.srv import ResetTracks
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import (
    BROKEN_DEPTH,
    FRAME_ID,
    HEIGHT,
    LATCHED,
    PARENTS,
    WIDTH,
    Camera,
    Diagnosis,
    Domain,
    SharedNode,
    change_state,
    cloud_message,
    color_message,
    depth_message,
    info_message,
    set_parameters,
    values_of,
)

from human_recon.nodes.settings import DYNAMIC, READ_ONLY, parameter_specs
from human_recon.resources import model_path

pytestmark = pytest.mark.ros

SECOND = 1_000_000_000
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture
def domain() -> Iterator[Domain]:
    """A domain for a test that starts its own node."""
    domain = Domain()
    yield domain
    domain.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedNode]:
    """A node that tests share; each calls ``restart`` first."""
    domain = Domain()
    with domain.fake_node() as process:
        yield SharedNode(domain, process)
        assert process.stop() == 0
    # One test breaks the pipeline on purpose; that story is told in full.
    output = process.output
    assert output.count("Traceback") == output.count("frame lost: Traceback") <= 1, output
    domain.close()


def state_of(domain: Domain) -> int:
    return domain.call(GetState, "/perception/get_state", GetState.Request()).current_state.id


def stamp_of(message: object) -> int:
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


# ---------------------------------------------------------------- what comes out


def test_people_carry_the_sensors_stamp_and_frame(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(5 * SECOND + 123, 1.5, 2.5))
    domain.wait(lambda: people)
    camera.send(depth_message(6 * SECOND, 3.5, encoding="32FC1"))
    domain.wait(lambda: len(people) > 1)
    camera.send(depth_message(7 * SECOND))
    domain.wait(lambda: len(people) > 2)

    first, second, nobody = people
    assert stamp_of(first) == 5 * SECOND + 123
    assert {message.header.frame_id for message in people} == {FRAME_ID}
    assert [person.id for person in first.people] == [1, 2]
    assert [person.id for person in second.people] == [3]
    assert nobody.people == [] and stamp_of(nobody) == 7 * SECOND

    person = first.people[1]
    assert person.body_model == "tiny" and len(person.body_model_hash) == 64
    np.testing.assert_allclose(person.betas, np.arange(10) * 0.1)
    np.testing.assert_allclose(person.pose[:6], [math.pi, 0, 0, 0, 0, 0.2])
    np.testing.assert_allclose(person.trans, [0.1, 0.2, 2.0])
    assert person.confidence == pytest.approx(0.5)
    assert person.height == pytest.approx(1.75) and person.residual == pytest.approx(0.01)
    assert (person.roi.x_offset, person.roi.y_offset, person.roi.width, person.roi.height) == (1, 2, 3, 4)
    # The pelvis: turned by pi about x, standard deviation 2 cm.
    assert person.root.pose.position.z == pytest.approx(2.0)
    orientation = person.root.pose.orientation
    assert abs(orientation.x) == pytest.approx(1.0) and orientation.w == pytest.approx(0.0, abs=1e-9)
    covariance = np.array(person.root.covariance).reshape(6, 6)
    np.testing.assert_allclose(covariance[:3, :3], np.eye(3) * 4e-4, rtol=1e-6)
    keypoint = person.keypoints[5]
    assert len(person.keypoints) == 24 and keypoint.name == "joint_5"
    assert (keypoint.position.x, keypoint.position.y) == pytest.approx((0.05, -0.10))
    assert keypoint.visibility == Keypoint.VISIBILITY_NOT_VISIBLE
    assert person.keypoints[4].visibility == Keypoint.VISIBILITY_VISIBLE
    np.testing.assert_allclose(np.array(keypoint.covariance).reshape(3, 3), np.eye(3) * 4e-4, rtol=1e-6)
    # Not known yet, so unset as the messages say.
    assert person.state == Person.STATE_UNKNOWN
    assert (person.age.sec, person.age.nanosec) == (0, 0)
    assert np.isnan(covariance[3:]).all() and np.isnan(covariance[:, 3:]).all()
    assert math.isnan(person.velocity.twist.linear.x) and math.isnan(person.velocity.twist.angular.z)
    assert np.isnan(person.velocity.covariance).all()
    assert math.isnan(keypoint.confidence)
    assert not np.any(first.floor.coef)


def test_meshes_go_with_the_latched_topology(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    meshes = domain.listen("/perception/meshes", MeshArray)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5))
    domain.wait(lambda: meshes)
    # Comes late and still gets it.
    topologies = domain.listen("/perception/mesh_topology", MeshTopology, LATCHED)
    domain.wait(lambda: topologies)
    mesh, topology = meshes[0], topologies[0]
    assert mesh.body_model_hash == topology.body_model_hash != ""
    assert topology.vertex_count == 4 and list(topology.joint_parents) == list(PARENTS)
    np.testing.assert_array_equal(
        np.array(topology.triangles).reshape(-1, 3), [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    )
    assert list(topology.vertex_parts) == [0, 1, 2, 3] and len(topology.joint_names) == 24
    assert [entry.id for entry in mesh.meshes] == [2]
    vertices = np.array(mesh.meshes[0].vertices).reshape(-1, 3)
    np.testing.assert_allclose(vertices, [[0, 0, 2], [1, 0, 2], [0, 1, 2], [0, 0, 3]])


def test_labels_and_overlay_have_the_size_of_the_depth_image(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    labels = domain.listen("/perception/labels", Image)
    overlays = domain.listen("/perception/overlay", Image)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5, 0.0))
    domain.wait(lambda: labels and overlays, timeout=90, what="(the overlay compiles its renderer at first)")
    image = labels[0]
    assert (image.encoding, image.width, image.height, image.step) == ("mono16", WIDTH, HEIGHT, 2 * WIDTH)
    pixels = np.frombuffer(image.data, "<u2").reshape(HEIGHT, WIDTH)
    assert (pixels[:, : WIDTH // 2] == 2).all() and (pixels[:, WIDTH // 2 :] == 0).all()
    picture = overlays[0]
    assert (picture.encoding, picture.width, picture.height, picture.step) == ("rgb8", WIDTH, HEIGHT, 3 * WIDTH)
    assert len(picture.data) == 3 * WIDTH * HEIGHT
    assert stamp_of(picture) == stamp_of(image) == SECOND


def test_markers_are_deleted_when_a_person_leaves(shared: SharedNode) -> None:
    shared.restart(marker_people=2)
    domain = shared.domain
    markers = domain.listen("/perception/markers", MarkerArray)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 3.5, 1.5, 2.5))
    domain.wait(lambda: markers)
    camera.send(depth_message(2 * SECOND, 2.5))
    domain.wait(lambda: len(markers) > 1)
    assert change_state(domain, Transition.TRANSITION_DEACTIVATE)
    domain.wait(lambda: len(markers) > 2)
    first, second, last = (message.markers for message in markers)
    assert {marker.id for marker in first} == {1, 2}, "the two nearest"
    by_name = {marker.ns: marker for marker in first if marker.id == 1}
    assert by_name["bones"].type == Marker.LINE_LIST and len(by_name["bones"].points) == 2 * 23
    assert by_name["joints"].type == Marker.SPHERE_LIST and len(by_name["joints"].points) == 24
    assert by_name["label"].text.startswith("1: 1.75 m")
    assert by_name["surface"].type == Marker.TRIANGLE_LIST and len(by_name["surface"].points) % 3 == 0
    assert all(marker.header.frame_id == FRAME_ID and stamp_of(marker) == SECOND for marker in first)
    deleted = {(marker.ns, marker.id) for marker in second if marker.action == Marker.DELETE}
    assert deleted == {(namespace, 1) for namespace in ("surface", "bones", "joints", "label")}
    assert [marker.action for marker in last] == [Marker.DELETEALL]


def test_tf_has_a_tree_of_joints_per_person(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    transforms = domain.listen("/tf", TFMessage, 100)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5))
    domain.wait(lambda: transforms)
    tree = {entry.child_frame_id: entry for entry in transforms[0].transforms}
    assert len(tree) == 24 and tree["body_2"].header.frame_id == FRAME_ID
    assert all(stamp_of(entry) == SECOND for entry in tree.values())
    assert tree["body_2/joint_4"].header.frame_id == "body_2/joint_1"

    def place(frame: str) -> tuple[np.ndarray, np.ndarray]:
        entry = tree[frame].transform
        q = entry.rotation
        step = rotation_matrix(q.x, q.y, q.z, q.w)
        offset = np.array([entry.translation.x, entry.translation.y, entry.translation.z])
        parent = tree[frame].header.frame_id
        if parent == FRAME_ID:
            return step, offset
        turn, origin = place(parent)
        return turn @ step, turn @ offset + origin

    # Followed along the chain, every joint is where the fake person has it.
    for index in range(1, 24):
        _, position = place(f"body_2/joint_{index}")
        np.testing.assert_allclose(position, [0.01 * index, -0.02 * index, 2.0], atol=1e-6)


def rotation_matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    """By rotating the unit vectors: v + 2 q x (q x v + w v)."""
    q = np.array([x, y, z])
    return np.column_stack([v + 2 * np.cross(q, np.cross(q, v) + w * v) for v in np.eye(3)])


def test_gravity_frame_tells_the_pipeline_where_up_is(shared: SharedNode) -> None:
    shared.restart(gravity_frame="base_link")
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    sender = domain.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    # base_link -> mast (yaw 90 degrees) -> the camera, optical axis forward and 30 degrees down.
    tilt = np.radians(-90 - 30)
    steps = [
        ("base_link", "mast", (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))),
        ("mast", FRAME_ID, (math.sin(tilt / 2), 0.0, 0.0, math.cos(tilt / 2))),
    ]
    message = TFMessage()
    for parent, child, (x, y, z, w) in steps:
        entry = TransformStamped(child_frame_id=child)
        entry.header.frame_id = parent
        rotation = entry.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = x, y, z, w
        message.transforms.append(entry)
    sender.publish(message)
    camera.wait_for_node()
    for count in range(1, 200):  # the transform may come after the first image
        camera.send(depth_message(count * SECOND, 2.5))
        domain.wait(lambda count=count: len(people) >= count)
        position = people[-1].people[0].root.pose.position
        if abs(position.z) < 1.0:
            break
        time.sleep(0.01)
    # Looking down by 30 degrees, up is mostly -y (the image's top) and a little back towards the camera.
    expected = (0.0, -math.cos(math.radians(30)), -math.sin(math.radians(30)))
    assert (position.x, position.y, position.z) == pytest.approx(expected, abs=1e-6)


def test_organised_and_unorganised_clouds_are_taken(shared: SharedNode) -> None:
    shared.restart(input="point_cloud")
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    labels = domain.listen("/perception/labels", Image)
    camera = Camera(domain)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    z = np.full((HEIGHT, WIDTH), 3.5)
    organised = np.stack([(columns - 15.5) / 30 * z, (rows - 11.5) / 30 * z, z], axis=-1)
    camera.wait_for_node()
    camera.cloud.publish(cloud_message(SECOND, organised))
    domain.wait(lambda: people and labels)
    camera.cloud.publish(cloud_message(2 * SECOND, organised.reshape(-1, 3)))
    domain.wait(lambda: len(people) > 1)
    camera.cloud.publish(cloud_message(3 * SECOND, np.zeros((0, 3))))
    domain.wait(lambda: len(people) > 2)
    assert [[person.id for person in message.people] for message in people] == [[3], [3], []]
    assert [stamp_of(message) for message in people] == [SECOND, 2 * SECOND, 3 * SECOND]
    assert (labels[0].width, labels[0].height) == (WIDTH, HEIGHT)


def test_colour_is_joined_with_depth_and_drawn_on(shared: SharedNode) -> None:
    shared.restart(use_color=True)
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    overlays = domain.listen("/perception/overlay", Image)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.color.publish(color_message(SECOND, WIDTH // 2, HEIGHT))
    camera.send(depth_message(SECOND))
    diagnosis.wait(WARN, "registered (aligned) pair")
    camera.send(depth_message(2 * SECOND))  # waits for its colour
    camera.color.publish(color_message(2 * SECOND + 10_000_000, WIDTH, HEIGHT))  # 10 ms later, within the slop
    domain.wait(lambda: people and overlays, timeout=90)
    assert stamp_of(people[0]) == stamp_of(overlays[0]) == 2 * SECOND
    pixels = np.frombuffer(overlays[0].data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    red, green, blue = pixels.reshape(-1, 3).astype(int).T
    assert (red > green + 20).all() and (green > blue + 10).all(), "nobody there: the colour image, toned down, as RGB"


# ---------------------------------------------------------------- bad input


def bad_depth_messages() -> dict[str, tuple]:
    stamp = 2 * SECOND
    wrong = depth_message(stamp, 2.5)
    wrong.encoding = "rgb8"
    short = depth_message(stamp, 2.5)
    short.data = short.data[:100]
    nothing = depth_message(stamp, 2.5)
    nothing.width = nothing.height = 0
    lens = info_message(stamp)
    lens.distortion_model = "fancy"
    lens.d = [0.1]
    return {
        "wrong encoding": (wrong, None, "encoded as 'rgb8'"),
        "size mismatch": (depth_message(stamp, 2.5), info_message(stamp, 64, 48), "do not belong together"),
        "zero K": (depth_message(stamp, 2.5), info_message(stamp, focal=0.0), "not calibrated"),
        "NaN in K": (depth_message(stamp, 2.5), info_message(stamp, focal=math.nan), "finite"),
        "too little data": (short, None, "bytes"),
        "no pixels": (nothing, None, "size 0 x 0"),
        "unknown lens": (depth_message(stamp, 2.5), lens, "fancy"),
        "the pipeline breaks": (depth_message(stamp, BROKEN_DEPTH), None, "the pipeline broke"),
    }


def test_bad_images_are_reported_and_the_node_lives_on(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    for count, (name, (depth, info, reason)) in enumerate(bad_depth_messages().items(), start=1):
        camera.send(depth, info)
        level = ERROR if name == "the pipeline breaks" else WARN
        status = diagnosis.wait(level, reason)
        assert reason in values_of(status)["last rejection"], name
        assert values_of(status)["frames rejected"] == str(count), name
        # A good frame heals it.
        camera.send(depth_message(2 * SECOND, 2.5))
        domain.wait(lambda count=count: len(people) == count, what=f"after {name}")
        diagnosis.wait(OK, "running")
    assert shared.process.running
    assert all(len(message.people) == 1 for message in people), "nothing was published of bad frames"


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf, -1.0])
def test_depth_without_readings_is_an_empty_scene_with_a_warning(shared: SharedNode, value: float) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, value, encoding="32FC1"))
    domain.wait(lambda: people)
    diagnosis.wait(WARN, "no valid reading")
    assert people[0].people == []


def test_bad_clouds_are_reported_and_the_node_lives_on(shared: SharedNode) -> None:
    shared.restart(input="point_cloud")
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    points = np.random.default_rng(0).uniform([-1, -1, 2.1], [1, 1, 2.9], (500, 3))
    no_z = cloud_message(SECOND, points, names="xyi")
    short = cloud_message(SECOND, points)
    short.data = short.data[:-12]
    camera.wait_for_node()
    for cloud, reason in (
        (no_z, "no field z"),
        (short, "bytes"),
        (cloud_message(SECOND, np.full((500, 3), np.nan)), "no point lies in front"),
    ):
        camera.cloud.publish(cloud)
        diagnosis.wait(WARN, reason)
    camera.cloud.publish(cloud_message(2 * SECOND, np.zeros((0, 3))))
    domain.wait(lambda: people)
    diagnosis.wait(WARN, "no valid reading")
    camera.cloud.publish(cloud_message(3 * SECOND, points))
    domain.wait(lambda: len(people) > 1)
    diagnosis.wait(OK, "running")
    assert shared.process.running
    assert people[0].people == [] and [person.id for person in people[1].people] == [2]


def test_silence_is_reported(shared: SharedNode) -> None:
    shared.restart(input_timeout=0.3)
    domain = shared.domain
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    diagnosis.wait(WARN, "no input for 0.3 s on /depth/image + /depth/camera_info")
    # Depth alone is not enough: without its camera info there is no frame.
    camera.wait_for_node()
    camera.depth.publish(depth_message(SECOND, 2.5))
    diagnosis.wait(WARN, "no input")


# ---------------------------------------------------------------- load


def test_a_flood_is_thinned_to_the_newest_frame(domain: Domain) -> None:
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    sent = 400
    with domain.fake_node(environment={"FAKE_SECONDS": "0.1"}) as node:
        camera.wait_for_node()
        camera.send(depth_message(1, 2.5))
        domain.wait(lambda: people)
        memory = resident_megabytes(node.pid)
        for count in range(1, sent + 1):
            camera.send(depth_message(count * SECOND, 2.5))
            time.sleep(0.005)  # 200 Hz
        domain.wait(lambda: stamp_of(people[-1]) == sent * SECOND, what="for the last frame")
        status = diagnosis.wait(OK, frames_processed=str(len(people)))
        grown = resident_megabytes(node.pid) - memory
    stamps = [stamp_of(message) for message in people]
    assert stamps == sorted(stamps)
    assert len(people) < sent / 3, "the pipeline takes 0.1 s: it cannot have looked at all"
    # Best effort may lose messages on the way; whatever arrived was processed or counted as dropped.
    counts = values_of(status)
    assert int(counts["frames received"]) == int(counts["frames processed"]) + int(counts["frames dropped"])
    assert int(counts["frames dropped"]) > 0
    assert grown < 30, f"memory grew by {grown} MB"


def resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def test_nothing_is_computed_that_nobody_subscribes_to(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, BROKEN_DEPTH))
    status = diagnosis.wait(OK, "nobody subscribes", frames_nobody_wanted="1")
    assert values_of(status)["frames processed"] == "0"
    # TF is an output too, as long as it is wanted.
    domain.listen("/tf", TFMessage, 100)
    camera.wait_for_node()
    camera.send(depth_message(4 * SECOND, BROKEN_DEPTH))
    diagnosis.wait(ERROR, "the pipeline broke")
    assert set_parameters(domain, publish_tf=False) == [""]
    camera.send(depth_message(5 * SECOND, BROKEN_DEPTH))
    diagnosis.wait(frames_nobody_wanted="2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_shutdown_in_mid_frame_is_quick_and_clean(domain: Domain, number: int) -> None:
    domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    with domain.fake_node(environment={"FAKE_SECONDS": "60"}) as node:
        camera.wait_for_node()
        camera.send(depth_message(SECOND, 2.5))
        node.wait_for_line("fake pipeline: busy")
        began = time.monotonic()
        node.signal(number)
        assert node.wait(20.0) == 0
        assert time.monotonic() - began < 8.0
    assert "Traceback" not in node.output and "Error" not in node.output, node.output


def test_shutdown_in_the_middle_of_a_flood_is_clean(domain: Domain) -> None:
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    stop = threading.Event()

    def flood() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            camera.send(depth_message(count * SECOND, 2.5))
            time.sleep(0.002)

    with domain.fake_node() as node:
        camera.wait_for_node()
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            domain.wait(lambda: len(people) > 20)
            node.signal(signal.SIGINT)
            assert node.wait(20.0) == 0
        finally:
            stop.set()
            thread.join()
    assert "Traceback" not in node.output, node.output


# ---------------------------------------------------------------- time


def test_stamps_going_back_reset_the_tracks(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    for count, stamp in enumerate((10, 11, 3, 4), start=1):
        camera.send(depth_message(stamp * SECOND, 2.5))
        domain.wait(lambda count=count: len(people) == count)
    diagnosis.wait(OK, time_jumps="1")
    shared.process.wait_for_line("went back by 8.000 s")
    assert [stamp_of(message) // SECOND for message in people] == [10, 11, 3, 4]
    assert [message.people[0].id for message in people] == [2, 2, 102, 102]


def test_what_waited_before_a_jump_does_not_block_what_comes_after(shared: SharedNode) -> None:
    shared.restart(sync_queue=2)
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    camera.wait_for_node()
    for stamp in range(100, 110):  # without camera info, so they wait
        camera.depth.publish(depth_message(stamp * SECOND, 2.5))
        time.sleep(0.02)
    # The camera info of the very first frame may come before the jump is noticed and be forgotten with the rest.
    for stamp in range(1, 100):
        camera.send(depth_message(stamp * SECOND, 2.5))
        time.sleep(0.02)
        if people:
            break
    diagnosis.wait(OK, "running", time_jumps="1")
    assert people and stamp_of(people[0]) < 100 * SECOND


def test_sim_time_going_back_resets_the_tracks(domain: Domain) -> None:
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    clock = domain.node.create_publisher(Clock, "/clock", 10)

    def set_clock(seconds: int) -> None:
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)

    with domain.fake_node("use_sim_time:=true"):
        camera.wait_for_node()
        domain.wait(lambda: diagnosis.history, what="diagnostics before the first clock")
        while not clock.get_subscription_count():
            time.sleep(0.01)
        set_clock(1000)
        camera.send(depth_message(1000 * SECOND, 2.5))
        domain.wait(lambda: len(people) == 1)
        domain.wait(lambda: diagnosis._messages[-1].header.stamp.sec == 1000, what="diagnostics in sim time")
        set_clock(500)
        diagnosis.wait(OK, time_jumps="1")
        camera.send(depth_message(500 * SECOND, 2.5))
        domain.wait(lambda: len(people) == 2)
        diagnosis.wait(OK, time_jumps="1", frames_processed="2")
    assert [message.people[0].id for message in people] == [2, 102]


def test_the_service_resets_the_tracks(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()
    camera.send(depth_message(SECOND, 2.5))
    domain.wait(lambda: people)
    assert domain.call(ResetTracks, "/perception/reset_tracks", ResetTracks.Request()).success
    camera.send(depth_message(2 * SECOND, 2.5))
    domain.wait(lambda: len(people) > 1)
    assert [message.people[0].id for message in people] == [2, 102]


# ---------------------------------------------------------------- life cycle and parameters


def test_life_cycle_by_hand(domain: Domain) -> None:
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    with domain.fake_node("autostart:=false") as node:
        diagnosis.wait(OK, "unconfigured")
        assert state_of(domain) == State.PRIMARY_STATE_UNCONFIGURED
        assert not domain.call(ResetTracks, "/perception/reset_tracks", ResetTracks.Request()).success
        for round_number in (1, 2):
            assert change_state(domain, Transition.TRANSITION_CONFIGURE)
            assert state_of(domain) == State.PRIMARY_STATE_INACTIVE
            assert domain.node.count_subscribers("/depth/image") == 0, "an inactive node does not listen"
            assert change_state(domain, Transition.TRANSITION_ACTIVATE)
            camera.wait_for_node()
            camera.send(depth_message(round_number * SECOND, 2.5))
            domain.wait(lambda count=round_number: len(people) == count)
            assert change_state(domain, Transition.TRANSITION_DEACTIVATE)
            diagnosis.wait(OK, "inactive")
            assert change_state(domain, Transition.TRANSITION_CLEANUP)
        assert change_state(domain, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        diagnosis.wait(OK, "finalized")
        assert node.running
        assert node.stop() == 0
    assert "Traceback" not in node.output, node.output


def test_missing_body_model_is_reported_and_can_be_mended(domain: Domain, tmp_path: Path) -> None:
    people = domain.listen("/perception/people", PersonArray)
    diagnosis = Diagnosis(domain)
    camera = Camera(domain)
    missing = tmp_path / "missing.npz"
    with domain.fake_node(f"body_model:={missing}") as node:
        diagnosis.wait(ERROR, f"cannot be configured: {missing}")
        node.wait_for_line(str(missing))
        assert state_of(domain) == State.PRIMARY_STATE_UNCONFIGURED
        assert not change_state(domain, Transition.TRANSITION_CONFIGURE)
        assert set_parameters(domain, body_model="") == [""]
        assert change_state(domain, Transition.TRANSITION_CONFIGURE)
        assert change_state(domain, Transition.TRANSITION_ACTIVATE)
        camera.wait_for_node()
        camera.send(depth_message(SECOND, 2.5))
        domain.wait(lambda: people)
        diagnosis.wait(OK, "running")


def test_corrupt_body_models_are_refused_by_the_real_node(domain: Domain, tmp_path: Path) -> None:
    """With the real loader and pipeline, not the fakes of the other tests."""
    good = model_path("body/open_body_adult.npz").read_bytes()
    files = {
        "cut.npz": good[: len(good) // 2],
        "empty.npz": b"",
        "text.npz": b"this is no model",
        "hostile.pkl": pickle.dumps(_Hostile(str(tmp_path / "harm"))),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    diagnosis = Diagnosis(domain)
    options = ["autostart:=false", "diagnostics_period:=0.1"]
    words = [word for option in options for word in ("-p", option)]
    with domain.process("-m", "human_recon.nodes.perception", "--ros-args", *words) as node:
        for name in ["missing.npz", *files]:
            path = tmp_path / name
            assert set_parameters(domain, body_model=str(path)) == [""]
            assert not change_state(domain, Transition.TRANSITION_CONFIGURE)
            diagnosis.wait(ERROR, f"cannot be configured: {path}")
        assert not (tmp_path / "harm").exists(), "loading a model ran its code"
        assert set_parameters(domain, body_model="") == [""]
        assert change_state(domain, Transition.TRANSITION_CONFIGURE)
        diagnosis.wait(OK, "inactive")
        assert node.stop() == 0
    assert "Traceback" not in node.output, node.output


class _Hostile:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self._path,)


def test_absurd_parameters_are_refused_with_a_reason(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    diagnosis = Diagnosis(domain)
    diagnosis.wait(lifecycle="active")
    for values, reason in (
        ({"max_depth": -1.0}, "max_depth out of range"),
        ({"max_depth": math.nan}, "max_depth"),
        ({"min_depth": 50.0}, "must be smaller than max_depth"),
        ({"depth_unit": 0.0}, "depth_unit out of range"),
        ({"min_confidence": 2.0}, "min_confidence out of range"),
        ({"marker_people": 0}, "marker_people out of range"),
        ({"max_depth": "far"}, "max_depth"),
        ({"publish_tf": 1}, "Wrong parameter type"),
        ({"input": "point_cloud"}, "clean up first"),
        ({"autostart": False}, "read-only"),
    ):
        (refusal,) = set_parameters(domain, **values)
        assert reason in refusal, f"{values}: {refusal!r}"
    diagnosis.wait(
        last_refused_parameter="input is taken when the node is configured: clean up first (lifecycle transition)"
    )
    assert set_parameters(domain, max_depth=5) == [""], "an integer will do for a double"
    assert set_parameters(domain, max_depth=6.5) == [""]
    request = GetParameters.Request(names=["max_depth", "depth_unit"])
    far, unit = domain.call(GetParameters, "/perception/get_parameters", request).values
    assert (far.double_value, unit.double_value) == (6.5, 0.001)
    assert shared.process.running


def test_dynamic_parameters_work_with_the_next_frame(shared: SharedNode) -> None:
    shared.restart()
    domain = shared.domain
    people = domain.listen("/perception/people", PersonArray)
    camera = Camera(domain)
    camera.wait_for_node()

    def ids_seen(stamp: int) -> list[int]:
        count = len(people)
        camera.send(depth_message(stamp * SECOND, 1.5, 2.5, 4.5))
        domain.wait(lambda: len(people) > count)
        return [person.id for person in people[-1].people]

    assert ids_seen(1) == [1, 2, 4]
    assert set_parameters(domain, max_depth=3.0, min_depth=2.0) == ["", ""]
    assert ids_seen(2) == [2]
    assert set_parameters(domain, depth_unit=0.0014, max_depth=20.0) == ["", ""]
    assert ids_seen(3) == [2, 3, 6]
    assert set_parameters(domain, min_confidence=0.6) == [""]
    assert ids_seen(4) == []


def test_absurd_parameters_at_start_are_reported_and_can_be_mended(domain: Domain) -> None:
    diagnosis = Diagnosis(domain)
    with domain.fake_node("max_depth:=-5.0", "sync_queue:=many", "input:=sonar", "min_depth:=50.0") as node:
        for reason, mend in (
            ("max_depth", {"max_depth": 5.0}),
            ("sync_queue", {"sync_queue": 5}),
            ("'sonar' is not one of depth_image, point_cloud", {"input": "depth_image"}),
            ("min_depth = 50.0 must be smaller than max_depth = 5.0", {"min_depth": 0.5}),
        ):
            assert not change_state(domain, Transition.TRANSITION_CONFIGURE)
            diagnosis.wait(ERROR, reason)
            assert set_parameters(domain, **mend) == [""]
        assert change_state(domain, Transition.TRANSITION_CONFIGURE)
        assert node.running


def test_every_field_of_every_message_is_explained(repository: Path) -> None:
    """A comment above each field, or above the group of constants or fields it stands in."""
    files = sorted((repository / "ros_ws" / "src" / "human_recon_msgs").glob("*/*.*"))
    assert {path.suffix for path in files} == {".msg", ".srv", ".action"} and len(files) == 14
    for path in files:
        explained = False
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                explained = True
            elif not line or line == "---":
                explained = False
            else:
                assert explained or "#" in line, f"{path.name}: {line}"


def test_every_parameter_is_declared_with_description_range_and_flag(domain: Domain) -> None:
    with domain.fake_node("autostart:=false", "max_depth:=7"):
        listed = domain.call(ListParameters, "/perception/list_parameters", ListParameters.Request()).result.names
        specs = {spec.name: spec for spec in parameter_specs()}
        own = [
            name
            for name in listed
            if "." not in name and name not in ("use_sim_time", "start_type_description_service")
        ]
        assert sorted(own) == sorted(specs)
        request = DescribeParameters.Request(names=list(specs))
        for shape in domain.call(DescribeParameters, "/perception/describe_parameters", request).descriptors:
            spec = specs[shape.name]
            assert spec.description in shape.description and shape.description.endswith(f"[{spec.change}]")
            assert shape.read_only == (spec.change == READ_ONLY)
            ranges = [*shape.floating_point_range, *shape.integer_range]
            assert [(entry.from_value, entry.to_value) for entry in ranges] == (
                [] if spec.low is None else [(spec.low, spec.high)]
            )
            assert spec.change != DYNAMIC or not shape.read_only
