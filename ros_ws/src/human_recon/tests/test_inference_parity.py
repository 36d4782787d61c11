"""The parity table: each kind of error by hand, where it is measured, and what a bad file says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from human_recon.inference.engine import EngineError, check_image
from human_recon.inference.parity import Measure, differences, load_table

LIMITS = {"fp32": 0.1, "fp16": 0.1, "int8": 0.5}
IMAGE = np.zeros((1, 2, 4, 4), np.float32)


def grid(*rows: list[float]) -> np.ndarray:
    """One channel as [1, 1, h, w]."""
    return np.array(rows, np.float32)[None, None]


def test_mask_is_one_minus_intersection_over_union() -> None:
    measure = Measure("m", "mask", "o", LIMITS)
    theirs, ours = grid([1, 1], [1, -1]), grid([1, 1], [-1, 1])
    assert measure.error({"o": ours}, {"o": theirs}, IMAGE) == pytest.approx(1 - 2 / 4)
    assert measure.error({"o": theirs * 7}, {"o": theirs}, IMAGE) == 0.0
    nothing = grid([-1, -1], [-1, -1])
    assert measure.error({"o": nothing}, {"o": nothing}, IMAGE) == 0.0


def test_class_counts_other_maxima() -> None:
    measure = Measure("c", "class", "o", LIMITS)
    theirs = np.array([[3.0, 1.0], [0.0, 1.0]], np.float32).T.reshape(1, 2, 1, 2)  # [N, C, h, w]
    ours = np.array([[3.0, 1.0], [2.0, 1.0]], np.float32).T.reshape(1, 2, 1, 2)
    assert measure.error({"o": ours}, {"o": theirs}, IMAGE) == 0.5


def test_direction_ignores_length() -> None:
    measure = Measure("d", "direction", "o", LIMITS)
    theirs = np.array([1.0, 0.0], np.float32).reshape(1, 2, 1, 1)
    assert measure.error({"o": 5 * theirs}, {"o": theirs}, IMAGE) == 0.0
    turned = np.array([1.0, 1.0], np.float32).reshape(1, 2, 1, 1)
    assert measure.error({"o": turned}, {"o": theirs}, IMAGE) == pytest.approx(1 - np.sqrt(0.5))


def test_difference_is_of_the_chosen_channels_where_they_matter() -> None:
    theirs = np.zeros((1, 3, 2, 2), np.float32)
    theirs[0, 0] = [[1, 1], [-1, -1]]  # the logit: only the upper row counts
    ours = theirs.copy()
    ours[0, 1, 0, 0], ours[0, 2, 0, 1], ours[0, 1, 1, 0] = 0.5, 8.0, 100.0
    image = IMAGE.copy()
    measure = Measure("x", "difference", "o", LIMITS, channels=(1, 2), where=("o", 0))
    assert measure.error({"o": ours}, {"o": theirs}, image) == pytest.approx(0.5 / 2)
    image[0, 1, 0, 2] = 1.0  # of the image at twice the resolution, pixel (0, 2) is pixel (0, 1) of the output
    valid = Measure("x", "difference", "o", LIMITS, channels=(1, 3), where=("o", 0), valid=1)
    assert valid.error({"o": ours}, {"o": theirs}, image) == pytest.approx(8.0 / 2)


def test_outputs_without_channels_are_compared_whole() -> None:
    theirs, ours = np.zeros((2, 5, 3), np.float32), np.full((2, 5, 3), 0.25, np.float32)
    assert Measure("p", "difference", "o", LIMITS).error({"o": ours}, {"o": theirs}, IMAGE) == pytest.approx(0.25)


def test_anything_not_finite_or_of_another_shape_is_infinitely_far() -> None:
    measure = Measure("p", "difference", "o", LIMITS)
    zeros, broken = np.zeros((1, 3), np.float32), np.array([[0.0, np.nan, 0.0]], np.float32)
    assert measure.error({"o": broken}, {"o": zeros}, IMAGE) == np.inf
    assert measure.error({"o": zeros[:, :2]}, {"o": zeros}, IMAGE) == np.inf


def test_rows_say_whether_they_pass_for_a_precision() -> None:
    table = [Measure("p", "difference", "o", LIMITS)]
    zeros, off = np.zeros((1, 3), np.float32), np.full((1, 3), 0.3, np.float32)
    for precision, passed in (("fp32", False), ("int8", True)):
        (row,) = differences(table, {"o": off}, {"o": zeros}, IMAGE, precision)  # type: ignore[arg-type]
        assert row.passed is passed
    with pytest.raises(EngineError, match="no output o"):
        differences(table, {"other": off}, {"o": zeros}, IMAGE, "fp32")


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "kind": "mask", "output": "o", "limits": LIMITS, "channels": [0, 1], "valid": 3},
        {"name": "b", "kind": "class", "output": "p", "limits": LIMITS, "where": ["o", 0]},
    ]
    path = tmp_path / "parity.json"
    path.write_text(json.dumps({"measures": rows}))
    assert load_table(path) == [
        Measure("a", "mask", "o", LIMITS, channels=(0, 1), valid=3),
        Measure("b", "class", "p", LIMITS, where=("o", 0)),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "{}",
        '{"measures": [{"name": "a"}]}',
        '{"measures": [{"name": "a", "kind": "guess", "output": "o", "limits": {"fp32": 1, "fp16": 1, "int8": 1}}]}',
        '{"measures": [{"name": "a", "kind": "mask", "output": "o", "limits": {"fp32": 1}}]}',
        None,
    ],
)
def test_a_bad_table_is_one_clear_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "parity.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EngineError, match=r"parity\.json: no parity table"):
        load_table(path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 2, 3, 4)), "float32, not of float64"),
        ([[1.0]], "not of list"),
        (np.zeros((2, 3, 4), np.float32), r"\[2, 3, 4\]"),
        (np.zeros((1, 2, 3, 5), np.float32), r"\[N, 2, 3, 4\]"),
        (np.zeros((0, 2, 3, 4), np.float32), r"\[0, 2, 3, 4\]"),
    ],
)
def test_images_are_checked(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_image(image, (2, 3, 4))
