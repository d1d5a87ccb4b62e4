"""Stages on disk: content-addressed, written whole and renamed, checksummed, resumable.

The name of an artefact is a hash of everything that made it, never of how many there are or what is shown: so a stage
finds its own earlier work, and nothing else's. An artefact is one ``.npz`` whose member ``__meta__`` holds that
description and the SHA-256 of its arrays: it is either there and whole, or it is made again.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.types import InputError, Params, WorkdirHeld

Description = Mapping[str, Any]  # JSON values


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
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a temporary path to write to; sync it and rename it onto ``path`` if the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb") as f:
            os.fsync(f.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, as JSON has none."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_npz(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` whole or not at all; the same arrays give the same bytes."""
    with replacing(path) as partial, open(partial, "wb") as f:
        np.savez(f, **arrays)


# --- pytrees ---------------------------------------------------------------------------------------------------------


def to_arrays(tree: Params) -> dict[str, np.ndarray]:
    """A pytree of arrays as a flat dict, named by key path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(template: Params, arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of ``to_arrays``, for a pytree shaped like ``template`` (``jax.eval_shape`` gives one).

    Raises:
        KeyError: if a leaf of the template is not among the arrays.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    return jax.tree_util.tree_unflatten(structure, [arrays[jax.tree_util.keystr(path)] for path, _ in leaves])


# --- the workdir -----------------------------------------------------------------------------------------------------


class Artifact(NamedTuple):
    arrays: dict[str, np.ndarray]
    info: dict[str, Any]  # the story: seconds, curves; not part of what was asked for


class Workdir:
    """A folder of artefacts that one process holds at a time. Made by ``open_workdir``."""

    def __init__(self, path: pathlib.Path, config: Description):
        self.path = path
        self._config = config

    def _file(self, stage: str, description: Description) -> pathlib.Path:
        return self.path / stage / f"{digest({'stage': stage, **description})[:32]}.npz"

    def load(self, stage: str, description: Description) -> Artifact | None:
        """The artefact that this description names, or None. A damaged one is None too, with a warning."""
        path = self._file(stage, description)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as f:
                arrays = {name: f[name] for name in f.files if name != "__meta__"}
                meta = json.loads(f["__meta__"].tobytes())
            if meta["sha256"] != _checksum(arrays):
                raise ValueError("its checksum differs")
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever zipfile, numpy or json make of damaged bytes
            reason = str(error) or type(error).__name__
            warnings.warn(f"{path} is damaged ({reason}) and is made again", stacklevel=2)
            return None
        return Artifact(arrays, meta["info"])

    def save(self, stage: str, description: Description, arrays: Mapping[str, np.ndarray], **info: Any) -> None:
        """Write an artefact whole. ``info`` (JSON values) is kept beside the arrays."""
        path = self._file(stage, description)
        if not path.parent.exists():
            if not (self.path / "config.json").exists():  # only now: a refused run claims no folder
                write_json(self.path / "config.json", self._config)
            path.parent.mkdir()
        meta = {"stage": stage, "description": dict(description), "sha256": _checksum(arrays), "info": info}
        packed = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
        write_npz(path, {**arrays, "__meta__": packed})


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    return digest({name: array_digest(array) for name, array in arrays.items()})


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike, config: Description) -> Iterator[Workdir]:
    """Hold ``path`` as the workdir of the run that ``config`` (JSON values) names; make it where it is missing.

    The configuration is written with the first artefact. The hold is an advisory lock of the operating system: a killed
    process lets go of it.

    Raises:
        InputError: the folder cannot be written, or holds a run of another configuration (it names what differs).
        WorkdirHeld: another process is working there (it says which).
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for stage in {artefact.parent for artefact in path.glob("*/*.npz")}:
            if not os.access(stage, os.W_OK):
                raise PermissionError(errno.EACCES, f"{stage.name}: {os.strerror(errno.EACCES)}")
        lock = open(path / "lock", "a+", encoding="utf-8")  # noqa: SIM115 (held until the block ends)
    except OSError as error:
        raise InputError(
            f"the workdir {path} cannot be written ({error.strerror}); choose another with --workdir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise WorkdirHeld(
                f"the workdir {path} is held by {holder}; wait for it, or choose another --workdir"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        config = json.loads(json.dumps(config))  # as it would be read back
        _check_config(path / "config.json", config)
        _sweep(path)
        try:
            yield Workdir(path, config)
        finally:
            lock.truncate(0)
            if not (path / "config.json").exists() and [p.name for p in path.iterdir()] == ["lock"]:
                (path / "lock").unlink()
                path.rmdir()


def _check_config(path: pathlib.Path, config: Description) -> None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError("it is no configuration")
    except FileNotFoundError:
        return
    except (ValueError, IsADirectoryError):
        raise InputError(f"{path} is damaged; remove the workdir, or choose another with --workdir") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); choose another --workdir") from None
    differ = [
        f"{key}: {held.get(key)!r} there, {config.get(key)!r} asked for"
        for key in sorted({*held, *config})
        if held.get(key) != config.get(key)
    ]
    if differ:
        raise InputError(
            f"the workdir {path.parent} holds another configuration ({'; '.join(differ)});"
            " choose another --workdir, or leave it out"
        )


def _sweep(path: pathlib.Path) -> None:
    """Remove what killed processes left half written in a folder that nobody else writes to."""
    for partial in path.rglob(".*.partial"):
        if re.fullmatch(r"\..*\.\d+\.partial", partial.name):
            partial.unlink(missing_ok=True)
