"""The small parts of the nodes, without processes: synchroniser, rotations, worker, frames from messages."""

from __future__ import annotations

import math
import queue
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from ros_support import HEIGHT, WIDTH, TinyBody, cloud_message, depth_message, info_message

from human_recon.body.model import BodyModel
from human_recon.io.errors import InputError
from human_recon.nodes.frames import frame_from_cloud, frame_from_images
from human_recon.nodes.markers import coarse_surface
from human_recon.nodes.middleware import use_fastdds_profile
from human_recon.nodes.results import BodyInfo
from human_recon.nodes.synchronizer import ApproximateTimeSynchronizer, SimpleFilter
from human_recon.nodes.transforms import RotationTree, quaternion_to_matrix
from human_recon.nodes.worker import Cadence, LatestWorker
from human_recon.resources import config_path

MS = 1_000_000


def stamped(stamp_ns: int, name: str = "") -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), stamp_ns=stamp_ns, name=name)


def synchronizer(count: int, queue: int, slop: float) -> tuple[list[SimpleFilter], list[tuple[int, ...]]]:
    filters = [SimpleFilter() for _ in range(count)]
    sets: list[tuple[int, ...]] = []
    ApproximateTimeSynchronizer(filters, queue, slop).registerCallback(
        lambda *messages: sets.append(tuple(message.stamp_ns for message in messages))
    )
    return filters, sets


# ---------------------------------------------------------------- synchroniser


def test_equal_stamps_are_joined_whatever_comes_first() -> None:
    (depth, info), sets = synchronizer(2, 10, 0.0)
    depth.signalMessage(stamped(100))
    info.signalMessage(stamped(100))
    info.signalMessage(stamped(200))
    depth.signalMessage(stamped(201))
    depth.signalMessage(stamped(200))
    assert sets == [(100, 100), (200, 200)]


def test_the_nearest_within_the_slop_is_taken_and_older_ones_are_forgotten() -> None:
    (depth, info), sets = synchronizer(2, 10, 0.010)
    for stamp in (0, 8 * MS, 30 * MS):
        info.signalMessage(stamped(stamp))
    depth.signalMessage(stamped(5 * MS))
    depth.signalMessage(stamped(2 * MS))  # its partner of 0 ms is gone with the set of 8 ms
    depth.signalMessage(stamped(50 * MS))
    assert sets == [(5 * MS, 8 * MS)]


def test_waiting_messages_are_bounded() -> None:
    (depth, info), sets = synchronizer(2, 3, 0.0)
    for stamp in range(10):
        depth.signalMessage(stamped(stamp))
    for stamp in range(10):
        info.signalMessage(stamped(stamp))
    assert sets == [(7, 7), (8, 8), (9, 9)]


@given(
    topics=st.permutations([0] * 4 + [1] * 4 + [2] * 4),
    jitter=st.lists(st.integers(-5 * MS, 5 * MS), min_size=12, max_size=12),
)
def test_sets_are_complete_in_order_and_use_no_message_twice(topics: list[int], jitter: list[int]) -> None:
    """Four frames of three topics, each topic in its own order, mixed in any way."""
    filters, sets = synchronizer(3, 10, 0.010)
    frames = [0, 0, 0]
    for topic in topics:
        filters[topic].signalMessage(stamped(100 * MS * (frames[topic] + 1) + jitter[4 * topic + frames[topic]]))
        frames[topic] += 1
    assert len(sets) == 4
    for frame, entry in enumerate(sets):
        assert entry == tuple(100 * MS * (frame + 1) + jitter[4 * topic + frame] for topic in range(3))


# ---------------------------------------------------------------- rotations


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_as_scipy_has_them(q: list[float]) -> None:
    np.testing.assert_allclose(quaternion_to_matrix(*q), Rotation.from_quat(q).as_matrix(), atol=1e-12)


def test_rotations_between_branches_of_a_tree() -> None:
    turns = {name: Rotation.random(random_state=index) for index, name in enumerate(["base", "mast", "camera", "arm"])}
    tree = RotationTree()
    for child, parent in (("base", "map"), ("mast", "base"), ("camera", "mast"), ("arm", "base")):
        tree.add(parent, child, 0, turns[child].as_matrix())
    # arm -> base -> mast -> camera
    expected = (turns["camera"].inv() * turns["mast"].inv() * turns["arm"]).as_matrix()
    np.testing.assert_allclose(tree.rotation("camera", "arm", 0), expected, atol=1e-12)
    np.testing.assert_allclose(tree.rotation("camera", "camera", 0), np.eye(3), atol=1e-12)
    assert tree.rotation("camera", "nowhere", 0) is None


