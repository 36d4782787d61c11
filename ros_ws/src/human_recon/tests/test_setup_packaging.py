"""Packaging: what the code imports is declared, what is declared is used, and the entry points exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from configparser import ConfigParser
from pathlib import Path

import pytest

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((PACKAGE_ROOT / "human_recon").rglob("*.py"))

# Import name -> name in requirements/*.txt, where they differ.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}
# Imported where needed only (inside functions, or by the torch layer that nothing online imports); not run-time needs.
OPTIONAL = {"torch", "plyfile", "cupy", "onnx", "openvino", "tensorrt", "viser"}
# Part of every ROS 2, or used only when importable: cv_bridge and the like are not in the wheels.
ROS_OPTIONAL = {"cv_bridge", "message_filters", "tf2_ros", "hri_msgs", "ament_index_python"}
# Never imported, but rclpy's lifecycle node offers its services in these types.
ROS_IMPLIED = {"lifecycle_msgs"}
ROS_SUFFIXES = ("_msgs", "_interfaces", "_srvs")


def imported_modules(path: Path) -> set[str]:
    """First names of all modules that the file imports, anywhere in it; relative imports left out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def third_party(paths: list[Path]) -> set[str]:
    names = {name for path in paths for name in imported_modules(path)}
    return names - set(sys.stdlib_module_names) - {"human_recon", "__future__"}


def is_ros(name: str) -> bool:
    return name in {"rclpy", "launch", "launch_ros"} | ROS_OPTIONAL or name.endswith(ROS_SUFFIXES)


def requirement_names(path: Path) -> set[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines if line}


def test_python_requirements_are_complete_and_minimal(repository: Path) -> None:
    used = {DISTRIBUTIONS.get(name, name).lower() for name in third_party(SOURCES) - OPTIONAL if not is_ros(name)}
    requirements = repository / "requirements"
    declared = requirement_names(requirements / "runtime.txt") | requirement_names(requirements / "opencv.txt")
    assert used - declared == set(), "imported by the package but in no requirements file"
    assert declared - used == set(), "required but imported nowhere"


def test_requirements_have_bounds_and_the_constraints_fit_them(repository: Path) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    pins = {}
    for line in (repository / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = packaging.Requirement(line)
            pins.setdefault(pin.name.lower(), []).append(str(pin.specifier).removeprefix("=="))
    for name in ("runtime", "opencv", "view", "test"):
        for line in (repository / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            requirement = packaging.Requirement(line)
            assert {item.operator for item in requirement.specifier} >= {">=", "<"}, f"{line}: bound it on both sides"
            assert pins.get(requirement.name.lower()), f"{line}: not pinned in constraints.txt"
            assert all(requirement.specifier.contains(version) for version in pins[requirement.name.lower()]), line


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(PACKAGE_ROOT / "package.xml").getroot()


def test_ros_dependencies_are_complete_and_minimal() -> None:
    launch_files = sorted((PACKAGE_ROOT / "launch").glob("*.py"))
    used = {name for name in third_party([*SOURCES, *launch_files]) if is_ros(name)} - ROS_OPTIONAL
    root = package_xml()
    declared = {element.text for tag in ("depend", "exec_depend") for element in root.iter(tag)}
    assert used - declared == set(), "imported but not in package.xml"
    ros_declared = {name for name in declared if name and is_ros(name)} - ROS_OPTIONAL
    assert ros_declared - used - ROS_IMPLIED == set(), "in package.xml but imported nowhere"


def test_package_xml_format() -> None:
    root = package_xml()
    assert root.get("format") == "3"
    assert root.findtext("name") == "human_recon"
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("export/build_type") == "ament_python"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .egg-info folder that setuptools makes of setup.py."""
    folder = tmp_path_factory.mktemp("egg")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(folder)],
        cwd=PACKAGE_ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    return folder / "human_recon.egg-info"


def test_version_is_the_same_everywhere(metadata: Path) -> None:
    assert f"\nVersion: {package_xml().findtext('version')}\n" in (metadata / "PKG-INFO").read_text(encoding="utf-8")


def test_colcon_test_runs_pytest(metadata: Path) -> None:
    # colcon runs no test at all, and says so nowhere, when the test extra lacks pytest.
    assert "[test]\npytest\n" in (metadata / "requires.txt").read_text(encoding="utf-8")


def test_entry_points_exist(metadata: Path) -> None:
    parser = ConfigParser()
    parser.read(metadata / "entry_points.txt")
    scripts = dict(parser["console_scripts"])
    assert set(scripts) == {"perception", "human-recon"}
    for target in scripts.values():
        module, function = target.split(":")
        path = PACKAGE_ROOT / (module.replace(".", "/") + ".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, target


def test_all_packages_are_installed(metadata: Path) -> None:
    listed = (metadata / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
    for source in SOURCES:
        assert source.relative_to(PACKAGE_ROOT).as_posix() in listed, f"{source} is in a folder without __init__.py"
    kernels = list((PACKAGE_ROOT / "human_recon").rglob("*.cu"))
    assert kernels, "the CUDA source is gone"
    for source in kernels:
        assert source.relative_to(PACKAGE_ROOT).as_posix() in listed, f"{source} is not in setup.py's package_data"
    # Offline code and tests stay out of a robot's install.
    assert not any(line.startswith(("training/", "tests/")) and line.endswith("__init__.py") for line in listed)
