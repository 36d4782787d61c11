"""Reading the pickles that body models come in, without running anything.

A pickle is a program that calls whatever it names. Official SMPL and MANO files name numpy arrays, scipy.sparse
matrices and chumpy arrays (https://github.com/mattloper/chumpy, ch.py and reordering.py), written by Python 2. Here
each of these names stands for an inert class of this module that only keeps what the pickle hands to it; every other
name is refused before anything is built. The arrays are made afterwards, from the kept bytes, shapes and number types.
Neither numpy's nor scipy's own unpickling code nor chumpy is ever called.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import scipy.sparse

MAX_DEPTH = 16  # chumpy arrays may refer to chumpy arrays; a model file nests two or three


class RefusedPickle(ValueError):
    """The pickle is damaged, or names or does something that the arrays of a model have no need of."""


class _Inert:
    """Keeps constructor arguments and state. Being a class with ``__setstate__`` of its own, it cannot be altered by
    a pickle: applied to the class instead of an instance, that call lacks an argument and fails."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def attributes(self) -> dict[str, Any]:
        """The state as a dictionary of an object's attributes."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        merged: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, dict):
                merged.update({str(key): value for key, value in part.items()})
        return merged


class _NumberType(_Inert):
    """numpy.dtype."""

    def resolve(self) -> np.dtype:
        code = self.args[0] if self.args else None
        if isinstance(code, _ArrayClass):  # numpy.dtype(numpy.float64) never occurs in arrays of numbers
            raise RefusedPickle("an array of unknown number type")
        if isinstance(code, bytes):
            code = code.decode("latin1")
        if not isinstance(code, str) or len(code) > 3 or code[:1] not in "fiub?":
            raise RefusedPickle(f"an array of type {code!r:.40}")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "=", "|"):
            raise RefusedPickle(f"an array of byte order {order!r:.40}")
        return np.dtype(order + code if order in "<>" else code)


class _ArrayClass(_Inert):
    """numpy.ndarray, which pickles name but never call."""


class _Bytes(_Inert):
    """_codecs.encode(text, 'latin1'): how protocol 2 writes bytes."""

    def resolve(self) -> bytes:
        if len(self.args) != 2 or self.args[1] != "latin1":
            raise RefusedPickle("text in another encoding than latin1")
        return _raw_bytes(self.args[0])


class _NoBytes(_Inert):
    """bytes(): how protocols up to 2 write empty bytes."""

    def __new__(cls, *args: Any) -> Any:
        if args:
            raise RefusedPickle("bytes made from something else")
        return b""


class _Array(_Inert):
    """numpy's _reconstruct followed by the state (version, shape, type, Fortran order, bytes)."""

    def resolve(self, depth: int) -> np.ndarray:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise RefusedPickle("an incomplete array")
        _, shape, number_type, fortran, raw = self.state
        return _make_array(raw, shape, number_type, "F" if fortran else "C")


class _Scalar(_Inert):
    """numpy's scalar(type, bytes)."""

    def resolve(self, depth: int) -> np.ndarray:
        if len(self.args) != 2:
            raise RefusedPickle("an incomplete number")
        return _make_array(self.args[1], (), self.args[0], "C")


class _Buffer(_Inert):
    """numpy's _frombuffer(bytes, type, shape, order) of pickle protocol 5."""

    def resolve(self, depth: int) -> np.ndarray:
        if len(self.args) != 4 or self.args[3] not in ("C", "F"):
            raise RefusedPickle("an incomplete array")
        raw, number_type, shape, order = self.args
        return _make_array(raw, shape, number_type, order)


class _Sparse(_Inert):
    """A scipy.sparse matrix."""

    layout = ""

    def resolve(self, depth: int) -> np.ndarray:
        kept = self.attributes()
        shape = _shape(kept.get("_shape", kept.get("shape")))
        if len(shape) != 2:
            raise RefusedPickle("a sparse matrix that does not have two dimensions")
        data = _number_array(kept.get("data"), depth)
        if self.layout == "coo":
            row, column = kept["coords"] if "coords" in kept else (kept.get("row"), kept.get("col"))
            rows, columns = _number_array(row, depth), _number_array(column, depth)
            return scipy.sparse.coo_matrix((data, (rows, columns)), shape=shape).toarray()
        indices, starts = _number_array(kept.get("indices"), depth), _number_array(kept.get("indptr"), depth)
        kind = scipy.sparse.csc_matrix if self.layout == "csc" else scipy.sparse.csr_matrix
        matrix = kind((data, indices, starts), shape=shape)
        matrix.check_format(full_check=True)
        return matrix.toarray()


class _Csc(_Sparse):
    layout = "csc"


class _Csr(_Sparse):
    layout = "csr"


class _Coo(_Sparse):
    layout = "coo"


