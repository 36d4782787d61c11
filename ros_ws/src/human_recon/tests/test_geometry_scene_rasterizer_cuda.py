"""The CUDA source without a GPU: NVIDIA's compiler accepts it, and run on a CPU it gives what the compiled loops give.

With a GPU, and cupy or torch for it, the same comparison runs there.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from human_recon.geometry import scene_rasterizer_cuda
from human_recon.geometry.rasterizer import NEAR
from human_recon.geometry.scene_rasterizer import MeshBatch, rasterize_scenes, surface_labels
from human_recon.geometry.scene_rasterizer_cuda import (
    KERNELS,
    OPTIONS,
    SOURCE,
    label_on,
    rasterize_on,
    rasterize_scenes_cuda,
    rasterize_scenes_on_gpu,
    surface_labels_cuda,
    to_device,
)
from human_recon.simulation.assets import Assets
from human_recon.simulation.rendering import render
from human_recon.simulation.world import World, WorldConfig
from tests.scene_batches import BOX_CORNERS, BOX_FACES, crowd, joined, lattice, soup

SIZE = (36, 48)
SEEDS = st.integers(0, 2**32 - 1)


class Nvrtc:
    """NVIDIA's run-time compiler, of the wheel nvidia-cuda-nvrtc-cu12."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def compile(self, source: str, architecture: str) -> tuple[str, str]:
        """PTX and messages; PTX is empty when the source has errors."""
        library = self._library
        program = ctypes.c_void_p()
        text = source.encode()
        assert library.nvrtcCreateProgram(ctypes.byref(program), text, b"source.cu", 0, None, None) == 0
        options = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in OPTIONS)]
        failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = self._text(program, "ProgramLog")
        ptx = "" if failed else self._text(program, "PTX")
        library.nvrtcDestroyProgram(ctypes.byref(program))
        return ptx, log

    def _text(self, program: ctypes.c_void_p, name: str) -> str:
        size = ctypes.c_size_t()
        assert getattr(self._library, f"nvrtcGet{name}Size")(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert getattr(self._library, f"nvrtcGet{name}")(program, buffer) == 0
        return buffer.value.decode()


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        spec = None
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    libraries = [path for folder in folders for path in Path(folder).glob("lib/libnvrtc.so*")]
    if not libraries:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed: no wheel for this platform?")
    return Nvrtc(libraries[0])


@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])
def test_compiles_for_gpus(nvrtc, architecture):
    ptx, log = nvrtc.compile(SOURCE.read_text(encoding="utf-8"), architecture)
    assert ptx, log
    assert set(re.findall(r"\.entry (\w+)", ptx)) == set(KERNELS)
    assert f".target {architecture.replace('compute', 'sm')}" in ptx
    # what makes shared edges exact, and the result that of the CPU: nothing fused, no division rounded otherwise
    assert "mul.f64" in ptx or "mul.rn.f64" in ptx
    assert not re.findall(r"\bfma\.rn\.f\d\d|\b(?:div|rcp|sqrt)\.(?:approx|full)", ptx)


@pytest.mark.parametrize(("old", "new"), [("atomicMin(", "atomicLeast("), ("int face_count,", "int face_count;")])
def test_a_mistake_in_the_source_does_not_compile(nvrtc, old, new):
    source = SOURCE.read_text(encoding="utf-8")
    assert old in source
    ptx, log = nvrtc.compile(source.replace(old, new), "compute_90")
    assert not ptx and "error" in log


