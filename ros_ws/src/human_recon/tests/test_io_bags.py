"""rosbag2: what we write, what others record (by hand through rosbags), damaged bags."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io import InputError, open_frames, read_frames
from human_recon.io.bag_writer import BagWriter, write_bag

STORE = get_typestore(Stores.ROS2_KILTED)
CAMERA = CameraIntrinsics(24, 16, 20.0, 21.0, 11.5, 7.5, "plumb_bob", np.array([0.1, -0.05, 0.001, 0.0, 0.0]))
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def frames(rng: np.random.Generator, count: int = 4, color: bool = True) -> list[Frame]:
    result = []
    for i in range(count):
        depth = (rng.integers(0, 6000, (16, 24)) / 1000).astype(np.float32)
        picture = rng.integers(0, 255, (16, 24, 3)).astype(np.uint8) if color else None
        result.append(Frame(1_700_000_000_000_000_000 + i * 33_333_333, "depth_frame", depth, CAMERA, picture))
    return result


def header(stamp_ns: int, frame_id: str = "depth_frame") -> Any:
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image(stamp_ns: int, encoding: str, pixels: np.ndarray, frame_id: str = "depth_frame") -> Any:
    data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
    return STORE.types["sensor_msgs/msg/Image"](
        header=header(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=data.size // pixels.shape[0],
        data=data,
    )


def info(stamp_ns: int, width: int = 24, height: int = 16, focal: float = 20.0) -> Any:
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([focal, 0, 11.5, 0, focal, 7.5, 0, 0, 1.0]),
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=STORE.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def cloud(stamp_ns: int, points: np.ndarray) -> Any:
    field = STORE.types["sensor_msgs/msg/PointField"]
    height, width = points.shape[:2] if points.ndim == 3 else (1, len(points))
    return STORE.types["sensor_msgs/msg/PointCloud2"](
        header=header(stamp_ns),
        height=height,
        width=width,
        fields=[field(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")],
        is_bigendian=False,
        point_step=12,
        row_step=12 * width,
        data=np.frombuffer(points.astype("<f4").tobytes(), np.uint8),
        is_dense=False,
    )


def record(path: Path, messages: list[tuple[str, int, Any]], prepare: Callable[[Writer], None] | None = None) -> Path:
    """A bag with (topic, log time, message) in this order."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    if prepare:
        prepare(writer)
    with writer:
        connections: dict[str, Any] = {}
        for topic, time, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time, STORE.serialize_cdr(message, kind))
    return path


def depth_image(value: int) -> np.ndarray:
    return np.full((16, 24), value, np.uint16)


SECOND = 10**9


