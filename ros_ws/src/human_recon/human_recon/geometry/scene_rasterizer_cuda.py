"""The scene rasteriser on a GPU: the functions of :mod:`human_recon.geometry.scene_rasterizer` for device arrays.

``scene_rasterizer.cu`` is compiled when first used, by NVRTC through the library that the arrays belong to: cupy or
torch. Neither is needed to import this module.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from human_recon.geometry.rasterizer import NEAR
from human_recon.geometry.scene_rasterizer import (
    NO_PART,
    MeshBatch,
    SceneRaster,
    SurfaceLabels,
    check_batch,
    check_shapes,
)

SOURCE = Path(__file__).with_name("scene_rasterizer.cu")
# Fused multiply-add would round shared edges differently in the two triangles, and differently from the CPU.
OPTIONS = ("--fmad=false",)
KERNELS = ("draw_faces", "draw_large", "resolve", "label")
_THREADS = 128
_LARGE_BLOCKS = 1024
_DTYPES = {
    "vertices": "float32",
    "faces": "int32",
    "face_start": "int64",
    "face_object": "int32",
    "cameras": "float64",
    "body_vertex": "int32",
    "part": "uint8",
    "canonical": "float32",
}


class Device(Protocol):
    """What is asked of the library that owns the arrays."""

    def full(self, shape: tuple[int, ...], value: int, dtype: str) -> Any:
        """A new array on the device."""

    def contiguous(self, array: Any) -> Any:
        """The array itself, or a contiguous copy."""

    def launch(self, kernel: str, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
        """Start one of ``KERNELS`` with arrays (passed as pointers), int (32 bit) and float (64 bit)."""


def rasterize_scenes_on_gpu(batch: MeshBatch, cull: bool = True, near: float = NEAR, gpu: int = 0) -> SceneRaster:
    """:func:`human_recon.geometry.scene_rasterizer.rasterize_scenes` on a GPU; arrays of numpy go in and come back.

    Raises:
        ValueError: for batches that ``rasterize_scenes`` refuses.
        RuntimeError: when there is no GPU, or no library for it; or when the kernels do not compile.
    """
    bare = replace(batch, body_vertex=None, part=None, canonical=None)
    raster = rasterize_scenes_cuda(to_device(bare, gpu=gpu), cull, near)
    return SceneRaster(**{name: _download(value) for name, value in vars(raster).items()})


def to_device(batch: MeshBatch, library: str | None = None, gpu: int = 0) -> MeshBatch:
    """A checked copy of a batch of numpy arrays on a GPU, as arrays of ``library``: "cupy" or "torch".

    By default cupy where it can be imported and finds a GPU, else torch.

    Raises:
        ValueError: for a batch that :func:`human_recon.geometry.scene_rasterizer.rasterize_scenes` refuses.
        RuntimeError: when there is no such library, or no GPU.
    """
    check_batch(batch)
    if library not in (None, "cupy", "torch"):
        raise ValueError(f'library must be "cupy" or "torch", got {library!r}')
    reasons = []
    for name in ("cupy", "torch") if library is None else (library,):
        reason = _why_not(name)
        if reason is None:
            arrays = {
                field: np.ascontiguousarray(getattr(batch, field), dtype)
                for field, dtype in _DTYPES.items()
                if getattr(batch, field) is not None
            }
            return replace(batch, **{field: _upload(name, array, gpu) for field, array in arrays.items()})
        reasons.append(reason)
    raise RuntimeError(f"rendering on a GPU is not possible here: {'; '.join(reasons)}")


def rasterize_scenes_cuda(batch: MeshBatch, cull: bool = True, near: float = NEAR) -> SceneRaster:
    """:func:`human_recon.geometry.scene_rasterizer.rasterize_scenes` for a batch of device arrays, in their library.

    The fields of the result are device arrays. The launches are asynchronous; checking the batch waits for the device.

    Raises:
        ValueError: for arrays of other shapes or types, indices out of range, or a ``near`` that is not positive.
        RuntimeError: for arrays that are not on a GPU, or when the kernels do not compile.
    """
    return rasterize_on(_device_of(batch.vertices), batch, cull, near)


def surface_labels_cuda(raster: SceneRaster, batch: MeshBatch) -> SurfaceLabels:
    """:func:`human_recon.geometry.scene_rasterizer.surface_labels` for device arrays.

    Raises:
        ValueError: for arrays of other shapes or types, or a raster of another batch.
        RuntimeError: for arrays that are not on a GPU, or when the kernels do not compile.
    """
    return label_on(_device_of(batch.vertices), raster, batch)


def rasterize_on(device: Device, batch: MeshBatch, cull: bool, near: float) -> SceneRaster:
    """The launches of :func:`rasterize_scenes_cuda`, on any device that runs the kernels."""
    batch = _checked(device, batch)
    if not near > 0:
        raise ValueError(f"near must be positive, got {near}")
    height, width = batch.size
    scenes, faces = len(batch.cameras), len(batch.faces)
    shape = (scenes, height, width)
    pixels = scenes * height * width
    if pixels >= 2**31 or faces >= 2**30:
        raise ValueError(f"{pixels} pixels and {faces} faces: at most 2^31 and 2^30 in one batch")
    keys = device.full(shape, -1, "int64")  # all bits one: nothing
    depth, object_, face = (device.full(shape, 0, dtype) for dtype in ("float32", "int32", "int32"))
    if pixels == 0:
        return SceneRaster(depth=depth, object=object_, face=face)
    view = (batch.face_start, scenes, batch.cameras, float(near), int(cull), width, height)
    if faces:
        large, large_count = device.full((2 * faces,), 0, "int32"), device.full((1,), 0, "int32")
        mesh = (batch.vertices, batch.faces)
        device.launch("draw_faces", _blocks(faces), _THREADS, (*mesh, faces, *view, keys, large, large_count))
        device.launch("draw_large", min(_LARGE_BLOCKS, 2 * faces), _THREADS, (*mesh, *view, large, large_count, keys))
    device.launch("resolve", _blocks(pixels), _THREADS, (keys, pixels, batch.face_object, depth, object_, face))
    return SceneRaster(depth=depth, object=object_, face=face)


def label_on(device: Device, raster: SceneRaster, batch: MeshBatch) -> SurfaceLabels:
    """The launch of :func:`surface_labels_cuda`, on any device that runs the kernels."""
    batch = _checked(device, batch)
    height, width = batch.size
    shape = (len(batch.cameras), height, width)
    if tuple(raster.face.shape) != shape:
        raise ValueError(f"the raster is {tuple(raster.face.shape)}, the batch {shape}")
    pixels = shape[0] * height * width
    if pixels and int(raster.face.max()) >= len(batch.faces):
        raise ValueError(f"the raster shows face {int(raster.face.max())}, the batch has {len(batch.faces)}")
    labels = SurfaceLabels(
        barycentric=device.full((*shape, 3), 0, "float32"),
        vertex=device.full(shape, -1, "int32"),
        part=device.full(shape, NO_PART, "uint8"),
        canonical=device.full((*shape, 3), 0, "float32"),
        normal=device.full((*shape, 3), 0, "float32"),
    )
    count = len(batch.vertices)
    body_vertex = device.full((count,), -1, "int32") if batch.body_vertex is None else batch.body_vertex
    part = device.full((count,), NO_PART, "uint8") if batch.part is None else batch.part
    canonical = device.full((count, 3), 0, "float32") if batch.canonical is None else batch.canonical
    face = device.contiguous(raster.face)
    if pixels:
        arguments = (
            *(face, pixels, width, height, batch.vertices, batch.faces, batch.cameras, body_vertex, part, canonical),
            *(labels.barycentric, labels.vertex, labels.part, labels.canonical, labels.normal),
        )
        device.launch("label", _blocks(pixels), _THREADS, arguments)
    return labels


def _blocks(items: int) -> int:
    return -(-items // _THREADS)


def _checked(device: Device, batch: MeshBatch) -> MeshBatch:
    """The batch with contiguous arrays; raises ValueError for what the kernels would misread."""
    check_shapes(batch)
    arrays = {field: getattr(batch, field) for field in _DTYPES if getattr(batch, field) is not None}
    for field, array in arrays.items():
        dtype = str(array.dtype).removeprefix("torch.")
        if dtype != _DTYPES[field]:
            raise ValueError(f"{field} must be {_DTYPES[field]} on the GPU, got {dtype}")
    faces, start = batch.faces, np.array(batch.face_start.tolist())
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= len(batch.vertices)):
        limits = f"{int(faces.min())}..{int(faces.max())}"
        raise ValueError(f"faces index {limits}, but there are {len(batch.vertices)} vertices")
    if start[0] != 0 or start[-1] != len(faces) or (np.diff(start) < 0).any():
        raise ValueError(f"face_start must rise from 0 to the {len(faces)} faces, got {start}")
    return replace(batch, **{field: device.contiguous(array) for field, array in arrays.items()})


def _why_not(library: str) -> str | None:
    """Why a library cannot be used, None if it can."""
    try:
        if library == "cupy":
            import cupy

            try:
                count = cupy.cuda.runtime.getDeviceCount()
            except cupy.cuda.runtime.CUDARuntimeError as error:
                return f"cupy finds no GPU ({error})"
            return None if count else "cupy finds no GPU"
        import torch
    except ImportError as error:
        return f"{library} cannot be imported ({error})"
    return None if torch.cuda.is_available() else f"torch {torch.__version__} finds no GPU"


def _upload(library: str, array: np.ndarray, gpu: int) -> Any:
    if library == "cupy":
        import cupy

        with cupy.cuda.Device(gpu):
            return cupy.asarray(array)
    import torch

    return torch.from_numpy(array).cuda(gpu)


def _download(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else array.cpu().numpy()


def _device_of(array: Any) -> Device:
    """The device of an array, by the array's library."""
    library = type(array).__module__.split(".")[0]
    if library == "cupy":
        return _cupy_device(int(array.device.id))
    if library == "torch":
        if not array.is_cuda:
            raise RuntimeError(f"the batch is on {array.device}, not on a GPU: see to_device")
        return _torch_device(int(array.device.index))
    raise RuntimeError(f"arrays of {library} are not on a GPU: see to_device")


