"""Point records of text and binary files as numpy structured arrays, checked against the size of the file."""

from __future__ import annotations

import numpy as np


class RecordError(Exception):
    """Records that cannot be read; the message says why, without the file's name."""


def binary_records(body: memoryview, dtype: np.dtype, count: int) -> np.ndarray:
    """[count] records of ``dtype`` from the start of ``body``. Raises RecordError when the bytes do not suffice."""
    size = count * dtype.itemsize
    if len(body) < size:
        raise RecordError(f"{count} points of {dtype.itemsize} bytes are promised, the file holds {len(body)} bytes")
    return np.frombuffer(body[:size], dtype)


def ascii_records(words: list[bytes], dtype: np.dtype, count: int) -> np.ndarray:
    """[count] records of ``dtype`` from the first words of a text file, one word a number.

    Raises RecordError when words are missing or not numbers of their field's type.
    """
    fields = [dtype[name] for name in dtype.names or ()]
    columns = sum(int(np.prod(field.shape)) for field in fields)
    if len(words) < columns * count:
        raise RecordError(f"{count} points of {columns} numbers are promised, the file holds {len(words)} numbers")
    table = np.array(words[: columns * count], dtype=object).reshape(count, columns)
    records = np.empty(count, dtype)
    column = 0
    for name, field in zip(dtype.names or (), fields, strict=True):
        width = int(np.prod(field.shape))
        try:
            values = _numbers(table[:, column : column + width], field.base)
        except (ValueError, OverflowError):
            raise RecordError(f"a value of field {name!r} is not a number of its type") from None
        records[name] = values.reshape(records[name].shape)
        column += width
    return records


def _numbers(words: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An object array of byte words as numbers. Raises ValueError for text and for integers out of range."""
    if words.size == 0:
        return np.empty(words.shape, dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array([float(word) for word in words.ravel()]).astype(dtype).reshape(words.shape)
    limits = np.iinfo(dtype)
    values = [int(word) for word in words.ravel()]
    if not limits.min <= min(values) <= max(values) <= limits.max:
        raise ValueError("out of range")
    return np.array(values, dtype=dtype).reshape(words.shape)
