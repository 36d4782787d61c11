"""The few classes of ROS 2's `launch` that perception.launch.py uses, for machines where `launch` is not importable.

Signatures and behaviour follow launch 3.x (Jazzy, Kilted): keyword names, what is required, how choices and defaults
are treated. An argument the real classes do not know is an error here too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class LaunchContext:
    """Holds the launch configurations: argument name -> text."""

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}


class LaunchDescriptionEntity:
    """Whatever can be visited."""

    def visit(self, context: LaunchContext) -> list[Any] | None:
        raise NotImplementedError


class LaunchDescription(LaunchDescriptionEntity):
    """A list of entities."""

    def __init__(self, initial_entities: Iterable[LaunchDescriptionEntity] | None = None) -> None:
        self.entities = list(initial_entities or [])

    def visit(self, context: LaunchContext) -> list[Any]:
        return self.entities

    def get_launch_arguments(self) -> list[Any]:
        from launch.actions import DeclareLaunchArgument

        return [entity for entity in self.entities if isinstance(entity, DeclareLaunchArgument)]


class LaunchService:
    """Visits a description depth first; processes are recorded, not started."""

    def __init__(self, argv: Iterable[str] = ()) -> None:
        self.context = LaunchContext()
        for argument in argv:
            name, separator, value = argument.partition(":=")
            if not separator:
                raise ValueError(f"malformed launch argument {argument!r}, expected format '<name>:=<value>'")
            self.context.launch_configurations[name] = value
        self.executed: list[Any] = []

    def include(self, entity: LaunchDescriptionEntity) -> None:
        children = entity.visit(self.context)
        if children is None:
            self.executed.append(entity)
            return
        for child in children:
            self.include(child)
