"""Packages that a ROS 2 installation has and PyPI has not: the real ones where importable, else our stand-ins.

Image conversion is not among them: cv_bridge's compiled part breaks with numpy 2, and 16UC1/32FC1/rgb8 need no library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from human_recon.nodes.transforms import RotationTree, quaternion_to_matrix

try:
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter
except ImportError:
    from human_recon.nodes.synchronizer import ApproximateTimeSynchronizer, SimpleFilter

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

__all__ = ["ApproximateTimeSynchronizer", "RotationLookup", "SimpleFilter", "listen_to_rotations"]


class RotationLookup(Protocol):
    """Rotations between TF frames."""

    def rotation(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        """[3, 3]: directions in ``source`` to directions in ``target``; None when not known."""

    def clear(self) -> None:
        """Forget what moves: time jumped back."""

    def close(self) -> None:
        """Stop listening."""


def listen_to_rotations(node: Node) -> RotationLookup:
    """Listen to /tf and /tf_static on the node's executor, with tf2_ros where it is importable."""
    return _TreeLookup(node) if tf2_ros is None else _Tf2Lookup(node)


class _TreeLookup:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._tree = RotationTree()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        add: Callable[[TFMessage], None] = self._add
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", add, QoSProfile(depth=100)),
            node.create_subscription(TFMessage, "/tf_static", add, latched),
        ]

    def _add(self, message: TFMessage) -> None:
        for transform in message.transforms:
            q = transform.transform.rotation
            try:
                rotation = quaternion_to_matrix(q.x, q.y, q.z, q.w)
            except ValueError as error:
                self._node.get_logger().warning(
                    f"TF {transform.header.frame_id} -> {transform.child_frame_id}: {error}", throttle_duration_sec=10.0
                )
                continue
            stamp_ns = transform.header.stamp.sec * 1_000_000_000 + transform.header.stamp.nanosec
            self._tree.add(
                transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/"), stamp_ns, rotation
            )

    def rotation(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        return self._tree.rotation(target.lstrip("/"), source.lstrip("/"), stamp_ns)

    def clear(self) -> None:
        self._tree.clear()

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class _Tf2Lookup:
    def __init__(self, node: Node) -> None:
        self._buffer: Any = tf2_ros.Buffer(cache_time=Duration(seconds=10))
        self._listener: Any = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def rotation(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        for moment in (Time(nanoseconds=stamp_ns), Time()):  # as of then, else the newest
            try:
                q = self._buffer.lookup_transform(target, source, moment).transform.rotation
                return quaternion_to_matrix(q.x, q.y, q.z, q.w)
            except (tf2_ros.TransformException, ValueError):
                continue
        return None

    def clear(self) -> None:
        self._buffer.clear()

    def close(self) -> None:
        self._listener.unregister()
