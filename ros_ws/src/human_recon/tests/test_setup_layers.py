"""The layering rules of the package, read off its source and off what importing it loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
PACKAGE = PACKAGE_ROOT / "human_recon"

FOUNDATION = ("body", "camera", "geometry", "inference")  # know nothing of people
PEOPLE = ("people", "perception", "fitting", "tracking", "template", "registration")
WORKBENCH = ("simulation", "evaluation")  # what the system is measured with; no part of it
TOP = ("nodes", "cli")
FORBIDDEN = {
    **dict.fromkeys(FOUNDATION, (*PEOPLE, "ground_truth", "pipeline", "visualization", "io", *WORKBENCH, *TOP)),
    **dict.fromkeys(PEOPLE, ("ground_truth", "pipeline", "visualization", "io", *WORKBENCH, *TOP)),
    "ground_truth": ("pipeline", "visualization", "io", *WORKBENCH, *TOP),
    "pipeline": ("ground_truth", "visualization", "io", *WORKBENCH, *TOP),
    "visualization": ("pipeline", *WORKBENCH, *TOP),
    "io": ("pipeline", *WORKBENCH, *TOP),
    "simulation": ("pipeline", "evaluation", *TOP),
    "evaluation": ("simulation", *TOP),
    "viewer": ("pipeline", *WORKBENCH, *TOP),  # shows what it is handed
    "nodes": ("cli", *WORKBENCH),
}
ROS_ROOTS = ("rclpy", "ament_index_python", "tf2_ros", "cv_bridge", "message_filters", "launch", "launch_ros")


def imports(path: Path, root: Path) -> list[tuple[str, int, bool]]:
    """(dotted module, line, whether importing the file itself runs it) for each import statement in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found = []

    def visit(node: ast.AST, runs: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno, runs) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = path.relative_to(root).parent.parts
                    base = ".".join([*parts[: len(parts) - child.level + 1], *filter(None, [base])])
                # `from human_recon import nodes` names a module as well.
                found.extend((f"{base}.{alias.name}", child.lineno, runs) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                visit(child, False)
            else:
                visit(child, runs and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(tree, True)
    return found


def violations(root: Path) -> list[str]:
    """Every breach of the layering rules in the package `root`/human_recon."""
    breaches = []
    for path in sorted((root / "human_recon").rglob("*.py")):
        relative = path.relative_to(root / "human_recon")
        part = relative.parts[0].removesuffix(".py")
        for module, line, runs in imports(path, root):
            names = module.split(".")
            where = f"{relative}:{line} imports {module}"
            if names[0] == "training":
                breaches.append(f"{where}: the package never imports training")
            if part != "nodes" and (names[0] in ROS_ROOTS or names[0].endswith(("_msgs", "_interfaces"))):
                breaches.append(f"{where}: ROS belongs in nodes/")
            if names[0] == "torch" and runs and not path.stem.endswith("_torch"):
                breaches.append(f"{where}: torch is imported inside functions, or in a *_torch module")
            if names[0] == "human_recon" and len(names) > 1 and names[1] in FORBIDDEN.get(part, ()):
                breaches.append(f"{where}: {part} lies below {names[1]}")
            if names[0] == "human_recon" and names[-1].endswith("_torch") and runs and not path.stem.endswith("_torch"):
                breaches.append(f"{where}: would load torch")
    return breaches


def test_layers() -> None:
    assert violations(PACKAGE_ROOT) == []


@pytest.mark.parametrize(
    ("file", "source", "breach"),
    [
        ("body/model.py", "from human_recon.perception import hypothesis", "body lies below perception"),
        ("geometry/plane.py", "from ..people import Person", "geometry lies below people"),
        ("camera/frame.py", "from human_recon import io", "camera lies below io"),
        ("fitting/icp.py", "def f():\n    import human_recon.pipeline", "fitting lies below pipeline"),
        ("io/bag.py", "import rclpy", "ROS belongs in nodes"),
        ("pipeline.py", "from sensor_msgs.msg import Image", "ROS belongs in nodes"),
        ("body/lbs.py", "import torch.nn as nn", "torch is imported inside"),
        ("fitting/icp.py", "from human_recon.body import lbs_torch", "would load torch"),
        (
            "io/bag.py",
            "try:\n    from training.world import scene\nexcept ImportError:\n    pass",
            "never imports training",
        ),
        ("nodes/perception.py", "from human_recon.cli.main import main", "nodes lies below cli"),
    ],
)
def test_the_check_sees_each_breach(tmp_path: Path, file: str, source: str, breach: str) -> None:
    path = tmp_path / "human_recon" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n")
    assert [found for found in violations(tmp_path) if breach in found], violations(tmp_path)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("body/lbs_torch.py", "import torch"),
        ("fitting/icp.py", "def f():\n    import torch"),
        ("fitting/icp.py", "from human_recon.body.lbs import pose_body"),
        ("nodes/perception.py", "import rclpy\nfrom human_recon.pipeline import Pipeline"),
        ("body/lbs.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
    ],
)
def test_the_check_lets_good_code_pass(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / "human_recon" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source + "\n")
    assert violations(tmp_path) == []


@pytest.mark.parametrize("module", ["human_recon.pipeline", "human_recon.cli.main"])
def test_online_code_loads_neither_torch_nor_ros(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    loaded = process.stdout.split()
    assert "human_recon" in loaded
    # matplotlib and open3d: slow to load, and no requirement of the package.
    assert not {"torch", "rclpy", "smplx", "training", "matplotlib", "open3d", "pytest"} & set(loaded)
