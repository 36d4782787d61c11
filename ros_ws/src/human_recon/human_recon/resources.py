"""Where the files that ship with the package are, models/, config/ and launch/, and where caches are kept.

The files lie beside the Python package in the source tree, and below share/human_recon of the prefix after a colcon or
pip install. No ROS import is needed to tell.
"""

from __future__ import annotations

import os
from pathlib import Path

_SHARE = Path("share") / "human_recon"


def share_folder() -> Path:
    """The folder that holds models/, config/ and launch/.

    The copy that belongs to this very code comes first: the source tree when running from it, else the share folder of
    the prefix that this module is installed in. Only then the prefixes of AMENT_PREFIX_PATH.

    Raises FileNotFoundError when the package is installed without its share folder.
    """
    module = Path(__file__).resolve()
    source_root = module.parents[1]
    if (source_root / "package.xml").is_file() and (source_root / "setup.py").is_file():
        return source_root
    prefixes = [
        *module.parents[2:],
        *map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))),
    ]
    for prefix in prefixes:
        if (prefix / _SHARE / "package.xml").is_file():
            return prefix / _SHARE
    raise FileNotFoundError(
        f"share/human_recon is neither in a prefix above {module.parent} nor in AMENT_PREFIX_PATH: "
        "build the workspace with colcon and source its setup file"
    )


def resource_path(*parts: str) -> Path:
    """The file or folder `parts` below the share folder.

    Raises FileNotFoundError, naming the whole path, when there is no such thing.
    """
    path = share_folder().joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: the installation is incomplete, or the name is wrong")
    return path


def model_path(name: str) -> Path:
    """The model file `name`, relative to models/, as in "body/open_body_adult.npz".

    Raises FileNotFoundError when there is none of that name.
    """
    return resource_path("models", *Path(name).parts)


def config_path(name: str) -> Path:
    """The configuration file `name`, relative to config/, as in "fastdds.xml".

    Raises FileNotFoundError when there is none of that name.
    """
    return resource_path("config", *Path(name).parts)


def cache_folder() -> Path:
    """$HUMAN_RECON_CACHE, else human_recon in the user's cache folder (XDG base directory specification)."""
    named = os.environ.get("HUMAN_RECON_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "human_recon"
