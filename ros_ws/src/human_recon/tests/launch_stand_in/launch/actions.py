"""Actions of the stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from launch import LaunchContext, LaunchDescriptionEntity


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text or a substitution, not {value!r}")
    return value


class DeclareLaunchArgument(LaunchDescriptionEntity):
    """Gives an argument its default and checks it against its choices."""

    def __init__(
        self,
        name: str,
        *,
        default_value: str | None = None,
        description: str | None = None,
        choices: Iterable[str] | None = None,
    ) -> None:
        self.name = name
        self.default_value = None if default_value is None else _text(default_value, "default_value")
        self.choices = None if choices is None else [_text(choice, "choice") for choice in choices]
        self.description = description or "no description given"
        if self.choices is not None and not self.choices:
            raise ValueError("Choices are provided for the argument but the list is empty")
        if self.choices is not None and default_value is not None and default_value not in self.choices:
            raise ValueError(f"Provided default_value {default_value!r} is not in the choices {self.choices}")

    def visit(self, context: LaunchContext) -> list[Any]:
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise RuntimeError(f"Required launch argument {self.name!r} was not provided.")
            context.launch_configurations[self.name] = self.default_value
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(f"Argument {self.name!r} provided value {value!r} is not valid. Valid: {self.choices}")
        return []


class OpaqueFunction(LaunchDescriptionEntity):
    """Calls a function with the context; what it returns is visited."""

    def __init__(
        self,
        *,
        function: Callable[..., list[Any] | None],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError("OpaqueFunction expected a callable for 'function'")
        self._function, self._args, self._kwargs = function, tuple(args or ()), kwargs or {}

    def visit(self, context: LaunchContext) -> list[Any]:
        return self._function(context, *self._args, **self._kwargs) or []


class SetEnvironmentVariable(LaunchDescriptionEntity):
    """A variable for the processes started afterwards."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = _text(name, "name"), _text(value, "value")

    def visit(self, context: LaunchContext) -> None:
        return None


class ExecuteProcess(LaunchDescriptionEntity):
    """A process."""

    def __init__(
        self,
        *,
        cmd: Iterable[str],
        name: str | None = None,
        output: str = "log",
        cwd: str | None = None,
        additional_env: dict[str, str] | None = None,
        prefix: str | None = None,
        shell: bool = False,
    ) -> None:
        if output not in ("log", "screen", "both", "own_log", "full"):
            raise ValueError(f"output {output!r} is not known")
        self.cmd = [_text(word, "cmd") for word in cmd]
        self.name = name

    def visit(self, context: LaunchContext) -> None:
        return None
