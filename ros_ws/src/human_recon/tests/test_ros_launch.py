"""launch/perception.launch.py, the configuration files and the documentation.

`launch` has no wheel. The description is executed against launch_stand_in, a faithful copy of the few classes used;
what comes out is started as real processes. Where the real one is importable, `ros2 launch` is run too.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from human_recon_msgs.msg import PersonArray
from rcl_interfaces.srv import GetParameters

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import Domain, values_of

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.presets import PRESETS
from human_recon.io.bag_writer import write_bag
from human_recon.nodes.documentation import parameter_file, with_tables
from human_recon.nodes.settings import parameter_specs
from human_recon.resources import config_path, resource_path

pytestmark = pytest.mark.ros

HERE = Path(__file__).parent
REAL_LAUNCH = importlib.util.find_spec("launch_ros") is not None
ARGUMENTS = {
    "camera", "input", "use_color", "bag", "rate", "loop", "rviz", "fixed_frame", "params_file", "namespace",
    "use_sim_time", "perception", "engine", "precision", "template",
}  # fmt: skip


@pytest.fixture
def domain() -> Iterator[Domain]:
    domain = Domain()
    yield domain
    domain.close()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The launch file, with the stand-in in place of `launch`."""
    monkeypatch.syspath_prepend(str(HERE / "launch_stand_in"))
    for name in [name for name in sys.modules if name.split(".")[0] in ("launch", "launch_ros")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    path = resource_path("launch", "perception.launch.py")
    spec = importlib.util.spec_from_file_location("perception_launch", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] in ("launch", "launch_ros")]:
        del sys.modules[name]


def execute(module: ModuleType, *arguments: str) -> list[Any]:
    """The actions that `ros2 launch` would perform."""
    from launch import LaunchService

    service = LaunchService(argv=arguments)
    service.include(module.generate_launch_description())
    return service.executed


def nodes_of(actions: list[Any]) -> dict[str, Any]:
    return {action.executable: action for action in actions if hasattr(action, "executable")}


def small_bag(path: Path) -> Path:
    camera = CameraIntrinsics(32, 24, 30.0, 30.0, 15.5, 11.5)
    write_bag(path, [Frame(10**9 + i * 10**8, "optical", np.full((24, 32), 2.5, np.float32), camera) for i in range(5)])
    return path


# ---------------------------------------------------------------- the description


def test_every_argument_has_a_description_and_a_default(stand_in: ModuleType) -> None:
    declared = stand_in.generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in declared} == ARGUMENTS
    for argument in declared:
        assert argument.default_value is not None and len(argument.description) > 10, argument.name
    (camera,) = [argument for argument in declared if argument.name == "camera"]
    assert camera.choices == ["none", *PRESETS]


def test_by_default_only_the_node_starts_and_fast_dds_gets_its_profile(stand_in: ModuleType) -> None:
    profile, node = execute(stand_in)
    assert (profile.name, profile.value) == ("FASTDDS_DEFAULT_PROFILES_FILE", str(config_path("fastdds.xml")))
    assert (node.package, node.executable, node.node_name) == ("human_recon", "perception", "perception")
    assert node.remappings == []
    networks = {"perception": "learned", "engine": "auto", "precision": "auto", "template": "none"}
    assert node.parameters == [{"input": "depth_image", "use_color": False, **networks}]


