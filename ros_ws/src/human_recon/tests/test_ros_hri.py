"""People as REP-155 (ROS4HRI) has them, against a stand-in for hri_msgs: see hri_stand_in."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import KNOWN_DEPTH, TENTATIVE_DEPTH, Camera, Domain, TinyBody, depth_message, set_parameters

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.skeleton import JOINT_NAMES, joint_index
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.nodes.topics import HRI
from human_recon.people import People, Person

REAL = importlib.util.find_spec("hri_msgs") is not None
CAMERA = CameraIntrinsics(640, 480, 500.0, 500.0, 319.5, 239.5)


@pytest.fixture
def hri(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """human_recon.nodes.hri as it is where hri_msgs is installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "hri_stand_in"))
    for name in [name for name in sys.modules if name.split(".")[0] == "hri_msgs"]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("human_recon.nodes.hri")
    importlib.reload(module)
    assert module.is_available()
    yield module
    monkeypatch.undo()
    importlib.reload(module)


@dataclass
class Topic:
    """A publisher that keeps what it is given."""

    kind: type
    name: str
    subscribers: int = 1
    messages: list[Any] = field(default_factory=list)

    def publish(self, message: Any) -> None:
        assert isinstance(message, self.kind)
        self.messages.append(message)

    def get_subscription_count(self) -> int:
        return self.subscribers


