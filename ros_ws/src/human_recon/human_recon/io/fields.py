"""x, y, z and colour out of structured point records, as PCD, PLY and PointCloud2 lay them out."""

from __future__ import annotations

import numpy as np

from human_recon.io.records import RecordError


class FieldError(RecordError):
    """The records lack a field that is needed; the message says which."""


def points_and_colors(records: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Structured records -> points [..., 3] float32 and colours [..., 3] uint8 RGB or None, in the records' shape.

    Colour is taken from a packed ``rgb`` or ``rgba`` field (4 bytes, 0xAARRGGBB, stored as float or integer) or from
    separate ``r g b`` or ``red green blue`` fields (8-bit integers, or floats in [0, 1]). Values too large for float32
    become inf. Raises FieldError when x, y or z is missing or not a number.
    """
    names = records.dtype.names or ()
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise FieldError(f"there is no field {', '.join(missing)} (fields: {', '.join(names) or 'none'})")
    points = np.empty((*records.shape, 3), np.float32)
    for axis, name in enumerate("xyz"):
        column = records[name]
        if column.shape != records.shape or column.dtype.kind not in "fiu":
            raise FieldError(f"field {name} is not one number per point")
        with np.errstate(over="ignore"):
            points[..., axis] = column
    return points, _colors(records, names)


def _colors(records: np.ndarray, names: tuple[str, ...]) -> np.ndarray | None:
    for name in ("rgb", "rgba"):
        if name in names and records[name].shape == records.shape and records.dtype[name].itemsize == 4:
            column = np.ascontiguousarray(records[name])
            packed = column.astype(column.dtype.newbyteorder("=")).view(np.uint32)
            return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
    for triple in (("r", "g", "b"), ("red", "green", "blue")):
        if all(name in names and records[name].shape == records.shape for name in triple):
            return np.stack([_to_byte(records[name]) for name in triple], axis=-1)
    return None


def _to_byte(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        return (np.nan_to_num(np.clip(column, 0.0, 1.0)) * 255.0 + 0.5).astype(np.uint8)
    return np.clip(column, 0, 255).astype(np.uint8)
