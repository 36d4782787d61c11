"""The page as a user gets it: `human-recon view` in a process, opened in a real headless browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from human_recon.body.lbs import pose_body
from human_recon.body.state import BodyState
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.cli.main import main
from human_recon.io import write_npz, write_people_json
from human_recon.visualization.palette import person_color
from tests import viewer_support as support

pytest.importorskip("viser", reason="the viewer library is not installed (requirements/view.txt)")


@contextmanager
def view(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process, and where its page is."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "human_recon.cli.main", "view", *arguments, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield process, found.group()
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, body) -> Path:
    """A folder with five frames of depth, and their results: one person, then two, before a wall."""
    folder = tmp_path_factory.mktemp("recording")
    camera = CameraIntrinsics(80, 60, 70.0, 70.0, 39.5, 29.5)
    results = []
    for index in range(5):
        persons = []
        for number in (1, 2)[: 1 if index == 0 else 2]:
            pose = np.zeros((24, 3))
            pose[0] = (np.pi, 0.0, 0.0)
            state = BodyState(np.zeros(10), pose, np.array([0.8 * (number - 1.5) + 0.1 * index, 0.2, 3.5]))
            posed = pose_body(body, state)
            persons.append(replace(support.person(number), state=state, vertices=posed.vertices, joints=posed.joints))
        people = support.result(index, *persons)
        depth = np.full((60, 80), 4.5, np.float32)
        frame = replace(people.frame, depth=depth, intrinsics=camera)
        results.append(replace(people, frame=frame, labels=np.zeros((60, 80), np.uint16)))
    write_npz(folder / "depth.npz", [people.frame for people in results])
    write_people_json(folder / "people.json", results, body.name)
    return folder


def test_a_recording_is_shown_and_played_in_a_browser(recording: Path, tmp_path: Path) -> None:
    arguments = (str(recording / "depth.npz"), "--results", str(recording / "people.json"), "--paused")
    with view(*arguments) as (process, url), support.browser_window() as window:
        page = window.page
        page.goto(url)
        page.wait_for_selector("table.people")
        status = page.locator(".status")
        assert "frame 1/5" in status.inner_text() and "paused" in status.inner_text()
        assert page.locator("table.people tr").count() == 2  # the head and one person
        page.get_by_role("button", name="step ▶").click()
        says(page, "frame 2/5")
        assert page.locator("table.people tr").count() == 3
        page.get_by_role("button", name="play / pause").click()
        says(page, "frame 5/5")
        says(page, "paused")

        # The scene is drawn: both people in their colours.
        page.wait_for_selector("canvas")
        page.add_style_tag(content=".mantine-Notification-root {display: none}")  # "WebGL is running in software"
        picture = drawn(page, tmp_path / "view.png")
        for number in (1, 2):
            assert share(picture, person_color(number)) > 0.003, f"person {number} is not to be seen"

        # Everything came from here.
        hosts = {urlsplit(request).hostname for request in window.requests if request.startswith(("http", "ws"))}
        assert hosts == {"localhost"}
        assert window.errors == []

        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def says(page: Any, text: str) -> None:
    """Wait until the line above the tables has ``text`` in it."""
    page.wait_for_function("text => document.querySelector('.status').innerText.includes(text)", arg=text, polling=200)


def drawn(page: Any, path: Path) -> np.ndarray:
    """The page as a picture, RGB, once the scene is more than its background."""
    for _ in range(10):
        page.wait_for_timeout(1000)
        page.screenshot(path=str(path))
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        if all(share(picture, person_color(number)) > 0.003 for number in (1, 2)):
            break
    return picture


def share(picture: np.ndarray, color: tuple[int, int, int]) -> float:
    """How much of what is left of the panel has the hue of ``color``, in [0, 1]."""
    scene = picture[:, :560]
    hsv = cv2.cvtColor(scene, cv2.COLOR_RGB2HSV).astype(int)
    hue = int(cv2.cvtColor(np.uint8([[color]]), cv2.COLOR_RGB2HSV)[0, 0, 0])
    apart = np.abs((hsv[..., 0] - hue + 90) % 180 - 90)
    return float(((apart < 8) & (hsv[..., 1] > 100) & (hsv[..., 2] > 60)).mean())


def test_stored_people_are_shown_without_their_depth(recording: Path) -> None:
    with view(str(recording), "--paused") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give a SOURCE to play, or --live"),
        (("a.npz", "--live"), "give a SOURCE to play, or --live"),
        (("--live", "--results", "people.json"), "--results goes with a SOURCE"),
        (("missing.npz",), "there is no such file"),
        (("people.json",), "cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_error(
    arguments: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["view", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("human-recon: error:") and reason in told.err
    assert len(told.err.splitlines()) == 1 and told.out == ""


def test_without_the_library_it_says_what_to_install(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", str(recording)]) == 2
    told = capsys.readouterr().err
    assert "the viewer library is not installed" in told and "viser>=1.1" in told


def test_another_body_model_is_an_error(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (recording / "people.json").read_text()
    (tmp_path / "people.json").write_text(re.sub(r'"body_model": "[^"]*"', '"body_model": "somebody"', text))
    assert main(["view", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "'somebody'" in told and "--body" in told


def test_a_recording_without_frames_is_an_error(body, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_people_json(tmp_path / "people.json", [], body.name)
    assert main(["view", str(tmp_path), "--port", str(free_port())]) == 2
    assert "holds no frame" in capsys.readouterr().err
