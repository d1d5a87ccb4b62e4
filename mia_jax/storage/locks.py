"""Locks of what is being made, in a folder that processes of several machines share.

A lock is a file that says who holds it. Nothing is asked of the file system but that a name is made once and replaced
at once, which holds on network file systems, where the operating system's locks may not. Nothing that is right depends
on it: artifacts are written whole, and whoever makes one makes the same. A lock saves the work of making it twice.

A holder touches its locks every ``HEARTBEAT`` seconds. A lock is taken over when its holder has ended: where that can
be asked (the same boot of the same machine) at once, else when it has not been touched for ``GONE`` seconds.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import threading
from collections.abc import Generator

from mia_jax.storage import processes
from mia_jax.storage.processes import Process

HEARTBEAT = 15.0  # seconds
GONE = 180.0  # seconds; network file systems show times that are up to a minute old
UNKNOWN = Process("another machine", "", 0, "", "")


@dataclasses.dataclass(frozen=True)
class _Lock:
    """What a lock file says. No two have the same nonce."""

    nonce: str
    holder: Process

    def text(self) -> str:
        return json.dumps({"nonce": self.nonce, **self.holder._asdict()}) + "\n"


class Locks:
    """The locks of a folder, as one process sees them."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._held: dict[str, _Lock] = {}
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def take(self, name: str) -> Process | None:
        """Take a lock if nobody has it, or whoever had it is gone; does not wait.

        Returns:
            Who holds it; None: this process does, now.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self._file(name)
        while True:
            lock = _Lock(secrets.token_hex(4), processes.this())
            there = _read(path)
            if there is None:
                if self._create(path, lock):
                    return self._hold(name, lock)
            elif there == self._held.get(name):
                return None
            elif not _is_left(path, there):
                return there.holder
            else:  # exactly one process at a time may replace exactly this lock
                ticket = f"{name}.{there.nonce}"
                if (other := self.take(ticket)) is not None:
                    return other
                try:
                    if _read(path) == there:
                        with _partial(path, lock.text()) as partial:
                            os.replace(partial, path)
                        return self._hold(name, lock)
                finally:
                    self.free(ticket)

    def free(self, name: str) -> None:
        """Let go of a lock; what cannot be removed is taken for left once the process has ended."""
        lock, path = self._held.get(name), self._file(name)
        if lock is None:
            return
        with contextlib.suppress(OSError):
            if _read(path) == lock:  # or it was taken over, from a process that was thought to be gone
                path.unlink()
            del self._held[name]
            if not self._held:
                self.folder.rmdir()  # if it is empty

    def close(self) -> None:
        """Let go of everything; and remove what ended processes left, and the folder if it is empty."""
        for name in list(self._held):
            self.free(name)
        with contextlib.suppress(OSError):
            for path in self.folder.glob("*.lock"):
                there, name = _read(path), path.name.removesuffix(".lock")
                if there is not None and _is_left(path, there) and self.take(name) is None:
                    self.free(name)
            self.folder.rmdir()
        self._ended.set()
        self._heart = None

    def _file(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.lock"

    def _hold(self, name: str, lock: _Lock) -> None:
        self._held[name] = lock
        if self._heart is None:
            self._ended = threading.Event()
            self._heart = threading.Thread(target=self._beat, args=(self._ended,), daemon=True)
            self._heart.start()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT):
            for name in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(self._file(name))

    def _create(self, path: pathlib.Path, lock: _Lock) -> bool:
        while True:
            try:
                return create(path, lock.text())
            except FileNotFoundError:  # the folder is not there yet, or another process found it empty and removed it
                self.folder.mkdir(exist_ok=True)  # which fails where the workdir is gone


def create(path: pathlib.Path, text: str) -> bool:
    """Write a file where there is none yet, whole, and wherever others do the same; returns whether it was written.

    Raises:
        OSError: the folder cannot be written.
    """
    with _partial(path, text) as partial:
        try:
            os.link(partial, path)
        except FileExistsError:
            return partial.stat().st_nlink == 2  # by a server whose answer was lost
        except OSError:  # there are no links on this file system
            return _create_exclusively(path, text)
    return True


@contextlib.contextmanager
def _partial(path: pathlib.Path, text: str) -> Generator[pathlib.Path]:
    """A file of this process beside ``path``, for as long as the block takes."""
    partial = path.with_name(processes.partial_name(path.name))
    partial.unlink(missing_ok=True)  # a link that lies there is not written through
    try:
        with open(partial, "x", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        yield partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _create_exclusively(path: pathlib.Path, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as f:
            f.write(text)
    except FileExistsError:
        return False
    return True


def _is_left(path: pathlib.Path, there: _Lock) -> bool:
    """Whether the holder of a lock is gone."""
    gone = processes.is_gone(there.holder)
    if gone is not None:
        return gone
    try:
        with _partial(path, "") as clock:  # the file system's time: machines' clocks differ
            return clock.stat().st_mtime - path.stat().st_mtime > GONE
    except FileNotFoundError:
        return False


def _read(path: pathlib.Path) -> _Lock | None:
    """What a lock file says; None: there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    try:
        said = json.loads(text)
        return _Lock(str(said.pop("nonce")), Process(**said))
    except (ValueError, TypeError, KeyError, AttributeError):  # its holder was killed while it wrote
        return _Lock("unknown", UNKNOWN)