class _CupyDevice:
    def __init__(self, index: int) -> None:
        import cupy

        self._cupy, self._index = cupy, index
        with cupy.cuda.Device(index):
            self._module = cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=OPTIONS, backend="nvrtc")
            self._kernels = {name: self._module.get_function(name) for name in KERNELS}

    def full(self, shape: tuple[int, ...], value: int, dtype: str) -> Any:
        with self._cupy.cuda.Device(self._index):
            return self._cupy.full(shape, value, dtype)

    def contiguous(self, array: Any) -> Any:
        return self._cupy.ascontiguousarray(array)

    def launch(self, kernel: str, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
        scalars = {int: np.int32, float: np.float64}  # cupy would pass int as 64 bit
        exact = tuple(scalars[type(x)](x) if type(x) in scalars else x for x in arguments)
        with self._cupy.cuda.Device(self._index):
            self._kernels[kernel]((blocks,), (threads,), exact)


class _TorchDevice:
    def __init__(self, index: int) -> None:
        import torch

        self._torch, self._index = torch, index
        source = SOURCE.read_text(encoding="utf-8")
        with torch.cuda.device(index):
            self._kernels = {
                name: torch.cuda._compile_kernel(source, name, nvcc_options=list(OPTIONS)) for name in KERNELS
            }

    def full(self, shape: tuple[int, ...], value: int, dtype: str) -> Any:
        torch = self._torch
        return torch.full(shape, value, dtype=getattr(torch, dtype), device=torch.device("cuda", self._index))

    def contiguous(self, array: Any) -> Any:
        return array.contiguous()

    def launch(self, kernel: str, blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
        with self._torch.cuda.device(self._index):
            self._kernels[kernel](grid=(blocks, 1, 1), block=(threads, 1, 1), args=list(arguments))


@functools.cache
def _cupy_device(index: int) -> Device:
    return _CupyDevice(index)


@functools.cache
def _torch_device(index: int) -> Device:
    return _TorchDevice(index)
