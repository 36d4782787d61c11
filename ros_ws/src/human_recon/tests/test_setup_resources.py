"""resources: the files that ship with the package are found from the source tree and from every install layout."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from human_recon import resources

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Loads a copy of the module as if it were installed in folder `layout` of the prefix tmp_path/prefix."""

    def load(layout: str) -> ModuleType:
        folder = tmp_path / "prefix" / layout / "human_recon"
        folder.mkdir(parents=True)
        copy = shutil.copy(resources.__file__, folder / "resources.py")
        spec = importlib.util.spec_from_file_location("installed_resources", copy)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def make_share(prefix: Path) -> Path:
    share = prefix / "share" / "human_recon"
    (share / "models" / "body").mkdir(parents=True)
    (share / "package.xml").write_text("<package/>")
    (share / "models" / "body" / "some.npz").write_bytes(b"x")
    return share


def test_source_tree() -> None:
    assert resources.share_folder() == PACKAGE_ROOT
    assert resources.resource_path("package.xml") == PACKAGE_ROOT / "package.xml"


@pytest.mark.parametrize(
    "layout", ["lib/python3.11/site-packages", "local/lib/python3.12/dist-packages", "lib/python3/dist-packages"]
)
def test_installed_module_finds_its_own_prefix(
    installed: Callable[[str], ModuleType], layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = make_share(tmp_path / "prefix")
    # A different copy, sourced in the same shell, must not be mixed with this one's code.
    make_share(tmp_path / "other")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "other"))
    assert installed(layout).model_path("body/some.npz") == share / "models" / "body" / "some.npz"


def test_ament_prefix_path_is_the_last_resort(
    installed: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = make_share(tmp_path / "elsewhere")
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(["", str(tmp_path / "empty"), str(tmp_path / "elsewhere")]))
    assert installed("lib/python3.11/site-packages").share_folder() == share


def test_missing_share_folder_is_one_clear_error(
    installed: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    with pytest.raises(FileNotFoundError, match="build the workspace with colcon"):
        installed("lib/python3.11/site-packages").share_folder()


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"models/body/no_such_body\.npz"):
        resources.model_path("body/no_such_body.npz")


def shipped_files(root: Path) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for folder in ("launch", "config", "models")
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_colcon_install_holds_everything(repository: Path, tmp_path: Path) -> None:
    """What colcon installed is complete, and used by the installed code when the source tree is not on the path."""
    prefix = repository / "ros_ws" / "install" / "human_recon"
    if not prefix.is_dir():
        pytest.skip("the workspace is not built: make setup")
    share = prefix / "share" / "human_recon"
    assert shipped_files(PACKAGE_ROOT) == shipped_files(share)
    site_packages = next(prefix.glob("lib/python3.*/site-packages"))
    environment = {**os.environ, "PYTHONPATH": str(site_packages)}
    environment.pop("AMENT_PREFIX_PATH", None)
    code = "from human_recon import resources; print(resources.__file__); print(resources.share_folder())"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert Path(output[0]).is_relative_to(site_packages)
    assert Path(output[1]) == share
