"""Answers of a target on disk, by the SHA-256 of each record: one append-only file, never millions.

The file is a line of JSON that says whose answers these are, then rows of one size: key, log-probabilities, checksum.
A process that is killed loses nothing that ``put`` returned for; a power cut may lose the last rows; a row that is not
whole is asked again, never believed.

How many records were asked is another number, as some answers never arrive: a file of its own.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from mia_jax.types import Answers, InputError

FORMAT = "mia_jax answers 1"


class AnswerStore:
    """Log-probabilities by record key; in memory, and on disk where a directory is given. Threads may share it.

    Args:
        answers: what the target's answers look like.
        directory: where the file lies; None keeps answers for the life of the process only.
        name: whose answers these are; the file is found by it.

    Raises:
        InputError: the directory cannot be written, or the file is damaged or has another number of classes.
    """

    def __init__(self, answers: Answers, directory: str | os.PathLike | None = None, name: str = ""):
        self.answers = answers
        self.path = None if directory is None else store_path(directory, name)
        self._row = np.dtype([("key", "u1", 32), ("log_p", "<f4", (answers.classes,)), ("check", "<u4")])
        self._where: dict[bytes, int] = {}  # key -> row of _log_p
        self._log_p, self._size = np.empty((16, answers.classes), np.float32), 0
        self._lock = threading.Lock()
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self.path, "a+b") as f:
                    self._read(f, name)
            except OSError as error:
                raise InputError(
                    f"answers cannot be kept in {self.path.parent} ({error.strerror}): choose another directory"
                ) from None

    def __len__(self) -> int:
        return len(self._where)

    def find(self, keys: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities [n, c], and whether each key was found [n]; rows that were not are NaN."""
        with self._lock:
            where = np.array([self._where.get(key, -1) for key in keys], np.int64)
            log_p = self._log_p[where]
        found = where >= 0
        log_p[~found] = np.nan
        return log_p, found

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
                self._append(rows.tobytes())
            self._keep(keys, log_p)

    def _append(self, content: bytes) -> None:
        try:
            f = os.open(self.path, os.O_RDWR)  # a Python file takes twice as long, at each answer
            try:
                fcntl.flock(f, fcntl.LOCK_EX)
                end = os.lseek(f, 0, os.SEEK_END)
                end -= (end - self._start) % self._row.itemsize  # over what a killed process left half written
                while content:
                    written = os.pwrite(f, content, end)
                    content, end = content[written:], end + written
            finally:
                os.close(f)
        except OSError as error:
            raise InputError(
                f"answers cannot be written to {self.path} ({error.strerror}): mend that, run again"
            ) from None

    def _keep(self, keys: Sequence[bytes], log_p: np.ndarray) -> None:
        end = self._size + len(keys)
        if end > len(self._log_p):
            grown = np.empty((2 * end, self.answers.classes), np.float32)
            grown[: self._size] = self._log_p[: self._size]
            self._log_p = grown
        self._log_p[self._size : end] = log_p
        self._where.update(zip(keys, range(self._size, end), strict=True))
        self._size = end

    def _read(self, f: IO[bytes], name: str) -> None:
        header = {"format": FORMAT, "name": name, **self.answers._asdict()}
        held = _header(f, self.path)
        if held is None:
            f.truncate(0)
            f.write(json.dumps(header).encode() + b"\n")
            f.flush()
            self._start = f.tell()
            return
        if held["classes"] != self.answers.classes:
            raise InputError(
                f"{self.path} holds answers over {held['classes']} classes, and the target has {self.answers.classes}:"
                " choose another directory, or name the target's versions apart"
            )
        self._start = f.tell()
        content = f.read()
        rows = np.frombuffer(content[: len(content) // self._row.itemsize * self._row.itemsize], self._row)
        rows = rows[_checksums(rows) == rows["check"]]
        self._keep(np.ascontiguousarray(rows["key"]).view("V32")[:, 0].tolist(), rows["log_p"])


def stored_answers(directory: str | os.PathLike | None, name: str) -> Answers | None:
    """What the answers kept under this name look like; None where there are none.

    Raises:
        InputError: the file is damaged.
    """
    path = None if directory is None else store_path(directory, name)
    if path is None or not path.exists():
        return None
    with open(path, "rb") as f:
        held = _header(f, path)
    return None if held is None else Answers(held["classes"], held["kind"], held["digits"])


def store_path(directory: str | os.PathLike, name: str) -> pathlib.Path:
    """The file of answers of the target of this name."""
    return pathlib.Path(directory) / f"answers-{hashlib.sha256(name.encode()).hexdigest()[:16]}.bin"


def read_count(path: pathlib.Path) -> int:
    """How many records were asked, as ``write_count`` wrote it; 0 where nothing was.

    Raises:
        InputError: the file is something else.
    """
    try:
        return int(path.read_text(encoding="ascii") or 0)
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
        f = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            os.pwrite(f, f"{count:020d}\n".encode(), 0)
        finally:
            os.close(f)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): mend that, run again") from None


def _header(f: IO[bytes], path: pathlib.Path) -> dict | None:
    """The first line; None where the file was cut off before it ended. Leaves ``f`` behind it."""
    f.seek(0)
    line = f.readline()
    if not line.endswith(b"\n"):
        return None
    try:
        held = json.loads(line)
        if held["format"] == FORMAT:
            return held
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path} is not a file of answers: remove it, or choose another directory")


def _checksums(rows: np.ndarray) -> np.ndarray:
    """A weighted sum of the 32-bit words of each row, without its checksum: uint32 [n].

    The weights are odd, so whatever changes a single word changes the sum; a CRC would take a loop over rows.
    """
    words = np.ascontiguousarray(rows).view("<u4").reshape(len(rows), rows.dtype.itemsize // 4)[:, :-1]
    weights = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint32) * np.uint32(0x9E3779B1)
    return np.uint32(1) + np.einsum("ij,j->i", words, weights)


@contextlib.contextmanager
def _locked(path: pathlib.Path, mode: str) -> Iterator[IO[bytes]]:
    with open(path, mode) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield f