class Graph:
    """The node's side of the ROS graph."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.gone: list[Topic] = []

    def create_publisher(self, kind: type, name: str, qos: Any, **_: Any) -> Topic:
        assert name not in self.topics
        self.topics[name] = Topic(kind, name)
        return self.topics[name]

    def destroy_publisher(self, topic: Topic) -> None:
        self.gone.append(self.topics.pop(topic.name))


def standing(body: BodyModel, number: int, turn: float = 0.0, **values: Any) -> Person:
    """Somebody 3 m in front of the camera in the T pose, who faces it when ``turn`` (about the vertical) is 0."""
    pose = np.zeros((24, 3))
    # The body's y axis is the camera's -y; its z axis, where it looks, the camera's -z.
    pose[0] = (Rotation.from_rotvec([0.0, turn, 0.0]) * Rotation.from_rotvec([np.pi, 0.0, 0.0])).as_rotvec()
    posed = pose_body(body, BodyState(np.zeros(10), pose, np.array([0.2, 0.1, 3.0])))
    person = Person(
        id=number,
        confidence=0.75,
        state=BodyState(np.zeros(10), pose, np.array([0.2, 0.1, 3.0])),
        vertices=posed.vertices,
        joints=posed.joints,
        joint_sigma=np.full(24, 0.02, np.float32),
        joint_visible=np.array([not name.startswith("r_") for name in JOINT_NAMES]),
        height=1.7,
        roi=(64, 48, 320, 240),
        residual=0.01,
        life="confirmed",
    )
    return replace(person, **values)


def people_of(*people: Person, color: np.ndarray | None = None) -> People:
    frame = Frame(5_000_000_007, "camera", np.zeros((480, 640), np.float32), CAMERA, color)
    return People(frame, people, np.zeros((480, 640), np.uint16))


def test_bodies_come_and_go(hri: ModuleType, body: BodyModel) -> None:
    graph = Graph()
    publisher = hri.HriPublisher(graph, body)
    tracked = graph.topics["/humans/bodies/tracked"]
    ghost = standing(body, 9, life="tentative")
    publisher.publish(people_of(standing(body, 3), ghost, standing(body, 4, life="occluded", roi=(0, 0, 0, 0))))
    assert tracked.messages[-1].ids == ["p3", "p4"], "a tentative person may be a ghost"
    stamp = tracked.messages[-1].header.stamp
    assert (stamp.sec, stamp.nanosec, tracked.messages[-1].header.frame_id) == (5, 7, "camera")
    told = {name.replace("p3", "<body>") for name in graph.topics if "p4" not in name}
    assert told == {spec.name for spec in HRI.values()}, "what the documentation says"
    for spec in HRI.values():
        assert graph.topics[spec.name.replace("<body>", "p3")].kind.__name__ == spec.type.split("/")[1]
    assert graph.topics["/humans/bodies/p4/roi"].messages == [], "nothing of this one is seen"

    publisher.publish(people_of(standing(body, 4)))
    assert tracked.messages[-1].ids == ["p4"]
    assert {topic.name for topic in graph.gone} == {
        spec.name.replace("<body>", "p3") for spec in list(HRI.values())[1:]
    }
    publisher.clear()
    assert tracked.messages[-1].ids == [] and list(graph.topics) == ["/humans/bodies/tracked"]
    publisher.close()
    assert graph.topics == {}


def test_nothing_is_made_that_nobody_subscribes_to(hri: ModuleType, body: BodyModel) -> None:
    graph = Graph()
    publisher = hri.HriPublisher(graph, body)
    publisher.publish(people_of(standing(body, 3)))
    for topic in graph.topics.values():
        topic.subscribers = 0
        topic.messages.clear()
    assert not publisher.wanted
    publisher.publish(people_of(standing(body, 3)))
    assert [topic.name for topic in graph.topics.values() if topic.messages] == ["/humans/bodies/tracked"]
    graph.topics["/humans/bodies/p3/roi"].subscribers = 1
    assert publisher.wanted


def test_places_in_the_image_are_normalised(hri: ModuleType, body: BodyModel) -> None:
    graph = Graph()
    color = np.zeros((480, 640, 3), np.uint8)
    color[48:288, 64:384] = (1, 2, 3)
    velocity = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    person = standing(body, 3, velocity=velocity)
    hri.HriPublisher(graph, body).publish(people_of(person, standing(body, 4, velocity=velocity * np.nan), color=color))
    messages = {name.split("/")[-1]: topic.messages for name, topic in graph.topics.items() if "/p3/" in name}
    (roi,) = messages["roi"]
    assert (roi.xmin, roi.ymin, roi.xmax, roi.ymax, roi.c) == (0.1, 0.1, 0.6, 0.6, 0.75)
    (cropped,) = messages["cropped"]
    assert (cropped.encoding, cropped.width, cropped.height, cropped.step) == ("rgb8", 320, 240, 960)
    np.testing.assert_array_equal(np.frombuffer(cropped.data, np.uint8).reshape(-1, 3), [(1, 2, 3)] * 240 * 320)
    (position,) = messages["position"]
    hips = person.joints[[1, 2]].mean(axis=0)
    assert (position.point.x, position.point.y, position.point.z) == pytest.approx(hips.tolist(), abs=1e-6)
    (twist,) = messages["velocity"]
    assert (twist.twist.linear.z, twist.twist.angular.x) == (0.3, 0.4)
    assert graph.topics["/humans/bodies/p4/velocity"].messages == [], "not known yet"

    (skeleton,) = messages["skeleton2d"]
    constants = vars(type(skeleton))
    for name, joint in (("LEFT_WRIST", "l_wrist"), ("NECK", "neck"), ("LEFT_KNEE", "l_knee")):
        point, (x, y, z) = skeleton.skeleton[constants[name]], person.joints[joint_index(joint)]
        assert point.x == pytest.approx((500.0 * x / z + 320.0) / 640.0, abs=1e-6)
        assert point.y == pytest.approx((500.0 * y / z + 240.0) / 480.0, abs=1e-6)
        assert point.c == 0.75
    assert skeleton.skeleton[constants["RIGHT_WRIST"]].c == 0.0, "hidden"
    assert skeleton.skeleton[constants["LEFT_EYE"]].c == 0.0, "not known"
    nose, neck = skeleton.skeleton[constants["NOSE"]], skeleton.skeleton[constants["NECK"]]
    left, right = skeleton.skeleton[constants["LEFT_EAR"]], skeleton.skeleton[constants["RIGHT_EAR"]]
    assert nose.c == 0.75 and nose.y < neck.y
    assert right.x < nose.x < left.x, "who faces the camera has the left ear on the picture's right"


def test_points_outside_the_image_are_marked(hri: ModuleType, body: BodyModel) -> None:
    graph = Graph()
    person = standing(body, 3)
    aside = replace(
        person, joints=person.joints + np.float32([10, 0, 0]), vertices=person.vertices + np.float32([10, 0, 0])
    )
    behind = replace(person, id=5, joints=-person.joints, vertices=-person.vertices)
    hri.HriPublisher(graph, body).publish(people_of(aside, behind))
    for number in (3, 5):
        (skeleton,) = graph.topics[f"/humans/bodies/p{number}/skeleton2d"].messages
        assert all(point.c == 0.0 and 0.0 <= point.x <= 1.0 and 0.0 <= point.y <= 1.0 for point in skeleton.skeleton)


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.0])
def test_frames_look_forward_and_up(hri: ModuleType, body: BodyModel, turn: float) -> None:
    person = standing(body, 3, turn)
    ghost = standing(body, 9, life="tentative")
    transforms = hri.HriPublisher(Graph(), body).transforms(people_of(person, ghost))
    tree = {entry.child_frame_id: entry for entry in transforms}
    sides = [f"{side}_{link}" for side in "lr" for link in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
    assert set(tree) == {"body_p3", *(f"{link}_p3" for link in ("waist", "torso", "head", *sides))}
    root = tree.pop("body_p3")
    assert root.header.frame_id == "camera" and {entry.header.frame_id for entry in tree.values()} == {"body_p3"}

    def place(entry: Any) -> tuple[np.ndarray, np.ndarray]:
        q, t = entry.transform.rotation, entry.transform.translation
        return Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), np.array([t.x, t.y, t.z])

    axes, origin = place(root)
    np.testing.assert_allclose(origin, person.joints[[1, 2]].mean(axis=0), atol=1e-6)
    # The camera's y axis points down; who faces it looks along -z and has the left hand at +x.
    about_y = Rotation.from_rotvec([0.0, turn, 0.0]).as_matrix()
    np.testing.assert_allclose(axes[:, 0], about_y @ [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(axes[:, 1], about_y @ [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(axes[:, 2], [0, -1, 0], atol=1e-6)
    for name, entry in tree.items():
        link = name.removesuffix("_p3")
        joint = {"waist": "spine1", "torso": "spine3"}.get(link, link)
        turned, offset = place(entry)
        np.testing.assert_allclose(origin + axes @ offset, person.joints[joint_index(joint)], atol=1e-5)
        np.testing.assert_allclose(turned, np.eye(3), atol=1e-6)
    assert place(tree["head_p3"])[1][2] > 0.4 and place(tree["l_wrist_p3"])[1][1] > 0.4


def test_a_head_that_turns_turns_its_frame(hri: ModuleType, body: BodyModel) -> None:
    person = standing(body, 3)
    pose = person.state.pose.copy()
    pose[joint_index("head")] = (0.0, 0.5, 0.0)  # to the person's left, about the body's y
    person = replace(person, state=BodyState(person.state.betas, pose, person.state.trans))
    transforms = hri.HriPublisher(Graph(), body).transforms(people_of(person))
    q = next(entry for entry in transforms if entry.child_frame_id == "head_p3").transform.rotation
    np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_rotvec(), [0, 0, 0.5], atol=1e-6)


def test_any_body_model_will_do(hri: ModuleType, body: BodyModel) -> None:
    graph = Graph()
    publisher = hri.HriPublisher(graph, TinyBody())
    publisher.publish(people_of(standing(body, 3)))
    (skeleton,) = graph.topics["/humans/bodies/p3/skeleton2d"].messages
    assert skeleton.skeleton[0].c == 0.0 and skeleton.skeleton[1].c == 0.75


@pytest.mark.ros
@pytest.mark.skipif(not REAL, reason="hri_msgs is not installed (it has no wheel)")
def test_the_node_publishes_with_the_real_messages() -> None:
    from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
    from human_recon_msgs.msg import PersonArray
    from tf2_msgs.msg import TFMessage

    domain = Domain()
    people = domain.listen("/perception/people", PersonArray)
    tracked = domain.listen("/humans/bodies/tracked", IdsList)
    transforms = domain.listen("/tf", TFMessage, 100)
    camera = Camera(domain)
    with domain.fake_node() as node:
        camera.wait_for_node()
        rois, skeletons = [], []
        for second in range(1, 400):
            camera.send(depth_message(second * 1_000_000_000, 2.5, KNOWN_DEPTH, TENTATIVE_DEPTH))
            domain.wait(lambda second=second: len(people) == second)
            if tracked and not domain.listened & {"/humans/bodies/p2/roi"}:
                rois = domain.listen("/humans/bodies/p2/roi", NormalizedRegionOfInterest2D)
                skeletons = domain.listen("/humans/bodies/p6/skeleton2d", Skeleton2D)
            if rois and skeletons:
                break
        assert rois and skeletons and list(tracked[-1].ids) == ["p2", "p6"]
        assert (rois[0].xmin, rois[0].ymax) == pytest.approx((1 / 32, 6 / 24))
        names = {entry.child_frame_id for entry in transforms[-1].transforms}
        assert {"body_2", "body_7", "body_p2", "head_p6"} <= names and "body_p7" not in names
        assert set_parameters(domain, publish_hri=False) == [""]
        count = len(transforms)
        camera.send(depth_message(500 * 1_000_000_000, 2.5))
        domain.wait(lambda: len(transforms) > count)
        assert {entry.child_frame_id.split("/")[0] for entry in transforms[-1].transforms} == {"body_2"}
        assert node.stop() == 0
    assert "Traceback" not in node.output, node.output
    domain.close()
