"""Votes gather into people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.perception.people_input import CoarseView
from human_recon.perception.people_net import PeopleFields, decode, decode_reference, read_people_net
from human_recon.perception.prompts import enlarged
from human_recon.perception.votes import (
    Gatherings,
    VoteConfig,
    apart,
    apart_reference,
    density,
    density_reference,
    gather,
    match_votes,
)

PIXELS = (60, 80)
AREA = 0.0018  # square metres of a pixel at 3 m


def fields_of(
    people: list[tuple[np.ndarray, np.ndarray, int]], noise: float, rng: np.random.Generator, outliers: float = 0.0
) -> tuple[PeopleFields, np.ndarray]:
    """Fields in which each (pelvis, chest, pixels) has so many pixels, and whose each pixel is (-1 = nobody)."""
    flat = PIXELS[0] * PIXELS[1]
    owner = np.full(flat, -1)
    order = rng.permutation(flat)
    start = 0
    for number, (_, _, count) in enumerate(people):
        owner[order[start : start + count]] = number
        start += count
    pelvis, chest, points = np.zeros((3, flat, 3))
    for number, (true_pelvis, true_chest, _) in enumerate(people):
        mine = owner == number
        points[mine] = true_pelvis + rng.normal(0, 0.25, (mine.sum(), 3))
        pelvis[mine] = true_pelvis + rng.laplace(0, noise, (mine.sum(), 3))
        chest[mine] = true_chest + rng.laplace(0, noise, (mine.sum(), 3))
        stray = mine & (rng.random(flat) < outliers)
        pelvis[stray] += rng.uniform(-1, 1, (stray.sum(), 3))
        chest[stray] += rng.uniform(-1, 1, (stray.sum(), 3))
    fields = PeopleFields(
        foreground=np.where(owner >= 0, 0.95, 0.02).reshape(PIXELS).astype(np.float32),
        pelvis=pelvis.reshape(*PIXELS, 3).astype(np.float32),
        chest=chest.reshape(*PIXELS, 3).astype(np.float32),
        scale=np.full(PIXELS, noise, np.float32),
        points=points.reshape(*PIXELS, 3).astype(np.float32),
        area=np.full(PIXELS, AREA, np.float32),
    )
    return fields, owner.reshape(PIXELS)


def person(x: float, z: float, pixels: int, lean: float = 0.0) -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([x, 0.1, z]), np.array([x + lean, -0.25, z]), pixels


def nearest(gatherings: Gatherings, pelvis: np.ndarray) -> tuple[int, float]:
    distance = np.linalg.norm(gatherings.pelvis - pelvis, axis=1)
    return int(distance.argmin()), float(distance.min())


def test_one_person(rng: np.random.Generator) -> None:
    truth = person(0.3, 3.0, 300)
    fields, owner = fields_of([truth], 0.06, rng, outliers=0.1)
    found = gather(fields, VoteConfig())
    assert len(found) == 1
    np.testing.assert_allclose(found.pelvis[0], truth[0], atol=0.02)
    np.testing.assert_allclose(found.chest[0], truth[1], atol=0.02)
    assert found.area[0] == pytest.approx(300 * AREA * 0.95, rel=0.15)
    assert (found.share[0][owner == 0] > 0.5).mean() > 0.85
    assert (found.share[0][owner < 0] == 0).all()


def test_nobody(rng: np.random.Generator) -> None:
    fields, _ = fields_of([], 0.05, rng)
    found = gather(fields, VoteConfig())
    assert len(found) == 0 and found.share.shape == (0, *PIXELS)


def test_people_who_hug_are_two(rng: np.random.Generator) -> None:
    """Pelvises 30 cm apart, chests leaning together to 25 cm."""
    a, b = person(0.0, 3.0, 250, lean=0.02), person(0.3, 3.0, 120, lean=-0.03)
    fields, owner = fields_of([a, b], 0.04, rng, outliers=0.1)
    found = gather(fields, VoteConfig())
    assert len(found) == 2
    for number, truth in enumerate((a, b)):
        k, distance = nearest(found, truth[0])
        assert distance < 0.05
        assert (found.share.argmax(0) == k)[owner == number].mean() > 0.9


@pytest.mark.parametrize("noise", [0.03, 0.06, 0.1])
def test_five_people_of_different_size(noise: float, rng: np.random.Generator) -> None:
    truths = [person(-1.2, 2.0, 500), person(-0.4, 3.2, 150), person(0.3, 2.6, 300), person(0.9, 4.0, 60)]
    truths.append(person(1.6, 2.2, 400))
    fields, _ = fields_of(truths, noise, rng, outliers=0.15)
    found = gather(fields, VoteConfig())
    for truth in truths:
        assert nearest(found, truth[0])[1] < 0.1
    assert (found.area > 0.05).sum() == 5, "what strays makes no person as large as these"


def test_somebody_expected_is_found_by_few_votes(rng: np.random.Generator) -> None:
    """Almost hidden beside somebody else: too little for a mode of one's own, enough for who is known to be there."""
    front, behind = person(0.0, 3.0, 400), person(0.35, 3.1, 12)
    fields, owner = fields_of([front, behind], 0.06, rng)
    config = VoteConfig()
    assert len(gather(fields, config)) == 1
    known = np.concatenate([np.concatenate(one[:2]) for one in (front, behind)]).reshape(2, 6)
    found = gather(fields, config, known + rng.normal(0, 0.03, known.shape))
    assert len(found) == 2
    k, distance = nearest(found, behind[0])
    assert distance < 0.15
    assert (found.share.argmax(0) == k)[owner == 1].mean() > 0.7


