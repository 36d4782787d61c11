"""Raw bytes of ROS images and clouds: byte order, padding, every refusal."""

from __future__ import annotations

import struct
from array import array

import cv2
import numpy as np
import pytest

from human_recon.io import InputError
from human_recon.io.encodings import (
    decode_cloud,
    decode_color,
    decode_compressed_color,
    decode_compressed_depth,
    decode_depth,
    encode_depth,
)


class TestDepth:
    def test_millimetres(self) -> None:
        data = struct.pack("<6H", 0, 1, 1500, 65535, 2000, 3)
        np.testing.assert_allclose(
            decode_depth(2, 3, "16UC1", False, 6, data), [[0, 0.001, 1.5], [65.535, 2.0, 0.003]], rtol=1e-6
        )

    def test_metres_and_what_counts_as_no_reading(self) -> None:
        data = struct.pack("<6f", np.nan, np.inf, -np.inf, -2.0, 0.0, 3.25)
        depth = decode_depth(1, 6, "32FC1", False, 24, data)
        assert depth.tolist() == [[0, 0, 0, 0, 0, 3.25]] and depth.dtype == np.float32

    @pytest.mark.parametrize(("encoding", "code", "value"), [("16UC1", "H", 2500), ("32FC1", "f", 2.5)])
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("last_row_padded", [True, False])
    def test_byte_order_and_row_padding(
        self, encoding: str, code: str, value: float, order: str, last_row_padded: bool
    ) -> None:
        row = struct.pack(f"{order}2{code}", value, 0)
        data = row + b"\xaa\xbb\xcc" + row + (b"\xaa\xbb\xcc" if last_row_padded else b"")
        depth = decode_depth(2, 2, encoding, order == ">", len(row) + 3, data)
        np.testing.assert_allclose(depth, [[2.5, 0], [2.5, 0]])

    def test_the_padding_of_the_last_row_may_be_missing_whatever_its_size(self) -> None:
        """Rows of four gigabytes, of which only the first pixels of the only one are there."""
        data = np.array([1000, 2000], "<u2").tobytes()
        assert decode_depth(1, 2, "16UC1", False, 4_000_000_000, data).tolist() == [[1.0, 2.0]]
        padded = data + b"xx" + data
        assert decode_depth(2, 2, "16UC1", False, 6, padded).tolist() == [[1.0, 2.0], [1.0, 2.0]]

    def test_every_kind_of_buffer(self) -> None:
        data = struct.pack("<2H", 1000, 2000)
        for buffer in (data, bytearray(data), memoryview(data), array("B", data), np.frombuffer(data, np.uint8)):
            np.testing.assert_allclose(decode_depth(1, 2, "mono16", False, 4, buffer), [[1, 2]])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((2, 2, "rgb8", False, 6, b"\0" * 12), "rgb8"),
            ((2, 2, "16UC1", False, 3, b"\0" * 8), "rows of 3 bytes"),
            ((2, 2, "16UC1", False, 4, b"\0" * 7), "7 bytes"),
            ((0, 2, "16UC1", False, 4, b""), "2 x 0"),
            ((2, 2, "16UC1", False, 4, b""), "0 bytes"),
            ((10**6, 10**6, "32FC1", False, 4 * 10**6, b""), "1000000 x 1000000"),
        ],
    )
    def test_refusals(self, arguments: tuple, message: str) -> None:
        with pytest.raises(InputError, match=message):
            decode_depth(*arguments)

    @pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
    def test_encode_is_the_inverse(self, encoding: str, rng: np.random.Generator) -> None:
        depth = (rng.integers(0, 9000, (5, 7)) / 1000).astype(np.float32)
        image = encode_depth(depth, encoding)
        decoded = decode_depth(5, 7, encoding, False, image.strides[0], image.tobytes())
        np.testing.assert_allclose(decoded, depth, atol=1e-6)

    def test_encode_does_not_wrap_around(self) -> None:
        assert encode_depth(np.array([[65.535, 65.536, 100.0, np.nan, -1]], np.float32), "16UC1").tolist() == [
            [65535, 0, 0, 0, 0]
        ]


class TestColor:
    @pytest.mark.parametrize(
        ("encoding", "pixel"),
        [("rgb8", [10, 20, 30]), ("bgr8", [30, 20, 10]), ("rgba8", [10, 20, 30, 9]), ("bgra8", [30, 20, 10, 9])],
    )
    def test_channel_orders(self, encoding: str, pixel: list[int]) -> None:
        row = bytes(pixel * 2) + b"\xee"
        color = decode_color(2, 2, encoding, len(row), row * 2)
        assert (color == [10, 20, 30]).all() and color.shape == (2, 2, 3)

    def test_grey(self) -> None:
        assert decode_color(1, 2, "mono8", 2, b"\x05\x06").tolist() == [[[5] * 3, [6] * 3]]

    def test_refusal(self) -> None:
        with pytest.raises(InputError, match="yuv422"):
            decode_color(2, 2, "yuv422", 4, b"\0" * 8)


