"""Settings of the pipeline from a file and from the command line: `--pipeline CONFIG.yaml`, `--set key=value`.

The keys are the fields of the dataclass and of the dataclasses in it, joined by dots: ``icp.fine_points``.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from human_recon.cli.errors import CommandError

if TYPE_CHECKING:
    from human_recon.pipeline import PipelineConfig

Config = TypeVar("Config")


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pipeline")
    group.add_argument("--pipeline", type=Path, metavar="CONFIG.yaml", help="settings that differ from the defaults")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, for example track=false; after those of the file, may be repeated",
    )


def pipeline_config(args: argparse.Namespace) -> PipelineConfig:
    """The configuration that the arguments of :func:`add_pipeline_arguments` ask for. Raises CommandError."""
    from human_recon.pipeline import PipelineConfig

    config = PipelineConfig()
    if args.pipeline is not None:
        config = with_settings(config, _read(args.pipeline), str(args.pipeline))
    for text in args.set:
        config = with_settings(config, _one(text), f"--set {text}")
    return config


def with_settings(config: Config, settings: Mapping[str, Any], where: str) -> Config:
    """``config``, a dataclass, with other values: a mapping nested like it, or with dots in the keys.

    Raises CommandError, which begins with ``where``, for an unknown key (and lists those there are), a value of
    another type, or one that the dataclass refuses.
    """
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    hints = typing.get_type_hints(type(config))
    for key, value in settings.items():
        name, _, rest = str(key).partition(".")
        if name not in hints:
            raise CommandError(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(hints))}")
        inner = getattr(config, name)
        if dataclasses.is_dataclass(inner):
            nested = {rest: value} if rest else value
            if not isinstance(nested, Mapping):
                names = ", ".join(f"{name}.{f.name}" for f in dataclasses.fields(inner))
                raise CommandError(f"{where}: {name} is a group of settings; there are {names}")
            value = with_settings(inner, nested, where)
        elif rest:
            raise CommandError(f"{where}: {name} is a single setting, it has no {rest!r}")
        else:
            value = _checked(value, hints[name], f"{where}: {name}")
        try:
            config = dataclasses.replace(config, **{name: value})
        except ValueError as error:
            raise CommandError(f"{where}: {error}") from None
    return config


def flat(config: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(key with dots, value) of every setting in a dataclass and those in it."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from flat(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def _checked(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the annotated type. Raises CommandError."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        for option in options:
            if option is not type(None):
                try:
                    return _checked(value, option, where)
                except CommandError:
                    continue
        raise CommandError(f"{where} is {value!r}, it must be {_name(hint)}")
    if origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
        raise CommandError(f"{where} is {value!r}, it must be one of {', '.join(map(repr, typing.get_args(hint)))}")
    if origin is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, list | tuple):
            raise CommandError(f"{where} is {value!r}, it must be a list")
        if kinds[-1] is Ellipsis:
            return tuple(_checked(item, kinds[0], where) for item in value)
        if len(value) != len(kinds):
            raise CommandError(f"{where} has {len(value)} entries, it must have {len(kinds)}")
        return tuple(_checked(item, kind, where) for item, kind in zip(value, kinds, strict=True))
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value  # not NaN
    if hint is float and number:
        return float(value)
    if hint is int and number and float(value).is_integer():
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise CommandError(f"{where} is {value!r}, it must be {_name(hint)}")


def _name(hint: Any) -> str:
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return names.get(hint, str(hint).replace("typing.", ""))


def _read(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise CommandError(f"{path}: not a YAML file ({error})") from None
    if content is None:  # an empty file changes nothing
        return {}
    if not isinstance(content, Mapping):
        raise CommandError(f"{path}: it must hold settings as `key: value`")
    return content


def _one(text: str) -> dict[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise CommandError(f"--set {text}: give KEY=VALUE")
    try:
        return {key.strip(): yaml.safe_load(value)}
    except yaml.YAMLError:
        raise CommandError(f"--set {text}: the value is not YAML") from None
