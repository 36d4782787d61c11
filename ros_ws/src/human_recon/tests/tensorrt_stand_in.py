"""A stand-in for `tensorrt` and the GPU: "engines" are the ONNX graphs they were built of, run by ONNX Runtime.

What it checks is what our code hands over: typed graphs, profiles, shapes, addresses; and how often engines are built.
"""

from __future__ import annotations

import enum
import json
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Dims(list):
    """A list of numbers."""


class Memory:
    """Of the GPU: arrays by address."""

    def __init__(self) -> None:
        self.arrays: dict[int, bytearray] = {}
        self.pending: list[Any] = []

    def allocate(self, size: int) -> int:
        address = 4096 * (len(self.arrays) + 1)
        self.arrays[address] = bytearray(size)
        return address

    def to_device(self, address: int, array: np.ndarray) -> None:
        assert array.flags.c_contiguous
        assert array.nbytes == len(self.arrays[address])
        self.arrays[address][:] = array.tobytes()

    def to_host(self, array: np.ndarray, address: int) -> None:
        assert array.nbytes == len(self.arrays[address])
        self.pending.append((array, address))

    def synchronize(self) -> None:
        for array, address in self.pending:
            array[:] = np.frombuffer(bytes(self.arrays[address]), np.float32).reshape(array.shape)
        self.pending.clear()

    def enter(self) -> None:
        pass

    handle = 77


@dataclass
class StandIn:
    """The module `tensorrt`, the stream, and what was done with them."""

    memory: Memory = field(default_factory=Memory)
    builds: int = 0
    known_timings: list[bytes] = field(default_factory=list)
    refuse: str = ""  # what fails: "parse", "build", "load", "timings"

    def module(self, version: str = "10.13.0") -> types.ModuleType:
        module = types.ModuleType("tensorrt")
        module.__dict__.update(
            __version__=version,
            Logger=type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None}),
            Dims=Dims,
            TensorIOMode=TensorIOMode,
            NetworkDefinitionCreationFlag=NetworkDefinitionCreationFlag,
            Builder=lambda logger: _Builder(self),
            OnnxParser=lambda network, logger: _Parser(self, network),
            Runtime=lambda logger: _Runtime(self),
        )
        return module


class _Network:
    graph = b""

    def get_input(self, index: int) -> Any:
        assert index == 0
        return types.SimpleNamespace(shape=Dims(_shape(_session(self.graph).get_inputs()[0])))


@dataclass
class _Parser:
    stand_in: StandIn
    network: _Network
    num_errors: int = 0

    def parse(self, graph: bytes) -> bool:
        if self.stand_in.refuse == "parse":
            self.num_errors = 1
            return False
        self.network.graph = graph
        return True

    def get_error(self, index: int) -> str:
        return "unknown operator"


@dataclass
class _TimingCache:
    content: bytes

    def serialize(self) -> bytes:
        return self.content + b"+"


class _Config:
    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.profiles: list[Any] = []

    def create_timing_cache(self, content: bytes) -> _TimingCache:
        return _TimingCache(content)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.stand_in.known_timings.append(cache.content)
        return not (self.stand_in.refuse == "timings" and cache.content)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class _Profile:
    shapes: tuple[Dims, ...] = ()

    def set_shape(self, name: str, least: Dims, best: Dims, most: Dims) -> None:
        assert name == "image"
        assert all(isinstance(dims, Dims) for dims in (least, best, most))
        self.shapes = (least, best, most)


@dataclass
class _Builder:
    stand_in: StandIn

    def create_network(self, flags: int) -> _Network:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config(self.stand_in)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        self.stand_in.builds += 1
        if self.stand_in.refuse == "build":
            return None
        sizes = []
        for profile in config.profiles:
            least, best, most = profile.shapes
            assert least == best == most, "static shapes"
            sizes.append(least[0])
        return json.dumps(sizes).encode() + b"\n" + network.graph


@dataclass
class _Runtime:
    stand_in: StandIn

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        if self.stand_in.refuse == "load":
            return None
        sizes, _, graph = plan.partition(b"\n")
        return _Engine(self.stand_in, json.loads(sizes), _session(graph))


@dataclass
class _Engine:
    stand_in: StandIn
    sizes: list[int]
    session: onnxruntime.InferenceSession

    @property
    def tensors(self) -> list[Any]:
        return [*self.session.get_inputs(), *self.session.get_outputs()]

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index].name

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(_shape(next(t for t in self.tensors if t.name == name)))

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def create_execution_context(self) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.size = 0
        self.addresses: dict[str, int] = {}
        self.ready = False

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        assert stream == Memory.handle
        self.size = self.engine.sizes[index]
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert shape == (self.size, *self.engine.get_tensor_shape("image")[1:]), "not the profile's shape"
        self.ready = True
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        assert self.ready, "the shapes of the outputs are known after that of the input"
        return Dims([self.size, *self.engine.get_tensor_shape(name)[1:]])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == Memory.handle
        arrays = self.engine.stand_in.memory.arrays
        image = np.frombuffer(bytes(arrays[self.addresses["image"]]), np.float32).reshape(
            self.get_tensor_shape("image")
        )
        names = [output.name for output in self.engine.session.get_outputs()]
        for name, value in zip(names, self.engine.session.run(names, {"image": image})):
            assert value.dtype == np.float32
            arrays[self.addresses[name]][:] = value.tobytes()
        return True


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # The CPU library's fusions of float16 with integers are wrong.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _shape(tensor: Any) -> list[int]:
    return [-1 if isinstance(size, str) else size for size in tensor.shape]