def test_the_transform_nearest_in_time_counts() -> None:
    tree = RotationTree()
    for second in range(5):
        tree.add("map", "camera", second * 1000 * MS, Rotation.from_rotvec([0, 0, 0.1 * second]).as_matrix())
    rotation = tree.rotation("map", "camera", 3100 * MS)
    assert rotation is not None
    assert Rotation.from_matrix(rotation).as_rotvec()[2] == pytest.approx(0.3)


def test_a_loop_of_frames_is_not_followed_for_ever() -> None:
    tree = RotationTree()
    tree.add("a", "b", 0, np.eye(3))
    tree.add("b", "a", 0, np.eye(3))
    assert tree.rotation("a", "map", 0) is None


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (float("nan"), 0, 0, 1), (float("inf"), 0, 0, 1)])
def test_what_is_no_rotation_is_refused(q: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="is not a rotation"):
        quaternion_to_matrix(*q)


# ---------------------------------------------------------------- worker


def test_the_worker_takes_the_newest_job() -> None:
    started, proceed, done = threading.Event(), threading.Event(), []

    def work(job: int) -> None:
        started.set()
        assert proceed.wait(10.0)
        done.append(job)

    worker = LatestWorker(work, "test")
    assert not worker.submit(0)
    assert started.wait(10.0)
    assert [worker.submit(job) for job in (1, 2, 3)] == [False, True, True]
    started.clear()
    proceed.set()
    assert started.wait(10.0)
    assert worker.stop(10.0)
    assert done == [0, 3]


