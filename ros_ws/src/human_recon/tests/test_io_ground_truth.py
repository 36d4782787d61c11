"""What a simulated bag knows about its frames survives being written and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from human_recon.body.lbs_reference import pose_body_reference
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.ground_truth import TrueFrame, TruePerson
from human_recon.io import InputError, open_frames
from human_recon.io.bag_reader import BagFrames
from human_recon.io.bag_writer import BagWriter, write_bag
from human_recon.io.ground_truth import read_true_frames
from human_recon.io.person_messages import message_types

CAMERA = CameraIntrinsics(width=32, height=24, fx=30.0, fy=30.0, cx=15.5, cy=11.5)


def true_person(body, rng, number, visibility=0.75):
    state = BodyState(rng.normal(size=10), rng.normal(0.0, 0.4, (24, 3)), np.array([0.1 * number, 0.2, 2.5]))
    vertices, joints = pose_body_reference(body, state.betas, state.pose, state.trans)
    return TruePerson(
        number, state, vertices.astype(np.float32), joints.astype(np.float32), visibility, rng.random(24) < 0.5,
        (3, 4, 10, 12) if visibility else (0, 0, 0, 0),
    )  # fmt: skip


def true_frame(body, rng, index, numbers=(1, 4)):
    depth = np.round(rng.uniform(1.0, 4.0, (24, 32)), 3).astype(np.float32)
    color = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    frame = Frame(1_000_000_000 + index * 33_333_333, "camera", depth, CAMERA, color)
    people = tuple(
        true_person(body, rng, number, visibility=0.75 if k == 0 else 0.0) for k, number in enumerate(numbers)
    )
    labels = rng.choice(np.array([0, *numbers], np.uint16), (24, 32))
    return TrueFrame(frame, people, labels, np.where(labels > 0, 15, 255).astype(np.uint8))


def write(path: Path, frames, body, floor=None, **options) -> Path:
    with BagWriter(path, **options) as writer:
        for frame in frames:
            writer.write(frame.frame)
            writer.write_truth(frame, body, floor)
    return path


@pytest.mark.parametrize("options", [{}, {"compressed": True}, {"storage": "sqlite3"}])
def test_truth_survives_writing_and_reading(tmp_path, body, rng, options):
    written = [true_frame(body, rng, index, numbers) for index, numbers in enumerate([(1, 4), (), (4, 9, 300)])]
    path = write(tmp_path / "bag", written, body, Plane(np.array([0.0, -1.0, 0.0]), 1.2), **options)
    read = list(read_true_frames(path))
    assert [frame.frame.stamp_ns for frame in read] == [frame.frame.stamp_ns for frame in written]
    for before, after in zip(written, read, strict=True):
        assert np.array_equal(after.labels, before.labels) and after.labels.dtype == np.uint16
        assert np.array_equal(after.parts, before.parts) and after.parts.dtype == np.uint8
        assert np.abs(after.frame.depth - before.frame.depth).max() < 6e-4
        assert np.array_equal(after.frame.color, before.frame.color)
        assert [person.id for person in after.people] == [person.id for person in before.people]
        for true, person in zip(before.people, after.people, strict=True):
            for name in ("betas", "pose", "trans"):
                assert np.array_equal(getattr(person.state, name), getattr(true.state, name)), name
            assert np.abs(person.vertices - true.vertices).max() < 1e-4  # against the reference skinning
            assert np.abs(person.joints - true.joints).max() < 1e-4
            assert person.visibility == pytest.approx(true.visibility)
            assert np.array_equal(person.joint_visible, true.joint_visible)
            assert person.roi == true.roi


def test_messages_say_what_a_robot_would_publish(tmp_path, body, rng):
    truth = true_frame(body, rng, 0)
    path = write(tmp_path / "bag", [truth], body, Plane(np.array([0.0, -1.0, 0.0]), 1.2))
    with Reader(path) as reader:
        stamp, data = next((t, d) for c, t, d in reader.messages() if c.topic == "/ground_truth/people")
        message = message_types().deserialize_cdr(data, "human_recon_msgs/msg/PersonArray")
    assert stamp == truth.frame.stamp_ns
    assert message.header.frame_id == "camera" and message.floor.coef.tolist() == [0.0, -1.0, 0.0, 1.2]
    seen, hidden = message.people
    assert (seen.state, hidden.state) == (2, 3)  # confirmed, occluded
    assert [keypoint.name for keypoint in seen.keypoints] == list(body.joint_names)
    assert np.allclose(
        [[p.position.x, p.position.y, p.position.z] for p in seen.keypoints], truth.people[0].joints, atol=1e-6
    )
    assert 1.2 < seen.height < 2.2 and seen.confidence == 1.0 and np.isnan(seen.residual)
    assert (seen.roi.x_offset, seen.roi.y_offset, seen.roi.width, seen.roi.height) == (3, 4, 10, 12)


def test_label_images_are_not_taken_for_the_camera(tmp_path, body, rng):
    path = write(tmp_path / "bag", [true_frame(body, rng, 0)], body)
    topics = BagFrames(path).topics
    assert topics.depth == "/camera/depth/image_raw" and topics.color == "/camera/color/image_raw"
    assert len(list(open_frames(path))) == 1


def test_frames_without_truth_are_left_out(tmp_path, body, rng):
    frames = [true_frame(body, rng, index) for index in range(4)]
    with BagWriter(tmp_path / "bag") as writer:
        for index, frame in enumerate(frames):
            writer.write(frame.frame)
            if index in (1, 3):
                writer.write_truth(replace(frame, parts=None) if index == 3 else frame, body)
    read = list(read_true_frames(tmp_path / "bag"))
    assert [frame.frame.stamp_ns for frame in read] == [frames[1].frame.stamp_ns, frames[3].frame.stamp_ns]
    assert read[0].parts is not None and read[1].parts is None


def test_a_bag_without_truth_is_refused_with_its_name(tmp_path, body, rng):
    write_bag(tmp_path / "plain", [true_frame(body, rng, 0).frame])
    with pytest.raises(InputError, match=r"plain: there is no ground truth \(no messages on /ground_truth/people\)"):
        next(read_true_frames(tmp_path / "plain"))


def test_truth_of_another_body_is_refused(tmp_path, body, rng):
    path = write(tmp_path / "bag", [true_frame(body, rng, 0)], body)
    other = replace(body, v_template=body.v_template * np.float32(1.01))
    with pytest.raises(InputError, match="not of 'open_body_adult' as it is here"):
        next(read_true_frames(path, other))


def test_truth_of_other_moments_is_refused(tmp_path, body, rng):
    frame = true_frame(body, rng, 0)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write(frame.frame)
        late = replace(frame.frame, stamp_ns=frame.frame.stamp_ns + 1)
        writer.write_truth(replace(frame, frame=late), body)
    with pytest.raises(InputError, match="has the stamp of a depth image"):
        next(read_true_frames(tmp_path / "bag"))


def test_a_label_image_of_another_size_is_refused(tmp_path, body, rng):
    frame = true_frame(body, rng, 0)
    path = write(tmp_path / "bag", [replace(frame, labels=frame.labels[:20])], body)
    with pytest.raises(InputError, match="a label image is mono16 32 x 20, its depth image has 32 x 24"):
        next(read_true_frames(path))


def test_definitions_are_those_of_the_message_package(repository):
    from human_recon.io import person_messages

    own = {path.name: path.read_text() for path in person_messages._DEFINITIONS.glob("*.msg")}
    theirs = {path.name: path.read_text() for path in (repository / "ros_ws/src/human_recon_msgs/msg").glob("*.msg")}
    assert own == theirs and "Person.msg" in own
