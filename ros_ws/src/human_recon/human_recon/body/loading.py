"""Reading body model files, .npz or .pkl, without trusting them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from human_recon.body.unpickling import RefusedPickle, read_pickled_arrays

MAX_BYTES = 2 * 1024**3  # a body model of this layout is far smaller; more is refused unread


class ModelFileError(ValueError):
    """A model file that is missing, damaged, hostile or of another layout; the message is one line with the mend."""


class ModelData:
    """The arrays of a model file by key, checked as they are taken out."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self._content = content

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def fail(self, problem: str) -> NoReturn:
        """Raise ModelFileError about this file."""
        raise ModelFileError(f"{self.path}: {problem}; give a model in SMPL's layout, as in models/body")

    def array(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The array ``key`` in float64, which must be finite and of ``shape`` (None: any length)."""
        if key not in self._content:
            found = ", ".join(sorted(map(str, self._content))[:12])
            self.fail(f"'{key}' is missing (found: {found or 'nothing'})")
        value = self._content[key]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            self.fail(f"'{key}' is not an array of numbers")
        matches = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
        if not matches or value.size == 0:
            wanted = ", ".join("*" if n is None else str(n) for n in shape)
            self.fail(f"'{key}' has shape {list(value.shape)} instead of [{wanted}]")
        value = value.astype(np.float64)
        if not np.isfinite(value).all():
            self.fail(f"'{key}' holds values that are not finite")
        return value

    def indices(self, key: str, shape: tuple[int | None, ...], below: int) -> np.ndarray:
        """The array ``key`` as int32; its values must be integers in [0, below)."""
        value = self.array(key, shape)
        if (value != np.rint(value)).any() or value.min() < 0 or value.max() >= below:
            self.fail(f"'{key}' holds indices outside 0 ... {below - 1}")
        return value.astype(np.int32)

    def strings(self, key: str) -> list[str]:
        """The list of names ``key``."""
        value = self._content.get(key)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "U" or value.ndim != 1:
            self.fail(f"'{key}' is not a list of names")
        return [str(name) for name in value]


def read_model_file(path: Path) -> ModelData:
    """Read an .npz or .pkl model file; nothing in it is executed.

    Raises ModelFileError when it is missing, damaged, too large, or names anything that a model file has no need of.
    """
    readers = {".npz": _read_npz, ".pkl": _read_pickle}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ModelFileError(f"{path}: not a model file; give an .npz or .pkl in SMPL's layout")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{path}: larger than {MAX_BYTES >> 30} GiB, not a body model; give another file")
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelFileError(f"{path}: cannot be read ({reason}); check the path or restore the file") from error
    return ModelData(path, reader(content, path))


def _read_npz(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {key: _array_or_none(archive, key) for key in archive.files}
    except Exception as error:  # zipfile, zlib and numpy fail in many ways on a damaged archive
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelFileError(f"{path}: damaged, or not an .npz archive ({reason}); restore the file") from error


def _array_or_none(archive: Any, key: str) -> np.ndarray | None:
    try:
        return archive[key]
    except ValueError as error:
        if "allow_pickle" in str(error):  # an array of Python objects: stays unread, missed only if it is needed
            return None
        raise


def _read_pickle(content: bytes, path: Path) -> Mapping[str, Any]:
    try:
        return read_pickled_arrays(content)
    except RefusedPickle as error:
        raise ModelFileError(f"{path}: refused: {error}; give the original model file, or an .npz of it") from error