def test_somebody_expected_is_found_in_faint_foreground(rng: np.random.Generator) -> None:
    """The network takes the person for furniture in this frame, yet knows where the pelvis would be."""
    truth = person(0.3, 3.0, 300)
    fields, owner = fields_of([truth], 0.06, rng)
    fields = replace(fields, foreground=np.where(owner == 0, 0.08, 0.02).astype(np.float32))
    assert len(gather(fields, VoteConfig())) == 0
    known = np.concatenate(truth[:2])[None]
    found = gather(fields, VoteConfig(), known + 0.05)
    assert len(found) == 1
    np.testing.assert_allclose(found.pelvis[0], truth[0], atol=0.03)
    elsewhere = known + np.array([1.5, 0.0, 0.0, 1.5, 0.0, 0.0])
    assert len(gather(fields, VoteConfig(), elsewhere)) == 0


def test_who_is_expected_but_gone_is_not_found(rng: np.random.Generator) -> None:
    front, gone = person(0.0, 3.0, 400), person(1.2, 3.0, 0)
    fields, _ = fields_of([front, gone], 0.06, rng)
    known = np.concatenate([np.concatenate(one[:2]) for one in (front, gone)]).reshape(2, 6)
    assert len(gather(fields, VoteConfig(), known)) == 1


def test_cut_in_two_by_an_occluder_is_one(rng: np.random.Generator) -> None:
    """Head and legs are seen, the trunk is not; both vote for the same joints, the legs less surely."""
    truth = person(0.0, 3.0, 400)
    fields, owner = fields_of([truth], 0.05, rng)
    legs = (owner == 0) & (rng.random(PIXELS) < 0.5)
    fields.chest[legs] += rng.laplace(0, 0.08, (legs.sum(), 3)).astype(np.float32)
    fields.scale[legs] = 0.1
    found = gather(fields, VoteConfig())
    assert len(found) == 1
    assert (found.share[0][legs] > 0.5).mean() > 0.7


def test_impossible_votes_count_for_nothing(rng: np.random.Generator) -> None:
    """A joint is never two metres from the skin."""
    fields, owner = fields_of([person(0.0, 3.0, 300)], 0.05, rng)
    fields.points[owner == 0] += np.float32([0.0, 2.5, 0.0])
    assert len(gather(fields, VoteConfig())) == 0


