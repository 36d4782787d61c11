"""Point Cloud Library ``.pcd`` files, versions 0.6 and 0.7: ascii, binary, binary_compressed.

Own reader, because the readers on PyPI trust the header: they allocate what it claims and return short or shifted
data for damaged files. Here everything the header says is checked against the size of the file first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from human_recon.io.cloud import PointCloud
from human_recon.io.errors import file_error
from human_recon.io.fields import points_and_colors
from human_recon.io.lzf import lzf_decompress
from human_recon.io.records import RecordError, ascii_records, binary_records

_KINDS = {"F": {4: "<f4", 8: "<f8"}, "I": {1: "<i1", 2: "<i2", 4: "<i4", 8: "<i8"}}
_KINDS["U"] = {size: code.replace("i", "u") for size, code in _KINDS["I"].items()}
_ENCODINGS = ("ascii", "binary", "binary_compressed")
_MAX_HEADER_BYTES = 65536


class _BadPcd(Exception):
    """What is wrong with the file, without its name."""


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype  # one point; a field with COUNT n > 1 is a sub-array, fields named "_" get unique names
    width: int
    height: int
    encoding: str
    data_offset: int

    @property
    def points(self) -> int:
        return self.width * self.height


def read_pcd(path: str | Path) -> PointCloud:
    """Read a PCD file; organised [H, W, 3] when HEIGHT > 1, else [N, 3].

    The VIEWPOINT is ignored: points are taken as they are, in the camera optical frame. Raises InputError when the file
    is missing, damaged, or has no x, y, z.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from None
    try:
        header = _parse_header(data)
        body = memoryview(data)[header.data_offset :]
        if header.encoding == "ascii":
            records = ascii_records(bytes(body).split(), header.dtype, header.points)
        elif header.encoding == "binary":
            records = binary_records(body, header.dtype, header.points)
        else:
            records = _read_compressed(body, header)
        points, colors = points_and_colors(records)
    except (_BadPcd, RecordError) as error:
        raise file_error(path, f"not a readable PCD file: {error}; export or copy it again") from None
    if header.height > 1:
        points = points.reshape(header.height, header.width, 3)
        colors = None if colors is None else colors.reshape(header.height, header.width, 3)
    return PointCloud(points, colors)


def _parse_header(data: bytes) -> _Header:
    entries: dict[str, list[str]] = {}
    offset = 0
    while "DATA" not in entries:
        end = data.find(b"\n", offset, _MAX_HEADER_BYTES)
        if end < 0:
            raise _BadPcd("the header does not end with a DATA line")
        try:
            words = data[offset:end].decode("ascii").split()
        except UnicodeDecodeError:
            raise _BadPcd("the header is not plain text") from None
        offset = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]

    # Version 0.5 wrote COLUMNS for FIELDS and knew no COUNT, WIDTH or HEIGHT.
    names = entries.get("FIELDS") or entries.get("COLUMNS") or []
    if not names:
        raise _BadPcd("the header names no FIELDS")
    sizes = _integers(entries, "SIZE", len(names))
    counts = _integers(entries, "COUNT", len(names), default=[1] * len(names))
    kinds = entries.get("TYPE", [])
    if len(kinds) != len(names):
        raise _BadPcd(f"{len(names)} FIELDS but {len(kinds)} TYPE entries")
    layout: list[tuple] = []
    for position, (name, size, kind, count) in enumerate(zip(names, sizes, kinds, counts, strict=True)):
        code = _KINDS.get(kind.upper(), {}).get(size)
        if code is None:
            raise _BadPcd(f"field {name!r} has the unknown type {kind}{size}")
        if not 1 <= count <= 1 << 20:
            raise _BadPcd(f"field {name!r} has COUNT {count}")
        # Padding is called "_" and may occur more than once; numpy wants unique names.
        unique = name if name != "_" and name not in names[:position] else f"_{position}"
        layout.append((unique, code) if count == 1 else (unique, code, (count,)))

    points = _integers(entries, "POINTS", 1, default=[-1])[0]
    width = _integers(entries, "WIDTH", 1, default=[points])[0]
    height = _integers(entries, "HEIGHT", 1, default=[1])[0]
    if width < 0 or height < 0:
        raise _BadPcd("the header gives no WIDTH and no POINTS")
    if points >= 0 and points != width * height:
        raise _BadPcd(f"POINTS {points} is not WIDTH x HEIGHT = {width} x {height}")
    if entries["DATA"][:1] == [] or entries["DATA"][0].lower() not in _ENCODINGS:
        raise _BadPcd(f"DATA is {' '.join(entries['DATA']) or 'empty'}, not one of {', '.join(_ENCODINGS)}")
    try:
        dtype = np.dtype(layout)
    except (TypeError, ValueError) as error:
        raise _BadPcd(f"the fields cannot be laid out ({error})") from None
    return _Header(dtype, width, height, entries["DATA"][0].lower(), offset)


def _integers(entries: dict[str, list[str]], key: str, number: int, default: list[int] | None = None) -> list[int]:
    words = entries.get(key)
    if words is None and default is not None:
        return default
    if words is None or len(words) != number:
        raise _BadPcd(f"{key} should have {number} numbers, has {len(words or [])}")
    try:
        values = [int(word) for word in words]
    except ValueError:
        raise _BadPcd(f"{key} {' '.join(words)[:80]} is not made of whole numbers") from None
    if any(not 0 <= value < 1 << 62 for value in values):
        raise _BadPcd(f"{key} {' '.join(words)[:80]} is out of range")
    return values


def _read_compressed(body: memoryview, header: _Header) -> np.ndarray:
    if header.points == 0:
        return np.zeros(0, header.dtype)
    if len(body) < 8:
        raise _BadPcd("the file ends after its header")
    packed_size, size = (int(value) for value in np.frombuffer(body[:8], "<u4"))
    if size != header.points * header.dtype.itemsize:
        raise _BadPcd(f"{size} bytes are compressed, the header promises {header.points * header.dtype.itemsize}")
    if packed_size > len(body) - 8:
        raise _BadPcd(f"{packed_size} compressed bytes are promised, the file holds {len(body) - 8}")
    try:
        unpacked = lzf_decompress(body[8 : 8 + packed_size], size)
    except ValueError as error:
        raise _BadPcd(str(error)) from None
    # Fields lie one after the other ("structure of arrays"), each with all its points.
    records = np.empty(header.points, header.dtype)
    offset = 0
    for name in header.dtype.names or ():
        column = records[name]
        records[name] = np.frombuffer(unpacked, column.dtype, column.size, offset).reshape(column.shape)
        offset += column.nbytes
    return records
