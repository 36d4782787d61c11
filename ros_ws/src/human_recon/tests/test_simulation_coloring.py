"""The shaded colour image: attached to surfaces, of the key, in agreement with depth."""

from __future__ import annotations

import numpy as np
import pytest

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.simulation.coloring import WAIST, shade
from human_recon.simulation.outfit import Material

VIEW = CameraIntrinsics(160, 120, 130.0, 130.0, 79.5, 59.5)
UPRIGHT = np.array([[1.0, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, -1, 0]])  # a camera 1.2 m high that looks along -z


def picture_of(key: int = 1, frame: int = 0, shift: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A wall 3 m away, a person before it, nothing at the top; the camera moved to the right by ``shift`` metres."""
    shape = (VIEW.height, VIEW.width)
    v, u = np.mgrid[0 : shape[0], 0 : shape[1]]
    objects = np.full(shape, 1002, np.int32)
    depth = np.full(shape, 3.0, np.float32)
    material = np.full(shape, 255, np.uint8)
    canonical = np.zeros((*shape, 3), np.float32)
    person = (np.abs(u - 80) < 20) & (v > 30)
    objects[person], depth[person] = 1, 2.0
    material[person] = np.where(v < 50, Material.HAIR, Material.CLOTH)[person]
    canonical[..., 1] = WAIST + (80 - v) / 65
    objects[:10], depth[:10] = -1, 0
    normal = np.zeros((*shape, 3), np.float32)
    normal[..., 2] = -1
    pose = UPRIGHT.copy()
    pose[0, 3] = -shift
    image = shade(depth, objects, material, normal, canonical, VIEW, pose, key, frame)
    return image, {"objects": objects, "person": person}


def test_shape_type_and_determinism() -> None:
    image, _ = picture_of()
    assert image.shape == (120, 160, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture_of()[0])


def test_another_key_is_another_world_and_another_frame_is_other_grain() -> None:
    image, _ = picture_of()
    grain = np.abs(picture_of(frame=1)[0].astype(int) - image)
    assert 0 < grain.mean() < 6
    assert grain.max() < 20
    assert np.abs(picture_of(key=2)[0].astype(int) - image).mean() > 15


def test_trousers_begin_at_the_waist_and_hair_is_not_cloth() -> None:
    changes = 0
    for key in range(20):
        image, _ = picture_of(key=key)
        column = image[:, 75:85].astype(int).mean(1)
        hair, shirt, trousers = column[40:48].mean(0), column[60:78].mean(0), column[84:100].mean(0)
        changes += np.abs(shirt - trousers).max() > 12 and np.abs(shirt - hair).max() > 12
    assert changes >= 15  # a few people dress in one colour


def test_borders_are_where_depth_has_them() -> None:
    image, labels = picture_of(key=3)
    person = labels["person"]
    inside, outside = image[100, 70:90].astype(int).mean(0), image[100, 5:35].astype(int).mean(0)
    threshold = np.abs(inside - outside).argmax()
    middle = (inside[threshold] + outside[threshold]) / 2
    looks = (image[100, :, threshold] > middle) == (inside[threshold] > middle)
    np.testing.assert_array_equal(looks[50:110], person[100, 50:110])


@pytest.mark.parametrize("key", range(6))
def test_patterns_of_things_stay_in_the_room_when_the_camera_moves(key: int) -> None:
    """Moved by 3 m * 13 / 130 = 0.3 m, the wall is seen 13 columns further to the left."""
    here, there = picture_of(key=key)[0].astype(int), picture_of(key=key, shift=0.3)[0].astype(int)
    same = np.abs(here[12:28, 13:160] - there[12:28, 0:147]).max(-1)
    assert np.percentile(same, 90) < 25


def test_nobody_and_nothing() -> None:
    shape = (VIEW.height, VIEW.width)
    nothing = np.full(shape, -1, np.int32)
    zeros = np.zeros((*shape, 3), np.float32)
    image = shade(zeros[..., 0], nothing, np.zeros(shape, np.uint8), zeros, zeros, VIEW, UPRIGHT, 1)
    assert image.std(axis=(0, 1)).max() < 5


def test_bad_shapes_are_named() -> None:
    shape = (VIEW.height, VIEW.width)
    zeros = np.zeros((*shape, 3), np.float32)
    with pytest.raises(ValueError, match=r"normal is \(3, 3, 3\), the camera asks for \(120, 160, 3\)"):
        shade(zeros[..., 0], np.zeros(shape, np.int32), np.zeros(shape, np.uint8), np.zeros((3, 3, 3)), zeros, VIEW,
              UPRIGHT, 1)  # fmt: skip
