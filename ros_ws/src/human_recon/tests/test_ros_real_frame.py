"""The test of the whole: a real depth frame, played as a bag by one process, seen by the node in another.

What the bodies are like is judged elsewhere (the reconstruct tests); here everything has to arrive, and to agree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from human_recon_msgs.msg import MeshArray, MeshTopology, PersonArray
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import LATCHED, Diagnosis, Domain, counts, values_of

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.io import read_frames
from human_recon.io.bag_writer import write_bag

pytestmark = [pytest.mark.ros, pytest.mark.slow]

STAMP = 1_234_567_890_123_456_789  # nanoseconds
FRAME_ID = "openni_rgb_optical_frame"
PEOPLE = 5
PATIENCE = 400.0  # seconds: on a fresh machine the first frame compiles the pipeline


@pytest.fixture(scope="module")
def frame(data_dir: Path) -> Frame:
    (cloud,) = read_frames(data_dir / "real" / "five_people.pcd")
    return replace(cloud, stamp_ns=STAMP, frame_id=FRAME_ID, color=None)


@pytest.fixture(scope="module")
def messages(frame: Frame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list]]:
    """Everything the node said about the frame."""
    bag = tmp_path_factory.mktemp("real") / "five_people"
    write_bag(bag, [frame])
    domain = Domain()
    heard = {
        "people": domain.listen("/perception/people", PersonArray),
        "meshes": domain.listen("/perception/meshes", MeshArray),
        "topology": domain.listen("/perception/mesh_topology", MeshTopology, LATCHED),
        "markers": domain.listen("/perception/markers", MarkerArray),
        "labels": domain.listen("/perception/labels", Image),
        "overlay": domain.listen("/perception/overlay", Image),
        "tf": domain.listen("/tf", TFMessage, 100),
    }
    diagnosis = Diagnosis(domain)
    remap = ["-r", "depth/image:=/camera/depth/image_raw", "-r", "depth/camera_info:=/camera/depth/camera_info"]
    options = ["--ros-args", *remap, "-p", "input_timeout:=1000.0"]
    with domain.process("-m", "human_recon.nodes.perception", *options) as node:

        def listened_to() -> bool:
            if not diagnosis.history:
                return False
            told = counts(values_of(diagnosis.history[-1])["output subscribers"])
            return all(told.get(topic) for topic in domain.listened)

        domain.wait(listened_to, 120.0, "for the node")
        diagnosis.wait(DiagnosticStatus.OK, "running", lifecycle="active")
        with domain.process("-m", "human_recon.cli.main", "play", str(bag), "--wait-for-subscribers", "2") as player:

            def answered() -> bool:
                newest = diagnosis.history[-1]
                assert newest.level != DiagnosticStatus.ERROR, f"{newest.message}\n{node.output}"
                return all(heard.values())

            domain.wait(answered, PATIENCE, "for the results")
            assert player.wait(30.0) == 0, player.output
        heard["diagnostics"] = [diagnosis.wait(DiagnosticStatus.OK, frames_processed="1")]
        assert node.stop() == 0
    domain.close()
    assert "Traceback" not in node.output, node.output
    yield heard


def stamp_of(message: object) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def test_five_people_with_the_sensors_stamp_and_frame(messages: dict[str, list], body: BodyModel) -> None:
    (message,) = messages["people"]
    assert stamp_of(message) == STAMP and message.header.frame_id == FRAME_ID
    assert len(message.people) == PEOPLE
    assert len({person.id for person in message.people}) == PEOPLE and all(person.id > 0 for person in message.people)
    for person in message.people:
        assert person.body_model == body.name
        assert [keypoint.name for keypoint in person.keypoints] == list(body.joint_names)
        assert 0.0 < person.confidence <= 1.0
        assert 1.4 < person.height < 2.1
        assert person.residual < 0.030
        assert 0 < person.roi.width <= 640 and 0 < person.roi.height <= 480
        places = {keypoint.name: keypoint.position for keypoint in person.keypoints}
        assert places["head"].y < places["pelvis"].y - 0.3, "upright: y points down"
        assert any(keypoint.visibility == keypoint.VISIBILITY_VISIBLE for keypoint in person.keypoints)
        assert np.isfinite([keypoint.covariance for keypoint in person.keypoints]).all()
    a, b, c, d = message.floor.coef
    assert np.linalg.norm([a, b, c]) == pytest.approx(1.0, abs=1e-3) and 0.3 < d < 3.0, "the camera is above the floor"


def test_meshes_are_the_published_parameters(messages: dict[str, list], body: BodyModel) -> None:
    (meshes,), (topology,), (people,) = messages["meshes"], messages["topology"], messages["people"]
    assert stamp_of(meshes) == STAMP and meshes.header.frame_id == FRAME_ID
    assert meshes.body_model_hash == topology.body_model_hash == people.people[0].body_model_hash != ""
    assert topology.vertex_count == body.vertex_count
    np.testing.assert_array_equal(np.array(topology.triangles).reshape(-1, 3), body.faces)
    assert [mesh.id for mesh in meshes.meshes] == [person.id for person in people.people]
    for mesh, person in zip(meshes.meshes, people.people):
        state = BodyState(np.array(person.betas), np.array(person.pose).reshape(24, 3), np.array(person.trans))
        posed = pose_body(body, state)
        np.testing.assert_allclose(np.array(mesh.vertices).reshape(-1, 3), posed.vertices, atol=1e-4)
        joints = [(entry.position.x, entry.position.y, entry.position.z) for entry in person.keypoints]
        np.testing.assert_allclose(joints, posed.joints, atol=1e-4)


def test_labels_mark_the_people(messages: dict[str, list], frame: Frame) -> None:
    (image,), (people,) = messages["labels"], messages["people"]
    assert stamp_of(image) == STAMP and image.encoding == "mono16"
    labels = np.frombuffer(image.data, "<u2").reshape(image.height, image.width)
    assert labels.shape == frame.depth.shape
    assert set(np.unique(labels)) == {0} | {person.id for person in people.people}
    for person in people.people:
        seen = labels == person.id
        assert seen.sum() > 2000
        # Measured where the body is: within its arm's reach of the pelvis.
        depth = np.median(frame.depth[seen])
        assert abs(depth - person.root.pose.position.z) < 0.5
    (overlay,) = messages["overlay"]
    assert (overlay.encoding, overlay.width, overlay.height) == ("rgb8", image.width, image.height)


def test_tf_and_markers_show_every_person(messages: dict[str, list]) -> None:
    people = messages["people"][0].people
    transforms = [entry for message in messages["tf"] for entry in message.transforms]
    assert all(stamp_of(entry) == STAMP for entry in transforms) and len(transforms) == 24 * PEOPLE
    roots = {entry.child_frame_id: entry for entry in transforms if entry.header.frame_id == FRAME_ID}
    assert set(roots) == {f"body_{person.id}" for person in people}
    for person in people:
        place = roots[f"body_{person.id}"].transform.translation
        pelvis = person.root.pose.position
        assert (place.x, place.y, place.z) == pytest.approx((pelvis.x, pelvis.y, pelvis.z), abs=1e-6)
    (markers,) = messages["markers"]
    surfaces = [marker for marker in markers.markers if marker.ns == "surface"]
    assert {marker.id for marker in surfaces} == {person.id for person in people}
    for marker in surfaces:
        assert marker.type == Marker.TRIANGLE_LIST and stamp_of(marker) == STAMP
        assert 300 < len(marker.points) / 3 < 3000, "coarse, but a body"


def test_diagnostics_tell_how_it_went(messages: dict[str, list]) -> None:
    (status,) = messages["diagnostics"]
    values = values_of(status)
    assert status.hardware_id == FRAME_ID
    assert (values["frames received"], values["people"], values["frames rejected"]) == ("1", str(PEOPLE), "0")
    for stage in ("convert", "pipeline", "publish", "message to message"):
        assert f"{stage} (ms, mean / p95)" in values
    assert values["body model"].startswith("open_body_adult")
