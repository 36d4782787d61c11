"""Who is who in one frame."""

import numpy as np
import pytest

from human_recon.tracking.association import Appearance, AssociationConfig, assign, associate, dissimilarity

CONFIG = AssociationConfig()
BODY = np.random.default_rng(0).uniform(-0.5, 0.5, (24, 3))


def at(x: float, sigma: float = 0.05, **more) -> Appearance:
    return Appearance(BODY + [x, 0.0, 3.0], np.full(24, sigma), **more)


def test_people_are_recognised_in_any_order():
    assert sorted(associate([at(0), at(1), at(2)], [at(2.05), at(0.1), at(0.9)], CONFIG)) == [(0, 1), (1, 2), (2, 0)]


def test_the_nearest_pairing_of_all_wins_over_the_nearest_pair():
    # 0 -> 0.3 and 0.3 -> 0.6 together are nearer than 0.3 -> 0.3 and 0 -> 0.6, which is out of reach of nobody.
    assert sorted(associate([at(0), at(0.3)], [at(0.3), at(0.6)], CONFIG)) == [(0, 0), (1, 1)]


def test_nobody_jumps_beyond_the_gate_however_uncertain():
    assert associate([at(0)], [at(1.0, 9.0)], CONFIG) == []
    assert associate([at(0, 0.02)], [at(0.7, 0.02)], CONFIG) == []


def test_uncertainty_widens_the_gate():
    assert associate([at(0, 0.30)], [at(0.7, 0.10)], CONFIG) == [(0, 0)]


def test_stature_decides_between_people_at_equal_distance():
    tall, small = at(0.0, stature=1.95, stature_sigma=0.02), at(0.0, stature=1.55, stature_sigma=0.02)
    seen = at(0.1, stature=1.90, stature_sigma=0.08)
    assert associate([small, tall], [seen], CONFIG) == [(1, 0)]


def test_one_misplaced_arm_is_no_other_person():
    joints = BODY.copy()
    joints[[18, 20, 22]] += 0.9
    wrong = Appearance(joints + [0, 0, 3.0], np.full(24, 0.05))
    assert np.isfinite(dissimilarity(at(0), wrong, CONFIG))


def test_what_is_not_a_number_is_nobody():
    assert dissimilarity(at(0), at(np.nan), CONFIG) == np.inf


def test_a_pair_is_never_given_up_for_cheaper_ones():
    cost = np.array([[0.0, 5.0], [np.inf, np.inf], [1.0, np.inf]])
    assert assign(cost) == [(0, 1), (2, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nobody_on_one_side(shape):
    assert assign(np.zeros(shape)) == []


def test_settings_must_be_positive():
    with pytest.raises(ValueError, match="above 0"):
        AssociationConfig(gate=0.0)
