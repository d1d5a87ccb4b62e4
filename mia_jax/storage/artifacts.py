"""Stages on disk: content-addressed, written whole and renamed, checksummed, resumable.

The name of an artifact is a hash of everything that made it, never of how many there are or what is shown: so a stage
finds its own earlier work, and nothing else's. An artifact is one ``.npz`` whose member ``__meta__`` holds that
description and the SHA-256 of its arrays: it is there, whole and what was asked for, or it is made again.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mia_jax.storage import artifact_files, claims, disk, places, processes, stored
from mia_jax.storage.artifact_files import Artifact, digest
from mia_jax.storage.artifact_files import array_digest as array_digest
from mia_jax.storage.claims import Description
from mia_jax.storage.files import json_text, write_json
from mia_jax.storage.files import write_npz as write_npz
from mia_jax.storage.locks import Locks, create
from mia_jax.storage.objects import Merge
from mia_jax.storage.processes import Process
from mia_jax.types import DiskError, InputError, Params, WorkdirHeld

HOLDER = re.compile(r"(process \d+ on .*\n)?")  # what a lock of ours may hold
HALF_WRITTEN = re.compile(r"\..*\.\d+(-[0-9a-f]{8})?\.partial")
LONGEST_PAUSE = 5.0  # seconds between two looks at a lock of another process
OLD = 3600.0  # seconds after which a half-written file is nobody's any more


# --- pytrees ---------------------------------------------------------------------------------------------------------


def to_arrays(tree: Params) -> dict[str, np.ndarray]:
    """A pytree of arrays as a flat dict, named by key path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): _plain(np.asarray(leaf)) for path, leaf in leaves}


def _plain(leaf: np.ndarray) -> np.ndarray:
    """bfloat16 and its like, which NumPy's files do not know, as whole numbers of the same bits."""
    return leaf.view(f"u{leaf.dtype.itemsize}") if leaf.dtype.kind == "V" else leaf


def _typed(array: np.ndarray, leaf: Any) -> np.ndarray:
    """The inverse of ``_plain``, for a leaf of the template."""
    dtype = getattr(leaf, "dtype", None)
    return array.view(dtype) if dtype is not None and np.dtype(dtype).kind == "V" else array