@settings(max_examples=15, deadline=None)
@given(turn=st.floats(-np.pi, np.pi), shift=st.floats(-0.7, 0.7), seed=st.integers(0, 100))
def test_moves_with_the_people(turn: float, shift: float, seed: int) -> None:
    """Turning about the vertical and shifting everything moves the result and changes nothing else."""
    rng = np.random.default_rng(seed)
    fields, _ = fields_of([person(-0.5, 3.0, 300), person(0.5, 3.2, 200)], 0.05, rng)
    middle = np.array([0.0, 0.0, 4.0])
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])

    def moved(points: np.ndarray) -> np.ndarray:
        return ((points - middle) @ rotation.T + middle + [shift, 0.0, 0.0]).astype(np.float32)

    turned = PeopleFields(
        fields.foreground, moved(fields.pelvis), moved(fields.chest), fields.scale, moved(fields.points), fields.area
    )
    before, after = gather(fields, VoteConfig()), gather(turned, VoteConfig())
    assert len(before) == len(after) == 2
    for k in range(2):
        assert nearest(after, moved(before.pelvis[k]))[1] < 0.015


def test_density_equals_reference(rng: np.random.Generator) -> None:
    cells = rng.normal(0, 0.3, (6, 200)).astype(np.float32)
    mass, tightness = rng.random(200).astype(np.float32), rng.uniform(1, 30, 200).astype(np.float32)
    for place in rng.normal(0, 0.3, (20, 6)).astype(np.float32):
        assert density(place, cells, mass, tightness) == pytest.approx(
            density_reference(place, cells, mass, tightness), rel=1e-4, abs=1e-6
        )


def test_matching_is_a_mixture_of_laplace_distributions(rng: np.random.Generator) -> None:
    votes, modes = rng.normal(0, 0.2, (50, 6)), rng.normal(0, 0.2, (3, 6))
    scale, floor, outlier = rng.uniform(0.02, 0.1, 50), 0.03, 18.0
    shares = np.empty((50, 3))
    match_votes(votes, scale, modes, floor, outlier, shares)
    likelihood = np.exp(-np.abs(votes[:, None] - modes).sum(-1) / (scale + floor)[:, None])
    expected = likelihood / (likelihood.sum(1, keepdims=True) + np.exp(-outlier))
    np.testing.assert_allclose(shares, expected, atol=1e-9)


def test_decoding_equals_reference(rng: np.random.Generator) -> None:
    camera = CameraIntrinsics(160, 120, 130.0, 131.0, 80.0, 59.0)
    coarse = rng.uniform(0.5, 6.0, (120, 160)).astype(np.float32)
    coarse[rng.random(coarse.shape) < 0.3] = 0.0
    output = rng.normal(0, 2, (8, 60, 80)).astype(np.float32)
    fast, slow = decode(output, coarse, camera), decode_reference(output, coarse, camera)
    for name, array in vars(fast).items():
        np.testing.assert_allclose(array, getattr(slow, name), rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_network_of_another_kind_is_refused() -> None:
    class Other:
        description = "stand-in"

        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {"mask": np.zeros((1, 64, 64), np.float32)}

    camera = CameraIntrinsics(160, 120, 130.0, 130.0, 80.0, 60.0)
    with pytest.raises(ValueError, match=r"stand-in gives .*mask.*PeopleNet gives 'output'"):
        read_people_net(Other(), np.ones((120, 160), np.float32), CoarseView.of(camera))


def test_prompts_are_enlarged_linearly(rng: np.random.Generator) -> None:
    share = rng.random((60, 80)).astype(np.float32)
    large = enlarged(share)
    np.testing.assert_array_equal(large[::2, ::2], share)
    np.testing.assert_allclose(large[::2, 1:-1:2], 0.5 * (share[:, :-1] + share[:, 1:]), rtol=1e-6)
    np.testing.assert_allclose(
        large[1:-1:2, 1:-1:2],
        0.25 * (share[:-1, :-1] + share[:-1, 1:] + share[1:, :-1] + share[1:, 1:]),
        rtol=1e-5,
    )


@pytest.mark.parametrize("count", [0, 1, 12])
def test_apart_equals_reference(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(50):
        modes = rng.uniform(0.0, 0.5, (count, 6))
        area = np.where(rng.random(count) < 0.1, 0.0, rng.random(count) ** 4)
        expected = rng.random(count) < 0.3
        arguments = (modes, area, expected, 0.3, 0.6, 0.1, np.argsort(-area, kind="stable"))
        assert apart(*arguments).tolist() == apart_reference(*arguments)
