"""Where engines keep what took long to find out or to build."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from human_recon import resources


def cache_folder() -> Path:
    """engines/ in the cache folder of everything."""
    return resources.cache_folder() / "engines"


def fingerprint(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that change with any of ``facts``."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None when there is none that can be read: a cache may be lost at any time."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write(path: Path, content: bytes) -> None:
    """Write ``path`` so that other processes see all of it or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """:func:`write` as JSON."""
    write(path, (json.dumps(content, indent=1) + "\n").encode())