class CpuDevice:
    """Runs the CUDA source compiled as C++: tests/cuda_on_cpu.cpp."""

    def __init__(self, library: Path, backwards: bool) -> None:
        self._library, self._backwards = ctypes.CDLL(str(library)), backwards

    def full(self, shape, value, dtype):
        return np.full(shape, value, dtype)

    def contiguous(self, array):
        return np.ascontiguousarray(array)

    def launch(self, kernel, blocks, threads, arguments):
        held = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                held.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                held.append({int: ctypes.c_int, float: ctypes.c_double}[type(argument)](argument))
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        code = self._library.launch(kernel.encode(), blocks, threads, pointers, len(held), int(self._backwards))
        assert code == 0, f"{kernel}: {['', 'no such kernel', 'another number of arguments'][code]}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler")
    path = tmp_path_factory.mktemp("cuda_on_cpu") / "kernels.so"
    shim = Path(__file__).with_name("cuda_on_cpu.cpp")
    command = [compiler, "-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f'-DCUDA_SOURCE="{SOURCE}"']
    done = subprocess.run([*command, str(shim), "-o", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["forwards", "backwards"])
def device(request, library: Path) -> CpuDevice:
    """Threads one after another in either order: what atomic operations leave must not depend on it."""
    return CpuDevice(library, backwards=request.param)


def assert_same(batch: MeshBatch, device, cull: bool, near: float = 0.05) -> None:
    expected, raster = rasterize_scenes(batch, cull, near), rasterize_on(device, batch, cull, near)
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(raster, name), value, err_msg=name)
        assert getattr(raster, name).dtype == value.dtype
    labels = label_on(device, raster, batch)
    for name, value in vars(surface_labels(expected, batch)).items():
        np.testing.assert_array_equal(getattr(labels, name), value, err_msg=name)
        assert getattr(labels, name).dtype == value.dtype


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, cull=st.booleans(), z_low=st.sampled_from([0.5, -3.0]))
def test_every_bit_of_random_triangles_is_that_of_the_cpu(device, seed, cull, z_low):
    assert_same(soup(seed, scenes=3, faces=40, size=SIZE, z_low=z_low), device, cull)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_pixels_on_edges_go_to_the_same_faces(device, seed):
    assert_same(lattice(seed, faces=6, size=SIZE), device, cull=False)


@pytest.mark.parametrize("cull", [True, False])
def test_every_bit_of_a_crowd_is_that_of_the_cpu(device, body, cull):
    batch = crowd(body, scenes=2, people=3, size=(120, 160))
    assert_same(batch, device, cull)
    assert_same(replace(batch, body_vertex=None, part=None, canonical=None), device, cull)


def test_empty_scenes_and_broken_vertices(device):
    boxes = [(BOX_CORNERS + [0, 0, 3], BOX_FACES, 0), (BOX_CORNERS * 9, BOX_FACES, 1)]
    broken = [(np.where(BOX_CORNERS[:, :1] > 0, np.inf, BOX_CORNERS) + [0, 0, 3], BOX_FACES, 1)]
    assert_same(joined([[], boxes, [], broken, [(BOX_CORNERS * np.nan, BOX_FACES, 2)], []], SIZE), device, False)
    for batch in (joined([[], []], SIZE), joined([], SIZE)):
        assert_same(batch, device, True)


def test_equal_depth_goes_to_the_lower_face(device):
    wall = np.array([[-9.0, -9, 2], [9, -9, 2], [0, 18, 2]])
    small = wall * [0.02, 0.02, 1]
    batch = joined([[(small, np.array([[0, 2, 1]]), 0), (wall, np.array([[0, 2, 1]]), 1)]], SIZE)
    assert_same(batch, device, True)
    raster = rasterize_on(device, batch, True, 0.05)
    assert set(np.unique(raster.face)) == {0, 1} and np.unique(raster.depth).tolist() == [2]


def test_a_world_rasterised_on_a_device_is_that_of_the_cpu(device):
    """Views of several scenes in one launch: every bit of every label, and of what the sensors measure."""
    config = WorldConfig(size=(80, 60))
    launches = []

    def rasterize(batch):
        launches.append(len(batch.cameras))
        return rasterize_on(device, batch, True, NEAR)

    there, here = World(config, Assets(), rasterize=rasterize), World(config, Assets())
    shots = [shot for scene in range(4) for shot in there.shots(5, scene, 2)]
    developed = there.develop(shots)
    assert launches == [8]
    assert sum(len(sample.visibility) > 0 for sample in developed) >= 4
    for sample, expected in zip(developed, (s for scene in range(4) for s in here.samples(5, scene, 2)), strict=True):
        np.testing.assert_array_equal(sample.depth, expected.depth)
        np.testing.assert_array_equal(sample.visibility, expected.visibility)
        alone = render(sample.scene, sample.view, here.body)
        for name in ("depth", "object", "vertex", "part", "canonical", "normal", "material", "joints", "visibility"):
            np.testing.assert_array_equal(getattr(sample.rendering, name), getattr(alone, name), err_msg=name)


def test_views_rendered_together_are_of_one_size():
    world = World(WorldConfig(size=None), Assets())
    shots = [shot for scene in range(6) for shot in world.shots(1, scene, 2)]
    with pytest.raises(ValueError, match="must be of one size"):
        world.develop(shots)


