"""people.json, meshes and atomic writing."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from human_recon.body.skeleton import JOINT_NAMES
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.io import InputError, NamedMesh, read_people_json, write_mesh, write_meshes, write_people_json
from human_recon.io.atomic import atomic_directory, atomic_file
from human_recon.people import People, Person

CAMERA = CameraIntrinsics(24, 16, 20.0, 21.0, 11.5, 7.5, "plumb_bob", np.array([0.1, -0.05, 0.001, 0.0, 0.0]))
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], np.int32)
CORNERS = np.array([[0.0, 0.1, 2.0], [1.0, 0.1, 2.0], [0.0, 1.1, 2.0], [0.0, 0.1, 3.0]], np.float32)


def person(rng: np.random.Generator, number: int) -> Person:
    sigma = rng.uniform(0.01, 0.2, 24).astype(np.float32)
    sigma[7] = np.nan
    return Person(
        id=number,
        confidence=0.875,
        state=BodyState(rng.normal(size=10), rng.normal(size=(24, 3)), rng.normal(size=3)),
        vertices=CORNERS,
        joints=rng.normal(size=(24, 3)).astype(np.float32),
        joint_sigma=sigma,
        joint_visible=np.ones(24, bool),
        height=1.7123456,
        roi=(1, 2, 3, 4),
        residual=float("nan"),
    )


def people(rng: np.random.Generator, stamp_ns: int, camera: CameraIntrinsics, count: int) -> People:
    frame = Frame(stamp_ns, "depth_frame", np.zeros((camera.height, camera.width), np.float32), camera)
    persons = tuple(person(rng, i + 1) for i in range(count))
    return People(frame, persons, np.zeros((camera.height, camera.width), np.uint16))


class TestPeopleJson:
    def test_round_trip(self, tmp_path: Path, rng: np.random.Generator) -> None:
        stamp = 1_700_000_000_123_456_789  # not representable as float seconds
        originals = [people(rng, stamp, CAMERA, 2), people(rng, stamp + 1, CAMERA, 0)]
        write_people_json(tmp_path / "people.json", originals, "open_body_adult")
        content = read_people_json(tmp_path / "people.json")
        assert content.body_model == "open_body_adult"
        assert [frame.stamp_ns for frame in content.frames] == [stamp, stamp + 1]
        assert [len(frame.people) for frame in content.frames] == [2, 0]
        assert content.frames[0].camera == CAMERA and content.frames[0].frame_id == "depth_frame"
        for stored, original in zip(content.frames[0].people, originals[0].people):
            np.testing.assert_array_equal(stored.state.pose, original.state.pose)
            np.testing.assert_array_equal(stored.state.betas, original.state.betas)
            np.testing.assert_array_equal(stored.state.trans, original.state.trans)
            np.testing.assert_allclose(stored.joints, original.joints, atol=1e-6)
            np.testing.assert_allclose(stored.joint_sigma, original.joint_sigma, atol=1e-6)
            assert (stored.id, stored.confidence, stored.roi) == (original.id, 0.875, (1, 2, 3, 4))
            assert stored.height == pytest.approx(1.7123456, abs=1e-6) and np.isnan(stored.residual)

    def test_is_strict_json_in_the_documented_layout(self, tmp_path: Path, rng: np.random.Generator) -> None:
        write_people_json(tmp_path / "people.json", [people(rng, 1_500_000_000, CAMERA, 1)], "b")
        text = (tmp_path / "people.json").read_text()
        assert "NaN" not in text and "Infinity" not in text
        content = json.loads(text)
        frame = content["frames"][0]
        entry = frame["people"][0]
        assert content["body_model"] == "b" and content["camera"]["fx"] == 20.0 and frame["stamp"] == 1.5
        assert len(entry["betas"]) == 10 and len(entry["pose"]) == 72 and len(entry["trans"]) == 3
        assert list(entry["keypoints"]) == list(JOINT_NAMES) and len(entry["keypoints"]["l_knee"]) == 3
        assert entry["keypoint_sigma"]["l_ankle"] is None and entry["residual"] is None

    def test_a_camera_that_changes_is_kept_with_its_frame(self, tmp_path: Path, rng: np.random.Generator) -> None:
        other = CAMERA.scaled(0.5)
        write_people_json(tmp_path / "p.json", [people(rng, 1, CAMERA, 1), people(rng, 2, other, 1)], "b")
        assert [frame.camera for frame in read_people_json(tmp_path / "p.json").frames] == [CAMERA, other]

    def test_no_frames(self, tmp_path: Path) -> None:
        write_people_json(tmp_path / "p.json", [], "b")
        assert read_people_json(tmp_path / "p.json").frames == ()

    def test_a_failure_keeps_the_old_file(self, tmp_path: Path, rng: np.random.Generator) -> None:
        path = tmp_path / "p.json"
        path.write_text("old")

        def interrupted() -> Any:
            yield people(rng, 1, CAMERA, 1)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_people_json(path, interrupted(), "b")
        assert path.read_text() == "old" and [entry.name for entry in tmp_path.iterdir()] == ["p.json"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(format="other"), "format"),
            (lambda c: c.update(version=2), "version 2"),
            (lambda c: c.pop("body_model"), "body_model"),
            (lambda c: c.update(frames={}), "frames"),
            (lambda c: c["camera"].update(fx=0), "not calibrated"),
            (lambda c: c["camera"].pop("width"), "width"),
            (lambda c: c["frames"][0].pop("stamp_ns"), "stamp_ns"),
            (lambda c: c["frames"][0]["people"][0].update(pose=[0.0] * 71), "pose"),
            (lambda c: c["frames"][0]["people"][0]["betas"].__setitem__(0, None), "betas"),
            (lambda c: c["frames"][0]["people"][0]["betas"].__setitem__(0, "1"), "betas"),
            (lambda c: c["frames"][0]["people"][0]["keypoints"].pop("head"), "head"),
            (lambda c: c["frames"][0]["people"][0].update(id=True), "id"),
            (lambda c: c["frames"].append(5), "missing"),
        ],
    )
    def test_wrong_content(self, change: Any, message: str, tmp_path: Path, rng: np.random.Generator) -> None:
        path = tmp_path / "p.json"
        write_people_json(path, [people(rng, 1, CAMERA, 1)], "b")
        content = copy.deepcopy(json.loads(path.read_text()))
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=message) as caught:
            read_people_json(path)
        assert "p.json" in str(caught.value) and "\n" not in str(caught.value)

    def test_damaged(self, tmp_path: Path, rng: np.random.Generator) -> None:
        path = tmp_path / "p.json"
        with pytest.raises(InputError, match="cannot be read"):
            read_people_json(path)
        write_people_json(path, [people(rng, 1, CAMERA, 1)], "b")
        text = path.read_text()
        for broken in (text[:-20], text.replace("1.7", "NaN", 1), "", "[" * 100_000):
            path.write_text(broken)
            with pytest.raises(InputError, match="not a usable"):
                read_people_json(path)


class TestMesh:
    @pytest.mark.parametrize("suffix", [".ply", ".glb"])
    def test_one_mesh(self, suffix: str, tmp_path: Path) -> None:
        import trimesh

        write_mesh(tmp_path / f"m{suffix}", CORNERS, TRIANGLES, np.array([10, 20, 30], np.uint8))
        mesh = trimesh.load(tmp_path / f"m{suffix}", process=False, force="mesh")
        expected = CORNERS * ([1, -1, -1] if suffix == ".glb" else [1, 1, 1])
        np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, TRIANGLES)
        assert (np.asarray(mesh.visual.vertex_colors)[:, :3] == [10, 20, 30]).all()

    def test_ply_is_read_by_our_own_reader(self, tmp_path: Path) -> None:
        from human_recon.io.ply import read_ply

        write_mesh(tmp_path / "m.ply", CORNERS, TRIANGLES)
        np.testing.assert_array_equal(read_ply(tmp_path / "m.ply").points, CORNERS)

    def test_several_meshes(self, tmp_path: Path) -> None:
        import trimesh

        meshes = [NamedMesh("person_1", CORNERS, TRIANGLES), NamedMesh("person_2", CORNERS + 1, TRIANGLES)]
        write_meshes(tmp_path / "all.glb", meshes)
        scene = trimesh.load(tmp_path / "all.glb")
        assert set(scene.geometry) == {"person_1", "person_2"}
        write_meshes(tmp_path / "all.ply", meshes)
        merged = trimesh.load(tmp_path / "all.ply", process=False)
        np.testing.assert_allclose(merged.vertices, np.concatenate([CORNERS, CORNERS + 1]), atol=1e-6)
        np.testing.assert_array_equal(merged.faces, np.concatenate([TRIANGLES, TRIANGLES + 4]))

    @pytest.mark.parametrize(
        ("name", "changes", "message"),
        [
            ("m.obj", {}, r"\.ply or \.glb"),
            ("m.ply", {"vertices": CORNERS * np.nan}, "finite vertices"),
            ("m.ply", {"vertices": CORNERS[:, :2]}, "vertices"),
            ("m.ply", {"faces": TRIANGLES + 1}, "outside"),
            ("m.ply", {"faces": TRIANGLES.astype(float)}, "integer"),
            ("m.ply", {"colors": np.zeros((3, 3), np.uint8)}, "colours"),
        ],
    )
    def test_refusals_leave_nothing(self, name: str, changes: dict, message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=message):
            write_mesh(tmp_path / name, **({"vertices": CORNERS, "faces": TRIANGLES} | changes))
        with pytest.raises(ValueError, match="no mesh"):
            write_meshes(tmp_path / "m.ply", [])
        assert list(tmp_path.iterdir()) == []


class TestAtomic:
    def test_failure_keeps_the_old_file_and_leaves_no_other(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError), atomic_file(path) as temporary:
            temporary.write_text("half")
            assert temporary.suffix == ".txt" and path.read_text() == "old"
            raise RuntimeError
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]

    def test_success_replaces_with_the_usual_permissions(self, tmp_path: Path) -> None:
        path = tmp_path / "sub" / "a.txt"
        with atomic_file(path) as temporary:
            temporary.write_text("new")
        (tmp_path / "plain").write_text("")
        assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]
        assert path.stat().st_mode == os.stat(tmp_path / "plain").st_mode

    def test_directory(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), atomic_directory(tmp_path / "d") as temporary:
            temporary.mkdir()
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []
        with atomic_directory(tmp_path / "d") as temporary:
            temporary.mkdir()
            (temporary / "x").write_text("1")
            assert temporary.name == "d"
        assert [path.name for path in tmp_path.iterdir()] == ["d"] and (tmp_path / "d" / "x").exists()
