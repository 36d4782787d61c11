"""What common depth cameras deliver, for launch files, simulation and inputs without a camera of their own.

The figures are nominal. Every unit is calibrated in the factory and its driver publishes that calibration, which
always comes first: focal lengths of one model scatter by about 2 %, and where a field of view is converted here, the
maker's rounding adds as much. Distortion is left out: stereo drivers publish rectified images, and time-of-flight
lenses differ from unit to unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from human_recon.camera.intrinsics import CameraIntrinsics


@dataclass(frozen=True)
class CameraTopics:
    """The topics a ROS 2 driver publishes by default."""

    depth: str  # sensor_msgs/Image
    info: str  # sensor_msgs/CameraInfo of the depth image
    color: str | None  # sensor_msgs/Image registered to the depth image; None when the default set-up has none
    points: str | None  # sensor_msgs/PointCloud2


@dataclass(frozen=True)
class CameraPreset:
    """One depth camera in its usual mode."""

    title: str  # maker's name and mode
    intrinsics: CameraIntrinsics  # of the depth image, without distortion
    depth_min: float  # metres, nearest reading
    depth_max: float  # metres, farthest reading worth using; makers' "ideal range" is often shorter
    noise: str  # none | structured_light | active_stereo | stereo | time_of_flight
    topics: CameraTopics
    source: str  # where the focal length comes from


def _square(
    width: int, height: int, focal: float, cx: float | None = None, cy: float | None = None
) -> CameraIntrinsics:
    """Square pixels; the optical axis through the middle of the image unless given."""
    centre_x = (width - 1) / 2 if cx is None else cx
    centre_y = (height - 1) / 2 if cy is None else cy
    return CameraIntrinsics(width, height, focal, focal, centre_x, centre_y)


def _focal(pixels: int, view_degrees: float) -> float:
    """Focal length in pixels of an image side that spans this field of view."""
    return pixels / 2 / math.tan(math.radians(view_degrees) / 2)


_REALSENSE = CameraTopics(
    "/camera/camera/depth/image_rect_raw", "/camera/camera/depth/camera_info", None, "/camera/camera/depth/color/points"
)
_AZURE = CameraTopics("/depth/image_raw", "/depth/camera_info", "/rgb_to_depth/image_raw", "/points2")
_ORBBEC = CameraTopics("/camera/depth/image_raw", "/camera/depth/camera_info", None, "/camera/depth/points")
_AZURE_CALIBRATION = "typical factory calibration, rounded; the lens distortion (rational_polynomial) is not small"

PRESETS = MappingProxyType(
    {
        "kinect_v1": CameraPreset(
            "Microsoft Kinect for Xbox 360 / Asus Xtion",
            _square(640, 480, 525.0),
            0.5,
            8.0,
            "structured_light",
            CameraTopics(
                "/camera/depth_registered/image_raw",
                "/camera/depth_registered/camera_info",
                "/camera/rgb/image_raw",
                "/camera/depth_registered/points",
            ),
            "OpenNI's default of 525 px for depth registered to colour",
        ),
        "kinect_v2": CameraPreset(
            "Microsoft Kinect for Xbox One",
            _square(512, 424, _focal(512, 70.6)),
            0.5,
            8.0,
            "time_of_flight",
            CameraTopics(
                "/kinect2/sd/image_depth_rect",
                "/kinect2/sd/camera_info",
                "/kinect2/sd/image_color_rect",
                "/kinect2/sd/points",
            ),
            "horizontal field of view 70.6 degrees",
        ),
        "azure_kinect_nfov": CameraPreset(
            "Microsoft Azure Kinect, NFOV unbinned",
            _square(640, 576, 504.0, 320.0, 330.0),
            0.5,
            5.5,
            "time_of_flight",
            _AZURE,
            _AZURE_CALIBRATION,
        ),
        "azure_kinect_wfov": CameraPreset(
            "Microsoft Azure Kinect, WFOV 2x2 binned",
            _square(512, 512, 252.0, 256.0, 256.0),
            0.25,
            4.0,
            "time_of_flight",
            _AZURE,
            _AZURE_CALIBRATION,
        ),
        "femto_nfov": CameraPreset(
            "Orbbec Femto Bolt / Mega, NFOV unbinned",
            _square(640, 576, 504.0, 320.0, 330.0),
            0.25,
            5.5,
            "time_of_flight",
            _ORBBEC,
            _AZURE_CALIBRATION + " (same depth module as Azure Kinect)",
        ),
        "femto_wfov": CameraPreset(
            "Orbbec Femto Bolt / Mega, WFOV binned",
            _square(512, 512, 252.0, 256.0, 256.0),
            0.25,
            4.0,
            "time_of_flight",
            _ORBBEC,
            _AZURE_CALIBRATION + " (same depth module as Azure Kinect)",
        ),
        "realsense_d415": CameraPreset(
            "Intel RealSense D415",
            _square(848, 480, _focal(848, 65.0)),
            0.45,
            8.0,
            "active_stereo",
            _REALSENSE,
            "datasheet, horizontal depth field of view 65 degrees",
        ),
        "realsense_d435": CameraPreset(
            "Intel RealSense D435 / D435i",
            _square(848, 480, _focal(848, 87.0)),
            0.28,
            8.0,
            "active_stereo",
            _REALSENSE,
            "datasheet, horizontal depth field of view 87 degrees",
        ),
        "realsense_d455": CameraPreset(
            "Intel RealSense D455 / D456",
            _square(848, 480, _focal(848, 87.0)),
            0.52,
            10.0,
            "active_stereo",
            _REALSENSE,
            "datasheet, horizontal depth field of view 87 degrees",
        ),
        "oak_d": CameraPreset(
            "Luxonis OAK-D",
            _square(640, 400, _focal(640, 72.0)),
            0.35,
            10.0,
            "stereo",
            CameraTopics("/oak/stereo/image_raw", "/oak/stereo/camera_info", None, "/oak/points"),
            "datasheet, horizontal field of view of the mono cameras 72 degrees",
        ),
        "zed_2": CameraPreset(
            "Stereolabs ZED 2 / 2i, HD720",
            _square(1280, 720, _focal(720, 70.0)),
            0.3,
            15.0,
            "stereo",
            CameraTopics(
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/depth/camera_info",
                "/zed/zed_node/rgb/image_rect_color",
                "/zed/zed_node/point_cloud/cloud_registered",
            ),
            "datasheet, vertical field of view 70 degrees",
        ),
        "gazebo": CameraPreset(
            "Gazebo RGB-D camera",
            _square(640, 480, _focal(640, math.degrees(1.047)), 320.0, 240.0),
            0.1,
            10.0,
            "none",
            CameraTopics(
                "/rgbd_camera/depth_image", "/rgbd_camera/camera_info", "/rgbd_camera/image", "/rgbd_camera/points"
            ),
            "horizontal field of view 1.047 rad of Gazebo's example worlds",
        ),
    }
)
