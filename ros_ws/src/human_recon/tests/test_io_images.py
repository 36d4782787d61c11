"""Depth as PNG + YAML and as npz: round trips, files of other programs, damaged files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io import InputError, read_depth_png, read_frames, read_npz, write_depth_png, write_npz

CAMERA = CameraIntrinsics(24, 16, 20.0, 21.0, 11.5, 7.5, "plumb_bob", np.array([0.1, -0.05, 0.001, 0.0, 0.0]))
YAML = """
image_width: 24
image_height: 16
camera_name: depth
camera_matrix: {rows: 3, cols: 3, data: [20, 0, 11.5, 0, 21, 7.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.05, 0.001, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""


def frame(rng: np.random.Generator, color: bool = True) -> Frame:
    millimetres = rng.integers(0, 6000, (16, 24))
    millimetres[:2] = 0
    picture = rng.integers(0, 255, (16, 24, 3)).astype(np.uint8) if color else None
    return Frame(1_700_000_000_123_456_789, "depth_frame", (millimetres / 1000).astype(np.float32), CAMERA, picture)


def same(one: Frame, other: Frame, tolerance: float) -> None:
    np.testing.assert_allclose(one.depth, other.depth, atol=tolerance)
    assert (one.stamp_ns, one.frame_id, one.intrinsics) == (other.stamp_ns, other.frame_id, other.intrinsics)
    assert (one.color is None) == (other.color is None)
    if one.color is not None and other.color is not None:
        np.testing.assert_array_equal(one.color, other.color)


class TestPng:
    def test_files_of_other_programs(self, tmp_path: Path) -> None:
        image = np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 10
        cv2.imwrite(str(tmp_path / "f.png"), image)
        (tmp_path / "f.yaml").write_text(YAML)
        result = next(read_frames(tmp_path / "f.png"))
        assert result.intrinsics == CAMERA and result.stamp_ns == 0 and result.color is None
        np.testing.assert_allclose(result.depth, image / 1000, rtol=1e-6)

    def test_scale_and_shared_camera_and_camera_info_names(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "f.png"), np.full((16, 24), 5000, np.uint16))
        (tmp_path / "camera.yaml").write_text(
            "{width: 24, height: 16, k: [20, 0, 11.5, 0, 21, 7.5, 0, 0, 1], d: [], depth_scale: 0.0002}"
        )
        result = read_depth_png(tmp_path / "f.png")
        assert result.depth[0, 0] == pytest.approx(1.0) and not result.intrinsics.distorted

    @pytest.mark.parametrize("color", [True, False])
    def test_round_trip(self, color: bool, tmp_path: Path, rng: np.random.Generator) -> None:
        original = frame(rng, color)
        write_depth_png(tmp_path / "new" / "f.png", original)
        same(read_depth_png(tmp_path / "new" / "f.png"), original, 1e-6)
        stored = cv2.imread(str(tmp_path / "new" / "f.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, np.rint(original.depth * 1000))
        names = {"f.png", "f.yaml"} | ({"f_color.png"} if color else set())
        assert {path.name for path in (tmp_path / "new").iterdir()} == names

    def test_given_intrinsics_need_no_yaml(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "f.png"), np.zeros((16, 24), np.uint16))
        result = next(read_frames(tmp_path / "f.png", intrinsics=CAMERA))
        assert result.intrinsics == CAMERA and not result.depth.any()

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
    def test_truncated(self, share: float, tmp_path: Path, rng: np.random.Generator) -> None:
        write_depth_png(tmp_path / "f.png", frame(rng))
        data = (tmp_path / "f.png").read_bytes()
        (tmp_path / "f.png").write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=r"f\.png.*(cut off|not a PNG)"):
            read_frames(tmp_path / "f.png")

    def test_flipped_bit(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_depth_png(tmp_path / "f.png", frame(rng))
        data = bytearray((tmp_path / "f.png").read_bytes())
        data[len(data) // 2] ^= 4
        (tmp_path / "f.png").write_bytes(data)
        with pytest.raises(InputError, match="checksum"):
            read_depth_png(tmp_path / "f.png")

    def test_not_a_depth_image(self, tmp_path: Path) -> None:
        (tmp_path / "f.yaml").write_text(YAML)
        for image in (np.zeros((16, 24), np.uint8), np.zeros((16, 24, 3), np.uint16)):
            cv2.imwrite(str(tmp_path / "f.png"), image)
            with pytest.raises(InputError, match="one 16-bit channel"):
                read_depth_png(tmp_path / "f.png")
        (tmp_path / "f.png").write_bytes(b"GIF89a")
        with pytest.raises(InputError, match="not a PNG"):
            read_depth_png(tmp_path / "f.png")

    def test_camera_missing_or_of_another_image(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "f.png"), np.zeros((16, 25), np.uint16))
        with pytest.raises(InputError, match=r"put f\.yaml"):
            read_depth_png(tmp_path / "f.png")
        (tmp_path / "f.yaml").write_text(YAML)
        with pytest.raises(InputError, match="25 x 16 pixels, its camera 24 x 16"):
            read_depth_png(tmp_path / "f.png")
        with pytest.raises(InputError, match=r"other\.yaml"):
            read_depth_png(tmp_path / "f.png", camera=tmp_path / "other.yaml")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("data: [20,", "data: [0,", "not calibrated"),
            ("data: [20,", "data: [.nan,", "finite|skew"),
            ("data: [20,", "data: [twenty,", "not a usable camera"),
            ("image_width: 24", "image_width: 24.5", "whole numbers"),
            ("image_width: 24", "", "no image_width"),
            ("plumb_bob", "fish_bowl", "fish_bowl"),
            ("camera_name: depth", "depth_scale: -1", "depth_scale"),
            ("camera_name: depth", "stamp_ns: now", "stamp_ns"),
            ("camera_name: depth", "color: missing.png", r"missing\.png"),
            ("camera_name: depth", "a: [", "not a YAML"),
            ("camera_name: depth", "a: !!python/object/apply:os.system ['echo pwned']", "not a YAML"),
        ],
    )
    def test_bad_yaml(self, old: str, new: str, message: str, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "f.png"), np.zeros((16, 24), np.uint16))
        assert old in YAML
        (tmp_path / "f.yaml").write_text(YAML.replace(old, new, 1))
        with pytest.raises(InputError, match=message) as caught:
            read_depth_png(tmp_path / "f.png")
        assert "\n" not in str(caught.value)

    def test_yaml_that_is_no_mapping(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "f.png"), np.zeros((16, 24), np.uint16))
        (tmp_path / "f.yaml").write_text("- 1\n- 2\n")
        with pytest.raises(InputError, match="does not hold a camera"):
            read_depth_png(tmp_path / "f.png")


