"""The page itself, in viser (Apache-2.0): a local web server whose one page holds all it needs.

The scene's tree is z up with the floor at 0. Below ``/camera`` everything is in the camera optical frame. People are
shown in slots that are used again and again: whatever a page once had, viser remembers for browsers that come later.
"""

from __future__ import annotations

import contextlib
import io
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import viser
import viser.uplot
from scipy.spatial.transform import Rotation

from human_recon.body.skeleton import BONES
from human_recon.people import Person, TemplateMesh
from human_recon.viewer.level import level_rotation
from human_recon.viewer.panel import people_table, status_line, timing_table
from human_recon.viewer.playback import Playback, Position
from human_recon.viewer.snapshot import Snapshot
from human_recon.visualization.palette import person_color

Coloring = Literal["image", "people", "one colour"]
_COLORINGS: tuple[Coloring, ...] = ("image", "people", "one colour")
_HIGHEST = 4.0  # times the median: the chart ends there
_HISTORY = 120  # frames in the chart of timing
_NOBODY = (128, 134, 145)  # points of nobody, when people are told by colour
_PLAIN = (170, 178, 190)  # all points, in one colour
_TINT = 0.75  # of a person's points
_UNSEEN = 0.45  # how bright joints and bones that the camera does not see are drawn
_TURN_STEP = math.radians(0.3)  # the ground is not turned for less: it would tremble
_HEIGHT_STEP = 0.02  # metres, likewise
_ASSUMED_HEIGHT = 1.2  # metres of the camera above the ground when no floor is found
_FIELD_OF_VIEW = math.radians(50.0)
_SPEEDS = ("0.1", "0.25", "0.5", "1", "2", "4")
_HIDDEN = np.zeros((1, 3), np.float32)
_NO_LINE = np.zeros((1, 2, 3), np.float32)


@dataclass
class _Slot:
    """The nodes of one person, and who it is now."""

    surface: Any
    bones: Any
    joints: Any
    label: Any
    person: int = 0
    faces: object = None  # the array the surface was made with


