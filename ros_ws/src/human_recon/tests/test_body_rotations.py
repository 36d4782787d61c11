"""Rotations against scipy and finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from human_recon.geometry import rotations

vectors = arrays(np.float64, (3,), elements=st.floats(-6.0, 6.0))
scales = st.sampled_from([0.0, 1e-9, 1e-5, 1e-4, 1.0001e-4, 1e-2, 1.0])


@settings(deadline=None)  # the first call compiles
@given(vectors, scales)
def test_matrix_of_a_rotation_vector_is_scipys(vector, scale):
    expected = Rotation.from_rotvec(scale * vector).as_matrix()
    assert np.abs(rotations.rotvec_to_matrix(scale * vector) - expected).max() < 1e-12
    single = np.empty((3, 3))
    rotations.rotvec_to_matrix_single(*(scale * vector), single)
    assert np.abs(single - expected).max() < 1e-12


@settings(deadline=None)  # the first call compiles
@given(vectors, scales)
def test_single_rotation_vector_of_a_matrix_is_scipys(vector, scale):
    matrix = Rotation.from_rotvec(scale * vector).as_matrix()
    single = np.empty(3)
    rotations.matrix_to_rotvec_single(matrix, single)
    assert np.linalg.norm(single) <= np.pi + 1e-12
    # Turns by pi have two vectors: compare what they turn to.
    assert np.abs(Rotation.from_rotvec(single).as_matrix() - matrix).max() < 1e-9


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_single_rotation_vector_of_half_a_turn(axis):
    single = np.empty(3)
    rotations.matrix_to_rotvec_single(np.diag(2.0 * np.eye(3)[axis] - 1.0), single)
    np.testing.assert_allclose(np.abs(single), np.pi * np.eye(3)[axis], atol=1e-9)


@settings(deadline=None)  # the first call compiles
@given(vectors)
def test_rotation_vector_of_a_matrix_gives_the_matrix_back(vector):
    matrix = Rotation.from_rotvec(vector).as_matrix()
    found = rotations.matrix_to_rotvec(matrix)
    assert np.linalg.norm(found) <= np.pi + 1e-9
    assert np.abs(Rotation.from_rotvec(found).as_matrix() - matrix).max() < 1e-9


def test_many_rotation_vectors_at_once_are_as_one_by_one(rng):
    vectors = rng.normal(size=(50, 3)) * rng.choice([1e-9, 1e-4, 1.0, 5.0], (50, 1))
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(rotations.rotvecs_to_matrices(vectors), expected, atol=1e-12)
    assert rotations.rotvecs_to_matrices(np.zeros((0, 3))).shape == (0, 3, 3)


def test_shapes_are_kept_and_empty_arrays_pass():
    vectors = np.random.default_rng(0).normal(size=(4, 5, 3))
    matrices = rotations.rotvec_to_matrix(vectors)
    assert matrices.shape == (4, 5, 3, 3)
    assert rotations.matrix_to_rotvec(matrices).shape == (4, 5, 3)
    assert rotations.rotvec_to_matrix(np.zeros((0, 3))).shape == (0, 3, 3)
    assert rotations.matrix_to_rotvec(np.zeros((0, 3, 3))).shape == (0, 3)


@settings(deadline=None)  # the first call compiles
@given(vectors, vectors)
def test_rotation_between_directions_is_the_smallest(source, target):
    lengths = np.linalg.norm(source), np.linalg.norm(target)
    cosine = source @ target / max(np.prod(lengths), 1e-30)
    if min(lengths) < 1e-2 or cosine < -0.99:
        return
    turn = rotations.rotation_between(source, target)
    assert np.abs(turn @ source / lengths[0] - target / lengths[1]).max() < 1e-9
    angle = np.linalg.norm(Rotation.from_matrix(turn).as_rotvec())
    assert angle == pytest.approx(np.arctan2(np.linalg.norm(np.cross(source, target)), source @ target), abs=1e-7)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"\[\.\.\., 3\]"):
        rotations.rotvec_to_matrix(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"\[\.\.\., 3, 3\]"):
        rotations.matrix_to_rotvec(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="opposite"):
        rotations.rotation_between(np.array([1.0, 0, 0]), np.array([-1.0, 0, 0]))
