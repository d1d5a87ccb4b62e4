"""An .npz that somebody else wrote, trusted in nothing: no pickle is loaded, and sizes are checked before the reading.

A reader raises ``ValueError`` with the reason where the file cannot be what it claims, and ``Unusable`` where the
reason already says what to do, as ``limits.TooLarge`` does.
"""

import bz2
import contextlib
import io
import math
import pathlib
import pickletools
import re
import stat
import zipfile
from collections.abc import Generator, Sequence
from typing import IO

import numpy as np

from mia_jax import sanitize
from mia_jax.data import limits
from mia_jax.types import InputError

DAMAGED = "it is damaged, or was not written to its end"
_OF_EVERY_ARRAY = {"_reconstruct", "ndarray", "dtype", "O8", "|"}  # text in the pickle of one of objects: 3 classes
_OF_NUMBERS = re.compile(r"[<>|=]?[biuf]\d+|[<>|=]|scalar")  # text in the pickle of numbers of NumPy
_PICKLED = 1 << 16  # bytes of pickled objects that are looked at to say what they are
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Refused(ValueError):
    """A reason of ours, among those that the standard readers give."""


class Unusable(Refused):
    """A reason that says what to do."""


def read(data: bytes | pathlib.Path, wanted: Sequence[str], needed: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The wanted arrays of an .npz; names that are not there are left out, or refused where they are ``needed``.

    Raises:
        ValueError: not an .npz, damaged, an array of Python objects or too large to be read.
        OSError: the file cannot be opened.
    """
    with open(data, "rb") if isinstance(data, pathlib.Path) else io.BytesIO(data) as f:
        start = f.read(6)
        if start[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
            single = ", but a single array (.npy)" if start == b"\x93NUMPY" else ""
            raise ValueError(f"it is not an .npz file{single}")
        size = f.seek(0, io.SEEK_END)
        try:
            with zipfile.ZipFile(f) as archive:
                return _read(archive, size, wanted, needed)
        except (Refused, limits.TooLarge, MemoryError):
            raise
        except Exception:  # whatever zipfile, zlib and numpy make of damaged bytes
            raise ValueError(DAMAGED) from None


def _read(archive: zipfile.ZipFile, size: int, wanted: Sequence[str], needed: Sequence[str]) -> dict[str, np.ndarray]:
    members: dict[str, list[zipfile.ZipInfo]] = {}
    for info in archive.infolist():
        members.setdefault(info.filename.removesuffix(".npy"), []).append(info)
    if missing := [name for name in needed if name not in members]:
        raise Unusable(_absent(missing[0], members, needed))
    shapes = {name: _header(archive, members[name], name, size) for name in wanted if name in members}
    limits.check(sum(nbytes for _, nbytes in shapes.values()), None, "what it holds")
    arrays = {}
    for name, (info, _) in shapes.items():
        with _opened(archive, info) as member:
            arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays


def _absent(name: str, members, needed: Sequence[str]) -> str:
    if {"indices", "indptr", "data"} <= {*members}:
        return "it is a sparse matrix of SciPy; write its m.toarray() as an array of np.savez"
    others = ", ".join(map(sanitize.quoted, sorted(members)[:6])) or "nothing"
    return f"it has no array {name!r}, only {others}; write {', '.join(needed)} with np.savez"


def _header(
    archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], name: str, size: int
) -> tuple[zipfile.ZipInfo, int]:
    """The member that holds an array, and its bytes, after a look at what headers say."""
    if len(infos) > 1:
        raise Refused(f"it has {len(infos)} arrays that are called {name!r}")
    (info,) = infos
    if info.flag_bits & 1:
        raise Refused(f"its array {name!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        raise Refused(f"its array {name!r} is packed in a way that NumPy does not write")
    with _opened(archive, info) as member:
        try:
            version = np.lib.format.read_magic(member)
        except ValueError:
            raise Refused(f"its member {name!r} is not an array") from None
        if version not in _HEADERS:
            raise Unusable(f"its array {name!r} has fields with names; {COLUMNS}")
        shape, _, dtype = _HEADERS[version](member)
        if dtype.hasobject:
            raise Unusable(f"its array {name!r} {_objects(member, name)}")
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes != info.file_size - member.tell():
            raise Refused(DAMAGED)
    limits.check(nbytes, min(info.compress_size, size), f"its array {name!r}")
    return info, nbytes


@contextlib.contextmanager
def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Generator[IO[bytes]]:
    """A member's content. zipfile unpacks all of what it reads of a bzip2 member, however much that comes to; ``bz2``
    unpacks no more than is asked for."""
    if info.compress_type != zipfile.ZIP_BZIP2:
        with archive.open(info) as member:
            yield member
        return
    file = archive.fp
    assert file is not None, "the archive is open"
    file.seek(info.header_offset + 26)  # of the local header: lengths of the name and of what follows it
    name, extra = np.frombuffer(file.read(4), "<u2")
    file.seek(int(name) + int(extra), io.SEEK_CUR)
    with bz2.BZ2File(io.BytesIO(file.read(info.compress_size))) as member:
        yield member


COLUMNS = "make plain numbers of them, a column each"


def _objects(member: IO[bytes], name: str) -> str:
    """What the Python objects of an array are and what to do, told by its pickle, of which nothing is executed."""
    names: set[str] = set()
    classes = made = lists = 0
    try:
        for code, argument, _ in pickletools.genops(member.read(_PICKLED)):
            classes += code.name in ("GLOBAL", "STACK_GLOBAL")
            made += code.name == "REDUCE"
            lists += code.name == "EMPTY_LIST"
            if isinstance(argument, str):
                names.add(argument)
    except Exception:  # the rest is missing, or it is no pickle
        pass
    if any("scipy" in name and "sparse" in name for name in names):
        return "is a sparse matrix of SciPy; write its m.toarray()"
    texts = {
        text for text in names - _OF_EVERY_ARRAY if not text.startswith("numpy") and not _OF_NUMBERS.fullmatch(text)
    }
    plain = classes <= 3 + ("scalar" in names)
    if not texts and plain and made > 3 and "scalar" not in names:
        return f"holds Python objects, which are arrays: write np.stack({name}), or give them one shape before"
    if not texts and plain and lists == 1:
        return f"holds Python objects, which are numbers: write {name}.astype(float)"
    if texts and plain and name in ("labels", "member", "shadow_member"):  # of saved answers, where text is read
        return f"holds text as Python objects: write np.array({name}, dtype=str)"
    if texts and plain:
        return (
            "holds text as Python objects; number it, as names, y = np.unique(y.astype(str), return_inverse=True) does"
            " for labels; a table with text is read from a .csv"
        )
    return "holds Python objects, as rows of unequal length become; give all rows one length and numbers"


def read_own(
    path: pathlib.Path, wanted: Sequence[str], write: str, needed: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """``read`` for a file that a user made.

    Args:
        path: of the file.
        wanted: arrays.
        write: how such a file is written, as in ``np.savez(path, x=x, y=y)``.
        needed: those of them without which it is of no use.

    Raises:
        InputError: the file cannot be read; why, and what to do.
    """
    with of_user(path, write):
        return read(path, wanted, needed)


@contextlib.contextmanager
def of_user(path: pathlib.Path, write: str) -> Generator[None]:
    """What goes wrong while a user's file is read becomes one line.

    Args:
        path: of the file.
        write: how such a file is written.

    Raises:
        InputError: the file cannot be read; why, and what to do.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for
            raise InputError(f"{path} is a device or a pipe; give the path of a file, written with {write}")
        yield
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; write one with {write}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give the path of a file in it, written with {write}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); make it readable, or copy it") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into the memory; give fewer records") from None
    except InputError:
        raise
    except (Unusable, limits.TooLarge) as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}; write it with {write}") from None


