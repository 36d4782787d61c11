"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE_ROOT.parents[2]

# Processes that tests start import the same code as the tests do.
_search_path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
if str(PACKAGE_ROOT) not in _search_path:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *_search_path])


# A shell that starts this suite in the background makes it ignore SIGINT, and with it the processes tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def all_floats() -> Iterator[None]:
    """Training programs flush denormal numbers to zero, for the whole process; the next test wants them back."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository; skips where only the package itself is there."""
    if not (REPOSITORY / "tools" / "setup.sh").is_file():
        pytest.skip("the package is not inside its repository")
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of recorded data (real/five_people.pcd, ...): $HUMAN_RECON_DATA or shared/data beside the repository."""
    named = os.environ.get("HUMAN_RECON_DATA")
    if named:
        folder = Path(named)
        if not folder.is_dir():
            pytest.fail(f"HUMAN_RECON_DATA={named} is not a folder")
        return folder
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no recorded data: set HUMAN_RECON_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The open adult body that ships with the package."""
    from human_recon.body.model import default_body_model

    return default_body_model()


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, fresh for each test."""
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session", autouse=True)
def private_ros_domain() -> Iterator[None]:
    """Keeps this run's ROS 2 traffic, and that of the processes it starts, on this machine and apart from others'."""
    before = {name: os.environ.get(name) for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    # 0-101 are safe from the ephemeral port range on Linux. Not from `random`'s shared state, which plugins seed.
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randrange(1, 102))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
