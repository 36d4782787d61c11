"""`human-recon view`: people in a web page, from a running node, a recording or stored results."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.camera import named_camera
from human_recon.cli.errors import CommandError
from human_recon.cli.settings import add_pipeline_arguments, pipeline_config

if TYPE_CHECKING:
    import numpy as np

    from human_recon.body.model import BodyModel
    from human_recon.pipeline import PipelineConfig
    from human_recon.viewer.page import Page
    from human_recon.viewer.playback import Recording

_NO_VIEWER = (
    "the viewer library is not installed ({error}); install it with `pip install 'viser>=1.1,<2'`, or run `make setup`"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, nargs="?",
        help=".pcd, .ply, depth .png with .yaml, .npz, rosbag2 (mcap, sqlite3), or a people.json or the folder with it",
    )  # fmt: skip
    parser.add_argument("--live", action="store_true", help="show what a running perception node sees, instead")
    parser.add_argument("--node", default="/perception", metavar="NAME", help="that node's name (default: /perception)")
    parser.add_argument(
        "--results", type=Path, metavar="people.json", help="show these results over SOURCE, instead of finding people"
    )
    parser.add_argument("--body", type=Path, help="body model, SMPL's .npz or .pkl; default: the open adult body")
    parser.add_argument(
        "--camera", help="camera of an input that does not say: a preset's name, or a camera_info YAML file"
    )
    topics = parser.add_argument_group("topics of a bag", "found by type and encoding when left out")
    topics.add_argument("--depth-topic", metavar="NAME", help="sensor_msgs/Image, 16UC1 or 32FC1")
    topics.add_argument("--info-topic", metavar="NAME", help="sensor_msgs/CameraInfo")
    topics.add_argument("--color-topic", metavar="NAME", help="sensor_msgs/Image registered to the depth")
    topics.add_argument("--points-topic", metavar="NAME", help="sensor_msgs/PointCloud2 instead of a depth image")
    add_pipeline_arguments(parser)
    playing = parser.add_argument_group("playing")
    playing.add_argument("--rate", type=_positive, default=1.0, help="times real time (default: 1)")
    playing.add_argument("--loop", action="store_true", help="start over at the end")
    playing.add_argument("--paused", action="store_true", help="begin with the first frame and wait")
    page = parser.add_argument_group("page")
    page.add_argument(
        "--host", default="127.0.0.1", help="address to serve at; 0.0.0.0 lets other machines in (default: 127.0.0.1)"
    )
    page.add_argument("--port", type=_port, default=8080, help="the next free one is taken (default: 8080)")
    page.add_argument("--max-points", type=_count, default=40_000, metavar="N", help="of the cloud (default: 40000)")
    page.add_argument("--open", action="store_true", help="open the page in this machine's browser")


def run(args: argparse.Namespace) -> int:
    if args.live == (args.source is not None):
        raise CommandError("give a SOURCE to play, or --live for a running node")
    if args.live and args.results is not None:
        raise CommandError("--results goes with a SOURCE, not with --live")
    config = pipeline_config(args)
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise CommandError(_NO_VIEWER.format(error=error)) from None
    try:
        if args.live:
            return _show_live(args)
        recording, body = _recording(args, config)
        return _play(args, recording, body)
    except KeyboardInterrupt:
        return 0  # the way to leave


def _play(args: argparse.Namespace, recording: Recording, body: BodyModel) -> int:
    from human_recon.viewer.playback import Playback
    from human_recon.viewer.snapshot import Snapshot, take_snapshot

    snapshot: Callable[..., Snapshot] = partial(take_snapshot, max_points=args.max_points)
    with _page(args, args.source.name, body.faces) as page:
        playback = Playback(
            recording, snapshot, lambda *shown: show(*shown), playing=not args.paused, loop=args.loop, rate=args.rate
        )
        show = page.add_playback(playback, loop=args.loop, rate=args.rate)
        try:
            playback.run()
        except ValueError as error:
            if "no frame" not in str(error):
                raise
            raise CommandError(f"{args.source}: holds no frame; check the topics") from None
    return 0


def _show_live(args: argparse.Namespace) -> int:
    from human_recon.nodes.middleware import use_fastdds_profile
    from human_recon.resources import config_path

    use_fastdds_profile(config_path("fastdds.xml"))  # before rclpy is loaded
    try:
        from human_recon.nodes.view_source import NodeSource
    except ImportError as error:
        raise CommandError(f"ROS 2 is not available ({error}); run `make setup` and `source tools/env.sh`") from None
    import numpy as np

    from human_recon.viewer.live import show_live
    from human_recon.viewer.snapshot import Snapshot, take_snapshot

    # The node tells the triangles of its bodies before the first one can be shown.
    with NodeSource(args.node) as source, _page(args, args.node, np.zeros((1, 3), np.int32)) as page:

        def show(snapshot: Snapshot, notes: tuple[str, ...]) -> None:
            if source.faces is not None:
                page.use_faces(source.faces)
            page.show(snapshot, notes)

        snapshot = partial(take_snapshot, max_points=args.max_points)
        show_live(source, snapshot, show, page.tell, page.add_freeze(), threading.Event())
    return 0


@contextlib.contextmanager
def _page(args: argparse.Namespace, title: str, faces: np.ndarray) -> Iterator[Page]:
    """The page, told of on the standard output, until Ctrl-C."""
    from human_recon.viewer.page import Page

    try:
        page = Page(title, faces, host=args.host, port=args.port)
    except OSError as error:
        raise CommandError(f"--host {args.host} --port {args.port}: cannot serve there ({error})") from None
    try:
        print(f"human-recon: the view is at {page.url} until Ctrl-C", flush=True)
        if args.open:
            import webbrowser

            webbrowser.open(page.url)
        yield page
    finally:
        page.close()


def _recording(args: argparse.Namespace, config: PipelineConfig) -> tuple[Recording, BodyModel]:
    from human_recon.io import open_frames, read_people_json
    from human_recon.viewer.recordings import DepthRecording, StoredRecording

    source: Path = args.source
    stored = args.results
    if source.is_dir() and not (source / "metadata.yaml").exists() and (source / "people.json").exists():
        source = source / "people.json"
    if source.suffix.lower() == ".json":
        if stored is not None:
            raise CommandError(f"{source} holds results itself; leave --results out, or give the recording")
        stored, frames = source, None
    else:
        frames = open_frames(
            source,
            depth_topic=args.depth_topic,
            info_topic=args.info_topic,
            color_topic=args.color_topic,
            points_topic=args.points_topic,
            intrinsics=named_camera(args.camera),
        )
    if stored is None:
        from human_recon.pipeline import Pipeline

        assert frames is not None
        body = _body(args.body)
        pipeline = Pipeline(config, body)
        print("human-recon: the first run on a machine compiles for about a minute", file=sys.stderr)
        return DepthRecording(frames, frames.count, pipeline), body
    people = read_people_json(stored)
    body = _body(args.body)
    try:
        return StoredRecording(people, body, frames), body
    except ValueError as error:
        raise CommandError(f"{stored}: {error}; give it with --body") from None


def _body(path: Path | None) -> BodyModel:
    from human_recon.body.model import default_body_model, load_body_model

    return load_body_model(path) if path is not None else default_body_model()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return int(text)