class TestCompressed:
    def test_millimetres(self, rng: np.random.Generator) -> None:
        image = rng.integers(0, 9000, (12, 16)).astype(np.uint16)
        data = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", image)[1].tobytes()
        np.testing.assert_allclose(decode_compressed_depth("16UC1; compressedDepth png", data), image / 1000, rtol=1e-6)

    def test_inverse_depth(self) -> None:
        """compressed_depth_image_transport: v = A / depth + B."""
        a, b = 1000.0, 0.5
        depth = np.array([[1.0, 2.0, 4.0]])
        image = np.where([[1, 1, 1]], np.rint(a / depth + b), 0).astype(np.uint16)
        image = np.concatenate([image, [[0]]], axis=1).astype(np.uint16)
        data = struct.pack("<iff", 0, a, b) + cv2.imencode(".png", image)[1].tobytes()
        np.testing.assert_allclose(
            decode_compressed_depth("32FC1; compressedDepth", data), [[1.0, 2.0, 4.0, 0.0]], rtol=3e-3
        )

    def test_colour(self) -> None:
        image = np.zeros((8, 8, 3), np.uint8)
        image[..., 2] = 200  # red for OpenCV
        assert (decode_compressed_color(cv2.imencode(".png", image)[1].tobytes()) == [200, 0, 0]).all()

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("jpeg", b"\0" * 40, "jpeg"),
            ("16UC1; compressedDepth rvl", b"\0" * 40, "RVL"),
            ("16UC1; compressedDepth png", b"\0" * 5, "5 bytes"),
            ("16UC1; compressedDepth png", b"\0" * 40, "damaged"),
        ],
    )
    def test_refusals(self, name: str, data: bytes, message: str) -> None:
        with pytest.raises(InputError, match=message):
            decode_compressed_depth(name, data)
        with pytest.raises(InputError, match="damaged"):
            decode_compressed_color(b"")


FLOAT, UINT32, UINT8, DOUBLE = 7, 6, 2, 8
XYZ = [("x", 0, FLOAT, 1), ("y", 4, FLOAT, 1), ("z", 8, FLOAT, 1)]


class TestCloud:
    def test_organised_with_padding_everywhere(self) -> None:
        """32-byte points as PCL sends them: x y z _ rgb, rows padded by 5 bytes."""
        point = struct.pack("<4fI12x", 1.5, -2.0, 3.0, 0.0, 0x00112233)
        nothing = struct.pack("<4fI12x", np.nan, np.nan, np.nan, 0.0, 0)
        row = point + nothing + b"12345"
        fields = [*XYZ, ("rgb", 16, FLOAT, 1)]
        cloud = decode_cloud(2, 2, fields, False, 32, len(row), row * 2)
        assert cloud.organised
        np.testing.assert_array_equal(cloud.points[1], np.array([[1.5, -2, 3], [np.nan] * 3], np.float32))
        assert cloud.colors is not None and cloud.colors[0, 0].tolist() == [0x11, 0x22, 0x33]

    def test_unorganised_big_endian_doubles_and_separate_colours(self) -> None:
        data = struct.pack(">3d3B", 1, 2, 3, 7, 8, 9) * 3
        fields = [("z", 16, DOUBLE, 1), ("x", 0, DOUBLE, 1), ("y", 8, DOUBLE, 0)]
        fields += [("r", 24, UINT8, 1), ("g", 25, UINT8, 1), ("b", 26, UINT8, 1)]
        cloud = decode_cloud(1, 3, fields, True, 27, 0, data)
        assert cloud.points.tolist() == [[1, 2, 3]] * 3
        assert cloud.colors is not None and cloud.colors.tolist() == [[7, 8, 9]] * 3

    def test_big_endian_packed_colour(self) -> None:
        data = struct.pack(">3fI", 1, 2, 3, 0xFF010203)
        cloud = decode_cloud(1, 1, [*XYZ, ("rgba", 12, UINT32, 1)], True, 16, 16, data)
        assert cloud.colors is not None and cloud.colors.tolist() == [[1, 2, 3]]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"width": 0}, "no points"),
            ({"height": 0}, "no points"),
            ({"data": b"\0" * 23}, "23 bytes"),
            ({"data": b""}, "0 bytes"),
            ({"row_step": 12, "height": 2}, "need another number"),
            ({"point_step": 0}, "need another number"),
            ({"point_step": 8, "row_step": 16}, "outside"),
            ({"fields": []}, "no fields"),
            ({"fields": XYZ[:2]}, "no field z"),
            ({"fields": [*XYZ, ("w", 0, 9, 1)]}, "datatype 9"),
            ({"fields": [("x", -4, FLOAT, 1), *XYZ[1:]]}, "outside"),
            ({"fields": [("x", 0, FLOAT, 10**9), *XYZ[1:]]}, "outside"),
            ({"fields": [("x", 0, UINT8, 4), *XYZ[1:]]}, "not one number"),
            ({"width": 2**32 - 1, "height": 2**32 - 1}, "size"),
        ],
    )
    def test_refusals(self, changes: dict, message: str) -> None:
        good = {"height": 1, "width": 2, "fields": XYZ, "is_bigendian": False, "point_step": 12, "row_step": 24}
        good["data"] = b"\0" * 24
        with pytest.raises(InputError, match=message):
            decode_cloud(**(good | changes))
