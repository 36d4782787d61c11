"""Reading what was baked offline: the bank of shapes, the light body, the wardrobe.

All are .npz archives without pickled objects, made for one body model, whose digest they hold.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from human_recon.body.model import BodyModel


class BakedFileError(ValueError):
    """A baked file that is missing, damaged or of another layout; the message is one line with the mend."""


class BakedFile:
    """The arrays of an archive, checked as they are taken out; nothing in it is executed."""

    def __init__(self, path: Path, mend: str) -> None:
        """Read ``path``; ``mend`` says in errors what to do about a bad file. Raises BakedFileError."""
        self.path = path
        self._mend = mend
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                self._arrays = {key: archive[key] for key in archive.files}
        except OSError as error:
            self.fail(f"cannot be read ({(error.strerror or str(error)).lower()})")
        except Exception as error:  # zipfile, zlib and numpy fail in many ways on a damaged archive
            self.fail(f"damaged, or not an .npz archive ({' '.join(str(error).split())[:120] or type(error).__name__})")

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def fail(self, problem: str) -> NoReturn:
        """Raise BakedFileError about this file."""
        raise BakedFileError(f"{self.path}: {problem}; {self._mend}")

    def made_for(self, body: BodyModel) -> bool:
        """Whether the file was made for this very body model."""
        return self.text("body_digest") == body_digest(body)

    def text(self, key: str) -> str:
        """A single string."""
        value = self._taken(key)
        if value.dtype.kind != "U" or value.ndim != 0:
            self.fail(f"'{key}' is not a string")
        return str(value)

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        value = self._taken(key)
        if value.dtype.kind != "U" or value.ndim != 1:
            self.fail(f"'{key}' is not a list of strings")
        return [str(item) for item in value]

    def numbers(self, key: str, shape: tuple[int | None, ...], dtype: Any = np.float32) -> np.ndarray:
        """A finite array of ``shape`` (None: any length), converted to ``dtype``."""
        value = self._taken(key)
        matches = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
        if value.dtype.kind not in "fiub" or not matches:
            wanted = ", ".join("*" if n is None else str(n) for n in shape)
            self.fail(f"'{key}' is {value.dtype} {list(value.shape)} instead of numbers [{wanted}]")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            self.fail(f"'{key}' holds values that are not finite")
        return np.ascontiguousarray(value, dtype)

    def indices(self, key: str, shape: tuple[int | None, ...], below: int) -> np.ndarray:
        """Integers in [0, below), as int32."""
        value = self._taken(key)
        if value.dtype.kind not in "iu":
            self.fail(f"'{key}' is {value.dtype} instead of integers")
        if value.size and (value.min() < 0 or value.max() >= below):
            self.fail(f"'{key}' holds indices outside 0 ... {below - 1}")
        return self.numbers(key, shape, np.int32)

    def _taken(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            self.fail(f"'{key}' is missing")
        return self._arrays[key]


def body_digest(body: BodyModel) -> str:
    """Tells body models apart that share a layout: SHA-256 over template and shape directions, 16 digits."""
    return hashlib.sha256(body.v_template.tobytes() + body.shapedirs.tobytes()).hexdigest()[:16]
