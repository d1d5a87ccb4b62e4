"""Odd .npz files: each gives the records that it holds, or one line that says what is wrong; none is misread."""

import io
import re
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from archives import bits, cycle

from mia_jax import data
from mia_jax.audits.deployed import records as deployed
from mia_jax.data import limits
from mia_jax.types import InputError

N, F = 12, 5
X, Y = bits(N, F), cycle(N, 3)
NUMBERS = np.linspace(-2, 2, N * F).reshape(N, F)
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 4, 4), np.uint8)


def npy(array, **changed) -> bytes:
    """An array as it lies in an .npz, perhaps with another header."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array))
    if not changed:
        return out.getvalue()
    whole = out.getvalue()
    header = io.BytesIO()
    held = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(header, held | changed)
    return header.getvalue() + whole[len(whole) - array.nbytes :]


def zipped(members: dict[str, bytes] | list[tuple[str, bytes]], how=zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return out.getvalue()


def saved(**arrays) -> bytes:
    return zipped({f"{name}.npy": array if isinstance(array, bytes) else npy(array) for name, array in arrays.items()})


def spoiled(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def announced(size: int) -> bytes:
    """An .npz whose headers all say that x has ``size`` bytes, and which has 60."""
    x = npy(X, shape=(size // F, F))
    return spoiled(saved(x=x, y=Y), struct.pack("<I", len(x)), struct.pack("<I", len(x) - X.nbytes + size))


class Harm:
    """What must never be made: a pickle that does something."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def objects(*values) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def sparse():
    import scipy.sparse

    return np.array(scipy.sparse.csr_matrix(X), dtype=object)


def sparse_file() -> bytes:
    import scipy.sparse

    out = io.BytesIO()
    scipy.sparse.save_npz(out, scipy.sparse.csr_matrix(X))
    return out.getvalue()


TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g")
BIG_ENDIAN = {f"x {t}": saved(x=NUMBERS.astype(t), y=Y) for t in (">f8", ">f4", ">f2")}
READ = {  # content, and the records that it holds
    **{f"x {t}": (saved(x=X.astype(t), y=Y), X) for t in ("bool", *TYPES, ">i8", ">u2")},
    **{f"y {t}": (saved(x=X, y=Y.astype(t)), X) for t in (*TYPES, ">i4", ">f8")},
    **{name: (content, NUMBERS.astype(name[2:]).astype(np.float32)) for name, content in BIG_ENDIAN.items()},
    "x longdouble": (saved(x=NUMBERS.astype(np.longdouble), y=Y), NUMBERS.astype(np.float32)),
    "x Fortran": (saved(x=np.asfortranarray(NUMBERS), y=Y), NUMBERS.astype(np.float32)),
    "x Fortran bits": (saved(x=np.asfortranarray(X), y=Y), X),
    "x images": (saved(x=PIXELS, y=Y), PIXELS),
    "x images with channels": (saved(x=PIXELS.reshape(N, 2, 2, 4), y=Y), PIXELS.reshape(N, 2, 2, 4)),
    "x float images": (saved(x=PIXELS / 255, y=Y), (PIXELS / 255).astype(np.float32)),
    "x one column": (saved(x=NUMBERS[:, :1], y=Y), NUMBERS[:, :1].astype(np.float32)),
    "x constant": (saved(x=X * 0 + 7, y=Y), X * 0 + 7),
    "x tiny": (saved(x=NUMBERS * 1e-42, y=Y), (NUMBERS * 1e-42).astype(np.float32)),
    "x with nan": (saved(x=np.where(X == 1, np.nan, NUMBERS), y=Y), np.where(X == 1, np.nan, NUMBERS).astype("f4")),
    "x of nan in a column": (
        saved(x=np.where(np.arange(F) == 2, np.nan, NUMBERS), y=Y),
        np.where(np.arange(F) == 2, np.nan, NUMBERS).astype("f4"),
    ),
    "y of two classes": (saved(x=X, y=Y > 0), X),
    "y as a column": (saved(x=X, y=Y[:, None]), X),
    "y as a column of floats": (saved(x=X, y=Y[:, None].astype(float)), X),
    "more arrays": (saved(x=X, y=Y, z=objects(Harm()), member=Y > 0), X),
    "stored": (zipped({"x.npy": npy(X), "y.npy": npy(Y)}, zipfile.ZIP_STORED), X),
    "bzip2": (zipped({"x.npy": npy(X), "y.npy": npy(Y)}, zipfile.ZIP_BZIP2), X),
    "without .npy": (zipped({"x": npy(X), "y": npy(Y)}), X),
    "other members": (zipped({"readme.txt": b"hello", "x.npy": npy(X), "y.npy": npy(Y)}), X),
    "a duplicate that nobody wants": (zipped([("z", b""), ("z", b""), ("x.npy", npy(X)), ("y.npy", npy(Y))]), X),
}
REFUSED = {  # content, and the reason
    "empty": (b"", "not an .npz file"),
    "text": (b"x,y\n1,2\n", "not an .npz file"),
    "npy": (npy(X), "a single array"),
    "gzip": (b"\x1f\x8b\x08\x00", "not an .npz file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "not an .npz file"),
    "empty zip": (zipped({}), "no array 'x', only nothing"),
    "another zip": (zipped({"a.txt": b"hello"}), "no array 'x', only 'a.txt'"),
    "capital names": (saved(X=X, Y=Y), "no array 'x', only 'X', 'Y'"),
    "keras names": (saved(x_train=X, y_train=Y), "no array 'x', only 'x_train', 'y_train'"),
    "positional": (saved(arr_0=X, arr_1=Y), "no array 'x', only 'arr_0', 'arr_1'"),
    "no y": (saved(x=X), "no array 'y', only 'x'"),
    "no x": (saved(y=Y), "no array 'x', only 'y'"),
    "two x": (zipped([("x.npy", npy(X)), ("x.npy", npy(1 - X)), ("y.npy", npy(Y))]), "2 arrays that are called 'x'"),
    "x and x.npy": (zipped({"x": npy(X), "x.npy": npy(X), "y.npy": npy(Y)}), "2 arrays that are called 'x'"),
    "x is text": (zipped({"x.npy": b"hello", "y.npy": npy(Y)}), "member 'x' is not an array"),
    "x is empty": (zipped({"x.npy": b"", "y.npy": npy(Y)}), "member 'x' is not an array"),
    "cut": (saved(x=X, y=Y)[:-30], "damaged"),
    "cut short": (saved(x=X, y=Y)[:100], "damaged"),
    "flipped": (spoiled(zipped({"x.npy": npy(X), "y.npy": npy(Y)}, 0), X.tobytes()[:20], b"\1" * 20), "damaged"),
    "too short for its shape": (saved(x=npy(X)[:-1], y=Y), "damaged"),
    "too long for its shape": (saved(x=npy(X) + b"\0", y=Y), "damaged"),
    "a huge shape": (saved(x=npy(X, shape=(10**12, F)), y=Y), "damaged"),
    "a shape beyond 64 bits": (saved(x=npy(X, shape=(10**30, F)), y=Y), "damaged"),
    "a negative shape": (saved(x=npy(X, shape=(-N, F)), y=Y), "damaged"),
    "a shape of floats": (saved(x=npy(X, shape=(12.0, F)), y=Y), "damaged"),
    "a dtype that is none": (saved(x=npy(X, descr="hello"), y=Y), "damaged"),
    "a size that lies": (announced(2 * X.nbytes), "damaged"),
    "a huge size that lies": (announced(F * 2**28), "that is no data"),
    "encrypted": (spoiled(saved(x=X, y=Y), b"\x14\0\0\0\x08\0", b"\x14\0\x01\0\x08\0"), "is encrypted"),
    "bzip2, too long for its shape": (
        zipped({"x.npy": npy(X) + b"\0", "y.npy": npy(Y)}, zipfile.ZIP_BZIP2),
        "damaged",
    ),
    "lzma": (zipped({"x.npy": npy(X), "y.npy": npy(Y)}, zipfile.ZIP_LZMA), "in a way that NumPy does not write"),
    "harm in x": (saved(x=objects(Harm(), 1), y=Y), "holds Python objects"),
    "harm in y": (saved(x=X, y=objects(Harm(), 1)), "holds Python objects"),
    "ragged": (saved(x=objects([1, 2], [3]), y=Y), "as rows of unequal length become"),
    "numbers as objects": (saved(x=X.astype(object), y=Y), r"are numbers: write x.astype\(float\)"),
    "NumPy's numbers as objects": (saved(x=objects(*X[:, 0]), y=Y), r"are numbers: write x.astype\(float\)"),
    "arrays as objects": (saved(x=objects(*X), y=Y), r"are arrays: write np.stack\(x\)"),
    "none": (saved(x=X, y=objects(None, *Y[1:])), "array 'y' holds Python objects"),
    "text as objects": (saved(x=X, y=objects(*"abcabcabcabc")), "holds text as Python objects; number it"),
    "huge integers": (saved(x=X, y=objects(*[10**30] * N)), "array 'y' holds Python objects"),
    "sparse x": (saved(x=sparse(), y=Y), "is a sparse matrix of SciPy; write its m.toarray"),
    "sparse file": (sparse_file(), "it is a sparse matrix of SciPy; write its m.toarray"),
    "x text": (
        saved(x=X.astype(str), y=Y),
        r"x has type <U3, text; needed: numbers: give each category a column.*x.astype\(float\)",
    ),
    "x bytes": (saved(x=X.astype("S1"), y=Y), r"x has type \|S1, text"),
    "x complex": (saved(x=X + 1j, y=Y), "x has type complex128; needed: real numbers"),
    "x times": (saved(x=X.astype("datetime64[D]"), y=Y), r"x has type datetime64\[D\], times"),
    "x durations": (saved(x=X.astype("timedelta64[s]"), y=Y), "times; needed: numbers: x.astype"),
    "x structured": (saved(x=np.zeros(N, [("a", "f4"), ("b", "i4")]), y=Y), "x has fields with names"),
    "x structured, not ASCII": (saved(x=np.zeros(N, [("ä", "f4")]), y=Y), "x has fields with names"),
    "x bfloat16": (saved(x=X.astype("f2").view("V2"), y=Y), r"bfloat16 becomes in a file; .*x.astype\(np.float32\)"),
    "x scalar": (saved(x=np.float64(1), y=Y), r"x has shape \(\)"),
    "x flat": (saved(x=X[:, 0], y=Y), r"x\[:, None\] makes records of single numbers"),
    "no records": (saved(x=X[:0], y=Y[:0]), "n > 0"),
    "no columns": (saved(x=X[:, :0], y=Y), "n > 0"),
    "x inf": (
        saved(x=np.where(X == 1, np.inf, 0), y=Y),
        "record 0 has a feature that is inf|has a feature that is inf",
    ),
    "x beyond float32": (saved(x=NUMBERS * 1e300, y=Y), "beyond 3e38"),
    "x longdouble beyond float64": (saved(x=NUMBERS.astype("g") * np.longdouble("1e4000"), y=Y), "that is -inf"),
    "fewer labels": (saved(x=X, y=Y[:-1]), r"a label for each record, y \[12\]"),
    "y scalar": (saved(x=X, y=np.int64(1)), r"a label for each record, y \[12\]"),
    "y from 1": (saved(x=X, y=Y + 1), "class 0 of 0..3 has no record"),
    "y negative": (saved(x=X, y=Y - 1), "label -1, which is negative"),
    "y with gaps": (saved(x=X, y=Y * 2), r"class 1 \(and 1 more\)"),
    "y one-hot": (saved(x=X, y=np.eye(3)[Y]), r"y.argmax\(axis=1\) makes them of a one-hot code"),
    "y soft": (saved(x=X, y=np.eye(3)[Y] * 0.4 + 0.2), r"y.argmax\(axis=1\) makes them of probabilities"),
    "y multi-label": (saved(x=X, y=X[:, :3]), r"record \d+ has \d labels at once: audit one label at a time"),
    "y multi-label bool": (saved(x=X, y=X[:, :3] > 0), r"audit one label at a time, with y\[:, 0\]"),
    "y several columns": (saved(x=X, y=np.stack([Y, Y], 1)), r"give one column of it, as y\[:, 0\]"),
    "y regression": (saved(x=X, y=NUMBERS[:, 0]), r'the target of a regression, .*signal="squared_error".*np.digitize'),
    "y regression, whole": (saved(x=X, y=np.arange(N) * 1000 + 3), r"targets of a regression have; .*np.digitize"),
    "y identifiers": (saved(x=X, y=np.arange(N)), "every record has a label of its own, as identifiers"),
    "y halves": (saved(x=X, y=Y + 0.5), "not whole numbers; number the classes 0, 1"),
    "y nan": (saved(x=X, y=np.where(Y == 2, np.nan, Y)), r"record 2 has no label \(nan\)"),
    "y inf": (saved(x=X, y=np.where(Y == 2, np.inf, Y)), "label inf, outside of"),
    "y one class": (saved(x=X, y=Y * 0), "single class"),
    "y text": (saved(x=X, y=np.array(["cat", "dog", "emu"])[Y]), r"labels are text \('cat', 'dog', 'emu', ...\)"),
    "y bytes": (saved(x=X, y=np.array([b"cat", b"dog", b"emu"])[Y]), "labels are text"),
    "y complex": (saved(x=X, y=Y + 0j), "y has type complex128"),
    "y times": (saved(x=X, y=Y.astype("datetime64[D]")), "y has type datetime64"),
    "y structured": (saved(x=X, y=np.zeros(N, [("a", "i4")])), "y has fields with names"),
    "y bfloat16": (saved(x=X, y=Y.astype("f2").view("V2")), r"y.astype\(np.float32\)"),
    "y huge": (saved(x=X, y=Y.astype(np.uint64) * 2**62), r"label 4611686018427387904, outside of"),
    "schema number": (saved(x=X, y=Y, schema=np.array(5)), "schema is damaged"),
    "schema text": (saved(x=X, y=Y, schema=np.array("hello")), "schema is damaged"),
    "schema deep": (saved(x=X, y=Y, schema=np.array("[" * 5000 + "]" * 5000)), "schema is damaged"),
}


def written(tmp_path, content: bytes):
    (tmp_path / "odd.npz").write_bytes(content)
    return tmp_path / "odd.npz"


def test_there_are_enough_odd_files():
    assert len(READ) + len(REFUSED) >= 94


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_was_written(tmp_path, name):
    content, x = READ[name]
    records, schema = data.load(written(tmp_path, content))
    np.testing.assert_array_equal(records.x, x)
    np.testing.assert_array_equal(records.y, Y > 0 if name == "y of two classes" else Y)
    assert records.x.dtype in (np.uint8, np.float32) and records.y.dtype == np.int32
    assert schema.shape == x.shape[1:] and schema.fields[-1].stop == x[0].size
    if "nan" in name:
        assert "missing (NaN)" in schema.notes[0]
        with pytest.raises(InputError, match="feature that is nan"):  # a service is asked in JSON, which has no NaN
            deployed.load_question(tmp_path / "odd.npz")
    else:
        np.testing.assert_array_equal(deployed.load_question(tmp_path / "odd.npz").records.x, x)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_one_line(tmp_path, name):
    content, reason = REFUSED[name]
    path = written(tmp_path, content)
    for load in (data.load, deployed.load_question):
        if load is deployed.load_question and name in (
            "y from 1",
            "y with gaps",
            "y identifiers",
            "y regression, whole",
        ):
            continue  # records to ask about may lack classes
        with pytest.raises(InputError, match=reason) as error:
            load(path)
        line = str(error.value)
        assert line.startswith(f"{path} cannot be used: ") and "\n" not in line and len(line) < 400
        assert re.search("; |: ", line.removeprefix(f"{path} cannot be used: "))  # and the next move


def bomb(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (size // 1000, 1000)}
        )
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
        member.write(bytes(size % (1 << 20)))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("y.npy", npy(cycle(size // 1000, 3)))
    return out.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SMALL", 2**20)  # the real one is 256 MiB
    path = written(tmp_path, bomb(10**7))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"its array 'x' takes 10 MB, packed into .* that is no data"):
            data.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_more_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    assert limits.free_memory() > 2**20
    path = written(tmp_path, saved(x=NUMBERS, y=Y))
    monkeypatch.setattr(limits, "free_memory", lambda: 900.0)
    with pytest.raises(InputError, match=r"'x' takes 480 bytes, and 900 bytes of memory are free; give fewer records"):
        data.load(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "odd.npz")
    with pytest.raises(InputError, match="is a device or a pipe"):
        data.load(tmp_path / "odd.npz")


GOOD = (
    '{"name": "a", "source": "local", "digest": "", "num_classes": 3, "shape": [5], "notes": [], "fields": '
    '[{"name": "b", "kind": "binary", "start": 0, "stop": 5, "low": 0, "high": 1, "categories": []}]}'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a"', "7"),
        ('"local"', "null"),
        ("[]", "[7]"),
        (": 3", ': "3"'),
        (": 3", ": 3.0"),
        (": 3", ": true"),
        (": 3", ": -3"),
        (": 3", ": 1e400"),
        (": 3", f": {10**400}"),
        ("[5]", "5"),
        ("[5]", '["5"]'),
        ("[5]", "[]"),
        ("[5]", "[5.0]"),
        ('"b"', "[]"),
        ('"binary"', '"bits"'),
        ('"binary"', "1"),
        ('"start": 0', '"start": null'),
        ('"start": 0', '"start": 0.5'),
        ('"stop": 5', '"stop": 6'),
        ('"stop": 5', '"stop": -5'),
        ('"stop": 5', '"stop": "5"'),
        ('"low": 0', '"low": "0"'),
        ('"low": 0', '"low": NaN'),
        ('"low": 0', '"low": 2'),
        ('"high": 1', '"high": Infinity'),
        ('"high": 1', f'"high": {10**400}'),
        ('"high": 1', '"high": 1, "zero": 1'),
        ('"high": 1', '"high": 1, "zero": null'),
        ('"categories": []', '"categories": 5'),
        ('"categories": []', '"categories": [5]'),
        ('"categories": []', '"extra": []'),
        ('"fields": [{', '"fields": [7, {'),
        ('"fields"', '"more": 1, "fields"'),
        ('"notes": [], ', ""),
        ('"binary"', '"categorical"'),
    ],
)
def test_a_schema_of_wrong_types_is_refused(tmp_path, old, new):
    assert data.load(written(tmp_path, saved(x=X, y=Y, schema=np.array(GOOD))))[1].num_classes == 3
    assert old in GOOD
    path = written(tmp_path, saved(x=X, y=Y, schema=np.array(GOOD.replace(old, new, 1))))
    for load in (data.load, deployed.load_question):
        with pytest.raises(InputError, match="schema") as error:
            load(path)
        assert "leave that array out, or write it anew" in str(error.value) and "\n" not in str(error.value)


def test_records_must_fit_their_schema(tmp_path):
    path = written(tmp_path, saved(x=X * 2, y=Y, schema=np.array(GOOD)))
    with pytest.raises(InputError, match="b is binary, and it has other values than 0 and 1"):
        data.load(path)
