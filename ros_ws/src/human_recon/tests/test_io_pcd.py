"""PCD files: what other programs write, and every way such a file can be broken."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io import InputError, open_frames, read_frames
from human_recon.io.lzf import lzf_decompress
from human_recon.io.pcd import read_pcd

ASCII = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z rgb
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
DATA ascii
0.5 -0.25 2 4.2108e+06
nan nan nan 0
1e1 2 3.5 1.4e-45
"""


def header(encoding: str, width: int, height: int, fields: str = "x y z", types: str = "F F F") -> bytes:
    sizes = " ".join("4" for _ in fields.split())
    counts = " ".join("1" for _ in fields.split())
    return (
        f"VERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\nCOUNT {counts}\nWIDTH {width}\nHEIGHT {height}\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {width * height}\nDATA {encoding}\n"
    ).encode()


def lzf_compress(data: bytes) -> bytes:
    """A plain LZF encoder after the format's description: greedy, so that copies, also overlapping ones, occur."""
    out = bytearray()
    literals = bytearray()
    seen: dict[bytes, int] = {}
    i = 0

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literals.clear()

    while i < len(data):
        key = data[i : i + 3]
        at = seen.get(key)
        seen[key] = i
        if len(key) == 3 and at is not None and i - at <= 8192:
            length = 3
            while length < 264 and i + length < len(data) and data[at + length] == data[i + length]:
                length += 1
            flush()
            distance = i - at - 1
            if length - 2 < 7:
                out.append(((length - 2) << 5) | (distance >> 8))
            else:
                out.extend([(7 << 5) | (distance >> 8), length - 2 - 7])
            out.append(distance & 255)
            i += length
        else:
            literals.append(data[i])
            i += 1
    flush()
    return bytes(out)


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def plane(width: int = 24, height: int = 18) -> np.ndarray:
    """Organised [H, W, 3] float32 cloud of a tilted plane, f = 20, c = (12, 9), with one hole."""
    v, u = np.mgrid[:height, :width].astype(np.float64)
    z = 2 + 0.02 * u
    points = np.stack([(u - 12) / 20 * z, (v - 9) / 20 * z, z], axis=-1).astype("<f4")
    points[3, 4] = np.nan
    return points


def encoded(points: np.ndarray, encoding: str) -> bytes:
    height, width = points.shape[:2]
    head = header(encoding, width, height)
    if encoding == "ascii":
        return head + b"\n".join(b" ".join(b"%r" % float(c) for c in p) for p in points.reshape(-1, 3)) + b"\n"
    if encoding == "binary":
        return head + points.tobytes()
    columns = b"".join(points[..., axis].tobytes() for axis in range(3))
    packed = lzf_compress(columns)
    return head + struct.pack("<II", len(packed), len(columns)) + packed


ENCODINGS = ("ascii", "binary", "binary_compressed")