class TestNpz:
    def test_round_trip(self, tmp_path: Path, rng: np.random.Generator) -> None:
        originals = [frame(rng), frame(rng)]
        write_npz(tmp_path / "f.npz", originals)
        results = list(read_frames(tmp_path / "f.npz"))
        assert len(results) == 2
        for result, original in zip(results, originals):
            same(result, original, 0)

    def test_plain_arrays_of_other_programs(self, tmp_path: Path) -> None:
        depth = np.array([[np.nan, np.inf, -1.0], [0.0, 2.5, 1e-3]])
        np.savez(tmp_path / "f.npz", depth=depth, intrinsics=[4.0, 5.0, 1.0, 0.5], stamp=12.5)
        result = read_npz(tmp_path / "f.npz")[0]
        np.testing.assert_array_equal(result.depth, np.array([[0, 0, 0], [0, 2.5, 1e-3]], np.float32))
        assert (result.intrinsics.fy, result.stamp_ns) == (5.0, 12_500_000_000)
        np.savez_compressed(tmp_path / "mm.npz", depth=np.full((2, 3), 1500, np.uint16), K=np.diag([4.0, 5.0, 1.0]))
        assert read_npz(tmp_path / "mm.npz")[0].depth[0, 0] == pytest.approx(1.5)

    def test_all_nan_is_a_frame_without_readings(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "f.npz", depth=np.full((2, 3), np.nan), K=np.diag([4.0, 5.0, 1.0]))
        assert not read_npz(tmp_path / "f.npz")[0].depth.any()

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"depth": None}, "no array depth"),
            ({"K": None}, "no camera"),
            ({"K": np.zeros((3, 3))}, "not calibrated"),
            ({"depth": np.zeros((0, 3))}, "shape"),
            ({"depth": np.zeros(3)}, "shape"),
            ({"depth": np.zeros((2, 3), np.int64)}, "int64"),
            ({"depth": np.array([[{}]], dtype=object)}, "allow_pickle|pickle|Object"),
            ({"color": np.zeros((3, 2, 3), np.uint8)}, "color"),
            ({"stamp_ns": np.zeros(4, np.int64)}, "4 stamps"),
            ({"stamp": np.nan}, "seconds"),
            ({"distortion_model": "plumb_bob", "distortion": np.ones(3)}, "coefficients"),
        ],
    )
    def test_arrays_that_do_not_fit(self, arrays: dict, message: str, tmp_path: Path) -> None:
        good = {"depth": np.ones((2, 3)), "K": np.diag([4.0, 5.0, 1.0])}
        content = {key: value for key, value in (good | arrays).items() if value is not None}
        np.savez(tmp_path / "f.npz", **content)
        with pytest.raises(InputError, match=message) as caught:
            read_npz(tmp_path / "f.npz")
        assert "f.npz" in str(caught.value) and "\n" not in str(caught.value)

    def test_camera_of_another_size(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "f.npz", depth=np.ones((2, 3)))
        with pytest.raises(InputError, match="3 x 2 pixels, the camera 24 x 16"):
            read_npz(tmp_path / "f.npz", intrinsics=CAMERA)

    def test_header_promising_a_terabyte(self, tmp_path: Path) -> None:
        member = io.BytesIO()
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
        with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
            archive.writestr("depth.npy", member.getvalue() + b"\0" * 64)
        with pytest.raises(InputError, match="promises 4000000000000 bytes"):
            read_npz(tmp_path / "f.npz")

    def test_writing_frames_of_two_cameras_is_refused(self, tmp_path: Path, rng: np.random.Generator) -> None:
        other = Frame(0, "c", np.ones((16, 24), np.float32), CAMERA.pinhole)
        with pytest.raises(ValueError, match="one camera"):
            write_npz(tmp_path / "f.npz", [frame(rng), other])
        assert list(tmp_path.iterdir()) == []

    @settings(max_examples=200, deadline=None)
    @given(
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
        st.floats(0.2, 1.3),
    )
    def test_random_damage_is_read_or_refused(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        compressed: bool,
        changes: list[tuple[int, int]],
        keep: float,
    ) -> None:
        buffer = io.BytesIO()
        save = np.savez_compressed if compressed else np.savez
        save(buffer, depth=np.ones((4, 5), np.float32), K=np.diag([4.0, 5.0, 1.0]), stamp_ns=5, frame_id="c")
        data = bytearray(buffer.getvalue())
        for position, value in changes:
            data[position % len(data)] = value
        path = tmp_path_factory.getbasetemp() / "fuzz.npz"
        path.write_bytes(data[: int(keep * len(data))])
        try:
            frames = list(read_frames(path))
        except InputError as error:
            assert "\n" not in str(error) and "fuzz.npz" in str(error)
        else:
            assert all(np.isfinite(entry.depth).all() for entry in frames)
