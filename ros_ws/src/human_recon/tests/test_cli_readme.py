"""The README at the root says what is there: links, pictures, commands, topics, parameters."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from human_recon.cli.main import COMMANDS
from human_recon.nodes import topics
from human_recon.nodes.settings import parameter_specs

ROOT = Path(__file__).resolve().parents[4]
README = ROOT / "README.md"
PACKAGE_README = Path(__file__).resolve().parents[1] / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the README is not part of an installed package")


@pytest.fixture(scope="module")
def text() -> str:
    return README.read_text()


@pytest.mark.parametrize("path", [README, PACKAGE_README])
def test_links_and_pictures_exist(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    local = [link for link in links if link and "://" not in link]
    assert local
    missing = [link for link in local if not (path.parent / link).exists()]
    assert not missing


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """Of a command and the commands in it."""
    found: set[str] = set()
    for action in parser._actions:  # argparse offers no public list
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= _options(inner)
    return found


def test_commands_and_options_exist(text):
    for line in re.findall(r"human-recon (\w[\w-]*)", text):
        assert line in COMMANDS, line
    options = {option for name in COMMANDS for option in _options(_parser(name))}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--ros-args", "--show-args"}
    assert used <= options, used - options


def test_make_targets_exist(text):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)(?=[`\s#])", text)) & {"demo", "test"} == {"demo", "test"}
    for target in re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, target


def test_topics_and_types_are_the_nodes_own(text):
    specs = {spec.name: spec for spec in (*topics.INPUTS.values(), *topics.OUTPUTS.values())}
    _, _, rest = text.partition("| in | |")
    table, _, _ = rest.partition("| parameter |")
    named = {name for name in re.findall(r"`([~/a-z_]+)`", table) if "/" in name}
    assert named and named <= set(specs), named - set(specs)
    assert {name for name in specs if name.startswith("~")} <= named


def test_parameters_and_defaults_are_the_nodes_own(text):
    specs = {spec.name: spec for spec in parameter_specs()}
    _, _, rest = text.partition("| parameter | default | |")
    table, _, _ = rest.partition("\n\n")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE)
    assert len(rows) >= 5
    for name, default in rows:
        spec = specs[name]
        value = str(spec.default).lower() if isinstance(spec.default, bool) else str(spec.default)
        assert default == f"`{value}`" or (value == "" and not default.startswith("`")), name


def test_cameras_named_are_presets(text):
    from human_recon.camera.presets import PRESETS

    assert set(re.findall(r"`((?:realsense|kinect|azure|femto|oak|zed)_\w+)`", text)) <= set(PRESETS)
    assert set(re.findall(r"camera:=(\w+)", text)) <= set(PRESETS)


def test_nothing_is_left_to_fill_in(text):
    assert not re.findall(r"@@|TODO|TBD|XXX|FIXME", text + PACKAGE_README.read_text())


def test_the_map_of_the_package_is_complete():
    package = PACKAGE_README.parent / "human_recon"
    listed = set(re.findall(r"`([a-z_]+)/`", PACKAGE_README.read_text()))
    modules = {path.parent.name for path in package.glob("*/__init__.py")}
    assert listed >= modules
    assert listed <= modules | {"tests"}


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"human_recon.cli.{name}").add_arguments(parser)
    return parser