def numbers(array: np.ndarray, name: str) -> np.ndarray:
    """The array [...], in the byte order of this machine and of a type that can be computed with.

    float16 becomes float32 and wider types than float64 become that; all others stay.

    Raises:
        ValueError: it holds something else than real numbers; what, and what to do.
    """
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize == 2:
        return array.astype(np.float32)  # the same numbers: sums of float16 overflow at 65,504
    if kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # infinity, which is refused
            return array.astype(np.float64)
    if kind in "biuf":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise ValueError(f"{name} {odd(array.dtype, name)}")


def odd(dtype: np.dtype, name: str) -> str:
    """What is wrong with an array of a type that is no number, and what to do, in a clause behind its name."""
    if dtype.kind in "US" and name in ("y", "labels"):
        return f"has type {dtype}, text; needed: classes numbered from 0: np.unique({name}, return_inverse=True)[1]"
    if dtype.kind in "US":
        return (
            f"has type {dtype}, text; needed: numbers: give each category a column of its own, 1 where it holds; of"
            f" text that is numbers, {name}.astype(float)"
        )
    if dtype.kind in "mM":
        return f"has type {dtype}, times; needed: numbers: {name}.astype(np.int64) counts them"
    if dtype.kind == "c":
        return f"has type {dtype}; needed: real numbers: {name}.real and {name}.imag as two columns"
    if dtype.names:
        return f"has fields with names; needed: numbers: {COLUMNS}"
    if dtype.hasobject:
        return (
            f"holds Python objects; needed: numbers: {name}.astype(float) where each is a number, np.stack({name})"
            " where each is an array"
        )
    return (
        f"has type {dtype}, as bfloat16 becomes in a file; needed: numbers: write {name}.astype(np.float32), or give"
        f" {name}.view(ml_dtypes.bfloat16)"
    )
