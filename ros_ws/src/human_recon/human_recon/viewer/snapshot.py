"""What the page shows of one frame: the result without the images it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.points import depth_to_points
from human_recon.people import People, Person, TemplateMesh
from human_recon.viewer.level import NO_UP
from human_recon.visualization.depth import depth_to_gray

MAX_POINTS = 40_000  # of the cloud: more is no clearer on a screen, and twice as much to send


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One frame to show; positions in metres in the camera optical frame."""

    stamp_ns: int
    camera: CameraIntrinsics
    points: np.ndarray  # [N, 3] float32
    colors: np.ndarray  # [N, 3] uint8 RGB: of the colour image, else the depth in grey
    owners: np.ndarray  # [N] uint16, Person.id of the person the point belongs to, 0 = nobody
    people: tuple[Person, ...]
    templates: tuple[TemplateMesh, ...]
    up: np.ndarray | None  # [3] unit vector against gravity; None when nothing tells it
    camera_height: float | None  # metres above the floor; None when there is no floor
    timings: dict[str, float]  # stage -> seconds

    @property
    def nbytes(self) -> int:
        """Memory of the arrays that make it large."""
        arrays = [self.points, self.colors, self.owners]
        arrays += [person.vertices for person in self.people]
        arrays += [template.vertices for template in self.templates]
        return sum(array.nbytes for array in arrays)


def take_snapshot(people: People, max_points: int = MAX_POINTS) -> Snapshot:
    """Keep of ``people`` what the page shows: of the depth every n-th row and column, at most ``max_points`` points."""
    frame = people.frame
    step = 1
    while (kept := frame.depth[::step, ::step] > 0).sum() > max_points:
        step += 1
    points = depth_to_points(frame.depth, frame.intrinsics)[::step, ::step][kept]
    picture = depth_to_gray(frame.depth) if frame.color is None else frame.color
    up, height = frame.up, None
    if people.floor is not None:
        up, height = people.floor.normal, float(people.floor.offset)
    if up is not None and not (np.isfinite(up).all() and np.linalg.norm(up) > NO_UP):
        up, height = None, None
    return Snapshot(
        stamp_ns=frame.stamp_ns,
        camera=frame.intrinsics,
        points=points,
        colors=np.ascontiguousarray(picture[::step, ::step][kept]),
        owners=np.ascontiguousarray(people.labels[::step, ::step][kept]),
        people=people.people,
        templates=people.templates,
        up=None if up is None else np.asarray(up, np.float64) / np.linalg.norm(up),
        camera_height=height,
        timings=dict(people.timings),
    )
