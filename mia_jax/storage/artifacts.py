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
import socket
import warnings
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.storage import disk
from mia_jax.types import DiskError, InputError, Params, WorkdirHeld

Description = Mapping[str, Any]  # JSON values
ARTIFACT = re.compile(r"[0-9a-f]{32}\.npz")
HOLDER = re.compile(r"(process \d+ on .*\n)?")  # what a lock of ours may hold


def digest(description: Description) -> str:
    """SHA-256 of the canonical JSON of a description, lower-case hex."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, allow_nan=False).encode()).hexdigest()


def array_digest(*arrays: np.ndarray) -> str:
    """SHA-256 over dtype, shape and bytes of each array in turn, lower-case hex."""
    sha = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Generator[pathlib.Path]:
    """Give a temporary path to write to; sync it and rename it onto ``path`` if the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # a link that lies there is not written through
    try:
        yield partial
        with open(partial, "r+b") as f:  # Windows syncs only what may be written
            os.fsync(f.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a write does not know where it goes
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed now is swept by the next run; the error is told
            partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, as JSON has none."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` of arrays of any shape [...], whole or not at all; the same arrays give the same bytes."""
    with replacing(path) as partial, open(partial, "wb") as f:
        np.savez(f, **arrays)  # ty: ignore[invalid-argument-type]  (no array of ours is called allow_pickle)


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


class Artifact(NamedTuple):
    """What a stage has made."""

    arrays: dict[str, np.ndarray]
    info: dict[str, Any]  # how it was made: seconds, curves; not part of the description


class Workdir:
    """A folder of artifacts that one process holds at a time; ``open_workdir`` makes it."""

    def __init__(self, path: pathlib.Path, config: Description):
        self.path = path
        self._config = config

    def _file(self, stage: str, description: Description) -> pathlib.Path:
        return self.path / stage / f"{digest({'stage': stage, **description})[:32]}.npz"

    def load(self, stage: str, description: Description) -> Artifact | None:
        """The artifact that this description names, or None.

        One that is damaged, or that another description made and that lies under this one's name, is None too, with a
        warning.

        Raises:
            OSError: the file is there and cannot be read.
        """
        path = self._file(stage, description)
        try:
            file = open(path, "rb")  # noqa: SIM115 (what fails here is no damage)
        except FileNotFoundError:
            return None
        with file:
            try:
                with np.load(file, allow_pickle=False) as f:
                    arrays = {name: f[name] for name in f.files if name != "__meta__"}
                    meta = json.loads(f["__meta__"].tobytes())
                if meta["sha256"] != _checksum(arrays):
                    raise ValueError("its checksum differs")
                artifact = Artifact(arrays, meta["info"])
                made = digest({"stage": meta["stage"], **meta["description"]})
            except Exception as error:  # whatever zipfile, numpy or json make of damaged bytes
                if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek to nowhere: damaged
                    raise
                reason = str(error) or type(error).__name__
                warnings.warn(f"{path} is damaged ({reason}) and is made again", stacklevel=2)
                return None
        if made != digest({"stage": stage, **description}):
            warnings.warn(
                f"{path} is not what was asked for (it was made as another {stage}) and is made again", stacklevel=2
            )
            return None
        return artifact

    def save(self, stage: str, description: Description, arrays: Mapping[str, np.ndarray], **info: Any) -> None:
        """Write an artifact whole.

        Args:
            stage: that made it.
            description: JSON values: everything that decides the arrays.
            arrays: of any shape [...].
            info: JSON values that are kept beside the arrays.
        """
        path = self._file(stage, description)
        if not path.parent.exists():
            self.claim()
            path.parent.mkdir()
        meta = {"stage": stage, "description": dict(description), "sha256": _checksum(arrays), "info": info}
        packed = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
        write_npz(path, {**arrays, "__meta__": packed})

    def claim(self) -> None:
        """Write the configuration, before anything that is to be kept: a refused run claims no folder."""
        if not (self.path / "config.json").exists():
            write_json(self.path / "config.json", self._config)


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    return digest({name: array_digest(array) for name, array in arrays.items()})


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike, config: Description) -> Generator[Workdir]:
    """Hold ``path`` as the workdir of the run that ``config`` (JSON values) names; make it where it is missing.

    The configuration is written with the first artifact. The hold is an advisory lock of the operating system: a killed
    process lets go of it. What the file system refuses while the workdir is held is a ``DiskError``: one line.

    Raises:
        InputError: the folder cannot be written, holds something else than a run, or a run of another configuration
            (it names what differs).
        WorkdirHeld: another process is working there (it says which).
        DiskError: a file cannot be read or written, or the folder is gone.
    """
    path = pathlib.Path(path)
    try:
        _refuse_foreign(path)
        path.mkdir(parents=True, exist_ok=True)
        for stage in {artifact.parent for artifact in path.glob("*/*.npz")}:
            if not os.access(stage, os.W_OK):
                raise PermissionError(errno.EACCES, f"{stage.name}: {os.strerror(errno.EACCES)}")
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
            _name_holder(lock, f"process {os.getpid()} on {socket.gethostname()}\n")
        try:
            with disk_errors(path):
                config = json.loads(json.dumps(config))  # as it would be read back
                _check_config(path / "config.json", config)
                _sweep(path)
                yield Workdir(path, config)
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


