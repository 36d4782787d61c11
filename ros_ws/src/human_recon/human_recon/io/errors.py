"""The one error every reader raises."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used: one line that names the file or message and says how to mend it."""


def file_error(path: str | Path, problem: str) -> InputError:
    """An InputError about a file, always on one line."""
    return InputError(f"{path}: {' '.join(str(problem).split())}")
