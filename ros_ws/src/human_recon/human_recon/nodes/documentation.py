"""The tables of docs/ros.md and the parameter file, made from what the node itself uses.

`python -m human_recon.nodes.documentation FOLDER` rewrites `FOLDER/docs/ros.md` between its markers and
`FOLDER/ros_ws/src/human_recon/config/perception.yaml`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from human_recon.nodes.settings import DYNAMIC, READ_ONLY, UNCONFIGURED, ParameterSpec, parameter_specs
from human_recon.nodes.topics import HRI, INPUTS, OUTPUTS, SERVICES, TopicSpec

_CHANGE = {
    READ_ONLY: "at start only",
    UNCONFIGURED: "while unconfigured",
    DYNAMIC: "any time",
}


def parameter_table() -> str:
    """Markdown: name, type, default, range, when it can be changed, meaning."""
    rows = []
    for spec in parameter_specs():
        row = (f"`{spec.name}`", spec.type_name, f"`{_text(spec)}`", spec.range_text, _CHANGE[spec.change])
        rows.append((*row, spec.description))
    return _table(("parameter", "type", "default", "allowed", "changeable", "meaning"), rows)


def topic_table(topics: Mapping[str, TopicSpec]) -> str:
    """Markdown: topic, type, QoS, content."""
    rows = [(f"`{spec.name}`", f"`{spec.type}`", spec.qos, spec.description) for spec in topics.values()]
    return _table(("topic", "type", "QoS", "content"), rows)


def service_table() -> str:
    """Markdown: service, type, what it does."""
    rows = [(f"`{spec.name}`", f"`{spec.type}`", spec.description) for spec in SERVICES.values()]
    return _table(("service", "type", "what it does"), rows)


def parameter_file() -> str:
    """A ROS parameter file with every parameter at its default."""
    lines = [
        "# All parameters of the perception node at their defaults; made by human_recon.nodes.documentation.",
        "# ros2 launch human_recon perception.launch.py params_file:=YOUR_COPY",
        "/**:",
        "  ros__parameters:",
    ]
    for spec in parameter_specs():
        allowed = f" Allowed: {spec.range_text}." if spec.range_text else ""
        lines.append(f"    # {spec.description.replace('`', '')}{allowed} Changeable {_CHANGE[spec.change]}.")
        value = _text(spec) or '""'
        lines.append(f"    {spec.name}: {value}")
    return "\n".join(lines) + "\n"


def with_tables(text: str) -> str:
    """``text`` with what stands between `<!-- table NAME -->` and `<!-- end -->` replaced by the table of that name.

    Raises ValueError when a table is not in the text exactly once.
    """
    tables = {
        "inputs": topic_table(INPUTS),
        "outputs": topic_table(OUTPUTS),
        "services": service_table(),
        "hri": topic_table(HRI),
        "parameters": parameter_table(),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, table=table: match[1] + table + match[2], text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the text has {count} places for the table {name!r}, not 1")
    return text


def _text(spec: ParameterSpec) -> str:
    return str(spec.default).lower() if isinstance(spec.default, bool) else str(spec.default)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def main(root: Path) -> None:
    """Rewrite the tables and the parameter file in the repository ``root``."""
    page = root / "docs" / "ros.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    file = root / "ros_ws" / "src" / "human_recon" / "config" / "perception.yaml"
    file.write_text(parameter_file(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
