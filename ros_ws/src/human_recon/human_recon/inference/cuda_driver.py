"""The few calls of NVIDIA's driver that running a network needs: memory, copies, a stream. No package behind it."""

from __future__ import annotations

import ctypes

import numpy as np

from human_recon.inference.engine import EngineError


class Stream:
    """A stream on the first GPU, and memory there. Everything is in order; `synchronize` waits for all of it."""

    def __init__(self) -> None:
        """Raises EngineError when there is no driver or no GPU."""
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise EngineError("no NVIDIA driver: libcuda.so.1 cannot be loaded") from None
        device, self._context, self._stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)  # the one that TensorRT uses
        self.enter()
        self._call("cuStreamCreate", ctypes.byref(self._stream), 1)  # does not wait for the default stream

    @property
    def handle(self) -> int:
        """The CUstream as a number."""
        return self._stream.value or 0

    def enter(self) -> None:
        """Make this GPU current in the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """The address of ``size`` bytes on the GPU; they live as long as the process."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def to_device(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array there; it must live until `synchronize`."""
        self._copy("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data), array.nbytes)

    def to_host(self, array: np.ndarray, address: int) -> None:
        """Copy to a contiguous array from there; it is filled after `synchronize`."""
        self._copy("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address), array.nbytes)

    def synchronize(self) -> None:
        """Wait for everything in the stream."""
        self._call("cuStreamSynchronize", self._stream)

    def _copy(self, function: str, to: ctypes._SimpleCData, source: ctypes._SimpleCData, size: int) -> None:
        self._call(function, to, source, ctypes.c_size_t(size), self._stream)

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(status, ctypes.byref(text))
            raise EngineError(f"{function} failed: {(text.value or b'?').decode()} ({status})")
