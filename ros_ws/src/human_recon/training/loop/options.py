"""Settings in nested dataclasses, reached by dotted names: from the command line, and to compare two runs."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def with_option(config: Config, option: str) -> Config:
    """``config``, a dataclass of dataclasses, with "stream.batch=16" applied.

    Values are written as JSON, strings with or without quotes: 3, 0.5, true, null, [160, 120], cuda.

    Raises:
        ValueError: there is no such setting, or the value is not of its type; the message lists what there is.
    """
    path, equals, text = option.partition("=")
    if not equals:
        raise ValueError(f"'{option}': write it as name=value")
    return _changed(config, path.split("."), text, path)


def _changed(config: Any, names: list[str], text: str, path: str) -> Any:
    name, *rest = names
    known = [field.name for field in fields(config)]
    if name not in known:
        raise ValueError(f"{path}: {type(config).__name__} has no '{name}', only {', '.join(known)}")
    value = getattr(config, name)
    if rest:
        if not is_dataclass(value):
            raise ValueError(f"{path}: '{name}' is a single value")
        return replace(config, **{name: _changed(value, rest, text, path)})
    if is_dataclass(value):
        raise ValueError(f"{path} is a group: {', '.join(f'{path}.{field.name}' for field in fields(value))}")
    try:
        written = json.loads(text)
    except json.JSONDecodeError:
        written = text
    kind = get_type_hints(type(config))[name]
    try:
        return replace(config, **{name: _as(written, kind)})
    except TypeError:
        wanted = kind.__name__ if kind in (bool, int, float, str) else kind
        raise ValueError(f"{path}={text}: must be {wanted}, such as {value!r}") from None


def _as(value: Any, kind: Any) -> Any:
    """``value`` as read from JSON, if it is of a type; TypeError if not."""
    origin, of = get_origin(kind), get_args(kind)
    if origin is Literal and value in of:
        return value
    if origin in (Union, types.UnionType):
        for one in of:
            try:
                return _as(value, one)
            except TypeError:
                continue
    if origin is tuple and isinstance(value, list):
        kinds = of[:1] * len(value) if of[1:] == (Ellipsis,) else of
        if len(kinds) == len(value):
            return tuple(map(_as, value, kinds))
    if kind is float and type(value) is int:
        return float(value)
    if kind in (bool, int, float, str, type(None)) and type(value) is kind:
        return value
    raise TypeError


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted names."""
    flat = {}
    for name, value in settings.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def differences(before: str, now: str, defaults: str, free: frozenset[str]) -> list[str]:
    """What differs between two configurations in JSON, apart from the settings ``free`` to change.

    A setting that did not exist ``before`` had the effect of its default.
    """
    old, new, usual = (flattened(json.loads(text)) for text in (before, now, defaults))
    changes = [
        f"{name}: {json.dumps(old.get(name, usual.get(name)))} -> {json.dumps(value)}"
        for name, value in new.items()
        if name not in free and old.get(name, usual.get(name)) != value
    ]
    return changes + [f"{name}: {json.dumps(old[name])} -> no longer exists" for name in old if name not in new]