class TestOwnBags:
    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
    @pytest.mark.parametrize("color", [True, False])
    def test_round_trip(
        self, storage: str, encoding: str, color: bool, tmp_path: Path, rng: np.random.Generator
    ) -> None:
        originals = frames(rng, color=color)
        write_bag(tmp_path / "bag", originals, storage=storage, encoding=encoding)
        source = open_frames(tmp_path / "bag")
        assert source.count == 4
        for _ in range(2):  # iterating again reads again
            results = list(source)
            assert len(results) == 4
            for result, original in zip(results, originals):
                np.testing.assert_allclose(result.depth, original.depth, atol=0 if encoding == "32FC1" else 1e-6)
                assert (result.stamp_ns, result.frame_id) == (original.stamp_ns, "depth_frame")
                assert result.intrinsics == CAMERA
                assert (result.color is None) == (not color)
                if color:
                    np.testing.assert_array_equal(result.color, original.color)
        assert all(result.intrinsics is results[0].intrinsics for result in results)  # rays are cached in it

    @pytest.mark.parametrize("storage", STORAGES)
    def test_single_storage_file(self, storage: str, tmp_path: Path, rng: np.random.Generator) -> None:
        write_bag(tmp_path / "bag", frames(rng), storage=storage)
        (file,) = [path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml"]
        assert file.name == "bag" + (".mcap" if storage == "mcap" else ".db3")
        assert len(list(read_frames(file))) == 4

    def test_content_is_what_rosbags_decodes(self, tmp_path: Path, rng: np.random.Generator) -> None:
        original = frames(rng, 1)[0]
        write_bag(tmp_path / "bag", [original])
        with AnyReader([tmp_path / "bag"]) as reader:
            found: dict[str, Any] = {c.topic: reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()}
        depth = found["/camera/depth/image_raw"]
        assert (depth.encoding, depth.step, depth.header.stamp.sec) == ("16UC1", 48, 1_700_000_000)
        np.testing.assert_array_equal(
            np.frombuffer(depth.data, "<u2").reshape(16, 24), np.rint(original.depth * 1000).astype(int)
        )
        np.testing.assert_array_equal(found["/camera/depth/camera_info"].k.reshape(3, 3), CAMERA.matrix)
        np.testing.assert_array_equal(found["/camera/color/image_raw"].data.reshape(16, 24, 3), original.color)

    def test_nothing_is_left_after_an_error(self, tmp_path: Path, rng: np.random.Generator) -> None:
        for storage in STORAGES:
            with (
                pytest.raises(RuntimeError, match="in mid-bag"),
                BagWriter(tmp_path / "bag", storage=storage) as writer,
            ):
                writer.write(frames(rng, 1)[0])
                raise RuntimeError("in mid-bag")
            assert list(tmp_path.iterdir()) == []

    def test_an_existing_bag_is_not_touched(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_bag(tmp_path / "bag", frames(rng, 2))
        with pytest.raises(FileExistsError, match="exists already"):
            write_bag(tmp_path / "bag", frames(rng, 1))
        assert open_frames(tmp_path / "bag").count == 2
        assert [path.name for path in tmp_path.iterdir()] == ["bag"]

    def test_unknown_storage_and_encoding(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="tape"):
            BagWriter(tmp_path / "bag", storage="tape")
        with pytest.raises(ValueError, match="rgb8"):
            BagWriter(tmp_path / "bag", encoding="rgb8")


class TestOthersBags:
    @pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
    def test_zstd(self, mode: CompressionMode, tmp_path: Path) -> None:
        messages = [("/d/camera_info", 1, info(1)), ("/d/image", 2, image(2, "16UC1", depth_image(1500)))]
        record(tmp_path / "bag", messages, lambda writer: writer.set_compression(mode, CompressionFormat.ZSTD))
        (frame,) = read_frames(tmp_path / "bag")
        assert (np.abs(frame.depth - 1.5) < 1e-6).all()

    def test_camera_info_is_the_latest_and_of_the_same_namespace(self, tmp_path: Path) -> None:
        record(
            tmp_path / "bag",
            [
                ("/cam/depth/image_raw", 1, image(1, "16UC1", depth_image(1000))),
                ("/cam/depth/camera_info", 2, info(2, focal=20)),
                ("/cam/color/camera_info", 2, info(2, focal=99)),
                ("/cam/depth/image_raw", 3, image(3, "16UC1", depth_image(2000))),
                ("/cam/depth/camera_info", 4, info(4, focal=30)),
                ("/cam/depth/image_raw", 5, image(5, "16UC1", depth_image(3000))),
            ],
        )
        assert [frame.intrinsics.fx for frame in read_frames(tmp_path / "bag")] == [20, 20, 30]
        chosen = read_frames(tmp_path / "bag", info_topic="/cam/color/camera_info")
        assert [frame.intrinsics.fx for frame in chosen] == [99, 99, 99]
        given = read_frames(tmp_path / "bag", intrinsics=CAMERA)
        assert [frame.intrinsics for frame in given] == [CAMERA] * 3

    def test_nearest_colour_within_50_ms(self, tmp_path: Path) -> None:
        def color(value: int) -> np.ndarray:
            return np.full((16, 24, 3), value, np.uint8)

        ms = 10**6
        record(
            tmp_path / "bag",
            [
                ("/d/camera_info", 0, info(0)),
                ("/c/image", 90 * ms, image(90 * ms, "bgr8", color(1))),
                ("/d/image", 101 * ms, image(100 * ms, "16UC1", depth_image(1000))),
                ("/c/image", 102 * ms, image(102 * ms, "bgr8", color(2))),
                ("/d/image", 200 * ms, image(200 * ms, "16UC1", depth_image(2000))),
                ("/c/image", 260 * ms, image(260 * ms, "bgr8", color(3))),
                ("/d/image", 300 * ms, image(300 * ms, "16UC1", depth_image(3000))),
            ],
        )
        results = list(read_frames(tmp_path / "bag"))
        assert [None if f.color is None else int(f.color[0, 0, 0]) for f in results] == [2, None, 3]
        assert [round(float(f.depth[0, 0])) for f in results] == [1, 2, 3]

    def test_colour_of_another_camera_is_left_out(self, tmp_path: Path) -> None:
        messages = [
            ("/d/camera_info", 1, info(1)),
            ("/c/image", 1, image(1, "rgb8", np.zeros((16, 24, 3), np.uint8), frame_id="color_frame")),
            ("/wide/image", 1, image(1, "rgb8", np.zeros((20, 30, 3), np.uint8))),
            ("/d/image", 2, image(2, "16UC1", depth_image(1500))),
        ]
        record(tmp_path / "bag", messages)
        assert next(read_frames(tmp_path / "bag")).color is None
        assert next(read_frames(tmp_path / "bag", color_topic="/c/image")).color is not None
        with pytest.raises(InputError, match=r"/wide/image at 0\.000 s: .*30 x 20 pixels, the depth image 24 x 16"):
            list(read_frames(tmp_path / "bag", color_topic="/wide/image"))

    def test_many_depth_images_before_any_colour(self, tmp_path: Path) -> None:
        """No frame is lost or reordered when colour stops for a while."""
        messages: list[tuple[str, int, Any]] = [("/d/camera_info", 0, info(0))]
        messages += [("/d/image", i, image(i * SECOND, "16UC1", depth_image(i + 1))) for i in range(1, 30)]
        messages += [("/c/image", 40, image(29 * SECOND, "rgb8", np.ones((16, 24, 3), np.uint8)))]
        results = list(read_frames(record(tmp_path / "bag", messages)))
        assert [frame.stamp_ns // SECOND for frame in results] == list(range(1, 30))
        assert results[-1].color is not None and results[-2].color is None

    def test_compressed_depth_and_colour(self, tmp_path: Path) -> None:
        compressed = STORE.types["sensor_msgs/msg/CompressedImage"]
        png = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", depth_image(1234))[1].tobytes()
        jpeg = cv2.imencode(".png", np.full((16, 24, 3), 9, np.uint8))[1].tobytes()
        record(
            tmp_path / "bag",
            [
                ("/d/camera_info", 1, info(1)),
                (
                    "/d/image_raw/compressedDepth",
                    2,
                    compressed(
                        header=header(2), format="16UC1; compressedDepth png", data=np.frombuffer(png, np.uint8)
                    ),
                ),
                (
                    "/c/compressed",
                    2,
                    compressed(
                        header=header(2), format="rgb8; png compressed bgr8", data=np.frombuffer(jpeg, np.uint8)
                    ),
                ),
            ],
        )
        (frame,) = read_frames(tmp_path / "bag", color_topic="/c/compressed")
        np.testing.assert_allclose(frame.depth, 1.234, rtol=1e-6)
        assert frame.color is not None and (frame.color == 9).all()

    def test_organised_clouds(self, tmp_path: Path) -> None:
        v, u = np.mgrid[:16, :24]
        z = 2 + 0.05 * u
        points = np.stack([(u - 11.5) / 20 * z, (v - 7.5) / 20 * z, z], axis=-1)
        hole = points.copy()
        hole[:, :20] = np.nan
        record(tmp_path / "bag", [("/points", 1, cloud(1, points)), ("/points", 2, cloud(2, hole))])
        first, second = read_frames(tmp_path / "bag")
        np.testing.assert_allclose(first.depth, z, rtol=1e-6)
        assert first.intrinsics.fx == pytest.approx(20, abs=1e-3) and second.intrinsics == first.intrinsics
        assert (second.depth > 0).sum() == 16 * 4

    def test_unorganised_clouds_share_the_virtual_camera(self, tmp_path: Path, rng: np.random.Generator) -> None:
        points = rng.uniform([-1, -1, 2], [1, 1, 3], (3000, 3))
        record(tmp_path / "bag", [("/p", i, cloud(i, points if i < 3 else points[:0])) for i in range(1, 4)])
        results = list(read_frames(tmp_path / "bag"))
        assert len({frame.intrinsics for frame in results}) == 1
        assert results[1].depth.any() and not results[2].depth.any()  # the empty cloud is a frame without readings

    def test_other_topics_do_not_disturb(self, tmp_path: Path) -> None:
        text = STORE.types["std_msgs/msg/String"](data="hello")
        messages = [
            ("/chatter", 1, text),
            ("/d/camera_info", 1, info(1)),
            ("/d/image", 2, image(2, "32FC1", np.full((16, 24), np.nan, np.float32))),
        ]
        (frame,) = read_frames(record(tmp_path / "bag", messages))
        assert not frame.depth.any()  # all NaN is a frame without readings


class TestRefusals:
    def bag(self, tmp_path: Path, *messages: tuple[str, int, Any]) -> Path:
        return record(tmp_path / "bag", list(messages))

    def test_ambiguous_depth(self, tmp_path: Path) -> None:
        bag = self.bag(
            tmp_path,
            ("/a/image", 1, image(1, "16UC1", depth_image(1000))),
            ("/b/image", 1, image(1, "32FC1", np.ones((16, 24), np.float32))),
            ("/a/camera_info", 1, info(1)),
        )
        with pytest.raises(InputError, match=r"several depth images.*/a/image, /b/image"):
            open_frames(bag)
        assert next(read_frames(bag, depth_topic="/b/image")).depth[0, 0] == 1

    def test_no_depth(self, tmp_path: Path) -> None:
        bag = self.bag(tmp_path, ("/c", 1, image(1, "rgb8", np.zeros((16, 24, 3), np.uint8))))
        with pytest.raises(InputError, match=r"no depth image.*/c \(sensor_msgs/msg/Image\)"):
            open_frames(bag)
        with pytest.raises(InputError, match="/c is encoded as 'rgb8'"):
            open_frames(bag, depth_topic="/c")
        with pytest.raises(InputError, match="no messages on /nowhere; topics: /c"):
            open_frames(bag, depth_topic="/nowhere")
        with pytest.raises(InputError, match="/c carries sensor_msgs/msg/Image, not"):
            open_frames(bag, points_topic="/c")

    def test_no_or_several_camera_infos(self, tmp_path: Path) -> None:
        picture = ("/d/image", 1, image(1, "16UC1", depth_image(1000)))
        with pytest.raises(InputError, match="no CameraInfo for /d/image"):
            open_frames(record(tmp_path / "none", [picture]))
        bag = record(tmp_path / "two", [picture, ("/x/camera_info", 1, info(1)), ("/y/camera_info", 1, info(1))])
        with pytest.raises(InputError, match="/x/camera_info, /y/camera_info"):
            open_frames(bag)

    def test_zero_k(self, tmp_path: Path) -> None:
        bag = self.bag(
            tmp_path,
            ("/d/image", 1, image(1, "16UC1", depth_image(1000))),
            ("/d/camera_info", 1, info(1, focal=0)),
        )
        with pytest.raises(InputError, match=r"/d/camera_info at .*not calibrated"):
            open_frames(bag)

    def test_size_mismatch(self, tmp_path: Path) -> None:
        bag = self.bag(
            tmp_path,
            ("/d/image", 2 * SECOND, image(2 * SECOND, "16UC1", depth_image(1000))),
            ("/d/camera_info", 1, info(1, width=48)),
        )
        with pytest.raises(InputError, match=r"/d/image at 2\.000 s: .*24 x 16 pixels, its camera 48 x 16"):
            list(read_frames(bag))

    def test_image_with_too_few_bytes(self, tmp_path: Path) -> None:
        short = replace(image(1, "16UC1", depth_image(1000)), data=np.zeros(100, np.uint8))
        bag = self.bag(tmp_path, ("/d/image", 1, short), ("/d/camera_info", 1, info(1)))
        with pytest.raises(InputError, match="100 bytes"):
            list(read_frames(bag))

    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
    def test_truncated(self, storage: str, share: float, tmp_path: Path, rng: np.random.Generator) -> None:
        write_bag(tmp_path / "bag", frames(rng, 20), storage=storage)
        (file,) = [path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml"]
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        for path in (tmp_path / "bag", file):
            with pytest.raises(InputError, match="damaged or cut off") as caught:
                list(read_frames(path))
            assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    @pytest.mark.parametrize("storage", STORAGES)
    def test_overwritten_in_the_middle(self, storage: str, tmp_path: Path, rng: np.random.Generator) -> None:
        """Damage inside may be in a message of no interest; it must not raise anything else than InputError."""
        write_bag(tmp_path / "bag", frames(rng, 8), storage=storage)
        (file,) = [path for path in (tmp_path / "bag").iterdir() if path.name != "metadata.yaml"]
        data = file.read_bytes()
        refused = 0
        for trial in range(60):
            damaged = bytearray(data)
            start = int(rng.integers(0, len(data) - 64))
            damaged[start : start + 64] = rng.bytes(64)
            file.write_bytes(damaged)
            try:
                list(read_frames(tmp_path / "bag"))
            except InputError as error:
                refused += 1
                assert "\n" not in str(error), trial
        assert refused > 0

    def test_metadata(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_bag(tmp_path / "bag", frames(rng, 1))
        metadata = tmp_path / "bag" / "metadata.yaml"
        text = metadata.read_text()
        for broken in ("", "[", "rosbag2_bagfile_information: 5", text.replace("bag.mcap", "gone.mcap")):
            metadata.write_text(broken)
            with pytest.raises(InputError, match="damaged"):
                open_frames(tmp_path / "bag")
        metadata.unlink()
        with pytest.raises(InputError, match=r"no metadata\.yaml"):
            open_frames(tmp_path / "bag")

    def test_not_a_bag(self, tmp_path: Path) -> None:
        for name in ("a.mcap", "a.db3"):
            (tmp_path / name).write_bytes(b"something else entirely, long enough for a header " * 10)
            with pytest.raises(InputError, match="damaged"):
                open_frames(tmp_path / name)
        shutil.rmtree(tmp_path / "none", ignore_errors=True)
        with pytest.raises(InputError, match="no such file"):
            open_frames(tmp_path / "none")
