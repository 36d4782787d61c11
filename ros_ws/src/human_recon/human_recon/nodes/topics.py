"""The topics and services of the perception node: one table that the node and the documentation are made from."""

from __future__ import annotations

from dataclasses import dataclass

BEST_EFFORT = "best effort, last 1"
RELIABLE = "reliable, last 1"
LATCHED = "reliable, last 1, transient local"


@dataclass(frozen=True)
class TopicSpec:
    """One topic or service."""

    name: str  # "~" is the node's own name, /perception unless remapped
    type: str  # package/Name
    qos: str  # empty for services
    description: str


INPUTS = {
    "depth": TopicSpec("depth/image", "sensor_msgs/Image", BEST_EFFORT, "depth, 16UC1 (mm) or 32FC1 (m)"),
    "info": TopicSpec(
        "depth/camera_info",
        "sensor_msgs/CameraInfo",
        "best effort, last 10",
        "its camera; optional for clouds (then an organised cloud tells its camera itself)",
    ),
    "color": TopicSpec(
        "color/image",
        "sensor_msgs/Image",
        BEST_EFFORT,
        "colour registered to the depth image (`use_color`): rgb8, bgr8, rgba8, bgra8, mono8",
    ),
    "points": TopicSpec(
        "points",
        "sensor_msgs/PointCloud2",
        BEST_EFFORT,
        "cloud in the camera's optical frame, instead of the depth image (`input: point_cloud`)",
    ),
}

OUTPUTS = {
    "people": TopicSpec(
        "~/people",
        "human_recon_msgs/PersonArray",
        RELIABLE,
        "people with SMPL parameters, joints and uncertainty; empty when nobody is there",
    ),
    "meshes": TopicSpec("~/meshes", "human_recon_msgs/MeshArray", RELIABLE, "the surfaces, vertices only"),
    "mesh_topology": TopicSpec(
        "~/mesh_topology", "human_recon_msgs/MeshTopology", LATCHED, "the triangles that all meshes share, sent once"
    ),
    "templates": TopicSpec(
        "~/templates",
        "human_recon_msgs/TemplateMeshArray",
        RELIABLE,
        "each person's own surface (`template`), vertices only",
    ),
    "template_topologies": TopicSpec(
        "~/template_topologies",
        "human_recon_msgs/TemplateTopologyArray",
        LATCHED,
        "the triangles of all templates in use, sent when one is added or goes",
    ),
    "markers": TopicSpec(
        "~/markers", "visualization_msgs/MarkerArray", RELIABLE, "coarse surface, skeleton and label for RViz"
    ),
    "labels": TopicSpec("~/labels", "sensor_msgs/Image", RELIABLE, "mono16: person id of each depth pixel, 0 = nobody"),
    "correspondences": TopicSpec(
        "~/correspondences",
        "sensor_msgs/Image",
        RELIABLE,
        "mono16: 1 + vertex of the body model that each depth pixel shows, 0 = nobody (learned perception only)",
    ),
    "seen": TopicSpec(
        "~/seen",
        "sensor_msgs/Image",
        RELIABLE,
        "rgb8: people, body parts and places on the body as the networks saw them (learned perception only)",
    ),
    "overlay": TopicSpec("~/overlay", "sensor_msgs/Image", RELIABLE, "rgb8: bodies drawn over colour or depth"),
    "tf": TopicSpec(
        "/tf",
        "tf2_msgs/TFMessage",
        "reliable, last 100",
        "`body_<id>` (pelvis) below the camera frame, `body_<id>/<joint>` below their parent joints; REP-155's frames",
    ),
    "diagnostics": TopicSpec(
        "/diagnostics",
        "diagnostic_msgs/DiagnosticArray",
        "reliable, last 10",
        "every `diagnostics_period`, and at once when the level changes: state, counts, last rejection, latencies",
    ),
}

SERVICES = {
    "reset_tracks": TopicSpec("~/reset_tracks", "human_recon_msgs/ResetTracks", "", "forget everybody"),
    "lock_shape": TopicSpec(
        "~/lock_shape",
        "human_recon_msgs/LockShape",
        "",
        "hold a person's shape (betas) fixed, or let it adapt; id 0: everybody's",
    ),
    "save_person": TopicSpec(
        "~/save_person",
        "human_recon_msgs/SavePerson",
        "",
        "write a person's parameters (people.json), mesh (PLY) and template (PLY, npz); id 0: everybody's",
    ),
}

# Only where hri_msgs is importable; a person with the id 7 is the body p7.
HRI = {
    "tracked": TopicSpec(
        "/humans/bodies/tracked", "hri_msgs/IdsList", RELIABLE, "bodies that are confirmed or occluded, none tentative"
    ),
    "roi": TopicSpec(
        "/humans/bodies/<body>/roi",
        "hri_msgs/NormalizedRegionOfInterest2D",
        RELIABLE,
        "box around the visible pixels of the depth image",
    ),
    "cropped": TopicSpec(
        "/humans/bodies/<body>/cropped", "sensor_msgs/Image", RELIABLE, "the colour image in that box (`use_color`)"
    ),
    "skeleton2d": TopicSpec(
        "/humans/bodies/<body>/skeleton2d",
        "hri_msgs/Skeleton2D",
        RELIABLE,
        "joints, nose and ears in the image; confidence 0: not known (eyes, always), hidden or outside",
    ),
    "position": TopicSpec(
        "/humans/bodies/<body>/position", "geometry_msgs/PointStamped", RELIABLE, "middle of the hips, camera frame"
    ),
    "velocity": TopicSpec(
        "/humans/bodies/<body>/velocity",
        "geometry_msgs/TwistStamped",
        RELIABLE,
        "of the pelvis, camera frame; nothing while it is not known",
    ),
}
