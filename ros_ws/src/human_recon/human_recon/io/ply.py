"""Points of ``.ply`` files: ascii, binary little and big endian.

Only the vertices are read, as an unorganised cloud in the camera optical frame; faces and other elements that follow
them are ignored. Own reader on the same checked records as PCD: plyfile is under the GPL, and trimesh takes a
truncated ascii file for a shorter one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from human_recon.io.cloud import PointCloud
from human_recon.io.errors import file_error
from human_recon.io.fields import points_and_colors
from human_recon.io.records import RecordError, ascii_records, binary_records

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
_TYPES |= {"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
_ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES = 65536


def read_ply(path: str | Path) -> PointCloud:
    """Read the vertices of a PLY file. Raises InputError when it is missing, damaged or has no x, y, z."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    try:
        encoding, count, dtype, offset = _parse_header(data)
        body = memoryview(data)[offset:]
        if encoding == "ascii":
            records = ascii_records(bytes(body).split(), dtype, count)
        else:
            records = binary_records(body, dtype, count)
        points, colors = points_and_colors(records)
    except RecordError as error:
        raise file_error(path, f"not a readable PLY file: {error}; export or copy it again") from None
    return PointCloud(points, colors)


def _parse_header(data: bytes) -> tuple[str, int, np.dtype, int]:
    """Encoding, number of vertices, layout of a vertex and offset of the data."""
    end = data.find(b"end_header", 0, _MAX_HEADER_BYTES)
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise RecordError("it has no PLY header")
    try:
        lines = [line.split() for line in data[:end].decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise RecordError("the header is not plain text") from None

    encoding = ""
    count = -1
    layout: list[tuple[str, str]] = []
    for line in lines:
        match line:
            case ["format", name, *_]:
                encoding = name
            case ["element", "vertex", number] if count < 0:
                if not number.isdecimal() or len(number) > 18:
                    raise RecordError(f"the header tells no usable number of vertices ({number[:30]!r})")
                count = int(number)
            case ["element", name, *_] if count < 0:
                raise RecordError(f"element {name} comes before the vertices, which is not supported")
            case ["element", *_]:
                break
            case ["property", "list", *_]:
                raise RecordError("the vertices have a list property, which is not supported")
            case ["property", kind, name]:
                if kind not in _TYPES:
                    raise RecordError(f"property {name!r} has the unknown type {kind!r}")
                layout.append((name, _TYPES[kind]))
            case ["ply"] | ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise RecordError(f"the header line {' '.join(line)[:60]!r} is not understood")
    if encoding not in _ORDERS:
        raise RecordError(f"the format is {encoding or 'not given'}, not one of {', '.join(_ORDERS)}")
    if count < 0 or not layout:
        raise RecordError("the header does not tell how many vertices there are and what they consist of")
    try:
        dtype = np.dtype([(name, _ORDERS[encoding] + kind) for name, kind in layout])
    except ValueError:
        raise RecordError("two properties have the same name") from None
    return encoding, count, dtype, line_end + 1
