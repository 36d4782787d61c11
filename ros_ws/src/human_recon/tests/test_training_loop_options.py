"""Settings in nested dataclasses by dotted names, and what differs between two runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

pytest.importorskip("torch")

from training.loop.options import differences, flattened, with_option


@dataclass(frozen=True)
class Inner:
    """Every kind of field that settings have."""

    count: int = 3
    rate: float = 0.5
    on: bool = True
    size: tuple[int, int] | None = (4, 5)
    shares: tuple[float, ...] = (0.5, 0.5)
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must not be negative, got {self.count}")


@dataclass(frozen=True)
class Outer:
    """A group and a value."""

    inner: Inner = field(default_factory=Inner)
    name: str = "x"


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("inner.count=7", "count", 7),
        ("inner.rate=7", "rate", 7.0),
        ("inner.rate=1e-3", "rate", 0.001),
        ("inner.on=false", "on", False),
        ("inner.size=null", "size", None),
        ("inner.size=[160, 120]", "size", (160, 120)),
        ("inner.shares=[1, 0.5, 2]", "shares", (1.0, 0.5, 2.0)),
        ("inner.kind=b", "kind", "b"),
        ('inner.kind="b"', "kind", "b"),
    ],
)
def test_a_setting_is_changed_and_nothing_else(option: str, name: str, value: object) -> None:
    changed = with_option(Outer(), option)
    assert getattr(changed.inner, name) == value
    assert type(getattr(changed.inner, name)) is type(value)
    assert {**asdict(changed.inner), name: None} == {**asdict(Inner()), name: None}
    assert changed.name == "x"


def test_strings_need_no_quotes() -> None:
    assert with_option(Outer(), "name=a=b").name == "a=b"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("inner.count", "'inner.count': write it as name=value"),
        ("count=3", r"count: Outer has no 'count', only inner, name"),
        ("inner.cout=3", r"inner.cout: Inner has no 'cout', only count, rate, on"),
        ("inner=3", r"inner is a group: inner.count, inner.rate"),
        ("inner.count.x=3", r"inner.count.x: 'count' is a single value"),
        ("inner.count=3.5", r"inner.count=3.5: must be int, such as 3"),
        ("inner.count=true", r"inner.count=true: must be int"),
        ("inner.rate=fast", r"inner.rate=fast: must be float, such as 0.5"),
        ("inner.on=1", r"inner.on=1: must be bool"),
        ("inner.size=[1]", r"inner.size=\[1\]: must be .*tuple\[int, int\]"),
        ("inner.size=[1, 2.5]", r"must be .*tuple"),
        ("inner.kind=c", r"inner.kind=c: must be .*'a', 'b'"),
        ("inner.count=-1", r"count must not be negative, got -1"),
        ("name=3", r"name=3: must be str, such as 'x'"),
    ],
)
def test_what_is_no_setting_is_an_error(option: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_option(Outer(), option)


def test_differences() -> None:
    default = json.dumps(asdict(Outer()))
    other = json.dumps(asdict(with_option(with_option(Outer(), "inner.count=4"), "name=y")))
    assert differences(default, default, default, frozenset()) == []
    assert differences(default, other, default, frozenset()) == ["inner.count: 3 -> 4", 'name: "x" -> "y"']
    assert differences(default, other, default, frozenset({"inner.count", "name"})) == []
    older = json.loads(default)
    del older["inner"]["count"]
    older["inner"]["gone"] = 1
    assert differences(json.dumps(older), default, default, frozenset()) == ["inner.gone: 1 -> no longer exists"]
    assert differences(json.dumps(older), other, default, frozenset({"name"})) == [
        "inner.count: 3 -> 4",
        "inner.gone: 1 -> no longer exists",
    ]


def test_flattened_names_are_those_of_the_command_line() -> None:
    flat = flattened(asdict(Outer()))
    assert list(flat) == [f"inner.{name}" for name in asdict(Inner())] + ["name"]
    for name, value in flat.items():
        assert with_option(Outer(), f"{name}={json.dumps(value)}") == Outer()