class TorchCpuDevice(CpuDevice):
    """The same for arrays of torch."""

    def full(self, shape, value, dtype):
        import torch

        return torch.from_numpy(super().full(shape, value, dtype))

    def contiguous(self, array):
        return array.contiguous()

    def launch(self, kernel, blocks, threads, arguments):
        super().launch(kernel, blocks, threads, tuple(x.numpy() if hasattr(x, "numpy") else x for x in arguments))


def test_arrays_go_to_the_gpu_and_come_back(monkeypatch, library, body):
    """Through torch, with a CPU in the place of the GPU."""
    torch = pytest.importorskip("torch")
    gpus = []

    def upload(name, array, gpu):
        gpus.append((name, gpu))
        return torch.from_numpy(array)

    monkeypatch.setattr(scene_rasterizer_cuda, "_why_not", lambda name: None if name == "torch" else "no cupy")
    monkeypatch.setattr(scene_rasterizer_cuda, "_upload", upload)
    monkeypatch.setattr(scene_rasterizer_cuda, "_device_of", lambda array: TorchCpuDevice(library, backwards=False))
    batch = crowd(body, scenes=2, people=2, size=SIZE)
    raster = rasterize_scenes_on_gpu(batch, gpu=3)
    assert set(gpus) == {("torch", 3)}
    assert len(gpus) == 5, "labels stay here"
    for name, value in vars(rasterize_scenes(batch)).items():
        np.testing.assert_array_equal(getattr(raster, name), value, err_msg=name)
        assert type(getattr(raster, name)) is np.ndarray


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((8, 3))}, "vertices must be float32"),
        ({"vertices": np.zeros((8, 2), np.float32)}, "vertices must be"),
        ({"faces": np.full((12, 3), 8, np.int32)}, "there are 8 vertices"),
        ({"face_start": np.array([0, 11])}, "face_start must rise"),
        ({"part": np.zeros(8, np.int32)}, "part must be uint8"),
    ],
)
def test_wrong_batches_are_refused(device, change, message):
    batch = replace(joined([[(BOX_CORNERS + [0, 0, 3], BOX_FACES, 0)]], SIZE), **change)
    with pytest.raises(ValueError, match=message):
        rasterize_on(device, batch, True, 0.05)


def gpu_libraries() -> list[str]:
    found = []
    for name in ("cupy", "torch"):
        try:
            to_device(joined([], SIZE), name)
        except RuntimeError:
            continue
        found.append(name)
    return found


def test_says_what_is_missing():
    batch = joined([[(BOX_CORNERS + [0, 0, 3], BOX_FACES, 0)]], SIZE)
    with pytest.raises(RuntimeError, match="arrays of numpy are not on a GPU: see to_device"):
        rasterize_scenes_cuda(batch)
    with pytest.raises(ValueError, match="library must be"):
        to_device(batch, "jax")
    with pytest.raises(ValueError, match="size must be"):
        to_device(replace(batch, size=(0, 3)))
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match="the batch is on cpu, not on a GPU: see to_device"):
        rasterize_scenes_cuda(replace(batch, vertices=torch.zeros(8, 3)))
    if gpu_libraries():
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeError, match=r"rendering on a GPU is not possible here: .*cupy.*torch"):
        to_device(batch)


@pytest.mark.parametrize("name", ["cupy", "torch"])
def test_on_a_gpu(body, name):
    if name not in gpu_libraries():
        pytest.skip(f"no GPU that {name} can use")
    batch = crowd(body, scenes=3, people=3, size=(120, 160))
    there = to_device(batch, name)
    for cull in (True, False):
        raster = rasterize_scenes_cuda(there, cull)
        labels = surface_labels_cuda(raster, there)
        expected = rasterize_scenes(batch, cull)
        for mine, truth in ((raster, expected), (labels, surface_labels(expected, batch))):
            for field, value in vars(truth).items():
                array = getattr(mine, field)
                host = array.get() if name == "cupy" else array.cpu().numpy()
                assert (host != value).mean() < 1e-4, field
    if name == gpu_libraries()[0]:
        back = rasterize_scenes_on_gpu(batch)
        assert (back.face != rasterize_scenes(batch).face).mean() < 1e-4
