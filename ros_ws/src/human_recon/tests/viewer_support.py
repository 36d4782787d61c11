"""Small results to show, and a browser to look at the page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.plane import Plane
from human_recon.people import People, Person

CAMERA = CameraIntrinsics(40, 30, 36.0, 36.0, 19.5, 14.5)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
_PATIENCE_MS = 180_000  # a picture is computed on the processor, beside whatever else runs there
_CORNERS = np.vstack([np.zeros(3), np.eye(3)]).astype(np.float32)


def person(number: int, x: float = 0.0, z: float = 3.0) -> Person:
    """A tetrahedron with the joints on a line."""
    joints = np.array([[x, 0.05 * (12 - joint), z] for joint in range(24)], np.float32)
    return Person(
        id=number,
        confidence=0.9,
        state=BodyState(np.zeros(10), np.zeros((24, 3)), np.array([x, 0.0, z])),
        vertices=_CORNERS + np.float32([x, 0.0, z]),
        joints=joints,
        joint_sigma=np.full(24, 0.02, np.float32),
        joint_visible=np.arange(24) % 2 == 0,
        height=1.7,
        roi=(1, 2, 3, 4),
        residual=0.01,
        life="confirmed",
    )


def result(index: int = 0, *persons: Person, period_ns: int = 100_000_000, floor: bool = False) -> People:
    """One frame: a slope of depth, whose left column of pixels belongs to person 1."""
    depth = np.broadcast_to(np.linspace(2.0, 4.0, 30, dtype=np.float32)[:, None], (30, 40)).copy()
    depth[0] = 0.0  # no reading
    labels = np.zeros((30, 40), np.uint16)
    labels[:, 0] = 1
    frame = Frame(1_000_000_000 + index * period_ns, "camera", depth, CAMERA)
    plane = Plane(np.array([0.0, -0.8, -0.6]), 1.5) if floor else None
    return People(frame, persons, labels, plane, {"detect": 0.01, "detect/votes": 0.004, "fit": 0.02})


def find_browser() -> Path | None:
    """A Chromium: $HUMAN_RECON_BROWSER, or one on PATH."""
    named = os.environ.get("HUMAN_RECON_BROWSER")
    names = [named] if named else ["chromium-headless-shell", "chromium", "google-chrome", "chrome"]
    return next((Path(found) for found in map(shutil.which, names) if found), None)


class Window:
    """A page in a headless browser, which notes what it asks for and what goes wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)


@contextmanager
def browser_window(width: int = 960, height: int = 400) -> Iterator[Window]:
    """A window of a real browser; skips the test, and says why, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing (requirements/test.txt)")
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium on PATH: run tools/install_browser.sh, or name one in $HUMAN_RECON_BROWSER")
    with playwright.sync_playwright() as driver:
        # No GPU: WebGL is computed by SwiftShader. Containers have no user namespaces for Chromium's own sandbox.
        browser = driver.chromium.launch(
            executable_path=str(path),
            args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox"],
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_PATIENCE_MS)
            yield Window(page)
        finally:
            browser.close()
