"""The frozen benchmarks: the same bits every time, and what they promise to contain."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import cKDTree

from human_recon.body.model import BodyModel
from human_recon.body.parts import vertex_parts
from human_recon.camera.points import depth_to_points
from human_recon.resources import model_path
from human_recon.simulation.assets import Assets
from human_recon.simulation.benchmarks import BENCHMARKS, MANIFEST, OpenBenchmark

NOTHING = Assets()  # no recorded motion, no wardrobe: what every machine has


def opened(name: str) -> OpenBenchmark:
    """A benchmark made without data."""
    return OpenBenchmark(BENCHMARKS[name], NOTHING)


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_another_process_makes_the_same_bits(name: str) -> None:
    code = (
        "from human_recon.simulation.assets import Assets\n"
        "from human_recon.simulation.benchmarks import BENCHMARKS, OpenBenchmark\n"
        f"print(OpenBenchmark(BENCHMARKS[{name!r}], Assets()).fingerprint(3))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    assert other.stdout.strip() == opened(name).fingerprint(3)


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_benchmarks_are_what_the_manifest_froze(name: str) -> None:
    """Who changes what a benchmark draws must raise its version and freeze it again: tools/freeze_benchmarks.py."""
    frozen = json.loads(model_path(MANIFEST).read_text())
    versions = {entry["version"] for entry in frozen["benchmarks"] if entry["benchmark"] == name}
    assert BENCHMARKS[name].version in versions
    expected = frozen["outlines_without_assets"][name]
    made = opened(name).outline(len(expected))
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)


def test_a_fingerprint_sees_one_more_frame() -> None:
    assert opened("single").fingerprint(1) != opened("single").fingerprint(2)


@pytest.mark.parametrize(
    ("name", "least", "most"), [("single", 1, 1), ("multi", 2, 4), ("crowd", 5, 8), ("empty", 0, 0)]
)
def test_frames_show_as_many_people_as_they_promise(name: str, least: int, most: int) -> None:
    benchmark = BENCHMARKS[name]
    in_scene = []
    for sequence in itertools.islice(opened(name).sequences(), 4):
        (true,) = sequence
        in_scene.append(len(true.people))
        assert sum(person.visibility >= 0.3 for person in true.people) >= benchmark.least_in_view
        assert true.labels is not None
        ids = {person.id for person in true.people}
        assert set(np.unique(true.labels).tolist()) - {0} <= ids
    # Somebody for whom there is no room is left out, so a scene may have one fewer than was drawn.
    assert max(in_scene) <= most
    assert min(in_scene) >= least - 1


def test_nobody_is_in_empty_scenes_and_something_is() -> None:
    for sequence in itertools.islice(opened("empty").sequences(), 4):
        (true,) = sequence
        assert true.people == ()
        assert true.labels is not None and not true.labels.any()
        assert true.parts is not None and (true.parts == 255).all()
        assert np.mean(true.frame.depth > 0) > 0.1


def test_pixels_of_people_and_no_others_know_their_vertex(body: BodyModel) -> None:
    (true,) = next(opened("multi").sequences())
    assert true.vertices is not None and true.labels is not None and true.parts is not None
    on = true.vertices >= 0
    np.testing.assert_array_equal(on, true.labels > 0)
    np.testing.assert_array_equal(vertex_parts(body)[true.vertices[on]], true.parts[on])
    for person in true.people:  # on the body, or as far off as clothes are
        mine = on & (true.labels == person.id) & (true.frame.depth > 0)
        points = depth_to_points(true.frame.depth, true.frame.intrinsics)[mine]
        away = np.linalg.norm(points - person.vertices[true.vertices[mine]], axis=1)
        assert np.median(away) < 0.08


def test_seeds_differ() -> None:
    assert len({benchmark.seed for benchmark in BENCHMARKS.values()}) == len(BENCHMARKS)


def test_scans_are_of_the_body_they_name(body: BodyModel) -> None:
    scans = list(itertools.islice(opened("scans").scans(), 4))
    assert [scan.complete for scan in scans] == [True, False, True, False]
    assert [scan.clothed for scan in scans] == [True, True, False, False]
    for scan in scans:
        distance = cKDTree(scan.vertices).query(scan.points)[0]
        assert np.median(distance) < (0.04 if scan.clothed else 0.015)
        # Hems of skirts stand off, and stereo's mismatches lie anywhere.
        assert np.mean(distance < (0.3 if scan.clothed else 0.05)) > 0.95
        # The true correspondence of a point is about as close as the closest vertex.
        own = np.linalg.norm(scan.points - scan.vertices[scan.labels], axis=1)
        assert np.mean(own < distance + (0.15 if scan.clothed else 0.03)) > 0.95
        if scan.complete:
            assert len(scan.points) == 20_000
            reached = cKDTree(scan.points).query(scan.vertices)[0] < 0.05
            assert reached.mean() > 0.93  # from all sides; armpits and the like excepted
            assert scan.truth is None
        else:
            assert scan.truth is not None
            assert (scan.points[:, 2] > 0).all()


def test_only_scans_have_scans() -> None:
    with pytest.raises(ValueError, match="has frames, not scans"):
        next(opened("multi").scans())
