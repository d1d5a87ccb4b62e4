"""A folder whose files are written in place, kept in an object store, too: answers of a service that were paid for.

Files lie in the cache of this machine, and are uploaded every ``EVERY`` seconds and at the end. Beside them lies what
was last known to be the same on both sides. So it is known which side went on when they differ; where both did (a run
died before it had uploaded all, and another machine went on), they are merged.
"""

import contextlib
import hashlib
import pathlib
import threading
from collections.abc import Callable

from mia_jax.storage.files import replacing
from mia_jax.storage.objects import Merge, ObjectStore
from mia_jax.types import MiaError

EVERY = 30.0  # seconds
SAME = ".same"  # folder of the contents that both sides had


class KeptFolder:
    """Files of a folder, here and in a store.

    Args:
        store: of the workdir.
        cache: the workdir's folder of this machine.
        name: of the folder in it.
        merged: as of ``Workdir.kept_folder``.
        claim: called before anything is uploaded.
    """

    def __init__(self, store: ObjectStore, cache: pathlib.Path, name: str, merged: Merge, claim: Callable[[], object]):
        self.folder, self._same = cache / name, cache / SAME / name
        self._store, self._name, self._merged, self._claim = store, name, merged, claim
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._from_time_to_time, daemon=True)

    def begin(self) -> None:
        """Bring both sides together, and upload from time to time from now on.

        Raises:
            DiskError: the store cannot be reached.
        """
        self.folder.mkdir(exist_ok=True)
        self._same.mkdir(parents=True, exist_ok=True)
        names = {name for name in self._store.names(self._name) if not name.endswith("/")}
        for name in sorted({*names, *_files(self.folder), *_files(self._same)}):
            theirs = self._store.read(f"{self._name}/{name}") if name in names else None
            self._bring_together(name, theirs, was_removed=not names)
        self._thread.start()

    def end(self) -> None:
        """Upload what has changed.

        Raises:
            DiskError: the store cannot be reached.
        """
        with self._lock:
            # The count of what was asked comes last by name. It is read last and written first: in the store, as on
            # disk, no answer is there that was not counted.
            changed = []
            for name in sorted({*_files(self.folder), *_files(self._same)}):
                ours = _content(self.folder / name)
                if ours != _content(self._same / name):
                    changed.append((name, ours))
            for name, ours in sorted(changed, key=lambda each: (each[1] is None, each[0] != "asked", each[0])):
                self._put(name, ours)

    def stop(self) -> None:
        """Upload nothing any more."""
        self._ended.set()

    def _from_time_to_time(self) -> None:
        while not self._ended.wait(EVERY):
            with contextlib.suppress(MiaError, OSError):  # told at the end
                self.end()

    def _bring_together(self, name: str, theirs: bytes | None, *, was_removed: bool) -> None:
        """One file. ``was_removed``: somebody has emptied the store, which is no reason to lose what was paid for."""
        ours, same = _content(self.folder / name), _content(self._same / name)
        if ours == theirs:
            self._note(name, ours)
        elif ours == same and not was_removed:  # the other side went on
            self._fetched(name, theirs)
        elif theirs == same or was_removed:  # this side did
            self._put(name, ours)
        elif ours is None:  # put aside here, and written there
            self._fetched(name, theirs)
        elif theirs is not None and (both := self._merged(name, same, ours, theirs)) is not None:
            self._fetched(name, both)
            self._put(name, both)
        else:
            aside = f"{name}.{hashlib.sha256(ours).hexdigest()[:8]}.aside"
            (self.folder / aside).write_bytes(ours)
            self._put(aside, ours)
            self._fetched(name, theirs)

    def _put(self, name: str, content: bytes | None) -> None:
        self._claim()
        if content is None:
            self._store.remove(f"{self._name}/{name}")
        else:
            self._store.write(f"{self._name}/{name}", content)
        self._note(name, content)

    def _fetched(self, name: str, content: bytes | None) -> None:
        _keep(self.folder / name, content)
        self._note(name, content)

    def _note(self, name: str, content: bytes | None) -> None:
        _keep(self._same / name, content)


def _keep(path: pathlib.Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        with replacing(path) as partial:
            partial.write_bytes(content)


def _files(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file() and not path.name.endswith(".partial")}


def _content(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
