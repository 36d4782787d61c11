"""The perception node with its camera, a bag and RViz: `ros2 launch human_recon perception.launch.py --show-args`."""

import os
import sys

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node

from human_recon.camera.presets import PRESETS
from human_recon.resources import config_path

FASTDDS_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
ON_OFF = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    cameras = "; ".join(f"{name}: {preset.title}" for name, preset in PRESETS.items())
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "camera",
                default_value="none",
                choices=["none", *PRESETS],
                description="Topics and range of this camera's usual driver. none: the topics depth/image, "
                f"depth/camera_info, color/image and points, or those found in the bag. {cameras}",
            ),
            DeclareLaunchArgument(
                "input",
                default_value="depth_image",
                choices=["depth_image", "point_cloud"],
                description="Listen to depth images or to point clouds.",
            ),
            DeclareLaunchArgument(
                "use_color",
                default_value="false",
                choices=ON_OFF,
                description="Wait for the registered colour image with every depth image.",
            ),
            DeclareLaunchArgument(
                "perception",
                default_value="learned",
                choices=["learned", "geometric"],
                description="Find people with the networks, or by geometry alone.",
            ),
            DeclareLaunchArgument(
                "engine",
                default_value="auto",
                choices=["auto", "onnxruntime", "openvino", "tensorrt", "torch"],
                description="What computes the networks; auto: the fastest that is installed and computes correctly.",
            ),
            DeclareLaunchArgument(
                "precision",
                default_value="auto",
                choices=["auto", "fp32", "fp16", "int8"],
                description="Precision of the networks.",
            ),
            DeclareLaunchArgument(
                "template",
                default_value="none",
                choices=["none", "smpl", "smpl+d"],
                description="Track a surface of each person's own beside the body; smpl+d learns clothes and hair.",
            ),
            DeclareLaunchArgument(
                "bag",
                default_value="",
                description="Play this rosbag2 (directory, .mcap or .db3) to the node, in the bag's own time.",
            ),
            DeclareLaunchArgument(
                "rate", default_value="1.0", description="Play the bag at this multiple of real time."
            ),
            DeclareLaunchArgument(
                "loop", default_value="false", choices=ON_OFF, description="Play the bag over and over."
            ),
            DeclareLaunchArgument("rviz", default_value="false", choices=ON_OFF, description="Start RViz."),
            DeclareLaunchArgument(
                "fixed_frame",
                default_value="",
                description="Fixed frame of RViz; empty: the one in config/perception.rviz.",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value="",
                description="Parameter file for the node; overrides the camera's ranges. See config/perception.yaml.",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node, one per camera."),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=ON_OFF,
                description="Take time from /clock (always with bag).",
            ),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list:
    """The actions for the arguments as they were given."""
    arguments = context.launch_configurations
    namespace = arguments["namespace"].strip("/")
    bag = arguments["bag"]
    actions = []
    if not os.environ.get(FASTDDS_VARIABLE):
        actions.append(SetEnvironmentVariable(FASTDDS_VARIABLE, str(config_path("fastdds.xml"))))

    parameters: dict = {"input": arguments["input"], "use_color": arguments["use_color"] == "true"}
    parameters |= {name: arguments[name] for name in ("perception", "engine", "precision", "template")}
    if bag or arguments["use_sim_time"] == "true":
        parameters["use_sim_time"] = True
    if arguments["camera"] != "none":
        preset = PRESETS[arguments["camera"]]
        topics = preset.topics
        parameters["min_depth"], parameters["max_depth"] = preset.depth_min, preset.depth_max
    else:
        topics = bag_topics(bag) if bag else None
        if topics is not None and topics.points:
            parameters["input"] = "point_cloud"
    actions.append(
        Node(
            package="human_recon",
            executable="perception",
            name="perception",
            namespace=namespace,
            output="screen",
            parameters=[parameters, *([arguments["params_file"]] if arguments["params_file"] else [])],
            remappings=remappings(topics, parameters),
        )
    )
    if bag:
        options = ["--clock", "--rate", arguments["rate"], *(["--loop"] if arguments["loop"] == "true" else [])]
        # The node takes a few seconds to load its model; a player that starts at once would run ahead of it.
        options += ["--wait-for-subscribers", "1"]
        play = [sys.executable, "-m", "human_recon.cli.main", "play", bag, *options]
        actions.append(ExecuteProcess(cmd=play, name="human_recon_player", output="screen"))
    if arguments["rviz"] == "true":
        frame = ["-f", arguments["fixed_frame"]] if arguments["fixed_frame"] else []
        shown = ("markers", "people", "labels", "overlay", "seen")
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="human_recon_rviz",
                arguments=["-d", str(config_path("perception.rviz")), *frame],
                parameters=[{"use_sim_time": bool(parameters.get("use_sim_time"))}],
                # The RViz configuration shows the topics of a node without namespace.
                remappings=[(f"/perception/{name}", f"/{namespace}/perception/{name}") for name in shown if namespace],
            )
        )
    return actions


def bag_topics(bag: str):
    """Topics of the depth camera in a bag. Raises InputError, one clear line, when there is no single one."""
    from human_recon.io.bag_reader import BagFrames

    return BagFrames(bag).topics


def remappings(topics, parameters: dict) -> list:
    """Names in the node to names of the camera. Raises RuntimeError when the camera lacks what was asked for."""
    if topics is None:
        return []
    pairs = {"depth/image": topics.depth, "depth/camera_info": topics.info, "points": topics.points}
    if parameters["use_color"]:
        pairs["color/image"] = topics.color
    needed = ["points"] if parameters["input"] == "point_cloud" else ["depth/image", "depth/camera_info"]
    for name in [*needed, *(["color/image"] if parameters["use_color"] else [])]:
        if not pairs[name]:
            raise RuntimeError(f"this camera or bag has no topic for {name}: give camera:=none and remap it yourself")
    return [(name, topic) for name, topic in pairs.items() if topic]
