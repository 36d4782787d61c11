"""Settings of the middleware that must be made before rclpy starts."""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def use_fastdds_profile(profile: Path) -> bool:
    """Let Fast DDS read ``profile`` unless the user has one already; True when it will. Other middlewares ignore it.

    Its default shared-memory segment is smaller than one depth image, which loses most of them.
    """
    if any(os.environ.get(name) for name in _VARIABLES) or not profile.is_file():
        return False
    os.environ[_VARIABLES[0]] = str(profile)
    return True
