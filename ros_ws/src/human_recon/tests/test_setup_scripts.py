"""The set-up scripts in tools/: run in copies of the repository's skeleton, offline."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

# Outside the virtual environment that the tests run in, which has rclpy where ROS 2 comes from wheels.
BASE_PYTHON = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def load_tool(repository: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, repository / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- fix_ros_wheels.py

EXPORTED = """\
set_target_properties(std_msgs::std_msgs__rosidl_generator_py PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include/std_msgs;/opt/python/cp311-cp311/include/python3.11;\
/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"
"""


def test_fix_text_names_this_interpreters_folders(repository: Path) -> None:
    tool = load_tool(repository, "fix_ros_wheels")
    fixed = tool.fix_text(EXPORTED, r"/py\1/include", "/np/include")
    assert '"${_IMPORT_PREFIX}/include/std_msgs;/py\\1/include;/np/include"' in fixed
    assert tool.fix_text(fixed, r"/py\1/include", "/np/include") == fixed
    old_numpy = "/opt/python/cp310-cp310/lib/python3.10/site-packages/numpy/core/include"
    assert tool.fix_text(old_numpy, "/py", "/np") == "/np"


def test_fix_prefix_touches_only_what_needs_it(repository: Path, tmp_path: Path) -> None:
    tool = load_tool(repository, "fix_ros_wheels")
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    broken = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    broken.write_text(EXPORTED)
    twin = tmp_path / "pip_cache_entry"
    os.link(broken, twin)
    fine = folder / "export_std_msgs__rosidl_generator_cExport.cmake"
    fine.write_text("# nothing to mend\n")
    before = fine.stat().st_mtime_ns
    assert tool.fix_prefix(tmp_path, "/py", "/np") == [broken]
    assert "/opt/python" not in broken.read_text()
    assert twin.read_text() == EXPORTED, "a file shared with pip's cache must not be written through"
    assert fine.stat().st_mtime_ns == before
    assert tool.fix_prefix(tmp_path, "/py", "/np") == []
    assert sorted(path.name for path in folder.iterdir()) == sorted([broken.name, fine.name])


# ---------------------------------------------------------------- write_environment.py and env.sh


def test_environment_keeps_only_ros_and_repository_entries(repository: Path) -> None:
    tool = load_tool(repository, "write_environment")
    environment = {
        "AMENT_PREFIX_PATH": "/repo/ros_ws/install/pkg:/opt/ros/jazzy",
        "PYTHONPATH": "/repo/src:/home/someone/private:/opt/ros/jazzy/lib/python3.12/site-packages:/opt/ros/jazzy2/x",
        "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib:/usr/local/cuda/lib64:/opt/ros/jazzy/lib",
        "PATH": "/repo/.venv/bin:/opt/ros/jazzy/bin:/usr/bin",
    }
    assert tool.kept_entries(environment, "/repo") == {
        "PATH": ["/repo/.venv/bin", "/opt/ros/jazzy/bin"],
        "PYTHONPATH": ["/repo/src", "/opt/ros/jazzy/lib/python3.12/site-packages"],
        "LD_LIBRARY_PATH": ["/opt/ros/jazzy/lib"],
        "AMENT_PREFIX_PATH": ["/repo/ros_ws/install/pkg", "/opt/ros/jazzy"],
        "CMAKE_PREFIX_PATH": [],
    }


@pytest.fixture
def prepared(repository: Path, tmp_path: Path) -> Path:
    """A repository whose set-up is done, in a folder whose name needs quoting; only env.sh and its input are real."""
    root = tmp_path / "a person's repo"
    state = root / ".venv" / ".human_recon"
    state.mkdir(parents=True)
    (root / "tools").mkdir()
    shutil.copy(repository / "tools" / "env.sh", root / "tools")
    config = root / "ros_ws" / "src" / "human_recon" / "config"
    config.mkdir(parents=True)
    (config / "fastdds.xml").write_text("<profiles/>")
    environment = {
        "AMENT_PREFIX_PATH": f"{root}/install:/opt/ros/jazzy",
        "PATH": f"{root}/.venv/bin:/opt/ros/jazzy/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib",
        "ROS_DISTRO": "jazzy",
    }
    tool = load_tool(repository, "write_environment")
    (state / "environment.sh").write_text(tool.environment_script(environment, str(root)))
    return root


def sourced(root: Path, times: int = 1, shell: str = "bash", **environment: str) -> dict[str, str]:
    """The environment after sourcing env.sh `times` times in a shell that has only `environment`."""
    script = '. "$1/tools/env.sh";' * times + "env -0"
    output = subprocess.run(
        [shell, "-euc", script, shell, str(root)], env=environment, check=True, capture_output=True, text=True
    ).stdout
    return dict(item.split("=", 1) for item in output.split("\0") if item)


def test_env_prepends_and_is_idempotent(prepared: Path) -> None:
    start = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/mine"}
    once = sourced(prepared, **start)
    assert once["PATH"] == f"{prepared}/.venv/bin:/opt/ros/jazzy/bin:/usr/bin:/bin"
    assert once["LD_LIBRARY_PATH"] == "/opt/ros/jazzy/lib:/mine"
    assert once["AMENT_PREFIX_PATH"] == f"{prepared}/install:/opt/ros/jazzy"
    assert once["ROS_DISTRO"] == "jazzy"
    assert once["VIRTUAL_ENV"] == f"{prepared}/.venv"
    assert once["FASTDDS_DEFAULT_PROFILES_FILE"] == f"{prepared}/ros_ws/src/human_recon/config/fastdds.xml"
    assert "PYTHONPATH" not in once
    assert sourced(prepared, times=2, **start) == once
    # No empty entry ever: in PATH and LD_LIBRARY_PATH it means the current folder.
    assert "LD_LIBRARY_PATH" in sourced(prepared, PATH="/usr/bin:/bin")
    assert sourced(prepared, PATH="/usr/bin:/bin")["LD_LIBRARY_PATH"] == "/opt/ros/jazzy/lib"


def test_env_moves_entries_of_another_order_to_the_front(prepared: Path) -> None:
    start = {
        "PATH": f"/usr/bin:/bin:{prepared}/.venv/bin",
        "AMENT_PREFIX_PATH": f"/opt/ros/jazzy:{prepared}/install:/z",
    }
    result = sourced(prepared, **start)
    assert result["PATH"] == f"{prepared}/.venv/bin:/opt/ros/jazzy/bin:/usr/bin:/bin"
    assert result["AMENT_PREFIX_PATH"] == f"{prepared}/install:/opt/ros/jazzy:/z"


def test_env_respects_the_users_own_dds_profile(prepared: Path) -> None:
    assert sourced(prepared, PATH="/usr/bin:/bin", FASTDDS_DEFAULT_PROFILES_FILE="/my.xml")[
        "FASTDDS_DEFAULT_PROFILES_FILE"
    ] == ("/my.xml")


def test_env_in_zsh(prepared: Path) -> None:
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("no zsh on this machine")
    start = {"PATH": "/usr/bin:/bin"}
    assert sourced(prepared, shell=zsh, **start)["PATH"] == sourced(prepared, **start)["PATH"]


def test_env_before_the_setup_says_what_to_do(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(repository / "tools" / "env.sh", tmp_path / "tools")
    process = subprocess.run(
        ["bash", "-c", f"source '{tmp_path}/tools/env.sh' && echo entered"], capture_output=True, text=True
    )
    assert process.returncode != 0
    assert "entered" not in process.stdout
    assert "run 'make setup'" in process.stderr


# ---------------------------------------------------------------- setup.sh


# Notes how it was called, and leaves an install tree.
FAKE_COLCON = r"""#!/usr/bin/env bash
echo "$@" >>calls
while [ "$1" != --packages-select ]; do shift; done
mkdir -p "install/$2"
cat >install/local_setup.bash <<END
export AMENT_PREFIX_PATH="$PWD/install:\$AMENT_PREFIX_PATH"
END
"""


class Skeleton:
    """A copy of what setup.sh works on, with empty requirements, so that nothing is downloaded."""

    def __init__(self, repository: Path, root: Path) -> None:
        self.root = root
        self.state = root / ".venv" / ".human_recon"
        shutil.copytree(repository / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "requirements").mkdir()
        for path in (repository / "requirements").iterdir():
            (root / "requirements" / path.name).write_text("# nothing\n")
        for package in ("human_recon", "human_recon_msgs"):
            folder = root / "ros_ws" / "src" / package
            folder.mkdir(parents=True)
            (folder / "package.xml").write_text("<package/>")
        self.fake_ros = root.parent / "fake ros"
        # rclpy cannot be imported: finding it has to be enough. The numpy is what the machine's ROS 2 is built with.
        for name, source in (("rclpy", "raise RuntimeError('imported')"), ("numpy", "__version__ = '1.26.4'")):
            folder = self.fake_ros / "python" / name
            folder.mkdir(parents=True)
            (folder / "__init__.py").write_text(source)
        programs = self.fake_ros / "bin"
        programs.mkdir()
        (programs / "colcon").write_text(FAKE_COLCON)
        for name in ("cmake", "ninja"):
            (programs / name).write_text("#!/bin/sh\nexit 1\n")
        for program in programs.iterdir():
            program.chmod(0o755)

    def run(self, *arguments: str, ros: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.pathsep.join([str(Path(BASE_PYTHON).parent), "/usr/bin", "/bin"]),
            "HOME": str(self.root.parent),
            "PIP_NO_INDEX": "1",
            "PYTHON": BASE_PYTHON,
            "TORCH": "none",
        }
        if ros:
            environment |= {
                "AMENT_PREFIX_PATH": str(self.fake_ros),
                "PYTHONPATH": str(self.fake_ros / "python"),
                "PATH": os.pathsep.join([str(self.fake_ros / "bin"), environment["PATH"]]),
                "ROS_DISTRO": "jazzy",
            }
        environment |= extra
        return subprocess.run(
            ["bash", str(self.root / "tools" / "setup.sh"), *arguments],
            env={name: value for name, value in environment.items() if value},
            capture_output=True,
            text=True,
        )

    def stamps(self) -> set[str]:
        return {path.stem for path in self.state.glob("*.stamp")}


@pytest.fixture
def skeleton(repository: Path, tmp_path: Path) -> Skeleton:
    return Skeleton(repository, tmp_path / "a repo")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"PYTHON": "/bin/false"}, "PYTHON=/bin/false is not a Python 3.10-3.13"),
        ({"HUMAN_RECON_ROS": "2"}, "HUMAN_RECON_ROS=2 is not one of auto, system, wheels"),
        ({"TORCH": "1"}, "TORCH=1 is not one of auto, any, none"),
        ({"AMENT_PREFIX_PATH": "/nowhere"}, "cannot import its rclpy"),
        ({"AMENT_PREFIX_PATH": "/nowhere", "HUMAN_RECON_ROS": "wheels"}, "Use a shell without it"),
    ],
)
def test_setup_refuses_with_one_clear_line(skeleton: Skeleton, extra: dict[str, str], message: str) -> None:
    process = skeleton.run(**extra)
    assert process.returncode == 1
    assert message in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert not (skeleton.root / ".venv").exists()


def test_setup_leaves_a_foreign_venv_alone(skeleton: Skeleton) -> None:
    venv = skeleton.root / ".venv"
    venv.mkdir()
    (venv / "precious").write_text("x")
    process = skeleton.run(ros=True)
    assert process.returncode == 1
    assert "was not made by this set-up" in process.stderr
    assert (venv / "precious").read_text() == "x"


def bundled_pip() -> tuple[int, ...]:
    """Version of the pip that a new virtual environment of this Python begins with; (0,) when it brings none."""
    try:
        import ensurepip
    except ImportError:
        return (0,)
    return tuple(int(part) for part in ensurepip.version().split(".")[:2])


# These run without a package index, so an older pip cannot be renewed as the set-up otherwise does.
offline_pip = pytest.mark.skipif(bundled_pip() < (23, 1), reason="this Python's own pip is older than 23.1")


@offline_pip
def test_setup_on_a_ros_machine(skeleton: Skeleton, tmp_path: Path) -> None:
    """The branch for a machine with ROS 2: nothing of it is installed over, and the second run does nothing."""
    # Left by an interrupted run: no stamp, so it is made again.
    (skeleton.root / ".venv" / "bin").mkdir(parents=True)
    (skeleton.root / ".venv" / "bin" / "python").write_text("half written")
    skeleton.state.mkdir()
    # The user's own virtual environment is active; the Python behind it is the one to use.
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True)
    process = skeleton.run(ros=True, PYTHON=str(tmp_path / "other" / "bin" / "python"))
    assert process.returncode == 0, process.stderr
    assert f"home = {Path(BASE_PYTHON).parent}" in (skeleton.root / ".venv" / "pyvenv.cfg").read_text()
    assert "(system ROS 2)" in process.stdout
    assert "wheels" not in process.stdout
    assert skeleton.stamps() == {
        "venv", "constraints", "torch", "requirements", "build_tools", "messages", "package", "environment",
    }  # fmt: skip
    venv = skeleton.root / ".venv"
    assert "include-system-site-packages = true" in (venv / "pyvenv.cfg").read_text()
    assert not list(venv.glob("lib/python3.*/site-packages/*rclpy*"))
    assert not list(venv.glob("lib/python3.*/site-packages/numpy*"))
    # What pip adds has to go with the system's numpy instead of replacing it.
    assert (skeleton.state / "constraints.txt").read_text() == "numpy==1.26.4\n"
    calls = (skeleton.root / "ros_ws" / "calls").read_text().splitlines()
    assert ["human_recon_msgs" in call.split() for call in calls] == [True, False]

    # The command line tool's environment needs nothing sourced.
    result = sourced(skeleton.root, PATH="/usr/bin:/bin")
    assert result["AMENT_PREFIX_PATH"].split(":") == [f"{skeleton.root}/ros_ws/install", str(skeleton.fake_ros)]
    assert result["PYTHONPATH"].split(":") == [
        f"{skeleton.root}/ros_ws/src/human_recon", f"{skeleton.fake_ros}/python",
    ]  # fmt: skip
    assert result["PATH"].split(":")[0] == f"{skeleton.root}/.venv/bin"
    assert result["ROS_DISTRO"] == "jazzy"

    again = skeleton.run(ros=True)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    # Nor when run from a shell that has entered the environment.
    inside = skeleton.run(
        ros=False, **{**result, "PYTHON": BASE_PYTHON, "PATH": f"{skeleton.fake_ros}/bin:{result['PATH']}"}
    )
    assert (inside.returncode, inside.stdout, inside.stderr) == (0, "", "")

    # A changed message is built again, and the package with it only if it changed too.
    (skeleton.root / "ros_ws/src/human_recon_msgs/new.msg").write_text("int32 x\n")
    changed = skeleton.run(ros=True)
    assert "Building human_recon_msgs" in changed.stdout
    assert "Building human_recon\n" not in changed.stdout


def test_setup_ignores_the_environment_of_another_clone(skeleton: Skeleton) -> None:
    other = skeleton.fake_ros
    process = skeleton.run(ros=True, HUMAN_RECON_ROOT=str(other), VIRTUAL_ENV=f"{other}/.venv", PYTHON="")
    assert "(wheels ROS 2)" in process.stdout, process.stderr
    assert str(other) not in (skeleton.state / "venv.log").read_text()


@offline_pip
def test_a_failed_step_runs_again(skeleton: Skeleton) -> None:
    runtime = skeleton.root / "requirements" / "runtime.txt"
    runtime.write_text("no-such-package-of-human-recon\n")
    for _ in range(2):
        process = skeleton.run(ros=True)
        assert process.returncode == 1
        assert "'Installing what the package and its tests import' failed" in process.stderr
        assert "no-such-package-of-human-recon" in process.stderr, "pip's own words belong in the message"
        assert skeleton.stamps() == {"venv", "constraints", "torch"}
    runtime.write_text("# nothing\n")
    process = skeleton.run(ros=True)
    assert process.returncode == 0, process.stderr
    assert "Creating .venv" not in process.stdout, "what succeeded is kept"


def test_command_line_tool_works_in_an_empty_environment(repository: Path, tmp_path: Path) -> None:
    tool = repository / ".venv" / "bin" / "human-recon"
    if not tool.is_file():
        pytest.skip("not set up: make setup")
    process = subprocess.run(
        [str(tool), "--help"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "reconstruct" in process.stdout