class Page:
    """What a browser shows. ``show`` is for one thread at a time; browsers come and go as they like."""

    def __init__(self, title: str, faces: np.ndarray, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        """Serve the page; ``faces`` [F, 3] are the body model's.

        Raises OSError when no port from ``port`` on can be had.
        """
        self._faces = faces
        self._title = title
        self._lock = threading.RLock()
        with _quiet():
            self._server = viser.ViserServer(host=host, port=port, label="human_recon", verbose=False)
        self._snapshot: Snapshot | None = None
        self._slots: list[_Slot] = []
        self._totals: deque[float] = deque([0.0] * _HISTORY, _HISTORY)  # milliseconds
        self._rotation: np.ndarray | None = None
        self._height = _ASSUMED_HEIGHT
        self._framed = False
        self._camera_of_frustum: object = None
        self._make_scene()
        self._make_panel()

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine."""
        host = self._server.get_host()
        return f"http://{'localhost' if host in ('0.0.0.0', '::', '127.0.0.1') else host}:{self._server.get_port()}"

    @property
    def watched(self) -> bool:
        """Whether any browser has the page open."""
        return bool(self._server.get_clients())

    def close(self) -> None:
        """Stop serving."""
        with _quiet():
            self._server.stop()

    def show(self, snapshot: Snapshot, notes: Sequence[str] = ()) -> None:
        """Show one frame; ``notes`` are told above the tables."""
        with self._lock, self._server.atomic():
            self._snapshot = snapshot
            self._level(snapshot)
            self._show_cloud(snapshot)
            self._show_people(snapshot)
            self._status.content = status_line((self._title, f"{snapshot.stamp_ns / 1e9:.3f} s", *notes))
            self._people.content = people_table(snapshot.people)
            if snapshot.timings:
                self._timing_folder.visible = True
                self._timing.content = timing_table(snapshot.timings)
                self._totals.append(1000.0 * sum(s for stage, s in snapshot.timings.items() if "/" not in stage))
                totals = np.array(self._totals)
                # The first frame, which may compile for a minute, would leave no room for the others.
                highest = _HIGHEST * float(np.median(totals[totals > 0])) if totals.any() else 1.0
                self._chart.data = (np.arange(1.0 - _HISTORY, 1.0), np.minimum(totals, highest))
            if not self._framed and len(snapshot.points) + len(snapshot.people) > 0:
                self._framed = True
                self._look("behind")

    def use_faces(self, faces: np.ndarray) -> None:
        """The bodies to come have these triangles [F, 3]."""
        with self._lock:
            if self._faces is not faces:
                self._faces = faces

    def tell(self, text: str) -> None:
        """Say something in the place of the frame's time, for example what is waited for."""
        with self._lock:
            self._status.content = status_line((self._title, text))

    # ---------------------------------------------------------------- the scene

    def _make_scene(self) -> None:
        scene = self._server.scene
        scene.set_up_direction("+z")
        scene.configure_default_lights(cast_shadow=False)  # a laptop has better uses for its graphics
        self._frame = scene.add_frame("/camera", show_axes=False)
        self._ground = scene.add_grid(
            "/ground", width=16.0, height=16.0, cell_size=0.5, section_size=1.0, plane="xy",
            cell_color=(44, 48, 56), section_color=(64, 70, 82), infinite_grid=False,
        )  # fmt: skip
        self._cloud = scene.add_point_cloud(
            "/camera/cloud", _HIDDEN, np.zeros((1, 3), np.uint8), point_size=0.012, precision="float32",
            point_shape="square", point_shading="flat",
        )  # fmt: skip
        # Clothes lie outside of the body: through the small points of people their bodies show.
        self._people_cloud = scene.add_point_cloud(
            "/camera/people_cloud", _HIDDEN, np.zeros((1, 3), np.uint8), point_size=0.005, precision="float32",
            point_shape="square", point_shading="flat",
        )  # fmt: skip
        self._frustum = scene.add_camera_frustum("/camera/sensor", 0.8, 4 / 3, scale=0.15, color=(150, 158, 170))

    def _slot(self, index: int) -> _Slot:
        while len(self._slots) <= index:
            scene, name = self._server.scene, f"/camera/people/{len(self._slots)}"
            # A triangle of no size until somebody is shown.
            surface = scene.add_mesh_simple(
                f"{name}/surface", np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), side="double", visible=False
            )
            bones = scene.add_line_segments(
                f"{name}/bones", _NO_LINE, np.zeros((1, 2, 3), np.uint8), thickness=0.012, visible=False
            )
            joints = scene.add_point_cloud(
                f"{name}/joints", _HIDDEN, np.zeros((1, 3), np.uint8), point_size=0.035, precision="float32",
                point_shape="circle", visible=False,
            )  # fmt: skip
            label = scene.add_label(f"{name}/label", "", anchor="bottom-center", visible=False)
            self._slots.append(_Slot(surface, bones, joints, label))
        return self._slots[index]

    def _level(self, snapshot: Snapshot) -> None:
        """Turn what the camera sees so that the floor is level."""
        rotation = level_rotation(snapshot.up)
        if self._rotation is None or (
            snapshot.up is not None and _angle(self._rotation.T @ rotation) > _TURN_STEP
        ):  # without a new direction the last one stays
            self._rotation = rotation
            self._frame.wxyz = Rotation.from_matrix(rotation).as_quat()[[3, 0, 1, 2]]
        if snapshot.camera_height is not None and abs(snapshot.camera_height - self._height) > _HEIGHT_STEP:
            self._height = snapshot.camera_height
        self._frame.position = (0.0, 0.0, self._height)
        if self._camera_of_frustum != snapshot.camera:
            camera = self._camera_of_frustum = snapshot.camera
            self._frustum.fov = 2.0 * math.atan(0.5 * camera.height / camera.fy)
            self._frustum.aspect = camera.width * camera.fy / (camera.height * camera.fx)

    def _show_cloud(self, snapshot: Snapshot) -> None:
        colors = _cloud_colors(snapshot, self._coloring.value) if self._want_cloud.value else snapshot.colors
        nobodys = snapshot.owners == 0
        for node, chosen in ((self._cloud, nobodys), (self._people_cloud, ~nobodys)):
            node.visible = self._want_cloud.value and bool(chosen.any())
            if node.visible:
                node.points = snapshot.points[chosen]
                node.colors = colors[chosen]

    def _show_people(self, snapshot: Snapshot) -> None:
        templates = {template.id: template for template in snapshot.templates} if self._want_templates.value else {}
        self._assign(snapshot.people)
        here = {person.id: person for person in snapshot.people}
        for slot in self._slots:
            if slot.person == 0:
                for node in (slot.surface, slot.bones, slot.joints, slot.label):
                    node.visible = False
            else:
                person = here[slot.person]
                self._show_person(slot, person, templates.get(person.id))

    def _assign(self, people: Sequence[Person]) -> None:
        """A slot for everybody; whoever has one keeps it."""
        here = {person.id for person in people}
        for slot in self._slots:
            if slot.person not in here:
                slot.person = 0
        placed = {slot.person for slot in self._slots}
        free = [index for index, slot in enumerate(self._slots) if slot.person == 0]
        for person in sorted(people, key=lambda person: person.id):
            if person.id not in placed:
                index = free.pop(0) if free else len(self._slots)
                self._slot(index).person = person.id

    def _show_person(self, slot: _Slot, person: Person, template: TemplateMesh | None) -> None:
        color = person_color(person.id)
        slot.surface.visible = self._want_bodies.value
        if self._want_bodies.value:
            faces, vertices = self._faces, person.vertices
            if template is not None:
                faces, vertices = template.faces, template.vertices
            if slot.faces is not faces:
                slot.faces = faces
                slot.surface.faces = np.asarray(faces, np.uint32)
            slot.surface.vertices = vertices
            slot.surface.color = color
            # Who is not seen in this frame is only supposed to be there.
            slot.surface.opacity = self._opacity.value * (1.0 if person.measured else 0.4)
        finite = np.isfinite(person.joints).all(axis=1)
        shine = np.where(person.joint_visible, 1.0, _UNSEEN)[:, None]
        slot.joints.visible = self._want_joints.value and bool(finite.any())
        if slot.joints.visible:
            slot.joints.points = person.joints[finite]
            slot.joints.colors = (255 * shine[finite] * np.ones(3)).astype(np.uint8)
        bones = [bone for bone in BONES if finite[list(bone)].all()]
        slot.bones.visible = self._want_joints.value and bool(bones)
        if slot.bones.visible:
            ends = np.array(bones)
            slot.bones.points = person.joints[ends]
            slot.bones.colors = (np.array(color) * 0.8 * shine[ends]).astype(np.uint8)
        top = person.vertices[np.isfinite(person.vertices).all(axis=1)]
        slot.label.visible = self._want_labels.value and len(top) > 0
        if slot.label.visible:
            assert self._rotation is not None
            up = self._rotation[2]
            highest = top[int(np.argmax(top @ up.astype(np.float32)))]
            slot.label.position = highest + 0.08 * up
            slot.label.text = f"{person.id}" if person.measured else f"{person.id}?"

    def _look(self, where: Literal["behind", "sensor", "above", "side"]) -> None:
        """Move the eye of every browser, and of those to come."""
        snapshot, rotation = self._snapshot, self._rotation
        if snapshot is None or rotation is None:
            return
        origin = np.array([0.0, 0.0, self._height])
        if not len(snapshot.points) + len(snapshot.people):
            return
        if snapshot.people:
            anchors = np.array([person.joints[0] for person in snapshot.people])
        else:
            anchors = snapshot.points
        anchors = anchors @ rotation.T + origin
        middle = 0.5 * (np.percentile(anchors, 5, axis=0) + np.percentile(anchors, 95, axis=0))
        distance = float(np.clip(np.hypot(middle[0], middle[1]), 1.0, 8.0))
        around = 2.6 * (1.0 + float(np.percentile(np.linalg.norm(anchors - middle, axis=1), 95)))
        if where == "sensor":
            eye = origin
        elif where == "above":
            eye = middle + np.array([-0.01, 0.0, around])
        elif where == "side":
            eye = middle + np.array([0.0, -around, 0.3])
        else:
            eye = origin + np.array([0.1 * distance, -0.35 * distance, 0.3 * distance])
            away = float(np.linalg.norm(eye - middle))
            eye = middle + (eye - middle) * max(1.0, around / max(away, 1e-6))
        if where != "sensor":  # to the left of the panel
            view = middle - eye
            right = np.array([view[1], -view[0], 0.0]) / max(float(np.hypot(view[0], view[1])), 1e-6)
            middle = middle + 0.2 * float(np.linalg.norm(view)) * right
        start = self._server.initial_camera
        start.fov = _FIELD_OF_VIEW
        start.position, start.look_at = eye, middle
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at, client.camera.fov = eye, middle, _FIELD_OF_VIEW

    # ---------------------------------------------------------------- the panel

    def _make_panel(self) -> None:
        gui = self._server.gui
        gui.configure_theme(
            control_width="large", dark_mode=True, show_logo=False, show_share_button=False, brand_color=(74, 144, 255)
        )
        self._status = gui.add_html(status_line((self._title, "waiting for the first frame")))
        eyes = gui.add_button_group("Look from", ("behind", "sensor", "above", "side"))
        eyes.on_click(lambda _: self._look(eyes.value))
        self._controls = gui.add_folder("Playback", visible=False)
        with gui.add_folder("People"):
            self._people = gui.add_html(people_table(()))
        self._timing_folder = gui.add_folder("Timing", visible=False)
        with self._timing_folder:
            self._timing = gui.add_html(timing_table({}))
            self._chart = gui.add_uplot(
                (np.arange(1.0 - _HISTORY, 1.0), np.array(self._totals)),
                (
                    viser.uplot.Series(label="frame"),
                    viser.uplot.Series(label="ms", stroke="rgb(74,144,255)", fill="rgba(74,144,255,0.2)", width=1),
                ),
                scales={
                    "x": viser.uplot.Scale(time=False, range=(1.0 - _HISTORY, 0.0)),
                    "y": viser.uplot.Scale(auto=True),
                },
                legend=viser.uplot.Legend(show=False),
                height=130,
            )
        with gui.add_folder("Show", expand_by_default=False):
            self._want_cloud = gui.add_checkbox("Points", True)
            self._want_bodies = gui.add_checkbox("Bodies", True)
            self._want_joints = gui.add_checkbox("Joints", True)
            self._want_labels = gui.add_checkbox("Ids", True)
            self._want_templates = gui.add_checkbox("Own surface", True, hint="of those who have a template")
            want_ground = gui.add_checkbox("Ground", True)
            self._coloring = gui.add_dropdown("Colour", _COLORINGS, initial_value="image")
            point_size = gui.add_slider("Point size", 0.002, 0.05, 0.001, 0.012)
            people_point_size = gui.add_slider("… of people", 0.002, 0.05, 0.001, 0.005)
            self._opacity = gui.add_slider("Bodies' opacity", 0.1, 1.0, 0.05, 0.8)
        for control in (
            self._want_cloud, self._want_bodies, self._want_joints, self._want_labels, self._want_templates,
            self._coloring, self._opacity,
        ):  # fmt: skip
            control.on_update(lambda _: self._redraw())
        people_point_size.on_update(lambda _: setattr(self._people_cloud, "point_size", people_point_size.value))
        want_ground.on_update(lambda _: setattr(self._ground, "visible", want_ground.value))
        point_size.on_update(lambda _: setattr(self._cloud, "point_size", point_size.value))

    def _redraw(self) -> None:
        with self._lock, self._server.atomic():
            if self._snapshot is not None:
                self._show_cloud(self._snapshot)
                self._show_people(self._snapshot)

    def add_freeze(self) -> Callable[[], bool]:
        """A box that holds the frame on show; returns what tells whether it is ticked."""
        self._controls.visible = True
        with self._controls:
            box = self._server.gui.add_checkbox("Freeze", False)
        return lambda: bool(box.value)

    def add_playback(self, playback: Playback, *, loop: bool, rate: float) -> Callable[[Snapshot, Position], None]:
        """Buttons for a recording; returns what shows a frame and where it is."""
        gui = self._server.gui
        self._controls.visible = True
        speeds = _SPEEDS if f"{rate:g}" in _SPEEDS else tuple(sorted((*_SPEEDS, f"{rate:g}"), key=float))
        with self._controls:
            slider = gui.add_slider("Frame", 1, 2, 1, 1)
            buttons = gui.add_button_group("", ("◀ step", "play / pause", "step ▶"))
            speed = gui.add_dropdown("Speed", speeds, initial_value=f"{rate:g}")
            again = gui.add_checkbox("Loop", loop)
        position = Position(0, None, True, 0.0)

        def press() -> None:
            if buttons.value == "play / pause":
                playback.play(not position.playing)
            else:
                playback.step(1 if buttons.value == "step ▶" else -1)

        def slide(event: Any) -> None:
            if event.client is not None:  # not our own setting of it
                playback.seek(int(slider.value) - 1)

        def show(snapshot: Snapshot, now: Position) -> None:
            nonlocal position
            position = now
            with self._lock, self._server.atomic():
                last = max(2, now.index + 1 if now.count is None else now.count)  # a slider needs two ends
                if slider.max < last or (now.count is not None and slider.max != last):
                    slider.max = last
                slider.value = now.index + 1
                of = "" if now.count is None else f"/{now.count}"
                how = f"{now.speed:.2f}× real time" if now.playing and now.speed > 0 else ""
                self.show(snapshot, (f"frame {now.index + 1}{of}", "playing" if now.playing else "paused", how))

        buttons.on_click(lambda _: press())
        slider.on_update(slide)
        speed.on_update(lambda _: playback.set_rate(float(speed.value)))
        again.on_update(lambda _: playback.set_loop(bool(again.value)))
        return show


def _cloud_colors(snapshot: Snapshot, coloring: Coloring) -> np.ndarray:
    """[N, 3] uint8."""
    if coloring == "one colour":
        return np.tile(np.array(_PLAIN, np.uint8), (len(snapshot.points), 1))
    if coloring == "image":
        return snapshot.colors
    colors = (0.5 * snapshot.colors + 0.5 * np.array(_NOBODY)).astype(np.uint8)
    for person in snapshot.people:
        mine = snapshot.owners == person.id
        tint = _TINT * np.array(person_color(person.id))
        colors[mine] = (tint + (1.0 - _TINT) * snapshot.colors[mine]).astype(np.uint8)
    return colors


def _angle(rotation: np.ndarray) -> float:
    """Of a rotation matrix, radians."""
    return float(Rotation.from_matrix(rotation).magnitude())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """viser tells of its coming and going on the standard output, which is the caller's."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
