"""A workdir at the address of an object store: made in a folder of this machine, and put there object by object.

The folder (``cache``) has everything that this machine has made or fetched, as any workdir has it. What is not uploaded
yet is marked there, in ``.pending``: when the store cannot be reached nothing is lost, and the next run uploads it. In
the store are whole objects under the names of a folder's files; what is there is what counts.
"""

import contextlib
import functools
import hashlib
import pathlib
import re
import warnings
from collections.abc import Generator, Iterable

from mia_jax.storage import artifact_files, artifacts, claims, locks, places, processes
from mia_jax.storage.artifacts import Workdir
from mia_jax.storage.claims import Description
from mia_jax.storage.files import json_text, replacing, write_json
from mia_jax.storage.kept import KeptFolder
from mia_jax.storage.objects import ObjectStore, open_store
from mia_jax.types import DiskError, InputError, WorkdirHeld

PENDING = ".pending"
RUN = "run"  # the lock of a workdir that one process has alone


def cache(address: places.Address, config: Description) -> pathlib.Path:
    """Where this machine keeps what belongs to a run at an address: a folder for each configuration."""
    name = artifact_files.digest({"address": str(address), "config": config})[:16]
    shown = re.sub(r"[^\w.-]", "_", address.name)[:40]
    return places.cache_folder() / "workdirs" / f"{shown}-{name}"


@contextlib.contextmanager
def open_address(address: places.Address, config: Description, *, shared: bool) -> Generator[Workdir]:
    """``open_workdir`` of an address.

    Raises:
        InputError: the store cannot be read or written, or holds something else than this run.
        WorkdirHeld: another process is working there.
        DiskError: the store cannot be reached any more; what was made is kept in the cache.
    """
    store, folder = open_store(address), cache(address, config)
    there = claims.check_store(store, config)
    store.try_out(f".try-{processes.place()}-{processes.this().pid}")
    if shared and not store.exact:
        warnings.warn(
            f"{address.protocol} does not create objects on condition that there is none: processes that share"
            f" {address} may make the same twice, to the same bytes",
            stacklevel=4,
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder.parent} cannot be made ({error.strerror}), where {address} is kept until it is uploaded; set"
            " MIA_JAX_CACHE_DIR to a folder that can be written"
        ) from None
    make = functools.partial(_CloudWorkdir, store=store, there=there)
    with _named(folder, address), artifacts.open_folder(folder, config, shared=shared, make=make) as workdir:
        assert isinstance(workdir, _CloudWorkdir)
        with contextlib.nullcontext() if shared else _alone(workdir, store), workdir.uploading():
            yield workdir


@contextlib.contextmanager
def _named(folder: pathlib.Path, address: places.Address) -> Generator[None]:
    """Whoever holds the cache holds the address: that is what the user has named."""
    try:
        yield
    except WorkdirHeld as error:
        raise WorkdirHeld(str(error).replace(str(folder), str(address))) from None


@contextlib.contextmanager
def _alone(workdir: "_CloudWorkdir", store: ObjectStore) -> Generator[None]:
    """No other process is in the block, on whatever machine."""
    held = locks.Locks(locks.Objects(store))
    if (process := held.take(RUN)) is not None:
        raise WorkdirHeld(
            f"the workdir {workdir} is held by {process}; wait for it (one that was killed on another machine is"
            f" given up after {locks.GONE / 60:g} minutes), or choose another workdir"
        )
    try:
        yield
    finally:
        held.close()