def test_a_profile_of_the_users_is_left_alone(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    (node,) = execute(stand_in)
    assert node.executable == "perception"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_set_topics_and_range(stand_in: ModuleType, name: str) -> None:
    preset = PRESETS[name]
    node = nodes_of(execute(stand_in, f"camera:={name}"))["perception"]
    remappings = dict(node.remappings)
    assert remappings["depth/image"] == preset.topics.depth and remappings["depth/camera_info"] == preset.topics.info
    (parameters,) = node.parameters
    assert (parameters["min_depth"], parameters["max_depth"]) == (preset.depth_min, preset.depth_max)
    specs = {spec.name: spec for spec in parameter_specs()}
    for key, value in parameters.items():
        assert specs[key].problem(value) is None, "the node must take what the launch file gives"


def test_what_a_camera_lacks_is_an_error_that_says_so(stand_in: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="no topic for color/image"):
        execute(stand_in, "camera:=oak_d", "use_color:=true")
    with pytest.raises(RuntimeError, match="not valid"):
        execute(stand_in, "camera:=polaroid")


def test_a_bag_is_played_in_its_own_time_with_its_own_topics(stand_in: ModuleType, tmp_path: Path) -> None:
    bag = small_bag(tmp_path / "bag")
    _, node, player = execute(stand_in, f"bag:={bag}", "rate:=0.5", "loop:=true")
    assert dict(node.remappings) == {
        "depth/image": "/camera/depth/image_raw",
        "depth/camera_info": "/camera/depth/camera_info",
    }
    assert node.parameters[0]["use_sim_time"] is True
    words = player.cmd[3:]
    assert words[:2] == ["play", str(bag)] and "--clock" in words and "--loop" in words
    assert words[words.index("--rate") + 1] == "0.5"
    with pytest.raises((ValueError, FileNotFoundError), match="missing"):
        execute(stand_in, f"bag:={tmp_path / 'missing'}")


def test_rviz_shows_the_topics_of_a_namespaced_node(stand_in: ModuleType) -> None:
    rviz = nodes_of(execute(stand_in, "rviz:=true", "namespace:=front", "fixed_frame:=map"))["rviz2"]
    assert rviz.arguments == ["-d", str(config_path("perception.rviz")), "-f", "map"]
    assert ("/perception/markers", "/front/perception/markers") in rviz.remappings


def test_what_the_launch_file_starts_runs(stand_in: ModuleType, domain: Domain, tmp_path: Path) -> None:
    """The node and the player of `bag:=...`, as processes; people.pcd would take long, so with the fake pipeline."""
    bag = small_bag(tmp_path / "bag")
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    max_depth: 4\n    diagnostics_period: 0.1\n")
    actions = execute(
        stand_in, f"bag:={bag}", f"params_file:={parameters}", "namespace:=front", "loop:=true", "rate:=2.0"
    )
    node = nodes_of(actions)["perception"]
    player = next(action for action in actions if not hasattr(action, "executable") and hasattr(action, "cmd"))
    people = domain.listen("/front/perception/people", PersonArray)
    diagnostics = domain.listen("/diagnostics", DiagnosticArray)
    with domain.process(str(HERE / "ros_support.py"), *node.ros_arguments()) as perception:
        with domain.process(*player.cmd[1:]) as playing:
            domain.wait(lambda: len(people) > 8, what="for people of the looping bag")
            assert playing.running
        request = GetParameters.Request(names=["max_depth", "use_sim_time", "input"])
        far, simulated, kind = domain.call(GetParameters, "/front/perception/get_parameters", request).values
        # An integer in a file is a fine double.
        assert (far.integer_value or far.double_value) == 4
        assert simulated.bool_value and kind.string_value == "depth_image"
        assert perception.stop() == 0
    assert {message.header.frame_id for message in people} == {"optical"}
    told = values_of(diagnostics[-1].status[0])
    assert int(told["time jumps"]) >= 1 and "/camera/depth/image_raw" in told["input publishers"]
    assert "Traceback" not in perception.output, perception.output


@pytest.mark.skipif(not (REAL_LAUNCH and shutil.which("ros2")), reason="needs `ros2 launch`, which has no wheel")
def test_ros2_launch(domain: Domain, tmp_path: Path) -> None:
    shown = subprocess.run(
        ["ros2", "launch", "human_recon", "perception.launch.py", "--show-args"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for name in ARGUMENTS:
        assert f"'{name}'" in shown.stdout
    bag = small_bag(tmp_path / "bag")
    people = domain.listen("/perception/people", PersonArray)
    environment = {**domain.environment}
    launched = subprocess.Popen(
        ["ros2", "launch", "human_recon", "perception.launch.py", f"bag:={bag}", "loop:=true"], env=environment
    )
    try:
        domain.wait(lambda: people, timeout=180)
    finally:
        launched.send_signal(2)
        launched.wait(30)


# ---------------------------------------------------------------- configuration and documentation


def test_the_parameter_file_lists_every_parameter_at_its_default() -> None:
    text = config_path("perception.yaml").read_text(encoding="utf-8")
    assert text == parameter_file(), "run: python -m human_recon.nodes.documentation ."
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert values == {spec.name: spec.default for spec in parameter_specs()}


def test_the_documentation_has_every_topic_and_parameter(repository: Path) -> None:
    page = (repository / "docs" / "ros.md").read_text(encoding="utf-8")
    assert page == with_tables(page), "run: python -m human_recon.nodes.documentation ."
    for spec in parameter_specs():
        assert f"| `{spec.name}` |" in page


def test_the_rviz_configuration_is_yaml_and_shows_our_topics() -> None:
    displays = yaml.safe_load(config_path("perception.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert topics == {f"/perception/{name}" for name in ("markers", "overlay", "labels", "seen")}


_BURST = """
import os, sys, time
sys.path.insert(0, os.environ["TESTS"])
from human_recon.nodes.middleware import use_fastdds_profile
from human_recon.resources import config_path
if os.environ["PROFILE"] == "ours":
    assert use_fastdds_profile(config_path("fastdds.xml"))
import rclpy, numpy as np
from ros_support import filled
from sensor_msgs.msg import Image
from rclpy.qos import qos_profile_sensor_data
rclpy.init()
node = rclpy.create_node("sender")
publisher = node.create_publisher(Image, "big", qos_profile_sensor_data)
pixels = np.zeros((1080, 1920, 2), np.uint8)
message = Image(height=1080, width=1920, encoding="16UC1", step=3840, data=filled(pixels))
while not publisher.get_subscription_count():
    time.sleep(0.01)
time.sleep(1.0)
for index in range(60):
    message.header.stamp.sec = index
    publisher.publish(message)
    time.sleep(1 / 30)
time.sleep(1.0)
print("sent", flush=True)
"""


def test_large_images_arrive_with_our_fast_dds_profile(tmp_path: Path) -> None:
    """4.1 MB at 30 Hz, best effort, from one process to another that both use the profile."""
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip("another middleware is in use")
    sender = tmp_path / "sender.py"
    sender.write_text(_BURST)
    receiver = tmp_path / "receiver.py"
    receiver.write_text(
        _BURST.split("pixels =")[0].replace('"sender"', '"receiver"').replace("publisher = node.create_publisher", "# ")
        + "stamps = set()\n"
        "node.create_subscription(Image, 'big', lambda m: (stamps.add(m.header.stamp.sec), "
        "print('received', len(stamps), flush=True)), qos_profile_sensor_data)\n"
        "rclpy.spin(node)\n"
    )
    domain = Domain()
    try:
        options = {"TESTS": str(HERE), "PROFILE": "ours", "FASTDDS_DEFAULT_PROFILES_FILE": ""}
        with domain.process(str(receiver), **options) as taking, domain.process(str(sender), **options) as sending:
            sending.wait_for_line("sent", 60.0)
            received = sum("received" in line for line in taking.lines)
    finally:
        domain.close()
    assert received >= 54, f"only {received} of 60 images arrived"
