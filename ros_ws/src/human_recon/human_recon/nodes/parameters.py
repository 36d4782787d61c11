"""Declaring ``Settings`` as ROS parameters and guarding their changes."""

from __future__ import annotations

from collections.abc import Callable

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from human_recon.nodes.settings import (
    READ_ONLY,
    UNCONFIGURED,
    ParameterSpec,
    Settings,
    combination_problem,
    parameter_specs,
    settings_from,
)

_TYPES = {
    "bool": ParameterType.PARAMETER_BOOL,
    "integer": ParameterType.PARAMETER_INTEGER,
    "double": ParameterType.PARAMETER_DOUBLE,
    "string": ParameterType.PARAMETER_STRING,
}


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    message = ParameterDescriptor()
    message.name = spec.name
    message.type = _TYPES[spec.type_name]
    message.description = f"{spec.description} [{spec.change}]"
    message.additional_constraints = f"one of: {spec.range_text}" if spec.choices else ""
    message.read_only = spec.change == READ_ONLY
    # A double may be written as an integer in a parameter file ("max_depth: 5"): our own check allows that, a
    # statically typed parameter would not.
    message.dynamic_typing = spec.type_name == "double"
    if spec.low is not None and spec.high is not None:
        if spec.type_name == "integer":
            message.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=0)]
        else:
            message.floating_point_range = [FloatingPointRange(from_value=spec.low, to_value=spec.high, step=0.0)]
    return message


class ParameterGuard:
    """The node's parameters: declared once, refused with a reason when they make no sense.

    A value from the command line or a parameter file that cannot be taken does not end the node: the default stands in
    for it and ``problem`` says so, until a good value is set.
    """

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._specs = {spec.name: spec for spec in parameter_specs()}
        self._values: dict[str, object] = {}
        self._refused_at_start: dict[str, str] = {}  # parameter -> why its value was not taken
        self.last_refusal = ""  # newest refused change, for diagnostics
        for spec in self._specs.values():
            self._values[spec.name] = self._declare(spec)
        self.settings: Settings = settings_from(self._values)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._adopt)

    @property
    def problem(self) -> str:
        """Why the node cannot be configured with its parameters as they are; empty when it can."""
        problems = [*self._refused_at_start.values(), combination_problem(self._values)]
        return "; ".join(problem for problem in problems if problem)

    def _declare(self, spec: ParameterSpec) -> object:
        shape = descriptor(spec)
        try:
            value = self._node.declare_parameter(spec.name, spec.default, shape).value
            problem = spec.problem(value)
        except ParameterException as error:
            problem = " ".join(str(error).split())
        if problem is None:
            return value
        self._refused_at_start[spec.name] = problem
        if self._node.has_parameter(spec.name):
            self._node.undeclare_parameter(spec.name)
        self._node.declare_parameter(spec.name, spec.default, shape, ignore_override=True)
        return spec.default

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        problem = self._problem(changes)
        if problem is None:
            return SetParametersResult(successful=True)
        self.last_refusal = problem
        return SetParametersResult(successful=False, reason=problem)

    def _problem(self, changes: list[Parameter]) -> str | None:
        values = dict(self._values)
        for change in changes:
            spec = self._specs.get(change.name)
            if spec is None:
                continue  # use_sim_time and the like
            if problem := spec.problem(change.value):
                return problem
            if spec.change == UNCONFIGURED and not self._is_unconfigured():
                return f"{spec.name} is taken when the node is configured: clean up first (lifecycle transition)"
            values[spec.name] = change.value
        if combination_problem(self._values) is not None:
            return None  # wrong since the start, and the node is waiting to be mended, one parameter after the other
        return combination_problem(values)

    def _adopt(self, changes: list[Parameter]) -> None:
        for change in changes:
            if change.name in self._specs:
                self._values[change.name] = change.value
                self._refused_at_start.pop(change.name, None)
        self.settings = settings_from(self._values)
