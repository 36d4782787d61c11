"""Identities across frames."""

import numpy as np

from human_recon.body.state import BodyState
from human_recon.tracking.association import Association, AssociationConfig

SECOND = 1_000_000_000


def remember(association: Association, person_id: int, head, stamp_ns: int) -> None:
    state = BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))
    association.remember(person_id, np.array(head, float), stamp_ns, state, 50.0)


def ids(matches) -> list[int | None]:
    return [m.id if m is not None else None for m in matches]


def test_people_keep_their_ids_when_listed_in_another_order():
    association = Association()
    remember(association, 1, [0, 0, 2], 0)
    remember(association, 2, [1, 0, 2], 0)
    heads = [np.array([1.05, 0, 2]), np.array([0.05, 0, 2])]
    assert ids(association.match(heads, SECOND // 30)) == [2, 1]


def test_crossing_people_are_matched_jointly_rather_than_greedily():
    association = Association(AssociationConfig(speed=0.0, slack=2.0))
    remember(association, 1, [0.0, 0, 2], 0)
    remember(association, 2, [1.0, 0, 2], 0)
    # Head A is nearest to 2 (0.4), but giving 2 to A would leave B with 1 at 1.9: the sum decides.
    heads = [np.array([0.6, 0, 2]), np.array([1.9, 0, 2])]
    assert ids(association.match(heads, 1)) == [1, 2]


def test_a_far_head_is_somebody_new():
    association = Association(AssociationConfig(speed=3.0, slack=0.25))
    remember(association, 1, [0, 0, 2], 0)
    assert ids(association.match([np.array([0.4, 0, 2])], SECOND // 30)) == [None]


def test_the_lost_are_forgotten_and_so_is_the_future():
    association = Association(AssociationConfig(memory=1.0))
    remember(association, 1, [0, 0, 2], 0)
    assert ids(association.match([np.array([0.0, 0, 2])], 2 * SECOND)) == [None]
    remember(association, 2, [0, 0, 2], 5 * SECOND)
    assert ids(association.match([np.array([0.0, 0, 2])], 4 * SECOND)) == [None]


def test_ids_start_at_one_and_are_never_reused():
    association = Association()
    first = [association.new_id() for _ in range(3)]
    association.reset()
    assert first == [1, 2, 3]
    assert association.new_id() == 4


def test_a_worse_energy_is_believed_gradually_and_a_better_one_at_once():
    association = Association(AssociationConfig(forgetting=0.25))
    state = BodyState(np.zeros(10), np.zeros((24, 3)), np.zeros(3))
    energies = []
    for frame, energy in enumerate((80.0, 120.0, 60.0)):
        association.remember(1, np.zeros(3), frame, state, energy)
        energies.append(association.match([np.zeros(3)], frame)[0].energy)
    assert energies == [80.0, 90.0, 60.0]
