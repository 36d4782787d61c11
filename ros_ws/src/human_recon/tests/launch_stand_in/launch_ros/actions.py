"""Actions of the stand-in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from launch.actions import ExecuteProcess

_PARAMETER_TYPES = (bool, int, float, str, list, tuple)


class Node(ExecuteProcess):
    """A ROS node; `ros_arguments` are those the real action adds to its command line."""

    def __init__(
        self,
        *,
        executable: str,
        package: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        exec_name: str | None = None,
        parameters: Iterable[Mapping[str, Any] | str] | None = None,
        remappings: Iterable[tuple[str, str]] | None = None,
        ros_arguments: Iterable[str] | None = None,
        arguments: Iterable[str] | None = None,
        output: str = "log",
        **process_options: Any,
    ) -> None:
        super().__init__(cmd=[executable, *(arguments or ())], name=exec_name, output=output, **process_options)
        self.package, self.executable, self.node_name, self.namespace = package, executable, name, namespace
        self.parameters = list(parameters or [])
        self.remappings = [tuple(pair) for pair in remappings or []]
        self.arguments = list(arguments or [])
        for pair in self.remappings:
            if len(pair) != 2 or not all(isinstance(end, str) and end for end in pair):
                raise TypeError(f"remapping {pair!r} is not a pair of names")
        for entry in self.parameters:
            if isinstance(entry, Mapping):
                for key, value in entry.items():
                    if not isinstance(value, _PARAMETER_TYPES):
                        raise TypeError(f"parameter {key} has the value {value!r} of unexpected type")
            elif not isinstance(entry, str):
                raise TypeError(f"parameters must be dictionaries or file names, not {entry!r}")

    def ros_arguments(self) -> list[str]:
        """As launch_ros: name, namespace, then every parameter entry as a file in order, then remappings."""
        words = ["--ros-args"]
        if self.node_name is not None:
            words += ["-r", f"__node:={self.node_name}"]
        if self.namespace:
            words += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for entry in self.parameters:
            if isinstance(entry, str):
                if not Path(entry).is_file():
                    raise FileNotFoundError(f"Parameter file path is not a file: {entry}")
                words += ["--params-file", entry]
                continue
            with tempfile.NamedTemporaryFile("w", prefix="launch_params_", suffix=".yaml", delete=False) as file:
                yaml.safe_dump({"/**": {"ros__parameters": dict(entry)}}, file)
            words += ["--params-file", file.name]
        for old, new in self.remappings:
            words += ["-r", f"{old}:={new}"]
        return words
