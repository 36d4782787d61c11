"""What a simulated bag knows about its frames: people on /ground_truth/people, and whose each pixel is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader

from human_recon.body.model import BodyModel, default_body_model
from human_recon.ground_truth import TrueFrame
from human_recon.io.bag_reader import BagFrames
from human_recon.io.errors import InputError, file_error
from human_recon.io.person_messages import PERSON_ARRAY, message_types, true_people

PEOPLE_TOPIC = "/ground_truth/people"  # human_recon_msgs/PersonArray
LABELS_TOPIC = "/ground_truth/labels"  # sensor_msgs/Image, mono16: TrueFrame.labels
PARTS_TOPIC = "/ground_truth/parts"  # sensor_msgs/Image, mono8: TrueFrame.parts
_PATIENCE_NS = 2_000_000_000  # how much later than its frame the truth may have been recorded


def read_true_frames(
    path: str | Path,
    body: BodyModel | None = None,
    *,
    depth_topic: str | None = None,
    info_topic: str | None = None,
    color_topic: str | None = None,
) -> Iterator[TrueFrame]:
    """The frames of a bag that somebody knows the truth about, in order, read as they are asked for.

    Args:
        path: a rosbag2 (mcap or sqlite3) as ``human-recon simulate`` writes them.
        body: the model that poses people; the open adult body if not given.
        depth_topic, info_topic, color_topic: see :class:`BagFrames`.

    A frame and its truth have the same stamp; frames without truth are left out. ``labels`` and ``parts`` are None
    where the bag has none.

    Raises:
        InputError: the bag cannot be read, has no ground truth, none of it belongs to a frame, or is of another body.
    """
    body = body if body is not None else default_body_model()
    frames = BagFrames(path, depth_topic=depth_topic, info_topic=info_topic, color_topic=color_topic)
    with Truth(Path(path), body) as truth:
        yield from _joined(frames, truth)


def _joined(frames: BagFrames, truth: Truth) -> Iterator[TrueFrame]:
    found = False
    for frame in frames:
        messages = truth.at(frame.stamp_ns)
        if PEOPLE_TOPIC not in messages:
            continue
        found = True
        people = truth.people(messages[PEOPLE_TOPIC])
        shape = frame.depth.shape
        labels = truth.pixels(messages.get(LABELS_TOPIC), "mono16", np.dtype("<u2"), shape)
        parts = truth.pixels(messages.get(PARTS_TOPIC), "mono8", np.dtype("u1"), shape)
        yield TrueFrame(frame, people, labels, parts)
    if not found:
        raise file_error(
            Path(frames.path), f"no message on {PEOPLE_TOPIC} has the stamp of a depth image; simulate the bag again"
        )


class Truth:
    """The ground truth of one bag, looked up by stamps that grow; use as a context manager.

    Raises InputError when the bag has none.
    """

    def __init__(self, path: Path, body: BodyModel) -> None:
        self._path = path
        self._body = body
        self._store = message_types()
        self._waiting: dict[int, dict[str, Any]] = {}  # stamp -> topic -> message
        self._latest = -(1 << 62)

    def __enter__(self) -> Truth:
        self._reader = Reader(self._path)
        try:
            self._reader.open()
            wanted = {
                PEOPLE_TOPIC: PERSON_ARRAY,
                LABELS_TOPIC: "sensor_msgs/msg/Image",
                PARTS_TOPIC: "sensor_msgs/msg/Image",
            }
            connections = []
            for connection in self._reader.connections:
                if connection.topic in wanted and connection.msgcount:
                    self._check(connection, wanted[connection.topic])
                    connections.append(connection)
            if PEOPLE_TOPIC not in {connection.topic for connection in connections}:
                raise file_error(
                    self._path,
                    f"there is no ground truth (no messages on {PEOPLE_TOPIC}); give a bag made by "
                    "`human-recon simulate`",
                )
            self._stream = iter(self._reader.messages(connections=connections))
        except InputError:
            self._reader.close()
            raise
        except Exception as error:  # rosbags and the codecs under it raise a dozen kinds on damaged files
            raise self._damaged(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def at(self, stamp_ns: int) -> dict[str, Any]:
        """The messages with this stamp, by topic; earlier ones are forgotten."""
        while self._latest <= stamp_ns + _PATIENCE_NS and not self._complete(stamp_ns):
            if not self._advance():
                break
        for earlier in [stamp for stamp in self._waiting if stamp < stamp_ns]:
            del self._waiting[earlier]
        return self._waiting.pop(stamp_ns, {})

    def people(self, message: Any) -> Any:
        """The people of a PersonArray."""
        try:
            return true_people(message, self._body)
        except InputError as error:
            raise file_error(self._path, f"{PEOPLE_TOPIC}: {error}") from None

    def pixels(self, message: Any, encoding: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray | None:
        """The image [H, W] of a label message; None without one."""
        if message is None:
            return None
        height, width = shape
        pixels = np.asarray(message.data)
        if message.encoding != encoding or message.is_bigendian or (message.height, message.width) != shape:
            raise file_error(
                self._path,
                f"a label image is {message.encoding} {message.width} x {message.height}, its depth image has "
                f"{width} x {height} pixels and labels are {encoding}",
            )
        if message.step != width * dtype.itemsize or pixels.size != message.step * height:
            raise file_error(self._path, f"a label image of {width} x {height} pixels holds {pixels.size} bytes")
        return pixels.view(dtype).reshape(height, width).astype(dtype.newbyteorder("="), copy=True)

    def _complete(self, stamp_ns: int) -> bool:
        """Whether nothing more can come for this stamp: truth is recorded frame by frame."""
        return stamp_ns in self._waiting and self._latest > stamp_ns

    def _advance(self) -> bool:
        try:
            connection, _, data = next(self._stream)
            message: Any = self._store.deserialize_cdr(data, connection.msgtype)
        except StopIteration:
            return False
        except Exception as error:
            raise self._damaged(error) from None
        stamp = int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
        self._waiting.setdefault(stamp, {})[connection.topic] = message
        self._latest = max(self._latest, stamp)
        return True

    def _check(self, connection: Any, kind: str) -> None:
        if connection.msgtype != kind:
            raise file_error(self._path, f"{connection.topic} carries {connection.msgtype}, not {kind}")
        if kind == PERSON_ARRAY and connection.digest and connection.digest != self._store.hash_rihs01(kind):
            raise file_error(
                self._path,
                f"{connection.topic} was written with another definition of {kind}; simulate the bag again",
            )

    def _damaged(self, error: Exception) -> InputError:
        reason = str(error).rstrip(".") or type(error).__name__
        return file_error(self._path, f"the ground truth cannot be read ({reason}); simulate the bag again")
