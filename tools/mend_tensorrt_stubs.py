"""Make the type stubs of TensorRT readable for mypy: run with the Python that they are installed for.

The package tensorrt-stubs (10.13) has parameters named `in`, default values like `<Enum.VALUE: 0>` and a parameter
without one after others with: no Python, all of it. Its functions return a `bool` that is TensorRT's data type of that
name. Nor does it mark itself as typed. Only `make lint` needs it.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    folders = [Path(sysconfig.get_path("purelib")) / name for name in ("tensorrt", "tensorrt_bindings")]
    stubs = [path for folder in folders for path in folder.glob("*.pyi")]
    if not stubs:
        sys.exit("tensorrt-stubs is not installed in this environment")
    for path in stubs:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"= <[^<>\n]*(?:<[^<>\n]*>[^<>\n]*)*>", "= ...", text)
        text = re.sub(r"([(,]\s*)in:", r"\1in_:", text)
        text = text.replace(
            "power: Weights = None, channel_axis: int)", "power: Weights = None, channel_axis: int = 0)"
        )
        text = text.replace("-> bool:", "-> builtins.bool:")
        if "import builtins\n" not in text:
            text = text.replace(
                "from __future__ import annotations\n", "from __future__ import annotations\nimport builtins\n", 1
            )
        path.unlink()  # it may be shared with pip's cache
        path.write_text(text, encoding="utf-8")
        (path.parent / "py.typed").touch()


if __name__ == "__main__":
    main()
