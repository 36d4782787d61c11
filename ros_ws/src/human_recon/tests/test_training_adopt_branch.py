"""An SMPL branch trained elsewhere becomes the network's own, or an error says what does not fit."""

import pytest

torch = pytest.importorskip("torch")

from training.body_net.adopt_branch import adopt  # noqa: E402
from training.loop.checkpoint import Checkpoint  # noqa: E402


def checkpoint() -> Checkpoint:
    weights = {"network.body.first.weight": torch.zeros(2, 3), "network.dense.weight": torch.ones(4)}
    return Checkpoint(weights, {k: v.clone() for k, v in weights.items()}, {}, 7, 0.5, 60.0, "{}")


def test_the_branch_is_taken_over_and_nothing_else_changes():
    before = checkpoint()
    branch = {"first.weight": torch.full((2, 3), 5.0)}
    after = adopt(before, branch)
    branch["first.weight"][:] = 9.0
    assert (after.averaged["network.body.first.weight"] == 5.0).all(), "later changes of the branch must not reach it"
    assert (after.model["network.body.first.weight"] == 5.0).all()
    assert (after.averaged["network.dense.weight"] == 1.0).all()
    assert (before.averaged["network.body.first.weight"] == 0.0).all()
    assert after.step == 7


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"first.weight": torch.zeros(3, 2)}, r"first.weight of the branch is \[3, 2\]"),
        ({"second.weight": torch.zeros(2, 3)}, "first.weight, second.weight"),
        ({}, "first.weight"),
    ],
)
def test_a_branch_of_another_network_is_refused(branch, message):
    with pytest.raises(ValueError, match=message):
        adopt(checkpoint(), branch)
