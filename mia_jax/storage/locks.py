"""Locks of what is being made, in a folder, or an object store, that processes of several machines share.

A lock is a file that says who holds it. Nothing is asked of the file system but that a name is made once and replaced
at once, which holds on network file systems, where the operating system's locks may not. Nothing that is right depends
on it: artifacts are written whole, and whoever makes one makes the same. A lock saves the work of making it twice.

A holder gives a sign of its locks every ``HEARTBEAT`` seconds. A lock is taken over when its holder has ended: where
that can be asked (the same boot of the same machine) at once, else when there was no sign for ``GONE`` seconds.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import threading
from collections.abc import Collection, Generator
from typing import Protocol

from mia_jax.storage import processes
from mia_jax.storage.objects import ObjectStore
from mia_jax.storage.processes import Process
from mia_jax.types import DiskError

HEARTBEAT = 15.0  # seconds
GONE = 180.0  # seconds; network file systems show times that are up to a minute old
_LEFT: set[str] = set()  # nonces of locks that this process let go of and could not remove
UNKNOWN = Process("another machine", "", 0, "", "")


@dataclasses.dataclass(frozen=True)
class _Lock:
    """What a lock file says. No two have the same nonce."""

    nonce: str
    holder: Process

    def text(self) -> str:
        return json.dumps({"nonce": self.nonce, **self.holder._asdict()}) + "\n"


class Slots(Protocol):
    """Texts by name that several processes see: where locks are kept."""

    def read(self, name: str) -> str | None:
        """A text; None: there is none."""
        ...

    def create(self, name: str, text: str) -> bool:
        """Keep a text where there is none; returns whether it was kept."""
        ...

    def replace(self, name: str, text: str) -> None:
        """Put a text in the place of another, at once."""
        ...

    def remove(self, name: str) -> None:
        """Remove a text that is there."""
        ...

    def sign(self, held: Collection[str]) -> None:
        """Show that the holder of these names is there; they may become other ones meanwhile."""
        ...

    def silent(self, name: str, holder: Process) -> float | None:
        """Seconds since the last sign of a text's holder; None: it is not there any more, or nobody knows."""
        ...

    def names(self) -> list[str]:
        """Of all texts."""
        ...

    def clear(self) -> None:
        """Nothing is held any more by this process: remove what is left of it, and the folder if it is empty."""
        ...


class Locks:
    """The locks of a folder, or of other ``Slots``, as one process sees them."""

    def __init__(self, place: pathlib.Path | Slots):
        self.slots = _Files(place) if isinstance(place, pathlib.Path) else place
        self._held: dict[str, _Lock] = {}
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def take(self, name: str) -> Process | None:
        """Take a lock if nobody has it, or whoever had it is gone; does not wait.

        Returns:
            Who holds it; None: this process does, now.

        Raises:
            OSError: the folder cannot be written.
            DiskError: the store cannot be reached.
        """
        while True:
            lock = _Lock(secrets.token_hex(4), processes.this())
            there = self._read(name)
            if there is None:
                if self.slots.create(name, lock.text()):
                    return self._hold(name, lock)
            elif there == self._held.get(name):
                return None
            elif not self._is_left(name, there):
                return there.holder
            else:  # exactly one process at a time may replace exactly this lock
                ticket = f"{name}.{there.nonce}"
                if (other := self.take(ticket)) is not None:
                    return other
                try:
                    if self._read(name) == there:
                        self.slots.replace(name, lock.text())
                        return self._hold(name, lock)
                finally:
                    self.free(ticket)

    def free(self, name: str) -> None:
        """Let go of a lock; what cannot be removed is taken for left once the process has ended."""
        lock = self._held.get(name)
        if lock is None:
            return
        try:
            if self._read(name) == lock:  # or it was taken over, from a process that was thought to be gone
                self.slots.remove(name)
        except (OSError, DiskError):
            _LEFT.add(lock.nonce)
            return
        del self._held[name]
        if not self._held:
            with contextlib.suppress(OSError, DiskError):
                self.slots.clear()

    def close(self) -> None:
        """Let go of everything; and remove what ended processes left, and the folder if it is empty."""
        for name in list(self._held):
            self.free(name)
        with contextlib.suppress(OSError, DiskError):
            for name in self.slots.names():
                there = self._read(name)
                if there is not None and self._is_left(name, there) and self.take(name) is None:
                    self.free(name)
            self.slots.clear()
        self._ended.set()
        self._heart = None

    def _hold(self, name: str, lock: _Lock) -> None:
        self._held[name] = lock
        if self._heart is None:
            self._ended = threading.Event()
            self._heart = threading.Thread(target=self._beat, args=(self._ended,), daemon=True)
            self._heart.start()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT):
            self.slots.sign(self._held)

    def _read(self, name: str) -> _Lock | None:
        """What a lock says; None: there is none."""
        if (text := self.slots.read(name)) is None:
            return None
        try:
            said = json.loads(text)
            return _Lock(str(said.pop("nonce")), Process(**said))
        except (ValueError, TypeError, KeyError, AttributeError):  # its holder was killed while it wrote
            return _Lock("unknown", UNKNOWN)

    def _is_left(self, name: str, there: _Lock) -> bool:
        """Whether the holder of a lock is gone."""
        if there.nonce in _LEFT:
            return True
        gone = processes.is_gone(there.holder)
        if gone is not None:
            return gone
        silent = self.slots.silent(name, there.holder)
        return silent is not None and silent > GONE


