"""Answers of a target on disk, by the SHA-256 of each record: one append-only file, never millions.

The file is a line of JSON that says whose answers these are, then rows of one size: key, log-probabilities, checksum.
A process that is killed loses nothing that ``put`` returned for; a power cut may lose the last rows; a row that is not
whole is asked again, never believed. Where that first line is damaged it is written anew: the rows have checksums of
their own, and answers may have been paid for.

How many records were asked is another number, as some answers never arrive: a file of its own.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from typing import IO, Any, get_args

import numpy as np

from mia_jax.storage import disk
from mia_jax.targets.defenses import HIDDEN
from mia_jax.types import Answers, InputError

FORMAT = "mia_jax answers 2"
FLOORED = "mia_jax answers 1"  # of before 2026-11-27: zeros were kept as half a unit of the digits in the first line
BEGIN = json.dumps({"format": FORMAT})[:-3].encode()  # of both
KINDS = get_args(Answers.__annotations__["kind"])


class AnswerStore:
    """Log-probabilities by record key, in memory, and on disk where a directory is given; threads may share it.

    Args:
        answers: what the target's answers look like.
        directory: where the file lies; None keeps answers for the life of the process only.
        name: whose answers these are; the file is found by it.

    Raises:
        InputError: the directory cannot be written, or the file is no file of answers, or one of another target's, or
            of another number of classes.
    """

    def __init__(self, answers: Answers, directory: str | os.PathLike | None = None, name: str = ""):
        self.answers = answers
        self.path = None if directory is None else store_path(directory, name)
        self._row: Any = _row_type(answers.classes)
        self._where: dict[bytes, int] = {}  # key -> row of _log_p
        self._log_p, self._size = np.empty((16, answers.classes), np.float32), 0
        self._lock = threading.Lock()
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self.path) as f:
                    self._read(f, self.path, name)
            except OSError as error:
                raise InputError(
                    f"answers cannot be kept in {self.path.parent} ({error.strerror}): choose another directory"
                ) from None

    def __len__(self) -> int:
        return len(self._where)

    def find(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities [n, c], and whether each key was found [n]; rows that were not are NaN."""
        where = self.numbers(keys)  # answers are added, and never moved
        with self._lock:
            log_p = self._log_p[where]
        found = where >= 0
        log_p[~found] = np.nan
        return log_p, found

    def numbers(self, keys: Sequence[bytes]) -> np.ndarray:
        """The how manieth answer that of each key is [n], from 0; -1 where there is none."""
        with self._lock:
            return np.array([self._where.get(key, -1) for key in keys], np.int64)

    def everything(self) -> np.ndarray:
        """Log-probabilities of all answers, [len, c]."""
        with self._lock:
            return self._log_p[: self._size].copy()

    def put(self, keys: Sequence[bytes], log_p: np.ndarray) -> None:
        """Keep answers [n, c]; a process killed after this returns has them still.

        Raises:
            InputError: the file cannot be written.
        """
        rows = np.empty(len(keys), self._row)
        rows["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)
        rows["log_p"] = log_p
        rows["check"] = _checksums(rows)
        with self._lock:
            if self.path is not None:
                self._append(self.path, rows.tobytes())
            self._keep(keys, log_p)

    def _append(self, path: pathlib.Path, content: bytes) -> None:
        try:
            f = disk.open_own(path)  # a Python file takes twice as long, at each answer
            try:
                disk.lock(f, wait=True)
                end = os.lseek(f, 0, os.SEEK_END)
                end -= (end - self._start) % self._row.itemsize  # over what a killed process left half written
                disk.write_at(f, content, end)
            finally:
                os.close(f)
        except OSError as error:
            raise InputError(f"answers cannot be written to {path} ({error.strerror}): mend that, run again") from None

    def _keep(self, keys: Sequence[bytes], log_p: np.ndarray) -> None:
        end = self._size + len(keys)
        if end > len(self._log_p):
            grown = np.empty((2 * end, self.answers.classes), np.float32)
            grown[: self._size] = self._log_p[: self._size]
            self._log_p = grown
        self._log_p[self._size : end] = log_p
        self._where.update(zip(keys, range(self._size, end), strict=True))
        self._size = end

    def _read(self, f: IO[bytes], path: pathlib.Path, name: str) -> None:
        first = _first_line(name, self.answers)
        header = _header(f, path, name)
        if header is None:
            f.seek(0)
            rows = self._salvaged(content := f.read())
            if len(rows):
                _write_anew(path, first, rows)
            elif BEGIN.startswith(content[: len(BEGIN)]):  # empty, or cut off before anything was kept
                f.seek(0)
                f.truncate()
                f.write(first)
                f.flush()
            else:
                raise _foreign(path)
            self._start = len(first)
        else:
            if header["classes"] != self.answers.classes:
                raise InputError(
                    f"{path} holds answers over {header['classes']} classes, and the target has"
                    f" {self.answers.classes}: choose another directory, or name the target's versions apart"
                )
            self._start = f.tell()
            rows = _whole(f.read(), self._row)
            if header["format"] == FLOORED and header["digits"] is not None:
                zero = rows["log_p"] <= np.log(0.6 * 10.0 ** -header["digits"])
                rows["log_p"] = np.where(zero, HIDDEN, rows["log_p"])
        self._keep(_keys(rows), rows["log_p"])

    def _salvaged(self, content: bytes) -> np.ndarray:
        """The rows behind a first line that is damaged, perhaps of another length than it had."""
        size = self._row.itemsize
        middle = len(content) // 2
        some = content[max(0, middle - 4 * size) : middle + 4 * size]  # enough to find where rows begin
        shift = max(range(size), key=lambda shift: len(_whole(some[shift:], self._row)))
        return _whole(content[(max(0, middle - 4 * size) + shift) % size :], self._row)


def stored_answers(directory: str | os.PathLike | None, name: str) -> Answers | None:
    """What the answers kept under this name look like; None where there are none, or their first line is damaged.

    Raises:
        InputError: the file is no file of answers, or it is another target's.
    """
    path = None if directory is None else store_path(directory, name)
    if path is None or not path.exists():
        return None
    try:
        with _locked(path) as f:
            header = _header(f, path, name)
    except OSError as error:
        raise InputError(f"{path} cannot be used ({error.strerror}): mend that, or choose another directory") from None
    return None if header is None else Answers(*(header[name] for name in Answers._fields))


def store_path(directory: str | os.PathLike, name: str) -> pathlib.Path:
    """The file of answers of the target of this name."""
    return pathlib.Path(directory) / f"answers-{hashlib.sha256(name.encode()).hexdigest()[:16]}.bin"


def merged(name: str, parted: bytes | None, ours: bytes, theirs: bytes) -> bytes | None:
    """Two copies of a file of this module's as one: of answers all of both, of a count what both have asked.

    Args:
        name: of the file.
        parted: what it held when the copies parted; None: there was none.
        ours: what it holds here.
        theirs: what it holds elsewhere.

    Returns:
        The file, or None: the copies are of different targets, or are no files of answers or counts.
    """
    if name == "asked":
        try:
            return f"{int(theirs) + int(ours) - int(parted or 0):020d}\n".encode()
        except ValueError:
            return None
    (first, rows), (other, more) = (content.partition(b"\n")[::2] for content in (theirs, ours))
    header, same = _parsed(first), _parsed(other)
    if header is None or same is None or any(header[key] != same[key] for key in ("format", "name", "classes")):
        return None
    row = _row_type(header["classes"])
    kept, new = (_whole(content, row) for content in (rows, more))
    known = set(_keys(kept))
    is_new = [key not in known for key in _keys(new)]
    return first + b"\n" + kept.tobytes() + new[np.array(is_new, bool)].tobytes()


def _row_type(classes: int) -> np.dtype:
    return np.dtype([("key", "u1", 32), ("log_p", "<f4", (classes,)), ("check", "<u4")])


def _keys(rows: np.ndarray) -> list[bytes]:
    return np.ascontiguousarray(rows["key"]).view("V32")[:, 0].tolist()


def _whole(content: bytes, row: np.dtype) -> np.ndarray:
    """The rows in ``content``, one behind the other, that are as they were written."""
    rows = np.frombuffer(content[: len(content) // row.itemsize * row.itemsize], row)
    return rows[_checksums(rows) == rows["check"]]


def read_count(path: pathlib.Path) -> int:
    """How many records were asked, as ``write_count`` wrote it; 0 where nothing was.

    Raises:
        InputError: the file is something else.
    """
    try:
        with os.fdopen(disk.open_own(path), "rb") as f:
            return int(f.read(100) or 0)
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        raise InputError(f"{path} is not a count of records asked: write into it how many were asked") from None


def write_count(path: pathlib.Path, count: int) -> None:
    """Keep a count, in one write of one length: a process that is killed leaves the old number or the new one.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        f = disk.open_own(path, create=True)
        try:
            disk.write_at(f, f"{count:020d}\n".encode(), 0)
        finally:
            os.close(f)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): mend that, run again") from None


def _write_anew(path: pathlib.Path, first: bytes, rows: np.ndarray) -> None:
    warnings.warn(
        f"the first line of {path} is damaged: it is written anew, and {len(rows):,} answers are kept", stacklevel=4
    )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(first + rows.tobytes())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _first_line(name: str, answers: Answers) -> bytes:
    header = {"format": FORMAT, "name": name, **answers._asdict()}
    return json.dumps({**header, "check": _check(header)}).encode() + b"\n"


def _check(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]


def _header(f: IO[bytes], path: pathlib.Path, name: str) -> dict[str, Any] | None:
    """The first line, where it is whole; leaves ``f`` behind it. None for a file without one, and for a damaged one.

    Raises:
        InputError: the file is too short to be one of answers and does not begin as one, or is another target's.
    """
    f.seek(0)
    line = f.readline()
    header = _parsed(line) if line.endswith(b"\n") else None
    if header is None:
        if not BEGIN.startswith(line[: len(BEGIN)]) and len(line + f.read(40)) < 40:  # no room for a single row
            raise _foreign(path)
        return None
    if header["name"] != name:
        own = store_path(path.parent, header["name"]).name
        raise InputError(
            f"{path} holds answers of {header['name']!r}, not of {name!r}: rename it to {own}, or choose another"
            " directory"
        )
    return header


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A first line's values: format, name and the fields of ``Answers``; None where it is damaged."""
    try:
        value = json.loads(line)
        fields = Answers._fields[:3] if value["format"] == FLOORED else Answers._fields
        header = {key: value[key] for key in ("format", "name", *fields)}
        good = header["format"] in (FORMAT, FLOORED) and isinstance(header["name"], str) and header["kind"] in KINDS
        good = good and value.get("check", _check(header)) == _check(header)  # files of before 2026-11-27 have none
        good = good and isinstance(header["classes"], int) and header["classes"] > 1
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict.fromkeys(Answers._fields) | header if good else None


def _foreign(path: pathlib.Path) -> InputError:
    return InputError(f"{path} is not a file of answers: remove it, or choose another directory")


def _checksums(rows: np.ndarray) -> np.ndarray:
    """A weighted sum of the 32-bit words of each row, without its checksum: uint32 [n].

    The weights are odd, so whatever changes a single word changes the sum; a CRC would take a loop over rows.
    """
    words = np.ascontiguousarray(rows).view("<u4").reshape(len(rows), rows.dtype.itemsize // 4)[:, :-1]
    weights = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint32) * np.uint32(0x9E3779B1)
    return np.uint32(1) + np.einsum("ij,j->i", words, weights)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Generator[IO[bytes]]:
    with os.fdopen(disk.open_own(path, create=True), "r+b") as f:
        disk.lock(f.fileno(), wait=True)
        yield f
