"""`human-recon engine`: what the networks can run on, how fast, and whether the outputs are right."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.errors import CommandError

if TYPE_CHECKING:
    from human_recon.inference.choice import EngineChoice
    from human_recon.inference.files import NetworkFiles, NetworkName
    from human_recon.inference.selection import Measured

_NETWORKS: tuple[NetworkName, ...] = ("people_net", "body_net")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="which engines this machine can run, and what the others lack")
    build = actions.add_parser(
        "build", help="make what the settings ask for and remember it, so that the next start is quick"
    )
    check = actions.add_parser(
        "check", help="compare every engine with ONNX Runtime in float32; fails when one differs too much"
    )
    for action in (build, check):
        action.add_argument("--network", choices=_NETWORKS, help="only this one")
        action.add_argument("--engine", default="auto", help="auto, onnxruntime, openvino, tensorrt or torch")
        action.add_argument("--precision", default="auto", help="auto, fp32, fp16 or int8")
        action.add_argument("--threads", type=int, default=0, help="on the CPU (default: all, at most 4)")
        action.add_argument("--models", type=Path, metavar="FOLDER", help="other networks than those that ship")
    check.add_argument("-o", "--out", type=Path, help="JSON file to write as well")


def run(args: argparse.Namespace) -> int:
    if args.action == "list":
        return _list()
    from human_recon.inference.choice import EngineChoice
    from human_recon.inference.files import NetworkFiles

    try:
        choice = EngineChoice(args.engine, args.precision, args.threads)
    except ValueError as error:
        raise CommandError(str(error)) from None
    names: tuple[NetworkName, ...] = (args.network,) if args.network else _NETWORKS
    networks = [NetworkFiles(name, args.models / name) if args.models else NetworkFiles.shipped(name) for name in names]
    if args.action == "build":
        return _build(networks, choice)
    return _check(networks, choice, args.out)


def _list() -> int:
    from human_recon.inference.choice import ENGINES, missing
    from human_recon.inference.gpu import gpu_name
    from human_recon.inference.selection import version

    print(f"GPU: {gpu_name() or 'none'}")
    for engine in ENGINES:
        problem = missing(engine)
        print(f"{engine:<12} {version(engine) or '-':<14} {problem or 'can run'}")
    return 0


def _build(networks: Sequence[NetworkFiles], choice: EngineChoice) -> int:
    from human_recon.inference.cache import cache_folder
    from human_recon.inference.choice import open_engine

    for files in networks:
        engine = open_engine(files.name, choice, files)  # type: ignore[arg-type]
        print(f"{files.name}: {engine.description}")
    print(f"kept in {cache_folder()}")
    return 0


def _check(networks: Sequence[NetworkFiles], choice: EngineChoice, out: Path | None) -> int:
    from human_recon.inference.choice import candidates, default_threads
    from human_recon.inference.selection import measure, plain

    asked = candidates(choice)
    report, wrong = {}, False
    for files in networks:
        measured, _ = measure(files, asked, choice.threads or default_threads())
        for one in measured:
            print(f"{files.name} {_line(one)}")
        # An engine that is not installed is no mistake, unless it is the one that was asked for.
        wrong |= any(one.rows and one.problem for one in measured) or all(one.problem for one in measured)
        report[files.name] = [plain(one) for one in measured]
    if out is not None:
        try:
            out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {out}: {error.strerror or error}") from None
    return 1 if wrong else 0


def _line(one: Measured) -> str:
    errors = ", ".join(f"{row.name} {row.error:.2g}/{row.limit:.2g}" for row in one.rows)
    if one.problem is not None:
        return f"{one.candidate}: {'FAILS' if one.rows else 'not here'}: {one.problem}"
    return f"{one.candidate}: {one.milliseconds:.2f} ms; error/allowed: {errors}"
