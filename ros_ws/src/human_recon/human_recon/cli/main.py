"""`human-recon`: the command line tool.

Each command lives in a module of its own with ``add_arguments(parser)`` and ``run(args) -> exit status``; only the
module of the command asked for is imported, so `human-recon --help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from human_recon.cli.errors import CommandError

COMMANDS = {
    "reconstruct": "find the people in a depth image, cloud or bag; write people.json, meshes and pictures",
    "view": "show people in a web page, from a running node, a recording or stored results",
    "simulate": "make a bag of people in a room as a depth camera records them, with the truth about every frame",
    "evaluate": "measure the pipeline on frames whose truth is known; write metrics.json and a report",
    "bench": "measure how long the pipeline takes; write a JSON file",
    "demo": "render a small scene, run the perception node on it and show what it found",
    "engine": "say what the networks can run on here; build, measure and check those engines",
    "rig": "turn a mesh of a person into a template that follows them from frame to frame",
    "play": "publish a bag's topics where `ros2 bag` is not installed",
}

EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells expect


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 for success, 2 for input that cannot be used, 130 when interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="human-recon", description="A depth camera in, tracked SMPL people out.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            module = importlib.import_module(f"human_recon.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)

    signal.signal(signal.SIGTERM, _interrupt)  # a polite kill cleans up like Ctrl-C
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("\nhuman-recon: interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if _was_interrupted(error):
            print("\nhuman-recon: interrupted", file=sys.stderr)
            return _EXIT_INTERRUPTED
        if not _is_the_users(error):
            raise
        print(f"human-recon: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT


def _is_the_users(error: Exception) -> bool:
    """True for errors that say what is wrong with the input; any other is a defect of ours and keeps its traceback."""
    from human_recon.body.model import ModelFileError
    from human_recon.inference.engine import EngineError
    from human_recon.io import InputError

    return isinstance(error, (CommandError, EngineError, InputError, ModelFileError))


def _was_interrupted(error: BaseException | None) -> bool:
    """True for what Ctrl-C becomes on its way through compiled code: numba wraps it into a SystemError."""
    while isinstance(error, SystemError):
        error = error.__cause__ or error.__context__
        if isinstance(error, KeyboardInterrupt):
            return True
    return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
