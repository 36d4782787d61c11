"""Where the optional inputs of the simulation are: motion capture and the baked wardrobe.

Both are optional. Without motion capture people take poses within joint limits, without a wardrobe they wear their own
surface, inflated: the simulation works, its figures are not comparable (see :attr:`Assets.digest`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from human_recon.resources import cache_folder

Split = Literal["train", "test"]  # people, motion and clothes of one never appear in the other

MOTION_FILE = Path("mocap") / "mocap_30hz.npz"
WARDROBE_FILE = "wardrobe.npz"


@dataclass(frozen=True)
class Assets:
    """Paths that exist, or None."""

    motion: Path | None = None  # recorded motion, npz: poses, trans, clip_start, clip_name
    wardrobe: Path | None = None  # written by `python -m training.wardrobe.bake`

    @staticmethod
    def locate(data: Path | None = None, cache: Path | None = None) -> Assets:
        """Look into ``data`` (default: $HUMAN_RECON_DATA) and ``cache`` (default: :func:`cache_folder`)."""
        if data is None and os.environ.get("HUMAN_RECON_DATA"):
            data = Path(os.environ["HUMAN_RECON_DATA"])
        motion = data / MOTION_FILE if data is not None else None
        wardrobe = (cache if cache is not None else cache_folder()) / WARDROBE_FILE
        return Assets(
            motion=motion if motion is not None and motion.is_file() else None,
            wardrobe=wardrobe if wardrobe.is_file() else None,
        )

    @cached_property
    def digest(self) -> str:
        """Identifies what people are made of: results with different digests are not comparable."""
        parts = (_digest(self.motion), _digest(self.wardrobe))
        return "+".join(f"{name}:{part}" for name, part in zip(("motion", "wardrobe"), parts, strict=True))


def _digest(path: Path | None) -> str:
    return "none" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:12]
