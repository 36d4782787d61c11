"""`human-recon play`: publish a bag's topics where `ros2 bag` is not installed."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from human_recon.cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options a user of `ros2 bag play` expects."""
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2: a directory, or one .mcap or .db3 file")
    parser.add_argument("-r", "--rate", type=_positive, default=1.0, help="times real time (default 1)")
    parser.add_argument("-l", "--loop", action="store_true", help="start over at the end, until interrupted")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="play only these")
    parser.add_argument(
        "-m", "--remap", nargs="+", action="extend", type=_remap, default=[], metavar="OLD:=NEW",
        help="publish a topic of the bag under another name",
    )  # fmt: skip
    parser.add_argument(
        "--clock", nargs="?", type=_positive, const=40.0, default=0.0, metavar="HZ",
        help="publish /clock for nodes with use_sim_time (default 40 times a second)",
    )  # fmt: skip
    parser.add_argument(
        "-d", "--delay", type=_not_negative, default=2.0, metavar="SEC",
        help="wait before the first message, for subscribers to find the topics (default 2)",
    )  # fmt: skip
    parser.add_argument(
        "--start-offset", type=_not_negative, default=0.0, metavar="SEC", help="skip the beginning of the bag"
    )
    parser.add_argument(
        "--wait-for-subscribers", type=_count, nargs="?", const=1, default=0, metavar="N",
        help="first wait until there are N subscriptions to the topics played, all together (default 1)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Play the bag. Raises CommandError without ROS 2 and InputError for a bag that cannot be played."""
    from human_recon.nodes.middleware import use_fastdds_profile
    from human_recon.resources import config_path

    use_fastdds_profile(config_path("fastdds.xml"))  # before rclpy is loaded
    try:
        from human_recon.nodes.player import BagPlayer, PlayOptions
    except ImportError as error:
        raise CommandError(f"ROS 2 is not available ({error}); run `make setup` and `source tools/env.sh`") from None
    from human_recon.cli.progress import Progress

    options = PlayOptions(
        rate=args.rate,
        loop=args.loop,
        topics=tuple(args.topics),
        remap=dict(args.remap),
        clock_hz=args.clock,
        delay=args.delay,
        start_offset=args.start_offset,
        wait_for_subscribers=args.wait_for_subscribers,
    )
    with BagPlayer(args.bag, options) as player:
        for topic, reason in player.skipped.items():
            print(f"human-recon: {topic} is not played: {reason}", file=sys.stderr)
        progress = Progress("messages", None if options.loop else player.count)
        try:
            player.play(progress.step)
        finally:
            progress.close()
    return 0


def _positive(text: str) -> float:
    value = _number(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} must be more than 0")
    return value


def _not_negative(text: str) -> float:
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} must not be negative")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of subscribers")
    return int(text)


def _remap(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(":=")
    if not (separator and old and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD:=NEW")
    return old, new
