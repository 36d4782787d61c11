"""`human-recon simulate`: people in a room as a depth camera records them, with the truth about every frame."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.errors import CommandError
from human_recon.cli.progress import Progress

if TYPE_CHECKING:
    from human_recon.simulation.assets import Assets

_START_NS = 1_000_000_000  # stamp of the first frame: 0 would read as "no time" in ROS
_SCENARIOS = ("walk", "cross", "dance", "sit", "mixed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="BAG", help="rosbag2 to write; a new directory"
    )
    parser.add_argument("--people", type=int, default=3, metavar="N", help="1 to 8 (default: 3)")
    parser.add_argument("--duration", type=_seconds, default=10.0, metavar="S", help="seconds (default: 10)")
    parser.add_argument(
        "--scenario",
        choices=_SCENARIOS,
        default="mixed",
        help="what the people do (default: mixed, some of everything)",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="another seed, another sequence (default: 0)"
    )
    parser.add_argument(
        "--camera", default="kinect_v1", metavar="PRESET", help="camera to simulate (default: kinect_v1)"
    )
    parser.add_argument("--moving", action="store_true", help="the camera drives and turns slowly")
    parser.add_argument("--size", type=_size, metavar="WxH", help="image size (default: the camera's own)")
    parser.add_argument(
        "--split", choices=("train", "test"), default="train",
        help="whose people, clothes and motion; benchmarks use test (default: train)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with mocap/mocap_30hz.npz (default: $HUMAN_RECON_DATA)"
    )
    parser.add_argument("--no-color", action="store_true", help="depth alone")
    parser.add_argument("--no-noise", action="store_true", help="a faultless sensor")
    parser.add_argument("--compress", action="store_true", help="compress each message (zstd): a tenth of the size")


def run(args: argparse.Namespace) -> int:
    start = time.monotonic()
    if args.out.exists():
        raise CommandError(f"{args.out} exists already; remove it or choose another name")
    if args.data is not None and not args.data.is_dir():
        raise CommandError(f"--data {args.data} is not a folder")
    from human_recon.io.bag_writer import BagWriter
    from human_recon.simulation.assets import Assets
    from human_recon.simulation.motion import MotionFileError
    from human_recon.simulation.sensors import SensorSwitches
    from human_recon.simulation.sequence import Sequence, SequenceConfig, SequenceSource

    try:
        config = SequenceConfig(
            people=args.people,
            duration=args.duration,
            scenario=args.scenario,
            preset=args.camera,
            size=args.size,
            moving=args.moving,
            split=args.split,
            sensor=SensorSwitches.only() if args.no_noise else SensorSwitches(),
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    assets = Assets.locate(args.data)
    _say(assets)
    try:
        source = SequenceSource.load(assets, config.split, config.detail)
    except MotionFileError as error:
        raise CommandError(str(error)) from None
    sequence = Sequence(config, source, args.seed)
    progress = Progress("frames", len(sequence))
    try:
        with BagWriter(args.out, compressed=args.compress) as writer:
            for index, truth in enumerate(sequence.true_frames(_START_NS, color=not args.no_color)):
                writer.write(truth.frame)
                writer.write_truth(truth, sequence.body, sequence.floor(index))
                progress.step(index + 1)
    except OSError as error:
        raise CommandError(f"cannot write {args.out}: {error.strerror or error}") from None
    finally:
        progress.close()
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    who = "1 person" if args.people == 1 else f"{args.people} people"
    print(f"{len(sequence)} frames of {who}, {size:.0f} MB, in {args.out}; {time.monotonic() - start:.0f} s in all")
    return 0


def _say(assets: Assets) -> None:
    motion = "recorded motion" if assets.motion is not None else "no recorded motion (give --data): people walk stiffly"
    clothes = "a wardrobe" if assets.wardrobe is not None else "no wardrobe: people wear their own surface, inflated"
    print(f"with {motion}; {clothes}; the first run on a machine compiles for a minute", file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 2^63 - 1")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, as in 320x240")
    return int(width), int(height)