class _Chumpy(_Inert):
    """Any chumpy object; plain arrays (Ch), selections (Select) and reshapes (Reshape) of them have a value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args)

    def resolve(self, depth: int) -> np.ndarray:
        kept = self.attributes()
        if "x" in kept:
            return _number_array(kept["x"], depth)
        if "a" in kept and "idxs" in kept:
            selected = _number_array(kept["a"], depth).ravel()[
                _number_array(kept["idxs"], depth).astype(np.int64).ravel()
            ]
            return selected.reshape(_shape(kept["preferred_shape"])) if "preferred_shape" in kept else selected
        if "a" in kept and "newshape" in kept:
            shape = kept["newshape"]
            return _number_array(kept["a"], depth).reshape(
                _shape(shape if isinstance(shape, (tuple, list)) else (shape,))
            )
        raise RefusedPickle("a chumpy expression instead of an array")


class _Reconstructor(_Inert):
    """copy_reg._reconstructor(class, object, None): how protocols 0 and 1 make an instance."""

    def __new__(cls, made: Any = None, base: Any = None, state: Any = None) -> Any:
        if not (isinstance(made, type) and issubclass(made, (_Chumpy, _Sparse))) or base is not object:
            raise RefusedPickle("a class that a model has no need of")
        return made()


def _raw_bytes(value: Any) -> bytes:
    if isinstance(value, _Bytes):
        return value.resolve()
    if isinstance(value, str):  # Python 2 wrote bytes as text
        return value.encode("latin1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise RefusedPickle("an array without its bytes")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, _Inert):
        value = _resolve(value, 0)
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if not isinstance(value, (tuple, list)) or len(value) > 8:
        raise RefusedPickle("an array without its shape")
    lengths = tuple(_resolve(n, 0) if isinstance(n, _Inert) else n for n in value)
    if not all(isinstance(n, (int, np.integer, np.ndarray)) for n in lengths):
        raise RefusedPickle("an array without its shape")
    return tuple(int(n) for n in lengths)


def _make_array(raw: Any, shape: Any, number_type: Any, order: Any) -> np.ndarray:
    if not isinstance(number_type, _NumberType):
        raise RefusedPickle("an array of unknown number type")
    content, kind, lengths = _raw_bytes(raw), number_type.resolve(), _shape(shape)
    if min(lengths, default=0) < 0 or len(content) != math.prod(lengths) * kind.itemsize:
        raise RefusedPickle("an array whose bytes do not fill its shape")
    return np.frombuffer(content, dtype=kind).reshape(lengths, order=order)


def _number_array(value: Any, depth: int) -> np.ndarray:
    resolved = _resolve(value, depth + 1)
    if not isinstance(resolved, np.ndarray) or resolved.dtype.kind not in "fiub":
        raise RefusedPickle("something else where an array of numbers must be")
    return resolved


def _resolve(value: Any, depth: int) -> Any:
    """The array that an inert object stands for; everything else unchanged."""
    if depth > MAX_DEPTH:
        raise RefusedPickle("arrays that refer to arrays too deeply")
    if isinstance(value, _Bytes):
        return value.resolve()
    if isinstance(value, (_Array, _Scalar, _Buffer, _Sparse, _Chumpy)):
        return value.resolve(depth)
    return value


def _known_names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _Bytes,
        ("copy_reg", "_reconstructor"): _Reconstructor,
        ("copyreg", "_reconstructor"): _Reconstructor,
        ("numpy", "ndarray"): _ArrayClass,
        ("numpy", "dtype"): _NumberType,
    }
    for module in ("builtins", "__builtin__"):
        names.update({(module, kind.__name__): kind for kind in (dict, list, object, set, tuple)})
        names[module, "bytes"] = _NoBytes
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = _Array
        names[f"{core}.multiarray", "scalar"] = _Scalar
        names[f"{core}.numeric", "_frombuffer"] = _Buffer
    for sparse in (_Csc, _Csr, _Coo):
        for module in ("scipy.sparse", f"scipy.sparse.{sparse.layout}", f"scipy.sparse._{sparse.layout}"):
            names[module, f"{sparse.layout}_matrix"] = sparse
    return names


class _RestrictedUnpickler(pickle.Unpickler):
    known = _known_names()

    def find_class(self, module: str, name: str) -> Any:
        if module == "chumpy" or module.startswith("chumpy."):
            return _Chumpy
        if (module, name) not in self.known:
            raise RefusedPickle(f"it names {module}.{name}, which a body model has no need of")
        return self.known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedPickle("it refers to an object outside the file")


def read_pickled_arrays(content: bytes) -> dict[str, Any]:
    """The dictionary pickled in ``content``: sparse and chumpy arrays as numpy arrays, other values as they are.

    Values that are no array of numbers are None. Raises RefusedPickle.
    """
    try:
        loaded = _RestrictedUnpickler(io.BytesIO(content), encoding="latin1").load()
    except RefusedPickle:
        raise
    except Exception as error:  # a damaged or malicious pickle can make the machine fail in any way
        raise RefusedPickle(f"not a complete pickle ({type(error).__name__})") from error
    if not isinstance(loaded, dict):
        raise RefusedPickle("it does not hold a dictionary of arrays")
    return {key: _value(value) for key, value in loaded.items() if isinstance(key, str)}


def _value(value: Any) -> Any:
    try:
        resolved = _resolve(value, 0)
    except Exception:  # an entry of no use; an error only if it is one that the model needs
        return None
    return None if isinstance(resolved, _Inert) else resolved
