"""The NVIDIA GPU of this machine, asked of its driver alone: no package is needed to know that there is none."""

from __future__ import annotations

import ctypes
import functools


@functools.cache
def gpu_name() -> str | None:
    """Name of the first CUDA device, None when there is no driver or no device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if driver.cuDeviceGetName(name, len(name), device):
        return None
    return name.value.decode(errors="replace")
