"""A result directory that appears complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from human_recon.cli.errors import CommandError

_MARK = "people.json"


@contextlib.contextmanager
def result_directory(out: Path, names: Collection[str], mark: str = _MARK) -> Iterator[Path]:
    """Yield an empty directory beside ``out``; when the block ends well, move its content into ``out``.

    ``names`` are the entries a result may have; ``mark`` is the one that tells an earlier result from a folder of the
    user's. An earlier result in ``out`` loses all of them, also those not written
    this time; what else lies there stays. When the block fails nothing of it remains and the earlier result is as it
    was.

    Raises:
        CommandError: ``out`` is a file, a folder that holds something else, or cannot be written.
    """
    _check(out, mark)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror or error}; choose another directory") from None
    try:
        fresh = staging / "fresh"
        fresh.mkdir()
        yield fresh
        _move_into(fresh, out, names, mark, replaced=staging / "replaced")
    except OSError as error:
        # Full disk, or rights taken away: the readers wrap their own, so an OSError here is about writing.
        raise CommandError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check(out: Path, mark: str) -> None:
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise CommandError(f"{out} is a file; give a directory for the results")
        if any(out.iterdir()) and not (out / mark).exists():
            raise CommandError(f"{out} holds other files and no earlier result; choose another directory")
        if not os.access(out, os.W_OK | os.X_OK):
            raise CommandError(f"cannot write {out}: permission denied; choose another directory")
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror or error}; choose another directory") from None


def _move_into(fresh: Path, out: Path, names: Collection[str], mark: str, replaced: Path) -> None:
    """Put every entry of ``fresh`` into ``out``; an earlier result's entries go first."""
    out.mkdir(exist_ok=True)
    replaced.mkdir()
    for name in {*names, *(entry.name for entry in fresh.iterdir())}:
        if (out / name).exists():
            os.replace(out / name, replaced / name)
    entries = sorted(fresh.iterdir(), key=lambda entry: entry.name == mark)  # the mark last: then all is there
    for entry in entries:
        os.replace(entry, out / entry.name)
