"""Arrays in files that are read in parts: those of artifacts, and tables that last as long as a process."""

import math
import pathlib
import tempfile
import weakref
import zipfile
from typing import Any, NamedTuple

import numpy as np

from mia_jax.rows import Rows

# --- a table for one run ---------------------------------------------------------------------------------------------


class Scratch:
    """A table [K, n] on disk for one process: a file without a name, which ends with it."""

    def __init__(self, folder: pathlib.Path, shape: tuple[int, int], dtype: Any):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is open as long as this is)
        self._bytes = shape[1] * self.dtype.itemsize
        weakref.finalize(self, self._file.close)

    def write(self, k: int, row: np.ndarray) -> None:
        """Set the k-th row, [n]."""
        self._file.seek(k * self._bytes)
        self._file.write(np.ascontiguousarray(row, self.dtype).view(np.uint8).data)

    def rows(self) -> Rows:
        """What was written."""
        self._file.flush()
        return Rows(self.shape, self.dtype, self._row)

    def _row(self, k: int, part: slice) -> np.ndarray:
        return _filled(self._file, k * self._bytes, (self.shape[1],), self.dtype, part)


# --- artifacts -------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """An array [n, ...] of an ``.npz`` that is not compressed: where it lies."""

    path: pathlib.Path
    offset: int  # of its numbers in the file
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, part: slice = slice(None)) -> np.ndarray:
        """A part start:stop of it; nothing stays open."""
        with open(self.path, "rb") as file:
            return _filled(file, self.offset, self.shape, self.dtype, slice(*part.indices(self.shape[0])[:2]))


def stack(stored: "list[Stored | np.ndarray]") -> Rows:
    """Rows of which each is an array [n, ...], stored or held; all of one shape."""

    def read(k: int, part: slice) -> np.ndarray:
        one = stored[k]
        return one.read(part) if isinstance(one, Stored) else np.array(one[part])

    return Rows((len(stored), *stored[0].shape), stored[0].dtype, read)


def members(path: pathlib.Path) -> dict[str, Stored] | None:
    """Where each array of an ``.npz`` lies; None where it cannot be read in parts: packed, or in the other order."""
    found = {}
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                return None
            file.seek(member.header_offset + 26)
            lengths = np.frombuffer(file.read(4), "<u2")  # of the name and of what else stands before the content
            file.seek(int(lengths.sum()), 1)
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, column_order, dtype = header(file)
            if column_order or dtype.hasobject:
                return None
            found[member.filename.removesuffix(".npy")] = Stored(path, file.tell(), shape, dtype)
    return found


def _filled(file: Any, offset: int, shape: tuple[int, ...], dtype: np.dtype, part: slice) -> np.ndarray:
    """Rows start:stop of an array that begins at ``offset`` of a file."""
    out = np.empty((part.stop - part.start, *shape[1:]), dtype)
    if out.size:
        file.seek(offset + part.start * math.prod(shape[1:]) * dtype.itemsize)
        if file.readinto(out.reshape(-1).view(np.uint8).data) != out.nbytes:
            raise OSError(f"{getattr(file, 'name', 'a file')} is shorter than it was")
    return out
