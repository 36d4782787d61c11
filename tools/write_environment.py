"""Writes the shell file that tools/env.sh applies: what human_recon needs in the environment, as plain exports.

Sourcing ROS 2's and colcon's own setup files takes up to a second, and a user's shell may not have sourced them. So
the set-up sources them once, runs this in the result, and keeps the outcome. Only entries below a ROS 2 prefix or below
this repository are kept, so nothing personal of the shell that ran the set-up is frozen into it.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

LISTS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH")
SCALARS = ("ROS_DISTRO", "ROS_VERSION", "ROS_PYTHON_VERSION", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")


def is_below(entry: str, roots: Sequence[str]) -> bool:
    """Whether the folder `entry` is one of `roots` or lies below one."""
    return any(entry == root or entry.startswith(root.rstrip("/") + "/") for root in roots)


def kept_entries(environment: Mapping[str, str], root: str) -> dict[str, list[str]]:
    """The entries of each search path that lie below a ROS 2 prefix or below the repository, in order, once each."""
    prefixes = [entry for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    # An isolated colcon workspace has one prefix per package, and its setup files in the folder above.
    prefixes += [entry for entry in environment.get("COLCON_PREFIX_PATH", "").split(os.pathsep) if entry]
    roots = [root, *prefixes]
    kept = {}
    for name in LISTS:
        entries = [entry for entry in environment.get(name, "").split(os.pathsep) if entry and is_below(entry, roots)]
        kept[name] = list(dict.fromkeys(entries))
    return kept


def environment_script(environment: Mapping[str, str], root: str) -> str:
    """Shell text (POSIX, so that bash, zsh and dash read it) that prepends the kept entries and sets the scalars."""
    lines = ["# Written by tools/setup.sh; sourced by tools/env.sh."]
    for name, entries in kept_entries(environment, root).items():
        for entry in reversed(entries):
            # Move to the front rather than add twice, so that sourcing again changes nothing.
            lines.append(f"_human_recon_prepend {name} {shlex.quote(entry)}")
    for name in SCALARS:
        if environment.get(name):
            lines.append(f"export {name}={shlex.quote(environment[name])}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument("--root", required=True, help="root of the repository")
    arguments = parser.parse_args()
    temporary = arguments.output.with_suffix(".tmp")
    temporary.write_text(environment_script(os.environ, arguments.root), encoding="utf-8")
    os.replace(temporary, arguments.output)


if __name__ == "__main__":
    main()