class Due(Cadence):
    """Says that the next job is due in so many seconds, whatever came."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.asked = threading.Event()

    def due_in(self, now: float) -> float:
        self.asked.set()
        return self.seconds


@pytest.mark.parametrize(("due", "expected"), [(10.0, [0, 2]), (30.0, [0, 1, 2]), (-1.0, [0, 1, 2])])
def test_the_worker_waits_for_a_younger_job_that_is_due_soon(due: float, expected: list[int]) -> None:
    """20 seconds of patience: a job due in 10 is waited for, one in 30 is not, nor one that should have come."""
    began, proceed, done = queue.Queue[int](), threading.Semaphore(0), []
    cadence = Due(30.0)

    def work(job: int) -> None:
        began.put(job)
        assert proceed.acquire(timeout=10.0)
        done.append(job)

    worker = LatestWorker(work, "test", 20.0, cadence)
    worker.submit(0)
    assert began.get(timeout=10.0) == 0
    worker.submit(1)
    cadence.seconds = due
    cadence.asked.clear()
    proceed.release()  # 0 is done; now 1 could begin
    assert cadence.asked.wait(10.0)
    if 1 in expected:
        assert began.get(timeout=10.0) == 1
        proceed.release()
    worker.submit(2)
    cadence.seconds = 30.0
    assert began.get(timeout=10.0) == 2
    proceed.release()
    assert worker.stop(10.0)
    assert done == expected


def test_a_job_is_begun_when_no_younger_one_comes() -> None:
    done = threading.Event()
    worker = LatestWorker(lambda job: done.set(), "test", 20.0, Due(0.001))
    worker.submit(0)
    assert done.wait(10.0)
    assert worker.stop(10.0)


def test_cadence_knows_when_the_next_is_due() -> None:
    cadence = Cadence()
    assert cadence.due_in(0.0) == math.inf
    cadence.came(0.0)
    assert cadence.due_in(0.1) == math.inf
    for k in range(1, 100):
        cadence.came(0.033 * k)
    last = 0.033 * 99
    assert cadence.due_in(last + 0.02) == pytest.approx(0.013, abs=1e-6)
    assert cadence.due_in(last + 0.05) < 0
    cadence.came(last + 60.0)  # a pause is no rhythm
    assert 0.033 < cadence.due_in(last + 60.0) < 0.04


def test_a_busy_worker_does_not_hold_up_the_end() -> None:
    started, proceed = threading.Event(), threading.Event()

    def work(job: int) -> None:
        started.set()
        proceed.wait(10.0)

    worker = LatestWorker(work, "test")
    worker.submit(0)
    assert started.wait(10.0)
    assert not worker.stop(0.01)
    proceed.set()
    assert worker.stop(10.0)


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_readings_out_of_range_are_none(encoding: str) -> None:
    image = depth_message(7, 0.5, 1.0, 3.0, 4.0, encoding=encoding)
    frame = frame_from_images(image, info_message(7), near=0.9, far=3.001)
    assert frame.stamp_ns == 7 and frame.depth.dtype == np.float32
    assert sorted(set(frame.depth.ravel().tolist())) == pytest.approx([0.0, 1.0, 3.0])


def test_region_of_interest_and_binning_are_honoured() -> None:
    info = info_message(0, width=4 * WIDTH, height=4 * HEIGHT, focal=120.0)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = WIDTH, HEIGHT, 2 * WIDTH, 2 * HEIGHT
    info.binning_x = info.binning_y = 2
    frame = frame_from_images(depth_message(0, 1.0), info)
    camera = frame.intrinsics
    # The optical axis pierces the full image at (63.5, 47.5), the centre of the cut: so the centre of the small image.
    assert (camera.width, camera.height, camera.fx) == (WIDTH, HEIGHT, 60.0)
    assert (camera.cx, camera.cy) == pytest.approx(((WIDTH - 1) / 2, (HEIGHT - 1) / 2))


def test_rectified_images_have_the_camera_of_p() -> None:
    info = info_message(0)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    info.p[0], info.p[5] = 40.0, 41.0
    frame = frame_from_images(depth_message(0, 1.0), info, rectified=True)
    assert (frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.distortion_model) == (40.0, 41.0, "none")


def test_a_cloud_seen_through_its_camera_is_the_depth_image() -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    z = 1.0 + columns / WIDTH
    points = np.stack([(columns - 15.5) / 30 * z, (rows - 11.5) / 30 * z, z], axis=-1)
    order = np.random.default_rng(0).permutation(HEIGHT * WIDTH)
    cloud = cloud_message(0, points.reshape(-1, 3)[order])
    frame = frame_from_cloud(cloud, info_message(0))
    np.testing.assert_allclose(frame.depth, z, atol=1e-6)


def test_clouds_in_a_wrong_frame_say_so() -> None:
    behind = np.random.default_rng(0).uniform([-1, -1, -3], [1, 1, -1], (100, 3))
    with pytest.raises(InputError, match="optical frame"):
        frame_from_cloud(cloud_message(0, behind))


# ---------------------------------------------------------------- others


def test_the_coarse_surface_keeps_the_shape(body: BodyModel) -> None:
    info = BodyInfo.of(body)
    chosen, triangles = coarse_surface(info)
    assert len(chosen) < 0.2 * body.vertex_count and len(triangles) < 0.2 * len(body.faces)
    assert triangles.max() < len(chosen) and len(np.unique(chosen)) == len(chosen)
    corners = info.template[chosen][triangles]
    # Every kept vertex is one of the body's, and the box around them is the body's within a cell.
    assert np.abs(info.template[chosen].min(0) - info.template.min(0)).max() < 0.06
    assert np.abs(info.template[chosen].max(0) - info.template.max(0)).max() < 0.06
    # Normals still point outwards: the signed volume is that of the body within a tenth.
    full = info.template[info.faces]
    assert signed_volume(corners) == pytest.approx(signed_volume(full), rel=0.10)


def signed_volume(triangles: np.ndarray) -> float:
    """Divergence theorem; positive when corners are counter-clockwise seen from outside."""
    triangles = triangles.astype(np.float64)
    return float(np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])).sum() / 6)


def test_the_models_hash_depends_on_its_arrays_alone() -> None:
    first = BodyInfo.of(TinyBody())
    assert first.sha256 == BodyInfo.of(TinyBody(name="other")).sha256
    moved = TinyBody(v_template=TinyBody().v_template + np.float32(1e-6))
    assert first.sha256 != BodyInfo.of(moved).sha256


def test_a_users_fast_dds_profile_is_respected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "mine.xml")
    assert not use_fastdds_profile(config_path("fastdds.xml"))
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE")
    assert not use_fastdds_profile(tmp_path / "missing.xml")
    assert use_fastdds_profile(config_path("fastdds.xml"))
    assert not use_fastdds_profile(config_path("fastdds.xml")), "set already"
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE")