class _Files:
    """Texts as files of a folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def _file(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.lock"

    def read(self, name: str) -> str | None:
        try:
            return self._file(name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def create(self, name: str, text: str) -> bool:
        while True:
            try:
                return create(self._file(name), text)
            except FileNotFoundError:  # the folder is not there yet, or another process found it empty and removed it
                self.folder.mkdir(exist_ok=True)  # which fails where the workdir is gone

    def replace(self, name: str, text: str) -> None:
        with _partial(self._file(name), text) as partial:
            os.replace(partial, self._file(name))

    def remove(self, name: str) -> None:
        self._file(name).unlink()

    def sign(self, held: Collection[str]) -> None:
        for name in list(held):
            with contextlib.suppress(OSError):
                os.utime(self._file(name))

    def silent(self, name: str, holder: Process) -> float | None:
        path = self._file(name)
        try:
            with _partial(path, "") as clock:  # the file system's time: machines' clocks differ
                return clock.stat().st_mtime - path.stat().st_mtime
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        return [path.name.removesuffix(".lock") for path in self.folder.glob("*.lock")]

    def clear(self) -> None:
        self.folder.rmdir()  # if it is empty


class Objects:
    """Texts as objects of a store; who holds some gives a sign by one more object, however many they are."""

    def __init__(self, store: ObjectStore, folder: str = "locks"):
        self.store, self.folder = store, folder
        self._signed, self._signing = False, threading.Lock()

    def _name(self, name: str) -> str:
        return f"{self.folder}/{name}.lock"

    def _sign_of(self, holder: Process) -> str:
        return f"{self.folder}/{holder.place}-{holder.pid}.alive"

    def read(self, name: str) -> str | None:
        """A text; None: there is none."""
        content = self.store.read(self._name(name))
        return None if content is None else content.decode(errors="replace")

    def create(self, name: str, text: str) -> bool:
        """Keep a text where there is none; returns whether it was kept."""
        return self.store.create(self._name(name), text.encode())

    def replace(self, name: str, text: str) -> None:
        """Put a text in the place of another, at once."""
        self.store.write(self._name(name), text.encode())

    def remove(self, name: str) -> None:
        """Remove a text."""
        self.store.remove(self._name(name))

    def sign(self, held: Collection[str]) -> None:
        """Write the object that says that this process is there."""
        with self._signing:
            if held:
                with contextlib.suppress(DiskError):  # it is told of by who needs the store
                    self.store.write(self._sign_of(processes.this()), b"there\n")
                    self._signed = True

    def silent(self, name: str, holder: Process) -> float | None:
        """Seconds since the text was written, or its holder gave a sign."""
        ages = [self.store.age(self._name(name)), self.store.age(self._sign_of(holder))]
        return None if ages[0] is None else min(age for age in ages if age is not None)

    def names(self) -> list[str]:
        """Of all texts; the folder is listed."""
        return [name.removesuffix(".lock") for name in self.store.names(self.folder) if name.endswith(".lock")]

    def clear(self) -> None:
        """Remove what says that this process is there."""
        with self._signing:  # or a sign that is on its way would be left
            if self._signed:
                self._signed = False
                self.store.remove(self._sign_of(processes.this()))


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
