"""Takes a picture of the page of `human-recon view` in a headless Chromium:

    tools/view_picture.py RECORDING -o docs/images/view.jpg --frame 30 -- --set track=true

What follows `--` goes to `human-recon view`. The browser is found on PATH or named in $HUMAN_RECON_BROWSER.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
from playwright.sync_api import sync_playwright

_PATIENCE_MS = 300_000  # WebGL without a graphics card, beside the reconstruction
_BROWSERS = (os.environ.get("HUMAN_RECON_BROWSER", ""), "chromium-headless-shell", "chromium", "google-chrome")


def main() -> None:
    """Serve, look, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help=".jpg or .png")
    parser.add_argument("--frame", type=int, default=1, help="number of frames to go through before (default: 1)")
    parser.add_argument("--look", choices=("behind", "sensor", "above", "side"), default="behind")
    parser.add_argument("--size", default="1280x800", help="of the window")
    parser.add_argument("--port", type=int, default=8090)
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args = parser.parse_args(sys.argv[1:cut])
    view_arguments = sys.argv[cut + 1 :]
    browser_path = next((found for found in map(shutil.which, filter(None, _BROWSERS)) if found), None)
    if browser_path is None:
        sys.exit("no Chromium on PATH: run tools/install_browser.sh")
    command = [sys.executable, "-m", "human_recon.cli.main", "view", str(args.source), "--paused"]
    server = subprocess.Popen([*command, "--port", str(args.port), *view_arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        if found is None:
            sys.exit("human-recon view did not start")
        _picture(found.group(), browser_path, args)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def _picture(url: str, browser_path: str, args: argparse.Namespace) -> None:
    width, height = (int(side) for side in args.size.split("x"))
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(
            executable_path=browser_path,
            args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox"],
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(url)
        for number in range(1, args.frame + 1):
            page.wait_for_function(f"document.querySelector('.status')?.innerText.includes('frame {number}/')")
            if number < args.frame:
                page.get_by_role("button", name="step ▶").click()
        # About software rendering, which the reader of the picture does not care for.
        page.add_style_tag(content=".mantine-Notification-root {display: none}")
        page.get_by_role("button", name=args.look).click()
        page.wait_for_timeout(5000)
        page.screenshot(path=f"{folder}/page.png")
        picture = cv2.imread(f"{folder}/page.png")
        assert picture is not None
        args.out.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(args.out), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
        browser.close()


if __name__ == "__main__":
    main()
