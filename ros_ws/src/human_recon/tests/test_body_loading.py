"""Model files: official layouts load, damaged and hostile ones are refused with one clear line."""

import io
import os
import pickle
import struct
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse

from human_recon.body.lbs import pose_body
from human_recon.body.model import ModelFileError, default_body_model, load_body_model
from human_recon.body.state import BodyState
from human_recon.body.unpickling import RefusedPickle, read_pickled_arrays
from human_recon.resources import model_path


@pytest.fixture(scope="module")
def content():
    """The arrays of the open body, as an official model file has them."""
    with np.load(model_path("body/open_body_adult.npz"), allow_pickle=False) as data:
        keys = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
        return {key: data[key] for key in keys}


def assert_same_body(model):
    expected = default_body_model()
    state = BodyState(np.full(10, 0.3), np.full((24, 3), 0.1), np.zeros(3))
    assert np.abs(pose_body(model, state).vertices - pose_body(expected, state).vertices).max() < 1e-6
    assert (model.faces == expected.faces).all()


class Python2Pickler(pickle._Pickler):
    """Writes protocol 2 as Python 2 did: text and bytes alike as byte strings, numpy and scipy by their old names."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def save_text(self, obj):
        raw = obj.encode("latin1") if isinstance(obj, str) else obj
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(obj)

    dispatch[str] = dispatch[bytes] = save_text

    def save_global(self, obj, name=None):
        module, name = obj.__module__, name or obj.__qualname__
        module = module.replace("numpy._core", "numpy.core").replace("scipy.sparse._", "scipy.sparse.")
        module = module.replace("builtins", "__builtin__").replace("copyreg", "copy_reg")
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[type] = dispatch[type(os.getcwd)] = dispatch[type(np.load)] = save_global


def test_npz_of_the_official_layout_loads(content, tmp_path):
    """More betas than needed, 64 bit, no mirror map or names; objects that nobody needs stay unread."""
    path = tmp_path / "SMPL_NEUTRAL.npz"
    more = np.concatenate([content["shapedirs"], np.ones((6890, 3, 290))], axis=2)
    extra = {"vert_sym_idxs": np.arange(6890), "bs_style": np.array(["lbs", None], dtype=object)}
    np.savez(path, **{**content, "shapedirs": more, **extra})
    model = load_body_model(path)
    assert model.mirror_vertices is None and model.extra_vertices == {}
    assert model.shapedirs.shape == (6890, 3, 10)
    assert_same_body(model)


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        *(("csc_matrix", protocol) for protocol in range(6)),
        *((kind, protocol) for kind in ("csr_matrix", "coo_matrix") for protocol in (2, 5)),
    ],
)
def test_pickle_with_a_sparse_regressor_loads(content, tmp_path, protocol, kind):
    path = tmp_path / "model.pkl"
    small = dict(content, posedirs=content["posedirs"].astype(np.float32))
    data = dict(
        small, J_regressor=getattr(scipy.sparse, kind)(content["J_regressor"]), bs_style="lbs", bs_type="lrotmin"
    )
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    assert_same_body(load_body_model(path))


def test_pickle_written_by_python_2_loads(content, tmp_path):
    path = tmp_path / "basicmodel_m_lbs_10_207_0_v1.0.0.pkl"
    regressor = scipy.sparse.csc_matrix(content["J_regressor"].astype(np.float64))
    with path.open("wb") as file:
        big_endian = content["weights"].astype(">f8")
        fortran = np.asfortranarray(content["v_template"].astype(np.float64))
        data = dict(content, J_regressor=regressor, weights=big_endian, v_template=fortran, bs_style="lbs")
        Python2Pickler(file).dump(data)
    assert b"numpy.core.multiarray" in path.read_bytes() and b"_codecs" not in path.read_bytes()
    assert_same_body(load_body_model(path))


CHUMPY = """
import pickle, sys
import numpy as np, scipy.sparse

class Ch:
    def __init__(self, x):
        self.__dict__.update(x=np.asarray(x, np.float64), _dirty_vars=set(), _itr=None, _depends_on_deps={})
    def __getstate__(self):
        return dict(self.__dict__)

class Select(Ch):
    def __init__(self, a, idxs, preferred_shape):
        self.__dict__.update(a=a, idxs=idxs, preferred_shape=preferred_shape, _dirty_vars=set())

class Reshape(Ch):
    def __init__(self, a, newshape):
        self.__dict__.update(a=a, newshape=newshape)

import types
for name, classes in (("chumpy", ()), ("chumpy.ch", (Ch,)), ("chumpy.reordering", (Select, Reshape))):
    module = types.ModuleType(name)
    sys.modules[name] = module
    for kind in classes:
        kind.__module__ = name
        setattr(module, kind.__name__, kind)