def from_arrays(template: Params, arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of ``to_arrays``, for a pytree shaped like ``template`` (``jax.eval_shape`` gives one).

    The leaves [...] have the shapes of the arrays, whatever those of the template are.

    Raises:
        KeyError: if a leaf of the template is not among the arrays.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    typed = [_typed(arrays[jax.tree_util.keystr(path)], leaf) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(structure, typed)


# --- the workdir -----------------------------------------------------------------------------------------------------


class Workdir:
    """A folder of artifacts, of one process or shared by several; ``open_workdir`` makes it."""

    def __init__(self, path: pathlib.Path, config: Description, *, shared: bool = False):
        self.path = path
        self._config = config
        self._claimed = (path / "config.json").exists()
        self.shared = shared
        self._warned: set[tuple[pathlib.Path, Any]] = set()
        self._used: dict[str, str] = {}  # of what was loaded or saved here: relative path -> SHA-256 of its arrays
        self._locks = Locks(path / "locks") if shared else None

    def __str__(self) -> str:
        """Where it is, for people."""
        return str(self.path)

    def _file(self, stage: str, description: Description) -> pathlib.Path:
        return self.path / stage / f"{_name(stage, description)}.npz"

    def _relative(self, path: pathlib.Path) -> str:
        return path.relative_to(self.path).as_posix()

    def has(self, stage: str, description: Description) -> bool:
        """Whether there is an artifact of this name, without a look at what is in it."""
        return self._file(stage, description).exists()

    def take(self, stage: str, description: Description) -> Process | None:
        """Take it upon this process to make what this description names; does not wait.

        Returns:
            The process that is making it; None: this one is to, until it lets go (``free``). It may be there by now.
        """
        if self._locks is None:
            return None
        self.claim()
        return self._locks.take(f"{stage}-{_name(stage, description)}")

    def free(self, stage: str, description: Description) -> None:
        """Let others make it, or find it."""
        if self._locks is not None:
            self._locks.free(f"{stage}-{_name(stage, description)}")

    @contextlib.contextmanager
    def taking_turns(
        self, stage: str, description: Description, waiting: Callable[[Process], None] = lambda process: None
    ) -> Generator[None]:
        """Only one process at a time is in the block; ``waiting`` is told, now and then, which one that is."""
        pause = 0.1
        while (process := self.take(stage, description)) is not None:
            waiting(process)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        try:
            yield
        finally:
            self.free(stage, description)

    def close(self) -> None:
        """Let go of all that this process has taken."""
        if self._locks is not None:
            self._locks.close()

    def kept_folder(self, name: str, merged: Merge) -> pathlib.Path:
        """A folder of the workdir whose files are written in place, as answers that were paid for.

        Args:
            name: of the folder.
            merged: (name of a file, what it held when two copies of it parted, one copy, the other) -> both in one;
                None: that cannot be done. Asked where a machine had not uploaded all that it wrote.
        """
        del merged
        return self.path / name

    def publish(self, names: Iterable[str]) -> None:
        """Files of the workdir, and all files of folders, are finished: where others are to find them, they are now."""

    def load(self, stage: str, description: Description) -> Artifact | None:
        """The artifact that this description names, or None.

        One that is damaged, or that another description made and that lies under this one's name, is None too, with a
        warning.

        Raises:
            OSError: the file is there and cannot be read.
        """
        path = self._file(stage, description)
        found = artifact_files.read(path, stage, description)
        if isinstance(found, str):
            self._warn_once(path, path.stat().st_mtime_ns, f"{path} {found}")
        if not isinstance(found, tuple):
            return None
        artifact, self._used[self._relative(path)] = found
        return artifact

    def in_parts(self, stage: str, description: Description) -> Artifact | None:
        """As ``load``, and then as ``located``."""
        artifact = self.load(stage, description)  # which checks every byte, and fetches what is elsewhere
        return None if artifact is None else self.located(stage, description, artifact)

    def located(self, stage: str, description: Description, artifact: Artifact) -> Artifact:
        """What was loaded or saved here, but of arrays [n, ...] where they lie (``stored.Stored``): read in parts.

        They stay as they are where they cannot be read so.
        """
        found = stored.members(self._file(stage, description))
        return artifact if found is None else artifact._replace(arrays={name: found[name] for name in artifact.arrays})

    def _warn_once(self, path: pathlib.Path, version: Any, line: str) -> None:
        """Warn of an artifact as it is now: a shared workdir is looked at again before anything is made."""
        if (path, version) not in self._warned:
            self._warned.add((path, version))
            warnings.warn(line, stacklevel=4)

    def save(self, stage: str, description: Description, arrays: Mapping[str, np.ndarray], **info: Any) -> None:
        """Write an artifact whole.

        Args:
            stage: that made it.
            description: JSON values: everything that decides the arrays.
            arrays: of any shape [...].
            info: JSON values that are kept beside the arrays.
        """
        self.claim()
        path = self._file(stage, description)
        self._used[self._relative(path)] = artifact_files.write(path, stage, description, arrays, info)

    def note(self, what: str, *arrays: np.ndarray) -> None:
        """Keep the digest of arrays [...] that are asked for anew in each run, for ``checksums``."""
        self._used[what] = array_digest(*arrays)

    def checksums(self) -> dict[str, str]:
        """Relative path -> SHA-256 of what this process has used here: models, answers, scores, no parts of attacks.

        Of an artifact it is that of its arrays; of a service's answers, of the file; and what was ``note``-d.
        """
        found = {name: used for name, used in self._used.items() if not name.startswith("attack/")}
        for path in sorted(self.path.glob("target/answers-*.bin")):
            with open(path, "rb") as f:
                found[self._relative(path)] = hashlib.file_digest(f, "sha256").hexdigest()
        return found

    def claim(self) -> None:
        """Write the configuration, before anything that is to be kept: a refused run claims no folder.

        Raises:
            InputError: another process has claimed it meanwhile, for another configuration.
        """
        if self._claimed:
            return
        path = self.path / "config.json"
        if self._locks is None:
            write_json(path, self._config)
        else:
            self.path.mkdir(exist_ok=True)  # another process that was refused has removed it
            if not create(path, json_text(self._config)):
                claims.check_config(path, self._config)
        self._claimed = True


def _name(stage: str, description: Description) -> str:
    return digest({"stage": stage, **description})[:32]


@contextlib.contextmanager
def open_workdir(
    path: str | os.PathLike | places.Address, config: Description, *, shared: bool = False
) -> Generator[Workdir]:
    """Open ``path`` as the workdir of the run that ``config`` (JSON values) names; make it where it is missing.

    The configuration is written with the first artifact. A workdir that is not shared is held by an advisory lock of
    the operating system: a killed process lets go of it. What the file system refuses meanwhile is a ``DiskError``: one
    line.

    Args:
        path: of the folder; or the address of one in an object store, as ``s3://bucket/run`` (``storage/cloud.py``).
        config: of the run.
        shared: with other processes of the same configuration, on this machine or others: what is made is locked, each
            artifact by itself (``Workdir.take``).

    Raises:
        InputError: the folder cannot be written, holds something else than a run, or a run of another configuration
            (it names what differs).
        WorkdirHeld: another process is working there (it says which).
        DiskError: a file cannot be read or written, or the folder is gone.
    """
    place = places.place(path)
    config = json.loads(json.dumps(config))  # as it would be read back
    if isinstance(place, places.Address):
        from mia_jax.storage import cloud  # which needs what is here

        opened = cloud.open_address(place, config, shared=shared)
    else:
        opened = open_folder(place, config, shared=shared)
    with opened as workdir:
        yield workdir


def open_folder(
    path: pathlib.Path, config: Description, *, shared: bool, make: Callable[..., Workdir] = Workdir
) -> contextlib.AbstractContextManager[Workdir]:
    """``open_workdir`` of a folder of this machine; ``make`` is called as ``Workdir`` is."""
    return (_shared if shared else _held)(path, config, make)


@contextlib.contextmanager
def _shared(path: pathlib.Path, config: Description, make: Callable[..., Workdir]) -> Generator[Workdir]:
    try:
        _make(path)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"the workdir {path} cannot be written ({error.strerror}); choose another") from None
    try:
        with disk_errors(path):
            claims.check_config(path / "config.json", config)
            _sweep(path, shared=True)
            workdir = make(path, config, shared=True)
            try:
                yield workdir
            finally:
                workdir.close()
    finally:
        with contextlib.suppress(OSError):  # if it is empty; only now, for an error in it is not that it is gone
            path.rmdir()


def _make(path: pathlib.Path) -> None:
    """Make the folder where it is missing.

    Raises:
        InputError: it holds something else than a run.
        OSError: it cannot be made, or a stage in it not be written.
    """
    claims.refuse_url(path)
    claims.refuse_foreign(path)
    path.mkdir(parents=True, exist_ok=True)
    for stage in {file.parent for file in claims.in_stages(path)}:
        if not os.access(stage, os.W_OK):
            raise PermissionError(errno.EACCES, f"{stage.name}: {os.strerror(errno.EACCES)}")


@contextlib.contextmanager
def _held(path: pathlib.Path, config: Description, make: Callable[..., Workdir]) -> Generator[Workdir]:
    try:
        _make(path)
        lock = os.fdopen(disk.open_own(path / "lock", create=True), "r+", encoding="utf-8", errors="replace")
    except OSError as error:
        about = ", lock" if isinstance(error.filename, str) and error.filename.endswith("lock") else ""
        raise InputError(f"the workdir {path} cannot be written ({error.strerror}{about}); choose another") from None
    with lock:
        with disk_errors(path):
            locked = disk.lock(lock.fileno(), wait=False)
            holder = lock.read(1000)
            if not locked:
                raise WorkdirHeld(
                    f"the workdir {path} is held by {holder.strip() or 'another process'}; wait for it, or choose"
                    " another workdir"
                )
            if not HOLDER.fullmatch(holder):
                raise InputError(f"{path / 'lock'} is no lock of ours and is left alone; choose another workdir")
            _name_holder(lock, f"{processes.this()}\n")
        try:
            with disk_errors(path):
                claims.check_config(path / "config.json", config)
                _sweep(path)
                yield make(path, config)
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone, and what ended the block is told
                _name_holder(lock, "")
                if not (path / "config.json").exists() and [p.name for p in path.iterdir()] == ["lock"]:
                    (path / "lock").unlink()
                    path.rmdir()


@contextlib.contextmanager
def disk_errors(path: pathlib.Path) -> Generator[None]:
    """Turn what the file system refuses in the block into an error of one line; ``path``: the folder worked in.

    Raises:
        DiskError: for an OSError.
    """
    there = path.exists()
    try:
        yield
    except OSError as error:
        if there and not path.exists():
            raise DiskError(
                f"the workdir {path} is gone: it was moved or deleted while the run was in it; run the same command"
                " again, with the workdir where it is now: what was finished is kept there"
            ) from error
        raise DiskError(disk.in_words(error)) from error


def _name_holder(lock, holder: str) -> None:
    lock.seek(0)
    lock.truncate(0)
    lock.write(holder)
    lock.flush()


def _sweep(path: pathlib.Path, *, shared: bool = False) -> None:
    """Remove what killed processes left half written; of a ``shared`` folder what no other process writes any more."""
    # Not rglob, which fails (before Python 3.13) where another process removes a folder meanwhile, as locks/.
    for folder, _, names in os.walk(path):
        for partial in (pathlib.Path(folder, name) for name in names if HALF_WRITTEN.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):  # another process is done with it
                if not shared or _is_nobodys(partial):
                    partial.unlink()


def _is_nobodys(partial: pathlib.Path) -> bool:
    gone = processes.writer_is_gone(partial.name)
    return time.time() - partial.stat().st_mtime > OLD if gone is None else gone
