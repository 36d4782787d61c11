"""Stand-in for the part of tf2_ros the node uses: which way is up in the camera frame."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

_HISTORY = 200  # transforms kept per frame: 2 s of a joint state publisher at 100 Hz
_MAX_DEPTH = 100  # frames from the camera to the root; more is a loop


def quaternion_to_matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Rotation matrix [3, 3] of a quaternion of any length. Raises ValueError when it is 0 or not finite."""
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not 1e-6 < norm < np.inf:
        raise ValueError(f"quaternion ({x}, {y}, {z}, {w}) is not a rotation")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class RotationTree:
    """The rotations between frames heard on /tf and /tf_static, the newest few per frame. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._history: dict[str, deque[tuple[int, np.ndarray]]] = {}  # child -> (stamp, child-to-parent rotation)

    def add(self, parent: str, child: str, stamp_ns: int, rotation: np.ndarray) -> None:
        """``rotation`` [3, 3] takes directions in ``child`` to directions in ``parent``."""
        with self._lock:
            if self._parents.get(child) != parent:
                self._parents[child] = parent
                self._history[child] = deque(maxlen=_HISTORY)
            self._history[child].append((stamp_ns, rotation))

    def clear(self) -> None:
        """Forget everything that moves; a transform heard once only (static) stays."""
        with self._lock:
            for child, history in self._history.items():
                self._history[child] = deque([history[-1]], maxlen=_HISTORY)

    def rotation(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        """[3, 3]: directions in ``source`` to directions in ``target``, from the transforms nearest to the stamp.

        None when the two frames are not connected.
        """
        with self._lock:
            to_root_of_source = self._to_root(source, stamp_ns)
            to_root_of_target = self._to_root(target, stamp_ns)
        if to_root_of_source[0] != to_root_of_target[0]:
            return None
        return to_root_of_target[1].T @ to_root_of_source[1]

    def _to_root(self, frame: str, stamp_ns: int) -> tuple[str, np.ndarray]:
        rotation = np.eye(3)
        for _ in range(_MAX_DEPTH):
            parent = self._parents.get(frame)
            if parent is None:
                return frame, rotation
            _, step = min(self._history[frame], key=lambda entry: abs(entry[0] - stamp_ns))
            rotation = step @ rotation
            frame = parent
        return f"loop at {frame}", rotation
