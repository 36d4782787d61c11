"""`--camera NAME`: a preset, or a file in camera_info's YAML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.errors import CommandError

if TYPE_CHECKING:
    from human_recon.camera.intrinsics import CameraIntrinsics


def named_camera(name: str | None) -> CameraIntrinsics | None:
    """The camera that ``name`` stands for. Raises CommandError, and InputError for a file that is no camera."""
    if name is None:
        return None
    from human_recon.camera.presets import PRESETS
    from human_recon.io.camera_yaml import camera_from_mapping, read_yaml

    if name in PRESETS:
        return PRESETS[name].intrinsics
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml"):
        return camera_from_mapping(read_yaml(path), path)
    raise CommandError(f"--camera {name}: neither a YAML file nor one of {', '.join(sorted(PRESETS))}")