def test_hand_written_ascii(tmp_path: Path) -> None:
    cloud = read_pcd(write(tmp_path / "a.pcd", ASCII.encode()))
    assert not cloud.organised and cloud.points.dtype == np.float32
    np.testing.assert_array_equal(cloud.points, np.array([[0.5, -0.25, 2], [np.nan] * 3, [10, 2, 3.5]], np.float32))
    # 4.2108e+06 is the float whose bits are 0x4a808050; 1.4e-45 those of 0x00000001: red, green, blue.
    bits = struct.unpack("<I", struct.pack("<f", 4.2108e6))[0]
    assert cloud.colors is not None
    assert cloud.colors.tolist() == [[bits >> 16 & 255, bits >> 8 & 255, bits & 255], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_organised_cloud_in_each_encoding(encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcd", encoded(plane(), encoding))
    np.testing.assert_array_equal(read_pcd(path).points, plane())
    frame = next(read_frames(path))
    assert frame.depth.shape == (18, 24) and frame.depth[3, 4] == 0 and frame.depth[3, 5] == np.float32(2.1)
    camera = frame.intrinsics
    np.testing.assert_allclose([camera.fx, camera.fy, camera.cx, camera.cy], [20, 20, 12, 9], atol=1e-4)


def test_padding_counts_and_colour_as_integer(tmp_path: Path) -> None:
    dtype = np.dtype(
        [("_1", "u1"), ("x", "<f8"), ("n", "<i2", 3), ("y", "<f4"), ("_2", "u1", 5), ("z", "<u2"), ("rgba", "<u4")]
    )
    records = np.zeros(4, dtype)
    records["x"], records["y"], records["z"] = [1, 2, 3, 4], -0.5, 7
    records["rgba"] = 0xFF102030
    head = (
        b"VERSION .7\nFIELDS _ x n y _ z rgba\nSIZE 1 8 2 4 1 2 4\nTYPE U F I F U U U\nCOUNT 1 1 3 1 5 1 1\n"
        b"WIDTH 4\nHEIGHT 1\nPOINTS 4\nDATA "
    )
    columns = b"".join(np.ascontiguousarray(records[name]).tobytes() for name in dtype.names or ())
    packed = lzf_compress(columns)
    for body in (
        b"binary\n" + records.tobytes(),
        b"binary_compressed\n" + struct.pack("<II", len(packed), len(columns)) + packed,
    ):
        cloud = read_pcd(write(tmp_path / "a.pcd", head, body))
        np.testing.assert_array_equal(cloud.points, [[1, -0.5, 7], [2, -0.5, 7], [3, -0.5, 7], [4, -0.5, 7]])
        assert cloud.colors is not None and (cloud.colors == [0x10, 0x20, 0x30]).all()


def test_windows_line_ends_and_version_without_width(tmp_path: Path) -> None:
    text = "FIELDS x y z\r\nSIZE 4 4 4\r\nTYPE F F F\r\nPOINTS 1\r\nDATA ascii\r\n1 2 3\r\n"
    assert read_pcd(write(tmp_path / "a.pcd", text.encode())).points.tolist() == [[1, 2, 3]]


def test_real_recording(data_dir: Path) -> None:
    """Facts of the recording's own description: 640 x 480 Kinect, people at 1.8-2.8 m, missing depth is NaN."""
    cloud = read_pcd(data_dir / "real" / "five_people.pcd")
    assert cloud.points.shape == (480, 640, 3) and cloud.colors is not None and cloud.colors.shape == (480, 640, 3)
    z = cloud.points[..., 2]
    valid = np.isfinite(z)
    assert 0.7 < valid.mean() < 0.85 and z[valid].min() > 0.5 and z[valid].max() < 10
    v, u = np.nonzero(valid)
    # Every point lies on the ray of its own pixel.
    assert np.abs(525 * cloud.points[v, u, 0] / z[v, u] + 319.5 - u).max() < 0.01
    assert np.abs(525 * cloud.points[v, u, 1] / z[v, u] + 239.5 - v).max() < 0.01
    assert 40 < cloud.colors.mean() < 200 and cloud.colors.std() > 20


class TestBroken:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
    def test_truncated(self, encoding: str, share: float, tmp_path: Path) -> None:
        data = encoded(plane(), encoding)
        start = data.index(b"DATA")
        for cut in (int(start + share * (len(data) - start)), int(share * start)):
            path = write(tmp_path / "cut.pcd", data[:cut])
            with pytest.raises(InputError, match=r"cut\.pcd: .*copy it again"):
                list(read_frames(path))

    def test_one_byte_short(self, tmp_path: Path) -> None:
        for encoding in ("binary", "binary_compressed"):
            with pytest.raises(InputError):
                read_pcd(write(tmp_path / "a.pcd", encoded(plane(), encoding)[:-1]))

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_absurd_size_takes_no_memory(self, encoding: str, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcd", header(encoding, 10**6, 10**6), struct.pack("<II", 100, 2**32 - 1), b"1 2 3")
        tracemalloc.start()
        with pytest.raises(InputError):
            read_pcd(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("POINTS 3", "POINTS 4", "WIDTH x HEIGHT"),
            ("WIDTH 3", "WIDTH -3", "out of range"),
            ("WIDTH 3", "WIDTH three", "whole numbers"),
            ("SIZE 4 4 4 4", "SIZE 4 4 4", "SIZE"),
            ("SIZE 4 4 4 4", "SIZE 4 4 4 3", "unknown type"),
            ("TYPE F F F F", "TYPE F F F", "TYPE"),
            ("COUNT 1 1 1 1", "COUNT 1 1 1 0", "COUNT"),
            ("COUNT 1 1 1 1", "COUNT 1 1 1 99999999", "COUNT"),
            ("FIELDS x y z rgb", "FIELDS x y intensity rgb", "no field z"),
            ("FIELDS x y z rgb", "FIELDS", "FIELDS"),
            ("DATA ascii", "DATA zip", "zip"),
            ("DATA ascii", "DATA", "DATA"),
            ("VERSION 0.7", "VERSION 0.7 \u00e9", "plain text"),
            ("1e1 2 3.5", "1e1 two 3.5", "not a number"),
            ("1e1 2 3.5 1.4e-45", "1e1 2 3.5", "promised"),
        ],
    )
    def test_header_and_text(self, old: str, new: str, message: str, tmp_path: Path) -> None:
        assert old in ASCII
        path = write(tmp_path / "bad.pcd", ASCII.replace(old, new).encode())
        with pytest.raises(InputError, match=message) as caught:
            read_pcd(path)
        assert "bad.pcd" in str(caught.value) and "\n" not in str(caught.value)

    def test_empty_cloud(self, tmp_path: Path) -> None:
        for encoding in ENCODINGS:
            with pytest.raises(InputError, match="no points"):
                list(read_frames(write(tmp_path / "empty.pcd", header(encoding, 0, 1))))

    def test_no_finite_point(self, tmp_path: Path) -> None:
        path = write(tmp_path / "nan.pcd", encoded(np.full((4, 5, 3), np.nan, "<f4"), "binary"))
        with pytest.raises(InputError, match=r"nan\.pcd: 0 points.*intrinsics"):
            list(read_frames(path))
        frame = next(read_frames(path, intrinsics=CameraIntrinsics(5, 4, 5, 5, 2, 2)))
        assert frame.depth.shape == (4, 5) and not frame.depth.any()

    def test_missing_unknown_and_directory(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            open_frames(tmp_path / "nothing.pcd")
        with pytest.raises(InputError, match=r"\.xyz"):
            open_frames(write(tmp_path / "a.xyz", b"1 2 3"))
        with pytest.raises(InputError, match="no rosbag2"):
            open_frames(tmp_path)
        with pytest.raises(InputError, match="not a rosbag2"):
            open_frames(write(tmp_path / "a.pcd", ASCII.encode()), depth_topic="/depth")

    def test_corrupt_lzf(self) -> None:
        """A copy that starts before the data, a literal run past the end, output longer than promised."""
        for stream in (b"\x20\x05", b"\x05ab", b"\x01ab\xe0\xff\x01", b"\x01abc", b"\xe0"):
            with pytest.raises(ValueError):
                lzf_decompress(stream, 4)

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(ENCODINGS),
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
        st.floats(0, 1),
        st.booleans(),
    )
    def test_random_damage_is_read_or_refused(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        encoding: str,
        changes: list[tuple[int, int]],
        keep: float,
        cut: bool,
    ) -> None:
        data = bytearray(encoded(plane(12, 9), encoding))
        for position, value in changes:
            data[position % len(data)] = value
        path = tmp_path_factory.getbasetemp() / "fuzz.pcd"
        path.write_bytes(data[: int(keep * len(data))] if cut else data)
        try:
            frames = list(read_frames(path))
        except InputError as error:
            assert "\n" not in str(error) and "fuzz.pcd" in str(error)
        else:
            assert all(np.isfinite(frame.depth).all() for frame in frames)


class TestLzf:
    @pytest.mark.parametrize(
        ("stream", "plain"),
        [
            (b"\x02abc", b"abc"),
            (b"\x00a\x20\x00", b"aaaa"),  # copy of 3 from distance 1: overlapping
            (b"\x02abc\xe0\x00\x02", b"abc" + b"abcabcabc"),  # long form: 7 + 0 + 2 = 9 bytes from distance 3
        ],
    )
    def test_known_streams(self, stream: bytes, plain: bytes) -> None:
        assert lzf_decompress(stream, len(plain)) == plain

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from([b"abc", b"\x00" * 40, b"x", b"hello hello", b"\xff\xfe"]), max_size=200))
    def test_inverts_the_encoder(self, pieces: list[bytes]) -> None:
        plain = b"".join(pieces)
        assert lzf_decompress(lzf_compress(plain), len(plain)) == plain