class _CloudWorkdir(Workdir):
    """A workdir whose files are those of an object store; ``path`` is where this machine has them."""

    def __init__(
        self, path: pathlib.Path, config: Description, *, store: ObjectStore, there: bool, shared: bool = False
    ):
        super().__init__(path, config, shared=shared)
        self._store, self._claimed = store, there
        self._failed: DiskError | None = None  # why the last upload failed
        self._kept: list[KeptFolder] = []
        self._locks = locks.Locks(locks.Objects(store)) if shared else None

    def __str__(self) -> str:
        return str(self._store.address)

    def has(self, stage, description):
        if super().has(stage, description):
            return True
        with self._reached():
            return self._store.has(self._relative(self._file(stage, description)))

    def take(self, stage, description):
        if self._locks is None:
            return None
        with self._reached():
            return super().take(stage, description)

    def load(self, stage, description):
        path = self._file(stage, description)
        found, name, content = artifact_files.read(path, stage, description), self._relative(path), None
        if not isinstance(found, tuple):
            with self._reached():
                content = self._store.read(name)
        if content is not None:
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(content)
            found = artifact_files.read(path, stage, description)
        if isinstance(found, str):
            path.unlink(missing_ok=True)
            version = None if content is None else hashlib.sha256(content).hexdigest()
            self._warn_once(path, version, f"{path if content is None else self._store.address / name} {found}")
        if not isinstance(found, tuple):
            return None
        artifact, self._used[name] = found
        return artifact

    def save(self, stage, description, arrays, **info):
        path = self._file(stage, description)
        self._mark(path)
        self._used[self._relative(path)] = artifact_files.write(path, stage, description, arrays, info)
        if self._failed is None:  # else each would be tried in vain, for as long as that takes
            self._upload([path])

    def claim(self):
        if not self._claimed:
            with self._reached():
                self._upload([])
            with self._reached():  # now it is known whether that went well
                pass

    def _claim(self) -> list[pathlib.Path]:
        """Write the configuration; returns what is to be uploaded, too: of a run that was removed from the store."""
        if self._claimed:
            return []
        earlier = []
        if self._store.create("config.json", json_text(self._config).encode()):
            earlier = claims.in_stages(self.path)
            for path in earlier:
                self._mark(path)
        else:
            claims.check_store(self._store, self._config)
        self._claim_cache()
        self._claimed = True
        return earlier

    def _claim_cache(self) -> None:
        if not (self.path / "config.json").exists():
            write_json(self.path / "config.json", self._config)

    def kept_folder(self, name, merged):
        self._claim_cache()
        with self._reached():
            kept = KeptFolder(self._store, self.path, name, merged, self._claim)
            kept.begin()
        self._kept.append(kept)
        return kept.folder

    def publish(self, names):
        with self._reached():
            for name in names:
                path = self.path / name
                if not path.is_dir():
                    self._replace(path)
                    continue
                for folder in (path, *(each for each in sorted(path.rglob("*")) if each.is_dir())):
                    files = {file.name: file for file in folder.iterdir() if file.is_file()}
                    for old in self._store.names(self._relative(folder)):
                        if not old.endswith("/"):
                            files.setdefault(old, folder / old)  # of an earlier run, which does not hold any more
                    for file in sorted(files.values()):
                        self._replace(file)

    def _replace(self, path: pathlib.Path) -> None:
        """Make an object what a file is, or remove it."""
        if path.exists():
            self._store.write(self._relative(path), path.read_bytes())
        else:
            self._store.remove(self._relative(path))

    @contextlib.contextmanager
    def uploading(self) -> Generator[None]:
        """What this machine has not uploaded before is, first; and at the end nothing is left to be uploaded.

        Raises:
            DiskError: something is: it says where it is kept.
        """
        if pending := self._pending():
            self._upload(pending)
        with self._reached():
            pass
        try:
            yield
            with self._reached():
                for kept in self._kept:
                    kept.end()
        except BaseException as error:
            try:
                for kept in self._kept:
                    kept.end()
            except DiskError as told:
                if not isinstance(error, DiskError):
                    warnings.warn(f"{told}; what is not there yet is kept in {self.path}", stacklevel=2)
            raise
        finally:
            for kept in self._kept:
                kept.stop()

    # --- what is to be uploaded ---

    def _mark_of(self, path: pathlib.Path) -> pathlib.Path:
        return self.path / PENDING / self._relative(path).replace("/", "+")

    def _mark(self, path: pathlib.Path) -> None:
        """Note that a file is to be uploaded."""
        mark = self._mark_of(path)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()

    def _pending(self) -> list[pathlib.Path]:
        folder = self.path / PENDING
        names = sorted(mark.name for mark in folder.iterdir()) if folder.is_dir() else []
        return [self.path / name.replace("+", "/") for name in names]

    def _upload(self, paths: Iterable[pathlib.Path]) -> None:
        """Upload files; where that fails, it is tried again when the store is needed next."""
        try:
            for path in {*self._claim(), *paths}:
                try:
                    content = path.read_bytes()
                except FileNotFoundError:  # it is being written, or its writer was killed before it was whole
                    continue
                self._store.write(self._relative(path), content)
                self._mark_of(path).unlink(missing_ok=True)
            self._failed = None
        except DiskError as error:
            self._failed = error

    @contextlib.contextmanager
    def _reached(self) -> Generator[None]:
        """In the block the store is asked; before it, what could not be uploaded is tried again.

        Raises:
            DiskError: it cannot be reached, and where everything is kept.
        """
        try:
            if self._failed is not None:
                self._upload(self._pending())
            if self._failed is not None:
                raise self._failed
            yield
        except DiskError as error:
            kept = f"; what was made is kept in {self.path}, and the same command uploads it and goes on"
            line = str(error)
            raise DiskError(line if kept in line else line + kept) from error
