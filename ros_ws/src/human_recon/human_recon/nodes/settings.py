"""The parameters of the perception node: one dataclass, from which declarations, checks and documentation are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

READ_ONLY = "read-only"  # fixed when the node starts
UNCONFIGURED = "unconfigured"  # takes effect when configured: refused in every other lifecycle state
DYNAMIC = "dynamic"  # takes effect with the next frame


@dataclass(frozen=True)
class ParameterSpec:
    """What a user has to know of one parameter."""

    name: str
    default: bool | int | float | str
    description: str
    change: str  # READ_ONLY, UNCONFIGURED or DYNAMIC
    low: float | None = None  # smallest allowed number
    high: float | None = None  # largest allowed number
    choices: tuple[str, ...] = ()  # allowed strings; empty = any

    @property
    def type_name(self) -> str:
        """The ROS name of the type: bool, integer, double or string."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    @property
    def range_text(self) -> str:
        """The allowed values in words; empty when the type says all."""
        if self.choices:
            return ", ".join(self.choices)
        return "" if self.low is None else f"{self.low:g} to {self.high:g}"

    def problem(self, value: object) -> str | None:
        """Why ``value`` cannot be taken, or None when it can. An integer is fine where a double is asked for."""
        kind = type(self.default)
        if not (type(value) is kind or (kind is float and type(value) is int)):
            return f"{self.name} must be a {self.type_name}, not {value!r}"
        # Written so that NaN is refused.
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:  # type: ignore[operator]
            return f"{self.name} = {value} is outside {self.range_text}"
        if self.choices and value not in self.choices:
            return f"{self.name} = {value!r} is not one of {self.range_text}"
        return None


def _parameter(
    default: Any,
    description: str,
    change: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"description": description, "change": change, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All parameters of the perception node with their defaults. Units: metres and seconds."""

    autostart: bool = _parameter(
        True, "Configure and activate by itself at start; false: wait for lifecycle transitions.", READ_ONLY
    )
    body_model: str = _parameter(
        "", "Body model file (.npz, or .pkl in SMPL's layout). Empty: the open adult body shipped here.", UNCONFIGURED
    )
    perception: str = _parameter(
        "learned",
        "What finds the people: the networks, or geometry alone (weaker, needs no inference engine).",
        UNCONFIGURED,
        choices=("learned", "geometric"),
    )
    engine: str = _parameter(
        "auto",
        "What computes the networks. `auto` measures what is installed and takes the fastest that computes correctly.",
        UNCONFIGURED,
        choices=("auto", "onnxruntime", "openvino", "tensorrt", "torch"),
    )
    precision: str = _parameter("auto", "Of the networks.", UNCONFIGURED, choices=("auto", "fp32", "fp16", "int8"))
    fit: bool = _parameter(
        True,
        "Register bodies to the depth; false: publish those of the network, less accurate and much faster.",
        UNCONFIGURED,
    )
    input: str = _parameter(
        "depth_image",
        "What to listen to: `depth/image` with `depth/camera_info`, or `points`.",
        UNCONFIGURED,
        choices=("depth_image", "point_cloud"),
    )
    use_color: bool = _parameter(
        False,
        "Wait for `color/image`, registered to the depth image, with every depth image (for the overlay).",
        UNCONFIGURED,
    )
    rectified: bool = _parameter(
        False, "The depth image is rectified: take P of its CameraInfo, no distortion.", UNCONFIGURED
    )
    sync_slop: float = _parameter(
        0.02,
        "Largest difference of stamps within one set of image, camera info and colour, s.",
        UNCONFIGURED,
        low=0.0,
        high=1.0,
    )
    sync_queue: int = _parameter(
        10, "Messages kept per topic until their set is complete.", UNCONFIGURED, low=1, high=100
    )
    input_timeout: float = _parameter(
        2.0, "Diagnostics warn when no frame came for this long, s.", DYNAMIC, low=0.1, high=3600.0
    )
    diagnostics_period: float = _parameter(
        1.0, "Time between diagnostics as long as nothing changes, s.", DYNAMIC, low=0.1, high=10.0
    )
    depth_unit: float = _parameter(
        0.001, "Metres per unit of 16UC1 depth images (REP-118: millimetres).", DYNAMIC, low=1e-5, high=0.1
    )
    min_depth: float = _parameter(0.1, "Readings nearer than this are ignored, m.", DYNAMIC, low=0.0, high=100.0)
    max_depth: float = _parameter(12.0, "Readings farther than this are ignored, m.", DYNAMIC, low=0.1, high=100.0)
    max_people: int = _parameter(
        12, "The pipeline looks at no more people than this, the nearest first.", UNCONFIGURED, low=1, high=100
    )
    min_confidence: float = _parameter(
        0.0, "People with a lower confidence are not published.", DYNAMIC, low=0.0, high=1.0
    )
    track: bool = _parameter(
        True, "Know people from one frame to the next; false: every frame is a first one.", UNCONFIGURED
    )
    template: str = _parameter(
        "none",
        "Surface tracked beside the body: `smpl` the body's own, `smpl+d` with what is learned of clothes and hair.",
        UNCONFIGURED,
        choices=("none", "smpl", "smpl+d"),
    )
    template_file: str = _parameter(
        "", "Template made by `human-recon rig`, for everybody, instead. Empty: none.", UNCONFIGURED
    )
    publish_tentative: bool = _parameter(
        True, "Publish people who have been seen too few times to be believed.", DYNAMIC
    )
    publish_predicted: bool = _parameter(True, "Publish people who are tracked but not seen in this frame.", DYNAMIC)
    gravity_frame: str = _parameter(
        "",
        "TF frame whose z axis points up (`base_link`, `odom`): tells the pipeline where up is. Empty: not known.",
        UNCONFIGURED,
    )
    publish_tf: bool = _parameter(True, "Publish `body_<id>` and its joints on `/tf`.", DYNAMIC)
    publish_hri: bool = _parameter(True, "Publish REP-155's topics and frames, where `hri_msgs` is installed.", DYNAMIC)
    marker_mesh: bool = _parameter(
        True, "Put a coarse surface of each person into the markers; false: skeletons only.", DYNAMIC
    )
    marker_people: int = _parameter(
        20, "Markers are made for at most so many people, the nearest first.", DYNAMIC, low=1, high=100
    )


def parameter_specs() -> tuple[ParameterSpec, ...]:
    """Every parameter, in the order of ``Settings``."""
    specs = []
    for entry in fields(Settings):
        assert entry.default is not MISSING
        specs.append(ParameterSpec(entry.name, entry.default, **entry.metadata))
    return tuple(specs)


def combination_problem(values: Mapping[str, Any]) -> str | None:
    """Why these values of all parameters do not go together, or None when they do."""
    if not values["min_depth"] < values["max_depth"]:
        return f"min_depth = {values['min_depth']} must be smaller than max_depth = {values['max_depth']}"
    if values["perception"] == "geometric" and (values["template"] != "none" or values["template_file"]):
        return "perception = 'geometric' finds no correspondences: template must be 'none' and template_file empty"
    if values["perception"] == "geometric" and not values["fit"]:
        return "perception = 'geometric' has no bodies of its own: fit must be true"
    return None


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings from parameter values by name, integers turned to doubles where doubles are meant."""
    typed: dict[str, Any] = {spec.name: type(spec.default)(values[spec.name]) for spec in parameter_specs()}
    return Settings(**typed)
