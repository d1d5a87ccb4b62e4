"""One artifact as one file: an ``.npz`` that says what made it, and whose arrays have a checksum."""

import errno
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.storage.claims import Description
from mia_jax.storage.files import write_npz


class Artifact(NamedTuple):
    """What a stage has made."""

    arrays: dict[str, Any]  # NumPy arrays; ``stored.Stored`` where they are to be read in parts
    info: dict[str, Any]  # how it was made: seconds, curves; not part of the description


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


def read(path: pathlib.Path, stage: str, description: Description) -> tuple[Artifact, str] | str | None:
    """The artifact in a file and the SHA-256 of its arrays; None: there is none; in words: why it is not taken.

    Raises:
        OSError: the file is there and cannot be read.
    """
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
            return f"is damaged ({str(error) or type(error).__name__}) and is made again"
    if made != digest({"stage": stage, **description}):
        return f"is not what was asked for (it was made as another {stage}) and is made again"
    return artifact, meta["sha256"]


def write(
    path: pathlib.Path, stage: str, description: Description, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
) -> str:
    """Write an artifact whole, its folder made where it is missing; returns the SHA-256 of its arrays.

    Args:
        path: of the file.
        stage: that made it.
        description: JSON values: everything that decides the arrays.
        arrays: of any shape [...].
        info: JSON values that are kept beside the arrays.
    """
    path.parent.mkdir(exist_ok=True)
    meta = {"stage": stage, "description": dict(description), "sha256": _checksum(arrays), "info": dict(info)}
    packed = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    write_npz(path, {**arrays, "__meta__": packed})
    return meta["sha256"]


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    return digest({name: array_digest(array) for name, array in arrays.items()})
