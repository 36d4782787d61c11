"""`human-recon reconstruct`: a file or bag of depth images in, people out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from human_recon.cli.camera import named_camera
from human_recon.cli.errors import CommandError
from human_recon.cli.output import result_directory
from human_recon.cli.progress import Progress
from human_recon.cli.settings import add_pipeline_arguments, pipeline_config

if TYPE_CHECKING:
    import numpy as np

    from human_recon.body.model import BodyModel
    from human_recon.camera.frame import Frame
    from human_recon.people import People, Person

RESULT_NAMES = ("people.json", "overlay.png", "side.png", "top.png", "meshes", "overlays")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help=".pcd, .ply, depth .png with .yaml, .npz, or rosbag2 (mcap, sqlite3)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory for the results")
    parser.add_argument("--body", type=Path, help="body model, SMPL's .npz or .pkl; default: the open adult body")
    parser.add_argument(
        "--camera", help="camera of an input that does not say: a preset's name, or a camera_info YAML file"
    )
    parser.add_argument("--max-frames", type=_positive, metavar="N", help="stop after N frames")
    parser.add_argument("--every", type=_positive, default=1, metavar="N", help="use each N-th frame (default: 1)")
    topics = parser.add_argument_group("topics of a bag", "found by type and encoding when left out")
    topics.add_argument("--depth-topic", metavar="NAME", help="sensor_msgs/Image, 16UC1 or 32FC1")
    topics.add_argument("--info-topic", metavar="NAME", help="sensor_msgs/CameraInfo")
    topics.add_argument("--color-topic", metavar="NAME", help="sensor_msgs/Image registered to the depth")
    topics.add_argument("--points-topic", metavar="NAME", help="sensor_msgs/PointCloud2 instead of a depth image")
    add_pipeline_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--mesh-format", choices=("ply", "glb"), default="ply", help="default: ply")
    output.add_argument("--no-meshes", action="store_true", help="do not write meshes/")
    output.add_argument("--no-pictures", action="store_true", help="do not draw pictures")


def run(args: argparse.Namespace) -> int:
    start = time.monotonic()
    # Order of checks: cheap before dear. A mistyped name must not cost the time to load everything else.
    from human_recon.io import open_frames

    config = pipeline_config(args)
    with result_directory(args.out, RESULT_NAMES) as folder:
        source = open_frames(
            args.input,
            depth_topic=args.depth_topic,
            info_topic=args.info_topic,
            color_topic=args.color_topic,
            points_topic=args.points_topic,
            intrinsics=named_camera(args.camera),
        )
        from human_recon.body.model import default_body_model, load_body_model
        from human_recon.pipeline import Pipeline

        body = load_body_model(args.body) if args.body is not None else default_body_model()
        pipeline = Pipeline(config, body)
        total = source.count
        if total is not None:
            total = -(-total // args.every)
        if args.max_frames is not None:
            total = min(total, args.max_frames) if total is not None else args.max_frames
        writer = _Writer(folder, body, args)
        progress = Progress("frames", total)
        try:
            for index, frame in _selected(source, args.every, args.max_frames):
                if not writer.results:
                    _say(args.input, frame)
                writer.add(index, frame, pipeline.process(frame), last=total == len(writer.results) + 1)
                progress.step(len(writer.results))
        finally:
            progress.close()
        if not writer.results:
            raise CommandError(f"{args.input}: holds no frame; check the topics")
        writer.finish(args.input.name)
    for line in writer.summary():
        print(line)
    print(f"results in {args.out}, {time.monotonic() - start:.1f} s in all")
    return 0


def _say(path: Path, frame: Frame) -> None:
    camera = frame.intrinsics
    print(
        f"{path.name}: {camera.width} x {camera.height} depth{' and colour' if frame.color is not None else ''}, "
        f"fx {camera.fx:.0f}; reconstructing (the first run on a machine compiles for about a minute)",
        file=sys.stderr,
    )


def _selected(frames: Iterable[Frame], every: int, limit: int | None) -> Iterator[tuple[int, Frame]]:
    """Each ``every``-th frame with its number in the input, at most ``limit``."""
    used = 0
    for index, frame in enumerate(frames):
        if index % every:
            continue
        if limit is not None and used >= limit:
            return
        used += 1
        yield index, frame


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


@dataclass
class _Tally:
    """One person over the whole input."""

    frames: int = 0
    distance: list[float] = field(default_factory=list)  # metres
    height: list[float] = field(default_factory=list)  # metres
    residual: list[float] = field(default_factory=list)  # metres

    def add(self, person: Person) -> None:
        self.frames += 1
        self.distance.append(float((person.joints[0].astype(float) ** 2).sum() ** 0.5))
        self.height.append(person.height)
        if person.residual == person.residual:  # not NaN
            self.residual.append(person.residual)


class _Writer:
    """Writes each frame's files as it comes, and what belongs to all frames at the end."""

    def __init__(self, folder: Path, body: BodyModel, args: argparse.Namespace) -> None:
        self._folder = folder
        self._body = body
        self._args = args
        self.results: list[People] = []
        self._best: People | None = None  # the frame the summary picture shows: the first with the most people
        self._tally: dict[int, _Tally] = {}

    def add(self, index: int, frame: Frame, people: People, last: bool) -> None:
        sequence = bool(self.results) or not last
        for person in people.people:
            self._tally.setdefault(person.id, _Tally()).add(person)
        if not self._args.no_meshes:
            self._write_meshes(index, people)
        if sequence and not self._args.no_pictures:
            from human_recon.visualization import draw_overlay

            write_picture(
                self._folder / "overlays" / f"{index:06d}.png", draw_overlay(people, self._body.faces, supersample=2)
            )
        if self._best is None or len(people.people) > len(self._best.people):
            self._best = people
        self.results.append(_without_images(people))

    def finish(self, name: str) -> None:
        from human_recon.io import write_people_json

        if not self._args.no_pictures and self._best is not None:
            from human_recon.visualization import draw_side_view, draw_summary, draw_top_view

            faces = self._body.faces
            write_picture(self._folder / "overlay.png", draw_summary(self._best, faces, name))
            write_picture(self._folder / "side.png", draw_side_view(self._best, faces, 960, 600))
            write_picture(self._folder / "top.png", draw_top_view(self._best, faces, 960, 720))
        write_people_json(self._folder / "people.json", self.results, self._body.name)

    def summary(self) -> Iterator[str]:
        """What was found, for people to read."""
        count = len(self.results)
        if not self._tally:
            yield "nobody found" if count == 1 else f"nobody found in {count} frames"
            return
        for person_id, tally in sorted(self._tally.items()):
            residual = f"{1000 * _median(tally.residual):4.0f} mm" if tally.residual else "   -"
            seen = f"  in {tally.frames}/{count} frames" if count > 1 else ""
            yield (
                f"person {person_id}: distance {_median(tally.distance):.2f} m  stature {_median(tally.height):.2f} m  "
                f"depth residual {residual}{seen}"
            )

    def _write_meshes(self, index: int, people: People) -> None:
        import numpy as np

        from human_recon.io import write_mesh
        from human_recon.visualization import person_color

        (self._folder / "meshes").mkdir(exist_ok=True)
        for person in people.people:
            path = self._folder / "meshes" / f"{index:06d}_person_{person.id:02d}.{self._args.mesh_format}"
            write_mesh(path, person.vertices, self._body.faces, np.array(person_color(person.id), np.uint8))


def _median(values: list[float]) -> float:
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _without_images(people: People) -> People:
    """The result without what only pictures need: a long bag must not fill the memory."""
    import dataclasses

    import numpy as np

    shape = people.labels.shape
    frame = dataclasses.replace(people.frame, depth=np.broadcast_to(np.float32(0), shape), color=None)
    bodies = tuple(dataclasses.replace(p, vertices=np.zeros((0, 3), np.float32)) for p in people.people)
    return dataclasses.replace(people, frame=frame, people=bodies, labels=np.broadcast_to(np.uint16(0), shape))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """RGB to PNG; the folder is made. Raises OSError when the disk refuses."""
    import cv2

    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