source, path, protocol = sys.argv[1], sys.argv[2], int(sys.argv[3])
with np.load(source) as data:
    content = {key: data[key] for key in data.files}
whole = np.concatenate([content["shapedirs"], np.full((6890, 3, 5), 7.0)], axis=2)
index = np.arange(whole.size).reshape(whole.shape)[:, :, :10].ravel()
content["shapedirs"] = Select(Ch(whole), index, (6890, 3, 10))
content["v_template"] = Reshape(Ch(content["v_template"].ravel()), (6890, 3))
content["posedirs"] = Ch(content["posedirs"])
content["weights"] = Ch(content["weights"])
content["J"] = Ch(np.zeros((24, 3)))
content["J_regressor"] = scipy.sparse.csc_matrix(content["J_regressor"])
with open(path, "wb") as file:
    pickle.dump(content, file, protocol=protocol)
"""


@pytest.mark.parametrize("protocol", [1, 2])
def test_chumpy_pickle_loads_without_chumpy(content, tmp_path, protocol):
    source, path, script = tmp_path / "source.npz", tmp_path / "model.pkl", tmp_path / "write.py"
    np.savez(source, **content)
    script.write_text(CHUMPY)
    subprocess.run([sys.executable, script, source, path, str(protocol)], check=True)
    assert b"chumpy" in path.read_bytes() and "chumpy" not in sys.modules
    assert_same_body(load_body_model(path))
    assert "chumpy" not in sys.modules


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile_pickles(target):
    """Name -> pickle that would create ``target`` if anything in it were run."""
    command = f"touch {target}"
    code = f"open({str(target)!r}, 'w').close()"
    nested = Calls(map, Calls(getattr, Calls(__import__, "os"), "system"), [command])
    objects = np.array([Calls(os.system, command)], dtype=object)
    in_state = scipy.sparse.csc_matrix(np.eye(2))
    in_state.data = Calls(os.system, command)
    harmful = {
        "os.system": Calls(os.system, command),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "nested": nested,
        "deep": {"v_template": [{"a": (Calls(os.system, command),)}]},
        "object array": {"v_template": objects},
        "sparse state": {"J_regressor": in_state},
        "numpy.load": Calls(np.load, str(target)),
        "numpy.save": Calls(np.save, str(target), 1),
        "subprocess": Calls(subprocess.check_output, ["touch", str(target)]),
        "open": Calls(open, str(target), "w"),
    }
    pickles = {}
    for name, value in harmful.items():
        for protocol in (0, 2, 4):
            pickles[f"{name}, protocol {protocol}"] = pickle.dumps(value, protocol=protocol)
    pickles["dotted name"] = b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.__init__.__self__\x93."
    pickles["chumpy lookalike"] = b"cchumpyos\nsystem\n(S'" + command.encode() + b"'\ntR."
    pickles["persistent"] = b"Pos.system\n."
    pickles["extension"] = b"\x80\x02\x82\x01."
    pickles["instance opcode"] = b"(S'" + command.encode() + b"'\nios\nsystem\n."
    return pickles


def test_hostile_pickles_are_refused_and_run_nothing(tmp_path):
    target = tmp_path / "created.npy"
    for name, raw in hostile_pickles(target).items():
        path = tmp_path / "model.pkl"
        path.write_bytes(raw)
        with pytest.raises(ModelFileError, match="refused") as caught:
            load_body_model(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value), name
        assert not target.exists(), name


def test_the_hostile_pickles_above_would_work(tmp_path):
    """Guards the test above: unpickled without restriction, most of them do create the file."""
    created = 0
    for name, raw in hostile_pickles(tmp_path / "created.npy").items():
        if not name.endswith("protocol 2"):
            continue
        try:
            loaded = pickle.loads(raw)
            if isinstance(loaded, map):
                list(loaded)
        except Exception:  # some fail half-way, as numpy.load of a file that is not there
            pass
        if (tmp_path / "created.npy").exists():
            created += 1
            (tmp_path / "created.npy").unlink()
    assert created >= 8


def test_refusal_names_the_offender(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelFileError, match=r"posix\.system"):
        load_body_model(path)


@pytest.mark.parametrize(
    "name", ["numpy.core.multiarray\n_reconstruct", "_codecs\nencode", "numpy\ndtype", "chumpy\nCh"]
)
def test_a_pickle_cannot_alter_the_loader(content, tmp_path, name):
    """BUILD applied to an allowed name itself, with attributes to set: nothing sticks."""
    state = pickle.dumps((None, {"resolve": 1, "__init__": 2, "__setstate__": 3, "__new__": 4}), protocol=0)[:-1]
    raw = b"c" + name.encode() + b"\n" + state + b"b."
    with pytest.raises(RefusedPickle):
        read_pickled_arrays(raw)
    array = np.arange(6.0).reshape(2, 3)
    assert (read_pickled_arrays(pickle.dumps({"a": array}, protocol=2))["a"] == array).all()


@pytest.mark.parametrize(
    "state",
    [
        (1, (2, 3), np.dtype("f8"), False, b"short"),
        (1, (-1, -1), np.dtype("f8"), False, b"12345678"),
        (1, (10**12,), np.dtype("f8"), False, b""),
        (1, "shape", np.dtype("f8"), False, b""),
        (1, (1,), "f8", False, b"12345678"),
        (1, (1,), np.dtype("O"), False, [None]),
        (1, (1,), np.dtype([("a", "f8")]), False, b"12345678"),
        (1, (1,)),
        None,
    ],
)
def test_forged_arrays_have_no_value(state):
    class Forged:
        def __reduce__(self):
            make = np.zeros(1).__reduce__()
            return make[0], make[1], state

    assert read_pickled_arrays(pickle.dumps({"a": Forged()}, protocol=2)).get("a") is None


def test_self_referring_chumpy_arrays_have_no_value():
    raw = b"(dS'a'\n(ichumpy\nCh\np5\n(dS'x'\ng5\nsbs."
    assert read_pickled_arrays(raw) == {"a": None}


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_missing_file(tmp_path, suffix):
    with pytest.raises(ModelFileError, match="no such file") as caught:
        load_body_model(tmp_path / f"absent{suffix}")
    assert f"absent{suffix}" in str(caught.value) and "\n" not in str(caught.value)


def test_folder_instead_of_a_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_body_model(tmp_path / "folder.npz")


def test_other_suffix(tmp_path):
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(ModelFileError, match=r"\.npz or \.pkl"):
        load_body_model(tmp_path / "model.txt")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_truncated_files(content, tmp_path, suffix, share):
    path = tmp_path / f"model{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, **content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(ModelFileError) as caught:
        load_body_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_corrupted_archive(content, tmp_path):
    path = tmp_path / "model.npz"
    np.savez_compressed(path, **content)
    raw = bytearray(path.read_bytes())
    raw[200:2000] = os.urandom(1800)
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match="damaged"):
        load_body_model(path)


def test_a_single_array_is_no_model(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "model.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ModelFileError):
        load_body_model(tmp_path / "model.npz")


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
@pytest.mark.parametrize("key", ["v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"])
def test_missing_key(content, tmp_path, key, suffix):
    path = tmp_path / f"model{suffix}"
    write(path, {k: v for k, v in content.items() if k != key})
    with pytest.raises(ModelFileError, match=f"'{key}' is missing"):
        load_body_model(path)


WRONG = {
    "transposed template": ("v_template", lambda x: x.T, r"'v_template' has shape \[3, 6890\]"),
    "too few weights": ("weights", lambda x: x[:-1], r"'weights' has shape \[6889, 24\] instead of \[6890, 24\]"),
    "52 joints": ("J_regressor", lambda x: np.tile(x, (3, 1))[:52], r"'J_regressor' has shape \[52, 6890\]"),
    "few betas": ("shapedirs", lambda x: x[:, :, :4], "4 components, at least 10"),
    "no betas": ("shapedirs", lambda x: x[:, :, 0], r"'shapedirs' has shape \[6890, 3\]"),
    "MANO's correctives": ("posedirs", lambda x: x[:, :, :135], r"'posedirs' has shape \[6890, 3, 135\]"),
    "faces out of range": ("f", lambda x: x + 1, "indices outside 0 ... 6889"),
    "fractional faces": ("f", lambda x: x * 0.5, "indices outside 0 ... 6889"),
    "not finite": ("v_template", lambda x: np.where(x > 0.5, np.nan, x), "not finite"),
    "text": ("v_template", lambda x: np.array(["a", "b"]), "not an array of numbers"),
    "other tree": ("kintree_table", lambda x: np.stack([np.roll(x[0], 1), x[1]]), "not the 24-joint tree"),
    "scaled weights": ("weights", lambda x: 2 * x, "rows of 'weights' do not add up to 1"),
    "scaled regressor": ("J_regressor", lambda x: 0.5 * x, "rows of 'J_regressor' do not add up to 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(content, tmp_path, case):
    key, change, message = WRONG[case]
    path = tmp_path / "model.npz"
    write(path, dict(content, **{key: change(content[key])}))
    with pytest.raises(ModelFileError, match=message) as caught:
        load_body_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def write(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
