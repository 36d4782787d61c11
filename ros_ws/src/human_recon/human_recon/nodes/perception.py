"""The perception node: depth in, people out. Messages and life cycle only; the work is `human_recon.pipeline`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from human_recon.camera.frame import Frame
from human_recon.io.errors import InputError
from human_recon.nodes import hri, results, topics
from human_recon.nodes.diagnostics import Health, diagnostic_array
from human_recon.nodes.frames import frame_from_cloud, frame_from_images, stamp_ns
from human_recon.nodes.markers import MarkerMaker, delete_all
from human_recon.nodes.middleware import use_fastdds_profile
from human_recon.nodes.optional import (
    ApproximateTimeSynchronizer,
    RotationLookup,
    SimpleFilter,
    listen_to_rotations,
)
from human_recon.nodes.parameters import ParameterGuard
from human_recon.nodes.saving import save_people
from human_recon.nodes.settings import Settings
from human_recon.nodes.templates import TemplateMaker
from human_recon.nodes.worker import LatestWorker
from human_recon.people import People, Person
from human_recon.resources import config_path

if TYPE_CHECKING:
    from human_recon.body.model import BodyModel

RCLError = rclpy_implementation.RCLError

_LEVEL_CHECK_PERIOD = 0.1  # seconds: how late a change of level may be told
_MOST_SAVES = 16  # calls of save_person that may wait
_PATIENCE = 0.014  # seconds that a frame which has waited is put off for a younger one
_STOP_PATIENCE = 2.0  # seconds to wait at shutdown for the frame being worked on


@dataclass(frozen=True)
class Brain:
    """The pipeline and what the node has to know of its body model."""

    pipeline: Any  # human_recon.pipeline.Pipeline, or anything with what is called of it here
    body: BodyModel


def load_brain(settings: Settings) -> Brain:
    """Load the body model and build the pipeline. Raises ValueError or OSError with one clear line."""
    # Imported here: these pull in numba and the whole pipeline, which a node that is only being asked for its
    # parameters does not need.
    from human_recon.body.model import default_body_model, load_body_model
    from human_recon.inference.choice import EngineChoice
    from human_recon.pipeline import Pipeline, PipelineConfig
    from human_recon.template.tracker import TemplateConfig

    body = load_body_model(settings.body_model) if settings.body_model else default_body_model()
    config = PipelineConfig(
        perception=settings.perception,  # type: ignore[arg-type]
        engine=EngineChoice(engine=settings.engine, precision=settings.precision),  # type: ignore[arg-type]
        fit=settings.fit,
        track=settings.track,
        max_people=settings.max_people,
        template=TemplateConfig(settings.template, settings.template_file),  # type: ignore[arg-type]
    )
    return Brain(Pipeline(config, body), body)


@dataclass(frozen=True)
class _Job:
    """Messages of one moment, waiting for the worker."""

    generation: int  # of the activation that the messages came in
    depth: Any  # Image or PointCloud2
    info: Any
    color: Any
    received: float  # time.monotonic()


@dataclass(frozen=True)
class _Picture:
    """A result waiting to be drawn."""

    generation: int
    people: People
    brain: Brain
    body: results.BodyInfo
    markers: MarkerMaker


class PerceptionNode(LifecycleNode):
    """Lifecycle node `perception`; see docs/ros.md for its topics and parameters.

    The executor's thread receives messages, and answers services without waiting for anything. One worker thread turns
    the newest messages into a frame, runs the pipeline and publishes; the pipeline is never called from another thread.
    A second one makes what is for the eye only, of the newest result; a third one writes files. All queues are bounded.
    """

    def __init__(self, load: Callable[[Settings], Brain] = load_brain, **node_options: Any) -> None:
        super().__init__("perception", **node_options)
        self._load = load
        self._brain: Brain | None = None
        self._body: results.BodyInfo | None = None
        self._markers: MarkerMaker | None = None
        self._active = threading.Event()
        self._generation = 0
        self._reset_wanted = threading.Event()
        self._last_stamps: dict[str, int] = {}  # input -> stamp of its newest message, nanoseconds
        self._filters: dict[str, SimpleFilter] = {}  # input -> where its messages go
        self._cloud_info: Any = None
        self._rotations: RotationLookup | None = None
        self._inputs: list[Any] = []
        self._failures_logged: set[str] = set()
        self._pipeline_lock = threading.Lock()
        self._output_lock = threading.Lock()  # held where one message must not come after another thread's farewell
        self._newest: tuple[Brain, People] | None = None
        self._templates = TemplateMaker()
        self._hri: hri.HriPublisher | None = None
        self._tf_stamp: int | None = None

        self._health = Health()
        self._told: tuple[Any, ...] | None = None
        self._told_at = 0.0
        self._guarded = ParameterGuard(self, lambda: self._health.lifecycle == "unconfigured")
        self._outputs = {key: self._publisher(spec) for key, spec in topics.OUTPUTS.items()}
        reset_spec = topics.SERVICES["reset_tracks"]
        self.create_service(_interface(reset_spec, "srv"), reset_spec.name, self._on_reset_tracks)
        # Their answers are awaited: in a group of their own, or nothing else would be called meanwhile.
        self._waiting_services = ReentrantCallbackGroup()
        for key, answer in (("lock_shape", self._on_lock_shape), ("save_person", self._on_save_person)):
            spec = topics.SERVICES[key]
            self.create_service(_interface(spec, "srv"), spec.name, answer, callback_group=self._waiting_services)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False),
            post_callback=self._on_clock_jump,
        )
        # Not the ROS clock: with use_sim_time and no /clock yet, its timers never fire.
        self.create_timer(_LEVEL_CHECK_PERIOD, self._tell, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._worker: LatestWorker[_Job] = LatestWorker(self._work, "perception-worker", _PATIENCE)
        self._painter: LatestWorker[_Picture] = LatestWorker(self._paint, "perception-painter")
        self._writer = ThreadPoolExecutor(1, "perception-writer")
        self._saves_waiting = 0

    def _publisher(self, spec: topics.TopicSpec) -> Any:
        message = _interface(spec, "msg")
        # Diagnostics are told in every state; all else only while the node is active.
        create = self.create_publisher if spec.name == "/diagnostics" else self.create_lifecycle_publisher
        return create(message, spec.name, _qos(spec))

    # ------------------------------------------------------------------ life cycle

    def start(self) -> None:
        """Configure and activate, when the parameter `autostart` says so."""
        if not self._guarded.settings.autostart:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the body model and build the pipeline; on failure the diagnostics say why."""
        began = time.monotonic()
        problem = self._guarded.problem
        if not problem:
            try:
                with self._pipeline_lock:  # a frame of an earlier activation may still be worked on
                    self._brain = self._load(self._guarded.settings)
                self._body = results.BodyInfo.of(self._brain.body)
                self._markers = MarkerMaker(self._body)
            except Exception as error:  # whatever a file or a model does wrong must not end the node
                problem = _one_line(error)
                self.get_logger().debug(traceback.format_exc())
        self._health.configure_failed(problem)
        if problem:
            self._brain = self._body = self._markers = None
            self.get_logger().error(f"cannot be configured: {problem}")
            self._tell()
            return TransitionCallbackReturn.FAILURE
        assert self._body is not None
        assert self._brain is not None
        self._health.model = f"{self._body.name} {self._body.sha256[:12]}"
        self._health.engines = "; ".join(self._brain.pipeline.engines) or "none: geometric perception"
        self._health.lifecycle = "inactive"
        self.get_logger().info(f"configured in {time.monotonic() - began:.1f} s with body model {self._health.model}")
        self.get_logger().info(f"networks: {self._health.engines}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen and publish."""
        result = super().on_activate(state)
        assert self._body is not None
        self._health.activated()
        self._health.lifecycle = "active"
        self._generation += 1
        self._reset_wanted.set()  # whoever was there before has had time to leave
        self._last_stamps.clear()
        self._newest = None
        self._tf_stamp = None
        self._templates = TemplateMaker()
        if hri.is_available():
            assert self._brain is not None
            self._hri = hri.HriPublisher(self, self._brain.body)
        self._active.set()
        self._publish("mesh_topology", results.mesh_topology(self._body))
        self._listen()
        self._tell()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; a frame still being worked on is not published."""
        self._stop_listening()
        self._say_goodbye()
        self._health.lifecycle = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the pipeline."""
        self._forget()
        self._health.lifecycle = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good."""
        self._stop_listening()
        self._say_goodbye()
        self._forget()
        self._health.lifecycle = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unexpected failure in a transition: back to unconfigured."""
        self._stop_listening()
        self._forget()
        self._health.lifecycle = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def close(self, patience: float = _STOP_PATIENCE) -> bool:
        """Stop the workers; False when one is still busy after ``patience`` seconds."""
        self._active.clear()
        self._jump_handle.unregister()
        self._writer.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + patience
        idle = [worker.stop(max(0.0, end - time.monotonic())) for worker in (self._worker, self._painter)]
        return all(idle)

    def _say_goodbye(self) -> None:
        """Take everybody off the screens; after this the workers publish nothing more of this activation."""
        with self._output_lock:
            self._publish("markers", delete_all(self._header()))
            if self._hri is not None:
                self._hri.clear()
                self._hri.close()
                self._hri = None

    def _forget(self) -> None:
        self._brain = self._body = self._markers = self._newest = None
        self._health.model = self._health.engines = ""

    # ------------------------------------------------------------------ input

    def _listen(self) -> None:
        settings = self._guarded.settings
        if settings.gravity_frame:
            self._rotations = listen_to_rotations(self)
        self._connect()
        for key in self._filters:
            spec = topics.INPUTS[key]
            take = functools.partial(self._on_message, key)
            self._inputs.append(self.create_subscription(_interface(spec, "msg"), spec.name, take, _qos(spec)))
        names = [subscription.topic_name for subscription in self._inputs]
        self._health.input_topics = " + ".join(names)
        self.get_logger().info(f"listening to {', '.join(names)}")

    def _connect(self) -> None:
        """Join the inputs into frames; whatever waited for its partner is forgotten."""
        settings = self._guarded.settings
        if settings.input == "point_cloud":
            self._filters = {key: SimpleFilter() for key in ("points", "info")}
            self._filters["points"].registerCallback(self._on_cloud)
            self._filters["info"].registerCallback(self._on_cloud_info)
            return
        keys = ["depth", "info", *(["color"] if settings.use_color else [])]
        self._filters = {key: SimpleFilter() for key in keys}
        synchronizer = ApproximateTimeSynchronizer(
            list(self._filters.values()), settings.sync_queue, settings.sync_slop
        )
        synchronizer.registerCallback(self._on_images)

    def _stop_listening(self) -> None:
        self._active.clear()
        self._generation += 1
        self._worker.clear()
        self._painter.clear()
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        self._cloud_info = None
        if self._rotations is not None:
            self._rotations.close()
            self._rotations = None

    def _on_message(self, key: str, message: Any) -> None:
        stamp = stamp_ns(message.header)
        last = self._last_stamps.get(key)
        if last is not None and stamp < last:
            self._time_jumped(f"the stamps of {topics.INPUTS[key].name} went back by {(last - stamp) / 1e9:.3f} s")
        self._last_stamps[key] = stamp
        self._filters[key].signalMessage(message)

    def _on_cloud_info(self, info: Any) -> None:
        self._cloud_info = info

    def _on_cloud(self, cloud: Any) -> None:
        self._take(cloud, self._cloud_info, None)

    def _on_images(self, depth: Any, info: Any, color: Any = None) -> None:
        self._take(depth, info, color)

    def _take(self, depth: Any, info: Any, color: Any) -> None:
        self._health.received()
        if not self._somebody_wants():
            self._health.unwanted()
            return
        if self._worker.submit(_Job(self._generation, depth, info, color, time.monotonic())):
            self._health.dropped()

    def _on_clock_jump(self, jump: TimeJump) -> None:
        if self._active.is_set():
            self._time_jumped(f"the ROS clock went back by {-jump.delta.nanoseconds / 1e9:.3f} s")

    def _time_jumped(self, how: str) -> None:
        self.get_logger().warning(f"{how}: forgetting everybody", throttle_duration_sec=1.0)
        self._health.time_jumped()
        # What waits from the time before would keep the queues full of messages that never find a partner.
        self._last_stamps.clear()
        self._connect()
        self._reset_wanted.set()
        if self._rotations is not None:
            self._rotations.clear()

    def _on_reset_tracks(self, _request: Any, response: Any) -> Any:
        if self._brain is None:
            response.success, response.message = False, "the node is not configured: nobody to forget"
        else:
            self._reset_wanted.set()
            response.success, response.message = True, "everybody is forgotten; new ids from the next frame on"
        return response

    async def _on_lock_shape(self, request: Any, response: Any) -> Any:
        brain = self._brain
        if brain is None:
            response.success, response.message = False, "the node is not configured: nobody is there"
            return response
        try:
            response.success = await self._done(
                self._worker.call(lambda: brain.pipeline.lock_shape(request.id, request.lock))
            )
        except Exception as error:  # whatever it is, the caller has to hear of it
            response.success, response.message = False, _one_line(error)
            return response
        what = "locked" if request.lock else "free to adapt"
        if response.success:
            whose = f"the shape of person {request.id} is" if request.id else "everybody's shape is"
            response.message = f"{whose} {what}"
        else:
            response.message = f"nobody has the id {request.id}" if request.id else "nobody is there"
        return response

    async def _on_save_person(self, request: Any, response: Any) -> Any:
        newest = self._newest
        if newest is None:
            response.success, response.message = False, "no frame has been processed yet: there is nobody to save"
            return response
        if self._saves_waiting >= _MOST_SAVES:
            response.success, response.message = False, f"{_MOST_SAVES} are being saved already: ask again later"
            return response
        brain, people = newest
        ids = [person.id for person in people.people]
        self._saves_waiting += 1
        try:
            known = await self._done(self._worker.call(lambda: {id_: brain.pipeline.template(id_) for id_ in ids}))
            templates = {id_: template for id_, template in known.items() if template is not None}
            directory = Path(request.directory or ".")
            files = await self._done(
                self._writer.submit(save_people, people, request.id, directory, brain.body, templates)
            )
        except OSError as error:
            place = error.filename or request.directory or "."
            response.success, response.message = False, f"cannot write {place}: {error.strerror or error}"
        except Exception as error:
            response.success, response.message = False, _one_line(error)
        else:
            response.files = [str(file) for file in files]
            response.success, response.message = True, f"{len(files)} files in {files[0].parent}"
        finally:
            self._saves_waiting -= 1
        return response

    def _done(self, work: ThreadFuture[Any]) -> Any:
        """What a service can await: the result of ``work``, or what it raised, without holding up the executor."""
        assert self.executor is not None
        answer = self.executor.create_future()
        answer.add_done_callback(lambda _: None)  # a future without one does not wake the executor that waits

        def tell(done: ThreadFuture[Any]) -> None:
            with contextlib.suppress(RCLError, InvalidHandle):  # the node is being shut down: nobody is waiting
                if done.cancelled():
                    answer.set_exception(RuntimeError("the node is being shut down"))
                elif (error := done.exception()) is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(done.result())

        work.add_done_callback(tell)
        return answer

    # ------------------------------------------------------------------ the worker's thread

    def _work(self, job: _Job) -> None:
        with self._pipeline_lock:
            brain, body, markers = self._brain, self._body, self._markers
            if not self._is_current(job.generation) or brain is None or body is None or markers is None:
                return
            self._health.working(True)
            try:
                self._process(job, brain, body, markers)
            except InputError as error:
                self._health.rejected(str(error))
                self.get_logger().warning(f"frame skipped: {error}", throttle_duration_sec=5.0)
            except (RCLError, InvalidHandle) as error:
                if self.context.ok():  # else the node is being shut down under our feet, which is fine
                    self._log_failure(error)
            except Exception as error:  # one bad frame must not end perception; the diagnostics turn red
                self._log_failure(error)
            finally:
                self._health.working(False)

    def _is_current(self, generation: int) -> bool:
        return self._active.is_set() and generation == self._generation

    def _log_failure(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {_one_line(error)}"
        self._health.pipeline_failed(reason)
        if reason not in self._failures_logged and len(self._failures_logged) < 100:  # the whole story once per kind
            self._failures_logged.add(reason)
            self.get_logger().error(f"frame lost: {traceback.format_exc()}")
        else:
            self.get_logger().error(f"frame lost: {reason}", throttle_duration_sec=5.0)

    def _process(self, job: _Job, brain: Brain, body: results.BodyInfo, markers: MarkerMaker) -> None:
        settings = self._guarded.settings
        began = time.monotonic()
        frame = self._frame(job, settings)
        self._health.frame_id = frame.frame_id
        converted = time.monotonic()
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            brain.pipeline.reset()
        people = brain.pipeline.process(frame, pixels=any(self._is_wanted(key) for key in _OF_PIXELS))
        people = replace(people, people=tuple(p for p in people.people if _is_published(p, settings)))
        shown = {person.id for person in people.people}
        people = replace(people, templates=tuple(mesh for mesh in people.templates if mesh.id in shown))
        processed = time.monotonic()
        with self._output_lock:
            if not self._is_current(job.generation):
                return
            self._newest = (brain, people)
            self._publish_results(people, body, settings)
        if any(self._is_wanted(key) for key in _PICTURES):
            self._painter.submit(_Picture(job.generation, people, brain, body, markers))
        done = time.monotonic()

        latencies = {
            "wait": began - job.received,
            "convert": converted - began,
            **{f"pipeline {stage}": seconds for stage, seconds in people.timings.items()},
            "pipeline": processed - converted,
            "publish": done - processed,
            "message to message": done - job.received,
        }
        warning = "" if frame.depth.any() else "the depth has no valid reading"
        self._health.processed(len(people.people), latencies, warning)

    def _frame(self, job: _Job, settings: Settings) -> Frame:
        near, far = settings.min_depth, settings.max_depth
        up = self._up(job.depth.header, settings)
        if settings.input == "point_cloud":
            return frame_from_cloud(job.depth, job.info, near=near, far=far, up=up)
        return frame_from_images(
            job.depth,
            job.info,
            job.color,
            rectified=settings.rectified,
            unit=settings.depth_unit,
            near=near,
            far=far,
            up=up,
        )

    def _up(self, header: Header, settings: Settings) -> np.ndarray | None:
        """The unit vector against gravity in the camera frame, from TF, when a gravity frame is set and known."""
        rotations = self._rotations
        if rotations is None:
            return None
        rotation = rotations.rotation(header.frame_id, settings.gravity_frame, stamp_ns(header))
        if rotation is None:
            self.get_logger().warning(
                f"TF does not connect {settings.gravity_frame} with {header.frame_id}: up is not known",
                throttle_duration_sec=10.0,
            )
            return None
        return rotation @ np.array([0.0, 0.0, 1.0])

    def _publish_results(self, people: People, body: results.BodyInfo, settings: Settings) -> None:
        self._publish("people", results.person_array(people, body))
        rep155 = self._hri if settings.publish_hri else None
        if rep155 is not None:
            rep155.publish(people)
        # Listeners complain of a stamp that they know already.
        if settings.publish_tf and people.people and people.frame.stamp_ns != self._tf_stamp and self._is_wanted("tf"):
            self._tf_stamp = people.frame.stamp_ns
            transforms = results.transforms(people, body)
            self._publish("tf", TFMessage(transforms=transforms + (rep155.transforms(people) if rep155 else [])))
        if self._is_wanted("meshes"):
            self._publish("meshes", results.mesh_array(people, body))
        if self._is_wanted("templates") or self._is_wanted("template_topologies"):
            topologies, meshes = self._templates.messages(people)
            if topologies is not None:
                self._publish("template_topologies", topologies)
            self._publish("templates", meshes)
        if self._is_wanted("labels"):
            self._publish("labels", results.label_image(people))
        if self._is_wanted("correspondences"):
            image = results.correspondence_image(people)
            if image is not None:
                self._publish("correspondences", image)

    # ------------------------------------------------------------------ the painter's thread

    def _paint(self, picture: _Picture) -> None:
        began = time.monotonic()
        try:
            for key, paint in _PICTURES.items():
                if not self._is_wanted(key):
                    continue
                message = paint(picture, self._guarded.settings)
                with self._output_lock:
                    if not self._is_current(picture.generation):
                        return
                    if message is not None:
                        self._publish(key, message)
            self._health.took("pictures", time.monotonic() - began)
        except (RCLError, InvalidHandle) as error:
            if self.context.ok():
                self._log_failure(error)
        except Exception as error:  # a picture that cannot be drawn must not end perception
            self._log_failure(error)

    # ------------------------------------------------------------------ output

    def _publish(self, key: str, message: Any) -> None:
        self._outputs[key].publish(message)

    def _is_wanted(self, key: str) -> bool:
        count = self._outputs[key].get_subscription_count()
        if key == "tf" and self._rotations is not None:
            count -= 1  # we listen ourselves
        return count > 0

    def _somebody_wants(self) -> bool:
        settings = self._guarded.settings
        lazy = ["people", "meshes", "templates", "labels", "correspondences", *_PICTURES]
        if settings.publish_tf:
            lazy.append("tf")
        rep155 = self._hri
        return any(self._is_wanted(key) for key in lazy) or (
            rep155 is not None and settings.publish_hri and rep155.wanted
        )

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._health.frame_id)

    def _tell(self) -> None:
        """Publish diagnostics when they are due, or the level or who is connected changed."""
        settings = self._guarded.settings
        level, _ = self._health.summary(settings.input_timeout)
        connections = {
            "input publishers": ", ".join(
                f"{entry.topic_name} {entry.get_publisher_count()}" for entry in self._inputs
            ),
            "output subscribers": ", ".join(
                f"{output.topic_name} {output.get_subscription_count()}" for output in self._outputs.values()
            ),
        }
        news = (level, *connections.values())
        now = time.monotonic()
        if self._told == news and now - self._told_at < settings.diagnostics_period:
            return
        self._told, self._told_at = news, now
        extra = {"last refused parameter": self._guarded.last_refusal, **connections}
        header = Header(stamp=self.get_clock().now().to_msg())
        message = diagnostic_array(header, self.get_name(), self._health, settings.input_timeout, extra)
        self._publish("diagnostics", message)


def _is_published(person: Person, settings: Settings) -> bool:
    return (
        person.confidence >= settings.min_confidence
        and (settings.publish_tentative or person.life != "tentative")
        and (settings.publish_predicted or person.measured)
    )


def _markers_message(picture: _Picture, settings: Settings) -> Any:
    return picture.markers.markers(picture.people, surface=settings.marker_mesh, limit=settings.marker_people)


def _overlay_message(picture: _Picture, settings: Settings) -> Any:
    from human_recon.visualization.overlay import draw_overlay

    people = picture.people
    return results.color_message(people.frame, draw_overlay(people, picture.body.faces))


def _seen_message(picture: _Picture, settings: Settings) -> Any:
    from human_recon.visualization.seen import draw_seen

    people = picture.people
    if people.parts is None:
        return None
    return results.color_message(people.frame, draw_seen(people, picture.brain.body))


# What is for the eye only: key of the topic -> how its message is made; None: there is nothing to show.
_OF_PIXELS = ("correspondences", "seen")  # made of what each pixel shows
_PICTURES: dict[str, Callable[[_Picture, Settings], Any]] = {
    "markers": _markers_message,
    "overlay": _overlay_message,
    "seen": _seen_message,
}


def _interface(spec: topics.TopicSpec, kind: str) -> Any:
    """The Python class of a message ("msg") or service ("srv") type."""
    package, name = spec.type.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def _qos(spec: topics.TopicSpec) -> QoSProfile:
    """The profile that the topic's table says in words."""
    words = [word.strip() for word in spec.qos.split(",")]
    depth = next(int(word.split()[1]) for word in words if word.startswith("last "))
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if "best effort" in words else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if "transient local" in words else DurabilityPolicy.VOLATILE,
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def run(load: Callable[[Settings], Brain] = load_brain, args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    use_fastdds_profile(config_path("fastdds.xml"))
    rclpy.init(args=args)
    idle = True
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        node = PerceptionNode(load)
        try:
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            node.start()
            executor.spin()
        except RCLError:
            if node.context.ok():
                raise
        finally:
            idle = node.close()
            if idle:
                node.destroy_node()
    if not idle:
        # The pipeline is inside compiled code that cannot be interrupted, and Python waits for no daemon thread but
        # may crash in it while shutting down. Everything is published or dropped: leave.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    rclpy.try_shutdown()
    return 0


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run human_recon perception`."""
    return run(args=args)


if __name__ == "__main__":
    sys.exit(main())
