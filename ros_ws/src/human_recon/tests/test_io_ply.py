"""PLY files: ascii and both byte orders, from our own hands and from plyfile-like layouts, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io import InputError, read_frames
from human_recon.io.ply import read_ply

HEADER = """ply
format {format} 1.0
comment made by hand
element vertex {count}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
"""
POINTS = np.array([[0.0, 0.5, 2.0], [1.0, -1.0, 4.0], [0.25, 0.0, 1.0]])
COLORS = [[255, 0, 1], [2, 3, 4], [5, 6, 7]]


def content(kind: str, count: int = 3) -> bytes:
    head = HEADER.format(format=kind, count=count).encode()
    if kind == "ascii":
        rows = [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(POINTS, COLORS)]
        return head + "\n".join([*rows, "3 0 1 2", ""]).encode()
    order = "<" if "little" in kind else ">"
    records = np.zeros(3, [("p", order + "f4", 3), ("c", "u1", 3)])
    records["p"], records["c"] = POINTS, COLORS
    return head + records.tobytes() + b"\x03" + np.array([0, 1, 2], order + "i4").tobytes()


KINDS = ("ascii", "binary_little_endian", "binary_big_endian")


@pytest.mark.parametrize("kind", KINDS)
def test_points_and_colours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(content(kind))
    cloud = read_ply(path)
    np.testing.assert_array_equal(cloud.points, POINTS.astype(np.float32))
    assert cloud.colors is not None and cloud.colors.tolist() == COLORS


def test_trimesh_writes_what_we_read(tmp_path: Path, rng: np.random.Generator) -> None:
    trimesh = pytest.importorskip("trimesh")
    points = rng.normal(size=(50, 3))
    for encoding in ("ascii", "binary"):
        data = trimesh.PointCloud(points).export(file_type="ply", encoding=encoding)
        (tmp_path / "a.ply").write_bytes(data if isinstance(data, bytes) else data.encode())
        np.testing.assert_allclose(read_ply(tmp_path / "a.ply").points, points, atol=1e-5)


def test_as_frame_through_a_given_camera(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(content("ascii"))
    frame = next(read_frames(path, intrinsics=CameraIntrinsics(64, 48, 40, 40, 30, 20)))
    # (0, 0.5, 2) -> (30, 30); (1, -1, 4) -> (40, 10); (0.25, 0, 1) -> (40, 20)
    assert sorted((int(v), int(u), float(frame.depth[v, u])) for v, u in np.argwhere(frame.depth)) == [
        (10, 40, 4.0),
        (20, 40, 1.0),
        (30, 30, 2.0),
    ]
    assert frame.color is not None and frame.color[30, 30].tolist() == [255, 0, 1]
    assert not frame.color[0, 0].any()


def test_as_frame_without_a_camera(tmp_path: Path, rng: np.random.Generator) -> None:
    points = rng.uniform([-0.5, -1, 2], [0.5, 1, 2.2], (4000, 3))
    rows = "\n".join(" ".join(map(str, point)) for point in points)
    (tmp_path / "a.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n"
        f"property double x\nproperty double y\nproperty double z\nend_header\n{rows}\n"
    )
    frame = next(read_frames(tmp_path / "a.ply"))
    seen = frame.depth[frame.depth > 0]
    assert len(seen) > 500 and seen.min() >= 2 and seen.max() <= np.float32(2.2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ply\n", "plx\n", "no PLY header"),
        ("end_header", "", "no PLY header"),
        ("format ascii 1.0", "format morse 1.0", "morse"),
        ("format ascii 1.0\n", "", "not given"),
        ("element vertex 3", "element vertex -3", "number of vertices"),
        ("element vertex 3", "element vertex 1000000000000", "promised"),
        ("element vertex 3", "element edge 3", "before the vertices"),
        ("property float z\n", "property float depth\n", "no field z"),
        ("property float z\n", "property real z\n", "unknown type"),
        ("property float z\n", "property list uchar int z\n", "list"),
        ("property float z\n", "property float x\n", "same name"),
        ("property float z\n", "proprety float z\n", "not understood"),
        ("0.25", "a quarter", "not a number"),
    ],
)
def test_broken_header(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = content("ascii").decode()
    assert old in text
    path = tmp_path / "bad.ply"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        list(read_frames(path))
    assert "bad.ply" in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_and_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    for kind in KINDS:
        data = content(kind)
        body = data.index(b"end_header\n") + 11
        path.write_bytes(data[: body + 20])
        with pytest.raises(InputError, match="promised"):
            read_ply(path)
        path.write_bytes(content(kind, 0))
        with pytest.raises(InputError, match="no points"):
            list(read_frames(path))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
    st.integers(0, 400),
)
def test_random_damage_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, int]], keep: int
) -> None:
    data = bytearray(content(kind))
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.ply"
    path.write_bytes(data[:keep])
    try:
        frames = list(read_frames(path))
    except InputError as error:
        assert "\n" not in str(error) and "fuzz.ply" in str(error)
    else:
        assert all(np.isfinite(frame.depth).all() for frame in frames)