def _refuse_foreign(path: pathlib.Path) -> None:
    """Refuse a folder that holds files and no run: its report.html might be somebody's.

    Raises:
        InputError: it says what is there.
    """
    if not path.is_dir() or (path / "config.json").exists() or _signs_of_a_run(path):
        return

    def shown(folder: pathlib.Path) -> list[pathlib.Path]:
        return [p for p in folder.iterdir() if not p.name.startswith(".")]

    others = sorted(p.name for p in shown(path) if p.name != "lock" and (not p.is_dir() or shown(p)))
    if others:
        raise InputError(f"{_foreign(path, others)}; choose another workdir, or leave it out")


def _foreign(path: pathlib.Path, names: Iterable[str]) -> str:
    names = list(names)
    return f"the folder {path} holds no run but {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _signs_of_a_run(path: pathlib.Path) -> bool:
    """Whether a run has left anything in a folder, its configuration apart."""
    queried = (path / "target" / "asked").exists() or any(path.glob("target/answers-*.bin"))
    if queried or any(ARTIFACT.fullmatch(p.name) for p in path.glob("*/*.npz")):
        return True
    try:
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        return {"schema", "config", "attacks"} <= results.keys()
    except (OSError, ValueError, AttributeError):
        return False


def _check_config(path: pathlib.Path, config: Description) -> None:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(there, dict):
            raise ValueError("it is no configuration")
    except FileNotFoundError:
        return
    except (ValueError, IsADirectoryError):
        if path.is_dir() or not _signs_of_a_run(path.parent):
            raise InputError(f"{path} is damaged; remove the workdir, or choose another") from None
        # Nothing wrong can be taken up: artifacts are named by what made them, and say so themselves.
        warnings.warn(
            f"{path} is damaged: it is written anew, as this run is configured; what is there and fits is used",
            stacklevel=4,
        )
        write_json(path, config)
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); choose another workdir") from None
    if not {*there} & {*config} and not _signs_of_a_run(path.parent):
        raise InputError(
            f"{_foreign(path.parent, ['a config.json of something else'])}; choose another workdir, or leave it out"
        )
    differ = [
        f"{key}: {there.get(key)!r} there, {config.get(key)!r} asked for"
        for key in sorted({*there, *config})
        if there.get(key) != config.get(key)
    ]
    if differ:
        raise InputError(
            f"the workdir {path.parent} holds another configuration ({'; '.join(differ)});"
            " choose another workdir, or leave it out"
        )


def _sweep(path: pathlib.Path) -> None:
    """Remove what killed processes left half written in a folder that nobody else writes to."""
    for partial in path.rglob(".*.partial"):
        if re.fullmatch(r"\..*\.\d+\.partial", partial.name):
            partial.unlink(missing_ok=True)
