"""Makes the CMake files of the ROS 2 wheels usable on this machine.

The wheels' exported CMake targets name the Python and numpy include folders of the machine that built the wheels
(/opt/python/cp311-cp311/...), which do not exist here; every interface package that depends on them then fails to
configure. This rewrites them to the folders of the running interpreter. Run it with the virtual environment's Python,
again after installing more message wheels; a second run changes nothing.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

BUILD_HOST_PYTHON = re.compile(r"/opt/python/cp\d+-cp\d+t?/include/python[\d.]+t?")
BUILD_HOST_NUMPY = re.compile(r"/opt/python/cp\d+-cp\d+t?/lib/python[\d.]+t?/site-packages/numpy/_?core/include")


def fix_text(text: str, python_include: str, numpy_include: str) -> str:
    """`text` of one CMake file with the build host's include folders replaced by ours."""
    text = BUILD_HOST_PYTHON.sub(lambda _: python_include, text)
    return BUILD_HOST_NUMPY.sub(lambda _: numpy_include, text)


def fix_prefix(prefix: Path, python_include: str, numpy_include: str) -> list[Path]:
    """Rewrites every exported CMake file under `prefix`/share; returns those that changed."""
    changed = []
    for path in sorted(prefix.glob("share/*/cmake/*Export*.cmake")):
        before = path.read_text(encoding="utf-8")
        after = fix_text(before, python_include, numpy_include)
        if after != before:
            # Replace, never write in place: pip may have hard-linked the file, and a half-written one must not survive.
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
                file.write(after)
            os.chmod(file.name, path.stat().st_mode & 0o777)
            os.replace(file.name, path)
            changed.append(path)
    return changed


def main() -> None:
    import numpy

    changed = fix_prefix(Path(sys.prefix), sysconfig.get_path("include"), numpy.get_include())
    print(f"{len(changed)} CMake files rewritten")


if __name__ == "__main__":
    main()
